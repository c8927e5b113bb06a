"""python -m minitorch_alex.selftest: does everything work on this machine, and how fast is it? A page, a minute or two.

For a machine with a new GPU (--backend cupy), or any other. Every kernel is compared with another implementation, every
gradient with finite differences, a small AlexNet must learn, the same seed must give the same bits, and the speed of
training stands beside what the machine's products and copies reach.
"""
import os
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import __version__, backend, data, kernels, models, profile, streams
from . import functional as F
from .gradcheck import gradcheck
from .kernels import Window, cpu, half, naive
from .tensor import Tensor
from .training import cli, feed, runs

Array = Any
EXIT_CODES = """exit codes:
  0  all passed
  1  something failed: the last line says what
  2  wrong usage: a flag
  3  the backend is not available"""

# Largest error over largest value. bf16 keeps three bits fewer than tf32 and fp16.
TOLERANCE = {"float64": 1e-11, "fp32": 2e-5, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
STEPS, REACHED = 100, 1.9  # training steps of the small net; its best mean loss of ten in a row (1.4 to 1.6 by NumPy)


class Draws:
    """Inputs of kernels: the same numbers each time, put where they are wanted; float32 values, whatever the dtype."""

    def __init__(self, seed: int, put: Callable[[np.ndarray], Array], dtype: type) -> None:
        self.rng, self.put, self.dtype = streams.rng(0, "selftest", seed), put, dtype

    def __call__(self, *shape: int) -> Array:
        return self.put(self.rng.standard_normal(shape, np.float32).astype(self.dtype))

    def number(self, low: int, high: int) -> int:
        """One of low ... high."""
        return int(self.rng.integers(low, high + 1))

    def labels(self, n: int, classes: int) -> Array:
        return self.put(self.rng.integers(0, classes, n))

    def window(self, dilated: bool = True) -> tuple[Window, tuple[int, int, int]]:
        """A window, and (N, H, W) of images that it fits into."""
        kernel = self.number(1, 4), self.number(2, 4)
        win = Window.of(kernel, self.number(1, 3), (self.number(0, kernel[0] // 2), self.number(0, kernel[1] // 2)),
                        self.number(1, 2) if dilated else 1, bool(self.number(0, 1)))
        return win, (self.number(1, 3), self.number(7, 10), self.number(7, 10))


# Each family calls its kernels from module `k` on what `draw` gives, and yields the results.


def convolution(k: Any, draw: Draws) -> Iterator[Array]:
    (win, image), groups = draw.window(), draw.number(1, 2)
    C, O = groups * draw.number(1, 3), groups * draw.number(1, 4)
    x, w, b = draw(*image, C), draw(O, C // groups, *win.kernel), draw(O)
    y = k.conv2d(x, w, b, win, groups)
    gy = draw(*y.shape)
    yield from (y, k.conv2d(x, w, None, win, groups), k.conv2d_backward_weight(x, gy, win, groups),
                k.conv2d_backward_input(gy, w, x.shape, win, groups))


def locally_connected(k: Any, draw: Draws) -> Iterator[Array]:
    (win, image), C, O = draw.window(), draw.number(1, 3), draw.number(1, 3)
    places = win.out(*image[1:])
    x, w, b = draw(*image, C), draw(*places, O, C, *win.kernel), draw(*places, O)
    y = k.locally_connected2d(x, w, b, win)
    gy = draw(*y.shape)
    yield from (y, k.locally_connected2d_backward_weight(x, gy, win),
                k.locally_connected2d_backward_input(gy, w, x.shape, win))


def pools(k: Any, draw: Draws) -> Iterator[Array]:
    win, image = draw.window(dilated=False)
    x, counted = draw(*image, draw.number(1, 5)), bool(draw.number(0, 1))
    y, won = k.max_pool2d(x, win)
    gy = draw(*y.shape)
    yield from (y, k.max_pool2d_backward(gy, won, x.shape, win), k.avg_pool2d(x, win, counted),
                k.avg_pool2d_backward(gy, x.shape, win, counted))


def normalisation(k: Any, draw: Draws) -> Iterator[Array]:
    x = draw(2, draw.number(3, 7), draw.number(3, 7), 2 * draw.number(1, 5))
    gy, size, groups = draw(*x.shape), draw.number(1, 6), draw.number(1, 2)
    y, scale = k.lrn(x, size, 0.5, 0.75, 2.0, groups)
    yield from (y, scale, k.lrn_backward(gy, x, scale, size, 0.5, 0.75, groups))
    y, scale = k.lrn_within(x, size, 0.5, 0.6, 1.0)
    yield from (y, scale, k.lrn_within_backward(gy, x, scale, size, 0.5, 0.6))


def activations(k: Any, draw: Draws) -> Iterator[Array]:
    x, gy = (draw(draw.number(1, 5000)) for _ in range(2))
    gy = x if gy.shape != x.shape else gy
    for forward, backward in ((k.relu, k.relu_backward), (k.tanh, k.tanh_backward)):
        y = forward(x)
        yield from (y, backward(gy, y))


def dropout(k: Any, draw: Draws) -> Iterator[Array]:
    yield k.dropout(draw(draw.number(1, 5000)), draw.number(0, 8) / 8, 1.5, (draw.number(0, 2**32 - 1), 7))


def fully_connected(k: Any, draw: Draws) -> Iterator[Array]:
    N, I, O = draw.number(1, 20), draw.number(1, 60), draw.number(1, 40)
    x, w, gy = draw(N, I), draw(O, I), draw(N, O)
    yield from (k.linear(x, w, draw(O)), k.linear(x, w, None), k.linear_backward_input(gy, w),
                k.linear_backward_weight(gy, x), k.sum_rows(draw(draw.number(1, 400), O)))


def loss(k: Any, draw: Draws) -> Iterator[Array]:
    N, K = draw.number(1, 20), draw.number(2, 90)
    labels = draw.labels(N, K)
    losses, probs = k.softmax_cross_entropy(draw(N, K), labels)
    yield from (losses, probs, k.softmax_cross_entropy_backward(draw(N), probs, labels))


def update(k: Any, draw: Draws) -> Iterator[Array]:
    M = draw.number(1, 3000)
    for rule in ("2012", "torch"):
        w, g, v = draw(M), draw(M), draw(M)
        k.sgd(w, g, v, 0.1, 0.9, 5e-4, rule)
        yield from (w, v)


FAMILIES = (convolution, locally_connected, pools, normalisation, activations, dropout, fully_connected, loss, update)


def kernel_error(family: Callable[..., Iterator[Array]], dtype: type, cases: int) -> float:
    """The largest error of a family of kernels of the current backend, as a share of the largest value of its result.
    Compared with: the CPU's kernels, or for NumPy, whose kernels these are, the plain loops; in float64."""
    reference, worst = (naive if backend.current().kernels is cpu else cpu), 0.0
    for case in range(cases):
        wanted = family(reference, Draws(case, np.asarray, np.float64))
        given = family(backend.current().kernels, Draws(case, backend.asarray, dtype))
        for got, want in zip(map(backend.to_numpy, given), wanted, strict=True):
            if got.shape != want.shape or got.dtype != dtype:
                raise AssertionError(f"got {got.shape} {got.dtype}, expected {want.shape} {np.dtype(dtype)}")
            error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
            worst = max(worst, float("inf") if np.isnan(error) else float(error))
    return worst


def check_input() -> str:
    """What the feed makes on the device of a batch is what the loader makes on the host, bit for bit."""
    images = streams.rng(0, "selftest").integers(0, 256, (50, 12, 12, 3), np.uint8)
    part = data.Dataset(images, np.arange(50) % 10, tuple("0123456789"), "noise")
    transform = data.Transform(part.mean_image(), crop=10, pad=1, flip=True, pca=data.fit_pca(images))
    loader = data.Loader(part, 8, transform)
    for epoch in (0, 1):
        for given, wanted in zip(feed.feed(loader).epoch(epoch), loader.epoch(epoch), strict=True):
            for got, want in zip(map(backend.to_numpy, given), wanted, strict=True):
                if not np.array_equal(got, want):
                    raise AssertionError(f"pixels or labels differ by up to {np.abs(got - want).max():g}")
    return "crops, flips, colours and the mean image: the same bits as on the host"


# gradients


def operations() -> dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]]:
    """Each operation as (function, inputs), kept away from the places where it has no derivative."""
    rng = streams.rng(0, "selftest gradients")

    def n(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def away(*shape: int) -> np.ndarray:  # from 0
        x = n(*shape)
        return x + np.sign(x)

    def spaced(*shape: int) -> np.ndarray:
        return rng.permutation(np.prod(shape)).reshape(shape) / 10

    def dropped(x: Tensor) -> Tensor:
        streams.set_step(7)  # the same mask each time
        return F.dropout(x, 0.4)

    labels = np.arange(5) % 3
    return {
        "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1, ceil_mode=True), [n(2, 3, 6, 5), n(4, 3, 3, 3), n(4)]),
        "conv2d, 2 groups, dilated": (lambda x, w: F.conv2d(x, w, None, 1, 2, 2, 2), [n(2, 4, 6, 5), n(2, 2, 3, 2)]),
        "locally_connected2d": (lambda x, w, b: F.locally_connected2d(x, w, b, 2), [n(2, 2, 5, 5), n(2, 2, 3, 2, 3, 3),
                                                                                     n(3, 2, 2)]),
        "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [spaced(2, 3, 6, 7)]),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), [n(2, 3, 6, 7)]),
        "local_response_norm": (lambda x: F.local_response_norm(x, 5, 1.0, 0.75, 2.0), [n(2, 7, 3, 3)]),
        "local_response_norm within maps": (
            lambda x: F.local_response_norm(x, 3, 1.0, 0.75, 1.0, within_map=True), [n(2, 2, 5, 4)]),
        "relu": (F.relu, [away(4, 9)]), "tanh": (F.tanh, [n(4, 9)]), "dropout": (dropped, [n(4, 9)]),
        "linear": (F.linear, [n(4, 6), n(3, 6), n(3)]), "softmax": (F.softmax, [n(4, 6)]),
        "log_softmax": (F.log_softmax, [n(4, 6)]), "cross_entropy": (lambda x: F.cross_entropy(x, labels), [n(5, 3)]),
        "add": (F.add, [n(4, 3), n(3)]), "sub": (F.sub, [n(4, 3), n(4, 1)]), "mul": (F.mul, [n(4, 3), n(3)]),
        "div": (F.div, [n(4, 3), away(3)]), "neg": (F.neg, [n(3)]), "power": (lambda x: F.power(x, 3), [n(5)]),
        "exp": (F.exp, [n(5)]), "log": (lambda x: F.log(F.exp(x)), [n(5)]), "matmul": (F.matmul, [n(3, 4), n(4, 2)]),
        "sum": (lambda x: F.sum(x, 1), [n(3, 4)]), "mean": (F.mean, [n(3, 4)]),
        "reshape": (lambda x: F.reshape(x, 6, 2), [n(3, 4)]), "flatten": (F.flatten, [n(2, 3, 4)]),
        "permute": (lambda x: F.permute(x, 2, 0, 1), [n(2, 3, 4)]), "transpose": (F.transpose, [n(3, 4)]),
    }


def check_gradients() -> str:
    todo = operations()
    for name, (operation, arrays) in todo.items():
        try:
            gradcheck(operation, [Tensor(backend.asarray(a), requires_grad=True) for a in arrays])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    return f"{len(todo)} operations agree with finite differences to 1e-6"


# training


def training(steps: int) -> list[float]:
    """The losses of a narrow AlexNet in its first steps on 512 drawn shapes, 64 at a time."""
    streams.manual_seed(1)
    model: Any = models.build("alexnet_cifar", channels=(32, 64, 64, 64, 64), hidden=(128, 128), dropout=0.1).train()
    optimizer = models.build_optimizer(model, models.changed(model.recipe, lr=0.015))
    part, losses = data.make_shapes(512, 32), []
    batches = feed.feed(data.Loader(part, 64, data.Transform(part.mean_image()), seed=1))
    for step in range(steps):
        if step % 8 == 0:
            epoch = batches.epoch(step // 8)
        x, labels = next(epoch)
        streams.set_step(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(Tensor(x)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.data)
    epoch.close()
    return [float(backend.to_numpy(loss)) for loss in losses]


def check_training() -> str:
    """It learns, and the same seed gives the same bits."""
    losses = training(STEPS)
    best = min(np.convolve(losses, np.ones(10) / 10, "valid"))
    if not best < REACHED:
        raise AssertionError(f"the loss fell from {losses[0]:.3f} to {best:.3f} only in {STEPS} steps, expected less "
                             f"than {REACHED}")
    again = training(20)
    if again != losses[:20]:
        step = next(i for i, (a, b) in enumerate(zip(again, losses, strict=False)) if a != b)
        raise AssertionError(f"the same seed gave another loss in step {step + 1}: {again[step]!r}, {losses[step]!r}")
    return (f"loss {losses[0]:.3f} -> {best:.3f} in {STEPS} steps (must fall below {REACHED}); the same seed again: "
            "the same bits")


# speed


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
    """Operations a second of an n x n product at the current precision; rounding the factors does not count."""
    a = backend.asarray(np.random.default_rng(0).standard_normal((n, n), np.float32))
    given = half.factors(a, a)
    return 2 * n**3 / seconds(lambda: half.product(*given), 5)


def copy_speed(size: int) -> float:
    """Bytes a second, read and written, of a copy of `size` bytes within the backend's memory."""
    source = backend.asarray(np.zeros(size // 4, np.float32))
    target = source.copy()

    def copy() -> None:
        target[...] = source

    return 2 * size / seconds(copy, 5)


def training_speed(images: int, repeats: int) -> tuple[float, float]:
    """(images a second, operations a second) of training steps of the paper's net."""
    model: Any = models.build("alexnet", 1000).train()
    optimizer = models.build_optimizer(model, model.recipe)
    x = backend.asarray(np.zeros((images, 224, 224, 3), np.float32)).transpose(0, 3, 1, 2)
    labels = np.arange(images)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(Tensor(x)), labels).backward()
        optimizer.step()

    pace = images / seconds(step, repeats)
    entries = profile.ledger(model)
    once = 3 * sum(e.multiply_adds for e in entries) - entries[0].multiply_adds  # nobody wants the images' gradient
    return pace, pace * 2 * once


def speed(quick: bool) -> Iterator[str]:
    """Ceilings, and training of the paper's net beside them."""
    gpu = backend.current().kernels is not cpu
    n, megabytes, images = (8192, 1024, 128) if gpu and not quick else (4096, 256, 32) if gpu else (1024, 128, 8)
    product = product_speed(n)
    yield f"product  {product / 1e9:10,.0f} GFLOP/s, {n:,} x {n:,}, {backend.precision()}"
    yield f"copy     {copy_speed(megabytes << 20) / 1e9:10,.0f} GB/s read and written, {megabytes} MB"
    if gpu:
        yield f"upload   {feed.upload_speed(megabytes << 20) / 1e9:10,.0f} GB/s from page-locked memory to the device"
    pace, work = training_speed(images, 1 if quick else 3)
    yield (f"alexnet  {pace:10,.1f} images/s trained, {images} at a time: {work / 1e9:,.0f} GFLOP/s, "
           f"{work / product:.0%} of the product's")


# the page


def machine(settings: dict[str, Any]) -> str:
    """What this runs on."""
    host = f"{runs.cpu_name()}, {os.cpu_count()} CPUs, {kernels.get_threads()} threads"
    text = (f"minitorch_alex {__version__}, Python {platform.python_version()}, numpy {np.__version__}, "
            f"{platform.system()}\n  {host}")
    return text + (f"\n  {cli.describe_device(settings)}" if cli.describe_device(settings) else "")


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.selftest", (__doc__ or "").partition(": ")[2], epilog=EXIT_CODES)
    cli.add_device_flags(parser)
    parser.add_argument("--quick", action="store_true", help="fewer cases and smaller measurements")
    args = parser.parse_args(argv)
    kernels.keep_freed_memory()
    cli.use_device(vars(args))
    settings, failed = vars(args), []
    print(f"{args.backend} on\n  {machine(settings)}\n")

    def check(name: str, body: Callable[[], str]) -> None:
        """One line: what the check found, or why it failed. Whatever it raises is a failure, and the others go on."""
        try:
            print(f"  ok    {name:<18} {body()}")
        except Exception as error:
            failed.append(name)
            print(f"  FAIL  {name:<18} {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")

    def kernels_agree(family: Callable[..., Iterator[Array]]) -> str:
        errors = []
        for dtype, allowed in ((np.float32, TOLERANCE[args.precision]), (np.float64, TOLERANCE["float64"])):
            errors.append(kernel_error(family, dtype, 3 if args.quick else 8))
            if not errors[-1] <= allowed:
                raise AssertionError(f"{np.dtype(dtype)} differs by {errors[-1]:.1e}, allowed are {allowed:.0e}")
        return f"float32 {errors[0]:.1e}   float64 {errors[1]:.1e}"

    print("kernels: the largest difference from " + ("the plain loops" if args.backend == "numpy" else "NumPy's")
          + ", as a share of the largest value")
    for family in FAMILIES:
        check(family.__name__.replace("_", " "), lambda family=family: kernels_agree(family))
    print("\nthe whole")
    if args.backend != "numpy":
        check("input", check_input)
    check("gradients", check_gradients)
    check("training", check_training)
    print("\nspeed")
    try:
        for line in speed(args.quick):
            print(f"  {line}")
    except Exception as error:  # most likely too little memory
        failed.append("speed")
        print(f"  FAIL  {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    print("\nfailed: " + ", ".join(failed) if failed else "\nall passed")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run_cli(main)
