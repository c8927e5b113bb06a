# %% [markdown]
# # 8. Training
#
# **Goal.** Everything between a network that computes and a network that has learnt: the loss and
# where it starts, momentum in its two forms, initial weights and the loss that does not move,
# rates and schedules, curves, and a run that can be stopped.
#
# **You need** lessons 3 to 5 (gradients), lesson 7 for dropout. Logarithms; a geometric series.
#
# **Time.** About forty seconds with `--quick`, a few minutes in full, on two cores. **Files:** six
# figures, a checkpoint and `numbers.json` in `runs/lessons/08_train`. The numbers in the text are
# those of the drawn shapes; `--data cifar10` runs the same on photographs.

# %%
import kit  # finds the package next to lessons/, also without installing it

lesson = kit.Lesson("08_train")

# %%
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend, data, init, nn, optim, profile, schedule, streams
from minitorch_alex import functional as F
from minitorch_alex.models.alexnet import AlexNet, AlexNetConfig
from minitorch_alex.plots.style import FAINT, INK
from minitorch_alex.plots.training import HELD_OUT, RUNS, TRAIN
from minitorch_alex.training import checkpoint

# %% [markdown]
# ## 1. The loss, and where it starts
#
# The last layer gives a number for each class, the *logits* $z$. Softmax turns them into
# probabilities, $p_k = e^{z_k} / \sum_j e^{z_j}$, and the loss is how surprised the network is by
# the right answer $t$:
#
# $$\text{loss} = -\ln p_t = \ln \sum_j e^{z_j} - z_t .$$
#
# A network that knows nothing gives each of $C$ classes the same probability, so its loss is $-\ln
# \frac1C = \ln C$, and this is where training has to start if the first logits are near zero. If
# they are not, it starts higher: random logits of standard deviation $s$ are random opinions, and
# as long as $s$ is small they cost about $s^2 / 2$ more.

# %%
lesson.section("1. The loss, and where it starts")
lesson.predict("Where does the loss start with 1000 classes?", "1000", "6.9", "0.001")
for classes in (10, 100, 1000):
    lesson.number(f"start_{classes}", np.log(classes))


def softmax_cross_entropy(z, labels):
    """logits (N, K), labels (N,): the mean loss."""
    # the largest is 0 now: nothing overflows, no probability changes
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())


rng = streams.rng(0, "logits")
rows = []
for s in (0, 0.01, 1, 3, 10):
    losses = [
        softmax_cross_entropy(s * rng.standard_normal((5_000, k)), np.zeros(5_000, int))
        for k in (10, 100, 1000)
    ]
    rows.append([f"std {s}", *losses])
lesson.table(["logits", "10 classes", "100", "1000"], rows)
lesson.number("start_std_1", rows[2][3])
lesson.answer(
    "ln 1000 = 6.908; ln 10 = 2.303. A first loss far above it says that the initial weights are "
    "too large."
)

# %% [markdown]
# Why is the largest logit subtracted first? $e^{1000}$ is too large for a floating-point number.
# Softmax does not change when the same number is added to all logits, so the largest may be 0, and
# then every $e^z$ is at most 1.

# %%
z = np.array([[1000.0, 998.0, 0.0]])
with np.errstate(all="ignore"):
    naive = np.exp(z) / np.exp(z).sum()
lesson.table(["", "class 0", "class 1", "class 2", "loss of class 1"],
             [["the formula as written", *map(float, naive[0]), float(-np.log(naive[0, 1]))],
              ["largest subtracted", *map(float, F.softmax(mt.Tensor(z)).numpy()[0]),
               softmax_cross_entropy(z, np.array([1]))]])

# %% [markdown]
# The gradient is the friendliest in the whole network: $\partial\,\text{loss} / \partial z = p -
# y$, with $y$ one for the right class and zero elsewhere. What it has too much of is pushed down,
# what it should have said is pushed up, and the sum of both is zero.
#
# ## 2. Momentum, twice
#
# The paper's update (section 5), with the rate $\epsilon$ and the gradient $g$:
#
# $$v := 0.9\,v - 0.0005\,\epsilon\,w - \epsilon\,g, \qquad w := w + v.$$
#
# Momentum adds up the last steps. Along a valley they agree and grow to ten times the plain step,
# $1 / (1 - 0.9)$; across it they change sign and cancel. A valley that is fifty times as steep
# across as along:

