"""python -m minitorch_alex.train: train a network from scratch, on the framework of this package.

Reads top to bottom: the flags, what follows from them, the loop, the end. Flags are named as in pytorch/examples;
what is not given comes from the model's own recipe.
"""
import argparse
import ast
import math
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import __version__, backend, data, kernels, models, plots, profile, streams
from . import functional as F
from .check import mine
from .errors import DataError, DivergedError, RunError, UsageError
from .evaluate import error_rates, predict
from .files import write_atomic
from .models import Recipe
from .models.recipe import RECIPES, change_rates, named
from .nn import Module
from .tensor import Tensor
from .training import checkpoint, cli, feed, runs
from .training.cli import clock
from .training.runs import Run

DEFAULTS = dict(model="alexnet_cifar", data="cifar10", data_dir="data", limit=0, val_split=0.1, recipe_name=None,
                set=[], seed=0, name=None, runs_dir="runs", overwrite=False, resume=None, workers=1,
                print_freq=50, checkpoint_freq=500, dry_run=False, check_init=False, mine=None, **cli.DEVICE_DEFAULTS)
CHANGEABLE = {"epochs", "mine", "threads", "workers", "data_dir", "print_freq", "checkpoint_freq", "memory_limit",
              "deterministic", "workspace"}  # when resuming


def parser() -> argparse.ArgumentParser:
    p = cli.parser("minitorch_alex.train",
                   "Train a network from scratch. Defaults marked * belong to the model: see --dry-run.",
                   argument_default=argparse.SUPPRESS)

    what = p.add_argument_group("what")
    what.add_argument("-a", "--arch", "--model", dest="model", metavar="NAME",
                      help=f"{', '.join(models.MODELS)} (default: alexnet_cifar)")
    what.add_argument("--data", metavar="NAME",
                      help=f"{', '.join(data.NAMES)} (default: cifar10; shapes is made on the fly and needs no "
                      "download; folder: DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG; imagenet: what prepare made)")
    what.add_argument("--data-dir", metavar="DIR", help="where the data is, or is downloaded to (default: data)")
    what.add_argument("--limit", type=int, metavar="N", help="train on the first N images only")
    what.add_argument("--val-split", type=float, metavar="F",
                      help="share of the training images held out to be watched (default: 0.1; 0 trains on all)")

    how = p.add_argument_group("how")
    how.add_argument("--recipe", dest="recipe_name", metavar="NAME", help="train as they did, instead of by the "
                     "model's own recipe: " + "; ".join(f"{k} ({r.published})".replace("%", "%%")
                                                        for k, r in RECIPES.items()))
    how.add_argument("--epochs", type=int, metavar="N", help="*")
    how.add_argument("-b", "--batch-size", type=int, metavar="N", help="*")
    how.add_argument("--lr", type=float, metavar="X", help="learning rate of the weights *")
    how.add_argument("--momentum", type=float, metavar="X", help="*")
    how.add_argument("--wd", "--weight-decay", dest="weight_decay", type=float, metavar="X",
                     help="weight decay; of every layer, also where the model has its own *")
    how.add_argument("--set", action="append", metavar="FIELD=VALUE",
                     help="change any field of the model's configuration or recipe, e.g. --set lrn_size=3 "
                     "--set schedule=plateau; may be repeated")
    how.add_argument("--seed", type=int, metavar="N", help="of weights, shuffles, crops and dropout (default: 0)")
    how.add_argument("--mine", nargs="?", const="", metavar="DIR", help="with the exercises you solved in place of the "
                     "package's parts (default: those in lessons/exercises)")

    where = p.add_argument_group("where")
    where.add_argument("--name", help="of the run's directory (default: MODEL-DATA)")
    where.add_argument("--runs-dir", metavar="DIR", help="where runs are kept (default: runs)")
    where.add_argument("--overwrite", action="store_true", help="begin again where a run of that name exists")
    where.add_argument("--resume", nargs="?", const="", metavar="RUN",
                       help="go on with a run (a directory, or a checkpoint in one; default: the one of --name)")
    for flag in cli.DEVICE_FLAGS:
        flag.add_to(where, argparse.SUPPRESS)
    where.add_argument("-j", "--workers", type=int, metavar="N", help="threads that read and prepare batches "
                       "(default: 1)")
    where.add_argument("-p", "--print-freq", type=int, metavar="N", help="steps between log lines (default: 50)")
    where.add_argument("--checkpoint-freq", type=int, metavar="N",
                       help="steps between checkpoints; one is also written each epoch (default: 500)")
    where.add_argument("--dry-run", action="store_true", help="print what would be done, layer by layer, and stop")
    where.add_argument("--check-init", action="store_true", help="print how much of what tells images apart reaches "
                       "each layer with the initial weights, say whether that is known to stall, and stop")
    return p


