# %% [markdown]
# # 4. Is the gradient right?
#
# **Goal.** The two gradients that carry AlexNet, of convolution and of overlapping max pooling,
# derived and written as loops. Then a check that finds out whether a gradient is right without
# knowing the formula, and the choices that decide whether such a check sees anything: the step,
# the cotangent, the tolerance.
#
# **You need** lesson 2 (im2col, col2im) and lesson 3 (a backward turns the gradient of a result
# into its inputs').
#
# **Time.** A few seconds. **Files:** `runs/lessons/04_gradcheck/*.png`.

# %%
import kit  # finds the package next to this folder, installed or not
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import Tensor, backend
from minitorch_alex import functional as F
from minitorch_alex.gradcheck import GradcheckError
from minitorch_alex.plots.style import FAINT, INK

lesson = kit.Lesson("04_gradcheck")
rng = np.random.default_rng(lesson.seed)
BLUE = "#3b6ea5"
RED = "#c8451b"
NOTE = "#66707a"

# %% [markdown]
# ## 1. The gradient of a convolution
#
# $$ y_{n,o,i,j} = b_o + \sum_{c,k,l} x_{n,\,c,\,iS-P+k,\,jS-P+l} \; w_{o,c,k,l} $$
#
# A sum of products. Each product $x \cdot w$ goes into exactly one $y$, and the gradient of a
# product is the other factor. So run the same seven loops, and at each product, where forward
# *read* a pixel and a weight, *add*:
#
# * to the pixel's gradient: $g_y$ times the weight,
# * to the weight's gradient: $g_y$ times the pixel,
# * and once for each $y$, to the bias's gradient: $g_y$.
#
# This is lesson 3's rule, gradients of all uses add up, applied product by product.
#
# Seen from a pixel, at stride 1 and without padding: the one in row $r$ and column $s$ was read by
# the window at $(r-k,\, s-l)$ with the weight $w_{o,c,k,l}$. So its gradient is $\sum_{o,k,l}
# w_{o,c,k,l}\; g_{y;\,n,o,r-k,s-l}$. The indices run backwards: this is the convolution of
# mathematics, with lesson 1's turned kernel. Neither the loops nor `col2im` need to be told:
# adding where forward read turns it.


# %%
def conv2d_backward_loops(gy, x, w, stride, padding):
    """gx (N,C,H,W), gw (O,C,KH,KW), gb (O,) of y = conv2d(x, w, b); gy (N,O,OH,OW)."""
    N, C, H, W = x.shape
    O, C, KH, KW = w.shape
    gx = np.zeros_like(x)
    gw = np.zeros_like(w)
    gb = np.zeros(O)
    for n, o, i, j in np.ndindex(gy.shape):
        gb[o] += gy[n, o, i, j]
        for k, l in np.ndindex(KH, KW):
            row = i * stride - padding + k
            column = j * stride - padding + l
            if 0 <= row < H and 0 <= column < W:  # padding is not anyone's pixel
                gx[n, :, row, column] += gy[n, o, i, j] * w[o, :, k, l]
                gw[o, :, k, l] += gy[n, o, i, j] * x[n, :, row, column]
    return gx, gw, gb


lesson.section("1. The gradient of a convolution")
lesson.predict(
    "A pixel in the middle of an image, a 3x3 kernel: how many outputs does it feed at stride 1, "
    "and at stride 2?",
    "9 and 9",
    "9 and 1, 2 or 4",
    "3 and 2",
)

heard = []
for stride in (1, 2):
    size = (9 - 3) // stride + 1
    heard.append(
        conv2d_backward_loops(
            np.ones((1, 1, size, size)), np.zeros((1, 1, 9, 9)), np.ones((1, 1, 3, 3)), stride, 0
        )[0][0, 0]
    )
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.9))
for ax, counts, stride in zip(axes, heard, (1, 2)):
    ax.imshow(counts, cmap="Blues", vmin=0, vmax=14)
    for (r, c), value in np.ndenumerate(counts):
        ax.text(c, r, f"{value:g}", ha="center", va="center", color=INK, fontsize=10)
    ax.set(xticks=[], yticks=[], title=f"stride {stride}: outputs that read each pixel")
    ax.spines[:].set_visible(False)
