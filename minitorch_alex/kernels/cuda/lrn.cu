// Local response normalisation:
//
//     y_i = x_i scale_i^-beta,  scale_i = k + alpha sum_{j in window(i)} x_j^2
//
// The window of i is i - size/2 ... i - size/2 + size - 1, cut at the edges. Backward needs the
// mirror image, the j whose windows hold i: i + size/2 - size + 1 ... i + size/2. For odd sizes
// both are the same, for even ones not:
//
//     gx_i = gy_i scale_i^-beta
//            - 2 alpha beta x_i sum_{j: i in window(j)} gy_j x_j scale_j^(-beta-1)

// s^-beta. For the paper's beta = 3/4 by reciprocal square roots, for which a GPU has an
// instruction, where a power takes a hundred: with r = s^-1/2,  s^-3/4 = r r r^-1/2.
__device__ inline FLOAT power(FLOAT s, FLOAT beta)
{
    if (beta != (FLOAT)0.75)
        return pow(s, -beta);
    FLOAT r = rsqrt(s);
    return r == 0 ? 0 : r * r * rsqrt(r);  // of an infinite s, else 0 times infinity: NaN
}

// 1 / s by the same instruction; a division is ten times as long.
__device__ inline FLOAT inverse(FLOAT s)
{
    FLOAT r = rsqrt(s);
    return r * r;
}

// Across channels; Cg channels per group, whose windows end at its seams. A thread has a channel
// and walks along pixels, so that where its window begins and ends is worked out once.
extern "C" __global__ void lrn(
    IN(FLOAT) x, OUT(FLOAT) y, OUT(FLOAT) scale,
    int pixels, int C, int Cg, int size, FLOAT alpha, FLOAT beta, FLOAT k)
{
    EACH(c, C) {
        int seam = c / Cg * Cg;
        int low = c - size / 2, high = low + size;
        low = low < seam ? seam : low;
        high = high > seam + Cg ? seam + Cg : high;
        LINES(pixel, pixels) {
            int at = pixel * C;
            FLOAT sum = 0;
#pragma unroll 4  // reads that do not wait for each other
            for (int j = at + low; j < at + high; j++)
                sum += x[j] * x[j];
            FLOAT s = k + alpha * sum;
            scale[at + c] = s;
            y[at + c] = x[at + c] * power(s, beta);
        }
    }
}

// `of_relu`: x is the result of a ReLU, and gx is the gradient of what that ReLU was given: 0 where
// x is not positive. relu_backward does it afterwards in three passes over memory; here x has been
// read anyway.
extern "C" __global__ void lrn_backward(
    IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) scale, OUT(FLOAT) gx,
    int pixels, int C, int Cg, int size, FLOAT alpha, FLOAT beta, int of_relu)
{
    EACH(c, C) {
        int seam = c / Cg * Cg;
        int high = c + size / 2 + 1, low = high - size;
        low = low < seam ? seam : low;
        high = high > seam + Cg ? seam + Cg : high;
        LINES(pixel, pixels) {
            int at = pixel * C;
            FLOAT sum = 0;
#pragma unroll 4
            for (int j = at + low; j < at + high; j++)
                sum += gy[j] * x[j] * power(scale[j], beta) * inverse(scale[j]);
            FLOAT g = gy[at + c] * power(scale[at + c], beta)
                      - 2 * alpha * beta * x[at + c] * sum;
            gx[at + c] = of_relu && x[at + c] <= 0 ? 0 : g;  // NaN passes its gradient on
        }
    }
}

// Within a map: the window is size x size pixels of one channel.
extern "C" __global__ void lrn_within(
    IN(FLOAT) x, OUT(FLOAT) y, OUT(FLOAT) scale,
    int N, int H, int W, int C, int size, FLOAT alpha, FLOAT beta, FLOAT k)
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

extern "C" __global__ void lrn_within_backward(
    IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) scale, OUT(FLOAT) gx,
    int N, int H, int W, int C, int size, FLOAT alpha, FLOAT beta)
{
    EACH(i, N * H * W * C) {
        int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
        FLOAT sum = 0;
        for (int ih = h + size / 2 - size + 1; ih <= h + size / 2; ih++)
            for (int iw = w + size / 2 - size + 1; iw <= w + size / 2; iw++)
                if (0 <= ih && ih < H && 0 <= iw && iw < W) {
                    int j = ((n * H + ih) * W + iw) * C + c;
                    sum += gy[j] * x[j] * power(scale[j], beta) * inverse(scale[j]);
                }
        gx[i] = gy[i] * power(scale[i], beta) - 2 * alpha * beta * x[i] * sum;
    }
}
