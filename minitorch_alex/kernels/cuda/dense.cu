// What a layer with weights has besides its matrix product: adding the bias, and summing its gradient.

// y[r, first + o] = part[r, o] + b[first + o], and with `relu` not below 0. A group's product `part` (rows, Og) is so
// put in its place among all O channels on the way; y may be `part` itself when there is one group
// (hence no __restrict__).
extern "C" __global__ void add_bias(const FLOAT *part, const FLOAT *b, FLOAT *y, int rows, int O, int first, int Og,
                                    int relu)
{
    EACH(o, Og)
        LINES(r, rows) {
            FLOAT value = part[r * Og + o] + b[first + o];
            y[r * O + first + o] = relu && value < 0 ? 0 : value;
        }
}

// sums[p, o] = the sum of g[r, o] over the `step` rows r from p step on. Called again on `sums` until one row is left:
// a tree of sums, whose shape depends on the sizes alone and whose rounding errors do not pile up.
extern "C" __global__ void sum_rows(IN(FLOAT) g, OUT(FLOAT) sums, int rows, int O, int step)
{
    EACH(o, O)
        LINES(p, (rows + step - 1) / step) {
            int stop = rows - p * step < step ? rows : (p + 1) * step;
            FLOAT sum = 0;
            for (int r = p * step; r < stop; r++)
                sum += g[r * O + o];
            sums[p * O + o] = sum;
        }
}