fig.suptitle(
    "The gradient of a pixel is a sum over all windows that saw it (3x3 kernel, 9x9 image)",
    x=0.12,
    ha="left",
    fontsize=11.5,
)
lesson.show(fig, "windows")
lesson.number("heard_stride_1", heard[0][4, 4])
lesson.number("heard_stride_2_most", heard[1].max())
lesson.answer(
    "9; and 1, 2 or 4, in a pattern. At the rim fewer: the gradient of a border pixel is a "
    "smaller sum."
)

# %% [markdown]
# **As matrices.** Lesson 2 wrote the convolution as a product: with the matrix $X$ of `im2col`,
# one row for each place, and the kernels as the rows of $W$, it is $Y = X W^T$. With $G$, the
# gradient of $Y$ in the same layout, the product's gradients are
#
# $$ g_W = G^T X, \qquad g_X = G\,W, \qquad g_x = \mathrm{col2im}(g_X), \qquad
#    g_b = \text{column sums of } G . $$
#
# `im2col` copies pixels into several rows, and `col2im` adds the copies' gradients up: it is the
# transpose of the copying. You write this form in exercise 4.1. Here the loops are compared with
# the package, which does it in blocks.

# %%
def backward_of(fn, gy, *arrays):
    """The package's gradients of (fn(*arrays) * gy).sum(), one for each array."""
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    fn(*tensors).backward(gy)
    return tuple(t.grad for t in tensors)


x = rng.standard_normal((2, 3, 8, 7))
w = rng.standard_normal((4, 3, 3, 3))
b = rng.standard_normal(4)
rows = []
for stride, padding in ((1, 0), (1, 1), (2, 1), (4, 2)):
    def conv(x, w, b, stride=stride, padding=padding):
        return F.conv2d(x, w, b, stride, padding)
    y = conv(Tensor(x), Tensor(w), Tensor(b)).data
    gy = rng.standard_normal(y.shape)
    ours = conv2d_backward_loops(gy, x, w, stride, padding)
    theirs = backward_of(conv, gy, x, w, b)
    through_x = (ours[0] * x).sum() + (gy * b[:, None, None]).sum()
    rows.append(
        (
            stride,
            padding,
            *(abs(o - t).max() for o, t in zip(ours, theirs)),
            abs((y * gy).sum() - through_x),
        )
    )
lesson.number("conv_difference", max(max(row[2:5]) for row in rows))
lesson.table(
    ["stride", "padding", "gx differs by", "gw", "gb", "<y, gy> - <x, gx> - <b, gb>"], rows
)

# %% [markdown]
# The last column is a check without any oracle. Except for the bias, whose share $\langle b,
# g_b\rangle$ is subtracted, a convolution is linear in $x$. So $\langle y, g_y\rangle = \langle x,
# g_x\rangle$ must hold for *every* $g_y$: that is what "transpose" means (lesson 2). One line, and
# most wrong $g_x$ fail it.
#
# ## 2. The gradient of overlapping max pooling
#
# The paper pools 3x3 windows that are 2 apart (section 3.4): they overlap. The maximum is one of
# the pixels, unchanged, so its slope is 1 for the winner and 0 for all others. **The winner takes
# all.** And because windows overlap, a pixel can win two or four of them, and then it gets the
# sum.

# %%
lesson.section("2. The gradient of overlapping max pooling")
lesson.predict(
    "Random pixels, 3x3 windows 2 apart. Which share of the pixels gets any gradient at all?",
    "a quarter, one pixel for each window",
    "less than that",
    "all",
)
# 49 different values -> (N, C, H, W) = (1, 1, 7, 7)
small = np.random.default_rng(3).permutation(49).reshape(1, 1, 7, 7).astype(float)
won = backward_of(lambda x: F.max_pool2d(x, 3, 2), np.ones((1, 1, 3, 3)), small)[0][0, 0]

