"""`StrictArray`: a stand-in for a device array that runs on the host and forgives nothing.

It owns an ndarray and does with it what CuPy would do on a GPU, but refuses whatever would be slow, silent or wrong
there: leaving the device without asking (`np.asarray(x)`, `float(x)`, `if x:`, a loop over it), meeting a NumPy
array or a NumPy scalar in one operation, and changing precision on the way. Code that passes its tests on it is
written for `xp` alone.

The two doors stay open: `strict_xp.asarray` takes a host array in, `get` (called by `backend.to_numpy`) gives one
out. `install()` registers it as the backend "strict"; its kernels are `kernels.cpu` behind a check of every argument.
"""
from types import SimpleNamespace

import numpy as np

from minitorch_alex import backend
from minitorch_alex.kernels import cpu


class StrictArray:
    """An ndarray in a box that only opens by `get()`."""

    __slots__ = ("_host",)
    __array_ufunc__ = None  # np.maximum(x, 0), ndarray + x: NumPy raises TypeError
    __hash__ = None

    def __init__(self, host):
        self._host = np.asarray(host)

    def get(self):
        """The door out: a host copy."""
        return self._host.copy()

    def _refuse(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to a host value; use backend.to_numpy")

    __array__ = __array_function__ = __float__ = __int__ = __bool__ = __index__ = __complex__ = __iter__ = _refuse
    __contains__ = __round__ = item = tolist = tobytes = _refuse

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
    """The arrays that the StrictArrays in `value` hold (an argument, an index, or a tuple, list or dict of them); bare
    host arrays are refused."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{where} mixes a device array with a {type(value).__name__} of the host; use backend.asarray, "
                        "or a Python number")
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
    """`function` of NumPy as a function of StrictArrays that neither mixes with the host nor changes precision."""
    def call(*args, **kwargs):
        out = kwargs.get("out")
        args, kwargs = _open(args, name), _open(kwargs, name)
        before = _float_dtypes([args, list(kwargs.values())])
        result = function(*args, **kwargs)
        asked = kwargs.get("dtype")
        after = _float_dtypes(result if isinstance(result, tuple | list) else np.asarray(result))
        if asked is None and (len(before) > 1 or not after <= before):
            raise TypeError(f"{name} would change precision: {sorted(map(str, before))} -> {sorted(map(str, after))}")
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


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(StrictArray, _form, _operator(_form))
    if _name != "matmul":
        setattr(StrictArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(StrictArray, _name, _operator(_name))
for _name in ("__neg__", "__pos__", "__abs__", "__invert__", "reshape", "transpose", "swapaxes", "squeeze", "ravel",
              "sum", "max", "min", "mean", "argmax", "any", "all", "copy", "dot", "clip", "take", "fill"):
    setattr(StrictArray, _name, _guarded(getattr(np.ndarray, _name), _name))


def _astype(self, dtype, order="K", copy=True):
    return StrictArray(self._host.astype(dtype, order=order, copy=copy))


StrictArray.astype = _astype  # the one place where precision may change: it says so


def _array(value, dtype=None):
    """The door in: a StrictArray of a host value, or of another StrictArray. Always a copy, as onto a device."""
    return StrictArray(np.array(value._host if isinstance(value, StrictArray) else value, dtype=dtype))


def _asarray(value, dtype=None):
    """As `_array`, but an array that is on the device already is returned as it is."""
    return value if isinstance(value, StrictArray) and dtype in (None, value.dtype) else _array(value, dtype)


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


strict_xp = SimpleNamespace(
    ndarray=StrictArray, asarray=_asarray, array=_array,
    **{name: _creator(name) for name in ("empty", "zeros", "ones", "full", "arange", "eye")},
    **{name: _like(name) for name in ("empty_like", "zeros_like", "ones_like", "full_like")},
    **{name: _ufunc(name) for name in (
        "maximum", "minimum", "exp", "log", "log1p", "sqrt", "square", "tanh", "abs", "absolute", "negative", "sign",
        "reciprocal", "power", "add", "subtract", "multiply", "divide", "true_divide", "greater", "greater_equal",
        "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "isfinite", "isnan",
        "sum", "max",
        "amax", "min", "amin", "mean", "argmax", "any", "all", "matmul", "dot", "outer", "where", "clip",
        "ascontiguousarray", "concatenate", "stack", "broadcast_to", "transpose", "swapaxes", "expand_dims", "squeeze",
        "reshape", "ravel", "moveaxis", "take", "take_along_axis", "copyto", "pad", "flip", "tensordot")},
    **{name: getattr(np, name) for name in ("float32", "float64", "int32", "int64", "uint8", "uint32", "bool_", "dtype",
                                            "floating", "integer", "issubdtype", "inf", "pi", "newaxis", "finfo")})


class StrictKernels:
    """`kernels.cpu` for StrictArrays: every array argument must be one of them, C-contiguous, and of one precision."""

    def __getattr__(self, name):
        def call(*args):
            given = _open(args, f"kernel {name}")
            self._check(name, given)
            return _close(getattr(cpu, name)(*given))
        if not callable(getattr(cpu, name)):
            raise AttributeError(name)
        return call

    def _check(self, name, given):
        for array in given:
            if isinstance(array, tuple):
                self._check(name, array)
            if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
                raise TypeError(f"kernel {name} got an array of shape {array.shape} with strides {array.strides}, "
                                "expected C-contiguous memory (channels last)")
        floats = _float_dtypes(given)
        if len(floats) > 1 or not floats <= {np.dtype(np.float32), np.dtype(np.float64)}:
            raise TypeError(f"kernel {name} got {sorted(map(str, floats))}, expected float32 or float64 throughout")


strict_kernels = StrictKernels()


def install():
    """Register the backend "strict"; harmless when it is registered already."""
    backend.register("strict", StrictArray, strict_xp, strict_kernels)
