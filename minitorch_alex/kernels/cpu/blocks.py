"""How work is cut up: blocks of images and tiles of elements, each small enough for the cache."""
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..window import Pair, Window, ceil_div
from ..workers import cut, get_threads, parallel_for

BLOCK = 3 << 20   # bytes of one block: about the second-level cache
TILE = 1 << 17    # elements of one tile; in smaller ones the waiting for Python's lock shows
TILE_ALONE = 1 << 15  # of one thread, which does not wait: several arrays stay in the cache
GRAIN = 1 << 24   # multiply-adds that are worth a hand-over to a thread: 0.1 to 0.2 ms

# The windows of a block are the rows of a matrix product, and BLAS is slow where there are few.
MIN_WINDOWS = 256        # about as many, when an image is cut because it is larger than a block
MIN_WINDOWS_SHARED = 64  # at least, when it is cut to give each thread a part: thin beats idle
BLOCKS_PER_THREAD = 2    # at least: when one thread is slow, another takes its second block


def as_bits(array: np.ndarray) -> np.ndarray:
    """The same memory as integers. Multiplied by a mask of 0 and 1 they stay or become the bits of
    0.0, at the speed of floats; as floats, infinity times 0 would be NaN."""
    return array.view(f"i{array.itemsize}")


def image_blocks(total: int, image_bytes: int, body: Callable[[int, int], object],
                 block: int = BLOCK) -> None:
    """parallel_for over images, a handful of about `block` bytes at a time."""
    step = max(1, block // max(1, image_bytes))
    least = ceil_div(4 * TILE, max(1, image_bytes))  # images that make a float32 tile

    def piece(start: int, stop: int) -> None:
        for n0 in range(start, stop, step):
            body(n0, min(n0 + step, stop))

    parallel_for(total, piece, least)


def row_tiles(total: int, C: int, body: Callable[[slice], object]) -> None:
    """parallel_for over rows of C channels, a tile at a time. A body here passes several times over
    a tile, so that one is worth a thread."""
    elements = TILE_ALONE if get_threads() == 1 else TILE
    _in_steps(total, max(1, elements // C), body)


def tiles(total: int, body: Callable[[slice], object]) -> None:
    """parallel_for over flat elements, TILE at a time. A body here does little per element: it
    takes two tiles to be worth a thread."""
    _in_steps(total, TILE, body, least=2)


def _in_steps(total: int, step: int, body: Callable[[slice], object], least: int = 1) -> None:
    """parallel_for over range(total), `step` at a time, at least `least` steps per thread."""
    def piece(start: int, stop: int) -> None:
        for r in range(start, stop, step):
            body(slice(r, min(r + step, stop)))

    parallel_for(total, piece, least * step)


class Block(NamedTuple):
    """A part of a batch: images n0 to n1, and of each the output rows r0 to r1 (ends excluded)."""

    n0: int
    n1: int
    r0: int
    r1: int

    @property
    def rows(self) -> int:
        """Output rows in all: those of each image times the images."""
        return (self.n1 - self.n0) * (self.r1 - self.r0)

    def places(self, OH: int, OW: int) -> slice:
        """Its rows of the output matrix (N*OH*OW, O): one stretch, since a block of several images
        has all of their rows."""
        return slice((self.n0 * OH + self.r0) * OW, ((self.n1 - 1) * OH + self.r1) * OW)


def plan(N: int, OH: int, OW: int, window_bytes: int, scale: int = 1) -> list[Block]:
    """Cut a batch into blocks whose im2col matrices have at most about `scale` x BLOCK bytes.

    Small images are put together, large ones are cut into bands of rows:

        images 0 1 | 2 3 | 4 5 | 6 7          or        image 0  ---- r0 to r1 = 0 to 9
                                                                 ---- 9 to 18
                                                                 ---- 18 to 27
    """
    threads = get_threads()
    block_bytes = scale * BLOCK
    row_bytes = OW * window_bytes
    image_bytes = OH * row_bytes

    images_per_thread = ceil_div(N, threads)
    images = min(block_bytes // image_bytes, ceil_div(images_per_thread, BLOCKS_PER_THREAD))
    images = max(1, images)

    rows = OH
    if image_bytes > block_bytes:
        rows = max(1, block_bytes // row_bytes, ceil_div(MIN_WINDOWS, OW))
    if N < threads:
        share = OH * N // threads  # the rows of a thread
        rows = min(rows, max(ceil_div(MIN_WINDOWS_SHARED, OW), share))
    # The same number of blocks for each thread, all of one size to within an image or a row.
    shares = BLOCKS_PER_THREAD * threads
    batches = min(N, ceil_div(ceil_div(N, images), shares) * shares)
    bands = ceil_div(OH, rows)
    return [Block(n0, n1, r0, r1) for n0, n1 in cut(N, batches) for r0, r1 in cut(OH, bands)]


def blocks_per_thread(blocks: list[Block], multiply_adds: int) -> int:
    """The least number of blocks that is worth handing to a thread, given the total number of
    multiply-adds."""
    return ceil_div(GRAIN * len(blocks), max(1, multiply_adds))


def padded_images(x: np.ndarray, win: Window, out: Pair, groups: int,
                  blocks: list[Block]) -> Iterator[np.ndarray]:
    """For each block the part of x that its windows see, zero border included, group by group.

    x (N,H,W,C), out (OH,OW)  ->  yields (G, images, rows, columns, C/G), reused by the next step.
    With a group's channels next to each other, a row of a window is one stretch of memory, which
    is copied at once. Where there is neither a group nor a border, it is a view of x.
    """
    N, H, W, C = x.shape
    PH, PW = win.padding
    HP, WP = win.padded((H, W), out)
    S = win.stride[0]
    cg = C // groups
    # (N, H, W, C) -> (N, H, W, G, C/G) -> (G, N, H, W, C/G), a view
    split = x.reshape(N, H, W, groups, cg).transpose(3, 0, 1, 2, 4)
    if groups == 1 and PH == PW == 0 and HP <= H and WP <= W:
        for n0, n1, r0, r1 in blocks:
            yield split[:, n0:n1, r0 * S:(r1 - 1) * S + win.span(0)]
        return

    images = max(n1 - n0 for n0, n1, _, _ in blocks)
    rows = max(r1 - r0 for _, _, r0, r1 in blocks)
    height = (rows - 1) * S + win.span(0)
    border = np.zeros((groups, images, height, max(WP, PW + W), cg), x.dtype)
    for n0, n1, r0, r1 in blocks:
        top = r0 * S - PH  # the first image row that is seen; negative: rows of the padding
        height = (r1 - r0 - 1) * S + win.span(0)
        image = border[:, :n1 - n0, :height]
        first = min(max(0, -top), height)           # the rows of `image` before it lie above x
        last = max(first, min(H - top, height))     # the rows from it on lie below x
        image[:, :, :first] = 0  # an earlier block may have left pixels there;
        image[:, :, last:] = 0   # to the left and to the right the zeros stay
        image[:, :, first:last, PW:PW + W] = split[:, n0:n1, top + first:top + last]
        yield image


def windows(image: np.ndarray, win: Window, rows: int, OW: int) -> np.ndarray:
    """Every window of padded images, as a view without a copy.

    image (n, height, width, c)  ->  (n, rows, OW, KH, KW, c)

    Element [n, oh, ow, kh, kw, c] is image[n, oh S + kh D, ow S + kw D, c]: a step along oh is S
    rows of the image and a step along kh is D rows, so these are the strides in memory. Windows
    overlap, so they share memory, and nobody may write to them.
    """
    KH, KW = win.kernel
    SH, SW = win.stride
    DH, DW = win.dilation
    n, h, w, c = image.strides
    return np.lib.stride_tricks.as_strided(
        image, (image.shape[0], rows, OW, KH, KW, image.shape[3]),
        (n, h * SH, w * SW, h * DH, w * DW, c), writeable=False)


def columns(x: np.ndarray, win: Window, groups: int,
            blocks: list[Block]) -> Iterator[tuple[Block, int, np.ndarray]]:
    """im2col, a block at a time: yields (block, group, col) with col (windows, KH KW C/G).

    The matrix `col` is overwritten by the next step: it lies in the cache when the product reads
    it.
    """
    if not blocks:
        return
    OH, OW = win.out(*x.shape[1:3])
    width = win.kernel[0] * win.kernel[1] * (x.shape[3] // groups)
    buffer = np.empty((max(block.rows for block in blocks) * OW, width), x.dtype)
    for block, image in zip(blocks, padded_images(x, win, (OH, OW), groups, blocks)):
        col = buffer[:block.rows * OW]
        for g in range(groups):
            view = windows(image[g], win, block.r1 - block.r0, OW)
            # (n*rows*OW, KH*KW*C/G) -> (n, rows, OW, KH, KW, C/G)
            np.copyto(col.reshape(view.shape), view)
            yield block, g, col
