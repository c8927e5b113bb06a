"""Shapes: ten classes of drawn figures, made on the fly at any size, the same for everyone.

An image is one bright figure of random colour, place, size and turn on a darker, shaded
background, with a stray blob behind the figure, in half of the images a bar across it, and pixel
noise. Colour and place say nothing about the class, so a linear model gets far fewer than half of
the images right, while a small convolutional net learns the shapes in a few minutes.
"""
import numpy as np

from ..errors import UsageError
from ..streams import rng
from .dataset import Dataset

CLASSES = ("disc", "ring", "square", "frame", "triangle", "plus", "cross", "stripes", "crescent",
           "star")
LEANING = ("plus", "cross", "stripes")  # may only lean: a plus turned further is a cross


def make_shapes(n: int, size: int = 32, seed: int = 0, split: str = "train",
                chunk: int = 64) -> Dataset:
    """n images of size x size pixels. Labels run 0, 1, ..., 9, 0, 1, ..., so every prefix is
    balanced.

    The splits "train" and "test" draw from different random streams. Image i depends on size,
    seed, split and i alone: neither on n nor on `chunk`, the number drawn at a time. Raises
    UsageError for n < 1, size < 8 or another split.
    """
    if n < 1 or size < 8 or split not in ("train", "test"):
        raise UsageError(f"shapes: n={n} size={size} split={split!r}: "
                         "expected n >= 1, size >= 8 and 'train' or 'test'")
    labels = np.arange(n) % len(CLASSES)
    # Row i of one table has all that is drawn for image i, and the noise is drawn image by image:
    # that keeps the promise about n and chunk.
    table = rng(seed, f"shapes {split}").random((n, _Figures.DRAWS))
    figures = _Figures(table, labels, size)
    noise = rng(seed, f"shapes {split} noise")
    images = np.empty((n, size, size, 3), np.uint8)
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        planes = figures.paint(part)
        pixels = noise.standard_normal(images[part].shape, dtype=np.float32)
        pixels *= figures.noise[part]
        for channel in range(3):
            pixels[..., channel] += planes[:, channel]
        np.rint(pixels, out=pixels)
        images[part] = np.clip(pixels, 0, 255, out=pixels)
    return Dataset(images, labels, CLASSES, f"shapes ({split})")


def load_shapes(n_train: int = 10_000, n_test: int = 2_000, size: int = 32,
                seed: int = 0) -> tuple[Dataset, Dataset]:
    """(train, test) from disjoint random streams."""
    return make_shapes(n_train, size, seed, "train"), make_shapes(n_test, size, seed, "test")


