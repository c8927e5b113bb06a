"""What a training step costs on a GPU, on paper: launches, bytes and operations, counted on arrays
without numbers.

The bounds are the counts of the form that was measured first (commit ccd9381, whose times are in
results/gpu_kernels_before.json): what an optimisation claims to save, it must save here.
"""
from types import SimpleNamespace

import numpy as np
import pytest
import shape_array
import shared_passes
from shape_array import Account

import minitorch_alex.functional as F
from benchmarks import nets
from benchmarks.workloads import GPU_WORKLOADS
from minitorch_alex import models, profile
from minitorch_alex.kernels import gpu
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.tensor import Tensor

BATCH = 128
# precision -> launches, products and copies of a step before; 10^9 bytes
BEFORE = {"tf32": (189, 22.6), "fp16": (389, 20.6)}
LARGE = 140 * 10**9  # bytes of a GPU that keeps all columns
SMALL = 8 * 10**9    # and of one that keeps few

pytestmark = pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0",
                                reason="needs reshape(copy=False)")


@pytest.fixture
def step(monkeypatch):
    """step(precision, memory, batch): the account of a training step of the paper's net, after a
    first one; the most bytes that were alive; and what the line "memory" of a training would have
    said."""
    def run(precision="tf32", memory=LARGE, batch=BATCH):
        with shape_array.installed(monkeypatch, precision, memory) as account:
            model = AlexNet(AlexNetConfig.paper(num_classes=1000).blank()).train()
            optimizer = models.build_optimizer(model, model.recipe)
            x = Tensor(shape_array.empty((batch, 224, 224, 3), np.float32).transpose(0, 3, 1, 2))
            labels = shape_array.empty(batch, np.int64)

            def once():
                optimizer.zero_grad()
                F.cross_entropy(model(x), labels).backward()
                optimizer.step()

            once()
            account.work.clear()
            once()
            done = SimpleNamespace(account=Account(list(account.work)), peak=account.peak)
            done.estimate = profile.step_bytes(model, batch)
        return done

    return run


def kernels(account):
    """How often each kernel is launched."""
    names = [work.name for work in account.work if work.kind == "kernel"]
    return {name: names.count(name) for name in names}


def gigabytes(account, name):
    return sum(work.bytes for work in account.work if work.name == name) / 1e9


@pytest.mark.parametrize("precision", BEFORE)
def test_a_step_has_fewer_launches_and_moves_fewer_bytes_than_before(step, precision):
    account = step(precision).account
    launches, n_bytes = BEFORE[precision]
    assert account.number() < 0.75 * launches
    assert account.sum("bytes") < 0.88e9 * n_bytes


def test_layers_share_passes(step):
    """Compared with each layer for itself: a launch less for each bias with its ReLU, for each ReLU behind which LRN
    or a pool stands, and for each gradient that is written into its place; and so many bytes less."""
    shared = step("tf32").account
    with shared_passes.one_by_one():
        apart = step("tf32").account
    before = kernels(apart)
    after = kernels(shared)
    # conv1 to conv5, fc6 and fc7 have a ReLU; fc8 has a bias alone.
    assert (before["add_bias"], before["relu"], before["relu_backward"]) == (8, 7, 7)
    assert (after["add_bias"], after["bias_relu"], after["relu_backward"]) == (1, 7, 4)
    assert "relu" not in after and "bias_relu" not in before
    weights = 4 * (9216 * 4096 + 4096 * 4096 + 4096 * 1000)  # bytes of fc6 to fc8
    assert apart.number("copy") - shared.number("copy") == 3 + 8  # their gradients, and those of all biases
    assert apart.sum("bytes", "copy") - shared.sum("bytes", "copy") == pytest.approx(2 * weights, rel=0.001)
    outputs = [55 * 55 * 96, 27 * 27 * 256, 13 * 13 * 384, 13 * 13 * 384, 13 * 13 * 256, 4096, 4096]
    gated = outputs[0] + outputs[1] + outputs[4]
    # One pass reads and writes an output; a gate reads the gradient and the output and writes.
    passes = 4 * BATCH * (2 * sum(outputs) + 3 * gated)
    assert apart.sum("bytes", "kernel") - shared.sum("bytes", "kernel") == pytest.approx(passes, rel=0.001)
    assert apart.number() - shared.number() == 7 + 3 + 11


