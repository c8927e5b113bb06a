"""--mine: the learner's exercises in place of the package's parts.

The solutions stand in for a learner who is done.
"""
import shutil

import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import (
    Tensor,
    autograd,
    backend,
    check,
    data,
    functional,
    kernels,
    models,
    nn,
    streams,
)
from minitorch_alex import functional as F
from minitorch_alex.check import mine
from minitorch_alex.errors import DataError, UsageError, UserError
from minitorch_alex.evaluate import error_rates, predict
from minitorch_alex.functional.conv import Conv2d
from minitorch_alex.functional.dropout import Dropout
from minitorch_alex.kernels import cpu
from minitorch_alex.models import AlexNet, AlexNetConfig

SOLUTIONS = check.lessons_folder() / "solutions"
TINY = dict(channels=(8, 12, 16, 16, 12), hidden=(24, 24), input_scale=1 / 64)
NETS = {
    "cifar": AlexNetConfig.cifar(**TINY),
    "what ran": AlexNetConfig.source_2012(
        **TINY, image_size=67, num_classes=10, init="he", init_bias=(0.1,) * 8
    ),
    "torchvision": AlexNetConfig.torchvision(
        **TINY, image_size=71, num_classes=10, init="he", adaptive_pool=0
    ),
}


@pytest.fixture(autouse=True)
def package_afterwards():
    yield
    mine.restore()


@pytest.fixture(scope="module")
def solved():
    """name -> the solution's function, for each part."""
    files = {
        lesson: check.load(SOLUTIONS / f"{lesson}.py") for lesson in {p.lesson for p in mine.PARTS}
    }
    return {p.name: getattr(files[p.lesson], p.name) for p in mine.PARTS}


def losses(config, steps=4, batch=12):
    """The losses of the first steps of a training on noise, in float32."""
    mt.manual_seed(3)
    net = AlexNet(config)
    optimizer = models.build_optimizer(net, models.Recipe(1, 0.01, 5e-4))
    rng = np.random.default_rng(0)
    found = []
    for step in range(steps):
        images = (
            60 * rng.standard_normal((batch, 3, config.image_size, config.image_size))
        ).astype(np.float32)
        streams.set_step(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(Tensor(images)), np.arange(batch) % 10)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


class Spy:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


