# %% [markdown]
# # 9. AlexNet
#
# **Goal.** All the pieces are there: convolution, its gradients, the graph, ReLU, pools,
# normalisation, dropout, the update. You put them together as the paper does, count what the whole
# costs, see what ran in 2012 but was not printed, train the net for small images, and look inside.
#
# **You need** lessons 1 to 8. With the exercises solved, this lesson runs on your own code:
# `python lessons/09_alexnet.py --mine`.
#
# **Time.** A few minutes; under one with `--quick`, which trains a narrow net for a short time.
# `--data cifar10` takes photographs in place of drawn shapes. **Files:**
# `runs/lessons/09_alexnet/*.png`.
#
# **The paper**: A. Krizhevsky, I. Sutskever, G. Hinton, *ImageNet Classification with Deep
# Convolutional Neural Networks*, NIPS 2012. Numbers such as "section 3.5" below are its sections.

# %%
import kit  # noqa: I001  (finds the package next to this folder)

import math
import time
from dataclasses import fields, replace

import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import Tensor, backend, data, kernels, models, nn, profile, streams
from minitorch_alex import functional as F
from minitorch_alex.check import mine
from minitorch_alex.evaluate import error_rates, predict
from minitorch_alex.init import constant, gaussian
from minitorch_alex.kernels import Window
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.models.compare import shorten
from minitorch_alex.plots.learnt import mosaic
from minitorch_alex.training.settings import parse_fields

lesson = kit.Lesson("09_alexnet", mine=True)
BLUE = "#3b6ea5"
RED = "#c8451b"
NOTE = "#66707a"

# %% [markdown]
# ## 1. The net on one page
#
# Five convolutional layers, three fully connected ones (section 3.5). Two columns of maps, one for
# each of two graphics cards, which meet in conv3 and in the fully connected layers: that is
# `groups=2` in conv2, conv4 and conv5. Local response normalisation after the first two ReLUs,
# each card within its own maps; overlapping pools after conv1, conv2 and conv5; dropout after fc6
# and fc7. All weights start from $\mathcal N(0, 0.01^2)$; the biases start at 1 in conv2, conv4,
# conv5, fc6 and fc7, so that their ReLUs begin on the open side, and at 0 elsewhere (section 5).
#
# Two numbers below look odd. `ceil_mode=True` rounds sizes up, as lesson 1 found: $1 + \lceil
# (224{-}11) / 4 \rceil = 55$. And `alpha=5e-4` is the printed $10^{-4}$ times the window of 5,
# since our norm, like torch's, divides by the window (lesson 6).

# %%
lesson.section("1. The net on one page")
lesson.predict(
    "How many parameters does this net have?",
    "about 6 million",
    "about 60 million",
    "about 600 million",
)

zero = {"weight_init": gaussian(0.01), "bias_init": constant(0.0)}
one = {"weight_init": gaussian(0.01), "bias_init": constant(1.0)}
net = nn.Sequential(
    conv1=nn.Conv2d(3, 96, 11, stride=4, ceil_mode=True, **zero),
    relu1=nn.ReLU(),
    lrn1=nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0, groups=2),
    pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
    conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2, **one),
    relu2=nn.ReLU(),
    lrn2=nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0, groups=2),
    pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
    conv3=nn.Conv2d(256, 384, 3, padding=1, **zero),
    relu3=nn.ReLU(),
    conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2, **one),
    relu4=nn.ReLU(),
    conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2, **one),
    relu5=nn.ReLU(),
    pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
    flatten=nn.Flatten(),
    fc6=nn.Linear(256 * 6 * 6, 4096, **one),
    relu6=nn.ReLU(),
    drop6=nn.Dropout(0.5, rule="2012"),
    fc7=nn.Linear(4096, 4096, **one),
    relu7=nn.ReLU(),
    drop7=nn.Dropout(0.5, rule="2012"),
    fc8=nn.Linear(4096, 1000, **zero),
)

count = lesson.number("parameters", sum(p.size for p in net.parameters()))
print(f"{count:,} parameters")
lesson.answer("about 60 million, as the paper says: exactly 60,965,224.")

# %% [markdown]
# The package holds the same net as a list of **decisions**, `AlexNetConfig`: one field per
# decision, with its value and the place in the paper where it is stated. The class `AlexNet` makes
# layers of them, and in exercise 9.1 you do. A decision that is a field can be changed in one
# word, and that is what an experiment is.

