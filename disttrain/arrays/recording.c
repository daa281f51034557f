/* A recorded step: its kernel calls in a flat array, replayed by one call from Python.

   The operations and their order are those of the step that numpy does, so the bits are the same:
   products are the calls that numpy's dot makes of the same BLAS, exp, log and tanh are numpy's own
   loops, and sums of rows are added pairwise as in numpy. Built with the flags of kernels.c. */

#ifndef T

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

/* One call: what it does, the memory that it works on, sizes, and numbers that never change. */
typedef struct {
    int64_t code;
    void *p[10];
    int64_t n[8];
    double x[6];
} Call;

/* What changes from step to step; `checksum` goes on from update to update. */
typedef struct {
    const int64_t *samples; /* this rank's samples of the step */
    const int64_t *rows;    /* their addresses, where a call reads them so */
    const uint64_t *keys;   /* of the random field of each dropout layer: two numbers */
    /* What gradients are divided by, and one over it; then 1 - β₁^t and 1 / √(1 - β₂^t) of Adam. */
    double divisor, inverse, rate, unbias, root, stop;
    uint64_t checksum;
} Block;

/* Python compares these names, and the sizes below, with its own before it records anything. */
#define CALLS(X)                                                                                   \
    X(GATHER) X(TAKE_CLASSES) X(TAKE_NUMBERS) X(PRODUCT) X(MATRIX_VECTOR) X(ACTIVATE)              \
    X(ACTIVATION_GRADIENT) X(SUM_ROWS) X(SOFTMAX) X(SOFTMAX_GRADIENT) X(SQUARED)                   \
    X(SQUARED_GRADIENT) X(DROPOUT) X(MULTIPLY) X(ADD) X(COPY) X(ZERO) X(TALLY_LOSS)                \
    X(TALLY_RIGHT) X(END_HEADER) X(CHECK) X(MOMENTUM) X(ADAM) X(COPY_MATRIX) X(WAIT) X(PAUSE)      \
    X(SUM_MESSAGES) X(SUM_HEADERS) X(ADD_TWO) X(FUNCTION) X(LAYER_NORM) X(LAYER_NORM_GRADIENT)      \
    X(BATCH_SUMS) X(BATCH_MOMENTS) X(BATCH_NORM) X(BATCH_NORM_GRADIENT)                  \
    X(AVERAGES) X(READ_ROWS) X(WEIGHTED_SOFTMAX) X(WEIGHTED_SOFTMAX_GRADIENT) X(WEIGH_LOSSES)      \
    X(WEIGH_GRADIENT) X(PERCEPTRON) X(SQUARE_SUMS) X(CLIP) X(MULTIPLE) X(DOT) X(TAKE_SCALED)
#define NUMBER(name) name,
#define NAME(name) #name " "
enum { CALLS(NUMBER) };
const char recording_names[] = CALLS(NAME);
const int64_t recording_sizes[] = {sizeof(Call), sizeof(Block)};
enum { IDENTITY, RELU, SIGN, TANH, SIGMOID, LEAKY_RELU, ELU, GELU, SILU };
/* As in cpu_kernels.py: the slope of leaky-relu below 0; sqrt(2 / π), and what gelu has before a³. */
#define LEAK 0.01
#define ROOT 0.79788456080286535588
#define CUBE 0.044715

/* As in optimizer.py. */
#define SPREAD UINT64_C(6364136223846793005)
/* As in dropout.py and draws.py. */
#define PER_BLOCK 16

/* An inner loop of a numpy ufunc. */
typedef void (*Loop)(char **args, const ptrdiff_t *sizes, const ptrdiff_t *strides, void *data);

