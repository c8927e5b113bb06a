"""python -m benchmarks.runs_2012: the authors' runs of 2012 on a line of time: docs/2012.png and its table.

Each run is read from the comments at the end of its parameter file, which name its directory (with
the date and time at which it began) and its errors. They are in a public repository, at a commit
that does not move.
"""
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minitorch_alex.files import write_atomic
from minitorch_alex.plots import style
from minitorch_alex.training import cli

ROOT = Path(__file__).parent.parent
SOURCE = ("https://github.com/computerhistory/AlexNet-Source-Code/blob/"
          "2f8b81f76470bf873c865754ad8f4a5e0dbbeb7b/layers/layer-params-")


class Run(NamedTuple):
    """One run whose file has a final error.

    name    of the parameter file, without layer-params- and .cfg
    began   the date in the name of its directory
    line    of the file that has the error
    top1, top5   errors in percent
    data    "2012": validation set of ILSVRC-2012; "2010 test"; "2010": the file does not say which
            part, or which views
    what    what is new in it, by its own comment
    """

    name: str
    began: str
    line: int
    top1: float
    top5: float
    data: str
    what: str


# "validation multiview" of ILSVRC-2012: the average over ten views.
RUNS = (
    Run("inet-5layer-conv94-2gpu", "2012-06-18", 164, 38.107, 17.609, "2010",
        "two columns, and a blurred copy of the picture into conv2"),
    Run("98-16kinit", "2012-06-25", 164, 37.132, 16.798, "2010", "pre-trained on 16,000 classes"),
    Run("118", "2012-07-19", 168, 37.831, 17.356, "2010", "norms over 5 maps; wcnorm on conv2"),
    Run("106", "2012-07-19", 184, 37.058, 16.672, "2010",
        "contrast normalisation behind the second norm"),
    Run("120", "2012-07-22", 174, 37.853, 17.236, "2010", "106 with norms over 5 maps, on JPEG"),
    Run("120-2012", "2012-07-24", 172, 41.044, 18.714, "2012", "120 on ILSVRC-2012"),
    Run("131", "2012-08-09", 175, 40.934, 18.574, "2012", "the first norm right over conv1"),
    Run("135", "2012-08-21", 177, 41.070, 18.416, "2012", "k = 2 in the norms"),
    Run("137", "2012-08-25", 201, 40.782, 18.344, "2012", "contrast becomes response norm"),
    Run("141-2009", "2012-09-09", 212, 39.562, 17.206, "2012",
        "a sixth convolution, pre-trained on 2012 and Fall 2009"),
    Run("145", "2012-09-13", 182, 40.664, 18.210, "2012", "without the blurred copy: the paper's"),
    Run("137", "2012-09-13", 183, 37.617, 17.125, "2010 test", "137 on ILSVRC-2010"),
    Run("146-2012-2009", "2012-09-17", 193, 39.100, 16.876, "2012",
        "145 and a sixth convolution, pre-trained on Fall 2009"),
    Run("146-2012-2011", "2012-09-23", 195, 38.990, 16.622, "2012",
        "the same, pre-trained on Fall 2011"),
    Run("145-2010", "2012-09-27", 178, 37.473, 16.999, "2010 test", "145 on ILSVRC-2010: table 1"),
    Run("147", "2012-10-07", 174, 41.058, 18.510, "2012", "pools that do not overlap"),
    Run("148", "2012-11-02", 148, 42.034, 19.362, "2012", "no norms"),
    Run("145-half", "2012-11-03", 100, 39.168, 18.229, "2010 test", "one column"),
    Run("150", "2012-11-20", 179, 41.828, 19.330, "2012",
        "columns without a link, conv2 of 160 maps each"),
    Run("155", "2012-12-19", 190, 40.744, 18.524, "2012", "rates fall exponentially from 0.02"),
    Run("156", "2012-12-20", 190, 40.764, 18.350, "2012", "the same, to 0.00001"),
    Run("157", "2012-12-23", 188, 41.114, 18.704, "2012", "the same from 0.04"),
    Run("158", "2012-12-23", 188, 41.026, 18.538, "2012", "the same, to 0.000002"),
    Run("166", "2012-12-23", 203, 41.096, 18.674, "2012", "norm before the ReLU in layer 2, too"),
    Run("160", "2012-12-24", 187, 41.374, 19.036, "2012", "rates fall in steps from 0.02"),
    Run("165", "2012-12-30", 204, 40.982, 18.392, "2012", "in steps to 0.00002, fc decay doubled"),
    Run("167", "2013-01-03", 185, 40.488, 18.118, "2012", "no norm over conv2"),
    Run("169", "2013-01-07", 202, 40.596, 18.112, "2012", "in steps to 0.00002"),
    Run("170", "2013-01-07", 205, 40.528, 18.048, "2012", "in steps to 0.00004"),
    Run("171", "2013-01-07", 202, 40.420, 18.140, "2012", "five rates in place of four"),
    Run("174", "2013-01-07", 208, 40.438, 18.042, "2012", "rates that jump between steps"),
    Run("177", "2013-01-16", 210, 40.690, 18.304, "2012", "dropout over conv4"),
    Run("170", "2013-01-31", 225, 40.250, 18.116, "2012", "mixed images"),
    Run("170-quant", "2013-02-21", 234, 40.524, 18.416, "2012",
        "half precision between the GPUs"),
)
# After its 40.66 the same weights went on, without a directory of their own and so without a date.
RESTART = Run("145", "2012-09-13", 203, 40.250, 17.994, "2012", "145, its rate pushed up again")

