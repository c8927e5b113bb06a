"""The schedules against numbers written by hand, and against torch.optim.lr_scheduler where torch is."""
import json
import math

import pytest

from minitorch_alex.errors import UsageError
from minitorch_alex.schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    StepWarmUp,
    WarmUp,
)


class Groups:
    """A stand-in for an optimizer: weights at 0.01, biases at twice that, as in the paper."""

    def __init__(self, *rates):
        self.param_groups = [{"lr": lr} for lr in rates or (0.01, 0.02)]


def rates(schedule, metrics):
    """The first group's learning rate in each epoch; the last one is the rate after the last step."""
    seen = [schedule.get_last_lr()[0]]
    for metric in metrics:
        schedule.step(metric)
        seen.append(schedule.get_last_lr()[0])
    return seen


def test_the_base_schedule_keeps_the_rate():
    assert rates(Schedule(Groups()), [None] * 3) == [0.01] * 4


def test_multistep_drops_in_the_epoch_of_each_milestone():
    seen = rates(MultiStepLR(Groups(), [2, 4], gamma=0.1), [None] * 5)
    assert seen == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rel=1e-12)


def test_a_constant_group_keeps_its_rate_whatever_the_schedule_says():
    groups = Groups(0.01, 0.02)
    groups.param_groups[1]["constant"] = True
    schedule = WarmUp(MultiStepLR(groups, [2]), epochs=1, start_factor=0.1)
    seen = [schedule.get_last_lr()]
    for _ in range(3):
        schedule.step()
        seen.append(schedule.get_last_lr())
    assert [bias for _, bias in seen] == [0.02] * 4
    assert [weight for weight, _ in seen] == pytest.approx([0.001, 0.01, 0.001, 0.001])


def test_a_milestone_at_zero_or_named_twice_counts():
    assert rates(MultiStepLR(Groups(), [0, 1, 1], gamma=0.5), [None]) == [0.005, 0.00125]


def test_exponential_decays_every_epoch():
    assert rates(ExponentialLR(Groups(1.0), 0.5), [None] * 3) == [1.0, 0.5, 0.25, 0.125]


def test_cosine_is_half_a_wave_down_to_eta_min():
    schedule = CosineAnnealingLR(Groups(0.1), 4, eta_min=0.02)
    half = 0.04 * math.sqrt(0.5)
    assert rates(schedule, [None] * 4) == pytest.approx([0.1, 0.06 + half, 0.06, 0.06 - half, 0.02], rel=1e-12)
    for settings in ({"T_max": 0}, {"T_max": 4, "eta_min": -1.0}):
        with pytest.raises(UsageError, match="T_max >= 1"):
            CosineAnnealingLR(Groups(0.1), **settings)


def test_plateau_waits_for_more_than_patience_epochs_and_drops_three_times():
    schedule = ReduceLROnPlateau(Groups(1.0), factor=0.1, patience=1, threshold=0.0)
    #          improves  stalls    drop  better  stalls    drop  stalls    drop  and no fourth
    metrics = [50, 40,   40, 41,         30,     31, 32,         33, 34,         35, 36, 37, 38]
    drops = [0, 0, 0,    0, 1,           1,      1, 2,           2, 3,           3, 3, 3, 3]
    assert rates(schedule, metrics) == pytest.approx([0.1**d for d in drops], rel=1e-12)


def test_plateau_threshold_is_relative_and_its_edge_does_not_count():
    schedule = ReduceLROnPlateau(Groups(1.0), patience=0, threshold=0.25)
    assert rates(schedule, [40, 30]) == [1.0, 1.0, 0.1]  # 30 is not below 40 * (1 - 0.25)
    schedule = ReduceLROnPlateau(Groups(1.0), patience=0, threshold=0.25)
    assert rates(schedule, [40, 29.9]) == [1.0, 1.0, 1.0]


def test_plateau_takes_nan_for_no_improvement():
    assert rates(ReduceLROnPlateau(Groups(1.0), patience=0), [math.nan, 5.0]) == [1.0, 0.1, 0.1]


def test_warm_up_climbs_in_a_line_and_leaves_the_milestones_where_they_are():
    seen = rates(WarmUp(MultiStepLR(Groups(1.0), [3, 5]), epochs=4, start_factor=0.2), [None] * 5)
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.08, 0.1, 0.01], rel=1e-12)


def test_a_warm_up_by_step_climbs_within_the_epochs_and_goes_on_where_it_was():
    def rates_by_step(schedule, first, last):
        seen = []
        for step in range(first, last):
            schedule.before_step(step)
            seen.append(schedule.get_last_lr()[0])
            if step % 3 == 2:  # an epoch has three steps
                schedule.step()
        return seen

    def build():
        return StepWarmUp(MultiStepLR(Groups(1.0), [2]), steps=4, start_factor=0.2)

    whole = rates_by_step(build(), 0, 9)
    assert whole == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.1, 0.1, 0.1], rel=1e-12)
    for stop in range(9):
        first = build()
        rates_by_step(first, 0, stop)
        second = build()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert rates_by_step(second, stop, 9) == whole[stop:]


