"""The threads that share a batch: they agree, they survive misuse, and they leave BLAS as they
found it."""
import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import minitorch_alex as mt
from minitorch_alex import streams
from minitorch_alex.errors import UsageError
from minitorch_alex.kernels import cpu, workers
from minitorch_alex.kernels.cpu import blocks
from minitorch_alex.kernels.window import Window


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    monkeypatch.setattr(blocks, "GRAIN", 1)  # or these small convolutions would not be shared
    before = workers.get_threads()
    workers.set_threads(4)
    yield
    workers.set_threads(before)


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def convolve(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 6, 6, 3))
    w = rng.standard_normal((4, 3, 3, 3))
    return cpu.conv2d(x, w, None, Window.of(3, padding=1), 1)


def test_every_piece_is_done_once_whatever_the_total():
    for total in (0, 1, 2, 7, 8, 9, 100):
        done = np.zeros(total, int)
        workers.parallel_for(total, lambda start, stop, done=done: np.add.at(done, slice(start, stop), 1))
        assert (done == 1).all()
        assert all(stop - start >= min(3, total) for start, stop in workers.pieces(total, 3))


def test_blas_has_one_thread_inside_and_what_it_had_outside():
    before = blas_threads()
    inside = []
    workers.parallel_for(8, lambda start, stop: inside.append(blas_threads()))
    assert all(n == 1 for threads in inside for n in threads)
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError):
        workers.parallel_for(8, lambda start, stop: 1 // 0)
    assert blas_threads() == before


def test_blas_has_one_thread_inside_whoever_set_it_first():
    """threadpoolctl listens to the thread that set OpenBLAS first, as long as that one lives."""
    workers.parallel_for(8, lambda start, stop: None)
    before = blas_threads()
    inside = []
    outside = []

    def second():
        workers.parallel_for(8, lambda start, stop: inside.append(blas_threads()))
        outside.append(blas_threads())

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert inside and all(n == 1 for threads in inside for n in threads)
    assert outside == [before]


def test_an_exception_in_any_piece_reaches_the_caller_after_all_have_stopped():
    running = []

    def body(start, stop):
        running.append(start)
        if start:
            raise ValueError(f"piece {start}")
        running.remove(start)

    with pytest.raises(ValueError, match="piece"):
        workers.parallel_for(8, body)
    assert threading.active_count() < 50


def test_a_body_may_call_the_kernels_again():
    expected = convolve()
    got = []
    workers.parallel_for(4, lambda start, stop: got.append(convolve()))
    assert all((y == expected).all() for y in got)


def test_two_threads_and_a_third_that_changes_the_count_disturb_nobody():
    expected = convolve()
    failures = []
    stop = threading.Event()

    def work():
        while not stop.is_set():
            try:
                if not np.allclose(convolve(), expected, atol=1e-12):
                    failures.append("wrong result")
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(200):
        workers.set_threads(1 + i % 4)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    expected = convolve()
    child = os.fork()
    if child == 0:  # no assertion and no exit handler of pytest here: only the exit code comes back
        os._exit(0 if (convolve() == expected).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_dropout_in_two_threads_follows_each_ones_own_steps():
    mt.manual_seed(3)

    def masks(results, name):
        keys = []
        for step in range(50):
            streams.set_step(step)
            keys += [streams.next_dropout_key(), streams.next_dropout_key()]
        results[name] = keys

    results = {}
    threads = [threading.Thread(target=masks, args=(results, name)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    masks(results, "here")
    assert results["a"] == results["b"] == results["here"] and len(set(results["here"])) == 100


def test_a_count_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1, got 0"):
        workers.set_threads(0)
