"""The program: a run or a model becomes a file."""
import argparse
import os

from .. import models
from ..classifier import load, of_weights
from ..errors import UsageError
from ..training import cli
from .graph import load_onnx
from .model import OPSET, export, metadata
from .pixels import Pixels


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    load_onnx()  # whether it is missing shows now, not after the model was read
    if args.model in models.MODELS and not args.weights:
        model = models.build(args.model, models.default_classes(args.model))
        about = f"{args.model} with initial weights"
        export(model, args.file, args.softmax)
    else:
        classifier = of_weights(args.weights, args.model) if args.weights else load(args.model)
        about = classifier.about
        pixels = None
        if not args.prepared:
            pixels = Pixels(classifier.side, classifier.transform, args.uint8)
        export(classifier.model, args.file, args.softmax, classifier.classes, pixels,
               metadata(classifier, pixels))
    print(f"{about}\n{args.file}  ({os.path.getsize(args.file) / 1e6:,.1f} MB, opset {OPSET})")
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for weights that no model belongs to, for --uint8 where
    no raw pixels come in, and for a file that is a folder."""
    parser = cli.parser("minitorch_alex.onnx", "Write a network as an ONNX file. That of a "
                        "trained model takes raw pixels; the names of its classes are in its "
                        "metadata.")
    parser.add_argument("model", type=cli.home, metavar="RUN_OR_MODEL",
                        help="a run directory (runs/NAME), a checkpoint in one, pretrained, a "
                             ".safetensors or .pth file whose weights fit one model only, or a "
                             f"model: {', '.join(models.MODELS)}")
    parser.add_argument("file", type=cli.home, metavar="FILE.onnx")
    parser.add_argument("-w", "--weights", type=cli.path, metavar="FILE",
                        help="the weights of a model, .safetensors or .pth (default: initial "
                             "weights)")
    parser.add_argument("--softmax", action="store_true", help="end with probabilities instead of "
                                                               "logits")
    parser.add_argument("--uint8", action="store_true",
                        help="take bytes (N, S, S, 3), as Pillow and OpenCV keep an image, "
                             "instead of floats (N, 3, S, S)")
    parser.add_argument("--prepared", action="store_true",
                        help="the network alone: images (N, 3, S, S) minus the mean, as in "
                             "training")
    args = parser.parse_args(argv)
    if args.weights and args.model not in models.MODELS:
        raise UsageError(f"--weights only applies to a model, and {args.model} is not one; the "
                         f"models are: {', '.join(models.MODELS)}")
    if args.uint8 and (args.prepared or (args.model in models.MODELS and not args.weights)):
        raise UsageError("--uint8 is for raw pixels, and without training or with --prepared the "
                         "input is prepared images; remove --uint8")
    if os.path.isdir(args.file):
        raise UsageError(f"{args.file} is a folder; give the name of a file, such as "
                         f"{os.path.join(args.file, 'net.onnx')}")
    return args
