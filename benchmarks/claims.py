"""python -m benchmarks.claims: write docs/results.md, where claims about AlexNet meet our records.

The page is made from the JSON files in results/ alone: a claim or a network without a record is
listed as not run.
"""
import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from minitorch_alex import models, verdict
from minitorch_alex.claims import CLAIMS, LONG, Claim
from minitorch_alex.errors import DataError
from minitorch_alex.files import write_atomic
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.profile import ledger
from minitorch_alex.training import cli, runs
from minitorch_alex.verdict import Record, grid

from . import figure1 as race
from . import own_pictures, unfinished

ROOT = Path(__file__).parent.parent
Records = Mapping[str, Record]  # by the name of the file, without .json


@dataclass(frozen=True)
class Net:
    """A network that is trained in full: its record, the published error, its training images."""

    name: str
    published: str
    images: str


NETS = (
    Net("quick_26", "26 %", "whole images"),
    Net("net_18", "18 %", "whole images"),
    Net("net_19-crops", "14.2 %", "random crops and flips, no weight decay"),
    Net("net_18-crops", "14.2 % for net_19", "random crops and flips, no weight decay"),
    Net("alexnet_cifar", "none", "random crops and flips"),
    Net("alexnet_cifar-45000", "none", "random crops and flips"),
    Net("alexnet_cifar-border", "none", "random crops, with a border, and flips"),
    Net("alexnet_cifar-24", "none", "random crops and flips"),
    Net("conv_local_13", "13 % (12.6 %)", "random crops and flips"),
    Net("conv_local_11-320", "11 % in 520 epochs", "random crops and flips"),
    Net("conv_local_11", "11 %", "random crops and flips"),
)

INTRO = """# What was claimed, and what we see

`python -m benchmarks.claims` writes this page: the tables come from the records in
[results](../results), and tests compare most numbers in the text with them. Errors are top-1 test
errors in percent; of two numbers for ImageNet the first is top-1, the second top-5. Parentheses
hold the smallest and the largest value of the seeds.

* *Change* is the mean test error minus that of the baseline, the first variant of each claim.
* *Seeds separate?* says whether every seed of the variant is above every seed of the baseline, or
  every seed below. With three seeds, "no" does not prove that there is no effect. Conversely, two
  identical variants separate by chance in one case out of ten.
* *Gap* is the validation error minus the training error at the end. The training error is measured
  while training, with dropout and on augmented images, so the gap of a network that does not
  overfit can be negative. It is left out where no images were held out.
* *Stalled* means that the loss ended at chance level, ln C for C classes.

First come trainings on all of CIFAR-10, then small ones that take minutes."""

FULL_SIZE = (
    "On CIFAR-10: net_18 by its whole recipe on 50,000 images; alexnet_cifar with its defaults (LRN, "
    "not the bundled network of the table below) on 48,000, with 2,000 held out, for 60 or 120 "
    "epochs; conv_local_13 for 30 of its 160 epochs; and the narrow AlexNet of the small claims for "
    "30. That is hours on one core and minutes on a GPU. Up to 16 trainings, those of Figure 1 among "
    "them, shared a GPU: each took longer than it would have alone, and their sum is more than "
    "anybody waited. The trainings of 30 epochs were begun by the flags of the small claims, followed "
    "by others that override them (among them --limit 50000); the commands below say the same in "
    "fewer words, but are not the ones that ran. Most of the paper's claims are about ImageNet and "
    "a network of 61 million parameters, for which these stand in; Figure 1, above, and the step "
    "from 13 to 11 % are about CIFAR-10 itself.")
FULL_SUMMARY = (
    "As the paper claims, two columns beat a single column of half the width, here by 3.2 points (a "
    "merged network of the full width is better still, by 1.6 points), and without crops and flips "
    "the network overfits: 4 % training error, 26.3 % test error, 2.5 points more than with them. In "
    "the small trainings below the networks without crops and flips overfit too, but have the lower "
    "test error: with them, 16 epochs on 10,000 images are too few. For overlapping pooling, PCA "
    "colour, its divisor and the update rule the means differ by at most 0.1 points, less than the "
    "seeds scatter; so neither the paper's 0.4 points for overlapping pooling nor its more than one "
    "point for colour is seen here, nor what overlapping pooling gains in the small trainings. "
    "Dropout does not lower the error, neither by the full recipe nor, with one seed, in twice the "
    "epochs. With its normalisation net_18 reaches the 18 % of its file. Without it the error is "
    "higher with each of the three seeds, by 0.4 points on average, but the ranges overlap; the 19 "
    "% of the other file, which also has more decay, is not reached.")
