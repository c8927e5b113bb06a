"""Folders of small pictures whose classes differ in colour."""
import numpy as np
from PIL import Image

CLASSES = ("church", "springer", "tench")
COLORS = {"church": (200, 40, 40), "springer": (40, 200, 40), "tench": (40, 40, 200)}


def write_pictures(folder, count, seed=0, classes=CLASSES):
    """folder/CLASS/k.png: noise of the class's colour, 40 x 30."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = rng.normal(COLORS.get(name, (9, 9, 9)), 60, (30, 40, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")
