"""Lesson 7, dropout and other remedies: the solutions. Read them after yours pass the check."""
import numpy as np


def dropout(
    x: np.ndarray, kept: np.ndarray, p: float, training: bool, rule: str = "2012"
) -> np.ndarray:
    """7.1, first half: dropout with a given mask, by either rule.

    Commentary: two rules, one idea: what the next layer receives must have the same mean in
    training and at test time. The paper corrects at test time (times 1 - p), today one corrects in
    training (divided by 1 - p), so that a trained network can be used without knowing that there
    was dropout. The common mistakes are p for 1 - p, which nobody sees at p = 0.5 (that is why the
    check has p = 0.25), and silencing units at test time. The factor is a Python number: NumPy
    then keeps float32, which np.float64(1 - p) would not.
    """
    if not training:
        return x * (1 - p) if rule == "2012" else x
    scale = 1.0 if rule == "2012" else 1 / (1 - p)
    return x * kept * scale


def dropout_backward(gy: np.ndarray, kept: np.ndarray, p: float, rule: str = "2012") -> np.ndarray:
    """7.1, second half: the same mask and the same factor, because y is linear in x.

    Commentary: y = c m x, so gx = c m gy: backward is forward applied to the gradient. The rule
    decides the factor here as it does there.
    """
    factor = 1.0 if rule == "2012" else 1 / (1 - p)
    return gy * (kept * gy.dtype.type(factor))


def pca_color(
    images: np.ndarray, eigenvectors: np.ndarray, eigenvalues: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """7.2: colour noise along the main axes of the colours, as the released code of 2012 has it.

    Commentary: the paper's text multiplies by the eigenvalues, which are variances; its code by
    their roots, which are in grey levels like the pixels. The axes are the columns of the matrix:
    draws @ eigenvectors.T adds column i times number i. With the rows instead, the noise is
    equally strong but has wrong colours, and no image looks broken: such a mistake can stay for
    years. There is one colour per image, not one per pixel: the same light falls on the whole
    image.
    """
    shift = (0.1 * draws * np.sqrt(eigenvalues)) @ eigenvectors.T                # (N, 3)
    shift = shift.astype(images.dtype)[:, :, None, None]                         # (N, 3, 1, 1)
    return (images + shift) / images.dtype.type(1.1)


# 7.3: 1,200,000 labels of log2(1000) = 9.966 bits are 11.96 million bits, for 60.97 million
# parameters.
BITS_PER_PARAMETER = 1_200_000 * np.log2(1000) / 60_965_224


class DropoutLayer:
    """7.4: a layer with inverted dropout that draws its own masks.

    Commentary: the given layer drew a second mask in backward. Then the gradient reaches units
    that were silent, and half of those that spoke get none: what is computed is the gradient of
    nothing. No number looks strange, and training even progresses, slowly, since both masks keep a
    quarter of the units: only a gradient check sees it. The package stores no mask at all: it
    keeps the key of a hash, and makes the same mask again.
    """

    def __init__(self, p: float, seed: int) -> None:
        self.p = p
        self.rng = np.random.default_rng(seed)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.kept = self.rng.random(x.shape) >= self.p
        return np.where(self.kept, x / (1 - self.p), 0.0)

    def backward(self, gy: np.ndarray) -> np.ndarray:
        return np.where(self.kept, gy / (1 - self.p), 0.0)
