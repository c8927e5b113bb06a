"""--mine: train with the exercises you solved in place of the package's parts.

`use(folder)` reads the exercise files of lessons 02 to 09, judges each function as `python -m minitorch_alex.check`
does, and puts those that are right where the package has its own: kernels into the table of the "numpy" backend, the
rest into the module or class that holds them. A function that is not written yet leaves the package's in place; one
that fails its check is refused, so that nobody trains on a wrong gradient. `restore()` puts everything back.

The exercises know images as (N,C,H,W) and nothing of rounded-up sizes, so adapters stand between: they turn the
kernels' (N,H,W,C) around, lay the image into a frame that holds the padding and all that the windows read past the
edge, call your function with padding 0, and cut the frame off again. Your code runs in one thread.

Always the package's: what no exercise covers (dilation, strides that differ between rows and columns, the within-map
norm, locally connected and fully connected layers, average pools, tanh, the torch rule of SGD, losses that are not
averaged), and the data, colour noise included.
"""
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import autograd, backend, check, functional, streams
from ..autograd import Function
from ..errors import DataError, UsageError, UserError
from ..functional import conv
from ..functional.dropout import Dropout, check_dropout
from ..functional.layout import to_nchw, to_nhwc
from ..kernels import Window, cpu
from ..kernels.workers import parallel_list
from ..models import Network, alexnet
from ..tensor import Tensor


@dataclass(frozen=True)
class Part:
    """One function of the exercises: what it is, its lesson and name, whether yours is in use, and if not why."""

    what: str
    lesson: str
    name: str
    yours: bool = False
    why: str = ""


PARTS = (
    Part("im2col, in your other functions", "02_im2col", "im2col"),
    Part("col2im, in your other functions", "02_im2col", "col2im"),
    Part("convolution", "02_im2col", "conv2d"),
    Part("gradients of a convolution", "04_gradcheck", "conv2d_backward"),
    Part("counting the graph's edges", "03_autograd", "count_consumers"),
    Part("undoing a broadcast", "03_autograd", "unbroadcast"),
    Part("the walk back through the graph", "03_autograd", "backward_walk"),
    Part("ReLU", "05_relu_pool", "relu"),
    Part("gradient of ReLU", "05_relu_pool", "relu_backward"),
    Part("max pool", "05_relu_pool", "max_pool2d"),
    Part("gradient of a max pool", "04_gradcheck", "max_pool2d_backward"),
    Part("response normalisation", "06_lrn", "lrn"),
    Part("gradient of the normalisation", "06_lrn", "lrn_backward"),
    Part("dropout", "07_dropout", "dropout"),
    Part("gradient of dropout", "07_dropout", "dropout_backward"),
    Part("the update of the weights", "08_train", "sgd_step"),
    Part("softmax and cross-entropy", "08_train", "softmax_cross_entropy"),
    Part("AlexNet from its configuration", "09_alexnet", "build"),
)

_undo: list[Callable[[], None]] = []  # what `restore` runs, the last first


def use(folder: str | Path | None = None) -> list[Part]:
    """Put the learner's functions in place of the package's, print which, and return the parts.

    folder   of the exercise files; None: lessons/exercises in the current folder or beside the package
    Judging takes some seconds. UsageError on another backend than NumPy, DataError when there is no such folder.
    """
    if backend.current().name != "numpy":
        raise UsageError(f"--mine runs your NumPy code, got the backend {backend.current().name}; leave out --backend")
    folder = (Path(folder) if folder else check.lessons_folder() / "exercises").resolve()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} of exercises; give --mine the one that has yours")
    print(f"your exercises in {folder}")
    restore()
    # where the exercises' own `yours` looks from now on
    _replace(check, "learner_folder", folder)
    whys = {name: why for lesson in sorted({p.lesson for p in PARTS}) for name, why in _judged(lesson, folder).items()}
    parts = [replace(p, yours=not whys[p.name], why=whys[p.name]) for p in PARTS]
    files = {p.lesson: check.load(folder / f"{p.lesson}.py") for p in parts if p.yours}
    put({p.name: getattr(files[p.lesson], p.name) for p in parts if p.yours})
    print(table(parts, folder))
    return parts


