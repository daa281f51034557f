/* Convolution and pooling of images, one sample after another; called by ctypes and by recordings.
   Filters of 3 x 3 on at least 16 channels are in winograd.c.

   Rows are samples, channels come last. Every output is one chain of multiply-adds in a fixed order, (row,
   column, channel) of its window, and every number of a weight's gradient one over (sample, row,
   column): so a sample's outputs do not depend on how many samples are computed together.
   A sample is copied into scratch memory, with zeros around it and room behind it: vectors of
   LANES channels may then read and write beyond the last channel.

   This file is built for several instruction sets (pyproject.toml); `image_level` says which one this
   processor has. With -ffp-contract=fast a product and its sum are one instruction where there is
   one; the file for a set without it has other bits. */

#ifndef T

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#define BOTH 12 /* pixels of a tile that is two vectors wide; one vector wide it has MOST */
#elif defined(__AVX2__)
#define BYTES 32
#define BOTH 6
#else
#define BYTES 16
#define BOTH 6
#endif
#define SLACK 32 /* numbers behind each part of the scratch memory */

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define INLINE static inline __attribute__((always_inline))

/* As Python passes it: samples, then what `Window` states, filters, and whether ReLU follows. */
typedef struct {
    int64_t rows, h, w, c, kh, kw, sh, sw, top, left, oh, ow, k, flag;
} Shape;

/* Which build of this file fits: 4 is x86-64-v4, 3 is x86-64-v3, 0 is any. */
int image_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2"))
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") ? 4 : 3;
#else
    return 0;
#endif
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
/* The parts of `whole` that are as equal as possible, of at most `part` each: where part n begins. */
INLINE int64_t cut(int64_t whole, int64_t part, int64_t n) {
    int64_t parts = (whole + part - 1) / part;
    return whole * n / parts;
}

#define T float
#define MOST 12
#define TALL BOTH
#define NAMED(name) PASTE(name, _f4)
#include "images.c"
#undef T
#undef MOST
#undef TALL
#undef NAMED
/* float64 is for checks: fewer forms, which compile sooner. */
#define T double
#define MOST 3
#define TALL 3
#define NAMED(name) PASTE(name, _f8)
#include "images.c"

#elif !defined(LANES) /* once for each type of numbers */

#define LANES ((int)(BYTES / sizeof(T)))
#define LANED(name) NAMED(PASTE(name, _wide))
#include "images.c"
#undef LANES
#undef LANED
#if BYTES > 16
#define HALF
#define LANES ((int)(BYTES / 2 / sizeof(T)))
#define LANED(name) NAMED(PASTE(name, _half))
#include "images.c"
#undef LANES
#undef LANED
#undef HALF
#endif

/* Lanes of the vectors for so many channels, and the channels with what fills the last vector. */
INLINE int64_t NAMED(lanes)(int64_t channels) {
    int64_t wide = (int64_t)(BYTES / sizeof(T));
    return BYTES > 16 && channels <= wide / 2 ? wide / 2 : wide;
}
INLINE int64_t NAMED(filled)(int64_t channels) {
    int64_t lanes = NAMED(lanes)(channels);
    return (channels + lanes - 1) / lanes * lanes;
}

