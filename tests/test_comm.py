"""Ranks as threads: what each gets from the others, without MPI. Processes are in test_mpi.py."""
import ctypes
import importlib
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import ranks
import strict_array
from checks.parallel import assert_steps_on_device
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_alex import backend
from minitorch_alex import comm as comm_module
from minitorch_alex.comm import Alone, Staged, Threads, devices, interface, lengths, nccl, part, tree_sum
from minitorch_alex.errors import BackendError, UsageError


def on_ranks(size, body):
    """body(comm) of each rank."""
    return Threads(size).run(body)


# Parts and sums.


@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_are_disjoint_complete_and_even(n, size):
    rows = [part(n, rank, size) for rank in range(size)]
    assert rows[0].start == 0 and rows[-1].stop == n
    assert all(a.stop == b.start for a, b in zip(rows[:-1], rows[1:]))
    assert max(lengths(n, size)) - min(lengths(n, size)) <= 1


@given(st.integers(1, 5), st.integers(0, 3))
def test_parts_of_parts_are_parts(n, twos):
    """A rank's part is that of its shards, which is why their number, not that of the ranks, decides on bits."""
    shards = 4 * 2**twos
    for size in (1, 2, 4):
        each = shards // size
        for rank in range(size):
            own = part(n, rank, size)
            assert own.start == part(n, rank * each, shards).start
            assert own.stop == part(n, rank * each + each - 1, shards).stop


def pairwise(terms):
    """tree_sum as a formula: the larger power of two to the left."""
    if len(terms) == 1:
        return terms[0]
    half = 1
    while half * 2 < len(terms):
        half *= 2
    return pairwise(terms[:half]) + pairwise(terms[half:])


@given(st.integers(1, 17))
def test_tree_sum_is_that_of_a_binary_tree(size):
    terms = [ranks.draw(rank, 50) for rank in range(size)]
    expected = pairwise(terms)
    assert np.array_equal(tree_sum([term.copy() for term in terms]), expected)
    own = [term.copy() for term in terms]
    assert tree_sum(own, out=own[-1]) is own[-1]
    assert np.array_equal(own[-1], expected)


def test_blocks_of_neighbours_can_be_summed_first():
    terms = [ranks.draw(rank, 50) for rank in range(8)]
    blocks = [tree_sum([term.copy() for term in terms[i:i + 4]]) for i in (0, 4)]
    assert np.array_equal(tree_sum(blocks), tree_sum([term.copy() for term in terms]))


# The methods.


@pytest.mark.parametrize("size", (1, 2, 3, 4))
@pytest.mark.parametrize("chunk", (8, 2**21))
def test_sum_is_the_tree_over_the_ranks_in_any_chunks(size, chunk, monkeypatch):
    monkeypatch.setattr(interface, "CHUNK", chunk)
    monkeypatch.setattr(interface, "LEAST_PIECE", 4)
    terms = [ranks.draw(rank, 7, 5) for rank in range(size)]
    expected = pairwise(terms)
    for result in on_ranks(size, lambda comm: comm.sum(terms[comm.rank].copy())):
        assert np.array_equal(result, expected)


@pytest.mark.parametrize("size", (1, 2, 3))
def test_gather_puts_parts_side_by_side(size):
    whole = ranks.draw(0, 4, 5, 6)
    for axis in (0, 1, -1):
        def gather(comm, axis=axis):
            own = np.split(whole, np.cumsum(lengths(whole.shape[axis], size))[:-1], axis)[comm.rank]
            return comm.gather(own, axis, total=whole.shape[axis])

        assert all(np.array_equal(result, whole) for result in on_ranks(size, gather))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5), st.integers(0, 1))
