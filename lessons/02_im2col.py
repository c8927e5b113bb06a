# %% [markdown]
# # 2. Convolution as a matrix product
#
# Lesson 1 ended with loops that would need hours for what the package does in seconds. The way out
# is older than AlexNet and still used everywhere: copy the windows into a matrix, and multiply.
# Here you see how, what it costs in memory, what its transpose is, what the paper's two GPUs have
# to do with it, and how the package keeps the price low.
#
# **You need** lesson 1. You will know what an array looks like in memory afterwards.
# **Time**: less than half a minute, with or without `--quick`.
# **It makes** three figures in `runs/lessons/02_im2col`.

# %%
import json
import time
from math import prod

import kit
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import kernels
from minitorch_alex.kernels.cpu.blocks import BLOCK
from minitorch_alex.plots.style import INK
from minitorch_alex.streams import rng

lesson = kit.Lesson("02_im2col")
draw = rng(lesson.seed, "lesson 2")

# %% [markdown]
# ## 1. Windows as rows
#
# Each number of a convolution's result is the sum of *window times kernel*, element by element.
# Write the window as a row of numbers and the kernel as a column, and it is a product of a row and
# a column. Many windows and many kernels are many rows and many columns: a matrix product.
#
# $$\underbrace{Y}_{\text{places} \times O} \;=\;
#   \underbrace{X_{col}}_{\text{places} \times C K_H K_W} \;\cdot\;
#   \underbrace{W^T}_{C K_H K_W \times O}$$
#
# Making $X_{col}$ is called *im2col*, image to columns. (We make the windows rows all the same,
# since NumPy stores rows in one piece.) For one small image it is two loops:

# %%
lesson.section("1. Windows as rows")


def im2col_one(x, K):
    """The K x K windows of one image x (H, W) as rows: (OH OW, K K)"""
    OH = x.shape[0] - K + 1
    OW = x.shape[1] - K + 1
    return np.stack([x[oh:oh + K, ow:ow + K].ravel() for oh in range(OH) for ow in range(OW)])


x = np.arange(16).reshape(4, 4)
lesson.predict(
    "A 4 x 4 image has 16 numbers. How many has its matrix of 3 x 3 windows?", "16", "36", "144"
)
col = im2col_one(x, 3)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 2))
for ax, image, title in zip(axes, (x, col), ("a 4 x 4 image", "its four 3 x 3 windows as rows")):
    ax.imshow(image, cmap="viridis", vmin=-2, vmax=17)
    for (i, j), value in np.ndenumerate(image):
        ax.text(j, i, value, ha="center", va="center", color="white" if value < 11 else INK)
    ax.set(xticks=[], yticks=[], title=title)
lesson.show(figure, "col")
lesson.number("col_numbers", col.size)
lesson.answer(
    "36: four windows of nine. The 5 in the middle is copied four times, the 0 in the corner once."
)

# %% [markdown]
# ## 2. Strides and views
#
# The loop above is in Python again. To get rid of it, look at what an array is: a stretch of
# memory and, for each axis, the number of bytes to jump for one step along it, its *strides*.
# Element $(i, j)$ is at byte $i\,s_0 + j\,s_1$. A transpose only exchanges the jumps, a slice
# `x[:, ::2]` doubles one; neither touches a number. They are *views* of the same memory.

# %%
lesson.section("2. Strides and views")
x = np.arange(12.0).reshape(3, 4)  # 8 bytes per number
lesson.predict(
    "x is (3, 4) and its strides are (32, 8). What are those of x.T?",
    "(32, 8)",
    "(8, 32)",
    "(24, 8)",
)
lesson.table(
    ["", "shape", "strides in bytes", "own memory"],
    [
        [
            name,
            str(a.shape),
            str(a.strides),
            "no" if np.shares_memory(a, x) and a is not x else "yes",
        ]
        for name, a in (
            ("x", x),
            ("x.T", x.T),
            ("x[:, ::2]", x[:, ::2]),
            ("x[:, ::2].copy()", x[:, ::2].copy()),
        )
    ],
)
lesson.answer("(8, 32): the same memory with the axes exchanged.")

# %% [markdown]
# Nothing says that the jumps must lead to different places. `as_strided` makes a view with any
# shape and jumps we like. Give a row two axes, *which window* and *which cell*, and let both jump
# by one number: windows, without a copy.

