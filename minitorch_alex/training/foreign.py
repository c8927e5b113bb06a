"""What people type who come from other tools, and what it is called here.

pytorch/examples, torchvision's references, timm, Lightning, Keras and ultralytics name the same
things differently. A flag of theirs is answered with ours, on one line, instead of a page of
usage.
"""
import argparse
from typing import NoReturn

from ..errors import UsageError

FLAGS = {
    "--pretrained":
        "--weights pretrained starts from the bundled model, --weights FILE from a file",
    "--finetune": "--weights RUN or --weights FILE starts from trained weights",
    "--init-from": "--weights RUN or --weights FILE starts from trained weights",
    "--initial-checkpoint": "--weights RUN or --weights FILE starts from trained weights",
    "--num-classes": "as many classes as there are folders; leave it out",
    "--learning-rate": "--lr X",
    "--num-workers": "-j N",
    "--batch": "-b N",
    "--num-epochs": "--epochs N",
    "--log-interval": "-p N",
    "--print-every": "-p N",
    "--start-epoch": "--resume RUN goes on where the run is",
    "--output": "--runs-dir DIR and --name NAME",
    "--output-dir": "--runs-dir DIR and --name NAME",
    "--save-dir": "--runs-dir DIR and --name NAME",
    "--experiment": "--name NAME",
    "--project": "--runs-dir DIR",
    "--device": "--backend cupy for a GPU",
    "--gpu": "--backend cupy",
    "--cuda": "--backend cupy",
    "--amp": "--precision bf16 or fp16, with --backend cupy",
    "--fp16": "--precision fp16, with --backend cupy",
    "--patience": "--early-stop N",
    "--scheduler": "--set schedule=cosine, steps, plateau, polynomial or exponential",
    "--sched": "--set schedule=cosine, steps, plateau, polynomial or exponential",
    "--lr-scheduler": "--set schedule=cosine, steps, plateau, polynomial or exponential",
    "--label-smoothing": "--set label_smoothing=0.1",
    "--smoothing": "--set label_smoothing=0.1",
    "--warmup-epochs": "--set warmup_epochs=N",
    "--class-weight": "--set class_weights=balanced",
    "--dropout": "--set dropout=X",
    "--imgsz": "images are scaled to what the model takes; --set image_size=N changes that",
    "--img-size": "images are scaled to what the model takes; --set image_size=N changes that",
    "--evaluate": "python -m minitorch_alex.evaluate RUN",
    "--world-size": "one process trains",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with what to type where that is known."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message}{_advice(message)}; --help lists all flags")


def _advice(message: str) -> str:
    """What another tool's flag in a message is called here; "" where there is none."""
    _, is_unknown, words = message.partition("unrecognized arguments: ")
    for word in words.split() if is_unknown else ():
        flag = word.partition("=")[0].replace("_", "-")
        if flag in FLAGS:
            return f"; for {word.partition('=')[0]}: {FLAGS[flag]}"
    return ""