def signed_distance(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far the points (u, v) are outside the figure `name` of about unit radius; negative
    inside.

    Only the sign and a slope of 1 across the border are used, so a polygon is a plain maximum over
    its edges. Raises UsageError for a name that is not in CLASSES.
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
        longer = np.maximum(np.abs(u), np.abs(v))
        shorter = np.minimum(np.abs(u), np.abs(v))
        return np.maximum(longer - 0.95, shorter - 0.26)
    if name == "cross":  # a plus in coordinates turned by 45 degrees
        half = np.float32(0.5 ** 0.5)
        return signed_distance("plus", (u + v) * half, (u - v) * half)
    if name == "stripes":
        # Bars of half a period each, the middle one on v = 0, cut out of a disc.
        period = 0.68
        bars = np.abs((v / period + 0.5) % 1 - 0.5) * period - 0.25 * period
        return np.maximum(_length(u, v) - 0.95, bars)
    if name == "crescent":
        return np.maximum(_length(u, v) - 0.9, 0.72 - _length(u - 0.42, v))
    if name == "star":
        # A point in a pentagram is outside of at most one of the five edges of its pentagon: the
        # second largest distance decides.
        return np.sort(_edges(5, 0.33, u, v), axis=0)[-2]
    raise UsageError(f"shapes: no figure {name!r}; there are {', '.join(CLASSES)}")


def _length(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v)


def _edges(count: int, inradius: float, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(count, ...): signed distances to the `count` edges of a regular polygon."""
    angles = 2 * np.pi * np.arange(count) / count
    edges = [np.float32(np.cos(angle)) * u + np.float32(np.sin(angle)) * v for angle in angles]
    return np.stack(edges) - inradius


class _Figures:
    """What is drawn for each of n images, from the columns of a table (n, DRAWS) of uniform
    numbers.

    Lengths are in units of the image's side, the middle of the image is (0, 0). A quantity has the
    shape (n, 1, 1), a colour (n, 1, 1, 3).
    """

    GRID = 4  # the shading: GRID x GRID random brightnesses per channel, stretched over the image
    DRAWS = 24 + 3 * GRID * GRID

    def __init__(self, draws: np.ndarray, labels: np.ndarray, size: int) -> None:
        n = len(labels)
        # Each quantity takes the next column: (n, DRAWS) -> DRAWS times (n, 1, 1). Their order is
        # part of what the data set is.
        columns = iter(draws.T[:, :, None, None])

        def uniform(low: float, high: float) -> np.ndarray:
            return (low + (high - low) * next(columns)).astype(np.float32)

        def color(low: float = 0, high: float = 256) -> np.ndarray:
            return np.stack([uniform(low, high) for _ in range(3)], axis=-1)

        self.labels = labels
        self.size = size
        # The figure. A little of its rim may be cut off by the edge of the image.
        self.radius = uniform(0.24, 0.42)
        room = 0.5 - 0.85 * self.radius
        self.x = uniform(-1, 1) * room
        self.y = uniform(-1, 1) * room
        leans = np.isin(labels, [CLASSES.index(name) for name in LEANING])[:, None, None]
        angle = uniform(-np.pi, np.pi) * np.where(leans, np.float32(1 / 12), np.float32(1))
        self.cos = np.cos(angle)
        self.sin = np.sin(angle)
        self.background = color(10, 120)
        self.color = self.background + color(40, 136)  # brighter in every channel
        # The blob behind it.
        self.blob_x = uniform(-0.5, 0.5)
        self.blob_y = uniform(-0.5, 0.5)
        self.blob_radius = uniform(0.04, 0.11)
        self.blob_color = color()
        # The bar across it; a negative width is none, which half of the images have.
        angle = uniform(-np.pi, np.pi)
        self.bar_cos = np.cos(angle)
        self.bar_sin = np.sin(angle)
        self.bar_offset = uniform(-1, 1)
        width = uniform(-0.03, 0.03)
        self.bar_half = np.where(width > 0, width, np.float32(-1))
        self.bar_color = color()
        # Noise (standard deviation, in grey levels) and shading.
        self.noise = uniform(2, 22)[..., None]
        patch = np.stack([uniform(-1, 1) for _ in range(3 * self.GRID ** 2)], axis=-1)
        strength = uniform(10, 45)[..., None]
        # (n, 1, 1, 3*GRID*GRID) -> (n, 3, GRID, GRID)
        self.patch = strength * patch.reshape(n, 3, self.GRID, self.GRID)

    def paint(self, part: slice) -> np.ndarray:
        """The images of `part` without noise: float32 (n, 3, size, size) on the 0..255 scale.

        Channel by channel, since NumPy's innermost loop is then over pixels and not over three
        numbers.
        """
        axis = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size - 0.5
        X = axis[None, None, :]
        Y = axis[None, :, None]
        stretch = _stretch(self.GRID, self.size)
        shading = stretch @ self.patch[part] @ stretch.T  # (n, 3, size, size)
        planes = _by_channel(self.background[part]) + shading

        def lay_over(distance: np.ndarray, color: np.ndarray) -> None:
            """Paint `color` where distance < 0, blended over half a pixel on either side."""
            cover = np.clip(0.5 - distance * self.size, 0, 1)[:, None]  # (n, 1, size, size)
            change = _by_channel(color[part]) - planes
            change *= cover
            planes[...] += change

        from_blob = _length(X - self.blob_x[part], Y - self.blob_y[part])
        lay_over(from_blob - self.blob_radius[part], self.blob_color)

        # (u, v): the figure's own coordinates, from its centre, turned, in units of its radius.
        dx = X - self.x[part]
        dy = Y - self.y[part]
        radius = self.radius[part]
        u = (self.cos[part] * dx + self.sin[part] * dy) / radius
        v = (self.cos[part] * dy - self.sin[part] * dx) / radius
        distance = np.empty_like(u)
        for label, name in enumerate(CLASSES):
            rows = self.labels[part] == label
            distance[rows] = signed_distance(name, u[rows], v[rows])
        lay_over(distance * radius, self.color)

        across = (self.bar_cos[part] * dx + self.bar_sin[part] * dy
                  - self.bar_offset[part] * radius)
        lay_over(np.abs(across) - self.bar_half[part], self.bar_color)
        return planes


def _by_channel(color: np.ndarray) -> np.ndarray:
    """One colour per image, with its channels in front."""
    return color.transpose(0, 3, 1, 2)  # (n, 1, 1, 3) -> (n, 3, 1, 1)


def _stretch(grid: int, size: int) -> np.ndarray:
    """(size, grid) weights of linear interpolation: grid points spread over the pixels, corner on
    corner."""
    places = np.linspace(0, grid - 1, size)[:, None]
    return np.clip(1 - np.abs(places - np.arange(grid)), 0, 1).astype(np.float32)