#if BYTES > 16
#define BY_LANES(channels, name, ...)                                                              \
    do {                                                                                           \
        if (NAMED(lanes)(channels) == (int64_t)(BYTES / sizeof(T))) NAMED(name##_wide)(__VA_ARGS__);\
        else NAMED(name##_half)(__VA_ARGS__);                                                      \
    } while (0)
#else
#define BY_LANES(channels, name, ...) NAMED(name##_wide)(__VA_ARGS__)
#endif

/* Height and width of what all windows cover, and of the padded gradient of the outputs. */
#define HIGH(s) most(((s)->oh - 1) * (s)->sh + (s)->kh, (s)->top + (s)->h)
#define WIDE_(s) most(((s)->ow - 1) * (s)->sw + (s)->kw, (s)->left + (s)->w)

/* Copy an image (h, w, c) into zeros of a padded one whose rows have `wide` pixels. */
static void NAMED(pad)(const Shape *s, const T *x, T *padded, int64_t wide) {
    int64_t line = s->w * s->c;
    for (int64_t y = 0; y < s->h; y++)
        memcpy(padded + ((y + s->top) * wide + s->left) * s->c, x + y * line,
               (size_t)line * sizeof(T));
}

/* Pack weights (taps, inner, outer) as blocks of lanes; turned: (taps reversed, outer, inner). */
static void NAMED(pack)(const T *w, T *packed, int64_t taps, int64_t c, int64_t k, int turned) {
    int64_t rows = turned ? k : c, columns = turned ? c : k;
    int64_t lanes = NAMED(lanes)(columns);
    for (int64_t first = 0; first < columns;) {
        int64_t block = columns - first > lanes ? 2 * lanes : lanes;
        for (int64_t t = 0; t < taps; t++)
            for (int64_t r = 0; r < rows; r++, packed += block)
                for (int64_t l = 0; l < block; l++) {
                    int64_t column = first + l;
                    packed[l] = column >= columns ? 0
                                : turned ? w[((taps - 1 - t) * c + column) * k + r]
                                         : w[(t * c + r) * k + column];
                }
        first += block;
    }
}

#include "winograd.c"

/* How many numbers of scratch memory the functions below need. */
int64_t NAMED(image_room)(const Shape *s) {
    int64_t padded = HIGH(s) * WIDE_(s) * s->c + SLACK, out = s->oh * s->ow * s->k + SLACK;
    int64_t image = s->h * s->w * s->c + SLACK;
    int64_t around = (s->h + s->kh - 1) * (s->w + s->kw - 1) * s->k + SLACK;
    int64_t direct = padded + out + image + around + (s->kh * s->kw * s->c + 1) * NAMED(filled)(s->k);
    return most(direct + 4 * SLACK, NAMED(by_tiles)(s) ? NAMED(tiles_room)(s) : 0);
}

/* How many numbers packed filters have, forwards or turned. */
int64_t NAMED(filters_room)(const Shape *s) {
    int64_t most_of = most(s->c * NAMED(filled)(s->k), s->k * NAMED(filled)(s->c));
    return NAMED(by_tiles)(s) ? 25 * s->c * s->k : s->kh * s->kw * most_of + SLACK;
}

/* p: shape, weight, packed. Filters as `convolve` reads them; with `flag`, as the gradient of x needs them. */
void NAMED(pack_filters)(void *const *p) {
    const Shape *s = p[0];
    T *to = p[2], *packed = NAMED(by_tiles)(s) ? to + 16 * s->c * s->k : to;
    NAMED(pack)(p[1], packed, s->kh * s->kw, s->c, s->k, (int)s->flag);
    if (packed != to) NAMED(filters_in_wide)(packed, s->flag ? s->k : s->c, s->flag ? s->c : s->k, to);
}

/* p: shape, x, packed filters, bias or NULL, y, scratch. */
void NAMED(convolve)(void *const *p) {
    const Shape *s = p[0];
    if (NAMED(by_tiles)(s)) {
        NAMED(tiles_forward)(p);
        return;
    }
    const T *x = p[1], *bias = p[3];
    T *y = p[4], *padded = p[5];
    int64_t wide = WIDE_(s), outs = s->oh * s->ow * s->k;
    T *out = padded + HIGH(s) * wide * s->c + SLACK;
    memset(padded, 0, (size_t)(HIGH(s) * wide * s->c + SLACK) * sizeof(T));
    for (int64_t n = 0; n < s->rows; n++, x += s->h * s->w * s->c, y += outs) {
        NAMED(pad)(s, x, padded, wide);
        BY_LANES(s->k, slide, padded, wide * s->c, s->c, s->sh, s->sw, s->kh, s->kw, p[2], bias,
                 (int)s->flag, out, s->oh, s->ow, s->k, 0, INT64_MAX);
        memcpy(y, out, (size_t)outs * sizeof(T));
    }
}

/* p: shape, x, y, dy, turned filters or NULL, dweight, dbias or NULL, dx or NULL, scratch. dy stays as it is. */
void NAMED(convolve_gradient)(void *const *p) {
    const Shape *s = p[0];
    if (NAMED(by_tiles)(s)) {
        NAMED(tiles_backward)(p);
        return;
    }
    const T *x = p[1], *y = p[2], *dy = p[3];
    T *dx = p[7], *padded = p[8];
    int64_t wide = WIDE_(s), outs = s->oh * s->ow * s->k, taps = s->kh * s->kw;
    int64_t k = NAMED(filled)(s->k), broad = s->w + s->kw - 1, tall = s->h + s->kh - 1;
    T *g = padded + HIGH(s) * wide * s->c + SLACK, *image = g + outs + SLACK;
    T *around = image + s->h * s->w * s->c + SLACK, *sums = around + tall * broad * s->k + SLACK;
    T *bias = sums + taps * s->c * k;
    memset(padded, 0, (size_t)(bias + k - padded) * sizeof(T));
    /* Rows of `around` that are not all zero; with strides they alternate, and all are taken. */
    int64_t low = s->sh == 1 ? s->kh - 1 - s->top : 0;
    int64_t high = s->sh == 1 ? low + s->oh : INT64_MAX;
    for (int64_t n = 0; n < s->rows; n++, x += s->h * s->w * s->c, y += outs, dy += outs) {
        if (s->flag)
            for (int64_t i = 0; i < outs; i++) g[i] = dy[i] * (T)(y[i] > 0);
        else
            memcpy(g, dy, (size_t)outs * sizeof(T));
        NAMED(pad)(s, x, padded, wide);
        BY_LANES(s->k, collect, padded, wide * s->c, s->c, s->sh, s->sw, s->kh, s->kw, g, s->oh, s->ow,
                 s->k, sums, k, 0);
        BY_LANES(s->k, add_pixels, g, s->oh * s->ow, s->k, bias);
        if (!dx) continue;
        for (int64_t i = 0; i < s->oh; i++) {
            int64_t row = i * s->sh - s->top + s->kh - 1;
            for (int64_t j = 0; row >= 0 && row < tall && j < s->ow; j++) {
                int64_t column = j * s->sw - s->left + s->kw - 1;
                if (column >= 0 && column < broad)
                    memcpy(around + (row * broad + column) * s->k, g + (i * s->ow + j) * s->k,
                           (size_t)s->k * sizeof(T));
            }
        }
        BY_LANES(s->c, slide, around, broad * s->k, s->k, 1, 1, s->kh, s->kw, p[4], NULL, 0, image,
                 s->h, s->w, s->c, low, high);
        memcpy(dx, image, (size_t)(s->h * s->w * s->c) * sizeof(T));
        dx += s->h * s->w * s->c;
    }
    for (int64_t t = 0; t < taps * s->c; t++)
        memcpy((T *)p[5] + t * s->k, sums + t * k, (size_t)s->k * sizeof(T));
    if (p[6]) memcpy(p[6], bias, (size_t)s->k * sizeof(T));
}

/* Whether no vector of channels reaches beyond a pixel: then images need not be copied. */
static int NAMED(in_vectors)(const Shape *s) { return s->c % NAMED(lanes)(s->c) == 0; }

/* p: shape, x, y, scratch. `flag`: the largest number, else the mean. */
void NAMED(pool)(void *const *p) {
    const Shape *s = p[0];
    const T *x = p[1];
    T *y = p[2], *image = p[3], *out = image + s->h * s->w * s->c + SLACK;
    for (int64_t n = 0; n < s->rows; n++, x += s->h * s->w * s->c, y += s->oh * s->ow * s->c) {
        if (NAMED(in_vectors)(s)) {
            BY_LANES(s->c, pool_image, s, x, y);
            continue;
        }
        memcpy(image, x, (size_t)(s->h * s->w * s->c) * sizeof(T));
        BY_LANES(s->c, pool_image, s, image, out);
        memcpy(y, out, (size_t)(s->oh * s->ow * s->c) * sizeof(T));
    }
}

/* p: shape, x, y, dy, dx, scratch. */
void NAMED(pool_gradient)(void *const *p) {
    const Shape *s = p[0];
    const T *x = p[1], *y = p[2], *dy = p[3];
    int64_t image = s->h * s->w * s->c, outs = s->oh * s->ow * s->c;
    T *dx = p[4], *xs = p[5], *dxs = xs + image + SLACK, *ys = dxs + image + SLACK;
    T *dys = ys + outs + SLACK;
    for (int64_t n = 0; n < s->rows; n++, x += image, dx += image, y += outs, dy += outs) {
        if (NAMED(in_vectors)(s)) {
            if (s->kh * s->oh < s->h || s->kw * s->ow < s->w || s->sh != s->kh || s->sw != s->kw)
                memset(dx, 0, (size_t)image * sizeof(T));
            BY_LANES(s->c, spread, s, x, y, dy, dx);
            continue;
        }
        if (s->flag) {
            memcpy(xs, x, (size_t)image * sizeof(T));
            memcpy(ys, y, (size_t)outs * sizeof(T));
        }
        memcpy(dys, dy, (size_t)outs * sizeof(T));
        memset(dxs, 0, (size_t)image * sizeof(T));
        BY_LANES(s->c, spread, s, xs, ys, dys, dxs);
        memcpy(dx, dxs, (size_t)image * sizeof(T));
    }
}

#undef BY_LANES
#undef HIGH
#undef WIDE_

#else /* once for each number of lanes */

typedef T LANED(V) __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef __typeof__((LANED(V)){0} < (LANED(V)){0}) LANED(M); /* all bits of a lane, or none */
#define V LANED(V)
#define M LANED(M)
#define AT(place) (*(const V *)(place))
#define PUT(place, value) (*(V *)(place) = (value))

/* Outputs of P pixels side by side, NV vectors wide. Windows begin `step` numbers apart, their rows
   `line`; `run` are the numbers of one row of a window, of which rows r0..r1-1 are taken. */
INLINE void LANED(tile)(const int P, const int NV, const T *x, int64_t line, int64_t step,
                        int64_t run, int64_t r0, int64_t r1, const T *w, const T *bias, int relu,
                        T *out, int64_t k) {
    V sum[MOST][2] = {{{0}}};
    const ptrdiff_t apart = step * (ptrdiff_t)sizeof(T);
    for (int64_t r = r0; r < r1; r++) {
        const T *row = w + r * run * NV * LANES;
        /* Three pixels from each place: their distances are factors that an address can have. */
        const char *at[MOST / 3];
#pragma GCC unroll 4
        for (int q = 0; q < MOST / 3; q++)
            if (3 * q < P) at[q] = (const char *)(x + r * line) + 3 * q * apart;
        for (int64_t j = 0; j < run; j++, row += NV * LANES) {
            V w0 = AT(row), w1 = NV > 1 ? AT(row + LANES) : w0;
#pragma GCC unroll 12
            for (int p = 0; p < P; p++) {
                T one = *(const T *)(at[p / 3] + p % 3 * apart);
                sum[p][0] += one * w0;
                if (NV > 1) sum[p][1] += one * w1;
            }
#pragma GCC unroll 4
            for (int q = 0; q < MOST / 3; q++)
                if (3 * q < P) at[q] += sizeof(T);
        }
    }
    const V zero = {0};
#pragma GCC unroll 12
    for (int p = 0; p < P; p++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            V a = sum[p][v];
            if (bias) a += AT(bias + v * LANES);
            if (relu) a = (V)((M)a & ~(M)(a <= zero)); /* a NaN must stay visible */
            PUT(out + p * k + v * LANES, a);
        }
}

#define TILE(P)                                                                                    \
    case P:                                                                                        \
        if (P > MOST) break;                                                                       \
        if (nv == 1) LANED(tile)(P <= MOST ? P : 1, 1, from, line, sw * c, kw * c, r0, r1, w, given, relu, to, gap);\
        else if (P <= TALL)                                                                        \
            LANED(tile)(P <= TALL ? P : 1, 2, from, line, sw * c, kw * c, r0, r1, w, given, relu,  \
                        to, gap);                                                                  \
        break;

/* Slide windows (kh, kw, c) over x, whose rows are `line` numbers apart: out (oh, ow, k). Rows of x
   outside of low..high-1 are zeros and left out. */
static void LANED(slide)(const T *x, int64_t line, int64_t c, int64_t sh, int64_t sw, int64_t kh,
                         int64_t kw, const T *w, const T *bias, int relu, T *out, int64_t oh,
                         int64_t ow, int64_t k, int64_t low, int64_t high) {
    T biases[2 * LANES], aside[MOST * 2 * LANES];
    for (int64_t first = 0; first < k;) {
        int nv = k - first > LANES ? 2 : 1;
        int64_t width = least(nv * LANES, k - first);
        /* What a vector writes too much the next pixel overwrites; where it has been written, not. */
        int direct = first == 0 || width == nv * LANES;
        const T *given = NULL;
        if (bias) {
            for (int l = 0; l < nv * LANES; l++) biases[l] = l < width ? bias[first + l] : 0;
            given = biases;
        }
        for (int64_t i = 0; i < oh; i++) {
            int64_t r0 = most(0, low - i * sh), r1 = least(kh, high - i * sh);
            int64_t part = nv == 1 ? MOST : TALL, parts = (ow + part - 1) / part;
            for (int64_t n = 0; n < parts; n++) {
                int64_t begin = cut(ow, part, n), P = cut(ow, part, n + 1) - begin;
                const T *from = x + i * sh * line + begin * sw * c;
                T *there = out + (i * ow + begin) * k + first, *to = direct ? there : aside;
                int64_t gap = direct ? k : nv * LANES;
                switch (P) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9)
                             TILE(10) TILE(11) TILE(12) }
                for (int64_t q = 0; !direct && q < P; q++)
                    memcpy(there + q * k, aside + q * nv * LANES, (size_t)width * sizeof(T));
            }
        }
        w += kh * kw * c * nv * LANES;
        first += nv * LANES;
    }
}
#undef TILE

