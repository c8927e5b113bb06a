"""What was wrong when an exception came in place of a result."""
import numpy as np

from .numbers import Arguments


def of_exception(kind: type, message: str, arguments: Arguments) -> str:
    """What the message of an exception hints at, and the shapes that came in."""
    shapes = ", ".join(f"{name} {value.shape}" for name, value in arguments.items()
                       if isinstance(value, np.ndarray))
    call = f" The call had {shapes}." if shapes else ""
    if issubclass(kind, RecursionError):
        return "a function calls itself once for each step: use a list of what is still to do"
    if "broadcast" in message:
        return ("two arrays of shapes that do not fit met. If one has a 0 in its shape, a slice "
                "is empty; if they differ by 2 padding, one has the border and the other has not."
                + call)
    if "matmul" in message or "not aligned" in message:
        return ("the rows of one matrix and the columns of the other are not equally many: was "
                "something cut twice, or is a .T missing?" + call)
    if "out of bounds" in message:
        return ("an index is past the end of an axis: are the limits those of this axis (height "
                "or width, channels of x or of the group)?" + call)
    if "reshape" in message:
        return "the sizes of the new shape do not multiply to as many numbers as there are." + call
    if issubclass(kind, AttributeError) and "NoneType" in message:
        return "something is None here that is not always an array: what may it be, and why?"
    return call.strip()
