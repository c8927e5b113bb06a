"""Pooling. A window's maximum is the maximum of its rows' maxima, so each axis is done by itself:
K + K comparisons per output in place of K K. The same holds for sums."""
from collections.abc import Callable

import numpy as np

from ..window import Window
from ..workers import get_threads
from .blocks import BLOCK, as_bits, image_blocks, tiles

Winners = tuple[np.ndarray, np.ndarray]  # which tap won: along the columns, along the rows

# NumPy copies an operand with gaps into a buffer, several rows at a time, where a row is shorter
# than the buffer. For rows of some hundred numbers this takes longer than calculating where they
# are; for rows of a few dozen it is faster. NumPy's own buffer has 8,192 numbers.
BUFFER = 1024


def _pool_blocks(total: int, image_bytes: int, body: Callable[[int, int], object]) -> None:
    """`image_blocks` with NumPy's buffer of BUFFER numbers, and blocks of another size.

    One thread takes a third of a block: with intermediate results and truth values that fits the
    second-level cache. Several threads take two, because the fewer the calls of NumPy, the less
    often they wait for Python's lock, and that costs them more than the slower memory.
    """
    def with_buffer(n0: int, n1: int) -> None:
        before = np.setbufsize(BUFFER)  # of this thread alone
        try:
            body(n0, n1)
        finally:
            np.setbufsize(before)

    block = BLOCK // 3 if get_threads() == 1 else 2 * BLOCK
    image_blocks(total, image_bytes, with_buffer, block)


def _at(axis: int, part: slice) -> tuple[slice, ...]:
    """The index of a part of the rows (axis 0) or columns (axis 1) of images (N,H,W,C)."""
    return *(slice(None),) * (axis + 1), part


# Maximum


def max_pool2d(x: np.ndarray, win: Window) -> tuple[np.ndarray, Winners]:
    """y[n,oh,ow,c] = the largest of the window; of equal ones the first, row by row, as torch.

    Columns go first, then rows: the best of each row, and then the first row that has the best, is
    the first in row-major order. The other way round it would be the first in column-major order.
    x (N,H,W,C)  ->  y (N,OH,OW,C), saved: the winning columns (N,H,OW,C) and rows (N,OH,OW,C)
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    tap_dtype = np.min_scalar_type(max(win.kernel))  # one byte, up to kernels of 255
    y = np.empty((N, OH, OW, C), x.dtype)
    won_column = np.empty((N, H, OW, C), tap_dtype)
    won_row = np.empty((N, OH, OW, C), tap_dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), x.dtype)
        for with_nan in (False, True):
            _max_along(x[n0:n1], win, 1, middle, won_column[n0:n1], with_nan)
            _max_along(middle, win, 0, y[n0:n1], won_row[n0:n1], with_nan)
            if not np.isnan(y[n0:n1].max(initial=-np.inf)):  # y is small: cheap to ask
                break

    _pool_blocks(N, 2 * H * W * C * x.itemsize, body)
    return y, (won_column, won_row)


def max_pool2d_of_relu(x: np.ndarray, win: Window) -> tuple[np.ndarray, Winners]:
    """`max_pool2d` of an x that is a ReLU's result, with that ReLU's gradient in its own: where the
    maximum is not positive no row wins, so nothing is handed back (functional/gates.py)."""
    y, (won_column, won_row) = max_pool2d(x, win)
    # no kernel has that many taps, see `tap_dtype`
    nobody = won_row.dtype.type(np.iinfo(won_row.dtype).max)
    flat_y = y.reshape(-1)          # (N, OH, OW, C) -> (N*OH*OW*C,)
    flat_row = won_row.reshape(-1)  # (N, OH, OW, C) -> (N*OH*OW*C,), a view: written in place

    def body(t: slice) -> None:
        closed = flat_y[t] <= 0  # False for a NaN, which passes its gradient on
        np.maximum(flat_row[t], np.multiply(closed.view(np.uint8), nobody), out=flat_row[t])

    tiles(y.size, body)
    return y, (won_column, won_row)


def max_pool2d_values(x: np.ndarray, win: Window) -> tuple[np.ndarray, None]:
    """`max_pool2d` where no backward pass follows. No winners are noted, so the order does not
    matter, and rows go first: whole rows of memory are compared, and at stride 2 the pass along the
    columns has only half of the rows to do.

    x (N,H,W,C)  ->  y (N,OH,OW,C), saved: None
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = np.empty((N, OH, OW, C), x.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, OH, W, C), x.dtype)
        _max_along(x[n0:n1], win, 0, middle)
        _max_along(middle, win, 1, y[n0:n1])

    _pool_blocks(N, 2 * H * W * C * x.itemsize, body)
    return y, None


