"""What every optimizer has: parameters in flat arrays, groups with rates of their own, a state."""
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import backend
from .errors import RunError, UsageError
from .module import Parameter
from .tree import intersections, list_parameters


class Optimizer:
    """Parameters in flat arrays, ordered by group; a subclass says how a step changes them.

    Parameters, gradients, and what the rule keeps of each parameter from step to step (`kept`:
    the velocities of SGD), live in flat arrays, and each parameter's data and grad become views
    into them:

        flat        | conv1.weight | conv2.weight | fc.weight | conv1.bias | conv2.bias | ...
        flat_grad   |              |              |           |            |            |
        velocity    |              |              |           |            |            |

    So an update is one pass over memory, and a sum over several machines is one as well. Build
    the optimizer after moving or converting the model.

    Raises UsageError for rates that make no sense, and for parameters that are missing, named
    twice or of several dtypes.
    """

    kept: tuple[str, ...]
    flat: Any
    flat_grad: Any
    own: list[slice] | None = None  # the parts of the flat arrays that a step changes; None: all

    def __init__(self, params: Iterable[Parameter | dict], rates: dict[str, Any]) -> None:
        self.name = type(self).__name__
        entries = list_parameters(params)
        if not entries:
            raise UsageError(f"{self.name}: got no parameters")
        groups = entries if isinstance(entries[0], dict) else [{"params": entries}]
        self.param_groups: list[dict[str, Any]] = [
            {**rates, **group, "params": list_parameters(group["params"])} for group in groups]
        for group in self.param_groups:
            self.check(group)
            group.setdefault("initial_lr", group["lr"])  # what a schedule multiplies
        self._flatten()

    def check(self, group: dict[str, Any]) -> None:
        """Raises UsageError for rates of a group that make no sense."""
        for name in ("lr", "momentum", "eps", "weight_decay", "trust"):
            if name in group and not (np.isfinite(group[name]) and group[name] >= 0):
                raise UsageError(f"{self.name}: got {name} = {group[name]}, expected a finite "
                                 "number of at least 0")
        if group.get("momentum", 0) >= 1:
            raise UsageError(f"{self.name}: got momentum = {group['momentum']}, expected less "
                             "than 1, or no velocity fades")

    def _flatten(self) -> None:
        """Move all parameters into one array, with one of the same size for gradients and one for
        each that the rule keeps."""
        params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in params}) != len(params):
            raise UsageError(f"{self.name}: a parameter is in two groups, or twice in one; each "
                             "belongs to one group, once")
        if len({p.dtype for p in params}) != 1:
            raise UsageError(f"{self.name}: parameters of several dtypes: "
                             f"{sorted({str(p.dtype) for p in params})}")
        xp = backend.xp_of(*[p.data for p in params])
        total = sum(p.size for p in params)
        for name in ("flat", "flat_grad", *self.kept):
            setattr(self, name, xp.zeros(total, params[0].dtype))
        self._places: dict[int, slice] = {}  # id of a parameter -> its part of the flat arrays
        self._views: dict[int, tuple[Any, Any]] = {}  # -> the views that it was given
        start = 0
        for p in params:
            place = slice(start, start + p.size)
            self._places[id(p)] = place
            self.flat[place] = p.data.reshape(-1)  # (O,C,KH,KW) -> (O*C*KH*KW,)
            p.data = self.flat[place].reshape(p.shape)  # a view of the same numbers
            p.grad_place = self.flat_grad[place].reshape(p.shape)  # (O*C*KH*KW,) -> (O,C,KH,KW)
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
        for name in self.kept:
            setattr(self, name, state[name])

    def step(self) -> None:
        """Update every parameter that has a gradient; neighbours in memory share a kernel call."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

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
                raise UsageError(f"{self.name}: a parameter of shape {p.shape} has left this "
                                 "optimizer's flat arrays: another optimizer took it, or .data "
                                 "was set or converted; build the optimizer last")
            if p.grad is not p.grad_place:  # .grad was set to a new array, a clipped one perhaps
                p.grad_place[...] = p.grad
            place = self._places[id(p)]
            if parts and parts[-1].stop == place.start:
                parts[-1] = slice(parts[-1].start, place.stop)
            else:
                parts.append(place)
        return parts if self.own is None else intersections(parts, self.own)

    def zero_grad(self) -> None:
        """Forget all gradients; the next backward pass overwrites them."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"velocity": the flat velocities (host copy), "groups": the rates of each group}, or
        what else the rule keeps."""
        groups = [{name: value for name, value in group.items() if name != "params"}
                  for group in self.param_groups]
        arrays = {name: np.array(backend.to_numpy(getattr(self, name))) for name in self.kept}
        return {**arrays, "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take velocities (or what else the rule keeps) and rates from a state_dict. Raises
        RunError when they belong to another set of parameters."""
        groups = state["groups"]
        sizes = {state[name].size if name in state else 0 for name in self.kept}
        if sizes != {self.flat.size} or len(groups) != len(self.param_groups):
            raise RunError(f"the optimizer's state has {max(sizes)} velocities in "
                           f"{len(groups)} groups, expected {self.flat.size} in "
                           f"{len(self.param_groups)}")
        for name in self.kept:
            getattr(self, name)[...] = backend.asarray(state[name], self.flat.dtype)
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update(saved)
