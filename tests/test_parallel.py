"""Training on several ranks: the same images, masks and sums as in one process. Ranks are threads here; processes
are in test_mpi.py."""
import copy
import json
import os
import threading

import numpy as np
import pytest
from checks.parallel import steps_of

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import nn, train
from minitorch_alex import parallel as parallel_module
from minitorch_alex.comm import Alone, Threads, part
from minitorch_alex.errors import UsageError
from minitorch_alex.optim import LARS, SGD
from minitorch_alex.parallel import DataParallel
from minitorch_alex.tensor import Tensor
from minitorch_alex.training import checkpoint, cli, ranks, runs, settings


@pytest.mark.parametrize("shape", ((7, 5), (7, 3, 4, 4)))
def test_an_image_has_its_dropout_mask_in_any_part_of_the_batch(shape):
    x = Tensor(np.ones(shape, np.float32))
    mt.manual_seed(3)
    mt.set_step(11)
    whole = [F.dropout(x).data, F.dropout(x).data]
    for first, stop in ((0, 7), (0, 3), (3, 4), (4, 7), (7, 7)):
        mt.set_step(11, first)
        own = Tensor(x.data[first:stop])
        for mask in whole:
            assert np.array_equal(F.dropout(own).data, mask[first:stop])
    mt.set_step(11)  # the next step begins with the whole batch again
    assert np.array_equal(F.dropout(x).data, whole[0])
    assert not np.array_equal(whole[0], whole[1])


def test_the_processors_of_a_host_are_divided(monkeypatch):
    """Among the ranks that may use the same ones: Open MPI gives each rank a processor of its own."""
    hosts = ["a", "a", "b", "c", "c"]
    cpus = [{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1}, {0}, {1}]
    own = threading.local()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: own.cpus, raising=False)
    monkeypatch.setattr(ranks.launching, "available_cpus", lambda: len(own.cpus))

    def body(comm):
        comm.host = hosts[comm.rank]
        own.cpus = cpus[comm.rank]
        return ranks.threads_per_rank(comm)

    assert Threads(5).run(body) == [2, 2, 2, 1, 1]


# Whole trainings.

NET = ["-a", "alexnet_cifar", "--set", "channels=(8,8,8,8,8)", "--set", "hidden=(16,16)", "--data", "shapes",
       "--limit", "21", "-b", "10", "--epochs", "2", "--print-freq", "1", "--threads", "1"]


@pytest.fixture
def training(tmp_path, monkeypatch, capsys):
    """training(P, name, *flags) trains on P threads as ranks, with few images to validate and test: (arrays, log rows)
    of the run. 21 images in batches of 10 leave a last batch of 1, in which most ranks have none."""
    monkeypatch.chdir(tmp_path)
    load = runs.load_data
    monkeypatch.setattr(runs, "load_data", lambda *args, **more: shorter(load(*args, **more)))

    def shorter(split):
        return runs.Split(split.train, split.val.subset(slice(30)), split.test.subset(slice(251)))

    monkeypatch.setattr(train.plots, "curves", lambda *args: None)  # takes longer than the training

    def run(size, name, *flags):
        args = settings.parse([*NET, *flags] if "--resume" not in flags else flags)

        def rank(comm):
            monkeypatch.setattr(ranks, "start", lambda timeout, version: by_thread[threading.get_ident()])
            by_thread[threading.get_ident()] = comm
            return train.run(copy.deepcopy(args[0]), args[1])

        by_thread = {}
        args[0].name = name
        with cli.guest_of_process():  # the number of threads is that of the test again afterwards
            codes = Threads(size, timeout=60).run(rank)
        assert codes == [codes[0]] * size
        directory = tmp_path / "runs" / name
        arrays, _ = checkpoint.load(directory / "checkpoint.safetensors")
        return arrays, [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]

    return run


def losses(rows):
    return [[row.get(name) for name in ("loss", "error", "lr", "val_loss", "val_error", "test_loss")] for row in rows]