# %%
lesson.section("2. Momentum, twice")
steepness = np.array([0.02, 1.0])  # loss = (0.02 x^2 + y^2) / 2
paths = {}
for m in (0.0, 0.9):
    w = np.array([-9.0, 1.0])
    v = np.zeros(2)
    path = []
    for _ in range(60):
        path.append(w.copy())
        v = m * v - 0.3 * steepness * w
        w = w + v
    paths[m] = np.array(path)
fig, ax = plt.subplots(figsize=(8, 3))
X, Y = np.meshgrid(np.linspace(-10, 6, 200), np.linspace(-1.7, 1.7, 100))
ax.contour(X, Y, 0.02 * X**2 + Y**2, levels=np.geomspace(0.02, 3, 9), colors=FAINT, linewidths=1)
for (m, path), colour in zip(paths.items(), (TRAIN, HELD_OUT), strict=True):
    ax.plot(*path.T, "o-", color=colour, ms=3, lw=1.2, label=f"momentum {m:g}")
ax.plot(0, 0, "+", color=INK, ms=12, mew=2)
ax.set(
    xlabel="along the valley",
    ylabel="across",
    title="60 steps at the same rate: with momentum it arrives",
)
ax.legend(loc="upper right", framealpha=1, edgecolor="none")
lesson.show(fig, "valley")

# %% [markdown]
# PyTorch writes it in another way: $v := 0.9\,v + g + 0.0005\,w$, $w := w - \epsilon\,v$. As long
# as $\epsilon$ stays the same, the steps are the same. But where is $\epsilon$? In the paper it is
# inside $v$; in torch it is outside. What happens, then, when the rate drops to a tenth? We let
# the gradient be 1 at each step, and look at the steps.

# %%
lesson.predict(
    "The rate drops to a tenth at step 50. How long are the steps after that?",
    "a tenth, in both forms",
    "torch: a tenth at once; 2012: they fade over some ten steps",
    "2012: a tenth at once; torch: they fade",
)
steps = {}
for rule in ("2012", "torch"):
    w = 0.0
    v = 0.0
    taken = []
    for i in range(100):
        lr = 1.0 if i < 50 else 0.1
        if rule == "2012":
            v = 0.9 * v - lr
            last = w
            w = w + v
        else:
            v = 0.9 * v + 1
            last = w
            w = w - lr * v
        taken.append(last - w)
    steps[rule] = np.array(taken)
further = steps["2012"].sum() - steps["torch"].sum()
lesson.table(["step", "2012", "torch"], [[i, float(steps["2012"][i]), float(steps["torch"][i])]
                                         for i in (0, 10, 49, 50, 55, 60, 70, 90)])
lesson.number("same_before_drop", np.abs(steps["2012"][:50] - steps["torch"][:50]).max())
lesson.number("further", further)
lesson.answer(
    "torch's fall at once, the paper's fade: its velocity still holds the old rate. In all it "
    f"goes {further:.0f} plain steps (of the old rate) further."
)
fig, ax = plt.subplots(figsize=(7, 3.6))
ax.plot(steps["2012"], color=HELD_OUT, lw=2.2)
ax.plot(steps["torch"], color=RUNS[1], lw=1.8, ls="--")
ax.fill_between(range(100), steps["2012"], steps["torch"], color=FAINT, alpha=0.6)
ax.text(57, 6, "2012: $\\epsilon$ is in the velocity", color=HELD_OUT)
ax.text(51, 0.15, "torch: $\\epsilon$ is outside", color=RUNS[1])
ax.text(18, 7.2, "the same", color=INK)
ax.set(
    xlabel="step",
    ylabel="length of the step",
    ylim=(-0.3, 10.6),
    title="The rate drops to a tenth at step 50",
)
lesson.show(fig, "momentum_forms")

# %% [markdown]
# Neither is wrong. But anyone who reruns the paper with torch's form, or the other way round,
# should know where they differ.

# %%
lesson.explore(
    "momentum",
    "Every gradient is 1, the first rate is 1. How does the time in which the paper's steps fade "
    "depend on the momentum? And on how far the rate drops?",
    "At momentum 0.9 and a tenth of the rate the paper's steps need 43 more until they are within "
    "a tenth of torch's.",
    count=100,
)

