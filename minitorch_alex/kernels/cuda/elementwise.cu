// Element by element: non-linearities, dropout and the update. A thread needs nothing but its own
// element.

extern "C" __global__ void relu(IN(FLOAT) x, OUT(FLOAT) y, int M)
{
    EACH(i, M)
        y[i] = x[i] < 0 ? 0 : x[i];  // this way round a NaN stays a NaN
}

extern "C" __global__ void relu_backward(IN(FLOAT) gy, IN(FLOAT) y, OUT(FLOAT) gx, int M)
{
    EACH(i, M)
        gx[i] = y[i] <= 0 ? 0 : gy[i];  // NaN passes its gradient on
}

// Not `tanh`: C has a function of that name.
extern "C" __global__ void tanh_forward(IN(FLOAT) x, OUT(FLOAT) y, int M)
{
    EACH(i, M)
        y[i] = tanh(x[i]);
}

extern "C" __global__ void tanh_backward(IN(FLOAT) gy, IN(FLOAT) y, OUT(FLOAT) gx, int M)
{
    EACH(i, M)
        gx[i] = gy[i] * (1 - y[i] * y[i]);
}

// y = x scale where the hash of (key, element number) reaches the threshold floor(p 2^32), else 0.
// The hash is the finalizer of MurmurHash3, with 32-bit words that wrap around: the very integers
// of kernels/naive.py, so that a mask is the same on every backend and need not be stored;
// backward makes it again.
extern "C" __global__ void dropout(
    IN(FLOAT) x, OUT(FLOAT) y,
    int M, unsigned long long threshold, FLOAT scale, unsigned key0, unsigned key1)
{
    EACH(i, M) {
        unsigned h = (unsigned)i * 0x9E3779B1u + key0;
        h ^= h >> 16;
        h *= 0x85EBCA6Bu;
        h ^= h >> 13;
        h += key1;
        h *= 0xC2B2AE35u;
        h ^= h >> 16;
        y[i] = h >= threshold ? x[i] * scale : 0;
    }
}

// v := m v - wd lr w - lr g;  w := w + v   (the paper's section 5).
// One pass: three reads, two writes.
extern "C" __global__ void sgd_2012(
    OUT(FLOAT) w, IN(FLOAT) g, OUT(FLOAT) v,
    int M, FLOAT lr, FLOAT momentum, FLOAT weight_decay)
{
    EACH(i, M) {
        v[i] = momentum * v[i] - weight_decay * lr * w[i] - lr * g[i];
        w[i] += v[i];
    }
}

// v := m v + g + wd w;  w := w - lr v   (torch.optim.SGD)
extern "C" __global__ void sgd_torch(
    OUT(FLOAT) w, IN(FLOAT) g, OUT(FLOAT) v,
    int M, FLOAT lr, FLOAT momentum, FLOAT weight_decay)
{
    EACH(i, M) {
        v[i] = momentum * v[i] + g[i] + weight_decay * w[i];
        w[i] -= lr * v[i];
    }
}
