/* y = x W^T + b for the few rows x of a decoding step, where reading W is all that costs: W is read once, in order.

   Shapes: x (m, k) float32, W (n, k) in either storage order, b (n) float32 or null, y (m, n) float32; 1 <= m <= 8.
   W is float32, or bfloat16 as its 16 bits. Built by zoo/nn/fast.py for the machine that it runs on. */

#include <omp.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define DEPTH 8          /* stored rows that are taken together when W is stored inputs first */
#define MOST_OUTPUTS 4096 /* that a thread takes at a time: their sums stay in its cache */
#define WORTH_THREADS (1 << 16) /* weights; waking a thread costs as much as reading fewer */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t half_lanes __attribute__((vector_size(2 * LANES)));
typedef uint32_t wide_lanes __attribute__((vector_size(4 * LANES)));

INLINE lanes load_float(const float *from) {
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE lanes load_bfloat(const uint16_t *from) { /* a bfloat16 is the upper half of a float */
    half_lanes value;
    memcpy(&value, from, sizeof value);
    return (lanes)(__builtin_convertvector(value, wide_lanes) << 16);
}

INLINE float one_float(const float *from) { /* weights in a mapped file need not be aligned */
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE float one_bfloat(const uint16_t *from) {
    uint16_t half;
    memcpy(&half, from, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE float sum(lanes value) {
    float total = 0;
    UNROLL for (int i = 0; i < LANES; i++) total += value[i];
    return total;
}

INLINE long share(long n) { /* outputs a thread takes at a time: as many in a row as can be, in whole lanes */
    long each = (n + omp_get_max_threads() - 1) / omp_get_max_threads();
    each = (each + LANES - 1) / LANES * LANES;
    return each < MOST_OUTPUTS ? each : MOST_OUTPUTS;
}

/* KERNEL writes outputs from <= o < to of all m rows. m is a literal in each case, so that its loops unroll. */
#define FUNCTION(NAME, WEIGHT, KERNEL)                                                                             \
    void NAME(const float *x, const WEIGHT *w, const float *b, float *y, long m, long n, long k) {                 \
        long each = share(n);                                                                                      \
        _Pragma("omp parallel for schedule(static, 1) if (n * k >= WORTH_THREADS)")                                \
        for (long from = 0; from < n; from += each) {                                                              \
            long to = from + each < n ? from + each : n;                                                           \
            switch (m) {                                                                                           \
            case 1: KERNEL(1, x, w, b, y, n, k, from, to); break;                                                  \
            case 2: KERNEL(2, x, w, b, y, n, k, from, to); break;                                                  \
            case 3: KERNEL(3, x, w, b, y, n, k, from, to); break;                                                  \
            case 4: KERNEL(4, x, w, b, y, n, k, from, to); break;                                                  \
            case 5: KERNEL(5, x, w, b, y, n, k, from, to); break;                                                  \
            case 6: KERNEL(6, x, w, b, y, n, k, from, to); break;                                                  \
            case 7: KERNEL(7, x, w, b, y, n, k, from, to); break;                                                  \
            case 8: KERNEL(8, x, w, b, y, n, k, from, to); break;                                                  \
            }                                                                                                      \
        }                                                                                                          \
    }

/* W stored (n, k): each output is a dot product along a stored row; `count` of them at a time. */
#define OUTPUTS_FIRST(NAME, WEIGHT, LOAD, ONE)                                                                     \
    INLINE void NAME##_block(const int m, const int count, const float *x, const WEIGHT *w, const float *b,        \
                             float *y, long n, long k) {                                                           \
        lanes partial[8][8];                                                                                       \
        UNROLL for (int r = 0; r < m; r++) UNROLL for (int o = 0; o < count; o++) partial[r][o] = (lanes){0};      \
        long i = 0;                                                                                                \
        for (; i + LANES <= k; i += LANES)                                                                         \
            UNROLL for (int o = 0; o < count; o++) {                                                               \
                lanes weights = LOAD(w + o * k + i);                                                               \
                UNROLL for (int r = 0; r < m; r++) partial[r][o] += load_float(x + r * k + i) * weights;           \
            }                                                                                                      \
        UNROLL for (int o = 0; o < count; o++) UNROLL for (int r = 0; r < m; r++) {                                \
            float total = sum(partial[r][o]) + (b ? b[o] : 0);                                                     \
            for (long rest = i; rest < k; rest++) total += x[r * k + rest] * ONE(w + o * k + rest);                \
            y[r * n + o] = total;                                                                                  \
        }                                                                                                          \
    }                                                                                                              \
    INLINE void NAME##_kernel(const int m, const float *x, const WEIGHT *w, const float *b, float *y, long n,      \
                              long k, long from, long to) {                                                        \
        const int count = m == 1 ? 8 : m == 2 ? 4 : m == 3 ? 2 : 1; /* as many as the registers hold */            \
        long o = from;                                                                                             \
        for (; o + count <= to; o += count) NAME##_block(m, count, x, w + o * k, b ? b + o : 0, y + o, n, k);      \
        for (; o < to; o++) NAME##_block(m, 1, x, w + o * k, b ? b + o : 0, y + o, n, k);                          \
    }                                                                                                              \
    FUNCTION(NAME, WEIGHT, NAME##_kernel)

OUTPUTS_FIRST(outputs_first_float, float, load_float, one_float)
OUTPUTS_FIRST(outputs_first_bfloat, uint16_t, load_bfloat, one_bfloat)

/* W stored (k, n), as its transpose: each input adds a multiple of a stored row to all outputs. */
#define INPUTS_FIRST(NAME, WEIGHT, LOAD, ONE)                                                                      \
    INLINE void NAME##_depth(const int m, const int depth, const float *x, const WEIGHT *w, float *y, long n,      \
                             long k, long from, long to) {                                                         \
        long o = from;                                                                                             \
        for (; o + LANES <= to; o += LANES) {                                                                      \
            lanes weights[DEPTH];                                                                                  \
            UNROLL for (int d = 0; d < depth; d++) weights[d] = LOAD(w + d * n + o);                               \
            UNROLL for (int r = 0; r < m; r++) {                                                                   \
                lanes total = load_float(y + r * n + o);                                                           \
                UNROLL for (int d = 0; d < depth; d++) total += x[r * k + d] * weights[d];                         \
                memcpy(y + r * n + o, &total, sizeof total);                                                       \
            }                                                                                                      \
        }                                                                                                          \
        for (; o < to; o++)                                                                                        \
            for (int r = 0; r < m; r++)                                                                            \
                for (int d = 0; d < depth; d++)                                                                   \
                    y[r * n + o] += x[r * k + d] * ONE(w + d * n + o);                                             \
    }                                                                                                              \
    INLINE void NAME##_kernel(const int m, const float *x, const WEIGHT *w, const float *b, float *y, long n,      \
                              long k, long from, long to) {                                                        \
        for (int r = 0; r < m; r++)                                                                                \
            for (long o = from; o < to; o++) y[r * n + o] = b ? b[o] : 0;                                          \
        long i = 0;                                                                                                \
        for (; i + DEPTH <= k; i += DEPTH) NAME##_depth(m, DEPTH, x + i, w + i * n, y, n, k, from, to);            \
        for (; i < k; i++) NAME##_depth(m, 1, x + i, w + i * n, y, n, k, from, to);                                \
    }                                                                                                              \
    FUNCTION(NAME, WEIGHT, NAME##_kernel)

INPUTS_FIRST(inputs_first_float, float, load_float, one_float)
INPUTS_FIRST(inputs_first_bfloat, uint16_t, load_bfloat, one_bfloat)