def check(args: argparse.Namespace) -> None:
    """UsageError for a flag that makes no sense, in a new run and in a resumed one."""
    for name in ("limit", "val_split", "threads", "workers"):
        if getattr(args, name) < 0:
            raise UsageError(f"--{name.replace('_', '-')} must be 0 or more, got {getattr(args, name)}")
    for name in ("print_freq", "checkpoint_freq"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.data not in data.NAMES:
        raise UsageError(f"unknown data {args.data!r}; there are: {', '.join(data.NAMES)}")


def parse_fields(items: list[str]) -> dict[str, Any]:
    """--set FIELD=VALUE: values are Python literals, anything else is a word."""
    settings: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item}: expected FIELD=VALUE")
        try:
            settings[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[name] = text
    return settings


def derive(args: argparse.Namespace, given: set[str]) -> tuple[dict[str, Any], Module]:
    """(the run's whole configuration, the model): flags over --set over the model's recipe. UsageError for what makes
    no sense."""
    recipe_fields = {f.name for f in fields(Recipe)}
    settings = parse_fields(args.set) | {k: getattr(args, k) for k in given & recipe_fields}
    model_fields = {k: v for k, v in settings.items() if k not in recipe_fields}
    num_classes = len(data.class_names(args.data, args.data_dir))
    streams.manual_seed(args.seed)
    model = models.build(args.model, num_classes, **model_fields)
    recipe = named(args.recipe_name, model.recipe) if args.recipe_name else model.recipe
    recipe = models.changed(recipe, **{k: v for k, v in settings.items() if k in recipe_fields})
    if args.val_split == 0 and recipe.schedule == "plateau":
        raise UsageError("the plateau schedule watches the validation error: give --val-split above 0")
    if "weight_decay" in settings or args.recipe_name:
        model.layer_decay = {}  # of every layer, then
    room = recipe.crop + max(8, recipe.crop // 7) if recipe.crop and not recipe.pad else model.image_size
    kept = ("model", "data", "data_dir", "recipe_name", "seed", "val_split", "limit", "workers", "print_freq",
            "checkpoint_freq", *cli.DEVICE_DEFAULTS)
    return {**{k: getattr(args, k) for k in kept}, "data_size": room, "num_classes": num_classes,
            "model_fields": model_fields, "recipe": recipe.to_json(), "layer_decay": model.layer_decay,
            "version": __version__}, model


def open_run(args: argparse.Namespace) -> tuple[Run, Path | None]:
    """(run, the checkpoint to go on from or None). RunError for a run that exists, or one that does not."""
    directory = Path(args.runs_dir) / (args.name or f"{args.model}-{args.data}")
    if args.resume is not None:
        return runs.find(args.resume or directory)
    run = Run(directory)
    if run.exists() and not (args.overwrite or args.dry_run or args.check_init):
        raise RunError(f"the run {directory} exists; choose another --name, go on with --resume {directory}, or begin "
                       "again with --overwrite")
    return run, None


def resumed(run: Run, args: argparse.Namespace, given: set[str]) -> dict[str, Any]:
    """The configuration of a run that goes on. UsageError for a flag that would change it in the middle."""
    config = {**cli.DEVICE_DEFAULTS, **run.read_config()}
    only_new = ("set", "dry_run", "check_init", "overwrite")
    surplus = {k for k in given - CHANGEABLE - {"resume", "name", "runs_dir"} if k in only_new
               or getattr(args, k) != config.get(k, config["recipe"].get(k))}
    if surplus:
        flags = ", ".join("--" + k.replace("_", "-") for k in sorted(surplus))
        raise UsageError(f"{flags} cannot be changed when resuming; see the settings in {run.config}")
    for k in given & CHANGEABLE:
        (config["recipe"] if k == "epochs" else config)[k] = getattr(args, k)
    return config


def describe(config: dict[str, Any], model: Any, recipe: Recipe, parts: dict[str, Any]) -> None:
    """Print what follows from the settings, before the first step."""
    train, steps = parts["train"], math.ceil(len(parts["train"]) / recipe.batch_size)
    count = sum(p.size for p in model.parameters())
    host = f"{runs.cpu_name()}, {backend.current().name} {np.__version__}, {kernels.get_threads()} threads"
    print(f"device      {cli.describe_device(config) or host}")
    print(f"model       {config['model']}, {count:,} parameters, input 3 x {model.image_size} x {model.image_size}")
    for deviation in model.deviations:
        print(f"            differs: {deviation}")
    sizes = [f"{len(parts[k]):,} {name}" for k, name in
             (("train", "to train"), ("val", "to validate"), ("test", "to test")) if parts[k] is not None]
    print(f"data        {train.name}: {', '.join(sizes)}; {len(train.classes)} classes; "
          f"a guess has loss ln {len(train.classes)} = {math.log(len(train.classes)):.3f}")
    print(f"training    {recipe.epochs} epochs of {steps:,} steps of {recipe.batch_size} images, lr {recipe.lr:g} "
          f"({recipe.schedule}{' ' + str(list(recipe.milestones)) if recipe.schedule == 'steps' else ''}), "
          f"momentum {recipe.momentum:g}")
    print(f"            weight decay {config['layer_decay'] or format(recipe.weight_decay, 'g')}, "
          f"biases at {recipe.bias_lr:g} x lr{' throughout' * recipe.bias_constant} "
          f"{'with' if recipe.bias_decay else 'without'} decay, update rule {recipe.rule}")
    augment = [f"random {recipe.crop or model.image_size} x {recipe.crop or model.image_size} crops"
               + (f" of the image with a border of {recipe.pad}" if recipe.pad else "")] \
        if recipe.crop or recipe.pad else []
    augment += ["flips"] * recipe.flip + [f"PCA colour ({recipe.color})"] * (recipe.color != "none")
    print(f"            images minus the mean image; {', '.join(augment) or 'no augmentation'}")
    for change in recipe.changes:
        name, value = f"{change.layer}{'.' * bool(change.layer)}{change.field}", change.value
        print(f"            from epoch {change.epoch + 1} on: {name} {value:g}{' (frozen)' * (value == 0)}"
              if change.layer else f"            from epoch {change.epoch + 1} on: {name} {value}")
    if recipe.published:
        print(f"recipe      {config['recipe_name']}: {recipe.source}\n            published result {recipe.published}")
    print(f"memory      about {profile.step_bytes(model, recipe.batch_size) / 1e6:,.0f} MB a step")


def main(argv: list[str] | None = None) -> int:
    flags = vars(parser().parse_args(argv))  # those that were given, and no others
    args, given = argparse.Namespace(**{**DEFAULTS, **flags}), set(flags)

    check(args)
    kernels.keep_freed_memory()
    run, resume_from = open_run(args)
    config = {} if resume_from is None else resumed(run, args, given)
    cli.use_device({**vars(args), **config})  # a run that goes on does so where it was

    if args.mine is not None:
        mine.use(args.mine or None)

    # settings, model, data
    epoch, batch, step, seconds, sums = 0, 0, 0, 0.0, [0.0, 0.0, 0.0]  # sums over the epoch: loss, errors, images
    if resume_from is None:
        config, model = derive(args, given)
    else:
        model, arrays, meta = runs.load_model(resume_from, config)
        if "optim.velocity" not in arrays:
            raise RunError(f"{resume_from} holds weights without momentum, to predict and evaluate with and not to go "
                           "on from; start a run of your own with --name")
        model.layer_decay = config["layer_decay"]
        epoch, batch, step, seconds, sums = (meta[k] for k in ("epoch", "batch", "step", "seconds", "sums"))
    config["threads"] = config["threads"] or kernels.get_threads()  # sums over threads round differently: resume with
    kernels.set_threads(config["threads"])                          # as many, or the weights differ in the last bits
    recipe = Recipe.from_json(config["recipe"])
    parts = runs.load_data({**config, "download": not (args.dry_run or args.check_init)})
    train, val, test = parts["train"], parts["val"], parts["test"]
    if len(train.classes) != config["num_classes"]:
        raise DataError(f"{train.name} has {len(train.classes)} classes, the run has {config['num_classes']}: it began "
                        "with other data; give those with --data-dir")
    if config.setdefault("train_images", len(train)) != len(train):
        raise DataError(f"{train.name} has {len(train):,} images to train on, the run had {config['train_images']:,}: "
                        "it began with other data; give those with --data-dir")
    mean = train.mean_image() if resume_from is None else arrays["data.mean"]
    transform = runs.build_transform(config, mean, train, epoch)
    still = transform.eval()
    side = still(train.images[:1]).shape[1]
    if side != model.image_size:
        raise UsageError(f"{config['model']} takes images of {model.image_size} x {model.image_size}, {config['data']} "
                         f"with this recipe gives {side} x {side}; set crop, pad or image_size with --set")

    # optimiser, schedule, loader; what follows from all this
    optimizer = models.build_optimizer(model, recipe)
    schedule = models.build_schedule(optimizer, recipe)
    loader = data.Loader(train, recipe.batch_size, transform, config["seed"], workers=config["workers"])
    describe(config, model, recipe, parts)
    if args.dry_run:
        print("\n" + profile.layer_table(model))
    if args.check_init:
        images = still(train.images[:32]).transpose(0, 3, 1, 2)
        signals = profile.signal_ratios(model, Tensor(backend.asarray(images)))
        print(f"\n{profile.signal_table(signals)}\n{profile.signal_verdict(signals) or 'healthy'}")
    if args.dry_run or args.check_init:
        return 0
    if resume_from is None:
        run.clear()
    else:
        optimizer.load_state_dict({"velocity": arrays["optim.velocity"], "groups": meta["groups"]})
        schedule.load_state_dict(meta["schedule"])
        run.truncate_log(step)
        if resume_from != run.checkpoint:  # the last one is damaged or unwanted: from here on this is the last one
            write_atomic(run.checkpoint, [resume_from.read_bytes()])
        print(f"resuming    {resume_from} at epoch {epoch}, step {step:,}")
    config.setdefault("command", runs.provenance(config["seed"])["command"])
    run.write_json(run.config, config)

    def save() -> None:
        check_finite(float(backend.to_numpy(abs(optimizer.flat).max())), "largest weight", step)
        state = {f"model.{name}": a for name, a in model.state_dict().items()}
        velocities = optimizer.state_dict()
        checkpoint.save(run.checkpoint, {**state, "optim.velocity": velocities["velocity"], "data.mean": mean}, {
            "model": config["model"], "config": config, "version": __version__, "epoch": epoch, "batch": batch,
            "step": step, "seconds": seconds, "sums": sums, "groups": velocities["groups"],
            "schedule": schedule.state_dict()}, rotate=True)

    # Ctrl-C and SIGTERM end the loop after the step at hand; a second Ctrl-C ends it at once
    stopped: list[int] = []

    def on_signal(number: int, _frame: Any) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)

    # the loop
    model.train()
    batches = feed.feed(loader)
    recent, since, waited = [0.0, 0.0, 0.0], time.perf_counter(), 0.0
    while epoch < recipe.epochs:
        change_rates(optimizer, recipe, epoch)
        if recipe.at(epoch) != recipe.at(max(epoch - 1, 0)):
            loader.transform = runs.build_transform(config, mean, train, epoch)
            batches = feed.feed(loader)
        bar = tqdm(total=len(loader), initial=batch, desc=f"epoch {epoch + 1}/{recipe.epochs}", unit="batch",
                   leave=False, disable=None, dynamic_ncols=True)
        begin, done = time.perf_counter(), sums[2]
        working = 0.0
        for x, labels in batches.epoch(epoch, batch):
            streams.set_step(step)
            optimizer.zero_grad()
            logits = model(Tensor(backend.asarray(x)))
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            kernels.trim_memory()
            batch, step = batch + 1, step + 1
            wrong = (logits.data.argmax(axis=1) != backend.asarray(labels)).sum()
            news = (loss.data.astype(np.float64) * len(labels), wrong.astype(np.float64), len(labels))
            sums = [a + b for a, b in zip(sums, news, strict=True)]  # on the device: reading them would wait for it
            recent = [a + b for a, b in zip(recent, news, strict=True)]
            bar.update()
            if step % config["print_freq"] == 0 or step == 1:
                recent, sums = numbers(recent), numbers(sums)
                check_finite(recent[0], "loss", step, model, x)
                now = time.perf_counter()
                row = {"kind": "interval", "step": step, "epoch": epoch + batch / len(loader),
                       "loss": recent[0] / recent[2], "error": 100 * recent[1] / recent[2],
                       "lr": recipe.lr * schedule.scale(), "img_s": recent[2] / (now - since),
                       "wait": (loader.wait - waited) / (now - since)}
                run.append_log(row)
                bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['img_s']:,.0f} img/s, data wait {row['wait']:.0%}")
                recent, since, waited = [0.0, 0.0, 0.0], now, loader.wait
            if (stopped or step % config["checkpoint_freq"] == 0) and batch < len(loader):
                sums = numbers(sums)
                now = time.perf_counter()
                seconds, working, begin = seconds + now - begin, working + now - begin, now
                save()
                if stopped:
                    bar.close()
                    return farewell(stopped[0], step, run)
        bar.close()

        # the end of an epoch: the validation error, the schedule, one line, a checkpoint, the picture
        ended = time.perf_counter()
        seconds, working = seconds + ended - begin, working + ended - begin
        sums = numbers(sums)
        check_finite(sums[0], "loss", step, model, x)
        row = {"kind": "epoch", "step": step, "epoch": epoch + 1, "train_loss": sums[0] / sums[2],
               "train_error": 100 * sums[1] / sums[2], "lr": recipe.lr * schedule.scale(),
               "seconds": round(seconds, 1), **cli.device_memory()}
        if val is not None:
            row["val_loss"], row["val_error"], _ = error_rates(predict(model, val, still), val.labels)
        pace = (sums[2] - done) / working
        epoch, batch, sums = epoch + 1, 0, [0.0, 0.0, 0.0]
        schedule.step(row.get("val_error"))
        run.append_log(row)
        save()
        plots.curves(run.read_log(), run.curves, f"{config['model']} on {config['data']}")
        held_out = f"   val {row['val_loss']:.4f} {row['val_error']:5.2f} %" if val is not None else ""
        print(f"epoch {epoch:>3}/{recipe.epochs}   train {row['train_loss']:.4f} {row['train_error']:5.2f} %{held_out}"
              f"   lr {row['lr']:g}   {pace:,.0f} img/s   {clock(seconds)}"
              + (f"   {row['device_memory_gb']:.1f} GB" if "device_memory_gb" in row else ""))
        since += time.perf_counter() - ended  # the pause is not part of img/s
        if stopped and epoch < recipe.epochs:
            return farewell(stopped[0], step, run)

    # the end: the test set is read here, once
    loss, top1, top5 = error_rates(predict(model, test, still), test.labels)
    run.append_log({"kind": "test", "step": step, "epoch": epoch, "test_loss": loss, "test_error": top1})
    plots.curves(run.read_log(), run.curves, f"{config['model']} on {config['data']}")
    log = [row for row in run.read_log() if row["kind"] == "epoch"]
    run.write_json(run.result, {
        **runs.provenance(config["seed"]), **cli.device_record(config), "command": config["command"],
        "model": config["model"], "model_fields": config["model_fields"], "data": config["data"],
        "recipe": recipe.to_json(), "val_split": config["val_split"],
        "train_images": len(train), "test_images": len(test), "seconds": round(seconds, 1),
        "test": {"view": "single", "loss": round(loss, 4), "top1_error": round(top1, 2), "top5_error": round(top5, 2)},
        "curve": [{k: round(v, 4) for k, v in row.items() if k not in ("kind", "step")} for row in log]})
    print(f"\ntest accuracy {100 - top1:.2f} %  (error {top1:.2f} %, loss {loss:.4f}) on {len(test):,} images of "
          f"{test.name}, after {clock(seconds)} of training")
    print(f"curves        {run.curves}\nmodel         {run.checkpoint}")
    return 0


def numbers(sums: list[Any]) -> list[float]:
    """Sums that may lie on the device, as numbers: waits for them."""
    return [float(backend.to_numpy(a)) for a in sums]


def check_finite(value: float, what: str, step: int, model: Any = None, x: Any = None) -> None:
    """DivergedError when the value is NaN or infinite, after the layers' statistics if there is a batch to take them
    from."""
    if math.isfinite(value):
        return
    if x is not None:
        print("\n" + profile.statistics(model.eval(), Tensor(backend.asarray(x))), file=sys.stderr)
    raise DivergedError(f"the {what} is {value} by step {step:,}: training stops; try a lower --lr or --set "
                        "warmup_epochs=1. No checkpoint was written since the numbers were finite")


def farewell(number: int, step: int, run: Run) -> int:
    """What to say after a signal, and the exit code."""
    print(f"\nstopped by {signal.Signals(number).name} after step {step:,}; go on with\n"
          f"  python -m minitorch_alex.train --resume {run.directory}")
    return 128 + number


if __name__ == "__main__":
    cli.run_cli(main)
