"""What all figures share: colours, type, the heading, and how a figure is written.

matplotlib is imported when a figure is drawn, not before, and its Figure is used without pyplot:
no window, no display, no backend, and the settings are as they were when the figure is written.
Files are written whole or not at all.
"""
import contextlib
import io
import os
import sys
import threading
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import UsageError, UserError
from ..files import write_atomic

INK = "#2b3036"
FAINT = "#d5dae0"
FONT = "DejaVu Sans"  # comes with matplotlib
STYLE = {
    "font.family": FONT, "font.size": 11, "text.color": INK, "svg.fonttype": "none",
    "axes.edgecolor": "#9aa3ad", "axes.labelcolor": INK, "axes.linewidth": 0.8,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True,
    "grid.color": "#e8ebee", "grid.linewidth": 0.8,
    "xtick.color": "#9aa3ad", "xtick.labelcolor": INK,
    "ytick.color": "#9aa3ad", "ytick.labelcolor": INK, "ytick.left": False,
}


# Whatever the user's own settings say: names are shown as they are ("$" is no formula), figures
# place their parts themselves, and lines are straight.
OWN_SETTINGS: dict[str, Any] = {
    "text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False,
    "figure.autolayout": False, "figure.constrained_layout.use": False, "savefig.bbox": None,
    "savefig.dpi": "figure", "path.sketch": None, "path.effects": []}
# Where they are installed, these draw the characters that the first font does not have.
MORE_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Source Han Sans",
              "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo",
              "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Noto Sans Devanagari",
              "Noto Sans Thai", "Arial Unicode MS")
# The settings of matplotlib belong to the process: one figure at a time changes them.
_drawing = threading.RLock()


def load_matplotlib() -> Any:
    """The module matplotlib. Raises UserError when it cannot be imported.

    Jupyter and Colab export an MPLBACKEND to the commands that a notebook starts, and where its
    package is missing, matplotlib refuses to be imported. A figure that is only written to a file
    needs no backend: the variable is set aside during the import, and what it names becomes the
    backend afterwards, as it would have, if there is such a one.
    """
    with _drawing:
        named = None
        if "matplotlib" not in sys.modules:
            named = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib
        except Exception as error:
            raise UserError("figures need matplotlib, which cannot be imported: "
                            f"{first_line(error)}") from error
        finally:
            if named is not None:
                os.environ["MPLBACKEND"] = named
        if named:
            with contextlib.suppress(ValueError):
                matplotlib.rcParams["backend"] = named
        return matplotlib


def new_figure(**options: Any) -> Any:
    """A matplotlib Figure that belongs to no window."""
    load_matplotlib()
    from matplotlib.figure import Figure

    return Figure(**options)


def place(figure: Any, left: float, low: float, width: float, height: float) -> Any:
    """Axes without lines and ticks at a place in inches."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, low / h, width / w, height / h))
    axes.set_axis_off()
    return axes


@contextlib.contextmanager
def styled(changes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Inside, matplotlib draws in the style of this package, with some settings changed.

    Raises UserError for whatever goes wrong in matplotlib itself.
    """
    settings: Any = {**STYLE, **OWN_SETTINGS, "font.family": [FONT, *_more_fonts()],
                     **(changes or {})}
    with _drawing, contextlib.ExitStack() as stack:
        stack.enter_context(load_matplotlib().rc_context(settings))
        # Python's filters belong to the process too, and only the main thread may lend them out.
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Glyph .* missing from|Tight layout not applied")
        try:
            yield
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise UserError(f"the figure cannot be drawn: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """An error in one line: its kind, and the beginning of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def drawable(text: str, path: str | os.PathLike, most: int = 100) -> str:
    """A name as the figure `path` can show it, cut to `most` characters: line breaks, other
    control characters and halves of surrogate pairs become escapes such as \\n.

    So do characters that no installed font has, but not in an SVG: there the text stays text, and
    the viewer has fonts of its own.
    """
    known = None if Path(path).suffix.lower() == ".svg" else _characters()

    def shown(character: str) -> str:
        hidden = unicodedata.category(character) in ("Cc", "Cs")
        if hidden or (known is not None and ord(character) not in known):
            return character.encode("unicode_escape").decode("ascii")
        return character

    text = "".join(shown(character) for character in text)
    return text if len(text) <= most else text[:most - 1] + "…"


@lru_cache(1)
def _more_fonts() -> tuple[str, ...]:
    """Those of MORE_FONTS that are installed."""
    load_matplotlib()
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return tuple(name for name in MORE_FONTS if name in installed)


@lru_cache(1)
def _characters() -> frozenset[int]:
    """The code points that the fonts have, in normal and in bold type."""
    load_matplotlib()
    from matplotlib.font_manager import FontProperties, findfont, get_font

    points: set[int] = set()
    for family in (FONT, *_more_fonts()):
        normal, bold = (get_font(findfont(FontProperties(family=family, weight=weight)))
                        for weight in ("normal", "bold"))
        points |= normal.get_charmap().keys() & bold.get_charmap().keys()
    return frozenset(points)


def rgb(colour: str) -> tuple[float, float, float]:
    """A colour's red, green and blue, 0..1."""
    load_matplotlib()
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


TITLE_SIZE = 13.0  # points
NOTE_SIZE = 9.5


def heading_width(title: str, note: str) -> float:
    """The inches that `heading` needs, with a margin at both sides; to be called inside `styled`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    widths = [0.0]
    for text, size, weight in ((title, TITLE_SIZE, "bold"), (note, NOTE_SIZE, "normal")):
        if text.strip():
            line = TextPath((0, 0), text, size, prop=FontProperties(weight=weight))
            widths.append(line.get_extents().x1)
    return 2 * 0.14 + max(widths) / 72  # points -> inches


def heading(figure: Any, title: str, note: str) -> None:
    """The title, bold, and a note below it, both at the upper left, at a fixed distance from the
    edge."""
    x = 0.14 / figure.get_figwidth()
    inch = 1 / figure.get_figheight()
    figure.text(x, 1 - 0.12 * inch, title, fontsize=TITLE_SIZE, fontweight="bold", va="top")
    figure.text(x, 1 - (0.40 if title else 0.14) * inch, note, fontsize=NOTE_SIZE, color="#66707a",
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
