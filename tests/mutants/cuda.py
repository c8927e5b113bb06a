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
    CudaMutant("cuda-max-pool-walk-leaves", "a window is left one pixel before its last", "pool",
               "if (iw > last_pixel)", "if (iw >= last_pixel)", "check_max_pool2d"),
    CudaMutant("cuda-max-pool-walk-enters", "windows past the last one are entered", "pool",
               "iw == next_start && last_ow + 1 < OW", "iw == next_start", "check_max_pool2d"),
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
               "j < at + high; j++)\n                sum += gy[j] * x[j] * power(scale[j], beta) * inverse(scale[j]);",
               "j < at + high; j++)\n                sum += gy[j] * x[j] * power(scale[j], beta);",
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
    CudaMutant("cuda-bias", "every channel gets the first one's bias", "dense",
               "bias = b[o];", "bias = b[0];", "check_conv2d_forward"),
    CudaMutant("cuda-sum-rows-end", "the last piece runs past the last row", "dense",
               "rows - p * step < step ? rows : (p + 1) * step", "(p + 1) * step", "check_many_rows"),
    CudaMutant("cuda-half-launches", "a thread looks at its first number only", "half",
               "i < M; i += P", "i < P; i += P", "check_half_finds_the_largest"),
    CudaMutant("cuda-half-sign", "negative numbers do not count for the largest", "half",
               "FLOAT size = fabs(x[i]);", "FLOAT size = x[i];", "check_half_finds_the_largest"),
    CudaMutant("cuda-half-infinity", "an infinite factor is scaled down", "half",
               "top - top == 0", "top == top", "check_half_passes_nan"),
    CudaMutant("cuda-half-overflow", "the largest number comes to 2^16 and more", "half",
               "return e < 15 - 63 ? 63 : 15 - e;", "return e < 17 - 63 ? 63 : 17 - e;", "check_half_products"),
    CudaMutant("cuda-half-unscaled", "numbers are rounded as they are", "half",
               "nearest_half(x[i] * scale)", "nearest_half(x[i])", "check_half_products"),
    CudaMutant("cuda-half-power", "the powers of two tiny factors have no way back in float32", "half",
               "e < 15 - 63 ? 63 : 15 - e", "15 - e", "check_half_has_any_range"),
    CudaMutant("cuda-half-sum", "a product that should be added replaces what is there", "half",
               "ldexp((FLOAT)1, -k) : i - 1", "ldexp((FLOAT)1, -k) : 0", "check_half_products"),
    CudaMutant("cuda-bf16-truncates", "numbers are cut off instead of rounded", "half",
               "(bits + 0x7fff + (bits >> 16 & 1)) >> 16", "bits >> 16", "check_bf16_rounds"),
    CudaMutant("cuda-bf16-ties", "of two as near the larger one", "half",
               "bits + 0x7fff + (bits >> 16 & 1)", "bits + 0x8000", "check_bf16_rounds"),
    CudaMutant("cuda-bf16-nan", "some NaN become infinity or zero", "half",
               "is_nan ? 0x7fff : (bits", "is_nan && 0 ? 0x7fff : (bits", "check_bf16_rounds"),
    CudaMutant("cuda-half-truncates", "numbers are cut off instead of rounded", "half",
               " + 0x0fff + (size >> 13 & 1)", "", "check_half_rounds"),
    CudaMutant("cuda-half-ties", "of two as near the larger one", "half",
               "0x0fff + (size >> 13 & 1)", "0x1000", "check_half_rounds"),
    CudaMutant("cuda-half-subnormal", "numbers below 2^-14 become 0", "half",
               "sign | (unsigned)rint(fabs(x) * 16777216)", "sign", "check_half_rounds"),
    CudaMutant("cuda-half-minus", "the sign is lost", "half",
               "bits >> 16 & 0x8000", "bits >> 16 & 0", "check_half_rounds"),
    CudaMutant("cuda-half-way-back", "one factor's power counts twice on the way back", "half",
               " + exponent_for(top_b[0])", " + exponent_for(top_a[0])", "check_half_has_any_range"),
    CudaMutant("cuda-half-direction", "the product is scaled up once more", "half",
               "ldexp((FLOAT)1, -k)", "ldexp((FLOAT)1, k)", "check_half_is_exact_for_small_integers"),
    CudaMutant("cuda-softmax-pieces", "pieces are added as if they had one top", "loss",
               "total[n * P + p] * exp(top[n * P + p] - largest)", "total[n * P + p]", "check_softmax_cross_entropy"),
    CudaMutant("cuda-softmax-overflow", "the top of a piece is its first logit: exp overflows", "loss",
               "j = p + P; j < K; j += P", "j = p + P; j < P; j += P", "check_many_classes"),
    CudaMutant("cuda-softmax-label", "the label is looked up by element, not by row", "loss",
               "i % K == labels[i / K]", "i == labels[i / K]", "check_softmax_cross_entropy"),
    CudaMutant("cuda-enlarge-rounding", "means are cut off instead of rounded", "input",
               "(((sum) + (1 << 21)) >> 22)", "((sum) >> 22)", "check_enlarge"),
    CudaMutant("cuda-enlarge-edge", "the last row is taken for the edge a row too early", "input",
               "above + 1 < H ?", "above + 2 < H ?", "check_enlarge"),
    CudaMutant("cuda-enlarge-weights", "rows are weighted as columns are", "input",
               "ROUNDED(row_weights[2 * h] * high + row_weights[2 * h + 1] * low)",
               "ROUNDED(left_weight * high + right_weight * low)", "check_enlarge"),
    CudaMutant("cuda-augment-mirror", "an image is mirrored about the whole picture instead of the crop", "input",
               "(flips[n] ? SW - 1 - w : w);", "(flips[n] ? W - 1 - w : w);", "check_augment"),
    CudaMutant("cuda-augment-mean", "the mean is cropped where the image was", "input",
               "(top + h) * MW + left + w", "(top + h) * MW + iw", "check_augment"),
    Mutant("gpu-chunk-rows", "every chunk is written to the first chunk's rows",
           "kernels.gpu.conv:conv2d_forward", "flat[rows, outs[g]], back",
           "flat[:rows.stop - rows.start, outs[g]], back", "check_chunks"),
    Mutant("gpu-chunk-sum", "the weights' gradient is the last chunk's",
           "kernels.gpu.conv:_weight_gradient", "add=rows.start > 0", "add=False", "check_chunks"),
    Mutant("gpu-chunk-first", "the first chunk is added to whatever is there",
           "kernels.gpu.conv:_weight_gradient", "add=rows.start > 0", "add=True", "check_chunks"),
    Mutant("gpu-chunk-images", "every chunk gathers the first chunk's images",
           "kernels.gpu.columns:gather", "(x[start:stop], col)", "(x[:images], col)", "check_chunks"),
    Mutant("gpu-group-view", "a group's gradient is taken from the wrong channels",
           "kernels.gpu.conv:_input_gradient", "multiply(gy[rows, outs[g]]", "multiply(gy[rows, outs[0]]",
           "check_conv2d_input_gradient"),
    Mutant("gpu-argument-order", "stride and padding change places",
           "kernels.gpu.columns:window_args", "*win.stride, *win.padding", "*win.padding, *win.stride",
           "check_conv2d_forward"),
    Mutant("gpu-padding-of-the-matrix", "the weights' padding columns are not cleared",
           "kernels.gpu.columns:weight_matrix", ".zeros(", ".empty(", "check_conv2d_forward"),
    Mutant("gpu-kept-group", "every group's weights get the gradient of the first group's columns",
           "kernels.gpu.conv:_weight_gradient", "kept[g], total", "kept[0], total", "check_kept_columns"),
    Mutant("gpu-kept-overwritten", "each group's columns replace those of the first",
           "kernels.gpu.columns:gather", "else kept[g]", "else kept[0]", "check_kept_columns"),
    Mutant("products-row-length", "a row that is part of a longer one is taken for a whole one",
           "kernels.products:_layout", "max(down // matrix.itemsize, columns)", "columns", "check_conv2d_forward"),
    Mutant("products-transposed", "cuBLAS is told that every matrix lies in rows", "kernels.products:multiply",
           "cublas.CUBLAS_OP_T if b_transposed", "cublas.CUBLAS_OP_N if b_transposed", "check_half_products"),
    Mutant("products-order", "cuBLAS is given the two factors as they are written, though it counts by columns",
           "kernels.products:multiply", "b.data.ptr, kind, b_row", "a.data.ptr, kind, b_row", "check_half_products"),
    Mutant("products-pointer-mode", "the mode is left as it is: the host's memory is read for the device's",
           "kernels.products:multiply", "cublas.setPointerMode(handle, mode)", "pass", "check_half_products"),
    Mutant("products-sum", "a product always replaces what is there", "kernels.products:multiply",
           "one if add else zero", "zero", "check_chunks"),
    Mutant("products-double", "float64 is summed in float32", "kernels.products:_compute_type",
           "cublas.CUBLAS_COMPUTE_64F", "cublas.CUBLAS_COMPUTE_32F", "check_conv2d_forward"),
    Mutant("products-tf32", "TF32 is asked for and not used", "kernels.products:_compute_type",
           "cublas.CUBLAS_COMPUTE_32F_FAST_TF32", "cublas.CUBLAS_COMPUTE_32F",
           "check_tf32_is_asked_for"),
    Mutant("half-of-the-first", "both factors get the power of the first", "kernels.half:way_back",
           "(a.largest, b.largest, back)", "(a.largest, a.largest, back)", "check_half_has_any_range"),
    Mutant("half-search-ends", "one round of the search for the largest: the first piece's", "kernels.half:_largest",
           "if pieces == 1:", "if True:", "check_half_finds_the_largest"),
    Mutant("half-doubles", "float64 is rounded too", "kernels.half:factor", "x.dtype != np.float32 or ", "",
           "check_half_leaves_the_rest"),
)