maxima = F.max_pool2d(Tensor(small), 3, 2).data[0, 0]
# one for each winner
colour = dict(zip(np.unique(maxima), ("#b9d3ea", "#f4c9a3", "#bfe0c3", "#e3c4e4", "#f2e2a0")))
fig, axes = plt.subplots(1, 3, figsize=(9.2, 3.9), width_ratios=(7, 4.2, 7))
for ax, cells, winner, title in ((axes[0], small[0, 0], won > 0, "x: nine windows, five winners"),
                                 (axes[1], maxima, maxima > 0, "y: their maxima"),
                                 (axes[2], won, won > 0, "gx, when each of gy is 1")):
    for (r, c), value in np.ndenumerate(cells):
        face = "white"
        if winner[r, c]:
            face = colour[small[0, 0, r, c] if cells is won else value]
        ax.add_patch(plt.Rectangle((c - 0.5, r - 0.5), 1, 1, facecolor=face, edgecolor=FAINT))
        ax.text(
            c,
            r,
            f"{value:g}",
            ha="center",
            va="center",
            fontsize=10.5,
            color=INK if winner[r, c] else NOTE,
            fontweight="bold" if winner[r, c] else "normal",
        )
    side = len(cells)
    ax.set(xlim=(-0.6, side - 0.4), ylim=(side - 0.4, -0.6), aspect="equal")
    ax.axis("off")
    ax.set_title(title)
axes[0].add_patch(plt.Rectangle((1.5, 1.5), 3, 3, facecolor="none", edgecolor=RED, lw=1.8))
axes[1].add_patch(plt.Rectangle((0.5, 0.5), 1, 1, facecolor="none", edgecolor=RED, lw=1.8))
fig.suptitle(
    "Each gradient goes back to the pixel that won its window, and adds up there (red: one "
    "window)",
    x=0.125,
    ha="left",
    fontsize=11.5,
)
lesson.show(fig, "routing")

large = rng.permutation(4 * 55 * 55).reshape(4, 1, 55, 55).astype(float)  # (N, C, H, W)
share = []
for size, stride in ((2, 2), (3, 2)):
    out = (55 - size) // stride + 1
    won = backward_of(
        lambda x, s=size, t=stride: F.max_pool2d(x, s, t), np.ones((4, 1, out, out)), large
    )[0]
    share.append(
        (f"{size}/{stride}", out, 100 * (won > 0).mean(), 100 * (won > 1).mean(), int(won.max()))
    )
lesson.table(
    ["size/stride", "maxima per side", "% of pixels that win", "% that win twice or more", "most"],
    share,
)
lesson.number("winners_percent", share[1][2])
lesson.number("winners_twice_percent", share[1][3])
lesson.number("winners_twice_percent_2_2", share[0][3])
lesson.answer("less than a quarter, since some pixels win several windows. With 2/2 no pixel can.")

# %% [markdown]
# That is why `=` in place of `+=` is a bug which a test with 2/2 pooling never sees. Equal values
# need a rule too: here, as in PyTorch, the first in reading order wins. They are common, as whole
# windows are 0 after a ReLU.
#
# ## 3. Asking the function itself
#
# How would we know that a gradient is right, without another implementation? By the definition of
# a slope: move one number a little, and see how the result moves.
#
# $$ \frac{f(x+\varepsilon) - f(x)}{\varepsilon} \quad\text{(one side)} \qquad\qquad
#    \frac{f(x+\varepsilon) - f(x-\varepsilon)}{2\varepsilon} \quad\text{(both sides)} $$
#
# By Taylor's series the first is wrong by $\frac{\varepsilon}{2} f''$, the second only by
# $\frac{\varepsilon^2}{6} f'''$: so take both sides, and $\varepsilon$ as small as possible. As
# small as possible?

# %%
lesson.section("3. Asking the function itself")
lesson.predict(
    "Both sides, in float64. Which eps gives the smallest error?", "1e-2", "1e-5", "1e-8", "1e-15"
)
steps = 10.0 ** np.arange(-13, 0.01, 0.5)
point = rng.standard_normal((2, 6, 3, 3))
cotangent = rng.standard_normal((2, 6, 3, 3))


def normalise(x):
    """The function under test: LRN with a visible curve, alpha is 1 (5 divided by the window)."""
    return F.local_response_norm(x, 5, 5.0, 0.75, 2.0)