/* Philox-4x64 with ten rounds (Salmon et al., 2011): four numbers of block `counter`. */
static inline void philox(uint64_t counter, uint64_t key0, uint64_t key1, uint64_t out[4]) {
    uint64_t c0 = counter, c1 = 0, c2 = 0, c3 = 0;
    for (int round = 0; round < 10; round++) {
        unsigned __int128 a = (unsigned __int128)UINT64_C(0xD2E7470EE14C6C93) * c0;
        unsigned __int128 b = (unsigned __int128)UINT64_C(0xCA5A826395121157) * c2;
        uint64_t n0 = (uint64_t)(b >> 64) ^ c1 ^ key0, n2 = (uint64_t)(a >> 64) ^ c3 ^ key1;
        c1 = (uint64_t)b, c3 = (uint64_t)a, c0 = n0, c2 = n2;
        key0 += UINT64_C(0x9E3779B97F4A7C15), key1 += UINT64_C(0xBB67AE8584CAA73B);
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define NAMED(name) PASTE(name, SUFFIX)

#define T double
#define SUFFIX _f8
#include "recording.c"
#undef T
#undef SUFFIX

#define T float
#define SUFFIX _f4
#define SINGLE
#include "recording.c"

#else /* once for each type of numbers */

/* kernels.c */
void NAMED(activate_relu)(ptrdiff_t, ptrdiff_t, T *, const T *);
void NAMED(gradient_relu)(ptrdiff_t, ptrdiff_t, T *, const T *, T *);
void NAMED(gather)(ptrdiff_t, ptrdiff_t, const uint8_t *, const int64_t *, const T *, const T *,
                   T *);
uint64_t NAMED(momentum_classical)(ptrdiff_t, T *, T *, const T *, T, T, T, T);
uint64_t NAMED(momentum_averaged)(ptrdiff_t, T *, T *, const T *, T, T, T, T);
uint64_t NAMED(momentum_nesterov)(ptrdiff_t, T *, T *, const T *, T, T, T, T);
uint64_t NAMED(adam)(ptrdiff_t, T *, T *, T *, const T *, T, T, T, T, T, T, T, T, T, T);
void NAMED(square_sums)(ptrdiff_t, const T *, double *);

/* BLAS, with whole numbers of 64 or of 32 bits. */
typedef void (*NAMED(Gemm64))(int, int, int, int64_t, int64_t, int64_t, T, const T *, int64_t,
                              const T *, int64_t, T, T *, int64_t);
typedef void (*NAMED(Gemm32))(int, int, int, int32_t, int32_t, int32_t, T, const T *, int32_t,
                              const T *, int32_t, T, T *, int32_t);
typedef void (*NAMED(Gemv64))(int, int, int64_t, int64_t, T, const T *, int64_t, const T *, int64_t,
                              T, T *, int64_t);
typedef void (*NAMED(Gemv32))(int, int, int32_t, int32_t, T, const T *, int32_t, const T *, int32_t,
                              T, T *, int32_t);

typedef T (*NAMED(Dot64))(int64_t, const T *, int64_t, const T *, int64_t);
typedef T (*NAMED(Dot32))(int32_t, const T *, int32_t, const T *, int32_t);

/* p: function, a, b, out; n: 64-bit numbers or not, transposes, m, n, k, lda, ldb. Row-major. */
static void NAMED(product)(const Call *c) {
    const int64_t *n = c->n;
    int a = (int)(n[1] & 0xff), b = (int)(n[1] >> 8);
    int64_t ldc = n[3];
    if (n[0])
        ((NAMED(Gemm64))c->p[0])(101, a, b, n[2], n[3], n[4], 1, c->p[1], n[5], c->p[2], n[6], 0,
                                 c->p[3], ldc);
    else
        ((NAMED(Gemm32))c->p[0])(101, a, b, (int32_t)n[2], (int32_t)n[3], (int32_t)n[4], 1, c->p[1],
                                 (int32_t)n[5], c->p[2], (int32_t)n[6], 0, c->p[3], (int32_t)ldc);
}

/* p: function, matrix, vector, out; n: 64-bit or not, order, transpose, m, n, lda, increment. */
static void NAMED(matrix_vector)(const Call *c) {
    const int64_t *n = c->n;
    if (n[0])
        ((NAMED(Gemv64))c->p[0])((int)n[1], (int)n[2], n[3], n[4], 1, c->p[1], n[5], c->p[2], n[6],
                                 0, c->p[3], 1);
    else
        ((NAMED(Gemv32))c->p[0])((int)n[1], (int)n[2], (int32_t)n[3], (int32_t)n[4], 1, c->p[1],
                                 (int32_t)n[5], c->p[2], (int32_t)n[6], 0, c->p[3], 1);
}

/* p: function, two vectors, out: one number; n: 64-bit or not, length, increments. */
static void NAMED(dot)(const Call *c) {
    const int64_t *n = c->n;
    double sum = 0;
    if (n[0])
        sum += ((NAMED(Dot64))c->p[0])(n[1], c->p[1], n[2], c->p[2], n[3]);
    else
        sum += ((NAMED(Dot32))c->p[0])((int32_t)n[1], c->p[1], (int32_t)n[2], c->p[2],
                                       (int32_t)n[3]);
    *(T *)c->p[3] = (T)sum;
}

/* p: one number, a vector, out; n: length, increment. Added to 0, as by axpy, which leaves out 0. */
static void NAMED(multiple)(const Call *c) {
    const T one = *(const T *)c->p[0], *x = c->p[1];
    T *out = c->p[2];
    if (c->n[0] == 1) {
        *out = one * *x;
        return;
    }
    for (int64_t i = 0; i < c->n[0]; i++) out[i] = one == 0 ? 0 : 0 + one * x[i * c->n[1]];
}

/* Apply a numpy loop of one argument to `count` elements. */
static void NAMED(apply)(void *loop, int64_t count, const T *in, T *out) {
    char *args[2] = {(char *)in, (char *)out};
    ptrdiff_t size = count, strides[2] = {sizeof(T), sizeof(T)};
    ((Loop)loop)(args, &size, strides, NULL);
}

/* The sum of `n` numbers as numpy adds them: pairwise, in blocks of eight running sums. */
#define PAIRWISE(TYPE, NAME)                                                                       \
    static TYPE NAME(const TYPE *a, ptrdiff_t n) {                                                 \
        if (n < 8) {                                                                               \
            TYPE sum = -0.0;                                                                       \
            for (ptrdiff_t i = 0; i < n; i++) sum += a[i];                                         \
            return sum;                                                                            \
        }                                                                                          \
        if (n > 128) {                                                                             \
            ptrdiff_t half = n / 2;                                                                \
            half -= half % 8;                                                                      \
            return NAME(a, half) + NAME(a + half, n - half);                                       \
        }                                                                                          \
        TYPE r[8];                                                                                 \
        ptrdiff_t i = 8;                                                                           \
        for (int l = 0; l < 8; l++) r[l] = a[l];                                                   \
        for (; i < n - n % 8; i += 8)                                                              \
            for (int l = 0; l < 8; l++) r[l] += a[i + l];                                          \
        TYPE sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));              \
        for (; i < n; i++) sum += a[i];                                                            \
        return sum;                                                                                \
    }
