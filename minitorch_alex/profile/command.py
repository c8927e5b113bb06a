"""The program: what a network costs, on one page."""
import argparse
import os

from .. import comm, kernels, models
from ..errors import UsageError
from ..kernels.cpu import algorithms
from ..models import Network
from ..training import cli, convolution, runs
from ..training.ranks import threads_per_rank
from .display import draw, layer_table
from .memory import describe_memory
from .ranks import describe_ranks
from .timing import layer_times


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    kernels.keep_freed_memory()
    # Each rank gets its share of the processors, unless --threads says otherwise.
    ranks = comm.start(timeout=300) if args.ranks else comm.Alone()
    if ranks.size > 1:
        kernels.set_threads(threads_per_rank(ranks))
    cli.use_device(vars(args))
    model, name = open_model(args.model)
    if args.plot:
        draw(model, args.plot, name)
        print(args.plot)
        return 0
    # Before the times: they are to be those of the algorithms that a training would choose.
    computed_by = use_faster_convolutions(model, args)
    times = layer_times(model, args.batch_size) if args.batch_size else None
    if times and args.ranks:
        # All ranks measure, since a sum takes all of them; one prints.
        text = describe_ranks(model, times, args.batch_size, ranks)
        if ranks.rank == 0:
            print(text)
        return 0
    print(layer_table(model, times, args.markdown, computed_by))
    print(f"\n{describe_memory(model, args.memory)}")
    return 0


def open_model(text: str) -> tuple[Network, str]:
    """(the model of that name or of a run, its name).

    Raises UsageError for a name of neither, RunError for a folder that is not a run.
    """
    # What is neither a model nor a path goes to `build` as well: its error lists the models.
    if text in models.MODELS or not (os.path.exists(text) or text == runs.PRETRAINED.name):
        return models.build(text, models.default_classes(text)), text
    run, file = runs.find(text)
    config = run.read_config()
    return runs.load_model(file, config).model, config["model"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UsageError for a batch size or a memory that makes no sense."""
    parser = cli.parser("minitorch_alex.profile",
                        "What a network costs for one image, layer by layer.")
    parser.add_argument("model", type=cli.home, metavar="MODEL",
                        help=f"a run (runs/NAME), or one of {', '.join(models.MODELS)}")
    parser.add_argument("-b", "--batch-size", type=int, default=32, metavar="N",
                        help="number of images to time (default: 32; 0 skips the timing)")
    parser.add_argument("--memory", type=float, default=3.0, metavar="GB",
                        help="report the largest batch that trains in this much memory (default: "
                             "3, the paper's GTX 580)")
    cli.add_device_flags(parser)
    parser.add_argument("--ranks", action="store_true",
                        help="under mpiexec or srun: measure how fast this job's ranks sum, and "
                             "predict data parallelism, two columns and the hybrid of both, by "
                             "layer and by number of ranks")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", type=cli.home, metavar="FILE",
                        help="only draw the network, as in the paper's figure 2 (png, svg or pdf)")
    args = parser.parse_args(argv)
    if args.batch_size < 0 or args.memory <= 0:
        raise UsageError("--batch-size must be 0 or more and --memory above 0, got "
                         f"{args.batch_size}, {args.memory}")
    if args.ranks and not args.batch_size:
        raise UsageError("--ranks needs the time of a step: got --batch-size 0, expected at least "
                         "1")
    return args


def use_faster_convolutions(model: Network, args: argparse.Namespace) -> dict[str, str]:
    """What --conv auto means for the batch that is timed: convolution -> what computes it; empty
    where nothing is timed, or where there is no choice."""
    if args.conv != "auto" or args.backend != "numpy" or not args.batch_size:
        return {}
    choices = convolution.faster(convolution.problems_of(model).values(), args.batch_size)
    algorithms.use(choices)
    return convolution.by_layer(model, choices)
