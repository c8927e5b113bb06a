"""Damaged and hostile weights: .pth and safetensors files and checkpoints, mutated at random with fixed seeds.

Each mutant is read rightly or refused by a RunError of one line; nothing in it runs, and reading it takes no more
memory than a few times what the whole file claims. A few hundred run with the tests (test_weights.py); by hand, as
many as one likes:

    python tests/fuzz_weights.py SEED COUNT
"""
import io
import os
import pickle
import random
import struct
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy

from minitorch_alex import nn
from minitorch_alex.errors import RunError
from minitorch_alex.training import checkpoint, weights

MEMORY = 24 << 20  # bytes; the files are of some kilobytes, and a directory may say so of the wrong entry
STATE = {"0.weight": np.arange(12, dtype="<f4").reshape(3, 4), "0.bias": np.arange(3, dtype="<f4"),
         "1.weight": np.ones((2, 3), "<f4"), "1.bias": np.zeros(2, "<f4")}
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
         1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def integer(i):
    return b"J" + struct.pack("<i", i)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def program(state=STATE):
    """The data.pkl that torch.save writes for a state_dict, by hand."""
    parts = [b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("]
    for i, (name, array) in enumerate(state.items()):
        strides = [s // array.itemsize for s in array.strides]
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\nq\x02" + text(str(i)) + text("cpu") + \
            integer(array.size) + b"tQ"
        shape = b"(" + b"".join(map(integer, array.shape)) + b"t"
        steps = b"(" + b"".join(map(integer, strides)) + b"t"
        parts.append(text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(0) + shape + steps +
                     b"\x89ccollections\nOrderedDict\n)RtR")
    return b"".join([*parts, b"u."])


def pth(code=None, state=STATE, compression=zipfile.ZIP_STORED, padding=0):
    """The bytes of a .pth file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("w/data.pkl", program() if code is None else code)
        archive.writestr("w/byteorder", "little")
        for i, array in enumerate(state.values()):
            archive.writestr(f"w/data/{i}", array.tobytes() + bytes(padding))
        archive.writestr("w/version", "3\n")
    return file.getvalue()


def checkpoint_bytes():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.safetensors"
        arrays = {f"model.{name}": array for name, array in STATE.items()}
        checkpoint.save(path, arrays | {"optim.velocity": np.zeros(23, np.float32)}, {"epoch": 3})
        return path.read_bytes()


def mutated(rng, content):
    """The content with one to four changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data))
        kind = rng.randrange(8)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice((2, 4, 8))
            value = rng.choice(EDGES) & ((1 << 8 * size) - 1)
            data[at:at + size] = value.to_bytes(size, "little")
        elif kind == 3:
            del data[at:at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            source = rng.randrange(len(data))
            part = data[source:source + rng.randrange(1, 60)]
            data[at:at + len(part)] = part
        else:  # the end of an archive, and the fields of its directory
            at = max(0, len(data) - rng.randrange(1, 120))
            data[at:at + 4] = struct.pack("<I", rng.choice(EDGES) & 0xFFFFFFFF)
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


class Hostile:
    """A pickle that would leave a trace in the file system if anything of it ran."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def hostile(rng, trace):
    """A program that makes a folder, if it runs, at a random place of a good one."""
    call = rng.choice((os.mkdir, os.system, eval, exec, print, io.open))
    argument = {os.system: f"mkdir {trace}", os.mkdir: trace, io.open: trace}.get(call, f"open({trace!r}, 'w')")
    bad = pickle.dumps(Hostile(call, argument, "w") if call is io.open else Hostile(call, argument),
                       rng.choice((0, 2, 4)))
    good = program()
    cut = rng.choice((0, good.index(b"("), len(good) - 1))
    body = bad[2:-1] if bad[:1] == b"\x80" else bad[:-1]
    return b"\x80\x04" + good[2:cut] + body + good[cut:] if cut else bad


def make(rng, trace):
    """(name of the kind, bytes, reader) of one mutant."""
    kind = rng.choice(("pth", "pth", "deflated", "program", "program", "hostile", "safetensors", "checkpoint", "edges"))
    if kind == "pth":
        return kind, mutated(rng, pth())
    if kind == "deflated":
        return kind, mutated(rng, pth(compression=zipfile.ZIP_DEFLATED, padding=rng.choice((0, 0, 1 << 20))))
    if kind == "program":
        return kind, pth(mutated(rng, program()))
    if kind == "hostile":
        code = hostile(rng, trace)
        return kind, pth(code if rng.random() < 0.5 else mutated(rng, code))
    if kind == "safetensors":
        return kind, mutated(rng, safetensors.numpy.save(STATE))
    if kind == "checkpoint":
        return kind, mutated(rng, CHECKPOINT)
    code = bytearray(program())  # numbers of a good program, replaced by others
    places = [i for i, byte in enumerate(code) if byte == ord("J")]
    for at in rng.sample(places, 2):
        code[at + 1:at + 5] = struct.pack("<I", rng.choice(EDGES) & 0xFFFFFFFF)
    return kind, pth(bytes(code))


CHECKPOINT = checkpoint_bytes()


def check_one(rng, folder):
    """Read one mutant. Returns "read" or "refused"; raises AssertionError with what went wrong."""
    trace = str(folder / "executed")
    kind, content = make(rng, trace)
    path = folder / "mutant"
    path.write_bytes(content)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        if kind == "checkpoint" and rng.random() < 0.5:
            arrays, meta = checkpoint.load(path)
            assert meta == {"epoch": 3} and (arrays["model.0.bias"] == STATE["0.bias"]).all(), "wrong checkpoint"
        else:
            state = weights.read(path)
            assert all(isinstance(array, np.ndarray) for array in state.values())
            if kind in ("pth", "deflated"):  # their checksums leave nothing else
                assert state.keys() == STATE.keys(), state.keys()
                assert all((state[name] == array).all() for name, array in STATE.items()), "wrong numbers"
            weights.load_into(model, path)
        outcome = "read"
    except RunError as error:
        message = str(error)
        assert message.startswith(("cannot read", str(path))) and len(message.splitlines()) == 1, repr(message)
        assert error.exit_code == 6
        outcome = "refused"
    peak = tracemalloc.get_traced_memory()[1] - before
    assert peak < MEMORY, f"{peak:,} bytes for a file of {len(content):,}"
    assert not os.path.exists(trace), "something ran"
    return outcome


def fuzz(seed, count):
    """{"read": how many, "refused": how many} of `count` mutants."""
    outcomes = {"read": 0, "refused": 0}
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for i in range(count):
                rng = random.Random(f"{seed}, {i}")
                try:
                    outcomes[check_one(rng, Path(folder))] += 1
                except Exception as error:
                    raise AssertionError(f"mutant {i} of seed {seed}: {type(error).__name__}: {error}") from error
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return outcomes


if __name__ == "__main__":
    print(fuzz(int(sys.argv[1]), int(sys.argv[2])))
