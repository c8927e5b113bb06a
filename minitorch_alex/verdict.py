"""What the trainings of a claim show: statistics over the seeds, as rows and as Markdown tables.

There is no test of significance here, only a criterion that can be checked by eye: the seeds of
two variants *separate* when every value of one is greater than every value of the other. Three
seeds of each separate by chance in 2 / C(6, 3) = 1 case out of 10.
"""
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 25.0         # %, the training error that a race runs to: the dashed line in Figure 1
WINDOW = 2000        # images: the training error of a race is the mean over the last 2000 seen
STALL_MARGIN = 0.03  # nats: a training whose final loss is above ln C minus this has stalled

Record = Mapping[str, Any]   # a JSON object; ablate.report writes it
Point = tuple[float, float]  # (epochs, error in %)


@dataclass(frozen=True)
class Outcome:
    """What the trainings of one variant showed: one value per seed, errors in %.

    test      test error
    train     training error in the last epoch, while training: with dropout, augmented images
    gap       validation error minus training error at the end; None without validation
    loss      mean training loss at the end, nats
    seconds   of all trainings together
    epochs    in a race: epochs until the training error was LEVEL, None if it never was
    """

    variant: str
    test: tuple[float, ...]
    train: tuple[float, ...]
    gap: tuple[float, ...] | None
    loss: tuple[float, ...]
    seconds: float
    epochs: tuple[float | None, ...] = ()

    @property
    def reached(self) -> tuple[float, ...]:
        """The epochs of those seeds that reached LEVEL."""
        return tuple(e for e in self.epochs if e is not None)

    @property
    def all_reached(self) -> bool:
        """Whether every seed reached LEVEL."""
        return None not in self.epochs


def outcomes(record: Record) -> list[Outcome]:
    """The outcome of each variant in a record that `ablate` wrote, the baseline first."""
    return [_outcome(variant, trainings) for variant, trainings in record["variants"].items()]


def _outcome(variant: str, trainings: Sequence[Record]) -> Outcome:
    validated = all(t.get("val_error") is not None for t in trainings)
    return Outcome(
        variant=variant,
        test=tuple(t["test_error"] for t in trainings),
        train=tuple(t["train_error"] for t in trainings),
        gap=tuple(t["val_error"] - t["train_error"] for t in trainings) if validated else None,
        loss=tuple(t["last_loss"] for t in trainings),
        seconds=sum(t["seconds"] for t in trainings),
        epochs=tuple(t.get("epochs") for t in trainings),
    )


# Comparisons of test errors


@dataclass(frozen=True)
class Row:
    """The verdict on one variant.

    change    mean test error minus the baseline's, percentage points; None for the baseline
    separate  whether its seeds and the baseline's separate; None for the baseline or one seed
    gap       mean of validation error minus training error at the end, percentage points; None
              without validation
    stalled   whether the loss stayed at ln C, that of chance
    """

    variant: str
    change: float | None
    separate: bool | None
    gap: float | None
    stalled: bool


def verdict(record: Record) -> list[Row]:
    """One row per variant, each compared with the first."""
    baseline, *others = outcomes(record)
    paired = record.get("picture") == "views"
    rows = [_row(baseline, record["classes"])]
    for outcome in others:
        change = float(np.mean(outcome.test) - np.mean(baseline.test))
        separate = separated(outcome.test, baseline.test, paired)
        rows.append(_row(outcome, record["classes"], change, separate))
    return rows


def _row(outcome: Outcome, classes: int, change: float | None = None,
         separate: bool | None = None) -> Row:
    return Row(
        variant=outcome.variant,
        change=change,
        separate=separate,
        gap=None if outcome.gap is None else float(np.mean(outcome.gap)),
        stalled=bool(np.mean(outcome.loss) > math.log(classes) - STALL_MARGIN),
    )


def separated(a: Sequence[float], b: Sequence[float], paired: bool = False) -> bool | None:
    """Whether all of `a` lie on one side of all of `b`; None for one seed, which has no range.

    With `paired`, a[i] and b[i] belong to the same network, and only they are compared.
    """
    if len(a) < 2:
        return None
    if paired:  # the scatter between networks cancels, however large it is
        differences = np.subtract(a, b)
        return bool((differences > 0).all() or (differences < 0).all())
    return min(a) > max(b) or max(a) < min(b)


