"""Every name that we share with PyTorch means the same: held against PyTorch's own sample inputs.

OpInfo is the table by which PyTorch tests itself: for each operation, a list of calls that between them try every
argument. Here each call is made twice, in float64, forward and backward, for each function of `functional` and each
method of `Tensor` that has a PyTorch name. A call ends in one of three ways:

    equal      the same numbers and the same gradients
    refused    an error of ours, of a kind that REFUSED lists with its reason
    wrong      everything else: other numbers, another shape, an error that nobody meant

No call may be wrong, and fewer than one in twenty refused.
"""
import functools
import warnings
from collections import Counter

import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex.errors import UserError
from minitorch_alex.kernels import Window

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which OpInfo needs, is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

# (name, what the message says): why. Whatever else is refused counts as wrong.
REFUSED = {
    ("batch_norm", "expected (N, C)"): "no channel axis: PyTorch takes such an input only if it is empty",
}
TOLERANCE = 1e-10
# Ours and not PyTorch's under that name: `size` is an attribute (NumPy's), `T` is a property.
NOT_CALLS = {"size", "T", "dtype", "item"}


def load_opinfo():
    """PyTorch's table, which takes seconds to import, and would freeze global flags that other tests set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends, "disable_global_flags", lambda: None)
        from torch.testing._internal import common_methods_invocations
    return common_methods_invocations.op_db


def shared_names():
    """(OpInfo, the call with PyTorch, the call with ours, its name) for each function and method that both have."""
    for op in load_opinfo():
        for name in (op.name, *(alias.name for alias in op.aliases)):
            base = name.removeprefix("nn.functional.")
            if "." in base or base in NOT_CALLS:
                continue
            if base == "where":  # OpInfo puts the condition second
                yield op, op.op, lambda a, condition, b: F.where(condition, a, b), base
            elif base in F.__all__:
                yield op, op.op, getattr(F, base), base
            method = next((vars(kind)[base] for kind in mt.Tensor.__mro__[:-1] if base in vars(kind)), None)
            if method is not None and callable(method) and hasattr(torch.Tensor, base):
                yield op, getattr(torch.Tensor, base), method, f"Tensor.{base}"


def sees_padding_only(kwargs, shape):
    """Whether a window of this dilated pool lies on padding alone. PyTorch 2.13's own CPU kernel then writes out of
    bounds."""
    win = Window.of(kwargs["kernel_size"], kwargs.get("stride") or kwargs["kernel_size"], kwargs.get("padding", 0),
                    kwargs.get("dilation", 1), kwargs.get("ceil_mode", False))
    for axis, (size, windows) in enumerate(zip(shape[-2:], win.out(*shape[-2:]), strict=True)):
        for start in (o * win.stride[axis] - win.padding[axis] for o in range(windows)):
            if not any(0 <= start + k * win.dilation[axis] < size for k in range(win.kernel[axis])):
                return True
    return False


def ours_of(value, leaves):
    """A value of PyTorch's in ours: floating tensors become Tensors (and go to `leaves` if they want a gradient),
    others raw arrays, dtypes NumPy's."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy()
        if not value.is_floating_point():
            return array
        tensor = mt.Tensor(array, requires_grad=value.requires_grad)
        if value.requires_grad:
            leaves.append((tensor, value))
        return tensor
    if isinstance(value, torch.dtype):
        return np.dtype(str(value).removeprefix("torch."))
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return type(value)(ours_of(v, leaves) for v in value)
    if isinstance(value, dict):
        return {key: ours_of(v, leaves) for key, v in value.items()}
    return tuple(value) if isinstance(value, torch.Size) else value


def as_list(result):
    return list(result) if isinstance(result, tuple | list) else [result]


def compare(got, want, what):
    got = np.asarray(got.data if isinstance(got, mt.Tensor) else got)
    want = want.detach().numpy() if isinstance(want, torch.Tensor) else np.asarray(want)
    assert got.shape == want.shape, f"{what} has shape {got.shape}, expected {want.shape}"
    np.testing.assert_allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE, err_msg=what)


def is_random(base, sample):
    return base == "dropout" and sample.kwargs.get("training", True) and 0 < sample.kwargs.get("p", 0.5) < 1


