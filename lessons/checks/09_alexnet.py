"""Lesson 9: AlexNet from its configuration, two shares, and groups that are mixed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from types import ModuleType
from typing import Any

import numpy as np

from minitorch_alex import functional as F
from minitorch_alex import nn, streams
from minitorch_alex.autograd import no_grad
from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same, difference
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.tensor import Tensor

# Small nets in which every decision shows: odd sizes, a norm with a visible effect, a dropout that
# is not 1/2.
SMALL = dict(
    num_classes=5,
    image_size=40,
    channels=(4, 8, 6, 8, 4),
    kernels=(5, 3, 3, 3, 3),
    strides=(2, 1, 1, 1, 1),
    hidden=(7, 9),
    lrn_alpha=0.5,
    dropout=0.25,
    init="he",
    init_std=(0.5,) * 8,
    init_bias=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
)
PAPER = AlexNetConfig.paper(**SMALL)
SOURCE = AlexNetConfig.source_2012(**SMALL)
# without torchvision's adaptive pool, which changes nothing at the size it was made for
TORCHVISION = AlexNetConfig.torchvision(
    **{**SMALL, "paddings": (1, 2, 1, 1, 1), "init": "torch", "adaptive_pool": 0}
)
CIFAR = AlexNetConfig.cifar(channels=(4, 8, 6, 8, 4), hidden=(7, 9))


def names(net: nn.Module) -> str:
    """The names of the layers, in order."""
    return " ".join(name for name, _ in net.named_children())


def check_names(m: ModuleType, config: AlexNetConfig, label: str) -> Holds:
    """The layers and their order."""
    expected = names(AlexNet(config))

    def run() -> tuple[bool, str]:
        net = m.build(config)
        if not isinstance(net, nn.Module):
            return False, (
                f"expected an nn.Sequential, got {type(net).__name__}"
                + (": is the return missing?" if net is None else "")
            )
        got = names(net).split()
        wanted = expected.split()
        first = next(
            (i for i, pair in enumerate(zip_longest(got, wanted), 1) if len(set(pair)) > 1), 0
        )
        return not first, (
            f"layer {first} is {(got[first - 1 : first] or ['missing'])[0]}, expected "
            f"{(wanted[first - 1 : first] or ['no more'])[0]}. All of yours: "
            f"{' '.join(got) or 'none'}; expected: {expected}"
        )

    return Holds(label, run)


def check_weights(
    make: Callable[[], nn.Module], reference: nn.Module, label: str, values: bool
) -> Holds:
    """The parameters in their order: their shapes, or with values the numbers in them."""

    def run() -> tuple[bool, str]:
        got = list(make().named_parameters())
        wanted = list(reference.parameters())
        for (name, g), p in zip(got, wanted):
            if g.shape != p.shape:
                return False, f"{name} has shape {g.shape}, expected {p.shape}"
            if values and (text := difference(g.data, p.data)):
                return False, f"{name}: {text}"
        return len(got) == len(wanted), f"{len(got)} arrays of parameters, expected {len(wanted)}"

    return Holds(label, run)


def drawn(make: Any, config: AlexNetConfig) -> nn.Module:
    """A net whose weights are drawn from seed 3."""
    streams.manual_seed(3)
    return make(config)


def logits(net: nn.Module, size: int, training: bool) -> np.ndarray:
    """The logits for four images; in training with the dropout of step 5."""
    images = 40 * np.random.default_rng(7).standard_normal((4, 3, size, size)).astype(np.float32)
    streams.set_step(5)
    with no_grad():
        return net.train(training)(Tensor(images)).data


def check_build(m: ModuleType) -> Iterator[Case]:
    for config, label in (
        (PAPER, "the paper's text"),
        (SOURCE, "what ran in 2012"),
        (TORCHVISION, "torchvision"),
        (CIFAR, "32 x 32"),
    ):
        yield check_names(m, config, f"the layers, as in {label}")
        reference = drawn(AlexNet, config)
        yield check_weights(
            lambda c=config: m.build(c),
            reference,
            f"the shapes of the weights, as in {label}",
            False,
        )
        yield check_weights(
            lambda c=config: drawn(m.build, c),
            reference,
            f"the weights themselves after manual_seed(3), as in {label}",
            True,
        )
        size = config.image_size
        yield Same(
            f"the logits of four images in evaluation, as in {label}",
            lambda c=config, s=size: logits(drawn(m.build, c), s, False),
            logits(reference, size, False),
            1e-4,
            1e-5,
        )
        yield Same(
            f"the logits of four images in training, as in {label}",
            lambda c=config, s=size: logits(drawn(m.build, c), s, True),
            logits(reference, size, True),
            1e-4,
            1e-5,
        )
    yield check_names(m, PAPER, "the paper's text once more: nothing is left of the nets before")
    zeros = replace(
        AlexNetConfig.paper(), init_std=(0.0,) * 8
    )  # 61 million numbers, none of them drawn
    yield Same(
        "the parameters of the paper's net at full size",
        lambda: sum(p.size for p in m.build(zeros).parameters()),
        60_965_224,
    )


def check_shares(m: ModuleType) -> Iterator[Case]:
    yield Answer(
        "the share of fc6 in the parameters, in percent", lambda: m.SHARE_OF_FC6, 56.2, within=0.06
    )
    yield Answer(
        "the share of conv1 to conv5 in the multiply-adds, in percent",
        lambda: m.SHARE_OF_CONV,
        94.4,
        within=0.06,
    )


def check_groups(m: ModuleType) -> Iterator[Case]:
    x = np.array([1.0, 10.0, 100.0, 1000.0])[None, :, None, None] * np.ones((1, 4, 2, 3))
    y = np.array([11.0, 1100.0])[None, :, None, None] * np.ones((1, 2, 2, 3))
    yield Same(
        "four maps that hold 1, 10, 100 and 1000, kernels of ones: which maps does each output "
        "see?",
        lambda: m.conv_on_two_gpus(x, np.ones((2, 2, 1, 1)), np.zeros(2), 1, 0),
        y,
    )
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 6, 7, 8))
    w = rng.standard_normal((10, 3, 3, 2))
    b = rng.standard_normal(10)
    yield Same(
        "6 maps, 10 kernels of 3 x 2, stride 2, padding 1",
        lambda: m.conv_on_two_gpus(x, w, b, 2, 1),
        F.conv2d(Tensor(x), Tensor(w), Tensor(b), 2, 1, groups=2).data,
    )
    low = np.where(x > 0, 0.0, 1e6 * x)
    yield Same(
        "zeros and large negative numbers, stride 1",
        lambda: m.conv_on_two_gpus(low, w, b, 1, 0),
        F.conv2d(Tensor(low), Tensor(w), Tensor(b), 1, 0, groups=2).data,
    )


EXERCISES = (
    Exercise(
        "9.1",
        "build",
        "AlexNet from its configuration",
        check_build,
        restart=False,
        hints=(
            "Walk through the five convolutions with two numbers in hand: how many maps there "
            "are, and the side of the image. Each convolution changes both, each pool the side.",
            'layers = {}; for i in 1 ... 5: layers[f"conv{i}"] = nn.Conv2d(channels, '
            "config.channels[i - 1], ...); "
            "channels = config.channels[i - 1]; size = size_after(size, ...). Then for word in "
            "config.after[i - 1].split(): ...",
            "fc6 takes channels * size * size features. alpha of the LRN is config.lrn_alpha if "
            "config.lrn_alpha_over_size else config.lrn_alpha * config.lrn_size. The end is "
            "return nn.Sequential(**layers).",
        ),
        bugs=(
            Bug(
                "groups forgotten",
                "the convolutions have one group: this is the merged net, in which every kernel "
                "sees all maps; pass groups, the layer's entry of config.groups",
                old="groups=config.groups[i], ceil",
                new="ceil",
            ),
            Bug(
                "rounded down",
                "the convolutions round their size down: pass ceil_mode=config.ceil_mode",
                old="ceil_mode=config.ceil_mode, **initial(config, i))\n        channels",
                new="**initial(config, i))\n        channels",
            ),
            Bug(
                "pools rounded down",
                "the pools round their size down: pass ceil_mode=config.ceil_mode",
                old="config.pool_stride, ceil_mode=config.ceil_mode)",
                new="config.pool_stride)",
            ),
            Bug(
                "alpha divided",
                "the norm's alpha is a fifth of the paper's: nn.LocalResponseNorm divides it by "
                "the window's size, so where lrn_alpha_over_size is False pass config.lrn_alpha "
                "* config.lrn_size",
                old="if not config.lrn_alpha_over_size:",
                new="if False:",
            ),
            Bug(
                "alpha never divided",
                "the norm's alpha is always multiplied by the window's size; where "
                "lrn_alpha_over_size is True the division is intended, so pass config.lrn_alpha "
                "unchanged",
                old="if not config.lrn_alpha_over_size:",
                new="if True:",
            ),
            Bug(
                "a norm across the seam",
                "the norm's windows cross from one group of maps to the other: pass "
                "groups=config.lrn_groups",
                old="config.lrn_k,\n                                             "
                "groups=config.lrn_groups)",
                new="config.lrn_k)",
            ),
            Bug(
                "a fixed dropout",
                "the dropout silences half of the units whatever the configuration says: pass "
                "config.dropout",
                old="nn.Dropout(config.dropout, config.dropout_rule)\n        features",
                new="nn.Dropout(0.5, config.dropout_rule)\n        features",
            ),
            Bug(
                "torch's dropout",
                "the dropout follows torch's rule: the paper's multiplies the outputs by 1 - p at "
                "test time; pass config.dropout_rule",
                old="nn.Dropout(config.dropout, config.dropout_rule)\n        features",
                new="nn.Dropout(config.dropout)\n        features",
            ),
            Bug(
                "a ReLU after fc8",
                "a ReLU follows fc8: the logits must be free to be negative",
                old="    return nn.Sequential(**layers)",
                new='    layers["relu8"] = nn.ReLU()\n    return nn.Sequential(**layers)',
            ),
            Bug(
                "pools forgotten",
                "fc6 counts the side of the image before the pools: a pool changes the side, too",
                old="size = size_after(\n"
                "                    size, config.pool_size, config.pool_stride, 0, "
                "config.ceil_mode)",
                new="pass",
            ),
            Bug(
                "one map",
                "fc6 takes the places of one map only: features are maps times side times side",
                old="features = channels * size * size",
                new="features = size * size",
            ),
            Bug(
                "the same features",
                "fc7 and fc8 take what fc6 took; their input is the output of the layer before",
                old="        features = width\n",
                new="",
            ),
            Bug(
                "the next layer's start",
                "each convolution starts as the layer after it should: initial counts from "
                "0, so conv1 has number 0",
                old="**initial(config, i))\n        channels",
                new="**initial(config, i + 1))\n        channels",
            ),
            Bug(
                "the start of fc7 in fc6",
                "fc6 and fc7 start as the layer after them should: initial counts from 0, "
                "so fc6 has number 5",
                old="**initial(config, i - 1)",
                new="**initial(config, i)",
            ),
            Bug(
                "dropout on the other side",
                'config.dropout_place is used the wrong way round: "output" means after the ReLU',
                old='if config.dropout_place == "output":',
                new='if config.dropout_place == "input":',
            ),
            Bug(
                "initialisers forgotten",
                "the convolutions start as torch's do: pass **initial(config, i - 1)",
                old="ceil_mode=config.ceil_mode, **initial(config, i))",
                new="ceil_mode=config.ceil_mode)",
            ),
        ),
    ),
    Exercise(
        "9.2",
        "SHARE_OF_FC6, SHARE_OF_CONV",
        "where the parameters and the work are, in percent",
        check_shares,
        hints=(
            "fc6 has 2,048 x 1,024 weights and 1,024 biases; conv2 has 128 x 24 x 5 x 5 weights "
            "and 128 biases.",
            "conv2 gives 128 x 16 x 16 outputs, each of 24 x 5 x 5 multiply-adds: 19,660,800. "
            "fc6 gives 1,024 outputs of 2,048 each. All layers together: 3,734,474 parameters, "
            "55,994,368 multiply-adds.",
        ),
        bugs=(
            Bug(
                "a fraction",
                "this is a fraction; the answer should be in percent",
                old="SHARE_OF_FC6 = 56.2",
                new="SHARE_OF_FC6 = 0.562",
            ),
            Bug(
                "rounded",
                "right as far as it goes; give one more decimal",
                old="SHARE_OF_FC6 = 56.2",
                new="SHARE_OF_FC6 = 56",
            ),
            Bug(
                "the paper's net",
                "that is the share in the paper's net; the question is about "
                "AlexNetConfig.cifar()",
                old="SHARE_OF_FC6 = 56.2",
                new="SHARE_OF_FC6 = 61.9",
            ),
            Bug(
                "groups forgotten",
                "that is its share if conv2, conv4 and conv5 had one group: a kernel sees its "
                "own group's maps only",
                old="SHARE_OF_FC6 = 56.2",
                new="SHARE_OF_FC6 = 51.3",
            ),
            Bug(
                "work as a fraction",
                "this is a fraction; the answer should be in percent",
                old="SHARE_OF_CONV = 94.4",
                new="SHARE_OF_CONV = 0.944",
            ),
            Bug(
                "work rounded",
                "right as far as it goes; give one more decimal",
                old="SHARE_OF_CONV = 94.4",
                new="SHARE_OF_CONV = 94",
            ),
            Bug(
                "the paper's work",
                "that is the share in the paper's net; the question is about "
                "AlexNetConfig.cifar()",
                old="SHARE_OF_CONV = 94.4",
                new="SHARE_OF_CONV = 91.9",
            ),
            Bug(
                "work without groups",
                "that is their share if conv2, conv4 and conv5 had one group: a kernel "
                "sees its own group's maps only",
                old="SHARE_OF_CONV = 94.4",
                new="SHARE_OF_CONV = 96.6",
            ),
        ),
    ),
    Exercise(
        "9.3",
        "conv_on_two_gpus",
        "fix a convolution in two groups",
        check_groups,
        hints=(
            "Look at the first case: the outputs should be 11 and 1100. An output of 101 is 1 + "
            "100: it says which maps were added.",
            "x[:, device::2] takes every second map. The halves are contiguous: as `kernels` is, "
            "two lines below.",
        ),
        bugs=(
            Bug(
                "as it was given",
                "the first output is 1 + 100: which maps did device 0 get, and which "
                "should it get?",
                old="x[:, device * C // 2:(device + 1) * C // 2]",
                new="x[:, device::2]",
            ),
            Bug(
                "devices exchanged",
                "each device has the other one's maps",
                old="x[:, device * C // 2:(device + 1)",
                new="x[:, ::-1][:, device * C // 2:(device + 1)",
            ),
            Bug(
                "the same half twice",
                "both devices see the first half of the maps",
                old="x[:, device * C // 2:(device + 1) * C // 2]",
                new="x[:, :C // 2]",
            ),
            Bug(
                "outputs dealt out",
                "the outputs of the two devices are interleaved: device 0's come first, then "
                "device 1's",
                old="np.concatenate(columns, axis=1)",
                new="np.stack(columns, axis=2).reshape(len(x), O, *columns[0].shape[2:])",
            ),
        ),
    ),
)
