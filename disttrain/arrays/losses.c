/* Weighed and smoothed losses, weights of samples, the perceptron's rule, and the length to which a
   gradient is cut: part of recording.c, once for each type of numbers.

   As in model/losses.py, training/weighing.py and training/optimizer.py: the same operations in the
   same order. */

/* The largest of `n` numbers, NaN where there is one. */
static T NAMED(largest)(ptrdiff_t n, const T *x) {
    T most = x[0];
    for (ptrdiff_t i = 1; i < n; i++) most = x[i] > most || x[i] != x[i] ? x[i] : most;
    return most;
}

/* p: outputs, classes, f, log f, scratch (three numbers a row), class weights, losses, numpy's exp
   and log; n: rows, units; x: 1 - ε, ε / K. The third part of the scratch gets (1 - ε) w_k. */
static void NAMED(weighted_softmax)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const T *o = c->p[0], *w = c->p[5];
    const int64_t *classes = c->p[1];
    T *f = c->p[2], *logs = c->p[3], *sums = c->p[4], *own = sums + 2 * rows;
    double *losses = c->p[6];
    T keep = (T)c->x[0], part = (T)c->x[1];
    for (ptrdiff_t r = 0; r < rows; r++, o += units, f += units) {
        T most = NAMED(largest)(units, o);
        for (ptrdiff_t u = 0; u < units; u++) f[u] = o[u] - most;
    }
    f = c->p[2];
    NAMED(apply)(c->p[7], rows * units, f, logs);
    for (ptrdiff_t r = 0; r < rows; r++) sums[r] = 0 + NAMED(pairwise)(logs + r * units, units);
    NAMED(apply)(c->p[8], rows, sums, sums + rows);
    for (ptrdiff_t r = 0; r < rows; r++, f += units, logs += units) {
        for (ptrdiff_t u = 0; u < units; u++) logs[u] = f[u] - sums[rows + r];
        for (ptrdiff_t u = 0; u < units; u++) f[u] = logs[u] * w[u];
        own[r] = keep * w[classes[r]];
        T of_class = -own[r] * logs[classes[r]], of_all = part * (0 + NAMED(pairwise)(f, units));
        losses[r] = (T)(of_class - of_all);
    }
}

/* p: f, classes, log f, scratch as above, ε / K w, numpy's exp; n: rows, units; x: ε / K Σ w. */
static void NAMED(weighted_softmax_gradient)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const int64_t *classes = c->p[1];
    const T *own = (const T *)c->p[3] + 2 * rows, *shift = c->p[4];
    T *f = c->p[0], spread = (T)c->x[0];
    NAMED(apply)(c->p[5], rows * units, c->p[2], f);
    for (ptrdiff_t r = 0; r < rows; r++, f += units) {
        T factor = own[r] + spread;
        for (ptrdiff_t u = 0; u < units; u++) f[u] = f[u] * factor - shift[u];
        f[classes[r]] -= own[r];
    }
}

/* p: losses, weights of all samples (float32); n: rows, the first one's place in this rank's. */
static void NAMED(weigh_losses)(const Call *c, const Block *block) {
    const int64_t *samples = block->samples + c->n[1];
    double *losses = c->p[0];
    for (int64_t r = 0; r < c->n[0]; r++) losses[r] *= ((const float *)c->p[1])[samples[r]];
}

/* p: gradient, weights of all samples; n: rows, the first one's place, numbers in a row. */
static void NAMED(weigh_gradient)(const Call *c, const Block *block) {
    const int64_t *samples = block->samples + c->n[1];
    T *d = c->p[0];
    for (int64_t r = 0; r < c->n[0]; r++, d += c->n[2]) {
        T weight = ((const float *)c->p[1])[samples[r]];
        for (int64_t u = 0; u < c->n[2]; u++) d[u] *= weight;
    }
}

/* p: outputs of one unit, classes, gradient, losses; n: rows. */
static void NAMED(perceptron)(const Call *c) {
    const T *o = c->p[0];
    const int64_t *classes = c->p[1];
    T *d = c->p[2];
    double *losses = c->p[3];
    for (int64_t r = 0; r < c->n[0]; r++) {
        T y = (T)(2 * classes[r] - 1);
        int mistake = o[r] != y;
        losses[r] = mistake;
        d[r] = -y * (T)mistake;
    }
}

#ifndef SINGLE
/* Their exact sum, rounded once, as by math.fsum: of numbers that are 0 or more; NaN where one is
   not finite, or the sum. It is kept as numbers without common bits, the smallest first (Shewchuk:
   Adaptive precision floating-point arithmetic, 1997). */
static double exact_sum(const double *numbers, int64_t count) {
    double parts[64], sum = 0; /* 40 of them span all exponents */
    int kept = 0;
    for (int64_t i = 0; i < count; i++) {
        double more = numbers[i];
        if (!isfinite(more)) return NAN;
        int still = 0;
        for (int p = 0; p < kept; p++) {
            int larger = fabs(more) > fabs(parts[p]);
            double a = larger ? more : parts[p], b = larger ? parts[p] : more;
            double total = a + b, rest = b - (total - a);
            if (rest != 0) parts[still++] = rest;
            more = total;
        }
        if (!isfinite(more)) return NAN;
        parts[still++] = more;
        kept = still;
    }
    double rest = 0;
    while (kept && rest == 0) {
        double total = sum + parts[--kept];
        rest = parts[kept] - (total - sum);
        sum = total;
    }
    /* Half way between two numbers: what is below says which of them is nearer. */
    if (kept && ((rest > 0 && parts[kept - 1] > 0) || (rest < 0 && parts[kept - 1] < 0))) {
        double twice = 2 * rest, up = sum + twice;
        if (up - sum == twice) sum = up;
    }
    return sum;
}

/* The factor that makes summed gradients the mean, no longer than `limit`; `numbers` are sums of
   their squares. */
static double clipped(const double *numbers, int64_t count, double divisor, double limit) {
    double norm = sqrt(exact_sum(numbers, count)) / divisor;
    if (!isfinite(norm)) return NAN;
    double shorter = limit / (norm + 1e-6);
    return (shorter < 1 ? shorter : 1) / divisor;
}
#endif
