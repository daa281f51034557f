/* Reading rows by their addresses: part of recording.c, once for each type of numbers.

   As in data/normalization.py: bytes in one multiply-add, numbers minus their mean in float64. */

/* Rows on their way from memory while one is read. */
#ifdef __GNUC__
#define ASK_FOR(place) __builtin_prefetch(place)
#else
#define ASK_FOR(place) ((void)0)
#endif
#define ROWS_AHEAD 4

#define READ(NAME, RAW, FACTOR, VALUE)                                                             \
    WIDE static void NAME(int64_t rows, int64_t inputs, const int64_t *at,                         \
                          const FACTOR *restrict scale, const FACTOR *restrict shift,              \
                          T *restrict out) {                                                       \
        for (int64_t r = 0; r < rows; r++, out += inputs) {                                        \
            const RAW *restrict row = (const RAW *)at[r];                                          \
            if (r + ROWS_AHEAD < rows)                                                             \
                for (int64_t b = 0; b < inputs * (int64_t)sizeof(RAW); b += 64)                    \
                    ASK_FOR((const char *)at[r + ROWS_AHEAD] + b);                                 \
            for (int64_t i = 0; i < inputs; i++) out[i] = (T)(VALUE);                              \
        }                                                                                          \
    }
READ(NAMED(read_u1), uint8_t, T, (T)row[i] * scale[i] + shift[i])
/* `shift` is the mean here. */
READ(NAMED(read_f4), float, double, ((double)row[i] - shift[i]) * scale[i])
READ(NAMED(read_f8), double, double, (row[i] - shift[i]) * scale[i])

/* p: scale, shift or mean, out; n: rows, inputs, the first one's place, bytes of a number. */
static void NAMED(read_rows)(const Call *c, const Block *block) {
    const int64_t *n = c->n, *at = block->rows + n[2];
    if (n[3] == 1) NAMED(read_u1)(n[0], n[1], at, c->p[0], c->p[1], c->p[2]);
    if (n[3] == 4) NAMED(read_f4)(n[0], n[1], at, c->p[0], c->p[1], c->p[2]);
    if (n[3] == 8) NAMED(read_f8)(n[0], n[1], at, c->p[0], c->p[1], c->p[2]);
}

#undef READ
#undef ASK_FOR
#undef ROWS_AHEAD