/* Add to J taps of each of R rows of windows, or to 0 where they are `fresh`: x times g, over pixels of
   rows i0..i1-1, in order. */
INLINE void LANED(taps)(const int R, const int J, const int NV, const T *x, int64_t line,
                        int64_t down, int64_t step, const T *g, int64_t i0, int64_t i1, int64_t ow,
                        int64_t k, T *sums, int64_t apart, int64_t filled, int fresh) {
    V sum[2][MOST][2], zero = {0};
#pragma GCC unroll 2
    for (int r = 0; r < R; r++)
#pragma GCC unroll 12
        for (int j = 0; j < J; j++)
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++)
                sum[r][j][v] = fresh ? zero : AT(sums + r * apart + j * filled + v * LANES);
    for (int64_t i = i0; i < i1; i++) {
        const T *a = x + i * down, *b = a + line, *d = g + i * ow * k;
        for (int64_t n = 0; n < ow; n++, a += step, b += step, d += k) {
            V g0 = AT(d), g1 = NV > 1 ? AT(d + LANES) : g0;
#pragma GCC unroll 12
            for (int j = 0; j < J; j++) {
                sum[0][j][0] += a[j] * g0;
                if (NV > 1) sum[0][j][1] += a[j] * g1;
                if (R > 1) sum[1][j][0] += b[j] * g0;
                if (R > 1 && NV > 1) sum[1][j][1] += b[j] * g1;
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; r++)
#pragma GCC unroll 12
        for (int j = 0; j < J; j++)
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++)
                PUT(sums + r * apart + j * filled + v * LANES, sum[r][j][v]);
}

