"""The checks of lesson 2, convolution as a matrix product."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Faster, Holds, Same, checks
from minitorch_alex.streams import rng

reference = checks("01_conv").reference

SIZES = (
    (1, 1, 5, 4, 3, 2, 1, 0),
    (2, 1, 4, 4, 2, 2, 1, 0),
    (2, 3, 4, 5, 2, 3, 1, 0),
    (1, 2, 7, 6, 3, 2, 2, 0),
    (1, 1, 4, 3, 3, 2, 1, 1),
    (2, 3, 8, 7, 3, 3, 2, 1),
    (2, 2, 9, 11, 4, 3, 3, 2),
)  # N C H W KH KW stride padding


def gather(x: np.ndarray, KH: int, KW: int, stride: int, padding: int) -> np.ndarray:
    """im2col window by window: (N OH OW, C KH KW)."""
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, border)
    N, _, HP, WP = x.shape
    rows = [
        x[n, :, top:top + KH, left:left + KW].ravel()
        for n in range(N)
        for top in range(0, HP - KH + 1, stride)
        for left in range(0, WP - KW + 1, stride)
    ]
    return np.stack(rows)


def scatter(
    cols: np.ndarray, x_shape: tuple[int, ...], KH: int, KW: int, stride: int, padding: int
) -> np.ndarray:
    """col2im window by window: (N, C, H, W)."""
    N, C, H, W = x_shape
    x = np.zeros((N, C, H + 2 * padding, W + 2 * padding), cols.dtype)
    rows = iter(cols)
    for n in range(N):
        for top in range(0, H + 2 * padding - KH + 1, stride):
            for left in range(0, W + 2 * padding - KW + 1, stride):
                x[n, :, top:top + KH, left:left + KW] += next(rows).reshape(C, KH, KW)
    return x[:, :, padding:padding + H, padding:padding + W]


def check_im2col(m: ModuleType) -> Iterator[Case]:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    yield Same(
        "the example: a 3 x 3 image, 2 x 2 windows",
        lambda: m.im2col(x, 2, 2, 1, 0),
        np.array([[1.0, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]),
    )
    for N, C, H, W, KH, KW, stride, padding in SIZES:
        x = np.arange(1.0, N * C * H * W + 1).reshape(N, C, H, W)
        yield Same(
            f"{N} images of {C} x {H} x {W}, windows {KH} x {KW}, stride {stride}, padding "
            f"{padding}",
            lambda a=(x, KH, KW, stride, padding): m.im2col(*a),
            gather(x, KH, KW, stride, padding),
        )
    view = np.arange(240.0).reshape(2, 4, 6, 5).transpose(0, 3, 1, 2)
    yield Same(
        "an x that is itself a view (a transpose)",
        lambda: m.im2col(view, 3, 2, 1, 0),
        gather(view, 3, 2, 1, 0),
    )
    small = np.arange(48, dtype=np.float32).reshape(1, 2, 4, 6)
    yield Same(
        "float32, whose numbers are 4 bytes apart and not 8",
        lambda: m.im2col(small, 3, 2, 1, 1),
        gather(small, 3, 2, 1, 1),
    )
    x = rng(2, "lesson 2").standard_normal((4, 8, 24, 24)).astype(np.float32)
    yield Holds("float32 stays float32", lambda: _dtype(m.im2col(x, 3, 3, 1, 1), x.dtype))
    yield Faster(
        "im2col compared with a loop over windows",
        lambda: m.im2col(x, 3, 3, 1, 1),
        lambda: gather(x, 3, 3, 1, 1),
        2,
    )


def check_col2im(m: ModuleType) -> Iterator[Case]:
    cols = np.repeat([[1.0], [10], [100], [1000]], 4, axis=1)
    yield Same(
        "the example: four 2 x 2 windows back to 3 x 3",
        lambda: m.col2im(cols, (1, 1, 3, 3), 2, 2, 1, 0),
        np.array([[[[1.0, 11, 10], [101, 1111, 1010], [100, 1100, 1000]]]]),
    )
    draw = rng(3, "lesson 2")
    for N, C, H, W, KH, KW, stride, padding in SIZES:
        shape = N, C, H, W
        x = draw.standard_normal(shape)
        cols = draw.standard_normal(gather(x, KH, KW, stride, padding).shape)
        sizes = (
            f"{N} images of {C} x {H} x {W}, windows {KH} x {KW}, stride {stride}, padding "
            f"{padding}"
        )
        yield Same(
            sizes,
            lambda a=(cols, shape, KH, KW, stride, padding): m.col2im(*a),
            scatter(cols, shape, KH, KW, stride, padding),
        )
        yield Holds(
            f"<col2im(c), x> = <c, im2col(x)>: {sizes}",
            lambda x=x, c=cols, a=(KH, KW, stride, padding): _adjoint(m, x, c, a),
        )
    yield Holds(
        "float32 stays float32",
        lambda: _dtype(
            m.col2im(np.ones((4, 4), np.float32), (1, 1, 3, 3), 2, 2, 1, 0), np.dtype(np.float32)
        ),
    )


def check_conv2d(m: ModuleType) -> Iterator[Case]:
    x = np.arange(8.0).reshape(1, 2, 2, 2)
    yield Same(
        "the example: two groups of one channel, 1 x 1 kernels",
        lambda: m.conv2d(
            x, np.array([10.0, 100]).reshape(2, 1, 1, 1), np.array([1.0, 2]), 1, 0, 2
        ),
        np.array([[[[1.0, 11], [21, 31]], [[402.0, 502], [602, 702]]]]),
    )
    draw = rng(4, "lesson 2")
    for N, C, H, W, O, KH, KW, stride, padding, groups in (
        (1, 1, 5, 4, 1, 3, 2, 1, 0, 1),
        (1, 2, 5, 4, 3, 2, 3, 1, 0, 1),
        (2, 3, 6, 5, 4, 3, 2, 2, 1, 1),
        (1, 4, 4, 4, 6, 2, 2, 1, 0, 2),
        (2, 6, 7, 5, 9, 3, 2, 2, 1, 3),
    ):
        x = draw.standard_normal((N, C, H, W))
        w = draw.standard_normal((O, C // groups, KH, KW))
        b = draw.standard_normal(O)
        yield Same(
            f"{N} images of {C} x {H} x {W}, {O} kernels of {KH} x {KW}, stride {stride}, padding "
            f"{padding}, {groups} group{'s' * (groups > 1)}",
            lambda a=(x, w, b, stride, padding, groups): m.conv2d(*a),
            reference(x, w, b, stride, padding, groups),
        )
    x = np.where(x > 0, 0.0, 1e6 * x)
    yield Same(
        "images of zeros and large negative numbers, 3 groups",
        lambda: m.conv2d(x, w, b, 2, 1, 3),
        reference(x, w, b, 2, 1, 3),
    )
    x32, w32 = (np.ones(s, np.float32) for s in ((1, 2, 3, 3), (2, 1, 2, 2)))
    yield Holds(
        "float32 stays float32",
        lambda: _dtype(m.conv2d(x32, w32, np.ones(2, np.float32), 1, 0, 2), np.dtype(np.float32)),
    )


def check_largest_batch(m: ModuleType) -> Iterator[Case]:
    yield Answer("the largest batch", lambda: m.LARGEST_BATCH, 182)


def _dtype(got: np.ndarray, expected: np.dtype) -> tuple[bool, str]:
    return (
        got.dtype == expected,
        f"the result is {got.dtype}, expected {expected}, the dtype of the input",
    )


# col2im's loop over the cells of the kernel, and one over the windows that assigns
CELLS = """    for kh in range(KH):
        for kw in range(KW):
            rows = slice(kh, kh + stride * (OH - 1) + 1, stride)
            columns = slice(kw, kw + stride * (OW - 1) + 1, stride)
            # (N, OH, OW, C) -> (N, C, OH, OW)
            bordered[:, :, rows, columns] += taps[:, :, :, :, kh, kw].transpose(0, 3, 1, 2)
