"""python -m benchmarks.claims: docs/results.md, what was claimed of these networks beside what is recorded in results/.

The page is made of the JSON files alone: a claim or a net without a record is listed as not run.
"""
import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minitorch_alex import models
from minitorch_alex.ablate import ABLATIONS, table
from minitorch_alex.errors import DataError
from minitorch_alex.files import write_atomic
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.profile import ledger
from minitorch_alex.training import cli, runs

ROOT = Path(__file__).parent.parent
Record = Mapping[str, Any]

# name of the record, what was published of that net, how it is trained
NETS = (
    ("quick_26", "26 %", "whole images"),
    ("net_18", "18 %", "whole images"),
    ("net_18-crops", "14.2 % for a near relative", "random crops and flips, no weight decay"),
    ("alexnet_cifar", "none", "random crops and flips"),
    ("conv_local_13", "13 %", "random crops and flips"),
    ("conv_local_11", "11 %", "random crops and flips"),
)

INTRO = """# What was claimed, and what is seen here

This page is written by `python -m benchmarks.claims` from the records in [results](../results); no number of ours in
it is typed by hand. Errors are those of the test set, top-1, in percent; of the ImageNet numbers the first is top-1,
the second top-5. Brackets hold the smallest and largest of the seeds. "No effect that stands out" means that the ranges
of the seeds overlap, which with three seeds is no proof that there is none; and of two variants that do not differ,
chance keeps three seeds apart from three once in ten times.

Most claims of the paper are about ImageNet and a net of 61 million parameters. The trainings here are small, so that
everybody can repeat them: a narrow AlexNet on 10,000 images of CIFAR-10 (4,000 for the race), about a minute each on
one core, far from converged. They show whether an effect is there at this size, not whether the paper is right at its
own."""

SUMMARY = (
    "In short: overlapping pools, two columns beside half of the maps, and the mean of ten views are better, as the "
    "paper says. Shifted images and dropout keep the training error close to that of new images, as it says too, but "
    "in so short a training the nets without them err less. The update rule and PCA colour make no difference that "
    "three seeds can show. Response normalisation does not lower the error: the weaker it is, the better, and without "
    "it the seeds scatter most. And tanh is faster than ReLU, the opposite of Figure 1.")

NOTES = {
    "relu-vs-tanh": "The paper's four layers are not specified; this is the narrow AlexNet on 4,000 images, without "
                    "LRN, with tanh in each ReLU's place and everything else the same: weights of He and pixels of "
                    "about size 1 for both. The start matters: lesson 5 runs this race with a smaller net also from "
                    "the start of 2012, raw pixels and small weights, which suits tanh less. The training error is "
                    "the mean over the last 2,000 images seen, while the weights change. The best rate is the one "
                    "with the fewest epochs in the mean of the seeds.",
    "init": "0.01 is a number for layers with thousands of inputs. This net's have some hundreds, so that pixels of "
            "0 to 255, which are enough at 224 (below), need not be here.",
    "lrn": "Pixels here are a 64th of the paper's, and LRN compares alpha with the square of its inputs: 0.4096 is to "
           "them what 0.0001 is to pixels of 0 to 255.",
    "lrn-convention": "With alpha 0.4096, see above.",
    "dropout": "The training error is measured while training, with dropout and on the images as they are shown, "
               "shifted or not, so that it may lie above the validation error; a net that overfits has its validation "
               "error far above. Where images are shifted and mirrored, so short a training does not overfit, and "
               "dropout of one half costs more than it gives.",
    "augmentation": "All variants with dropout. The training error is that of the images as they are shown.",
    "ten-view": "The same nets, no further training: each net is compared with itself. The views are those of a "
                "32 x 32 window in the image with its border of 4.",
}


def load(folder: Path) -> dict[str, Record]:
    """The records in a folder by name. DataError for a file that is none."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is no JSON file: {error}; write it again with the command that made it") from None
    return found


def prose(text: str) -> str:
    """A paragraph in lines of the usual length."""
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def grid(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A Markdown table; all columns but the first `left` are ranged right."""
    head = list(head)
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * left + "---:|" * (len(head) - left), *lines[1:]])


def trainings(records: Iterable[Record]) -> list[Record]:
    """Every training of the ablations, those that several share once."""
    found = {}
    for record in records:
        for variant, group in record["variants"].items():
            for training in group:
                found.setdefault(training.get("run", (record["name"], variant, training["seed"])), training)
    return list(found.values())


def cost(records: Iterable[Record]) -> str:
    """The number of different trainings and their time."""
    found = trainings(records)
    return f"{len(found)} trainings, {sum(t['seconds'] for t in found) / 60:.0f} min"


def picture(name: str, root: Path) -> str:
    """The line that shows an ablation's picture, or nothing where there is no picture."""
    for file in (f"results/ablate-{name}.png", f"docs/ablate-{name}.png", f"docs/{name}.png"):
        if (root / file).exists():
            return f"![{name}]({os.path.relpath(file, 'docs')})"
    return ""


def claims(records: Mapping[str, Record], root: Path) -> str:
    """All claims in a table, then those that were run one by one."""
    known = {name: records.get(f"ablate-{name}") for name in ABLATIONS}
    ours = [record for record in known.values() if record]
    rows = [[f"[{name}](#{name})" if known[name] else name, ablation.claim, ablation.theirs,
             known[name]["verdict"] if known[name] else f"not run: `python -m minitorch_alex.ablate {name}`",
             str(known[name]["seeds"]) if known[name] else "", cost([known[name]]) if known[name] else ""]
            for name, ablation in ABLATIONS.items()]
    parts = ["## Claims", grid(["", "claim", "published", "seen here", "seeds", "cost"], rows, left=4)]
    if all(known.values()):
        parts.insert(1, prose(SUMMARY))
    if ours:
        parts.append(f"Together {cost(ours)}; a training that several claims need was done once.")
    for name, record in known.items():
        if record:
            parts += [part for part in (
                f"### {name}", prose(f"{ABLATIONS[name].claim}{'' if ABLATIONS[name].claim.endswith('?') else '.'} "
                                             f"Published: {ABLATIONS[name].theirs}."),
                picture(name, root), table(record), prose(NOTES.get(name, "")),
                f"    {record['command']}",
                f"Commit {record['commit']}, {record['device']}, {record['date']}: "
                f"[ablate-{name}.json](../results/ablate-{name}.json)") if part]
    return "\n\n".join(parts)


