# %% [markdown]
# # 6. Local response normalisation
#
# Between its first layers AlexNet has one more operation, which hardly anybody uses today and
# which libraries write in several ways: *local response normalisation*, section 3.3, LRN for
# short. According to the paper it took 1.4 points off the top-1 error. You will see what it does
# and where the versions differ, derive its gradient, and test whether it helps.
#
# **You need** lessons 03 and 04 (gradients and how they are checked) and 05 (ReLU).
# **Time**: under a minute with `--quick`, a few minutes without.
# **It makes** six figures in `runs/lessons/06_lrn`.

# %%
import kit
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import backend, init, nn, optim
from minitorch_alex.plots.style import FAINT, INK
from minitorch_alex.plots.training import RUNS
from minitorch_alex.streams import rng

lesson = kit.Lesson("06_lrn")


def tensor(x, requires_grad=False):
    """A NumPy array as a Tensor, on the device of --backend."""
    return mt.Tensor(backend.asarray(x), requires_grad)


# %% [markdown]
# ## 1. Loud neighbours
#
# In an eye, a cell that is strongly excited turns its neighbours down: *lateral inhibition*. It
# makes differences sharper and ignores a steady glare. The paper does it across channels. Let
# $a_i$ be what channel $i$ says at one place of one image, after the ReLU. Then
#
# $$b_i = \frac{a_i}{\Big(k + \alpha \sum_{j \in \text{window}(i)} a_j^2\Big)^{\beta}}, \qquad
#   \text{window}(i) = \max(0,\, i - n/2) \ldots \min(N - 1,\, i + n/2),$$
#
# with $n = 5$ channels in the window ($n/2$ rounded down: two to each side), $k = 2$, $\alpha =
# 10^{-4}$, $\beta = 0.75$; $N$ is the number of channels. Each place is on its own; nothing is
# learnt. The order of the channels is arbitrary, says the paper, and fixed before training begins:
# so the kernels learn who their neighbours are.
#
# One pixel with 16 channels, three of them loud. The bars on the right show what each channel
# keeps, $b_i / a_i$.

# %%
lesson.section("1. Loud neighbours")
lesson.predict(
    "Channel 5 says 200. Who is turned down by it?",
    "channel 5 alone",
    "channels 3 to 7, itself too",
    "its neighbours, not itself",
)


def lrn(x, size=5, alpha=1e-4, beta=0.75, k=2.0, groups=1):
    """The formula as printed, for x (N,C,H,W).

    The package divides alpha by size, so it is multiplied here first.
    """
    return F.local_response_norm(tensor(x), size, alpha * size, beta, k, groups).numpy()


pixel = np.array(
    [30, 0, 40, 20, 35, 200, 25, 30, 0, 40, 10, 120, 160, 30, 20, 40], np.float64
).reshape(1, 16, 1, 1)
heard = lrn(pixel)
kept = lrn(pixel + 1e-9) / (pixel + 1e-9)  # a silent channel has a share, too
lesson.table(
    ["channel", "a", "b", "share kept"],
    [
        [i, float(pixel[0, i, 0, 0]), float(heard[0, i, 0, 0]), f"{kept[0, i, 0, 0]:.3f}"]
        for i in range(2, 9)
    ],
)
figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.4))
panels[0].bar(range(16), pixel.ravel(), color=FAINT, label="a, before")
panels[0].bar(range(16), heard.ravel(), color=RUNS[0], width=0.5, label="b, after")
panels[1].bar(range(16), kept.ravel(), color=RUNS[1])
panels[1].axhline(2 ** -0.75, color=INK, lw=0.8)
panels[1].text(
    15.5, 2**-0.75 + 0.01, "2$^{-0.75}$ = 0.595: no loud neighbour", ha="right", fontsize=9
)
panels[0].set(
    xlabel="channel", xticks=range(0, 16, 5), title="Three loud channels and their neighbours"
)
panels[1].set(
    xlabel="channel",
    xticks=range(0, 16, 5),
    title="The share that each channel keeps",
    ylim=(0, 0.68),
)
panels[0].legend(frameon=False)
figure.tight_layout()
lesson.show(figure, "1_inhibition")
lesson.number("kept_by_channel_5", kept[0, 5, 0, 0])
lesson.answer("channels 3 to 7, itself too: all whose window holds channel 5.")

# %% [markdown]
# Around a loud channel everybody keeps less, the loud one as much as its quiet neighbours. It
# stays the loudest; what shrinks is the room for two strong neighbours. That is the competition
# "for big activities amongst neuron outputs computed using different kernels" of which the paper
# speaks.