PAIRWISE(T, NAMED(pairwise))
#ifndef SINGLE
#define pairwise_f64 pairwise_f8
#endif

WIDE static void NAMED(sum_rows)(ptrdiff_t rows, ptrdiff_t units, const T *restrict x,
                                 T *restrict out) {
    for (ptrdiff_t u = 0; u < units; u++) out[u] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, x += units)
        for (ptrdiff_t u = 0; u < units; u++) out[u] += x[u];
}

static void NAMED(bias_gradient)(ptrdiff_t rows, ptrdiff_t units, const T *x, T *out) {
    if (units == 1) /* numpy adds a column as it adds a vector */
        out[0] = 0 + NAMED(pairwise)(x, rows);
    else
        NAMED(sum_rows)(rows, units, x, out);
}

WIDE static void NAMED(add_bias)(ptrdiff_t rows, ptrdiff_t units, T *restrict z,
                                 const T *restrict bias) {
    for (ptrdiff_t r = 0; r < rows; r++, z += units)
        for (ptrdiff_t u = 0; u < units; u++) z[u] += bias[u];
}

WIDE static void NAMED(halve_shifted)(ptrdiff_t count, T *restrict z, T shift) {
    for (ptrdiff_t i = 0; i < count; i++) z[i] = z[i] * (T)0.5 + shift;
}