def test_scatter_sum_is_the_adjoint_of_gather(size, n, m, axis):
    """<gather(x), g> = <x, scatter_sum(g)>, both summed over the ranks."""
    total = (n, m)[axis]

    def both(comm):
        shape = [n, m]
        shape[axis] = lengths(total, size)[comm.rank]
        x = ranks.draw(comm.rank, *shape, dtype=np.float64)
        g = ranks.draw(comm.rank, n, m, seed=1, dtype=np.float64)
        return np.sum(comm.gather(x, axis, total) * g), np.sum(x * comm.scatter_sum(g, axis))

    left, right = np.sum(on_ranks(size, both), axis=0)
    assert left == pytest.approx(right, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5), st.permutations((0, 1, 2)))
def test_exchange_is_its_own_adjoint(size, n, m, axes):
    """n images in parts become m features in parts; the way back is exchange with both axes exchanged."""
    axis_in, axis_out, other = axes

    def both(comm):
        shape = [0, 0, 0]
        shape[axis_in] = lengths(n, size)[comm.rank]
        shape[axis_out] = m
        shape[other] = 2
        x = ranks.draw(comm.rank, *shape, dtype=np.float64)
        y = comm.exchange(x, axis_out, axis_in, total=n)
        assert y.shape[axis_in] == n and y.shape[axis_out] == lengths(m, size)[comm.rank]
        assert np.array_equal(comm.exchange(y, axis_in, axis_out, total=m), x)
        g = ranks.draw(comm.rank, *y.shape, seed=1, dtype=np.float64)
        return np.sum(y * g), np.sum(x * comm.exchange(g, axis_in, axis_out, total=m))

    left, right = np.sum(on_ranks(size, both), axis=0)
    assert left == pytest.approx(right, abs=1e-12)


def test_flags_are_agreed_on_one_call_later():
    def flags(comm):
        first = comm.agree([int(comm.rank == 1), 0])
        return first, comm.agree([0, 0]), comm.agree([0, comm.rank]), comm.agree([0, 0], now=True)

    assert on_ranks(3, flags) == [([0, 0], [1, 0], [0, 0], [0, 2])] * 3


def test_one_process_is_the_case_of_one_rank():
    """Alone gives what one thread as the only rank gives; only `agree` answers at once."""
    alone = ranks.everything(Alone())
    (thread,) = on_ranks(1, ranks.everything)
    del alone["agree"], thread["agree"]
    assert alone == thread


def test_split_keeps_the_order_of_the_ranks():
    def rows(comm):
        column = comm.split(comm.rank % 2)
        return column.rank, column.size, column.collect(comm.rank)

    even, odd = [0, 2, 4], [1, 3]
    assert on_ranks(5, rows) == [(0, 3, even), (0, 2, odd), (1, 3, even), (1, 2, odd), (2, 3, even)]


# GPUs.


class HostNccl:
    """NCCL's part of cupy.cuda.nccl on host memory: groups of sends and receives between threads, by pointer and
    number of bytes."""

    NCCL_UINT8 = "uint8"

    def __init__(self, comm):
        self.comm = comm
        self.group = None

    def get_unique_id(self):
        return b"the ranks of this test"

    def NcclCommunicator(self, size, identity, rank):
        assert (size, identity, rank) == (self.comm.size, b"the ranks of this test", self.comm.rank)
        return self

    def groupStart(self):
        assert self.group is None
        self.group = {}, {}  # rank -> bytes to send; rank -> where to receive, and how many

    def destroy(self):
        """At the end of the process."""

    def send(self, pointer, count, kind, rank, stream):
        assert kind == "uint8" and stream == "stream"
        self.group[0][rank] = ctypes.string_at(pointer, count)

    def recv(self, pointer, count, kind, rank, stream):
        assert kind == "uint8" and stream == "stream"
        self.group[1][rank] = pointer, count

    def groupEnd(self):
        sent, wanted = self.group
        self.group = None
        everything = self.comm._show(sent, list)
        for rank, (pointer, count) in wanted.items():
            theirs = everything[rank][self.comm.rank]
            assert len(theirs) == count
            ctypes.memmove(pointer, theirs, count)


