"""The best epoch of a run: that with the least validation error and, among equals, loss.

It follows from the rows of the log, which a resumed run cuts back to its checkpoint.
best.safetensors is written before log and checkpoint: whenever the process is killed, the file is
that of the best row, or of an epoch that is about to be trained again, to the same bits.
"""
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Best:
    """The best epoch so far, counted from 1 (0: none yet), with its validation error in % and
    loss."""

    epoch: int = 0
    error: float = math.inf
    loss: float = math.inf

    def after(self, row: Mapping[str, Any]) -> "Best":
        """The best after an epoch with this row of the log: the row's, if it is better."""
        if "val_error" not in row:
            return self
        new = Best(row["epoch"], row["val_error"], row["val_loss"])
        return new if (new.error, new.loss) < (self.error, self.loss) else self

    def is_stale(self, epoch: int, patience: int) -> bool:
        """Whether `patience` epochs have passed without a better one; never for 0."""
        return bool(patience and self.epoch and epoch - self.epoch >= patience)


def of_rows(rows: Iterable[Mapping[str, Any]], step: int) -> Best:
    """The best epoch in a log up to that step."""
    best = Best()
    for row in rows:
        if row["kind"] == "epoch" and row["step"] <= step:
            best = best.after(row)
    return best
