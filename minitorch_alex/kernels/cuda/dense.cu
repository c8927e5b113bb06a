// What a layer with weights has besides its matrix product: adding the bias, and summing its
// gradient.

// y[r, o] += b[o]
extern "C" __global__ void add_bias(IN(FLOAT) b, OUT(FLOAT) y, int rows, int O)
{
    EACH(o, O) {
        FLOAT bias = b[o];
        LINES(r, rows)
            y[r * O + o] += bias;
    }
}

// y[r, o] = max(x[r, o] + b[o], 0): the same sum and the same comparison as add_bias and relu, in
// one pass over memory instead of two
extern "C" __global__ void bias_relu(IN(FLOAT) x, IN(FLOAT) b, OUT(FLOAT) y, int rows, int O)
{
    EACH(o, O) {
        FLOAT bias = b[o];
        LINES(r, rows) {
            FLOAT sum = x[r * O + o] + bias;
            y[r * O + o] = sum < 0 ? 0 : sum;  // this way round a NaN stays a NaN
        }
    }
}

// sums[p, o] = the sum of g[r, o] over the `step` rows r from p step on. Called again on `sums`
// until one row is left: a tree of sums, whose shape depends on the sizes alone and whose rounding
// errors do not pile up.
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
