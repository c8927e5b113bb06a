"""Cases: the shapes and settings of one call. The tuples hold those that every check tries; tests
draw more."""
from dataclasses import dataclass

from hypothesis import assume

from minitorch_alex.errors import ShapeError
from minitorch_alex.kernels import Window

from .compare import normal


@dataclass(frozen=True)
class WindowCase:
    """An image batch and a window over it; C and O are per group."""

    N: int = 2
    H: int = 6
    W: int = 5
    C: int = 2
    O: int = 2
    groups: int = 1
    kernel: tuple[int, int] = (3, 2)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    @property
    def win(self):
        return Window.of(self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)

    @property
    def x_shape(self):
        return self.N, self.H, self.W, self.C * self.groups

    @property
    def y_shape(self):
        return self.N, *self.win.out(self.H, self.W), self.O * self.groups

    def arrays(self):
        """x, w, b and a cotangent of y for a convolution."""
        O = self.O * self.groups
        return (normal(*self.x_shape), normal(O, self.C, *self.kernel), normal(O),
                normal(*self.y_shape, seed=1))

    def local_arrays(self):
        """x, w, b and a cotangent of y for a locally connected layer, which has no groups."""
        _, OH, OW, O = self.y_shape
        C = self.x_shape[3]
        return (normal(*self.x_shape), normal(OH, OW, O, C, *self.kernel), normal(OH, OW, O),
                normal(*self.y_shape, seed=1))


def fitting(case):
    """The case, if its window fits into its image; otherwise the drawn example is thrown away."""
    try:
        case.win.out(case.H, case.W)
    except ShapeError:
        assume(False)
    return case


CONV_CASES = (
    WindowCase(),
    WindowCase(padding=(1, 1), stride=(2, 3)),
    WindowCase(groups=2, padding=(1, 0)),
    WindowCase(kernel=(2, 5), padding=(0, 2), W=8, C=3),  # few channels, several outputs at once
    WindowCase(groups=3, stride=(2, 2), C=1),
    WindowCase(dilation=(2, 1), padding=(2, 1)),
    WindowCase(dilation=(2, 2), stride=(2, 1), H=7, W=6, padding=(1, 1)),
    WindowCase(H=8, W=8, kernel=(3, 3), stride=(4, 4), ceil_mode=True),
    WindowCase(kernel=(1, 1), padding=(1, 1)),
    WindowCase(kernel=(2, 2), stride=(3, 3), N=1),
)
# Layers of the paper's net with fewer channels out: blocks that are a part of an image or several.
LARGE_CONV_CASES = (
    WindowCase(N=2, H=40, W=40, C=16, O=8, groups=2, kernel=(5, 5), padding=(2, 2)),
    WindowCase(N=2, H=27, W=27, C=32, O=8, groups=2, kernel=(5, 5), padding=(2, 2)),
    WindowCase(N=1, H=227, W=227, C=3, O=8, kernel=(11, 11), stride=(4, 4)),
    WindowCase(N=5, H=13, W=13, C=64, O=16, kernel=(3, 3), padding=(1, 1)),
)
WINOGRAD_CASES = (
    WindowCase(kernel=(3, 3), padding=(1, 1), H=9, W=6, groups=2),
    WindowCase(kernel=(5, 5), padding=(2, 0), H=5, W=8, N=3),
    WindowCase(kernel=(3, 3), padding=(1, 1), H=5, W=9, N=5, groups=2),  # laid side by side
    WindowCase(kernel=(5, 5), H=9, W=9, C=3, O=1),
    WindowCase(kernel=(11, 11), stride=(4, 4), padding=(2, 0), H=22, W=15, ceil_mode=True),
)
POOL_CASES = (
    WindowCase(kernel=(3, 3), stride=(2, 2)),
    WindowCase(kernel=(3, 3), stride=(2, 2), padding=(1, 1), H=7),
    WindowCase(kernel=(3, 3), stride=(2, 2), H=6, W=8, ceil_mode=True),
    WindowCase(kernel=(2, 3), stride=(1, 2), padding=(1, 1)),
    WindowCase(kernel=(2, 2), stride=(2, 3), padding=(1, 1), H=6, ceil_mode=True),
)


@dataclass(frozen=True)
class NormCase:
    """Channels and window of a normalisation; C is per group."""

    C: int = 7
    size: int = 5
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 2.0
    groups: int = 1


LRN_CASES = tuple(
    NormCase(C, size, alpha, beta, k, groups)
    for alpha in (1e-4, 1.0)
    for C, size, beta, k, groups in (
        (7, 5, 0.75, 2.0, 1), (7, 4, 0.75, 2.0, 1), (3, 5, 0.75, 1.0, 1), (4, 4, 0.5, 1.0, 1),
        (5, 3, 0.75, 2.0, 2), (1, 3, 0.75, 1.0, 1), (40, 5, 0.75, 2.0, 1), (6, 1, 0.75, 2.0, 1),
        (3, 6, 0.75, 2.0, 2)))
