"""minitorch_alex: a small deep-learning framework, written from scratch, that trains AlexNet."""
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .classifier import Classifier

__version__ = "0.1.0"

__all__ = ["Function", "Tensor", "__version__", "backend", "data", "errors", "functional",
           "gradcheck", "init", "kernels", "load", "manual_seed", "models", "nn", "no_grad",
           "optim", "schedule", "set_step", "set_threads", "streams", "use"]


def load(source: Any = "pretrained", **options: Any) -> "Classifier":
    """A trained model that takes paths, Pillow's images and arrays: see classifier.load for the
    options.

        model = mt.load("runs/x")    # or "pretrained", or a file of weights: "alexnet.pth"
        model("cat.jpg").top(5)
    """
    from . import classifier  # here, so that importing the package stays quick

    return classifier.load(source, **options)
