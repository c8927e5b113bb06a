"""The checks of lesson 6: LRN forward and backward, at an alpha that shows mistakes."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same
from minitorch_alex.kernels import naive

# (shape, size): odd and even windows, a window of one, edges, more window than channels
SHAPES = (
    ((2, 7, 2, 3), 5),
    ((1, 6, 2, 2), 4),
    ((2, 5, 1, 2), 2),
    ((1, 3, 2, 2), 7),
    ((1, 2, 1, 2), 6),
    ((1, 4, 2, 1), 1),
    ((1, 1, 2, 2), 5),
)


def check_lrn(m: ModuleType) -> Iterator[Case]:
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)

    def pair() -> tuple[bool, str]:
        result = m.lrn(x.copy(), 3, 1.0, 1.0, 2.0)
        if isinstance(result, tuple) and len(result) == 2:
            return True, "two results"
        return (
            False,
            "expected two results, (y, scale), got "
            f"{'None' if result is None else type(result).__name__}",
        )

    yield Holds("what comes back", pair)
    yield Same(
        "the scale of the example",
        lambda: m.lrn(x.copy(), 3, 1.0, 1.0, 2.0)[1],
        np.array([7.0, 16.0, 15.0]).reshape(1, 3, 1, 1),
    )
    yield Same(
        "the result of the example",
        lambda: m.lrn(x.copy(), 3, 1.0, 1.0, 2.0)[0],
        np.array([1 / 7, 2 / 16, 3 / 15]).reshape(1, 3, 1, 1),
    )
    rng = np.random.default_rng(61)
    for shape, size in SHAPES:
        values = rng.standard_normal(shape) + 0.5
        yield Same(
            f"size {size} on {shape}, alpha 1, beta 0.75, k 2",
            lambda v=values, s=size: m.lrn(v.copy(), s, 1.0, 0.75, 2.0),
            _lrn(values, size, 1.0, 0.75, 2.0),
        )
    loud = 50 * rng.standard_normal((2, 9, 2, 2))
    yield Same(
        "the paper's constants on values around 50",
        lambda: m.lrn(loud.copy(), 5, 1e-4, 0.75, 2.0),
        _lrn(loud, 5, 1e-4, 0.75, 2.0),
    )
    low = np.where(loud > 0, 0.0, 1e3 * loud)
    yield Same(
        "zeros and large negative values",
        lambda: m.lrn(low, 5, 1e-4, 0.75, 2.0),
        _lrn(low, 5, 1e-4, 0.75, 2.0),
    )
    yield Holds(
        "float32 is kept, and the argument left alone",
        lambda: _polite(m.lrn, (loud, 5, 1e-4, 0.75, 2.0)),
    )


def check_lrn_backward(m: ModuleType) -> Iterator[Case]:
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    scale = np.array([7.0, 16.0, 15.0]).reshape(1, 3, 1, 1)
    gy = np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    yield Same(
        "the example",
        lambda: m.lrn_backward(gy.copy(), x.copy(), scale.copy(), 3, 1.0, 1.0),
        np.array([5 / 49, -4 / 49, 0.0]).reshape(1, 3, 1, 1),
    )
    rng = np.random.default_rng(62)
    for shape, size in SHAPES:
        values = rng.standard_normal(shape) + 0.5
        g = rng.standard_normal(shape)
        _, s = _lrn(values, size, 1.0, 0.75, 2.0)
        yield Same(
            f"size {size} on {shape}, alpha 1, beta 0.75",
            lambda v=values, g=g, s=s, n=size: m.lrn_backward(
                g.copy(), v.copy(), s.copy(), n, 1.0, 0.75
            ),
            _lrn_backward(g, values, s, size, 1.0, 0.75),
        )
    loud = 50 * rng.standard_normal((2, 9, 2, 2))
    g = rng.standard_normal((2, 9, 2, 2))
    _, s = _lrn(loud, 5, 1e-4, 0.75, 2.0)
    yield Same(
        "the paper's constants on values around 50",
        lambda: m.lrn_backward(g.copy(), loud.copy(), s.copy(), 5, 1e-4, 0.75),
        _lrn_backward(g, loud, s, 5, 1e-4, 0.75),
    )
    low = np.where(loud > 0, 0.0, 1e2 * loud)
    _, s_low = _lrn(low, 5, 1e-4, 0.75, 2.0)
    yield Same(
        "zeros and large negative values",
        lambda: m.lrn_backward(g, low, s_low, 5, 1e-4, 0.75),
        _lrn_backward(g, low, s_low, 5, 1e-4, 0.75),
    )
    yield Holds(
        "float32 is kept, and the arguments left alone",
        lambda: _polite(m.lrn_backward, (g, loud, s, 5, 1e-4, 0.75)),
    )


def check_review(m: ModuleType) -> Iterator[Case]:
    rng = np.random.default_rng(63)
    usual = rng.uniform(-1, 1, (2, 10, 5, 10))
    yield Same(
        "its author's test: alpha 1e-4, tolerance 1e-4",
        lambda: m.lrn_in_review(usual.copy(), 5, 1e-4, 0.75, 2.0),
        _lrn(usual, 5, 1e-4, 0.75, 2.0)[0],
        rtol=1e-4,
    )
    tens = np.sqrt(10.0 ** np.arange(7)).reshape(1, 7, 1, 1)
    expected = [111, 1111, 11111, 111110, 1111100, 1111000, 1110000]

    def digits() -> tuple[bool, str]:
        y = np.asarray(m.lrn_in_review(tens.copy(), 5, 1.0, 1.0, 2.0))
        sums = (tens / y - 2).ravel()
        return bool(np.allclose(sums, expected, rtol=1e-9)), (
            "seven channels whose squares are 1, 10, 100, ... 1000000, at alpha 1: its window "
            f"sums are {', '.join(f'{v:.7g}' for v in sums)}; for size 5 they should be "
            f"{', '.join(map(str, expected))} (each 1 is a channel in the window)"
        )

    yield Holds("the same code at alpha 1: which channels are in each window", digits)
    for shape, size in SHAPES:
        x = rng.standard_normal(shape) + 0.5
        yield Same(
            f"size {size} on {shape}, alpha 1",
            lambda x=x, s=size: m.lrn_in_review(x.copy(), s, 1.0, 0.75, 2.0),
            _lrn(x, size, 1.0, 0.75, 2.0)[0],
        )


def check_alpha(m: ModuleType) -> Iterator[Case]:
    yield Answer(
        "the alpha of the printed formula that ran in 2012",
        lambda: m.ALPHA_OF_2012,
        2e-5,
        within=1e-12,
    )


def check_halved(m: ModuleType) -> Iterator[Case]:
    expected = float(np.sqrt((2 * 2 ** (4 / 3) - 2) / (5 * 2e-5)))
    yield Answer(
        "the value that is halved once more",
        lambda: m.VALUE_THAT_IS_HALVED,
        expected,
        within=expected / 100,
    )


def _lrn(
    x: np.ndarray, size: int, alpha: float, beta: float, k: float
) -> tuple[np.ndarray, np.ndarray]:
    y, scale = naive.lrn(x.transpose(0, 2, 3, 1), size, alpha, beta, k, 1)
    return y.transpose(0, 3, 1, 2), scale.transpose(0, 3, 1, 2)


def _lrn_backward(
    gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
) -> np.ndarray:
    gx = naive.lrn_backward(
        *(a.transpose(0, 2, 3, 1) for a in (gy, x, scale)), size, alpha, beta, 1
    )
    return gx.transpose(0, 3, 1, 2)


def _polite(f, arguments: tuple) -> tuple[bool, str]:
    """Whether f gives float32 for float32, and changes none of its arguments."""
    given = [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arguments]
    before = [np.copy(a) for a in given]
    results = f(*given)
    results = results if isinstance(results, tuple) else (results,)
    dtypes = [str(r.dtype) for r in results]
    if set(dtypes) != {"float32"}:
        return False, f"got {' and '.join(dtypes)} for an input of float32"
    changed = [i for i, (a, b) in enumerate(zip(given, before), 1) if not np.array_equal(a, b)]
    return (
        not changed,
        f"argument {changed} came back changed: work on a new array" if changed else "both hold",
    )


EXERCISES = (
    Exercise(
        "6.1",
        "lrn",
        "strong neighbours turn a response down",
        check_lrn,
        hints=(
            "Make the sum of squares over the window a function of its own: the backward needs "
            "one too.",
            "For each shift d from -(size // 2) to size - 1 - size // 2, channel i receives the "
            "square of channel i + d, where there is one.",
            "out[:, :C - d] += squares[:, d:] for d >= 0, and out[:, -d:] += squares[:, :C + d] "
            "for d < 0; a shift of C channels or more has nothing to add.",
        ),
        bugs=(
            Bug(
                "alpha divided",
                "alpha has been divided by the window size. PyTorch, Caffe and the code of 2012 "
                "do that; the printed formula, which this exercise uses, does not",
                old="scale = k + alpha * window_sum(",
                new="scale = k + alpha / size * window_sum(",
            ),
            Bug(
                "no square",
                "the values are summed, not their squares",
                old="window_sum(x * x, size // 2",
                new="window_sum(x, size // 2",
            ),
            Bug(
                "square of the sum",
                "the values are summed first and squared then; each should be squared separately",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x, size // 2, size - 1 - size // 2) ** 2",
            ),
            Bug(
                "mean for sum",
                "the sum over a window is divided by the number of channels in it",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, size // 2, size - 1 - size // 2)"
                " / window_sum(np.ones_like(x), size // 2, size - 1 - size // 2)",
            ),
            Bug(
                "itself left out",
                "each channel leaves out its own square; the window of i contains i, too",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="(window_sum(x * x, size // 2, size - 1 - size // 2) - x * x)",
            ),
            Bug(
                "size to each side",
                "the window reaches `size` channels to both sides, 2 size + 1 in all (that is "
                "TensorFlow's depth_radius); it holds `size` channels in all, size // 2 before",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, size, size)",
            ),
            Bug(
                "all channels",
                "the squares of all channels are summed, whatever the size",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, x.shape[1], x.shape[1])",
            ),
            Bug(
                "around the end",
                "a window at one end continues at the other (np.roll, or an index below 0?); "
                "channels that do not exist should be left out",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="sum(np.roll(x * x, d, axis=1) for d in range(size // 2 - size + 1, size // "
                "2 + 1))",
            ),
            Bug(
                "a slice from below 0",
                "at the first channel nothing was summed: a slice that starts below 0 counts "
                "from the end and is empty here; use max(0, ...)",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="np.stack([(x * x)[:, i - size // 2:i - size // 2 + size].sum(axis=1) "
                "for i in range(x.shape[1])], axis=1)",
            ),
            Bug(
                "exchanged",
                "y and scale are exchanged: the result is (y, scale)",
                old="return x / scale ** beta, scale",
                new="return scale, x / scale ** beta",
            ),
            Bug(
                "k forgotten",
                "k is missing from the scale",
                old="scale = k + alpha * window_sum(",
                new="scale = alpha * window_sum(",
            ),
            Bug(
                "multiplied",
                "x is multiplied by scale^beta, but it should be divided by it",
                old="return x / scale ** beta, scale",
                new="return x * scale ** beta, scale",
            ),
            Bug(
                "window one short",
                "the last channel of each window is missing",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, size // 2, size - 2 - size // 2)",
            ),
            Bug(
                "absolute values",
                "the absolute values are summed; it is their squares",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(abs(x), size // 2, size - 1 - size // 2)",
            ),
            Bug(
                "rows for channels",
                "the window runs over the rows of a map, axis 2; it runs over channels, axis 1",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum((x * x).swapaxes(1, 2), size // 2, size - 1 - size // 2)"
                ".swapaxes(1, 2)",
            ),
            Bug(
                "both sides alike",
                "size // 2 channels to both sides: right for odd sizes, one too many for even",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, size // 2, size // 2)",
            ),
            Bug(
                "leans to the right",
                "windows of even size lean to the right here; they should lean to the left",
                old="window_sum(x * x, size // 2, size - 1 - size // 2)",
                new="window_sum(x * x, size - 1 - size // 2, size // 2)",
            ),
            Bug(
                "power on the sum",
                "the power is taken of the sum without k, not of the whole scale",
                old="return x / scale ** beta, scale",
                new="return x / (k + (scale - k) ** beta), scale",
            ),
        ),
    ),
    Exercise(
        "6.2",
        "lrn_backward",
        "the gradient with its cross term",
        check_lrn_backward,
        hints=(
            "First an array with gy_j x_j scale_j^(-beta - 1) for every channel j, then a window "
            "sum of it.",
            "The window of the sum is mirrored: size - 1 - size // 2 channels before i, size // "
            "2 after it.",
            "gy * scale ** -beta - 2 * alpha * beta * x * the_sum",
        ),
        bugs=(
            Bug(
                "no cross term",
                "the scale is treated as a constant: that is the first term alone",
                old="return gy * scale ** -beta - 2 * alpha * beta * x * neighbours",
                new="return gy * scale ** -beta",
            ),
            Bug(
                "sign of the cross term",
                "the cross term is added; a strong neighbour turns a response down",
                old="return gy * scale ** -beta - 2",
                new="return gy * scale ** -beta + 2",
            ),
            Bug(
                "factor 2 missing",
                "the cross term is half of what it should be: the derivative of x^2 is 2 x",
                old="- 2 * alpha * beta",
                new="- alpha * beta",
            ),
            Bug(
                "power of the cross term",
                "the neighbours' share has scale^-beta; the derivative of a power "
                "lowers it: -beta - 1",
                old="scale ** (-beta - 1)",
                new="scale ** -beta",
            ),
            Bug(
                "own share only",
                "each channel feels its own square in the scale, and not that of its neighbours",
                old="window_sum(cross, size - 1 - size // 2, size // 2)",
                new="window_sum(cross, 0, 0)",
            ),
            Bug(
                "window not mirrored",
                "for even sizes the sum runs over the window of i; it should run over the "
                "channels that have i in theirs",
                old="window_sum(cross, size - 1 - size // 2, size // 2)",
                new="window_sum(cross, size // 2, size - 1 - size // 2)",
            ),
            Bug(
                "x in the wrong place",
                "x_i is in front of the sum, and x_j inside it: here x is missing inside",
                old="cross = gy * x * scale",
                new="cross = gy * scale",
            ),
            Bug(
                "x before the sum",
                "x_i is missing before the sum: the derivative of x_i^2 is 2 x_i",
                old="- 2 * alpha * beta * x * neighbours",
                new="- 2 * alpha * beta * neighbours",
            ),
            Bug(
                "gy before the sum",
                "gy_i is in front of the sum; it should be gy_j, inside",
                old="cross = gy * x * scale ** (-beta - 1)",
                new="cross, alpha = x * scale ** (-beta - 1), alpha * gy",
            ),
            Bug(
                "beta forgotten",
                "the cross term lacks beta, which the derivative of a power brings down",
                old="- 2 * alpha * beta * x",
                new="- 2 * alpha * x",
            ),
            Bug(
                "alpha divided",
                "alpha has been divided by the window size here; use it as it is",
                old="- 2 * alpha * beta * x",
                new="- 2 * alpha / size * beta * x",
            ),
        ),
    ),
    Exercise(
        "6.3",
        "lrn_in_review",
        "the planted bug that the usual test does not see",
        check_review,
        hints=(
            "Run the example: seven channels of 1, alpha 1, beta 1, k 0. How many channels does "
            "1 / y count?",
            "total[:, c] is the sum of the channels before c. Which one ends with channel `last`?",
        ),
        bugs=(
            Bug(
                "as it was given",
                "every window sum lacks one digit; which, and which line leaves it out?",
                old="(total[:, last + 1] - total[:, first])",
                new="(total[:, last] - total[:, first])",
            ),
            Bug(
                "one too few at the front",
                "now the first channel of each window is missing",
                old="(total[:, last + 1] - total[:, first])",
                new="(total[:, last + 1] - total[:, first + 1])",
            ),
            Bug(
                "alpha divided",
                "the windows are whole now, but alpha is divided by the size",
                old="scale[:, i] = k + alpha * (",
                new="scale[:, i] = k + alpha / size * (",
            ),
        ),
    ),
    Exercise(
        "6.4",
        "ALPHA_OF_2012",
        "one number in two conventions",
        check_alpha,
        hints=("k + (alpha / n) sum: which alpha without a division gives the same?",),
        bugs=(
            Bug(
                "not divided",
                "that is what the parameter file says; the source divides it by the window's size",
                old="ALPHA_OF_2012 = 2e-5",
                new="ALPHA_OF_2012 = 1e-4",
            ),
            Bug(
                "multiplied",
                "the wrong way round: that is the alpha for a framework that divides, to get the "
                "printed formula with 1e-4",
                old="ALPHA_OF_2012 = 2e-5",
                new="ALPHA_OF_2012 = 5e-4",
            ),
            Bug(
                "divided twice",
                "that is divided by 25: size^2 belongs to windows within a map",
                old="ALPHA_OF_2012 = 2e-5",
                new="ALPHA_OF_2012 = 4e-6",
            ),
        ),
    ),
    Exercise(
        "6.5",
        "VALUE_THAT_IS_HALVED",
        "how large an input must be for LRN to have an effect",
        check_halved,
        hints=(
            "With equal values the sum over a whole window is 5 a^2.",
            "Write (2 + alpha 5 a^2)^0.75 = 2 x 2^0.75 and take both sides to the power 4/3.",
        ),
        bugs=(
            Bug(
                "printed alpha",
                "that is for alpha = 1e-4; the source's is a fifth of it",
                old="VALUE_THAT_IS_HALVED = 174.3",
                new="VALUE_THAT_IS_HALVED = 77.98",
            ),
            Bug(
                "without the constant",
                "that is where y = a / 2 in all; the question is about half of a 2^-0.75",
                old="VALUE_THAT_IS_HALVED = 174.3",
                new="VALUE_THAT_IS_HALVED = 72.09",
            ),
            Bug(
                "the square",
                "that is a^2",
                old="VALUE_THAT_IS_HALVED = 174.3",
                new="VALUE_THAT_IS_HALVED = 30397.0",
            ),
            Bug(
                "scale doubled",
                "there the scale has doubled; y falls with its power 0.75 only: not enough",
                old="VALUE_THAT_IS_HALVED = 174.3",
                new="VALUE_THAT_IS_HALVED = 141.4",
            ),
            Bug(
                "one square",
                "that is for one square in the sum; a whole window holds five",
                old="VALUE_THAT_IS_HALVED = 174.3",
                new="VALUE_THAT_IS_HALVED = 389.9",
            ),
        ),
    ),
)
