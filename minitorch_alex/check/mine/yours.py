"""A function of the learner, as the adapters call it."""
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import UserError
from ...kernels.workers import parallel_list


class Yours:
    """A function of the learner, which names itself when a result has the wrong shape.

    It is called with BLAS at one thread, as the package's kernels are: on a busy machine waiting
    for BLAS's own threads costs more than they save.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name

    def __call__(self, *args: Any) -> Any:
        results: list[Any] = []
        parallel_list([lambda: results.append(self.function(*args))])
        return results[0]

    def array(self, result: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """`result` as an array of that dtype: the checks use float64, training uses float32.

        Raises UserError when the shape is another one.
        """
        result = np.asarray(result, dtype)
        if result.shape != shape:
            raise UserError(f"{self.name} gave an array of shape {result.shape}, expected "
                            f"{shape}; it passed its check at other sizes: try it at this one")
        return result


Functions = dict[str, Yours]
Adapter = Callable[[Functions], Callable[..., Any]]