WIDE static void NAMED(halve)(ptrdiff_t count, T *restrict z) {
    for (ptrdiff_t i = 0; i < count; i++) z[i] *= (T)0.5;
}

WIDE static void NAMED(slope_tanh)(ptrdiff_t count, T *restrict dy, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) dy[i] *= 1 - y[i] * y[i];
}

WIDE static void NAMED(slope_sigmoid)(ptrdiff_t count, T *restrict dy, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) dy[i] *= (1 - y[i]) * y[i];
}

WIDE static void NAMED(multiply)(ptrdiff_t count, T *restrict x, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) x[i] *= y[i];
}

WIDE static void NAMED(add)(ptrdiff_t count, T *restrict x, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) x[i] += y[i];
}

WIDE static void NAMED(leak)(ptrdiff_t count, T *restrict x, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) x[i] *= y[i] > 0 ? 1 : (T)LEAK;
}

/* x times the slope of elu, from its outputs y; a NaN must stay visible, as in all of these. */
WIDE static void NAMED(slope_elu)(ptrdiff_t count, T *restrict x, const T *restrict y) {
    for (ptrdiff_t i = 0; i < count; i++) x[i] *= (y[i] > 0 ? 0 : y[i]) + 1;
}

WIDE static void NAMED(negative)(ptrdiff_t count, const T *restrict z, T *restrict out) {
    for (ptrdiff_t i = 0; i < count; i++) out[i] = z[i] > 0 ? 0 : z[i];
}

WIDE static void NAMED(choose_negative)(ptrdiff_t count, T *restrict z, const T *restrict below) {
    for (ptrdiff_t i = 0; i < count; i++) z[i] = z[i] <= 0 ? below[i] : z[i];
}

/* What gelu and silu take the tanh of. */
WIDE static void NAMED(before_tanh)(ptrdiff_t count, const T *restrict a, T *restrict out, int gelu) {
    if (gelu)
        for (ptrdiff_t i = 0; i < count; i++)
            out[i] = (T)ROOT * (a[i] + (T)CUBE * a[i] * a[i] * a[i]);
    else
        for (ptrdiff_t i = 0; i < count; i++) out[i] = (T)0.5 * a[i];
}

/* Replace a by gelu or silu of it, with the tanh; write the derivative to `slope`, if any. */
WIDE static void NAMED(behind_tanh)(ptrdiff_t count, T *restrict a, const T *restrict tanh,
                                    T *restrict slope, int gelu) {
    for (ptrdiff_t i = 0; slope && gelu && i < count; i++) {
        T inner = (T)ROOT * (1 + (T)(3 * CUBE) * a[i] * a[i]);
        T part = (T)0.5 * (1 + tanh[i]);
        slope[i] = part + (T)0.5 * a[i] * (1 - tanh[i] * tanh[i]) * inner;
    }
    for (ptrdiff_t i = 0; slope && !gelu && i < count; i++) {
        T part = (T)0.5 * tanh[i] + (T)0.5;
        slope[i] = part * (1 + a[i] * (1 - part));
    }
    for (ptrdiff_t i = 0; i < count; i++)
        a[i] *= gelu ? (T)0.5 * (1 + tanh[i]) : (T)0.5 * tanh[i] + (T)0.5;
}

/* p: z, bias, numpy's tanh and expm1, scratch of elu, gelu and silu, slope of the last two or NULL;
   n: rows, units, which. */
