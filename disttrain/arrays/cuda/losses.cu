/* Reading a batch that lies on the GPU, losses with their gradients, and the header of a step. */

#define WARP 32   /* threads of a row of outputs */
#define COUNT 256 /* threads that count a batch */

/* The sum of one number of each thread of a block of WARP, in their order; `parts` is shared memory. */
__device__ T together(T own, T *parts) {
    __syncthreads();
    parts[threadIdx.x] = own;
    __syncthreads();
    T sum = 0;
    for (int t = 0; t < WARP; t++) sum = sum + parts[t];
    return sum;
}

/* out (rows, width) = stored[samples] scale + shift. */
extern "C" __global__ void gather(int count, int width, const unsigned char *stored,
                                  const long long *samples, const T *scale, const T *shift, T *out) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    int unit = thread % width;
    out[thread] = (T)stored[samples[thread / width] * width + unit] * scale[unit] + shift[unit];
}

/* out = targets[samples]: classes. */
extern "C" __global__ void take_classes(int count, const long long *targets, const long long *samples,
                                        long long *out) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) out[thread] = targets[samples[thread]];
}

/* out (rows, width) = targets[samples]: numbers. */
extern "C" __global__ void take_numbers(int count, int width, const double *targets,
                                        const long long *samples, T *out) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) out[thread] = (T)targets[samples[thread / width] * width + thread % width];
}

/* One block of WARP threads a row: losses = -log of the softmax at the class, f = its gradient. */
extern "C" __global__ void softmax(int units, const T *outputs, const long long *classes, T *f,
                                   double *losses) {
    __shared__ T parts[WARP];
    int thread = threadIdx.x, row = blockIdx.x;
    const T *o = outputs + (long long)row * units;
    T *to = f + (long long)row * units, most = o[0], sum = 0;
    for (int u = thread; u < units; u += WARP)
        if (!(o[u] <= most)) most = o[u]; /* a NaN must stay visible */
    parts[thread] = most;
    __syncthreads();
    for (int t = 0; t < WARP; t++)
        if (!(parts[t] <= most)) most = parts[t];
    __syncthreads();
    for (int u = thread; u < units; u += WARP) {
        T e = exp(o[u] - most);
        to[u] = e;
        sum = sum + e;
    }
    parts[thread] = sum;
    __syncthreads();
    sum = 0;
    for (int t = 0; t < WARP; t++) sum = sum + parts[t];
    int right = (int)classes[row];
    if (thread == 0) losses[row] = (double)(log(sum) - (o[right] - most));
    for (int u = thread; u < units; u += WARP) to[u] = to[u] / sum - (T)(u == right);
}

/* One block of WARP threads a row: losses = the squares of outputs minus targets, each times its factor
   where there are factors, f = twice the difference. Targets are numbers, or classes. */
extern "C" __global__ void squared(int units, const T *outputs, const T *numbers, const long long *classes,
                                   const double *factors, T *f, double *losses) {
    __shared__ double parts[WARP];
    int thread = threadIdx.x, row = blockIdx.x;
    double sum = 0;
    for (int u = thread; u < units; u += WARP) {
        long long at = (long long)row * units + u;
        T d = outputs[at] - (classes ? (T)(classes[row] == u) : numbers[at]);
        double square = (double)d * (double)d;
        sum = sum + (factors ? square * factors[u] : square);
        f[at] = d * 2;
    }
    parts[thread] = sum;
    __syncthreads();
    if (thread) return;
    sum = 0;
    for (int t = 0; t < WARP; t++) sum = sum + parts[t];
    losses[row] = sum;
}

/* Weights of classes w (rows of WARP threads as above): losses = -keep w_k log f_k - part sum w_c log f_c of
   the softmax f at the class k, f = its gradient, with `spread` = part sum w_c; as in model/losses.py. */
