/* Layer and batch normalization of a recording: part of recording.c, once for each type of numbers.

   As in model/layers/normalization.py: sums over rows in the order of the rows, one column pairwise,
   and means of a sample pairwise, as numpy adds them; sums over the batch are float64. */

/* The mean of `n` numbers. */
static T NAMED(mean)(const T *x, ptrdiff_t n) {
    return (T)((double)(0 + NAMED(pairwise)(x, n)) / (double)n);
}

WIDE static void NAMED(normalize_sample)(ptrdiff_t width, const T *restrict x,
                                         const T *restrict scale, const T *restrict shift,
                                         T *restrict hat, T *restrict y, T *inverse, T epsilon) {
    T mean = NAMED(mean)(x, width);
    for (ptrdiff_t u = 0; u < width; u++) hat[u] = x[u] - mean, y[u] = hat[u] * hat[u];
    T factor = *inverse = 1 / (T)sqrt((double)(NAMED(mean)(y, width) + epsilon));
    for (ptrdiff_t u = 0; u < width; u++) {
        hat[u] *= factor;
        y[u] = hat[u] * scale[u] + shift[u];
    }
}

/* p: x, scale, shift, normalized, inverse deviations, y; n: rows, width; x: ε. */
static void NAMED(layer_norm)(const Call *c) {
    ptrdiff_t width = c->n[1];
    for (ptrdiff_t r = 0; r < c->n[0]; r++)
        NAMED(normalize_sample)(width, (const T *)c->p[0] + r * width, c->p[1], c->p[2],
                                (T *)c->p[3] + r * width, (T *)c->p[5] + r * width,
                                (T *)c->p[4] + r, (T)c->x[0]);
}

WIDE static void NAMED(sample_gradient)(ptrdiff_t width, T *restrict d, const T *restrict hat,
                                        const T *restrict scale, T inverse, T *restrict product) {
    for (ptrdiff_t u = 0; u < width; u++) d[u] *= scale[u], product[u] = d[u] * hat[u];
    T along = NAMED(mean)(product, width), mean = NAMED(mean)(d, width);
    for (ptrdiff_t u = 0; u < width; u++) d[u] = (d[u] - mean - hat[u] * along) * inverse;
}

/* out = (x y).sum(axis=0), for one column through `scratch`, which has a number a row. */
WIDE static void NAMED(sum_products)(ptrdiff_t rows, ptrdiff_t units, const T *restrict x,
                                     const T *restrict y, T *restrict scratch, T *restrict out) {
    if (units == 1) {
        for (ptrdiff_t r = 0; r < rows; r++) scratch[r] = x[r] * y[r];
        out[0] = 0 + NAMED(pairwise)(scratch, rows);
        return;
    }
    for (ptrdiff_t u = 0; u < units; u++) out[u] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, x += units, y += units)
        for (ptrdiff_t u = 0; u < units; u++) out[u] += x[u] * y[u];
}

/* p: dy, normalized, inverse deviations, scale, dscale, dshift, scratch; n: rows, width. */
static void NAMED(layer_norm_gradient)(const Call *c) {
    ptrdiff_t rows = c->n[0], width = c->n[1];
    T *d = c->p[0];
    const T *hat = c->p[1], *inverse = c->p[2];
    NAMED(bias_gradient)(rows, width, d, c->p[5]);
    NAMED(sum_products)(rows, width, d, hat, c->p[6], c->p[4]);
    for (ptrdiff_t r = 0; r < rows; r++, d += width, hat += width)
        NAMED(sample_gradient)(width, d, hat, c->p[3], inverse[r], c->p[6]);
}

/* The sum of one column of float64, which numpy has cast from T 8,192 numbers at a time. */
static double NAMED(sum_column)(ptrdiff_t rows, const double *x) {
    double sum = 0;
    ptrdiff_t part = sizeof(T) == sizeof(double) ? rows : 8192;
    for (ptrdiff_t low = 0; low < rows; low += part)
        sum += pairwise_f64(x + low, rows - low < part ? rows - low : part);
    return sum;
}

/* Sums over rows of at most SIDE channels: of x to `one`, of its squares (no y) or of x y to `two`.
   Lanes without a channel read the next pixel's numbers, but not behind the last one. */
#define SIDE 16
#define ADD_ROWS(FROM, TO, LANES, SECOND)                                                          \
    for (ptrdiff_t r = FROM; r < TO; r++)                                                          \
        for (ptrdiff_t l = 0; l < LANES; l++) {                                                    \
            T first = x[r * channels + l];                                                         \
            a[l] += (double)first;                                                                 \
            b[l] += SECOND;                                                                        \
        }
#define SQUARE ((double)first * (double)first)
#define TIMES ((double)(T)(first * y[r * channels + l]))
WIDE static void NAMED(side_sums)(ptrdiff_t rows, ptrdiff_t channels, ptrdiff_t side,
                                  const T *restrict x, const T *restrict y, ptrdiff_t whole,
                                  double *restrict one, double *restrict two) {
    double a[SIDE] = {0}, b[SIDE] = {0};
    if (y) {
        ADD_ROWS(0, whole, SIDE, TIMES)
        ADD_ROWS(whole, rows, side, TIMES)
    } else {
        ADD_ROWS(0, whole, SIDE, SQUARE)
        ADD_ROWS(whole, rows, side, SQUARE)
    }
    memcpy(one, a, (size_t)side * sizeof(double));
    memcpy(two, b, (size_t)side * sizeof(double));
}

/* The sums over pixels of x and of its squares (no y), or of x and x y.
   p: x, y or NULL, sums, scratch (a float64 a pixel), with y the same sums as numbers of T, twice;
   n: pixels, channels. Behind the sums without y: pixels. */