static void NAMED(activate)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1], count = rows * units;
    T *z = c->p[0];
    if (c->n[2] == RELU) {
        NAMED(activate_relu)(rows, units, z, c->p[1]);
        return;
    }
    NAMED(add_bias)(rows, units, z, c->p[1]);
    if (c->n[2] == SIGN) {
        for (ptrdiff_t i = 0; i < count; i++)
            z[i] = z[i] > 0 ? 1 : z[i] < 0 ? -1 : z[i] == 0 ? 0 : z[i];
    } else if (c->n[2] == TANH) {
        NAMED(apply)(c->p[2], count, z, z);
    } else if (c->n[2] == SIGMOID) {
        NAMED(halve)(count, z);
        NAMED(apply)(c->p[2], count, z, z);
        NAMED(halve_shifted)(count, z, (T)0.5);
    } else if (c->n[2] == LEAKY_RELU) {
        for (ptrdiff_t i = 0; i < count; i++) z[i] *= z[i] > 0 ? 1 : (T)LEAK;
    } else if (c->n[2] == ELU) {
        NAMED(negative)(count, z, c->p[4]);
        NAMED(apply)(c->p[3], count, c->p[4], c->p[4]);
        NAMED(choose_negative)(count, z, c->p[4]);
    } else if (c->n[2] == GELU || c->n[2] == SILU) {
        NAMED(before_tanh)(count, z, c->p[4], c->n[2] == GELU);
        NAMED(apply)(c->p[2], count, c->p[4], c->p[4]);
        NAMED(behind_tanh)(count, z, c->p[4], c->p[5], c->n[2] == GELU);
    }
}

/* p: dy, y (of gelu and silu the slope), dbias; n: rows, units, which. */
static void NAMED(activation_gradient)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1], count = rows * units;
    if (c->n[2] == RELU) {
        NAMED(gradient_relu)(rows, units, c->p[0], c->p[1], c->p[2]);
        return;
    }
    if (c->n[2] == TANH) NAMED(slope_tanh)(count, c->p[0], c->p[1]);
    if (c->n[2] == SIGMOID) NAMED(slope_sigmoid)(count, c->p[0], c->p[1]);
    if (c->n[2] == LEAKY_RELU) NAMED(leak)(count, c->p[0], c->p[1]);
    if (c->n[2] == ELU) NAMED(slope_elu)(count, c->p[0], c->p[1]);
    if (c->n[2] == GELU || c->n[2] == SILU) NAMED(multiply)(count, c->p[0], c->p[1]);
    NAMED(bias_gradient)(rows, units, c->p[0], c->p[2]);
}

/* p: outputs, classes, softmax, sums, losses, numpy's exp and log; n: rows, units. */
static void NAMED(softmax)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const T *o = c->p[0];
    const int64_t *classes = c->p[1];
    T *f = c->p[2], *sums = c->p[3];
    double *losses = c->p[4];
    for (ptrdiff_t r = 0; r < rows; r++, o += units, f += units) {
        T most = o[0];
        for (ptrdiff_t u = 1; u < units; u++) most = o[u] > most || o[u] != o[u] ? o[u] : most;
        for (ptrdiff_t u = 0; u < units; u++) f[u] = o[u] - most;
        losses[r] = f[classes[r]]; /* a T; what is chosen is kept here until the log is there */
    }
    f = c->p[2];
    NAMED(apply)(c->p[5], rows * units, f, f);
    for (ptrdiff_t r = 0; r < rows; r++) sums[r] = 0 + NAMED(pairwise)(f + r * units, units);
    T *logs = sums + rows;
    NAMED(apply)(c->p[6], rows, sums, logs);
    for (ptrdiff_t r = 0; r < rows; r++) losses[r] = (T)(logs[r] - (T)losses[r]);
}

/* p: softmax, classes, sums; n: rows, units. */
WIDE static void NAMED(softmax_gradient)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const int64_t *classes = c->p[1];
    const T *sums = c->p[2];
    T *restrict f = c->p[0];
    for (ptrdiff_t r = 0; r < rows; r++, f += units) {
        T sum = sums[r];
        for (ptrdiff_t u = 0; u < units; u++) f[u] /= sum;
        f[classes[r]] -= 1;
    }
}

