"""How work is cut up: blocks of images, tiles of rows and of elements, each small enough for the cache."""
from collections.abc import Callable

from ..workers import parallel_for

BLOCK = 2 << 20   # bytes of one block: about the second-level cache
TILE = 1 << 16    # elements of one tile; below 32K the hand-overs between threads show


def image_blocks(total: int, image_bytes: int, body: Callable[[int, int], None]) -> None:
    """parallel_for over images, a cache-sized handful at a time."""
    step = max(1, BLOCK // max(1, image_bytes))

    def piece(start: int, stop: int) -> None:
        for n0 in range(start, stop, step):
            body(n0, min(n0 + step, stop))

    parallel_for(total, piece)


def row_tiles(total: int, C: int, body: Callable[[slice], None]) -> None:
    """parallel_for over rows of C channels, TILE elements at a time."""
    step = max(1, TILE // C)

    def piece(start: int, stop: int) -> None:
        for r in range(start, stop, step):
            body(slice(r, min(r + step, stop)))

    parallel_for(total, piece, step)


def tiles(total: int, body: Callable[[slice], None]) -> None:
    """parallel_for over flat elements, TILE at a time."""
    row_tiles(total, 1, body)
