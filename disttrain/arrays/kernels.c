/* The hot elementwise work on the processor, each in one pass over memory; called by ctypes.

   Built with -O3 -ffp-contract=off: the operations and their order are those of cpu_kernels.py, so
   the bits are the same, whatever the width of the vectors that the machine has. With -fno-math-errno
   square roots use vectors too, and with -fno-trapping-math comparisons do. Neither changes a
   result: only the floating-point flags differ, and this program does not read them. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef KERNEL
/* The tests give -DKERNEL= and build once for each width of vectors. */
#elif defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
/* One build for all machines of a cluster: each uses the widest vectors that it has. */
#define KERNEL __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KERNEL
#endif

/* Rows of `gather` that are on their way from memory while one is read. */
#define AHEAD 4
#ifdef __GNUC__
#define FETCH(place) __builtin_prefetch(place)
#else
#define FETCH(place) ((void)0)
#endif

/* As in cpu_kernels.square_sums. */
#define BLOCK 32768
#define LANES 64

/* Add the bits of a number to a sum, as a whole number. */
#define COUNT(U, sum, number)                                                                      \
    do {                                                                                           \
        U bits_;                                                                                   \
        memcpy(&bits_, &(number), sizeof bits_);                                                   \
        sum += bits_;                                                                              \
    } while (0)

/* One update with momentum: s is the gradient with weight decay, UPDATE sets v[i] and w[i]. */
#define MOMENTUM(T, U, NAME, UPDATE)                                                               \
    KERNEL uint64_t NAME(ptrdiff_t n, T *restrict w, T *restrict v, const T *restrict g, T inverse,\
                         T rate, T momentum, T decay) {                                            \
        U of_w = 0, of_v = 0; /* two independent sums: the processor adds to both at once */       \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            T wi = w[i], vi = v[i];                                                                \
            COUNT(U, of_w, wi);                                                                    \
            COUNT(U, of_v, vi);                                                                    \
            T s = g[i] * inverse + wi * decay;                                                     \
            UPDATE;                                                                                \
        }                                                                                          \
        return (U)(of_w + of_v);                                                                   \
    }

