"""Mistakes in the CUDA kernels and in what starts them. Planted in the text of the .cu files, which g++ then compiles;
test_cuda.py runs them (not test_mutants.py: their checks need the kernels on a device, real or not)."""
from dataclasses import dataclass, replace
from pathlib import Path

from minitorch_alex.kernels import launch

from . import Mutant

COMMON = "common"
CUDA = Path(launch.__file__).parent / "cuda"


@dataclass(frozen=True)
class CudaMutant:
    """A bug: in cuda/`file`.cu the text `old`, which stands there once, becomes `new`. `check` must fail."""

    name: str
    description: str
    file: str
    old: str
    new: str
    check: str

    def healthy(self):
        """The same planting without the bug."""
        return replace(self, new=self.old)

    def plant(self, monkeypatch):
        """Give launch.py this text of its kernels; what it has compiled before it must forget."""
        source, text = launch.source, (CUDA / f"{self.file}.cu").read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise LookupError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}.cu, "
                              "expected once")
        planted = text.replace(self.old, self.new)
        monkeypatch.setattr(launch, "source", lambda *files: source(*files).replace(text, planted))


MUTANTS = (
    CudaMutant("cuda-no-stride-loop", "a launch smaller than the work leaves the rest undone", COMMON,
               "i += gridDim.x * blockDim.x", "i += (n)", "check_relu_and_tanh"),
    CudaMutant("cuda-no-line-loop", "lines beyond the launch's rows are left out", COMMON,
               "i < (n); i += gridDim.y", "i < (n); i += (n)", "check_conv2d_forward"),
    CudaMutant("cuda-first-window", "the first window that covers a cell is rounded down, and ends before it", COMMON,
               "(reach + S - 1) / S", "reach / S", "check_conv2d_input_gradient"),
    CudaMutant("cuda-last-window", "windows past the last one are asked too", COMMON,
               "reach < O ? reach : O - 1", "reach", "check_conv2d_input_gradient"),
    CudaMutant("cuda-dilation-holes", "a dilated window counts for the cells it jumps over", COMMON,
               "offset % D ? -1 : offset / D", "offset / D", "check_conv2d_input_gradient"),
    CudaMutant("cuda-im2col-right-edge", "a window past the right edge reads the next line's pixels", "conv",
               "inside && 0 <= iw && iw < W;", "inside && 0 <= iw;", "check_conv2d_forward"),
    CudaMutant("cuda-im2col-dilation", "the rows of a dilated kernel lie side by side", "conv",
               "oh * SH - PH + kh * DH;", "oh * SH - PH + kh;", "check_conv2d_forward"),
    CudaMutant("cuda-im2col-group", "every group reads the first group's channels", "conv",
               "* W * C + first + c;", "* W * C + c;", "check_conv2d_forward"),
    CudaMutant("cuda-im2col-places", "the rows of the matrix are written image by image, whatever was asked", "conv",
               "to += row_p * pitch;", "to += pitch;", "check_locally_connected2d"),
    CudaMutant("cuda-col2im-assigns", "a pixel keeps the last window's number instead of the sum", "conv",
               "sum += col[", "sum = col[", "check_conv2d_input_gradient"),
    CudaMutant("cuda-col2im-group", "each group writes to the first group's channels", "conv",
               "* C + first + c] = sum", "* C + c] = sum", "check_conv2d_input_gradient"),
    CudaMutant("cuda-max-pool-ties", "of equal values the last wins", "pool",
               "value > best", "value >= best", "check_max_pool2d"),
    CudaMutant("cuda-max-pool-padded-with-0", "the padding is 0 and wins among negative values", "pool",
               "winner == NO_PIXEL || value > best", "value > best", "check_max_pool2d"),
    CudaMutant("cuda-max-pool-nan", "a NaN loses, so that a diverged net looks well", "pool",
               " || value != value", "", "check_nan_passes"),
    CudaMutant("cuda-max-pool-backward", "rows and columns of the winner are mixed up", "pool",
               "won[at] == kh * KW + kw", "won[at] == kw * KH + kh", "check_max_pool2d"),
    CudaMutant("cuda-avg-pool-divisor", "cells past the edge count", "pool",
               "stop > size + rim ? size + rim : stop", "stop", "check_avg_pool2d"),
    CudaMutant("cuda-avg-pool-backward-divisor", "backward divides by the whole window", "pool",
               "rows = cells(oh, KH, SH, PH, H, padded ? PH : 0);", "rows = KH;", "check_avg_pool2d"),
    CudaMutant("cuda-lrn-not-mirrored", "backward uses the forward window, which is right for odd sizes only", "lrn",
               "int high = c + size / 2 + 1, low = high - size;", "int low = c - size / 2, high = low + size;",
               "check_lrn_gradient"),
    CudaMutant("cuda-lrn-seam", "windows reach into the other group's channels", "lrn",
               "high = low + size;\n        low = low < seam ? seam : low;",
               "high = low + size;\n        low = low < 0 ? 0 : low;", "check_lrn_forward"),
    CudaMutant("cuda-lrn-exponent", "the neighbours' share has the power -beta instead of -beta - 1", "lrn",
               "j < pixel + high; j++)\n            sum += gy[j] * x[j] * power(scale[j], beta) / scale[j];",
               "j < pixel + high; j++)\n            sum += gy[j] * x[j] * power(scale[j], beta);",
               "check_lrn_gradient"),
    CudaMutant("cuda-lrn-within-window", "the square within a map is a row short", "lrn",
               "ih = h - size / 2; ih < h - size / 2 + size;", "ih = h - size / 2; ih < h - size / 2 + size - 1;",
               "check_lrn_within"),
    CudaMutant("cuda-relu-nan", "a NaN becomes 0", "elementwise",
               "x[i] < 0 ? 0 : x[i]", "x[i] > 0 ? x[i] : 0", "check_nan_passes"),
    CudaMutant("cuda-dropout-key", "the second word of the key is forgotten", "elementwise",
               "h += key1;", "", "check_dropout_hash"),
    CudaMutant("cuda-dropout-shift", "another hash: masks that no other backend draws", "elementwise",
               "h >> 13", "h >> 15", "check_dropout_hash"),
    CudaMutant("cuda-sgd-rate", "the gradient enters the paper's velocity without lr", "elementwise",
               "- lr * g[i]", "- g[i]", "check_sgd"),
    CudaMutant("cuda-sgd-sign", "torch's step goes uphill", "elementwise",
               "w[i] -= lr * v[i]", "w[i] += lr * v[i]", "check_sgd"),
    CudaMutant("cuda-bias-group", "every group gets the first group's bias", "dense",
               "+ b[first + o];", "+ b[o];", "check_conv2d_forward"),
    CudaMutant("cuda-sum-rows-end", "the last piece runs past the last row", "dense",
               "rows - p * step < step ? rows : (p + 1) * step", "(p + 1) * step", "check_many_rows"),
    CudaMutant("cuda-half-launches", "a thread looks at its first number only", "half",
               "i < M; i += P", "i < P; i += P", "check_half_finds_the_largest"),
    CudaMutant("cuda-half-sign", "negative numbers do not count for the largest", "half",
               "FLOAT size = fabs(x[i]);", "FLOAT size = x[i];", "check_half_finds_the_largest"),
    CudaMutant("cuda-half-infinity", "an infinite factor is scaled down", "half",
               "top - top == 0", "top == top", "check_half_passes_nan"),
    CudaMutant("cuda-half-overflow", "the largest number comes to 2^16 and more", "half",
               "return e < 15 - 126 ? 126 : 15 - e;", "return e < 17 - 126 ? 126 : 17 - e;", "check_half_products"),
    CudaMutant("cuda-half-unscaled", "numbers are rounded as they are", "half",
               "nearest_half(x[i] * scale)", "nearest_half(x[i])", "check_half_products"),
    CudaMutant("cuda-half-power", "2^k of tiny numbers is no float", "half",
               "e < 15 - 126 ? 126 : 15 - e", "15 - e", "check_half_has_any_range"),
    CudaMutant("cuda-half-room", "the other factor is not asked, and the way back underflows", "half",
               "k < room ? k : room", "k", "check_half_has_any_range"),
    CudaMutant("cuda-half-truncates", "numbers are cut off instead of rounded", "half",
               " + 0x0fff + (size >> 13 & 1)", "", "check_half_rounds"),
    CudaMutant("cuda-half-ties", "of two as near the larger one", "half",
               "0x0fff + (size >> 13 & 1)", "0x1000", "check_half_rounds"),
    CudaMutant("cuda-half-subnormal", "numbers below 2^-14 become 0", "half",
               "sign | (unsigned)rint(fabs(x) * 16777216)", "sign", "check_half_rounds"),
    CudaMutant("cuda-half-minus", "the sign is lost", "half",
               "bits >> 16 & 0x8000", "bits >> 16 & 0", "check_half_rounds"),
    CudaMutant("cuda-half-way-back", "one factor's power counts twice on the way back", "half",
               " + exponent_beside(top_b[0], top_a[0])", " + exponent_beside(top_a[0], top_b[0])",
               "check_half_has_any_range"),
    CudaMutant("cuda-half-direction", "the product is scaled up once more", "half",
               "ldexp((FLOAT)1, -k)", "ldexp((FLOAT)1, k)", "check_half_is_exact_for_small_integers"),
    CudaMutant("cuda-softmax-pieces", "pieces are added as if they had one top", "loss",
               "total[n * P + p] * exp(top[n * P + p] - largest)", "total[n * P + p]", "check_softmax_cross_entropy"),
    CudaMutant("cuda-softmax-overflow", "the top of a piece is its first logit: exp overflows", "loss",
               "j = p + P; j < K; j += P", "j = p + P; j < P; j += P", "check_many_classes"),
    CudaMutant("cuda-softmax-label", "the label is looked up by element, not by row", "loss",
               "i % K == labels[i / K]", "i == labels[i / K]", "check_softmax_cross_entropy"),
    CudaMutant("cuda-augment-mirror", "an image is mirrored about the whole picture instead of the crop", "input",
               "(flips[n] ? SW - 1 - w : w);", "(flips[n] ? W - 1 - w : w);", "check_augment"),
    CudaMutant("cuda-augment-mean", "the mean is cropped where the image was", "input",
               "(top + h) * MW + left + w", "(top + h) * MW + iw", "check_augment"),
    Mutant("gpu-chunk-rows", "every chunk is written to the first chunk's rows",
           "kernels.gpu:conv2d", "_add_bias(part, b, y[images]", "_add_bias(part, b, y[:images.stop - images.start]",
           "check_chunks"),
    Mutant("gpu-chunk-sum", "the weights' gradient is the last chunk's",
           "kernels.gpu:conv2d_backward_weight", "part += ", "part[...] = ", "check_chunks"),
    Mutant("gpu-chunk-images", "every chunk gathers the first chunk's images",
           "kernels.gpu:_columns", "x[a:b], col", "x[:b - a], col", "check_chunks"),
    Mutant("gpu-group-view", "a group's gradient is taken from the wrong channels",
           "kernels.gpu:conv2d_backward_input", "OW, outs[g]])", "OW, outs[0]])", "check_conv2d_input_gradient"),
    Mutant("gpu-argument-order", "stride and padding change places",
           "kernels.gpu:_window_args", "*win.stride, *win.padding", "*win.padding, *win.stride",
           "check_conv2d_forward"),
    Mutant("gpu-padding-of-the-matrix", "the weights' padding columns are not cleared",
           "kernels.gpu:_matrices", "xp.zeros(", "xp.empty(", "check_conv2d_forward"),
    Mutant("half-transposed", "cuBLAS is told that every matrix lies in rows",
           "kernels.half:product", "(cublas.CUBLAS_OP_T, m.shape[0])", "(cublas.CUBLAS_OP_N, m.shape[0])",
           "check_half_products"),
    Mutant("half-order", "cuBLAS is given the two factors as they are written, though it counts by columns",
           "kernels.half:product", "N, M, K, back.data.ptr, b.data.ptr, runtime.CUDA_R_16F, row_b, a.data.ptr",
           "N, M, K, back.data.ptr, a.data.ptr, runtime.CUDA_R_16F, row_b, b.data.ptr", "check_half_products"),
    Mutant("half-pointer-mode", "the mode is left as it is: the host's memory is read for the device's",
           "kernels.half:product", "cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_DEVICE)", "pass",
           "check_half_products"),
    Mutant("half-of-the-first", "both factors get the power of the first", "kernels.half:factors",
           "_rounded(b, top_b, top_a)", "_rounded(b, top_a, top_b)", "check_half_has_any_range"),
    Mutant("half-search-ends", "one round of the search for the largest: the first piece's", "kernels.half:_largest",
           "if pieces == 1:", "if True:", "check_half_finds_the_largest"),
    Mutant("half-doubles", "float64 is rounded too", "kernels.half:factors", " or a.dtype != np.float32", "",
           "check_half_leaves_the_rest"),
)
