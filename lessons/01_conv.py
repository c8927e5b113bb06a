# %% [markdown]
# # 1. Convolution
#
# AlexNet has eight layers that learn, and five of them are convolutions. They are where nine
# tenths of the arithmetic goes. Here you see what a convolution computes, with kernels made by
# hand; how large its result is, and why 224 gives 55 in the paper; what it costs; and what is done
# to an image before its first convolution.
#
# **You need** Python, NumPy, and multiplication.
# **Time**: half a minute at most, with or without `--quick`.
# **It makes** five figures in `runs/lessons/01_conv`.

# %%
import kit
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex.kernels import Window
from minitorch_alex.plots.style import FAINT, INK
from minitorch_alex.streams import rng

lesson = kit.Lesson("01_conv")

# %% [markdown]
# ## 1. Sliding and summing
#
# How do you find an edge in an image? You look for a place where neighbouring pixels differ. As
# arithmetic: subtract each pixel from the one to its right. The result is large at edges and zero
# on plain areas. That is already a convolution: a few fixed numbers, here $(-1, 1)$, slide along
# the image; at each place they are multiplied with what is under them, and the products are
# summed. The numbers are called the *kernel*, what is under it the *window*.
#
# In two dimensions, with an image $x$ and a kernel $w$ of $K_H \times K_W$ numbers:
#
# $$y_{oh,\,ow} = \sum_{kh=0}^{K_H-1} \; \sum_{kw=0}^{K_W-1} w_{kh,\,kw} \; x_{oh+kh,\;ow+kw}$$
#
# Two loops over places, two over the kernel. That is the whole of it:

# %%
lesson.section("1. Sliding and summing")


def correlate(x, w):
    """x (H, W), w (KH, KW)  ->  y (H - KH + 1, W - KW + 1)"""
    H, W = x.shape
    KH, KW = w.shape
    y = np.zeros((H - KH + 1, W - KW + 1))
    for oh in range(y.shape[0]):
        for ow in range(y.shape[1]):
            for kh in range(KH):
                for kw in range(KW):
                    y[oh, ow] += w[kh, kw] * x[oh + kh, ow + kw]
    return y


row = np.array([[2.0, 2, 2, 7, 7, 7, 3]])
lesson.predict("The row is 2 2 2 7 7 7 3, the kernel (-1, 1). What comes out?",
               "0 0 5 0 0 -4", "0 0 -5 0 0 4", "2 2 7 7 7 3")
lesson.table(
    ["", *(f"{i}" for i in range(7))],
    [
        ["row", *row[0].astype(int)],
        ["result", *correlate(row, np.array([[-1.0, 1]]))[0].astype(int), ""],
    ],
)
lesson.answer(
    "0 0 5 0 0 -4: each result is the right neighbour minus the pixel. Seven pixels have six such "
    "pairs."
)

# %% [markdown]
# ## 2. What mathematics calls convolution
#
# A mathematician would object: a convolution runs through the kernel *backwards*, $y_o = \sum_k
# w_k \, x_{o-k}$. What we have is a *cross-correlation*. The difference is best seen with an image
# that is empty except for one pixel.