# %% [markdown]
# ## 3. First, thirty-two images
#
# Before any long run: can the network learn 32 images by heart? In a minute it shows whether loss,
# gradient, update and data work together. Three runs, two of them with a mistake. Which is which?

# %%
lesson.section("3. First, thirty-two images")
N_TRAIN = lesson.pick(1000, 2000)
train, test = lesson.data(N_TRAIN, 500)
mean = train.mean_image()


def pixels(images):
    """uint8 (N, 32, 32, 3) -> float32 (N, 32, 32, 3): minus the mean, spread about 1."""
    return data.subtract_mean(images, mean) / np.float32(64)


def tensor(x):
    """float32 (N, 32, 32, 3) -> Tensor (N, 3, 32, 32)."""
    # (N, H, W, C) -> (N, C, H, W)
    return mt.Tensor(backend.asarray(np.ascontiguousarray(x).transpose(0, 3, 1, 2)))


def small_network(seed=0, p=0.0):
    """Two convolutions, two fully connected layers, He's initial weights."""
    mt.manual_seed(seed)
    he = init.he()
    zero = init.constant(0)
    return nn.Sequential(
        conv1=nn.Conv2d(3, 8, 5, padding=2, weight_init=he, bias_init=zero),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True),  # (N, 8, 16, 16)
        conv2=nn.Conv2d(8, 16, 5, padding=2, weight_init=he, bias_init=zero),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
        flatten=nn.Flatten(),  # (N, 1024)
        fc3=nn.Linear(1024, 64, weight_init=he, bias_init=zero),
        relu3=nn.ReLU(),
        drop3=nn.Dropout(p, "2012"),
        fc4=nn.Linear(64, 10, weight_init=init.gaussian(0.01), bias_init=zero),
    )


lesson.predict(
    "Three curves: one falls to zero, one stays at ln 10, one leaves the plot. Which is the run "
    "whose labels are shuffled, and which forgets zero_grad()?"
)
x32 = tensor(pixels(train.images[:32]))
y32 = train.labels[:32]
curves = {}
for kind in ("right", "zero_grad() forgotten", "labels shuffled at each step"):
    model = small_network()
    curve = []
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for i in range(lesson.pick(60, 100)):
        labels = streams.rng(i, "wrong").permutation(y32) if kind.startswith("labels") else y32
        loss = F.cross_entropy(model(x32), labels)
        if not kind.startswith("zero_grad"):
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    curves[kind] = np.array(curve)
lesson.table(["", "first loss", "last loss", "largest"],
             [[k, float(c[0]), float(c[-1]), float(np.nanmax(c))] for k, c in curves.items()])
lesson.number("first_loss", curves["right"][0])
lesson.number("last_loss_32", curves["right"][-1])
lesson.number("last_loss_shuffled", curves["labels shuffled at each step"][-1])
lesson.answer(
    "shuffled labels teach only that all classes are equally frequent: ln 10. Without zero_grad() "
    "the gradients of all steps pile up, and the loss swings or runs away."
)
fig, ax = plt.subplots(figsize=(7, 3.8))
ax.axhline(np.log(10), color=FAINT, lw=1.5)
ax.text(0, np.log(10) + 0.1, "ln 10")
for (kind, curve), colour in zip(curves.items(), (RUNS[2], RUNS[0], RUNS[1]), strict=True):
    ax.plot(curve, color=colour, lw=2, label=kind)
ax.set(
    xlabel="step",
    ylabel="loss",
    ylim=(-0.1, 5),
    title="32 images that cannot be learnt by heart: something is wrong",
)
ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncol=3)
lesson.show(fig, "thirty_two")

# %% [markdown]
# ## 4. The loss that does not move
#
# Many people who wrote AlexNet from the paper's text saw this: the loss falls to $\ln C$ and stays
# there for hours. The text says: weights from a normal distribution of standard deviation 0.01 in
# each layer, biases of 1 in conv2, conv4, conv5 and the hidden fully connected layers. And people
# fed pixels of spread 1, where the paper fed 0..255 minus the mean.
#
# A small AlexNet (five convolutions, three fully connected layers, LRN and overlapping pools, 16
# to 48 maps) shows it in a minute. Before it trains, look at what reaches each layer. Of the
# numbers that arrive, some part is the same for all images, coming from the biases; only what
# differs between images can be learnt from. `profile.signal_ratios` gives the difference divided
# by what is common, the *ratio*.