# %%
lesson.explore(
    "lrn",
    "The same 16 channels. Choose one and move its window and the constants; the grey bars are a, "
    "the narrow ones b.",
    "With the paper's constants channel 5, a = 200, keeps a quarter: b = 50.2.",
    a=pixel.ravel(),
)

# %% [markdown]
# The constant matters as well. Far from any loud channel the formula is a multiplication by
# $2^{-0.75} = 0.595$, and LRN only makes everything smaller. How loud is loud?

# %%
lesson.predict(
    "The same pixel, a hundred times quieter (values up to 2). What share do its channels keep?",
    "between 0.2 and 0.595 as before",
    "0.595, all of them",
    "nearly 1",
)
rows = []
for scale in (0.01, 0.1, 1.0, 10.0):
    share = lrn(scale * pixel + 1e-9) / (scale * pixel + 1e-9)
    rows.append(
        [f"x {scale:g}", float(scale * pixel.max()), f"{share.min():.4f}", f"{share.max():.4f}"]
    )
    if scale == 0.01:
        lesson.number("quiet_smallest_share", share.min())
lesson.table(["pixel", "its loudest value", "smallest share kept", "largest"], rows)
lesson.answer(
    "0.595, all of them, to a part in a thousand. On values around 1, LRN with these constants is "
    "a multiplication."
)

# %% [markdown]
# Remember this table: LRN has a scale. The constants were made for a net that is fed pixels from 0
# to 255, whose values go into the tens and hundreds. Feed the same net with pixels divided by
# their standard deviation, as everyone does today, and its LRN does nothing but multiply. Also, *a
# test with values around 1 cannot see what the window does*; exercise 6.3 is about that.
#
# ## 2. One formula, many conventions
#
# Here is what various sources compute when each is told size 5, alpha 1e-4, beta 0.75.
#
# * The *paper* prints $\alpha$ as above, with $k = 2$; Chainer does the same.
# * The *source of 2012* divides alpha by the size of the window (`layer.py`: `dic['scale'] /=
#   dic['size']`). Its parameter file says 1e-4, so what ran was that divided by 5 (exercise 6.4),
#   with $k = 2$.
# * *Caffe* and *PyTorch* divide like the source, but have $k = 1$ unless told otherwise.
# * Ports to libraries without the division write the quotient, an alpha that appears in no paper.

# %%
lesson.section("2. One formula, many conventions")
lesson.predict(
    "By how much do the results differ, for values up to 200?",
    "by rounding",
    "by some per cent",
    "by a factor of 2 and more",
)
eight = pixel[:, :8]
conventions = {
    "paper, Chainer": dict(alpha=1e-4, k=2.0),
    "source of 2012": dict(alpha=1e-4 / 5, k=2.0),
    "Caffe, PyTorch": dict(alpha=1e-4 / 5, k=1.0),
}
results = {name: lrn(eight, 5, **how).ravel() for name, how in conventions.items()}
lesson.table(["size 5, alpha 1e-4", *(f"a = {v:g}" for v in eight.ravel())],
             [[name, *(f"{v:.2f}" for v in values)] for name, values in results.items()])
lesson.number("caffe_over_paper", results["Caffe, PyTorch"][5] / results["paper, Chainer"][5])
lesson.answer(
    "the loud channel comes out "
    f"{results['Caffe, PyTorch'][5] / results['paper, Chainer'][5]:.1f} times as large with "
    "Caffe's convention as with the paper's."
)

# %% [markdown]
# Weights trained with one of them do not work with another. And there are two more traps.
#
# *Windows of even size.* Written as $i - n/2 \ldots i + n/2$, a window of $n = 4$ has five
# channels. The source of 2012 and PyTorch take four, leaning to the left: $i - 2 \ldots i + 1$.
# ONNX leans to the right. *The seam.* AlexNet's channels are on two GPUs, and windows do not reach
# from one to the other: two separate normalisations. Caffe, on one GPU, normalises across. Let one
# channel be loud, 200, and all others 10, and see who is turned down:

# %%
lesson.predict(
    "Eight channels, channel 3 loud, the seam between 3 and 4. With the seam, who is turned down?",
    "channels 1 to 5",
    "channels 1 to 3",
    "channel 3",
)
loud = np.full((1, 8, 1, 1), 10.0)
loud[0, 3] = 200.0
mirrored = lrn(loud[:, ::-1], 4)[:, ::-1]  # leaning to the right: a mirror does it
windows = {"size 5": lrn(loud, 5), "size 5, seam after channel 3": lrn(loud, 5, groups=2),
           "size 4, leans to the left": lrn(loud, 4), "size 4, leans to the right": mirrored}
