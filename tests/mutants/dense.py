"""Mistakes in fully connected layers, the softmax and the loss."""
from . import Mutant

MUTANTS = (
    Mutant("linear-bias-gradient-mean", "the bias gradient is averaged over the batch instead of summed",
           "functional.linear:Linear.backward", "bias_gradient(self, gy)", "bias_gradient(self, gy) / gy.shape[0]",
           "check_gradients_of_linear"),
    Mutant("linear-bias-forgotten-by-threads", "only the first piece of the output features gets its bias",
           "kernels.cpu.dense:linear", "if b is not None:", "if b is not None and o0 == 0:", "check_wide_linear"),
    Mutant("cross-entropy-summed", "the loss is the sum over the batch and not the mean",
           "functional.labels:reduced", "return losses.mean()",
           "return losses.sum()", "check_values_of_cross_entropy"),
    Mutant("cross-entropy-base-2", "the logarithm is that of base 2",
           "kernels.cpu.dense:softmax_cross_entropy", "np.log(total[:, 0])", "np.log2(total[:, 0])",
           "check_values_of_cross_entropy"),
    Mutant("one-hot-forgotten", "the gradient of the loss is softmax without the label",
           "kernels.cpu.dense:softmax_cross_entropy_backward", "-= g", "-= 0 * g", "check_gradients_of_cross_entropy"),
    Mutant("softmax-not-shifted", "large logits overflow",
           "kernels.cpu.dense:softmax_cross_entropy", "logits - logits.max(axis=1, keepdims=True)", "logits * 1",
           "check_softmax_cross_entropy"),
    Mutant("softmax-backward-missing", "softmax returns a gradient of 0, which a sum of outputs would never show",
           "functional.softmax:Softmax.backward", "return y *", "return 0 * y *", "check_gradients_of_softmax"),
    Mutant("softmax-backward-diagonal", "the gradient of softmax is that of its diagonal, y (1 - y)",
           "functional.softmax:Softmax.backward", "(gy * y).sum(axis=self.dim, keepdims=True)", "gy * y",
           "check_gradients_of_softmax"),
    Mutant("log-softmax-unnormalised", "the gradient of log-softmax leaves out the sum over classes",
           "functional.softmax:LogSoftmax.backward", "gy.sum(axis=self.dim, keepdims=True)", "gy",
           "check_gradients_of_softmax"),
)
