"""--mine: train with the exercises that you solved in place of the package's parts.

`use(folder)` reads the exercise files of lessons 02 to 09, judges each function as `python -m
minitorch_alex.check` does, and puts those that are right where the package has its own: kernels
into the table of the "numpy" backend, the rest into the module or class that contains them. A
function that is not written yet leaves the package's in place; one that fails its check is
refused, so that nobody trains on a wrong gradient. `restore()` puts everything back.

The exercises store images as (N,C,H,W) and do not round sizes up, so adapters stand in between.
They turn the kernels' (N,H,W,C) around, copy the image into a frame, call your function with
padding 0, and cut the frame off again:

    0 0 0 0 0 0     P = 1 on the left and top: the padding
    0 x x x x 0
    0 x x x x 0     on the right and bottom as many cells as the windows read past the edge
    0 0 0 0 0 0     (zeros for a convolution, -inf for a max pool)

Your code runs in one thread.

Always the package's: what no exercise covers (dilation, strides that differ between rows and
columns, the within-map norm, locally connected and fully connected layers, average pools, tanh,
the torch rule of SGD, losses that are not averaged), and the data, colour noise included.
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
from ..kernels.window import group_slices
from ..kernels.workers import parallel_list
from ..models import Network, alexnet
from ..tensor import Tensor
from . import places


@dataclass(frozen=True)
class Part:
    """One function of the exercises, and whether it is in use.

    what     its task in the package
    lesson   the exercise file without .py
    name     the function
    yours    whether the learner's own is in use
    why      if not, the reason
    """

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
    Part("the backward pass through the graph", "03_autograd", "backward_walk"),
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

WRONG = "yours fails its check"
UNWRITTEN = "not written yet"
MISSING = "no such file"

_undo: list[Callable[[], None]] = []  # what `restore` runs, the last first


def use(folder: str | Path | None = None) -> list[Part]:
    """Put the learner's functions in place of the package's, print which, and return the parts.

    folder is that of the exercise files; None means lessons/exercises in the current folder or
    next to the package. Judging takes some seconds. Raises UsageError when the backend is not
    NumPy, and DataError when there is no such folder.
    """
    if backend.current().name != "numpy":
        raise UsageError(f"--mine runs your NumPy code, got the backend {backend.current().name}; "
                         "leave out --backend")
    folder = (Path(folder) if folder else check.exercises_folder()).resolve()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give --mine the folder of your exercises")
    print(f"your exercises in {folder}")
    restore()
    _replace(places, "learner_folder", folder)  # where `yours` in the exercises looks from now on
    reasons: dict[str, str] = {}
    for lesson in sorted({part.lesson for part in PARTS}):
        reasons |= _reasons(lesson, folder)
    parts = [replace(p, yours=not reasons[p.name], why=reasons[p.name]) for p in PARTS]
    files = {p.lesson: check.load(folder / f"{p.lesson}.py") for p in parts if p.yours}
    put({p.name: getattr(files[p.lesson], p.name) for p in parts if p.yours})
    print(table(parts, folder))
    return parts


def restore() -> None:
    """Put the package's own parts back."""
    while _undo:
        _undo.pop()()


def table(parts: list[Part], folder: Path) -> str:
    """Which part is whose, one line per part, then one line per lesson with a refused function."""
    rows = [("part", "file", "function", "in use")]
    for part in parts:
        in_use = "yours" if part.yours else f"the package's: {part.why}"
        rows.append((part.what, f"{part.lesson}.py", part.name, in_use))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  ".join([*cells, row[3]]))
    default = (check.lessons_folder() / "exercises").resolve()
    flag = "" if folder == default else f" --exercises {folder}"
    for number in dict.fromkeys(part.lesson[:2] for part in parts if part.why == WRONG):
        lines.append(f"refused: for what is wrong in lesson {number} run   "
                     f"python -m minitorch_alex.check {number}{flag}")
    count = sum(part.yours for part in parts)
    lines.append(f"{count} of {len(parts)} parts are yours; "
                 "everything that no exercise covers is the package's")
    return "\n".join(lines)


