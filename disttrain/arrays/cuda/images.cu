/* Convolution and pooling on a GPU, in the order of images.c: the same bits as its direct form.

   Every output is one chain of multiply-adds over (row, column, channel) of its window; a bias is added
   behind it. A weight's gradient is a chain over (sample, row, column) too, cut into spans of samples
   that are added in their order: with one span it is the chain of images.c. Rows are samples, channels
   come last. Compiled for each type T of numbers, without contraction: `fma` stands where it is meant. */

#define PIXELS 4  /* outputs side by side of one thread */
#define FILTERS 4 /* and their filters, `lanes` apart */
#define TAPS 4    /* weights of one thread whose gradient it sums */

/* The row or column of the source below number `at`, with up-1 zeros between its pixels; -1: none. */
__device__ int source(int at, int up, int size) {
    return at < 0 || at % up || at / up >= size ? -1 : at / up;
}

/* out (rows, oh, ow, k): windows of kh x kw slide over x (rows, h, w, c), between whose pixels stand
   up_h-1 and up_w-1 zeros. `skip`: rows without pixels are left out instead of multiplied. */
extern "C" __global__ void slide(int count, const T *x, int h, int w, int c, int kh, int kw, int sh,
                                 int sw, int up_h, int up_w, int top, int left, const T *weight,
                                 const T *bias, int relu, int skip, T *out, int oh, int ow, int k) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int lanes = (k + FILTERS - 1) / FILTERS, parts = (ow + PIXELS - 1) / PIXELS;
    int lane = thread % lanes, part = thread / lanes % parts;
    int i = thread / lanes / parts % oh, n = thread / lanes / parts / oh;
    T sum[PIXELS][FILTERS] = {};
    int filter[FILTERS];
    for (int f = 0; f < FILTERS; f++) {
        filter[f] = lane + f * lanes;
        if (filter[f] >= k) filter[f] = k - 1;
    }
    for (int r = 0; r < kh; r++) {
        int row = source(i * sh + r - top, up_h, h);
        if (row < 0 && skip) continue;
        for (int s = 0; s < kw; s++) {
            const T *from[PIXELS];
            for (int p = 0; p < PIXELS; p++) {
                int column = source((part * PIXELS + p) * sw + s - left, up_w, w);
                from[p] = row < 0 || column < 0 ? 0 : x + (((long long)n * h + row) * w + column) * c;
            }
            const T *weights = weight + (long long)(r * kw + s) * c * k;
            for (int channel = 0; channel < c; channel++, weights += k) {
                T one[PIXELS], times[FILTERS];
                for (int p = 0; p < PIXELS; p++) one[p] = from[p] ? from[p][channel] : (T)0;
                for (int f = 0; f < FILTERS; f++) times[f] = weights[filter[f]];
                for (int p = 0; p < PIXELS; p++)
                    for (int f = 0; f < FILTERS; f++) sum[p][f] = fma(one[p], times[f], sum[p][f]);
            }
        }
    }
    for (int p = 0; p < PIXELS; p++)
        for (int f = 0; f < FILTERS; f++) {
            int j = part * PIXELS + p, number = lane + f * lanes;
            if (j >= ow || number >= k) continue;
            T a = sum[p][f];
            if (bias) a = a + bias[number];
            if (relu) a = a <= 0 ? (T)0 : a; /* a NaN must stay visible */
            out[(((long long)n * oh + i) * ow + j) * k + number] = a;
        }
}

/* turned (taps, k, c): filters (taps, c, k) seen from the output, for the gradient of the input. */
extern "C" __global__ void turn(int count, const T *weight, int taps, int c, int k, T *turned) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int channel = thread % c, filter = thread / c % k, tap = thread / c / k;
    turned[thread] = weight[((long long)(taps - 1 - tap) * c + channel) * k + filter];
}

/* dy = dy, or 0 where the output y is not above 0. */
extern "C" __global__ void mask(int count, const T *y, T *dy) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) dy[thread] = dy[thread] * (T)(y[thread] > 0);
}

