"""Where a gradient lies in the end, for kernels that can write it there at once.

An optimizer keeps the gradients of its parameters in one flat array. A gradient that is computed
elsewhere has to be copied there by autograd.accumulate; the weights of fc6 are 151 MB.
"""
from typing import Any

from .. import backend
from ..autograd import Function
from ..tensor import Tensor

Array = Any  # NumPy's or a device's


def places(function: Function) -> tuple[Array | None, ...]:
    """For each input, the place of its gradient in an optimizer's flat array, or None.

    None also where the gradient must be added to another: to one that the parameter has already,
    or to that of the same parameter as another input. To be called by `backward`, whose results go
    into the leaves before any other node runs.
    """
    sources = [source for source, _ in function.edges or ()]
    ids = [id(source) for source in sources]
    result: list[Array | None] = []
    for source in sources:
        place = None
        if isinstance(source, Tensor) and source.grad is None and ids.count(id(source)) == 1:
            place = source.grad_place
            if place is not None and place.shape != source.shape:
                place = None  # .data was replaced; the optimizer will say so
        result.append(place)
    return tuple(result)


def bias_gradient(function: Function, gy: Array) -> Array | None:
    """The sum of gy (..., O) over all axes but the last: the gradient of a bias (O,) that is the
    last input of `function`, in its place where the kernels can. None if nobody wants it."""
    if not function.needs[-1]:
        return None
    kernels = backend.kernels_for(gy)
    if hasattr(kernels, "bias_gradient"):
        return kernels.bias_gradient(gy, places(function)[-1])
    return kernels.sum_rows(gy)