# %%
# zeros: nobody waits for 61 million random numbers
same = AlexNet(AlexNetConfig.paper(init_std=(0.0,) * 8))
same.load_state_dict(net.state_dict())
picture = Tensor(
    60 * np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
)
with mt.no_grad():
    agree = np.allclose(net.eval()(picture).data, same.eval()(picture).data, rtol=1e-4, atol=1e-5)
print("the page above and AlexNet(AlexNetConfig.paper()) give the same 1,000 logits:", agree, "\n")
lesson.number("agree", agree)
about = {f.name: f.metadata["source"] for f in fields(AlexNetConfig)}
lesson.table(
    ("decision", "value", "where"),
    [
        (name, shorten(getattr(AlexNetConfig.paper(), name)), about[name])
        for name in (
            "channels",
            "groups",
            "lrn_k",
            "lrn_alpha_over_size",
            "pool_size",
            "dropout",
            "init_std",
        )
    ],
)
del net

# %% [markdown]
# ## 2. What it costs
#
# Count as in lesson 1. A convolution has $O \cdot C/G \cdot K_H K_W$ weights, and uses each of
# them at every place of its output: that many multiply-adds times $OH \cdot OW$. A linear layer
# has $O \cdot I$ weights and uses each once. Biases, ReLU, norms and pools are left out of the
# work, as in the literature.

# %%
lesson.section("2. What it costs")
lesson.predict(
    "Which layer has the most parameters, and which kind of layer does most of the work?",
    "conv2 and the convolutions",
    "fc6 and the fully connected layers",
    "fc6 and the convolutions",
)

rows = []
parameters = {}
work = {}
y = Tensor(np.zeros((1, 3, 224, 224), np.float32))
for name, layer in same.named_children():
    with mt.no_grad():
        y = layer(y)
    outputs = math.prod(y.shape[1:])
    sums = 0
    if isinstance(layer, nn.Conv2d):
        sums = outputs * layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    elif isinstance(layer, nn.Linear):
        sums = outputs * layer.in_features
    weights = sum(p.size for p in layer.parameters())
    if sums:
        parameters[name] = weights
        work[name] = sums
    rows.append((name, " x ".join(map(str, y.shape[1:])), f"{weights:,}" if weights else "",
                 f"{sums / 1e6:,.1f} M" if sums else "", f"{4 * outputs / 1024:,.0f} KB"))
all_weights = sum(parameters.values())
all_work = sum(work.values())
rows.append(("together", "", f"{all_weights:,}", f"{all_work / 1e6:,.1f} M", ""))
lesson.table(("layer", "output", "parameters", "multiply-adds", "output, float32"), rows)

fc6_share = lesson.number("fc6_share", 100 * parameters["fc6"] / all_weights)
conv_share = lesson.number(
    "conv_share", 100 * sum(n for k, n in work.items() if k.startswith("conv")) / all_work
)
lesson.number("multiply_adds_m", all_work / 1e6)
fig, ax = plt.subplots(figsize=(7.6, 4.0))
place = np.arange(len(work))
for shift, counts, total, colour in (
    (-0.2, parameters, all_weights, RED),
    (0.2, work, all_work, BLUE),
):
    share = [100 * n / total for n in counts.values()]
    ax.barh(place + shift, share, height=0.38, color=colour)
    for at, s in zip(place + shift, share):
        ax.text(s + 0.7, at, f"{s:.1f} %", va="center", fontsize=9, color=colour)
ax.set_yticks(place, list(work))
ax.invert_yaxis()
ax.set(xlim=(0, 75), xlabel="share of the whole net, %")
ax.text(74, 2.4, "parameters", color=RED, ha="right", fontweight="bold")
ax.text(74, 2.9, "multiply-adds", color=BLUE, ha="right", fontweight="bold")
ax.set_title("The parameters are in fc6, the work is in the convolutions")
lesson.show(fig, "shares")
lesson.answer(
    f"c: fc6 has {fc6_share:.0f} % of the parameters, the convolutions do {conv_share:.0f} % of "
    "the work."
)

# %% [markdown]
# Both for the same reason. fc6 joins each of the $256 \cdot 6 \cdot 6 = 9{,}216$ places of the
# last maps with each of 4,096 units, and shares nothing: 37.7 million weights, each used once for
# an image. A weight of conv1 is one of few, and it is used at $55 \cdot 55 = 3{,}025$ places.
# Sharing makes weights rare and work plentiful.
#
# This one table explains much of what came later. Two years after it Krizhevsky split the
# convolutions of a batch over cards by images, since they are most of the work and few weights,
# and the fully connected layers by units, since they are most of the weights and little work
# (arXiv:1404.5997). The nets after AlexNet dropped the large fully connected layers first.
#
# The paper says that each convolutional layer holds at most 1 % of the parameters. The table says
# otherwise of two: conv3 has 1.45 %, conv4 1.09 %.

