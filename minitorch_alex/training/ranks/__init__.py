"""A training or an evaluation on several ranks: what train.py and evaluate.py do besides what they
do alone.

    mpiexec -n 4 python -m minitorch_alex.train ...      or      ... train --ranks 4

The batch, its order, its crops, masks and rates are those of one process; the ranks share the work
(parallel.py). Rank 0 alone prints and writes files:

    rank 0      flags  find the run ─┐ data  steps ... sums of the epoch ─┐ log, checkpoint, line
    rank 1, ... flags                └ data  steps ...                    └ the same numbers, and
                                                                            nothing is written

Every function here that takes a Comm is called by all of its ranks, and does next to nothing for
one that is Alone. One file for each question:

    launching.py    how do the ranks of a program come to be?     launch, start
    agreement.py    do they agree, and who has read what?         check_alike, find, ask_first
    sharing.py      how do they share the work of a training?     data_parallel, describe
    steps.py        how is a step taken, and summed up?           take_step, total, check_together
    evaluation.py   and how are images evaluated?                 predict
"""
from .agreement import ask_first, check_alike, find, in_turn, read_checkpoint
from .evaluation import predict
from .launching import FLAGS, KIND, SHARDS, launch, start, threads_per_rank
from .sharing import data_parallel, describe, entries, parallel_entry, part_of_batch
from .steps import check_together, has_exchanges, images, interval_facts, take_step, total

__all__ = ["FLAGS", "KIND", "SHARDS", "ask_first", "check_alike", "check_together",
           "data_parallel", "describe", "entries", "find", "has_exchanges", "images", "in_turn",
           "interval_facts", "launch", "parallel_entry", "part_of_batch", "predict",
           "read_checkpoint", "start", "take_step", "threads_per_rank", "total"]
