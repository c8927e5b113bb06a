"""Does everything work on this machine, and how fast is it?

`python -m minitorch_alex.selftest` answers on one page. One file for each question:

    families.py       which kernels are there, and what goes in?      FAMILIES, Draws
    agreement.py      do two implementations of them agree?           check_kernels
    gradients.py      are the gradients right?                        check_gradients
    learning.py       does a network get its images, and learn?       check_input, check_training
    measurements.py   how fast are products, copies and training?     speed
    command.py        the program                                     main
"""
from .agreement import TOLERANCE, check_kernels, kernel_error
from .command import Report, describe_machine, main, parse
from .families import FAMILIES, Draws, Family
from .gradients import Points, basic_operations, check_gradients, layer_operations
from .learning import ENOUGH_LOSS, STEPS, batches, check_input, check_training, training
from .measurements import copy_speed, product_speed, seconds, sizes, speed, training_speed

__all__ = ["ENOUGH_LOSS", "FAMILIES", "STEPS", "TOLERANCE", "Draws", "Family", "Points", "Report",
           "basic_operations", "batches", "check_gradients", "check_input", "check_kernels",
           "check_training", "copy_speed", "describe_machine", "kernel_error", "layer_operations",
           "main", "parse", "product_speed", "seconds", "sizes", "speed", "training",
           "training_speed"]
