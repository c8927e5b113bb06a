"""The checks of lesson 1, convolution."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same
from minitorch_alex.kernels import naive
from minitorch_alex.kernels.window import Window
from minitorch_alex.streams import rng


def reference(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int, groups: int = 1
) -> np.ndarray:
    """The package's loops: x (N,C,H,W), w (O,C/G,KH,KW), b (O,)  ->  (N,O,OH,OW)."""
    win = Window.of(w.shape[2:], stride, padding)
    return naive.conv2d(
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)), w, b, win, groups
    ).transpose(0, 3, 1, 2)


def check_out_size(m: ModuleType) -> Iterator[Case]:
    for size, kernel, stride, padding, ceil_mode, expected in (
        (7, 3, 2, 0, False, 3),
        (8, 3, 2, 0, False, 3),
        (8, 3, 2, 0, True, 4),
        (7, 3, 2, 0, True, 3),
        (9, 5, 1, 2, False, 9),
        (10, 4, 3, 1, False, 3),
        (10, 3, 4, 2, True, 4),
        (5, 5, 3, 0, True, 1),
        (224, 11, 4, 0, True, 55),
        (224, 11, 4, 0, False, 54),
        (55, 3, 2, 0, True, 27),
        (13, 3, 2, 0, True, 6),
    ):
        yield Same(
            f"out_size({size}, {kernel}, {stride}, {padding}, {ceil_mode})",
            lambda a=(size, kernel, stride, padding, ceil_mode): m.out_size(*a),
            expected,
        )


def check_conv2d_naive(m: ModuleType) -> Iterator[Case]:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    w = np.array([[[[1.0, 0], [0, -1]]]])
    yield Same(
        "the example: 3 x 3 image, 2 x 2 kernel, b = 10",
        lambda: m.conv2d_naive(x, w, np.array([10.0]), 1, 0),
        np.full((1, 1, 2, 2), 6.0),
    )
    yield Same(
        "a kernel that is not symmetric, [[1, 2], [3, 4]], b = 0",
        lambda: m.conv2d_naive(x, np.array([[[[1.0, 2], [3, 4]]]]), np.zeros(1), 1, 0),
        np.array([[[[37.0, 47], [67, 77]]]]),
    )
    yield Same(
        "the example with padding 1",
        lambda: m.conv2d_naive(x, w, np.array([10.0]), 1, 1),
        np.array([[[[9.0, 8, 7, 10], [6, 6, 6, 13], [3, 6, 6, 16], [10, 17, 18, 19]]]]),
    )
    draw = rng(1, "lesson 1")
    for N, C, H, W, O, KH, KW, stride, padding in (
        (1, 1, 6, 5, 1, 3, 2, 2, 0),
        (1, 3, 4, 4, 1, 2, 2, 1, 0),
        (2, 1, 4, 4, 3, 2, 2, 1, 0),
        (2, 3, 7, 5, 4, 3, 2, 2, 1),
        (1, 2, 4, 5, 2, 3, 2, 1, 0),
        (1, 1, 4, 6, 2, 1, 3, 1, 1),
    ):
        x = draw.standard_normal((N, C, H, W))
        w = draw.standard_normal((O, C, KH, KW))
        b = draw.standard_normal(O)
        yield Same(
            f"{N} images of {C} x {H} x {W}, {O} kernels of {KH} x {KW}, stride {stride}, padding "
            f"{padding}",
            lambda a=(x, w, b, stride, padding): m.conv2d_naive(*a),
            reference(x, w, b, stride, padding),
        )
    x = np.where(x > 0, 0.0, 1e6 * x)
    yield Same(
        "an image of zeros and large negative numbers",
        lambda: m.conv2d_naive(x, w, b, 1, 0),
        reference(x, w, b, 1, 0),
    )
    single = [a.astype(np.float32) for a in (x, w, b)]
    yield Holds("float32 stays float32", lambda: _single(m.conv2d_naive(*single, 2, 1)))


def _single(y: np.ndarray) -> tuple[bool, str]:
    return y.dtype == np.float32, f"the result is {y.dtype}, expected float32, the dtype of x"


def check_macs(m: ModuleType) -> Iterator[Case]:
    yield Answer("multiply-adds of conv1 for one image", lambda: m.MACS_OF_CONV1, 105_415_200)