def restore() -> None:
    """Put the package's own parts back."""
    while _undo:
        _undo.pop()()


def table(parts: list[Part], folder: Path) -> str:
    """Which part is whose, one a line; then a line for each that was refused."""
    rows = [("part", "file", "function", "in use"),
            *((p.what, f"{p.lesson}.py", p.name, "yours" if p.yours else f"the package's: {p.why}") for p in parts)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]]) for row in rows]
    where = "" if folder == (check.lessons_folder() / "exercises").resolve() else f" --exercises {folder}"
    refused = dict.fromkeys(p.lesson[:2] for p in parts if p.why == WRONG)
    lines += [f"refused: what is wrong in lesson {number}, and which mistake it looks like, says   "
              f"python -m minitorch_alex.check {number}{where}" for number in refused]
    count = sum(p.yours for p in parts)
    return "\n".join([*lines, f"{count} of {len(parts)} parts are yours; what no exercise covers stays the package's"])


WRONG, UNWRITTEN, MISSING = "yours fails its check", "not written yet", "no such file"


def _judged(lesson: str, folder: Path) -> dict[str, str]:
    """For each function of a lesson that is a part: "" if it passed its check, else why it is not in use."""
    path, whys = folder / f"{lesson}.py", {}
    for exercise in check.exercises(lesson):
        names = {p.name for p in PARTS if p.lesson == lesson} & set(exercise.name.split(", "))
        if not names:
            continue
        verdict = check.judge(exercise, path) if path.exists() else None
        why = MISSING if verdict is None else "" if verdict.passed else WRONG if verdict.written else UNWRITTEN
        whys |= dict.fromkeys(names, why)
    return whys


