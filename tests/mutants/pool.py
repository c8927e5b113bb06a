"""Mistakes in pooling."""
from . import Mutant

MUTANTS = (
    Mutant("pool-gate-at-zero", "a pool of windows of zeros hands a gradient to the silent ReLU before it",
           "kernels.cpu.pool:max_pool2d_of_relu", "flat_y[t] <= 0", "flat_y[t] < 0", "check_pool_behind_a_relu"),
    Mutant("pool-values-of-one-axis", "without winners, the columns' first taps count for all",
           "kernels.cpu.pool:max_pool2d_values", "_max_along(middle, win, 1, y[n0:n1])",
           "y[n0:n1] = middle[:, :, :y.shape[2]]", "check_max_pool2d_values"),
    Mutant("avg-pool-gradient-kept", "cells that no window sees keep what was in memory",
           "kernels.cpu.pool:_beyond", "seen.stop - 1 + stride", "seen.stop + stride", "check_avg_pool2d"),
    Mutant("max-pool-padded-with-0", "the padding counts as 0 and wins over negative pixels",
           "kernels.cpu.pool:_max_along", "best.fill(-np.inf)", "best.fill(0)", "check_max_pool2d"),
    Mutant("last-of-equals-wins", "of equal values the last of a window takes the gradient",
           "kernels.cpu.pool:_larger", "np.greater(", "np.greater_equal(", "check_ties_in_max_pool2d"),
    Mutant("pool-phases-mixed-up", "the columns between the windows' first ones are not looked at",
           "kernels.cpu.pool:_phases", "slice(r, None, S)", "slice(0, None, S)", "check_max_pool2d"),
    Mutant("pool-tap-of-a-phase-late", "a tap sees the columns that the next window's tap should see",
           "kernels.cpu.pool:_tap", "slice(ins.start // S, (ins.stop - 1) // S + 1)",
           "slice((ins.start + 1) // S, (ins.stop - 1) // S + 1 + (ins.start + 1) // S - ins.start // S)",
           "check_max_pool2d_values"),
    Mutant("max-pool-gradient-assigned", "a pixel that won several windows keeps the last one's gradient only",
           "kernels.cpu.pool:_give_to_winners", "gx[_at(axis, ins)] += ", "gx[_at(axis, ins)] = ", "check_max_pool2d"),
    Mutant("ties-all-win", "every cell that equals the maximum gets the whole gradient",
           "kernels.cpu.pool:max_pool2d", "return y, (won_column, won_row)", "return y, (x, y)",
           "check_ties_in_max_pool2d", also=((
               "kernels.cpu.pool:max_pool2d_backward", "    won_column, won_row = saved\n",
               "    (x, y), gx = saved, np.zeros(x_shape, gy.dtype)\n"
               "    for kh, kw in np.ndindex(win.kernel):\n"
               "        (oh, ih), (ow, iw) = win.tap(0, kh, H, gy.shape[1]), win.tap(1, kw, W, gy.shape[2])\n"
               "        gx[:, ih, iw] += gy[:, oh, ow] * (x[:, ih, iw] == y[:, oh, ow])\n"
               "    return gx\n"),)),
    Mutant("average-counts-padding", "count_include_pad=False divides by cells of the padding too",
           "kernels.cpu.pool:_divisors", "if not count_include_pad:", "if False:", "check_avg_pool2d"),
    Mutant("average-counts-past-the-edge", "ceil_mode divides by cells past the padding",
           "kernels.cpu.pool:_divisors", "np.minimum(start + win.kernel[axis], size + P)", "start + win.kernel[axis]",
           "check_avg_pool2d"),
    Mutant("average-gradient-not-divided", "the gradient of the average is that of the sum",
           "kernels.cpu.pool:avg_pool2d_backward", "gy[n0:n1] / cells", "gy[n0:n1]", "check_gradients_of_avg_pool2d"),
    Mutant("pool-stride-defaults-to-1", "without a stride windows overlap instead of tiling the image",
           "functional.pool:_window", "stride = kernel_size if", "stride = 1 if",
           "check_ties_in_max_pool2d"),
)