def compare_dropout(got, sample, leaves):
    """Masks differ from PyTorch's; each element is silent or scaled, and its gradient as well."""
    p = sample.kwargs.get("p", 0.5)
    x = sample.input.detach().numpy()
    y = got.numpy()
    assert y.shape == x.shape
    mask = y != 0
    np.testing.assert_allclose(y, x * mask / (1 - p), rtol=TOLERANCE)
    got.backward(np.ones(y.shape))
    np.testing.assert_allclose(leaves[0][0].grad, mask / (1 - p), rtol=TOLERANCE)


def run_sample(theirs, ours, base, sample):
    """One call with both. Raises what ours raises, and AssertionError when the results differ."""
    leaves = []
    arguments = [ours_of(a, leaves) for a in (sample.input, *sample.args)]
    kwargs = ours_of(sample.kwargs, leaves)
    want = as_list(theirs(sample.input, *sample.args, **sample.kwargs))
    got = ours(*arguments, **kwargs)
    if is_random(base, sample):
        compare_dropout(got, sample, leaves)
        return
    got = as_list(got)
    assert len(got) == len(want), f"{len(got)} results, expected {len(want)}"
    generator = torch.Generator().manual_seed(1)
    cotangents = []
    for i, (one, other) in enumerate(zip(got, want, strict=True)):
        compare(one, other, f"result {i}")
        if isinstance(other, torch.Tensor) and other.requires_grad:
            cotangent = torch.randn(other.shape, dtype=other.dtype, generator=generator)
            one.backward(cotangent.numpy(), retain_graph=True)
            cotangents.append((other, cotangent))
    if cotangents:
        outputs, grads = zip(*cotangents, strict=True)
        expected = torch.autograd.grad(outputs, [leaf for _, leaf in leaves], grads, allow_unused=True)
        for i, ((leaf, _), grad) in enumerate(zip(leaves, expected, strict=True)):
            if grad is None or leaf.grad is None:
                nothing = np.zeros(leaf.shape)
                compare(nothing if leaf.grad is None else leaf.grad, nothing if grad is None else grad, f"gradient {i}")
            else:
                compare(leaf.grad, grad, f"gradient {i}")


def description(value):
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"
    if isinstance(value, tuple | list) and any(isinstance(v, torch.Tensor) for v in value):
        return f"[{', '.join(map(description, value))}]"
    return repr(value)


@functools.cache
def outcomes():
    """(equal, refused, wrong): Counters by name of the first two, and a list of lines."""
    equal = Counter()
    refused = Counter()
    wrong = []
    torch.manual_seed(0)
    np.random.seed(0)
    for op, theirs, ours, name in shared_names():
        base = name.removeprefix("Tensor.")
        for sample in op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd):
            if base == "max_pool2d" and sees_padding_only(sample.kwargs, sample.input.shape):
                continue
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    run_sample(theirs, ours, base, sample)
                equal[name] += 1
            except Exception as error:
                reason = str(error).strip().replace("\n", " ")
                if isinstance(error, UserError) and any(n == base and text in reason for n, text in REFUSED):
                    refused[name] += 1
                else:
                    call = ", ".join([*map(description, (sample.input, *sample.args)),
                                      *(f"{k}={description(v)}" for k, v in sample.kwargs.items())])
                    wrong.append(f"{name}({call}): {type(error).__name__}: {reason[:200]}")
    return equal, refused, wrong


def test_no_call_means_something_else():
    equal, refused, wrong = outcomes()
    total = sum(equal.values()) + sum(refused.values()) + len(wrong)
    print(f"{total} calls of {len(equal)} names: {sum(equal.values())} equal, {sum(refused.values())} refused by "
          f"design, {len(wrong)} wrong")
    assert not wrong, "\n".join([f"{len(wrong)} of {total} calls", *wrong[:60]])


def test_few_calls_are_refused():
    equal, refused, wrong = outcomes()
    total = sum(equal.values()) + sum(refused.values()) + len(wrong)
    assert sum(refused.values()) < 0.05 * total, refused


def test_the_names_of_the_first_hour_are_among_them():
    equal, _, _ = outcomes()
    for name in ("conv2d", "linear", "cross_entropy", "max_pool2d", "batch_norm", "sum", "matmul", "Tensor.sum",
                 "Tensor.__getitem__", "Tensor.max", "Tensor.view", "cat", "where", "Tensor.__rpow__"):
        assert equal[name], name