#define GIVEN x + r * line + j, line, sh * line, step, g + first, i, end, ow, k,                   \
              sums + (r * run + j) * filled + first, run * filled, filled, fresh && i == 0
#define TAPS(J)                                                                                    \
    case J:                                                                                        \
        if (J > MOST) break;                                                                       \
        if (nv == 1 && pair) LANED(taps)(2, J <= MOST / 2 ? J : 1, 1, GIVEN);                      \
        else if (nv == 1) LANED(taps)(1, J <= MOST ? J : 1, 1, GIVEN);                             \
        else if (J <= TALL) LANED(taps)(1, J <= TALL ? J : 1, 2, GIVEN);                           \
        break;

/* sums (kh, kw, c, filled) += the gradient of the weights from one image, = it where `fresh`; strips of
   rows stay in the cache for all taps. */
static void LANED(collect)(const T *x, int64_t line, int64_t c, int64_t sh, int64_t sw, int64_t kh,
                           int64_t kw, const T *g, int64_t oh, int64_t ow, int64_t k, T *sums,
                           int64_t filled, int fresh) {
    int64_t run = kw * c, step = sw * c, strip = most(1, least(oh, 128 / ow));
    for (int64_t i = 0, end; i < oh; i = end) {
        end = least(i + strip, oh);
        for (int64_t first = 0, nv; first < k; first += nv * LANES) {
            nv = k - first > LANES ? 2 : 1;
            int64_t part = nv == 1 ? MOST : TALL, parts = (run + part - 1) / part;
            for (int64_t r = 0, pair; r < kh; r += 1 + pair) {
                pair = nv == 1 && run <= MOST / 2 && r + 1 < kh;
                for (int64_t n = 0; n < parts; n++) {
                    int64_t j = cut(run, part, n);
                    switch (cut(run, part, n + 1) - j) {
                        TAPS(1) TAPS(2) TAPS(3) TAPS(4) TAPS(5) TAPS(6) TAPS(7) TAPS(8) TAPS(9)
                        TAPS(10) TAPS(11) TAPS(12) }
                }
            }
        }
    }
}
#undef TAPS
#undef GIVEN

