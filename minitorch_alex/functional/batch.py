"""One image in place of a batch."""
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Operation = TypeVar("Operation", bound=Callable[..., Any])


def one_or_many(operation: Operation) -> Operation:
    """An operation on batches of images made to take one image too: (C,H,W) goes in as (1,C,H,W),
    and what comes out loses that axis again."""
    @functools.wraps(operation)
    def call(x, *args, **settings):
        if x.ndim != 3:
            return operation(x, *args, **settings)
        # (C, H, W) -> (1, C, H, W)
        y = operation(x.reshape(1, *x.shape), *args, **settings)
        if isinstance(y, tuple):
            # each of (1, C, OH, OW) -> (C, OH, OW)
            return tuple(part.reshape(part.shape[1:]) for part in y)
        return y.reshape(y.shape[1:])  # (1, C, OH, OW) -> (C, OH, OW)
    return cast(Operation, call)
