"""AlexNet: five convolutional and three fully connected layers, as a list of decisions and as a network."""
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import nn
from ..errors import UsageError
from ..init import Init, constant, gaussian, he
from ..kernels.window import Window
from .recipe import Recipe

Five = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class AlexNetConfig:
    """One field a decision. The defaults are the paper's text (Krizhevsky, Sutskever, Hinton, NIPS 2012)."""

    num_classes: int = 1000
    image_size: int = 224                        # section 2; rounded up to 55 in conv1, see ceil_mode
    input_scale: float = 1.0                     # times pixels 0..255 minus the mean; the paper does not scale
    channels: Five = (96, 256, 384, 384, 256)    # section 3.5; over both GPUs together
    kernels: Five = (11, 5, 3, 3, 3)             # section 3.5
    strides: Five = (4, 1, 1, 1, 1)              # section 3.5; 1 is not printed but follows from figure 2
    paddings: Five = (0, 2, 1, 1, 1)             # follows from the sizes in figure 2
    groups: Five = (1, 2, 1, 2, 2)               # section 3.2: conv2, 4, 5 see their own GPU's maps only
    ceil_mode: bool = True                       # AlexNet-Source-Code layer.py:1004, :1164: 1 + ceil(213 / 4) = 55
    pooled: tuple[int, ...] = (1, 2, 5)          # section 3.5: max pools after conv1, conv2 and conv5
    pool_size: int = 3                           # section 3.4: overlapping, 3 > 2
    pool_stride: int = 2
    normalised: tuple[int, ...] = (1, 2)         # section 3.5: LRN after the ReLU of conv1 and conv2, before the pool
    lrn_size: int = 5                            # section 3.3: n
    lrn_alpha: float = 1e-4                      # section 3.3: multiplies the plain sum, as printed (no division by n)
    lrn_beta: float = 0.75
    lrn_k: float = 2.0
    lrn_groups: int = 2                          # each GPU normalises its own maps: windows do not cross the seam
    hidden: tuple[int, int] = (4096, 4096)       # fc6, fc7
    dropout: float = 0.5                         # section 4.2: on the outputs of fc6 and fc7
    dropout_rule: str = "2012"                   # "multiply their outputs by 0.5" at test time
    init: str = "gaussian"                       # "gaussian": N(0, init_std^2); "he": N(0, 2 / fan_in), but for fc8
    init_std: float = 0.01                       # section 5
    ones: tuple[int, ...] = (2, 4, 5, 6, 7)      # section 5: layers whose biases start at 1; the others at 0

    @classmethod
    def paper(cls, **changes: Any) -> "AlexNetConfig":
        """The printed text. 60,965,224 parameters."""
        return cls(**changes)

    @classmethod
    def cifar(cls, **changes: Any) -> "AlexNetConfig":
        """The same net for 32 x 32: all widths halved (fc: 1024), a 3 x 3 stem at stride 1, He initialisation of
        pixels scaled to about unit variance, biases 0. An 11 x 11 stem at stride 4 would leave 6 x 6 of 32 x 32."""
        return cls(**{**dict(
            num_classes=10, image_size=32, input_scale=1 / 64, channels=(48, 128, 192, 192, 128),
            kernels=(3, 5, 3, 3, 3), strides=(1, 1, 1, 1, 1), paddings=(1, 2, 1, 1, 1), hidden=(1024, 1024),
            dropout_rule="inverted", init="he", ones=()), **changes})

    def __post_init__(self) -> None:
        for name in ("channels", "kernels", "strides", "paddings", "groups"):
            if len(getattr(self, name)) != 5:
                raise UsageError(f"AlexNetConfig: {name} has {len(getattr(self, name))} entries, expected 5")
        if self.init not in ("gaussian", "he"):
            raise UsageError(f"AlexNetConfig: init is {self.init!r}, expected 'gaussian' or 'he'")

    def differences(self, other: "AlexNetConfig") -> list[str]:
        """Each field in which self differs from other, as "field: mine (theirs: value)"."""
        return [f"{f.name}: {getattr(self, f.name)} (paper: {getattr(other, f.name)})" for f in fields(self)
                if getattr(self, f.name) != getattr(other, f.name) and f.name not in ("num_classes", "image_size")]