BEGIN = "<!-- runs -->\n"
END = "<!-- /runs -->"


def link(run: Run) -> str:
    """The line of the file that has the error of a run."""
    return f"{SOURCE}{run.name}.cfg#L{run.line}"


def table() -> str:
    """All runs as a Markdown table."""
    lines = ["| began | run | errors, % | measured on | new in it |", "|---|---|---|---|---|"]
    for run in (*RUNS, RESTART):
        began = "later" if run is RESTART else run.began
        lines.append(f"| {began} | [{run.name}]({link(run)}) | {run.top1:.2f} / {run.top5:.2f} | "
                     f"{run.data} | {run.what} |")
    return "\n".join(lines) + "\n"


# Where the label of a point stands, in points from it, where "above" would cover another.
LABELS = {"135": (0, 8), "120-2012": (-4, 8), "131": (-2, -25), "137": (14, 6), "145": (44, 8),
          "141-2009": (-22, 8), "146-2012-2009": (-40, -6), "146-2012-2011": (38, -12),
          "147": (-24, 8), "148": (-42, 2), "150": (48, 0), "160": (16, 2), "167": (-38, -10),
          "170-quant": (2, 8), "177": (14, 4), "166": (-15, 6)}
TEXTS = {"131": "131\nnorm before ReLU", "147": "147\npools 2 x 2", "148": "148, no norms",
         "150": "150, no links\nbetween columns", "145": "145, the paper's", "166": "166",
         "167": "167, no norm\nover conv2"}


def draw(path: Path) -> None:
    """The runs as points, and the best error until then, of nets that were not pre-trained."""
    from matplotlib.dates import DateFormatter, MonthLocator
    from matplotlib.figure import Figure

    with style.styled():
        figure = Figure(figsize=(9.5, 5.4))
        axes = figure.add_axes((0.075, 0.09, 0.905, 0.75))
        fresh = [run for run in RUNS if run.data == "2012" and "pre-trained" not in run.what]
        other = [run for run in RUNS if run.data == "2012" and "pre-trained" in run.what]
        ours = "#2f6db3"
        axes.plot([_date(run) for run in fresh], [run.top1 for run in fresh], color=ours, lw=0.9,
                  alpha=0.35)
        best = [min(run.top1 for run in fresh[:i + 1]) for i in range(len(fresh))]
        axes.step([_date(run) for run in fresh], best, where="post", color=ours, lw=2.2,
                  label="the best so far")
        axes.plot([_date(run) for run in fresh], [run.top1 for run in fresh], "o", ms=5.5,
                  color=ours, label="trained on ILSVRC-2012 alone")
        axes.plot([_date(run) for run in other], [run.top1 for run in other], "s", ms=6,
                  color="#c8643c", label="a sixth convolution, pre-trained on a larger ImageNet")
        axes.plot([_date(RESTART)], [RESTART.top1], "o", ms=6.5, mfc="none", color=ours)
        axes.annotate("145 trained on", (_date(RESTART), RESTART.top1), xytext=(8, -4),
                      textcoords="offset points", fontsize=8.5, color="#66707a")
        for run in (*fresh, *other):
            if run.name in LABELS:
                name = TEXTS.get(run.name, run.name)
                axes.annotate(name, (_date(run), run.top1), xytext=LABELS[run.name],
                              textcoords="offset points", ha="center", fontsize=8.5)
        last = next(run for run in RUNS if run.what == "mixed images")
        axes.annotate("170, mixed images", (_date(last), last.top1), xytext=(4, -14),
                      textcoords="offset points", ha="center", fontsize=8.5)
        axes.set(ylabel="top-1 error, ten views, %", ylim=(38.7, 42.6))
        axes.xaxis.set_major_locator(MonthLocator())
        axes.xaxis.set_major_formatter(DateFormatter("%b\n%Y"))
        axes.legend(loc="lower right", frameon=False, fontsize=9)
        style.heading(figure, "The authors' runs on ILSVRC-2012's validation set",
                      "by the day on which each began; from the comments of their parameter files, "
                      "layers/layer-params-*.cfg of AlexNet-Source-Code")
        style.write(figure, path)


def _date(run: Run) -> datetime.date:
    return datetime.date.fromisoformat(run.began)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the picture and renew the table of the page; the exit code."""
    parser = cli.parser("benchmarks.runs_2012", "Draw docs/2012.png and write the table of "
                        "docs/2012.md.")
    parser.parse_args(argv)
    page = ROOT / "docs" / "2012.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(page, [(before + BEGIN + table() + END + after).encode()])
    draw(ROOT / "docs" / "2012.png")
    print(page)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