/* sum (k) += the sum over pixels: four sums, of every fourth pixel each, then these. */
static void LANED(add_pixels)(const T *g, int64_t pixels, int64_t k, T *sum) {
    for (int64_t first = 0; first < k; first += LANES) {
        V four[4] = {{0}};
        const T *at = g + first;
        int64_t n = 0;
        for (; n + 4 <= pixels; n += 4, at += 4 * k)
            for (int f = 0; f < 4; f++) four[f] += AT(at + f * k);
        for (; n < pixels; n++, at += k) four[0] += AT(at);
        PUT(sum + first, AT(sum + first) + ((four[0] + four[1]) + (four[2] + four[3])));
    }
}

/* Windows of kh x kw, of vectors of channels; the functions behind these know common sizes. */
INLINE void LANED(pool_windows)(const Shape *s, const int64_t kh, const int64_t kw, const T *x, T *out) {
    T share = (T)(1.0 / (double)(kh * kw));
    /* Channels in the inner loop: what a vector writes too much, the next one overwrites. */
    for (int64_t i = 0; i < s->oh; i++)
        for (int64_t j = 0; j < s->ow; j++, out += s->c)
            for (int64_t first = 0; first < s->c; first += LANES) {
                const T *from = x + (i * s->sh * s->w + j * s->sw) * s->c + first;
                V best = AT(from);
                for (int64_t r = 0; r < kh; r++)
                    for (int64_t q = r == 0; q < kw; q++) {
                        V here = AT(from + (r * s->w + q) * s->c);
                        M takes = (M)(here > best) | (M)(here != here); /* NaN must stay visible */
                        if (s->flag) best = (V)(((M)here & takes) | ((M)best & ~takes));
                        else best += here;
                    }
                if (!s->flag) best *= share;
                PUT(out + first, best);
            }
}

