"""What a network costs, layer by layer, and whether it can learn.

`python -m minitorch_alex.profile MODEL` prints it. One file for each question:

    forward.py    what comes out of each layer?               outputs, blank
    costs.py      what does a layer cost for one image?       Entry, ledger, total
    display.py    how is that shown?                          layer_table; draw, as a figure
    memory.py     what does a training step keep in memory?   memory_needs, step_bytes, saved_bytes
    timing.py     how long does each layer take?              layer_times
    signals.py    how much of the input arrives at the end?   signal_ratios, signal_verdict
    ranks.py      what would several processes gain?          describe_ranks, and its tables
    command.py    the program                                 main
"""
from .command import main, open_model, parse, use_faster_convolutions
from .costs import FLOAT_BYTES, Entry, ledger, total
from .display import draw, layer_table
from .forward import blank, outputs
from .memory import describe_memory, memory_needs, saved_bytes, step_bytes
from .ranks import describe_ranks, efficiency_table, layers_that_talk, ranks_table, step_here
from .signals import (
    DOUBTFUL,
    EXPLODED,
    STALLS,
    VANISHED,
    Signal,
    signal_ratios,
    signal_table,
    signal_verdict,
    statistics,
)
from .timing import Times, layer_times, total_times

__all__ = ["DOUBTFUL", "EXPLODED", "FLOAT_BYTES", "STALLS", "VANISHED", "Entry", "Signal", "Times",
           "blank", "describe_memory", "describe_ranks", "draw", "efficiency_table", "layer_table",
           "layer_times", "layers_that_talk", "ledger", "main", "memory_needs", "open_model",
           "outputs", "parse", "ranks_table", "saved_bytes", "signal_ratios", "signal_table",
           "signal_verdict", "statistics", "step_bytes", "step_here", "total", "total_times",
           "use_faster_convolutions"]
