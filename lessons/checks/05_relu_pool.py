"""The checks of lesson 5: ReLU, overlapping max pooling, ties in its backward, fading chains."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Faster, Holds, Same
from minitorch_alex.kernels import naive
from minitorch_alex.kernels.window import Window


def check_relu(m: ModuleType) -> Iterator[Case]:
    x = np.array([[-2.0, 0.0, 3.0], [0.5, -0.1, 7.0]])
    yield Same(
        "relu of the example",
        lambda: m.relu(x.copy()),
        np.array([[0.0, 0.0, 3.0], [0.5, 0.0, 7.0]]),
    )
    yield Holds("relu leaves its argument alone", lambda: _untouched(m.relu, x.copy()))
    yield Holds("relu keeps float32", lambda: _kept(m.relu(x.astype(np.float32)), np.float32))
    gy = np.array([10.0, -20.0, -30.0, 40.0])
    y = np.array([0.0, 3.0, 0.0, 0.5])
    yield Same(
        "relu_backward of the example",
        lambda: m.relu_backward(gy.copy(), y.copy()),
        np.array([0.0, -20.0, 0.0, 40.0]),
    )
    rng = np.random.default_rng(5)
    x4 = rng.standard_normal((2, 3, 4, 5))
    gy4 = rng.standard_normal((2, 3, 4, 5))
    y4 = naive.relu(x4)
    yield Same("relu of a batch of images", lambda: m.relu(x4.copy()), y4)
    yield Same(
        "relu_backward of a batch of images",
        lambda: m.relu_backward(gy4.copy(), y4.copy()),
        naive.relu_backward(gy4, y4),
    )
    low = np.array([[-1e30, 0.0, -0.0, 1e30, -1e-30]])
    yield Same("relu of -1e30, 0 and 1e30", lambda: m.relu(low.copy()), np.maximum(low, 0.0))
    yield Same(
        "relu_backward with gradients of 0 and -1e30",
        lambda: m.relu_backward(np.array([-1e30, 0.0, -1e30]), np.array([2.0, 3.0, 0.0])),
        np.array([-1e30, 0.0, 0.0]),
    )
    yield Holds(
        "relu_backward leaves its arguments alone",
        lambda: _untouched(m.relu_backward, gy.copy(), y.copy()),
    )
    yield Holds(
        "relu_backward keeps float32",
        lambda: _kept(m.relu_backward(gy.astype(np.float32), y.astype(np.float32)), np.float32),
    )


def check_max_pool2d(m: ModuleType) -> Iterator[Case]:
    x = np.array(
        [[[[1.0, 5.0, 2.0, 0.0, 3.0], [4.0, 0.0, 1.0, 1.0, 6.0], [0.0, 2.0, 8.0, 1.0, 0.0]]]]
    )
    yield Same(
        "size 3, stride 2 on the example",
        lambda: m.max_pool2d(x.copy(), 3, 2),
        np.array([[[[8.0, 8.0]]]]),
    )
    yield Same(
        "size 2, stride 2 on the example",
        lambda: m.max_pool2d(x.copy(), 2, 2),
        np.array([[[[5.0, 2.0]]]]),
    )
    rng = np.random.default_rng(6)
    for shape, size, stride in (
        ((1, 1, 7, 5), 3, 2),
        ((2, 3, 8, 6), 3, 2),
        ((2, 2, 9, 7), 2, 3),
        ((1, 2, 4, 4), 4, 1),
        ((1, 2, 5, 5), 1, 1),
    ):
        values = rng.permutation(int(np.prod(shape))).reshape(shape) - 20.0
        yield Same(
            f"size {size}, stride {stride} on images {shape}",
            lambda x=values, k=size, s=stride: m.max_pool2d(x.copy(), k, s),
            _pooled(values, size, stride),
        )
    yield Same(
        "an image of negative values", lambda: m.max_pool2d(-1 - x, 2, 1), _pooled(-1 - x, 2, 1)
    )
    low = -1e30 * (1 + np.abs(x))
    yield Same(
        "an image of values below -1e30", lambda: m.max_pool2d(low, 3, 1), _pooled(low, 3, 1)
    )
    zeros = np.minimum(x - x.mean(), 0.0)
    yield Same(
        "an image of zeros and negative values",
        lambda: m.max_pool2d(zeros, 2, 1),
        _pooled(zeros, 2, 1),
    )
    batch = rng.standard_normal((4, 8, 31, 31))
    yield Faster(
        "max_pool2d compared with a loop over windows",
        lambda: m.max_pool2d(batch, 3, 2),
        lambda: by_windows(batch, 3, 2),
        2,
    )
    yield Holds(
        "float32 is kept", lambda: _kept(m.max_pool2d(x.astype(np.float32), 3, 2), np.float32)
    )
    yield Holds(
        "the argument is left alone", lambda: _untouched(lambda a: m.max_pool2d(a, 3, 2), x.copy())
    )


def by_windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """The largest value of each window, window by window and image by image."""
    N, C, H, W = x.shape
    OH = (H - size) // stride + 1
    OW = (W - size) // stride + 1
    y = np.empty((N, C, OH, OW), x.dtype)
    for n, oh, ow in np.ndindex(N, OH, OW):
        top = oh * stride
        left = ow * stride
        y[n, :, oh, ow] = x[n, :, top:top + size, left:left + size].max(axis=(1, 2))
    return y


def check_route(m: ModuleType) -> Iterator[Case]:
    flat = np.zeros((1, 1, 2, 2))
    one = np.ones((1, 1, 1, 1))
    rng = np.random.default_rng(7)
    x = rng.permutation(2 * 3 * 7 * 5).reshape(2, 3, 7, 5) - 100.0
    gy = rng.standard_normal((2, 3, 3, 2))
    yield Same(
        "values that all differ",
        lambda: m.route_to_maximum(gy.copy(), x.copy(), 3, 2),
        _routed(gy, x, 3, 2),
    )

    def flat_window() -> tuple[bool, str]:
        gx = np.asarray(m.route_to_maximum(one.copy(), flat.copy(), 2, 2))
        return bool(np.isclose(gx.sum(), 1.0)), (
            f"four equal cells, one gradient of 1 came in, and {gx.sum():g} in all went out "
            f"({gx.ravel().tolist()}): who should get it when several cells are the largest?"
        )

    yield Holds("a flat window passes on as much as it got", flat_window)
    yield Same(
        "a flat window: the first cell wins",
        lambda: m.route_to_maximum(one.copy(), flat.copy(), 2, 2),
        np.array([[[[1.0, 0.0], [0.0, 0.0]]]]),
    )
    ties = np.array(
        [
            [
                [
                    [0.0, 2.0, 1.0, 2.0, 0.0],
                    [2.0, 1.0, 2.0, 0.0, 2.0],
                    [1.0, 0.0, 2.0, 2.0, 1.0],
                    [0.0, 0.0, 0.0, 0.0, 3.0],
                    [0.0, 0.0, 0.0, 3.0, 3.0],
                ]
            ]
        ]
    )
    gy3 = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    yield Same(
        "ties in overlapping windows",
        lambda: m.route_to_maximum(gy3.copy(), ties.copy(), 3, 2),
        _routed(gy3, ties, 3, 2),
    )
    steps = rng.integers(0, 3, (2, 3, 8, 7)).astype(float)  # three levels: many ties
    gy4 = rng.standard_normal((2, 3, 3, 3))
    yield Same(
        "images of three grey levels",
        lambda: m.route_to_maximum(gy4.copy(), steps.copy(), 3, 2),
        _routed(gy4, steps, 3, 2),
    )
    low = -1e30 * (1 + steps)
    zeros = np.where(gy4 > 0, 0.0, -1e6)
    yield Same(
        "values of -1e30 and less, gradients of 0 and -1e6",
        lambda: m.route_to_maximum(zeros, low, 3, 2),
        _routed(zeros, low, 3, 2),
    )


def check_layers(m: ModuleType) -> Iterator[Case]:
    yield Answer("layers until less than a millionth is left", lambda: m.LAYERS_TO_A_MILLIONTH, 6)


def _pooled(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    y, _ = naive.max_pool2d(x.transpose(0, 2, 3, 1), Window.of(size, stride))
    return y.transpose(0, 3, 1, 2)


def _routed(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    win = Window.of(size, stride)
    nhwc = x.transpose(0, 2, 3, 1)
    _, saved = naive.max_pool2d(nhwc, win)
    return naive.max_pool2d_backward(gy.transpose(0, 2, 3, 1), saved, nhwc.shape, win).transpose(
        0, 3, 1, 2
    )


def _untouched(f, *arrays: np.ndarray) -> tuple[bool, str]:
    before = [a.copy() for a in arrays]
    f(*arrays)
    changed = [i for i, (a, b) in enumerate(zip(arrays, before), 1) if not np.array_equal(a, b)]
    return (
        not changed,
        f"argument {changed} came back changed: work on a new array" if changed else "unchanged",
    )


def _kept(result, dtype) -> tuple[bool, str]:
    return result.dtype == dtype, f"got {result.dtype} for an input of {np.dtype(dtype)}"


EXERCISES = (
    Exercise(
        "5.1",
        "relu, relu_backward",
        "the unit that does not saturate, and its gradient",
        check_relu,
        hints=(
            "NumPy has a function for the larger of two, element by element.",
            "The backward needs a mask of the places where y is larger than 0.",
            "A mask counts as 1 and 0 in a product: gy times (y > 0).",
        ),
        bugs=(
            Bug(
                "absolute value",
                "this turns negative inputs round instead of silencing them",
                old="return np.maximum(x, 0)",
                new="return np.abs(x)",
            ),
            Bug(
                "a mask",
                "this says where x is positive, True or False; the result should be x itself "
                "there, and 0 elsewhere",
                old="return np.maximum(x, 0)",
                new="return x > 0",
            ),
            Bug(
                "smaller for larger",
                "this keeps the negative half: minimum instead of maximum?",
                old="return np.maximum(x, 0)",
                new="return np.minimum(x, 0)",
            ),
            Bug(
                "in place",
                "relu wrote into its argument, which belongs to the caller",
                old="return np.maximum(x, 0)",
                new="return np.maximum(x, 0, out=x)",
            ),
            Bug(
                "at zero too",
                "the gradient passes where y is 0 as well; y >= 0 is true everywhere",
                old="return gy * (y > 0)",
                new="return gy * (y >= 0)",
            ),
            Bug(
                "sign of gy",
                "the gradient's own sign decides, where only that of the forward value should",
                old="return gy * (y > 0)",
                new="return gy * (gy > 0)",
            ),
            Bug(
                "times y",
                "the gradient is multiplied by y: the derivative of x for x > 0 is 1, not x",
                old="return gy * (y > 0)",
                new="return gy * y",
            ),
            Bug(
                "leaky",
                "a hundredth of the gradient passes where y is 0: that is a leaky ReLU's",
                old="return gy * (y > 0)",
                new="return np.where(y > 0, gy, 0.01 * gy)",
            ),
            Bug(
                "mask alone",
                "this is the derivative itself: it has not been multiplied with gy",
                old="return gy * (y > 0)",
                new="return 1.0 * (y > 0)",
            ),
        ),
    ),
    Exercise(
        "5.2",
        "max_pool2d",
        "the largest value of each window, overlapping or not",
        check_max_pool2d,
        hints=(
            "Make y of the right shape first, filled with something that loses against every "
            "value.",
            "Cell (i, j) of all windows at once is x[:, :, i::stride, j::stride], cut to OH rows "
            "and OW columns.",
            "y = np.maximum(y, that), for each of the size x size cells.",
        ),
        bugs=(
            Bug(
                "stride forgotten",
                "the windows tile the image: the stride is the size here, whatever the argument "
                "says",
                old="    N, C, H, W = x.shape\n",
                new="    stride = size\n    N, C, H, W = x.shape\n",
            ),
            Bug(
                "size rounded up",
                "there is one window too many: sizes are rounded down, the remainder is left out",
                old="    OH = (H - size) // stride + 1\n"
                "    OW = (W - size) // stride + 1\n    y =",
                new="    OH = -(-(H - size) // stride) + 1\n"
                "    OW = -(-(W - size) // stride) + 1\n    y =",
            ),
            Bug(
                "one window short",
                "the last window is missing: + 1 in the output size?",
                old="    OH = (H - size) // stride + 1\n"
                "    OW = (W - size) // stride + 1\n    y =",
                new="    OH = (H - size) // stride\n    OW = (W - size) // stride\n    y =",
            ),
            Bug(
                "slices without an end",
                "the cells (i, j) of all windows are OH x OW values; without an end the "
                "slice may hold one more: stop at i + (OH - 1) stride + 1",
                old="slice(i, i + (OH - 1) * stride + 1, stride)  # OH of them\n"
                "            columns = slice(j, j + (OW - 1) * stride + 1, stride)",
                new="slice(i, None, stride)\n            columns = slice(j, None, stride)",
            ),
            Bug(
                "starts from 0",
                "a window of negative values has become 0: what does the maximum start from?",
                old="np.full((N, C, OH, OW), -np.inf, x.dtype)",
                new="np.zeros((N, C, OH, OW), x.dtype)",
            ),
            Bug(
                "last cell missing",
                "the last row and column of each window are not looked at",
                old="    for i in range(size):\n        for j in range(size):",
                new="    for i in range(size - 1):\n        for j in range(size - 1):",
            ),
            Bug(
                "float64",
                "the result is float64 for a float32 input: give np.full (or np.zeros) the dtype "
                "of x",
                old="-np.inf, x.dtype)",
                new="-np.inf)",
            ),
        ),
    ),
    Exercise(
        "5.3",
        "route_to_maximum",
        "the planted bug: more gradient goes out than came in",
        check_route,
        hints=(
            "Behind a ReLU a whole window may be 0. Which of its cells are equal to the maximum?",
            "Exactly one cell of each window may win. argmax gives the first of several equal "
            "ones.",
            "Flatten the window to (N, C, size size), take argmax over the last axis, compare "
            "np.arange(size size) with it, and give the result its two axes back.",
        ),
        bugs=(
            Bug(
                "as it was given",
                "each of the equal cells gets the full gradient; work through a window of four "
                "zeros by hand",
                old="won = np.arange(size * size) == first[:, :, None]",
                new="won = window == window.max(axis=2, keepdims=True)",
            ),
            Bug(
                "last one wins",
                "the gradient goes to the last of the equal cells; it should go to the first in "
                "reading order",
                old="first = window.argmax(axis=2)  ",
                new="first = size * size - 1 - window[:, :, ::-1].argmax(axis=2)  ",
            ),
            Bug(
                "shared out",
                "the gradient is divided among the equal cells. Its sum is right, and some "
                "libraries do this; here the first in reading order takes all",
                old="won = np.arange(size * size) == first[:, :, None]",
                new="won = window == window.max(axis=2, keepdims=True)\n"
                "            won = won / won.sum(axis=2, keepdims=True)",
            ),
            Bug(
                "one winner for all",
                "argmax ran over all images and channels at once; each of them has its own winner",
                old="won = np.arange(size * size) == first[:, :, None]",
                new="won = (np.arange(window.size) == window.argmax()).reshape(window.shape)",
            ),
            Bug(
                "shared over the window",
                "each cell of a window gets an equal part: so it is for the mean, not the maximum",
                old="+= won * gy[:, :, oh, ow][:, :, None, None]",
                new="+= gy[:, :, oh, ow][:, :, None, None] / size ** 2",
            ),
            Bug(
                "column by column",
                "the first from the top in the first column has won; reading order goes row by "
                "row",
                old="first = window.argmax(axis=2)  ",
                new="turned = window.reshape(N, C, size, size).transpose(0, 1, 3, 2).reshape(N, "
                "C, -1).argmax(axis=2)\n            first = turned % size * size + turned // "
                "size  ",
            ),
            Bug(
                "overwritten",
                "a cell that won several windows has only the last one's gradient: use +=",
                old="gx[:, :, rows, columns] += won",
                new="gx[:, :, rows, columns] = won",
            ),
        ),
    ),
    Exercise(
        "5.4",
        "LAYERS_TO_A_MILLIONTH",
        "how fast a saturated chain forgets",
        check_layers,
        hints=(
            "tanh'(x) = 1 - tanh(x)^2; tanh(2) is about 0.964.",
            "n layers leave tanh'(2)^n: take the logarithm of both sides, and round up.",
        ),
        bugs=(
            Bug(
                "tanh for its derivative",
                "that is for the value of tanh at 2; the gradient is multiplied by the derivative",
                old="LAYERS_TO_A_MILLIONTH = 6",
                new="LAYERS_TO_A_MILLIONTH = 378",
            ),
            Bug(
                "rounded down",
                "nearly: after 5 layers 1.8 millionths are left",
                old="LAYERS_TO_A_MILLIONTH = 6",
                new="LAYERS_TO_A_MILLIONTH = 5",
            ),
            Bug(
                "sigmoid",
                "that is for the logistic sigmoid, whose derivative at 2 is 0.105",
                old="LAYERS_TO_A_MILLIONTH = 6",
                new="LAYERS_TO_A_MILLIONTH = 7",
            ),
        ),
    ),
)