/* sums (spans, kh, kw c, k): the gradient of the weights from each span of samples. */
extern "C" __global__ void collect(int count, int rows, int span, const T *x, int h, int w, int c, int kh,
                                   int kw, int sh, int sw, int top, int left, const T *g, int oh, int ow,
                                   int k, T *sums) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int run = kw * c, parts = (run + TAPS - 1) / TAPS;
    int filter = thread % k, first = thread / k % parts * TAPS;
    int r = thread / k / parts % kh, number = thread / k / parts / kh;
    int begin = number * span, end = begin + span < rows ? begin + span : rows;
    T sum[TAPS] = {};
    int column[TAPS], channel[TAPS];
    for (int t = 0; t < TAPS; t++) {
        column[t] = (first + t) / c - left;
        channel[t] = (first + t) % c;
    }
    for (int n = begin; n < end; n++)
        for (int i = 0; i < oh; i++) {
            int row = i * sh + r - top;
            const T *line = row < 0 || row >= h ? 0 : x + ((long long)n * h + row) * w * c;
            const T *d = g + ((long long)n * oh + i) * ow * k + filter;
#pragma unroll 4
            for (int j = 0; j < ow; j++) {
                T one = d[(long long)j * k];
                for (int t = 0; t < TAPS; t++) {
                    int at = j * sw + column[t];
                    T here = line && at >= 0 && at < w ? line[at * c + channel[t]] : (T)0;
                    sum[t] = fma(here, one, sum[t]);
                }
            }
        }
    for (int t = 0; t < TAPS; t++)
        if (first + t < run) sums[(((long long)number * kh + r) * run + first + t) * k + filter] = sum[t];
}

/* sums (rows, k): of each sample the sum over pixels, as four sums of every fourth one, then these. */
extern "C" __global__ void add_pixels(int count, const T *g, int pixels, int k, T *sums) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const T *at = g + (long long)(thread / k) * pixels * k + thread % k;
    T four[4] = {};
    int n = 0;
    for (; n + 4 <= pixels; n += 4, at += 4 * k)
        for (int f = 0; f < 4; f++) four[f] = four[f] + at[f * k];
    for (; n < pixels; n++, at += k) four[0] = four[0] + *at;
    sums[thread] = (four[0] + four[1]) + (four[2] + four[3]);
}

/* y: the largest number of each window and channel, or their mean. */
extern "C" __global__ void pool(int count, const T *x, int h, int w, int c, int kh, int kw, int sh, int sw,
                                int oh, int ow, int largest, T *y) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int channel = thread % c, j = thread / c % ow, i = thread / c / ow % oh, n = thread / c / ow / oh;
    const T *from = x + (((long long)n * h + i * sh) * w + j * sw) * c + channel;
    T best = *from;
    for (int r = 0; r < kh; r++)
        for (int q = r == 0; q < kw; q++) {
            T here = from[(r * w + q) * c];
            if (!largest) best = best + here;
            else if (here > best || here != here) best = here; /* NaN must stay visible */
        }
    y[thread] = largest ? best : best * (T)(1.0 / (double)(kh * kw));
}

/* Whether a pixel before (r, q) of a window is as large as its largest one. */
__device__ bool before(const T *window, int w, int c, int kw, int r, int q, T top) {
    for (int n = 0; n < r * kw + q; n++)
        if (window[(n / kw * w + n % kw) * c] == top) return true;
    return false;
}

/* dx: the gradient of `pool`, over the windows of each pixel in their order; of several largest numbers
   the first one gets it. */
extern "C" __global__ void pool_gradient(int count, const T *x, int h, int w, int c, int kh, int kw, int sh,
                                         int sw, int oh, int ow, int largest, const T *y, const T *dy,
                                         T *dx) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int channel = thread % c, column = thread / c % w, row = thread / c / w % h, n = thread / c / w / h;
    T sum = 0, here = x[thread];
    for (int i = row < kh ? 0 : (row - kh) / sh + 1; i < oh && i * sh <= row; i++)
        for (int j = column < kw ? 0 : (column - kw) / sw + 1; j < ow && j * sw <= column; j++) {
            long long at = (((long long)n * oh + i) * ow + j) * c + channel;
            const T *window = x + (((long long)n * h + i * sh) * w + j * sw) * c + channel;
            if (!largest)
                sum = sum + dy[at] * (T)(1.0 / (double)(kh * kw));
            else if (here == y[at] && !before(window, w, c, kw, row - i * sh, column - j * sw, y[at]))
                sum = sum + dy[at];
        }
    dx[thread] = sum;
}