def check_tap_range(m: ModuleType) -> Iterator[Case]:
    for k, size, out, stride, padding in (
        (0, 6, 3, 2, 1),
        (1, 6, 3, 2, 1),
        (2, 6, 3, 2, 1),
        (0, 6, 6, 1, 2),
        (4, 6, 6, 1, 2),
        (0, 7, 3, 2, 0),
        (1, 9, 5, 3, 4),
        (0, 8, 4, 4, 5),
        (6, 3, 2, 2, 3),
        (0, 3, 5, 2, 4),
    ):
        inside = [o for o in range(out) if 0 <= o * stride - padding + k <= size - 1]

        def windows(
            a: tuple[int, ...] = (k, size, out, stride, padding), inside: list[int] = inside
        ) -> tuple:
            first, last = m.tap_range(*a)
            got = [*range(first, last + 1)]
            return got == inside, f"your range has the windows {got}, expected {inside}"

        yield Holds(
            f"tap_range(k={k}, size={size}, out={out}, stride={stride}, padding={padding})",
            windows,
        )


EXERCISES = (
    Exercise(
        "1.1",
        "out_size",
        "how many windows fit along an axis",
        check_out_size,
        hints=(
            "With a kernel as large as the padded image there is one window. How far can it move "
            "otherwise?",
            "It can move size + 2 * padding - kernel pixels, `stride` pixels per step.",
            "The ceiling of a / b is -(-a // b).",
        ),
        bugs=(
            Bug(
                "always up",
                "this rounds up without ceil_mode too",
                old="if ceil_mode else room // stride",
                new="if True else room // stride",
            ),
            Bug(
                "always down",
                "ceil_mode changes nothing: it should round the division up",
                old="-(-room // stride) if",
                new="room // stride if",
            ),
            Bug(
                "one too many",
                "with ceil_mode one window is added even where the division leaves no remainder: "
                "room // stride + 1 is not the ceiling",
                old="-(-room // stride) if",
                new="room // stride + 1 if",
            ),
            Bug(
                "TensorFlow's SAME",
                "size / stride rounded up is the size with as much padding as that takes; here "
                "the padding is given, and the kernel counts: 1 + (size + 2 padding - kernel) / "
                "stride",
                old="return 1 + steps",
                new="return -(-size // stride)",
            ),
            Bug(
                "padding once",
                "padding is added at both ends of the axis: 2 * padding",
                old="size + 2 * padding - kernel",
                new="size + padding - kernel",
            ),
            Bug(
                "the first window forgotten",
                "there is one window more than there are steps: 1 + ...",
                old="return 1 + steps",
                new="return steps",
            ),
            Bug(
                "a true division",
                "/ gives a float, 3.5 windows perhaps: use //",
                old="else room // stride",
                new="else room / stride",
            ),
        ),
    ),
    Exercise(
        "1.2",
        "conv2d_naive",
        "convolve with seven loops",
        check_conv2d_naive,
        hints=(
            "Four loops choose a number of y: n, o, oh, ow. Three collect what goes into it: c, "
            "kh, kw.",
            "Begin the sum with b[o], before the loops over c, kh and kw.",
            "ih = oh * stride - padding + kh, iw alike; add only if 0 <= ih < H and 0 <= iw < W.",
        ),
        bugs=(
            Bug(
                "kernel flipped",
                "the kernel is turned by 180 degrees: that is the convolution of mathematics; "
                "here w[o, c, kh, kw] meets x[..., oh * stride + kh, ow * stride + kw]",
                old="w[o, c, kh, kw] * x",
                new="w[o, c, KH - 1 - kh, KW - 1 - kw] * x",
            ),
            Bug(
                "bias for each channel",
                "the bias is added once for each channel of the image; it should be added once in "
                "all",
                old="total = b[o]\n                    for c in range(C):\n",
                new="total = 0\n                    for c in range(C):\n"
                "                        total += b[o]\n",
            ),
            Bug(
                "height for width",
                "the number of windows along a row is computed with KH, the rows of the kernel; "
                "it takes KW",
                old="OW = out_size(W, KW, stride, padding, False)",
                new="OW = out_size(W, KH, stride, padding, False)",
            ),
            Bug(
                "kernel transposed",
                "rows and columns of the kernel are exchanged",
                old="w[o, c, kh, kw] * x",
                new="w[o, c, kw % KH, kh % KW] * x",
            ),
            Bug(
                "bias in every step",
                "the bias is added once for each weight; it should be added once",
                old="+= w[o, c, kh, kw]",
                new="+= b[o] + w[o, c, kh, kw]",
            ),
            Bug(
                "always float64",
                "np.zeros makes float64 by default: give it x.dtype",
                old="np.zeros((N, O, OH, OW), x.dtype)",
                new="np.zeros((N, O, OH, OW))",
            ),
            Bug("no bias", "the bias is missing", old="total = b[o]", new="total = 0.0"),
            Bug(
                "wrapped around",
                "a negative index reads from the other end of the image: ask for 0 <= ih "
                "and 0 <= iw too",
                old="if 0 <= ih < H and 0 <= iw < W",
                new="if ih < H and iw < W",
            ),
            Bug(
                "border of edge pixels",
                "beyond the edge you read the nearest pixel of the image; the border is zeros",
                old="if 0 <= ih < H and 0 <= iw < W:\n",
                new="ih, iw = min(max(ih, 0), H - 1), min(max(iw, 0), W - 1)\n"
                "                                if True:\n",
            ),
            Bug(
                "edge cut off",
                "row 0 and column 0 of the image are left out: 0 is inside",
                old="if 0 <= ih < H and 0 <= iw < W",
                new="if 0 < ih < H and 0 < iw < W",
            ),
            Bug(
                "stride forgotten",
                "the windows move by one pixel per step, whatever the stride",
                old="ih = oh * stride - padding + kh\n                                iw = ow * "
                "stride",
                new="ih = oh - padding + kh\n                                iw = ow",
            ),
            Bug(
                "one channel",
                "only the first channel of the image is read",
                old="for c in range(C)",
                new="for c in range(1)",
            ),
        ),
    ),
    Exercise(
        "1.3",
        "MACS_OF_CONV1",
        "count the multiply-adds of conv1",
        check_macs,
        hints=(
            "How many numbers does the result have? And how many weights does one kernel have?",
            "The result is 55 x 55 x 96; a kernel is 11 x 11 x 3.",
        ),
        bugs=tuple(
            Bug(name, says, old="MACS_OF_CONV1 = 105_415_200", new=f"MACS_OF_CONV1 = {value}")
            for name, says, value in (
                (
                    "operations",
                    "this counts a multiplication and an addition as two; a multiply-add is the "
                    "pair and counts once",
                    210_830_400,
                ),
                (
                    "54 x 54",
                    "this rounds down: 54 x 54 places. Rounded up there are 55",
                    101_616_768,
                ),
                (
                    "one colour",
                    "this counts 11 x 11 weights; a kernel covers all three colours",
                    35_138_400,
                ),
                ("one kernel", "this is the cost of one kernel; there are 96", 1_098_075),
                (
                    "at stride 1",
                    "this puts a window on every pixel; the stride is 4",
                    1_595_899_008,
                ),
                (
                    "224 x 224",
                    "this counts a result as large as the image; the result is 55 x 55",
                    1_748_533_248,
                ),
                (
                    "bias counted",
                    "the bias is counted here as well; count the weights only",
                    105_705_600,
                ),
                (
                    "parameters",
                    "this is the number of weights (with or without biases); each is used at "
                    "every place of the result",
                    34_944,
                ),
                (
                    "weights",
                    "this is the number of weights; each is used at every place of the result",
                    34_848,
                ),
            )
        ),
    ),
    Exercise(
        "1.4",
        "tap_range",
        "fix a padding that is off by one",
        check_tap_range,
        hints=(
            "Compare it with [o for o in range(out) if 0 <= o * stride - padding + k <= size - "
            "1] for many sizes: which of the two ends is wrong, and when?",
            "first must be the smallest integer that is not below (padding - k) / stride.",
            "That is the ceiling: -((k - padding) // stride).",
        ),
        bugs=(
            Bug(
                "rounded down",
                "the first window in the range still has this cell in the padding: in which "
                "direction must that division round?",
                old="-((k - padding) // stride)",
                new="(padding - k) // stride",
            ),
            Bug(
                "one too late",
                "the division is rounded up even where it leaves no remainder",
                old="-((k - padding) // stride)",
                new="(padding - k) // stride + 1",
            ),
            Bug(
                "last rounded up",
                "the last window reaches past the image: that end rounds down",
                old="(size - 1 + padding - k) // stride",
                new="-((k + 1 - padding - size) // stride)",
            ),
            Bug(
                "size for size - 1",
                "the last pixel is size - 1",
                old="(size - 1 + padding - k) // stride",
                new="(size + padding - k) // stride",
            ),
        ),
    ),
)
