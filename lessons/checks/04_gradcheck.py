"""The checks of lesson 4: backward of convolution and overlapping pooling, a hunt for bugs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minitorch_alex import functional as F
from minitorch_alex.check import Bug, Case, Exercise, Holds, Same
from minitorch_alex.kernels import Window, naive
from minitorch_alex.tensor import Tensor

Arrays = tuple[np.ndarray, ...]


# The hunt: right backward functions, and wrong ones


@dataclass(frozen=True)
class Suspect:
    """A forward and a backward function at some inputs.

    `hint` is a question for a check that judges them wrongly.
    """

    name: str
    hint: str
    forward: Callable[..., np.ndarray]
    backward: Callable[..., Arrays]
    inputs: Arrays


def on_arrays(fn: Callable[..., Tensor]) -> Callable[..., np.ndarray]:
    """A function of Tensors as one of arrays."""
    return lambda *arrays: fn(*map(Tensor, arrays)).data


def gradients(fn: Callable[..., Tensor]) -> Callable[..., Arrays]:
    """The right backward of a function of Tensors, by the package."""

    def backward(gy: np.ndarray, *arrays: np.ndarray) -> Arrays:
        tensors = [Tensor(a, requires_grad=True) for a in arrays]
        fn(*tensors).backward(gy)
        return tuple(t.grad for t in tensors)

    return backward


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def spaced(*shape: int) -> np.ndarray:
    """Distinct values, 0.1 apart, shuffled: no pool winner changes within eps."""
    size = int(np.prod(shape))
    return (np.random.default_rng(size).permutation(size) * 0.1 - 1.0).reshape(shape)


def conv(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv2d(x, w, b, stride=2, padding=1, groups=2)


def conv_full(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Padding of 2 for a kernel of 3: each pixel meets each weight."""
    return F.conv2d(x, w, b, padding=2)


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2)


def lrn(x: Tensor) -> Tensor:
    """The paper's: k 2, size 5, alpha 1e-4 on the plain sum, beta 0.75."""
    return F.local_response_norm(x, 5, 5e-4, 0.75, 2.0)


def shifted_softmax(x: Tensor, shift: Tensor) -> Tensor:
    """softmax does not see a shift of all logits: its gradient is zero."""
    return F.softmax(x + shift)


def kernel_not_turned(gy, x, w, b):
    gw, gb = gradients(conv_full)(gy, x, w, b)[1:]
    return gradients(conv_full)(gy, x, w[:, :, ::-1, ::-1].copy(), b)[0], gw, gb


def last_window_wins(gy, x, w, b):
    gx, gw, gb = gradients(conv_full)(gy, x, w, b)
    wrong = np.zeros((*x.shape[:2], x.shape[2] + 4, x.shape[3] + 4))
    for oh, ow in np.ndindex(gy.shape[2:]):
        wrong[:, :, oh:oh + 3, ow:ow + 3] = np.einsum("no,ochw->nchw", gy[:, :, oh, ow], w)
    return wrong[:, :, 2:-2, 2:-2], gw, gb


def bias_mean(gy, x, w, b):
    gx, gw, gb = gradients(conv)(gy, x, w, b)
    return gx, gw, gb / len(x)


def bias_as_row(gy, x, w, b):
    gx, gw, gb = gradients(conv)(gy, x, w, b)
    return gx, gw, gb[None]


