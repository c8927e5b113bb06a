"""AlexNet: five convolutional and three fully connected layers, as decisions and as a network."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .. import nn
from ..errors import UsageError
from ..init import Init, constant, gaussian, he
from ..kernels.window import Window
from .network import Network, Scale
from .recipe import Recipe

Five = tuple[int, int, int, int, int]
Three = tuple[float, float, float]
Eight = tuple[float, float, float, float, float, float, float, float]

PRESETS = ("paper", "source_2012", "half_2012", "conv6_2012", "merged", "caffe", "caffenet",
           "tower_2014", "torchvision", "bn", "cifar")
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
# The same layers in pytorch/vision, torchvision/models/alexnet.py.
TORCHVISION = ("features.0", "features.3", "features.6", "features.8", "features.10",
               "classifier.1", "classifier.4", "classifier.6")

# What the documentation of torchvision.models.alexnet divides channels by, std = (0.229, 0.224,
# 0.225) of pixels from 0 to 1, as factors of pixels from 0 to 255.
TORCHVISION_SCALE = (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225))


def _from(place: str, default: Any) -> Any:
    """A field with its default and the place in the paper (or elsewhere) where it is decided."""
    return field(default=default, metadata={"source": place})


def parse_scale(value: Any) -> "float | Three":
    """input_scale: a number, or one number for each of red, green and blue.

    Raises UsageError for anything else.
    """
    numbers = value if isinstance(value, tuple) else (value,)
    kinds = {type(number) for number in numbers}
    if len(numbers) not in (1, 3) or not kinds <= {int, float}:
        raise UsageError(f"input_scale is {value!r}, expected a number, or a tuple of three like "
                         "(0.017, 0.017, 0.017)")
    return value


def _preset(make: "Callable[..., AlexNetConfig]", changes: dict[str, Any],
            **settings: Any) -> "AlexNetConfig":
    """A configuration with the settings of a preset, except where the caller changes them."""
    return make(**{**settings, **changes})


@dataclass(frozen=True)
class AlexNetConfig:
    """One field per decision.

    The defaults are the paper's text (Krizhevsky, Sutskever, Hinton, NIPS 2012); the docstring of
    each preset says which file it follows. `python -m minitorch_alex.models.compare` prints the
    differences. Raises UsageError for a value that makes no network.
    """

    num_classes: int = _from("section 3.5", 1000)
    image_size: int = _from("section 2 and figure 2", 224)
    # A factor, or one for each of red, green and blue.
    input_scale: float | Three = field(default=1.0, metadata={
        "source": "section 2: raw pixels 0..255 minus the mean", "parse": parse_scale})
    channels: Five = _from("section 3.5, over both GPUs together", (96, 256, 384, 384, 256))
    kernels: Five = _from("section 3.5", (11, 5, 3, 3, 3))
    strides: Five = _from("section 3.5; 1 follows from figure 2", (4, 1, 1, 1, 1))
    paddings: Five = _from("follows from the sizes in figure 2", (0, 2, 1, 1, 1))
    groups: Five = _from("section 3.2: conv2, 4, 5 see their own GPU's maps only", (1, 2, 1, 2, 2))
    ceil_mode: bool = _from(
        "AlexNet-Source-Code layer.py:1004, 1164: 1 + ceil(213 / 4) = 55", True)
    conv_floor: bool = _from(
        "Caffe: convolutions round down (conv_layer.cpp:18-19), pools up "
        "(pooling_layer.cpp:93-96)",
        False)
    # What follows each convolution, in the order of the source where the order matters (ReLU and
    # the maximum commute); "rnorm" is the normalisation within a map, "bn" batch normalisation
    # (Ioffe and Szegedy 2015; before the ReLU in cvjena/cnn-models AlexNet_cvgj/train.prototxt).
    after: tuple[str, str, str, str, str] = _from(
        "section 3.5", ("relu lrn pool", "relu lrn pool", "relu", "relu", "relu pool"))
    activation: str = _from("section 3.1: relu; tanh is what it is compared with", "relu")
    pool_size: int = _from("section 3.4: overlapping, 3 > 2", 3)
    pool_stride: int = _from("section 3.4", 2)
    conv6: int = _from(
        "section 6: maps of \"an extra sixth convolutional layer over the last pooling layer\"; "
        "3 x 3, std 0.03, bias 1: layers-146-2012-2011.cfg:258-286", 0)
    adaptive_pool: int = _from(
        "torchvision alexnet.py: maps are averaged to 6 x 6 before fc6; 0: they are not", 0)
    lrn_size: int = _from("section 3.3: n", 5)
    lrn_alpha: float = _from("section 3.3", 1e-4)
    lrn_alpha_over_size: bool = _from(
        "section 3.3 prints no division; the code divides (layer.py:1183)", False)
    lrn_beta: float = _from("section 3.3", 0.75)
    lrn_k: float = _from("section 3.3", 2.0)
    lrn_groups: int = _from(
        "section 3.2: each GPU normalises its own maps, no window crosses the seam", 2)
    bn_eps: float = _from("PyTorch's default; Ioffe and Szegedy 2015 give no number", 1e-5)
    bn_affine: bool = _from(
        "Ioffe and Szegedy 2015, algorithm 1: a scale and a shift for each map are learnt", True)
    hidden: tuple[int, int] = _from("section 3.5: fc6, fc7", (4096, 4096))
    dropout: float = _from("section 4.2", 0.5)
    dropout_rule: str = _from(
        "section 4.2: outputs times 0.5 at test time; inverted: / 0.5 while training", "2012")
    dropout_place: str = _from(
        'section 4.2: on the "output" of fc6 and fc7; torchvision: on their "input"', "output")
    init: str = _from(
        "section 5; he: N(0, 2 / fan_in) but for fc8; torch: uniform, 1 / sqrt(fan_in)",
        "gaussian")
    init_std: Eight = _from("section 5: 0.01 in each layer", (0.01,) * 8)
    init_bias: Eight = _from("section 5: 1 in conv2, 4, 5 and the hidden fc layers",
                             (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0))
    names: str = _from(
        "of parameters: paper (conv1 ... fc8) or torchvision (features.0 ...)", "paper")

    @classmethod
    def paper(cls, **changes: Any) -> "AlexNetConfig":
        """The printed text. 60,965,224 parameters."""
        return cls(**changes)

    @classmethod
    def source_2012(cls, **changes: Any) -> "AlexNetConfig":
        """What ran: computerhistory/AlexNet-Source-Code, layers/layers-145.cfg; the log of that
        run has the paper's 40.7 / 18.2 % (layers/layer-params-145.cfg:182). Layer 1 normalises
        before its ReLU, an unpublished within-map norm follows the second LRN, alpha is divided by
        n, conv3 to conv5 start at std 0.03. 60,965,224 parameters."""
        return _preset(
            cls, changes,
            after=("lrn pool relu", "relu lrn rnorm pool", "relu", "relu", "relu pool"),
            lrn_alpha_over_size=True,
            init_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01))

    @classmethod
    def half_2012(cls, **changes: Any) -> "AlexNetConfig":
        """The paper's one-GPU comparison (section 3.2, footnote 2):
        computerhistory/AlexNet-Source-Code, layers/layers-145-half.cfg, half the kernels in conv1
        to conv4, one column. 59,798,312 parameters."""
        return _preset(
            cls.source_2012, changes,
            channels=(48, 128, 192, 192, 256), groups=(1, 1, 1, 1, 1), lrn_groups=1)

    @classmethod
    def conv6_2012(cls, **changes: Any) -> "AlexNetConfig":
        """Two of the seven networks whose average won in 2012 (section 6, table 2) have a sixth
        convolution behind the last pool, which sees both columns, and were pre-trained on all of
        ImageNet: computerhistory/AlexNet-Source-Code, layers/layers-146-2012-2011.cfg. Pre-trained
        on the Fall 2011 release, one has 39.0 / 16.6 %
        (layers/layer-params-146-2012-2011.cfg:194-195). 61,555,304 parameters."""
        return _preset(cls.source_2012, changes, conv6=256)

    @classmethod
    def merged(cls, **changes: Any) -> "AlexNetConfig":
        """The paper's widths on one device without groups, as in many reimplementations.
        62,378,344 parameters."""
        return _preset(cls, changes, groups=(1, 1, 1, 1, 1), lrn_groups=1)

    @classmethod
    def caffe(cls, **changes: Any) -> "AlexNetConfig":
        """BVLC/caffe models/bvlc_alexnet: 227 pixels, hidden biases 0.1, fc6 and fc7 at std 0.005,
        LRN across the seam with alpha / n and k = 1, inverted dropout. 57.1 / 80.2 % top-1 / top-5
        accuracy."""
        return _preset(
            cls, changes,
            image_size=227, conv_floor=True, lrn_alpha_over_size=True, lrn_k=1.0, lrn_groups=1,
            dropout_rule="inverted",
            init_std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
            init_bias=(0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0))

    @classmethod
    def caffenet(cls, **changes: Any) -> "AlexNetConfig":
        """BVLC/caffe models/bvlc_reference_caffenet: caffe with the pool before the normalisation
        and biases of 1. 57.4 / 80.4 % top-1 / top-5 accuracy."""
        return _preset(
            cls.caffe, changes,
            after=("relu pool lrn", "relu pool lrn", "relu", "relu", "relu pool"),
            init_bias=(0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0))

    @classmethod
    def tower_2014(cls, **changes: Any) -> "AlexNetConfig":
        """The single tower of "One weird trick" (arXiv:1404.5997) as its author ran it:
        akrizhevsky/cuda-convnet2, layers/layers-imagenet-1gpu.cfg. Both norms are there, the first
        before its ReLU; fc8 starts at -7, where a logistic unit answers 1/1000 (a softmax does not
        mind). 61,100,840 parameters; 42.5 / 19.8 % top-1 / top-5 error by the centre, 40.4 /
        18.2 % by ten views."""
        return _preset(
            cls, changes,
            channels=(64, 192, 384, 256, 256), groups=(1, 1, 1, 1, 1),
            after=("lrn pool relu", "relu lrn pool", "relu", "relu", "relu pool"),
            lrn_alpha_over_size=True, lrn_groups=1,
            init_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
            init_bias=(0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, -7.0))

    @classmethod
    def torchvision(cls, **changes: Any) -> "AlexNetConfig":
        """pytorch/vision torchvision/models/alexnet.py: a descendant of tower_2014 with padding
        instead of rounding up, without its norms, with dropout before fc6 and fc7, and with inputs
        of unit variance: pixels minus the mean are divided by 255 times (0.229, 0.224, 0.225).
        61,100,840 parameters; 56.5 / 79.1 % top-1 / top-5 accuracy."""
        return _preset(
            cls, changes,
            input_scale=TORCHVISION_SCALE, channels=(64, 192, 384, 256, 256),
            groups=(1, 1, 1, 1, 1), paddings=(2, 2, 1, 1, 1), ceil_mode=False, adaptive_pool=6,
            after=("relu pool", "relu pool", "relu", "relu", "relu pool"),
            dropout_rule="inverted", dropout_place="input", init="torch", names="torchvision")

    @classmethod
    def bn(cls, **changes: Any) -> "AlexNetConfig":
        """Batch normalisation instead of LRN: borisgin/nvcaffe,
        models/alexnet_bn/train_val2.prototxt, the net of LARS (You, Gitman, Ginsburg 2017,
        arXiv:1708.03888); the solver files next to it train this one, not train_val.prototxt. It
        is caffe on pixels / 256 that normalises what conv2 to conv5 read, without scale and shift,
        behind the pool or the ReLU: not before the ReLU, where Ioffe and Szegedy have it. The
        running variance there is the biased one. 60,965,224 parameters."""
        return _preset(
            cls.caffe, changes,
            input_scale=1 / 256, bn_eps=1e-4, bn_affine=False,
            after=("relu pool bn", "relu pool bn", "relu bn", "relu bn", "relu pool"),
            init_bias=(0.01, 0.01, 0.01, 0.01, 0.01, 0.1, 0.1, 0.01))

    @classmethod
    def cifar(cls, **changes: Any) -> "AlexNetConfig":
        """The paper's net for 32 x 32: half of the channels (fc: 1024), a 3 x 3 stem at stride 1,
        He initialisation for pixels scaled to about unit variance, biases 0. An 11 x 11 stem at
        stride 4 would leave 6 x 6 of 32 x 32."""
        return _preset(
            cls, changes,
            num_classes=10, image_size=32, input_scale=1 / 64, channels=(48, 128, 192, 192, 128),
            kernels=(3, 5, 3, 3, 3), strides=(1, 1, 1, 1, 1), paddings=(1, 2, 1, 1, 1),
            hidden=(1024, 1024), dropout_rule="inverted", init="he", init_bias=(0.0,) * 8)

    def __post_init__(self) -> None:
        lengths = {"channels": 5, "kernels": 5, "strides": 5, "paddings": 5, "groups": 5,
                   "after": 5, "hidden": 2, "init_std": 8, "init_bias": 8}
        parse_scale(self.input_scale)
        for name, length in lengths.items():
            entries = len(getattr(self, name))
            if entries != length:
                raise UsageError(f"AlexNetConfig: {name} has {entries} entries, expected {length}")
        kinds = {"init": ("gaussian", "he", "torch"), "dropout_place": ("output", "input"),
                 "names": ("paper", "torchvision"), "activation": ("relu", "tanh")}
        for name, expected in kinds.items():
            value = getattr(self, name)
            if value not in expected:
                raise UsageError(f"AlexNetConfig: {name} is {value!r}, "
                                 f"expected {' or '.join(expected)}")
        known = {"relu", "lrn", "rnorm", "bn", "pool"}
        unknown = set(" ".join(self.after).split()) - known
        if unknown:
            raise UsageError(f"AlexNetConfig: after has {', '.join(sorted(unknown))}, expected "
                             f"words of {', '.join(sorted(known))}")

    def blank(self) -> "AlexNetConfig":
        """The same with weights of 0: for the sizes of a net, without drawing random numbers."""
        return replace(self, init="gaussian", init_std=(0.0,) * 8)

    def differences(self, other: "AlexNetConfig") -> dict[str, tuple[Any, Any]]:
        """field -> (own value, the other's value) for each field in which the two differ."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return {name: (own, others) for name, (own, others) in pairs.items() if own != others}

    def deviations(self) -> list[str]:
        """Where the configuration differs from the paper's text, one field each. Image size and
        number of classes follow from the data and do not count."""
        differences = self.differences(AlexNetConfig.paper())
        return [f"{name}: {own} (paper: {papers})" for name, (own, papers) in differences.items()
                if name not in ("num_classes", "image_size")]


class AlexNet(Network):
    """Deviations from the paper: none with AlexNetConfig.paper(), else `deviations` lists them.

        conv1 ReLU LRN pool | conv2 ReLU LRN pool | conv3 ReLU | conv4 ReLU | conv5 ReLU pool
        fc6 ReLU dropout | fc7 ReLU dropout | fc8                      (sections 3.5 and 4.2)

    Input: pixels 0..255 minus the training set's mean image, (N, 3, image_size, image_size).
    Output: logits (N, num_classes). At 224 the maps are 55, 27, 13, 13, 13 and 6 wide. With
    `activation` tanh, Tanh replaces ReLU, and the layers keep their names relu1 ... relu7.
    Raises UsageError and ShapeError for a configuration that makes no network.
    """

    def __init__(self, config: AlexNetConfig, num_classes: int | None = None) -> None:
        if num_classes is not None:
            config = replace(config, num_classes=num_classes)
        self.config = config
        layers: dict[str, nn.Module] = {}
        if config.input_scale != 1:
            layers["scale"] = Scale(config.input_scale)
        channels = 3
        size = config.image_size
        for i in range(5):
            size = self._add_convolution(layers, i, channels, size)
            channels = config.channels[i]
        if config.conv6:
            layers["conv6"] = nn.Conv2d(channels, config.conv6, 3, padding=1,
                                        **self._init_by(0.03, 1.0))
            layers["relu_conv6"] = self._layer("relu")  # relu6 is that of fc6
            channels = config.conv6
        if config.adaptive_pool and size != config.adaptive_pool:
            layers["adaptive_pool"] = nn.AdaptiveAvgPool2d(config.adaptive_pool)
            size = config.adaptive_pool
        layers["flatten"] = nn.Flatten()
        features = channels * size * size
        for i, width in zip((6, 7), config.hidden, strict=True):
            self._add_hidden(layers, i, features, width)
            features = width
        layers["fc8"] = nn.Linear(features, config.num_classes, **self._init(7))
        super().__init__(config.image_size, default_recipe(config.image_size), {},
                         config.deviations(), **layers)

    def _add_convolution(self, layers: dict[str, nn.Module], i: int, channels: int,
                         size: int) -> int:
        """Add the i-th convolution, from 0, on `channels` maps of size x size, and what follows
        it. Returns the size of the maps after that."""
        config = self.config
        kernel = config.kernels[i]
        stride = config.strides[i]
        padding = config.paddings[i]
        ceil_mode = config.ceil_mode and not config.conv_floor
        layers[f"conv{i + 1}"] = nn.Conv2d(
            channels, config.channels[i], kernel, stride, padding, groups=config.groups[i],
            ceil_mode=ceil_mode, **self._init(i))
        size, _ = Window.of(kernel, stride, padding, 1, ceil_mode).out(size, size)
        for kind in config.after[i].split():
            layers[f"{kind}{i + 1}"] = self._layer(kind, config.channels[i])
        if "pool" in config.after[i].split():
            pool = Window.of(config.pool_size, config.pool_stride, ceil_mode=config.ceil_mode)
            size, _ = pool.out(size, size)
        return size

    def _add_hidden(self, layers: dict[str, nn.Module], i: int, features: int, width: int) -> None:
        """Add fc6 or fc7 (i = 6 or 7), its activation and its dropout."""
        config = self.config
        dropout = nn.Dropout(config.dropout, config.dropout_rule)
        if config.dropout_place == "input":
            layers[f"drop{i}"] = dropout
        layers[f"fc{i}"] = nn.Linear(features, width, **self._init(i - 1))
        layers[f"relu{i}"] = self._layer("relu")
        if config.dropout_place == "output":
            layers[f"drop{i}"] = dropout

    def _init(self, i: int) -> dict[str, Any]:
        """The initialisers of the i-th layer with weights, from 0, as arguments of that layer."""
        config = self.config
        last = i == 7  # fc8 stays small, so that the loss starts near ln C
        return self._init_by(config.init_std[i], config.init_bias[i], fan_in=not last)

    def _init_by(self, std: float, bias: float, fan_in: bool = True) -> dict[str, Any]:
        """Initialisers with that standard deviation and bias, where `init` does not say otherwise.
        He's rule is for layers with `fan_in` only."""
        config = self.config
        if config.init == "torch":
            return {}  # what layers do without initialisers
        weight: Init = he() if config.init == "he" and fan_in else gaussian(std)
        return {"weight_init": weight, "bias_init": constant(bias)}

    def _layer(self, kind: str, channels: int = 0) -> nn.Module:
        """A new layer of a kind that `after` names, on so many channels."""
        config = self.config
        if kind == "relu":
            return nn.ReLU() if config.activation == "relu" else nn.Tanh()
        if kind == "pool":
            return nn.MaxPool2d(config.pool_size, config.pool_stride, ceil_mode=config.ceil_mode)
        if kind == "bn":
            return nn.BatchNorm2d(channels, self.config.bn_eps, affine=self.config.bn_affine)
        if kind == "rnorm":  # layers-145: scale 0.001 / 25, pow 0.75, minDiv 1, not in the paper
            return nn.LocalResponseNorm(5, alpha=0.001, beta=0.75, k=1.0, within_map=True)
        # The layer divides alpha by its size; the paper's formula does not.
        alpha = config.lrn_alpha * (1 if config.lrn_alpha_over_size else config.lrn_size)
        return nn.LocalResponseNorm(config.lrn_size, alpha, config.lrn_beta, config.lrn_k,
                                    config.lrn_groups)

    def named_parameters(self, remove_duplicate: bool = True
                         ) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, parameter), by the paper's names of layers or by torchvision's."""
        names: dict[str, str] = {}
        if self.config.names == "torchvision":
            names = dict(zip(LAYERS, TORCHVISION, strict=True))
        for name, parameter in super().named_parameters(remove_duplicate):
            layer, _, kind = name.partition(".")
            yield f"{names.get(layer, layer)}.{kind}", parameter


def default_recipe(image_size: int) -> Recipe:
    """Section 5 for images of ImageNet's size. For small ones the same rule and momentum, random
    crops of a padded image, and a schedule of steps, shorter than the paper's 90 epochs."""
    if image_size >= 64:
        return Recipe(epochs=90, lr=0.01, weight_decay=0.0005, schedule="plateau", crop=image_size,
                      flip=True, color="source")
    return Recipe(epochs=60, lr=0.01, weight_decay=0.0005, milestones=(40, 50, 56), pad=4,
                  flip=True)
