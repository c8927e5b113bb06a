"""How work is cut up: blocks of images, tiles of rows and of elements, each small enough for the cache."""
from collections.abc import Callable, Iterator

import numpy as np

from ..window import Window
from ..workers import get_threads, parallel_for

BLOCK = 3 << 20   # bytes of one block: about the second-level cache
TILE = 1 << 17    # elements of one tile; in smaller ones the waiting for Python's lock shows
GRAIN = 1 << 24   # multiply-adds that are worth a hand-over: 0.1 to 0.2 ms


def image_blocks(total: int, image_bytes: int, body: Callable[[int, int], None]) -> None:
    """parallel_for over images, a cache-sized handful at a time."""
    step, least = max(1, BLOCK // max(1, image_bytes)), -(-4 * TILE // max(1, image_bytes))

    def piece(start: int, stop: int) -> None:
        for n0 in range(start, stop, step):
            body(n0, min(n0 + step, stop))

    parallel_for(total, piece, least)


def row_tiles(total: int, C: int, body: Callable[[slice], None], least: int = 1) -> None:
    """parallel_for over rows of C channels, TILE elements at a time and `least` tiles to a thread."""
    step = max(1, TILE // C)

    def piece(start: int, stop: int) -> None:
        for r in range(start, stop, step):
            body(slice(r, min(r + step, stop)))

    parallel_for(total, piece, least * step)


def tiles(total: int, body: Callable[[slice], None]) -> None:
    """parallel_for over flat elements, TILE at a time. The steps are few here: it takes more of them for a thread."""
    row_tiles(total, 1, body, 2)


Block = tuple[int, int, int, int]  # images n0 to n1, output rows r0 to r1


def plan(N: int, OH: int, OW: int, window_bytes: int, blocks: int = 1) -> list[Block]:
    """Cut a batch into blocks whose im2col matrices have about `blocks` x BLOCK bytes: several whole images, or rows of
    one image, never under 256 windows, since a thinner matrix product is slow. Few images are cut finer, for every
    thread to get a share."""
    size, share, image = blocks * BLOCK, -(-N // get_threads()), OH * OW * window_bytes
    images, rows = max(1, min(size // image, -(-share // 2))), OH
    if image > size:
        rows = max(1, size // (OW * window_bytes), -(-256 // OW))
    if N < get_threads():
        rows = min(rows, max(-(-64 // OW), OH * N // get_threads()))
    parts = -(-OH // rows)
    edges = [OH * i // parts for i in range(parts + 1)]
    return [(n0, min(n0 + images, N), r0, r1) for n0 in range(0, N, images) for r0, r1 in zip(edges, edges[1:])]


def share(todo: list[Block], multiply_adds: int) -> int:
    """How many of the blocks at least are worth a thread, if all together take so many multiply-adds."""
    return -(-GRAIN * len(todo) // max(1, multiply_adds))


def padded_images(x: np.ndarray, win: Window, out: tuple[int, int], groups: int, todo: list[Block]) \
        -> Iterator[np.ndarray]:
    """For each block what its windows see of x, zero border included: (G, n, rows, columns, C/G). With a group's
    channels side by side a row of the kernel is one stretch of memory."""
    N, H, W, C = x.shape
    (PH, PW), (HP, WP), S, cg = win.padding, win.padded((H, W), out), win.stride[0], C // groups
    split = x.reshape(N, H, W, groups, cg).transpose(3, 0, 1, 2, 4)
    bare = groups == 1 and PH == PW == 0 and HP <= H and WP <= W
    images, seen = max(b[1] - b[0] for b in todo), max(b[3] - b[2] for b in todo)
    border = None if bare else np.zeros((groups, images, (seen - 1) * S + win.span(0), max(WP, PW + W), cg), x.dtype)
    for n0, n1, r0, r1 in todo:
        top, height = r0 * S - PH, (r1 - r0 - 1) * S + win.span(0)  # top: the first image row seen, or the padding's
        if border is None:
            yield split[:, n0:n1, top:top + height]
            continue
        image = border[:, :n1 - n0, :height]
        first = min(max(0, -top), height)
        last = max(first, min(H - top, height))
        image[:, :, :first], image[:, :, last:] = 0, 0  # to the left and right the zeros stay
        image[:, :, first:last, PW:PW + W] = split[:, n0:n1, top + first:top + last]
        yield image


def windows(image: np.ndarray, win: Window, rows: int, OW: int) -> np.ndarray:
    """A view, without a copy: (n, rows, OW, KH, KW, c) of the windows of padded images (n, height, width, c)."""
    (KH, KW), (SH, SW), (DH, DW) = win.kernel, win.stride, win.dilation
    n, h, w, c = image.strides
    return np.lib.stride_tricks.as_strided(
        image, (image.shape[0], rows, OW, KH, KW, image.shape[3]), (n, h * SH, w * SW, h * DH, w * DW, c),
        writeable=False)


def group_slices(O: int, groups: int) -> list[slice]:
    """The output channels of each group."""
    return [slice(g * O // groups, (g + 1) * O // groups) for g in range(groups)]
