"""The geometry of sliding windows, for convolution, pooling and the locally connected layer.

Along one axis, output o looks with kernel tap k at input position  o S - P + k D.  All the
arithmetic of output sizes and of edges is here, once, for every kernel.
"""
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ShapeError

Pair = tuple[int, int]


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up, for b > 0. Python's // rounds down, so round -a / b down and negate."""
    return -(-a // b)


def group_slices(channels: int, groups: int) -> list[slice]:
    """The channels of each group: group g has those from g channels / groups on."""
    return [slice(g * channels // groups, (g + 1) * channels // groups) for g in range(groups)]


def pair(value: int | Sequence[int], name: str, least: int) -> Pair:
    """`value` as a pair (rows, columns); one integer, or one alone in a tuple, counts for both.

    Raises ShapeError when it is neither an integer of at least `least` nor a pair of them.
    """
    if type(value) is int and value >= least:  # most often, and every operation asks four times
        return value, value
    values = value if isinstance(value, tuple | list) else (value,)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or not all(hasattr(v, "__index__") and int(v) >= least for v in values):
        raise ShapeError(f"{name} must be an integer of at least {least}, or a pair of them, "
                         f"got {value!r}")
    return int(values[0]), int(values[1])


@dataclass(frozen=True)
class Window:
    """Kernel, stride, padding and dilation, each (rows, columns), and the rounding of sizes.

    floor (PyTorch, Caffe convolution):  O = 1 + floor((I + 2P - D(K-1) - 1) / S)
    ceil_mode (the 2012 code):           O = 1 + ceil((I + 2P - D(K-1) - 1) / S)

    With ceil, the last windows reach past the right and bottom edge and read padding there (zeros
    in a convolution, nothing at all in a pool): 1 + ceil((224 - 11) / 4) = 55 is how the paper's
    224 gives 55. A last window that would *start* past the image and its left padding is not
    added, as in PyTorch's pooling; and one window is there, reaching past the edge, where the
    whole padded input is smaller than a window by less than a stride.
    Sources: computerhistory/AlexNet-Source-Code layer.py:1004 and :1164; torch.nn.MaxPool2d.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @classmethod
    def of(cls, kernel_size: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0,
           dilation: int | Pair = 1, ceil_mode: bool = False) -> "Window":
        """Build a Window from integers or pairs.

        Raises ShapeError when a kernel, stride or dilation is below 1 or a padding below 0.
        """
        return cls(pair(kernel_size, "kernel_size", 1), pair(stride, "stride", 1),
                   pair(padding, "padding", 0), pair(dilation, "dilation", 1), bool(ceil_mode))

    def span(self, axis: int) -> int:
        """How many input cells one window spans: D(K-1) + 1."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def out(self, *sizes: int) -> Pair:
        """(OH, OW) of an input (H, W).

        Raises ShapeError when the window is larger than the padded input, with ceil_mode by a
        stride or more.
        """
        result = []
        for axis, size in enumerate(sizes):
            stride = self.stride[axis]
            padding = self.padding[axis]
            room = size + 2 * padding - self.span(axis)
            missing = self.stride[axis] if self.ceil_mode else 1  # what no window may lack
            if room <= -missing or size < 1:
                raise ShapeError(f"a window of {self.span(axis)} {('rows', 'columns')[axis]} "
                                 f"(kernel {self.kernel[axis]}, dilation {self.dilation[axis]}) "
                                 f"does not fit into {size} + 2 x {padding} padding; "
                                 "use a smaller kernel or more padding")
            steps = max(0, room // stride)
            start = (steps + 1) * stride  # of one more window, reaching past the edge
            if self.ceil_mode and room > 0 and room % stride and start < size + padding:
                steps += 1
            result.append(1 + steps)
        return result[0], result[1]

    def padded(self, sizes: Pair, out: Pair) -> Pair:
        """(HP, WP): how far the windows of an output `out` reach, from the first padding cell to
        the last tap."""
        return (self.stride[0] * (out[0] - 1) + self.span(0),
                self.stride[1] * (out[1] - 1) + self.span(1))

    def tap(self, axis: int, k: int, size: int, out: int) -> tuple[slice, slice]:
        """Where tap k of the kernel meets the image, as (slice of outputs, slice of inputs).

        These are the outputs o with 0 <= o S - P + k D < size and the inputs that they look at;
        both slices are empty when the tap sees padding only. K = 3, S = 2, P = 1 on 6 pixels:

            window 0    P 0 1                 tap 0: outputs 1 2    inputs 1 3
            window 1        1 2 3             tap 1: outputs 0 1 2  inputs 0 2 4
            window 2            3 4 5         tap 2: outputs 0 1 2  inputs 1 3 5
        """
        stride = self.stride[axis]
        offset = k * self.dilation[axis] - self.padding[axis]
        first = max(0, ceil_div(-offset, stride))           # the least o with o S + offset >= 0
        last = min(out - 1, (size - 1 - offset) // stride)  # the largest with o S + offset < size
        if last < first:
            return slice(0, 0), slice(0, 0)
        inputs = slice(first * stride + offset, last * stride + offset + 1, stride)
        return slice(first, last + 1), inputs