static void LANED(pool_image)(const Shape *s, const T *x, T *out) {
    if (s->kh == 2 && s->kw == 2) LANED(pool_windows)(s, 2, 2, x, out);
    else LANED(pool_windows)(s, s->kh, s->kw, x, out);
}

/* dx += the gradient of `pool_image`, or = it where windows lie `beside` each other and all channels fill
   vectors; the first of several largest numbers gets it. */
INLINE void LANED(spread_windows)(const Shape *s, const int64_t kh, const int64_t kw, const int beside,
                                  const T *x, const T *y, const T *dy, T *dx) {
    T share = (T)(1.0 / (double)(kh * kw));
    const V zero = {0};
    const M every = (M)(zero == zero);
    M last = every; /* channels of the last vector */
    for (int l = 0; !beside && l < LANES; l++) last[l] = -(l < (s->c - 1) % LANES + 1);
    for (int64_t i = 0; i < s->oh; i++)
        for (int64_t j = 0; j < s->ow; j++, y += s->c, dy += s->c)
            for (int64_t first = 0; first < s->c; first += LANES) {
                int64_t at = (i * s->sh * s->w + j * s->sw) * s->c + first;
                M left = first + LANES < s->c ? every : last;
                V d = AT(dy + first), top = s->flag ? AT(y + first) : d;
                if (!s->flag) d *= share;
                for (int64_t r = 0; r < kh; r++)
                    for (int64_t q = 0; q < kw; q++) {
                        int64_t place = at + (r * s->w + q) * s->c;
                        M here = left;
                        if (s->flag) {
                            here &= (M)(AT(x + place) == top);
                            left &= ~here;
                        }
                        PUT(dx + place, (beside ? zero : AT(dx + place)) + (V)((M)d & here));
                    }
            }
}

static void LANED(spread)(const Shape *s, const T *x, const T *y, const T *dy, T *dx) {
    int beside = s->c % LANES == 0 && s->sh == s->kh && s->sw == s->kw;
    if (beside && s->kh == 2 && s->kw == 2) LANED(spread_windows)(s, 2, 2, 1, x, y, dy, dx);
    else if (beside) LANED(spread_windows)(s, s->kh, s->kw, 1, x, y, dy, dx);
    else if (s->kh == 2 && s->kw == 2) LANED(spread_windows)(s, 2, 2, 0, x, y, dy, dx);
    else LANED(spread_windows)(s, s->kh, s->kw, 0, x, y, dy, dx);
}

#ifndef HALF
#include "winograd.c"
#endif

#undef V
#undef M
#undef AT
#undef PUT

#endif
