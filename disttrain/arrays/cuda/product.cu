/* Matrix products that a CUDA graph can hold, in an order that is fixed by their shapes. */

#define SIDE 64 /* rows and columns of a tile of the output */
#define DEEP 16 /* numbers of a chain that are in shared memory at once */

/* out (parts, m, n) = a (m, depth) b (depth, n), the sums cut into parts of `chunk` links; a and b have any
   strides. 256 threads a tile, of 4 x 4 outputs each; every output is one chain of multiply-adds. */
extern "C" __global__ void product(int m, int n, int depth, int chunk, const T *a, int a_row, int a_column,
                                   const T *b, int b_row, int b_column, T *out) {
    __shared__ T left[DEEP][SIDE + 1], right[DEEP][SIDE + 1];
    int thread = threadIdx.x, row = blockIdx.y * SIDE, column = blockIdx.x * SIDE;
    int begin = blockIdx.z * chunk, end = begin + chunk < depth ? begin + chunk : depth;
    T sum[4][4] = {};
    for (int low = begin; low < end; low += DEEP) {
        for (int e = thread; e < SIDE * DEEP; e += 256) {
            /* Threads side by side read numbers side by side. */
            int k = a_column == 1 ? e % DEEP : e / SIDE, i = a_column == 1 ? e / DEEP : e % SIDE;
            bool there = row + i < m && low + k < end;
            left[k][i] = there ? a[(long long)(row + i) * a_row + (long long)(low + k) * a_column] : (T)0;
            k = b_row == 1 ? e % DEEP : e / SIDE, i = b_row == 1 ? e / DEEP : e % SIDE;
            there = column + i < n && low + k < end;
            right[k][i] = there ? b[(long long)(low + k) * b_row + (long long)(column + i) * b_column] : (T)0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEEP; k++) {
            T x[4], y[4];
            for (int p = 0; p < 4; p++) x[p] = left[k][thread / 16 * 4 + p];
            for (int q = 0; q < 4; q++) y[q] = right[k][thread % 16 + 16 * q];
            for (int p = 0; p < 4; p++)
                for (int q = 0; q < 4; q++) sum[p][q] = fma(x[p], y[q], sum[p][q]);
        }
        __syncthreads();
    }
    for (int p = 0; p < 4; p++)
        for (int q = 0; q < 4; q++) {
            int i = row + thread / 16 * 4 + p, j = column + thread % 16 + 16 * q;
            if (i < m && j < n) out[((long long)blockIdx.z * m + i) * n + j] = sum[p][q];
        }
}
