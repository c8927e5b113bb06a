"""A GPU that runs on the host: arrays of strict_array.py, the real .cu files compiled by g++.

`kernels.gpu` runs on it unchanged: its chunks, its argument lists, its launch sizes, and every
line of the kernels. A launch is checked where a real one would fail silently:

    types      each argument against the kernel's signature
    layout     arrays are contiguous
    writes     outside an array: there are guard zones around each, which must stay as they are
    reads      outside an array: the guards are NaN; so are elements that nobody wrote (`empty`)

Copies on a stream run as late as a device may run them: when the computation waits for them, or
the host does. Until the host has waited, it cannot write to the memory that they read; and a copy
into an array that kernels may still be reading is refused.

cuBLAS is a single function, gemmEx, which reads and writes the arrays at the addresses it is
given, in the layout it is told.

What this cannot show is what only the device has: its own exp and pow, its compiler, its speed.
"""
import contextlib
import ctypes
import functools
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from strict_array import StrictArray, strict_xp

from minitorch_alex import backend
from minitorch_alex.kernels import gpu

COMPILER = shutil.which("g++")
# nvcc fuses multiplications and additions (--fmad=true); so does g++ where the processor can.
FUSE = ("-mfma", "-ffp-contract=fast") if platform.machine() in ("x86_64", "AMD64") else ()
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
         "-Wno-unknown-pragmas", *FUSE)
SHIM = Path(__file__).with_name("cuda_shim.h").read_text(encoding="utf-8")
GUARD = 64  # elements before and after each array

# The types of the kernels' arrays in NumPy, and in ctypes where they are also types of numbers.
C_TYPES = {
    "int": (np.int32, ctypes.c_int32),
    "unsigned": (np.uint32, ctypes.c_uint32),
    "unsigned long long": (np.uint64, ctypes.c_uint64),
    "float": (np.float32, ctypes.c_float),
    "double": (np.float64, ctypes.c_double),
    "unsigned char": (np.uint8, None),
    "unsigned short": (np.uint16, None),
    "half_bits": (np.float16, None),
    "long long": (np.int64, None),
}
HALVES = (np.float16, np.uint16)  # what half_bits may be


def signatures(source):
    """{kernel: [(C type, whether it is an array, whether it is only read, name)]} of a CUDA source
    text."""
    kernel = r'extern "C" __global__ void (\w+)\(((?:[^()]|\([^()]*\))*)\)'
    parameters = {}
    for name, text in re.findall(kernel, source):
        parameters[name] = []
        for parameter in text.split(","):
            parameter = " ".join(parameter.split())
            parameter = re.sub(r"^IN\(([\w ]+)\)", r"const \1 *", parameter)
            parameter = re.sub(r"^OUT\(([\w ]+)\)", r"\1 *", parameter)
            kind, name_of = re.fullmatch(r"(.*?)(\w+)", parameter).groups()
            array = "*" in kind
            constant = kind.startswith("const ")
            kind = kind.removeprefix("const ").replace("*", "").strip()
            parameters[name].append((kind, array, constant, name_of))
    return parameters


def launcher(name, parameters):
    """C++ that runs the kernel for every thread of a launch, forwards or backwards."""
    declared = "".join(f", {kind} {'*' if array else ''}{p}" for kind, array, _, p in parameters)
    return f"""
extern "C" void launch_{name}(int across_, int down_, int threads_, int backwards_{declared})
{{
    gridDim = {{(unsigned)across_, (unsigned)down_, 1}};
    blockDim = {{(unsigned)threads_, 1, 1}};
    Rounding as_cupy_compiles(sizeof(FLOAT) == 4);
    for (int i_ = 0; i_ < across_ * down_ * threads_; i_++) {{
        unsigned at_ = backwards_ ? across_ * down_ * threads_ - 1 - i_ : i_;
        threadIdx = {{at_ % threads_, 0, 0}};
        blockIdx = {{at_ / threads_ % across_, at_ / threads_ / across_, 0}};
        {name}({", ".join(p for *_, p in parameters)});
    }}
}}"""


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="host-cuda-")


