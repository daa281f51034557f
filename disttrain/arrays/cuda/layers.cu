/* What layers do number by number, and the sums over rows that follow; formulas: cpu_kernels.py. */

/* As in gpu_kernels.py. */
enum { IDENTITY, SIGN, RELU, TANH, SIGMOID, LEAKY_RELU, ELU, SILU, GELU };

/* z (rows, units) = f(z + bias); of silu and gelu `slope`, where it is given, = f'(z + bias). */
extern "C" __global__ void activate(int count, int units, int kind, const T *bias, T *z, T *slope) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    T a = z[thread] + bias[thread % units], y = a, s = 0;
    switch (kind) {
        case SIGN: y = (T)((a > 0) - (a < 0)); break;
        case RELU: y = !(a <= 0) ? a : (T)0; break; /* a NaN must stay visible */
        case TANH: y = tanh(a); break;
        case SIGMOID: y = (T)0.5 * tanh((T)0.5 * a) + (T)0.5; break;
        case LEAKY_RELU: y = a > 0 ? a : (T)0.01 * a; break;
        case ELU: y = a > 0 ? a : expm1(a); break;
        case SILU: {
            T part = (T)0.5 * tanh((T)0.5 * a) + (T)0.5;
            s = part * (1 + a * (1 - part));
            y = a * part;
            break;
        }
        case GELU: {
            T root = (T)0.7978845608028654, cube = (T)0.044715;
            T t = tanh(root * (a + cube * a * a * a)), part = (T)0.5 * (1 + t);
            s = part + (T)0.5 * a * (1 - t * t) * root * (1 + 3 * cube * a * a);
            y = a * part;
            break;
        }
    }
    z[thread] = y;
    if (slope) slope[thread] = s;
}

/* dy = dy f'(a), where y = f(a), or the slope; sums (parts, units): of `part` rows each. */
extern "C" __global__ void activation_gradient(int count, int rows, int units, int part, int kind,
                                               const T *y, T *dy, T *sums) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int unit = thread % units, first = thread / units * part;
    int end = first + part < rows ? first + part : rows;
    T sum = 0;
    for (int row = first; row < end; row++) {
        long long at = (long long)row * units + unit;
        T d = dy[at], f = y[at];
        switch (kind) {
            case RELU: d = f > 0 ? d : (T)0; break;
            case TANH: d = d * ((T)1 - f * f); break;
            case SIGMOID: d = d * (((T)1 - f) * f); break;
            case LEAKY_RELU: d = f > 0 ? d : (T)0.01 * d; break;
            case ELU: d = f > 0 ? d : d * (f + 1); break;
            case SILU:
            case GELU: d = d * f; break;
        }
        if (kind != IDENTITY && kind != SIGN) dy[at] = d;
        sum = sum + d;
    }
    sums[thread] = sum;
}

/* x = x y. */
extern "C" __global__ void multiply(int count, T *x, const T *y) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) x[thread] = x[thread] * y[thread];
}

/* x = x + y. */
extern "C" __global__ void add(int count, T *x, const T *y) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) x[thread] = x[thread] + y[thread];
}

/* Philox-4x64 with ten rounds (Salmon et al., 2011): number `which` of block `counter`. */
__device__ unsigned long long drawn(unsigned long long counter, unsigned long long key0,
                                    unsigned long long key1, int which) {
    unsigned long long c0 = counter, c1 = 0, c2 = 0, c3 = 0;
    for (int round = 0; round < 10; round++) {
        unsigned long long n0 = __umul64hi(0xCA5A826395121157ull, c2) ^ c1 ^ key0;
        unsigned long long n2 = __umul64hi(0xD2E7470EE14C6C93ull, c0) ^ c3 ^ key1;
        c1 = 0xCA5A826395121157ull * c2, c3 = 0xD2E7470EE14C6C93ull * c0, c0 = n0, c2 = n2;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
    return which == 0 ? c0 : which == 1 ? c1 : which == 2 ? c2 : c3;
}

/* mask: 0 where the random number of its place is below `limit`, else `factor`; y = x mask. A block of
   the generator has sixteen numbers of 16 bits, and a row of the global batch begins with a new one. */
extern "C" __global__ void dropout(int count, int width, int first, int limit, double factor,
                                   const unsigned long long *key, const T *x, T *mask, T *y) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int row = thread / width, place = thread % width, blocks = (width + 15) / 16;
    unsigned long long counter = ((unsigned long long)first + row) * blocks + place / 16 + 1;
    unsigned long long word = drawn(counter, key[0], key[1], place % 16 / 4);
    T m = (T)((int)(word >> (16 * (place % 4)) & 0xffff) >= limit) * (T)factor;
    mask[thread] = m;
    y[thread] = x[thread] * m;
}
