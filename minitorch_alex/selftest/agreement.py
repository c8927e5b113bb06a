"""Whether two implementations of the kernels agree."""
import numpy as np

from .. import backend
from ..kernels import cpu, naive
from .families import Draws, Family

# The largest error that is allowed, as a share of the largest value, by the precision of float32
# products. bf16 has three bits fewer than tf32 and fp16.
TOLERANCE = {"float64": 1e-11, "fp32": 2e-5, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}


def check_kernels(family: Family, precision: str, cases: int) -> str:
    """A family of kernels in float32 and in float64."""
    errors = {}
    for dtype, allowed in ((np.float32, TOLERANCE[precision]), (np.float64, TOLERANCE["float64"])):
        name = np.dtype(dtype).name
        errors[name] = kernel_error(family, dtype, cases)
        if not errors[name] <= allowed:  # not >: a nan has to fail
            raise AssertionError(f"{name} differs by {errors[name]:.1e}, expected at most "
                                 f"{allowed:.0e}")
    return "   ".join(f"{name} {error:.1e}" for name, error in errors.items())


def kernel_error(family: Family, dtype: type, cases: int) -> float:
    """The largest error of a family of kernels of the current backend, as a share of the largest
    value of its result. The reference, in float64, is the CPU's kernels, or for NumPy, whose
    kernels these are, the plain loops."""
    tested = backend.current().kernels
    reference = naive if tested is cpu else cpu
    worst = 0.0
    for case in range(cases):
        results = family(tested, Draws(case, backend.asarray, dtype))
        expected = family(reference, Draws(case, np.asarray, np.float64))
        for got, want in zip(map(backend.to_numpy, results), expected, strict=True):
            if got.shape != want.shape or got.dtype != dtype:
                raise AssertionError(f"got {got.shape} {got.dtype}, expected {want.shape} "
                                     f"{np.dtype(dtype)}")
            # of the largest value: a share of a sum that comes out as about 0 means nothing
            error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
            worst = max(worst, float("inf") if np.isnan(error) else float(error))
    return worst