def _reasons(lesson: str, folder: Path) -> dict[str, str]:
    """Why each function of a lesson that is a part is not in use; "" if it passed its check."""
    path = folder / f"{lesson}.py"
    parts = {part.name for part in PARTS if part.lesson == lesson}
    reasons: dict[str, str] = {}
    for exercise in check.exercises(lesson):
        names = parts & set(exercise.names)
        if names:
            reasons |= dict.fromkeys(names, _reason(exercise, path))
    return reasons


def _reason(exercise: check.Exercise, path: Path) -> str:
    if not path.exists():
        return MISSING
    verdict = check.judge(exercise, path)
    if verdict.passed:
        return ""
    return WRONG if verdict.written else UNWRITTEN


class _Yours:
    """A function of the learner, which names itself when a result has the wrong shape.

    It is called with BLAS at one thread, as the package's kernels are: on a busy machine waiting
    for BLAS's own threads costs more than they save.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name

    def __call__(self, *args: Any) -> Any:
        results: list[Any] = []
        parallel_list([lambda: results.append(self.function(*args))])
        return results[0]

    def array(self, result: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """`result` as an array of that dtype: the checks use float64, training uses float32.

        Raises UserError when the shape is another one.
        """
        result = np.asarray(result, dtype)
        if result.shape != shape:
            raise UserError(f"{self.name} gave an array of shape {result.shape}, expected "
                            f"{shape}; it passed its check at other sizes: try it at this one")
        return result


Functions = dict[str, _Yours]
Adapter = Callable[[Functions], Callable[..., Any]]


def put(functions: dict[str, Callable[..., Any]]) -> None:
    """Put functions of the exercises, by name, where the package has its own.

    Their signatures are those of the exercises.
    """
    yours = {name: _Yours(f, name) for name, f in functions.items()}
    # Without the kernels that do the work of two layers at once, or spare what is not needed: they
    # would go past the learner's.
    kernels = SimpleNamespace(**{name: getattr(cpu, name) for name in cpu.__all__
                                 if not name.endswith(("_relu", "_values"))})
    for name, (exercises, adapter) in KERNELS.items():
        if set(exercises) & set(yours):
            setattr(kernels, name, adapter(yours))
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


def _is_covered(win: Window) -> bool:
    """Whether the exercises cover this window: one stride for rows and columns, no dilation."""
    return win.dilation == (1, 1) and win.stride[0] == win.stride[1]


def _is_covered_pool(win: Window) -> bool:
    return _is_covered(win) and win.kernel[0] == win.kernel[1]


def _frame(x: np.ndarray, win: Window, value: float) -> np.ndarray:
    """(N,H,W,C) -> (N,C,HP,WP): exactly what the windows see, `value` where there is no image."""
    N, H, W, C = x.shape
    PH, PW = win.padding
    HP, WP = win.padded((H, W), win.out(H, W))
    frame = np.full((N, C, HP, WP), value, x.dtype)
    inside = frame[:, :, PH:PH + H, PW:PW + W]  # smaller than the image if no window sees its end
    _, _, rows, columns = inside.shape
    inside[...] = x[:, :rows, :columns].transpose(0, 3, 1, 2)  # (N,H,W,C) -> (N,C,H,W)
    return frame


def _unframe(g: np.ndarray, x_shape: tuple[int, ...], win: Window) -> np.ndarray:
    """The frame's gradient (N,C,HP,WP) -> the image's (N,H,W,C), 0 where no window saw a pixel."""
    _, H, W, _ = x_shape
    PH, PW = win.padding
    inside = g[:, :, PH:PH + H, PW:PW + W]
    _, _, rows, columns = inside.shape
    gx = np.zeros(x_shape, g.dtype)
    gx[:, :rows, :columns] = inside.transpose(0, 2, 3, 1)  # (N,C,H,W) -> (N,H,W,C)
    return gx


def _nchw(x: np.ndarray) -> np.ndarray:
    """(N,H,W,C) -> (N,C,H,W), contiguous."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # (N,H,W,C) -> (N,C,H,W)


