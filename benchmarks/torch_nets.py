"""The same networks in PyTorch: as its user would write them, and tuned as well as we can."""
import time
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitorch_alex.models.alexnet import TORCHVISION_SCALE

from .workloads import GPU_WORKLOADS, RATES, WORKLOADS, malloc_setting

DEVICE = "cuda"  # that TorchOnGpu uses
BLOCK = 4 << 20  # bytes of images that FastNorm handles at a time on a CPU: they stay in the cache

# contender -> what it changes: channels_last, FastNorm, FastLinear, the fused SGD, torch.compile
CHOICES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "torch-malloc": (),
    "torch-nhwc": ("nhwc",),
    "torch-lrn": ("nhwc", "lrn", "fused"),
    "torch-best": ("nhwc", "lrn", "fused", "linear"),
    "torch-compile": ("compile",),
    "torch-compile-nhwc": ("nhwc", "compile"),
    "torch-fast": ("lrn", "fused"),
    "torch-fast-nhwc": ("nhwc", "lrn", "fused"),
}


# Layers


class Norm(nn.Module):
    """Local response normalisation across 5 maps within each of `groups`, by torch's function."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous():  # in NCHW memory the groups are a view
            N, C, H, W = x.shape
            # (N, C, H, W) -> (N*G, C/G, H, W)
            groups = x.view(N * self.groups, C // self.groups, H, W)
            return F.local_response_norm(groups, 5, 5e-4, 0.75, 2.0).view(x.shape)
        parts = [F.local_response_norm(part, 5, 5e-4, 0.75, 2.0)
                 for part in x.chunk(self.groups, 1)]
        return torch.cat(parts, 1)


class MapNorm(nn.Module):
    """Normalisation within a map, over 3 x 3 places, as cuda-convnet's `rnorm`."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)) ** -0.75


class _FastNorm(torch.autograd.Function):
    """y = x d^-3/4, d = k + window sum of x^2.

    Three ideas: the window sum is a convolution with a constant kernel, which oneDNN does at full
    speed; d^-3/4 = r sqrt(r) with r = d^-1/2; and all steps are done on a few images at a time, in
    the cache. Saves x and d.

    gx = gy d^-3/4 - 3/2 x S(gy d^-3/4 x / d), where S is the same window sum: it includes alpha,
    and an odd window is its own mirror image.
    """

    @staticmethod
    def forward(ctx, x, window, k, padding, groups):
        ctx.save_for_backward(x, window)
        ctx.options = {"padding": padding, "groups": groups}
        ctx.denominators = []
        y = torch.empty_like(x)
        images = _images_per_block(x)
        for x_part, y_part in zip(x.split(images), y.split(images), strict=True):
            d = F.conv2d(x_part * x_part, window, k, **ctx.options)
            if ctx.needs_input_grad[0]:
                ctx.denominators.append(d)
            r = torch.rsqrt(d)
            torch.mul(r.mul_(torch.sqrt(r)), x_part, out=y_part)
        return y

    @staticmethod
    def backward(ctx, gy):
        x, window = ctx.saved_tensors
        gx = torch.empty_like(x)
        images = _images_per_block(x)
        for x_part, gy_part, gx_part, d in zip(x.split(images), gy.split(images), gx.split(images),
                                               ctx.denominators, strict=True):
            r = torch.rsqrt(d)
            direct = r.mul_(torch.sqrt(r)).mul_(gy_part)
            neighbours = F.conv2d((direct * x_part).div_(d), window, **ctx.options)
            torch.addcmul(direct, neighbours, x_part, value=-1.5, out=gx_part)
        return gx, None, None, None, None


