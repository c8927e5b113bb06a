"""How much of the input arrives at the end: what layers do to the differences between images.

A network can only learn from these differences, so a set-up in which hardly any of them arrive at
the last layer stalls (`signal_verdict`).
"""
from dataclasses import dataclass

import numpy as np

from .. import backend
from ..errors import UsageError
from ..nn import Conv2d, Linear, LocallyConnected2d, Sequential, evaluating
from ..tensor import Tensor
from .forward import outputs

# Signal.ratio before the last layer, see signal_verdict:
STALLS = 0.001    # below this a network is known not to learn
DOUBTFUL = 0.005  # below this none is known to learn
# Signal.spread after the last layer:
VANISHED = 1e-6
EXPLODED = 100.0


@dataclass(frozen=True)
class Signal:
    """What a layer with weights does to a batch.

        input_std   standard deviation of its input
        gain        standard deviation of its output over that of its input
        ratio       differences between images over what all images share, in its input
        spread      differences between images, in its output
    """

    name: str
    input_std: float
    gain: float
    ratio: float
    spread: float


@dataclass(frozen=True)
class _Activation:
    """Measures of an activation a (N, ...), in float64.

        spread   sqrt(mean over units of the variance over images): the differences between images
        common   sqrt(mean over units of (mean over images)^2): what all images share
        std      of all values
    """

    spread: float
    common: float
    std: float

    @classmethod
    def of(cls, x: Tensor) -> "_Activation":
        a = backend.to_numpy(x.data)
        a = a.reshape(len(a), -1).astype(np.float64)  # (N, ...) -> (N, units)
        with np.errstate(all="ignore"):  # inf and nan are an answer: the verdict says "explodes"
            spread = np.sqrt(a.var(axis=0).mean())
            common = np.sqrt((a.mean(axis=0) ** 2).mean())
            return cls(float(spread), float(common), float(a.std()))


def signal_ratios(model: Sequential, x: Tensor) -> list[Signal]:
    """A Signal for each layer with weights, on a batch (N,3,H,W) of at least 2 images, in
    evaluation mode.

    Raises UsageError for a single image.
    """
    if x.shape[0] < 2:
        raise UsageError(f"signal_ratios compares images: got {x.shape[0]}, expected at least 2")
    signals = []
    before = _Activation.of(x)
    with evaluating(model):
        for name, layer, y in outputs(model, x):
            after = _Activation.of(y)
            if isinstance(layer, Conv2d | LocallyConnected2d | Linear):
                # An input without any spread is possible: dead ReLUs give zeros.
                gain = after.std / before.std if before.std else 0.0
                ratio = before.spread / before.common if before.common else float("inf")
                signals.append(Signal(name, before.std, gain, ratio, after.spread))
            before = after
    return signals


def signal_table(signals: list[Signal]) -> str:
    """One line per layer with weights, below a heading."""
    width = max(len("layer"), *(len(s.name) for s in signals))
    heading = (f"{'layer':<{width}}  {'std in':>9}  {'std out / in':>12}  "
               f"{'images / common, in':>19}  {'images, out':>11}")
    lines = [f"{s.name:<{width}}  {s.input_std:>9.3g}  {s.gain:>12.3g}  {s.ratio:>19.2g}  "
             f"{s.spread:>11.2g}"
             for s in signals]
    return "\n".join([heading, *lines])


def signal_verdict(signals: list[Signal]) -> str | None:
    """What is wrong with initial weights and inputs, and what helps; None where no problem is
    known.

    The measure is the ratio before the last layer:

        0.09      what ran in 2012: std 0.03 in conv3 to conv5
        0.04      Caffe's biases of 0.1
        0.008     the paper's text (std 0.01 in each layer, biases of 1), inputs of 0..255: it
                  learns, slowly at first
        0.00015   the same, inputs of std 1: it stalls, with the loss at ln K for epochs

    From 0.006 on every set-up is reported to train; between 0.001 and 0.005 no report is known.
    """
    last = signals[-1]
    advice = "; what helps: " + "; ".join(_remedies(signals[0]))
    share = (f"the differences between images that reach {last.name} are {last.ratio:.2g} of what "
             "all images share")
    if not np.isfinite(last.spread) or last.spread > EXPLODED:
        return (f"explodes: the outputs of {last.name} differ by {last.spread:.2g} between "
                "images, and the first losses will be as large; what helps: smaller weights or "
                "inputs")
    if last.ratio < STALLS:
        return (f"known to stall: {share}, so the biases dominate and the loss stays at chance "
                f"level{advice}")
    if last.ratio < DOUBTFUL:
        return (f"doubtful: {share}; set-ups that are known to train have more than "
                f"{DOUBTFUL:g}{advice}")
    if last.spread < VANISHED:
        return (f"vanishes: the outputs of {last.name} differ by {last.spread:.2g} between "
                f"images, which leaves gradients too small to learn from{advice}")
    return None


def _remedies(first: Signal) -> list[str]:
    """What strengthens a weak signal; `first` is that of the first layer with weights."""
    remedies = ["biases of 0.1 in place of 1",
                "larger weights (what ran in 2012 had std 0.03 in conv3 to conv5)"]
    if first.input_std < 10:  # pixels have about 60: these were divided by something
        remedies.insert(0, "inputs of 0..255 minus the mean (their std is about 60, here it is "
                           f"{first.input_std:.2g})")
    return remedies


def statistics(model: Sequential, x: Tensor) -> str:
    """One line per layer: mean, standard deviation and largest magnitude of its output and of its
    weight. For finding the layer in which the numbers stopped being finite."""
    lines = [f"{'layer':<10} {'output mean':>12} {'std':>10} {'max':>10}   {'weight std':>10} "
             f"{'max':>10}"]
    with np.errstate(all="ignore"):
        for name, layer, y in outputs(model, x):
            # nan and inf go through mean and max, so the first line with one names the layer
            a = backend.to_numpy(y.data)
            line = f"{name:<10} {a.mean():>12.3g} {a.std():>10.3g} {np.abs(a).max():>10.3g}"
            if isinstance(layer, Conv2d | LocallyConnected2d | Linear):
                w = backend.to_numpy(layer.weight.data)
                line += f"   {w.std():>10.3g} {np.abs(w).max():>10.3g}"
            lines.append(line)
    return "\n".join(lines)