#define KERNELS(T, U, NAME, SQRT)                                                                  \
    KERNEL void activate_relu_##NAME(ptrdiff_t rows, ptrdiff_t units, T *restrict z,               \
                                const T *restrict bias) {                                          \
        for (ptrdiff_t r = 0; r < rows; r++, z += units)                                           \
            for (ptrdiff_t u = 0; u < units; u++) {                                                \
                T a = z[u] + bias[u];                                                              \
                z[u] = a <= 0 ? 0 : a; /* a NaN must stay visible */                               \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    KERNEL void gradient_relu_##NAME(ptrdiff_t rows, ptrdiff_t units, T *restrict dy,              \
                                const T *restrict y, T *restrict dbias) {                          \
        for (ptrdiff_t u = 0; u < units; u++) dbias[u] = 0;                                        \
        for (ptrdiff_t r = 0; r < rows; r++, dy += units, y += units)                              \
            for (ptrdiff_t u = 0; u < units; u++) {                                                \
                T d = dy[u] * (T)(y[u] > 0); /* a product: infinity times 0 must show */           \
                dy[u] = d;                                                                         \
                dbias[u] += d;                                                                     \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    KERNEL void gather_##NAME(ptrdiff_t rows, ptrdiff_t inputs, const uint8_t *restrict stored,    \
                         const int64_t *restrict places, const T *restrict scale,                  \
                         const T *restrict shift, T *restrict out) {                               \
        for (ptrdiff_t r = 0; r < rows; r++, out += inputs) {                                      \
            const uint8_t *restrict row = stored + places[r] * inputs;                             \
            if (r + AHEAD < rows) /* rows lie anywhere in memory: ask for one before its turn */   \
                for (ptrdiff_t c = 0; c < inputs; c += 64)                                         \
                    FETCH(stored + places[r + AHEAD] * inputs + c);                                \
            for (ptrdiff_t c = 0; c < inputs; c++) out[c] = (T)row[c] * scale[c] + shift[c];       \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    MOMENTUM(T, U, momentum_classical_##NAME, v[i] = vi = vi * momentum + s; w[i] = wi - vi * rate)\
    /* `rate` is -α (1-β) here. */                                                                 \
    MOMENTUM(T, U, momentum_averaged_##NAME, v[i] = vi = vi * momentum + s * rate; w[i] = wi + vi) \
    MOMENTUM(T, U, momentum_nesterov_##NAME,                                                       \
             v[i] = vi = vi * momentum + s; w[i] = wi - (s + vi * momentum) * rate)                \
                                                                                                   \
    /* All factors are cpu_kernels.adam's. */                                                      \
    KERNEL uint64_t adam_##NAME(                                                                   \
        ptrdiff_t n, T *restrict w, T *restrict m, T *restrict v, const T *restrict g, T inverse,  \
        T decay, T keep, T beta1, T rest1, T beta2, T rest2, T rate, T root, T epsilon) {          \
        U of_w = 0, of_m = 0, of_v = 0;                                                            \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            T wi = w[i], mi = m[i], vi = v[i];                                                     \
            COUNT(U, of_w, wi);                                                                    \
            COUNT(U, of_m, mi);                                                                    \
            COUNT(U, of_v, vi);                                                                    \
            T s = g[i] * inverse + wi * decay;                                                     \
            m[i] = mi = mi * beta1 + s * rest1;                                                    \
            v[i] = vi = vi * beta2 + s * s * rest2;                                                \
            w[i] = wi * keep - mi / (SQRT(vi) * root + epsilon) * rate;                            \
        }                                                                                          \
        return (U)(of_w + of_m + of_v);                                                            \
    }                                                                                              \
                                                                                                   \
    KERNEL void average_##NAME(ptrdiff_t n, T *restrict a, const T *restrict w, T part) {          \
        for (ptrdiff_t i = 0; i < n; i++) a[i] = a[i] + (w[i] - a[i]) * part;                      \
    }                                                                                              \
                                                                                                   \
    /* Write the sum of squares of each BLOCK of x; element i of a block goes to lane i % LANES. */\
    KERNEL void square_sums_##NAME(ptrdiff_t n, const T *restrict x, double *restrict out) {       \
        for (; n > 0; n -= BLOCK, x += BLOCK) {                                                    \
            double lanes[LANES] = {0};                                                             \
            ptrdiff_t size = n < BLOCK ? n : BLOCK, whole = size - size % LANES;                   \
            for (ptrdiff_t i = 0; i < whole; i += LANES)                                           \
                for (int l = 0; l < LANES; l++) lanes[l] += (double)x[i + l] * (double)x[i + l];   \
            for (int l = 0; l < size - whole; l++)                                                 \
                lanes[l] += (double)x[whole + l] * (double)x[whole + l];                           \
            for (int half = LANES / 2; half; half /= 2)                                            \
                for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];                        \
            *out++ = lanes[0];                                                                     \
        }                                                                                          \
    }

KERNELS(float, uint32_t, f4, sqrtf)
KERNELS(double, uint64_t, f8, sqrt)

/* Words of a checksum that are counted with 32-bit factors at once. */
#define WORDS 65536

/* The sum of checksum.py over n 64-bit words. A word is its lower half plus 2^32 times its upper one,
   so two sums of products of 32-bit numbers are enough: of each half times its odd factor. */
KERNEL uint64_t checksum(ptrdiff_t n, const unsigned char *restrict words, uint64_t spread) {
    uint64_t of_lower = 0, of_upper = 0;
    for (ptrdiff_t begin = 0; begin < n; begin += WORDS, words += 8 * WORDS) {
        uint32_t size = n - begin < WORDS ? (uint32_t)(n - begin) : WORDS;
        uint64_t lower = 0, upper = 0, weighed_lower = 0, weighed_upper = 0;
        for (uint32_t i = 0; i < size; i++) {
            uint64_t word;
            memcpy(&word, words + 8 * (size_t)i, 8);
            uint64_t odd = 2 * i + 1, low = word & UINT32_MAX, up = word >> 32;
            lower += low;
            upper += up;
            weighed_lower += odd * low;
            weighed_upper += odd * up;
        }
        of_lower += weighed_lower + 2 * (uint64_t)begin * lower;
        of_upper += weighed_upper + 2 * (uint64_t)begin * upper;
    }
    return of_lower + (spread + ((uint64_t)1 << 32)) * of_upper;
}
