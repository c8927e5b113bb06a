"""The functions of the exercises that the package can train with, and which of them are in use."""
from dataclasses import dataclass, replace
from pathlib import Path

from .. import Exercise, exercises, judge, lessons_folder


@dataclass(frozen=True)
class Part:
    """One function of the exercises, and whether it is in use.

    what     its task in the package
    lesson   the exercise file without .py
    name     the function
    yours    whether the learner's own is in use
    why      if not, the reason
    """

    what: str
    lesson: str
    name: str
    yours: bool = False
    why: str = ""


PARTS = (
    Part("im2col, in your other functions", "02_im2col", "im2col"),
    Part("col2im, in your other functions", "02_im2col", "col2im"),
    Part("convolution", "02_im2col", "conv2d"),
    Part("gradients of a convolution", "04_gradcheck", "conv2d_backward"),
    Part("counting the graph's edges", "03_autograd", "count_consumers"),
    Part("undoing a broadcast", "03_autograd", "unbroadcast"),
    Part("the backward pass through the graph", "03_autograd", "backward_walk"),
    Part("ReLU", "05_relu_pool", "relu"),
    Part("gradient of ReLU", "05_relu_pool", "relu_backward"),
    Part("max pool", "05_relu_pool", "max_pool2d"),
    Part("gradient of a max pool", "04_gradcheck", "max_pool2d_backward"),
    Part("response normalisation", "06_lrn", "lrn"),
    Part("gradient of the normalisation", "06_lrn", "lrn_backward"),
    Part("dropout", "07_dropout", "dropout"),
    Part("gradient of dropout", "07_dropout", "dropout_backward"),
    Part("the update of the weights", "08_train", "sgd_step"),
    Part("softmax and cross-entropy", "08_train", "softmax_cross_entropy"),
    Part("AlexNet from its configuration", "09_alexnet", "build"),
)

WRONG = "yours fails its check"
UNWRITTEN = "not written yet"
MISSING = "no such file"


def judge_parts(folder: Path) -> list[Part]:
    """PARTS, each with whether the learner's function in `folder` is right, or why it is not used.
    Takes some seconds."""
    reasons: dict[str, str] = {}
    for lesson in sorted({part.lesson for part in PARTS}):
        reasons |= _reasons(lesson, folder)
    return [replace(p, yours=not reasons[p.name], why=reasons[p.name]) for p in PARTS]


def _reasons(lesson: str, folder: Path) -> dict[str, str]:
    """Why each function of a lesson that is a part is not in use; "" if it passed its check."""
    path = folder / f"{lesson}.py"
    parts = {part.name for part in PARTS if part.lesson == lesson}
    reasons: dict[str, str] = {}
    for exercise in exercises(lesson):
        names = parts & set(exercise.names)
        if names:
            reasons |= dict.fromkeys(names, _reason(exercise, path))
    return reasons


def _reason(exercise: Exercise, path: Path) -> str:
    """Why the functions of an exercise are not in use; "" if they passed its check."""
    if not path.exists():
        return MISSING
    verdict = judge(exercise, path)
    if verdict.passed:
        return ""
    return WRONG if verdict.written else UNWRITTEN


def table(parts: list[Part], folder: Path) -> str:
    """Which part is whose, one line per part, then one line per lesson with a refused function."""
    rows = [("part", "file", "function", "in use")]
    for part in parts:
        in_use = "yours" if part.yours else f"the package's: {part.why}"
        rows.append((part.what, f"{part.lesson}.py", part.name, in_use))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  ".join([*cells, row[3]]))
    count = sum(part.yours for part in parts)
    return "\n".join([*lines, *_refusals(parts, folder),
                      f"{count} of {len(parts)} parts are yours; "
                      "everything that no exercise covers is the package's"])


def _refusals(parts: list[Part], folder: Path) -> list[str]:
    """For each lesson with a function that fails its check, the command that says why."""
    default = (lessons_folder() / "exercises").resolve()
    flag = "" if folder == default else f" --exercises {folder}"
    numbers = dict.fromkeys(part.lesson[:2] for part in parts if part.why == WRONG)
    return [f"refused: for what is wrong in lesson {number} run   "
            f"python -m minitorch_alex.check {number}{flag}" for number in numbers]