def test_the_operations_are_those_of_the_formula(step):
    """Nothing is multiplied twice: all that exceeds the formula are the zeros at the ends of the
    rows of conv1."""
    formula = BATCH * nets.step_flops(GPU_WORKLOADS["alexnet-b128"])
    conv1 = 2 * 2 * BATCH * 55 * 55 * 96 * (368 - 363)  # forward and the weights' gradient
    assert step().account.sum("operations") == formula + conv1


def test_columns_that_are_kept_are_not_gathered_again(step):
    """One im2col per group of each convolution, all in one chunk; with little memory conv1 and
    conv2 gather theirs once more."""
    kept = step(memory=LARGE).account
    not_kept = step(memory=SMALL).account
    assert kernels(kept)["im2col"] == 8  # groups: 1, 2, 1, 2, 2
    assert kernels(not_kept)["im2col"] > 8
    # What is gathered again is written, and then read by the product as before.
    again = gigabytes(not_kept, "im2col") - gigabytes(kept, "im2col")
    columns = 55 * 55 * 368 + 27 * 27 * 2400
    images = 224 * 224 * 3 + 2 * 27 * 27 * 96
    assert again == pytest.approx(4e-9 * BATCH * (columns + images), rel=0.05)


def test_products_go_straight_into_their_place(step):
    """Groups read their part of the output's gradient and write their part of the output: no
    copies of activations. What the array module copies are weights, and gradients of weights on
    their way into the flat array."""
    account = step().account
    assert account.sum("bytes", "copy") < 4 * 2.2 * 62.4e6
    assert account.number("product") == 3 * (8 + 3) - 1  # the image has no gradient
    assert max(work.bytes for work in account.work if work.kind == "copy") <= 2 * 4 * 9216 * 4096


@pytest.mark.parametrize("precision, kernel", (("fp16", "to_half"), ("bf16", "to_bf16")))
def test_each_factor_is_rounded_once(step, precision, kernel):
    """Input, weight and output's gradient of five convolutions and three linear layers."""
    launched = kernels(step(precision).account)
    assert launched[kernel] == 3 * 8
    assert ("largest" in launched) is ("scale_back" in launched) is (precision == "fp16")


def test_half_precision_halves_the_bytes_of_the_columns(step):
    full = step("tf32").account
    half = step("fp16").account
    brain = step("bf16").account
    assert half.sum("bytes", "product") < 0.7 * full.sum("bytes", "product")
    assert half.sum("bytes", "product") == brain.sum("bytes", "product")
    assert gigabytes(half, "im2col") == pytest.approx(gigabytes(full, "im2col") / 2)
    assert brain.number() == full.number() + 3 * 8, "bf16 costs one launch per factor"
    assert brain.sum("bytes") < half.sum("bytes") < full.sum("bytes")


# memory


@pytest.mark.parametrize("precision, memory, batch", (
    ("tf32", LARGE, 128), ("tf32", LARGE, 256), ("tf32", SMALL, 128), ("fp16", LARGE, 128),
    ("bf16", SMALL, 256)))
def test_the_estimate_of_memory_is_what_is_allocated(step, precision, memory, batch):
    """The line "memory" of a training is not below what the arrays of a step take at once, nor far
    above."""
    done = step(precision, memory, batch)
    assert 1 <= done.estimate / done.peak < 1.3


def test_the_columns_of_a_layer_stay_below_the_limits(step, monkeypatch):
    """Kept ones take at most KEPT_SHARE of the memory in a layer, others at most WORKSPACE."""
    monkeypatch.setattr(gpu.columns, "WORKSPACE", 64 << 20)
    account = step(memory=SMALL).account
    widest = max(work.bytes for work in account.work if work.name == "im2col")
    image = 4 * BATCH * 27 * 27 * 96  # the largest input of a layer whose columns are kept here
    assert widest <= gpu.columns.KEPT_SHARE * SMALL + image