def last_group_forgotten(gy, x, w, b):
    gx, gw, gb = gradients(conv)(gy, x, w, b)
    gw[len(w) // 2:] = 0.0
    return gx, gw, gb


def pool_assigns(gy, x):
    gx = np.zeros_like(x)
    for n, c, oh, ow in np.ndindex(gy.shape):
        window = x[n, c, 2 * oh:2 * oh + 3, 2 * ow:2 * ow + 3]
        kh, kw = np.unravel_index(window.argmax(), window.shape)
        gx[n, c, 2 * oh + kh, 2 * ow + kw] = gy[n, c, oh, ow]
    return (gx,)


def channels(x: np.ndarray, size: int) -> np.ndarray:
    """The sum over channels i - 2 ... i - 2 + size - 1, zeros beyond the ends."""
    padded = np.pad(x, ((0, 0), (2, 2), (0, 0), (0, 0)))
    return sum(padded[:, i:i + x.shape[1]] for i in range(size))


def lrn_window_short(gy, x):
    scale = 2.0 + 1e-4 * channels(x * x, 5)
    return (gy * scale**-0.75 - 2e-4 * 0.75 * x * channels(gy * x * scale**-1.75, 4),)


def lrn_over_x(gy, x):
    return (x * gradients(lrn)(gy, x)[0] / x,)


def softmax_zero(gy, x):
    return (0.0 * x,)


def suspect(
    name: str,
    hint: str,
    fn: Callable[..., Tensor],
    backward: Callable[..., Arrays] | None,
    *inputs: np.ndarray,
) -> Suspect:
    return Suspect(name, hint, on_arrays(fn), backward or gradients(fn), inputs)


CONV = (drawn(2, 2, 3, 3), drawn(4, 1, 3, 3), drawn(4))
CONV_FULL = (drawn(1, 2, 4, 3), drawn(2, 2, 3, 3), drawn(2))
WITH_ZERO = drawn(1, 7, 2, 1)
WITH_ZERO[0, 3, 1, 0] = 0.0

RIGHT = (
    suspect(
        "a convolution", "what do you compare, and how much may it differ?", conv, None, *CONV
    ),
    suspect(
        "an overlapping pool",
        "is eps small compared with the distance between the values?",
        pool,
        None,
        spaced(1, 1, 7, 5),
    ),
    suspect(
        "LRN", "what do you compare, and how much may it differ?", lrn, None, drawn(1, 7, 2, 2)
    ),
    suspect(
        "the square of x",
        "does the difference go to both sides?",
        lambda x: x * x,
        None,
        drawn(2, 5),
    ),
    suspect(
        "softmax of shifted logits, whose shift has a gradient of zero",
        "how large is eps, and what is a relative error when the value is zero?",
        shifted_softmax,
        None,
        drawn(3, 5),
        drawn(3, 1),
    ),
    suspect(
        "a convolution with values of a million",
        "how large is the rounding of (y * gy).sum(), and what does dividing by eps make of it?",
        conv,
        None,
        200 + 50 * CONV[0],
        1000 * CONV[1],
        CONV[2],
    ),
)
WRONG = (
    suspect(
        "softmax whose backward is 0",
        "its errors sum to zero: what cotangent do you use?",
        F.softmax,
        softmax_zero,
        drawn(3, 5),
    ),
    suspect(
        "a convolution whose gx takes the kernel as it is, not turned",
        "inside the image all weights meet each pixel: what cotangent tells them apart?",
        conv_full,
        kernel_not_turned,
        *CONV_FULL,
    ),
    suspect(
        "a convolution whose gx keeps the last window's share where windows overlap",
        "it is wrong by a lot: do you compare gx at all?",
        conv_full,
        last_window_wins,
        *CONV_FULL,
    ),
    suspect(
        "a convolution whose gb is the mean over the batch",
        "do you look at all inputs?",
        conv,
        bias_mean,
        *CONV,
    ),
    suspect(
        "a convolution whose gb has shape (1,4) instead of (4,)",
        "NumPy broadcasts: do you compare shapes before numbers?",
        conv,
        bias_as_row,
        *CONV,
    ),
    suspect(
        "a convolution whose gw is 0 in the last group",
        "do you look at all elements of all inputs?",
        conv,
        last_group_forgotten,
        *CONV,
    ),
    suspect(
        "an overlapping pool that keeps the last gradient of a pixel that wins twice",
        "it is wrong by a lot: do you compare all elements?",
        pool,
        pool_assigns,
        spaced(1, 1, 7, 5),
    ),
    suspect(
        "LRN at alpha 1e-4 whose backward sums over four channels of five",
        "it is wrong by less than 1e-4: what tolerance do you use?",
        lrn,
        lrn_window_short,
        0.2 * drawn(1, 7, 2, 2),
    ),
    suspect(
        "LRN whose gradient is NaN where x is 0",
        "NaN > 1e-6 is False: how do you compare?",
        lrn,
        lrn_over_x,
        WITH_ZERO,
    ),
)


def verdict(judge: Callable[..., Any], s: Suspect) -> bool | str:
    """The learner's answer, True or False; or what the function raised or returned, as text."""
    try:
        said = judge(s.forward, s.backward, [x.copy() for x in s.inputs])
    except NotImplementedError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return (
        bool(said) if isinstance(said, bool | np.bool_) else f"it gave {said!r}, not True or False"
    )


def listed(suspects: list[Suspect]) -> str:
    """The first three by name, with their hints."""
    text = "; ".join(f"{s.name} ({s.hint})" for s in suspects[:3])
    return text + (f"; and {len(suspects) - 3} more" if len(suspects) > 3 else "")


def score(judge: Callable[..., Any]) -> tuple[bool, str]:
    """Whether all wrong ones are rejected and all right ones accepted; and what was missed."""
    said = {s.name: verdict(judge, s) for s in (*WRONG, *RIGHT)}
    for s in (*WRONG, *RIGHT):
        if isinstance(said[s.name], str):
            return False, f"at {s.name}: {said[s.name]}"
    passed = [s for s in WRONG if said[s.name]]
    refused = [s for s in RIGHT if not said[s.name]]
    text = (
        f"kills {len(WRONG) - len(passed)} of {len(WRONG)}, accepts "
        f"{len(RIGHT) - len(refused)} of {len(RIGHT)}"
    )
    if passed:
        text += f"; lets through: {listed(passed)}"
    if refused:
        text += f"; rejects what is right: {listed(refused)}"
    return not (passed or refused), text


# The checks


def conv_oracle(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int, groups: int
) -> Arrays:
    """By the package's loops, which are NHWC."""
    win = Window.of(w.shape[2:], stride, padding)
    gy, x = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (gy, x))
    gx = naive.conv2d_backward_input(gy, w, x.shape, win, groups).transpose(0, 3, 1, 2)
    return gx, naive.conv2d_backward_weight(x, gy, win, groups), gy.sum(axis=(0, 1, 2))