def _nhwc(x: np.ndarray) -> np.ndarray:
    """(N,C,H,W) -> (N,H,W,C), contiguous."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # (N,C,H,W) -> (N,H,W,C)


# Kernels: (the learner's functions) -> a function with the signature of kernels.cpu


def _conv2d(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["conv2d"]

    def conv2d(x, w, b, win, groups):
        if not _is_covered(win):
            return cpu.conv2d(x, w, b, win, groups)
        N, H, W, _ = x.shape
        O = len(w)
        bias = np.zeros(O, w.dtype) if b is None else b
        y = f(_frame(x, win, 0), w, bias, win.stride[0], 0, groups)
        return _nhwc(f.array(y, (N, O, *win.out(H, W)), x.dtype))

    return conv2d


def _max_pool2d(yours: Functions) -> Callable[..., tuple]:
    """y, and what the backward in use needs: the winning taps for the package's, x for yours."""
    f = yours.get("max_pool2d")
    backward_is_yours = "max_pool2d_backward" in yours

    def max_pool2d(x, win):
        if not _is_covered_pool(win):
            return cpu.max_pool2d(x, win)
        y = winners = None
        if f is None or not backward_is_yours:
            y, winners = cpu.max_pool2d(x, win)
        if f is not None:
            N, H, W, C = x.shape
            y = f(_frame(x, win, -np.inf), win.kernel[0], win.stride[0])
            y = _nhwc(f.array(y, (N, C, *win.out(H, W)), x.dtype))
        return y, (x,) if backward_is_yours else winners

    return max_pool2d


def _max_pool2d_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["max_pool2d_backward"]

    def max_pool2d_backward(gy, saved, x_shape, win):
        if not _is_covered_pool(win):
            return cpu.max_pool2d_backward(gy, saved, x_shape, win)
        (x,) = saved
        frame = _frame(x, win, -np.inf)
        gx = f(_nchw(gy), frame, win.kernel[0], win.stride[0])
        return _unframe(f.array(gx, frame.shape, gy.dtype), x_shape, win)

    return max_pool2d_backward


def _elementwise(name: str) -> Adapter:
    """ReLU and its gradient, for which the order of the axes does not matter."""
    def adapter(yours: Functions) -> Callable[..., np.ndarray]:
        f = yours[name]
        return lambda x, *rest: np.ascontiguousarray(f.array(f(x, *rest), x.shape, x.dtype))

    return adapter


def _by_group(f: _Yours, arrays: list[np.ndarray], groups: int, settings: tuple,
              results: int) -> list[np.ndarray]:
    """f(*arrays, *settings) for each group of channels separately, the results joined.

    arrays and joined results are (N,H,W,C), f takes and returns (N,C/G,H,W).
    """
    x = arrays[0]
    joined = [np.empty_like(x) for _ in range(results)]
    for channels in group_slices(x.shape[3], groups):
        pieces = [_nchw(a[..., channels]) for a in arrays]
        outputs = f(*pieces, *settings)
        if results == 1:
            outputs = (outputs,)
        for whole, output in zip(joined, outputs, strict=True):
            # (N,C/G,H,W) -> (N,H,W,C/G)
            whole[..., channels] = f.array(output, pieces[0].shape, x.dtype).transpose(0, 2, 3, 1)
    return joined


def _lrn(yours: Functions) -> Callable[..., tuple]:
    f = yours["lrn"]

    def lrn(x, size, alpha, beta, k, groups):
        return tuple(_by_group(f, [x], groups, (size, alpha, beta, k), results=2))

    return lrn


