"""Stochastic gradient descent with momentum, as the paper wrote it and as PyTorch writes it."""
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import backend
from .errors import RunError, UsageError
from .nn import Parameter

DEFAULTS = ("lr", "momentum", "weight_decay")


class SGD:
    """Momentum SGD over parameters, or over groups [{"params": ..., "lr": ..., "weight_decay": ...}, ...].

        rule="2012"    v := m v - wd lr w - lr g      w := w + v          (paper section 5; Caffe the same)
        rule="torch"   v := m v + (g + wd w)          w := w - lr v

    With a constant rate both take the same steps. They part when lr changes: in the paper's form lr is inside v, so
    the old velocity fades over about 1 / (1 - m) steps; in torch's the whole velocity is rescaled at once.

    Parameters, gradients and velocities live in three flat arrays, ordered by group; each parameter's data and grad
    become views. The update is then one pass over memory, and one sum over machines when training goes parallel. A
    parameter without a gradient is skipped, as in torch. Build the optimiser after moving or converting the model.
    """

    def __init__(self, params: Iterable[Parameter] | Iterable[dict], lr: float, momentum: float = 0.0,
                 weight_decay: float = 0.0, rule: str = "2012") -> None:
        if rule not in ("2012", "torch"):
            raise UsageError(f"SGD: got rule {rule!r}, expected '2012' or 'torch'")
        self.rule = rule
        groups = list(params)
        if not groups:
            raise UsageError("SGD: got no parameters")
        groups = groups if isinstance(groups[0], dict) else [{"params": groups}]
        shared = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [{**shared, **g, "params": list(g["params"])} for g in groups]
        for group in self.param_groups:
            for name in DEFAULTS:
                if not (np.isfinite(group[name]) and group[name] >= 0):
                    raise UsageError(f"SGD: got {name} = {group[name]}, expected a finite number of at least 0")
            if group["momentum"] >= 1:
                raise UsageError(f"SGD: got momentum = {group['momentum']}, expected less than 1, or no velocity fades")
            group.setdefault("initial_lr", group["lr"])
        self._flatten()

    def _flatten(self) -> None:
        """Move all parameters into one array, with one of the same size for gradients and one for velocities."""
        params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in params}) != len(params):
            raise UsageError("SGD: a parameter is in two groups; each belongs to one")
        if len({p.dtype for p in params}) != 1:
            raise UsageError(f"SGD: parameters of several dtypes: {sorted({str(p.dtype) for p in params})}")
        xp = backend.xp_of(*[p.data for p in params])
        total = sum(p.size for p in params)
        self.flat, self.flat_grad, self.velocity = (xp.zeros(total, params[0].dtype) for _ in range(3))
        start = 0
        self._places: dict[int, slice] = {}
        self._views: dict[int, tuple[Any, Any]] = {}
        for p in params:
            place = self._places[id(p)] = slice(start, start + p.size)
            self.flat[place] = p.data.reshape(-1)
            p.data = self.flat[place].reshape(p.shape)
            p.grad_place = self.flat_grad[place].reshape(p.shape)
            if p.grad is not None:
                p.grad_place[...] = p.grad
                p.grad = p.grad_place
            self._views[id(p)] = p.data, p.grad_place
            start = place.stop

    def step(self) -> None:
        """Update every parameter that has a gradient, with neighbours in memory done in one go."""
        for group in self.param_groups:
            for run in self._runs(group["params"]):
                backend.kernels_for(self.flat).sgd(
                    self.flat[run], self.flat_grad[run], self.velocity[run],
                    group["lr"], group["momentum"], group["weight_decay"], self.rule)

    def _runs(self, params: list[Parameter]) -> list[slice]:
        """The stretches of the flat arrays that hold parameters with gradients."""
        runs: list[slice] = []
        for p in params:
            if p.grad is None:
                continue
            data, place = self._views[id(p)]
            if p.data is not data or p.grad_place is not place:
                raise UsageError(f"SGD: a parameter of shape {p.shape} has left this optimiser's flat arrays: "
                                 "another optimiser took it, or .data was set or converted: build the optimiser last")
            if p.grad is not p.grad_place:  # someone set .grad afresh, to clip it say
                p.grad_place[...] = p.grad
            part = self._places[id(p)]
            if runs and runs[-1].stop == part.start:
                runs[-1] = slice(runs[-1].start, part.stop)
            else:
                runs.append(part)
        return runs

    def zero_grad(self) -> None:
        """Forget all gradients; the next backward writes them afresh."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"velocity": the flat velocities (host copy), "groups": the rates of each group}."""
        return {"velocity": np.array(backend.to_numpy(self.velocity)),
                "groups": [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take velocities and rates from a state_dict; RunError when they belong to another set of parameters."""
        if state["velocity"].shape != self.velocity.shape or len(state["groups"]) != len(self.param_groups):
            raise RunError(f"the optimiser's state has {state['velocity'].size} velocities in {len(state['groups'])} "
                           f"groups, expected {self.velocity.size} in {len(self.param_groups)}")
        self.velocity[...] = backend.asarray(state["velocity"], self.velocity.dtype)
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.update(saved)
