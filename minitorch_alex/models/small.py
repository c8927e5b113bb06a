"""The CIFAR-10 nets that came with cuda-convnet, the code from which AlexNet grew.

Source of all: dnouri/cuda-convnet, which keeps Krizhevsky's own history; there, commit e4ac0c1,
example-layers/layers-{80sec,18pct,19pct,conv-local-13pct,conv-local-11pct}.cfg and the
layer-params files next to them. 80sec, 18pct and 19pct are of September 2011 (commit 9438cba), the
13 % net of December 2011 (7345477), the 11 % net of March 2012 (3878e8f, a2a6af8). The first four
are also in computerhistory/AlexNet-Source-Code; the 11 % net is, as layers-cifar10-11pct.cfg, in
akrizhevsky/cuda-convnet2. Common to all:

    input      raw pixels 0..255 minus the mean image, batches of 128
    rates      0.001 for weights and 0.002 for biases, momentum 0.9; only those of weights drop
    biases     start at 0 and do not decay
    pools      windows are rounded up (32 -> 16 -> 8 -> 4); averages are over the cells in the map

In quick_26, net_18 and net_19 layer 1 pools before its ReLU, as in cuda-convnet's files since
December 2011 (commit 90b0e73); the order does not change what the two compute. With `activation`
tanh, Tanh replaces ReLU, and the layers keep their names relu1 ... relu4.

That the rates of biases stay is a reading. "Reduce all learning rates" (layer-params-18pct.cfg:3)
and "the learning rate" (layer-params-80sec.cfg:2) do not say it; but where he explains the same
words, "all learning rates" are "the `epsW` parameters" (ulrichstern/cuda-convnet, branch wiki,
Methodology.md:30), the 11 % file says "(epsW)" (layer-params-conv-local-11pct.cfg:7-8), and the
one file that shows the end of such a schedule has epsW 0.00001 and epsB 0.002
(computerhistory/AlexNet-Source-Code, example-layers/layer-params-conv-local-12pct.cfg:5-6).
"""
from dataclasses import replace
from typing import Any

from .. import nn
from ..errors import UsageError
from ..init import constant, gaussian
from ..kernels.window import Window
from .network import Network, Scale
from .recipe import Recipe


class CifarNet(Network):
    """A named stack of layers with the decay of each (`wc` in the files) and its recipe."""

    def __init__(self, image_size: int, layer_decay: dict[str, float], recipe: Recipe,
                 fifth_batch: int = 0, **layers: nn.Module) -> None:
        """`fifth_batch`: after about how many epochs the authors added the fifth of CIFAR-10's
        five training batches, which until then was the validation set; 0: from the start."""
        deviations = ["images are shuffled anew in each epoch (2011: once, when the batches were "
                      "made; --set reshuffle=False)"]
        if fifth_batch:
            deviations.append("all five batches are used from the start "
                              f"(the authors' fifth joined after some {fifth_batch} epochs)")
        super().__init__(image_size, recipe, layer_decay, deviations, **layers)


def _conv(inputs: int, outputs: int, std: float) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, padding=2, weight_init=gaussian(std),
                     bias_init=constant(0))


def _local(inputs: int, outputs: int, size: int) -> nn.LocallyConnected2d:
    return nn.LocallyConnected2d(inputs, outputs, size, 3, padding=1, weight_init=gaussian(0.04),
                                 bias_init=constant(0))


def _fc(inputs: int, outputs: int, std: float) -> nn.Linear:
    return nn.Linear(inputs, outputs, weight_init=gaussian(std), bias_init=constant(0))


def _neuron(activation: str) -> nn.Module:
    """The non-linearity: relu in the files; tanh is what the paper compares it with (figure 1)."""
    if activation not in ("relu", "tanh"):
        raise UsageError(f"activation is {activation!r}, expected 'relu' or 'tanh'")
    return nn.ReLU() if activation == "relu" else nn.Tanh()


def _max() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _avg() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)


