"""Images that stay where they are until somebody asks for them."""
from typing import Any, Self

import numpy as np


class OnDemand:
    """The `images` of a Dataset that are not in memory: looks like uint8 (N, S, S, 3).

        images[17]   images[rows]   images[start:stop]      as of an array, always a copy
        images.subset(rows)                                 fewer images, nothing is read

    A kind of it defines `read` and `subset`; `cut` too, where it can read less than whole images.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.shape = (count, size, size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = np.asarray(np.arange(len(self))[key])  # any index of NumPy, as numbers of rows
        images = np.empty((rows.size, *self.shape[1:]), np.uint8)
        self.read(rows.reshape(-1), images)  # (*rows.shape) -> (rows.size,)
        # (rows.size, S, S, 3) -> (*rows.shape, S, S, 3)
        return images.reshape(*rows.shape, *self.shape[1:])

    def subset(self, rows: Any) -> Self:
        """The images `rows`."""
        raise NotImplementedError(f"{type(self).__name__} does not define subset")

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """The images `rows` into `out`, uint8 (n, S, S, 3)."""
        raise NotImplementedError(f"{type(self).__name__} does not define read")

    def cut(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray,
            out: np.ndarray) -> None:
        """Of image rows[i] the window with the corner (tops[i], lefts[i]), mirrored where
        flips[i], into `out`, uint8 (n, h, w, 3)."""
        height, width = out.shape[1:3]
        whole = np.empty((1, *self.shape[1:]), np.uint8)
        for row, top, left, mirrored, place in zip(rows, tops, lefts, flips, out, strict=True):
            self.read(np.array([row]), whole)
            window = whole[0, top:top + height, left:left + width]
            place[...] = window[:, ::-1] if mirrored else window
