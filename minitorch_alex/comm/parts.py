"""How arrays are cut into the parts of ranks, and how their sums are added up.

There is one rule for each, which whoever needs a part or a sum follows, so that nobody has to be
told: `part` says which rows a rank has, `tree_sum` in which order terms are added.
"""
from collections.abc import Sequence
from typing import Any

from .. import backend
from ..errors import UsageError

Array = Any  # NumPy's or a device's
Shape = tuple[int, ...]


def part(n: int, rank: int, size: int) -> slice:
    """The rows of rank `rank`, of n rows that `size` ranks share: contiguous, disjoint, complete,
    and as even as they can be. Some are empty when n < size."""
    return slice(n * rank // size, n * (rank + 1) // size)


def lengths(n: int, size: int) -> list[int]:
    """How many of n rows each rank has."""
    parts = [part(n, rank, size) for rank in range(size)]
    return [rows.stop - rows.start for rows in parts]


def tree_sum(terms: Sequence[Array], out: Array | None = None) -> Array:
    """The sum of arrays of one shape by a binary tree: ((0 + 1) + (2 + 3)) + (4 + 5), and so on.

    The arrays are overwritten. With `out` the sum is written there; it may be one of the arrays.

    Neighbours are added first, then the sums of neighbours. So whoever holds a block of 2^k
    neighbours can add these up alone, and the bits of the whole are the same. The rounding error
    grows with log P where that of a sum from left to right grows with P.
    """
    rows = list(terms)
    while len(rows) > 2:
        for left, right in zip(rows[::2], rows[1::2], strict=False):
            left += right
        rows = rows[::2]  # an odd one out goes up as it is
    if out is None:
        out = rows[0]
    if len(rows) == 2:
        xp = backend.xp_of(out)
        xp.add(rows[0], rows[1], out=out)
    elif out is not rows[0]:
        out[...] = rows[0]
    return out


def flat_view(a: Array) -> Array:
    """A contiguous array as a flat view. Raises UsageError for another one."""
    if not a.flags.c_contiguous:
        raise UsageError(f"sum: got an array of shape {a.shape} that is not contiguous; sum it in "
                         "place as it lies in memory, or a copy")
    return a.reshape(-1)  # (...) -> (size,)


def cut(a: Array, axis: int, rows: slice) -> Array:
    """a[..., rows, ...]."""
    return a[(slice(None),) * axis + (rows,)]


def with_length(shape: Shape, axis: int, n: int) -> Shape:
    """The shape with n along `axis`."""
    return (*shape[:axis], n, *shape[axis + 1:])