/* p: outputs, targets, difference, losses, scratch of a row, factors or NULL (all float64);
   n: rows, units, classes. */
static void NAMED(squared)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const T *o = c->p[0], *y = c->p[1];
    const int64_t *classes = c->p[1];
    T *d = c->p[2];
    double *losses = c->p[3], *squares = c->p[4];
    const double *factors = c->p[5];
    for (ptrdiff_t r = 0; r < rows; r++, o += units, d += units) {
        if (c->n[2]) {
            memcpy(d, o, units * sizeof(T));
            d[classes[r]] -= 1;
        } else {
            for (ptrdiff_t u = 0; u < units; u++) d[u] = o[u] - y[r * units + u];
        }
        for (ptrdiff_t u = 0; u < units; u++) squares[u] = (double)d[u] * (double)d[u];
        for (ptrdiff_t u = 0; factors && u < units; u++) squares[u] *= factors[u];
        losses[r] = 0 + pairwise_f64(squares, units);
    }
}

/* p: x, mask, y; n: rows, width, first row, limit, number of the key; x: the factor. */
static void NAMED(dropout)(const Call *c, const Block *block) {
    int64_t rows = c->n[0], width = c->n[1], blocks = (width + PER_BLOCK - 1) / PER_BLOCK;
    uint64_t counter = (uint64_t)(c->n[2] * blocks), limit = (uint64_t)c->n[3];
    const uint64_t *key = block->keys + 2 * c->n[4];
    const T *x = c->p[0], factor = (T)c->x[0];
    T *mask = c->p[1], *y = c->p[2];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t low = 0; low < width; low += PER_BLOCK) {
            uint64_t drawn[4];
            philox(++counter, key[0], key[1], drawn);
            int64_t here = width - low < PER_BLOCK ? width - low : PER_BLOCK;
            for (int64_t i = 0; i < here; i++, mask++, x++, y++) {
                uint64_t level = drawn[i / 4] >> (16 * (i % 4)) & 0xffff;
                *mask = (T)(level >= limit) * factor;
                *y = *x * *mask;
            }
        }
}

/* p: outputs, classes, header; n: rows, units, place in the header. Samples stand behind it. */
static void NAMED(tally_right)(const Call *c) {
    ptrdiff_t rows = c->n[0], units = c->n[1];
    const T *o = c->p[0];
    const int64_t *classes = c->p[1];
    double *header = c->p[2];
    int64_t right = 0;
    for (ptrdiff_t r = 0; classes && r < rows; r++, o += units) {
        ptrdiff_t best = 0;
        for (ptrdiff_t u = 1; u < units; u++)
            if (o[u] > o[best]) best = u;
        right += units == 1 ? o[0] * (double)(2 * classes[r] - 1) > 0 : best == classes[r];
    }
    header[c->n[2]] += (double)right;
    header[c->n[2] + 1] += (double)rows;
}

/* p: w, v, g; n: count, form; x: β, λ, what the rate is multiplied by here. */
static void NAMED(update_momentum)(const Call *c, Block *block) {
    T inverse = (T)block->inverse, beta = (T)c->x[0], decay = (T)c->x[1];
    double rate = block->rate * c->x[2];
    uint64_t bits;
    if (c->n[1] == 1)
        bits = NAMED(momentum_averaged)(c->n[0], c->p[0], c->p[1], c->p[2], inverse,
                                        (T)(-rate * (1 - c->x[0])), beta, decay);
    else
        bits = (c->n[1] ? NAMED(momentum_nesterov) : NAMED(momentum_classical))(
            c->n[0], c->p[0], c->p[1], c->p[2], inverse, (T)rate, beta, decay);
    block->checksum = block->checksum * SPREAD + bits;
}

/* p: w, m, v, g; n: count, decay decoupled or not; x: λ, β₁, β₂, ε, what the rate is multiplied by
   here. */
