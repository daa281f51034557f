/* Filters of 3 x 3, one pixel apart, by fewer products: F(2x2, 3x3) of Winograd (Lavin and Gray, 2016).

   A tile of 4 x 4 pixels d gives 2 x 2 outputs, A'[(G g G') * (B' d B)]A, where * multiplies number
   by number: 16 products instead of 36 for each channel and filter. These are 16 matrix products of
   (tiles, channels) by (channels, filters), each number one chain over channels, whatever the tiles
   that are computed together. The gradient of the filters is G'[sum (A dy A') * (B' d B)]G, one chain
   over tiles in their order. Included by images.c. */

#ifdef LANES /* once for each number of lanes */

/* B' of four vectors. */
INLINE void LANED(in4)(const V *d, V *to) {
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
}

/* A row of `tw` tiles of x, whose rows are `line` numbers apart, to 16 planes (tw, c). */
static void LANED(tiles_in)(const T *x, int64_t line, int64_t c, int64_t tw, T *to, int64_t plane) {
    for (int64_t first = 0; first < c; first += LANES) {
        V columns[4][4]; /* of a tile; its last two are the first two of the next one */
        for (int64_t t = -1; t < tw; t++) {
#pragma GCC unroll 2
            for (int j = 2; j < 4; j++) {
                const T *at = x + (2 * t + j) * c + first;
                V d[4] = {AT(at), AT(at + line), AT(at + 2 * line), AT(at + 3 * line)};
                LANED(in4)(d, columns[j]);
            }
#pragma GCC unroll 4
            for (int i = 0; t >= 0 && i < 4; i++) {
                V row[4] = {columns[0][i], columns[1][i], columns[2][i], columns[3][i]}, v[4];
                LANED(in4)(row, v);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) PUT(to + (4 * i + j) * plane + t * c + first, v[j]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                columns[0][i] = columns[2][i];
                columns[1][i] = columns[3][i];
            }
        }
    }
}

/* A row of tiles from 16 planes (tw, k) to outputs (2, ow, k), of which the second may be none. */
static void LANED(tiles_out)(const T *m, int64_t plane, int64_t tw, const T *bias, int relu, T *out,
                             int64_t ow, int64_t k, int second) {
    const V zero = {0};
    for (int64_t first = 0; first < k; first += LANES) {
        V b = bias ? AT(bias + first) : zero;
        for (int64_t t = 0; t < tw; t++) {
            const T *at = m + t * k + first;
            V half[2][4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++, at += plane) {
                V one = AT(at + 4 * plane), two = AT(at + 8 * plane);
                half[0][j] = AT(at) + one + two;
                half[1][j] = one - two - AT(at + 12 * plane);
            }
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                V *h = half[i], y[2] = {h[0] + h[1] + h[2] + b, h[1] - h[2] - h[3] + b};
                T *to = out + (i * ow + 2 * t) * k + first;
                if (relu)
                    for (int j = 0; j < 2; j++) y[j] = (V)((M)y[j] & ~(M)(y[j] <= zero));
                if (i && !second) continue;
                PUT(to, y[0]);
                if (2 * t + 1 < ow) PUT(to + k, y[1]);
            }
        }
    }
}

/* A row of tiles of 2 x 2 gradients, rows `line` numbers apart, to 16 planes (tw, k). */
static void LANED(tiles_back)(const T *g, int64_t line, int64_t k, int64_t tw, T *to, int64_t plane) {
    for (int64_t first = 0; first < k; first += LANES)
        for (int64_t t = 0; t < tw; t++) {
            const T *at = g + 2 * t * k + first;
            V half[4][2];
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++, at += k) {
                V up = AT(at), low = AT(at + line);
                half[0][j] = up;
                half[1][j] = up + low;
                half[2][j] = up - low;
                half[3][j] = -low;
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                T *there = to + 4 * i * plane + t * k + first;
                PUT(there, half[i][0]);
                PUT(there + plane, half[i][0] + half[i][1]);
                PUT(there + 2 * plane, half[i][0] - half[i][1]);
                PUT(there + 3 * plane, -half[i][1]);
            }
        }
}

/* G of three vectors that are `apart`, to four. */
INLINE void LANED(filter4)(const V *g, int apart, V *to) {
    const T half = (T)0.5;
    V outer = half * (g[0] + g[2 * apart]), inner = half * g[apart];
    to[0] = g[0];
    to[1] = outer + inner;
    to[2] = outer - inner;
    to[3] = g[2 * apart];
}