static void NAMED(batch_sums)(const Call *c) {
    ptrdiff_t rows = c->n[0], channels = c->n[1], count = rows * channels;
    const T *x = c->p[0], *y = c->p[1];
    double *one = c->p[2], *two = one + channels, *scratch = c->p[3];
    if (channels == 1) { /* numpy adds a column as it adds a vector */
        for (ptrdiff_t r = 0; r < rows; r++) scratch[r] = (double)x[r];
        one[0] = NAMED(sum_column)(rows, scratch);
        for (ptrdiff_t r = 0; r < rows; r++)
            scratch[r] = y ? (double)(T)(x[r] * y[r]) : (double)x[r] * (double)x[r];
        two[0] = y ? NAMED(sum_column)(rows, scratch) : 0 + pairwise_f64(scratch, rows);
    }
    for (ptrdiff_t low = 0; channels > 1 && low < channels; low += SIDE) {
        ptrdiff_t side = channels - low < SIDE ? channels - low : SIDE;
        ptrdiff_t whole = count < low + SIDE ? 0 : (count - low - SIDE) / channels + 1;
        NAMED(side_sums)(rows, channels, side, x + low, y ? y + low : NULL, whole, one + low,
                         two + low);
    }
    if (!y) two[channels] = (double)rows;
    for (ptrdiff_t u = 0; y && u < channels; u++) {
        ((T *)c->p[4])[u] = (T)one[u];
        ((T *)c->p[5])[u] = (T)two[u];
    }
}

/* p: totals over the batch, running mean and variance, their gradients, mean, inverse deviation;
   n: channels, samples; x: momentum, ε. At prediction (no totals) the running ones are used. */
static void NAMED(batch_moments)(const Call *c) {
    ptrdiff_t channels = c->n[0];
    const double *totals = c->p[0];
    const T *running = c->p[1], *spread = c->p[2];
    T *moved = c->p[3], *widened = c->p[4], *mean = c->p[5], *inverse = c->p[6];
    for (ptrdiff_t u = 0; !totals && u < channels; u++) {
        mean[u] = running[u];
        inverse[u] = 1 / (T)sqrt((double)(spread[u] + (T)c->x[1]));
    }
    if (!totals) return;
    double all = totals[2 * channels], count = all < 1 ? 1 : all, part = c->x[0] * (double)c->n[1];
    double others = count - 1 < 1 ? 1 : count - 1;
    for (ptrdiff_t u = 0; u < channels; u++) {
        double first = totals[u] / count, second = totals[channels + u] / count;
        double variance = second - first * first;
        variance = variance < 0 ? 0 : variance; /* a NaN must stay visible */
        moved[u] = (T)(((double)running[u] - first) * part);
        widened[u] = (T)(((double)spread[u] - variance * count / others) * part);
        mean[u] = (T)first;
        inverse[u] = (T)(1 / sqrt(variance + c->x[1]));
    }
}

/* Write the numbers of the channels again and again, up to `width`: loops are then long. */
static const T *NAMED(repeat)(ptrdiff_t channels, ptrdiff_t width, const T *x, T *out) {
    for (ptrdiff_t low = 0; low < width; low += channels)
        memcpy(out + low, x, (size_t)channels * sizeof(T));
    return out;
}

/* p: x, mean, inverse deviation, scale, shift, normalized, y, scratch; n: pixels, channels, width
   (channels times some number), of which scratch has four times as many numbers. */
WIDE static void NAMED(batch_norm)(const Call *c) {
    ptrdiff_t channels = c->n[1], width = c->n[2], count = c->n[0] * channels;
    const T *restrict x = c->p[0];
    T *restrict hat = c->p[5], *restrict y = c->p[6], *scratch = c->p[7];
    const T *restrict mean = NAMED(repeat)(channels, width, c->p[1], scratch);
    const T *restrict inverse = NAMED(repeat)(channels, width, c->p[2], scratch + width);
    const T *restrict scale = NAMED(repeat)(channels, width, c->p[3], scratch + 2 * width);
    const T *restrict shift = NAMED(repeat)(channels, width, c->p[4], scratch + 3 * width);
    for (; count > 0; count -= width, x += width, hat += width, y += width)
        for (ptrdiff_t u = 0; u < (count < width ? count : width); u++) {
            T normalized = (x[u] - mean[u]) * inverse[u];
            hat[u] = normalized;
            y[u] = normalized * scale[u] + shift[u];
        }
}

/* p: dy, normalized, totals over the batch, those of the way forth, scale, inverse deviation,
   scratch; n: pixels, channels, width, as above. */
WIDE static void NAMED(batch_norm_gradient)(const Call *c) {
    ptrdiff_t channels = c->n[1], width = c->n[2], count = c->n[0] * channels;
    T *restrict d = c->p[0], *restrict one = c->p[6], *restrict two = one + width;
    T *restrict factor = two + width;
    const T *restrict hat = c->p[1], *scale = c->p[4], *inverse = c->p[5];
    const double *totals = c->p[2];
    double all = ((const double *)c->p[3])[2 * channels], pixels = all < 1 ? 1 : all;
    for (ptrdiff_t u = 0, channel = 0; u < width; u++) {
        one[u] = (T)(totals[channel] / pixels);
        two[u] = (T)(totals[channels + channel] / pixels);
        factor[u] = scale[channel] * inverse[channel];
        channel = channel + 1 < channels ? channel + 1 : 0;
    }
    for (; count > 0; count -= width, d += width, hat += width)
        for (ptrdiff_t u = 0; u < (count < width ? count : width); u++)
            d[u] = (d[u] - one[u] - hat[u] * two[u]) * factor[u];
}
