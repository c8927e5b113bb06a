"""What the ranks of a small job compute, whichever kind of Comm they have: run by threads in test_comm.py, and by
mpiexec in test_mpi.py, where this file is the program and prints a digest of each result as JSON."""
import hashlib
import json
import sys

import numpy as np

from minitorch_alex import backend
from minitorch_alex import comm as comm_module
from minitorch_alex.comm import Comm, interface, lengths, part


def digest(array):
    array = np.ascontiguousarray(array)
    return hashlib.sha256(repr((array.dtype.str, array.shape)).encode() + array.tobytes()).hexdigest()[:16]


def draw(rank, *shape, seed=0, dtype=np.float32):
    """Numbers that each rank can draw for every other."""
    return np.random.default_rng([seed, rank]).standard_normal(shape).astype(dtype)


def everything(comm: Comm):
    """{name: a result of each method} on this rank."""
    results = {"rank": comm.rank, "size": comm.size}
    for n in (0, 1, 5, 17, 1000, 1001):  # 17: parts of 8 and 9, in stretches of 8
        results[f"sum {n}"] = digest(comm.sum(draw(comm.rank, n)))
        results[f"scatter_sum {n}"] = digest(comm.scatter_sum(draw(comm.rank, n)))
    for axis in (0, 1, -1):
        results[f"gather {axis}"] = digest(comm.gather(draw(comm.rank, 2, 3, 4), axis))
        results[f"scatter_sum {axis}"] = digest(comm.scatter_sum(draw(comm.rank, 5, 6, 7), axis))
        uneven = [2, 3, 4]
        uneven[axis] = lengths(5, comm.size)[comm.rank]
        results[f"gather uneven {axis}"] = digest(comm.gather(draw(comm.rank, *uneven), axis, total=5))
    for out_axis, in_axis in ((0, 1), (1, 0), (2, 1)):
        shape = [3, 4, 5]
        shape[in_axis] = lengths(7, comm.size)[comm.rank]
        results[f"exchange {out_axis} {in_axis}"] = digest(comm.exchange(draw(comm.rank, *shape), out_axis, in_axis, 7))
    whole = np.zeros((5, 3), np.float32)
    own = part(5, comm.rank, comm.size)
    whole[own] = draw(comm.rank, own.stop - own.start, 3)
    results["gather in place"] = digest(comm.gather(whole[own], total=5, out=whole))
    flat = draw(comm.rank, 1001)
    own = part(1001, comm.rank, comm.size)
    comm.scatter_sum(flat, out=flat[own])
    results["scatter_sum in place"] = digest(flat[own])
    results["broadcast"] = comm.broadcast({"a": [1, 2.5, None, "\u00fc"]} if comm.rank == 0 else None)
    last = comm.size - 1
    array = draw(7, 3, 4, dtype=np.float64)
    results["broadcast array"] = digest(comm.broadcast(array if comm.rank == last else None, root=last))
    results["collect"] = comm.collect({"rank": comm.rank, "text": "x" * comm.rank})
    results["agree"] = [comm.agree([comm.rank, 0]), comm.agree([0, 0]), comm.agree([0, comm.rank], now=True),
                        comm.agree([0, 0])]
    half = comm.split(comm.rank % 2)
    results["split"] = [half.rank, half.size, digest(half.sum(draw(comm.rank, 10)))]
    results["twin"] = digest(comm.twin().sum(draw(comm.rank, 10)))
    return results


def check_device(comm: Comm, device: Comm):
    """Each method of `device`, the same ranks with arrays of the current backend, gives the bits that `comm` gives of
    arrays in host memory; with parts that are uneven or empty."""
    for n in (0, 1, 1001):
        a = draw(comm.rank, n)
        for name in ("sum", "scatter_sum"):
            same(getattr(device, name)(backend.asarray(a)), getattr(comm, name)(a.copy()), f"{name} of {n}")
        whole = backend.asarray(a)
        own = part(n, comm.rank, comm.size)
        device.scatter_sum(whole, out=whole[own])
        same(whole[own], comm.scatter_sum(a), f"scatter_sum of {n} in place")
        device.gather(whole[own], total=n, out=whole)
        same(whole, comm.sum(a.copy()), f"gather of {n} in place")
    for axis in (0, 1, 2):
        shape = [3, 4, 5]
        shape[axis] = lengths(5, comm.size)[comm.rank]
        a = draw(comm.rank, *shape)
        same(device.gather(backend.asarray(a), axis, 5), comm.gather(a, axis, 5), f"gather along {axis}")
        a = draw(comm.rank, 3, 4, 5)
        same(device.scatter_sum(backend.asarray(a), axis), comm.scatter_sum(a.copy(), axis), f"scatter_sum {axis}")
        other = (axis + 1) % 3
        same(device.exchange(backend.asarray(a), axis, other), comm.exchange(a, axis, other), f"exchange {axis}")
    assert device.collect(comm.rank) == list(range(comm.size)) and device.broadcast([comm.rank]) == [0]
    half = device.split(comm.rank % 2)
    same(half.sum(backend.asarray(draw(comm.rank, 10))), comm.split(comm.rank % 2).sum(draw(comm.rank, 10)), "split")


def same(array, expected, what):
    assert np.array_equal(backend.to_numpy(array), expected), what


def main():
    if len(sys.argv) > 1:
        interface.CHUNK = int(sys.argv[1])
        interface.LEAST_PIECE = 4
    comm = comm_module.start(timeout=20)
    rows = comm.collect(everything(comm))
    if comm.rank == 0:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
