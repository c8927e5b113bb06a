"""ReLU's gradient, computed by the layer behind it.

Backward, a ReLU is a gate: it lets gy pass where y > 0, and gives 0 elsewhere. That is a pass of
its own over three large arrays. A layer directly behind the ReLU can do it on its way: LRN reads y
in its backward pass anyway, and max pool knows from its maxima where y > 0.

    apart          gy ──lrn_backward──> g ──relu_backward──> gx
    on the way     gy ──lrn_backward_of_relu───────────────> gx

The engine takes no part in this, and the graph is the same as without. The layer behind finds the
ReLU at the other end of its edge, and leaves there the gradient that has been through the gate.
When the ReLU's turn comes and it is given that very array, it hands it on. If somebody else used
the ReLU's result too, it is given the sum of their gradients, which is another array, and applies
its gate as always: twice through the gate is once through the gate.
"""
from collections.abc import Callable
from typing import Any

from .. import backend
from ..autograd import Function

Array = Any  # NumPy's or a device's


class Gate(Function):
    """A Function whose gradient is gy where its result is positive, else 0."""

    gated: Array | None = None  # the gradient that the layer behind has sent through this gate

    def has_passed(self, gy: Array) -> bool:
        """Whether gy has been through this gate. Forgets it, so that its memory is not kept."""
        gated = self.gated
        self.gated = None
        return gy is gated


class BehindGate(Function):
    """A Function whose kernels may apply the gate of a Gate directly before it."""

    applies_gate = False

    def kernel(self, name: str, x: Array) -> Callable[..., Any]:
        """The kernel `name` for the array x; `name_of_relu`, which applies the gate as well, where
        there is a gate to apply and these kernels can; `name_values`, which saves nothing for a
        backward pass, where there will be none and these kernels have it."""
        kernels = backend.kernels_for(x)
        if not self.needs[0] and hasattr(kernels, f"{name}_values"):
            return getattr(kernels, f"{name}_values")
        source = self.edges[0][0] if self.edges else None
        self.applies_gate = isinstance(source, Gate) and hasattr(kernels, f"{name}_of_relu")
        return getattr(kernels, f"{name}_of_relu" if self.applies_gate else name)

    def hand_back(self, gx: Array) -> Array:
        """gx, for the end of backward: the gate before learns whether it has been through it."""
        source = self.edges[0][0] if self.edges else None
        if self.applies_gate and isinstance(source, Gate):
            source.gated = gx
        return gx