def _pooled(size: int, times: int) -> int:
    """The side of a map after so many pools."""
    for _ in range(times):
        size, _ = Window.of(3, 2, ceil_mode=True).out(size, size)
    return size


def quick_26(num_classes: int = 10, image_size: int = 32, activation: str = "relu",
             start: str = "file") -> CifarNet:
    """layers-80sec.cfg: "26% error on CIFAR-10 in 80 seconds" on a GPU of 2011. The rate falls to
    a tenth after 8 epochs (layer-params-80sec.cfg:2); that the training ends after 10 stands in no
    file. 145,578 parameters.

    With `start` "scaled", values keep their size from layer to layer: pixels are divided by 64,
    about their standard deviation, and the weights of a layer with n inputs per output are drawn
    with a standard deviation of sqrt(1 / n). Everything else is as it was.

    Raises UsageError for another start or activation."""
    if start not in ("file", "scaled"):
        raise UsageError(f"start is {start!r}, expected 'file' or 'scaled'")
    scaled = start == "scaled"
    end = _pooled(image_size, 3)
    inputs = {"conv1": 5 * 5 * 3, "conv2": 5 * 5 * 32, "conv3": 5 * 5 * 32, "fc64": 64 * end * end,
              "fc10": 64}
    std = {"conv1": 0.0001, "conv2": 0.01, "conv3": 0.01, "fc64": 0.1, "fc10": 0.1}
    if scaled:
        std = {name: n ** -0.5 for name, n in inputs.items()}
    first: dict[str, Any] = {"scale": Scale(1 / 64)} if scaled else {}
    return CifarNet(
        image_size,
        {"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc64": 0.03, "fc10": 0.03},
        Recipe(epochs=10, lr=0.001, milestones=(8,), bias_constant=True),
        **first,
        conv1=_conv(3, 32, std["conv1"]), pool1=_max(), relu1=_neuron(activation),
        conv2=_conv(32, 32, std["conv2"]), relu2=_neuron(activation), pool2=_avg(),
        conv3=_conv(32, 64, std["conv3"]), relu3=_neuron(activation), pool3=_avg(),
        flatten=nn.Flatten(),
        fc64=_fc(inputs["fc64"], 64, std["fc64"]), relu4=_neuron(activation),
        fc10=_fc(64, num_classes, std["fc10"]))


# "Reduce all learning rates by factor of 10 after 120 epochs. Then another factor of 10 after 10
# more epochs.": layer-params-18pct.cfg:3-4
_THREE_LAYERS_RECIPE = Recipe(epochs=140, lr=0.001, milestones=(120, 130), bias_constant=True)


def net_18(num_classes: int = 10, image_size: int = 32, activation: str = "relu",
           norms: bool = True) -> CifarNet:
    """layers-18pct.cfg: 18 % error in 20 minutes. Within-map normalisation after the first two
    pools, no hidden fully connected layer. The rate falls to a tenth after 120 epochs and again
    after 10 more. 89,578 parameters.

    Without `norms` everything else is as it was, which net_19 is not: there fc10 decays thrice as
    much too."""
    return _three_layers(num_classes, image_size, activation, norms, fc10_decay=1.0)


def net_19(num_classes: int = 10, image_size: int = 32,
           activation: str = "relu") -> CifarNet:
    """layers-19pct.cfg: net_18 without the normalisation, and the decay of fc10 is 3. 19 % error
    in 20 minutes; "Set wc to 0 for translations -- 14.2%" (layer-params-19pct.cfg:2), that is, on
    random windows without weight decay. The file has no schedule: net_18's. 89,578 parameters."""
    return _three_layers(num_classes, image_size, activation, norms=False, fc10_decay=3.0)


