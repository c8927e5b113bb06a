"""`ShapeArray`: a stand-in for a GPU's array that has shape, dtype and strides, and no numbers.

Through it `kernels.gpu` makes a training step of any size in a moment. Nothing is computed; what is kept is an account
of the work, `account`: each kernel, product and copy with the bytes that it reads and writes and its operations, and
the memory of the arrays that are alive.

Bytes are those of the whole arrays that a kernel is given, each once, as if whatever is read again came from a cache;
an array that is updated in place counts twice.
"""
import contextlib
import math
import weakref
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minitorch_alex import backend
from minitorch_alex.kernels import gpu

# Kernels that read arrays which they also write -> the numbers of those arguments.
IN_PLACE = {"add_bias": (1,), "sgd_2012": (0, 2), "sgd_torch": (0, 2)}


@dataclass
class Work:
    """One entry of the account."""

    kind: str  # "kernel", "product" or "copy", which is what the array module does by itself
    name: str
    bytes: int
    operations: int = 0


@dataclass
class Account:
    work: list[Work] = field(default_factory=list)
    number_of_resets: int = 0
    alive: int = 0  # bytes of arrays that somebody holds
    peak: int = 0   # the most of them so far

    def add(self, kind, name, n_bytes, operations=0):
        self.work.append(Work(kind, name, n_bytes, operations))

    def allocate(self, n_bytes):
        self.alive += n_bytes
        self.peak = max(self.peak, self.alive)

    def free(self, n_bytes, reset):
        if reset == self.number_of_resets:
            self.alive -= n_bytes

    def reset(self):
        """A new account; arrays from before no longer count."""
        self.work.clear()
        self.alive = 0
        self.peak = 0
        self.number_of_resets += 1

    def number(self, *kinds):
        return sum(one.kind in kinds or not kinds for one in self.work)

    def sum(self, what, kind=None):
        return sum(getattr(one, what) for one in self.work if kind in (None, one.kind))


account = Account()


class Memory:
    """What an allocation holds, until the last array in it is gone."""

    base = None

    def __init__(self, n_bytes):
        self.nbytes = n_bytes
        account.allocate(n_bytes)
        weakref.finalize(self, account.free, n_bytes, account.number_of_resets)


class ShapeArray:
    """`layout` is an ndarray over one element of memory, at which nobody looks: NumPy works out shapes and strides."""

    __slots__ = ("layout", "memory")
    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, layout, memory):
        self.layout = layout
        self.memory = memory

    shape = property(lambda self: self.layout.shape)
    dtype = property(lambda self: self.layout.dtype)
    ndim = property(lambda self: self.layout.ndim)
    size = property(lambda self: self.layout.size)
    itemsize = property(lambda self: self.layout.itemsize)
    nbytes = property(lambda self: self.layout.nbytes)
    strides = property(lambda self: self.layout.strides)
    flags = property(lambda self: self.layout.flags)
    T = property(lambda self: ShapeArray(self.layout.T, self.memory))
    base = property(lambda self: self.memory)  # whose base is None, as that of an array that owns its memory
    data = property(lambda self: SimpleNamespace(ptr=Pointer(self)))

    def __len__(self):
        return len(self.layout)

    def __getitem__(self, index):
        return ShapeArray(np.asarray(self.layout[index]), self.memory)

    def __setitem__(self, index, value):
        target = self.layout[index]
        read = value.nbytes if isinstance(value, ShapeArray) else 0
        account.add("copy", "assignment", target.nbytes + read)

    def transpose(self, *axes):
        return ShapeArray(self.layout.transpose(*axes), self.memory)

    def reshape(self, *shape):
        try:
            return ShapeArray(self.layout.reshape(*shape, copy=False), self.memory)
        except ValueError:
            return copied(self, "reshape").reshape(*shape)

    def astype(self, dtype, copy=True):
        if self.dtype == dtype and not copy:
            return self
        return copied(self, "astype", dtype)

    def copy(self):
        return copied(self, "copy")

    def _binary(self, other):
        shape = np.broadcast_shapes(self.shape, getattr(other, "shape", ()))
        result = empty(shape, self.dtype)
        account.add("copy", "arithmetic", self.nbytes + getattr(other, "nbytes", 0) + result.nbytes)
        return result

    __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = __truediv__ = _binary

    def _reduce(self, axis=None, keepdims=False):
        axes = tuple(range(self.ndim)) if axis is None else axis
        axes = (axes,) if isinstance(axes, int) else axes
        shape = [1 if i in axes else n for i, n in enumerate(self.shape) if keepdims or i not in axes]
        result = empty(shape, self.dtype)
        account.add("copy", "reduction", self.nbytes + result.nbytes)
        return result

    sum = mean = max = _reduce


