"""python -m minitorch_alex.selftest: does everything work on this machine, and how fast is it?"""
import argparse
import os
import platform
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from . import __version__, backend, data, kernels, models, profile, streams
from . import functional as F
from .gradcheck import gradcheck
from .kernels import Window, cpu, half, naive, products
from .tensor import Tensor
from .training import cli, feed, runs

Array = Any
ABOUT = """Check that everything works on this machine, and measure how fast it is: one page, in a
minute or two.

For a machine with a new GPU (--backend cupy), or any other. Every kernel is compared with another
implementation and every gradient with finite differences; a small AlexNet must learn; the same
seed must give the same bits; and the speed of training is compared with that of the machine's
matrix products and copies."""
EXIT_CODES = """exit codes:
  0  all passed
  1  something failed: the last line says what
  2  wrong usage: a flag
  3  the backend is not available"""

# The largest error that is allowed, as a share of the largest value. bf16 has three bits fewer
# than tf32 and fp16.
TOLERANCE = {"float64": 1e-11, "fp32": 2e-5, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
STEPS = 100        # training steps of the small net
ENOUGH_LOSS = 1.9  # its best mean loss of ten steps in a row must be lower (NumPy: 1.4 to 1.6)


class Draws:
    """Inputs of kernels: the same numbers each time, put where they are needed.

    They are float32 values in any dtype, so that a reference in float64 gets the same numbers.
    """

    def __init__(self, seed: int, put: Callable[[np.ndarray], Array], dtype: type) -> None:
        self.rng = streams.rng(0, "selftest", seed)
        self.put = put
        self.dtype = dtype

    def __call__(self, *shape: int) -> Array:
        return self.put(self.rng.standard_normal(shape, np.float32).astype(self.dtype))

    def number(self, low: int, high: int) -> int:
        """One of low ... high."""
        return int(self.rng.integers(low, high + 1))

    def labels(self, n: int, classes: int) -> Array:
        return self.put(self.rng.integers(0, classes, n))

    def window(self, dilated: bool = True) -> tuple[Window, tuple[int, int, int]]:
        """A window, and (N, H, W) of images that it fits into."""
        KH = self.number(1, 4)
        KW = self.number(2, 4)
        stride = self.number(1, 3)
        padding = self.number(0, KH // 2), self.number(0, KW // 2)
        dilation = self.number(1, 2) if dilated else 1
        ceil_mode = bool(self.number(0, 1))
        win = Window.of((KH, KW), stride, padding, dilation, ceil_mode)
        return win, (self.number(1, 3), self.number(7, 10), self.number(7, 10))


# Each family calls its kernels from module `k` on what `draw` gives, and yields the results. Both
# implementations draw in the same order, so they get the same numbers.


def convolution(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window()
    groups = draw.number(1, 2)
    C = groups * draw.number(1, 3)
    O = groups * draw.number(1, 4)
    x = draw(N, H, W, C)
    w = draw(O, C // groups, *win.kernel)
    b = draw(O)
    y = k.conv2d(x, w, b, win, groups)
    yield y
    gy = draw(*y.shape)
    yield k.conv2d(x, w, None, win, groups)
    yield k.conv2d_backward_weight(x, gy, win, groups)
    yield k.conv2d_backward_input(gy, w, x.shape, win, groups)


def locally_connected(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window()
    C = draw.number(1, 3)
    O = draw.number(1, 3)
    OH, OW = win.out(H, W)
    x = draw(N, H, W, C)
    w = draw(OH, OW, O, C, *win.kernel)
    b = draw(OH, OW, O)
    y = k.locally_connected2d(x, w, b, win)
    yield y
    gy = draw(*y.shape)
    yield k.locally_connected2d_backward_weight(x, gy, win)
    yield k.locally_connected2d_backward_input(gy, w, x.shape, win)


def pools(k: Any, draw: Draws) -> Iterator[Array]:
    win, (N, H, W) = draw.window(dilated=False)
    x = draw(N, H, W, draw.number(1, 5))
    count_include_pad = bool(draw.number(0, 1))
    y, winners = k.max_pool2d(x, win)
    yield y
    gy = draw(*y.shape)
    yield k.max_pool2d_backward(gy, winners, x.shape, win)
    yield k.avg_pool2d(x, win, count_include_pad)
    yield k.avg_pool2d_backward(gy, x.shape, win, count_include_pad)


def normalisation(k: Any, draw: Draws) -> Iterator[Array]:
    x = draw(2, draw.number(3, 7), draw.number(3, 7), 2 * draw.number(1, 5))
    gy = draw(*x.shape)
    size = draw.number(1, 6)
    groups = draw.number(1, 2)
    y, scale = k.lrn(x, size, 0.5, 0.75, 2.0, groups)
    yield from (y, scale)
    yield k.lrn_backward(gy, x, scale, size, 0.5, 0.75, groups)
    y, scale = k.lrn_within(x, size, 0.5, 0.6, 1.0)
    yield from (y, scale)
    yield k.lrn_within_backward(gy, x, scale, size, 0.5, 0.6)


def activations(k: Any, draw: Draws) -> Iterator[Array]:
    n = draw.number(1, 5000)
    x = draw(n)
    gy = draw(n)
    for forward, backward in ((k.relu, k.relu_backward), (k.tanh, k.tanh_backward)):
        y = forward(x)
        yield y
        yield backward(gy, y)


def dropout(k: Any, draw: Draws) -> Iterator[Array]:
    x = draw(draw.number(1, 5000))
    p = draw.number(0, 8) / 8
    key = draw.number(0, 2**32 - 1), 7
    yield k.dropout(x, p, 1.5, key)


def fully_connected(k: Any, draw: Draws) -> Iterator[Array]:
    N = draw.number(1, 20)
    I = draw.number(1, 60)
    O = draw.number(1, 40)
    x = draw(N, I)
    w = draw(O, I)
    gy = draw(N, O)
    yield k.linear(x, w, draw(O))
    yield k.linear(x, w, None)
    yield k.linear_backward_input(gy, w)
    yield k.linear_backward_weight(gy, x)
    yield k.sum_rows(draw(draw.number(1, 400), O))


def loss(k: Any, draw: Draws) -> Iterator[Array]:
    N = draw.number(1, 20)
    K = draw.number(2, 90)
    labels = draw.labels(N, K)
    losses, probs = k.softmax_cross_entropy(draw(N, K), labels)
    yield from (losses, probs)
    yield k.softmax_cross_entropy_backward(draw(N), probs, labels)


def update(k: Any, draw: Draws) -> Iterator[Array]:
    M = draw.number(1, 3000)
    for rule in ("2012", "torch"):
        w = draw(M)
        g = draw(M)
        v = draw(M)
        k.sgd(w, g, v, 0.1, 0.9, 5e-4, rule)  # writes into w and v
        yield from (w, v)


Family = Callable[[Any, Draws], Iterator[Array]]
FAMILIES: tuple[Family, ...] = (convolution, locally_connected, pools, normalisation, activations,
                                dropout, fully_connected, loss, update)


def check_kernels(family: Family, precision: str, cases: int) -> str:
    """A family of kernels in float32 and in float64."""
    errors = {}
    for dtype, allowed in ((np.float32, TOLERANCE[precision]), (np.float64, TOLERANCE["float64"])):
        name = np.dtype(dtype).name
        errors[name] = kernel_error(family, dtype, cases)
        if not errors[name] <= allowed:
            raise AssertionError(f"{name} differs by {errors[name]:.1e}, expected at most "
                                 f"{allowed:.0e}")
    return "   ".join(f"{name} {error:.1e}" for name, error in errors.items())


def kernel_error(family: Family, dtype: type, cases: int) -> float:
    """The largest error of a family of kernels of the current backend, as a share of the largest
    value of its result. The reference, in float64, is the CPU's kernels, or for NumPy, whose
    kernels these are, the plain loops."""
    tested = backend.current().kernels
    reference = naive if tested is cpu else cpu
    worst = 0.0
    for case in range(cases):
        results = family(tested, Draws(case, backend.asarray, dtype))
        expected = family(reference, Draws(case, np.asarray, np.float64))
        for got, want in zip(map(backend.to_numpy, results), expected, strict=True):
            if got.shape != want.shape or got.dtype != dtype:
                raise AssertionError(f"got {got.shape} {got.dtype}, expected {want.shape} "
                                     f"{np.dtype(dtype)}")
            error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
            worst = max(worst, float("inf") if np.isnan(error) else float(error))
    return worst


def check_input() -> str:
    """The feed prepares a batch on the device as the loader does on the host, bit for bit."""
    images = streams.rng(0, "selftest").integers(0, 256, (50, 12, 12, 3), np.uint8)
    noise = data.Dataset(images, np.arange(50) % 10, tuple("0123456789"), "noise")
    transform = data.Transform(noise.mean_image(), crop=10, pad=1, flip=True,
                               pca=data.fit_pca(images))
    loader = data.Loader(noise, 8, transform)
    for epoch in (0, 1):
        for batch, expected in zip(feed.feed(loader).epoch(epoch), loader.epoch(epoch),
                                   strict=True):
            for got, want in zip(map(backend.to_numpy, batch), expected, strict=True):
                if not np.array_equal(got, want):
                    raise AssertionError("pixels or labels differ by up to "
                                         f"{np.abs(got - want).max():g}")
    return "crops, flips, colours and the mean image: the same bits as on the host"


# Gradients.


class Points:
    """Inputs in float64, kept away from the places where an operation has no derivative."""

    def __init__(self) -> None:
        self.rng = streams.rng(0, "selftest gradients")

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def away_from_zero(self, *shape: int) -> np.ndarray:
        """For ReLU and divisors: at least 1 in absolute value."""
        x = self.normal(*shape)
        return x + np.sign(x)

    def spaced(self, *shape: int) -> np.ndarray:
        """For max pools: multiples of 0.1, each once, so that a small step changes no winner."""
        return self.rng.permutation(np.prod(shape)).reshape(shape) / 10  # (n,) -> shape


Operation = tuple[Callable[..., Tensor], list[np.ndarray]]  # a function and its inputs


def layer_operations(at: Points) -> dict[str, Operation]:
    """The operations that layers are made of."""
    n = at.normal
    labels = np.arange(5) % 3

    def dropout(x: Tensor) -> Tensor:
        streams.set_step(7)  # the same mask each time
        return F.dropout(x, 0.4)

    return {
        "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1, ceil_mode=True),
                   [n(2, 3, 6, 5), n(4, 3, 3, 3), n(4)]),
        "conv2d, 2 groups, dilated": (lambda x, w: F.conv2d(x, w, None, 1, 2, 2, 2),
                                      [n(2, 4, 6, 5), n(2, 2, 3, 2)]),
        "locally_connected2d": (lambda x, w, b: F.locally_connected2d(x, w, b, 2),
                                [n(2, 2, 5, 5), n(2, 2, 3, 2, 3, 3), n(3, 2, 2)]),
        "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [at.spaced(2, 3, 6, 7)]),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), [n(2, 3, 6, 7)]),
        "local_response_norm": (lambda x: F.local_response_norm(x, 5, 1.0, 0.75, 2.0),
                                [n(2, 7, 3, 3)]),
        "local_response_norm within maps": (
            lambda x: F.local_response_norm(x, 3, 1.0, 0.75, 1.0, within_map=True),
            [n(2, 2, 5, 4)]),
        "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
                       [n(3, 2, 3, 2), n(2), n(2)]),
        "indexing": (lambda x: x[[0, 2, 0]], [n(3, 4)]),
        "relu": (F.relu, [at.away_from_zero(4, 9)]),
        "tanh": (F.tanh, [n(4, 9)]),
        "dropout": (dropout, [n(4, 9)]),
        "linear": (F.linear, [n(4, 6), n(3, 6), n(3)]),
        "softmax": (F.softmax, [n(4, 6)]),
        "log_softmax": (F.log_softmax, [n(4, 6)]),
        "cross_entropy": (lambda x: F.cross_entropy(x, labels), [n(5, 3)]),
    }


def basic_operations(at: Points) -> dict[str, Operation]:
    """Arithmetic, reduction, reshaping."""
    n = at.normal
    return {
        "add": (F.add, [n(4, 3), n(3)]),
        "sub": (F.sub, [n(4, 3), n(4, 1)]),
        "mul": (F.mul, [n(4, 3), n(3)]),
        "div": (F.div, [n(4, 3), at.away_from_zero(3)]),
        "neg": (F.neg, [n(3)]),
        "power": (lambda x: F.power(x, 3), [n(5)]),
        "exp": (F.exp, [n(5)]),
        "log": (lambda x: F.log(F.exp(x)), [n(5)]),
        "matmul": (F.matmul, [n(3, 4), n(4, 2)]),
        "sum": (lambda x: F.sum(x, 1), [n(3, 4)]),
        "mean": (F.mean, [n(3, 4)]),
        "reshape": (lambda x: F.reshape(x, 6, 2), [n(3, 4)]),
        "flatten": (F.flatten, [n(2, 3, 4)]),
        "permute": (lambda x: F.permute(x, 2, 0, 1), [n(2, 3, 4)]),
        "transpose": (F.transpose, [n(3, 4)]),
    }


def check_gradients() -> str:
    """Every operation against finite differences."""
    points = Points()
    cases = layer_operations(points) | basic_operations(points)
    for name, (operation, arrays) in cases.items():
        try:
            gradcheck(operation, [Tensor(backend.asarray(a), requires_grad=True) for a in arrays])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    return f"{len(cases)} operations agree with finite differences to 1e-6"


# Training.


def training(steps: int) -> list[float]:
    """The losses of a narrow AlexNet in its first steps on 512 drawn shapes, 64 at a time."""
    streams.manual_seed(1)
    model = models.build("alexnet_cifar", channels=(32, 64, 64, 64, 64), hidden=(128, 128),
                         dropout=0.1)
    model.train()
    optimizer = models.build_optimizer(model, models.changed(model.recipe, lr=0.015))
    images = data.make_shapes(512, 32)
    loader = data.Loader(images, 64, data.Transform(images.mean_image()), seed=1)
    losses = []
    with closing(batches(loader)) as stream:
        for step in range(steps):
            x, labels = next(stream)
            streams.set_step(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(Tensor(x)), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.data)  # on a GPU: reading its number here would wait for the device
    return [float(backend.to_numpy(loss)) for loss in losses]


def batches(loader: data.Loader) -> Generator[tuple[Array, Array], None, None]:
    """The batches of one epoch after the other, on the device."""
    batch_feed = feed.feed(loader)
    for epoch in count():
        yield from batch_feed.epoch(epoch)


def check_training() -> str:
    """It learns, and the same seed gives the same bits."""
    losses = training(STEPS)
    best = min(np.convolve(losses, np.ones(10) / 10, "valid"))
    if not best < ENOUGH_LOSS:
        raise AssertionError(f"the loss fell from {losses[0]:.3f} to {best:.3f} only in {STEPS} "
                             f"steps, expected less than {ENOUGH_LOSS}")
    again = training(20)
    if again != losses[:20]:
        step = next(i for i, (a, b) in enumerate(zip(again, losses, strict=False)) if a != b)
        raise AssertionError(f"the same seed gave another loss in step {step + 1}: "
                             f"{again[step]!r}, {losses[step]!r}")
    return (f"loss {losses[0]:.3f} -> {best:.3f} in {STEPS} steps (must fall below "
            f"{ENOUGH_LOSS}); the same seed again: the same bits")


# Speed.


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest time of `repeats`, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        backend.synchronize()
        begin = time.perf_counter()
        work()
        backend.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def product_speed(n: int) -> float:
    """Operations per second of an n x n product at the current precision; rounding the factors
    does not count."""
    a = backend.asarray(np.random.default_rng(0).standard_normal((n, n), np.float32))
    if backend.current().kernels is cpu:
        return 2 * n**3 / seconds(lambda: a @ a, 5)
    out = backend.xp_of(a).empty_like(a)
    factor = half.factor(a)
    scale = half.way_back(factor, factor)
    return 2 * n**3 / seconds(lambda: products.multiply(factor.array, factor.array, out, scale), 5)


def copy_speed(size: int) -> float:
    """Bytes per second, read and written, of a copy of `size` bytes within the backend's memory.

    The bits are random: a chip that moves zeros draws less power and may run at a higher clock.
    """
    bits = np.random.default_rng(0).integers(0, 2**32, size // 4, np.uint32)
    source = backend.asarray(bits.view(np.float32))
    target = source.copy()

    def copy() -> None:
        target[...] = source

    return 2 * size / seconds(copy, 5)


def training_speed(images: int, repeats: int) -> tuple[float, float]:
    """(images per second, operations per second) of training steps of the paper's net, on noise.
    """
    model = models.build("alexnet", 1000)
    model.train()
    optimizer = models.build_optimizer(model, model.recipe)
    noise = np.random.default_rng(0).standard_normal((images, 224, 224, 3), np.float32)
    x = backend.asarray(noise).transpose(0, 3, 1, 2)  # (N,H,W,C) -> (N,C,H,W)
    labels = np.arange(images)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(Tensor(x)), labels).backward()
        optimizer.step()

    images_per_second = images / seconds(step, repeats)
    entries = profile.ledger(model)
    # Forward, the weights' gradients and the inputs' cost the same, but the images have no
    # gradient.
    multiply_adds = 3 * sum(e.multiply_adds for e in entries) - entries[0].multiply_adds
    return images_per_second, images_per_second * 2 * multiply_adds


def sizes(gpu: bool, quick: bool) -> tuple[int, int, int]:
    """(rows of the product's factors, megabytes of the copy, images of a training step), such that
    each measurement takes seconds."""
    if not gpu:
        return 1024, 128, 8
    if quick:
        return 4096, 256, 32
    return 8192, 1024, 128


def speed(quick: bool) -> Iterator[str]:
    """The speed of products and copies, and of training the paper's net, compared with them."""
    gpu = backend.current().kernels is not cpu
    n, megabytes, images = sizes(gpu, quick)
    product = product_speed(n)
    yield f"product  {product / 1e9:10,.0f} GFLOP/s, {n:,} x {n:,}, {backend.precision()}"
    copy = copy_speed(megabytes << 20)
    yield f"copy     {copy / 1e9:10,.0f} GB/s read and written, {megabytes} MB"
    if gpu:
        upload = feed.upload_speed(megabytes << 20)
        yield f"upload   {upload / 1e9:10,.0f} GB/s from page-locked memory to the device"
    images_per_second, operations = training_speed(images, 1 if quick else 3)
    yield (f"alexnet  {images_per_second:10,.1f} images/s trained, {images} at a time: "
           f"{operations / 1e9:,.0f} GFLOP/s, {operations / product:.0%} of the product's")


# The page.


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    kernels.keep_freed_memory()
    cli.use_device(vars(args))
    print(f"{args.backend} on\n  {describe_machine(vars(args))}\n")
    report = Report()
    report_kernels(report, args.precision, cases=3 if args.quick else 8)
    report_whole(report)
    report_speed(report, args.quick)
    print("\nfailed: " + ", ".join(report.failed) if report.failed else "\nall passed")
    return 1 if report.failed else 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = cli.parser("minitorch_alex.selftest", ABOUT, epilog=EXIT_CODES)
    cli.add_device_flags(parser)
    parser.add_argument("--quick", action="store_true",
                        help="fewer cases and smaller measurements")
    return parser.parse_args(argv)


class Report:
    """One line per check, printed when the check is over; `failed` has the names of those that
    failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, name: str, body: Callable[[], str]) -> None:
        """Print what a check returns, or why it failed. Whatever it raises is a failure, and the
        others go on."""
        try:
            print(f"  ok    {name:<18} {body()}")
        except Exception as error:
            self.failed.append(name)
            print(f"  FAIL  {name:<18} {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def report_kernels(report: Report, precision: str, cases: int) -> None:
    """Each family of kernels against another implementation."""
    other = "the plain loops" if backend.current().kernels is cpu else "NumPy's"
    print(f"kernels: the largest difference from {other}, as a share of the largest value")
    for family in FAMILIES:
        report.check(family.__name__.replace("_", " "),
                     partial(check_kernels, family, precision, cases))


def report_whole(report: Report) -> None:
    """Input, gradients and training."""
    print("\nthe whole")
    if backend.current().kernels is not cpu:
        report.check("input", check_input)
    report.check("gradients", check_gradients)
    report.check("training", check_training)


def report_speed(report: Report, quick: bool) -> None:
    """The measurements; one that fails, most likely for lack of memory, ends them."""
    print("\nspeed")
    try:
        for line in speed(quick):
            print(f"  {line}")
    except Exception as error:
        report.failed.append("speed")
        print(f"  FAIL  {_one_line(error)}")


def describe_machine(settings: dict[str, Any]) -> str:
    """The versions, the processor and, where there is one, the GPU."""
    lines = [f"minitorch_alex {__version__}, Python {platform.python_version()}, numpy "
             f"{np.__version__}, {platform.system()}",
             f"{runs.cpu_name()}, {os.cpu_count()} CPUs, {kernels.get_threads()} threads",
             cli.describe_device(settings)]
    return "\n  ".join(filter(None, lines))


if __name__ == "__main__":
    cli.run_cli(main)
