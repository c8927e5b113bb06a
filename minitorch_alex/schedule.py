"""Learning-rate schedules: the rate as a function of the epoch, or of the validation error.

Each schedule is one number, `scale()`, and every parameter group's learning rate is

    lr = initial_lr * scale()

computed from `initial_lr` at each step, never by multiplying the last value. So a group with twice
the rate (the biases of AlexNet) keeps twice the rate, and a schedule restored from its
`state_dict` sets exactly the rates that it would have reached without the interruption. A group
with the entry "constant": True keeps its `initial_lr` whatever the schedule says. Names and
meaning are those of torch.optim.lr_scheduler: build the schedule on the optimizer, call `step()`
once at the end of each epoch.

    schedule = WarmUp(MultiStepLR(optimizer, milestones=[25, 51, 79]), epochs=2, start_factor=0.1)
    for epoch in range(schedule.last_epoch, 90):
        ...
        schedule.step(val_error)      # only ReduceLROnPlateau looks at the number
"""
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

from .errors import UsageError


class HasGroups(Protocol):
    """An optimizer, as far as schedules know it: groups with 'lr' and perhaps 'initial_lr'."""

    param_groups: list[dict[str, Any]]


class Schedule:
    """The base class, and a constant rate: counts epochs and writes `initial_lr * scale()` into
    every group.

    `last_epoch` is the number of `step()` calls so far, which is the index of the epoch about to
    run (PyTorch's name and meaning). `initial_lr` is taken from 'lr' where a group does not have
    it yet.
    """

    moves: tuple[str, ...] = ("last_epoch",)  # the attributes that training changes: the state

    def __init__(self, optimizer: HasGroups) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # kept by a group that has it: on resuming
        self._apply()  # epoch 0 may have a rate of its own, at the start of a warm-up

    def scale(self) -> float:
        """The factor on every group's initial learning rate, now."""
        return 1.0

    def step(self, metric: float | None = None) -> None:
        """End an epoch; `metric` is its validation error, if known (smaller is better)."""
        self.last_epoch += 1
        self._apply()

    def before_step(self, step: int) -> None:
        """Told before each training step, with its number from 0; only StepWarmUp listens."""

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group, as last set."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The attributes that training changes, in JSON's types; no settings."""
        return {name: getattr(self, name) for name in self.moves}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was written, and set the learning rates. Raises UsageError for the
        state of another schedule."""
        if set(state) != set(self.state_dict()):
            raise UsageError(f"{type(self).__name__} cannot resume from the state of another "
                             f"schedule: expected {sorted(self.state_dict())}, "
                             f"got {sorted(state)}")
        for name in self.moves:
            setattr(self, name, state[name])
        self._apply()

    def rate(self, initial: float) -> float:
        """The learning rate, now, of a group that began with this one."""
        return initial * self.scale()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            initial = group["initial_lr"]
            group["lr"] = initial if group.get("constant") else self.rate(initial)


class MultiStepLR(Schedule):
    """lr = initial_lr * gamma^(number of milestones <= epoch): a drop at the start of each
    milestone's epoch.

    The 2012 network was run by hand this way: 0.01, then a tenth of the rate before from epochs
    25, 51 and 79 on (AlexNet-Source-Code, layers/layer-params-145.cfg:169-180). A milestone named
    twice counts twice, as in PyTorch; without milestones the rate is constant. Raises UsageError
    for a negative or fractional milestone, or gamma <= 0.
    """

    def __init__(self, optimizer: HasGroups, milestones: Sequence[int],
                 gamma: float = 0.1) -> None:
        if any(m != int(m) or m < 0 for m in milestones):
            raise UsageError("milestones are epoch numbers, whole and not negative: got "
                             f"{list(milestones)}")
        self.milestones = sorted(int(m) for m in milestones)
        self.gamma = _positive("gamma", gamma)
        super().__init__(optimizer)

    def scale(self) -> float:
        # bisect_right counts the milestones <= last_epoch, each as often as it is named.
        return self.gamma ** bisect_right(self.milestones, self.last_epoch)


class ExponentialLR(Schedule):
    """lr = initial_lr * gamma^epoch. Raises UsageError for gamma <= 0.

    Notes in AlexNet-Source-Code found plain exponential decay worse than sharp drops
    (layers/layer-params-170-4gpu-exp.cfg, "exp is bad"); it is here to compare.
    """

    def __init__(self, optimizer: HasGroups, gamma: float) -> None:
        self.gamma = _positive("gamma", gamma)
        super().__init__(optimizer)

    def scale(self) -> float:
        return self.gamma ** self.last_epoch


class CosineAnnealingLR(Schedule):
    """lr = eta_min + (initial_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2: half a wave down to
    eta_min at epoch T_max, and up again after it, as in PyTorch (Loshchilov and Hutter 2017).

    Not of 2012: one number, the length of training, in place of milestones.
    Raises UsageError for T_max < 1 or a negative eta_min.
    """

    def __init__(self, optimizer: HasGroups, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1 or not eta_min >= 0:
            raise UsageError(f"expected T_max >= 1 and eta_min >= 0, got {T_max} and {eta_min}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def scale(self) -> float:
        return (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2

    def rate(self, initial: float) -> float:
        return self.eta_min + (initial - self.eta_min) * self.scale()


class PolynomialLR(Schedule):
    """lr = initial_lr * (1 - epoch / total_iters)^power, and 0 from epoch total_iters on.

    PyTorch's name and meaning. With power 2 it is how LARS was run (borisgin/nvcaffe,
    models/bvlc_alexnet/solver.prototxt: lr_policy "poly", there by iteration).
    Raises UsageError for total_iters < 1 or power <= 0.
    """

    def __init__(self, optimizer: HasGroups, total_iters: int, power: float = 1.0) -> None:
        if total_iters < 1:
            raise UsageError(f"total_iters must be at least 1, got {total_iters}")
        self.total_iters = total_iters
        self.power = _positive("power", power)
        super().__init__(optimizer)

    def scale(self) -> float:
        left = 1 - min(self.last_epoch, self.total_iters) / self.total_iters
        return left ** self.power


class ReduceLROnPlateau(Schedule):
    """lr = initial_lr * factor^drops: a drop each time the validation error stalls, `max_drops` in
    all.

    Paper, section 5: "divide the learning rate by 10 when the validation error rate stopped
    improving with the current learning rate. The learning rate was initialized at 0.01 and reduced
    three times prior to termination."

    An epoch improves when metric < best * (1 - threshold). After more than `patience` epochs in a
    row without that, the rate drops and the count restarts, while `best` stays: PyTorch's rule
    with mode="min", threshold_mode="rel" and no cooldown. A NaN is not an improvement. Unlike
    PyTorch's, `max_drops` ends the drops, and there is no `eps` below which a drop is skipped.
    Raises UsageError when factor is outside (0, 1), when patience, threshold or max_drops is out
    of range, and for step() without a metric.
    """

    moves = ("last_epoch", "best", "num_bad_epochs", "drops")

    def __init__(self, optimizer: HasGroups, factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, max_drops: int = 3) -> None:
        if not 0 < factor < 1:
            raise UsageError(f"factor must be between 0 and 1, got {factor}")
        if patience < 0 or max_drops < 0 or not 0 <= threshold < 1:
            raise UsageError(f"expected patience >= 0, max_drops >= 0 and 0 <= threshold < 1, "
                             f"got {patience}, {max_drops} and {threshold}")
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.max_drops = max_drops
        self.best: float | None = None  # None before the first epoch: infinity is not JSON
        self.num_bad_epochs = 0
        self.drops = 0
        super().__init__(optimizer)

    def scale(self) -> float:
        return self.factor ** self.drops

    def step(self, metric: float | None = None) -> None:
        if metric is None:
            raise UsageError("ReduceLROnPlateau needs the validation error: call step(val_error)")
        metric = float(metric)
        best = math.inf if self.best is None else self.best
        if metric < best * (1 - self.threshold):  # False for a NaN
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.num_bad_epochs > self.patience and self.drops < self.max_drops:
            self.drops += 1
            self.num_bad_epochs = 0
        super().step()


class WarmUp(Schedule):
    """scale = ramp * (scale of the wrapped schedule), ramp = a + (1 - a) * min(1, epoch / epochs).

    a is `start_factor`. Not in the paper: a remedy for a deep net that does not leave its initial
    loss. The wrapped schedule counts every epoch from 0, so its milestones stay plain epoch
    numbers. PyTorch's ChainedScheduler([LinearLR(start_factor=a, total_iters=epochs), schedule])
    gives the same rates. Raises UsageError for epochs < 1 or a start_factor outside (0, 1].
    """

    def __init__(self, schedule: Schedule, epochs: int, start_factor: float = 0.1) -> None:
        if epochs < 1 or not 0 < start_factor <= 1:
            raise UsageError(f"expected epochs >= 1, 0 < start_factor <= 1; got {epochs} and "
                             f"{start_factor}")
        self.schedule = schedule
        self.epochs = epochs
        self.start_factor = start_factor
        super().__init__(schedule.optimizer)

    def scale(self) -> float:
        return self._ramp() * self.schedule.scale()

    def rate(self, initial: float) -> float:
        # Floating-point products depend on their order: this is the one of `initial * scale()`,
        # unless the wrapped schedule has a rate of its own kind.
        if type(self.schedule).rate is Schedule.rate:
            return super().rate(initial)
        return self._ramp() * self.schedule.rate(initial)

    def _ramp(self) -> float:
        progress = min(1.0, self.last_epoch / self.epochs)
        return self.start_factor + (1 - self.start_factor) * progress

    def step(self, metric: float | None = None) -> None:
        self.schedule.step(metric)  # which sets rates without the ramp,
        super().step()              # and these replace them

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state.get("schedule", {}))  # {}: refused, as it should be
        super().load_state_dict(state)


class StepWarmUp(WarmUp):
    """WarmUp whose ramp rises with every training step instead of every epoch:
    ramp = a + (1 - a) * min(1, step / steps), for a loop that calls `before_step(step)`.

    With a batch of 8,192 an epoch of ImageNet has 156 steps, and a rate that stands still for an
    epoch and then jumps is what large batches do not bear: Goyal et al. 2017 (arXiv:1706.02677,
    section 2.2) raise it after each step of the first five epochs, from the rate of one worker
    (a = 1 / number of workers). Raises UsageError for steps < 1 or a start_factor outside (0, 1].
    """

    moves = ("last_epoch", "last_step")

    def __init__(self, schedule: Schedule, steps: int, start_factor: float = 0.1) -> None:
        if steps < 1:
            raise UsageError(f"a warm-up needs at least 1 step, got {steps}")
        self.steps = steps
        self.last_step = 0
        super().__init__(schedule, epochs=1, start_factor=start_factor)  # _ramp below counts steps

    def before_step(self, step: int) -> None:
        rising = self.last_step < self.steps
        self.last_step = step
        if rising:
            self._apply()

    def _ramp(self) -> float:
        progress = min(1.0, self.last_step / self.steps)
        return self.start_factor + (1 - self.start_factor) * progress


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise UsageError(f"{name} must be positive, got {value}")
    return value
