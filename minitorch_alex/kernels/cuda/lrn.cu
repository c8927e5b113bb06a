// Local response normalisation: y_i = x_i scale_i^-beta, scale_i = k + alpha sum_{j in window(i)} x_j^2.
//
// The window of i is i - size/2 ... i - size/2 + size - 1, cut at the edges. Backward needs the mirror image, the j
// whose windows hold i: i + size/2 - size + 1 ... i + size/2. For odd sizes both are the same, for even ones not:
//
//     gx_i = gy_i scale_i^-beta - 2 alpha beta x_i sum_{j: i in window(j)} gy_j x_j scale_j^(-beta-1)

// s^-beta; for the paper's beta = 3/4 by square roots, which are several times cheaper than a power.
__device__ inline FLOAT power(FLOAT s, FLOAT beta)
{
    if (beta != (FLOAT)0.75)
        return pow(s, -beta);
    FLOAT root = sqrt(s);
    return 1 / (root * sqrt(root));
}

// Across channels; Cg channels a group, whose windows end at its seams. M = N H W C numbers.
extern "C" __global__ void lrn(IN(FLOAT) x, OUT(FLOAT) y, OUT(FLOAT) scale, int M, int C, int Cg, int size, FLOAT alpha,
                               FLOAT beta, FLOAT k)
{
    EACH(i, M) {
        int c = i % C, pixel = i - c, seam = c / Cg * Cg;
        int low = c - size / 2, high = low + size;
        low = low < seam ? seam : low;
        high = high > seam + Cg ? seam + Cg : high;
        FLOAT sum = 0;
        for (int j = low; j < high; j++)
            sum += x[pixel + j] * x[pixel + j];
        FLOAT s = k + alpha * sum;
        scale[i] = s;
        y[i] = x[i] * power(s, beta);
    }
}

extern "C" __global__ void lrn_backward(IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) scale, OUT(FLOAT) gx, int M, int C, int Cg,
                                        int size, FLOAT alpha, FLOAT beta)
{
    EACH(i, M) {
        int c = i % C, pixel = i - c, seam = c / Cg * Cg;
        int high = c + size / 2 + 1, low = high - size;
        low = low < seam ? seam : low;
        high = high > seam + Cg ? seam + Cg : high;
        FLOAT sum = 0;
        for (int j = pixel + low; j < pixel + high; j++)
            sum += gy[j] * x[j] * power(scale[j], beta) / scale[j];
        gx[i] = gy[i] * power(scale[i], beta) - 2 * alpha * beta * x[i] * sum;
    }
}

// Within a map: the window is size x size pixels of one channel.
extern "C" __global__ void lrn_within(IN(FLOAT) x, OUT(FLOAT) y, OUT(FLOAT) scale, int N, int H, int W, int C, int size,
                                      FLOAT alpha, FLOAT beta, FLOAT k)
{
    EACH(i, N * H * W * C) {
        int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
        FLOAT sum = 0;
        for (int ih = h - size / 2; ih < h - size / 2 + size; ih++)
            for (int iw = w - size / 2; iw < w - size / 2 + size; iw++)
                if (0 <= ih && ih < H && 0 <= iw && iw < W) {
                    FLOAT value = x[((n * H + ih) * W + iw) * C + c];
                    sum += value * value;
                }
        FLOAT s = k + alpha * sum;
        scale[i] = s;
        y[i] = x[i] * power(s, beta);
    }
}

extern "C" __global__ void lrn_within_backward(IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) scale, OUT(FLOAT) gx, int N, int H,
                                               int W, int C, int size, FLOAT alpha, FLOAT beta)
{
    EACH(i, N * H * W * C) {
        int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
        FLOAT sum = 0;
        for (int ih = h + size / 2 - size + 1; ih <= h + size / 2; ih++)
            for (int iw = w + size / 2 - size + 1; iw <= w + size / 2; iw++)
                if (0 <= ih && ih < H && 0 <= iw && iw < W) {
                    int j = ((n * H + ih) * W + iw) * C + c;
                    sum += gy[j] * x[j] * power(scale[j], beta) / scale[j];
                }
        gx[i] = gy[i] * power(scale[i], beta) - 2 * alpha * beta * x[i] * sum;
    }
}
