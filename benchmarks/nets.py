"""Our side of the workloads.

A network of minitorch_alex trains through Tensors (`Ours`) or, on the same arrays, by calling the
kernels one after the other (`bare_step`): the difference is what autograd costs.
"""
import contextlib
import sys
from typing import Any

import numpy as np

import minitorch_alex.functional as F
from minitorch_alex import backend, kernels, models, nn, optim, profile, streams
from minitorch_alex.autograd import no_grad
from minitorch_alex.functional.layout import to_nchw, to_nhwc
from minitorch_alex.kernels import Window, cpu
from minitorch_alex.kernels.cpu import algorithms, by_rows
from minitorch_alex.models.alexnet import Scale
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import cli, convolution

from .small_nets import net_w2
from .workloads import CONVOLUTIONS, GPU_WORKLOADS, RATES, WORKLOADS, Workload


def build(workload: Workload) -> nn.Sequential:
    """The network of a workload; its weights are drawn from a fixed seed."""
    streams.manual_seed(0)
    return net_w2() if workload.net == "net_w2" else models.build(workload.net, workload.classes)


def step_flops(workload: Workload) -> int:
    """Floating-point operations of a training step, per image.

    Two per multiply-add, once forward and once each for the gradients of the input and of the
    weights; nobody computes the gradient of the image, the input of the first layer.
    """
    ledger = profile.ledger(build(workload))
    counts = [entry.multiply_adds for entry in ledger if entry.multiply_adds]
    return 2 * (3 * sum(counts) - counts[0])


def change(idea: str) -> None:
    """Remove one idea from the kernels, or add one (see IDEAS)."""
    match idea:
        case "with Winograd":
            kernels.set_winograd(True)
        case "one thread":
            kernels.set_threads(1)
        case "threads of BLAS, not ours":
            kernels.set_threads(1)
            kernels.workers._SingleThreadedBlas = contextlib.nullcontext
        case "no blocks in im2col":
            _set_in_kernels("BLOCK", 1 << 40)
        case "whole windows in im2col":
            by_rows.suits = lambda *_: False
        case "no tiles":
            _set_in_kernels("TILE", 1 << 40)
        case "freed memory given back":
            kernels.keep_freed_memory = lambda: False


def _set_in_kernels(constant: str, value: int) -> None:
    """Change a constant in every module of the CPU's kernels, each of which has imported it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("minitorch_alex.kernels.cpu.") and hasattr(module, constant):
            setattr(module, constant, value)


class Ours:
    """Our network with its optimizer: as `train` runs it, but on a batch already in memory."""

    def __init__(self, workload: str, contender: str = "ours", threads: int | None = None) -> None:
        self.kept = kernels.keep_freed_memory()
        if threads is not None:
            kernels.set_threads(threads)
        # as --conv: "auto" times each layer when its batch is known
        self.conv = CONVOLUTIONS.get(contender, "auto")
        kernels.set_winograd(self.conv == "winograd")
        self.workload = (WORKLOADS | GPU_WORKLOADS)[workload]
        self.model = build(self.workload)
        self.optimizer = optim.SGD(self.model.parameters(), **RATES)

    def feed(self, batch: int) -> None:
        """Draw a batch, in the memory order of the data loader: NHWC, seen as NCHW."""
        rng = np.random.default_rng(0)
        size = self.workload.size
        images = rng.standard_normal((batch, size, size, 3), np.float32)
        if self.conv == "auto" and backend.current().name == "numpy":
            algorithms.use(convolution.faster(convolution.problems_of(self.model).values(), batch))
        self.images = images.transpose(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
        self.labels = rng.integers(0, self.workload.classes, batch)

    def mode(self, training: bool) -> None:
        self.model.train(training)

    def step(self) -> Tensor:
        """One training step; the loss stays on its device."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(Tensor(self.images)), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def train_step(self) -> float:
        return self.step().item()

    def infer(self) -> np.ndarray:
        with no_grad():
            return self.model(Tensor(self.images)).data

    def layer_times(self, batch: int) -> dict[str, tuple[float, float]]:
        """name -> (seconds forward, seconds backward), each layer once."""
        self.optimizer.zero_grad()
        return profile.layer_times(self.model, batch, repeats=1)

    def setting(self) -> dict[str, Any]:
        malloc = "keeps freed memory" if self.kept else "as installed"
        return {"threads": kernels.get_threads(), "malloc": malloc}


class OursOnGpu(Ours):
    """The same with --backend cupy, on a batch that is already on the device."""

    backend = "cupy"

    def __init__(self, workload: str, contender: str, precision: str) -> None:
        self.settings = {**cli.DEVICE_DEFAULTS, "backend": self.backend, "precision": precision}
        cli.use_device(self.settings)
        self.cuda = backend.current().xp.cuda
        super().__init__(workload, contender)

    def feed(self, batch: int) -> None:
        super().feed(batch)
        self.images = backend.asarray(self.images)
        self.labels = backend.asarray(self.labels)

    def mark(self) -> Any:
        """An event that the device passes when it has finished all work issued so far."""
        event = self.cuda.Event(disable_timing=False)
        event.record(self.cuda.get_current_stream())
        return event

    def between(self, first: Any, second: Any) -> float:
        """Seconds from one mark to another, both of which the host has waited for."""
        return self.cuda.get_elapsed_time(first, second) / 1e3

    def synchronize(self) -> None:
        backend.synchronize()

    def reset_peak(self) -> None:
        """Measure memory from here on: return what only the first steps needed to the device."""
        backend.current().xp.get_default_memory_pool().free_all_blocks()

    def memory(self) -> dict[str, float]:
        """MB that the pool has taken from the device, and that are in use on it by anybody."""
        free, total = self.cuda.Device().mem_info
        return {"peak_mb": round(backend.memory()[1] / 1e6, 1),
                "device_mb": round((total - free) / 1e6, 1)}

    def layer_marks(self, batch: int) -> dict[str, tuple[Any, Any, Any]]:
        """name -> marks before and after forward and after backward, each layer once, training."""
        self.feed(batch)
        self.optimizer.zero_grad()
        x = Tensor(self.images)
        marks = {}
        for name, layer in self.model.train().named_children():
            start = self.mark()
            y = layer(x)
            middle = self.mark()
            if y.creator is not None:
                y.backward(y.data)
            marks[name] = (start, middle, self.mark())
            x = Tensor(y.data, requires_grad=y.requires_grad)
        return marks

    def setting(self) -> dict[str, Any]:
        return {"device": cli.describe_device(self.settings)}