def errors(dtype, both):
    """For each eps, the median relative error of the difference quotient over random directions.

    All of it is computed in `dtype`.
    """
    x = point.astype(dtype)
    c = cotangent.astype(dtype)
    gradient = backward_of(normalise, c.astype(np.float64), x.astype(np.float64))[0]
    found = []
    for seed in range(lesson.pick(15, 60)):
        d = np.random.default_rng(seed).standard_normal(x.shape).astype(dtype)
        d /= np.linalg.norm(d)
        exact = (gradient * d).sum()
        at = [
            [
                float((normalise(Tensor(x + dtype(sign * eps) * d)).data * c).sum())
                for sign in (1, -1, 0)
            ]
            for eps in steps
        ]
        found.append(
            [
                abs((p - m) / (2 * eps) - exact if both else (p - z) / eps - exact) / abs(exact)
                for (p, m, z), eps in zip(at, steps)
            ]
        )
    return np.median(found, axis=0)


curves = {"float64, both sides": (errors(np.float64, True), BLUE, "-"),
          "float64, one side": (errors(np.float64, False), BLUE, "--"),
          "float32, both sides": (errors(np.float32, True), RED, "-")}
fig, ax = plt.subplots(figsize=(7.6, 4.6))
for name, (error, colour, line) in curves.items():
    ax.loglog(steps, error, line, color=colour, marker="o", ms=3.5, label=name)
ax.text(2e-13, 2e-6, "rounding\n~ 1/eps", color=NOTE, fontsize=10)
ax.text(1.5e-2, 3e-9, "curvature\n~ eps$^2$", color=NOTE, fontsize=10)
ax.set(xlabel="eps", ylabel="relative error of the slope", ylim=(1e-12, 1e2))
ax.yaxis.grid(True)
ax.legend(frameon=False, loc="upper right", fontsize=10)
ax.set_title("Too large, and the curve bends; too small, and rounding is all that is left")
lesson.show(fig, "eps")

best = {name: (steps[error.argmin()], error.min()) for name, (error, _, _) in curves.items()}
lesson.table(
    ["", "best eps", "its error", "error at 1e-5"],
    [
        (
            name,
            f"{best[name][0]:.0e}",
            f"{best[name][1]:.0e}",
            f"{error[np.isclose(steps, 1e-5, rtol=1e-6)][0]:.0e}",
        )
        for name, (error, _, _) in curves.items()
    ],
)
lesson.number("best_eps_log10", np.log10(best["float64, both sides"][0]))
lesson.number("best_error_log10", np.log10(best["float64, both sides"][1]))
lesson.number("best_error_float32_log10", np.log10(best["float32, both sides"][1]))
lesson.answer(
    "about 1e-5. Rounding leaves an error of 1e-16 in f, and dividing by eps makes it 1e-16 / eps."
)

# %% [markdown]
# The two errors are $\varepsilon^2$ and $u/\varepsilon$, with $u \approx 10^{-16}$ the rounding of
# float64. They are equal near $\varepsilon = u^{1/3} \approx 5\cdot 10^{-6}$, where each is about
# $u^{2/3} \approx 2\cdot 10^{-11}$ (the curvature of $f$ moves that by a factor of a few). With
# float32 ($u \approx 6 \cdot 10^{-8}$) even the best $\varepsilon$ leaves an error near $10^{-5}$,
# too much to tell a small bug from rounding. So gradients are checked in
# **float64**, with $\varepsilon = 10^{-5}$, and the network is trained in float32 with the same
# code.
#
# ## 4. Choosing the cotangent: what hides under ones
#
# A layer's result is an array, and a slope needs one number. Most checks take the sum of the
# result. That is the same as a gradient $g_y$ of ones. In general: take any $c$ in the shape of
# $y$, check $f(x) = \sum c\,y(x)$, and hand $c$ to backward. We call $c$ the **cotangent**. Does
# it matter which one?
#
# Five bugs of the kind that people write, and four right gradients to compare with:


# %%
def numeric(forward, c, x, eps=1e-5):
    """The gradient of (forward(x) * c).sum() by differences to both sides, element by element."""
    g = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        there = x.copy()
        here = x.copy()
        there[index] += eps
        here[index] -= eps
        g[index] = ((forward(there) * c).sum() - (forward(here) * c).sum()) / (2 * eps)
    return g


w = rng.standard_normal((3, 2, 3, 3))
scaled = 2.0, 1e-4, 0.75                                            # k, alpha, beta of the paper