def _three_layers(num_classes: int, image_size: int, activation: str, norms: bool,
                  fc10_decay: float) -> CifarNet:
    """net_18 and net_19: three convolutions and the output."""
    end = _pooled(image_size, 3)

    def rnorm(number: int) -> dict[str, Any]:
        if not norms:
            return {}
        layer = nn.LocalResponseNorm(3, alpha=5e-5, beta=0.75, k=1, within_map=True)
        return {f"rnorm{number}": layer}

    return CifarNet(
        image_size,
        {"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc10": fc10_decay},
        _THREE_LAYERS_RECIPE,
        conv1=_conv(3, 32, 0.0001), pool1=_max(), relu1=_neuron(activation), **rnorm(1),
        conv2=_conv(32, 32, 0.01), relu2=_neuron(activation), pool2=_avg(), **rnorm(2),
        conv3=_conv(32, 64, 0.01), relu3=_neuron(activation), pool3=_avg(), flatten=nn.Flatten(),
        fc10=_fc(64 * end * end, num_classes, 0.01))


# The procedure of the 13 % net: ulrichstern/cuda-convnet, branch wiki, Methodology.md:15-51
_LOCAL_RECIPE = Recipe(epochs=160, lr=0.001, milestones=(140, 150), bias_constant=True, crop=24,
                       flip=True)


def conv_local_13(num_classes: int = 10, image_size: int = 24, activation: str = "relu",
                  lrn: bool = False, local3: int = 32, fc10_decay: float = 0.004) -> CifarNet:
    """layers-conv-local-13pct.cfg: random 24 x 24 crops and flips, two locally connected layers.
    About 100 epochs on four batches, 40 more on all five, 10 at a tenth of the rate and 10 at a
    hundredth: 12.6 % error by nine views (ulrichstern/cuda-convnet, branch wiki, Methodology.md,
    whose worked example is this net). 1,116,490 parameters.

    `lrn`, `local3` (its maps) and `fc10_decay` are what else differs in conv_local_11 besides the
    number of epochs and the test: the step from 13 to 11 % can be made one change at a time.
    """
    return _locally_connected(num_classes, image_size, activation, lrn, local3, fc10_decay,
                              _LOCAL_RECIPE, fifth_batch=100)


def conv_local_11(num_classes: int = 10, image_size: int = 24,
                  activation: str = "relu") -> CifarNet:
    """layers-conv-local-11pct.cfg: conv_local_13 with normalisation across 9 maps (after the first
    pool, before the second), and with twice the filters in local3. Some 350 epochs on four
    batches, 150 more on all five, 10 at a tenth of the rate and 10 at a hundredth: 11 % error by
    ten views.

    Probably the "four-layer CNN" of the paper's section 3.3, whose footnote 3 points to
    cuda-convnet: four layers if fc10 is not counted. Its 13 % without and 11 % with normalisation
    are of two files that differ in more than that, see `conv_local_13`. 2,112,970 parameters.
    """
    recipe = replace(_LOCAL_RECIPE, epochs=520, milestones=(500, 510))
    return _locally_connected(num_classes, image_size, activation, True, 64, 0.01, recipe,
                              fifth_batch=350)


def _locally_connected(num_classes: int, image_size: int, activation: str, lrn: bool, local3: int,
                       fc10_decay: float, recipe: Recipe, fifth_batch: int) -> CifarNet:
    """conv_local_13 and conv_local_11: two convolutions, two locally connected layers, the output.
    """
    end = _pooled(image_size, 2)

    def cmrnorm(number: int) -> dict[str, Any]:
        if not lrn:
            return {}
        return {f"rnorm{number}": nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1)}

    return CifarNet(
        image_size,
        {"conv1": 0.0, "conv2": 0.0, "local3": 0.004, "local4": 0.004, "fc10": fc10_decay},
        recipe,
        fifth_batch=fifth_batch,
        conv1=_conv(3, 64, 0.0001), relu1=_neuron(activation), pool1=_max(), **cmrnorm(1),
        conv2=_conv(64, 64, 0.01), relu2=_neuron(activation), **cmrnorm(2), pool2=_max(),
        local3=_local(64, local3, end), relu3=_neuron(activation),
        local4=_local(local3, 32, end), relu4=_neuron(activation),
        flatten=nn.Flatten(), fc10=_fc(32 * end * end, num_classes, 0.01))