@functools.cache
def build(source, number, flags):
    """The source text compiled by g++ with FLOAT = `number`, as a loaded library."""
    launchers = [launcher(name, parameters) for name, parameters in signatures(source).items()]
    text = "\n".join([SHIM, source, *launchers])
    digest = hashlib.sha256(f"{text}{flags}".encode()).hexdigest()[:16]
    path = Path(_folder().name) / f"{digest}-{number}"
    path.with_suffix(".cpp").write_text(text, encoding="utf-8")
    done = subprocess.run([COMPILER, *flags, f"-DFLOAT={number}", "-o", path.with_suffix(".so"),
                           path.with_suffix(".cpp")], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return ctypes.CDLL(str(path.with_suffix(".so")))


def by_file(code):
    """The files of a source text, each after common.cu, which they all need."""
    common, *files = re.split(r'(?m)^(?=#line 1 "(?!common))', code)
    return [common + file for file in files]


class RawModule:
    """Stands in for cupy.RawModule, which compiles the source text whole. With mode.by_file, a file
    is compiled when a kernel of it is asked for, so that a change in one file compiles little."""

    def __init__(self, code, options):
        assert options[0] == "-std=c++17" and len(options) == 2
        self.number = options[1].removeprefix("-DFLOAT=")
        self.sources = by_file(code) if mode.by_file else [code]
        if not mode.by_file:
            build(code, self.number, tuple(FLAGS))

    def get_function(self, name):
        source = next(text for text in self.sources if name in signatures(text))
        compiled = build(source, self.number, tuple(FLAGS))
        parameters = [(self.number if kind == "FLOAT" else kind, *rest)
                      for kind, *rest in signatures(source)[name]]
        return Kernel(name, parameters, getattr(compiled, f"launch_{name}"))


# How launches are run: with `grid` (blocks along x, along y, threads) instead of the requested
# one; threads in reverse; and how many there have been. And whether files are compiled one by one.
mode = SimpleNamespace(grid=None, backwards=False, launches=0, by_file=False)


@contextlib.contextmanager
def launching(grid=None, backwards=False):
    """Within it, launches have this size, whatever was requested, and run in this order."""
    mode.grid = grid
    mode.backwards = backwards
    try:
        yield
    finally:
        mode.grid = None
        mode.backwards = False


class Kernel:
    """A function of a RawModule: kernel(grid, block, args), as in CuPy, with checked arguments."""

    def __init__(self, name, parameters, function):
        self.name = name
        self.parameters = parameters
        self.function = function

    def __call__(self, grid, block, args):
        gx, gy, bx = self._size(grid, block)
        assert len(args) == len(self.parameters), \
            f"{self.name}: {len(args)} arguments for {len(self.parameters)}"
        c_args = []
        zones = {}  # (address, bytes) -> Zone; an array that is two arguments has one zone
        for arg, (kind, array, constant, name) in zip(args, self.parameters, strict=True):
            if not array:
                c_args.append(self._number(arg, kind, name))
                continue
            host = self._array(arg, kind, name)
            zone = zones.setdefault((host.ctypes.data, host.nbytes), Zone(self.name, name, host))
            zone.constant = zone.constant and constant
            c_args.append(ctypes.c_void_p(zone.inside.ctypes.data))
        self.function(gx, gy, bx, int(mode.backwards), *c_args)
        mode.launches += 1
        launched.add(self.name)
        for arg in args:
            if isinstance(arg, StrictArray):
                last_use[address(arg)] = mode.launches
        for zone in zones.values():
            zone.close()

    def _size(self, grid, block):
        """(blocks along x, along y, threads) of a launch, which a GPU must allow."""
        gx, gy = grid
        (bx,) = block
        assert 1 <= gx <= 2**31 - 1 and 1 <= gy <= 65535, grid
        assert 1 <= bx <= 1024 and bx % 32 == 0, block
        if mode.grid:
            # Never more rows than requested: kernels without LINES would repeat their work.
            return mode.grid[0], min(gy, mode.grid[1]), mode.grid[2]
        return gx, gy, bx

    def _number(self, arg, kind, name):
        dtype, c_type = C_TYPES[kind]
        assert type(arg) is dtype, \
            f"{self.name}: argument {name} is a {type(arg).__name__}, expected {dtype.__name__}"
        return c_type(arg)

    def _array(self, arg, kind, name):
        """The host array inside an array argument."""
        dtype, _ = C_TYPES[kind]
        where = f"{self.name}: argument {name}"
        assert type(arg) is StrictArray, \
            f"{where} is a {type(arg).__name__}, expected an array of the device"
        host = arg._host
        matches = host.dtype in HALVES if kind == "half_bits" else host.dtype == dtype
        assert matches, f"{where} has dtype {host.dtype}, expected {dtype.__name__}"
        assert host.flags.c_contiguous, \
            f"{where} has strides {host.strides}, expected contiguous memory"
        return host


class Zone:
    """A copy of an array between two guards, for one launch."""

    def __init__(self, kernel, name, host):
        self.where = f"{kernel}: array {name}"
        self.host = host
        self.constant = True
        self.memory = np.full(host.size + 2 * GUARD, poison(host.dtype), host.dtype)
        self.inside = self.memory[GUARD:GUARD + host.size]
        self.inside[...] = host.reshape(-1)
        self.before = self.memory.copy()

    def close(self):
        """Check what the launch did, and copy the array back."""
        now = self.memory.view(np.uint8)
        before = self.before.view(np.uint8)
        edge = GUARD * self.host.itemsize
        assert np.array_equal(now[:edge], before[:edge]), \
            f"{self.where} was written before its beginning"
        assert np.array_equal(now[-edge:], before[-edge:]), \
            f"{self.where} was written past its end"
        if self.constant:
            assert np.array_equal(now, before), f"{self.where} is an input and was written"
        else:
            self.host[...] = self.inside.reshape(self.host.shape)


def poison(dtype):
    """A value that no correct result contains: NaN, or a large integer."""
    return np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max - 1


def _empty(shape, dtype=np.float64):
    array = StrictArray(np.full(shape, poison(dtype), dtype))
    # The memory may be that of an array which kernels still read.
    last_use[address(array)] = mode.launches
    return array


# cuBLAS. Matrices lie column after column, `ld` elements apart.

lent = {}  # address -> the array that was asked for it


def _data(self):
    """Stands in for cupy.ndarray.data."""
    host = self._host
    lent[host.ctypes.data] = host
    return SimpleNamespace(ptr=host.ctypes.data)


def _matrix(pointer, dtype, rows, columns, ld):
    """The array at `pointer`, whose memory cuBLAS must be able to read as `rows` x `columns`
    numbers of `dtype`: contiguous columns that are `ld` elements apart."""
    host = lent[pointer]
    assert host.dtype == dtype and ld >= max(1, rows), (host.dtype, dtype, rows, ld)
    for seen in (host.T, host):
        down, across = (step // host.itemsize for step in seen.strides)
        contiguous = rows == 1 or down == 1
        apart = columns == 1 or across == ld
        if seen.shape == (rows, columns) and contiguous and apart:
            return seen
    raise AssertionError(f"an array of {host.shape} with strides {host.strides} is not {rows} x "
                         f"{columns} numbers in columns {ld} apart")


def floats(host):
    """A factor's numbers in float32. The bits of a bfloat16 number are the upper half of a
    float's."""
    if host.dtype == np.uint16:
        return (host.astype(np.uint32) << 16).view(np.float32)
    return host.astype(np.float32)


def tf32(host):
    """Rounded to 10 bits of fraction; of two numbers that are equally near, to the even one."""
    bits = np.ascontiguousarray(host).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000
    return rounded.astype(np.uint32).view(np.float32)


class Cublas:
    """Stands in for cupy.cuda.cublas, with its numbers and its order of arguments (CuPy 14.2)."""

    CUBLAS_OP_N = 0
    CUBLAS_OP_T = 1
    CUBLAS_GEMM_DEFAULT = -1
    CUBLAS_COMPUTE_32F = 68
    CUBLAS_COMPUTE_64F = 70
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77
    CUBLAS_POINTER_MODE_HOST = 0
    CUBLAS_POINTER_MODE_DEVICE = 1
    HANDLE = 4711
    SINGLE = 0   # CUDA_R_32F
    DOUBLE = 1   # CUDA_R_64F
    HALF = 2     # CUDA_R_16F
    BRAIN = 14   # CUDA_R_16BF
    DTYPES = {SINGLE: np.float32, DOUBLE: np.float64, HALF: np.float16, BRAIN: np.uint16}

    def __init__(self):
        self.mode = self.CUBLAS_POINTER_MODE_HOST
        self.calls = 0

    def getPointerMode(self, handle):
        assert handle == self.HANDLE
        return self.mode

    def setPointerMode(self, handle, mode):
        assert handle == self.HANDLE and mode in (0, 1)
        self.mode = mode

    def _scales(self, alpha, beta, result):
        """The numbers at two addresses: on the host, or the first and the second or third of an
        array on the device."""
        number = np.dtype(self.DTYPES[result])
        if self.mode == self.CUBLAS_POINTER_MODE_HOST:
            assert not {alpha, beta} & set(lent), "the host cannot read these"
            c_type = np.ctypeslib.as_ctypes_type(number)
            return tuple(number.type(c_type.from_address(place).value) for place in (alpha, beta))
        scales = lent[alpha]
        assert scales.dtype == number and scales.shape == (3,) and scales[1:].tolist() == [0, 1]
        assert beta in (alpha + scales.itemsize, alpha + 2 * scales.itemsize)
        assert scales[0] >= 2.0**-126, "a device takes a float as small as this for 0"
        return scales[0], scales[(beta - alpha) // scales.itemsize]

    def gemmEx(self, handle, transa, transb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta,
               c, c_type, ldc, compute, algorithm):
        """C (m,n) = alpha op(A) (m,k) @ op(B) (k,n) + beta C."""
        assert handle == self.HANDLE and a_type == b_type and min(m, n, k) > 0
        assert algorithm == self.CUBLAS_GEMM_DEFAULT
        assert c_type == (self.DOUBLE if a_type == self.DOUBLE else self.SINGLE)
        allowed = (self.CUBLAS_COMPUTE_32F, self.CUBLAS_COMPUTE_32F_FAST_TF32)
        if a_type == self.DOUBLE:
            allowed = (self.CUBLAS_COMPUTE_64F,)
        assert compute in allowed
        scale, rest = self._scales(alpha, beta, c_type)
        dtype = self.DTYPES[a_type]
        left = _matrix(a, dtype, k, m, lda).T if transa else _matrix(a, dtype, m, k, lda)
        right = _matrix(b, dtype, n, k, ldb).T if transb else _matrix(b, dtype, k, n, ldb)
        out = _matrix(c, self.DTYPES[c_type], m, n, ldc)
        if a_type != self.DOUBLE:
            left = floats(left)
            right = floats(right)
        if compute == self.CUBLAS_COMPUTE_32F_FAST_TF32:
            left = tf32(left)
            right = tf32(right)
        before = rest * out if rest else 0  # what is replaced may be NaN
        out[...] = scale * (left @ right) + before
        self.calls += 1
        lent.clear()


StrictArray.data = property(_data)
cublas = Cublas()

# Streams and events. The compute stream runs at once, so an event on it has passed as soon as it
# is recorded; what matters about it is how many kernels had been launched by then. Copies wait in
# the queue of their stream.

launched = set()  # names of the kernels that have run in this process
last_use = {}  # address of an array's memory -> number of launches when a kernel last used it


def address(array):
    """Where the memory that holds this array begins."""
    host = array._host
    while isinstance(host.base, np.ndarray):
        host = host.base
    return host.ctypes.data


class Stream:
    """Stands in for cupy.cuda.Stream."""

    def __init__(self, non_blocking):
        assert non_blocking, "a blocking stream waits for the computation on the default stream"
        self.queue = []   # copies that have not run yet
        self.run = 0      # how many copies have run
        self.closed = []  # (number of a copy, its source) that the host has not waited for
        self.seen = -1    # this stream runs after this many launches

    def enqueue(self, copy, source):
        """Add a copy to the queue and close its source, a host array, to writing."""
        source.flags.writeable = False
        self.queue.append(copy)
        self.closed.append((self.run + len(self.queue), source))

    def advance(self, number):
        """Run the copies up to this number."""
        while self.run < number:
            self.queue.pop(0)()
            self.run += 1

    def passed(self, number):
        """The host has waited for these copies: it may write to their sources again, unless a
        later copy reads them."""
        self.advance(number)
        sources = [source for n, source in self.closed if n <= number]
        self.closed = [(n, source) for n, source in self.closed if n > number]
        for source in sources:
            source.flags.writeable = all(other is not source for _, other in self.closed)

    def wait_event(self, event):
        self.seen = max(self.seen, event.launches)

    def synchronize(self):
        self.passed(self.run + len(self.queue))


class ComputeStream:
    """The default stream: what is put there runs at once."""

    def wait_event(self, event):
        if event.stream is not None:
            event.stream.advance(event.number)

    def synchronize(self):
        pass


compute_stream = ComputeStream()


class Event:
    """Stands in for cupy.cuda.Event."""

    def __init__(self, disable_timing):
        self.stream = None
        self.number = 0
        self.launches = -1

    def record(self, stream):
        self.launches = mode.launches
        if stream is not compute_stream:
            self.stream = stream
            self.number = stream.run + len(stream.queue)

    def synchronize(self):
        if self.stream is not None:
            self.stream.passed(self.number)


def _set(self, values, stream):
    """Stands in for cupy.ndarray.set with a stream."""
    assert type(values) is np.ndarray
    assert values.dtype == self.dtype and values.shape == self.shape
    assert values.flags.c_contiguous and self._host.flags.c_contiguous
    source = values.base if isinstance(values.base, np.ndarray) else values
    assert isinstance(source.base, Pinned), \
        "a copy from memory that is not page-locked makes the host wait"
    assert stream.seen >= last_use.get(address(self), -1), \
        "a copy may overwrite what kernels have yet to read"
    stream.enqueue(lambda: np.copyto(self._host, values), source)


class Pinned(bytearray):
    """Stands in for page-locked memory."""


StrictArray.set = _set

host_xp = ModuleType("host_xp")
vars(host_xp).update(vars(strict_xp))
host_xp.RawModule = RawModule
host_xp.empty = _empty
host_xp.empty_like = lambda a: _empty(a.shape, a.dtype)
host_xp.cuda = SimpleNamespace(
    Stream=Stream,
    Event=Event,
    get_current_stream=lambda: compute_stream,
    alloc_pinned_memory=Pinned,
    cublas=cublas,
    get_cublas_handle=lambda: Cublas.HANDLE,
    runtime=SimpleNamespace(
        CUDA_R_16F=Cublas.HALF,
        CUDA_R_16BF=Cublas.BRAIN,
        CUDA_R_32F=Cublas.SINGLE,
        CUDA_R_64F=Cublas.DOUBLE,
    ),
)


class OnDevice:
    """`kernels.gpu` as functions of host arrays, to stand in wherever a test uses `kernels.cpu`.

    Each call moves its arrays to the current backend, and results and in-place changes back.
    """

    __name__ = "gpu"

    def __getattr__(self, name):
        def call(*args):
            moved = [backend.asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
            result = getattr(gpu, name)(*moved)
            for host, device in zip(args, moved, strict=True):
                if isinstance(host, np.ndarray):
                    host[...] = backend.to_numpy(device)
            if isinstance(result, tuple):
                return tuple(backend.to_numpy(r) for r in result)
            return None if result is None else backend.to_numpy(result)
        return call


@contextlib.contextmanager
def room_for_columns(size):
    """Within it, a layer's column matrices may take this many bytes to be kept."""
    before = backend.capacity
    backend.capacity = lambda: size / gpu.columns.KEPT_SHARE
    try:
        yield
    finally:
        backend.capacity = before


@contextlib.contextmanager
def multiplying(precision):
    """Within it, products have this precision (backend.set_precision would ask CuPy)."""
    before = backend._precision
    backend._precision = precision
    try:
        yield
    finally:
        backend._precision = before


@contextlib.contextmanager
def installed():
    """Within it, the current backend is "host cuda": StrictArrays with the kernels of `gpu`."""
    before = dict(backend._backends)
    current = backend._current
    backend._backends.pop("strict", None)
    backend.register("host cuda", StrictArray, host_xp, gpu)
    backend.use("host cuda")
    try:
        yield
    finally:
        backend._backends.clear()
        backend._backends.update(before)
        backend._current = current