def _images_per_block(x: Tensor) -> int:
    """How many images fit into BLOCK bytes; all of them on a GPU."""
    return len(x) if x.is_cuda else max(1, BLOCK // (x[0].numel() * x.element_size()))


class FastNorm(nn.Module):
    """Norm (size 5, alpha 5e-4, k 2, `groups`) or, `within` a map, MapNorm, by _FastNorm."""

    def __init__(self, channels: int, groups: int = 1, within: bool = False) -> None:
        super().__init__()
        if within:
            window = torch.full((channels, 1, 3, 3), 5e-5 / 9)  # depthwise, over 3 x 3 places
            k = 1.0
            self.padding = 1
            self.groups = channels
        else:
            i = torch.arange(channels // groups)
            band = ((i[:, None] - i).abs() <= 2) * (5e-4 / 5)  # (C/G, C/G): 5 channels around each
            window = band.repeat(groups, 1)[:, :, None, None]  # (C/G, C/G) -> (C, C/G, 1, 1)
            k = 2.0
            self.padding = 0
            self.groups = groups
        self.register_buffer("window", window)
        self.register_buffer("k", torch.full((channels,), k))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.window.dtype)
        with torch.autocast(x.device.type, enabled=False):  # in float32, as torch's own LRN is
            return _FastNorm.apply(x, self.window, self.k, self.padding, self.groups)


class FastLinear(nn.Linear):
    """Linear by oneDNN. torch leaves float32 products to MKL, which on AMD's CPUs uses AVX2."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()


class Scale(nn.Module):
    """x times a constant, or one for each channel: pixels to about size 1."""

    def __init__(self, factor: float | tuple[float, ...]) -> None:
        super().__init__()
        factors = torch.tensor(factor).reshape(-1, 1, 1)  # (3,) -> (3, 1, 1)
        self.register_buffer("factor", factors, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Kit:
    """The layers of which there is a plain and a fast kind."""

    def __init__(self, fast_norm: bool = False, fast_linear: bool = False) -> None:
        self.fast_norm = fast_norm
        self.linear = FastLinear if fast_linear else nn.Linear

    def norm(self, channels: int, groups: int = 1) -> nn.Module:
        return FastNorm(channels, groups) if self.fast_norm else Norm(groups)

    def map_norm(self, channels: int) -> nn.Module:
        return FastNorm(channels, within=True) if self.fast_norm else MapNorm()


# Networks


def stack(**layers: nn.Module) -> nn.Sequential:
    """Layers by name, one after the other."""
    return nn.Sequential(OrderedDict(layers))


def relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def paper(kit: Kit, widths: tuple[int, ...], conv1: tuple[int, ...], features: int, hidden: int,
          classes: int, **before: nn.Module) -> nn.Sequential:
    """The paper's AlexNet, with torch's dropout.

    That doubles what it keeps while training, where the paper halves everything at test time: the
    same function if fc7 and fc8 have half the paper's weights.
    """
    a, b, c, d, e = widths
    return stack(
        **before,
        conv1=nn.Conv2d(3, a, *conv1),
        relu1=relu(),
        lrn1=kit.norm(a, 2),
        pool1=pool(),
        conv2=nn.Conv2d(a, b, 5, padding=2, groups=2),
        relu2=relu(),
        lrn2=kit.norm(b, 2),
        pool2=pool(),
        conv3=nn.Conv2d(b, c, 3, padding=1),
        relu3=relu(),
        conv4=nn.Conv2d(c, d, 3, padding=1, groups=2),
        relu4=relu(),
        conv5=nn.Conv2d(d, e, 3, padding=1, groups=2),
        relu5=relu(),
        pool5=pool(),
        flatten=nn.Flatten(),
        fc6=kit.linear(features, hidden),
        relu6=relu(),
        drop6=nn.Dropout(),
        fc7=kit.linear(hidden, hidden),
        relu7=relu(),
        drop7=nn.Dropout(),
        fc8=kit.linear(hidden, classes),
    )


def torchvision(kit: Kit) -> nn.Sequential:
    """torchvision.models.alexnet; its adaptive pool does nothing at 224 x 224."""
    return stack(
        scale=Scale(TORCHVISION_SCALE),
        conv1=nn.Conv2d(3, 64, 11, 4, 2),
        relu1=relu(),
        pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(64, 192, 5, padding=2),
        relu2=relu(),
        pool2=nn.MaxPool2d(3, 2),
        conv3=nn.Conv2d(192, 384, 3, padding=1),
        relu3=relu(),
        conv4=nn.Conv2d(384, 256, 3, padding=1),
        relu4=relu(),
        conv5=nn.Conv2d(256, 256, 3, padding=1),
        relu5=relu(),
        pool5=nn.MaxPool2d(3, 2),
        flatten=nn.Flatten(),
        drop6=nn.Dropout(),
        fc6=kit.linear(9216, 4096),
        relu6=relu(),
        drop7=nn.Dropout(),
        fc7=kit.linear(4096, 4096),
        relu7=relu(),
        fc8=kit.linear(4096, 1000),
    )


def net_18(kit: Kit) -> nn.Sequential:
    """cuda-convnet's 18 % network: see minitorch_alex/models/small.py."""
    def average() -> nn.AvgPool2d:
        return nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)

    return stack(
        conv1=nn.Conv2d(3, 32, 5, padding=2),
        pool1=pool(),
        relu1=relu(),
        rnorm1=kit.map_norm(32),
        conv2=nn.Conv2d(32, 32, 5, padding=2),
        relu2=relu(),
        pool2=average(),
        rnorm2=kit.map_norm(32),
        conv3=nn.Conv2d(32, 64, 5, padding=2),
        relu3=relu(),
        pool3=average(),
        flatten=nn.Flatten(),
        fc10=kit.linear(1024, 10),
    )


def net_w2(kit: Kit) -> nn.Sequential:
    """See nets.net_w2."""
    return stack(
        conv1=nn.Conv2d(3, 32, 5, padding=2),
        pool1=nn.MaxPool2d(3, 2),
        relu1=relu(),
        lrn1=kit.norm(32),
        conv2=nn.Conv2d(32, 32, 5, padding=2),
        relu2=relu(),
        pool2=nn.MaxPool2d(3, 2),
        lrn2=kit.norm(32),
        conv3=nn.Conv2d(32, 64, 5, padding=2),
        relu3=relu(),
        pool3=nn.MaxPool2d(3, 2),
        flatten=nn.Flatten(),
        fc10=kit.linear(576, 10),
    )


