"""Mistakes in the update and in layers' bookkeeping."""
from . import Mutant

MUTANTS = (
    Mutant("momentum-sign", "the velocity turns round at every step",
           "kernels.cpu.elementwise:sgd", "v_t *= momentum", "v_t *= -momentum", "check_sgd"),
    Mutant("lr-twice-in-2012", "the rate, already in the velocity, multiplies it once more",
           "kernels.cpu.elementwise:sgd", "w_t += v_t", "w_t += lr * v_t", "check_sgd"),
    Mutant("lr-twice-in-torch", "the rate goes into the velocity and multiplies it too",
           "kernels.cpu.elementwise:sgd", "lr if rule == \"2012\" else 1.0", "lr", "check_sgd"),
    Mutant("weight-decay-sign", "weights grow",
           "kernels.cpu.elementwise:sgd", "step += w_t * (weight_decay * inner)",
           "step -= w_t * (weight_decay * inner)", "check_sgd"),
    Mutant("weight-decay-without-lr", "the decay of the 2012 rule is not multiplied by the rate",
           "kernels.cpu.elementwise:sgd", "(weight_decay * inner)", "weight_decay", "check_sgd"),
    Mutant("group-rate-ignored", "every group is updated at the first one's rate",
           "optim:SGD.step", "group[\"lr\"]", "self.groups[0][\"lr\"]", "check_sgd_optimizer"),
    Mutant("group-decay-ignored", "biases decay like weights",
           "optim:SGD.step", "group[\"weight_decay\"]", "self.groups[0][\"weight_decay\"]", "check_sgd_optimizer"),
    Mutant("zero-grad-does-nothing", "gradients pile up from step to step",
           "optimizer:Optimizer.zero_grad", "p.grad = None", "pass", "check_sgd_optimizer"),
    Mutant("state-dict-is-a-view", "a saved state changes as training goes on",
           "nn:Module.state_dict", "np.array(backend.to_numpy(p.data))", "backend.to_numpy(p.data)",
           "check_state_dict_is_a_copy"),
)