static void NAMED(update_adam)(const Call *c, Block *block) {
    double decay = c->x[0], keep = 1, rate = block->rate * c->x[4];
    if (c->n[1]) keep = 1 - rate * decay, decay = 0;
    uint64_t bits = NAMED(adam)(
        c->n[0], c->p[0], c->p[1], c->p[2], c->p[3], (T)block->inverse, (T)decay, (T)keep,
        (T)c->x[1], (T)(1 - c->x[1]), (T)c->x[2], (T)(1 - c->x[2]), (T)(rate / block->unbias),
        (T)block->root, (T)c->x[3]);
    block->checksum = block->checksum * SPREAD + bits;
}

/* p: total, messages; n: first element, behind the last, messages, elements between two of them. */
WIDE static void NAMED(sum_messages)(const Call *c) {
    T *restrict total = c->p[0];
    const T *message = c->p[1];
    for (int64_t low = c->n[0]; low < c->n[1]; low += 4096) {
        int64_t high = low + 4096 < c->n[1] ? low + 4096 : c->n[1];
        for (int64_t i = low; i < high; i++) total[i] = message[i];
        for (int64_t m = 1; m < c->n[2]; m++) {
            const T *restrict other = message + m * c->n[3];
            for (int64_t i = low; i < high; i++) total[i] += other[i];
        }
    }
}

