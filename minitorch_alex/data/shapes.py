"""Shapes: ten classes of drawn figures, made on the fly at any size. No download, the same for everyone.

A picture is one bright figure of random colour, place, size and turn on a darker, shaded background, with a stray
blob behind the figure, in half of the pictures a bar across it, and pixel noise. Colour and place tell nothing, so
a linear model gets far fewer than half of the pictures right, while a small convolutional net learns the shapes in a
few minutes.
"""
import numpy as np

from ..errors import UsageError
from ..streams import rng
from .dataset import Dataset

CLASSES = ("disc", "ring", "square", "frame", "triangle", "plus", "cross", "stripes", "crescent", "star")
LEANING = ("plus", "cross", "stripes")  # may only lean: a plus turned further is a cross


def make_shapes(n: int, size: int = 32, seed: int = 0, split: str = "train", chunk: int = 256) -> Dataset:
    """n pictures of size x size pixels. Labels run 0, 1, ..., 9, 0, 1, ..., so every prefix is balanced.

    The splits "train" and "test" draw from different random streams. Picture i depends on size, seed, split
    and i alone: neither on n nor on `chunk`, the number drawn at a time. UsageError for n < 1 or size < 8.
    """
    if n < 1 or size < 8 or split not in ("train", "test"):
        raise UsageError(f"shapes: n={n} size={size} split={split!r}: "
                         "expected n >= 1, size >= 8 and 'train' or 'test'")
    labels = np.arange(n) % len(CLASSES)
    # Row i of one table holds all that is drawn for picture i, and the noise is drawn picture by picture:
    # that keeps the promise about n and chunk.
    figures = _Figures(rng(seed, f"shapes {split}").random((n, _Figures.DRAWS)), labels, size)
    noise = rng(seed, f"shapes {split} noise")
    images = np.empty((n, size, size, 3), np.uint8)
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        picture = figures.paint(part)
        picture += figures.noise[part] * noise.standard_normal(picture.shape, dtype=np.float32)
        images[part] = np.clip(np.rint(picture), 0, 255)
    return Dataset(images, labels, CLASSES, f"shapes ({split})")


def load_shapes(n_train: int = 10_000, n_test: int = 2_000, size: int = 32,
                seed: int = 0) -> tuple[Dataset, Dataset]:
    """(train, test) from disjoint random streams."""
    return make_shapes(n_train, size, seed, "train"), make_shapes(n_test, size, seed, "test")