# %%
lesson.section("4. The loss that does not move")
ONES, TENTHS, ZEROS = ((0.0, b, 0.0, b, b, b, b, 0.0) for b in (1.0, 0.1, 0.0))


def small_alexnet(scale, kind, std, biases):
    """AlexNet at 32 x 32 with few maps.

    scale: factor for the pixels; kind: "gaussian", with `std` in each layer but the last (0.01),
    or "he".
    """
    mt.manual_seed(0)
    return AlexNet(
        AlexNetConfig.cifar(
            channels=(16, 32, 48, 48, 32),
            hidden=(128, 128),
            dropout=0.0,
            input_scale=scale,
            init=kind,
            init_std=(std,) * 7 + (0.01,),
            init_bias=biases,
        )
    )


setups = {
    "the text, pixels of spread 1": (1 / 64, "gaussian", 0.01, ONES),
    "pixels 0..255": (1.0, "gaussian", 0.01, ONES),
    "biases 0.1": (1 / 64, "gaussian", 0.01, TENTHS),
    "std 0.1": (1 / 64, "gaussian", 0.1, ONES),
    "std 0.1, biases 0.1": (1 / 64, "gaussian", 0.1, TENTHS),
    "pixels 0..255, std 0.05": (1.0, "gaussian", 0.05, ONES),
    "He's weights, biases 0": (1 / 64, "he", 0.01, ZEROS),
}
sample = tensor(data.subtract_mean(train.images[:64], mean))
signals = {
    name: profile.signal_ratios(small_alexnet(*how), sample) for name, how in setups.items()
}
lesson.table(["ratio of what arrives at", *(s.name for s in next(iter(signals.values()))[1:])],
             [[name, *(f"{s.ratio:.1g}" for s in found[1:])] for name, found in signals.items()])

# %% [markdown]
# From layer to layer the differences drown: with weights this small a layer passes on a fraction
# of what it got, and then a bias of 1 is added for all images alike. What reaches fc8 agrees
# between the images to six digits and more. Now train.

# %%
lesson.predict(
    "Pixels of 0..255, biases of 0.1, larger weights: each is recommended. Which of the set-ups "
    "above will learn?",
    "all but the first",
    "all with larger weights",
    "those in which the ratio at fc8 is about a tenth or more",
)


