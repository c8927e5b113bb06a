"""Mistakes in convolution, the locally connected layer and the geometry of windows."""
from . import Mutant

MUTANTS = (
    Mutant("kernel-not-turned", "the input gradient correlates with the kernel as it is, not turned by 180 degrees",
           "kernels.cpu.conv:conv2d_backward_input", "[..., ::-1, ::-1]", "", "check_gradients_of_conv2d"),
    Mutant("kernel-turned-along-one-axis", "the kernel is turned along the columns only",
           "kernels.cpu.conv:conv2d_backward_input", "[..., ::-1, ::-1]", "[..., :, ::-1]",
           "check_conv2d_input_gradient"),
    Mutant("col2im-assigns", "where windows overlap the last one wins instead of all adding up",
           "kernels.cpu.conv:add_taps", "gx[:, rows, iw] +=", "gx[:, rows, iw] =", "check_conv2d_input_gradient"),
    Mutant("stride-ignored-in-backward", "the input gradient takes every stride for 1",
           "kernels.cpu.conv:conv2d_backward_input", "win.stride == (1, 1) and ", "", "check_gradients_of_conv2d"),
    Mutant("dilation-ignored-in-weight-gradient", "the weight gradient reads neighbouring pixels, not dilated ones",
           "kernels.cpu.conv:conv2d_backward_weight", "    KH, KW = win.kernel\n",
           "    KH, KW = win.kernel\n"
           "    DH, DW = win.dilation\n"
           "    x = x[:, :x.shape[1] - (DH - 1) * (KH - 1), :x.shape[2] - (DW - 1) * (KW - 1)]\n"
           "    win = Window(win.kernel, win.stride, win.padding, ceil_mode=win.ceil_mode)\n",
           "check_conv2d_weight_gradient"),
    Mutant("dilation-ignored-in-forward", "the windows are gathered from neighbouring pixels",
           "kernels.cpu.conv:windows", "h * DH, w * DW", "h, w", "check_conv2d_forward"),
    Mutant("groups-mixed", "each group is convolved with another group's kernels",
           "kernels.cpu.conv:conv2d", "mats[g], out", "mats[g - 1], out", "check_conv2d_forward"),
    Mutant("padding-on-one-side", "the padding is all put at the bottom and right",
           "kernels.cpu.conv:padded_images", "border[:n1 - n0, PH:PH + H, PW:PW + W]", "border[:n1 - n0, :H, :W]",
           "check_conv2d_forward"),
    Mutant("a-piece-forgotten", "one thread's share of the weight gradient is not added",
           "kernels.cpu.conv:conv2d_backward_weight", "in sums[1:]", "in sums[2:]", "check_threads_share_the_batch"),
    Mutant("conv-bias-gradient-mean", "the bias gradient is averaged over the batch instead of summed",
           "functional.conv:Conv2d.backward", "k.sum_rows(gy)", "k.sum_rows(gy) / gy.shape[0]",
           "check_gradients_of_conv2d"),
    Mutant("conv-bias-added-twice", "the bias is added twice, which no gradient of w or x shows",
           "kernels.cpu.conv:conv2d", "part += b[outs[g]]", "part += 2 * b[outs[g]]", "check_conv2d_forward"),
    Mutant("local-bias-gradient-mean", "the locally connected layer averages its bias gradient",
           "functional.conv:LocallyConnected2d.backward", "gy.sum(axis=0)", "(gy.sum(axis=0) / gy.shape[0])",
           "check_gradients_of_locally_connected2d"),
    Mutant("floor-for-ceil", "ceil_mode rounds output sizes down: 224 gives 54",
           "kernels.window:Window.out", "if self.ceil_mode and", "if False and", "check_output_sizes"),
    Mutant("window-past-the-image", "ceil_mode keeps a last window that starts past the image",
           "kernels.window:Window.out", "< size + padding", "<= size + padding", "check_output_sizes"),
    Mutant("padding-counted-once", "the padding is added on one side only when sizes are computed",
           "kernels.window:Window.out", "size + 2 * padding", "size + padding", "check_output_sizes"),
)
