// Softmax and cross-entropy in three steps. One thread per row would leave a GPU almost idle (a
// batch has some hundred rows), and neighbouring threads would read logits that are K apart. So P
// threads share a row, each with every P-th logit: neighbouring threads read neighbouring logits.
// Then one thread per row joins the P results, and one per element writes the probabilities.

// Of the logits p, p + P, ... of row n: top[n, p] is the largest, and total[n, p] the sum of
// exp(z - top).
extern "C" __global__ void softmax_pieces(
    IN(FLOAT) z, OUT(FLOAT) top, OUT(FLOAT) total,
    int N, int K, int P)
{
    EACH(i, N * P) {
        int n = i / P, p = i % P;
        FLOAT largest = z[n * K + p], sum = 0;
        for (int j = p + P; j < K; j += P)
            largest = z[n * K + j] > largest ? z[n * K + j] : largest;
        for (int j = p; j < K; j += P)  // where all are minus infinity the difference would be NaN
            sum += z[n * K + j] == largest ? 1 : exp(z[n * K + j] - largest);
        top[i] = largest;
        total[i] = sum;
    }
}

// row_top[n], row_total[n]: the same for the whole row; the sum of a piece was relative to the top
// of the piece, so it is scaled.
//
//     loss[n] = -log softmax = log total - (z[label] - top),  NaN for a label outside 0..K-1
extern "C" __global__ void softmax_rows(
    IN(FLOAT) z, IN(long long) labels, IN(FLOAT) top, IN(FLOAT) total, OUT(FLOAT) row_top,
    OUT(FLOAT) row_total, OUT(FLOAT) loss,
    int N, int K, int P)
{
    EACH(n, N) {
        FLOAT largest = top[n * P], sum = 0;
        for (int p = 1; p < P; p++)
            largest = top[n * P + p] > largest ? top[n * P + p] : largest;
        for (int p = 0; p < P; p++)
            sum += total[n * P + p] * exp(top[n * P + p] - largest);
        row_top[n] = largest;
        row_total[n] = sum;
        long long label = labels[n];
        int valid = 0 <= label && label < K;
        loss[n] = valid ? log(sum) - (z[n * K + label] - largest) : (FLOAT)nan("");
    }
}

extern "C" __global__ void softmax_probabilities(
    IN(FLOAT) z, IN(FLOAT) row_top, IN(FLOAT) row_total, OUT(FLOAT) probs,
    int N, int K)
{
    EACH(i, N * K)
        probs[i] = exp(z[i] - row_top[i / K]) / row_total[i / K];
}

// gz[n, j] = g[n] (probs[n, j] - (1 if j is the label))
extern "C" __global__ void softmax_cross_entropy_backward(
    IN(FLOAT) g, IN(FLOAT) probs, IN(long long) labels, OUT(FLOAT) gz,
    int N, int K)
{
    EACH(i, N * K)
        gz[i] = g[i / K] * (probs[i] - (i % K == labels[i / K] ? 1 : 0));
}