def train_small(model, steps, lr):
    """The losses of `steps` steps on batches of 64."""
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    loader = data.Loader(
        train, 64, lambda images, rng: data.subtract_mean(images, mean), drop_last=True
    )
    losses = []
    epoch = 0
    while len(losses) < steps:
        for x, labels in loader.epoch(epoch):
            if len(losses) == steps:
                break
            loss = F.cross_entropy(model(mt.Tensor(backend.asarray(x))), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        epoch += 1
    return np.array(losses)


STEPS, RATE = lesson.pick((110, 0.02), (250, 0.01))
trained = lesson.pick(
    [
        "the text, pixels of spread 1",
        "std 0.1, biases 0.1",
        "pixels 0..255, std 0.05",
        "He's weights, biases 0",
    ],
    list(setups),
)
learning = {name: train_small(small_alexnet(*setups[name]), STEPS, RATE) for name in trained}
last = {name: float(losses[-20:].mean()) for name, losses in learning.items()}
lesson.table(
    ["", "ratio at fc8", f"loss after {STEPS} steps", ""],
    [
        [
            name,
            f"{signals[name][-1].ratio:.1g}",
            last[name],
            "stuck at ln 10" if last[name] > 2.28 else "learns",
        ]
        for name in trained
    ],
)
for name, key in (("the text, pixels of spread 1", "text"), ("He's weights, biases 0", "he")):
    lesson.number(f"ratio_{key}", signals[name][-1].ratio)
    lesson.number(f"loss_{key}", last[name])
learnt = [signals[name][-1].ratio for name in trained if last[name] <= 2.28]
stuck = [signals[name][-1].ratio for name in trained if last[name] > 2.28]
lesson.answer(
    f"{len(learnt)} of {len(trained)} learn, with ratios from {min(learnt, default=0):.1g} up; "
    f"those that are stuck have {max(stuck, default=0):.1g} and less."
)

fig, ax = plt.subplots(figsize=(7.5, 4.2))
ax.axhline(np.log(10), color=FAINT, lw=1.5)
colours = iter(RUNS)
still = [name for name in trained if last[name] > 2.28]
for name, losses in learning.items():
    smooth = np.convolve(losses, np.ones(10) / 10, "valid")
    look = (
        {"color": TRAIN, "lw": 1.5}
        if name in still
        else {"color": next(colours), "lw": 2, "label": name}
    )
    ax.plot(np.arange(len(smooth)) + 9, smooth, **look)
ax.plot([], [], color=TRAIN, lw=1.5, label="stuck: " + ";\n".join(still))
ax.text(STEPS, np.log(10) + 0.02, "ln 10", ha="right", va="bottom")
ax.set(
    xlabel="step",
    ylabel="loss, mean of ten steps",
    ylim=(None, 2.6),
    title="Stuck at ln C, and what learns",
)
ax.legend(frameon=False, loc="lower left", fontsize=9)
lesson.show(fig, "plateau")

# %% [markdown]
# Why do small weights cost more here than in the paper? A layer multiplies differences by about
# $\sigma \sqrt{n/2}$, with $n$ the inputs of a unit: $n = 3 \cdot 3 \cdot 48 = 432$ here,
# thousands in AlexNet. With $\sigma = 0.01$ that is 0.15 here. He's rule, $\sigma = \sqrt{2/n}$,
# makes it 1 whatever the width: it looks at the right quantity.
#
# The same measure orders what is reported of the large net: the text with pixels 0..255 has a
# ratio of 0.008 at fc8 and learns slowly; with pixels of spread 1 it has 0.00015 and stalls. The
# code that ran in 2012 has 0.09: its conv3 to conv5 start at 0.03, not at the printed 0.01.
# `python -m minitorch_alex.train --check-init` prints the measure before a run.
#
# So no remedy works everywhere. Pixels of 0..255 save the large net, but here they alone do not
# suffice; what counts is what arrives at the end. And a good ratio does not suffice either:
# differences may be large compared with what is common, and yet both so small that no gradient
# counts. Weights of 0.05 with biases of 0 do that here.
#
# ## 5. The rate
#
# The rate is the number that matters most, and the only way to find it is to try. A factor of
# three between neighbours, the same few steps for each.

# %%
lesson.section("5. The rate")
lesson.predict(
    "How many of these rates, from 0.0003 to 0.3, will be within 20 % of the best?",
    "one",
    "two or three",
    "most",
)
PER_RATE = lesson.pick(60, 160)


def fit(part, epochs, lr, drop=None, every=1, p=0.0):
    """Train the small network.

    Returns rows of (epoch, loss, error on train, error on test) and the losses of all steps.
    """
    model = small_network(p=p)
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    plan = schedule.MultiStepLR(optimizer, drop or [])
    loader = data.Loader(part, 50, lambda images, rng: pixels(images))
    rows = []
    losses = []
    for epoch in range(epochs):
        for x, labels in loader.epoch(epoch):
            mt.set_step(len(losses))
            loss = F.cross_entropy(model(mt.Tensor(backend.asarray(x))), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        plan.step()
        if (epoch + 1) % every == 0:
            rows.append(
                (
                    epoch + 1,
                    np.mean(losses[-len(loader):]),
                    *(wrong(model, s) for s in (part, test)),
                )
            )
    return np.array(rows), np.array(losses)


def wrong(model, part):
    """Error in %, in evaluation mode."""
    model.eval()
    with mt.no_grad():
        guesses = np.concatenate(
            [
                model(tensor(pixels(part.images[i:i + 250]))).numpy().argmax(axis=1)
                for i in range(0, len(part), 250)
            ]
        )
    model.train()
    return float(100 * (guesses != part.labels).mean())


rates = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
per_epoch = PER_RATE * 50
tried = train.subset(slice(min(per_epoch, len(train))))
with np.errstate(all="ignore"):
    sweep = {lr: fit(tried, -(-per_epoch // len(tried)), lr, every=10**9)[1] for lr in rates}
ends = {lr: float(np.mean(losses[-10:])) for lr, losses in sweep.items()}
finite = {lr: end for lr, end in ends.items() if np.isfinite(end)}
best = min(finite, key=finite.get)
notes = {lr: "" if end <= 2.4 else "diverged" for lr, end in ends.items()}  # NaN too
notes[best] = "best"
lesson.table(
    ["rate", f"loss after {PER_RATE} steps", ""],
    [[f"{lr:g}", end, notes[lr]] for lr, end in ends.items()],
)
lesson.number("best_rate", best)
near = sum(end < 1.2 * finite[best] for end in finite.values())
lesson.number("near_best", near)
lesson.answer(
    f"{near}. The best here is {best:g}; the edge, where nothing is learnt any more, is not far "
    "above it."
)
fig, ax = plt.subplots(figsize=(7, 3.8))
ax.axhline(np.log(10), color=FAINT, lw=1.5)
shown = [min(end, 3.2) if np.isfinite(end) else 3.2 for end in ends.values()]
ax.plot(rates, shown, "o-", color=HELD_OUT, lw=2)
ax.text(0.006, np.log(10) + 0.02, "ln 10", va="bottom")
ax.set_xscale("log")
ax.margins(y=0.12)
ax.set(xlabel="rate", ylabel=f"loss after {PER_RATE} steps (cut at 3.2)",
       title="Too low is slow, too high learns nothing")
lesson.show(fig, "rates")

# %% [markdown]
# ## 6. Reading curves, and the schedule
#
# Four runs of the same network, and what their curves look like: a rate that is too low, one that
# is too high, a training set that is too small, and the good rate which drops to a tenth for the
# last quarter. A large rate gets near quickly, and then its steps are too long for the bottom of
# the valley; a drop lets it settle. The paper divided by ten three times, whenever the validation
# error stopped improving.

# %%
lesson.section("6. Reading curves, and the schedule")
lesson.predict(
    "In which of the four do training and test error differ most?",
    "rate too low",
    "rate too high",
    "few images",
    "good rate, with a drop",
)
EPOCHS, EVERY = lesson.pick((12, 3), (18, 2))
drop = [EPOCHS * 3 // 4]
many = train.subset(slice(lesson.pick(600, 2000)))
few = many.subset(slice(len(many) // 5))
with np.errstate(all="ignore"):
    kinds = {"rate too low: 0.0003": fit(many, EPOCHS, 0.0003, every=EVERY)[0],
             "rate too high: 0.2": fit(many, EPOCHS, 0.2, every=EVERY)[0],
             "few images": fit(few, EPOCHS * 5, 0.03, every=EVERY * 5)[0],
             "0.03, then 0.003": fit(many, EPOCHS, 0.03, drop, EVERY)[0]}
    constant = fit(many, EPOCHS, 0.03, every=EVERY)[0]
lesson.table(
    ["", "last loss", "train error %", "test error %"],
    [
        [name, *map(float, rows[-1, 1:])]
        for name, rows in [*kinds.items(), ("0.03 throughout", constant)]
    ],
)
lesson.number("few_gap", kinds["few images"][-1, 3] - kinds["few images"][-1, 2])
lesson.number("drop_test_error", kinds["0.03, then 0.003"][-1, 3])
gaps = {name: rows[-1, 3] - rows[-1, 2] for name, rows in kinds.items()}
lesson.answer(f"{max(gaps, key=gaps.get)}: {max(gaps.values()):.0f} points between the two.")
fig, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
for ax, (name, rows) in zip(axes, kinds.items(), strict=True):
    share = rows[:, 0] / rows[-1, 0]
    ax.plot(share, rows[:, 2], color=TRAIN, lw=2, label="training")
    ax.plot(share, rows[:, 3], color=HELD_OUT, lw=2, label="test")
    ax.set(title=name, ylim=(0, 100), xlim=(0, 1), xticks=[], xlabel="from start to end")
axes[3].axvline(drop[0] / EPOCHS, color=FAINT, lw=1.5)
axes[0].set_ylabel("wrong answers in %")
axes[0].legend(frameon=False, loc="lower left")
lesson.show(fig, "curves")

# %% [markdown]
# How to read them. Both curves high and still falling: wait, or raise the rate. Both flat at 90 %
# (of ten classes): the loss is at $\ln C$, lower the rate or look at section 4. Training falls,
# test does not: use more images, or lesson 7. And the drop: the error falls at once, and little
# comes after, because a small rate does not get far. So a drop pays when the curve has become
# flat, and costs before: the last two rows of the table are the same run with and without it, and
# show on which side this one was.
# ## 7. Stop and resume, exact to the bit
#
# A long run will be interrupted. What has to be saved so that the rest is *exactly* what it would
# have been? The weights, and the velocity, which holds the last ten steps or so. And everything
# random: the order of the images, dropout. Here nothing random is ever stored: shuffles are a
# function of (seed, epoch), masks of (seed, step). So the number of the step suffices.

# %%
lesson.section("7. Stop and resume, exact to the bit")
lesson.predict(
    "A resumed run that forgets the velocity: how far will its weights be off after ten more "
    "steps?",
    "not at all",
    "in the last digits",
    "visibly, in the first or second digit",
)
path = lesson.out / "stopped.safetensors"
tiny = train.subset(slice(500))  # ten batches per epoch
loader = data.Loader(tiny, 50, lambda images, rng: pixels(images), seed=0)


def go_on(model, optimizer, begin, end, forget_step=False):
    """Steps begin ... end - 1."""
    for step in range(begin, end):
        mt.set_step(step - begin if forget_step else step)
        epoch, batch = divmod(step, len(loader))
        # the batch that comes at this step, whatever came before
        x, labels = next(loader.epoch(epoch, batch))
        loss = F.cross_entropy(model(mt.Tensor(backend.asarray(x))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fresh(seed):
    model = small_network(seed, p=0.5)
    return model, optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


model, optimizer = fresh(0)
go_on(model, optimizer, 0, 15)
arrays = {f"model.{name}": value for name, value in model.state_dict().items()}
arrays["velocity"] = optimizer.state_dict()["velocity"]
checkpoint.save(path, arrays, {"step": 15})
go_on(model, optimizer, 15, 25)  # the run that nobody interrupts
whole = np.concatenate([value.ravel() for value in model.state_dict().values()])


def resumed(velocity=True, masks=True):
    """Read the checkpoint into another network, continue to step 25, and compare.

    Returns the largest difference of a weight, and the difference divided by the distance of the
    last ten steps.
    """
    model, optimizer = fresh(1)  # other weights than those of the run
    mt.manual_seed(0)
    arrays, meta = checkpoint.load(path)
    model.load_state_dict(
        {name[6:]: value for name, value in arrays.items() if name.startswith("model.")}
    )
    before = np.concatenate([value.ravel() for value in model.state_dict().values()])
    if velocity:
        optimizer.load_state_dict({**optimizer.state_dict(), "velocity": arrays["velocity"]})
    go_on(model, optimizer, meta["step"], 25, forget_step=not masks)
    after = np.concatenate([value.ravel() for value in model.state_dict().values()])
    return float(np.abs(after - whole).max()), float(
        np.linalg.norm(after - whole) / np.linalg.norm(whole - before)
    )


rows = [["all of it", *resumed()], ["the velocity forgotten", *resumed(velocity=False)],
        ["the number of the step forgotten (masks)", *resumed(masks=False)]]
lesson.table(["resumed with", "largest difference of a weight", "relative to the distance"], rows)
lesson.number("resume_difference", rows[0][1])
lesson.number("resume_no_velocity", rows[1][2])
lesson.answer(
    f"with everything: {rows[0][1]:g}, the same bits. Without the velocity it ends up off by "
    f"{rows[1][2]:.0%} of the distance that those ten steps cover."
)

# %% [markdown]
# "To the bit" is worth the care: a run that agrees only approximately cannot be told from a run
# with a small mistake. The package's checkpoints are one file that is complete or refused: written
# next to the old one, synchronised and renamed, with a digest over every byte.
#
# ## Now you
#
# * 8.1 `sgd_step`: the paper's update, in place
# * 8.2 `softmax_cross_entropy`: the loss and its gradient, also for logits of 1000
# * 8.3 `LOSS_AT_START`: with 10, 100 and 1000 classes
# * 8.4 `resume`: a run that resumes from a checkpoint, but not exactly; fix it
#
# in `lessons/exercises/08_train.py`; then `python -m minitorch_alex.check 08`.
#
# ## Where this is in the package
#
# * `minitorch_alex/functional/loss.py`: `cross_entropy`, with softmax and logarithm fused
# * `minitorch_alex/optim.py`: `SGD` with rule "2012" or "torch"; `minitorch_alex/schedule.py`: the
#   schedules
# * `minitorch_alex/init.py`: `gaussian`, `he`; `minitorch_alex/profile/signals.py`: `signal_ratios`,
#   `signal_verdict`
# * `minitorch_alex/training/checkpoint.py`: `save`, `load`; `minitorch_alex/train.py`: the command
#   that uses all this

# %%
lesson.done()