def _lrn_backward(yours: Functions) -> Callable[..., np.ndarray]:
    f = yours["lrn_backward"]

    def lrn_backward(gy, x, scale, size, alpha, beta, groups):
        return _by_group(f, [gy, x, scale], groups, (size, alpha, beta), results=1)[0]

    return lrn_backward


def _sgd(yours: Functions) -> Callable[..., None]:
    f = yours["sgd_step"]

    def sgd(w, g, v, lr, momentum, weight_decay, rule):
        if rule == "2012":
            f(w, g, v, lr, momentum, weight_decay)
        else:
            cpu.sgd(w, g, v, lr, momentum, weight_decay, rule)

    return sgd


KERNELS: dict[str, tuple[tuple[str, ...], Adapter]] = {
    # kernel: (the functions that it depends on, its adapter)
    "conv2d": (("conv2d",), _conv2d),
    "max_pool2d": (("max_pool2d", "max_pool2d_backward"), _max_pool2d),
    "max_pool2d_backward": (("max_pool2d_backward",), _max_pool2d_backward),
    "relu": (("relu",), _elementwise("relu")),
    "relu_backward": (("relu_backward",), _elementwise("relu_backward")),
    "lrn": (("lrn",), _lrn),
    "lrn_backward": (("lrn_backward",), _lrn_backward),
    "sgd": (("sgd_step",), _sgd),
}


# The rest: where one function of the exercises does what the package does in several kernels or in
# none


def _conv2d_backward(yours: Functions) -> Callable[..., tuple]:
    """Conv2d.backward: yours returns all three gradients at once, the kernels one at a time."""
    f = yours["conv2d_backward"]
    package = conv.Conv2d.backward

    def backward(self, gy):
        needs_x, needs_w, _ = self.needs
        if not _is_covered(self.win) or not (needs_x or needs_w):
            return package(self, gy)
        # The package saves x for w's gradient and w for x's. Yours computes both in any case, so
        # zeros stand in for what is missing: what they lead to is not used.
        x, w = self.saved
        x = np.zeros(self.x_shape, gy.dtype) if x is None else x
        w = np.zeros(self.edges[1][1], gy.dtype) if w is None else w
        gy = np.ascontiguousarray(gy)
        frame = _frame(x, self.win, 0)
        gx, gw, gb = f(gy, frame, w, self.win.stride[0], 0, self.groups)
        gx = _unframe(f.array(gx, frame.shape, gy.dtype), x.shape, self.win)
        return (to_nchw(gx) if self.needs[0] else None,
                f.array(gw, w.shape, gy.dtype),
                f.array(gb, w.shape[:1], gy.dtype) if self.needs[2] else None)

    return backward


def _walk(yours: Functions) -> Callable[..., None]:
    """autograd.walk: yours, after which the graph is freed.

    A graph that was freed before goes to the package's walk, which raises the error.
    """
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
    """Yours with the package's mask: the hash of (key, place in memory) that Dropout uses."""

    def __init__(self, yours: Functions, p: float, rule: str, training: bool,
                 key: tuple[int, int]) -> None:
        self.yours = yours
        self.p = p
        self.rule = rule
        self.training = training
        self.key = key

    def kept(self, x: np.ndarray) -> np.ndarray:
        """The mask, of x's shape; x in the kernels' order."""
        return cpu.dropout(np.ones_like(x), self.p, 1.0, self.key) > 0

    def forward(self, x):
        f = self.yours["dropout"]
        x = to_nhwc(x)
        kept = self.kept(x) if self.training else np.ones(x.shape, bool)
        y = f(x, kept, self.p, self.training, self.rule)
        return to_nchw(f.array(y, x.shape, x.dtype))

    def backward(self, gy):
        f = self.yours.get("dropout_backward")
        gy = to_nhwc(gy)
        if not self.training:
            gx = gy * (1 - self.p if self.rule == "2012" else 1.0)
        elif f is None:
            scale = 1 / (1 - self.p) if self.rule == "inverted" else 1.0
            gx = cpu.dropout(gy, self.p, scale, self.key)
        else:
            gx = f.array(f(gy, self.kept(gy), self.p, self.rule), gy.shape, gy.dtype)
        return to_nchw(gx)