# %%
lesson.section("2. What mathematics calls convolution")
lesson.predict(
    "Slide the letter F, as a kernel, over an empty image with a single dot. What is the result?",
    "an F",
    "an F turned by 180 degrees",
    "one dot",
)
letter = np.array([[1.0, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
impulse = np.zeros((11, 9))
impulse[5, 4] = 1
correlated = correlate(impulse, letter)
convolved = correlate(impulse, letter[::-1, ::-1])
figure, axes = plt.subplots(1, 4, figsize=(9, 3.4), width_ratios=(3, 9, 7, 7))
for ax, image, title in zip(
    axes,
    (letter, impulse, correlated, convolved),
    (
        "kernel",
        "image",
        "cross-correlation:\nthe kernel, turned",
        "convolution:\nthe kernel itself",
    ),
):
    ax.imshow(image, cmap="gray_r", vmin=-0.15, vmax=1)
    ax.set(xticks=[], yticks=[], title=title)
lesson.show(figure, "flip")
first = np.array([1.0, 2, 4, 8])
second = np.array([1.0, 10])
lesson.table(["", "result"], [
    ["np.correlate", str(np.correlate(first, second, "valid"))],
    ["np.convolve", str(np.convolve(first, second, "valid"))],
    ["np.correlate, kernel reversed", str(np.correlate(first, second[::-1], "valid"))]])
lesson.answer("turned by 180 degrees: the pixel meets the kernel's last number first.")

# %% [markdown]
# A true convolution gives the kernel back as it is, and it does not matter which of the two is
# image and which is kernel; that makes it pleasant in proofs. For a network there is no
# difference: it *learns* its kernels, and would learn the turned ones. So PyTorch, Caffe and the
# 2012 code leave the kernel as it is and call it convolution all the same, and so do we. The turn
# comes back in lesson 4: the gradient with respect to the image is a convolution with the turned
# kernel.
#
# ## 3. Channels
#
# A colour image has three numbers per pixel, and the result of a layer of AlexNet has 96 and more.
# These are *channels*, $C$ of them. Three things are added to the four loops:
#
# * a window takes in **all channels**, so a kernel has $C \times K_H \times K_W$ weights and there
#   is a third sum;
# * a layer has **many kernels**, $O$ of them; each makes one channel of the result;
# * there is a **batch** of $N$ images, all treated alike.
#
# With a bias $b_o$ that is added to each result, a stride $S$ and a padding $P$ (next section),
# this is the layer, and these are its seven loops: four for the place of a result, three for the
# sum.
#
# $$y_{n,o,oh,ow} = b_o + \sum_{c} \sum_{kh} \sum_{kw} w_{o,c,kh,kw} \;\,
#   x_{n,\,c,\;oh\,S - P + kh,\;ow\,S - P + kw}$$
#
# You write them in exercise 1.2. The order of a sum does not matter, so the loops can be arranged
# in another way too: take one cell of the kernel, $(kh, kw)$, and treat *all* its pixels at once.
# Then a 3 x 3 kernel is nine shifted copies of the image, each with a weight, added up. Two loops
# are left in Python, and NumPy does the others.

# %%
lesson.section("3. Channels")


def conv2d_taps(x, w, stride=1, padding=0):
    """x (N, C, H, W), w (O, C, KH, KW)  ->  y (N, O, OH, OW)"""
    N, _, H, W = x.shape
    O, _, KH, KW = w.shape
    OH = 1 + (H + 2 * padding - KH) // stride
    OW = 1 + (W + 2 * padding - KW) // stride
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))  # a border of zeros
    y = np.zeros((N, O, OH, OW), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            # (N, C, OH, OW)
            seen = x[:, :, kh:kh + stride * OH:stride, kw:kw + stride * OW:stride]
            y += np.einsum("nchw,oc->nohw", seen, w[:, :, kh, kw])
    return y


draw = rng(lesson.seed, "lesson 1")
x = draw.standard_normal((2, 3, 12, 11))
w = draw.standard_normal((4, 3, 3, 3))
ours = conv2d_taps(x, w, 2, 1)
theirs = F.conv2d(mt.Tensor(x), mt.Tensor(w), stride=2, padding=1).numpy()
lesson.predict(
    "2 images of 3 x 12 x 11, 4 kernels of 3 x 3 x 3, stride 2, padding 1. The shape of the "
    "result?",
    "(2, 3, 6, 6)",
    "(2, 4, 6, 6)",
    "(2, 12, 6, 6)",
)
print(f"the result is {ours.shape}; the largest difference from the package's conv2d is "
      f"{lesson.number('difference', abs(ours - theirs).max()):.1e}")
lesson.answer("(2, 4, 6, 6): one channel per kernel. The input's channels have been summed over.")

# %% [markdown]
# ## 4. How many windows: why 224 gives 55
#
# Two more numbers. The **stride** $S$ is how far the window moves from one result to the next;
# conv1 of AlexNet moves by 4 pixels both ways, so it has a sixteenth of the places to compute. The
# **padding** $P$ is a border of zeros around the image, so that windows can reach over the edge;
# with a kernel of 5, a stride of 1 and a padding of 2 the result is as large as the image.
#
# How many windows fit along an axis? The first one is at the left edge. It can still move by
# $H + 2P - K_H$ pixels, in steps of $S$:
#
# $$O_H = 1 + \frac{H + 2P - K_H}{S}$$
#
# And if the division leaves a remainder? For the first layer of AlexNet (kernel 11, stride 4,
# images of 224) it does: $(224 - 11) / 4 = 53.25$.

# %%
lesson.section("4. How many windows: why 224 gives 55")
lesson.predict(
    "224 pixels, kernel 11, stride 4, no padding. The paper says that 55 windows come out. How?",
    "the images had 227 pixels",
    "the division was rounded up",
    "there were two pixels of padding",
)
rows = []
for name, size, padding, ceil in (
    ("rounded down", 224, 0, False),
    ("rounded up: the 2012 code", 224, 0, True),
    ("227 pixels: Caffe", 227, 0, False),
    ("padding 2: torchvision", 224, 2, False),
):
    room = size + 2 * padding - 11
    windows = Window.of(11, 4, padding, ceil_mode=ceil).out(size, size)[0]
    rows.append([name, size, padding, f"{room} / 4 = {room / 4}", windows])
lesson.table(["", "pixels", "padding", "steps", "windows"], rows)
lesson.number("conv1_out", rows[1][-1])
lesson.number("conv1_out_floor", rows[0][-1])

figure, ax = plt.subplots(figsize=(8.5, 3))
ax.add_patch(plt.Rectangle((195, -0.5), 29, 4.9, color=FAINT, zorder=0))
for place, o in enumerate((51, 52, 53, 54)):
    left = 4 * o
    beyond = max(0, 4 * o + 11 - 224)
    ax.add_patch(plt.Rectangle((left, 3 - place), 11 - beyond, 0.75, color=INK))
    if beyond:
        ax.add_patch(
            plt.Rectangle(
                (left + 11 - beyond, 3 - place),
                beyond,
                0.75,
                facecolor="none",
                edgecolor="#c8502d",
                hatch="///",
            )
        )
    ax.text(left - 0.6, 3.37 - place, f"window {o + 1}", ha="right", va="center")
ax.axvline(224, color="#c8502d", linewidth=1.5)
ax.text(224.2, 4.15, "edge of the image", color="#c8502d", va="center")
ax.set(xlim=(195, 231), ylim=(-0.5, 4.4), yticks=[], xlabel="pixel", xticks=range(196, 232, 4),
       title="The 55th window of a 224-pixel image reads three columns that are not there")
lesson.show(figure, "edge")
lesson.answer("rounded up. All three give 55, but only rounding up is what was run.")

# %% [markdown]
# This has puzzled readers for years: 224 does not fit, so 227 must have been meant, or a padding
# that the paper forgot. The released source code of 2012 settles it. There the size is $1 + \lceil
# (H + 2P - K) / S \rceil$, rounded **up**; a window that reaches past the right or the bottom edge
# reads zeros there. That is the same as an image of 227 whose last three columns and rows are
# zeros. Caffe fixed it with real 227-pixel crops, PyTorch's model with a padding of 2. Whoever
# copies the paper's numbers into a library that rounds down gets 54, and at the last pool another
# network:

# %%
layers = (
    ("conv1", 11, 4, 0),
    ("pool1", 3, 2, 0),
    ("conv2", 5, 1, 2),
    ("pool2", 3, 2, 0),
    ("conv3", 3, 1, 1),
    ("conv4", 3, 1, 1),
    ("conv5", 3, 1, 1),
    ("pool5", 3, 2, 0),
)
up = down = 224
rows = []
for name, kernel, stride, padding in layers:
    up = Window.of(kernel, stride, padding, ceil_mode=True).out(up, up)[0]
    down = Window.of(kernel, stride, padding).out(down, down)[0]
    rows.append([name, kernel, stride, padding, up, down])
lesson.predict(
    "The last pool of AlexNet has 6 x 6 x 256 = 9,216 outputs. And if every size is rounded down?",
    "the same",
    "6,400",
    "4,096",
)
lesson.table(["layer", "kernel", "stride", "padding", "rounded up", "rounded down"], rows)
print(
    f"inputs of the first fully connected layer: {lesson.number('fc6_inputs', up * up * 256):,} "
    f"and {lesson.number('fc6_inputs_floor', down * down * 256):,}"
)
lost = lesson.number("parameters_lost", (up * up - down * down) * 256 * 4096)
lesson.answer(
    f"6,400 = 5 x 5 x 256. With 4,096 units after it, that takes {lost:,} of 60,965,224 "
    "parameters away."
)

# %% [markdown]
# Remember the chain **224, 55, 27, 13, 6**: it is the skeleton of the network, and you will meet
# it again in lesson 9.
#
# Two numbers more belong to a window, and AlexNet uses one of them. With a **dilation** of $D$ its
# pixels stand $D$ apart, so that it reaches over $D\,(K - 1) + 1$ of them. With $G$ **groups** a
# kernel sees one $G$-th of the channels: that is how the paper's net lies on two GPUs (lesson 2).
# Try them here. When does a window fit only once? Which settings leave pixels out? What do groups
# do to the number of weights?

# %%
by_hand = rng(lesson.seed, "lesson 1, by hand")
channels = by_hand.integers(0, 10, (4, 8, 8))
four_kernels = by_hand.integers(-2, 3, (4, 4, 5, 5))
lesson.number("windows_of_8", Window.of(3, 2, 1).out(8, 8)[0])
lesson.number("windows_of_8_dilated", Window.of(3, 2, 1, 2).out(8, 8)[0])
lesson.explore(
    "window",
    "Four channels of 8 x 8 pixels, four kernels. Move the sliders, by mouse or with the arrow keys.",
    "8 x 8 pixels, a kernel of 3, stride 2 and padding 1 make 4 x 4 windows; at dilation 2 there "
    "are 3 x 3.",
    x=channels,
    w=four_kernels,
)

# %% [markdown]
# ## 5. Kernels by hand
#
# What can one kernel see? Six of them on one image. Each is a few numbers; all but the blur sum to
# zero.

# %%
lesson.section("5. Kernels by hand")
size, which = (96, 28) if lesson.data_name == "shapes" else (32, 5)
picture = lesson.data(which + 1, 1, size)[0].images[which]  # (H, W, 3), bytes
x = picture.transpose(2, 0, 1)[None].astype(float)  # (1, 3, H, W)
grey = np.full((3, 1, 1), 1 / 3)  # the same weight for the three colours
blur = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
sobel = np.outer([1, 2, 1], [-1, 0, 1]) / 4
soft = np.outer([1, 2, 1], [1, 2, 1]) / 16
KERNELS = {  # each (3, K, K)
    "blur": grey * blur,
    "edges from left to right": grey * sobel,
    "edges from top to bottom": grey * sobel.T,
    "spots (centre - surround)": grey * (np.pad([[1.0]], 2) - blur),
    "red against green": np.stack([soft, -soft, 0 * soft]),
    "blue against yellow": np.stack([-soft / 2, -soft / 2, soft]),
}
lesson.predict("Which of these give zero on an evenly coloured area, whatever its colour?",
               "all but the blur", "the edges and the spots", "the two colour opponents")
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4))
axes[0, 0].imshow(picture)
axes[0, 0].set_title("the image", fontsize=10)
for ax, (name, kernel) in zip(axes.flat[1:], KERNELS.items()):
    y = conv2d_taps(x, kernel[None], padding=kernel.shape[-1] // 2)[0, 0]
    inner = abs(y[3:-3, 3:-3]).max()
    ax.imshow(
        y, cmap="gray", vmin=0 if name == "blur" else -inner, vmax=255 if name == "blur" else inner
    )
    ax.set_title(name, fontsize=10)
for ax in axes.flat:
    ax.axis("off")
lesson.show(figure, "kernels")
lesson.table(
    ["kernel", "sum of weights", "on grey (128, 128, 128)", "on orange (255, 128, 0)"],
    [
        [
            name,
            float(k.sum().round(9)),
            *(
                float((k.sum((1, 2)) * colour).sum().round(9)) + 0.0
                for colour in ((128, 128, 128), (255, 128, 0))
            ),
        ]
        for name, k in KERNELS.items()
    ],
)
lesson.answer(
    "the edges and the spots: they sum to zero in each colour. The opponents sum to zero over the "
    "colours, so they are silent on grey only."
)

# %% [markdown]
# In all results but the blur's, middle grey is zero, white positive, black negative. Edges answer
# with the sign of the step. Along the rim all kernels see an edge that is not in the image: the
# border of zeros.
#
# AlexNet learns kernels of these kinds on its own: figure 3 of the paper shows the 96 of conv1,
# mostly stripes of all directions without colour on one GPU, mostly coloured blobs on the other.
# (Our own eyes have cells of both kinds.) Nobody will write kernels by hand from now on.
#
# ## 6. What it costs
#
# Each result takes one multiplication and one addition for each weight of its kernel: one
# *multiply-add* (MAC). So a layer takes
#
# $$\underbrace{O_H\, O_W\, O}_{\text{results}} \;\times\;
#   \underbrace{C\, K_H\, K_W}_{\text{weights of a kernel}}$$
#
# of them per image. Let us count a small layer, 32 kernels of 5 x 5 on a CIFAR image of 3 x 32 x
# 32 with padding 2, and see how long Python takes for one.

# %%
lesson.section("6. What it costs")
small = lesson.number("small_macs", 32 * 32 * 32 * 3 * 5 * 5)
lesson.predict(
    f"That layer takes {small:,} multiply-adds per image. How long do Python loops need for one "
    "epoch, 50,000 images, forward only?",
    "ten minutes",
    "an hour",
    "hours and hours",
)
x = draw.standard_normal((lesson.pick(36, 68),) * 2)
w = draw.standard_normal((5, 5))


each = kit.fastest(lambda: correlate(x, w)) / ((x.shape[0] - 4) ** 2 * 25)
batch = draw.standard_normal((16, 3, 32, 32)).astype(np.float32)
kernels = np.ones((32, 3, 5, 5), np.float32)
taps = kit.fastest(lambda: conv2d_taps(batch, kernels, padding=2)) / 16
package = kit.fastest(lambda: F.conv2d(mt.Tensor(batch), mt.Tensor(kernels), padding=2)) / 16
lesson.table(["", "ns per multiply-add", "ms per image", "minutes per 50,000 images"],
             [[name, 1e9 * s / small, 1e3 * s, s * 50_000 / 60]
              for name, s in (("loops in Python", each * small), ("25 shifted images", taps),
                              ("the package", package))])
lesson.number("package_against_loops", each * small / package)
lesson.answer(
    f"about {each * small * 50_000 / 3600:.0f} hours here, and a backward pass costs twice as "
    f"much again. The package takes {package * 50_000:.0f} s."
)

# %% [markdown]
# A loop in Python spends its time on everything but the multiplication: finding the index, making
# a number object, throwing it away. Lesson 2 is about how to escape from that. AlexNet needs 724
# million multiply-adds per image. Where do they go, and where are its weights? A fully connected
# layer is counted in the same way; each of its weights is used once.

# %%
SHAPES = {  # results per kernel, kernels, weights of one kernel (C / groups * KH * KW)
    "conv1": (55 * 55, 96, 3 * 121),
    "conv2": (27 * 27, 256, 48 * 25),
    "conv3": (13 * 13, 384, 256 * 9),
    "conv4": (13 * 13, 384, 192 * 9),
    "conv5": (13 * 13, 256, 192 * 9),
    "fc6": (1, 4096, 9216),
    "fc7": (1, 4096, 4096),
    "fc8": (1, 1000, 4096),
}
macs = {name: places * kernels * weights for name, (places, kernels, weights) in SHAPES.items()}
parameters = {name: kernels * (weights + 1) for name, (_, kernels, weights) in SHAPES.items()}
lesson.predict("Which layer does most of the work, and which has most of the weights?",
               "conv1 and fc8", "conv2 and fc6", "fc6 and fc6")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for ax, counts, title in zip(axes, (macs, parameters), ("multiply-adds", "parameters")):
    shares = [100 * value / sum(counts.values()) for value in counts.values()]
    ax.barh(list(counts), shares, color=[INK if name < "d" else "#9aa3ad" for name in counts])
    for place, share in enumerate(shares):
        ax.text(share + 1, place, f"{share:.0f}", va="center")
    ax.set(
        title=f"{title}, % of {sum(counts.values()) / 1e6:,.0f} million", xlim=(0, 70), xticks=[]
    )
    ax.tick_params(length=0)
axes[0].invert_yaxis()
lesson.show(figure, "cost")
lesson.number("conv1_macs", macs["conv1"])
lesson.number("macs", sum(macs.values()))
lesson.number("parameters", sum(parameters.values()))
conv = lesson.number(
    "conv_share_of_macs", 100 * sum(v for k, v in macs.items() if k < "d") / sum(macs.values())
)
dense = lesson.number(
    "fc_share_of_parameters",
    100 * sum(v for k, v in parameters.items() if k > "d") / sum(parameters.values()),
)
lesson.answer(
    f"conv2 and fc6. Convolutions do {conv:.0f} % of the work with few weights, since each weight "
    f"is used at every place; the fully connected layers hold {dense:.0f} % of the weights and "
    "use each once."
)

# %% [markdown]
# The exact number for conv1 is exercise 1.3.
#
# ## 7. The mean image
#
# A pixel is a number from 0 to 255. The paper does one thing to it before conv1 (section 2): it
# subtracts "the mean activity over the training set from each pixel". That is one image, the
# average of all training images, with its own value for each place and colour; and it is the
# average of the *training* images, also when testing. A crop of a larger image gets the middle of
# the mean image subtracted, wherever it was cut. The scale stays: no division by 255 or by a
# standard deviation.
#
# Why subtract? No pixel is negative, so all images point roughly in one direction: each is mostly
# "bright". How alike are two images $a$ and $b$, as long lists of numbers? The cosine of the angle
# between them tells us: $\cos = a \cdot b \,/\, (|a|\,|b|)$, 1 for the same direction, 0 for a
# right angle.

# %%
lesson.section("7. The mean image")
lesson.predict(
    "The mean cosine between two training images, before and after subtracting the mean image?",
    "0.8 and 0.0",
    "0.2 and 0.0",
    "0.8 and 0.4",
)
train, _ = lesson.data(lesson.pick(1000, 5000), 10)
mean = train.mean_image()  # (H, W, 3) on the scale 0 ... 255


def cosine(images):
    """The mean cosine between two different ones of images (N, ...)."""
    v = images.reshape(len(images), -1)  # (N, ...) -> (N, numbers per image)
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    total = v.sum(axis=0)
    return (total @ total - len(v)) / (len(v) * (len(v) - 1))


raw = train.images[:1000].astype(np.float64)
centred = raw - mean
kernels = draw.standard_normal((96, 3, 5, 5)) * 0.01  # as the paper's init: mean 0, deviation 0.01
rows = []
for name, images in (("raw pixels", raw), ("minus the mean image", centred)):
    y = conv2d_taps(images[:64].transpose(0, 3, 1, 2), kernels, stride=4)  # (64, 96, OH, OW)
    common = np.abs(y.mean(axis=0)).mean()
    varied = y.std(axis=0).mean()
    rows.append(
        [name, float(cosine(images)), float(common), float(varied), float(varied / common)]
    )
lesson.table(["pixels", "cosine", "in common", "different", "different / in common"], rows)
lesson.number("cosine_raw", rows[0][1])
lesson.number("cosine_centred", rows[1][1])
lesson.number("signal_gain", rows[1][4] / rows[0][4])

figure, axes = plt.subplots(1, 3, figsize=(8.5, 3.2))
shown = train.images[which]
for ax, image, title in zip(
    axes,
    (mean / 255, shown, np.clip((shown - mean) / 255 + 0.5, 0, 1)),
    ("the mean image", "a training image", "their difference (0 is grey)"),
):
    ax.imshow(image)
    ax.set_title(title)
    ax.axis("off")
lesson.show(figure, "mean")
lesson.answer(
    f"{rows[0][1]:.2f} and {abs(rows[1][1]):.2f}: centred images have no direction in common."
)

# %% [markdown]
# The right half of the table sends 64 images through 96 random kernels. "In common" is the size of
# a result's average over the images, "different" how much it varies between them; only what
# differs can tell images apart. Subtracting leaves the differences as they are and takes away most
# of what is in common (not all: these 64 are not the whole set).
#
# It also helps learning. The gradient of a first-layer weight is a sum over the images of *pixel
# times gradient of the result* (lesson 4). With raw pixels the first factor is never negative, so
# each window pushes all weights of a kernel up together or down together, and the pushes of all
# images lie roughly along one line. With centred pixels they can point anywhere.
#
# ## Now you
#
# In `lessons/exercises/01_conv.py`:
#
# * 1.1 `out_size`: how many windows fit, rounded down or up
# * 1.2 `conv2d_naive`: the seven loops
# * 1.3 `MACS_OF_CONV1`: what the first layer costs, exactly
# * 1.4 `tap_range`: a padding that is off by one; find out when, and fix it
#
# `python -m minitorch_alex.check 01` tells you how you are doing, `python -m minitorch_alex.check
# 1.2 --hint` helps.
#
# ## Where this is in the package
#
# * `minitorch_alex/kernels/window.py`: `Window.out` (sizes, both roundings), `Window.tap`
#   (exercise 1.4)
# * `minitorch_alex/kernels/naive.py`: `conv2d`, the loops
# * `minitorch_alex/functional/conv.py`: `conv2d`, with `ceil_mode`
# * `minitorch_alex/data/dataset.py`: `Dataset.mean_image`; `minitorch_alex/data/transforms/windows.py`:
#   `subtract_mean`
# * `python -m minitorch_alex.profile alexnet` prints the costs of every layer

# %%
lesson.done()