# %%
row = np.arange(7.0)
windows = np.lib.stride_tricks.as_strided(row, (5, 3), (8, 8), writeable=False)
print(windows)
every_other = np.lib.stride_tricks.as_strided(row, (3, 3), (16, 8), writeable=False)
print("\nat stride 2, the window axis jumps two numbers:\n", every_other, "\n", sep="")
lesson.predict(
    "conv2 of AlexNet sees 96 x 27 x 27 with 5 x 5 windows. As a view of the bordered image, with "
    "the axes (OH, OW, C, KH, KW), how much memory does it take?",
    "25 times the image",
    "none",
    "as much as the image",
)
picture = np.zeros((96, 31, 31), np.float32)  # with its border of zeros
c, h, w = picture.strides
view = np.lib.stride_tricks.as_strided(
    picture, (27, 27, 96, 5, 5), (h, w, c, h, w), writeable=False
)
col = view.reshape(27 * 27, 96 * 5 * 5)  # (OH, OW, C, KH, KW) -> (OH*OW, C*KH*KW)
lesson.table(
    ["", "shape", "numbers, as claimed", "MB", "shares the image's memory"],
    [
        [name, str(a.shape), f"{a.size:,}", a.nbytes / 1e6, str(np.shares_memory(a, picture))]
        for name, a in (("image", picture), ("view", view), ("view.reshape(729, 2400)", col))
    ],
)
lesson.answer(
    "none. The copy comes with reshape: no jumps describe overlapping windows as one flat row."
)

# %% [markdown]
# Two warnings. `as_strided` checks nothing: a shape that is too large reads whatever comes after
# the array in memory. And a view whose elements overlap must not be written to (`writeable=False`
# makes sure of that): `view += 1` would add some of them twice and lose others. Exercise 2.1 is
# im2col for a whole batch with channels, stride and padding; there the strides of windows are
# `stride` times those of pixels.
#
# ## 3. How fast
#
# The same convolution three times: loops in Python as in lesson 1, im2col with one matrix product,
# and the package's kernel.

# %%
lesson.section("3. How fast")
lesson.predict("How many times as fast as Python loops is im2col with a matrix product?",
               "10", "100", "more than 1,000")
size = lesson.pick(12, 16)
C = 8
O = 16
K = 5
x = draw.standard_normal((1, C, size, size)).astype(np.float32)
w = draw.standard_normal((O, C, K, K)).astype(np.float32)
OUT = size - K + 1


def by_loops():
    y = np.zeros((1, O, OUT, OUT), np.float32)
    for o, oh, ow, c, kh, kw in np.ndindex(O, OUT, OUT, C, K, K):
        y[0, o, oh, ow] += w[o, c, kh, kw] * x[0, c, oh + kh, ow + kw]
    return y


def by_im2col():
    n, c, h, wd = x.strides
    seen = np.lib.stride_tricks.as_strided(
        x, (1, OUT, OUT, C, K, K), (n, h, wd, c, h, wd), writeable=False
    )
    rows = seen.reshape(OUT * OUT, C * K * K) @ w.reshape(O, -1).T  # (OH OW, O)
    return rows.reshape(1, OUT, OUT, O).transpose(0, 3, 1, 2)


def by_package():
    return F.conv2d(mt.Tensor(x), mt.Tensor(w)).numpy()


begin = time.perf_counter()
exact = by_loops()
slow = time.perf_counter() - begin
rows = [["loops", 1e3 * slow, 1.0, 0.0]]
for name, f in (("im2col and one product", by_im2col), ("the package", by_package)):
    fast = kit.fastest(f)
    rows.append([name, 1e3 * fast, slow / fast, float(abs(f() - exact).max() / abs(exact).max())])
lesson.table(["", "ms", "times as fast", "largest difference, relative"], rows)
lesson.number("speedup", rows[1][2])
lesson.number("difference", rows[1][3])
lesson.answer(
    f"{rows[1][2]:,.0f} times here. The results differ by rounding only: the sums run in another "
    "order."
)

# %% [markdown]
# On an image this small the package spends its time on the way to the kernel and back: a Tensor,
# checks, the order of the axes. At the size of conv2 this no longer shows:

# %%
pictures = lesson.pick(2, 8)
x = draw.standard_normal((pictures, 96, 31, 31)).astype(np.float32)  # 27 x 27 with its border
w = draw.standard_normal((256, 96, 5, 5)).astype(np.float32)
_, C, size, _ = x.shape
O, _, K, _ = w.shape
OUT = 27


def by_im2col_batch():
    n, c, h, wd = x.strides
    shape = pictures, OUT, OUT, C, K, K
    seen = np.lib.stride_tricks.as_strided(x, shape, (n, h, wd, c, h, wd), writeable=False)
    rows = seen.reshape(-1, C * K * K) @ w.reshape(O, -1).T  # (N OH OW, O)
    return rows.reshape(pictures, OUT, OUT, O).transpose(0, 3, 1, 2)


lesson.table(
    ["conv2, without groups", "ms per image"],
    [
        [name, 1e3 * kit.fastest(f) / pictures]
        for name, f in (("im2col and one product", by_im2col_batch), ("the package", by_package))
    ],
)

# %% [markdown]
# Why is a matrix product so fast? It does the same multiply-adds. But it does eight or sixteen of
# them in one instruction, on numbers that it finds where it expects them, and it uses each number
# that it fetched many times over: a row of $X_{col}$ meets all $O$ kernels. BLAS, which NumPy
# calls, has been tuned for this for decades.
#
# ## 4. The price: memory
#
# Every pixel is copied once for each window that contains it. With a 5 x 5 kernel at stride 1 that
# is 25 times. For the five layers of AlexNet, with a batch of 128 as in the paper and 4 bytes per
# number:

# %%
lesson.section("4. The price: memory")
CONV = {  # C, input size, K, output size
    "conv1": (3, 224, 11, 55),
    "conv2": (96, 27, 5, 27),
    "conv3": (256, 13, 3, 13),
    "conv4": (384, 13, 3, 13),
    "conv5": (384, 13, 3, 13),
}
BATCH = 128
MB = 1e6
lesson.predict(
    "Which of the five layers has the largest im2col matrix?", "conv1", "conv2", "conv4"
)
rows = []
for name, (C, size, K, OUT) in CONV.items():
    image, matrix = (4 * BATCH * n for n in (C * size * size, OUT * OUT * C * K * K))
    rows.append(
        [
            name,
            f"{C} x {size} x {size}",
            f"{BATCH * OUT * OUT:,} x {C * K * K:,}",
            image / MB,
            matrix / MB,
            matrix / image,
        ]
    )
    lesson.number(f"{name}_matrix_mb", matrix / MB)
    lesson.number(f"{name}_factor", matrix / image)
lesson.table(["layer", "input", "matrix", "input, MB", "matrix, MB", "times"], rows)
lesson.number("all_mb", sum(row[4] for row in rows))
lesson.answer(
    "conv2, 25 times its input. conv1 has the larger kernel, but its stride of 4 leaves most "
    "windows out."
)

# %% [markdown]
# Together that is 2,255 MB, if all are kept for the backward pass, and the paper's GPUs had 3 GB
# each. How large a batch would fit? That is exercise 2.4. The 2012 code did not do it this way:
# its kernels read the windows from the image directly, and so does oneDNN, the library under
# PyTorch on a CPU. Section 7 shows how to have the matrix for less.
#
# ## 5. col2im, the transpose
#
# im2col computes nothing, it copies. Each number of the matrix is one pixel: so it is a linear
# map, and could itself be written as a matrix, of zeros with a single 1 in each row. Take a row of
# five pixels and windows of three:

# %%
lesson.section("5. col2im, the transpose")
copier = np.zeros((9, 5), int)  # (numbers of the matrix, pixels)
for window in range(3):
    for cell in range(3):
        copier[3 * window + cell, window + cell] = 1
print("im2col as a matrix, transposed to save space:", copier.T, sep="\n")

# %% [markdown]
# A linear map has a transpose, and this one is easy to read off: where im2col copies pixel $p$ to
# the places $i, j, k$, the transpose adds what is at $i, j, k$ and puts the sum at $p$. It is
# called *col2im*. It is what the backward pass needs: a pixel that was used three times gets three
# gradients, and they add up (lessons 3 and 4).

# %%
lesson.predict("Apply im2col and then col2im to an image of ones. What comes back?",
               "the ones", "for each pixel, how many windows contain it", "zeros")


