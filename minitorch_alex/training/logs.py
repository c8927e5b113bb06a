"""The log of a training in other forms: a table for spreadsheets and pandas, and TensorBoard.

log.jsonl stays the log. What is written here follows from its rows: a run that is resumed writes
both anew from them, so that no row is there twice.
"""
import csv
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..errors import UsageError
from ..files import disk_error
from .runs import Run

KINDS = ("csv", "tensorboard")
COLUMNS = ("kind", "step", "epoch", "loss", "error", "lr", "img_s", "wait", "train_loss",
           "train_error", "val_loss", "val_error", "test_loss", "test_error", "seconds")


class Log(Protocol):
    """Takes the rows of log.jsonl one by one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row."""

    def close(self) -> None:
        """The training ends: all rows are to be read now."""


class TableLog:
    """metrics.csv: a row for each of the log, an empty cell for what it does not have."""

    def __init__(self, run: Run, rows: Iterable[Mapping[str, Any]]) -> None:
        self.path = run.table
        self._write("w", rows, header=True)

    def write(self, row: Mapping[str, Any]) -> None:
        self._write("a", [row])

    def close(self) -> None:
        """Nothing is left: each row is written at once."""

    def _write(self, mode: str, rows: Iterable[Mapping[str, Any]], header: bool = False) -> None:
        try:
            with open(self.path, mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
                if header:
                    writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            raise disk_error(self.path, error) from error


class TensorBoardLog:
    """Events for TensorBoard, by tensorboardX: `tensorboard --logdir runs`."""

    def __init__(self, run: Run, rows: Iterable[Mapping[str, Any]]) -> None:
        for file in run.directory.glob("events.out.tfevents.*"):
            file.unlink()
        # Its thread writes once per flush_secs (120 by itself), whatever flush() says.
        self.writer = _writer()(logdir=str(run.directory), flush_secs=1)
        for row in rows:
            self.write(row)

    def write(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name in COLUMNS[3:]:
                self.writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    def close(self) -> None:
        self.writer.close()


def _writer() -> Any:
    """The class SummaryWriter. Raises UsageError where the package is missing."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UsageError("--log tensorboard needs the package tensorboardX: pip install "
                         "tensorboardX, or use --log csv") from None
    return SummaryWriter


def check(kind: str | None) -> None:
    """Raises UsageError when a kind of log needs a package that is missing."""
    if kind == "tensorboard":
        _writer()


def open_log(kind: str | None, run: Run) -> Log | None:
    """The log of that kind, with the rows that the run has; None for no kind."""
    if kind is None:
        return None
    rows = run.read_log()
    return TableLog(run, rows) if kind == "csv" else TensorBoardLog(run, rows)
