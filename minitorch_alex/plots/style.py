"""What all figures share: colours, type, the heading, and how a figure is written.

matplotlib is imported when a figure is drawn, not before, and its Figure is used without pyplot:
no window, no display, no global state. Files are written whole or not at all.
"""
import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import write_atomic

INK = "#2b3036"
FAINT = "#d5dae0"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "svg.fonttype": "none",
    "axes.edgecolor": "#9aa3ad", "axes.labelcolor": INK, "axes.linewidth": 0.8,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True,
    "grid.color": "#e8ebee", "grid.linewidth": 0.8,
    "xtick.color": "#9aa3ad", "xtick.labelcolor": INK,
    "ytick.color": "#9aa3ad", "ytick.labelcolor": INK, "ytick.left": False,
}


def styled(changes: Mapping[str, Any] | None = None) -> contextlib.AbstractContextManager[None]:
    """Inside, matplotlib draws in the style of this package, with some settings changed."""
    from matplotlib import rc_context

    settings: Any = {**STYLE, **(changes or {})}
    return rc_context(settings)


def rgb(colour: str) -> tuple[float, float, float]:
    """A colour's red, green and blue, 0..1."""
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def heading(figure: Any, title: str, note: str) -> None:
    """The title, bold, and a note below it, both at the upper left, at a fixed distance from the
    edge."""
    x = 0.14 / figure.get_figwidth()
    inch = 1 / figure.get_figheight()
    figure.text(x, 1 - 0.12 * inch, title, fontsize=13, fontweight="bold", va="top")
    figure.text(x, 1 - (0.40 if title else 0.14) * inch, note, fontsize=9.5, color="#66707a",
                va="top")


def write(figure: Any, path: str | os.PathLike) -> None:
    """Write a figure; the suffix chooses the format. Raises UsageError when it is not png, svg or
    pdf, DiskError when the file cannot be written."""
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in ("png", "svg", "pdf"):
        raise UsageError(f"cannot draw {path}: the name must end in .png, .svg or .pdf")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix)
    write_atomic(path, [buffer.getvalue()])