lesson.table(
    ["share kept by channel", *map(str, range(8))],
    [[name, *(f"{v:.2f}" for v in (values / loud).ravel())] for name, values in windows.items()],
)
turned_down = {
    name: np.flatnonzero((values / loud).ravel() < 0.5) for name, values in windows.items()
}
lesson.number("turned_down_with_seam", len(turned_down["size 5, seam after channel 3"]))
lesson.number("turned_down_without", len(turned_down["size 5"]))
lesson.answer("channels 1 to 3: the other GPU hears nothing.")

# %% [markdown]
# (Read the rows of size 4 with care: channel $i$ is turned down when the loud one is in *its*
# window. Windows that lean to the left look back, so it is the channels to the right of the loud
# one that feel it more.)
#
# ## 3. Before or after the ReLU?
#
# The paper normalises "after applying the ReLU nonlinearity in certain layers". The released
# source does so in layer 2, but in layer 1 its order is convolution, LRN, pool, ReLU: there the
# squares of *negative* values count, and a channel that the ReLU is about to silence still turns
# its neighbours down.

# %%
lesson.section("3. Before or after the ReLU?")
lesson.predict(
    "Which order makes the outputs smaller?",
    "ReLU first",
    "LRN first",
    "neither: they are the same",
)
# 8 channels of one pixel, (1, 8, 1, 1)
signed = np.array([60, -150, 90, 40, -200, 30, 120, -80], np.float64).reshape(1, 8, 1, 1)
orders = {"ReLU, then LRN (paper)": lrn(np.maximum(signed, 0)), "LRN, then ReLU (source, layer 1)":
          np.maximum(lrn(signed), 0)}
lesson.table(["order", *(f"a = {v:g}" for v in signed.ravel())],
             [[name, *(f"{v:.2f}" for v in values.ravel())] for name, values in orders.items()])
first, second = (values.sum() for values in orders.values())
lesson.number("lrn_first_over_relu_first", second / first)
lesson.answer(
    "LRN first: its sums are never smaller, as they have the squares of the negative values, too."
)

# %% [markdown]
# ## 4. The gradient, with its cross term
#
# Write $s_i = k + \alpha \sum_{j \in \text{window}(i)} x_j^2$, so that $y_i = x_i \,
# s_i^{-\beta}$. How does $y_j$ change with $x_i$? In the numerator $x_i$ appears in $y_i$ only. In
# the denominator it appears in every $y_j$ whose window holds $i$, with $\partial s_j / \partial
# x_i = 2 \alpha x_i$. By the product rule,
#
# $$\frac{\partial y_j}{\partial x_i} = [i = j] \, s_i^{-\beta}
#   \; - \; \beta \, x_j \, s_j^{-\beta - 1} \cdot 2 \alpha x_i \cdot [i \in \text{window}(j)].$$
#
# A loss with gradients $g_j$ at the outputs sends back to $x_i$ the sum over all $j$:
#
# $$g_{x_i} = g_i \, s_i^{-\beta} \; - \; 2 \alpha \beta \, x_i
#   \sum_{j:\; i \in \text{window}(j)} g_j \, x_j \, s_j^{-\beta - 1}.$$
#
# The second part is the *cross term*: what $i$ did to the others. Mind its sum. It runs over the
# channels whose windows contain $i$, not over the window of $i$: that is the mirror image, and the
# same only for odd sizes.
#
# Below is the whole matrix $\partial y_j / \partial x_i$ for our pixel, from the package's
# backward, one row for each output; next to it the check by central differences that you know from
# lesson 04.

# %%
lesson.section("4. The gradient, with its cross term")
lesson.predict(
    "In the matrix, what is the sign of the entries off the diagonal?",
    "negative or 0",
    "positive or 0",
    "both occur",
)


def gradient(x, g, size=5, alpha=1e-4, beta=0.75, k=2.0):
    """The package's gradient of <g, lrn(x)>."""
    leaf = tensor(x, requires_grad=True)
    F.local_response_norm(leaf, size, alpha * size, beta, k).backward(backend.asarray(g))
    return backend.to_numpy(leaf.grad)


