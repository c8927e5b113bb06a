"""Whole trainings by columns and by the hybrid, against one process. Ranks are threads here; the trainings and the
fixture are those of test_parallel.py."""
import numpy as np
import pytest
from test_parallel import NORMS, losses, same_bytes, training  # noqa: F401  (a fixture)

from minitorch_alex.errors import UsageError


def check_alike(ours, theirs):
    """Two trainings that differ by rounding."""
    (arrays, rows), (expected, expected_rows) = ours, theirs
    assert arrays.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_allclose(arrays[name], weights, atol=1e-4 * max(abs(weights).max(), 1e-3), err_msg=name)
    assert len(rows) == len(expected_rows)
    for row, other in zip(losses(rows), losses(expected_rows), strict=True):
        assert row == pytest.approx(other, abs=1e-4)


ONCE = ["--epochs", "1"]


@pytest.mark.parametrize(("size", "kind"), ((2, "columns"), (4, "columns"), (3, "hybrid")))
def test_a_cut_network_trains_as_one_process_does(training, size, kind):  # noqa: F811
    """With dropout, validation, an uneven last batch, in which some ranks have no images; twice the same bytes."""
    ours = training(size, "cut", "--parallel", kind, *ONCE)
    check_alike(ours, training(1, "alone", *ONCE))
    if size == 3:
        again, _ = training(size, "again", "--parallel", kind, *ONCE)
        assert same_bytes(ours[0], again)


@pytest.mark.parametrize("kind", ("columns", "hybrid"))
def test_a_run_goes_on_in_one_process_and_back_on_two_ranks(training, kind):  # noqa: F811
    whole = training(1, "whole", "--epochs", "3")
    training(2, "cut", "--parallel", kind, *ONCE)
    training(1, "cut", "--resume", "runs/cut", "--epochs", "2")
    check_alike(training(2, "cut", "--resume", "runs/cut", "--parallel", kind, "--epochs", "3"), whole)


@pytest.mark.parametrize(("scheme", "passes"), (("b", 2), ("c", 5)))
def test_several_updates_of_the_fully_connected_layers(training, scheme, passes):  # noqa: F811
    """On two ranks scheme (c) takes the images of a pass from both; a step changes the fully connected layers
    otherwise than one update does. A batch of 1, which cannot be cut, takes one pass."""
    flags = ["--parallel", "hybrid", "--set", f"fc_passes={passes}", *ONCE]
    passed, rows = training(2, "passes", *flags, "--set", f"fc_scheme={scheme}")
    once, _ = training(2, "once", "--parallel", "hybrid", *ONCE)
    assert not np.allclose(passed["model.fc6.weight"], once["model.fc6.weight"], rtol=0, atol=1e-7)
    assert all(np.isfinite(weights).all() for weights in passed.values())
    assert [row["step"] for row in rows if row["kind"] == "interval"] == [1, 2, 3]


def test_frozen_layers_layers_with_rates_of_their_own_and_smoothed_labels(training):  # noqa: F811
    flags = ["--set", "changes=0 conv3.lr=0, 0 fc7.lr=0.001", "--set", "label_smoothing=0.1", *ONCE]
    check_alike(training(4, "cut", "--parallel", "columns", *flags), training(1, "alone", *flags))


@pytest.mark.parametrize(("size", "kind"), ((2, "columns"), (4, "columns"), (3, "hybrid")))
def test_batch_normalisation_and_weights_of_classes_in_a_cut_network(training, size, kind):  # noqa: F811
    """Pairs of columns, and the hybrid's convolutions, exchange the statistics; resumed by one process."""
    flags = [*NORMS, "--set", "class_weights=balanced"]
    whole = training(1, "whole", *flags, "--epochs", "2")
    training(size, "cut", "--parallel", kind, *flags, *ONCE)
    arrays, rows = training(1, "cut", "--resume", "runs/cut", "--parallel", "data", "--epochs", "2")
    for name, weights in whole[0].items():
        np.testing.assert_allclose(arrays[name], weights, atol=1e-3 * max(abs(weights).max(), 1e-3), err_msg=name)
    assert losses(rows)[0] == pytest.approx(losses(whole[1])[0], abs=1e-4)


@pytest.mark.parametrize(("size", "flags", "text"), (
    (3, ["--parallel", "columns"], "the network has 2 columns, and 3 ranks are no multiple of that; start 2 ranks"),
    (1, ["--parallel", "columns"], "1 rank is no multiple of that"),
    (2, ["--parallel", "columns", "--set", "groups=(1,1,1,1,1)"], "this one has no groups"),
    (2, ["--parallel", "columns", "--set", "lrn_groups=1"], "cross the seam between its columns"),
    (2, ["--parallel", "columns", "--shards", "2"], "leave one of them out"),
    (2, ["--parallel", "hybrid", "--set", "rule=lars"], "LARS needs the length of whole layers"),
    (2, ["--parallel", "hybrid", "--set", "fc_passes=3", "--set", "fc_scheme=b"], "set fc_passes=2"),
    (2, ["--parallel", "hybrid", "--set", "fc_scheme=d"], "fc_scheme must be one of b, c, got 'd'"),
))
def test_what_cannot_be_cut_is_refused(training, size, flags, text):  # noqa: F811
    with pytest.raises(UsageError, match=text):
        training(size, "refused", *flags)
