// Batch normalisation: y = (x - mean) scale + shift, where mean and scale belong to a channel. A
// thread has a channel and walks along rows. Sums over rows come in pieces of `step` rows, which
// sum_rows (dense.cu) adds up.

// sums[p, c] = the sum of (x - mean)^2 over the rows from p step on
extern "C" __global__ void square_sums(IN(FLOAT) x, IN(FLOAT) mean, OUT(FLOAT) sums, int rows,
                                       int C, int step)
{
    EACH(c, C) {
        FLOAT m = mean[c];
        LINES(p, (rows + step - 1) / step) {
            int stop = rows - p * step < step ? rows : (p + 1) * step;
            FLOAT sum = 0;
            for (int r = p * step; r < stop; r++) {
                FLOAT d = x[r * C + c] - m;
                sum += d * d;
            }
            sums[p * C + c] = sum;
        }
    }
}

extern "C" __global__ void batch_norm(IN(FLOAT) x, IN(FLOAT) mean, IN(FLOAT) scale,
                                      IN(FLOAT) shift, OUT(FLOAT) y, int rows, int C)
{
    EACH(c, C) {
        FLOAT m = mean[c];
        FLOAT s = scale[c];
        FLOAT b = shift[c];
        LINES(r, rows)
            y[r * C + c] = (x[r * C + c] - m) * s + b;
    }
}

// sums[p, c] = the sum of gy xhat over the rows from p step on, with xhat = (x - mean) inv_std
extern "C" __global__ void product_sums(IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) mean,
                                        IN(FLOAT) inv_std, OUT(FLOAT) sums, int rows, int C,
                                        int step)
{
    EACH(c, C) {
        FLOAT m = mean[c];
        FLOAT inverse = inv_std[c];
        LINES(p, (rows + step - 1) / step) {
            int stop = rows - p * step < step ? rows : (p + 1) * step;
            FLOAT sum = 0;
            for (int r = p * step; r < stop; r++)
                sum += gy[r * C + c] * (x[r * C + c] - m);
            sums[p * C + c] = sum * inverse;
        }
    }
}

// gx = scale (gy - share (gb + xhat gw)); share is 1 / rows in training, and 0 in evaluation, where
// mean and variance are constants
extern "C" __global__ void batch_norm_backward(IN(FLOAT) gy, IN(FLOAT) x, IN(FLOAT) mean,
                                               IN(FLOAT) inv_std, IN(FLOAT) scale, IN(FLOAT) gw,
                                               IN(FLOAT) gb, OUT(FLOAT) gx, int rows, int C,
                                               FLOAT share)
{
    EACH(c, C) {
        FLOAT m = mean[c];
        FLOAT s = scale[c];
        FLOAT level = share * gb[c];
        FLOAT slope = share * gw[c] * inv_std[c];
        LINES(r, rows) {
            int at = r * C + c;
            gx[at] = s * (gy[at] - level - (x[at] - m) * slope);
        }
    }
}
