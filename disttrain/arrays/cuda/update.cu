/* The update of all weights in one launch; formulas: cpu_kernels.py.

   What changes from step to step is given as a number or, in a CUDA graph, stands in `block` in device
   memory. Behind `decayed` weights there is no decay. Where the losses in a header are not finite,
   nothing is updated. */

enum { CLASSICAL, AVERAGED, NESTEROV };

/* Whether the sum of the losses is finite; true without a header. */
__device__ bool finite(const double *header, int units) {
    double sum = 0;
    for (int u = 0; header && u < units; u++) sum = sum + header[u];
    return sum - sum == 0;
}

/* block: 1 / samples, rate. */
extern "C" __global__ void momentum(int count, int form, T *w, T *v, const T *g, double inverse,
                                    double rate, double beta, double decay, int decayed,
                                    const double *block, const double *header, int units) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count || !finite(header, units)) return;
    if (block) inverse = block[0], rate = block[1];
    T along = (T)rate, keep = (T)beta, shrink = thread < decayed ? (T)decay : (T)0;
    T weight = w[thread], s = (T)inverse * g[thread];
    if (shrink != 0) s = s + shrink * weight;
    T speed = keep * v[thread];
    if (form == AVERAGED) {
        speed = speed + (T)(-rate * (1 - beta)) * s;
        weight = weight + speed;
    } else {
        speed = speed + s;
        if (form == NESTEROV) s = s + keep * speed;
        weight = weight - along * (form == NESTEROV ? s : speed);
    }
    v[thread] = speed;
    w[thread] = weight;
}

/* block: 1 / samples, rate, the corrected rate, the root; then `own` is the decay that goes by the rate. */
extern "C" __global__ void adam(int count, T *w, T *m, T *v, const T *g, double inverse, double decay,
                                double keep, double beta1, double beta2, double rate, double root,
                                double epsilon, double own, int decayed, const double *block,
                                const double *header, int units) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count || !finite(header, units)) return;
    if (block) inverse = block[0], keep = 1 - block[1] * own, rate = block[2], root = block[3];
    T shrink = thread < decayed ? (T)decay : (T)0, stays = thread < decayed ? (T)keep : (T)1;
    T weight = w[thread], s = (T)inverse * g[thread] + shrink * weight;
    T first = (T)beta1 * m[thread] + (T)(1 - beta1) * s;
    T second = (T)beta2 * v[thread] + (T)(1 - beta2) * (s * s);
    m[thread] = first;
    v[thread] = second;
    w[thread] = stays * weight - (T)rate * (first / ((T)root * sqrt(second) + (T)epsilon));
}

/* a = a + (w - a) part. */
extern "C" __global__ void average(int count, const T *w, double part, T *a) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) a[thread] = a[thread] + (w[thread] - a[thread]) * (T)part;
}

/* sums[t] = the squares of x[t], x[t + count], ... */
extern "C" __global__ void square_sums(int count, int length, const T *x, double *sums) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    double sum = 0;
    for (long long at = thread; at < length; at += count) sum = sum + (double)x[at] * (double)x[at];
    sums[thread] = sum;
}
