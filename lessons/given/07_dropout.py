"""Lesson 7, dropout and the other remedies against learning by heart: the exercises.

    python -m minitorch_alex.check 07            are they right?
    python -m minitorch_alex.check 7.1 --hint    a nudge

7.1 and 7.2 become part of your own AlexNet in lesson 09. Arrays are NumPy arrays; do not change
the ones you are given, and keep their dtype: float32 in, float32 out.
"""
import numpy as np


def dropout(
    x: np.ndarray, kept: np.ndarray, p: float, training: bool, rule: str = "2012"
) -> np.ndarray:
    """7.1, first half: dropout with a given mask.

    x is of any shape, kept a boolean array of the same shape: True where the unit speaks, False
    where it is silent. p is the probability that a unit is silent (not that it is kept). rule is
    "2012" or "inverted":

        rule          training                           test (training is False)
        "2012"        x where kept, else 0               x (1 - p)
        "inverted"    x / (1 - p) where kept, else 0     x

    At test time kept is not used and may be None.

        x = np.array([8.0, -4.0, 2.0, 6.0]); kept = np.array([True, False, True, True])
        dropout(x, kept, 0.25, True, "2012")           array([8., 0., 2., 6.])
        dropout(x, kept, 0.25, False, "2012")          array([ 6. , -3. ,  1.5,  4.5])
        dropout(x, kept, 0.5, True, "inverted")        array([16., 0., 4., 12.])
    """
    raise NotImplementedError("exercise 7.1: dropout")


def dropout_backward(gy: np.ndarray, kept: np.ndarray, p: float, rule: str = "2012") -> np.ndarray:
    """7.1, second half: the gradient of x in training, from gy, the gradient of y = dropout(x,
    kept, p, True, rule).

    gy, kept and the result have the shape of x.

        gy = np.array([1.0, 2.0, 3.0, -4.0]); kept = np.array([True, False, True, True])
        dropout_backward(gy, kept, 0.5, "2012")        array([ 1., 0., 3., -4.])
        dropout_backward(gy, kept, 0.5, "inverted")    array([ 2., 0., 6., -8.])
    """
    raise NotImplementedError("exercise 7.1: dropout_backward")


def pca_color(
    images: np.ndarray, eigenvectors: np.ndarray, eigenvalues: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """7.2: colour noise along the main axes of the colours, as the released code of 2012 has it.

        images        (N, 3, H, W), pixels 0..255 minus the mean image
        eigenvectors  (3, 3), of the covariance of the training set's pixels: eigenvectors[:, i],
                      a column, is axis i; its three numbers are red, green and blue
        eigenvalues   (3,), the variance along each axis, in squared grey levels
        draws         (N, 3), standard normal numbers, one for each image and axis

    Image n gets one colour c_n, the same for all of its pixels, and is then divided by 1.1:

        c_n = sum over i of   0.1 * draws[n, i] * sqrt(eigenvalues[i]) * eigenvectors[:, i]
        result[n, c, h, w] = (images[n, c, h, w] + c_n[c]) / 1.1

    Example: one image of one pixel, the axes are red, green and blue themselves (in another
    order).

        images = np.array([11.0, 22.0, 33.0]).reshape(1, 3, 1, 1)
        eigenvectors = np.array([[0.0, 1.0, 0.0],         # its columns: green, red, blue
                                 [1.0, 0.0, 0.0],
                                 [0.0, 0.0, 1.0]])
        eigenvalues = np.array([12100.0, 3025.0, 121.0])  # widths 110, 55, 11
        draws = np.array([[1.0, 2.0, -1.0]])              # so 11 to green, 11 to red, -1.1 to blue
        pca_color(...).ravel()                            array([20., 30., 29.])

    The result has the dtype of images, whatever the dtypes of the others.
    """
    raise NotImplementedError("exercise 7.2: pca_color")


# 7.3: how many bits of label does the training set of ImageNet contain per parameter of AlexNet?
# There are 1,200,000 images with one of 1000 classes each, and 60,965,224 parameters. Give three
# digits.
BITS_PER_PARAMETER = None


class DropoutLayer:
    """7.4: a layer with inverted dropout that draws its own masks. Its forward is right. A
    gradient check of it fails, and networks with it learn badly. Find out why, and fix it.

        layer = DropoutLayer(0.5, seed=1)
        y = layer.forward(x)          x of any shape; a new mask at each call
        gx = layer.backward(gy)       gradient of the x of the last forward; may be called twice

    Keep drawing the masks as they are drawn here, with one call of self.rng.random(x.shape) per
    forward: the check compares the result of the first forward with that.
    """

    def __init__(self, p: float, seed: int) -> None:
        self.p = p
        self.rng = np.random.default_rng(seed)

    def forward(self, x: np.ndarray) -> np.ndarray:
        kept = self.rng.random(x.shape) >= self.p
        return np.where(kept, x / (1 - self.p), 0.0)

    def backward(self, gy: np.ndarray) -> np.ndarray:
        kept = self.rng.random(gy.shape) >= self.p
        return np.where(kept, gy / (1 - self.p), 0.0)
