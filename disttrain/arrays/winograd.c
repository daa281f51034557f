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
#define TILES 32 /* computed together, about: what of them is at work fits in the second cache */
#define PLANE(channels, tw) (most(TILES, tw) * (channels) + 16) /* not a power of two */

/* Whether filters of this shape are computed here. The same on every processor. */
static int NAMED(by_tiles)(const Shape *s) {
    return s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 && s->c % 16 == 0 && s->k % 16 == 0 &&
           s->top <= 2 && s->left <= 2 && s->oh >= 4 && s->ow >= 4 && s->oh == s->h + 2 * s->top - 2 &&
           s->ow == s->w + 2 * s->left - 2;
}

/* Tiles from top to bottom and from left to right that cover outputs, and where they are also the
   gradient's of x, the image. */
static int64_t NAMED(tall)(const Shape *s) { return (most(s->oh, s->h) + 1) / 2; }
static int64_t NAMED(broad)(const Shape *s) { return (most(s->ow, s->w) + 1) / 2; }

/* Numbers of scratch memory: images of x and dy with their borders, tiles of both, sums. */
static int64_t NAMED(tiles_room)(const Shape *s) {
    int64_t tw = NAMED(broad)(s), pixels = (2 * NAMED(tall)(s) + 2) * (2 * tw + 2);
    return pixels * (s->c + s->k) + 16 * (2 * PLANE(s->c, tw) + 2 * PLANE(s->k, tw) + s->c * s->k);
}

/* Images (h, w, c) that are made of tiles one by one. */
typedef struct {
    int64_t h, w, c, top, left, wide, now;
    const T *x, *y; /* where y is not above 0, x counts as 0; y may be NULL */
    T *padded;
} NAMED(Source);

/* `tall` x `broad` are the numbers of tiles. */
static NAMED(Source) NAMED(source)(int64_t h, int64_t w, int64_t c, int64_t top, int64_t left,
                                   int64_t tall, int64_t broad, const T *x, const T *y, T *padded) {
    NAMED(Source) made = {h, w, c, top, left, 2 * broad + 2, -1, x, y, padded};
    memset(padded, 0, (size_t)((2 * tall + 2) * made.wide * c) * sizeof(T));
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

/* Outputs (h, w, k) of `rows` rows of tiles from row `first` on, whose planes v (c) are; m has room for theirs. */
static void NAMED(multiply_tiles)(const T *v, int64_t first, int64_t rows, int64_t per, int64_t tw,
                                  int64_t c, const T *filters, const T *bias, int relu, T *out,
                                  int64_t h, int64_t w, int64_t k, T *m) {
    int64_t plane = PLANE(c, tw), beyond = PLANE(k, tw), used = least(tw, (w + 1) / 2);
    for (int p = 0; p < 16; p++)
        WIDELY(slide)(v + p * plane, 0, c, 1, 1, 1, 1, filters + p * c * k, NULL, 0, m + p * beyond,
                      1, rows * tw, k, 0, INT64_MAX);
    for (int64_t r = 0; r < rows; r++) {
        int64_t n = (first + r) / per, i = (first + r) % per * 2;
        if (i < h)
            WIDELY(tiles_out)(m + r * tw * k, beyond, used, bias, relu, out + (n * h + i) * w * k, w, k,
                              i + 1 < h);
    }
}

/* What `convolve` does. */
static void NAMED(tiles_forward)(void *const *p) {
    const Shape *s = p[0];
    int64_t per = (s->oh + 1) / 2, tw = (s->ow + 1) / 2, c = s->c, strip = most(1, TILES / tw);
    T *padded = p[5], *v = padded + (2 * per + 2) * (2 * tw + 2) * c, *m = v + 16 * PLANE(c, tw);
    NAMED(Source) x = NAMED(source)(s->h, s->w, c, s->top, s->left, per, tw, p[1], NULL, padded);
    for (int64_t row = 0, end; row < s->rows * per; row = end) {
        end = least(row + strip, s->rows * per);
        for (int64_t r = row; r < end; r++)
            WIDELY(tiles_in)(NAMED(tile_row)(&x, r, per), x.wide * c, c, tw, v + (r - row) * tw * c,
                             PLANE(c, tw));
        NAMED(multiply_tiles)(v, row, end - row, per, tw, c, p[2], p[3], (int)s->flag, p[4], s->oh, s->ow,
                              s->k, m);
    }
}

/* What `convolve_gradient` does. */
static void NAMED(tiles_backward)(void *const *p) {
    const Shape *s = p[0];
    int64_t c = s->c, k = s->k, per = NAMED(tall)(s), tw = NAMED(broad)(s), strip = most(1, TILES / tw);
    int64_t plane = PLANE(c, tw), beyond = PLANE(k, tw), around = (2 * per + 2) * (2 * tw + 2);
    T *sums = p[8], *xs = sums + 16 * c * k, *gs = xs + around * c, *v = gs + around * k;
    T *m = v + 16 * plane, *turned = m + 16 * beyond, *dbias = p[6];
    NAMED(Source) x = NAMED(source)(s->h, s->w, c, s->top, s->left, per, tw, p[1], NULL, xs);
    NAMED(Source) g = NAMED(source)(s->oh, s->ow, k, 2 - s->top, 2 - s->left, per, tw, p[3],
                                    s->flag ? p[2] : NULL, gs);
    if (!s->rows) memset(sums, 0, (size_t)(16 * c * k) * sizeof(T));
    if (dbias) memset(dbias, 0, (size_t)k * sizeof(T));
    for (int64_t row = 0, end; row < s->rows * per; row = end) {
        end = least(row + strip, s->rows * per);
        for (int64_t r = row; r < end; r++) {
            int64_t here = (r - row) * tw, line = g.wide * k;
            const T *from = NAMED(tile_row)(&g, r, per);
            WIDELY(tiles_in)(NAMED(tile_row)(&x, r, per), x.wide * c, c, tw, v + here * c, plane);
            WIDELY(tiles_back)(from + g.top * line + g.left * k, line, k, tw, m + here * k, beyond);
            if (p[7]) WIDELY(tiles_in)(from, line, k, tw, turned + here * k, beyond);
        }
        for (int q = 0; q < 16; q++)
            WIDELY(collect)(v + q * plane, 0, c, 1, 1, 1, 1, m + q * beyond, 1, (end - row) * tw, k,
                            sums + q * c * k, k, row == 0);
        /* Number (1, 1) of a tile is the sum of its gradients. */
        if (dbias) WIDELY(add_pixels)(m + 5 * beyond, (end - row) * tw, k, dbias);
        if (p[7])
            NAMED(multiply_tiles)(turned, row, end - row, per, tw, k, p[4], NULL, 0, p[7], s->h, s->w, c, v);
    }
    WIDELY(filters_out)(sums, c * k, p[5]);
}

#undef WIDELY
#undef TILES
#undef PLANE

#endif