/* Filters that `pack` has put in blocks of lanes, (9, rows, block) each, to 16 planes of such. */
static void LANED(filters_in)(const T *packed, int64_t rows, int64_t columns, T *to) {
    for (int64_t first = 0; first < columns;) {
        int64_t block = columns - first > LANES ? 2 * LANES : LANES, apart = rows * block;
        for (int64_t n = 0; n < apart; n += LANES) {
            const T *at = packed + 9 * rows * first + n;
            V g[9], half[3][4], u[4];
            for (int t = 0; t < 9; t++) g[t] = AT(at + t * apart);
            for (int j = 0; j < 3; j++) LANED(filter4)(g + j, 3, half[j]);
            for (int i = 0; i < 4; i++) {
                V row[3] = {half[0][i], half[1][i], half[2][i]};
                LANED(filter4)(row, 1, u);
                for (int j = 0; j < 4; j++)
                    PUT(to + (4 * i + j) * rows * columns + rows * first + n, u[j]);
            }
        }
        first += block;
    }
}

/* 16 planes of `count` numbers to the gradients of filters, (9, count). */
static void LANED(filters_out)(const T *u, int64_t count, T *to) {
    const T half = (T)0.5;
    for (int64_t n = 0; n < count; n += LANES) {
        V rows[3][4];
        for (int j = 0; j < 4; j++) {
            const T *at = u + j * count + n;
            V sum = AT(at + 4 * count) + AT(at + 8 * count);
            V less = AT(at + 4 * count) - AT(at + 8 * count);
            rows[0][j] = AT(at) + half * sum;
            rows[1][j] = half * less;
            rows[2][j] = half * sum + AT(at + 12 * count);
        }
        for (int i = 0; i < 3; i++) {
            V sum = rows[i][1] + rows[i][2], less = rows[i][1] - rows[i][2];
            PUT(to + 3 * i * count + n, rows[i][0] + half * sum);
            PUT(to + (3 * i + 1) * count + n, half * less);
            PUT(to + (3 * i + 2) * count + n, half * sum + rows[i][3]);
        }
    }
}

#else /* once for each type of numbers */

#define WIDELY(name) NAMED(name##_wide) /* there are at least 16 channels */
#define TILES 128 /* computed together, about: what of them is at work fits in the second cache */
#define PLANE(channels, tw) (most(TILES, tw) * (channels) + 16) /* not a power of two */

/* Whether filters of this shape are computed here. The same on every processor. */
static int NAMED(by_tiles)(const Shape *s) {
    return s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 && s->c % 16 == 0 && s->k % 16 == 0 &&
           s->top <= 2 && s->left <= 2 && s->oh >= 4 && s->ow >= 4 && s->oh <= s->h + 2 * s->top - 2 &&
           s->ow <= s->w + 2 * s->left - 2;
}

/* Numbers of an image with its borders, and of its tiles, as both directions need them at most. */
static int64_t NAMED(tiles_room)(const Shape *s) {
    int64_t high = most(s->oh, s->h) + 6, wide = most(s->ow, s->w) + 6, c = most(s->c, s->k);
    return 2 * (high * wide * c + 16 * PLANE(c, wide)) + 41 * s->c * s->k + 3 * SLACK;
}

/* Images (h, w, c) that are made of tiles one by one. */
typedef struct {
    int64_t h, w, c, top, left, high, wide, now;
    const T *x, *y; /* where y is not above 0, x counts as 0; y may be NULL */
    T *padded;
} NAMED(Source);

/* `tall` x `broad` are the numbers of tiles. */
static NAMED(Source) NAMED(source)(int64_t h, int64_t w, int64_t c, int64_t top, int64_t left,
                                   int64_t tall, int64_t broad, const T *x, const T *y, T *padded) {
    NAMED(Source) made = {h, w, c, top, left, 2 * tall + 2, 2 * broad + 2, -1, x, y, padded};
    memset(padded, 0, (size_t)(made.high * made.wide * c) * sizeof(T));
    return made;
}

/* Row `number` of the tiles of all images; `per` is their number in an image. */
static const T *NAMED(tile_row)(NAMED(Source) *s, int64_t number, int64_t per) {
    int64_t n = number / per, line = s->w * s->c, size = s->h * line;
    for (int64_t i = 0; s->now != n && i < s->h; i++) {
        const T *x = s->x + n * size + i * line;
        T *to = s->padded + ((i + s->top) * s->wide + s->left) * s->c;
        if (s->y) {
            const T *y = s->y + n * size + i * line;
            for (int64_t j = 0; j < line; j++) to[j] = x[j] * (T)(y[j] > 0);
        } else
            memcpy(to, x, (size_t)line * sizeof(T));
    }
    s->now = n;
    return s->padded + 2 * (number % per) * s->wide * s->c;
}