def convolve(x):
    """A 3x3 kernel with padding 2: each pixel meets each of the nine weights."""
    return F.conv2d(x, Tensor(w), padding=2)


def paper_lrn(x):
    """The paper's normalisation: window 5, alpha 1e-4 (ours divides by the window, so 5e-4)."""
    return F.local_response_norm(x, 5, 5e-4, 0.75, 2.0)


def right(fn):
    return lambda gy, x: backward_of(fn, gy, x)[0]


def not_turned(gy, x):
    return backward_of(
        lambda x: F.conv2d(x, Tensor(w[:, :, ::-1, ::-1].copy()), padding=2), gy, x
    )[0]


def assigned(gy, x):
    gx = np.zeros((*x.shape[:2], x.shape[2] + 4, x.shape[3] + 4))
    for i, j in np.ndindex(gy.shape[2:]):
        # = where += belongs
        gx[:, :, i:i + 3, j:j + 3] = np.einsum("no,ochw->nchw", gy[:, :, i, j], w)
    return gx[:, :, 2:-2, 2:-2]


def lrn_gradient(gy, x, short):
    """gx = gy s^-beta - 2 alpha beta x sum over the window of gy x s^(-beta-1).

    short: how many cells of the window are left out of that sum.
    """
    k, alpha, beta = scaled
    pad = ((0, 0), (2, 2), (0, 0), (0, 0))
    C = x.shape[1]
    s = k + alpha * sum(np.pad(x * x, pad)[:, i:i + C] for i in range(5))
    part = np.pad(gy * x * s ** (-beta - 1), pad)
    return gy * s ** -beta - 2 * alpha * beta * x * sum(part[:, i:i + C] for i in range(5 - short))


CASES = [
    ("conv: right", convolve, right(convolve), (2, 2, 4, 3)),
    (
        "pool 3/2: right",
        lambda x: F.max_pool2d(x, 3, 2),
        right(lambda x: F.max_pool2d(x, 3, 2)),
        (2, 2, 5, 5),
    ),
    ("LRN: right", paper_lrn, right(paper_lrn), (2, 7, 2, 2)),
    ("softmax: right", F.softmax, right(F.softmax), (3, 5)),
    ("conv: kernel not turned", convolve, not_turned, (2, 2, 4, 3)),
    ("conv: = for += in col2im", convolve, assigned, (2, 2, 4, 3)),
    ("LRN: neighbours forgotten", paper_lrn, lambda gy, x: lrn_gradient(gy, x, 5), (2, 7, 2, 2)),
    ("LRN: window one short", paper_lrn, lambda gy, x: lrn_gradient(gy, x, 1), (2, 7, 2, 2)),
    ("softmax: backward is 0", F.softmax, lambda gy, x: 0 * x, (3, 5)),
]

lesson.section("4. Choosing the cotangent: what hides under ones")
lesson.predict(
    "softmax makes each row sum to 1. Its backward is replaced by zeros. Does a check with ones "
    "notice?"
)
rows = []
over = {"ones": [], "normal": []}
for name, fn, backward, shape in CASES:
    size = int(np.prod(shape))
    # distinct and spaced: no winner of a pool changes
    x = (rng.permutation(size) * 0.04 - 1.0).reshape(shape)
    c = {"ones": np.ones(fn(Tensor(x)).shape), "normal": rng.standard_normal(fn(Tensor(x)).shape)}
    a = {which: backward(c[which], x) for which in c}
    n = {which: numeric(lambda x, fn=fn: fn(Tensor(x)).data, c[which], x) for which in c}
    said = [
        np.allclose(a["ones"], n["ones"], rtol, atol)
        for rtol, atol in ((1e-4, 1e-5), (1e-2, 1e-2))
    ]
    for which in c:
        limit = 1e-9 + 1e-6 * np.maximum(abs(a[which]), abs(n[which]))
        over[which].append(float((abs(a[which] - n[which]) / limit).max()))
    said.append(over["normal"][-1] <= 1)
    rows.append((name, *("accepts" if ok else "rejects" for ok in said)))