# The bare kernels


def bare_step(net: Ours) -> float:
    """One training step of `net` by kernels alone, on the arrays of net.optimizer; the loss.

    It does to the bit what net.train_step() does.
    """
    x = to_nhwc(net.images)
    tape = []  # what each layer's backward needs
    layers = list(net.model.children())
    for layer in layers:
        x, saved = _forward(layer, x)
        tape.append(saved)
    losses, probs = cpu.softmax_cross_entropy(x, net.labels)
    mean = np.full_like(losses, 1 / len(losses))
    gy = cpu.softmax_cross_entropy_backward(mean, probs, net.labels)
    first = next(i for i, layer in enumerate(layers) if hasattr(layer, "weight"))
    for i in reversed(range(first, len(layers))):  # nothing before `first` has weights
        gy = _backward(layers[i], tape.pop(), gy, i > first)
    group = net.optimizer.param_groups[0]
    cpu.sgd(net.optimizer.flat, net.optimizer.flat_grad, net.optimizer.velocity,
            group["lr"], group["momentum"], group["weight_decay"], net.optimizer.rule)
    return float(losses.sum() * (1 / len(losses)))


def _window(layer: Any) -> Window:
    dilation = getattr(layer, "dilation", 1)
    return Window.of(layer.kernel_size, layer.stride, layer.padding, dilation, layer.ceil_mode)


def _forward(layer: Any, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """(output, what the backward of the layer needs)."""
    match layer:
        case nn.Conv2d():
            y = cpu.conv2d(x, layer.weight.data, layer.bias.data, _window(layer), layer.groups)
            return y, x
        case nn.Linear():
            return cpu.linear(x, layer.weight.data, layer.bias.data), x
        case nn.ReLU():
            y = cpu.relu(x)
            return y, y
        case nn.MaxPool2d():
            y, won = cpu.max_pool2d(x, _window(layer))
            return y, (won, x.shape)
        case nn.AvgPool2d():
            return cpu.avg_pool2d(x, _window(layer), layer.count_include_pad), x.shape
        case nn.LocalResponseNorm() if layer.within_map:
            alpha = layer.alpha / layer.size ** 2
            y, scale = cpu.lrn_within(x, layer.size, alpha, layer.beta, layer.k)
            return y, (x, scale)
        case nn.LocalResponseNorm():
            alpha = layer.alpha / layer.size
            y, scale = cpu.lrn(x, layer.size, alpha, layer.beta, layer.k, layer.groups)
            return y, (x, scale)
        case nn.Dropout():
            factor = 1 / (1 - layer.p) if layer.rule == "inverted" else 1.0
            args = (layer.p, factor, streams.next_dropout_key())
            return cpu.dropout(x, *args), args
        case nn.Flatten():
            y = to_nchw(x)
            return y.reshape(len(y), -1), y.shape  # (N, C, H, W) -> (N, C*H*W)
        case Scale():
            return x * np.asarray(layer.factor, x.dtype), None  # one, or one per channel of NHWC
    raise TypeError(f"no bare kernels are known for {type(layer).__name__}")


def _backward(layer: Any, saved: Any, gy: np.ndarray, needs_input: bool) -> np.ndarray | None:
    """The gradient of the layer's input, if needed; those of its weights go to their places."""
    match layer:
        case nn.Conv2d():
            window = _window(layer)
            w = layer.weight
            w.grad_place[...] = cpu.conv2d_backward_weight(saved, gy, window, layer.groups)
            layer.bias.grad_place[...] = cpu.sum_rows(gy)
            if not needs_input:
                return None
            return cpu.conv2d_backward_input(gy, w.data, saved.shape, window, layer.groups)
        case nn.Linear():
            layer.weight.grad_place[...] = cpu.linear_backward_weight(gy, saved)
            layer.bias.grad_place[...] = cpu.sum_rows(gy)
            return cpu.linear_backward_input(gy, layer.weight.data)
        case nn.ReLU():
            return cpu.relu_backward(gy, saved)
        case nn.MaxPool2d():
            return cpu.max_pool2d_backward(gy, *saved, _window(layer))
        case nn.AvgPool2d():
            return cpu.avg_pool2d_backward(gy, saved, _window(layer), layer.count_include_pad)
        case nn.LocalResponseNorm() if layer.within_map:
            alpha = layer.alpha / layer.size ** 2
            return cpu.lrn_within_backward(gy, *saved, layer.size, alpha, layer.beta)
        case nn.LocalResponseNorm():
            alpha = layer.alpha / layer.size
            return cpu.lrn_backward(gy, *saved, layer.size, alpha, layer.beta, layer.groups)
        case nn.Dropout():
            return cpu.dropout(gy, *saved)
        case nn.Flatten():
            return to_nhwc(gy.reshape(saved))  # (N, C*H*W) -> (N, C, H, W) -> (N, H, W, C)
    raise TypeError(f"no bare kernels are known for {type(layer).__name__}")