/* Outputs (rows, oh, ow, k) of images (c) with filters (c, k) that `filters_in` has made. */
static void NAMED(convolve_tiles)(NAMED(Source) *from, int64_t rows, const T *filters, const T *bias,
                                  int relu, T *out, int64_t oh, int64_t ow, int64_t k, T *v) {
    int64_t per = (oh + 1) / 2, tw = (ow + 1) / 2, c = from->c, strip = most(1, TILES / tw);
    int64_t plane = PLANE(c, tw), beyond = PLANE(k, tw), line = from->wide * c;
    T *m = v + 16 * plane;
    for (int64_t row = 0, end; row < rows * per; row = end) {
        end = least(row + strip, rows * per);
        for (int64_t r = row; r < end; r++)
            WIDELY(tiles_in)(NAMED(tile_row)(from, r, per), line, c, tw, v + (r - row) * tw * c, plane);
        for (int p = 0; p < 16; p++)
            WIDELY(slide)(v + p * plane, 0, c, 1, 1, 1, 1, filters + p * c * k, NULL, 0,
                          m + p * beyond, 1, (end - row) * tw, k, 0, INT64_MAX);
        for (int64_t r = row; r < end; r++)
            WIDELY(tiles_out)(m + (r - row) * tw * k, beyond, tw, bias, relu,
                              out + (r / per * oh + r % per * 2) * ow * k, ow, k, r % per * 2 + 1 < oh);
    }
}

/* What `convolve` does. */
static void NAMED(tiles_forward)(void *const *p) {
    const Shape *s = p[0];
    T *filters = p[5], *packed = filters + 16 * s->c * s->k, *padded = packed + 9 * s->c * s->k;
    int64_t tall = (s->oh + 1) / 2, broad = (s->ow + 1) / 2;
    T *v = padded + (2 * tall + 2) * (2 * broad + 2) * s->c;
    NAMED(Source) x = NAMED(source)(s->h, s->w, s->c, s->top, s->left, tall, broad, p[1], NULL, padded);
    NAMED(pack)(p[2], packed, 9, s->c, s->k, 0);
    WIDELY(filters_in)(packed, s->c, s->k, filters);
    NAMED(convolve_tiles)(&x, s->rows, filters, p[3], (int)s->flag, p[4], s->oh, s->ow, s->k, v);
}

/* What `convolve_gradient` does. */
static void NAMED(tiles_backward)(void *const *p) {
    const Shape *s = p[0];
    int64_t c = s->c, k = s->k, per = (s->oh + 1) / 2, tw = (s->ow + 1) / 2, strip = most(1, TILES / tw);
    int64_t tall = most(per, (s->h + 1) / 2) + 1, broad = most(tw, (s->w + 1) / 2) + 1;
    int64_t plane = PLANE(c, tw), beyond = PLANE(k, tw), around = (2 * tall + 2) * (2 * broad + 2);
    T *sums = p[8], *packed = sums + 16 * c * k, *xs = packed + 9 * c * k, *gs = xs + around * c;
    T *v = gs + around * k, *m = v + 16 * plane, *dbias = p[6], *filters = sums;
    NAMED(Source) x = NAMED(source)(s->h, s->w, c, s->top, s->left, tall, broad, p[1], NULL, xs);
    NAMED(Source) g = NAMED(source)(s->oh, s->ow, k, 2 - s->top, 2 - s->left, tall, broad, p[3],
                                    s->flag ? p[2] : NULL, gs);
    memset(sums, 0, (size_t)(16 * c * k) * sizeof(T));
    if (dbias) memset(dbias, 0, (size_t)k * sizeof(T));
    for (int64_t row = 0, end; row < s->rows * per; row = end) {
        end = least(row + strip, s->rows * per);
        for (int64_t r = row; r < end; r++) {
            int64_t here = (r - row) * tw;
            WIDELY(tiles_in)(NAMED(tile_row)(&x, r, per), x.wide * c, c, tw, v + here * c, plane);
            WIDELY(tiles_back)(NAMED(tile_row)(&g, r, per) + (g.top * g.wide + g.left) * k, g.wide * k,
                               k, tw, m + here * k, beyond);
        }
        for (int q = 0; q < 16; q++)
            WIDELY(collect)(v + q * plane, 0, c, 1, 1, 1, 1, m + q * beyond, 1, (end - row) * tw, k,
                            sums + q * c * k, k);
        /* Number (1, 1) of a tile is the sum of its gradients. */
        if (dbias) WIDELY(add_pixels)(m + 5 * beyond, (end - row) * tw, k, dbias);
    }
    WIDELY(filters_out)(sums, c * k, p[5]);
    if (!p[7]) return;
    NAMED(pack)(p[4], packed, 9, c, k, 1);
    WIDELY(filters_in)(packed, k, c, filters);
    g.now = -1;
    NAMED(convolve_tiles)(&g, s->rows, filters, NULL, 0, p[7], s->h, s->w, c, v);
}

#undef WIDELY
#undef TILES
#undef PLANE

#endif