extern "C" __global__ void weighted_softmax(int units, const T *outputs, const long long *classes,
                                            const T *weights, double keep, double part, double spread, T *f,
                                            double *losses) {
    __shared__ T parts[WARP];
    int thread = threadIdx.x, row = blockIdx.x, right = (int)classes[row];
    const T *o = outputs + (long long)row * units;
    T *to = f + (long long)row * units, most = o[0], sum = 0, all = 0;
    for (int u = thread; u < units; u += WARP)
        if (!(o[u] <= most)) most = o[u]; /* a NaN must stay visible */
    parts[thread] = most;
    __syncthreads();
    for (int t = 0; t < WARP; t++)
        if (!(parts[t] <= most)) most = parts[t];
    for (int u = thread; u < units; u += WARP) sum = sum + exp(o[u] - most);
    T length = log(together(sum, parts)), own = (T)keep * weights[right];
    for (int u = thread; u < units; u += WARP) {
        T share = (o[u] - most) - length;
        all = all + share * weights[u];
        T d = exp(share) * (own + (T)spread) - (T)part * weights[u];
        to[u] = u == right ? d - own : d;
    }
    all = together(all, parts);
    if (thread == 0) losses[row] = (double)(-own * ((o[right] - most) - length) - (T)part * all);
}

/* losses = losses weights[samples], with the weights of all samples. */
extern "C" __global__ void weigh_losses(int rows, double *losses, const float *weights,
                                        const long long *samples) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < rows) losses[row] = losses[row] * (double)weights[samples[row]];
}

/* d (rows, width) = d weights[samples]. */
extern "C" __global__ void weigh_gradient(int count, int width, T *d, const float *weights,
                                          const long long *samples) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) d[thread] = d[thread] * (T)weights[samples[thread / width]];
}

/* Of one sign unit: losses = 1 for a mistake, else 0; d = the perceptron's rule. */
extern "C" __global__ void perceptron(int rows, const T *outputs, const long long *classes, T *d,
                                      double *losses) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    T y = (T)(2 * classes[row] - 1);
    int mistake = outputs[row] != y;
    losses[row] = mistake;
    d[row] = -y * (T)mistake;
}

/* The sum of one number of each thread of a block of COUNT, in their order; `sums` is shared memory. */
__device__ double total(double own, double *sums) {
    sums[threadIdx.x] = own;
    __syncthreads();
    double sum = 0;
    for (int t = 0; t < COUNT; t++) sum = sum + sums[t];
    return sum;
}

/* One block of COUNT threads: out = the sum of x. */
extern "C" __global__ void add_up(int count, const double *x, double *out) {
    __shared__ double sums[COUNT]; /* __syncthreads stands in `total` */
    double own = 0;
    for (int at = threadIdx.x; at < count; at += COUNT) own = own + x[at];
    double sum = total(own, sums);
    if (threadIdx.x == 0) *out = sum;
}

/* One block of COUNT threads: header[unit] += the sum of losses; with classes header[place] += the rows
   whose output is the largest at their class (of a single output: has its sign); behind it += rows. */
extern "C" __global__ void tally(int rows, const double *losses, double *header, int unit, int place,
                                 int units, const T *outputs, const long long *classes) {
    __shared__ double sums[COUNT];
    __shared__ int rights[COUNT];
    int thread = threadIdx.x, right = 0;
    double sum = 0;
    for (int row = thread; row < rows; row += COUNT) {
        sum = sum + losses[row];
        if (!classes) continue;
        const T *o = outputs + (long long)row * units;
        int best = 0;
        for (int u = 1; u < units; u++)
            if (o[u] > o[best]) best = u;
        right += units == 1 ? o[0] * (T)(2 * classes[row] - 1) > 0 : best == classes[row];
    }
    sums[thread] = sum;
    rights[thread] = right;
    __syncthreads();
    if (thread) return;
    sum = 0, right = 0;
    for (int t = 0; t < COUNT; t++) {
        sum = sum + sums[t];
        right += rights[t];
    }
    header[unit] = header[unit] + sum;
    if (place < 0) return;
    header[place] = header[place] + right;
    header[place + 1] = header[place + 1] + rows;
}

/* x = 0. */
extern "C" __global__ void clear(int count, double *x) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < count) x[thread] = 0;
}