def pool_oracle(gy: np.ndarray, x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """By the package's loops, which are NHWC."""
    win = Window.of(size, stride)
    _, saved = naive.max_pool2d(x.transpose(0, 2, 3, 1), win)
    gy = gy.transpose(0, 2, 3, 1)
    return naive.max_pool2d_backward(gy, saved, (len(x), *x.shape[2:], x.shape[1]), win).transpose(
        0, 3, 1, 2
    )


def all_single(arrays: Iterable[np.ndarray]) -> tuple[bool, str]:
    """Whether all are float32."""
    got = [str(a.dtype) for a in arrays]
    return set(got) == {"float32"}, f"got {', '.join(got)}"


def check_conv2d_backward(m: ModuleType) -> Iterator[Case]:
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    gy = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    expected = (
        np.array([[[[1.0, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]]]),
        np.array([[[[5421.0, 6532], [8754, 9865]]]]),
        np.array([1111.0]),
    )
    yield Same(
        "the example: a 2x2 kernel on a 3x3 image",
        lambda: m.conv2d_backward(gy, x, w, 1, 0, 1),
        expected,
    )
    for label, (N, C, H, W), (O, *kernel), stride, padding, groups in (
        ("2 images, 3 channels, 4 kernels", (2, 3, 5, 4), (4, 3), 1, 0, 1),
        ("stride 2 and padding 1", (2, 2, 7, 6), (3, 3), 2, 1, 1),
        ("2 groups", (2, 4, 5, 5), (6, 3), 1, 1, 2),
        ("3 groups, stride 2, padding 2, kernel 5", (3, 3, 8, 9), (6, 5), 2, 2, 3),
        ("stride 4, kernel 3: pixels that no window sees", (1, 2, 9, 10), (2, 3), 4, 0, 1),
        ("a 3x2 kernel at stride 1", (2, 3, 5, 4), (4, 3, 2), 1, 0, 1),
        ("a 1x3 kernel with padding 1, one channel", (1, 1, 3, 5), (1, 1, 3), 1, 1, 1),
    ):
        K = kernel[-2:] if len(kernel) == 2 else (kernel[0], kernel[0])
        x = drawn(N, C, H, W)
        w = drawn(O, C // groups, *K)
        gy = drawn(N, O, *Window.of(K, stride, padding).out(H, W), seed=1)
        yield Same(
            label,
            lambda a=(gy, x, w, stride, padding, groups): m.conv2d_backward(*a),
            conv_oracle(gy, x, w, stride, padding, groups),
        )
    x = np.where(x > 0, 0.0, 1e6 * x)
    yield Same(
        "an image of zeros and large negative numbers",
        lambda: m.conv2d_backward(gy, x, w, stride, padding, groups),
        conv_oracle(gy, x, w, stride, padding, groups),
    )
    single = [a.astype(np.float32) for a in (gy, x, w)]
    yield Holds(
        "float32 stays float32",
        lambda: all_single(m.conv2d_backward(*single, stride, padding, groups)),
    )


def check_max_pool2d_backward(m: ModuleType) -> Iterator[Case]:
    x = np.array(
        [[1.0, 5, 2, 5, 0], [3, 4, 6, 1, 7], [2, 0, 3, 8, 4], [1, 2, 5, 0, 2], [6, 6, 1, 3, 2]]
    )[None, None]
    gy = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    expected = np.zeros((1, 1, 5, 5))
    expected[0, 0, [1, 2, 4], [2, 3, 0]] = 1.0, 1010.0, 100.0
    yield Same(
        "the example: 3/2 on a 5x5 image", lambda: m.max_pool2d_backward(gy, x, 3, 2), expected
    )
    for label, shape, size, stride in (
        ("negative values, 2 images, 3 channels, 3/2", (2, 3, 7, 9), 3, 2),
        ("2/2 on 7x6: the last row is in no window", (2, 2, 7, 6), 2, 2),
        ("2/3: pixels between the windows", (1, 2, 8, 8), 2, 3),
        ("3/1: a pixel may win nine windows", (1, 2, 6, 5), 3, 1),
    ):
        x = spaced(*shape) - 3.0
        gy = drawn(*shape[:2], *Window.of(size, stride).out(*shape[2:]))
        yield Same(
            label,
            lambda a=(gy, x, size, stride): m.max_pool2d_backward(*a),
            pool_oracle(gy, x, size, stride),
        )
    x = np.random.default_rng(0).integers(0, 3, (2, 2, 7, 7)).astype(float)
    gy = drawn(2, 2, 3, 3)
    yield Same(
        "many equal values: the first wins",
        lambda: m.max_pool2d_backward(gy, x, 3, 2),
        pool_oracle(gy, x, 3, 2),
    )
    low = np.where(x > 0, -1e30, -2e30)
    zeros = np.where(gy > 0, 0.0, -1e6)
    yield Same(
        "values of -1e30 and less, gradients of 0 and -1e6",
        lambda: m.max_pool2d_backward(zeros, low, 3, 2),
        pool_oracle(zeros, low, 3, 2),
    )
    single = gy.astype(np.float32), x.astype(np.float32)
    yield Holds(
        "float32 stays float32", lambda: all_single([m.max_pool2d_backward(*single, 3, 2)])
    )


def check_hunt(m: ModuleType) -> Iterator[Case]:
    yield Holds("x^2 and the wrong gradient 3 x gy", lambda: refuses(m.gradient_is_right))
    yield Holds("x^2 once more: the inputs are as before", lambda: steady(m.gradient_is_right))
    yield Holds("the hunt: 9 wrong gradients and 6 right ones", lambda: score(m.gradient_is_right))


def refuses(judge: Callable[..., Any]) -> tuple[bool, str]:
    """Whether a plain wrong gradient is called wrong."""
    said = judge(lambda x: x**2, lambda gy, x: (3 * x * gy,), [np.array([1.0, 3.0])])
    return isinstance(said, bool | np.bool_) and not said, f"it says {said!r}, expected False"


def steady(judge: Callable[..., Any]) -> tuple[bool, str]:
    """Whether a right gradient is called right twice, and its input is left alone."""
    x = np.array([1.0, -3.0, 0.0])
    for _ in range(2):
        said = judge(lambda x: x**2, lambda gy, x: (2 * x * gy,), [x])
        if x.tolist() != [1.0, -3.0, 0.0]:
            return False, (f"the input [1, -3, 0] came back as {x.tolist()}: move a copy of it, "
                           "or put each number back")
        if not said:
            return False, f"it says {said!r} of 2 x gy, the right gradient of x^2, at [1, -3, 0]"
    return True, "called right twice"


EXERCISES = (
    Exercise(
        "4.1",
        "conv2d_backward",
        "the gradients of a convolution, by im2col and col2im",
        check_conv2d_backward,
        hints=(
            "Begin without groups: three lines from the formula, and the sum for gb. Which axis "
            "of gy must go last before it becomes a matrix with one row for each place?",
            "G is gy.transpose(0, 2, 3, 1).reshape(-1, O), W is w.reshape(O, -1); gw is (G.T @ "
            "X).reshape(w.shape).",
            "With groups: a loop over g, with x[:, seen], gy[:, made] and w[made], where seen is "
            "the slice of C/groups channels and made that of O/groups kernels; write the results "
            "into gx[:, seen] and gw[made].",
        ),
        bugs=(
            Bug(
                "mean for sum",
                "your gb is divided by the number of images: the bias was added to each of them, "
                "so its gradient is the sum",
                old="gb = gy.sum(axis=(0, 2, 3))",
                new="gb = gy.sum(axis=(2, 3)).mean(axis=0)",
            ),
            Bug(
                "mean over all",
                "your gb is a mean over images and places instead of a sum",
                old="gb = gy.sum(axis=(0, 2, 3))",
                new="gb = gy.mean(axis=(0, 2, 3))",
            ),
            Bug(
                "not transposed",
                "gy went into the matrix as (N,O,OH,OW): its rows are then not the places. "
                "transpose(0, 2, 3, 1) first",
                old=".transpose(0, 2, 3, 1).reshape(-1, Og)",
                new=".reshape(-1, Og)",
            ),
            Bug(
                "kernel turned",
                "your gx turns the kernel once too often: col2im does the turning, W is "
                "used as it is",
                old="w[made].reshape(Og, -1)",
                new="w[made][:, :, ::-1, ::-1].reshape(Og, -1)",
            ),
            Bug(
                "weights averaged",
                "your gw is divided by the number of images: it is a sum over all of them",
                old="gw[made] = (places.T @ cols)",
                new="gw[made] = (places.T @ cols / len(x))",
            ),
            Bug(
                "gx without the stride",
                "in gx the windows are one pixel apart, whatever the stride: window (oh, ow) "
                "begins at (oh S, ow S)",
                old="gx[:, seen] = col2im(gcols, x[:, seen].shape, KH, KW, stride, padding)",
                new="P = padding\n"
                "        taps = gcols.reshape(*gy[:, 0].shape, Cg, KH, KW)\n"
                "        bordered = np.pad(0 * x[:, seen], ((0, 0), (0, 0), (P, P), (P, P)))\n"
                "        for n, i, j in np.ndindex(taps.shape[:3]):\n"
                "            bordered[n, :, i:i + KH, j:j + KW] += taps[n, i, j]\n"
                "        gx[:, seen] = bordered[:, :, P:P + x.shape[2], P:P + x.shape[3]]",
            ),
            Bug(
                "weights not transposed",
                "X^T G is gw with its axes exchanged, (C KH KW, O), and a reshape does not "
                "exchange them: take G^T X",
                old="(places.T @ cols).reshape",
                new="(cols.T @ places).reshape",
            ),
            Bug(
                "one group's kernels",
                "each group's gx uses the first group's kernels",
                old="w[made].reshape",
                new="w[:Og].reshape",
            ),
        ),
    ),
    Exercise(
        "4.2",
        "max_pool2d_backward",
        "the gradient of overlapping max pooling: the winner takes all",
        check_max_pool2d_backward,
        hints=(
            "Loop over (oh, ow) and cut the window out of all images and channels at once: x[:, "
            ":, rows, columns]. Which pixel of it is the largest?",
            "window.reshape(N, C, -1).argmax(axis=2) is the number of the first largest in "
            "reading order; np.divmod(it, size) makes a row and a column of it.",
            "With n, c = np.ogrid[:N, :C]: gx[n, c, oh * stride + kh, ow * stride + kw] += gy[:, "
            ":, oh, ow]. Within one window no pixel of gx occurs twice, so += is safe here.",
        ),
        bugs=(
            Bug(
                "assigned",
                "a pixel that wins several windows keeps the last one's gradient: add them up",
                old="+= gy[:, :, oh, ow]",
                new="= gy[:, :, oh, ow]",
            ),
            Bug(
                "last of equals",
                "of equal values the last one wins; it should be the first",
                old="window.argmax(axis=2)",
                new="(size * size - 1 - window[:, :, ::-1].argmax(axis=2))",
            ),
            Bug(
                "all of equals",
                "each pixel that equals the maximum gets the whole gradient; only the first "
                "should",
                old="gx[n, c, top + kh, left + kw] += gy[:, :, oh, ow]",
                new="gx[:, :, top:top + size, left:left + size] += gy[:, :, oh, ow, None, None] * "
                "(window == window.max(axis=2, keepdims=True)).reshape(N, C, size, size)",
            ),
            Bug(
                "shared out",
                "the gradient is shared among all pixels of a window: that is average pooling",
                old="gx[n, c, top + kh, left + kw] += gy[:, :, oh, ow]",
                new="gx[:, :, top:top + size, left:left + size] += gy[:, :, oh, ow, None, None] "
                "/ size ** 2",
            ),
            Bug(
                "largest by size",
                "the winner is the value farthest from 0: it should be the largest",
                old="window.argmax(axis=2)",
                new="np.abs(window).argmax(axis=2)",
            ),
            Bug(
                "rows for columns",
                "row and column of the winner are exchanged",
                old="kh, kw = np.divmod",
                new="kw, kh = np.divmod",
            ),
        ),
    ),
    Exercise(
        "4.3",
        "gradient_is_right",
        "write a check that 9 planted bugs cannot pass",
        check_hunt,
        hints=(
            "The plain way: a cotangent c of y's shape; f(x) = (forward(x) * c).sum(); for each "
            "input and each element (f(x + eps) - f(x - eps)) / (2 eps) with eps = 1e-5; compare "
            "with backward(c, ...).",
            "Draw c from N(0,1). Look at all inputs. Compare shapes first. Write `if not (error "
            "<= allowed).all()`.",
            "allowed = 1e-9 + 1e-6 * max(|a|, |n|) + the rounding of f divided by eps, which is "
            "about 1e-15 * |forward(x) * c|.sum() / eps.",
        ),
        bugs=(
            Bug(
                "ones",
                "your cotangent is all ones: errors that sum to zero stay hidden. Draw it from "
                "N(0,1)",
                old="np.random.default_rng(0).standard_normal(y.shape)",
                new="np.ones(y.shape)",
            ),
            Bug(
                "loose",
                "your tolerance lets small errors through: right code needs no more than a "
                "millionth",
                old="1e-6 * np.maximum",
                new="1e-2 * np.maximum",
            ),
            Bug(
                "first input only",
                "you look at the gradient of the first input only",
                old="enumerate(zip(inputs, gradients))",
                new="enumerate(zip(inputs[:1], gradients[:1]))",
            ),
            Bug(
                "relative only",
                "your tolerance is relative to the value alone: at a gradient of zero nothing "
                "passes",
                old="1e-9 + rounding + ",
                new="",
            ),
            Bug(
                "no room for rounding",
                "where y is large, its rounding divided by eps is more than you allow",
                old="1e-9 + rounding + ",
                new="1e-9 + ",
            ),
            Bug(
                "NaN passes",
                "NaN compares as False, so `any(error > allowed)` does not see it",
                old="not (np.abs(gx - numeric) <= allowed).all()",
                new="(np.abs(gx - numeric) > allowed).any()",
            ),
            Bug(
                "shapes not compared",
                "a gradient of another shape passes, because NumPy broadcasts it",
                old="np.shape(gx) != x.shape",
                new="np.size(gx) != x.size",
            ),
            Bug(
                "one-sided",
                "the difference to one side has an error of the order of eps: take both sides",
                old="(value[0] - value[1]) / (2 * eps)",
                new="(value[0] - (y * cotangent).sum()) / eps",
            ),
            Bug(
                "eps too large",
                "with eps = 1e-2 the difference itself is wrong by 1e-4: the curve bends",
                old="eps = 1e-5",
                new="eps = 1e-2",
            ),
        ),
    ),
)