@pytest.mark.parametrize("size", (2, 3))
def test_nccl_gives_the_bits_of_the_host(size, monkeypatch):
    """Its sends and receives pair up for every method, with parts that are uneven or empty."""
    monkeypatch.setattr(nccl, "_pointer", lambda a: a.ctypes.data)
    monkeypatch.setattr(nccl, "_stream", lambda xp: "stream")
    monkeypatch.setattr(comm_module.Nccl, "split", lambda self, color: self.control.split(color))
    monkeypatch.setattr(comm_module.Nccl, "twin", lambda self: self.control.twin())

    def on_gpu(comm):
        return ranks.everything(comm_module.Nccl(HostNccl(comm), comm))

    assert on_ranks(size, on_gpu) == on_ranks(size, ranks.everything)


class Pinned(bytearray):
    """Page-locked memory."""


class Stream:
    """A stream: what it has waited for, and whether it is the current one of its thread."""

    current = threading.local()

    def __init__(self, non_blocking=False):
        assert non_blocking  # or it would wait for the backward pass
        self.waited = []

    def wait_event(self, event):
        assert event.recorded
        self.waited.append(event)

    def __enter__(self):
        self.current.stream = self

    def __exit__(self, *args):
        self.current.stream = None


class Event:
    """A point in a stream's work."""

    recorded = False

    def __init__(self, disable_timing):
        assert disable_timing

    def record(self, stream):
        self.recorded = True


@pytest.fixture
def device(monkeypatch):
    """The strict stand-in for a device is the current backend, with page-locked memory and streams. Yields the copies
    that were made, by their directions."""
    copies = []

    def get(array, out=None):
        if out is not None:
            assert isinstance(out.base, Pinned) and array.flags.c_contiguous
            out[...] = array._host
            copies.append("to host")
        return array._host.copy()

    def set_(array, values):
        assert values.flags.c_contiguous and array.flags.c_contiguous and values.shape == array.shape
        array._host[...] = values
        copies.append("to device")

    main = Stream(non_blocking=True)
    strict_array.install()
    monkeypatch.setattr(strict_array.StrictArray, "get", get)
    monkeypatch.setattr(strict_array.StrictArray, "set", set_, raising=False)
    monkeypatch.setattr(backend, "synchronize", lambda: copies.append("wait"))
    monkeypatch.setattr(strict_array.strict_xp, "cuda", SimpleNamespace(
        alloc_pinned_memory=Pinned, Stream=Stream, Event=Event,
        get_current_stream=lambda: getattr(Stream.current, "stream", None) or main), raising=False)
    backend.use("strict")
    yield copies
    backend.use("numpy")


@pytest.mark.parametrize("size", (1, 2, 3))
def test_arrays_of_a_shared_gpu_go_through_the_host(size, device):
    """Through page-locked memory, and that is not given back before the copy from it is done."""
    on_ranks(size, lambda comm: ranks.check_device(comm, Staged(comm)))
    assert device.count("to host") > 0 and device.count("to device") == device.count("wait") > 0


def test_steps_on_a_shared_gpu(device):
    """The test of test_gpu_ranks.py on the stand-in: it notices an array that was left on the host."""
    assert_steps_on_device()


def test_a_twin_works_on_a_stream_of_its_own(device):
    """Its work waits for the fence, and what comes after `join` for its work."""
    def body(comm):
        whole = Staged(comm)
        twin = whole.twin()
        fence = whole.fence()
        with twin.after(fence):
            assert strict_array.strict_xp.cuda.get_current_stream() is twin.side
            total = twin.sum(backend.asarray(np.array([comm.rank + 1.0])))
        twin.join()
        return twin.side.waited == [fence], backend.to_numpy(total).tolist()

    assert on_ranks(2, body) == [(True, [3.0])] * 2


