// Updates that the 2012 code did not have, and the adjoint of indexing.

// v := m v + g + wd w;  w := w - lr (g + wd w + m v)   (torch.optim.SGD with nesterov=True)
extern "C" __global__ void sgd_nesterov(OUT(FLOAT) w, IN(FLOAT) g, OUT(FLOAT) v, int M,
                                        FLOAT lr, FLOAT momentum, FLOAT weight_decay)
{
    EACH(i, M) {
        FLOAT step = g[i] + weight_decay * w[i];
        v[i] = momentum * v[i] + step;
        w[i] -= lr * (step + momentum * v[i]);
    }
}

// m := b1 m + (1 - b1) g';  v := b2 v + (1 - b2) g'^2;  w := w - rate m / (root sqrt(v) + eps)
//
// with g' = g + wd w. rate = lr / (1 - b1^step) and root = 1 / sqrt(1 - b2^step) are the same for
// all elements.
extern "C" __global__ void adam(OUT(FLOAT) w, IN(FLOAT) g, OUT(FLOAT) m, OUT(FLOAT) v, int M,
                                FLOAT rate, FLOAT root, FLOAT beta1, FLOAT beta2, FLOAT eps,
                                FLOAT weight_decay)
{
    EACH(i, M) {
        FLOAT gradient = g[i] + weight_decay * w[i];
        m[i] = beta1 * m[i] + (1 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
        w[i] -= rate * m[i] / (root * sqrt(v[i]) + eps);
    }
}

// total[i] = the sum of those g whose place is i: order has their numbers sorted by place, those of
// place i from starts[i] on
extern "C" __global__ void scatter_add(IN(FLOAT) g, IN(long long) order,
                                       IN(long long) starts, OUT(FLOAT) total, int size)
{
    EACH(i, size) {
        FLOAT sum = 0;
        for (long long j = starts[i]; j < starts[i + 1]; j++)
            sum += g[order[j]];
        total[i] = sum;
    }
}
