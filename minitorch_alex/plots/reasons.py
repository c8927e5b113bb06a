"""The figures of `plots` that say why: what explain.py computes, drawn on sheets."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import backend
from .. import functional as F
from ..autograd import no_grad
from ..errors import RunError, UsageError
from ..files import write_atomic
from ..nn import Linear
from ..prepare import as_csv
from ..tensor import Tensor
from . import explain, sheet
from .learnt import TRUE
from .projections import projections
from .sheet import Bar, Panel
from .style import INK, rgb
from .subject import Subject
from .training import RUNS

SHOWN = 6        # images of the data in a figure
MISTAKES = 18    # pictures of mistakes; the table has them all
UNCHANGED = "#dfe4e9"


class Answers:
    """The images of a figure, and what the network says of each.

    seen     uint8 (N, H, W, 3), as the network sees them; mean (H, W, 3), what it sees as 0
    x        the network's inputs (N, 3, H, W)
    probs    (N, K)
    labels   (N, M): the classes to explain: that of --class, or the M most probable ones
    """

    def __init__(self, subject: Subject, guesses: int) -> None:
        images, self.names = subject.chosen(SHOWN)
        self.classes = subject.classes
        self.seen = subject.seen(images)
        self.mean = subject.seen_as_zero(images[:1])[0]
        self.x = subject.batch(images).data
        with no_grad():
            self.probs = backend.to_numpy(F.softmax(subject.model(Tensor(self.x))).data)
        order = np.argsort(-self.probs, axis=1, kind="stable")
        self.labels = order[:, :guesses]
        name = subject.options.class_name
        if name:
            self.labels = np.full((len(images), 1), class_number(name, self.classes))

    def caption(self, i: int, label: int) -> str:
        """star 98.3 %: a class, and how probable it is for image i."""
        return f"{self.classes[label]}  {100 * self.probs[i, label]:.1f} %"


def class_number(name: str, classes: Sequence[str]) -> int:
    """The place of a class in the list. Raises UsageError for a class that is not there."""
    if name not in classes:
        known = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
        raise UsageError(f"--class {name}: the model does not know this class; it knows {known}")
    return list(classes).index(name)


def maps_of(subject: Subject) -> tuple[str, str]:
    """(convolution, the layer behind which its maps are) that --layer names, by default the last.
    Raises UsageError for a layer that is not a convolution, RunError where there is none."""
    layers = explain.map_layers(subject.model)
    if not layers:
        raise RunError(f"{subject.name} has no convolution, so there are no maps")
    wanted = subject.options.layer or list(layers)[-1]
    if wanted not in layers:
        raise UsageError(f"--layer {wanted}: expected a convolution of {subject.name}: "
                         f"{', '.join(layers)}")
    return wanted, layers[wanted]


def draw_cam(subject: Subject, file: Path) -> None:
    """Grad-CAM: images, and below each where its two most probable classes are seen."""
    convolution, layer = maps_of(subject)
    if not any(isinstance(module, Linear) for module in explain.cut(subject.model, layer)[1]):
        raise RunError(f"no fully connected layer follows {convolution}: Grad-CAM needs classes")
    answers = Answers(subject, guesses=2)
    columns = [[Panel(image, [name])] for image, name in zip(answers.seen, answers.names)]
    for labels in answers.labels.T:
        heat = backend.to_numpy(explain.grad_cam(subject.model, answers.x, labels, layer))
        for i, column in enumerate(columns):
            label = int(labels[i])
            column.append(Panel(sheet.glow(answers.seen[i], heat[i]), [answers.caption(i, label)]))
    sheet.sheet(columns, file, f"{subject.title}: where a class is seen",
                f"Grad-CAM of {convolution}, {heat.shape[1]} × {heat.shape[2]} places; "
                "each picture on its own scale")


def draw_saliency(subject: Subject, file: Path) -> None:
    """Images, and below each how much its pixels change the logit of the most probable class."""
    answers = Answers(subject, guesses=1)
    labels = answers.labels[:, 0]
    slopes = backend.to_numpy(explain.saliency(subject.model, answers.x, labels))
    columns = []
    for i, (image, name) in enumerate(zip(answers.seen, answers.names)):
        # A few pixels may outshine all others: the brightest hundredth is white alike.
        bright = np.quantile(slopes[i], 0.99) or 1.0
        panel = sheet.colours(np.clip(slopes[i] / bright, 0, 1), "magma")
        columns.append([Panel(image, [name]), Panel(panel, [answers.caption(i, labels[i])])])
    sheet.sheet(columns, file, f"{subject.title}: which pixels matter",
                "gradient of the logit in the pixels, largest of three colours; each picture on "
                "its own scale")


def draw_occlusion(subject: Subject, file: Path) -> None:
    """Images; below each its probability while a square covers a part, by the square's centre; and
    the most probable class meanwhile."""
    answers = Answers(subject, guesses=1)
    extent = answers.x.shape[2]
    side = subject.options.square or max(extent // 4, 1)
    if side > extent:
        raise UsageError(f"--square {side}: the network sees {extent} x {extent} pixels; use a "
                         "smaller one")
    columns = []
    for i, (image, name) in enumerate(zip(answers.seen, answers.names)):
        label = int(answers.labels[i, 0])
        probs = explain.occlusion(subject.model, answers.x[i], side, max(extent // 16, 1))
        columns.append([Panel(covered(image, answers.mean, side), [name]),
                        Panel(sheet.colours(probs[..., label], sheet.SCALE),
                              [answers.caption(i, label)]),
                        most_probable(probs, label, subject.classes)])
    bar = Bar(1, "0 %", "100 %", "probability")
    sheet.sheet(columns, file, f"{subject.title}: what must not be covered",
                f"the answer while a square of {side} × {side} pixels covers the image, by the "
                "square's centre", bar)


def covered(image: np.ndarray, mean: np.ndarray, side: int) -> np.ndarray:
    """The picture with the square in its upper left corner, to show it."""
    image = image.copy()
    image[:side, :side] = mean[:side, :side]
    return image


def most_probable(probs: np.ndarray, label: int, classes: Sequence[str], most: int = 3) -> Panel:
    """A map of the most probable class (R, S) of probabilities (R, S, K): grey where it is still
    `label`, and a colour for each of the others, the most frequent ones named."""
    winner = probs.argmax(axis=2)
    others = [k for k in np.argsort(-np.bincount(winner.ravel()), kind="stable")
              if k != label and (winner == k).any()]
    shades = {label: UNCHANGED, **dict(zip(others, [*RUNS[:most], *[INK] * len(others)]))}
    image = np.zeros((*winner.shape, 3))
    for k, shade in shades.items():
        image[winner == k] = rgb(shade)
    key = [(rgb(shades[k]), classes[k]) for k in [label, *others[:most]]]
    if len(others) > most:
        key.append((rgb(INK), f"{len(others) - most} more"))
    return Panel(image, ["most probable class"], key=key)


def draw_deconv(subject: Subject, file: Path) -> None:
    """The strongest activations of some maps of each convolution, projected back to the pixels,
    next to the parts of the images that they look at."""
    layers = explain.map_layers(subject.model)
    if subject.options.layer or not layers:
        convolution, layer = maps_of(subject)
        layers = {convolution: layer}
    strongest = strongest_of(subject, list(layers.values()))
    projections(subject, layers, strongest, file)


def strongest_of(subject: Subject, layers: Sequence[str],
                 count: int = 9) -> dict[str, explain.Strongest]:
    """layer -> the strongest activations of its maps over the images that --split names."""
    result: dict[str, explain.Strongest] = {}
    part = subject.images
    for start in range(0, len(part), 100):
        for name, _, y in subject.outputs(part.images[start:start + 100]):
            if name in layers:
                before = result.get(name, explain.Strongest.none(y.shape[1]))
                result[name] = before.after(y, start, count)
    return result


def draw_mistakes(subject: Subject, file: Path) -> None:
    """The images that are taken for another class, most sure first, with the names of their files;
    all of them as a table next to the figure."""
    part = subject.images
    rows = mistakes(subject.probs, part.labels)
    answers = subject.probs.argmax(axis=1)
    table = [("file", "class", "taken for", "probability", "probability of the class")]
    columns = []
    for i in rows:
        taken = int(answers[i])
        true = int(part.labels[i])
        table.append((part.file(i), part.classes[true], part.classes[taken],
                      f"{subject.probs[i, taken]:.4f}", f"{subject.probs[i, true]:.4f}"))
    for i in rows[:MISTAKES]:
        share = 100 * subject.probs[i, answers[i]]
        lines = [f"{part.classes[answers[i]]}  {share:.1f} %",
                 f"is {part.classes[part.labels[i]]}", ending(part.file(i), 24)]
        columns.append([Panel(part.images[i], lines, TRUE)])
    write_atomic(file.with_suffix(".csv"), [as_csv(table)])
    shown = f", {len(columns)} are shown" if len(columns) < len(rows) else ""
    sheet.sheet(columns, file, f"{subject.title}: mistakes, most sure first",
                f"{len(rows):,} of {len(part):,} {subject.split} images are wrong{shown}; "
                f"{file.with_suffix('.csv').name} has all of them")


def mistakes(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The images whose most probable class is not their own, most sure first; probs (N, K)."""
    wrong = np.flatnonzero(probs.argmax(axis=1) != labels)
    return wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")]


def ending(name: str, most: int) -> str:
    """A path, without its beginning where it is long: what tells files apart is at the end."""
    return name if len(name) <= most else "…" + name[1 - most:]
