"""The engine: order, sharing, freeing, and what it says when it is misused."""
import gc
import threading
import weakref

import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import nn
from minitorch_alex.autograd import Function, unbroadcast
from minitorch_alex.errors import UsageError


def leaf(*values):
    return mt.Tensor(np.array(values, np.float64), requires_grad=True)


def graph(tensor):
    """Every node behind a tensor."""
    found, todo = [], [tensor.creator]
    while todo:
        node = todo.pop()
        if node not in found:
            found.append(node)
            todo += [source for source, _ in node.edges if isinstance(source, Function)]
    return found


def test_a_chain_of_5000_operations_back_propagates():
    x = y = leaf(3.0)
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0


def test_sixty_diamonds_give_exactly_two_to_the_sixty():
    x = y = leaf(1.0)
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad[0] == 2.0 ** 60


def test_each_node_runs_once_and_after_all_its_consumers():
    ran = []

    class Note(Function):
        def __init__(self, name):
            self.name = name

        def forward(self, x):
            return x * 1.0

        def backward(self, gy):
            ran.append((self.name, float(gy[0])))
            return gy

    x = leaf(1.0)
    a = Note("a")(x)
    b, c = Note("b")(a), Note("c")(a)
    (b + Note("d")(c) + c).backward()
    assert sorted(ran) == [("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 1.0)]
    assert [name for name, _ in ran].index("a") == 3


def test_no_node_and_no_activation_survives_a_backward():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(4 * 9, 5), nn.Dropout(0.5))
    logits = net(mt.Tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)))
    loss = F.cross_entropy(logits, np.array([0, 1]))
    nodes = [weakref.ref(node) for node in graph(loss)]
    arrays = [weakref.ref(a) for node in graph(loss) for a in node.saved if isinstance(a, np.ndarray)
              and not any(a is p.data for p in net.parameters())]
    assert len(nodes) == 10 and len(arrays) >= 6
    loss.backward()
    del logits
    gc.disable()  # freed by reference counts alone, not by the collector of cycles
    try:
        alive = [ref() for ref in nodes if ref() is not None]
        assert alive == [loss.creator], "only the loss's own, emptied, node may be left while the loss is held"
        assert loss.creator.edges is None and loss.creator.saved == ()
        del alive
        assert all(ref() is None for ref in arrays)
        del loss
        assert all(ref() is None for ref in nodes)
    finally:
        gc.enable()


def test_an_operation_keeps_only_what_it_saves():
    x = leaf(1.0, 2.0)
    middle = x + 1.0
    y = middle * 3.0
    data = weakref.ref(middle.data)
    del middle
    assert data() is None, "neither addition nor scaling needs its input"
    y.backward(np.ones(2))
    assert (x.grad == 3.0).all()


def test_gradients_accumulate_over_backwards_until_forgotten():
    x = leaf(2.0)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad == 8.0
    x.zero_grad()
    assert x.grad is None


def test_one_gradient_array_is_never_shared_by_two_leaves():
    a, b = leaf(1.0), leaf(2.0)
    (a + b).sum().backward()
    a.grad += 5.0
    assert b.grad == 1.0


def test_a_second_backward_names_retain_graph_and_with_it_works():
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == 12.0
    with pytest.raises(UsageError, match="retain_graph=True"):
        y.backward()


def test_backward_refuses_what_has_no_graph_or_no_shape():
    with pytest.raises(UsageError, match="requires_grad=True"):
        mt.Tensor([1.0]).backward()
    with pytest.raises(UsageError, match=r"shape \(2,\) needs a gradient"):
        (leaf(1.0, 2.0) * 2.0).backward()
    with pytest.raises(UsageError, match=r"shape \(3,\)"):
        (leaf(1.0, 2.0) * 2.0).backward(np.ones(3))


def test_no_grad_leaves_no_trace_and_is_not_seen_by_other_threads():
    x = leaf(1.0)
    with mt.no_grad():
        assert (x * x).creator is None
        seen = []
        other = threading.Thread(target=lambda: seen.append((x * x).creator is not None))
        other.start()
        other.join()
        assert seen == [True]
    assert (x * x).creator is not None


def test_the_gradient_of_an_input_nobody_wants_is_not_computed(monkeypatch):
    from minitorch_alex.kernels import cpu
    monkeypatch.setattr(cpu, "conv2d_backward_input", lambda *a: pytest.fail("computed the image's gradient"))
    image, weight = mt.Tensor(np.ones((1, 1, 4, 4))), mt.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    F.conv2d(image, weight).sum().backward()
    assert (weight.grad == 4.0).all() and image.grad is None


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (1, 1)])
def test_unbroadcast_is_the_adjoint_of_broadcasting(shape):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal(shape), rng.standard_normal((4, 2, 3))
    back = unbroadcast(g, shape)
    assert back.shape == shape
    assert np.isclose((np.broadcast_to(x, g.shape) * g).sum(), (x * back).sum())


def test_unbroadcast_refuses_a_gradient_of_an_impossible_shape():
    with pytest.raises(RuntimeError, match=r"\(2, 3\)"):
        unbroadcast(np.ones((2, 3)), (2, 2))


def test_scalars_never_promote():
    x = mt.Tensor(np.ones(3, np.float32), requires_grad=True)
    y = ((x * 2 + np.float64(1.5)) / 3 - 0.1) ** 2 * np.float64(0.5)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_arrays_and_numbers_combine_with_tensors_from_both_sides():
    x = mt.Tensor(np.array([1.0, 2.0]))
    assert (1 - x).numpy().tolist() == [0.0, -1.0]
    assert (np.array([3.0, 4.0]) + x).numpy().tolist() == [4.0, 6.0]
    assert (2 / x).numpy().tolist() == [2.0, 1.0]
    assert (-x).numpy().tolist() == [-1.0, -2.0]


def test_repr_says_values_shape_dtype_and_origin():
    x = leaf(1.0, 2.0)
    assert repr(x) == "Tensor([1. 2.], shape (2,), float64, leaf)"
    assert "from MulScalar" in repr(x * 2.0)