lesson.table(["gradient", "ones, 1e-4", "ones, 1e-2", "normal, 1e-6"], rows)
lesson.number("ones_fine_lets_through", sum(row[1] == "accepts" for row in rows[4:]))
lesson.number("ones_loose_lets_through", sum(row[2] == "accepts" for row in rows[4:]))
lesson.number("normal_lets_through", sum(row[3] == "accepts" for row in rows[4:]))
lesson.number("right_ones_rejected", sum("rejects" in row for row in rows[:4]))
lesson.answer(
    "no: the rows' sums do not move, so their slope is indeed 0. Under ones, zero is the right "
    "answer."
)

fig, ax = plt.subplots(figsize=(7.8, 4.8))
ax.axvspan(1, 1e8, color="#fbeee9", zorder=0)
for i in range(len(CASES)):
    ax.plot(
        [max(over["ones"][i], 1e-6), max(over["normal"][i], 1e-6)], [i, i], color=FAINT, zorder=1
    )
    ax.plot(max(over["ones"][i], 1e-6), i, "o", mfc="white", mec=BLUE, ms=8, zorder=2,
            label="cotangent of ones" if i == 0 else None)
    ax.plot(max(over["normal"][i], 1e-6), i, "o", color=RED, ms=7, zorder=3,
            label="cotangent drawn from N(0,1)" if i == 0 else None)
ax.set_xscale("log")
ax.set(
    yticks=range(len(CASES)),
    yticklabels=[case[0] for case in CASES],
    xlim=(5e-7, 1e8),
    ylim=(8.6, -1.5),
    xlabel="largest error / what is allowed (1e-9 + 1e-6 of the value)",
)
ax.text(1.4, -0.95, "rejected", color=RED, fontsize=10.5)
ax.text(0.7, -0.95, "accepted", color=NOTE, fontsize=10.5, ha="right")
ax.axhline(3.5, color=FAINT, lw=0.8)
ax.legend(frameon=False, fontsize=10, loc="upper right", bbox_to_anchor=(1.0, 0.9))
ax.set_title("Under ones, two of five bugs look as right as the right ones")
lesson.show(fig, "cotangent")

# %% [markdown]
# With ones, errors that **sum to zero** cannot be seen. Softmax: moving a logit moves its row's
# five values up and down, and the sum stays 1. The kernel that was not turned: where a pixel meets
# all nine weights, the gradient under ones is the sum of the nine, in any order. (Padding 2 lets
# every pixel meet all nine; without padding the rim would show it.) A cotangent drawn from N(0,1)
# gives every error its own weight, and nothing cancels.
#
# ## 5. Choosing the tolerance
#
# The table shows the second hole. At the paper's $\alpha = 10^{-4}$ the neighbours' share in the
# LRN gradient is tiny: a backward that forgets it passes at $10^{-2}$, and one that sums over four
# cells of five passes at $10^{-4}$ too. How fine may a tolerance be, before right code fails?
# Measure what right code shows.

# %%
lesson.section("5. Choosing the tolerance")
lesson.predict(
    "How large is the largest relative error of right gradients, in float64 with eps = 1e-5?",
    "1e-4",
    "1e-7",
    "1e-10",
)


def errors_of(fn, x):
    """(largest |a - n|, that over the largest |n|, |y c| summed) with a normal cotangent."""
    c = rng.standard_normal(fn(Tensor(x)).shape)
    a = backward_of(fn, c, x)[0]
    n = numeric(lambda x: fn(Tensor(x)).data, c, x)
    return (
        abs(a - n).max(),
        abs(a - n).max() / max(abs(n).max(), 1e-300),
        abs(fn(Tensor(x)).data * c).sum(),
    )


logits = rng.standard_normal((3, 5))
millions = 1e6 * rng.standard_normal((2, 2, 4, 3))
rows = [
    (name, *errors_of(fn, rng.permutation(int(np.prod(shape))).reshape(shape) * 0.04 - 1.0)[:2])
    for name, fn, _, shape in CASES[:4]
]
zero = errors_of(lambda shift: F.softmax(Tensor(logits) + shift), rng.standard_normal((3, 1)))
large = errors_of(
    lambda b: F.conv2d(Tensor(millions), Tensor(w), b, padding=2), rng.standard_normal(3)
)
rows += [
    ("softmax(x + shift), of shift", *zero[:2]),
    ("bias of a conv of values ~1e6", *large[:2]),
]
lesson.table(["right gradient", "absolute error", "relative error"],
             [(name, f"{absolute:.0e}", f"{relative:.0e}") for name, absolute, relative in rows])
