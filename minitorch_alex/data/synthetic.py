"""Drawn images of ImageNet's sizes, for those who do not have ImageNet: `prepare --synthetic
N`."""
import colorsys
import io
import re

import numpy as np
from PIL import Image

from ..streams import rng
from .shapes import CLASSES as FIGURES
from .shapes import signed_distance


def class_name(label: int, classes: int) -> str:
    """The name of a class: its figure, numbered when there are more classes than figures."""
    figure = FIGURES[label % len(FIGURES)]
    return f"{figure} {label // len(FIGURES)}" if classes > len(FIGURES) else figure


def draw_picture(name: str, label: int) -> bytes:
    """A JPEG file of about ImageNet's sizes that depends on the arguments alone.

    It shows the figure of class label % 10 of data.shapes on a shaded, noisy ground. The tens of
    the label are the distance of its hue from that of the ground, the hundreds how pale the ground
    is.
    """
    split, number = name.split("/")[0], re.findall(r"\d+", name)[0]
    draw = rng(int(number), f"prepare {split} picture", label)
    # The order of the draws is part of what a synthetic set is: keep it.
    long_side = int(draw.integers(320, 640))
    short_side = round(long_side * draw.uniform(0.55, 1))
    is_wide = draw.random() < 0.7
    width = long_side if is_wide else short_side
    height = short_side if is_wide else long_side
    radius = draw.uniform(0.2, 0.42) * min(width, height)
    lean = draw.uniform(-np.pi, np.pi) / 12
    center_x = draw.uniform(0.35, 0.65) * width
    center_y = draw.uniform(0.35, 0.65) * height

    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]  # (height, 1)
    cover = _coverage(FIGURES[label % 10], (x - center_x) / radius, (y - center_y) / radius,
                      lean, radius)

    hue = draw.random()
    tens = label // 10 % 10
    hundreds = label // 100
    front = _rgb((hue + tens / 10) % 1, 0.7, draw.uniform(0.75, 1))
    ground = _rgb(hue, 0.9 - 0.08 * hundreds, draw.uniform(0.2, 0.5))
    shade = draw.uniform(-40, 40) * (x / width - 0.5) + draw.uniform(-40, 40) * (y / height - 0.5)
    picture = cover * (front - ground) + (ground + shade[..., None])
    picture += (np.float32(draw.uniform(4, 20))
                * draw.standard_normal((height, width, 3), dtype=np.float32))
    file = io.BytesIO()
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _coverage(figure: str, dx: np.ndarray, dy: np.ndarray, lean: float,
              radius: float) -> np.ndarray:
    """(height, width, 1): how much of each pixel the figure covers, blended over one pixel.

    dx (width,) and dy (height, 1) are the distances from its centre, in units of its radius; it is
    turned by `lean`.
    """
    u, v = np.broadcast_arrays(np.cos(lean) * dx + np.sin(lean) * dy,
                               np.cos(lean) * dy - np.sin(lean) * dx)
    distance = signed_distance(figure, u.astype(np.float32), v.astype(np.float32))
    return np.clip(0.5 - distance * radius, 0, 1)[..., None]


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """float32 (3,), 0..255"""
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)
