/* Sums of several vectors. */

/* out = the sum of `parts` vectors of `count` numbers, one after the other. */
extern "C" __global__ void add_parts(int count, int parts, const T *x, T *out) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    T sum = 0;
    for (int part = 0; part < parts; part++) sum = sum + x[(long long)part * count + thread];
    out[thread] = sum;
}
