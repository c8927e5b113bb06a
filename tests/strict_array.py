"""`StrictArray`: a stand-in for a device array that runs on the host and forgives nothing.

It owns an ndarray and does with it what CuPy would do on a GPU, but refuses whatever would be
slow, silent or wrong there:

    leaving the device without asking    np.asarray(x), float(x), `if x:`, a loop over x
    mixing with the host                 an operation on a StrictArray and a NumPy array or scalar
    changing precision on the way        float32 * float64

Code that passes its tests on it depends on `xp` alone. Two doors stay open: `strict_xp.asarray`
takes a host array in, `get` (called by `backend.to_numpy`) gives one out.

`install()` registers it as the backend "strict". Its kernels are `kernels.cpu` behind a check of
every argument.
"""
from types import SimpleNamespace

import numpy as np

from minitorch_alex import backend
from minitorch_alex.kernels import cpu


class StrictArray:
    """An ndarray in a box that opens only by `get()`."""

    __slots__ = ("_host",)
    __array_ufunc__ = None  # np.maximum(x, 0), ndarray + x: NumPy raises TypeError
    __hash__ = None

    def __init__(self, host):
        self._host = np.asarray(host)

    def get(self):
        """The door out: a host copy."""
        return self._host.copy()

    def _refuse(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to a host value; "
                        "use backend.to_numpy")

    # Every way in which Python or NumPy could read the numbers.
    __array__ = __array_function__ = _refuse
    __float__ = __int__ = __bool__ = __index__ = __complex__ = __round__ = _refuse
    __iter__ = __contains__ = _refuse
    item = tolist = tobytes = _refuse

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: StrictArray(self._host.T))

    def __len__(self):
        return len(self._host)

    def __repr__(self):
        return f"StrictArray(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, index):
        return StrictArray(self._host[_open(index, "an index")])

    def __setitem__(self, index, value):
        value = _open(value, "an assignment")
        if not _float_dtypes(value) <= {self.dtype}:
            raise TypeError(f"an assignment would change precision: {value.dtype} -> {self.dtype}")
        self._host[_open(index, "an index")] = value


def _open(value, where):
    """`value` with the arrays inside its StrictArrays: an argument, an index, or a tuple, list or
    dict of them. Bare host arrays are refused."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{where} mixes a device array with a {type(value).__name__} of the host; "
                        "use backend.asarray, or a Python number")
    if isinstance(value, tuple | list):
        return type(value)(_open(v, where) for v in value)
    if isinstance(value, dict):
        return {key: _open(v, where) for key, v in value.items()}
    return value


def _close(value):
    """Box every host array and scalar in a result."""
    if isinstance(value, tuple | list):
        return type(value)(_close(v) for v in value)
    return StrictArray(value) if isinstance(value, np.ndarray | np.generic) else value


def _float_dtypes(values):
    """The floating dtypes of the host arrays in `values`, however deep."""
    if isinstance(values, np.ndarray):
        return {values.dtype} if np.issubdtype(values.dtype, np.floating) else set()
    if isinstance(values, tuple | list):
        return set().union(*map(_float_dtypes, values)) if values else set()
    return set()


def _guarded(function, name):
    """NumPy's `function` for StrictArrays: no mixing with the host, no change of precision."""
    def call(*args, **kwargs):
        out = kwargs.get("out")
        args = _open(args, name)
        kwargs = _open(kwargs, name)
        before = _float_dtypes([args, list(kwargs.values())])
        result = function(*args, **kwargs)
        after = _float_dtypes(result if isinstance(result, tuple | list) else np.asarray(result))
        explicit = kwargs.get("dtype") is not None
        if not explicit and (len(before) > 1 or not after <= before):
            raise TypeError(f"{name} would change precision: {sorted(map(str, before))} -> "
                            f"{sorted(map(str, after))}")
        return out if out is not None else _close(result)
    call.__name__ = name
    return call


def _operator(name):
    guarded = _guarded(getattr(np.ndarray, name), name)

    def call(self, other):
        if not isinstance(other, StrictArray | bool | int | float | np.ndarray | np.generic):
            return NotImplemented
        return guarded(self, other)
    return call


def _in_place(name):
    guarded = _guarded(getattr(np.ndarray, name), name)

    def call(self, other):
        guarded(self, other)
        return self
    return call


OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
)
for _name in OPERATORS:
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(StrictArray, _form, _operator(_form))
    if _name != "matmul":
        setattr(StrictArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(StrictArray, _name, _operator(_name))
METHODS = (
    "__neg__", "__pos__", "__abs__", "__invert__", "reshape", "transpose", "swapaxes", "squeeze",
    "ravel", "sum", "max", "min", "mean", "argmax", "argmin", "any", "all", "copy", "dot", "clip",
    "take",
    "fill",
)
for _name in METHODS:
    setattr(StrictArray, _name, _guarded(getattr(np.ndarray, _name), _name))


def _astype(self, dtype, order="K", copy=True):
    return StrictArray(self._host.astype(dtype, order=order, copy=copy))


StrictArray.astype = _astype  # the one place where precision may change: it says so


def _array(value, dtype=None):
    """The door in: a StrictArray of a host value or of another StrictArray. Always a copy, as when
    copying to a device."""
    host = value._host if isinstance(value, StrictArray) else value
    return StrictArray(np.array(host, dtype=dtype))


def _asarray(value, dtype=None):
    """As `_array`, but an array that is already on the device is returned as it is."""
    if isinstance(value, StrictArray) and dtype in (None, value.dtype):
        return value
    return _array(value, dtype)


def _creator(name):
    function = getattr(np, name)

    def call(*args, **kwargs):
        return StrictArray(function(*_open(args, name), **_open(kwargs, name)))
    return call


def _like(name):
    function = getattr(np, name)

    def call(prototype, *args, **kwargs):
        if not isinstance(prototype, StrictArray):
            raise TypeError(f"{name} of the device got a {type(prototype).__name__} of the host")
        return StrictArray(function(prototype._host, *_open(args, name), **kwargs))
    return call


def _ufunc(name):
    guarded = _guarded(getattr(np, name), name)

    def call(*args, **kwargs):
        if not any(isinstance(a, StrictArray) or isinstance(a, tuple | list) for a in args):
            raise TypeError(f"{name} of the device got no device array")
        return guarded(*args, **kwargs)
    return call


# The parts of NumPy that code for `xp` may use.
CREATORS = ("empty", "zeros", "ones", "full", "arange", "eye")
LIKE = ("empty_like", "zeros_like", "ones_like", "full_like")
FUNCTIONS = (
    "maximum", "minimum", "exp", "log", "log1p", "sqrt", "square", "tanh", "abs", "absolute",
    "negative", "sign", "reciprocal", "power", "add", "subtract", "multiply", "divide",
    "true_divide", "greater", "greater_equal", "less", "less_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_not", "isfinite", "isnan",
    "sum", "max", "amax", "min", "amin", "mean", "argmax", "any", "all",
    "matmul", "dot", "outer", "tensordot", "where", "clip", "copyto", "pad", "flip",
    "ascontiguousarray", "concatenate", "stack", "broadcast_to", "transpose", "swapaxes",
    "expand_dims", "squeeze", "reshape", "ravel", "moveaxis", "take", "take_along_axis",
    "argsort", "searchsorted", "floor", "trunc",
)
CONSTANTS = (
    "float32", "float64", "int32", "int64", "uint8", "uint32", "bool_", "dtype", "floating",
    "integer", "issubdtype", "inf", "pi", "newaxis", "finfo",
)
strict_xp = SimpleNamespace(
    ndarray=StrictArray,
    asarray=_asarray,
    array=_array,
    **{name: _creator(name) for name in CREATORS},
    **{name: _like(name) for name in LIKE},
    **{name: _ufunc(name) for name in FUNCTIONS},
    **{name: getattr(np, name) for name in CONSTANTS},
)


class StrictKernels:
    """`kernels.cpu` for StrictArrays: array arguments must be StrictArrays, C-contiguous, and of
    one precision."""

    def __getattr__(self, name):
        def call(*args):
            host_args = _open(args, f"kernel {name}")
            self._check(name, host_args)
            return _close(getattr(cpu, name)(*host_args))
        if not callable(getattr(cpu, name)):
            raise AttributeError(name)
        return call

    def _check(self, name, host_args):
        for arg in host_args:
            if isinstance(arg, tuple):
                self._check(name, arg)
            if isinstance(arg, np.ndarray) and not arg.flags.c_contiguous:
                raise TypeError(f"kernel {name} got an array of shape {arg.shape} with strides "
                                f"{arg.strides}, expected C-contiguous memory (channels last)")
        floats = _float_dtypes(host_args)
        if len(floats) > 1 or not floats <= {np.dtype(np.float32), np.dtype(np.float64)}:
            raise TypeError(f"kernel {name} got {sorted(map(str, floats))}, expected float32 or "
                            "float64 throughout")


strict_kernels = StrictKernels()


def install():
    """Register the backend "strict"; harmless if it is already registered."""
    backend.register("strict", StrictArray, strict_xp, strict_kernels)
