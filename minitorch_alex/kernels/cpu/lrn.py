"""Local response normalisation, across channels and within a map."""
import numpy as np

from ..window import Window
from .blocks import image_blocks, row_tiles
from .elementwise import close_gate
from .pool import sum_along
from .product import matmul_narrow

BAND = 32  # channels of one matrix product

Band = tuple[slice, slice, np.ndarray]  # from these channels, to those, by this matrix


def _power(scale: np.ndarray, beta: float, out: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """out = scale^beta; the paper's 3/4 by square roots, which are several times cheaper than a
    power: s^(3/4) = s^(1/2) s^(1/4).

    What `spare` holds is lost. It may be `scale`. (Memory that is in the cache anyway: a new array
    would drive something else out.)
    """
    if beta != 0.75:
        return np.power(scale, beta, out=out)
    np.sqrt(scale, out=out)
    np.sqrt(out, out=spare)
    return np.multiply(out, spare, out=out)


def _bands(C: int, size: int, groups: int, factor: float, dtype: np.dtype,
           mirrored: bool = False) -> list[Band]:
    """The window sum over channels, times a factor, as matrix products.

    Channel i collects from j = i - size//2 ... i - size//2 + size - 1, inside i's group: row i of
    x^2 times a matrix with `factor` at those [j, i] and zeros elsewhere. For size 3 and factor 1:

              i = 0 1 2 3 4 5
        j = 0     1 1                 A C x C matrix would be zero almost everywhere. So it is cut
        j = 1     1 1 1               into pieces of BAND channels i, each with those channels j
        j = 2       1 1 1             that they see.
        j = 3         1 1 1
        j = 4           1 1 1
        j = 5             1 1

    `mirrored` transposes it: j for the channels whose windows hold i, which for an even size are
    not the same.
    """
    before = size // 2
    after = size - 1 - size // 2
    if mirrored:
        before, after = after, before
    bands = []
    cg = C // groups
    for g0 in range(0, C, cg):
        for c0 in range(g0, g0 + cg, BAND):
            to = slice(c0, min(c0 + BAND, g0 + cg))
            source = slice(max(g0, to.start - before), min(g0 + cg, to.stop + after))
            j = np.arange(source.start, source.stop)[:, None]
            i = np.arange(to.start, to.stop)[None, :]
            inside = (j >= i - before) & (j <= i + after)
            bands.append((source, to, inside * dtype.type(factor)))
    return bands


def _sum_windows(values: np.ndarray, bands: list[Band], sums: np.ndarray) -> None:
    """sums = the values (rows, C) collected by the bands.

    The zeros of a band multiply too, and 0 times infinity is NaN: one infinite channel spoils all
    of its band. So where a number is not finite, only the channels of a window are added.
    """
    finite = True
    for source, to, band in bands:
        matmul_narrow(values[:, source], band, out=sums[:, to])
        # Since it spoils all of them, the first channel of the band shows it.
        finite = finite and bool(np.isfinite(sums[:, to.start].sum()))
    if finite:
        return
    for source, to, band in bands:
        sums[:, to] = 0
        for j, factors in enumerate(band, start=source.start):
            seen = np.flatnonzero(factors)  # the channels whose windows hold j
            sums[:, to.start + seen] += values[:, j:j + 1] * factors[seen]


def lrn(x: np.ndarray, size: int, alpha: float, beta: float, k: float,
        groups: int) -> tuple[np.ndarray, np.ndarray]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over the channel window).

    x (N,H,W,C)  ->  y (N,H,W,C), scale (N,H,W,C)
    """
    y = np.empty_like(x)
    scale = np.empty_like(x)
    _lrn(x, size, alpha, beta, k, groups, y, scale)
    return y, scale


def lrn_values(x: np.ndarray, size: int, alpha: float, beta: float, k: float,
               groups: int) -> tuple[np.ndarray, None]:
    """`lrn` where no backward pass follows: the scale of a tile lies where its y will be."""
    y = np.empty_like(x)
    _lrn(x, size, alpha, beta, k, groups, y, y)
    return y, None


def _lrn(x: np.ndarray, size: int, alpha: float, beta: float, k: float, groups: int,
         y: np.ndarray, scale: np.ndarray) -> None:
    C = x.shape[3]
    x_rows = x.reshape(-1, C)  # (N, H, W, C) -> (N*H*W, C)
    y_rows = y.reshape(-1, C)  # (N, H, W, C) -> (N*H*W, C), a view: written there, it stands in y
    s_rows = scale.reshape(-1, C)  # (N, H, W, C) -> (N*H*W, C), a view too
    bands = _bands(C, size, groups, alpha, x.dtype)

    def body(t: slice) -> None:
        squares = np.square(x_rows[t])
        part = s_rows[t]
        _sum_windows(squares, bands, part)
        part += k
        # In inference y and scale are the same memory: from here on the scale is not needed.
        power = _power(part, beta, out=squares, spare=y_rows[t])
        np.divide(x_rows[t], power, out=y_rows[t])

    row_tiles(len(x_rows), C, body)


def lrn_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                 beta: float, groups: int) -> np.ndarray:
    """gx_i = gy_i scale_i^-beta - 2 alpha beta x_i sum_j gy_j x_j scale_j^(-beta-1), over the j
    whose windows hold i.

    gy, x, scale (N,H,W,C)  ->  gx (N,H,W,C)
    """
    return _lrn_backward(gy, x, scale, size, alpha, beta, groups, of_relu=False)


def lrn_backward_of_relu(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                         beta: float, groups: int) -> np.ndarray:
    """`lrn_backward` for an x that is a ReLU's result, and then that ReLU's gradient, while a tile
    is in the cache (functional/gates.py)."""
    return _lrn_backward(gy, x, scale, size, alpha, beta, groups, of_relu=True)


def _lrn_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                  beta: float, groups: int, of_relu: bool) -> np.ndarray:
    C = x.shape[3]
    gx = np.empty_like(x)
    # (N, H, W, C) -> (N*H*W, C)
    x_rows, g_rows, s_rows, gx_rows = (a.reshape(-1, C) for a in (x, gy, scale, gx))
    bands = _bands(C, size, groups, -2 * alpha * beta, x.dtype, mirrored=True)

    def body(t: slice) -> None:
        part = gx_rows[t]
        direct = np.empty_like(part)
        cross = np.empty_like(part)
        power = _power(s_rows[t], beta, out=direct, spare=cross)
        np.divide(g_rows[t], power, out=direct)      # gy scale^-beta
        np.multiply(direct, x_rows[t], out=cross)
        cross /= s_rows[t]                           # gy x scale^(-beta-1)
        _sum_windows(cross, bands, part)
        part *= x_rows[t]
        part += direct
        if of_relu:
            close_gate(part, x_rows[t])

    row_tiles(len(x_rows), C, body)
    return gx


def _box_sum(values: np.ndarray, size: int, mirrored: bool = False) -> np.ndarray:
    """The sum over rows h - size//2 ... h - size//2 + size - 1 and the same columns, zeros outside
    the map: (n,H,W,C) -> (n,H,W,C). Mirrored, over the cells whose windows hold (h, w)."""
    before = size - 1 - size // 2 if mirrored else size // 2
    win = Window((size, size), padding=(before, before))
    middle = np.empty(values.shape, values.dtype)
    total = np.empty(values.shape, values.dtype)
    sum_along(values, win, 1, middle)
    sum_along(middle, win, 0, total)
    return total


def lrn_within(x: np.ndarray, size: int, alpha: float, beta: float,
               k: float) -> tuple[np.ndarray, np.ndarray]:
    """y = x scale^-beta with scale = k + alpha * (sum of x^2 over size x size pixels of one map).

    x (N,H,W,C)  ->  y (N,H,W,C), scale (N,H,W,C)
    """
    y = np.empty_like(x)
    scale = np.empty_like(x)
    _lrn_within(x, size, alpha, beta, k, y, scale)
    return y, scale


def lrn_within_values(x: np.ndarray, size: int, alpha: float, beta: float,
                      k: float) -> tuple[np.ndarray, None]:
    """`lrn_within` where no backward pass follows: the scale lies where y will be."""
    y = np.empty_like(x)
    _lrn_within(x, size, alpha, beta, k, y, y)
    return y, None


def _lrn_within(x: np.ndarray, size: int, alpha: float, beta: float, k: float, y: np.ndarray,
                scale: np.ndarray) -> None:
    def body(n0: int, n1: int) -> None:
        n = slice(n0, n1)
        squares = np.square(x[n])
        np.multiply(_box_sum(squares, size), alpha, out=scale[n])
        scale[n] += k
        # In inference y and scale are the same memory: from here on the scale is not needed.
        power = _power(scale[n], beta, out=squares, spare=y[n])
        np.divide(x[n], power, out=y[n])

    image_blocks(len(x), 4 * x.nbytes // max(1, len(x)), body)  # x, scale, y and one between them


def lrn_within_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int, alpha: float,
                        beta: float) -> np.ndarray:
    """As `lrn_backward`, with the cells whose windows hold a cell in place of the channels.

    gy, x, scale (N,H,W,C)  ->  gx (N,H,W,C)
    """
    return _lrn_within_backward(gy, x, scale, size, alpha, beta, of_relu=False)


def lrn_within_backward_of_relu(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int,
                                alpha: float, beta: float) -> np.ndarray:
    """`lrn_within_backward`, and then the gradient of the ReLU that x is the result of."""
    return _lrn_within_backward(gy, x, scale, size, alpha, beta, of_relu=True)


def _lrn_within_backward(gy: np.ndarray, x: np.ndarray, scale: np.ndarray, size: int,
                         alpha: float, beta: float, of_relu: bool) -> np.ndarray:
    gx = np.empty_like(x)

    def body(n0: int, n1: int) -> None:
        n = slice(n0, n1)
        direct = np.empty_like(gx[n])
        power = _power(scale[n], beta, out=direct, spare=gx[n])
        np.divide(gy[n], power, out=direct)
        np.multiply(_box_sum(direct * x[n] / scale[n], size, mirrored=True), x[n], out=gx[n])
        gx[n] *= -2 * alpha * beta
        gx[n] += direct
        if of_relu:
            close_gate(gx[n], x[n])

    image_blocks(len(x), 4 * x.nbytes // max(1, len(x)), body)
    return gx