def test_every_group_keeps_its_own_multiple():
    optimizer = Groups()
    schedule = WarmUp(MultiStepLR(optimizer, [1]), epochs=2, start_factor=0.5)
    for _ in range(3):
        weights, biases = schedule.get_last_lr()
        assert biases == 2 * weights
        schedule.step()
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.01, 0.02]


SCHEDULES = {
    "constant": Schedule,
    "steps": lambda o: MultiStepLR(o, [3, 7], gamma=0.3),
    "exponential": lambda o: ExponentialLR(o, 0.93),
    "cosine": lambda o: CosineAnnealingLR(o, 8, eta_min=1e-4),
    "warm-up, cosine": lambda o: WarmUp(CosineAnnealingLR(o, 9, eta_min=1e-4), 3, 0.2),
    "polynomial": lambda o: PolynomialLR(o, 9, 2.0),
    "warm-up by step": lambda o: StepWarmUp(MultiStepLR(o, [3, 7]), 4, 0.1),
    "plateau": lambda o: ReduceLROnPlateau(o, factor=0.3, patience=1),
    "warm-up, steps": lambda o: WarmUp(MultiStepLR(o, [3, 7]), 4, 0.1),
    "warm-up, plateau": lambda o: WarmUp(ReduceLROnPlateau(o, patience=0), 4, 0.3),
}
ERRORS = [60.0, 50.0, 51.0, 50.5, 50.0, 45.0, 46.0, 47.0, 46.5, 44.9, 44.9, 44.9]


@pytest.mark.parametrize("build", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("stop", range(len(ERRORS)))
def test_resuming_after_any_epoch_gives_the_same_rates_to_the_bit(build, stop):
    whole = rates(build(Groups()), ERRORS)

    first = build(Groups())
    rates(first, ERRORS[:stop])
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = build(Groups())
    second.load_state_dict(state)
    assert rates(second, ERRORS[stop:]) == whole[stop:]


@pytest.mark.parametrize("build, words", [
    (lambda o: MultiStepLR(o, [2.5]), "whole"),
    (lambda o: MultiStepLR(o, [-1]), "not negative"),
    (lambda o: MultiStepLR(o, [1], gamma=0), "gamma must be positive"),
    (lambda o: ExponentialLR(o, -0.1), "gamma must be positive"),
    (lambda o: ReduceLROnPlateau(o, factor=1.0), "factor must be between 0 and 1"),
    (lambda o: ReduceLROnPlateau(o, patience=-1), "patience >= 0"),
    (lambda o: ReduceLROnPlateau(o).step(), "needs the validation error"),
    (lambda o: WarmUp(Schedule(o), epochs=0), "epochs >= 1"),
    (lambda o: WarmUp(Schedule(o), epochs=1, start_factor=0), "start_factor"),
    (lambda o: StepWarmUp(Schedule(o), steps=0), "at least 1 step"),
    (lambda o: PolynomialLR(o, 0), "total_iters must be at least 1"),
    (lambda o: PolynomialLR(o, 3, -1.0), "power must be positive"),
    (lambda o: ReduceLROnPlateau(o).load_state_dict({"last_epoch": 3}), "another schedule"),
    (lambda o: WarmUp(Schedule(o), 1).load_state_dict({"last_epoch": 3}), "another schedule"),
])
def test_settings_that_make_no_sense_are_named(build, words):
    with pytest.raises(UsageError, match=words):
        build(Groups())


@pytest.fixture
def torch_lr():
    torch = pytest.importorskip("torch")
    return lambda: torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01), torch.optim.lr_scheduler


@pytest.mark.torch
@pytest.mark.parametrize("ours, theirs", [
    (lambda o: MultiStepLR(o, [2, 5, 5, 9], 0.2), lambda lib, o: lib.MultiStepLR(o, [2, 5, 5, 9], 0.2)),
    (lambda o: ExponentialLR(o, 0.9), lambda lib, o: lib.ExponentialLR(o, 0.9)),
    (lambda o: CosineAnnealingLR(o, 8, 1e-4), lambda lib, o: lib.CosineAnnealingLR(o, 8, 1e-4)),
    (lambda o: ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0.01, max_drops=99),
     lambda lib, o: lib.ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0.01, eps=0)),
    (lambda o: WarmUp(MultiStepLR(o, [3, 8]), epochs=4, start_factor=0.25),
     lambda lib, o: lib.ChainedScheduler([lib.LinearLR(o, 0.25, total_iters=4), lib.MultiStepLR(o, [3, 8])])),
    (lambda o: PolynomialLR(o, 9, 2.0), lambda lib, o: lib.PolynomialLR(o, 9, 2.0)),
], ids=["MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau", "WarmUp", "PolynomialLR"])
def test_same_rates_as_torch(torch_lr, ours, theirs):
    make_optimizer, lib = torch_lr
    optimizer = make_optimizer()
    reference = theirs(lib, optimizer)
    expected = [optimizer.param_groups[0]["lr"]]
    for error in ERRORS:
        optimizer.step()
        reference.step(error) if isinstance(reference, lib.ReduceLROnPlateau) else reference.step()
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(ours(Groups(0.01)), ERRORS) == pytest.approx(expected, rel=1e-12)