class Scale(nn.Module):
    """x times a constant."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class AlexNet(nn.Sequential):
    """Deviations from the paper: none with AlexNetConfig.paper(); otherwise `deviations` lists them, one a field.

        conv1 ReLU LRN pool | conv2 ReLU LRN pool | conv3 ReLU | conv4 ReLU | conv5 ReLU pool
        fc6 ReLU dropout | fc7 ReLU dropout | fc8                      (sections 3.5 and 4.2)

    Input: pixels 0..255 minus the training set's mean image, (N, 3, image_size, image_size). Output: (N, num_classes)
    logits. At 224: 55, 27, 13, 13, 13, 6.
    """

    def __init__(self, config: AlexNetConfig, num_classes: int | None = None) -> None:
        config = config if num_classes is None else replace(config, num_classes=num_classes)
        self.config, self.image_size, self.layer_decay = config, config.image_size, {}
        layers: dict[str, nn.Module] = {"scale": Scale(config.input_scale)} if config.input_scale != 1 else {}
        channels, size = 3, config.image_size
        for i in range(1, 6):
            out, kernel, stride = config.channels[i - 1], config.kernels[i - 1], config.strides[i - 1]
            padding, groups = config.paddings[i - 1], config.groups[i - 1]
            layers[f"conv{i}"] = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups,
                                           ceil_mode=config.ceil_mode, weight_init=self._weights(),
                                           bias_init=constant(i in config.ones))
            layers[f"relu{i}"] = nn.ReLU()
            size = Window.of(kernel, stride, padding, 1, config.ceil_mode).out(size, size)[0]
            if i in config.normalised:
                layers[f"lrn{i}"] = nn.LocalResponseNorm(config.lrn_size, config.lrn_alpha * config.lrn_size,
                                                         config.lrn_beta, config.lrn_k, config.lrn_groups)
            if i in config.pooled:
                layers[f"pool{i}"] = nn.MaxPool2d(config.pool_size, config.pool_stride, ceil_mode=config.ceil_mode)
                size = Window.of(config.pool_size, config.pool_stride, ceil_mode=config.ceil_mode).out(size, size)[0]
            channels = out
        layers["flatten"] = nn.Flatten()
        features = channels * size * size
        for i, width in zip((6, 7), config.hidden, strict=True):
            layers[f"fc{i}"] = nn.Linear(features, width, weight_init=self._weights(),
                                         bias_init=constant(i in config.ones))
            layers[f"relu{i}"] = nn.ReLU()
            layers[f"drop{i}"] = nn.Dropout(config.dropout, config.dropout_rule)
            features = width
        layers["fc8"] = nn.Linear(features, config.num_classes, weight_init=gaussian(config.init_std),
                                  bias_init=constant(8 in config.ones))  # small, so that the loss starts near ln C
        super().__init__(**layers)

    def _weights(self) -> Init:
        return he() if self.config.init == "he" else gaussian(self.config.init_std)

    @property
    def deviations(self) -> list[str]:
        """Where the configuration differs from the paper's text."""
        return self.config.differences(AlexNetConfig.paper())

    @property
    def recipe(self) -> Recipe:
        """Section 5 for images of ImageNet's size; for small ones the same rule and momentum, random crops of a padded
        image, and a schedule of steps, shorter than the paper's 90 epochs."""
        if self.image_size >= 64:
            return Recipe(epochs=90, lr=0.01, weight_decay=0.0005, schedule="plateau", crop=self.image_size, flip=True,
                          color="source")
        return Recipe(epochs=60, lr=0.01, weight_decay=0.0005, milestones=(40, 50, 56), pad=4, flip=True)
