"""Figures: how training went, the network, what it has learnt. Arrays in, a file out.

`python -m minitorch_alex.plots` draws those of a run.
"""
from .figure2 import network
from .learnt import activations, kernels, maps, neighbours, predictions
from .style import FAINT, INK, STYLE
from .training import RUNS, confusion, curves, dots, losses, race, rates

__all__ = ["FAINT", "INK", "RUNS", "STYLE", "activations", "confusion", "curves", "dots",
           "kernels", "losses", "maps", "neighbours", "network", "predictions", "race", "rates"]
