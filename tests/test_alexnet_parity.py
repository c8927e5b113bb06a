"""Every AlexNet against PyTorch: the same weights give the same logits and the same gradient of every parameter."""
import numpy as np
import pytest

import minitorch_alex as mt
import minitorch_alex.functional as F
from minitorch_alex import nn
from minitorch_alex.models import AlexNet, AlexNetConfig

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
T = torch.nn.functional


def past_the_edge(x, layer, fill):
    """torch has no ceil_mode for convolutions: add the columns and rows that the rounding up reads."""
    size, kernel, stride, padding = x.shape[2], layer.kernel_size[0], layer.stride, layer.padding
    missing = -(size + 2 * padding - kernel) % stride if layer.ceil_mode else 0
    return T.pad(x, (0, missing, 0, missing), value=fill)


def apply(layer, x, weights):
    """What `layer` computes, in torch's words."""
    if isinstance(layer, nn.Conv2d):
        x = past_the_edge(x, layer, 0.0)
        return T.conv2d(x, *weights, stride=layer.stride, padding=layer.padding, groups=layer.groups)
    if isinstance(layer, nn.Linear):
        return T.linear(x, *weights)
    if isinstance(layer, nn.ReLU):
        return T.relu(x)
    if isinstance(layer, nn.MaxPool2d):
        return T.max_pool2d(x, layer.kernel_size, layer.stride, ceil_mode=layer.ceil_mode)
    if isinstance(layer, nn.LocalResponseNorm) and layer.within_map:
        squares = T.avg_pool2d(x * x, layer.size, 1, layer.size // 2)  # its padding counts, as the formula has it
        return x / (layer.k + layer.alpha * squares) ** layer.beta
    if isinstance(layer, nn.LocalResponseNorm):
        parts = [T.local_response_norm(part, layer.size, layer.alpha, layer.beta, layer.k)
                 for part in x.chunk(layer.groups, dim=1)]
        return torch.cat(parts, dim=1)
    if isinstance(layer, nn.BatchNorm2d):
        running = [torch.tensor(buffer.data) for buffer in (layer.running_mean, layer.running_var)]
        return T.batch_norm(x, *running, *weights, training=layer.training, eps=layer.eps)
    if isinstance(layer, nn.Flatten):
        return x.flatten(1)
    assert isinstance(layer, nn.Dropout), layer  # off
    return x * (1 - layer.p) if layer.rule == "2012" else x


def compare(preset, dtype, shrink, training=False, count=4):
    """(largest error of the logits, and of any parameter's gradient), relative to the largest value of each, for
    `count` images.

    In training without dropout, whose draws are not PyTorch's.
    """
    config = getattr(AlexNetConfig, preset)()
    mt.manual_seed(0)
    model = AlexNet(getattr(AlexNetConfig, preset)(
        channels=tuple(c // shrink for c in config.channels), hidden=tuple(h // shrink for h in config.hidden),
        num_classes=10, dropout=0.0 if training else config.dropout)).astype(dtype).train(training)
    rng = np.random.default_rng(0)
    images = (rng.standard_normal((count, 3, config.image_size, config.image_size)) * 60).astype(dtype)
    labels = rng.integers(0, 10, count)
    logits = model(mt.Tensor(images))
    F.cross_entropy(logits, labels).backward()

    if training:
        assert all(layer.p == 0 for layer in model.children() if isinstance(layer, nn.Dropout))
    x, tensors = torch.tensor(images), {}
    for name, layer in model.named_children():
        tensors[name] = [torch.tensor(p.data, requires_grad=True) for p in layer.parameters()]
        x = x * torch.tensor(layer.factor, dtype=x.dtype).reshape(-1, 1, 1) if name == "scale" else apply(
            layer, x, tensors[name])
    T.cross_entropy(x, torch.tensor(labels)).backward()

    def error(got, want):
        return float(np.abs(got - want).max() / np.abs(want).max())

    gradients = [error(p.grad, t.grad.numpy()) for name, layer in model.named_children()
                 for p, t in zip(layer.parameters(), tensors[name], strict=True)]
    return error(logits.data, x.detach().numpy()), max(gradients)


@pytest.mark.parametrize("preset", ["paper", "source_2012", "half_2012", "conv6_2012", "merged", "caffe", "caffenet",
                                    "tower_2014", "torchvision", "bn"])
def test_at_an_eighth_of_the_widths_and_full_resolution(preset):
    """float64 to 1e-10 with every gradient; float32 logits to 1e-4. A float32 gradient of a whole net is no test: ties
    in ReLU and pools fall differently even between PyTorch's own precisions."""
    logits, gradients = compare(preset, np.float64, shrink=8)
    assert logits < 1e-10 and gradients < 1e-10
    assert compare(preset, np.float32, shrink=8)[0] < 1e-4


def test_batch_normalisation_in_training():
    """Its statistics are those of the batch, and the gradient passes through them."""
    logits, gradients = compare("bn", np.float64, shrink=8, training=True)
    assert logits < 1e-10 and gradients < 1e-9
    assert compare("bn", np.float32, shrink=8, training=True)[0] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "source_2012", "caffe", "torchvision", "merged"])
def test_at_full_size(preset):
    logits, gradients = compare(preset, np.float64, shrink=1, count=2)
    assert logits < 1e-10 and gradients < 1e-10