def same_bytes(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("size", (2, 3))
def test_several_ranks_train_as_one_process_does(training, size):
    alone, alone_rows = training(1, "alone")
    several, rows = training(size, "several")
    for name, weights in alone.items():
        np.testing.assert_allclose(several[name], weights, atol=1e-4 * max(abs(weights).max(), 1e-3), err_msg=name)
    assert len(rows) == len(alone_rows)
    for ours, theirs in zip(losses(rows), losses(alone_rows), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    again, _ = training(size, "again")
    assert same_bytes(several, again)


def test_shards_give_the_same_bytes_on_any_number_of_ranks(training):
    one, rows = training(1, "one", "--shards", "4")
    for size in (2, 4):
        arrays, others = training(size, f"on{size}", "--shards", "4")
        assert same_bytes(arrays, one)
        assert losses(others) == losses(rows)


def test_a_run_in_shards_is_resumed_on_another_number_of_ranks(training, capsys):
    whole, _ = training(1, "whole", "--shards", "2")
    training(2, "cut", "--shards", "2", "--epochs", "1")
    capsys.readouterr()
    resumed, _ = training(1, "cut", "--resume", "runs/cut", "--epochs", "2")
    assert same_bytes(resumed, whole)
    assert "the run had 2; with 1 it goes on with the same images and masks, the same bytes" in capsys.readouterr().out


NORMS = ["--set", "after=('bn relu pool','bn relu pool','relu','relu','relu pool')"]


@pytest.mark.parametrize("size", (2, 3))
def test_batch_normalisation_has_the_statistics_of_all_images(training, size):
    """Running statistics too; with a last batch of 1, in which the others have no images and take part."""
    alone, alone_rows = training(1, "alone", *NORMS)
    several, rows = training(size, "several", *NORMS)
    assert any("running_var" in name for name in several)
    for name, weights in alone.items():
        np.testing.assert_allclose(several[name], weights, atol=1e-3 * max(abs(weights).max(), 1e-3), err_msg=name)
    for ours, theirs in zip(losses(rows)[:3], losses(alone_rows)[:3], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_classes_count_alike_over_all_images(training):
    """Their weights are those of the whole data set: on ranks the numbers of one process, in shards the same bytes."""
    flags = ["--set", "class_weights=balanced", "--epochs", "1"]
    alone, alone_rows = training(1, "alone", *flags)
    several, rows = training(3, "several", *flags)
    for name, weights in alone.items():
        np.testing.assert_allclose(several[name], weights, atol=1e-4 * max(abs(weights).max(), 1e-3), err_msg=name)
    for ours, theirs in zip(losses(rows), losses(alone_rows), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    plain, _ = training(1, "plain", "--epochs", "1")
    assert not same_bytes(plain, alone)
    one, _ = training(1, "one", *flags, "--shards", "2")
    two, _ = training(2, "two", *flags, "--shards", "2")
    assert same_bytes(one, two)


def test_the_linear_rule_is_about_the_batch_of_all_ranks(training, capsys):
    for size in (1, 2):
        training(size, f"on{size}", "--epochs", "1")
        assert "lr 0.01 is for batches of 128; for 10 the linear rule gives --lr 0.000781" in capsys.readouterr().out


@pytest.mark.parametrize(("size", "flags", "text"), (
    (1, ["--shards", "3"], "--shards 3 is not a power of two"),
    (3, ["--shards", "4"], "--shards 4 cannot be shared by 3 ranks"),
    (2, [*NORMS, "--shards", "2"], "leave --shards out"),
    (1, [*NORMS, "--shards", "2"], "leave --shards out"),
))
def test_what_cannot_be_exact_is_refused(training, size, flags, text):
    with pytest.raises(UsageError, match=text):
        training(size, "refused", *flags)


# The sum beside the backward pass.


@pytest.mark.parametrize("size", (2, 3, 7))
@pytest.mark.parametrize("bucket", (1, 100, 2**24))
def test_overlapped_sums_change_no_bit(size, bucket, monkeypatch):
    """In buckets of one parameter, of a few, and one of all; with 7 ranks two have no image."""
    monkeypatch.setattr(parallel_module, "BUCKET", bucket)
    plain = Threads(size).run(steps_of)
    overlapped = Threads(size).run(lambda comm: steps_of(comm, overlap=True))
    for weights in (*plain, *overlapped):
        assert np.array_equal(weights, plain[0])
    alone = steps_of(Alone(), overlap=True)
    np.testing.assert_allclose(plain[0], alone, atol=1e-6)


def normalised_steps(comm, overlap):
    """Weights and running statistics after four steps of a net with batch normalisation on batches of 2."""
    mt.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4),
                        nn.Flatten(), nn.Linear(64, 3))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d) and comm.size > 1:
            layer.ranks = comm
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    parallel = DataParallel(optimizer, comm, overlap=overlap)
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
        labels = rng.integers(0, 3, 2)
        own = part(2, comm.rank, comm.size)
        n = own.stop - own.start
        logits = net(Tensor(x[own]))
        parallel.add(F.cross_entropy(logits, labels[own]) if n else logits.sum(), n / 2)
        parallel.update()
    parallel.close()
    return np.concatenate([optimizer.flat, *(buffer.data for _, buffer in net.named_buffers())])


@pytest.mark.parametrize("size", (2, 3))
def test_statistics_cross_while_gradients_do(size, monkeypatch):
    """Two threads of a rank exchange at a time, each by ranks of its own; with 3 ranks one has no image."""
    monkeypatch.setattr(parallel_module, "BUCKET", 1)
    alone = normalised_steps(Alone(), overlap=False)
    plain = Threads(size).run(lambda comm: normalised_steps(comm, overlap=False))
    for state in (*plain, *Threads(size).run(lambda comm: normalised_steps(comm, overlap=True))):
        assert np.array_equal(state, plain[0])
    np.testing.assert_allclose(plain[0], alone, atol=1e-5)


def test_lars_is_updated_whole():
    """It asks for the length of each layer's gradient, which no part of it has."""
    def weights(comm):
        layer = nn.Linear(6, 3, bias=False)
        layer.weight.data[...] = np.arange(18, dtype=np.float32).reshape(3, 6) / 18
        parallel = DataParallel(LARS(layer.parameters(), lr=0.1), comm)
        own = part(4, comm.rank, comm.size)
        x = np.arange(24, dtype=np.float32).reshape(4, 6) / 24
        loss = F.cross_entropy(layer(Tensor(x[own])), np.array([0, 1, 2, 0])[own])
        parallel.add(loss, (own.stop - own.start) / 4)
        parallel.update()
        return layer.weight.data

    alone = weights(Alone())
    for several in Threads(2).run(weights):
        np.testing.assert_allclose(several, alone, atol=1e-7)