# (j, i)
jacobian = np.stack(
    [gradient(pixel, np.eye(16)[j].reshape(1, 16, 1, 1)).ravel() for j in range(16)]
)
step = 1e-3
differences = np.stack([(lrn(pixel + step * e) - lrn(pixel - step * e)).ravel() / (2 * step)
                        for e in np.eye(16).reshape(16, 1, 16, 1, 1)], axis=1)
figure, axes = plt.subplots(figsize=(5.4, 4.4))
image = axes.imshow(jacobian, cmap="RdBu_r", vmin=-0.15, vmax=0.15)
axes.set(
    xlabel="i: the input that moves",
    ylabel="j: the output that answers",
    xticks=range(0, 16, 5),
    yticks=range(0, 16, 5),
    title="Blue: one channel up, its neighbour down",
)
figure.colorbar(image, extend="both", label=r"$\partial y_j / \partial x_i$")
figure.tight_layout()
lesson.show(figure, "4_jacobian")
print(f"largest difference from central differences: {np.abs(jacobian - differences).max():.1e}")
off = jacobian[~np.eye(16, dtype=bool)]
lesson.number("largest_off_diagonal", off.max())
lesson.number("diagonal_at_5", jacobian[5, 5])
lesson.answer(
    "negative or 0, for values that are not negative: to speak up is to turn the others down."
)

# %% [markdown]
# Off the diagonal an entry grows with the product of the two values: it is darkest between
# channels 11 and 12, two loud neighbours. And look at the diagonal at channel 5, the loudest:
# nearly 0. Its own square is most of its $s$, so that when it says more, hardly more comes out. It
# is saturated, in the words of lesson 05.
#
# A backward without the cross term would be the diagonal's first part alone. How wrong would that
# be? It depends, again, on the scale:

# %%
lesson.predict(
    "Leave the cross term out, at alpha = 1e-4 and values around 1: the gradient is wrong by",
    "a half",
    "a few per cent",
    "one part in ten thousand or so",
)
draw = rng(lesson.seed, "gradient")
rows = []
for size_of_values, alpha in ((1, 1e-4), (100, 1e-4), (1, 1.0)):
    x = size_of_values * draw.standard_normal((4, 16, 5, 5))
    g = draw.standard_normal((4, 16, 5, 5))
    exact = gradient(x, g, alpha=alpha)
    direct = g * lrn(x, alpha=alpha) / x  # g s^-beta: the first term alone
    error = float(np.linalg.norm(direct - exact) / np.linalg.norm(exact))
    rows.append([size_of_values, f"{alpha:g}", f"{error:.1e}"])
    lesson.number(f"no_cross_term_{size_of_values}_{alpha:g}", error)
lesson.table(["values around", "alpha", "relative error without the cross term"], rows)
lesson.answer(
    "one part in ten thousand or so: a test at alpha = 1e-4 on such values would let it pass."
)

# %% [markdown]
# The lesson for testing: make large what you test. The package checks its LRN at $\alpha = 1$ as
# well.
#
# ## 5. Four ways to add up a window
#
# The squares, the power, the quotient: all that is element by element. The work is in the sums
# over windows, and the obvious ways differ. Values are $(N, C, H, W)$; we want for each channel
# the sum over itself and two to each side.

# %%
lesson.section("5. Four ways to add up a window")
lesson.predict(
    "A running sum needs two additions per channel instead of five. Is it the fastest?",
    "yes, by far",
    "about the same as the others",
    "no",
)
N = 16
C = 96
side = lesson.pick(27, 55)
squares = np.square(rng(lesson.seed, "timing").standard_normal((N, C, side, side), np.float32))


def by_channel(v, r=2):
    """Loop over channels, add up each one's window."""
    return np.stack([v[:, max(0, i - r):i + r + 1].sum(axis=1) for i in range(v.shape[1])], axis=1)


def by_shifts(v, r=2):
    """Add 2 r + 1 shifted copies of an array with r empty channels at both ends."""
    padded = np.pad(v, ((0, 0), (r, r), (0, 0), (0, 0)))
    out = padded[:, :v.shape[1]].copy()
    for d in range(1, 2 * r + 1):
        out += padded[:, d:d + v.shape[1]]
    return out


def by_running_sum(v, r=2):
    """Sum over 0 ... i + r less sum over 0 ... i - r - 1."""
    total = np.cumsum(np.pad(v, ((0, 0), (r + 1, r), (0, 0), (0, 0))), axis=1)
    return total[:, 2 * r + 1:] - total[:, :-2 * r - 1]


