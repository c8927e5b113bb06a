"""Lesson 9, AlexNet: the solutions. Read them after yours pass the check."""
import numpy as np

from minitorch_alex import nn
from minitorch_alex.check import yours
from minitorch_alex.init import constant, gaussian, he
from minitorch_alex.kernels import Window
from minitorch_alex.models import AlexNetConfig
from minitorch_alex.models.alexnet import Scale


def initial(config: AlexNetConfig, i: int) -> dict:
    """Given: the initialisers of the i-th layer with weights (0: conv1, 4: conv5, 5: fc6, 7: fc8),
    to be passed to nn.Conv2d or nn.Linear as **initial(config, i).
    """
    if config.init == "torch":
        return {}
    weight = he() if config.init == "he" and i < 7 else gaussian(config.init_std[i])
    return {"weight_init": weight, "bias_init": constant(config.init_bias[i])}


def size_after(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Given: the side of the result of a square window on a square image (lesson 01):
    size_after(224, 11, 4, 0, True) is 55, size_after(55, 3, 2, 0, True) is 27.
    """
    return Window.of(kernel, stride, padding, 1, ceil_mode).out(size, size)[0]


def within_map_norm() -> nn.Module:
    """Given: the layer that `after` calls "rnorm". It ran in 2012 and appears in no paper: a
    normalisation over 5 x 5 places of one map.
    """
    return nn.LocalResponseNorm(5, alpha=0.001, beta=0.75, k=1.0, within_map=True)


def build(config: AlexNetConfig) -> nn.Module:
    """9.1: AlexNet from a list of decisions: an nn.Sequential of named layers.

    Commentary: the whole net is one walk with two numbers in hand, how many maps there are and how
    wide they are; each layer takes them and changes them. The usual mistakes leave every shape
    right: a forgotten `groups` gives the merged net of 62,378,344 parameters, an alpha that is
    divided by the window is a fifth of what the paper prints, a dropout before fc6 is
    torchvision's net, and a ReLU after fc8 forbids all logits below 0. ceil_mode does change a
    shape: without it 224 gives 54, and fc6 is nearly a third smaller and fits no weights from
    elsewhere. That the net is a list of decisions, each with its place in the paper, is what makes
    an ablation one word.
    """
    layers: dict[str, nn.Module] = {}
    if config.input_scale != 1:
        layers["scale"] = Scale(config.input_scale)
    channels = 3
    size = config.image_size
    for i in range(5):
        layers[f"conv{i + 1}"] = nn.Conv2d(
            channels, config.channels[i], config.kernels[i], config.strides[i], config.paddings[i],
            groups=config.groups[i], ceil_mode=config.ceil_mode, **initial(config, i))
        channels = config.channels[i]
        size = size_after(
            size, config.kernels[i], config.strides[i], config.paddings[i], config.ceil_mode)
        for word in config.after[i].split():
            if word == "relu":
                layer: nn.Module = nn.ReLU()
            elif word == "lrn":
                alpha = config.lrn_alpha  # which the layer divides by the size
                if not config.lrn_alpha_over_size:
                    alpha *= config.lrn_size
                layer = nn.LocalResponseNorm(config.lrn_size, alpha, config.lrn_beta, config.lrn_k,
                                             groups=config.lrn_groups)
            elif word == "rnorm":
                layer = within_map_norm()
            else:
                layer = nn.MaxPool2d(
                    config.pool_size, config.pool_stride, ceil_mode=config.ceil_mode)
                size = size_after(
                    size, config.pool_size, config.pool_stride, 0, config.ceil_mode)
            layers[f"{word}{i + 1}"] = layer
    layers["flatten"] = nn.Flatten()
    features = channels * size * size
    for i, width in zip((6, 7), config.hidden):
        if config.dropout_place == "input":
            layers[f"drop{i}"] = nn.Dropout(config.dropout, config.dropout_rule)
        layers[f"fc{i}"] = nn.Linear(features, width, **initial(config, i - 1))
        layers[f"relu{i}"] = nn.ReLU()
        if config.dropout_place == "output":
            layers[f"drop{i}"] = nn.Dropout(config.dropout, config.dropout_rule)
        features = width
    layers["fc8"] = nn.Linear(features, config.num_classes, **initial(config, 7))
    return nn.Sequential(**layers)


# 9.2: fc6 has 2,048 x 1,024 weights and 1,024 biases, 2,098,176 of 3,734,474 parameters. The
# convolutions do 1,327,104 + 19,660,800 + 14,155,776 + 10,616,832 + 7,077,888 = 52,838,400 of
# 55,994,368 multiply-adds. A weight of a convolution is used at every place of the map, one of a
# linear layer once: so the work is where the maps are large, and the parameters are where nothing
# is shared. These are nearly the same two shares as in the paper's net, in a net a sixteenth as
# large.
SHARE_OF_FC6 = 56.2
SHARE_OF_CONV = 94.4


def conv_on_two_gpus(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int
) -> np.ndarray:
    """9.3: a convolution with two groups, each device with its own half of the maps and of the
    kernels.

    Commentary: the bug dealt the maps out like cards, one to each device in turn (device::2), but
    the halves are contiguous. Every shape is the same, gradcheck passes, and a net that trains
    with it from the start learns as well: which maps form a group is a matter of names as long as
    everyone uses the same ones. It breaks between two programs: with published weights, or where
    the normalisation, which looks at neighbouring channels, meets maps of two devices. Only a
    comparison with another implementation, on maps that can be told apart, shows it.
    """
    # conv2d(x, w, b, stride, padding, groups) -> y: your own once it passes its check
    conv2d = yours("02", "conv2d")
    C = x.shape[1]
    O = w.shape[0]
    columns = []
    for device in range(2):
        maps = x[:, device * C // 2:(device + 1) * C // 2]           # (N, C/2, H, W)
        kernels = slice(device * O // 2, (device + 1) * O // 2)
        columns.append(conv2d(maps, w[kernels], b[kernels], stride, padding, 1))
    return np.concatenate(columns, axis=1)                           # (N, O, OH, OW)
