"""Mistakes in local response normalisation. At the paper's alpha their effect is some 1e-5 of a gradient."""
from . import Mutant

MUTANTS = (
    Mutant("lrn-window-one-short", "the window leaves out its last channel, as Chainer's own test reference did",
           "kernels.cpu.lrn:_bands", "size - 1 - size // 2", "size - 2 - size // 2", "check_lrn_forward"),
    Mutant("lrn-backward-window-one-short", "the window of the backward pass is one channel short",
           "kernels.cpu.lrn:_lrn_backward", "_bands(C, size, groups", "_bands(C, size - 1, groups",
           "check_gradients_of_lrn"),
    Mutant("lrn-backward-window-one-short-at-1e-4", "the same bug, looked for at the paper's alpha",
           "kernels.cpu.lrn:_lrn_backward", "_bands(C, size, groups", "_bands(C, size - 1, groups",
           "check_gradients_of_lrn_at_the_papers_alpha"),
    Mutant("lrn-no-cross-term", "the backward pass treats the denominator as a constant",
           "kernels.cpu.lrn:_lrn_backward", "-2 * alpha * beta", "0",
           "check_gradients_of_lrn_at_the_papers_alpha"),
    Mutant("lrn-window-not-mirrored", "the backward pass uses the forward window, which is right for odd sizes only",
           "kernels.cpu.lrn:_lrn_backward", "mirrored=True", "mirrored=False", "check_gradients_of_lrn"),
    Mutant("lrn-exponent", "the neighbours' share has the power -beta instead of -beta - 1",
           "kernels.cpu.lrn:_lrn_backward", "cross /= s_rows[t]", "cross /= 1", "check_gradients_of_lrn"),
    Mutant("lrn-crosses-the-seam", "windows reach into the other group's channels",
           "kernels.cpu.lrn:_bands", "slice(max(g0, to.start - before), min(g0 + cg, to.stop + after))",
           "slice(max(0, to.start - before), min(C, to.stop + after))", "check_lrn_forward"),
    Mutant("lrn-alpha-not-divided", "alpha multiplies the sum of squares and not their mean",
           "functional.lrn:local_response_norm", "alpha / size,", "alpha,", "check_values_of_local_response_norm"),
    Mutant("lrn-k-forgotten", "the constant k is left out of the denominator",
           "kernels.cpu.lrn:lrn", "part += k", "part += 1", "check_lrn_forward"),
    Mutant("lrn-within-not-mirrored", "the backward pass within a map uses the forward window",
           "kernels.cpu.lrn:_lrn_within_backward", "mirrored=True", "mirrored=False", "check_gradients_of_lrn_within"),
)