def alexnet(kit: Kit) -> nn.Sequential:
    """The paper's network at full size."""
    return paper(kit, (96, 256, 384, 384, 256), (11, 4), 9216, 4096, 1000)


def alexnet_cifar(kit: Kit) -> nn.Sequential:
    """The preset `cifar` of minitorch_alex."""
    return paper(kit, (48, 128, 192, 192, 128), (3, 1, 1), 2048, 1024, 10, scale=Scale(1 / 64))


NETS = {
    "alexnet": alexnet,
    "alexnet_torchvision": torchvision,
    "net_18": net_18,
    "net_w2": net_w2,
    "alexnet_cifar": alexnet_cifar,
}


# Training


class Torch:
    """A network in PyTorch with its optimizer, in the form of one contender."""

    def __init__(self, workload: str, contender: str, threads: int | None = None,
                 device: str = "cpu") -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        choices = CHOICES[contender]
        self.workload = (WORKLOADS | GPU_WORKLOADS)[workload]
        self.device = device
        self.format = torch.channels_last if "nhwc" in choices else torch.contiguous_format
        kit = Kit("lrn" in choices, "linear" in choices)
        self.net = NETS[self.workload.net](kit).to(device, memory_format=self.format)
        if "compile" in choices:
            self.net.compile()  # at the first step; once for training and once for inference
        fused = "fused" in choices or None
        self.optimizer = torch.optim.SGD(self.net.parameters(), **RATES, fused=fused)

    def feed(self, batch: int) -> None:
        """Draw a batch, in the memory order that the contender prefers."""
        rng = np.random.default_rng(0)
        size = self.workload.size
        edge = self.workload.edge
        images = torch.from_numpy(rng.standard_normal((batch, 3, size, size), np.float32))
        images = F.pad(images, (0, edge, 0, edge)).contiguous(memory_format=self.format)
        labels = torch.from_numpy(rng.integers(0, self.workload.classes, batch))
        self.images = images.to(self.device)
        self.labels = labels.to(self.device)

    def mode(self, training: bool) -> None:
        self.net.train(training)

    def step(self) -> Tensor:
        """One training step; the loss stays on its device."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def train_step(self) -> float:
        return self.step().item()

    def infer(self) -> np.ndarray:
        with torch.no_grad():
            return self.net(self.images).numpy()

    def mark(self) -> Any:
        return time.perf_counter()

    def layer_marks(self, batch: int) -> dict[str, tuple[Any, Any, Any]]:
        """name -> marks before and after forward and after backward, each layer once, training."""
        self.feed(batch)
        self.optimizer.zero_grad()
        x = self.images
        marks = {}
        for name, layer in self.net.train().named_children():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # a leaf that requires a gradient must not be overwritten
            start = self.mark()
            y = layer(x)
            middle = self.mark()
            if y.requires_grad:
                y.backward(y.detach())
            marks[name] = (start, middle, self.mark())
            x = y.detach().requires_grad_(y.requires_grad)
        return marks

    def layer_times(self, batch: int) -> dict[str, tuple[float, float]]:
        """name -> (seconds forward, seconds backward), as minitorch_alex.profile.layer_times."""
        return {name: (middle - start, end - middle)
                for name, (start, middle, end) in self.layer_marks(batch).items()}

    def setting(self) -> dict[str, Any]:
        return {
            "threads": torch.get_num_threads(),
            "malloc": malloc_setting(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "memory_format": str(self.format).removeprefix("torch."),
        }


class TorchOnGpu(Torch):
    """The same on a GPU: cuDNN first tries its algorithms and keeps the fastest.

    `precision` applies to all products. fp16 and bf16 are done as torch recommends: autocast, and
    for fp16 a loss that GradScaler scales.
    """

    def __init__(self, workload: str, contender: str, precision: str) -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        super().__init__(workload, contender, device=DEVICE)
        self.precision = precision
        self.scaler = torch.amp.GradScaler(DEVICE, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(DEVICE, dtype, enabled=self.precision in ("fp16", "bf16"))

    def step(self) -> Tensor:
        self.optimizer.zero_grad()
        with self.autocast():
            loss = F.cross_entropy(self.net(self.images), self.labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def infer(self) -> Tensor:
        """The logits, which stay on the device."""
        with torch.no_grad(), self.autocast():
            return self.net(self.images)

    def layer_marks(self, batch: int) -> dict[str, tuple[Any, Any, Any]]:
        with self.autocast():
            return super().layer_marks(batch)

    def mark(self) -> Any:
        """An event that the device passes when it has finished all work issued so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Any, second: Any) -> float:
        """Seconds from one mark to another, both of which the host has waited for."""
        return first.elapsed_time(second) / 1e3

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Measure memory from here on: free what only trials and the first steps needed."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def memory(self) -> dict[str, float]:
        """MB that the allocator has taken from the device at most, and that are in use on it by
        anybody."""
        free, total = torch.cuda.mem_get_info()
        return {"peak_mb": round(torch.cuda.max_memory_reserved() / 1e6, 1),
                "device_mb": round((total - free) / 1e6, 1)}

    def setting(self) -> dict[str, Any]:
        return {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "memory_format": str(self.format).removeprefix("torch."),
        }