def by_band(v, r=2):
    """One product with a matrix that is 1 in a band along its diagonal and 0 elsewhere."""
    i = np.arange(v.shape[1])
    band = (np.abs(i[:, None] - i) <= r).astype(v.dtype)                  # (C, C)
    return (band @ v.reshape(len(v), v.shape[1], -1)).reshape(v.shape)


exact = by_shifts(squares.astype(np.float64))
ways = {
    "channel by channel": by_channel,
    "shifted copies": by_shifts,
    "running sum": by_running_sum,
    "banded matrix": by_band,
}
took = {
    name: kit.fastest(lambda f=f: f(squares), rounds=lesson.pick(3, 7)) for name, f in ways.items()
}
errors = {name: float(np.abs(f(squares) - exact).max() / exact.max()) for name, f in ways.items()}
lesson.table(["way", "ms", "additions per value", "largest error (float32)"],
             [[name, f"{1e3 * took[name]:.1f}", n, f"{errors[name]:.0e}"]
              for name, n in zip(ways, ("5", "5", "2", f"{C} multiply-adds"))])
figure, axes = plt.subplots(figsize=(7, 2.4))
axes.barh(list(ways), [1e3 * t for t in took.values()], color=RUNS[1])
axes.invert_yaxis()
axes.set(xlabel="ms", title=f"Window sums of {N} x {C} x {side} x {side} values")
figure.tight_layout()
lesson.show(figure, "5_window_sums")
lesson.number("running_sum_error", errors["running sum"])
lesson.number("shifts_error", errors["shifted copies"])
lesson.answer(
    "see the table: counting additions does not tell which is fastest; moving memory costs as "
    "much. And the error of the running sum is "
    f"{errors['running sum'] / errors['shifted copies']:.0f} times as large."
)

# %% [markdown]
# The running sum subtracts two large numbers to get a small one, and their rounding errors stay.
# The banded matrix multiplies by many zeros, and yet it is good, because a matrix product is what
# a computer does best, and all the work is one call. The package goes this way: it keeps the
# channels last in memory and cuts the band to 32 channels at a time, so that fewer zeros are
# multiplied, with alpha in the band already.
#
# ## 6. Does it help?
#
# The paper says 1.4 points. Let us try, and be fair. LRN does two things: it multiplies by
# $2^{-0.75}$ where nothing is loud, and it lets neighbours compete. A layer that multiplies by a
# constant changes how fast training goes, because it scales what comes through and what goes back.
# So there are three nets: without anything, with the constant alone ($\alpha = 0$), and with LRN
# as it ran in 2012 (with $\alpha / n$). If LRN competes usefully, the third must beat the
# *second*. The full lesson has a fourth, the stronger LRN that the authors used for CIFAR-10: 9
# channels, $\alpha / n = 0.001 / 9$, $k = 1$. The net has two convolutions, sees raw pixels, and
# all share one learning rate.

# %%
lesson.section("6. Does it help?")
lesson.predict(
    "Test error with LRN, compared with the constant alone?",
    "clearly lower on each seed",
    "no difference that we can see",
    "clearly higher",
)
train, test = lesson.data(lesson.pick(1000, 4000), lesson.pick(1000, 2000))
mean = train.mean_image()
EPOCHS = 5
BATCH = 32
SEEDS = lesson.pick(2, 3)
RATE = 0.001


def pictures(part):
    """(N, 3, 32, 32), -255 ... 255: raw pixels less the mean image, as in 2012."""
    # (N, H, W, C) -> (N, C, H, W)
    return (part.images - mean).transpose(0, 3, 1, 2).astype(np.float32)


def block(maps, out, std, norm):
    """A convolution, its pool, its unit, and the normalisation if there is one: LRN behind the
    unit, as in the paper, batch normalisation (section 8) before it."""
    convolution = nn.Conv2d(
        maps, out, 5, padding=2, weight_init=init.gaussian(std), bias_init=init.constant(0)
    )
    before = [nn.BatchNorm2d(out)] if norm == "batch" else []
    behind = [nn.LocalResponseNorm(**norm)] if isinstance(norm, dict) else []
    return [convolution, *before, nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), *behind]


