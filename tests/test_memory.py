"""Memory that a step frees: reused by the next one, bounded, given back; and two models in one
process."""
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import models, optim, streams
from minitorch_alex.data import Loader, make_shapes
from minitorch_alex.kernels import memory

glibc = pytest.mark.skipif(memory._libc is None, reason="speaks to glibc of 2.33 or newer")

PRELUDE = """
    import gc
    gc.disable()  # what is freed is freed by leaving scope: the graph holds no cycles
    import numpy as np
    import minitorch_alex as mt
    from minitorch_alex import functional as F, kernels, models, optim

    def resident():
        with open("/proc/self/status") as status:
            return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024

    def train(batches, after=lambda: None):
        '''Resident megabytes after each step on a batch of that size.'''
        net = models.build("alexnet_cifar")
        optimizer, seen = optim.SGD(net.parameters(), lr=1e-3, momentum=0.9), []
        for n in batches:
            x = mt.Tensor(np.ones((n, 3, 32, 32), np.float32))
            optimizer.zero_grad()
            F.cross_entropy(net(x), np.zeros(n, int)).backward()
            optimizer.step()
            after()
            seen.append(resident())
        return seen

    train([4])
    kernels.release_memory()
    before = resident()
"""


def run(script):
    """Run the script in a process of its own, so that nobody else's memory counts; its prints, as
    floats."""
    source = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@glibc
def test_steps_reuse_memory_whatever_their_shapes_and_leave_nothing_behind():
    before, small, steady, last, after = run("""
        kernels.keep_freed_memory()
        small = train([48] * 2)[-1]
        seen = train([48, 16, 48, 48, 7, 48] * 4)
        kernels.release_memory()
        print(before, small, seen[5], seen[-1], resident())
    """)
    assert small > before + 30, "the steps took no memory: the test measures nothing"
    assert steady < small + 15, "a batch of another size took memory of its own"
    assert last < steady + 2, f"memory grew from {steady} to {last} MB within an epoch"
    assert after < before + 15, f"{after - before} MB were kept after the model was gone"


@glibc
def test_freed_memory_is_bounded_when_asked_and_gone_when_not():
    before, bounded, everything = run("""
        kernels.keep_freed_memory()
        bounded = train([64] * 4, after=lambda: kernels.release_memory(20 << 20))
        everything = train([64] * 4)
        print(before, max(bounded), everything[-1])
    """)
    assert bounded < everything - 30, f"with a bound {bounded} MB, without {everything} MB"
    before, after = run("""
        train([64] * 3)
        print(before, resident())
    """)
    assert after < before + 80, "the library keeps memory without being asked"


def test_on_another_system_it_says_that_it_did_nothing(monkeypatch):
    monkeypatch.setattr(memory, "_libc", None)
    assert memory.keep_freed_memory() is False
    assert memory.release_memory() is False
    assert memory.freed_memory() == 0


def losses(name, steps=6):
    """The losses of a short training, batches from a loader that prepares them in a thread."""
    streams.set_step(0)
    net = models.build(name)
    rng = np.random.default_rng(0)
    for parameter in net.parameters():  # not from the global stream, which two threads would share
        parameter.data[...] = rng.standard_normal(parameter.shape) * 0.05
    optimizer = optim.SGD(net.parameters(), lr=1e-3)
    data = make_shapes(steps * 8, net.image_size)
    result = []
    for step, (images, labels) in enumerate(Loader(data, 8).epoch(0)):
        streams.set_step(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(mt.Tensor(images / 255)), labels)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


def test_two_models_in_two_threads_with_prefetching_loaders_get_what_each_gets_alone():
    mt.manual_seed(0)
    names = ("alexnet_cifar", "quick_26")
    together = {}
    alone = {name: losses(name) for name in names}

    def work(name):
        together[name] = losses(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert all(len(set(values)) == 6 and np.isfinite(values).all() for values in alone.values())
