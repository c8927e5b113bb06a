"""The checks of lesson 7: dropout by both rules, colour noise, bits of label, a mask per step."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same


def check_dropout(m: ModuleType) -> Iterator[Case]:
    x = np.array([8.0, -4.0, 2.0, 6.0])
    kept = np.array([True, False, True, True])
    yield Same(
        "the rule of 2012 in training, p = 0.25",
        lambda: m.dropout(x.copy(), kept, 0.25, True, "2012"),
        np.array([8.0, 0.0, 2.0, 6.0]),
    )
    yield Same(
        "the rule of 2012 at test time, p = 0.25",
        lambda: m.dropout(x.copy(), kept, 0.25, False, "2012"),
        np.array([6.0, -3.0, 1.5, 4.5]),
    )
    yield Same(
        "inverted in training, p = 0.75",
        lambda: m.dropout(x.copy(), kept, 0.75, True, "inverted"),
        np.array([32.0, 0.0, 8.0, 24.0]),
    )
    yield Same(
        "inverted at test time", lambda: m.dropout(x.copy(), kept, 0.75, False, "inverted"), x
    )
    yield Same(
        "at test time kept may be None",
        lambda: m.dropout(x.copy(), None, 0.25, False, "2012"),
        np.array([6.0, -3.0, 1.5, 4.5]),
    )
    yield Same(
        "without a rule it is 2012",
        lambda: m.dropout(x.copy(), kept, 0.25, True),
        np.array([8.0, 0.0, 2.0, 6.0]),
    )
    gy = np.array([1.0, 2.0, 3.0, -4.0])
    yield Same(
        "backward, 2012, p = 0.75",
        lambda: m.dropout_backward(gy.copy(), kept, 0.75, "2012"),
        np.array([1.0, 0.0, 3.0, -4.0]),
    )
    yield Same(
        "backward, inverted, p = 0.75",
        lambda: m.dropout_backward(gy.copy(), kept, 0.75, "inverted"),
        np.array([4.0, 0.0, 12.0, -16.0]),
    )
    low = np.array([0.0, -1e30, 0.0, -1e30])
    both = np.array([True, True, False, False])
    for rule, factor in (("2012", 1.0), ("inverted", 4.0)):
        yield Same(
            f"zeros and large negative numbers, {rule}, p = 0.75",
            lambda r=rule: m.dropout(low.copy(), both, 0.75, True, r),
            np.array([0.0, -1e30 * factor, 0.0, 0.0]),
        )
        yield Same(
            f"backward with zeros and large negative numbers, {rule}, p = 0.75",
            lambda r=rule: m.dropout_backward(low.copy(), both, 0.75, r),
            np.array([0.0, -1e30 * factor, 0.0, 0.0]),
        )
    yield from _check_pair(m)
    yield Holds(
        "the mean of what is passed on: 2012 keeps 1 - p of it, inverted all", lambda: _means(m)
    )
    yield from _check_float32(m, x, kept, gy)
    yield Holds("the arguments are left alone", lambda: _untouched(m, x, gy, kept))


def _check_pair(m: ModuleType) -> Iterator[Case]:
    """<dropout(x), gy> = <x, dropout_backward(gy)>."""
    rng = np.random.default_rng(7)
    shape = (3, 4, 2, 5)
    x = rng.standard_normal(shape)
    gy = rng.standard_normal(shape)
    kept = rng.random(shape) >= 0.3
    for rule in ("2012", "inverted"):

        def adjoint(rule: str = rule) -> tuple[bool, str]:
            left = float((m.dropout(x.copy(), kept, 0.3, True, rule) * gy).sum())
            right = float((x * m.dropout_backward(gy.copy(), kept, 0.3, rule)).sum())
            text = f"<dropout(x), gy> = {left:.6g}, <x, dropout_backward(gy)> = {right:.6g}"
            return abs(left - right) < 1e-9, text

        yield Holds(
            f"forward and backward belong together on images (3, 4, 2, 5), {rule}", adjoint
        )


def _check_float32(
    m: ModuleType, x: np.ndarray, kept: np.ndarray, gy: np.ndarray
) -> Iterator[Case]:
    x = np.float32(x)
    gy = np.float32(gy)
    for rule in ("2012", "inverted"):
        yield Holds(
            f"float32 is kept in training, {rule}",
            lambda r=rule: _kept(m.dropout(x, kept, 0.3, True, r)),
        )
        yield Holds(
            f"float32 is kept at test time, {rule}",
            lambda r=rule: _kept(m.dropout(x, kept, 0.3, False, r)),
        )
        yield Holds(
            f"float32 is kept in backward, {rule}",
            lambda r=rule: _kept(m.dropout_backward(gy, kept, 0.3, r)),
        )


def _means(m: ModuleType) -> tuple[bool, str]:
    """Over 100,000 units of value 1, within 4 standard deviations of the mean of that many."""
    kept = np.random.default_rng(8).random(100_000) >= 0.2
    ones = np.ones(100_000)
    a, b = (
        float(m.dropout(ones.copy(), kept, 0.2, True, rule).mean())
        for rule in ("2012", "inverted")
    )
    near = 4 * np.sqrt(0.2 * 0.8 / 100_000)
    return abs(a - 0.8) < near and abs(b - 1) < near / 0.8, (
        f"100,000 units of value 1, p = 0.2: the mean is {a:.3f} by the rule of 2012 (expected "
        f"0.8) and {b:.3f} inverted (expected 1)"
    )


def _kept(result: np.ndarray) -> tuple[bool, str]:
    got = np.asarray(result).dtype
    return got == np.float32, f"float32 went in, {got} came out: a 64-bit NumPy number is involved"


def _untouched(m: ModuleType, x: np.ndarray, gy: np.ndarray, kept: np.ndarray) -> tuple[bool, str]:
    a = x.copy()
    g = gy.copy()
    k = kept.copy()
    for rule in ("2012", "inverted"):
        for training in (True, False):
            m.dropout(a, k, 0.25, training, rule)
        m.dropout_backward(g, k, 0.25, rule)
    same = np.array_equal(a, x) and np.array_equal(g, gy) and np.array_equal(k, kept)
    return same, "an argument was changed: x * kept makes a new array, x *= kept does not"


def check_pca_color(m: ModuleType) -> Iterator[Case]:
    one = np.array([11.0, 22.0, 33.0]).reshape(1, 3, 1, 1)
    axes = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    values = np.array([12100.0, 3025.0, 121.0])
    draw = np.array([[1.0, 2.0, -1.0]])
    yield Same(
        "the example",
        lambda: m.pca_color(one.copy(), axes, values, draw),
        np.array([20.0, 30.0, 29.0]).reshape(1, 3, 1, 1),
    )
    rng = np.random.default_rng(9)
    vectors = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    images = rng.normal(0, 60, (4, 3, 5, 2))
    draws = rng.standard_normal((4, 3))
    expected = np.empty_like(images)
    for n in range(4):
        colour = sum(0.1 * draws[n, i] * values[i] ** 0.5 * vectors[:, i] for i in range(3))
        for c in range(3):
            expected[n, c] = (images[n, c] + colour[c]) / 1.1
    yield Same(
        "four images and axes that are turned",
        lambda: m.pca_color(images.copy(), vectors, values, draws),
        expected,
    )
    low = np.where(images > 0, 0.0, 1e6)
    yield Same(
        "images of 0 and 1e6: the colour is what the example's black would get",
        lambda: m.pca_color(low, vectors, values, draws),
        (low + (expected * 1.1 - images)) / 1.1,
    )
    yield Holds(
        "float32 is kept",
        lambda: _kept(m.pca_color(images.astype(np.float32), vectors, values, draws)),
    )

    def alone() -> tuple[bool, str]:
        given = images.copy()
        m.pca_color(given, vectors, values, draws)
        return np.array_equal(given, images), "the images that were passed in have changed"

    yield Holds("the images are left alone", alone)


def check_bits(m: ModuleType) -> Iterator[Case]:
    yield Answer(
        "bits of label for each parameter", lambda: m.BITS_PER_PARAMETER, 0.19616, within=0.0006
    )


def check_layer(m: ModuleType) -> Iterator[Case]:
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]])
    kept = np.random.default_rng(1).random(x.shape) >= 0.25
    yield Same(
        "the first forward",
        lambda: m.DropoutLayer(0.25, 1).forward(x.copy()),
        np.where(kept, x / 0.75, 0.0),
    )

    def gradient() -> np.ndarray:
        layer = m.DropoutLayer(0.25, 1)
        layer.forward(x.copy())
        return layer.backward(np.ones_like(x))

    yield Same(
        "backward: the gradient passes the units that spoke in forward, and no others",
        gradient,
        np.where(kept, 1 / 0.75, 0.0),
    )

    def twice() -> np.ndarray:
        layer = m.DropoutLayer(0.25, 1)
        layer.forward(x.copy())
        return layer.backward(np.ones_like(x)) - layer.backward(np.ones_like(x))

    half = np.where(np.arange(12).reshape(2, 6) % 3 == 0, 0.0, -1e6)

    def of_zeros() -> np.ndarray:
        layer = m.DropoutLayer(0.25, 1)
        layer.forward(half.copy())
        return layer.backward(np.ones_like(half))

    yield Same(
        "an x with zeros in it: whether a unit spoke is not seen from its value",
        of_zeros,
        np.where(kept, 1 / 0.75, 0.0),
    )
    yield Same("a second backward gives the same again", twice, np.zeros_like(x))

    def anew() -> tuple[bool, str]:
        layer = m.DropoutLayer(0.5, 2)
        first, second = (layer.forward(np.ones((4, 100))) for _ in range(2))
        gx = layer.backward(np.ones((4, 100)))
        if np.array_equal(first, second):
            return False, "two forwards had the same mask: each step must silence different units"
        return np.array_equal(
            gx, second
        ), "after two forwards, backward does not use the mask of the second one"

    yield Holds("each forward draws a new mask, and backward belongs to the last one", anew)


EXERCISES = (
    Exercise(
        "7.1",
        "dropout, dropout_backward",
        "dropout by the rule of 2012 and inverted, and its gradient",
        check_dropout,
        hints=(
            "write the table of the text: rule on one side, training or test on the other, four "
            "results",
            "x * kept is x where kept is True and 0 elsewhere; p is the share that is silent, 1 "
            "- p what is left",
            "backward of y = c m x is gx = c m gy, with the same mask and the same factor as "
            "forward",
        ),
        bugs=(
            Bug(
                "silent and kept exchanged",
                "kept says who speaks; you silence those. Is there a ~ or a 1 - kept too many?",
                old="return x * kept * scale",
                new="return x * ~kept * scale",
            ),
            Bug(
                "inverted in training by both rules",
                "by the rule of 2012 nothing is divided in training; the correction comes at "
                "test time",
                old='scale = 1.0 if rule == "2012" else 1 / (1 - p)',
                new="scale = 1 / (1 - p)",
            ),
            Bug(
                "times p at test time",
                "p is the probability to be silent: what is left on average is 1 - p. At p = 0.5 "
                "nobody would have seen it",
                old='return x * (1 - p) if rule == "2012" else x',
                new='return x * p if rule == "2012" else x',
            ),
            Bug(
                "nothing done at test time",
                "by the rule of 2012 the outputs are multiplied by 1 - p at test time, or the "
                "next layer receives more than it was trained with",
                old='return x * (1 - p) if rule == "2012" else x',
                new="return x",
            ),
            Bug(
                "silent at test time",
                "at test time no unit is silent: is training looked at?",
                old="if not training:",
                new="if False:",
            ),
            Bug(
                "divided by p",
                "inverted dropout divides by the share that is kept, 1 - p, not by p",
                old='scale = 1.0 if rule == "2012" else 1 / (1 - p)',
                new='scale = 1.0 if rule == "2012" else 1 / p',
            ),
            Bug(
                "inverted and scaled at test time",
                "the inverted rule has corrected for it in training already: at test time it "
                "returns x",
                old='return x * (1 - p) if rule == "2012" else x',
                new="return x * (1 - p)",
            ),
            Bug(
                "backward scaled by both rules",
                "by the rule of 2012 the gradient passes as it is where the unit spoke",
                old='factor = 1.0 if rule == "2012" else 1 / (1 - p)',
                new="factor = 1 / (1 - p)",
            ),
            Bug(
                "backward without the factor",
                "forward divided by 1 - p, so the gradient is divided by it too",
                old='factor = 1.0 if rule == "2012" else 1 / (1 - p)',
                new="factor = 1.0",
            ),
            Bug(
                "backward without the mask",
                "no gradient reaches a unit that was silent",
                old="return gy * (kept * gy.dtype.type(factor))",
                new="return gy * gy.dtype.type(factor)",
            ),
        ),
    ),
    Exercise(
        "7.2",
        "pca_color",
        "colour noise along the axes of the training set's colours",
        check_pca_color,
        hints=(
            "first make the (N, 3) colours, then add them: shift[:, :, None, None] is the same "
            "for all pixels",
            "0.1 * draws * np.sqrt(eigenvalues) has a number for each image and axis; a product "
            "of matrices with eigenvectors.T makes colours of them",
            "convert the colours with .astype(images.dtype) before they are added",
        ),
        bugs=(
            Bug(
                "eigenvalues for their roots",
                "this is the paper's text: the eigenvalues are variances. The code takes their "
                "square roots, the widths in grey levels",
                old="np.sqrt(eigenvalues)) @",
                new="eigenvalues) @",
            ),
            Bug(
                "not divided by 1.1",
                "the last step is missing: the sum is divided by 1.1",
                old="return (images + shift) / images.dtype.type(1.1)",
                new="return images + shift",
            ),
            Bug(
                "only the image divided by 1.1",
                "the sum of image and colour is divided by 1.1, not the image alone",
                old="return (images + shift) / images.dtype.type(1.1)",
                new="return images / images.dtype.type(1.1) + shift",
            ),
            Bug(
                "only the colour divided by 1.1",
                "the sum of image and colour is divided by 1.1, not the colour alone",
                old="return (images + shift) / images.dtype.type(1.1)",
                new="return images + shift / images.dtype.type(1.1)",
            ),
            Bug(
                "the factor 0.1 is missing",
                "the noise is ten times too strong: 0.1 * draws",
                old="0.1 * draws",
                new="draws",
            ),
            Bug(
                "rows for columns",
                "axis i is the column eigenvectors[:, i]; you took row i. The noise is as strong "
                "as it should be and has wrong colours",
                old="np.sqrt(eigenvalues)) @ eigenvectors.T",
                new="np.sqrt(eigenvalues)) @ eigenvectors",
            ),
            Bug(
                "times the colour",
                "the image is multiplied by 1 + the noise; the noise is added",
                old="return (images + shift)",
                new="return images * (1 + shift)",
            ),
            Bug(
                "blue, green, red",
                "the three numbers of an axis are red, green, blue, in the order of the images' "
                "channels",
                old="np.sqrt(eigenvalues)) @ eigenvectors.T",
                new="np.sqrt(eigenvalues)) @ eigenvectors.T[:, ::-1]",
            ),
        ),
    ),
    Exercise(
        "7.3",
        "BITS_PER_PARAMETER",
        "how little information the labels contain",
        check_bits,
        hints=(
            "how many yes-or-no questions find one of 1000 classes? The logarithm to base 2 "
            "gives the number",
            "bits of one label, times images, divided by parameters",
        ),
        bugs=(
            Bug(
                "one bit a label",
                "this is labels for each parameter; a label among 1000 says more than one bit",
                old="np.log2(1000)",
                new="1",
            ),
            Bug(
                "natural logarithm",
                "bits are counted by the logarithm to base 2; np.log is the natural one",
                old="np.log2(1000)",
                new="np.log(1000)",
            ),
            Bug(
                "decimal logarithm",
                "bits are counted by the logarithm to base 2; this counts decimal digits",
                old="np.log2(1000)",
                new="np.log10(1000)",
            ),
            Bug(
                "parameters for each bit",
                "this is the reciprocal: parameters for each bit",
                old="1_200_000 * np.log2(1000) / 60_965_224",
                new="60_965_224 / (1_200_000 * np.log2(1000))",
            ),
            Bug(
                "1000 bits a label",
                "1000 classes are not 1000 bits: ten yes-or-no questions find one of 1024",
                old="np.log2(1000)",
                new="1000",
            ),
        ),
    ),
    Exercise(
        "7.4",
        "DropoutLayer",
        "a layer whose gradient is wrong: find out why",
        check_layer,
        hints=(
            "forward with x of ones, then backward with ones: print both; what should they have "
            "in common?",
            "count the calls of self.rng.random: how many masks are there in one step of "
            "training?",
            "forward has to remember its mask: self.kept",
        ),
        bugs=(
            Bug(
                "mask drawn again in backward",
                "backward makes a mask of its own: the gradient reaches units that were silent. "
                "Forward has to remember the one it used",
                old="return np.where(self.kept, gy / (1 - self.p), 0.0)",
                new="return np.where(self.rng.random(gy.shape) >= self.p, gy / (1 - self.p), 0.0)",
            ),
            Bug(
                "no factor in backward",
                "the mask is right now, but forward divides by 1 - p, and so must backward",
                old="return np.where(self.kept, gy / (1 - self.p), 0.0)",
                new="return np.where(self.kept, gy, 0.0)",
            ),
            Bug(
                "no mask in backward",
                "no gradient may reach a unit that was silent in forward",
                old="return np.where(self.kept, gy / (1 - self.p), 0.0)",
                new="return gy / (1 - self.p)",
            ),
            Bug(
                "always the same mask",
                "forward and backward agree, but each forward gets the same mask: the other "
                "units never speak",
                old="self.kept = self.rng.random(x.shape) >= self.p",
                new="self.kept = np.random.default_rng(1).random(x.shape) >= self.p",
            ),
        ),
    ),
)