WIDE static void NAMED(add_two)(ptrdiff_t count, T *out, const T *a, const T *b) {
    for (ptrdiff_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

#include "normalization.c"
#include "reading.c"
#include "losses.c"

/* Do calls `at..count-1`; return how many are done. WAIT ends it after a while of waiting, PAUSE
   always, and CHECK where the step has failed. */
int64_t NAMED(replay)(const Call *calls, int64_t at, int64_t count, Block *block) {
    for (; at < count; at++) {
        const Call *c = calls + at;
        const int64_t *n = c->n;
        void *const *p = c->p;
        switch (c->code) {
        case GATHER: /* p: rows as stored, scale, shift, out; n: rows, inputs, the first's place */
            NAMED(gather)(n[0], n[1], p[0], block->samples + n[2], p[1], p[2], p[3]);
            break;
        case TAKE_CLASSES: /* p: targets, out; n: rows, -, the first one's place */
            for (int64_t r = 0; r < n[0]; r++)
                ((int64_t *)p[1])[r] = ((const int64_t *)p[0])[block->samples[n[2] + r]];
            break;
        case TAKE_NUMBERS: /* p: targets (float64), out; n: rows, numbers of one, first place */
            for (int64_t r = 0; r < n[0]; r++)
                for (int64_t u = 0; u < n[1]; u++)
                    ((T *)p[1])[r * n[1] + u] =
                        (T)((const double *)p[0])[block->samples[n[2] + r] * n[1] + u];
            break;
        case TAKE_SCALED: /* p: targets, mean, deviation (float64), out; n: as above */
            for (int64_t r = 0; r < n[0]; r++) {
                const double *y = (const double *)p[0] + block->samples[n[2] + r] * n[1];
                const double *mean = p[1], *deviation = p[2];
                for (int64_t u = 0; u < n[1]; u++)
                    ((T *)p[3])[r * n[1] + u] = (T)((y[u] - mean[u]) / deviation[u]);
            }
            break;
        case PRODUCT: NAMED(product)(c); break;
        case MATRIX_VECTOR: NAMED(matrix_vector)(c); break;
        case MULTIPLE: NAMED(multiple)(c); break;
        case DOT: NAMED(dot)(c); break;
        case ACTIVATE: NAMED(activate)(c); break;
        case ACTIVATION_GRADIENT: NAMED(activation_gradient)(c); break;
        case SUM_ROWS: NAMED(bias_gradient)(n[0], n[1], p[0], p[1]); break;
        case SOFTMAX: NAMED(softmax)(c); break;
        case SOFTMAX_GRADIENT: NAMED(softmax_gradient)(c); break;
        case SQUARED: NAMED(squared)(c); break;
        case SQUARED_GRADIENT:
            for (int64_t i = 0; i < n[0]; i++) ((T *)p[0])[i] *= 2;
            break;
        case DROPOUT: NAMED(dropout)(c, block); break;
        case MULTIPLY: NAMED(multiply)(n[0], p[0], p[1]); break;
        case ADD: NAMED(add)(n[0], p[0], p[1]); break;
        case COPY: memcpy(p[0], p[1], (size_t)n[0]); break;
        case ZERO: memset(p[0], 0, (size_t)n[0]); break;
        case TALLY_LOSS: /* p: header, losses; n: place, rows */
            ((double *)p[0])[n[0]] += 0 + pairwise_f64(p[1], n[1]);
            break;
        case TALLY_RIGHT: NAMED(tally_right)(c); break;
        case END_HEADER: /* p: header; n: place of `stop` */
            ((double *)p[0])[n[0]] = block->stop;
            break;
        case CHECK: { /* p: header; n: losses; behind these: right, samples, failures */
            const double *header = p[0];
            double loss = 0;
            for (int64_t l = 0; l < n[0]; l++) loss += header[l];
            if (!isfinite(loss) || header[n[0] + 2] != 0) return at;
            break;
        }
        case MOMENTUM: NAMED(update_momentum)(c, block); break;
        case COPY_MATRIX: /* p: out, matrix; n: rows, columns, steps from row to row, in a row */
            for (int64_t r = 0; r < n[0]; r++)
                for (int64_t u = 0; u < n[1]; u++)
                    ((T *)p[0])[r * n[1] + u] = ((const T *)p[1])[r * n[2] + u * n[3]];
            break;
        case WAIT: /* p: function, its argument */
            if (!((int (*)(void *))p[0])(p[1])) return at;
            break;
        case PAUSE: return at;
        case SUM_MESSAGES: NAMED(sum_messages)(c); break;
        case SUM_HEADERS: /* p: headers, total; n: headers, numbers in one */
            for (int64_t i = 0; i < n[1]; i++) {
                double sum = 0;
                for (int64_t h = 0; h < n[0]; h++) sum += ((const double *)p[0])[h * n[1] + i];
                ((double *)p[1])[i] = sum;
            }
            break;
        case FUNCTION: /* p: function, the addresses that it is given (images.c) */
            ((void (*)(void *))p[0])(p[1]);
            break;
        case ADD_TWO: NAMED(add_two)(n[0], p[0], p[1], p[2]); break;
        case ADAM: NAMED(update_adam)(c, block); break;
        case AVERAGES: /* p: running averages, gradients; n: count; x: 1 / rows of a batch */
            for (int64_t i = 0; i < n[0]; i++)
                ((T *)p[0])[i] -= ((const T *)p[1])[i] * (T)c->x[0];
            break;
        case LAYER_NORM: NAMED(layer_norm)(c); break;
        case LAYER_NORM_GRADIENT: NAMED(layer_norm_gradient)(c); break;
        case BATCH_SUMS: NAMED(batch_sums)(c); break;
        case BATCH_MOMENTS: NAMED(batch_moments)(c); break;
        case BATCH_NORM: NAMED(batch_norm)(c); break;
        case BATCH_NORM_GRADIENT: NAMED(batch_norm_gradient)(c); break;
        case READ_ROWS: NAMED(read_rows)(c, block); break;
        case WEIGHTED_SOFTMAX: NAMED(weighted_softmax)(c); break;
        case WEIGHTED_SOFTMAX_GRADIENT: NAMED(weighted_softmax_gradient)(c); break;
        case WEIGH_LOSSES: NAMED(weigh_losses)(c, block); break;
        case WEIGH_GRADIENT: NAMED(weigh_gradient)(c, block); break;
        case PERCEPTRON: NAMED(perceptron)(c); break;
        case SQUARE_SUMS: NAMED(square_sums)(n[0], p[0], p[1]); break;
        case CLIP: /* p: sums of squares; n: how many; x: the largest norm */
            block->inverse = clipped(p[0], n[0], block->divisor, c->x[0]);
            break;
        }
    }
    return at;
}

#endif