class Pointer(int):
    """An address that remembers its array; what is added to it does not matter here."""

    def __new__(cls, array):
        pointer = super().__new__(cls, 0)
        pointer.array = array
        return pointer


def empty(shape, dtype=np.float64):
    """A new array in C order."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    strides = [dtype.itemsize * math.prod(shape[i + 1:]) for i in range(len(shape))]
    return ShapeArray(as_strided(np.empty(1, dtype), shape, strides), Memory(dtype.itemsize * math.prod(shape)))


def zeros(shape, dtype=np.float64):
    array = empty(shape, dtype)
    account.add("copy", "zeros", array.nbytes)
    return array


def copied(array, why, dtype=None):
    result = empty(array.shape, array.dtype if dtype is None else dtype)
    account.add("copy", why, array.nbytes + result.nbytes)
    return result


def asarray(value, dtype=None):
    if isinstance(value, ShapeArray):
        return value if dtype is None else value.astype(dtype, copy=False)
    value = np.asarray(value, dtype)
    return empty(value.shape, value.dtype)


def ascontiguousarray(array):
    return array if array.layout.flags.c_contiguous else copied(array, "ascontiguousarray")


def broadcast_to(array, shape):
    return ShapeArray(np.broadcast_to(array.layout, shape), array.memory)


class RawModule:
    """Stands in for cupy.RawModule."""

    def __init__(self, code, options):
        pass

    def get_function(self, name):
        def kernel(grid, block, args):
            arrays = [arg for arg in args if isinstance(arg, ShapeArray)]
            assert all(array.layout.flags.c_contiguous for array in arrays), name
            again = sum(arrays[i].nbytes for i in IN_PLACE.get(name, ()))
            account.add("kernel", name, sum(array.nbytes for array in arrays) + again)

        return kernel


class Cublas:
    """Stands in for cupy.cuda.cublas."""

    def __getattr__(self, name):
        return 0  # its constants

    def getPointerMode(self, handle):
        return 0

    def setPointerMode(self, handle, mode):
        pass

    def gemmEx(self, handle, transa, transb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, *rest):
        name = f"({n}, {k}) @ ({k}, {m})"
        account.add("product", name, a.array.nbytes + b.array.nbytes + c.array.nbytes, 2 * m * n * k)


xp = SimpleNamespace(
    empty=empty, zeros=zeros, asarray=asarray, ascontiguousarray=ascontiguousarray, broadcast_to=broadcast_to,
    array=lambda a: copied(a, "array"), ones=zeros, empty_like=lambda a: empty(a.shape, a.dtype), RawModule=RawModule,
    full_like=lambda a, value: zeros(a.shape, a.dtype),
    cuda=SimpleNamespace(cublas=Cublas(), get_cublas_handle=lambda: 0,
                         runtime=SimpleNamespace(CUDA_R_16F=2, CUDA_R_16BF=14, CUDA_R_32F=0, CUDA_R_64F=1)))


class Module(SimpleNamespace):
    __hash__ = object.__hash__  # launch.py keeps what it compiled by module


@contextlib.contextmanager
def installed(monkeypatch, precision="tf32", memory=80 * 10**9):
    """The current backend is "shapes", on a GPU with so many bytes of memory."""
    before = backend.current().name
    backend.register("shapes", ShapeArray, Module(**vars(xp)), gpu)
    monkeypatch.setattr(backend, "capacity", lambda: memory)
    monkeypatch.setattr(backend, "precision", lambda: precision)
    backend.use("shapes")
    account.reset()
    try:
        yield account
    finally:
        backend.use(before)
        backend._backends.pop("shapes")
