/* The update of all weights in one launch; formulas: cpu_kernels.py.

   What changes from step to step is given as a number or, in a CUDA graph, stands in `block` in device
   memory; there the rate is multiplied by `factor`. Behind `decayed` weights there is no decay. Where the
   losses in a header are not finite, nothing is updated. */

enum { CLASSICAL, AVERAGED, NESTEROV };
/* The numbers of a block, as in gpu_program.py. */
enum { SCALE, RATE, UNBIAS, ROOT, DIVISOR, EACH };

/* Whether the sum of the losses is finite; true without a header. */
__device__ bool finite(const double *header, int units) {
    double sum = 0;
    for (int u = 0; header && u < units; u++) sum = sum + header[u];
    return sum - sum == 0;
}

/* One update of w and v. */
extern "C" __global__ void momentum(int count, int form, T *w, T *v, const T *g, double inverse,
                                    double rate, double beta, double decay, int decayed, double factor,
                                    const double *block, const double *header, int units) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count || !finite(header, units)) return;
    if (block) inverse = block[SCALE], rate = block[RATE] * factor;
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

/* One update of w, m and v. With a block `own` is the decay that goes by the rate. */
extern "C" __global__ void adam(int count, T *w, T *m, T *v, const T *g, double inverse, double decay,
                                double keep, double beta1, double beta2, double rate, double root,
                                double epsilon, double own, int decayed, double factor,
                                const double *block, const double *header, int units) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count || !finite(header, units)) return;
    if (block) {
        double along = block[RATE] * factor;
        inverse = block[SCALE], keep = 1 - along * own, rate = along / block[UNBIAS], root = block[ROOT];
    }
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

/* The sum of `count` numbers that are 0 or more, rounded once, as by math.fsum; NaN where it is not finite.
   As `exact_sum` in losses.c: numbers without common bits, the smallest first (Shewchuk, 1997). */
__device__ double exact_sum(int count, const double *x) {
    double parts[64], sum = 0, rest = 0; /* 40 of them span all exponents */
    int kept = 0;
    for (int i = 0; i < count; i++) {
        double more = x[i];
        int still = 0;
        if (!(more - more == 0)) return more - more;
        for (int p = 0; p < kept; p++) {
            bool larger = fabs(more) > fabs(parts[p]);
            double a = larger ? more : parts[p], b = larger ? parts[p] : more;
            double both = a + b, left = b - (both - a);
            if (left != 0) parts[still++] = left;
            more = both;
        }
        if (!(more - more == 0)) return more - more;
        parts[still++] = more;
        kept = still;
    }
    while (kept && rest == 0) {
        double both = sum + parts[--kept];
        rest = parts[kept] - (both - sum);
        sum = both;
    }
    /* Half way between two numbers: what is below says which of them is nearer. */
    if (kept && ((rest > 0 && parts[kept - 1] > 0) || (rest < 0 && parts[kept - 1] < 0))) {
        double twice = 2 * rest, up = sum + twice;
        if (up - sum == twice) sum = up;
    }
    return sum;
}

/* The block's scale = that of the mean gradient, no longer than `limit`, from the sums of squares of all
   parts of the gradient; NaN where the norm is not finite. One thread. */
extern "C" __global__ void clip(int count, const double *sums, double limit, double *block) {
    if (blockIdx.x || threadIdx.x) return;
    double norm = sqrt(exact_sum(count, sums)) / block[DIVISOR], shorter = limit / (norm + 1e-6);
    bool finite_norm = norm - norm == 0;
    block[SCALE] = finite_norm ? (shorter < 1 ? shorter : 1) / block[DIVISOR] : norm - norm;
}

/* w = w - g / samples, for running averages of layers. */
extern "C" __global__ void averages(int count, T *w, const T *g, const double *block, const double *header,
                                    int units) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count && finite(header, units)) w[thread] = w[thread] - g[thread] * (T)block[EACH];
}