# Races: which unit reaches LEVEL in fewer epochs, each at its best rate


@dataclass(frozen=True)
class RaceRow:
    """The verdict on one unit of a race (ReLU, tanh) at its best rate.

    best       its fastest variant
    edge       whether that rate is the smallest or largest tried: a better one may lie beyond
    ratio      mean epochs divided by those of the first unit; None for the first unit, and if
               the ratio is unknown because some seeds never reached LEVEL
    at_least   whether the ratio is a lower bound: no seed of this unit reached LEVEL
    separate   whether its seeds separate from the first unit's; None as in Row, or without ratio
    """

    unit: str
    best: Outcome
    edge: bool
    ratio: float | None = None
    at_least: bool = False
    separate: bool | None = None


def race_verdict(record: Record) -> list[RaceRow]:
    """One row per unit, each compared with the first."""
    variants = outcomes(record)
    best = fastest(variants)
    first, *others = best
    rows = [RaceRow(first, best[first], _at_edge(best[first], variants))]
    for unit in others:
        comparison = _compare_pace(best[unit], best[first], record["epochs"])
        rows.append(RaceRow(unit, best[unit], _at_edge(best[unit], variants), *comparison))
    return rows


def _compare_pace(outcome: Outcome, first: Outcome,
                  limit: float) -> tuple[float | None, bool, bool | None]:
    """(ratio, at_least, separate) of a RaceRow; a training ends after `limit` epochs."""
    if not first.all_reached:
        return None, False, None
    if outcome.all_reached:
        ratio = float(np.mean(outcome.reached)) / float(np.mean(first.reached))
        return ratio, False, separated(outcome.reached, first.reached)
    if outcome.reached:  # by some seeds only: their mean would leave out the slow ones
        return None, False, None
    return limit / float(np.mean(first.reached)), True, None


def fastest(variants: Sequence[Outcome]) -> dict[str, Outcome]:
    """unit -> its best variant: most seeds reach LEVEL, then in the fewest epochs on average."""
    # Tuples compare by their first part, then by the second: least is best.
    def rank(outcome: Outcome) -> tuple[int, float]:
        epochs = outcome.reached
        return -len(epochs), float(np.mean(epochs)) if epochs else 0.0

    best: dict[str, Outcome] = {}
    for outcome in variants:
        unit = unit_of(outcome.variant)
        if unit not in best or rank(outcome) < rank(best[unit]):
            best[unit] = outcome
    return best


def _at_edge(outcome: Outcome, variants: Sequence[Outcome]) -> bool:
    """Whether a variant is the first or last of its unit (the rates are in order)."""
    tried = [v.variant for v in variants if unit_of(v.variant) == unit_of(outcome.variant)]
    return len(tried) > 1 and outcome.variant in (tried[0], tried[-1])


def unit_of(variant: str) -> str:
    """The "relu" of "relu, rate 0.01"."""
    return variant.partition(",")[0]


# Curves: when a training error reaches LEVEL


def running_error(steps: Sequence[Record], width: float) -> list[Point]:
    """(epochs done, mean training error over the last `width` epochs) at each line of a log.

    Near the start the mean is over all epochs so far. A line of the log holds the mean error since
    the line before it. Where the window begins inside a line, the part of it within the window
    counts with that mean:

        lines    |----90 %----|------50 %------|---10 %---|
        window                     [======================]
    """
    ends = np.array([0.0, *(row["epoch"] for row in steps)])
    # The integral of the error over the epochs, in % times epochs: a difference of two of its
    # values, divided by the epochs between them, is the mean error between them.
    integral = np.cumsum([0.0, *np.diff(ends) * [row["error"] for row in steps]])
    begins = np.maximum(ends[1:] - width, 0)
    errors = (integral[1:] - np.interp(begins, ends, integral)) / (ends[1:] - begins)
    return list(zip(ends[1:].tolist(), errors.tolist(), strict=True))


def first_crossing(points: Sequence[Point], level: float = LEVEL) -> float | None:
    """The epoch at which the error first falls to `level`, interpolated; None if it never does."""
    for (before, high), (after, low) in zip(points, points[1:], strict=False):
        if low <= level < high:
            return round(before + (after - before) * (high - level) / (high - low), 3)
    return None


