"""Stochastic gradient descent with momentum, as the paper wrote it and as PyTorch writes it."""
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import backend
from .errors import RunError, UsageError
from .nn import Parameter
from .tree import list_parameters

RATES = ("lr", "momentum", "weight_decay")


class SGD:
    """Momentum SGD over parameters, or over groups [{"params": ..., "lr": ...}, ...].

        rule="2012"    v := m v - wd lr w - lr g      w := w + v        (paper section 5; Caffe)
        rule="torch"   v := m v + (g + wd w)          w := w - lr v     (PyTorch)

    With a constant rate both take the same steps. They part when lr changes: in the paper's form
    lr is inside v, so the old velocity fades over about 1 / (1 - m) steps; in torch's the whole
    velocity is rescaled at once. A parameter without a gradient is skipped, as in torch.

    Parameters, gradients and velocities live in three flat arrays, ordered by group, and each
    parameter's data and grad become views into them:

        flat        | conv1.weight | conv2.weight | fc.weight | conv1.bias | conv2.bias | ...
        flat_grad   |              |              |           |            |            |
        velocity    |              |              |           |            |            |

    So an update is one pass over memory, and a sum over several machines is one as well. Build
    the optimizer after moving or converting the model.

    Raises UsageError for an unknown rule, for rates that make no sense, and for parameters that
    are missing, named twice or of several dtypes.
    """

    def __init__(self, params: Iterable[Parameter] | Iterable[dict], lr: float,
                 momentum: float = 0.0, weight_decay: float = 0.0, rule: str = "2012") -> None:
        if rule not in ("2012", "torch"):
            raise UsageError(f"SGD: got rule {rule!r}, expected '2012' or 'torch'")
        self.rule = rule
        entries = list_parameters(params)
        if not entries:
            raise UsageError("SGD: got no parameters")
        groups = entries if isinstance(entries[0], dict) else [{"params": entries}]
        rates = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [
            {**rates, **group, "params": list_parameters(group["params"])} for group in groups]
        for group in self.param_groups:
            _check_rates(group)
            group.setdefault("initial_lr", group["lr"])  # what a schedule multiplies
        self._flatten()

    def _flatten(self) -> None:
        """Move all parameters into one array, with one of the same size for gradients and one for
        velocities."""
        params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in params}) != len(params):
            raise UsageError("SGD: a parameter is in two groups, or twice in one; each belongs to "
                             "one group, once")
        if len({p.dtype for p in params}) != 1:
            raise UsageError("SGD: parameters of several dtypes: "
                             f"{sorted({str(p.dtype) for p in params})}")
        xp = backend.xp_of(*[p.data for p in params])
        total = sum(p.size for p in params)
        self.flat = xp.zeros(total, params[0].dtype)
        self.flat_grad = xp.zeros(total, params[0].dtype)
        self.velocity = xp.zeros(total, params[0].dtype)
        self._places: dict[int, slice] = {}  # id of a parameter -> its part of the flat arrays
        self._views: dict[int, tuple[Any, Any]] = {}  # -> the views that it was given
        start = 0
        for p in params:
            place = slice(start, start + p.size)
            self._places[id(p)] = place
            self.flat[place] = p.data.reshape(-1)  # (O,C,KH,KW) -> (O*C*KH*KW,)
            p.data = self.flat[place].reshape(p.shape)  # a view of the same numbers
            p.grad_place = self.flat_grad[place].reshape(p.shape)
            if p.grad is not None:
                p.grad_place[...] = p.grad
                p.grad = p.grad_place
            self._views[id(p)] = p.data, p.grad_place
            start = place.stop

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy.deepcopy: all but the flat parameters and the dictionaries by id,
        which are made anew from the parameters' copies."""
        anew = ("flat", "flat_grad", "_places", "_views")
        return {name: value for name, value in vars(self).items() if name not in anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._flatten()
        self.velocity = state["velocity"]

    def step(self) -> None:
        """Update every parameter that has a gradient; neighbours in memory share a kernel call."""
        kernels = backend.kernels_for(self.flat)
        for group in self.param_groups:
            for part in self._parts(group["params"]):
                kernels.sgd(self.flat[part], self.flat_grad[part], self.velocity[part],
                            group["lr"], group["momentum"], group["weight_decay"], self.rule)
            for p in group["params"]:
                p.version += p.grad is not None  # a graph that holds the old weight refuses

    def _parts(self, params: list[Parameter]) -> list[slice]:
        """The parts of the flat arrays that hold parameters with gradients, as few as possible.

        Raises UsageError for a parameter whose data are no longer in the flat arrays.
        """
        parts: list[slice] = []
        for p in params:
            if p.grad is None:
                continue
            data, grad_place = self._views[id(p)]
            if p.data is not data or p.grad_place is not grad_place:
                raise UsageError(f"SGD: a parameter of shape {p.shape} has left this optimizer's "
                                 "flat arrays: another optimizer took it, or .data was set or "
                                 "converted; build the optimizer last")
            if p.grad is not p.grad_place:  # .grad was set to a new array, a clipped one perhaps
                p.grad_place[...] = p.grad
            place = self._places[id(p)]
            if parts and parts[-1].stop == place.start:
                parts[-1] = slice(parts[-1].start, place.stop)
            else:
                parts.append(place)
        return parts

    def zero_grad(self) -> None:
        """Forget all gradients; the next backward pass overwrites them."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"velocity": the flat velocities (host copy), "groups": the rates of each group}."""
        groups = [{name: value for name, value in group.items() if name != "params"}
                  for group in self.param_groups]
        return {"velocity": np.array(backend.to_numpy(self.velocity)), "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take velocities and rates from a state_dict. Raises RunError when they belong to another
        set of parameters."""
        velocity = state["velocity"]
        groups = state["groups"]
        if velocity.shape != self.velocity.shape or len(groups) != len(self.param_groups):
            raise RunError(f"the optimizer's state has {velocity.size} velocities in "
                           f"{len(groups)} groups, expected {self.velocity.size} in "
                           f"{len(self.param_groups)}")
        self.velocity[...] = backend.asarray(velocity, self.velocity.dtype)
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update(saved)


def _check_rates(group: dict[str, Any]) -> None:
    """Raises UsageError for rates that make no sense."""
    for name in RATES:
        if not (np.isfinite(group[name]) and group[name] >= 0):
            raise UsageError(f"SGD: got {name} = {group[name]}, expected a finite number of at "
                             "least 0")
    if group["momentum"] >= 1:
        raise UsageError(f"SGD: got momentum = {group['momentum']}, expected less than 1, or no "
                         "velocity fades")