lesson.number("right_relative_log10", np.log10(max(row[2] for row in rows[:4])))
lesson.number("zero_absolute_log10", np.log10(zero[0]))
lesson.number("large_absolute_log10", np.log10(large[0]))
rounding = 4 * np.finfo(np.float64).eps * large[2] / 1e-5
print(
    f"rounding to allow for in the last row: 4 * 2.2e-16 * {large[2]:.1e} / 1e-5 = "
    f"{rounding:.1e}\n"
)
lesson.number("large_within_allowance", large[0] <= rounding)
lesson.answer("near 1e-10. So 1e-6 is more than a thousand times what right code needs.")

# %% [markdown]
# Right code stays far below $10^{-6}$, and even the LRN bugs at $\alpha = 10^{-4}$ are above it: a
# **relative tolerance of $10^{-6}$** separates them. But two right gradients fail any relative
# tolerance:
#
# * A gradient of **zero**. A shift of all logits does not change softmax; backward says 0,
#   differences say $10^{-11}$, and relative to that the error is 100 %. So allow something
#   absolute too: $10^{-9}$.
# * **Large values.** Where $y$ is in the millions, its rounding is $10^{-16}$ of a million, and
#   dividing by $\varepsilon$ makes it $10^{-5}$ and more, compared with a bias gradient of
#   ordinary size. So allow for the rounding of $f$: a few times $2 \cdot 10^{-16} \cdot \sum
#   |c\,y| \,/\, \varepsilon$.
#
# $$ |a - n| \;\le\; 10^{-9} + 10^{-6} \max(|a|, |n|) + \text{rounding} $$
#
# And write it as "is every error within", not as "is any error beyond": every comparison with NaN
# is false.
#
# ## 6. The package's check
#
# `mt.gradcheck(fn, inputs)` is all of this for Tensors; the tests run it over each operation with
# drawn shapes.

# %%
lesson.section("6. The package's check")
# on whichever device --backend names
tensors = [
    Tensor(backend.asarray(rng.standard_normal(s)), requires_grad=True)
    for s in ((2, 4, 6, 5), (6, 2, 3, 3), (6,))
]
print(
    "conv2d, stride 2, padding 1, groups 2:",
    mt.gradcheck(lambda *t: F.conv2d(*t, 2, 1, groups=2), tensors),
)
print("local_response_norm:                  ", mt.gradcheck(normalise, tensors[:1]))


class LazySoftmax(mt.Function):
    """softmax whose backward is 0."""

    def forward(self, x):
        return F.softmax(Tensor(x)).data

    def backward(self, gy):
        return 0.0 * gy


try:
    mt.gradcheck(lambda x: LazySoftmax()(x), [Tensor(backend.asarray(logits), requires_grad=True)])
except GradcheckError as error:
    lesson.number("gradcheck_kills", True)
    print("softmax whose backward is 0:           GradcheckError:", error)

# %% [markdown]
# Three habits belong to it. Inputs of ReLU stay away from 0 and pooled values apart, because at a
# kink there is no slope to compare with. LRN is checked at $\alpha = 1$ as well, where every
# mistake is large. And a check is itself checked: plant a bug, and see that it is caught. That is
# the third exercise.
#
# ## Now you
#
# * **4.1** `conv2d_backward`: the gradients of a convolution, with your `im2col` and `col2im`.
# * **4.2** `max_pool2d_backward`: the gradient of overlapping pooling.
# * **4.3** `gradient_is_right`: the hunt. A check that nine planted bugs cannot pass, and six
#   right gradients can.
#
# Edit `lessons/exercises/04_gradcheck.py`, then `python -m minitorch_alex.check 04`.
#
# ## Where this is in the package
#
# * `minitorch_alex/gradcheck.py`: `gradcheck`.
# * `minitorch_alex/kernels/naive.py`: `conv2d_backward_weight`, `conv2d_backward_input` and
#   `max_pool2d_backward`.
# * `minitorch_alex/kernels/cpu/conv.py`, `pool.py`: the same, fast.
# * `tests/mutants/`: planted bugs, each with the check that must catch it.

# %%
lesson.done()