# Markdown


def table(record: Record) -> str:
    """Outcomes and verdict of a claim as Markdown: a caption and a table, two for a race."""
    if record.get("picture") == "race":
        parts = [race_caption(record), _race_outcomes(record), _race_rows(record)]
    else:
        parts = [caption(record), _rows(record)]
    return "\n\n".join(parts)


def caption(record: Record) -> str:
    """The number of seeds, and the error and loss of a network that answers by chance."""
    classes = record["classes"]
    chance = f"{100 * (1 - 1 / classes):.0f} % error, loss ln {classes} = {math.log(classes):.3f}"
    return f"{_seeds(record)}. Chance level: {chance}."


def race_caption(record: Record) -> str:
    """The number of seeds, and how long a training may take."""
    chance = f"{100 * (1 - 1 / record['classes']):.0f} % error"
    return f"{_seeds(record)}, {record['epochs']} epochs each. Chance level: {chance}."


def _seeds(record: Record) -> str:
    count = len(next(iter(record["variants"].values())))
    return f"{count} seed{'' if count == 1 else 's'} per variant"


def _rows(record: Record) -> str:
    head = ("variant", "test error, %", "change, points", "seeds separate?",
            "training error, %", "gap, points", "final loss", "time")
    lines = []
    for outcome, row in zip(outcomes(record), verdict(record), strict=True):
        lines.append((
            row.variant,
            spread(outcome.test),
            "baseline" if row.change is None else f"{row.change:+.1f}",
            "" if row.change is None else answer(row.separate),
            spread(outcome.train),
            signed(row.gap),
            spread(outcome.loss) + (", stalled" if row.stalled else ""),
            minutes(outcome.seconds),
        ))
    return grid(head, lines)


def _race_outcomes(record: Record) -> str:
    head = ("variant", f"epochs to {LEVEL:.0f} %", "test error, %", "training error, %",
            "final loss", "time")
    lines = []
    for outcome in outcomes(record):
        lines.append((
            outcome.variant,
            pace(outcome),
            spread(outcome.test),
            spread(outcome.train),
            spread(outcome.loss),
            minutes(outcome.seconds),
        ))
    return grid(head, lines)


def _race_rows(record: Record) -> str:
    rows = race_verdict(record)
    head = ("best rate", f"epochs to {LEVEL:.0f} %", "at the edge of the rates tried?",
            f"epochs / epochs of {rows[0].unit}", "seeds separate?")
    lines = []
    for i, row in enumerate(rows):
        lines.append((
            row.best.variant,
            pace(row.best),
            "yes" if row.edge else "no",
            "baseline" if i == 0 else ratio(row),
            "" if row.ratio is None or row.at_least else answer(row.separate),
        ))
    return grid(head, lines)


def ratio(row: RaceRow) -> str:
    """The ratio of a race as text."""
    if row.ratio is None:
        return "unknown: not every seed reached it"
    return f"{'more than ' if row.at_least else ''}{row.ratio:.1f}"


def answer(separate: bool | None) -> str:
    """Whether the seeds separate, as text."""
    if separate is None:
        return "one seed"
    return "yes" if separate else "no"


def spread(values: Sequence[float]) -> str:
    """The mean, and the smallest and largest of several values."""
    mean = f"{np.mean(values):.2f}"
    if len(values) < 2:
        return mean
    return f"{mean} ({min(values):.2f} to {max(values):.2f})"


def pace(outcome: Outcome) -> str:
    """The epochs to LEVEL, and how many seeds got there if not all did."""
    if not outcome.reached:
        return "not reached"
    if outcome.all_reached:
        return spread(outcome.reached)
    return f"{spread(outcome.reached)}, {len(outcome.reached)} of {len(outcome.epochs)} seeds"


def signed(value: float | None) -> str:
    """Percentage points with their sign; empty where there are none."""
    return "" if value is None else f"{value:+.1f}"


def minutes(seconds: float) -> str:
    """A duration in minutes."""
    return f"{seconds / 60:.1f} min"


def grid(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A Markdown table; all columns after the first `left` are aligned right."""
    head = list(head)
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])