def counts(size, K, stride):
    """col2im(im2col(ones)): how many K x K windows contain each pixel of a size x size image"""
    y = np.zeros((size, size), int)
    for top in range(0, size - K + 1, stride):
        for left in range(0, size - K + 1, stride):
            y[top:top + K, left:left + K] += 1  # windows of ones, added where they came from
    return y


figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for ax, (size, K, stride) in zip(axes, ((9, 3, 1), (9, 3, 2), (9, 2, 2))):
    image = counts(size, K, stride)
    ax.imshow(image, cmap="Blues", vmin=0, vmax=12)
    for (i, j), value in np.ndenumerate(image):
        ax.text(
            j, i, value, ha="center", va="center", fontsize=9, color="white" if value > 7 else INK
        )
    ax.set(xticks=[], yticks=[], title=f"windows {K} x {K}, stride {stride}")
lesson.show(figure, "counts")
lesson.number("most_windows", counts(9, 3, 1).max())
lesson.answer(
    "the counts, up to 9 for a 3 x 3 window. So col2im is not the inverse of im2col. With 2 x 2 "
    "windows at stride 2 the last row and column are in no window at all: 0, and nothing ever "
    "learns from them."
)

# %% [markdown]
# How do you test a transpose without writing it down as a matrix? By the equation that defines it.
# For *any* image $x$ and *any* matrix $c$,
#
# $$\langle \mathrm{im2col}(x),\, c \rangle = \langle x,\, \mathrm{col2im}(c) \rangle, \qquad
#   \langle a, b \rangle = \textstyle\sum_i a_i b_i .$$
#
# Draw both at random and compare two numbers. Any mistake in either function shows: a wrong order,
# a forgotten border, an `=` where `+=` belongs. It is one line, and the checks of exercise 2.2 use
# it.

# %%
x = draw.standard_normal((9, 9))
c = draw.standard_normal((49, 9))
added = np.zeros((9, 9))
assigned = np.zeros((9, 9))
for i, window in enumerate(c.reshape(49, 3, 3)):  # rows of 9 -> windows of 3 x 3
    top, left = divmod(i, 7)
    added[top:top + 3, left:left + 3] += window
    assigned[top:top + 3, left:left + 3] = window
forward = (im2col_one(x, 3) * c).sum()
lesson.number("adjoint_gap", abs(forward - (x * added).sum()))
lesson.number("assigned_gap", abs(forward - (x * assigned).sum()))
lesson.table(["", "<im2col(x), c>", "<x, col2im(c)>"],
             [["col2im adds", float(forward), float((x * added).sum())],
              ["col2im assigns: wrong", float(forward), float((x * assigned).sum())]])

# %% [markdown]
# ## 6. Groups: the two GPUs
#
# In 2012 AlexNet did not fit one GPU. So Krizhevsky put half of the kernels of each layer on a
# second one, and in conv2, conv4 and conv5 let each half see only the channels on its own GPU.
# Today this is called a convolution with two *groups*: channels and kernels are cut into two
# parts, and part $g$ of the kernels sees part $g$ of the channels.
#
# As a matrix product the kernels of a full layer are one matrix of $C K_H K_W$ rows and $O$
# columns. Groups leave two blocks of it and put zeros elsewhere.

# %%
lesson.section("6. Groups: the two GPUs")
lesson.predict(
    "conv2 has 96 channels, 256 kernels of 5 x 5. How much of its weights and of its work do two "
    "groups save?",
    "half of both",
    "half of the weights only",
    "three quarters of both",
)
rows = []
saved = 0
for name, O in (("conv2", 256), ("conv4", 384), ("conv5", 256)):
    C, _, K, OUT = CONV[name]
    full = O * C * K * K
    grouped = O * C // 2 * K * K
    rows.append([name, full, grouped, OUT * OUT * full / 1e6, OUT * OUT * grouped / 1e6])
    saved += OUT * OUT * (full - grouped)