class _Yours:
    """A function of the learner, called with BLAS at one thread (as the package's kernels are: on a busy machine the
    waiting of BLAS's own threads costs more than they bring), that says who it is when a result has the wrong shape."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name

    def __call__(self, *args: Any) -> Any:
        results: list[Any] = []
        parallel_list([lambda: results.append(self.function(*args))])
        return results[0]

    def array(self, result: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """`result` as an array of that dtype: in checks all is float64, in training float32. UserError: its shape."""
        result = np.asarray(result, dtype)
        if result.shape != shape:
            raise UserError(f"{self.name} gave an array of shape {result.shape}, expected {shape}; it passed its check "
                            "at other sizes: try it at this one")
        return result


def put(functions: dict[str, Callable[..., Any]]) -> None:
    """Put functions of the exercises, by name, where the package has its own. Signatures: see the exercises."""
    yours = {name: _Yours(f, name) for name, f in functions.items()}
    kernels = SimpleNamespace(**{name: getattr(cpu, name) for name in cpu.__all__})
    for name in cpu.__all__:
        if name in KERNELS and set(KERNELS[name][0]) & set(yours):
            setattr(kernels, name, KERNELS[name][1](yours))
    before = backend.current()
    backend.register("numpy", before.array_type, before.xp, kernels)
    _undo.append(lambda: backend.register("numpy", before.array_type, before.xp, before.kernels))
    for name, (owner, attribute, adapter) in PLACES.items():
        if name in yours:
            _replace(owner, attribute, adapter(yours))


def _replace(owner: Any, attribute: str, value: Any) -> None:
    before = getattr(owner, attribute)
    _undo.append(lambda: setattr(owner, attribute, before))
    setattr(owner, attribute, value)


# The frame: an image with its padding


def _covered(win: Window) -> bool:
    """Whether the exercises know such a window: one stride for rows and columns, no dilation."""
    return win.dilation == (1, 1) and win.stride[0] == win.stride[1]


def _framed(x: np.ndarray, win: Window, value: float) -> np.ndarray:
    """(N,H,W,C) -> (N,C,HP,WP): just what the windows see, with `value` wherever there is no image."""
    (N, H, W, C), (PH, PW) = x.shape, win.padding
    HP, WP = win.padded((H, W), win.out(H, W))
    frame = np.full((N, C, HP, WP), value, x.dtype)
    inside = frame[:, :, PH:PH + H, PW:PW + W]
    inside[...] = x[:, :inside.shape[2], :inside.shape[3]].transpose(0, 3, 1, 2)
    return frame


def _unframed(g: np.ndarray, x_shape: tuple[int, ...], win: Window) -> np.ndarray:
    """A gradient (N,C,HP,WP) of the frame as that of the image (N,H,W,C); pixels that no window saw have 0."""
    (_, H, W, _), (PH, PW) = x_shape, win.padding
    inside = g[:, :, PH:PH + H, PW:PW + W]
    gx = np.zeros(x_shape, g.dtype)
    gx[:, :inside.shape[2], :inside.shape[3]] = inside.transpose(0, 2, 3, 1)
    return gx


def _nchw(x: np.ndarray) -> np.ndarray:
    """(N,H,W,C) -> (N,C,H,W) in C order."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _nhwc(x: np.ndarray) -> np.ndarray:
    """(N,C,H,W) -> (N,H,W,C) in C order."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


# Kernels: (learner's functions) -> a function with the signature of kernels.cpu

Functions = dict[str, _Yours]


def _conv2d(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["conv2d"]

    def conv2d(x, w, b, win, groups):
        if not _covered(win):
            return cpu.conv2d(x, w, b, win, groups)
        b = np.zeros(w.shape[0], w.dtype) if b is None else b
        y = f(_framed(x, win, 0), w, b, win.stride[0], 0, groups)
        return _nhwc(f.array(y, (x.shape[0], w.shape[0], *win.out(*x.shape[1:3])), x.dtype))

    return conv2d


def _is_pool(win: Window) -> bool:
    return _covered(win) and win.kernel[0] == win.kernel[1]


def _max_pool2d(yours: Functions) -> Callable[..., tuple]:
    """y, and what the backward in use needs: which taps won for the package's, x for the learner's."""
    f, backward_is_yours = yours.get("max_pool2d"), "max_pool2d_backward" in yours

    def max_pool2d(x, win):
        y, won = (None, None) if f and backward_is_yours and _is_pool(win) else cpu.max_pool2d(x, win)
        if f and _is_pool(win):
            N, H, W, C = x.shape
            y = f(_framed(x, win, -np.inf), win.kernel[0], win.stride[0])
            y = _nhwc(f.array(y, (N, C, *win.out(H, W)), x.dtype))
        return y, (x,) if backward_is_yours and _is_pool(win) else won

    return max_pool2d


def _max_pool2d_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["max_pool2d_backward"]

    def max_pool2d_backward(gy, saved, x_shape, win):
        if not _is_pool(win):
            return cpu.max_pool2d_backward(gy, saved, x_shape, win)
        frame = _framed(saved[0], win, -np.inf)
        gx = f(_nchw(gy), frame, win.kernel[0], win.stride[0])
        return _unframed(f.array(gx, frame.shape, gy.dtype), x_shape, win)

    return max_pool2d_backward


def _elementwise(name: str) -> Callable[[Functions], Callable[..., np.ndarray]]:
    """Of ReLU and its gradient the order of the axes does not matter."""
    def adapter(yours: Functions) -> Callable[..., np.ndarray]:
        f = yours[name]
        return lambda x, *rest: np.ascontiguousarray(f.array(f(x, *rest), x.shape, x.dtype))

    return adapter


def _by_group(f: _Yours, arrays: list[np.ndarray], groups: int, settings: tuple, results: int) -> list[np.ndarray]:
    """f(*arrays, *settings) for each group of channels by itself, its results (N,C/G,H,W) joined, as (N,H,W,C)."""
    x, joined = arrays[0], [np.empty_like(arrays[0]) for _ in range(results)]
    cg = x.shape[3] // groups
    for g in range(groups):
        part = slice(g * cg, (g + 1) * cg)
        pieces = [_nchw(a[..., part]) for a in arrays]
        out = f(*pieces, *settings)
        for whole, result in zip(joined, out if results > 1 else (out,), strict=True):
            whole[..., part] = f.array(result, pieces[0].shape, x.dtype).transpose(0, 2, 3, 1)
    return joined


def _lrn(yours: Functions) -> Callable[..., tuple]:
    f = yours["lrn"]
    return lambda x, size, alpha, beta, k, groups: tuple(_by_group(f, [x], groups, (size, alpha, beta, k), 2))


def _lrn_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["lrn_backward"]
    return lambda gy, x, scale, size, alpha, beta, groups: _by_group(
        f, [gy, x, scale], groups, (size, alpha, beta), 1)[0]


def _sgd(yours: Functions) -> Callable[..., None]:
    f = yours["sgd_step"]

    def sgd(w, g, v, lr, momentum, weight_decay, rule):
        if rule == "2012":
            f(w, g, v, lr, momentum, weight_decay)
        else:
            cpu.sgd(w, g, v, lr, momentum, weight_decay, rule)

    return sgd


KERNELS: dict[str, tuple[tuple[str, ...], Callable[[Functions], Callable[..., Any]]]] = {
    # kernel: (functions that bear on it, its adapter)
    "conv2d": (("conv2d",), _conv2d),
    "max_pool2d": (("max_pool2d", "max_pool2d_backward"), _max_pool2d),
    "max_pool2d_backward": (("max_pool2d_backward",), _max_pool2d_backward),
    "relu": (("relu",), _elementwise("relu")),
    "relu_backward": (("relu_backward",), _elementwise("relu_backward")),
    "lrn": (("lrn",), _lrn),
    "lrn_backward": (("lrn_backward",), _lrn_backward),
    "sgd": (("sgd_step",), _sgd),
}


# The rest: where one function of the exercises does what the package has in several kernels or in none


def _conv2d_backward(yours: Functions) -> Callable[..., tuple]:
    """Conv2d.backward: yours gives all three gradients at once, the kernels one at a time."""
    f, package = yours["conv2d_backward"], conv.Conv2d.backward

    def backward(self, gy):
        if not _covered(self.win):
            return package(self, gy)
        x, w = self.saved
        frame, gy = _framed(x, self.win, 0), np.ascontiguousarray(gy)
        gx, gw, gb = f(gy, frame, w, self.win.stride[0], 0, self.groups)
        gx = to_nchw(_unframed(f.array(gx, frame.shape, gy.dtype), x.shape, self.win))
        return (gx if self.needs[0] else None, f.array(gw, w.shape, gy.dtype),
                f.array(gb, w.shape[:1], gy.dtype) if self.needs[2] else None)

    return backward


def _walk(yours: Functions) -> Callable[..., None]:
    """autograd.walk: yours, and the graph is freed afterwards. A graph that was freed before is left to the package's
    walk, which says so."""
    your_walk = yours["backward_walk"]
    package = autograd.walk
    count_consumers = autograd.count_consumers

    def walk(root, gradient, add_to_leaf, retain_graph=False):
        nodes = list(count_consumers(root))
        if any(node.edges is None for node in nodes):
            return package(root, gradient, add_to_leaf, retain_graph)
        your_walk(root, gradient, add_to_leaf)
        if not retain_graph:
            for node in nodes:
                node.free()

    return walk


class _Dropout(Function):
    """Yours with the package's mask: the hash of (key, place in memory) that Dropout itself uses."""

    def __init__(self, yours: Functions, p: float, rule: str, training: bool, key: tuple[int, int]) -> None:
        self.yours, self.p, self.rule, self.training, self.key = yours, p, rule, training, key

    def kept(self, x: np.ndarray) -> np.ndarray:
        """The mask, of x's shape; x in the kernels' order."""
        return cpu.dropout(np.ones_like(x), self.p, 1.0, self.key) > 0

    def forward(self, x):
        f, x = self.yours["dropout"], to_nhwc(x)
        kept = self.kept(x) if self.training else np.ones(x.shape, bool)
        return to_nchw(f.array(f(x, kept, self.p, self.training, self.rule), x.shape, x.dtype))

    def backward(self, gy):
        f, gy = self.yours.get("dropout_backward"), to_nhwc(gy)
        if f and self.training:
            return to_nchw(f.array(f(gy, self.kept(gy), self.p, self.rule), gy.shape, gy.dtype))
        scale = 1 / (1 - self.p) if self.rule == "inverted" else 1.0
        if self.training:
            return to_nchw(cpu.dropout(gy, self.p, scale, self.key))
        return to_nchw(gy * (1 - self.p if self.rule == "2012" else 1.0))


