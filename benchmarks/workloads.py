"""What is measured: networks, batches, contenders.

Only the standard library is imported: every child reads this file.
"""
import os
from dataclasses import dataclass

RATES = {"lr": 0.001, "momentum": 0.9, "weight_decay": 5e-4}


@dataclass(frozen=True)
class Workload:
    """A network and a batch of images.

    size      side of an image, pixels
    edge      rows and columns of zeros that the others' images have in addition, at the bottom and
              at the right: our conv1 reads them past the edge (ceil_mode), a mode PyTorch lacks
    dezero    whether it is small enough for DeZero
    winograd  whether it has enough channels for --winograd
    """

    net: str
    batch: int
    size: int
    classes: int
    edge: int = 0
    dezero: bool = False
    winograd: bool = False

    @property
    def note(self) -> str:
        """What differs between the contenders in form, though not in arithmetic."""
        if not self.edge:
            return ""
        side = self.size + self.edge
        return f"the others are given {side} x {side}: the zeros that our conv1 reads past the edge"


WORKLOADS = {
    "alexnet-b128": Workload("alexnet", 128, 224, 1000, edge=3, winograd=True),
    "alexnet-b32": Workload("alexnet", 32, 224, 1000, edge=3, dezero=True, winograd=True),
    "alexnet_torchvision-b128": Workload("alexnet_torchvision", 128, 224, 1000, winograd=True),
    "net_18-b128": Workload("net_18", 128, 32, 10),
    "net_w2-b128": Workload("net_w2", 128, 32, 10, dezero=True),
    "alexnet_cifar-b128": Workload("alexnet_cifar", 128, 32, 10),
}

GPU_BATCHES = (128, 256, 512)
GPU_WORKLOADS = {
    **{f"alexnet-b{n}": Workload("alexnet", n, 224, 1000, edge=3) for n in GPU_BATCHES},
    **{f"alexnet_torchvision-b{n}": Workload("alexnet_torchvision", n, 224, 1000)
       for n in GPU_BATCHES},
    "alexnet_cifar-b128": Workload("alexnet_cifar", 128, 32, 10),
    "net_18-b128": Workload("net_18", 128, 32, 10),
}

# By default glibc returns freed blocks above a threshold to the system, which hands them out again
# page by page and zeroed. With these settings it keeps them.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}

# torch.compile by its own process alone, so that compiling does not count as the work of others.
COMPILE = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}

# contender -> the environment of its process
CONTENDERS: dict[str, dict[str, str]] = {
    "ours": {},
    "ours-im2col": {},
    "ours-winograd": {},
    "torch": {},
    "torch-malloc": KEEP_MEMORY,
    "torch-nhwc": KEEP_MEMORY,
    "torch-lrn": KEEP_MEMORY,
    "torch-best": KEEP_MEMORY,
    "torch-compile": COMPILE,
    "torch-compile-nhwc": COMPILE | KEEP_MEMORY,
    "jax": {"JAX_PLATFORMS": "cpu"} | KEEP_MEMORY,
    "tinygrad": {"DEV": "CPU", "PARALLEL": "0"} | KEEP_MEMORY,
    "dezero": KEEP_MEMORY,
}
ABOUT = {
    "ours": "minitorch_alex as `train` runs it",
    "ours-im2col": "the same with --conv im2col",
    "ours-winograd": "the same with --winograd",
    "torch": "PyTorch as installed: eager, NCHW",
    "torch-malloc": "the same with malloc told to keep freed memory, as ours does",
    "torch-nhwc": "the same in channels_last",
    "torch-lrn": "the same with a hand-written LRN and fused SGD",
    "torch-best": "torch-malloc in channels_last, LRN by hand, fused SGD, linear layers by oneDNN",
    "torch-compile": "torch.compile as installed, NCHW; two rounds",
    "torch-compile-nhwc": "the same in channels_last, malloc as above; two rounds",
    "jax": "JAX, a step compiled whole by jit, its arrays donated; malloc as above; one round",
    "tinygrad": "tinygrad, a step recorded by TinyJit, in C by clang; malloc as above; one round",
    "dezero": "DeZero in NumPy, with shims for LRN and groups; one round",
}

GPU_ABOUT = {
    "ours": "minitorch_alex with --backend cupy",
    "torch": "PyTorch as installed: eager, NCHW, cuDNN with benchmark on",
    "torch-nhwc": "the same in channels_last",
    "torch-fast": "PyTorch in NCHW with a hand-written LRN and fused SGD",
    "torch-fast-nhwc": "the same in channels_last",
}

# The packages of the others, by the name that pip knows: the first word of a contender's name.
PACKAGES = {"torch": "PyTorch", "jax": "JAX", "tinygrad": "tinygrad", "dezero": "DeZero"}

# How long a step may take: more, and the contender is left out of this workload's row.
FIRST_STEP_LIMIT = 180  # seconds, with compiling
STEP_LIMIT = 30         # seconds

# contender -> --conv, where it is not auto
CONVOLUTIONS = {"ours-im2col": "im2col", "ours-winograd": "winograd"}

# The ideas that make ours fast, each removed or added on its own -> the environment of the child.
IDEAS = {
    "all": {},
    "with Winograd": {},
    "one thread": {},
    "threads of BLAS, not ours": {},
    "no blocks in im2col": {},
    "whole windows in im2col": {},
    "no tiles": {},
    "freed memory given back": {},
    "BLAS without AVX-512": {"OPENBLAS_CORETYPE": "Haswell"},
}


def malloc_setting() -> str:
    """What the environment of this process tells malloc, in words."""
    kept = all(os.environ.get(name) == value for name, value in KEEP_MEMORY.items())
    return "keeps freed memory" if kept else "as installed"