def error_after_training(norm, seed, rate=RATE):
    """(the network, its error on the test set in %)."""
    mt.manual_seed(seed)
    net = nn.Sequential(
        *block(3, 16, 0.0001, norm),
        *block(16, 32, 0.01, norm),
        nn.Flatten(),
        nn.Linear(32 * 64, 10, weight_init=init.gaussian(0.01), bias_init=init.constant(0)),
    )
    optimizer = optim.SGD(net.parameters(), rate, momentum=0.9)
    draw = rng(seed, "lrn")
    x = pictures(train)
    for _ in range(EPOCHS):
        order = draw.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            now = order[start:start + BATCH]
            optimizer.zero_grad()
            F.cross_entropy(net(tensor(x[now])), train.labels[now]).backward()
            optimizer.step()
    net.eval()
    with mt.no_grad():
        guesses = np.concatenate([net(tensor(part)).numpy().argmax(axis=1)
                                  for part in np.array_split(pictures(test), 8)])
    return net, 100 * float((guesses != test.labels).mean())


NORMS = {
    "none": None,
    "constant 0.595 alone": dict(size=5, alpha=0.0, beta=0.75, k=2.0),
    "LRN of 2012": dict(size=5, alpha=1e-4, beta=0.75, k=2.0),  # the layer divides alpha by size
    "LRN of the CIFAR net": dict(size=9, alpha=0.001, beta=0.75, k=1.0),
}
if lesson.quick:
    del NORMS["LRN of the CIFAR net"]
outcome = {
    name: [error_after_training(norm, seed) for seed in range(SEEDS)]
    for name, norm in NORMS.items()
}
lesson.table(
    ["normalisation", *(f"seed {seed}" for seed in range(SEEDS)), "mean"],
    [
        [
            name,
            *(f"{error:.1f}" for _, error in runs),
            f"{np.mean([error for _, error in runs]):.1f}",
        ]
        for name, runs in outcome.items()
    ],
)
means = {name: float(np.mean([error for _, error in runs])) for name, runs in outcome.items()}
figure, axes = plt.subplots(figsize=(7, 2.6))
for row, (name, runs) in enumerate(outcome.items()):
    axes.plot([error for _, error in runs], [row] * SEEDS, "o", color=RUNS[row], ms=7, alpha=0.8)
    axes.plot([means[name]] * 2, [row - 0.3, row + 0.3], color=RUNS[row], lw=2)
axes.set(
    yticks=range(len(NORMS)),
    yticklabels=list(NORMS),
    xlabel="test error, %",
    ylim=(len(NORMS) - 0.5, -0.5),
    title=f"Test error by normalisation: {SEEDS} seeds, the bar is their mean",
)
figure.tight_layout()
lesson.show(figure, "6_does_it_help")
spread = 100 * float(np.sqrt(0.01 * means["none"] * (1 - 0.01 * means["none"]) / len(test)))
gain = means["constant 0.595 alone"] - means["LRN of 2012"]
lesson.number("gain_of_2012", gain)
lesson.number("gain_of_the_constant", means["none"] - means["constant 0.595 alone"])
lesson.answer(
    f"LRN of 2012 against its constant: {gain:+.1f} points of gain in the mean of {SEEDS} seeds; "
    f"counting on {len(test):,} images alone has a standard deviation of {spread:.1f}."
)

# %% [markdown]
# Look at the first two rows before you look at the third. They differ by points, though the second
# net can do nothing that the first could not: a multiplication by a constant is another learning
# rate and another start in disguise. On shapes it costs in the quick lesson, which stops early,
# and gains a lot in the full one, where the shared rate proves too fast for the bare net. Had we
# left out the second row, we would now report a large effect of LRN, with all seeds in agreement,
# and it would be the effect of a smaller learning rate. (Set `RATE` to half of it and run again.)
# A comparison is worth as much as its control.
#
# Now the third row against the second: compare the gain with the scatter between the seeds, and
# with the standard deviation of the count, before you believe in it. A few seeds of a small net on
# a few thousand images cannot show an effect of a point, either way, and so we claim none. What
# others found: the logs in the released source agree with the paper's 1.4 points for removing all
# normalisations, and they also have a run without those of the second layer alone, which lost
# nothing. VGG, two years later: LRN "does not improve the performance on the ILSVRC dataset, but
# leads to increased memory consumption and computation time".
#
# ## 7. And batch normalisation?
#
# Three years later a different normalisation made deep networks much easier to train. The names
# are similar; little else is.