"""
WINDOWS = """    for oh, ow in np.ndindex(OH, OW):
        rows = slice(oh * stride, oh * stride + KH)
        bordered[:, :, rows, ow * stride:ow * stride + KW] = taps[:, oh, ow]
"""


def _adjoint(
    m: ModuleType, x: np.ndarray, c: np.ndarray, window: tuple[int, ...]
) -> tuple[bool, str]:
    left = float((m.col2im(c, x.shape, *window) * x).sum())
    right = float((c * gather(x, *window)).sum())
    return bool(np.isclose(left, right, rtol=1e-9)), f"left {left:.6g}, right {right:.6g}"


EXERCISES = (
    Exercise(
        "2.1",
        "im2col",
        "the windows of images as rows of a matrix",
        check_im2col,
        hints=(
            "Copy x into the middle of an array of zeros first; then no window sticks out.",
            "as_strided(bordered, shape, strides): along OH a step is h * stride bytes, along KH "
            "it is h, where n, c, h, w = bordered.strides (of the bordered array, not of x).",
            "as_strided(bordered, (N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)), "
            "then reshape(N * OH * OW, C * KH * KW).",
        ),
        bugs=(
            Bug(
                "channels last",
                "within a row the channels come last here; the order is channels, rows, columns",
                old="(N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)",
                new="(N, OH, OW, KH, KW, C), (n, h * stride, w * stride, h, w, c)",
            ),
            Bug(
                "windows transposed",
                "rows and columns inside the window are exchanged",
                old="(N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)",
                new="(N, OH, OW, C, KW, KH), (n, h * stride, w * stride, c, w, h)",
            ),
            Bug(
                "channels before windows",
                "the channels come before the places of the windows; the axes should be N, OH, "
                "OW, C, KH, KW. The shape is right all the same, the order of the numbers is "
                "not",
                old="(N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)",
                new="(N, C, OH, OW, KH, KW), (n, c, h * stride, w * stride, h, w)",
            ),
            Bug(
                "strides of x",
                "the strides are those of the image without its border: take those of the "
                "bordered array",
                old="n, c, h, w = bordered.strides",
                new="n, c, h, w = x.strides",
            ),
            Bug(
                "kernel cells as rows",
                "the matrix is mixed up: its rows should be windows, so the axes N, "
                "OH, OW must come before C, KH, KW",
                old="(N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)",
                new="(C, KH, KW, N, OH, OW), (c, h, w, n, h * stride, w * stride)",
            ),
            Bug(
                "columns before rows",
                "the windows come column by column; they should come row by row",
                old="(N, OH, OW, C, KH, KW), (n, h * stride, w * stride, c, h, w)",
                new="(N, OW, OH, C, KH, KW), (n, w * stride, h * stride, c, h, w)",
            ),
            Bug(
                "stride forgotten",
                "the windows move by one pixel per step, whatever the stride",
                old="(n, h * stride, w * stride, c, h, w)",
                new="(n, h, w, c, h, w)",
            ),
            Bug(
                "shifted by one",
                "the image is in the upper left corner of the border, not in its middle",
                old="bordered[:, :, padding:padding + H, padding:padding + W] = x",
                new="bordered[:, :, :H, :W] = x",
            ),
            Bug(
                "always float64",
                "the border of zeros has NumPy's default dtype: give it that of x",
                old="W + 2 * padding), x.dtype)",
                new="W + 2 * padding))",
            ),
        ),
    ),
    Exercise(
        "2.2",
        "col2im",
        "the transpose of im2col",
        check_col2im,
        hints=(
            "cols.reshape(N, OH, OW, C, KH, KW) gives each number its six indices back.",
            "For a fixed (kh, kw) the numbers go to rows kh, kh + stride, kh + 2 stride, ... of "
            "the bordered image, OH of them; columns alike.",
            "bordered[:, :, kh:kh + stride * (OH - 1) + 1:stride, ...] += taps[:, :, :, :, kh, "
            "kw], its axes brought to (N, C, OH, OW); at the end cut the border off.",
        ),
        bugs=(
            Bug(
                "last window wins",
                "where windows overlap, only the last one's number is there. It is assigned (=, "
                "where += is needed), or added through an index array or a view in which a pixel "
                "occurs several times: a[index] += b and as_strided add to such a pixel once "
                "(np.add.at adds each time)",
                old=CELLS,
                new=WINDOWS,
            ),
            Bug(
                "assigned, not added",
                "where windows overlap only the last one is kept: += is needed, not =",
                old="columns] += taps",
                new="columns] = taps",
            ),
            Bug(
                "averaged",
                "each pixel is divided by the number of its windows; that undoes im2col, but the "
                "transpose adds",
                old="return bordered[:, :, padding:padding + H, padding:padding + W]",
                new="return (bordered / np.maximum(1, col2im_count(bordered.shape, KH, KW, OH, "
                "OW, stride)))[:, :, padding:padding + H, padding:padding + W]\n\n\ndef "
                "col2im_count(shape, KH, KW, OH, OW, stride):\n    count = np.zeros(shape)\n "
                "   for i in range(OH):\n        for j in range(OW):\n            count[:, "
                ":, i * stride:i * stride + KH, j * stride:j * stride + KW] += 1\n    return "
                "count",
            ),
            Bug(
                "cell transposed",
                "rows and columns inside the window are exchanged",
                old="+= taps[:, :, :, :, kh, kw]",
                new="+= taps[:, :, :, :, kw % KH, kh % KW]",
            ),
            Bug(
                "cell turned",
                "the cells are taken from the other end: the window is turned by 180 degrees",
                old="+= taps[:, :, :, :, kh, kw]",
                new="+= taps[:, :, :, :, KH - 1 - kh, KW - 1 - kw]",
            ),
            Bug(
                "border cut at one side",
                "the border is cut off at the bottom and right only, so that "
                "everything is shifted",
                old="return bordered[:, :, padding:padding + H, padding:padding + W]",
                new="return bordered[:, :, :H, :W]",
            ),
            Bug(
                "empty slice",
                "padding:-padding takes nothing where padding is 0: write padding:padding + H",
                old="return bordered[:, :, padding:padding + H, padding:padding + W]",
                new="return bordered[:, :, padding:-padding, padding:-padding]",
            ),
            Bug(
                "columns read first",
                "cols is read as (N, C, KH, KW, OH, OW); its rows are windows: N, OH, OW "
                "come first, then C, KH, KW",
                old="taps = cols.reshape(N, OH, OW, C, KH, KW)",
                new="taps = cols.reshape(N, C, KH, KW, OH, OW).transpose(0, 4, 5, 1, 2, 3)",
            ),
            Bug(
                "channels read first",
                "cols is read as (N, C, OH, OW, ...); its rows are windows, its columns "
                "channels and cells",
                old="taps = cols.reshape(N, OH, OW, C, KH, KW)",
                new="taps = cols.reshape(N, C, OH, OW, KH, KW).transpose(0, 2, 3, 1, 4, 5)",
            ),
        ),
    ),
    Exercise(
        "2.3",
        "conv2d",
        "convolution as one matrix product per group",
        check_conv2d,
        hints=(
            "One group first: cols @ w.reshape(O, -1).T has the shape (N * OH * OW, O).",
            "reshape(N, OH, OW, O).transpose(0, 3, 1, 2) makes images of it; reshape(N, O, OH, "
            "OW) scrambles it.",
            "Group g has the channels g * C // groups to (g + 1) * C // groups of x, and the "
            "kernels g * O // groups to (g + 1) * O // groups; w[those] already has C / groups "
            "channels.",
        ),
        bugs=(
            Bug(
                "reshaped only",
                "the product's rows are pixels and its columns channels: reshape to "
                "(N, OH, OW, O) and then transpose",
                old="rows.reshape(N, OH, OW, O // groups).transpose(0, 3, 1, 2)",
                new="rows.reshape(N, O // groups, OH, OW)",
            ),
            Bug(
                "same channels for all",
                "every group reads the channels of the first",
                old="seen = slice(g * C // groups, (g + 1) * C // groups)",
                new="seen = slice(0, C // groups)",
            ),
            Bug(
                "groups exchanged",
                "the groups read each other's channels: the first part of the kernels "
                "sees the first part of the channels",
                old="seen = slice(g * C // groups, (g + 1) * C // groups)",
                new="seen = slice((groups - 1 - g) * C // groups, (groups - g) * C // groups)",
            ),
            Bug(
                "every other channel",
                "the channels are dealt out in turn, like cards; they should be cut into "
                "contiguous parts",
                old="seen = slice(g * C // groups, (g + 1) * C // groups)",
                new="seen = slice(g, C, groups)",
            ),
            Bug("no bias", "the bias is missing", old=".T + b[made]", new=".T"),
            Bug(
                "first group's biases",
                "every group adds the biases of the first",
                old=".T + b[made]",
                new=".T + b[:O // groups]",
            ),
            Bug(
                "kernels reshaped",
                "the kernels' matrix is reshaped where it should be transposed: reshape(O, -1).T",
                old="w[made].reshape(O // groups, -1).T",
                new="w[made].reshape(-1, O // groups)",
            ),
            Bug(
                "kernel flipped",
                "the kernel is turned by 180 degrees; it should be used as it is",
                old="w[made].reshape(O // groups, -1)",
                new="w[made][:, :, ::-1, ::-1].reshape(O // groups, -1)",
            ),
        ),
    ),
    Exercise(
        "2.4",
        "LARGEST_BATCH",
        "the batch whose matrices fit 3 GB",
        check_largest_batch,
        hints=(
            "For one image: the sum over the layers of OH * OW * C * KH * KW numbers, 4 bytes "
            "each.",
            "conv1 55*55*3*121, conv2 27*27*96*25, conv3 13*13*256*9, conv4 and conv5 "
            "13*13*384*9 each.",
            "How many times does that fit into 3 * 2**30? Whole images only.",
        ),
        bugs=tuple(
            Bug(name, says, old="LARGEST_BATCH = 182", new=f"LARGEST_BATCH = {value}")
            for name, says, value in (
                ("rounded up", "the last of these images no longer fits: round down", 183),
                ("3 times 10 to the 9", "here 3 GB is 3 * 2**30 bytes, not 3 * 10**9", 170),
                ("float64", "a number takes 4 bytes, not 8", 91),
                ("elements", "this counts a number as one byte; it takes 4", 731),
                (
                    "half the channels",
                    "this counts the channels of one group in conv2, conv4 and conv5; count both",
                    273,
                ),
                (
                    "the largest layer",
                    "only the largest matrix fits that often; all five have to be kept",
                    460,
                ),
                ("54 x 54", "conv1 has 55 x 55 windows, not 54 x 54", 184),
                (
                    "one of conv4 and conv5",
                    "one layer of 384 channels is missing: conv4 and conv5 both count",
                    210,
                ),
            )
        ),
    ),
)