SMALL_SIZE = (
    "So that anybody can repeat them, these trainings are small: a narrow AlexNet on 10,000 images "
    "of CIFAR-10 (4,000 for the race), one to two minutes each on one core, far from convergence; "
    "for batch-norm the whole net for CIFAR-10, seven minutes each; for stall the whole AlexNet on "
    "4,800 photographs. They show whether an effect exists at this scale, not whether the paper is "
    "right at its own.")

SUMMARY = (
    "As the paper claims, overlapping pooling helps, two columns beat a single column of half "
    "the width, and ten-view averaging helps. Also as it claims, shifted images and dropout keep "
    "the training error close to the validation error; but in such short trainings the networks "
    "without them have the lower test error. The update rule and PCA colour make no difference "
    "that three seeds can show. In the narrow network local response normalisation shows no gain: "
    "of two strengths the weaker is better, and without it the seeds scatter most. In the wider "
    "network of batch-norm, in nine epochs, the net without any norm is 8.5 points worse, for it "
    "loses time at the start. And tanh is faster than ReLU in the small race, the opposite of Figure "
    "1, which the race at its full size at the top of this page confirms in kind.")

# The claims of which the summaries speak.
FULLY_SUMMARISED = ("norm-within", "dropout-full", "dropout-twice", "overlapping-pool-full",
                    "groups-full", "augmentation-full", "color-divisor", "update-rule-full")
SUMMARISED = ("relu-vs-tanh", "lrn", "batch-norm", "overlapping-pool", "dropout", "augmentation", "groups",
              "update-rule", "ten-view")

NOTES = {
    "relu-vs-tanh": "The paper does not specify its four-layer network. This is the narrow "
                    "AlexNet on 4,000 images, without LRN, with each ReLU replaced by tanh and "
                    "everything else equal: He's initial weights and pixels of about size 1 for "
                    "both. The start matters: lesson 5 also runs this race, with a smaller "
                    "network, from the start of 2012 (raw pixels and small weights), which suits "
                    "tanh less. The training error is the mean over the last 2,000 images seen, "
                    "while the weights change. The best rate is the one that needs the fewest "
                    "epochs on average.",
    "init": "Weights of 0.01 are meant for layers with thousands of inputs. The layers of this "
            "network have a few hundred, so pixels from 0 to 255 are not enough here, although "
            "they are at 224 x 224 (see stall below).",
    "lrn": "Pixels here are 1/64 of the paper's, and LRN compares alpha with the square of its "
           "inputs: 0.4096 is to them what 0.0001 is to pixels from 0 to 255.",
    "lrn-convention": "All three variants have alpha 0.4096, see lrn above.",
    "batch-norm": "Norms follow conv1 and conv2 only, where the paper has them; LRN behind the ReLU "
                  "with alpha 0.4096 (see lrn above), batch normalisation before it. At this rate "
                  "the net without a norm loses time in its first epochs, some seeds more than "
                  "others. What batch normalisation does first of all is shown in lesson 6: it "
                  "lets a net learn at rates that stop the others.",
    "dropout": "A network that overfits has a large gap. With shifted and mirrored images, such "
               "a short training does not overfit, and dropout of one half costs more than it "
               "gains. By its full recipe it gains nothing either, see dropout-full above.",
    "dropout-full": "Both overfit about equally: the gap is 0.8 points larger without dropout, but "
                    "with dropout the training error is measured with units switched off. Dropout "
                    "does not lower the test error. It may be that crops and flips leave little to "
                    "gain (in the small claim below it gains nothing without them either), or that "
                    "hidden layers of 1024 instead of 4096 need it less; neither was tried at this "
                    "size.",
    "dropout-twice": "With the same seed in dropout-full, half the epochs gave 13.01 % with dropout "
                     "and 12.48 % without, so twice the epochs gain 1.0 and 0.8 points. That "
                     "difference is within the scatter of the seeds: one seed cannot show whether "
                     "dropout needs more epochs.",
    "thirteen-to-eleven": "Each row that begins with \"and\" is the 13 % net with that one change. "
                          "Errors are by a single view, after a fifth of the epochs, so they are "
                          "far above the published ones, and a full training may rank the variants "
                          "differently. With one seed, differences of this size can be chance. The "
                          "table of networks below has both nets trained for longer.",
    "norm-within": "Both by the recipe of net_18; the file of the 19 % has more decay as well.",
    "augmentation": "All variants have dropout.",
    "ten-view": "These are the same networks without further training, so each network is "
                "compared with itself: the seeds separate if the error of every network changes "
                "in the same direction. The views are 32 x 32 windows of the image with its "
                "border of 4.",
}