lesson.table(
    ["layer", "weights, full", "two groups", "multiply-adds, full, million", "two groups"], rows
)
lesson.number("saved_macs", saved)
x = draw.standard_normal((1, 6, 9, 9))
w = draw.standard_normal((4, 3, 3, 3))
parts = np.concatenate(
    [
        F.conv2d(mt.Tensor(x[:, 3 * g:3 * g + 3]), mt.Tensor(w[2 * g:2 * g + 2])).numpy()
        for g in range(2)
    ],
    axis=1,
)
together = F.conv2d(mt.Tensor(x), mt.Tensor(w), groups=2).numpy()
print(
    "groups=2 compared with two convolutions side by side: difference "
    f"{abs(parts - together).max():.1e}"
)
full = np.zeros((4, 6, 3, 3))
full[:2, :3] = w[:2]
full[2:, 3:] = w[2:]
masked = F.conv2d(mt.Tensor(x), mt.Tensor(full)).numpy()
print("groups=2 compared with one convolution with half of the weights zero: difference "
      f"{lesson.number('groups_difference', abs(masked - together).max()):.1e}")
figure, ax = plt.subplots(figsize=(4.4, 4.6))
ax.imshow(abs(full.reshape(4, -1).T).repeat(9, axis=1), cmap="Blues", vmin=0, vmax=2.5)
ax.set(
    xticks=[4, 13, 22, 31],
    xticklabels=["kernel 0", "1", "2", "3"],
    yticks=range(4, 54, 9),
    yticklabels=[f"channel {c}" for c in range(6)],
    title="Two groups: half of the weights are not there",
)
lesson.show(figure, "groups")
lesson.answer(
    f"half of both. In the three layers that is {saved / 1e6:.1f} million multiply-adds per "
    f"image: 724.4 million are left of {(724_406_816 + saved) / 1e6:,.1f}."
)

# %% [markdown]
# The paper cut the layers out of necessity. Compared with a net for one GPU, with half as many
# kernels in all layers but conv5, the cut one has 1.7 points less top-1 error (section 3.2). conv3
# sees both halves, and so do the fully connected layers: there the halves meet.
#
# ## 7. Blocks: make it, use it, throw it away
#
# So a matrix product is fast and its matrix is huge. The time to write conv2's matrix to main
# memory and to read it back is not small either: memory is slow compared with arithmetic. But who
# needs all of it at once? A *part* of the rows times $W^T$ gives the same part of the results. So
# gather a few rows, small enough to stay in the processor's cache; multiply; and gather the next
# ones into the same place.

# %%
lesson.section("7. Blocks: make it, use it, throw it away")
lesson.predict(
    "The matrix of conv2 for 16 images, 112 MB, made and used in blocks. Which block is fastest?",
    "the smallest, a quarter of a MB",
    "one of some MB in between",
    "everything at once",
)
pictures = 16
# channels last, as the package keeps them
x = draw.standard_normal((pictures, 31, 31, 96)).astype(np.float32)
w = draw.standard_normal((5 * 5 * 96, 128)).astype(np.float32)
n, h, wd, c = x.strides
view = np.lib.stride_tricks.as_strided(
    x, (pictures, 27, 27, 5, 5, 96), (n, h, wd, h, wd, c), writeable=False
)
y = np.empty((pictures, 27, 27, 128), np.float32)


def in_blocks(images, rows):
    """conv2 in blocks of `images` images, or, for one image, of `rows` of its 27 rows"""
    block = np.empty((images * rows * 27, 2400), np.float32)
    for n0 in range(0, pictures, images):
        for r0 in range(0, 27, rows):
            part = view[n0:n0 + images, r0:r0 + rows]
            used = block[:prod(part.shape[:3])]
            # (windows, 5*5*96) -> (images, rows, 27, 5, 5, 96), the same memory
            np.copyto(used.reshape(part.shape), part)
            # (windows, 128) -> (images, rows, 27, 128)
            y[n0:n0 + images, r0:r0 + rows] = (used @ w).reshape(*part.shape[:3], 128)


sizes = [(1, 1), (1, 3), (1, 9), (1, 27), (2, 27), (pictures, 27)]
megabytes = [images * rows * 27 * 2400 * 4 / MB for images, rows in sizes]
milliseconds = [1e3 * kit.fastest(lambda a=a: in_blocks(*a)) / pictures for a in sizes]
lesson.table(["block", "MB", "ms per image"],
             [[f"{images} images" if images > 1 else f"{rows} of 27 rows", m, t]
              for (images, rows), m, t in zip(sizes, megabytes, milliseconds)])
best = megabytes[milliseconds.index(min(milliseconds))]
lesson.answer(
    "some MB, as a rule: thin blocks make slow products, and large ones leave the cache. Here "
    f"{best:.1f} MB was fastest; such a short measurement is easily disturbed. The package takes "
    f"blocks of about {BLOCK / 2**20:.0f} MB; the table below says what they are worth in "
    "training."
)