def _dropout(yours: Functions) -> Callable[..., Tensor]:
    def dropout(x, p=0.5, training=True, rule="inverted"):
        check_dropout(p, rule)
        key = streams.next_dropout_key(x.shape) if training else (0, 0)
        return _Dropout(yours, p, rule, training, key)(x)

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
        self.f = f
        self.labels = labels

    def forward(self, logits):
        mean, gradient = self.f(np.ascontiguousarray(logits), self.labels)
        self.save(self.f.array(gradient, logits.shape, logits.dtype))
        return self.f.array(mean, (), logits.dtype)

    def backward(self, gy):
        (gradient,) = self.saved
        return gradient * gy


def _cross_entropy(yours: Functions) -> Callable[..., Tensor]:
    f = yours["softmax_cross_entropy"]
    package = functional.cross_entropy

    def cross_entropy(logits, labels, weight=None, reduction="mean", **settings):
        plain = weight is None and reduction == "mean" and not settings
        if not plain or not _are_valid(logits, labels):
            # which raises the error, if there is one
            return package(logits, labels, weight, reduction, **settings)
        return _CrossEntropy(f, np.asarray(labels).astype(np.int64))(logits)

    return cross_entropy


def _are_valid(logits: Tensor, labels: Any) -> bool:
    """Whether logits are (N, K), N > 0, and labels N integers in 0 ... K - 1."""
    if isinstance(labels, Tensor):  # probabilities
        return False
    labels = np.asarray(labels)
    if logits.ndim != 2 or not len(logits) or labels.shape != logits.shape[:1]:
        return False
    if labels.dtype.kind not in "iu":
        return False
    return bool(labels.min() >= 0 and labels.max() < logits.shape[1])


def _alexnet(yours: Functions) -> Callable[..., None]:
    """AlexNet.__init__: its layers are those that `build` made, under the names it gave them.

    The exercise is without a sixth convolution and an adaptive pool: UsageError for a
    configuration that needs one. Caffe's rounding, which it leaves out too, is put right here.
    """
    f = yours["build"]

    def __init__(self, config, num_classes=None):  # noqa: N807
        if num_classes is not None:
            config = replace(config, num_classes=num_classes)
        self.config = config
        recipe = alexnet.default_recipe(config.image_size)
        layers = dict(f(config).named_children())
        if config.conv6:
            raise UsageError("exercise 9.1 builds no sixth convolution; train this network "
                             "without --mine")
        last = config.channels[4] * config.adaptive_pool ** 2
        if config.adaptive_pool and "fc6" in layers and layers["fc6"].weight.shape[1] != last:
            raise UsageError(f"exercise 9.1 builds no adaptive pool, which images of "
                             f"{config.image_size} need; train this network without --mine")
        for name, layer in layers.items():
            if config.conv_floor and name.startswith("conv"):
                layer.ceil_mode = False
        Network.__init__(self, config.image_size, recipe, {}, config.deviations(), **layers)

    return __init__


def _as_it_is(name: str) -> Adapter:
    """For a function whose signature is the package's."""
    return lambda yours: yours[name].function


PLACES: dict[str, tuple[Any, str, Adapter]] = {
    # function: (owner, attribute, adapter)
    "conv2d_backward": (conv.Conv2d, "backward", _conv2d_backward),
    "count_consumers": (autograd, "count_consumers", _as_it_is("count_consumers")),
    "unbroadcast": (autograd, "unbroadcast", _as_it_is("unbroadcast")),
    "backward_walk": (autograd, "walk", _walk),
    "dropout": (functional, "dropout", _dropout),
    "dropout_backward": (Dropout, "backward", _dropout_backward),
    "softmax_cross_entropy": (functional, "cross_entropy", _cross_entropy),
    "build": (alexnet.AlexNet, "__init__", _alexnet),
}
