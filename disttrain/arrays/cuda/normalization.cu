/* Layer normalization. One block of WARP threads (losses.cu) takes a sample. */

/* hat = (x - mean) inverse, y = hat scale + shift; inverse = 1 / the deviation of each sample. */
extern "C" __global__ void layer_norm(int width, const T *x, const T *scale, const T *shift, T *hat,
                                      T *inverse, T *y, double epsilon) {
    __shared__ T parts[WARP]; /* __syncthreads stands in `together` */
    long long first = (long long)blockIdx.x * width;
    T sum = 0;
    for (int u = threadIdx.x; u < width; u += WARP) sum = sum + x[first + u];
    T mean = together(sum, parts) / width;
    sum = 0;
    for (int u = threadIdx.x; u < width; u += WARP) {
        T d = x[first + u] - mean;
        hat[first + u] = d;
        sum = sum + d * d;
    }
    T factor = 1 / sqrt(together(sum, parts) / width + (T)epsilon);
    if (threadIdx.x == 0) inverse[blockIdx.x] = factor;
    for (int u = threadIdx.x; u < width; u += WARP) {
        T normal = hat[first + u] * factor;
        hat[first + u] = normal;
        y[first + u] = normal * scale[u] + shift[u];
    }
}

/* dy becomes the gradient of x. */
extern "C" __global__ void layer_norm_gradient(int width, T *dy, const T *hat, const T *inverse,
                                               const T *scale) {
    __shared__ T parts[WARP]; /* __syncthreads stands in `together` */
    long long first = (long long)blockIdx.x * width;
    T sum = 0, with = 0;
    for (int u = threadIdx.x; u < width; u += WARP) {
        T d = dy[first + u] * scale[u];
        dy[first + u] = d;
        sum = sum + d;
        with = with + d * hat[first + u];
    }
    T along = together(with, parts) / width, mean = together(sum, parts) / width;
    for (int u = threadIdx.x; u < width; u += WARP)
        dy[first + u] = (dy[first + u] - mean - hat[first + u] * along) * inverse[blockIdx.x];
}

/* shifts, scales (parts, width): the sums of dy, and of dy hat, over `part` samples each. */
extern "C" __global__ void layer_norm_sums(int count, int rows, int width, int part, const T *dy,
                                           const T *hat, T *shifts, T *scales) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int unit = thread % width, first = thread / width * part;
    int end = first + part < rows ? first + part : rows;
    T sum = 0, with = 0;
    for (int row = first; row < end; row++) {
        long long at = (long long)row * width + unit;
        sum = sum + dy[at];
        with = with + dy[at] * hat[at];
    }
    shifts[thread] = sum;
    scales[thread] = with;
}
