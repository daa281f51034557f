/* Batch normalization, channel by channel; sums over the batch are float64. */

/* sums (parts, 2 channels): over `part` pixels each, of x and of its squares (no y), or of x and x y. */
extern "C" __global__ void batch_sums(int count, int pixels, int channels, int part, const T *x, const T *y,
                                      double *sums) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int channel = thread % channels, number = thread / channels, first = number * part;
    int end = first + part < pixels ? first + part : pixels;
    double one = 0, two = 0;
    for (int pixel = first; pixel < end; pixel++) {
        long long at = (long long)pixel * channels + channel;
        one = one + (double)x[at];
        two = two + (y ? (double)(T)(x[at] * y[at]) : (double)x[at] * (double)x[at]);
    }
    sums[2 * (long long)number * channels + channel] = one;
    sums[(2 * (long long)number + 1) * channels + channel] = two;
}

/* out = the sum of all parts, for gradients also as numbers of T; with `pixels` >= 0 these stand behind it. */
extern "C" __global__ void batch_total(int count, int parts, const double *sums, double *out, int pixels,
                                       T *shift, T *scale) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    double sum = 0;
    for (int part = 0; part < parts; part++) sum = sum + sums[(long long)part * count + thread];
    out[thread] = sum;
    if (pixels >= 0 && thread == 0) out[count] = pixels;
    if (!shift) return;
    if (thread < count / 2) shift[thread] = (T)sum;
    else scale[thread - count / 2] = (T)sum;
}

/* total = total + x. */
extern "C" __global__ void add_sums(int count, const double *x, double *total) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) total[thread] = total[thread] + x[thread];
}

/* Mean and inverse deviation from the totals, and what the running ones lose; without totals from these. */
extern "C" __global__ void batch_moments(int channels, const double *totals, const T *running,
                                         const T *spread, T *moved, T *widened, T *mean, T *inverse,
                                         double part, double epsilon) {
    int u = blockIdx.x * blockDim.x + threadIdx.x;
    if (u >= channels) return;
    if (!totals) {
        mean[u] = running[u];
        inverse[u] = 1 / (T)sqrt((double)(spread[u] + (T)epsilon));
        return;
    }
    double all = totals[2 * channels], count = all < 1 ? 1 : all, others = count - 1 < 1 ? 1 : count - 1;
    double first = totals[u] / count, second = totals[channels + u] / count;
    double variance = second - first * first;
    variance = variance < 0 ? 0 : variance; /* a NaN must stay visible */
    moved[u] = (T)(((double)running[u] - first) * part);
    widened[u] = (T)(((double)spread[u] - variance * count / others) * part);
    mean[u] = (T)first;
    inverse[u] = (T)(1 / sqrt(variance + epsilon));
}

/* hat = (x - mean) inverse, y = hat scale + shift. */
extern "C" __global__ void batch_norm(int count, int channels, const T *x, const T *mean, const T *inverse,
                                      const T *scale, const T *shift, T *hat, T *y) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x, u = thread % channels;
    if (thread >= count) return;
    T normal = (x[thread] - mean[u]) * inverse[u];
    hat[thread] = normal;
    y[thread] = normal * scale[u] + shift[u];
}

/* d becomes the gradient of x; `totals` are those of the way back, `forth` those of the way forth. */
extern "C" __global__ void batch_norm_gradient(int count, int channels, T *d, const T *hat,
                                               const double *totals, const double *forth, const T *scale,
                                               const T *inverse) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x, u = thread % channels;
    if (thread >= count) return;
    double all = forth[2 * channels], pixels = all < 1 ? 1 : all;
    T one = (T)(totals[u] / pixels), two = (T)(totals[channels + u] / pixels);
    d[thread] = (d[thread] - one - hat[thread] * two) * (scale[u] * inverse[u]);
}