def _dropout(yours: Functions) -> Callable[..., Tensor]:
    def dropout(x, p=0.5, training=True, rule="inverted"):
        check_dropout(p, rule)
        return _Dropout(yours, p, rule, training, streams.next_dropout_key() if training else (0, 0))(x)

    return dropout


def _dropout_backward(yours: Functions) -> Callable[..., Any]:
    """Dropout.backward, for when the forward is the package's."""
    def backward(self, gy):
        rule = "2012" if self.scale == 1.0 else "inverted"
        return _Dropout(yours, self.p, rule, True, self.key).backward(gy)

    return backward


class _CrossEntropy(Function):
    """The mean loss and its gradient come together; the gradient is saved."""

    def __init__(self, f: _Yours, labels: np.ndarray) -> None:
        self.f, self.labels = f, labels

    def forward(self, logits):
        mean, g = self.f(np.ascontiguousarray(logits), self.labels)
        self.save(self.f.array(g, logits.shape, logits.dtype))
        return self.f.array(mean, (), logits.dtype)

    def backward(self, gy):
        (g,) = self.saved
        return g * gy


def _cross_entropy(yours: Functions) -> Callable[..., Tensor]:
    f, package = yours["softmax_cross_entropy"], functional.cross_entropy

    def cross_entropy(logits, labels, reduction="mean"):
        labels = np.asarray(labels)
        sound = (logits.ndim == 2 and len(logits) and labels.shape == logits.shape[:1] and labels.dtype.kind in "iu"
                 and labels.min() >= 0 and labels.max() < logits.shape[1])
        if reduction != "mean" or not sound:
            return package(logits, labels, reduction)  # which says what is wrong with them
        return _CrossEntropy(f, labels.astype(np.int64))(logits)

    return cross_entropy


def _alexnet(yours: Functions) -> Callable[..., None]:
    """AlexNet.__init__: its layers are those that `build` made, under the names it gave them."""
    f = yours["build"]

    def __init__(self, config, num_classes=None):  # noqa: N807
        config = config if num_classes is None else replace(config, num_classes=num_classes)
        self.config = config
        Network.__init__(self, config.image_size, alexnet.default_recipe(config.image_size), {}, config.deviations(),
                         **dict(f(config).named_children()))

    return __init__


PLACES: dict[str, tuple[Any, str, Callable[[Functions], Callable[..., Any]]]] = {
    # function: (owner, attribute, adapter)
    "conv2d_backward": (conv.Conv2d, "backward", _conv2d_backward),
    "count_consumers": (autograd, "count_consumers", lambda yours: yours["count_consumers"].function),
    "unbroadcast": (autograd, "unbroadcast", lambda yours: yours["unbroadcast"].function),
    "backward_walk": (autograd, "walk", _walk),
    "dropout": (functional, "dropout", _dropout),
    "dropout_backward": (Dropout, "backward", _dropout_backward),
    "softmax_cross_entropy": (functional, "cross_entropy", _cross_entropy),
    "build": (alexnet.AlexNet, "__init__", _alexnet),
}
