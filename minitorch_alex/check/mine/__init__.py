"""--mine: train with the exercises that you solved in place of the package's parts.

`use(folder)` reads the exercise files of lessons 02 to 09, judges each function as `python -m
minitorch_alex.check` does, and puts those that are right where the package has its own: kernels
into the table of the "numpy" backend, the rest into the module or class that contains them. A
function that is not written yet leaves the package's in place; one that fails its check is
refused, so that nobody trains on a wrong gradient. `restore()` puts everything back. Your code
runs in one thread.

The exercises do not expect images as the package keeps them, so adapters stand in between. One
file for each question:

    parts.py      which functions are yours, and why not the others?     PARTS, judge_parts, table
    swap.py       how do they get into their places, and out again?      use, put, restore
    yours.py      how is a function of yours called?                     Yours
    frame.py      how does an image become one of the exercises?         add_frame, cut_frame
    kernels.py    which kernels does a function stand for?               KERNELS
    engine.py     and what else: the graph, operations, AlexNet          PLACES

Always the package's: what no exercise covers (dilation, strides that differ between rows and
columns, the within-map norm, locally connected and fully connected layers, average pools, tanh,
the torch rule of SGD, losses that are not averaged), and the data, colour noise included.
"""
from .parts import MISSING, PARTS, UNWRITTEN, WRONG, Part, table
from .swap import put, restore, use

__all__ = ["MISSING", "PARTS", "UNWRITTEN", "WRONG", "Part", "put", "restore", "table", "use"]
