"""minitorch_alex: a small deep-learning framework, written from scratch, that trains AlexNet."""
from . import (
    backend,
    data,
    errors,
    functional,
    init,
    kernels,
    models,
    nn,
    optim,
    schedule,
    streams,
)
from .autograd import Function, no_grad
from .backend import use
from .gradcheck import gradcheck
from .kernels import set_threads
from .streams import manual_seed, set_step
from .tensor import Tensor

__version__ = "0.1.0"

__all__ = ["Function", "Tensor", "__version__", "backend", "data", "errors", "functional",
           "gradcheck", "init", "kernels", "manual_seed", "models", "nn", "no_grad", "optim",
           "schedule", "set_step", "set_threads", "streams", "use"]