def test_a_learner_who_is_done_has_all_parts_and_the_same_losses(capsys):
    package = {name: losses(config) for name, config in NETS.items()}
    parts = mine.use(SOLUTIONS)
    assert [p.name for p in parts if not p.yours] == []
    text = capsys.readouterr().out
    for part in parts:
        assert any(part.name in line and f"{part.lesson}.py" in line and line.endswith("yours")
                   for line in text.splitlines())
    assert f"{len(parts)} of {len(parts)} parts are yours" in text
    for name, config in NETS.items():
        np.testing.assert_allclose(losses(config), package[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "name", [p.name for p in mine.PARTS if p.name not in ("im2col", "col2im")]
)
def test_each_function_is_used_where_it_belongs(name, solved):
    """By itself among the package's parts: it is called, and the losses stay."""
    package = losses(NETS["cifar"], steps=2)
    spy = Spy(solved[name])
    mine.put({name: spy})
    np.testing.assert_allclose(losses(NETS["cifar"], steps=2), package, atol=1e-4)
    assert spy.calls > 0


@pytest.mark.parametrize(
    "name", [p.name for p in mine.PARTS if p.name not in ("im2col", "col2im", "build")]
)
def test_a_wrong_function_changes_the_losses(name, solved):
    """So the test above would see an adapter that calls a function and throws its result away."""
    def wrong(*args, **kwargs):
        result = solved[name](*args, **kwargs)
        if name == "sgd_step":
            args[0][...] *= 0.9
            return None
        if name == "count_consumers":
            return {node: n + 1 for node, n in result.items()}
        first, *rest = result if isinstance(result, tuple) else (result,)
        changed = tuple(-2 * part for part in (first, *rest))
        return changed if isinstance(result, tuple) else changed[0]

    package = losses(NETS["cifar"], steps=3)
    if name == "backward_walk":
        mine.put({name: lambda *args: None})
    elif name == "unbroadcast":
        mine.put({name: lambda g, shape: 0 * solved[name](g, shape)})
    else:
        mine.put({name: wrong})
    with np.errstate(invalid="ignore"):
        assert not np.allclose(losses(NETS["cifar"], steps=3), package, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_training_on_shapes_reaches_the_same_accuracy():
    train, test = (part.subset(np.isin(part.labels, (0, 6, 7)))  # discs, crosses, stripes
                   for part in data.load("shapes", n_train=1_200, n_test=400, size=24))
    config = AlexNetConfig.cifar(
        channels=(12, 16, 24, 24, 16), hidden=(48, 48), image_size=24, dropout=0.1
    )

    def accuracy():
        mt.manual_seed(0)
        net = AlexNet(config)
        optimizer = models.build_optimizer(net, models.Recipe(1, 0.02, 5e-4))
        transform = data.Transform(train.mean_image())
        step = 0
        loader = data.Loader(train, 20, transform, seed=0)
        for epoch in range(6):
            for x, labels in loader.epoch(epoch):
                streams.set_step(step)
                optimizer.zero_grad()
                F.cross_entropy(net(Tensor(x)), labels).backward()
                optimizer.step()
                step += 1
        return 100 - error_rates(predict(net, test, transform.eval()), test.labels)[1]

    package = accuracy()
    mine.use(SOLUTIONS)
    assert package > 60  # chance level: 33
    assert abs(accuracy() - package) < 8


WINDOWS = (dict(stride=1, padding=0), dict(stride=1, padding=2), dict(stride=2, padding=1),
           dict(stride=2, padding=1, ceil_mode=True), dict(stride=3, padding=0, ceil_mode=True),
           dict(stride=3, padding=0))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", (1, 2))
def test_convolutions_of_all_windows_are_the_package_s(window, groups, solved):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 4, 9, 10))
    w = rng.standard_normal((6, 4 // groups, 3, 3))
    b = rng.standard_normal(6)

    def results():
        leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
        y = F.conv2d(*leaves, groups=groups, **window)
        y.backward(np.random.default_rng(2).standard_normal(y.shape))
        return [y.data, *(leaf.grad for leaf in leaves)]

    package = results()
    spies = {name: Spy(solved[name]) for name in ("conv2d", "conv2d_backward")}
    mine.put(spies)
    for mine_, theirs in zip(results(), package, strict=True):
        np.testing.assert_allclose(mine_, theirs, rtol=1e-10, atol=1e-12)
    assert [spy.calls for spy in spies.values()] == [1, 1]


@pytest.mark.parametrize(
    "window",
    (
        dict(stride=2),
        dict(stride=2, padding=1),
        dict(stride=2, ceil_mode=True),
        dict(stride=3, padding=1, ceil_mode=True),
        dict(stride=1),
    ),
)
@pytest.mark.parametrize(
    "names", (("max_pool2d",), ("max_pool2d_backward",), ("max_pool2d", "max_pool2d_backward"))
)
def test_pools_of_all_windows_are_the_package_s(window, names, solved):
    """Also with one of the two functions, on negative images, and with ties."""
    x = np.random.default_rng(1).integers(-9, -1, (2, 3, 8, 9)).astype(float)

    def results():
        leaf = Tensor(x, requires_grad=True)
        y = F.max_pool2d(leaf, 3, **window)
        y.backward(np.random.default_rng(2).standard_normal(y.shape))
        return y.data, leaf.grad

    package = results()
    spies = {name: Spy(solved[name]) for name in names}
    mine.put(spies)
    for mine_, theirs in zip(results(), package, strict=True):
        np.testing.assert_allclose(mine_, theirs, rtol=1e-12, atol=1e-12)
    assert [spy.calls for spy in spies.values()] == [1] * len(names)


def test_windows_that_no_exercise_covers_stay_the_package_s(solved):
    x = Tensor(np.random.default_rng(1).standard_normal((1, 2, 9, 9)), requires_grad=True)
    w = Tensor(np.random.default_rng(2).standard_normal((2, 2, 3, 3)), requires_grad=True)
    calls = (lambda: F.conv2d(x, w, dilation=2), lambda: F.conv2d(x, w, stride=(1, 2)),
             lambda: F.max_pool2d(x, (3, 2)), lambda: F.max_pool2d(x, 2, dilation=2),
             lambda: F.local_response_norm(x, 3, within_map=True))
    package = [call().data for call in calls]
    spies = {
        name: Spy(solved[name])
        for name in (
            "conv2d",
            "conv2d_backward",
            "max_pool2d",
            "max_pool2d_backward",
            "lrn",
            "lrn_backward",
        )
    }
    mine.put(spies)
    for call, theirs in zip(calls, package, strict=True):
        y = call()
        np.testing.assert_array_equal(y.data, theirs)
        y.backward(np.ones(y.shape))
    assert not any(spy.calls for spy in spies.values())


@pytest.mark.parametrize("rule", ("2012", "inverted"))
@pytest.mark.parametrize(
    "names", (("dropout",), ("dropout_backward",), ("dropout", "dropout_backward"))
)
def test_dropout_has_the_package_s_masks(rule, names, solved):
    x = 1.0 + np.random.default_rng(1).random((3, 4, 5, 6))

    def results():
        leaf = Tensor(x, requires_grad=True)
        streams.set_step(7)
        y = F.dropout(leaf, 0.3, True, rule)
        y.backward(np.full(y.shape, 2.0))
        still = F.dropout(leaf, 0.3, False, rule)
        leaf_grad = leaf.grad
        leaf.grad = None
        still.backward(np.full(y.shape, 2.0)) if still is not leaf else None
        return y.data, leaf_grad, still.data

    package = results()
    assert 0 < (package[0] == 0).mean() < 0.5
    mine.put({name: solved[name] for name in names})
    for mine_, theirs in zip(results(), package, strict=True):
        np.testing.assert_allclose(mine_, theirs, rtol=1e-12)


def test_the_gradient_of_dropout_in_evaluation_is_its_factor(solved):
    mine.put({"dropout": solved["dropout"]})
    for rule, factor in (("2012", 0.7), ("inverted", 1.0)):
        leaf = Tensor(np.ones((2, 3)), requires_grad=True)
        F.dropout(leaf, 0.3, False, rule).backward(np.ones((2, 3)))
        np.testing.assert_allclose(leaf.grad, factor)


def test_the_walk_says_what_the_package_says_and_frees_the_graph(solved):
    mine.put({"backward_walk": solved["backward_walk"]})
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with pytest.raises(UsageError, match="needs a gradient of that shape"):
        (x * 2.0).backward()
    with pytest.raises(UsageError, match="does not require a gradient"):
        Tensor(np.ones(2)).backward()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [4.0, 8.0])
    assert y.creator.edges is None
    with pytest.raises(UsageError, match="a second time"):
        y.backward()
    leaf = Tensor(np.array(3.0), requires_grad=True)
    leaf.backward()
    assert leaf.grad == 1.0


def test_losses_that_are_not_averaged_and_bad_labels_stay_the_package_s(solved):
    spy = Spy(solved["softmax_cross_entropy"])
    mine.put({"softmax_cross_entropy": spy})
    logits = Tensor(np.random.default_rng(0).standard_normal((4, 3)))
    assert F.cross_entropy(logits, [0, 1, 2, 0], "none").shape == (4,)
    with pytest.raises(UserError, match="not a class"):
        F.cross_entropy(logits, [0, 1, 2, 3])
    assert not spy.calls
    assert F.cross_entropy(logits, [0, 1, 2, 0]).shape == () and spy.calls == 1


def test_the_torch_rule_of_sgd_stays_the_package_s(solved):
    spy = Spy(solved["sgd_step"])
    mine.put({"sgd_step": spy})
    for rule, calls in (("torch", 0), ("2012", 1)):
        w = nn.Parameter(np.ones(3))
        w.grad = np.ones(3)
        mt.optim.SGD([w], lr=0.1, momentum=0.9, rule=rule).step()
        np.testing.assert_allclose(w.data, 0.9)
        assert spy.calls == calls


def test_build_is_what_alexnet_is_made_of(solved):
    spy = Spy(solved["build"])
    mt.manual_seed(5)
    package = AlexNet(NETS["torchvision"], num_classes=7).state_dict()
    mine.put({"build": spy})
    mt.manual_seed(5)
    yours = AlexNet(NETS["torchvision"], num_classes=7)
    assert spy.calls == 1 and yours.config.num_classes == 7 and yours.image_size == 71
    assert yours.deviations and yours.recipe.epochs == 90
    assert list(yours.state_dict()) == list(package)
    assert all(np.array_equal(array, package[name]) for name, array in yours.state_dict().items())


def test_what_the_exercise_does_not_build_is_refused_or_put_right(solved):
    mine.put({"build": solved["build"]})
    narrow = dict(channels=(2, 2, 2, 2, 2), hidden=(2, 2), num_classes=2)
    with pytest.raises(UsageError, match="no sixth convolution"):
        AlexNet(AlexNetConfig.conv6_2012(**narrow))
    with pytest.raises(UsageError, match="no adaptive pool, which images of 256 need"):
        AlexNet(AlexNetConfig.torchvision(**narrow, image_size=256))
    assert AlexNet(AlexNetConfig.torchvision(**narrow)).fc6.weight.shape == (2, 72)
    x = mt.Tensor(np.zeros((1, 3, 224, 224), np.float32))
    assert AlexNet(AlexNetConfig.caffe(**narrow, image_size=224)).conv1(x).shape[2:] == (54, 54)


def test_unwritten_refused_and_missing_parts_stay_the_package_s(tmp_path, capsys):
    """Lesson 4 has a wrong gradient, lesson 5 is as it was given, lesson 6 is not there."""
    for file in SOLUTIONS.glob("[01]*.py"):
        shutil.copy(file, tmp_path)
    shutil.copy(check.lessons_folder() / "exercises" / "05_relu_pool.py", tmp_path)
    (tmp_path / "06_lrn.py").unlink()
    wrong = tmp_path / "04_gradcheck.py"
    text = wrong.read_text(encoding="utf-8")
    assert "def conv2d_backward(" in text
    wrong.write_text(
        text + "\n\n_right = conv2d_backward\n\n\ndef conv2d_backward(*args):\n"
        "    gx, gw, gb = _right(*args)\n    return gx, -gw, gb\n",
        encoding="utf-8",
    )
    package = losses(NETS["cifar"])
    parts = {p.name: p for p in mine.use(tmp_path)}
    text = capsys.readouterr().out
    assert {p.name for p in parts.values() if not p.yours} == {
        "conv2d_backward", "relu", "relu_backward", "max_pool2d", "lrn", "lrn_backward"}
    assert parts["conv2d_backward"].why == mine.WRONG and parts["relu"].why == mine.UNWRITTEN
    assert parts["lrn"].why == mine.MISSING
    assert (
        text.count("\nrefused: ") == 1
        and f"python -m minitorch_alex.check 04 --exercises {tmp_path}" in text
    )
    assert "the package's: not written yet" in text
    np.testing.assert_allclose(losses(NETS["cifar"]), package, atol=1e-4)


def test_the_exercises_as_given_change_nothing(capsys):
    package = losses(NETS["cifar"], steps=2)
    assert not [p.name for p in mine.use() if p.yours]
    assert "refused" not in capsys.readouterr().out
    np.testing.assert_array_equal(losses(NETS["cifar"], steps=2), package)


def test_exercises_find_each_other_in_the_learner_s_folder(tmp_path):
    for file in SOLUTIONS.glob("[01]*.py"):
        shutil.copy(file, tmp_path)
    mine.use(tmp_path)
    assert check.yours("02", "im2col").__code__.co_filename == str(tmp_path / "02_im2col.py")
    mine.restore()
    assert check.yours("02", "im2col").__code__.co_filename != str(tmp_path / "02_im2col.py")


def test_restore_puts_everything_back(solved):
    places = (
        (autograd, "walk"),
        (autograd, "unbroadcast"),
        (autograd, "count_consumers"),
        (Conv2d, "backward"),
        (Dropout, "backward"),
        (functional, "dropout"),
        (functional, "cross_entropy"),
        (AlexNet, "__init__"),
    )
    before = [getattr(owner, name) for owner, name in places]
    mine.put(solved)
    assert not any(
        getattr(owner, name) is old for (owner, name), old in zip(places, before, strict=True)
    )
    assert backend.current().kernels is not cpu
    mine.put(solved)  # on top of it
    mine.restore()
    assert [getattr(owner, name) for owner, name in places] == before
    assert backend.current().kernels is cpu is kernels.cpu


def test_a_result_of_the_wrong_shape_names_its_function():
    mine.put({"relu": lambda x: x[:1]})
    with pytest.raises(
        UserError, match=r"relu gave an array of shape \(1, 3\), expected \(2, 3\)"
    ):
        F.relu(Tensor(np.ones((2, 3))))


def test_a_folder_that_is_not_there_and_another_backend_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no folder"):
        mine.use(tmp_path / "nowhere")
    monkeypatch.setattr(backend, "_current", "device")
    monkeypatch.setitem(backend._backends, "device", backend.Backend("device", (), np, cpu))
    with pytest.raises(UsageError, match="your NumPy code"):
        mine.use(SOLUTIONS)