# %%
lesson.section("7. And batch normalisation?")
lesson.table(
    ["", "LRN (2012)", "batch normalisation (2015)"],
    [
        [
            "one value is compared with",
            "neighbouring channels, same place",
            "same channel, all places, all images",
        ],
        ["subtracts the mean", "no", "yes"],
        ["divides by", "(k + alpha sum of squares)^0.75", "standard deviation"],
        ["learnt parameters", "none", "a scale and a shift per channel"],
        ["at test time", "the same", "with averages kept from training"],
        ["depends on the other images", "no", "yes, in training"],
        ["units of its input matter", "yes: see section 1", "no"],
    ],
)
lesson.predict(
    "Make one image's maps three times as strong. By what factor do its outputs grow, under LRN?",
    "1: it is normalised",
    "between 1 and 3",
    "3",
)
net = outcome["none"][0][0]
with mt.no_grad():
    value = tensor(pictures(test.subset(slice(64))))
    for layer in list(net.children())[:3]:  # conv1, its pool, its unit
        value = layer(value)
maps = value.numpy().astype(np.float64)                                 # (64, 16, 16, 16)


def batch_norm(x):
    """Each channel minus its mean over the batch, divided by its standard deviation.

    This is the formula in training, without scale and shift.
    """
    return (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(
        x.var(axis=(0, 2, 3), keepdims=True) + 1e-5
    )


def strong_lrn(x):
    return lrn(x, 9, 0.001 / 9, 0.75, 1.0)


def growth(f, x, changed, where):
    """By which factor the typical size of f's output at `where` grows when x becomes `changed`."""
    return float(np.linalg.norm(f(changed)[where]) / np.linalg.norm(f(x)[where]))


FUNCTIONS = {
    "nothing": lambda x: x,
    "LRN of 2012": lambda x: lrn(x, 5, 1e-4 / 5),
    "LRN of the CIFAR net": strong_lrn,
    "batch normalisation": batch_norm,
}
one = maps.copy()
others = maps.copy()
one[0] *= 3  # image 0 three times as strong
others[1:] *= 3                                                         # all but image 0
everything = 3 * maps
rows = [
    [
        name,
        growth(f, maps, one, 0),
        growth(f, maps, others, 0),
        growth(f, maps, everything, slice(None)),
    ]
    for name, f in FUNCTIONS.items()
]
lesson.table(
    ["size of the output, as a factor", "image 0 x 3", "the others x 3, seen in 0", "all x 3"],
    [[name, *(f"{v:.2f}" for v in values)] for name, *values in rows],
)
lesson.number("lrn_cifar_growth", rows[2][1])
lesson.number("lrn_others", rows[2][2])
lesson.number("bn_all", rows[3][3])
figure, panels = plt.subplots(1, 3, figsize=(8.4, 2.9), sharey=True)
for axes, (name, values) in zip(
    panels,
    (
        ("ReLU alone", maps),
        ("LRN of the CIFAR net", strong_lrn(maps)),
        ("batch normalisation", batch_norm(maps)),
    ),
):
    axes.boxplot(
        [values[:, c].ravel() / values.std() for c in range(16)],
        positions=range(16),
        whis=(5, 95),
        showfliers=False,
        manage_ticks=False,
        medianprops={"color": RUNS[0]},
    )
    axes.set(title=name, xlabel="channel", xticks=range(0, 16, 5))
panels[0].set_ylabel("values / std of all")
figure.suptitle(
    "Only batch normalisation makes channels alike (5 % to 95 % of their values)",
    x=0.01,
    ha="left",
    fontsize=11,
)
figure.tight_layout()
lesson.show(figure, "7_batch_norm")
lesson.answer(
    "between 1 and 3. LRN damps contrast image by image; batch normalisation makes channels alike."
)

# %% [markdown]
# Read the middle column: under batch normalisation an image's output depends on who else is in the
# batch, under LRN it does not. Read the last: batch normalisation does not care about units at
# all, whatever the layers before do to the scale of the values, it undoes it; that is what makes
# deep stacks trainable. LRN only damps.
#
# ## 8. The two, trained
#
# Does it show in a training? The net of section 6 three times: without anything, with LRN of 2012
# behind each unit, with batch normalisation before each unit, where Ioffe and Szegedy have it.
# Section 6 warns that a layer which scales its values is a learning rate in disguise. So each net
# is trained at two rates: that of section 6, and ten times as much.

# %%
lesson.section("8. The two, trained")
lesson.predict(
    "At ten times the rate, which of the three nets still learns?",
    "none of them",
    "those with a normalisation",
    "the one with batch normalisation alone",
)
RATES = (RATE, 10 * RATE)
TRAINED = {"none": None, "LRN of 2012": NORMS["LRN of 2012"], "batch normalisation": "batch"}


def errors_at(name, rate):
    """The test error of each seed in %; section 6 has some of these trainings already."""
    if rate == RATE and name in outcome:
        return [error for _, error in outcome[name]]
    return [error_after_training(TRAINED[name], seed, rate)[1] for seed in range(SEEDS)]


at_rate = {name: [errors_at(name, rate) for rate in RATES] for name in TRAINED}
lesson.table(
    ["test error, %, of each seed", *(f"rate {rate:g}" for rate in RATES)],
    [
        [name, *("  ".join(f"{error:.1f}" for error in errors) for errors in both)]
        for name, both in at_rate.items()
    ],
)
figure, axes = plt.subplots(figsize=(7, 2.8))
for row, (name, both) in enumerate(at_rate.items()):
    for rate, errors in zip(RATES, both):
        axes.plot([rate * (0.9 + 0.1 * row)] * SEEDS, errors, "o", color=RUNS[row], ms=6)
    middles = [np.mean(errors) for errors in both]
    axes.plot([rate * (0.9 + 0.1 * row) for rate in RATES], middles, color=RUNS[row], label=name)
axes.axhline(90, color=FAINT, lw=1)
axes.set(
    xscale="log",
    xticks=RATES,
    xticklabels=[f"{rate:g}" for rate in RATES],
    xlim=(RATE / 2, 20 * RATE),
    ylim=(0, 95),
    xlabel="learning rate",
    ylabel="test error, %",
    title="Test error at two rates: dots are seeds, the grey line is guessing",
)
axes.minorticks_off()
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure.tight_layout()
lesson.show(figure, "8_two_rates")
fast = {name: float(np.mean(both[1])) for name, both in at_rate.items()}
best = {name: min(float(np.mean(errors)) for errors in both) for name, both in at_rate.items()}
lesson.number("none_at_ten_times", fast["none"])
lesson.number("batch_norm_at_ten_times", fast["batch normalisation"])
lesson.number("gain_of_batch_norm", best["LRN of 2012"] - best["batch normalisation"])
lesson.answer(
    "at ten times the rate the mean error is "
    + ", ".join(f"{error:.0f} % ({name})" for name, error in fast.items())
    + "; guessing is 90 %. Each at the better of its two rates: "
    + ", ".join(f"{error:.0f} % ({name})" for name, error in best.items())
    + "."
)

# %% [markdown]
# Batch normalisation makes the rate matter less: whatever the weights do to the scale of the maps,
# the next layer does not see it. That is what it is first of all: a training that works without
# luck. Whether it also ends lower is another question, and the last line of the answer has it for
# this net, each at the better of its two rates. In the quick lesson, which stops after 155 steps,
# it ends higher: gains of normalisation are gains of long trainings and deep nets, and this net is
# neither.
#
# An AlexNet with batch normalisation in place of LRN has 39.9 / 18.1 % error with a single crop,
# and needs no mean image (Simon, Rodner and Denzler 2016, arXiv:1612.01452, and the README of
# cvjena/cnn-models): level with the paper's 40.7 / 18.2 %, which are an average over ten crops.
# `python -m minitorch_alex.ablate batch-norm` trains the package's AlexNet for CIFAR-10 with LRN,
# with batch normalisation and with neither, and docs/results.md has what came of it; the preset
# `bn` is the AlexNet with batch normalisation that LARS was tried on.
#
# ## Now you
#
# In `lessons/exercises/06_lrn.py`; `python -m minitorch_alex.check 06` checks them.
#
# * **6.1** `lrn`: the printed formula, for any window size. Part of your AlexNet.
# * **6.2** `lrn_backward`: with the cross term, and the mirrored window. Part of your AlexNet,
#   too.
# * **6.3** `lrn_in_review`: its author's test passes, and it is wrong. Find out why the test
#   passes, and fix the code.
# * **6.4** `ALPHA_OF_2012` and **6.5** `VALUE_THAT_IS_HALVED`: one number in two conventions, and
#   when LRN begins to matter.
#
# ## Where this is in the package
#
# * `minitorch_alex/functional/lrn.py`: `local_response_norm`, with `groups` for the seam and
#   `within_map` for the third, unpublished normalisation of the released source
# * `minitorch_alex/kernels/naive.py`: `lrn`, `lrn_backward`, loops from the formula;
#   `kernels/cpu/lrn.py`: the band
# * `minitorch_alex/models/alexnet.py`: the presets `paper`, `source_2012` and `caffe`, which
#   differ in all this, and `bn`
# * `minitorch_alex/functional/norm.py`: `batch_norm`, and `nn.BatchNorm2d` in `layers.py`

# %%
lesson.done()
