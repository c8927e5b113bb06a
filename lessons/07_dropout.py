# %% [markdown]
# # 7. Dropout
#
# **Goal.** See a network learn its training set by heart, and the four remedies that kept AlexNet
# from doing so: dropout, weight decay, crops and flips, and noise in the colours.
#
# **You need** lessons 1 to 6, or at least an idea of what a layer and its backward pass are. The
# mean and the variance of a random number; eigenvectors of a 3 x 3 matrix.
#
# **Time.** About 20 s with `--quick`, about two minutes in full, on two cores. **Files:** six
# figures and `numbers.json` in `runs/lessons/07_dropout`. With `--data cifar10` the same sections
# run on photographs; the numbers in the text are those of the drawn shapes.

# %%
import kit  # finds the package next to lessons/, also without installing it

lesson = kit.Lesson("07_dropout")

# %%
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import backend, data, init, models, nn, optim, schedule, streams
from minitorch_alex import functional as F
from minitorch_alex.plots.style import FAINT, INK
from minitorch_alex.plots.training import HELD_OUT, RUNS, TRAIN

# %% [markdown]
# ## 1. Ten bits per label
#
# What does a training set tell a network? For each image, one answer out of $C$. Somebody who
# knows nothing needs $\log_2 C$ yes-or-no questions to find it: that is the information in a
# label, in bits. With 1000 classes
#
# $$\log_2 1000 = 9.97 \text{ bits.}$$
#
# The paper (section 4) says it so: "the 1000 classes of ILSVRC make each training example impose
# 10 bits of constraint on the mapping from image to label". Compare that with the number of things
# that can be adjusted: the parameters.

# %%
lesson.section("1. Ten bits per label")
n_train = lesson.pick(200, 500)
train, test = lesson.data(n_train, 1000)
SCALE = 1 / 64  # pixels 0..255 minus the mean, brought to a spread of about 1


def network(p=0.0, rule="2012"):
    """Two convolutions, two hidden layers with dropout on their outputs (section 4.2), and fc8."""
    he = init.he()
    zero = init.constant(0)
    small = init.gaussian(0.01)

    def conv(i, o):
        return nn.Conv2d(i, o, 5, padding=2, weight_init=he, bias_init=zero)

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        conv1=conv(3, 16),
        relu1=nn.ReLU(),
        pool1=pool(),  # (N, 16, 16, 16)
        conv2=conv(16, 32),
        relu2=nn.ReLU(),
        pool2=pool(),
        flatten=nn.Flatten(),  # (N, 32 * 8 * 8)
        fc6=nn.Linear(2048, 256, weight_init=he, bias_init=zero),
        relu6=nn.ReLU(),
        drop6=nn.Dropout(p, rule),
        fc7=nn.Linear(256, 256, weight_init=he, bias_init=zero),
        relu7=nn.ReLU(),
        drop7=nn.Dropout(p, rule),
        fc8=nn.Linear(256, 10, weight_init=small, bias_init=zero),
    )


lesson.predict(
    "A label of ImageNet is about 10 bits. How many bits of label are there for each parameter of "
    "AlexNet?",
    "about 10",
    "about 1",
    "about 0.2",
)
ours, cifar = (
    sum(w.size for w in net.parameters()) for net in (network(), models.build("alexnet_cifar", 10))
)
rows = []
for name, images, classes, parameters in (("AlexNet, ImageNet 2012", 1_200_000, 1000, 60_965_224),
                                          ("AlexNet for CIFAR-10", 50_000, 10, cifar),
                                          ("this lesson", n_train, 10, ours)):
    bits = np.log2(classes)
    rows.append([name, images, bits, images * bits, parameters, images * bits / parameters])
lesson.table(
    ["", "images", "bits per label", "bits in all", "parameters", "bits per parameter"], rows
)
lesson.number("bits_a_label", rows[0][2])
lesson.number("bits_a_parameter", rows[0][5])
lesson.number("parameters", ours)
lesson.answer(
    "0.2 bits of label for each parameter: far less than one yes or no for each number that can "
    "be adjusted."
)

# %% [markdown]
# The labels cannot pin the network down. Many settings of the parameters get all training labels
# right, and most of these have learnt the images one by one instead of what they have in common.
# The loss cannot tell the two apart.
#
# ## 2. By heart
#
# A small training set makes it visible. We train on a few hundred images, and watch the error on
# them and on 1000 images that the network never sees. And then a test of character: the same
# images with labels drawn at random. There is nothing in these to understand.

