"""Cropping, flipping, colour noise and the mean image, for whole batches: arrays in, arrays out.

Letters: N images, H W their size, C = 3, V views. Images are NHWC, uint8 or float32, always on the
0..255 scale: that scale minus the mean image is the paper's recipe (section 2), not a choice of
units.

Each random transform is a pair: a pure function of its draws (`crop`, `flip`, `add_color`), and
one that makes the draws, one for each image in the order of the batch (`random_crop`,
`horizontal_flip`, `pca_color`). `Transform` joins them, and keeps drawing apart from applying:
`draw` makes the random choices, always on the host, and `apply` here or kernels.gpu.augment on a
device carries them out. So both back ends train on the same pixels. One file for each question:

    windows.py     which part of an image is seen?       crop, flip, subtract_mean, the test views
    colors.py      how does the light vary?              ColorPCA, fit_pca, add_color
    transform.py   what happens to a batch, and when?    Transform, Draws, mix_images
"""
from .colors import (
    DIVISORS,
    ColorPCA,
    add_color,
    color_shift,
    fit_pca,
    pca_color,
    principal_axes,
    shift_colors,
)
from .transform import Draws, Transform, mix_images
from .windows import (
    add_border,
    center_crop,
    check_window,
    crop,
    flip,
    horizontal_flip,
    nine_crop,
    random_crop,
    subtract_mean,
    ten_crop,
    view_windows,
)

__all__ = ["DIVISORS", "ColorPCA", "Draws", "Transform", "add_border", "add_color", "center_crop",
           "check_window", "color_shift", "crop", "fit_pca", "flip", "horizontal_flip",
           "mix_images", "nine_crop", "pca_color", "principal_axes", "random_crop", "shift_colors",
           "subtract_mean", "ten_crop", "view_windows"]