def _phases(cells: np.ndarray, win: Window, axis: int) -> list[np.ndarray]:
    """Rows (axis 0) or columns (axis 1) of images, those with the same remainder modulo the stride
    S together: what a tap sees lies in one phase, without gaps. S = 2, K = 3 on 7 columns:

        phase 0   0 2 4 6     tap 0 sees 0 2 4, tap 2 sees 2 4 6
        phase 1   1 3 5       tap 1 sees 1 3 5

    Rows stay where they are. Columns are copied where windows overlap (K > S), on one thread: side
    by side they are one stretch of memory, whereas with gaps each of NumPy's loops has only C steps,
    and starting a loop takes as long as a hundred steps. On several threads the copies would cost
    more, in waiting for Python's lock, than they save.
    """
    S = win.stride[axis]
    phases = [cells[_at(axis, slice(r, None, S))] for r in range(S)]
    if axis == 1 and win.kernel[axis] > S > 1 and get_threads() == 1:
        return [phase.copy() for phase in phases]
    return phases


def _tap(win: Window, axis: int, k: int, size: int, out: int) -> tuple[slice, int, slice]:
    """`Window.tap` in phases: (slice of outputs, phase, slice of its rows or columns)."""
    S = win.stride[axis]
    outs, ins = win.tap(axis, k, size, out)
    return outs, ins.start % S, slice(ins.start // S, (ins.stop - 1) // S + 1)


def _max_along(source: np.ndarray, win: Window, axis: int, best: np.ndarray,
               won: np.ndarray | None = None, with_nan: bool = False) -> None:
    """best = max over the taps of one axis (0 rows, 1 columns), won = the first such tap, if asked.

    NaN is larger than nothing, but stays the maximum. Only `with_nan` is its tap noted, of several
    the last, as in PyTorch: max_pool2d asks for that where its result has one.
    """
    size = source.shape[axis + 1]
    out = best.shape[axis + 1]
    phases = _phases(source, win, axis)
    taps = []
    for k in range(win.kernel[axis]):
        outs, phase, cells = _tap(win, axis, k, size, out)
        taps.append((k, outs, phases[phase][_at(axis, cells)]))
    full = [outs == slice(0, out) for _, outs, _ in taps[:2]]  # the tap is a pixel in every window
    if won is not None and full != [True, True]:
        won.fill(0)
    if full == [True, True]:  # compare these two: nothing has to be copied or filled first
        first = taps[0][2]
        second = taps[1][2]
        if won is not None:
            _larger(second, first, with_nan, out=_truths(won))  # true is 1: tap 1
        np.maximum(first, second, out=best)
        taps = taps[2:]
    elif full[0]:
        np.copyto(best, taps[0][2])
        taps = taps[1:]
    else:
        best.fill(-np.inf)  # what lies in the padding never wins, not even where all is -inf
        if won is not None:
            _start_at_pixels(won, win, axis, size)
    for k, outs, there in taps:
        here = best[_at(axis, outs)]
        if won is not None:
            _note_winner(won[_at(axis, outs)], _larger(there, here, with_nan), k)
        np.maximum(here, there, out=here)


def _truths(won: np.ndarray) -> np.ndarray:
    """What a comparison may write to: the bytes of `won` as truth values, where it has bytes."""
    return won.view(bool) if won.itemsize == 1 else won


def _larger(there: np.ndarray, here: np.ndarray, with_nan: bool,
            out: np.ndarray | None = None) -> np.ndarray:
    """Where `there` is larger than `here`, or NaN, if asked."""
    larger = np.greater(there, here, out=out)
    if with_nan:
        np.logical_or(larger, np.isnan(there), out=larger)
    return larger


def _start_at_pixels(won: np.ndarray, win: Window, axis: int, size: int) -> None:
    """won = the first tap of each window that is a pixel, in place of 0."""
    for o, k in enumerate(_first_taps(win, axis, size, won.shape[axis + 1])):
        if k:
            won[_at(axis, slice(o, o + 1))] = k


def _note_winner(won: np.ndarray, larger: np.ndarray, k: int) -> None:
    """won = k where tap k is larger than those before it. Since k grows, the largest of k where a
    tap was larger, else 0, is the last such tap, the first of equal ones: cheaper than a masked
    copy. `larger` is read as bytes of 0 and 1, which NumPy multiplies at once; truth values it
    would turn into numbers first, piece by piece."""
    number = np.multiply(larger.view(np.uint8), won.dtype.type(k))
    np.maximum(won, number, out=won)


def _first_taps(win: Window, axis: int, size: int, out: int) -> np.ndarray:
    """(OH,) or (OW,): for each window along an axis the first tap that sees a pixel, or the number
    of taps where none does."""
    first = np.full(out, win.kernel[axis])
    for k in reversed(range(win.kernel[axis])):
        outs, _ = win.tap(axis, k, size, out)
        first[outs] = k
    return first


def max_pool2d_backward(gy: np.ndarray, saved: Winners, x_shape: tuple[int, ...],
                        win: Window) -> np.ndarray:
    """gx: each gradient goes to the winning row, then to the winning column.

    gy (N,OH,OW,C)  saved: see max_pool2d  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x_shape
    OW = gy.shape[2]
    won_column, won_row = saved
    gx = np.empty(x_shape, gy.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), gy.dtype)
        _give_to_winners(gy[n0:n1], won_row[n0:n1], win, 0, middle)
        _give_to_winners(middle, won_column[n0:n1], win, 1, gx[n0:n1])

    _pool_blocks(N, 2 * H * W * C * gy.itemsize, body)
    return gx


def _give_to_winners(g: np.ndarray, won: np.ndarray, win: Window, axis: int,
                     gx: np.ndarray) -> None:
    """gx = each gradient at the cell that won along one axis; what gx held before does not matter.

    Usually the first S taps see every cell once, and there is nothing to add to yet: they write.
    This saves filling gx with zeros and reading it again. S = 2, K = 3 on 7 cells:

        cell       0 1 2 3 4 5 6
        window 0   0 1 2                 tap 0 writes cells 0 2 4, and 0 to cell 6
        window 1       0 1 2             tap 1 writes cells 1 3 5
        window 2           0 1 2         tap 2 adds to cells 2 4 6

    With padding, dilation or gaps between the windows they do not, and all taps add to zeros.
    """
    writing = _writing_taps(win, axis)
    if not writing:
        gx[...] = 0
    for k in range(win.kernel[axis]):
        outs, ins = win.tap(axis, k, gx.shape[axis + 1], g.shape[axis + 1])
        here = as_bits(g[_at(axis, outs)])
        wins = won[_at(axis, outs)] == k
        if k in writing:
            np.multiply(here, wins, out=as_bits(gx)[_at(axis, ins)])
            gx[_at(axis, _beyond(ins, win.stride[axis]))] = 0
        else:  # tap by tap the cells differ, so no addition is lost
            gx[_at(axis, ins)] += (here * wins).view(g.dtype)


def _writing_taps(win: Window, axis: int) -> range:
    """The taps that see every cell once between them, if there are such: the first S."""
    K = win.kernel[axis]
    S = win.stride[axis]
    simple = K >= S and win.padding[axis] == 0 and win.dilation[axis] == 1
    return range(S if simple else 0)


def _beyond(seen: slice, stride: int) -> slice:
    """The cells that a tap would see, after those that it does see, if there were more windows."""
    return slice(seen.stop - 1 + stride, None, stride)


# Average


def avg_pool2d(x: np.ndarray, win: Window, count_include_pad: bool) -> np.ndarray:
    """y = each window's sum / its number of cells in the image (and in its padding, if counted).

    x (N,H,W,C)  ->  y (N,OH,OW,C)
    """
    N, H, W, C = x.shape
    OH, OW = win.out(H, W)
    y = np.empty((N, OH, OW, C), x.dtype)
    cells = _divisors(win, H, W, count_include_pad, x.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), x.dtype)
        sum_along(x[n0:n1], win, 1, middle)
        sum_along(middle, win, 0, y[n0:n1])
        y[n0:n1] /= cells

    _pool_blocks(N, 2 * H * W * C * x.itemsize, body)
    return y


def avg_pool2d_backward(gy: np.ndarray, x_shape: tuple[int, ...], win: Window,
                        count_include_pad: bool) -> np.ndarray:
    """gx: each cell receives gy / cells from every window that saw it.

    gy (N,OH,OW,C)  x_shape (N,H,W,C)  ->  gx (N,H,W,C)
    """
    N, H, W, C = x_shape
    OW = gy.shape[2]
    gx = np.empty(x_shape, gy.dtype)
    cells = _divisors(win, H, W, count_include_pad, gy.dtype)

    def body(n0: int, n1: int) -> None:
        middle = np.empty((n1 - n0, H, OW, C), gy.dtype)
        spread_along(gy[n0:n1] / cells, win, 0, middle)
        spread_along(middle, win, 1, gx[n0:n1])

    _pool_blocks(N, 2 * H * W * C * gy.itemsize, body)
    return gx


def _divisors(win: Window, H: int, W: int, count_include_pad: bool, dtype: np.dtype) -> np.ndarray:
    """(OH,OW,1): by how many cells each window's sum is divided."""
    sides = []
    for axis, (size, out) in enumerate(zip((H, W), win.out(H, W), strict=True)):
        P = win.padding[axis]
        start = np.arange(out) * win.stride[axis] - P
        stop = np.minimum(start + win.kernel[axis], size + P)
        if not count_include_pad:
            start = np.maximum(start, 0)
            stop = np.minimum(stop, size)
        sides.append(stop - start)
    return np.outer(sides[0], sides[1])[:, :, None].astype(dtype)


def sum_along(source: np.ndarray, win: Window, axis: int, total: np.ndarray) -> None:
    """total = sum over the taps of one axis (0 rows, 1 columns)."""
    size = source.shape[axis + 1]
    out = total.shape[axis + 1]
    taps = range(win.kernel[axis])
    seen = [win.tap(axis, k, size, out) for k in taps]
    if len(seen) > 1 and seen[0][0] == seen[1][0] == slice(0, out):
        # Two taps that are pixels in every window: their sum saves filling with zeros, and the
        # additions to them.
        np.add(source[_at(axis, seen[0][1])], source[_at(axis, seen[1][1])], out=total)
        taps = taps[2:]
    else:
        total[...] = 0
    for k in taps:
        outs, ins = seen[k]
        total[_at(axis, outs)] += source[_at(axis, ins)]


def spread_along(source: np.ndarray, win: Window, axis: int, total: np.ndarray) -> None:
    """The transpose of `sum_along`: each output is added to the inputs that its window saw. As in
    `_give_to_winners`, the first S taps write, where they see every cell once."""
    writing = _writing_taps(win, axis)
    if not writing:
        total[...] = 0
    for k in range(win.kernel[axis]):
        outs, ins = win.tap(axis, k, total.shape[axis + 1], source.shape[axis + 1])
        here = source[_at(axis, outs)]
        if k in writing:
            total[_at(axis, ins)] = here
            total[_at(axis, _beyond(ins, win.stride[axis]))] = 0
        else:
            total[_at(axis, ins)] += here
