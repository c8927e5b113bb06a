"""The ledger as a table, and as a figure."""
import os
from collections.abc import Mapping

from .. import plots
from ..models import Network
from .costs import Entry, ledger, total
from .timing import Times, total_times

LEFT = 3  # columns of a table that are words, and stand to the left: layer, kind, output


def layer_table(model: Network, times: Times | None = None, markdown: bool = False,
                computed_by: Mapping[str, str] | None = None) -> str:
    """The ledger as text or as a Markdown table, with the sums below; with `times` also
    milliseconds forward and backward, with `computed_by` (layer -> name) what computes each
    convolution."""
    rows = _rows(model, times)
    if computed_by:
        cells = ["computed by"] + [computed_by.get(row[0], "") for row in rows[1:]]
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    return _markdown(rows) if markdown else _text(rows)


def _rows(model: Network, times: Times | None) -> list[list[str]]:
    """The ledger as cells: a heading, the input, one row per layer, the sums; with `times` also
    milliseconds."""
    heading = ["layer", "kind", "output", "parameters", "multiply-adds", "output", "im2col"]
    if times:
        heading += ["forward", "backward"]
    # The input costs nothing: its row has a shape and no numbers.
    image = ["", "", f"3 x {model.image_size} x {model.image_size}"]
    rows = [heading, image + [""] * (len(heading) - len(image))]
    entries = ledger(model)
    for entry in [*entries, total(entries)]:
        row = _cells(entry)
        if times:
            # The row of the sums is the one that has no entry in `times`.
            row += [f"{1e3 * seconds:,.2f} ms"
                    for seconds in times.get(entry.name, total_times(times))]
        rows.append(row)
    return rows


def _cells(entry: Entry) -> list[str]:
    """A row of the table, without times."""
    return [entry.name, entry.kind, " x ".join(map(str, entry.shape)),
            f"{entry.parameters:,}" if entry.parameters else "",
            f"{entry.multiply_adds / 1e6:,.1f} M" if entry.multiply_adds else "",
            f"{entry.output_bytes / 1024:,.0f} KB",
            f"{entry.column_bytes / 1024:,.0f} KB" if entry.column_bytes else ""]


def _markdown(rows: list[list[str]]) -> str:
    # --: puts a column to the right
    rule = "|" + "".join("---|" if i < LEFT else "--:|" for i in range(len(rows[0])))
    heading, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading, rule, *body])


def _text(rows: list[list[str]]) -> str:
    """Columns of equal width: words to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if i < LEFT else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def draw(model: Network, path: str | os.PathLike, title: str = "") -> None:
    """The network as a figure in the manner of the paper's figure 2; see plots.network.

    Raises UsageError when `path` does not end in .png, .svg or .pdf.
    """
    entries = ledger(model)
    layers = [(entry.name, layer, entry.shape)
              for entry, layer in zip(entries, model, strict=True)]
    sums = total(entries)
    note = (f"{sums.parameters:,} parameters, "
            f"{sums.multiply_adds / 1e6:,.1f} M multiply-adds per image")
    plots.network(layers, (3, model.image_size, model.image_size), path, title, note)