@pytest.mark.parametrize(("gpus", "kind"), (([0, 0], None), ([2, 2], "nccl"), ([1, 1], "staged"), ([2, 1], "staged")))
def test_the_way_between_gpus_is_the_same_for_all(gpus, kind, monkeypatch):
    """Two ranks of a host that see so many GPUs. NCCL refuses two ranks on one, and all take one way."""
    monkeypatch.setattr(backend, "nccl", lambda: "nccl")
    monkeypatch.setattr(devices, "Nccl", lambda library, comm: library)
    monkeypatch.setattr(devices, "Staged", lambda comm: "staged")

    def way(comm):
        if comm.rank == 0:
            monkeypatch.setattr(backend, "devices", lambda: gpus[int(threading.current_thread().name[-1])])
        comm.collect(None)
        chosen = comm_module.between_devices(comm)
        return None if chosen is comm else chosen

    assert on_ranks(2, way) == [kind, kind]


# What goes wrong.


def test_a_part_of_the_wrong_size_is_refused():
    with pytest.raises(UsageError, match="rank . of 2 has 3 of 4 rows along axis 0, expected 2"):
        on_ranks(2, lambda comm: comm.gather(np.zeros((3, 2)), 0, total=4))
    with pytest.raises(UsageError, match="axis 1 twice"):
        on_ranks(2, lambda comm: comm.exchange(np.zeros((3, 2)), 1, -1))
    with pytest.raises(UsageError, match="not contiguous"):
        on_ranks(2, lambda comm: comm.sum(np.zeros((3, 2)).T))


def test_an_exception_of_one_rank_ends_all():
    def body(comm):
        if comm.rank == 1:
            raise ValueError("only here")
        comm.sum(np.zeros(3))

    with pytest.raises(ValueError, match="only here"):
        on_ranks(3, body)


def test_a_rank_that_does_not_come_is_noticed():
    """Two ranks in different orders, or a sum that one leaves out, end instead of hanging."""
    with pytest.raises(TimeoutError):
        Threads(2, timeout=0.2).run(lambda comm: comm.rank or comm.sum(np.zeros(3)))


def test_without_a_launcher_nothing_is_imported(monkeypatch):
    for name in (*comm_module.RANK_VARIABLES, *comm_module.SIZE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(comm_module.start(), Alone)


@pytest.mark.parametrize("variable", ("PMI_RANK", "SLURM_STEP_NUM_TASKS"))
def test_a_launcher_without_mpi4py_is_one_line(variable, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv(variable, "2")
    with pytest.raises(BackendError, match="mpi4py is not installed .*; pip install"):
        comm_module.start()


@pytest.mark.parametrize(("program", "variables", "library", "srun"), (
    ("ompi_info", {"PMI_RANK": "0", "PMI_SIZE": "2"}, "Open MPI", "pmix"),
    ("mpichversion", {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "0"}, "MPICH", "pmi2"),
))
def test_the_launcher_of_another_mpi_is_refused_before_mpi_starts(program, variables, library, srun, monkeypatch):
    """Afterwards it is too late for one line: MPICH ends the process, Open MPI prints a page."""
    launcher = importlib.import_module("minitorch_alex.comm.launcher")
    for name in (*comm_module.RANK_VARIABLES, *comm_module.SIZE_VARIABLES, "MPI4PY_MPIABI", "MPI4PY_LIBMPI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launcher, "_beside_python", lambda name: name if name in (program, "mpiexec") else None)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(BackendError) as error:
        comm_module.start()
    assert f"another MPI than mpi4py ({library})" in str(error.value) and f"srun --mpi={srun}" in str(error.value)
    monkeypatch.setenv("MPI4PY_LIBMPI", "libmpi.so")  # the user's choice of a library: no guess
    with pytest.raises(BackendError, match="mpi4py is not installed"):
        comm_module.start()


def test_results_do_not_depend_on_the_chunks():
    whole = on_ranks(3, ranks.everything)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interface, "CHUNK", 64)
        patch.setattr(interface, "LEAST_PIECE", 4)
        assert on_ranks(3, ranks.everything) == whole