# %%
lesson.section("2. By heart")
mean = train.mean_image()
EPOCHS = lesson.pick(32, 36)
EVERY = 4
BATCH = 50


def images_in(images, transform):
    """uint8 (N, 32, 32, 3) -> Tensor (N, 3, 32, 32), without random changes."""
    x = transform.eval()(images) * np.float32(SCALE)
    # (N, H, W, C) -> (N, C, H, W)
    return mt.Tensor(backend.asarray(np.ascontiguousarray(x).transpose(0, 3, 1, 2)))


def probabilities(model, images, transform):
    """(N, 10), in the mode that the model is in."""
    with mt.no_grad():
        return np.concatenate([F.softmax(model(images_in(images[i:i + 250], transform))).numpy()
                               for i in range(0, len(images), 250)])


def percent_wrong(model, part, transform):
    model.eval()
    wrong = probabilities(model, part.images, transform).argmax(axis=1) != part.labels
    model.train()
    return 100 * wrong.mean()


def fit(train, p=0.0, decay=0.0, moved=False, colours=False, seed=0):
    """Train a network: (model, transform, rows of (epoch, error on train, error on test) in %).

    p: dropout; decay: of the weights; moved: random crops of a padded image and flips; colours:
    noise in them.
    """
    mt.manual_seed(seed)
    pca = data.fit_pca(train.images) if colours else None
    transform = data.Transform(
        mean, crop=32 if moved else None, pad=4 if moved else 0, flip=moved, pca=pca
    )
    model = network(p)
    weights, biases = (
        [w for name, w in model.named_parameters() if name.endswith(end)]
        for end in ("weight", "bias")
    )
    optimizer = optim.SGD(
        [{"params": weights, "weight_decay": decay}, {"params": biases}], lr=0.03, momentum=0.9
    )
    # a tenth of the rate for the last quarter
    plan = schedule.MultiStepLR(optimizer, [EPOCHS * 3 // 4])
    loader = data.Loader(
        train, BATCH, lambda images, rng: transform(images, rng) * np.float32(SCALE), seed=seed
    )
    rows = []
    step = 0
    for epoch in range(EPOCHS):
        for x, labels in loader.epoch(epoch):
            mt.set_step(step)  # dropout's masks are a function of seed and step
            loss = F.cross_entropy(model(mt.Tensor(backend.asarray(x))), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        plan.step()
        if (epoch + 1) % EVERY == 0:
            rows.append(
                (
                    epoch + 1,
                    percent_wrong(model, train, transform),
                    percent_wrong(model, test, transform),
                )
            )
    return model, transform, np.array(rows)


lesson.predict(
    "Can the network learn labels that were drawn at random?",
    "no: there is nothing to learn",
    "a little better than chance",
    "yes, all of them",
)
runs = {"nothing": fit(train)}
dice = data.Dataset(
    train.images, streams.rng(0, "dice").integers(0, 10, n_train), train.classes, "dice"
)
by_dice = fit(dice)[2]
right = runs["nothing"][2]
lesson.table(
    ["epoch", "train error %", "test error %", "train error %, random labels"],
    [
        [int(a[0]), float(a[1]), float(a[2]), float(b[1])]
        for a, b in zip(right, by_dice, strict=True)
    ],
)
lesson.number("train_error", right[-1, 1])
lesson.number("test_error", right[-1, 2])
lesson.number("train_error_dice", by_dice[-1, 1])
lesson.answer(
    f"yes: {by_dice[-1, 1]:.1f} % wrong on {n_train} labels that mean nothing. With the true "
    f"labels it gets {right[-1, 1]:.1f} % wrong on the images it saw, {right[-1, 2]:.0f} % on "
    "others."
)

fig, ax = plt.subplots(figsize=(7, 4))
ax.plot(right[:, 0], right[:, 2], color=HELD_OUT, lw=2.2, label="images never seen")
ax.plot(right[:, 0], right[:, 1], color=TRAIN, lw=2.2, label="training images")
ax.plot(
    by_dice[:, 0],
    by_dice[:, 1],
    color=TRAIN,
    lw=1.6,
    ls="--",
    label="training images, random labels",
)
ax.fill_between(right[:, 0], right[:, 1], right[:, 2], color=FAINT, alpha=0.6)
ax.text(
    right[-1, 0] * 0.72, (right[-1, 1] + right[-1, 2]) / 2, "the gap", ha="center", va="center"
)
ax.legend(frameon=False, loc="upper right", fontsize=9.5)
ax.set(xlabel="epoch", ylabel="wrong answers in %", ylim=(-2, 110), xlim=(0, None),
       title=f"{n_train} images, {ours:,} parameters: learnt by heart")
lesson.show(fig, "by_heart")

# %% [markdown]
# A network that can learn random labels can learn anything, so a training error of 0 says nothing
# about the next image. The distance between the two errors is called *overfitting*. What follows
# are four ways to make learning by heart harder than understanding.
#
# ## 3. Dropout, twice
#
# Dropout silences each unit of a hidden layer with probability $p$, anew at each step. With a mask
# $m$ of ones (kept) and zeros, there are two rules:
#
# | rule | training | test |
# |---|---|---|
# | 2012, the paper | $y = m\,x$ | $y = (1-p)\,x$, "multiply their outputs by 0.5" |
# | inverted, today | $y = m\,x / (1-p)$ | $y = x$ |
#
# Both keep the mean of what the next layer receives the same in training and at test time. They do
# not keep it at the same *value*: under the 2012 rule it is $(1-p)$ times that of the inverted
# one.

# %%
lesson.section("3. Dropout, twice")
lesson.predict(
    "A unit says 4, p = 0.5. What does the next layer receive on average: in training, and at "
    "test?",
    "2012: 2 and 2, inverted: 4 and 4",
    "2012: 2 and 4, inverted: 4 and 4",
    "4 and 4 with both",
)


def dropout(x, kept, p, training, rule):
    """x and the mask `kept`: any shape, the same."""
    if rule == "2012":
        return x * kept if training else x * (1 - p)
    return x * kept / (1 - p) if training else x


x = np.full(100_000, 4.0)
kept = streams.rng(0, "masks").random(x.shape) >= 0.5
rows = []
for rule in ("2012", "inverted"):
    y = dropout(x, kept, 0.5, True, rule)
    rows.append([rule, y.mean(), y.std(), dropout(x, kept, 0.5, False, rule)[0]])
lesson.table(["rule", "training: mean", "training: std", "test"], rows)
lesson.number("mean_2012", rows[0][1])
lesson.number("mean_inverted", rows[1][1])
lesson.answer(
    "2 and 2 with the rule of 2012, 4 and 4 with the inverted one. What must agree is training "
    "and test."
)

# %% [markdown]
# Are the two rules the same network, then? Yes, if the *next* layer's weights are halved:
# $\tfrac{W}{2}\,(2 m x) = W (m x)$. Halving is exact in binary, so the outputs agree to the last
# bit, in training and at test. The training that follows does not: the gradient of the halved
# weights is twice as large, a step at the same rate is twice as long, and the weights that it
# moves are half as large. Relative to the weights that is four times the rate, for fc7 and fc8.

# %%
mt.manual_seed(0)
paper = network(0.5, "2012")
today = network(0.5, "inverted")
today.load_state_dict(paper.state_dict())
x = images_in(train.images[:50], data.Transform(mean))


def compare(label):
    """Largest differences of the logits, training (same masks) and test; ratio of gradients."""
    out = {}
    for net in (paper, today):
        mt.set_step(0)
        net.zero_grad()
        logits = net.train()(x)
        F.cross_entropy(logits, train.labels[:50]).backward()
        out[net] = logits.numpy(), net.eval()(x).numpy(), backend.to_numpy(net.fc8.weight.grad)
    a = out[paper]
    b = out[today]
    return [label, float(np.abs(a[0] - b[0]).max()), float(np.abs(a[1] - b[1]).max()),
            float(np.linalg.norm(b[2]) / np.linalg.norm(a[2]))]


lesson.predict(
    "The same weights in both networks, then fc7 and fc8 of the inverted one halved. How far "
    "apart are the outputs now?",
    "about 1e-7, rounding",
    "0",
    "they differ: the masks differ",
)
rows = [compare("same weights")]
for layer in (today.fc7, today.fc8):
    layer.weight.data *= 0.5
rows.append(compare("inverted: fc7, fc8 halved"))
lesson.table(
    [
        "",
        "training: outputs differ by",
        "test: outputs differ by",
        "gradient of fc8, inverted / 2012",
    ],
    rows,
)
lesson.number("halved_difference", max(rows[1][1:3]))
lesson.number("halved_gradient_ratio", rows[1][3])
lesson.answer("0: the same function to the bit, with gradients twice as large.")

# %% [markdown]
# So an initialisation and a rate belong to a rule. Caffe's AlexNet has inverted dropout and starts
# fc6 and fc7 at std 0.005 where the paper has 0.01.
#
# ## 4. Why one pass at half strength?
#
# $n$ hidden units have $2^n$ masks: as many sub-networks, which share their weights. Dropout
# trains a different one at each step. Asking all of them at test time is impossible; the paper
# takes $y = 0.5\,x$ once instead, "a reasonable approximation to taking the geometric mean" of
# what they predict. For one hidden layer before the softmax it is not an approximation at all, it
# is exact: the logarithm of a softmax is its logits up to a constant, the mean over all masks of
# the logits $W (m h) + b$ is $W (h / 2) + b$, and the mean of logarithms is the logarithm of the
# geometric mean. With 10 hidden units all 1024 sub-networks can be asked.

# %%
lesson.section("4. Why one pass at half strength?")


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


rng = streams.rng(0, "subnetworks")
h = rng.random(10)
W = rng.normal(0, 1, (4, 10))
b = rng.normal(0, 1, 4)
masks = (np.arange(1024)[:, None] >> np.arange(10)) & 1  # (1024, 10), every mask there is
each = softmax((masks * h) @ W.T + b)  # (1024, 4), what each sub-network says
geometric = np.exp(np.log(each).mean(axis=0))
geometric /= geometric.sum()
one_pass = softmax(W @ (0.5 * h) + b)
lesson.number("geometric_difference", float(np.abs(geometric - one_pass).max()))
lesson.table(
    ["", "class 0", "class 1", "class 2", "class 3"],
    [
        ["geometric mean of 1024", *map(float, geometric)],
        ["one pass, x 0.5", *map(float, one_pass)],
        ["arithmetic mean of 1024", *map(float, each.mean(axis=0))],
    ],
)

# %% [markdown]
# In a network with two layers of dropout it *is* an approximation. Our network was trained with
# dropout in both hidden layers; we ask 1, 2, 4, ... of its sub-networks, average what they say,
# and compare with the one pass.

# %%
lesson.predict(
    "How many sub-networks must be averaged to come near the one pass at half strength?",
    "one or two",
    "between 4 and 30",
    "a hundred or more",
)
runs["dropout"] = fit(train, p=0.5)
model, transform, _ = runs["dropout"]
layers = dict(model.named_children())
place = list(layers).index("drop6")  # nothing before it is random, so that is computed once
features = nn.Sequential(**dict(list(layers.items())[:place]))
head = nn.Sequential(**dict(list(layers.items())[place:]))
with mt.no_grad():
    parts = [features(images_in(test.images[i:i + 250], transform)).numpy()
             for i in range(0, len(test), 250)]
    hidden = mt.Tensor(backend.asarray(np.concatenate(parts)))


def says(mask=None):
    """(N, 10) float64: the probabilities with the masks of step `mask`.

    Without a mask: those of the one pass at half strength.
    """
    head.train(mask is not None)
    if mask is not None:
        mt.set_step(mask)
    with mt.no_grad():
        return np.maximum(F.softmax(head(hidden)).numpy().astype(np.float64), 1e-30)


def judged(q):
    """(error in %, loss, mean of the largest probability)"""
    losses = -np.log(q[np.arange(len(test)), test.labels])
    return (
        float(100 * (q.argmax(axis=1) != test.labels).mean()),
        float(losses.mean()),
        float(q.max(axis=1).mean()),
    )


one = says()
asked = lesson.pick(64, 256)
logs = 0.0
plain = 0.0
rows = []
for k in range(asked):
    each = says(10_000 + k)
    logs = logs + np.log(each)
    plain = plain + each
    if (k + 1) & k == 0:  # 1, 2, 4, ...
        g = softmax(logs / (k + 1))
        rows.append(
            [
                k + 1,
                judged(g)[0],
                judged(plain / (k + 1))[0],
                float(np.abs(g - one).sum(axis=1).mean() / 2),
                judged(g)[1],
            ]
        )
error_half, loss_half, _ = judged(one)
lesson.table(
    [
        "sub-networks",
        "error %: geometric",
        "arithmetic",
        "distance to one pass",
        "loss: geometric",
    ],
    rows,
)
print(f"one pass, x 0.5: error {error_half:.1f} %, loss {loss_half:.2f}\n")
lesson.number("error_one_mask", rows[0][1])
lesson.number("error_one_pass", error_half)
near = [row[0] for row in rows if row[1] <= error_half + 1]
lesson.answer(
    f"one sub-network alone is wrong in {rows[0][1]:.1f} %, the one pass in {error_half:.1f} %. "
    "The mean "
    + (
        f"comes within a point of that with {near[0]}."
        if near
        else f"of {asked} is still a point away."
    )
)

counts = [row[0] for row in rows]
fig, ax = plt.subplots(figsize=(7, 4))
ax.axhline(error_half, color=INK, lw=1.4, ls="--")
ax.plot(counts, [row[1] for row in rows], "o-", color=RUNS[0], lw=2, label="geometric mean")
ax.plot(
    counts, [row[2] for row in rows], "s-", color=RUNS[1], lw=1.4, ms=4, label="arithmetic mean"
)
ax.text(counts[0], error_half - 0.15, "one pass at half strength", va="top")
ax.set_xscale("log", base=2)
ax.set_xticks(counts, counts)
ax.margins(y=0.2)
ax.set(
    xlabel="sub-networks averaged",
    ylabel="test error in %",
    title="One pass stands for many sub-networks",
)
ax.legend(frameon=False)
lesson.show(fig, "averaging")

# %% [markdown]
# That is the trade of dropout: the vote of very many networks for the price of one, and each unit
# had to be useful in the company of others that come and go. The paper's words: it "reduces
# complex co-adaptations of neurons". The price is paid in training, which took about twice as many
# iterations.
#
# ## 5. Weight decay
#
# The paper's update takes a little from each weight at each step, $0.0005 \cdot \epsilon \cdot w$
# with the rate $\epsilon = 0.01$; momentum $0.9$ makes ten of it in the long run. A weight that no
# gradient asks for shrinks by $0.0005 \cdot 0.01 / (1 - 0.9) = 5 \cdot 10^{-5}$ per step.

# %%
lesson.section("5. Weight decay")
lesson.predict(
    "A weight without gradient, rate 0.01, decay 0.0005, momentum 0.9: after how many epochs of "
    "ImageNet (1.2 million images in batches of 128) is half of it left?",
    "one and a half",
    "fifteen",
    "never in 90 epochs",
)
w = 1.0
v = 0.0
steps = 0
while w > 0.5:
    v = 0.9 * v - 0.0005 * 0.01 * w
    w += v
    steps += 1
epochs = steps * 128 / 1_200_000
lesson.table(
    ["steps to half", "ln 2 / 5e-5", "epochs of ImageNet"],
    [[steps, round(np.log(2) / 5e-5), epochs]],
)
lesson.number("half_life_steps", steps)
lesson.number("half_life_epochs", epochs)
lesson.answer("one and a half epochs. At a tenth of the rate it is ten times as long.")

# %% [markdown]
# So a weight stays large only if the data ask for it again and again. The paper adds that the
# decay does more than reduce overfitting: "it reduces the model's training error". Biases have no
# decay in the authors' code.
#
# ## 6. More images from the same: crops and flips
#
# An image moved by a few pixels or seen in a mirror shows the same thing. The paper cuts 224 x 224
# windows out of 256 x 256 and mirrors half of them: "a factor of 2048, though the resulting
# training examples are, of course, highly inter-dependent". The authors' code draws the corner
# from 0..32, both included.

# %%
lesson.section("6. More images from the same")
lesson.predict(
    "In how many ways can a 224 window be cut out of 256 x 256 when corners run from 0 to 32, "
    "with mirror images?",
    "2 x 32 x 32 = 2048",
    "2 x 33 x 33 = 2178",
    "2 x 32 = 64",
)
windows = 2 * (256 - 224 + 1) ** 2
lesson.number("windows", windows)
lesson.answer(f"2 x 33 x 33 = {windows}. The paper counts 2 x 32 x 32 = 2048.")

picture = train.images[7:8]
rng = streams.rng(0, "views")
views = data.horizontal_flip(data.random_crop(np.repeat(picture, 12, axis=0), 32, rng, pad=4), rng)


def frame(ax, image, title=""):
    """An image without ticks."""
    ax.imshow(np.clip(image, 0, 255).astype(np.uint8))
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    ax.spines[:].set_visible(True)


fig, axes = plt.subplots(2, 7, figsize=(9, 2.9))
axes[1, 0].axis("off")
frame(axes[0, 0], picture[0], "the image")
for ax, view in zip(axes[:, 1:].flat, views, strict=True):
    frame(ax, view)
fig.suptitle(
    "One image, twelve that the network sees: moved by up to 4 pixels, mirrored or not",
    fontsize=11,
)
lesson.show(fig, "views")

# %% [markdown]
# ## 7. Noise in the colours, along the right axes
#
# Take the same thing at noon and at dusk: all of its pixels change colour together, and what it is
# does not change. So the paper adds one random colour to all pixels of an image. Which colours?
# Take all pixels of the training set as points with three coordinates. They do not fill the cube
# evenly: bright pixels are bright in red, green and blue at once. The eigenvectors of the 3 x 3
# covariance of these points are the axes of the cloud, and the square roots of the eigenvalues are
# its widths. Noise along these axes, in proportion to these widths, makes colours such as those in
# the set. The same noise in red, green and blue independently would make mostly colours that no
# light makes.

# %%
lesson.section("7. Noise in the colours")
lesson.predict("What will the first axis be, the one along which pixels differ most?", "red",
               "grey: all three together", "blue against yellow")
pca = data.fit_pca(train.images)
widths = np.sqrt(pca.eigenvalues)
share = pca.eigenvalues / pca.eigenvalues.sum()
lesson.table(
    ["axis", "red", "green", "blue", "width (grey levels)", "share of the variance"],
    [
        [i + 1, *map(float, pca.eigenvectors[:, i]), float(widths[i]), float(share[i])]
        for i in range(3)
    ],
)
lesson.number("first_axis_share", share[0])
lesson.number("first_axis_grey", abs(pca.eigenvectors[:, 0].sum()) / np.sqrt(3))
# the authors' widths: color_pca of akrizhevsky/cuda-convnet2
imagenet = np.array([121.78, 37.09, 19.72])
lesson.number("imagenet_share", (imagenet**2 / (imagenet**2).sum())[0])
lesson.answer(
    f"grey, nearly (0.58, 0.58, 0.58): brightness. {share[0]:.0%} of the variance is along it; on "
    f"ImageNet, with widths of 122, 37 and 20, {imagenet[0] ** 2 / (imagenet**2).sum():.0%}."
)

every = max(1, n_train * 1024 // 4000)  # some 4,000 points
pixels = train.images.reshape(-1, 3)[::every].astype(float)  # (N, H, W, 3) -> (N*H*W, 3)
centre = pixels.mean(axis=0)
fig, ax = plt.subplots(figsize=(6, 5.2))
ax.scatter(pixels[:, 0], pixels[:, 2], c=pixels / 255, s=7, lw=0)
for i in range(3):
    d = 2 * widths[i] * pca.eigenvectors[:, i]
    ax.annotate(
        "",
        centre[[0, 2]] + d[[0, 2]],
        centre[[0, 2]],
        arrowprops={"arrowstyle": "-|>", "lw": 2.2, "color": INK, "shrinkA": 0, "shrinkB": 0},
    )
    ax.text(
        *(centre[[0, 2]] + 1.12 * d[[0, 2]]),
        f"{i + 1}",
        fontsize=13,
        fontweight="bold",
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": INK, "lw": 0.8},
    )
ax.set(
    xlabel="red, 0..255",
    ylabel="blue, 0..255",
    aspect="equal",
    xlim=(-10, 270),
    ylim=(-10, 270),
    title="Pixels of the training set; arrows: its axes, two widths long",
)
lesson.show(fig, "pixel_colours")

# %% [markdown]
# Now the amount. With the eigenvectors as the columns of $V$, eigenvalues $\lambda_i$ (variances)
# and widths $s_i = \sqrt{\lambda_i}$, and three standard normal numbers $a_i$ for each image:
#
# | | the colour that is added | then |
# |---|---|---|
# | the paper's text (section 4.1) | $V\,(0.1\,a \cdot \lambda)$ | |
# | the released code | $V\,(0.1\,a \cdot s)$ | the image, free of its mean, is divided by $1.1$ |
#
# A variance is in squared grey levels. Added to grey levels it makes no sense, and what it does
# depends on the scale: on 0..1 it is a faint tint, on 0..255 it blots out the image. The width is
# in grey levels, and $0.1 s$ is a tenth of the spread of the set on any scale.
#
# The $1.1$ is $1 + 0.1$, and four lines of comment say what it is for: "so that the overall scale
# of the training data doesn't become too different from the test data" (convdata.py:179-182 of the
# released source). But spreads of independent things add in squares: along each axis
# $\sqrt{s^2 + (0.1 s)^2} = 1.005\,s$, so dividing by $1.005$ would have kept the scale. By $1.1$,
# training images are $1.005 / 1.1 = 0.914$ as strong as test images. And when the noise was
# switched off, after 67 epochs, the inputs grew by a tenth from one epoch to the next.

# %%
lesson.predict(
    "The text taken literally on pixels 0..255: by how many grey levels does the first axis move "
    "an image?",
    "about 7",
    "about 50",
    "several hundred",
)
literal = 0.1 * pca.eigenvalues
source = 0.1 * widths
lesson.table(
    ["a typical shift, in grey levels", "axis 1", "axis 2", "axis 3"],
    [
        ["text, pixels 0..255", *map(float, literal)],
        ["text, pixels 0..1", *map(float, literal / 255)],
        ["released code, before / 1.1", *map(float, source)],
    ],
)
lesson.number("literal_shift", literal[0])
lesson.number("source_shift", source[0])
lesson.answer(f"{literal[0]:.0f} grey levels by the text, {source[0]:.1f} by the code.")

draws = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [1.5, -1, 1]], float)
labels = ["+ axis 1", "- axis 1", "+ axis 2", "- axis 2", "+ axis 3", "1.5, -1, 1"]
six = np.repeat(picture, 6, axis=0)
by_code = data.transforms.add_color(data.subtract_mean(six, mean), pca, draws, "source") + mean
by_text = six + ((draws * literal) @ pca.eigenvectors.T)[:, None, None, :]
fig, axes = plt.subplots(2, 7, figsize=(9, 3.1))
for row, name, images in zip(axes, ("code", "text,\n0..255"), (by_code, by_text), strict=True):
    frame(row[0], picture[0], "the image")
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, image, label in zip(row[1:], images, labels, strict=True):
        frame(ax, image, label)
fig.suptitle(
    "A colour of one width added to all pixels: by the released code, by the paper's text",
    fontsize=11,
)
lesson.show(fig, "colour_noise")

# %% [markdown]
# The paper says that this lowered the top-1 error "by over 1 %", and the authors switched it off
# for the last part of the training.
#
# ## 8. The wrong mode
#
# A layer that behaves differently in training and at test time can be in the wrong mode, and
# nothing stops: it only gets worse. Here is the network of section 4, tested rightly and wrongly.

# %%
lesson.section("8. The wrong mode")
lesson.predict(
    "Which mistake raises the error more?",
    "eval() forgotten: units are silent at test time",
    "the factor 0.5 forgotten: all units speak at full strength",
)


rows = [["right: eval(), x 0.5", *judged(says())], ["eval() forgotten", *judged(says(20_000))]]
for layer in (model.drop6, model.drop7):
    layer.p = 0.0
rows.append(["the factor 0.5 forgotten", *judged(says())])
for layer in (model.drop6, model.drop7):
    layer.p = 0.5
lesson.table(["", "error %", "loss", "largest probability, mean"], rows)
lesson.number("error_train_mode", rows[1][1])
lesson.number("confidence_right", rows[0][3])
lesson.number("confidence_no_factor", rows[2][3])
lesson.answer(
    f"{rows[1][1] - rows[0][1]:+.1f} points of error for the silent units, "
    f"{rows[2][1] - rows[0][1]:+.1f} for the forgotten factor. But see how sure of itself the "
    "last one is."
)

# %% [markdown]
# The forgotten factor doubles what each of two layers passes on. With biases near zero, ReLU
# layers pass a factor through, so the logits come out about four times as large, and the largest
# of them stays the largest: an error rate hardly sees it, the loss and the probabilities do. Three
# rules of thumb: `model.eval()` before each test and `model.train()` after it; test a network
# twice, the two answers must be equal; look at the loss on the test set, not at the error alone.
#
# ## 9. The gap, with and without
#
# The same network and the same few hundred images, with each of the remedies alone and with
# several together. In full each runs with two seeds.

# %%
lesson.section("9. The gap, with and without")
lesson.predict(
    "Which one alone helps most on images never seen?",
    "dropout",
    "weight decay",
    "crops and flips",
)
means = lesson.pick(
    {
        "nothing": {},
        "weight decay": {"decay": 0.005},
        "dropout": {"p": 0.5},
        "crops, flips": {"moved": True},
    },
    {
        "nothing": {},
        "weight decay": {"decay": 0.005},
        "dropout": {"p": 0.5},
        "colours": {"colours": True},
        "crops, flips": {"moved": True},
        "dropout, crops, flips": {"p": 0.5, "moved": True},
    },
)
ends = {}
for name, how in means.items():
    results = [runs[name] if seed == 0 and name in runs else fit(train, seed=seed, **how)
               for seed in lesson.pick((0,), (0, 1))]
    ends[name] = np.array([rows[-1, 1:] for *_, rows in results])  # (seeds, [train, test])
lesson.table(
    ["", "train error %", "test error %", "from", "to", "gap"],
    [
        [
            name,
            float(e[:, 0].mean()),
            float(e[:, 1].mean()),
            float(e[:, 1].min()),
            float(e[:, 1].max()),
            float((e[:, 1] - e[:, 0]).mean()),
        ]
        for name, e in ends.items()
    ],
)
for name, e in ends.items():
    lesson.number("end_" + name.replace(", ", "_").replace(" ", "_"), e[:, 1].mean())
alone = {
    name: e[:, 1].mean()
    for name, e in ends.items()
    if name not in ("nothing", "dropout, crops, flips")
}
best = min(alone, key=alone.get)
lesson.answer(
    f"{best}: {ends['nothing'][:, 1].mean():.0f} % wrong without, {alone[best]:.0f} % with."
)

fig, ax = plt.subplots(figsize=(7.5, 1.0 + 0.45 * len(ends)))
for i, e in enumerate(reversed(ends.values())):
    a, b = e.mean(axis=0)
    ax.plot([a, b], [i, i], color=FAINT, lw=7, solid_capstyle="butt", zorder=1)
    ax.plot(a, i, "o", color=TRAIN, ms=8)
    ax.plot(e[:, 1], [i] * len(e), "|", color=HELD_OUT, ms=14, mew=1.5)
    ax.plot(b, i, "o", color=HELD_OUT, ms=8)
ax.set_ylim(-0.6, len(ends) - 0.4)
ax.set_yticks(range(len(ends)), list(reversed(ends)))
ax.set(
    xlabel="wrong answers in %: training images (grey), images never seen (red)",
    xlim=(-2, None),
    title=f"The gap after {EPOCHS} epochs on {n_train} images",
)
lesson.show(fig, "gap")

# %% [markdown]
# Read it with care. This is one small network, a few hundred images and a fixed number of epochs:
# what is slowed down has not finished. Crops and flips add something that the images did not say,
# that a moved star is a star; dropout and decay only make it harder to use the parameters that
# there are. On photographs (`--data cifar10`) a few hundred are too few for any of it to do much:
# the gap narrows more than the test error falls.
#
# ## Now you
#
# * 7.1 `dropout`, `dropout_backward`: both rules, with a given mask
# * 7.2 `pca_color`: colour noise as in the released code
# * 7.3 `BITS_PER_PARAMETER`: how many bits of label for each of AlexNet's parameters
# * 7.4 `DropoutLayer`: its gradient is wrong; find out why, and fix it
#
# in `lessons/exercises/07_dropout.py`; then `python -m minitorch_alex.check 07`.
#
# ## Where this is in the package
#
# * `minitorch_alex/functional/dropout.py`: `dropout`; `kernels/naive.py`: `dropout`, whose mask is
#   a hash, never stored
# * `minitorch_alex/data/transforms/`: `random_crop`, `horizontal_flip`, `ten_crop` (windows.py),
#   `fit_pca`, `add_color` (colors.py)
# * `minitorch_alex/optim.py`: `SGD`, with the decay of each group; `models/recipe.py`: biases have
#   none
# * `minitorch_alex/nn.py`: `Module.train`, `Module.eval`

# %%
lesson.done()