# What has not been run would take so many hours of one core of an Intel Xeon: conv_local_11 takes
# 71 seconds for an epoch of all images there, the narrow network one to two minutes per training.
HOURS = {
    "conv_local_11": 10,
    "net_19-crops": 2,
    "warm-restart": 0.3,
}


def not_run(name: str) -> str:
    """That it was not run, and how long it would take."""
    estimate = HOURS.get(name)
    return f"not run, about {estimate:g} hours on one core" if estimate else "not run"


def load(folder: Path) -> dict[str, Record]:
    """The records in a folder by name. Raises DataError for a file that is not JSON."""
    records = {}
    for file in sorted(folder.glob("*.json")):
        try:
            records[file.stem] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is not a JSON file: {error}; write it again with the command "
                            "that made it") from None
    return records


def prose(text: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(text, 99, break_on_hyphens=False, break_long_words=False)


# The claims


def trainings(records: Iterable[Record]) -> list[Record]:
    """Every training of these claims; one that several claims share counts once."""
    unique: dict[Any, Record] = {}
    for record in records:
        for variant, group in record["variants"].items():
            for training in group:
                # A run's name is unique; a training without one is not shared.
                key = training.get("run", (record["name"], variant, training["seed"]))
                unique.setdefault(key, training)
    return list(unique.values())


def cost(records: Iterable[Record]) -> str:
    """The number of different trainings, and their time."""
    unique = trainings(records)
    return f"{len(unique)} trainings, {sum(t['seconds'] for t in unique) / 60:.0f} min"


def figure(name: str, root: Path) -> str:
    """The line that shows the figure of a claim, or nothing if there is no figure."""
    # Most figures are next to their record; those of a guide are in docs/.
    places = f"results/ablate-{name}.png", f"docs/ablate-{name}.png", f"docs/{name}.png"
    for file in places:
        if (root / file).exists():
            return f"![{name}]({os.path.relpath(file, 'docs')})"
    return ""


def full_size(records: Records, root: Path) -> str:
    """The claims that were run on all images, in a table, then each."""
    ours = records_of(LONG, records)
    parts = ["## Claims at their full size", prose(FULL_SIZE)]
    if all(name in ours for name in FULLY_SUMMARISED):
        parts.append(prose(FULL_SUMMARY))
    parts.append(catalogue(LONG, ours))
    if ours:
        parts.append(together(ours))
    return "\n\n".join([*parts, *sections(ours, root)])


def claims(records: Records, root: Path) -> str:
    """The small claims in a table, all their results in a table, then each that was run."""
    small = [name for name in CLAIMS if name not in LONG]
    ours = records_of(small, records)
    parts = ["## Claims, small enough to rerun", prose(SMALL_SIZE)]
    if all(name in ours for name in SUMMARISED):
        parts.append(prose(SUMMARY))
    parts.append(catalogue(small, ours))
    if ours:
        parts += [together(ours), "### All results", overview(ours)]
    return "\n\n".join([*parts, *sections(ours, root)])


def together(records: Records) -> str:
    """What all trainings of these claims took."""
    return f"Together {cost(records.values())}; a training that several claims need was done once."


def records_of(names: Iterable[str], records: Records) -> dict[str, Record]:
    """The records of those claims that were run."""
    return {name: records[f"ablate-{name}"] for name in names if f"ablate-{name}" in records}


def sections(records: Records, root: Path) -> list[str]:
    """One section per claim."""
    return [section(name, CLAIMS[name], record, root) for name, record in records.items()]


def catalogue(names: Iterable[str], records: Records) -> str:
    """One row per claim: what it says, and what it took to test it here."""
    rows = []
    for name in names:
        claim = CLAIMS[name]
        record = records.get(name)
        if record:
            here = [f"[{name}](#{name})", str(record["seeds"]), cost([record])]
        else:
            here = [name, "", f"{not_run(name)}: `python -m minitorch_alex.ablate {name}`"]
        label, seeds, effort = here
        rows.append([label, claim.statement, claim.published, seeds, effort])
    return grid(["", "claim", "published", "seeds", "cost"], rows, left=3)


def overview(records: Records) -> str:
    """One row per variant: how it compares with the baseline of its claim."""
    rows = []
    for name, record in records.items():
        is_race = record.get("picture") == "race"
        comparisons = race_comparisons(record) if is_race else error_comparisons(record)
        rows += [[f"[{name}](#{name})", *cells] for cells in comparisons]
    return grid(["", "variant", "compared with", "change", "seeds separate?"], rows, left=3)


def error_comparisons(record: Record) -> list[list[str]]:
    """[variant, baseline, change, whether the seeds separate] of each variant but the baseline."""
    baseline, *others = verdict.verdict(record)
    return [[row.variant, baseline.variant, f"{verdict.signed(row.change)} points",
             verdict.answer(row.separate)]
            for row in others]


def race_comparisons(record: Record) -> list[list[str]]:
    """The same for a race, in which the epochs are compared."""
    first, *others = verdict.race_verdict(record)
    cells = []
    for row in others:
        change = verdict.ratio(row) + (" times the epochs" if row.ratio is not None else "")
        clear = "" if row.ratio is None or row.at_least else verdict.answer(row.separate)
        cells.append([row.best.variant, first.best.variant, change, clear])
    return cells


def section(name: str, claim: Claim, record: Record, root: Path) -> str:
    """One claim: the statement, the figure, the tables, and where the numbers come from."""
    # A statement may be a question, or end in a sentence in parentheses.
    stop = "" if claim.statement.endswith(("?", ".", ".)")) else "."
    file = f"ablate-{name}.json"
    parts = [
        f"### {name}",
        prose(f"{claim.statement}{stop} Published: {claim.published}."),
        figure(name, root),
        verdict.table(record),
        prose(NOTES.get(name, "")),
        f"    {record['command']}",
        f"Commit {record['commit']}, {machine(record)}, {record['date']}: "
        f"[{file}](../results/{file})",
    ]
    return "\n\n".join(part for part in parts if part)


def machine(record: Record) -> str:
    """The device of a record, in proper English, and on how many ranks it was used."""
    device = record["device"].replace(", 1 threads", ", 1 thread")
    ranks = re.search(r"--ranks (\d+)", record["command"])
    return f"{device} on each of {ranks[1]} ranks" if ranks else device


# The networks that are trained in full


def deviations(record: Record) -> str:
    """Where a training differs from its network's own recipe."""
    net = models.build(record["model"], 10)
    # (fields of this training, the object that has the network's own, a word for these)
    groups = (
        (fields_of(record), getattr(net, "config", net), "default"),
        (vars(models.Recipe.from_json(record["recipe"])), net.recipe, "recipe"),
    )
    differences = []
    for fields, usual, word in groups:
        for key, value in fields.items():
            own = getattr(usual, key, value)  # a field that is unknown by now does not deviate
            if value != own:
                differences.append(f"{key} {as_text(value)} ({word}: {as_text(own)})")
    if record["val_split"]:
        held_out = f"{100 * record['val_split']:.0f} % held out"
        differences.append(f"{record['train_images']:,} images, {held_out}")
    return "; ".join(differences) or "none"


def fields_of(record: Record) -> dict[str, Any]:
    """The fields in which the trained network differs from its preset; old records have none."""
    return runs.tuples(record.get("model_fields", {}))


def as_text(value: Any) -> str:
    """A value of a recipe for human readers."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"


def nets(records: Records) -> str:
    """cuda-convnet's networks of 2011 and 2012 and ours for 32 x 32, trained in full."""
    head = ["network", "trained on", "deviations", "record", "published", "single view",
            "nine views", "ten views", "epochs", "seconds per epoch", "time"]
    rows = [net_row(net, records) for net in NETS]
    return "\n\n".join([
        "## The CIFAR-10 networks, trained in full",
        prose("One seed each. \"Published\" is the error that cuda-convnet's files give for the "
              "same network: of September 2011 for quick_26, net_18 and net_19, of December 2011 "
              "for conv_local_13 (by nine views), of March 2012 for conv_local_11 (by ten). The "
              "14.2 % next to net_18 is the error of net_19, which has no normalisation; the file "
              "does not say by how many views. When it was written, tests knew nine views, none mirrored; "
              "the ten came in March 2012 (see [2012.md](2012.md)). So compare it with our nine views. "
              "In the three records of 21 November 2026 with \"bias_constant no\" the rate of the "
              "biases drops with that of the weights; in cuda-convnet's files only the rate of the "
              "weights, epsW, drops. The conv_local networks learn from all five batches from the "
              "start, where the authors added the fifth after some 100 and 350 epochs. The 12.6 % "
              "are those of cuda-convnet's wiki. Deviations are differences "
              "from the network's own recipe, which `train --dry-run` prints. A network trained "
              "on whole images has a single window: its \"nine views\" are that window, its "
              "\"ten views\" the window and its mirror image. The times depend on the machine and on "
              "what else it was doing: conv_local_13 and 299 epochs of conv_local_11-320 ran on an "
              "H200, some 2 seconds each, the last 21 on one core, 75 seconds each, all others on "
              "CPUs."),
        grid(head, rows, left=4),
        from_13_to_11(records),
        curves_so_far(records),
        bundled(records)]).rstrip()


FROM_13_TO_11 = (
    "\"13% without normalization and 11% with normalization\" (section 3.3) are probably "
    "`conv_local_13` by nine views and `conv_local_11` by ten. Ours are {before[nine]:.1f} % and "
    "{after[ten]:.1f} %. By the same views the step is smaller: {before[nine]:.1f} to "
    "{after[nine]:.1f} % by nine, {before[ten]:.1f} to {after[ten]:.1f} % by ten, with twice the "
    "epochs, and not by normalisation alone (thirteen-to-eleven, above). `conv_local_11-320` drops "
    "its rate 200 epochs earlier than the recipe. Its first 299 epochs are those of the unfinished "
    "training of 520, on an H200 in tf32; the last 21 ran on one core of a Xeon.")


def from_13_to_11(records: Records) -> str:
    """The step of section 3.3 by the whole procedures, if both were run."""
    names = "conv_local_13-evaluate", "conv_local_11-320-evaluate"
    if any(name not in records for name in names):
        return ""
    before, after = (
        {kind: view["top1_error"] for kind, view in records[name]["views"].items()}
        for name in names)
    return prose(FROM_13_TO_11.format(before=before, after=after))


def unfinished_runs(records: Records) -> dict[str, Record]:
    """Unfinished trainings by network, without those that have a record by now."""
    runs = records.get("unfinished", {}).get("runs", [])
    return {run["model"]: run for run in runs if run["model"] not in records}


def curves_so_far(records: Records) -> str:
    """The curves of the unfinished trainings, and how long they would take."""
    runs = unfinished_runs(records)
    if not runs:
        return ""
    record = records["unfinished"]
    names = listed([f"`{name}`" for name in runs])
    hours = ", ".join(f"about {HOURS[name]:g} hours for {name}" for name in runs if name in HOURS)
    text = [
        f"Unfinished by its whole recipe: {names} ({record['device']}; commit "
        f"{record['commit']}, {record['date']}).",
        record["note"],
        f"On one core all epochs would take {hours}." if hours else "",
        "The training error of an epoch is that of the images as they were cut and mirrored, "
        "while the weights moved:",
    ]
    return "\n\n".join([
        prose(" ".join(sentence for sentence in text if sentence)),
        "![training errors so far](../results/unfinished.png)"])


BUNDLED = (
    "`alexnet_cifar` is the network that comes with the package. Its dropout and its hidden "
    "layers are those of `alexnet_cifar-24`, chosen on 5,000 training images that were held out "
    "([alexnet_cifar-24-choice.json](../results/alexnet_cifar-24-choice.json)); the place of its "
    "norms and its rate were chosen by the training loss in the first steps of five tries. "
    "`alexnet_cifar-45000` then learnt from nine tenths of the training images and was watched on "
    "the others, of which it had {watched:.1f} % wrong in the end. The bundled network repeats "
    "its recipe on all of them, and `alexnet_cifar-border` does so with a border of two pixels "
    "around each image; both were trained by two ranks of one thread, each with half of every "
    "batch. The test images decided nothing within a training, and each network was tested when "
    "it was finished. But the bundled network was the last of the three, after the tests of the "
    "other two: it was chosen because it is the best of the three on the test images, so its lead "
    "of half a point may be chance.")


def bundled(records: Records) -> str:
    """How the bundled network was chosen, if it and those like it are recorded."""
    names = "alexnet_cifar", "alexnet_cifar-45000", "alexnet_cifar-border"
    if any(name not in records for name in names):
        return ""
    return prose(BUNDLED.format(watched=records[names[1]]["curve"][-1]["val_error"]))


def net_row(net: Net, records: Records) -> list[str]:
    """The cells of one network."""
    record = records.get(net.name)
    if record is None:
        run = unfinished_runs(records).get(net.name)
        state = unfinished.progress(run) if run else not_run(net.name)
        link = "[unfinished.json](../results/unfinished.json)" if run else ""
        return [f"`{net.name}`", net.images, state, link, net.published, *[""] * 6]
    views = records.get(f"{net.name}-evaluate", {}).get("views", {})
    averages = [f"{views[kind]['top1_error']:.2f} %" if kind in views else ""
                for kind in ("nine", "ten")]
    epochs = record["recipe"]["epochs"]
    return [
        f"`{net.name}`",
        net.images,
        deviations(record),
        f"[{net.name}.json](../results/{net.name}.json)",
        net.published,
        f"{record['test']['top1_error']:.2f} %",
        *averages,
        str(epochs),
        f"{record['seconds'] / epochs:.0f}",
        f"{record['seconds'] / 60:.0f} min",
    ]


# Enlarged images or small kernels


def sizes(records: Records) -> str:
    """The faithful network on enlarged images, and small kernels on the images as they are."""
    ours = records.get("alexnet_cifar")
    fields = fields_of(ours or {})
    side = fields.get("image_size", 32)
    window = "" if side == 32 else f"{side} x {side} of "
    small = size_cells(ours) if ours else ["not run", "", "", ""]
    enlarged = records.get("gpu_224")
    large = size_cells(enlarged) if enlarged else ["not run: needs a GPU", "", "", ""]
    without_gpu = records.get("cpu_224")
    two_cores = size_cells(without_gpu) if without_gpu else ["not run", "", "", ""]
    usual = f" {USUAL_EPOCH.format(usual=usual_epoch(ours))}" if ours else ""
    return "\n\n".join([
        "## CIFAR-10 at 224 x 224, or small kernels at 32 x 32",
        prose("A PyTorch replication "
              "([gregorycotton/alexnet](https://github.com/gregorycotton/alexnet), 2025) trained "
              "the faithful network on CIFAR-10 enlarged to 224 x 224, and left the result of an "
              "optimised one open (\"TBD\"). `alexnet_cifar` is such a network: as many layers "
              "at half the width, with a 3 x 3 first convolution, on windows of the original 32 "
              "x 32 pixels; the table above has its views and its deviations. The machines "
              "differ, so the seconds do not compare the programs. The work per image in the "
              f"forward pass does: {work('alexnet_source_2012')} million multiply-adds at 224, "
              f"{work('alexnet_cifar', **fields)} million at {side}.{usual}"),
        grid(["network", "accuracy, single view", "seconds per epoch", "epochs", "machine"], [
            ["theirs, faithful, 224 x 224", "76.56 %", "760", "10", "Apple M1 Max"],
            ["theirs, optimised", "left open", "", "", ""],
            [f"ours, `alexnet_cifar`, {window}32 x 32", *small],
            ["ours, `alexnet`, CIFAR-10 at 224 x 224", *large],
            ["the same on two cores, two ranks", *two_cores]]),
        prose(TWO_CORES) if without_gpu else ""]).rstrip()


TWO_CORES = (
    "On two cores, with nothing else running on them, the two epochs took 810 and 795 seconds, about "
    "62 images per second; the M1 Max, whose GPU does the work, takes 5 % less per epoch than these "
    "two cores in NumPy ([cpu_224.json](../results/cpu_224.json)).")


USUAL_EPOCH = (
    "Tests ran on the machine during some epochs of our training: the median epoch took {usual:.0f} "
    "seconds.")


def usual_epoch(record: Record) -> float:
    """The median time of an epoch, in seconds."""
    ends = [epoch["seconds"] for epoch in record["curve"]]
    return median(end - begin for begin, end in zip([0, *ends], ends))


def size_cells(record: Record) -> list[str]:
    """Accuracy, seconds per epoch, epochs and machine of a training."""
    epochs = record["recipe"]["epochs"]
    accuracy = 100 - record["test"]["top1_error"]
    return [f"{accuracy:.2f} %", f"{record['seconds'] / epochs:.0f}", str(epochs), machine(record)]


def work(name: str, **fields: Any) -> str:
    """Multiply-adds of a forward pass of an AlexNet, per image, in millions."""
    preset = getattr(AlexNetConfig, models.ALEXNETS[name])
    model = AlexNet(preset(num_classes=10, **fields).blank())
    return f"{sum(entry.multiply_adds for entry in ledger(model)) / 1e6:,.0f}"


FIGURE_1 = (
    "The race of Figure 1 under its own conditions as far as the paper tells them: a four-layer "
    "network of that time (quick_26, with the initial weights of its file), all 50,000 images, raw "
    "pixels minus the mean, no weight decay, dropout or augmentation, constant rates. {race} The "
    "paper, which chose a rate for each, says six times.")
FROM_SCALED = (
    "What the factor hangs on is the start. Here the network, the images and their order are the "
    "same, but pixels are divided by 64 and the weights of a layer with n inputs per output have a "
    "standard deviation of sqrt(1 / n), so that values keep their size from layer to layer (--set "
    "start=scaled). {race}")
OTHER_RACES = (
    "In the narrow race below, with another network, fewer images and smaller batches, tanh is even "
    "ahead. Lesson 5 changes the start alone, as here.")
RELU_ARRIVES = "ReLU is at 25 % training error in epoch {relu}."
TANH_ARRIVES = (
    "Tanh gets there in epoch {arrivals}. At its best rate, {tanh_rate:g}, it takes {factor:.1f} times "
    "as many epochs as ReLU at its best, {relu_rate:g}.")
AT_THE_EDGE = "The best rate of {name} is the {end} one that was tried."
TANH_IS_ON_ITS_WAY = (
    "No run with tanh was there when it was stopped; the best stood at {best} % after {epochs} "
    "epochs, which makes the factor at least {factor:.1f}.")


def figure1(records: Records) -> str:
    """The section on Figure 1, if it was run: the race from its own start and from another."""
    if "figure1" not in records:
        return ""
    parts = ["## Figure 1 on all of CIFAR-10", *race_parts(records, "figure1", FIGURE_1)]
    if "figure1_scaled" in records:
        parts += race_parts(records, "figure1_scaled", FROM_SCALED)
    return "\n\n".join([*parts, prose(OTHER_RACES)])


def race_parts(records: Records, name: str, text: str) -> list[str]:
    """What a race showed, its figure, its runs, and where they come from."""
    record = records[name]
    runs = record["runs"]
    relu = arrivals_by_rate(runs, "relu")
    told = f"{RELU_ARRIVES.format(relu=arrivals_in_words(relu))} {tanh_words(runs, relu)}"
    head = ["non-linearity", "rate", "seed", f"training error of {race.LEVEL:g} %", "at the end", ""]
    origins = sorted({origin_of(run, record) for run in runs})
    return [
        prose(text.format(race=told)),
        f"![{name}](../results/{name}.png)",
        grid(head, race.rows(runs)),
        prose(f"[{name}.json](../results/{name}.json). {' '.join(origins)}"),
    ]


def arrivals_by_rate(runs: Sequence[Record], activation: str) -> dict[float, list[int]]:
    """Rate -> the epochs in which the runs of an activation reached the level, for rates with such
    a run."""
    arrivals: dict[float, list[int]] = {}
    for run in sorted(runs, key=race.order):
        epoch = race.epochs_to_level(run)
        if run["activation"] == activation and epoch:
            arrivals.setdefault(run["lr"], []).append(epoch)
    return arrivals


def arrivals_in_words(arrivals: Mapping[float, Sequence[int]]) -> str:
    """"8 at 0.002 (one seed) and 8 to 9 at 0.001 (3 seeds)", by rate."""
    words = []
    for rate, epochs in arrivals.items():
        first, last = min(epochs), max(epochs)
        when = str(first) if first == last else f"{first} to {last}"
        words.append(f"{when} at {rate:g} ({count_seeds(len(epochs))})")
    return listed(words)


def tanh_words(runs: Sequence[Record], relu: Mapping[float, Sequence[int]]) -> str:
    """How far tanh came, compared with ReLU, each at the rate that took the fewest epochs."""
    tanh = arrivals_by_rate(runs, "tanh")
    relu_rate, relu_epochs = best_rate(relu)
    if not tanh:
        best = min((run for run in runs if run["activation"] == "tanh"),
                   key=lambda run: run["train_error"][-1])
        epochs = len(best["train_error"])
        return TANH_IS_ON_ITS_WAY.format(best=f"{best['train_error'][-1]:.1f}", epochs=epochs,
                                         factor=epochs / relu_epochs)
    tanh_rate, tanh_epochs = best_rate(tanh)
    text = TANH_ARRIVES.format(arrivals=arrivals_in_words(tanh), tanh_rate=tanh_rate,
                               factor=tanh_epochs / relu_epochs, relu_rate=relu_rate)
    return " ".join([text, *edge_words(runs, "relu", relu_rate),
                     *edge_words(runs, "tanh", tanh_rate)])


def best_rate(arrivals: Mapping[float, Sequence[int]]) -> tuple[float, float]:
    """The rate with the fewest epochs, and these: the mean of its seeds."""
    rate = min(arrivals, key=lambda rate: mean(arrivals[rate]))
    return rate, mean(arrivals[rate])


def edge_words(runs: Sequence[Record], activation: str, best: float) -> list[str]:
    """That a best rate is the smallest or the largest of those that were tried, if it is."""
    tried = {run["lr"] for run in runs if run["activation"] == activation}
    ends = {max(tried): "largest", min(tried): "smallest"}
    if len(tried) == 1 or best not in ends:
        return []
    name = {"relu": "ReLU", "tanh": "tanh"}[activation]
    return [AT_THE_EDGE.format(name=name, end=ends[best])]


def listed(words: Sequence[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def count_seeds(number: int) -> str:
    """"one seed", "3 seeds"."""
    return "one seed" if number == 1 else f"{number} seeds"


def origin_of(run: Record, record: Record) -> str:
    """Where and when a run of the race was made."""
    device, date, commit = (run.get(key, record[key]) for key in ("device", "date", "commit"))
    return f"{device}; {date}, commit {commit}."


# Trained weights for few pictures


def few_pictures(records: Records) -> str:
    """What the bundled weights are worth for classes with 40 pictures each."""
    record = records.get("own_pictures")
    if record is None:
        return ""
    return "\n\n".join([
        "## Trained weights for few pictures",
        prose("Three and ten classes of Imagenette, 40 training pictures of each, drawn anew for "
              "each seed, 100 of each to test. From scratch, the network of the bundled model "
              "learns from random weights at 0.01 for as many epochs. The seconds are the "
              "processor's, of one thread. Nothing was tuned on the test pictures."),
        own_pictures.table(record),
        f"    {record['command']}",
        f"Commit {record['commit']}, {machine(record)}, {record['date']}: "
        "[own_pictures.json](../results/own_pictures.json)"])


def page(records: Records, root: Path = ROOT) -> str:
    """The whole page."""
    parts = [INTRO, figure1(records), full_size(records, root), nets(records), sizes(records),
             few_pictures(records), claims(records, root)]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; the exit code."""
    parser = cli.parser("benchmarks.claims", "Write docs/results.md from the records in results/.")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR",
                        help="read the records from here (default: results)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", metavar="FILE",
                        help="write the page here (default: docs/results.md)")
    args = parser.parse_args(argv)
    write_atomic(args.out, [page(load(args.results)).encode()])
    print(args.out)
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