def deviations(record: Record) -> str:
    """Where a training differs from its net's own recipe, in words."""
    net, parts = models.build(record["model"], 10), []
    for fields, usual, word in ((fields_of(record), getattr(net, "config", net), "usual"),
                                (vars(models.Recipe.from_json(record["recipe"])), net.recipe, "recipe")):
        for key, value in fields.items():
            if value != (own := getattr(usual, key, value)):
                parts.append(f"{key} {plain(value)} ({word}: {plain(own)})")
    if record["val_split"]:
        parts.append(f"{record['train_images']:,} images, {100 * record['val_split']:.0f} % held out")
    return "; ".join(parts) or "none"


def fields_of(record: Record) -> dict[str, Any]:
    """The fields in which the trained net differs from its model; records of the first days have none."""
    return runs.tuples(record.get("model_fields", {}))


def plain(value: Any) -> str:
    """A value of a recipe in words."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value) or "none"


def nets(records: Mapping[str, Record]) -> str:
    """The nets of 2012 and ours for 32 x 32, trained in full."""
    rows = []
    for name, published, how in NETS:
        record, views = records.get(name), records.get(f"{name}-evaluate", {}).get("views", {})
        if record is None:
            rows.append([f"`{name}`", how, "not run", "", published, *[""] * 6])
            continue
        errors = [f"{views[kind]['top1_error']:.2f} %" if kind in views else "" for kind in ("nine", "ten")]
        epochs = record["recipe"]["epochs"]
        rows.append([f"`{name}`", how, deviations(record), f"[{name}.json](../results/{name}.json)", published,
                     f"{record['test']['top1_error']:.2f} %", *errors, str(epochs),
                     f"{record['seconds'] / epochs:.0f}", f"{record['seconds'] / 60:.0f} min"])
    return "\n\n".join([
        "## The CIFAR-10 nets, trained in full",
        prose("One seed each. \"Published\" is the error that the files of 2012 note for the same net, of the last two "
              "by several views. 14.2 % stands there for net_18's relative without normalisation, on shifted images "
              "and without weight decay; our ten views are what to lay beside it. Deviations are those from the net's "
              "own recipe (`train --dry-run` prints it). A net that is trained on whole images has one window: its "
              "nine views are that one, its ten it and its mirror image. Times depend on what else the machine was "
              "doing."),
        grid(["net", "trained on", "deviations", "record", "published", "single view", "nine views", "ten views",
              "epochs", "seconds an epoch", "time"], rows, left=4)])


def sizes(records: Mapping[str, Record]) -> str:
    """The faithful net on enlarged images beside small kernels on the images as they are."""
    ours = records.get("alexnet_cifar")
    fields = fields_of(ours or {})
    side = fields.get("image_size", 32)
    small = [f"{100 - ours['test']['top1_error']:.2f} %", f"{ours['seconds'] / ours['recipe']['epochs']:.0f}",
             str(ours["recipe"]["epochs"]), ours["device"]] if ours else ["not run", "", "", ""]
    return "\n\n".join([
        "## CIFAR-10 at 224, or small kernels at 32",
        prose("A PyTorch replication ([gregorycotton/alexnet](https://github.com/gregorycotton/alexnet), 2025) trained "
              "the faithful net on CIFAR-10 enlarged to 224 x 224, and left the number of an optimised one open "
              "(\"TBD\"). `alexnet_cifar` is such a net: as many layers at half the width with a 3 x 3 stem, on "
              "windows of the 32 x 32 pixels that there are; the table above has its views and its deviations. The "
              "machines differ, so the seconds do not compare the programs; the work does, for an image and the way "
              f"forward: {work('alexnet_source_2012')} million multiply-adds at 224, "
              f"{work('alexnet_cifar', **fields)} million at {side}."),
        grid(["net", "accuracy, single view", "seconds an epoch", "epochs", "machine"], [
            ["theirs, faithful, 224 x 224", "76.56 %", "760", "10", "Apple M1 Max"],
            ["theirs, optimised", "left open", "", "", ""],
            [f"ours, `alexnet_cifar`, {'' if side == 32 else f'{side} x {side} of '}32 x 32", *small],
            ["ours, `alexnet`, CIFAR-10 at 224 x 224", "not run: needs a GPU", "", "", ""]])])


def work(name: str, **fields: Any) -> str:
    """Multiply-adds of a forward pass of an AlexNet in millions."""
    model = AlexNet(getattr(AlexNetConfig, models.ALEXNETS[name])(num_classes=10, **fields).blank())
    return f"{sum(entry.multiply_adds for entry in ledger(model)) / 1e6:,.0f}"


def page(records: Mapping[str, Record], root: Path = ROOT) -> str:
    """The whole page."""
    return "\n\n".join([INTRO, claims(records, root), nets(records), sizes(records)]) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("benchmarks.claims", "Write docs/results.md from the records in results/.")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR",
                        help="where the records are (default: results)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", metavar="FILE",
                        help="the page (default: docs/results.md)")
    args = parser.parse_args(argv)
    write_atomic(args.out, [page(load(args.results)).encode()])
    print(args.out)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
