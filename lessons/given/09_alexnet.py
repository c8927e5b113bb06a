"""Lesson 9, AlexNet: the exercises.

    python -m minitorch_alex.check 09            are they right?
    python -m minitorch_alex.check 9.1 --hint    a nudge

In 9.1 you write AlexNet. After that no part of the net is missing, and with

    python lessons/09_alexnet.py --mine
    python -m minitorch_alex.train --mine --data shapes

your code trains it: every function of lessons 02 to 09 that passes its check takes the place of
the package's.
"""
import numpy as np

from minitorch_alex import nn
from minitorch_alex.check import yours
from minitorch_alex.init import constant, gaussian, he
from minitorch_alex.kernels import Window
from minitorch_alex.models import AlexNetConfig
from minitorch_alex.models.alexnet import Scale  # noqa: F401  (for build: x -> s x)


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

    nn.Sequential takes its layers by name: nn.Sequential(**{"conv1": nn.Conv2d(...), "relu1":
    nn.ReLU(), ...}). A dict keeps its order, and the order counts: it is the order of the
    computation, and the weights are drawn in the order in which the layers are made.

    `python -m minitorch_alex.models.compare` prints every field of config and its values. Leave out
    conv6, conv_floor and adaptive_pool, which no preset needs at its own size but conv6_2012. In
    order:

    1. "scale": Scale(config.input_scale), only if config.input_scale is not 1.
    2. For i from 1 to 5, with entry i - 1 of config.channels, kernels, strides, paddings, groups
       and after:
       a. "conv{i}":  nn.Conv2d(channels in, channels out, kernel, stride, padding, groups=groups,
                                ceil_mode=config.ceil_mode, **initial(config, i - 1)).
          The image has 3 channels.
       b. One layer for each word of after, in the order of the words; after[0] = "relu lrn pool"
          has three.
          "relu"    "relu{i}":   nn.ReLU()
          "pool"    "pool{i}":   nn.MaxPool2d(config.pool_size, config.pool_stride,
                                              ceil_mode=config.ceil_mode)
          "lrn"     "lrn{i}":    nn.LocalResponseNorm(config.lrn_size, alpha, config.lrn_beta,
                                                      config.lrn_k, groups=config.lrn_groups)
          "rnorm"   "rnorm{i}":  within_map_norm()
          nn.LocalResponseNorm divides its alpha by the window's size, as the code of 2012 did. If
          config.lrn_alpha_over_size is True, that division is intended: alpha is config.lrn_alpha.
          If it is False, config.lrn_alpha is that of the printed formula, which does not divide:
          pass config.lrn_alpha times config.lrn_size, so that the division gives it back.
    3. "flatten": nn.Flatten(). It turns (N,C,H,W) into (N, C H W).
    4. For i = 6 and 7, with width config.hidden[0] and config.hidden[1]:
          "fc{i}":    nn.Linear(features in, width, **initial(config, i - 1))
          "relu{i}":  nn.ReLU()
          "drop{i}":  nn.Dropout(config.dropout, config.dropout_rule)
       config.dropout_place says where the dropout goes: "output" is fc6 relu6 drop6, fc7 relu7
       drop7; "input" is drop6 fc6 relu6, drop7 fc7 relu7.
    5. "fc8": nn.Linear(features in, config.num_classes, **initial(config, 7)), and nothing after
       it: its output is the logits.

    fc6 has to know how many features come in: C H W of the last map. Follow the side of the image,
    from config.image_size through each convolution and each pool, with size_after; a pool has
    padding 0.

    Examples: build(AlexNetConfig.paper()) has 60,965,224 parameters; its fc6 takes 256 x 6 x 6 =
    9,216 features, its first layers are conv1, relu1, lrn1, pool1, conv2.
    build(AlexNetConfig.cifar()) begins with scale, has 3,734,474 parameters, and its fc6 takes 128
    x 4 x 4 = 2,048.
    """
    raise NotImplementedError("exercise 9.1: build")


# 9.2: in the paper's net fc6 has 62 % of the parameters, and the convolutions do 92 % of the
# multiply-adds. And in the net for small images, AlexNetConfig.cifar()? Its layers, with the two
# groups of conv2, conv4 and conv5:
#
#     layer   maps in   maps out   kernel   groups   output size
#     conv1         3         48    3 x 3        1       32 x 32
#     conv2        48        128    5 x 5        2       16 x 16
#     conv3       128        192    3 x 3        1         8 x 8
#     conv4       192        192    3 x 3        2         8 x 8
#     conv5       192        128    3 x 3        2         8 x 8      then a pool to 4 x 4
#     fc6       2,048      1,024
#     fc7       1,024      1,024
#     fc8       1,024         10
#
# (conv1 and conv2 are each followed by a pool, too, which halves the side.) Parameters are weights
# and biases. Multiply-adds are for one image, without biases, pools and norms: each output of a
# convolution takes KH KW C / groups of them, each output of a linear layer as many as it has
# inputs. Both answers are in percent, to one decimal: 12.3 for 12.3 %.
SHARE_OF_FC6 = None   # of all parameters
SHARE_OF_CONV = None  # conv1 to conv5 together, of all multiply-adds


def conv_on_two_gpus(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int
) -> np.ndarray:
    """9.3: find the bug and fix it. It should do what a convolution with groups = 2 does, as in
    2012: each of two devices convolves its own half of the maps with its own half of the kernels.

    x (N,C,H,W)  w (O,C/2,KH,KW)  b (O,)  ->  y (N,O,OH,OW), with C and O even

    Device 0 has the maps 0 ... C/2 - 1 and the kernels 0 ... O/2 - 1, device 1 the others; the
    output has device 0's maps first. As it is, all shapes are right, and a net that trains with it
    learns as well as any: such a bug lives long. It shows when weights from elsewhere are loaded,
    or when a norm respects the seam between the devices.

    For example, with 4 maps that hold 1, 10, 100 and 1000 everywhere, 1 x 1 kernels of ones (w of
    shape (2, 2, 1, 1)) and b = 0, the two output maps should hold 1 + 10 = 11 and 100 + 1000 =
    1100.
    """
    # conv2d(x, w, b, stride, padding, groups) -> y: your own once it passes its check
    conv2d = yours("02", "conv2d")
    O = w.shape[0]
    columns = []
    for device in range(2):
        maps = x[:, device::2]                                       # (N, C/2, H, W)
        kernels = slice(device * O // 2, (device + 1) * O // 2)
        columns.append(conv2d(maps, w[kernels], b[kernels], stride, padding, 1))
    return np.concatenate(columns, axis=1)                           # (N, O, OH, OW)


# 9.4 is a project that no program can check. Choose one of the paper's decisions, undo it, and
# find out what it is worth:
#
#     python -m minitorch_alex.train --set dropout=0.0 --seed 1 --name no-dropout-1
#
# then with seeds 2 and 3, and with the same three seeds without --set. `python -m
# minitorch_alex.plots` draws several runs into one figure. Then write a paragraph. A good one has
#   * the question, and what you expected before you looked;
#   * what was changed, and that nothing else was: same data, epochs, schedule, batch;
#   * both means, and how far apart the seeds are. If the gap between the means is not clearly
#     larger than that, the honest sentence is that three seeds cannot tell;
#   * training error next to test error: a change that lowers both helps learning, one that lowers
#     only the test error works against overfitting;
#   * what it does not show: another learning rate might suit the changed net better, and 32 x 32
#     is not ImageNet. The paper's own ablations (1.4 % for the normalisation, 0.4 % for
#     overlapping pools) are top-1 error there.