# %% [markdown]
# Backward needs the windows once more (lesson 4). The package does not keep them: it gathers them
# again. That is a little more copying, and no gigabytes are held between forward and backward.
#
# Does this matter for the whole network? `results/cpu_speed_epyc.json` holds measurements of training
# with each idea taken away; `docs/speed.md` describes all of them. Here is what the file says
# about blocks, and about Winograd's algorithm, on the machine named below:

# %%
record = json.loads(kit.results("cpu_speed_epyc.json").read_text(encoding="utf-8"))
print(
    f"{record['device']}, {record['machine']['blas']}, {record['date']}; images per second in "
    "training"
)
rows = []
for name, work in record["ideas"].items():
    without = work["summary"]["no blocks in im2col"]
    winograd = work["summary"]["with Winograd"]
    rows.append(
        [
            name,
            work["summary"]["all"]["train"],
            without["train"],
            f"{1 / without['train_ratio'][0]:.2f}",
            winograd["train"],
            f"{1 / winograd['train_ratio'][0]:.2f}",
        ]
    )
lesson.table(["net and batch", "as it is", "no blocks", "share", "with Winograd", "share"], rows)
print("share: relative to the speed as it is; the median of several rounds")

# %% [markdown]
# Winograd's algorithm computes a 3 x 3 convolution with a quarter of the multiplications, and a 5
# x 5 one with about a fifth, by the algebra of polynomials. It pays only with many channels, and
# it loses a digit. `train` takes it in the layers where it is clearly faster on your processor
# (`--conv auto`; `--winograd` means everywhere), and `kernels/cpu/winograd.py` begins with the
# idea on one page:

# %%
lesson.predict(
    "In float32, how far off is a result, relative to the largest? By im2col, and by Winograd:",
    "both 1e-7",
    "1e-7 to 1e-6, and five to ten times that",
    "1e-6, and 1e-2",
)
x = draw.standard_normal((2, 192, 13, 13))
w = draw.standard_normal((64, 192, 3, 3))
exact = F.conv2d(mt.Tensor(x), mt.Tensor(w), padding=1).numpy()
rows = []
for name, on in (("im2col", False), ("Winograd", True)):
    kernels.set_winograd(on)
    got = F.conv2d(
        mt.Tensor(x.astype(np.float32)), mt.Tensor(w.astype(np.float32)), padding=1
    ).numpy()
    rows.append([name, float(abs(got - exact).max() / abs(exact).max())])
kernels.set_winograd(False)
lesson.table(["float32", "largest error, relative"], rows)
lesson.number("im2col_error", rows[0][1])
lesson.number("winograd_error", rows[1][1])
lesson.answer(
    f"{rows[0][1]:.0e} and {rows[1][1]:.0e}. Training tolerates that, a comparison does not."
)

# %% [markdown]
# ## Now you
#
# In `lessons/exercises/02_im2col.py`; the first three become part of your own AlexNet in lesson 9:
#
# * 2.1 `im2col`: windows as rows, for a batch, with stride and padding
# * 2.2 `col2im`: its transpose
# * 2.3 `conv2d`: a convolution by your im2col, with groups
# * 2.4 `LARGEST_BATCH`: how many images' matrices fit the 3 GB of a GTX 580
#
# `python -m minitorch_alex.check 02` tells you how you are doing, `python -m minitorch_alex.check
# 2.1 --hint` helps.
#
# ## Where this is in the package
#
# * `minitorch_alex/kernels/im2col.py`: `conv2d`, the whole batch in one product
# * `minitorch_alex/kernels/cpu/conv.py`: `conv2d` (blocks and products), `add_taps` (col2im)
# * `minitorch_alex/kernels/cpu/blocks.py`: `plan` (how large a block), `windows` (the view)
# * `minitorch_alex/kernels/cpu/by_rows.py`: a fifth of the copies, where windows overlap
# * `minitorch_alex/kernels/cpu/winograd.py`: fewer multiplications
# * `minitorch_alex/profile/`: `python -m minitorch_alex.profile alexnet` has a column for im2col
# * `docs/speed.md`: where the rest of the time goes

# %%
lesson.done()