# %% [markdown]
# ## 3. The two columns
#
# Section 3.2: "the GPUs communicate only in certain layers". The kernels of conv3 see all maps of
# conv2; those of conv2, conv4 and conv5 see only the maps on their own card. To see who sees whom
# we ask the layers themselves: light up one input map at a time, and note which output maps
# answer.

# %%
lesson.section("3. The two columns")
lesson.predict("Of the 96 maps of conv1, how many does one kernel of conv2 see?", "96", "48", "2")

fig, axes = plt.subplots(1, 4, figsize=(9.2, 3.1), layout="constrained")
for i, ax in zip((2, 3, 4, 5), axes):
    layer = getattr(same, f"conv{i}")
    one_map_lit = np.zeros((layer.in_channels, layer.in_channels, *layer.kernel_size), np.float32)
    one_map_lit[np.arange(layer.in_channels), np.arange(layer.in_channels)] = 1.0
    with mt.no_grad():
        # (C, O)
        answer = F.conv2d(Tensor(one_map_lit), layer.weight, groups=layer.groups).data[:, :, 0, 0]
    sees = (answer != 0).T  # (O, C)
    ax.imshow(sees, cmap="Blues", vmin=0, vmax=1.6, aspect="auto", interpolation="nearest")
    ax.set(title=f"conv{i}", xlabel=f"{sees.shape[1]} maps in", ylabel=f"{sees.shape[0]} maps out")
    ax.set_xticks([0, sees.shape[1] // 2 - 1, sees.shape[1] - 1])
    ax.set_yticks([0, sees.shape[0] // 2 - 1, sees.shape[0] - 1])
    if i == 2:
        seen = lesson.number("maps_seen_by_conv2", int(sees[0].sum()))
fig.suptitle(
    "Who sees whom (blue): of the convolutions only conv3 joins the two columns",
    x=0.01,
    ha="left",
    fontsize=12,
)
lesson.show(fig, "columns")
lesson.answer(f"{seen}: half of them, those on its own card.")

zeros = {"init_std": (0.0,) * 8}
compared = []
for name, config in (("paper: two columns", AlexNetConfig.paper(**zeros)),
                     ("merged: the same widths, one column", AlexNetConfig.merged(**zeros)),
                     ("half: the paper's one-card net", AlexNetConfig.half_2012(**zeros))):
    entries = profile.ledger(AlexNet(config))
    compared.append((name, sum(e.parameters for e in entries),
                     f"{sum(e.multiply_adds for e in entries) / 1e6:,.1f} M"))
lesson.number("merged_parameters", compared[1][1])
lesson.number("half_parameters", compared[2][1])
lesson.table(("net", "parameters", "multiply-adds"), compared)

# %% [markdown]
# Groups halve the weights and the work of a layer. As conv weights are few, the merged net has
# hardly more parameters; it has half as much work again. The paper compared its net with one
# column of half as many kernels in conv1 to conv4: two columns lower the top-1 error by 1.7 points
# and the top-5 error by 1.2 (section 3.2).
#
# To draw the net with its columns as in the paper's figure 2:
# `python -m minitorch_alex.profile alexnet --plot alexnet.png`.
#
# ## 4. Three gigabytes
#
# A card of 2012, the GTX 580, had 3 GB, and that "limits the maximum size of the networks that can
# be trained on it" (section 3.2). What needs memory in training? Weights, their gradients, and the
# velocities of momentum: three times the parameters, whatever the batch. And for each image what
# forward keeps for backward: the input of each layer, more or less. The package can count what its
# graph really holds.

# %%
lesson.section("4. Three gigabytes")
lesson.predict(
    "A batch of 128, as in the paper: which is more?",
    "weights, gradients and velocities",
    "what is kept for 128 images",
)

fixed, each = profile.memory_needs(same)
outputs = sum(e.output_bytes for e in profile.ledger(same))
columns = sum(e.column_bytes for e in profile.ledger(same))
fits = int((3e9 - fixed) // each)
lesson.table(
    ("what", "MB"),
    [
        ("weights", round(fixed / 3e6)),
        ("gradients", round(fixed / 3e6)),
        ("velocities", round(fixed / 3e6)),
        ("kept for backward, 128 images", round(128 * each / 1e6)),
        ("together", round((fixed + 128 * each) / 1e6)),
        (
            "together, if every output and its gradient were kept",
            round((fixed + 2 * 128 * outputs) / 1e6),
        ),
        (
            "together, if every im2col matrix were kept as well",
            round((fixed + 128 * (2 * outputs + columns)) / 1e6),
        ),
    ],
)
lesson.number("fixed_mb", fixed / 1e6)
lesson.number("image_mb", each / 1e6)
lesson.number("fits", fits)
lesson.answer(
    f"{'the images' if 128 * each > fixed else 'the weights'}; {fits} images would fit into 3 GB."
)
del same

# %% [markdown]
# Our engine drops each gradient as soon as the backward pass has used it, and keeps no im2col
# matrix: see lessons 2 and 3. A program that keeps the gradient of every output next to the output
# itself is close to 3 GB with the paper's batch, and one that keeps the im2col matrices is beyond.
# The remedy of 2012 was to put half of the maps on each of two cards.
#
# ## 5. What is printed, and what ran
#
# The authors' program was released in 2025
# ([computerhistory/AlexNet-Source-Code](https://github.com/computerhistory/AlexNet-Source-Code)).
# Its file `layers-145.cfg` is the net of the paper: the log has the paper's 40.7 and 18.2 % to the
# digit. It differs from the printed text, and anyone who trains by the text alone may wait for a
# long time.

# %%
lesson.section("5. What is printed, and what ran")
lesson.predict(
    "In how many of its decisions does the net that ran differ from the printed text?",
    "none",
    "one",
    "three or more",
)

text = AlexNetConfig.paper()
ran = AlexNetConfig.source_2012()
differences = ran.differences(text)
lesson.table(("decision", "what ran", "the printed text"), [
    (name, shorten(ran_value), shorten(printed))
    for name, (ran_value, printed) in differences.items()])
lesson.number("differences", len(differences))
lesson.answer(
    f"{len(differences)} of the fields of AlexNetConfig, and one of them (after) holds two "
    "differences."
)

# %% [markdown]
# * **after**: layer 1 normalises *before* its ReLU, layer 2 after it; and the second norm is
#   followed by a third, within each map (`rnorm`), that the paper does not mention. Its ablation
#   "without normalisation" left out all three.
# * **lrn_alpha_over_size**: the code divides $\alpha$ by the window, so it is $2 \cdot 10^{-5}$
#   and not $10^{-4}$.
# * **init_std**: conv3, conv4 and conv5 start at 0.03, not 0.01.
#
# With all of this, ten times as much of what tells images apart arrives at the end as with the
# printed text (0.09 compared with 0.008, lesson 8); a net that gets too little of it waits at $\ln
# C$.
#
# All ten AlexNets that the package knows, Caffe's and torchvision's among them, field by field
# with the place where each is decided: `python -m minitorch_alex.models.compare`.
#
# ## 6. Small images need another stem
#
# We have no ImageNet at hand, but images of 32 x 32. What does AlexNet's first layer, 11 x 11 at
# stride 4, make of them?

# %%
lesson.section("6. Small images need another stem")
lesson.predict(
    "The paper's net on a 32 x 32 image: how large are the maps of conv3?",
    "13 x 13",
    "4 x 4",
    "1 x 1",
)


def sides(config):
    """The side of the maps after each convolution and pool; a dash where a window is too large."""
    steps = []
    for i in range(5):
        steps.append(
            Window.of(
                config.kernels[i], config.strides[i], config.paddings[i], 1, config.ceil_mode
            )
        )
        if "pool" in config.after[i]:
            steps.append(Window.of(config.pool_size, config.pool_stride, 0, 1, config.ceil_mode))
    found = [config.image_size]
    for window in steps:
        fits = found[-1] != "-" and found[-1] + 2 * window.padding[0] >= window.kernel[0]
        found.append(window.out(found[-1], found[-1])[0] if fits else "-")
    return found[1:]


chains = [
    ("paper, 224 x 224", AlexNetConfig.paper()),
    ("paper, 32 x 32", AlexNetConfig.paper(image_size=32)),
    ("cifar, 32 x 32", AlexNetConfig.cifar()),
]
lesson.table(("net", "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"),
             [(name, *sides(config)) for name, config in chains])
lesson.number("conv3_side_of_paper_at_32", sides(chains[1][1])[4])
lesson.number("last_side_of_cifar", sides(chains[2][1])[-1])
lesson.answer(
    "c: conv3 to conv5 see one place and padding, and the last pool does not fit: the net cannot "
    "be built."
)

# %% [markdown]
# A stem that leaves 7 of 32 pixels per side is wrong for these images, whatever follows it.
# Enlarging the images to 224 would make it fit, at many times the work, and adds nothing that was
# not in the small image. `AlexNetConfig.cifar()` keeps what makes it AlexNet (five convolutions in
# two columns, three fully connected layers, ReLU, both norms, overlapping pools, dropout) and
# changes what belongs to the size: a 3 x 3 stem at stride 1, and narrower layers. It also starts
# as later nets do (He initialisation, pixels scaled to about unit variance, biases 0), since the
# paper's start belongs to the paper's size.
#
# ## 7. Training
#
# The loop is lesson 8's. Here it is a function, since we will need it again. With `--mine` each
# function of your exercises that passes its check takes its place in the package first; a table
# says which. Your code runs in one thread and was written to be read, so it takes several times as
# long; the error should fall all the same.

# %%
lesson.section("7. Training")
if lesson.mine:
    mine.use(lesson.mine)
    print()
train_set, test_set = lesson.data(lesson.pick(2_000, 10_000), 1_000)


def train(config, epochs, batch, seed, train_set, every_epoch=None):
    """(net, transform, curve) of a net trained by its recipe for `epochs` epochs.

    curve has one row per epoch: (training loss, training error %, test error %).
    """
    mt.manual_seed(seed)
    net = AlexNet(config)
    recipe = replace(
        net.recipe, epochs=epochs, batch_size=batch, milestones=(max(1, 3 * epochs // 4),)
    )
    # weights with decay; biases at twice the rate, without
    optimizer = models.build_optimizer(net, recipe)
    schedule = models.build_schedule(optimizer, recipe)
    transform = data.Transform(train_set.mean_image(), pad=recipe.pad, flip=recipe.flip)
    loader = data.Loader(train_set, batch, transform, seed)
    step = 0
    curve = []
    for epoch in range(epochs):
        loss_sum = wrong = 0.0
        for x, labels in loader.epoch(epoch):
            streams.set_step(step)  # dropout's masks follow the step
            optimizer.zero_grad()
            logits = net(Tensor(backend.asarray(x)))
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            kernels.trim_memory()
            loss_sum += loss.item() * len(labels)
            wrong += float((backend.to_numpy(logits.data).argmax(axis=1) != labels).sum())
            step += 1
        schedule.step()
        _, error, _ = error_rates(predict(net, test_set, transform.eval()), test_set.labels)
        curve.append((loss_sum / len(train_set), 100 * wrong / len(train_set), error))
        if every_epoch:
            every_epoch(epoch, curve[-1])
    return net, transform, curve


narrow = {"channels": (16, 32, 48, 48, 32), "hidden": (256, 256)}
config = AlexNetConfig.cifar(**lesson.pick(narrow, {}))
lesson.predict(
    "There are ten classes. What are loss and test error before the first step?",
    "2.30 and 90 %",
    "1.00 and 50 %",
    "10 and 100 %",
)
net = AlexNet(config)
print(
    f"{sum(p.size for p in net.parameters()):,} parameters; {train_set.name}, {len(train_set):,} "
    "images to train"
)
still = data.Transform(train_set.mean_image())
start_loss, start_error, _ = error_rates(predict(net, test_set, still), test_set.labels)
print(f"before training: loss {start_loss:.3f}, test error {start_error:.1f} %")
lesson.number("start_loss", start_loss)
lesson.answer(
    "a: at chance level the loss is ln 10 = 2.303, and nine answers in ten are wrong. Anything "
    "else is a bug."
)

begin = time.perf_counter()
epochs = lesson.pick(8, 6)
net, transform, curve = train(
    config,
    epochs,
    lesson.pick(32, 64),
    lesson.seed,
    train_set,
    lambda epoch, row: print(
        f"epoch {epoch + 1}/{epochs}   training: loss {row[0]:.3f}, error {row[1]:5.1f} %   test: "
        f"error {row[2]:5.1f} %   {time.perf_counter() - begin:4.0f} s"
    ),
)
lesson.number("test_accuracy", 100 - curve[-1][2])
print()

fig, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
loss_curve, train_curve, test_curve = zip(*curve)
at = np.arange(1, epochs + 1)
left.plot(at - 0.5, loss_curve, "o-", color=NOTE, ms=4)
left.axhline(math.log(10), color=NOTE, lw=0.8, ls=":")
left.text(
    epochs, math.log(10), "chance level, ln 10", ha="right", va="bottom", fontsize=9, color=NOTE
)
left.set(title="training loss", xlabel="epoch", ylim=(0, 2.6), xlim=(0, epochs))
right.plot(at - 0.5, train_curve, "o-", color=NOTE, ms=4, label="training, with dropout and crops")
right.plot(at, test_curve, "o-", color=RED, ms=4, label="test", clip_on=False)
right.set(title="error, %", xlabel="epoch", ylim=(0, 95), xlim=(0, epochs))
right.legend(frameon=False, fontsize=9)
fig.suptitle(
    f"AlexNet for 32 x 32 on {lesson.data_name}: {100 - test_curve[-1]:.0f} % of "
    f"{len(test_set):,} test images right",
    x=0.01,
    ha="left",
    fontsize=12,
)
lesson.show(fig, "curves")

# %% [markdown]
# The training error can lie above the test error. That is not a mistake: it is measured while
# dropout silences half of fc6 and fc7, on shifted and mirrored images, and over the epoch, most of
# which came before its end (lesson 7).

# %% [markdown]
# ## 8. Looking inside
#
# The kernels of the first layer act on colours, so they can be shown as small images: grey is 0.
# The paper's figure 3 shows 96 of them, 11 x 11, and something that nobody had asked for: the
# kernels on one card learn edges without colour, those on the other learn colours, in every run.
# That took 90 epochs. Ours are 3 x 3, and after such a short training one has to ask two
# questions: what do the kernels look like, and what has training *changed* in them?

# %%
lesson.section("8. Looking inside")
lesson.predict(
    "After so short a training: will the kernels of conv1 look like edges and colours, or like "
    "noise?",
    "edges and colours",
    "noise",
)

mt.manual_seed(lesson.seed)  # the weights it started from, once more
start = backend.to_numpy(AlexNet(config).conv1.weight.data)                 # (O, 3, 3, 3)
after = backend.to_numpy(net.conv1.weight.data)
fig, axes = plt.subplots(2, 1, figsize=(8.4, lesson.pick(2.1, 4.3)), layout="constrained")
for ax, values, name in zip(
    axes, (after, after - start), ("the kernels after training", "what training added")
):
    tiles = (0.5 + 0.5 * values / np.abs(values).max(axis=(1, 2, 3), keepdims=True)).transpose(
        0, 2, 3, 1
    )
    ax.imshow(mosaic(tiles.repeat(8, axis=1).repeat(8, axis=2), 16, 4), interpolation="nearest")
    ax.set_title(name, fontsize=10)
    ax.axis("off")
fig.suptitle(
    f"The {len(after)} kernels of conv1, each on its own scale", x=0.01, ha="left", fontsize=12
)
lesson.show(fig, "kernels")
moved = 100 * float(np.linalg.norm(after - start) / np.linalg.norm(start))
lesson.answer(
    f"like noise: training has moved these weights by {moved:.0f} % of their size, so most of "
    "what you see is the start. What it added is not noise: plain colours, and here and there a "
    "direction."
)

# %% [markdown]
# What do the layers make of an image? Each small square below is one map: bright where its kernel
# found what it looks for. From left to right the maps become smaller, and a bright place in them
# answers to a larger part of the image: first *where* something is, in the end *whether* it is.
# Most outputs are silent, zeros of a ReLU.

# %%
pick = int(
    np.argmax(predict(net, test_set, transform.eval())[np.arange(len(test_set)), test_set.labels])
)
picture = test_set.images[pick]
prepared = transform.eval()(test_set.images[pick:pick + 1])
x = Tensor(backend.asarray(prepared.transpose(0, 3, 1, 2)))  # (1, H, W, C) -> (1, C, H, W)
seen = {name: backend.to_numpy(y.data)[0] for name, _, y in profile.outputs(net.eval(), x)}
fig, axes = plt.subplots(1, 6, figsize=(10.6, 2.5), layout="constrained")
axes[0].imshow(picture, interpolation="nearest")
axes[0].set_title(test_set.classes[test_set.labels[pick]], fontsize=10)
silent = {}
for i, ax in zip(range(1, 6), axes[1:]):
    maps = seen[f"relu{i}"][:16]
    shown_maps = np.sqrt(np.clip(maps / max(float(maps.max()), 1e-9), 0, 1))
    coloured = plt.get_cmap("magma")(shown_maps)[..., :3]
    ax.imshow(mosaic(coloured, 4, max(1, maps.shape[1] // 12)), interpolation="nearest")
    ax.set_title(
        f"relu{i}: 16 of {len(seen[f'relu{i}'])}\n{maps.shape[1]} x {maps.shape[2]}", fontsize=9
    )
    silent[f"relu{i}"] = 100 * float((seen[f"relu{i}"] == 0).mean())
for ax in axes:
    ax.axis("off")
fig.suptitle(
    "One image through the five convolutions: from where to whether",
    x=0.01,
    ha="left",
    fontsize=12,
)
lesson.show(fig, "maps")
lesson.table(
    ("layer", "share of silent outputs, %"),
    [(name, round(share)) for name, share in silent.items()],
)

# %% [markdown]
# ## 9. Ten views, and which mistakes
#
# At test time the paper cuts ten patches from an image, the four corners and the centre and their
# mirror images, and averages the ten softmax outputs (section 4.1). Ours come from the image with
# a border of 4, as in training.

# %%
lesson.section("9. Ten views, and which mistakes")
lesson.predict(
    "Ten views in place of one: by how much does the test error change?",
    "it rises",
    "a little lower",
    "it is halved",
)
single = predict(net, test_set, transform.eval(), "single")
ten = predict(net, test_set, transform.eval(), "ten")
rows = [
    (name, *error_rates(probs, test_set.labels)[1:])
    for name, probs in (("one view", single), ("ten views", ten))
]
lesson.table(("test", "top-1 error, %", "top-5 error, %"), rows)
change = rows[1][1] - rows[0][1]
lesson.number("ten_view_accuracy", 100 - rows[1][1])
lesson.answer(
    f"here by {change:+.1f} points; in the paper from 39.0 to 37.5 % top-1 (ILSVRC-2010, footnote "
    "5)."
)

matrix = np.zeros((10, 10), int)
np.add.at(matrix, (test_set.labels, ten.argmax(axis=1)), 1)
share = matrix / matrix.sum(axis=1, keepdims=True)
fig, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
ax.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1.15)
for (i, j), n in np.ndenumerate(matrix):
    if n:
        ax.text(
            j,
            i,
            n,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share[i, j] > 0.45 else "#2b3036",
        )
ax.set_xticks(range(10), test_set.classes, rotation=40, ha="right", rotation_mode="anchor")
ax.set_yticks(range(10), test_set.classes)
ax.set(xlabel="taken for", ylabel="true class")
ax.tick_params(length=0)
ax.set_title(f"Which are mistaken for which (ten views, {len(test_set):,} test images)")
lesson.show(fig, "confusion")
mistakes = matrix - np.diag(np.diag(matrix))
i, j = np.unravel_index(mistakes.argmax(), mistakes.shape)
print(
    f"most frequent: {test_set.classes[i]} taken for {test_set.classes[j]}, {mistakes[i, j]} "
    "times. Would you have guessed that pair?\n"
)

# %% [markdown]
# ## 10. One ablation, of your choice
#
# The paper supports its decisions by leaving one out at a time. Change the line below, in the
# words of `train --set`, and run the cell again: `lrn_k=1.0`, `pool_size=2`, `init_std=...`,
# `after=("relu pool", "relu pool", "relu", "relu", "relu pool")` for a net without norms.
#
# The rule of an ablation: *one* change, everything else the same, and more than one seed. Seeds
# differ in the weights at the start, in the order of the images and in the masks; how far apart
# they are is the scale on which a difference is measured.

# %%
CHANGE = "dropout=0.0"

lesson.section("10. One ablation, of your choice")
if lesson.mine:
    mine.restore()
    print("your code is not used here: the package's parts train the following nets, to save time")
lesson.predict(
    f"A short training with {CHANGE}: what does it do to the test error?",
    "higher",
    "lower",
    "no difference that the seeds allow us to see",
)
base = AlexNetConfig.cifar(**narrow)
changed = models.changed(base, **parse_fields([CHANGE]))
seeds = lesson.pick((1, 2), (1, 2, 3))
budget = lesson.pick(4, 8)
part = train_set.subset(slice(lesson.pick(1_500, 3_000)))
results = {}
for name, variant in (("as it is", base), (CHANGE, changed)):
    # (seeds, 2)
    results[name] = np.array([train(variant, budget, 32, seed, part)[2][-1][1:] for seed in seeds])
lesson.table(("net", "training error, %", "test error, %", "between the seeds, points"), [
    (name, *r.mean(axis=0).round(1), round(np.ptp(r[:, 1]), 1)) for name, r in results.items()])

fig, ax = plt.subplots(figsize=(6.6, 2.6), layout="constrained")
for row, r in enumerate(results.values()):
    ax.plot(r[:, 1], np.full(len(seeds), row), "o", color=(NOTE, RED)[row], ms=8, alpha=0.7)
    ax.plot([r[:, 1].mean()] * 2, [row - 0.25, row + 0.25], color=(NOTE, RED)[row], lw=2)
ax.set_yticks(range(2), results)
ax.set(
    ylim=(1.6, -0.6), xlim=(0, 95), xlabel="test error, %: one dot per seed, a line for their mean"
)
ax.set_title(f"One change, {len(seeds)} seeds each")
lesson.show(fig, "ablation")
first, second = (r[:, 1] for r in results.values())
gap = float(second.mean() - first.mean())
spread = float(max(np.ptp(first), np.ptp(second)))
lesson.number("ablation_gap", gap)
lesson.answer(f"the means are {gap:+.1f} points apart, the seeds up to {spread:.1f}: "
              + ("more than the seeds do: hardly luck." if abs(gap) > spread else
                 "no more than the seeds do, so nothing can be said."))

# %% [markdown]
# Without dropout the net learns faster, and in a training this short faster is better. The paper
# says so too: dropout "roughly doubles the number of iterations required to converge", and it is
# there against overfitting, which needs a long training to show (section 4.2). An ablation answers
# the question at *its* budget, not at another. Such a sentence belongs with every result of this
# kind.
#
# ## 11. The card
#
# A result without its conditions is worth little. The package prints for any configuration in what
# it differs from the paper; report it next to the number.

# %%
lesson.section("11. The card")
print(
    f"AlexNet for 32 x 32, {sum(p.size for p in net.parameters()):,} parameters, differs from the "
    "paper's text in:"
)
for deviation in net.deviations:
    print(f"  {deviation}")
print(
    f"trained on {len(train_set):,} images of {lesson.data_name}, {epochs} epochs, seed "
    f"{lesson.seed}\ntest images right: {100 - rows[0][1]:.1f} % with one view, "
    f"{100 - rows[1][1]:.1f} % with ten"
)

# %% [markdown]
# ## 12. The real thing
#
# What you have built is the network of the paper: alone, 18.2 % top-5 error on the validation set.
# The 15.3 % that won in 2012 are the average of seven such networks, two of which have a sixth
# convolution and were pre-trained on all of ImageNet (section 6; `alexnet_conv6_2012` here). What
# is left is data and time. The paper trained for five to six days on two cards. All of CIFAR-10 is
# a matter of hours without one:
#
#     python -m minitorch_alex.train                                     # AlexNet for 32 x 32
#     python -m minitorch_alex.train --mine                              # the same with your code
#
# and ImageNet, with a graphics card and the archives from image-net.org:
#
#     python -m minitorch_alex.prepare ARCHIVES data/imagenet     # once: 256 x 256, mean image
#     python -m minitorch_alex.train -a alexnet_source_2012 --data imagenet \
#       --data-dir data/imagenet --backend cupy
#     python -m minitorch_alex.evaluate runs/alexnet_source_2012-imagenet --views ten
#
# `alexnet` is the printed text, `alexnet_source_2012` what ran. Before days are spent, ask whether
# the signal gets through: `python -m minitorch_alex.train -a alexnet --check-init`.
#
# ## Now you
#
# `lessons/exercises/09_alexnet.py`, checked by `python -m minitorch_alex.check 09`:
#
# * **9.1** write `build`: AlexNet from an `AlexNetConfig`;
# * **9.2** work out where the parameters and the work are in the net for small images;
# * **9.3** find the bug in a convolution on two cards, in which all shapes are right;
# * **9.4** a project: an ablation with three seeds and a paragraph. No program checks it; the file
#   says what a good one has.
#
# Then run this lesson with `--mine`: from the first convolution to the last update it is your code
# that learns.
#
# ## Where this is in the package
#
# * `minitorch_alex/models/alexnet.py`: `AlexNetConfig`, its presets, `AlexNet`;
#   `models/compare.py`: the differences
# * `minitorch_alex/profile/`: `ledger`, `memory_needs`; `plots/figure2.py`: the net as a drawing
# * `minitorch_alex/train.py`: the same loop with flags, logs, checkpoints and resuming;
#   `models/recipe.py`: `Recipe`
# * `minitorch_alex/evaluate.py`: `predict`, `error_rates`; `plots/learnt.py`: kernels, maps,
#   neighbours
# * `minitorch_alex/check/mine/`: how your functions take the places of the package's

# %%
lesson.done()