def signed_distance(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far the points (u, v) lie outside the figure `name` of about unit radius; negative inside.

    Only the sign and a slope of 1 across the border are used, so a polygon is a plain maximum over its edges.
    """
    if name == "disc":
        return _length(u, v) - 0.85
    if name == "ring":
        return np.abs(_length(u, v) - 0.72) - 0.2
    if name == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.75
    if name == "frame":
        return np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.62) - 0.18
    if name == "triangle":
        return _edges(3, 0.5, u, v).max(axis=0)
    if name == "plus":
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        return np.maximum(long - 0.95, short - 0.26)
    if name == "cross":
        return signed_distance("plus", (u + v) * np.float32(0.5 ** 0.5), (u - v) * np.float32(0.5 ** 0.5))
    if name == "stripes":
        period = 0.68  # bars of half a period each, the middle one on v = 0, cut out of a disc
        bars = np.abs((v / period + 0.5) % 1 - 0.5) * period - 0.25 * period
        return np.maximum(_length(u, v) - 0.95, bars)
    if name == "crescent":
        return np.maximum(_length(u, v) - 0.9, 0.72 - _length(u - 0.42, v))
    if name == "star":
        # Within a pentagram at most one of its pentagon's five edges is crossed: the second largest decides.
        return np.sort(_edges(5, 0.33, u, v), axis=0)[-2]
    raise UsageError(f"shapes: no figure {name!r}; there are {', '.join(CLASSES)}")


def _length(u, v):
    return np.sqrt(u * u + v * v)


def _edges(count, inradius, u, v):
    """Signed distances to the `count` edges of a regular polygon, (count, ...)."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.float32(np.cos(a)) * u + np.float32(np.sin(a)) * v for a in angles]) - inradius


class _Figures:
    """What is drawn for each picture, from the columns of a table (n, DRAWS) of uniform numbers.

    Lengths are in units of the picture's side, the middle of the picture is (0, 0). A quantity has the shape
    (n, 1, 1), a colour (n, 1, 1, 3).
    """

    GRID = 4  # the shading: GRID x GRID random brightnesses a channel, stretched over the picture
    DRAWS = 24 + 3 * GRID * GRID

    def __init__(self, draws: np.ndarray, labels: np.ndarray, size: int) -> None:
        n = len(labels)
        columns = iter(draws.T[:, :, None, None])

        def uniform(low, high):
            return (low + (high - low) * next(columns)).astype(np.float32)

        def color(low=0, high=256):
            return np.stack([uniform(low, high) for _ in range(3)], axis=-1)

        self.labels, self.size = labels, size
        self.radius = uniform(0.24, 0.42)
        room = 0.5 - 0.85 * self.radius  # a little of the rim may be cut off by the picture's edge
        self.x, self.y = uniform(-1, 1) * room, uniform(-1, 1) * room
        lean = np.isin(labels, [CLASSES.index(name) for name in LEANING])[:, None, None]
        angle = uniform(-np.pi, np.pi) * np.where(lean, np.float32(1 / 12), np.float32(1))
        self.cos, self.sin = np.cos(angle), np.sin(angle)
        self.background = color(10, 120)
        self.color = self.background + color(40, 136)  # brighter than the background in every channel
        self.blob_x, self.blob_y = uniform(-0.5, 0.5), uniform(-0.5, 0.5)
        self.blob_radius, self.blob_color = uniform(0.04, 0.11), color()
        angle = uniform(-np.pi, np.pi)
        self.bar_cos, self.bar_sin, self.bar_offset = np.cos(angle), np.sin(angle), uniform(-1, 1)
        width = uniform(-0.03, 0.03)
        self.bar_half = np.where(width > 0, width, np.float32(-1))  # half of the pictures have none
        self.bar_color = color()
        self.noise = uniform(2, 22)[..., None]  # standard deviation, in grey levels
        patch = np.stack([uniform(-1, 1) for _ in range(3 * self.GRID ** 2)], axis=-1)
        self.patch = uniform(10, 45)[..., None] * patch.reshape(n, 3, self.GRID, self.GRID)

    def paint(self, part: slice) -> np.ndarray:
        """The pictures of `part` but for the noise: float32 (n, size, size, 3) on the 0..255 scale."""
        axis = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size - 0.5
        X, Y = axis[None, None, :], axis[None, :, None]
        stretch = _stretch(self.GRID, self.size)
        picture = self.background[part] + (stretch @ self.patch[part] @ stretch.T).transpose(0, 2, 3, 1)

        def over(distance, color):
            """Lay `color` on the picture where distance < 0, blending half a pixel either side."""
            nonlocal picture
            cover = np.clip(0.5 - distance * self.size, 0, 1)[..., None]
            picture += cover * (color[part] - picture)

        from_blob = _length(X - self.blob_x[part], Y - self.blob_y[part])
        over(from_blob - self.blob_radius[part], self.blob_color)

        dx, dy, radius = X - self.x[part], Y - self.y[part], self.radius[part]
        u = (self.cos[part] * dx + self.sin[part] * dy) / radius
        v = (self.cos[part] * dy - self.sin[part] * dx) / radius
        distance = np.empty_like(u)
        for label, name in enumerate(CLASSES):
            mine = self.labels[part] == label
            distance[mine] = signed_distance(name, u[mine], v[mine])
        over(distance * radius, self.color)

        across = self.bar_cos[part] * dx + self.bar_sin[part] * dy - self.bar_offset[part] * radius
        over(np.abs(across) - self.bar_half[part], self.bar_color)
        return picture


def _stretch(grid, size):
    """(size, grid) weights of linear interpolation: grid points spread over the pixels, corner on corner."""
    place = np.linspace(0, grid - 1, size)[:, None]
    return np.clip(1 - np.abs(place - np.arange(grid)), 0, 1).astype(np.float32)
