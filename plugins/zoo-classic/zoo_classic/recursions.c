/* The recursions of a hidden Markov model in double, for sequences that lie end to end: forward, backward, Viterbi.

   Shapes: N frames of B sequences, S states; sequence b is rows starts[b] to starts[b + 1] - 1. All tables are (N, S).
   Some sequences are gone through in step, and threads share the rest; what is computed of one is the same, bit for
   bit, whatever stands beside it. Source: Rabiner, "A tutorial on hidden Markov models", 1989, sections III and V.
   Built by zoo/nn/kernels.py for the machine that it runs on. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512DQ__)
#define LANES 8
#define TILE 4 /* sequences in step: as many as the registers hold sums of */
#elif defined(__AVX__)
#define LANES 4
#define TILE 2
#else
#define LANES 2
#define TILE 2
#endif
#define CHAINS 4       /* sums taken side by side: one product waits for the one before it */
#define SMALL 1e-50    /* a sum that falls below this is made 1: rarely, so that it costs nothing */
#define FLOOR 1e-250   /* below this, states that matter may be lost whatever follows */
#define NEGLIGIBLE -50 /* a term that is e to this times the largest changes no digit */
#define WORTH_THREADS (1 << 20)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define LEAST(a, b) ((a) < (b) ? (a) : (b))

typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef int64_t marks __attribute__((vector_size(8 * LANES)));

typedef struct {
    long states, stride;         /* stride: of a padded row, whole lanes */
    const double *start;         /* (stride) */
    const double *into, *across; /* transitions from row to column, and from column to row, as `panels` */
    marks inside;                /* the lanes of a row's last vector that are states */
} Chain;

INLINE lanes load(const double *from) {
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(double *to, lanes value) { memcpy(to, &value, sizeof value); }

INLINE lanes either(marks choose, lanes yes, lanes no) {
    return (lanes)(((marks)yes & choose) | ((marks)no & ~choose));
}

INLINE lanes larger(lanes a, lanes b) {
#if LANES == 8
    return (lanes)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif LANES == 4
    return (lanes)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return (lanes){a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1]};
#endif
}

INLINE double sum(lanes value) {
#if LANES == 8
    return _mm512_reduce_add_pd((__m512d)value);
#elif LANES == 4
    return (value[0] + value[2]) + (value[1] + value[3]);
#else
    return value[0] + value[1];
#endif
}

/* Rows of a table are not padded: `inside` are the lanes that are still of the row, and others are 0. */
INLINE lanes load_inside(const double *from, marks inside) {
#if LANES == 8
    return (lanes)_mm512_maskz_loadu_pd(_mm512_movepi64_mask((__m512i)inside), from);
#elif LANES == 4
    return (lanes)_mm256_maskload_pd(from, (__m256i)inside);
#else
    lanes value = {0};
    for (int l = 0; l < LANES; l++)
        if (inside[l]) value[l] = from[l];
    return value;
#endif
}

INLINE void store_inside(double *to, lanes value, marks inside) {
#if LANES == 8
    _mm512_mask_storeu_pd(to, _mm512_movepi64_mask((__m512i)inside), (__m512d)value);
#elif LANES == 4
    _mm256_maskstore_pd(to, (__m256i)inside, (__m256d)value);
#else
    for (int l = 0; l < LANES; l++)
        if (inside[l]) to[l] = value[l];
#endif
}

INLINE marks last_lanes(long states) {
    marks found;
    for (int l = 0; l < LANES; l++) found[l] = l <= (states - 1) % LANES ? -1 : 0;
    return found;
}

INLINE marks inside(const Chain *chain, long at) {
    return at + LANES <= chain->states ? ~(marks){0} : chain->inside;
}

/* out = columns at to at + width * LANES of x M, for rows x of a padded table: the same sums for any rows and width. */
INLINE void product(const int rows, const int width, const long stride, long states, const double *x,
                    const double *matrix, long at, lanes out[TILE][2]) {
    lanes chains[CHAINS][TILE][2];
    UNROLL for (int c = 0; c < CHAINS; c++)
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int w = 0; w < width; w++) chains[c][r][w] = (lanes){0};
    long i = 0;
    for (; i + CHAINS <= states; i += CHAINS)
        UNROLL for (int c = 0; c < CHAINS; c++) UNROLL for (int w = 0; w < width; w++) {
            lanes column = load(matrix + (at + w * LANES) * states + (i + c) * LANES);
            UNROLL for (int r = 0; r < rows; r++) chains[c][r][w] += x[r * stride + i + c] * column;
        }
    UNROLL for (int c = 0; c < CHAINS - 1; c++) if (i + c < states)
        UNROLL for (int w = 0; w < width; w++) {
            lanes column = load(matrix + (at + w * LANES) * states + (i + c) * LANES);
            UNROLL for (int r = 0; r < rows; r++) chains[c][r][w] += x[r * stride + i + c] * column;
        }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int w = 0; w < width; w++)
        out[r][w] = (chains[0][r][w] + chains[1][r][w]) + (chains[2][r][w] + chains[3][r][w]);
}

typedef struct { /* of a sequence; logarithm: of all that x was divided by; allowed: error of a frame's probabilities */
    long first, frames;
    double logarithm, allowed;
    int uncertain;
} Progress;

/* Frames from to until - 1 of some sequences: x = P(state, frames so far) over a number of the frame's own.

   x: (rows, stride) of the frame before, and then of the last; spare: room for as much. alpha: where every x goes, or
   null. lost: (N) the most that underflow took from an entry of x, where alpha is. */
INLINE void forward(const long stride, const int rows, const Chain *chain, const double *likelihood, double *alpha,
                    double *lost, Progress *of, double *x, double *spare, long from, long until) {
    const long states = chain->states;
    const int width = rows == 1 && stride % (2 * LANES) == 0 ? 2 : 1;
    double *before = x, *now = spare;
    for (long t = from; t < until; t++) {
        lanes total[TILE], found[TILE][2];
        UNROLL for (int r = 0; r < rows; r++) total[r] = (lanes){0};
        for (long at = 0; at < stride; at += width * LANES) {
            if (t) product(rows, width, stride, states, before, chain->into, at, found);
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int w = 0; w < width; w++) {
                long column = at + w * LANES, row = (of[r].first + t) * states + column;
                lanes reached = t ? found[r][w] : load(chain->start + column);
                reached *= load_inside(likelihood + row, inside(chain, column));
                total[r] += reached;
                store(now + r * stride + column, reached);
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            double all = sum(total[r]), factor = 1;
            if (!(all >= SMALL)) {
                if (!(all >= FLOOR)) of[r].uncertain = 1;
                factor = 1 / all;
                for (long at = r * stride; at < (r + 1) * stride; at += LANES)
                    store(now + at, load(now + at) * factor);
                of[r].logarithm += log(all);
            }
            if (!alpha) continue;
            lost[of[r].first + t] = (states + 1) * DBL_MIN * factor;
            for (long at = 0, row = (of[r].first + t) * states; at < stride; at += LANES)
                store_inside(alpha + row + at, load(now + r * stride + at), inside(chain, at));
        }
        double *other = before;
        before = now, now = other;
    }
    if (before != x) memcpy(x, before, rows * stride * sizeof *x);
}

/* Steps from to until - 1 back from the end of some sequences, whose alphas are those of `forward`.

   u: (rows, stride) P(this frame and those after | state) over a number, of the frame after, and then of the last one
   gone to; z: room for as much. weights, posterior: see `forward_backward`. Where underflow may have lost a state that
   explains what follows so well that it would show, the sequence is marked uncertain. */
INLINE void backward(const long stride, const int rows, const Chain *chain, const double *likelihood,
                     const double *alpha, const double *lost, double *weights, double *posterior, Progress *of,
                     double *u, double *z, long from, long until) {
    const long states = chain->states;
    const int width = rows == 1 && stride % (2 * LANES) == 0 ? 2 : 1;
    lanes worst[TILE]; /* what underflow may have cost, in shares of a frame's whole probability */
    UNROLL for (int r = 0; r < rows; r++) worst[r] = (lanes){0};
    for (long back = from; back < until; back++) {
        lanes total[TILE], joint[TILE], found[TILE][2];
        UNROLL for (int r = 0; r < rows; r++) total[r] = joint[r] = (lanes){0};
        for (long at = 0; at < stride; at += width * LANES) {
            if (back) product(rows, width, stride, states, u, chain->across, at, found);
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int w = 0; w < width; w++) {
                long column = at + w * LANES, t = of[r].first + of[r].frames - 1 - back;
                lanes ahead = back ? found[r][w] : (lanes){0} + 1;
                total[r] += ahead;
                joint[r] += load_inside(alpha + t * states + column, inside(chain, column)) * ahead;
                store(z + r * stride + column, ahead);
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            long t = of[r].first + of[r].frames - 1 - back;
            double all = sum(total[r]), share = 1 / sum(joint[r]), factor = 1;
            if (all < SMALL) factor = 1 / all;
            if (!((states + 1) * DBL_MIN * share <= of[r].allowed && share > 0)) of[r].uncertain = 1;
            lanes doubtful = (lanes){0} + lost[t] * (1 / DBL_EPSILON), cost = (lanes){0} + lost[t] * share;
            for (long at = 0, row = t * states; at < stride; at += LANES) {
                marks here = inside(chain, at);
                lanes reached = load_inside(alpha + row + at, here), after = load(u + r * stride + at);
                lanes ahead = load(z + r * stride + at);
                worst[r] = larger(worst[r], either(reached < doubtful, ahead * cost, (lanes){0}));
                if (posterior) store_inside(posterior + row + at, reached * ahead * share, here);
                if (weights && back) store_inside(weights + row + states + at, after * share, here);
                store(u + r * stride + at, load_inside(likelihood + row + at, here) * (ahead * factor));
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < LANES; l++)
            if (!(worst[r][l] <= of[r].allowed)) of[r].uncertain = 1;
}

/* A processor takes a hundred times as long for numbers below the smallest normal one: here they are zero. */
static unsigned long flushing(void) {
#if defined(__SSE2__)
    unsigned long before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    unsigned long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1UL << 24));
    return before;
#else
    return 0;
#endif
}

static void as_before(unsigned long before) {
#if defined(__SSE2__)
    _mm_setcsr(before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

static double *room(long numbers) { return aligned_alloc(64, (numbers * sizeof(double) + 63) / 64 * 64); }

/* A table (S, S), or its transpose: LANES columns of all rows, then the next columns, so that a product reads in order. */
static double *panels(const double *table, long states, int transposed, double fill) {
    double *made = room((states + LANES - 1) / LANES * LANES * states), *to = made;
    for (long at = 0; made && at < states; at += LANES)
        for (long i = 0; i < states; i++)
            for (long j = at; j < at + LANES; j++)
                *to++ = j < states ? table[transposed ? j * states + i : i * states + j] : fill;
    return made;
}

/* Few states are worth loops of their own. */
#define ALL_STRIDES(FUNCTION, ...)                                                                                 \
    do {                                                                                                           \
        if (stride == LANES) FUNCTION(LANES, __VA_ARGS__);                                                         \
        else if (stride == 2 * LANES) FUNCTION(2 * LANES, __VA_ARGS__);                                            \
        else FUNCTION(stride, __VA_ARGS__);                                                                        \
    } while (0)

/* Up to TILE sequences: those that fill the tile in step while all have frames, then each alone. */
static void run(const Chain *chain, const double *likelihood, double *alpha, double *lost, double *weights,
                double *posterior, Progress *of, int count, double *x, double *spare, int onward) {
    const long stride = chain->stride;
    long together = 0;
    if (count == TILE) {
        together = of[0].frames;
        for (int r = 1; r < count; r++) together = LEAST(together, of[r].frames);
        if (onward) ALL_STRIDES(forward, TILE, chain, likelihood, alpha, lost, of, x, spare, 0, together);
        else
            ALL_STRIDES(backward, TILE, chain, likelihood, alpha, lost, weights, posterior, of, x, spare, 0, together);
    }
    for (int r = 0; r < count; r++) {
        Progress *one = of + r;
        double *own = x + r * stride;
        if (onward) ALL_STRIDES(forward, 1, chain, likelihood, alpha, lost, one, own, spare, together, one->frames);
        else
            ALL_STRIDES(backward, 1, chain, likelihood, alpha, lost, weights, posterior, one, own, spare, together,
                        one->frames);
    }
}

/* likelihood: (N, S) at most 1, in units of each frame's own, whose logarithms are offset (N), or null where they are 0.

   log_likelihood: (B) in nats. last: (B, S) P(state of the last frame | frames), or null. alpha: (N, S) room for
   P(state, frames so far) over a number of the frame's own; null where no transition is so improbable that a state
   could be lost for good. posterior: (N, S) P(state | sequence), or null; may be `alpha` itself. weights: (N, S), may
   be `likelihood` itself, or null: the transposed alphas times those of the frame after, times the transition
   probabilities, are the expected transitions. uncertain: (B) sequences that log space must do. Returns 1 without
   memory. */
int forward_backward(long sequences, const long *starts, long states, const double *start, const double *transition,
                     const double *likelihood, const double *offset, double *alpha, double *weights,
                     double *posterior, double *last, double *log_likelihood, uint8_t *uncertain, long threads) {
    const long stride = (states + LANES - 1) / LANES * LANES, frames = starts[sequences];
    double *first = room(stride), *lost = alpha ? room(frames) : 0;
    double *into = panels(transition, states, 0, 0), *across = panels(transition, states, 1, 0);
    Chain chain = {states, stride, first, into, across, last_lanes(states)};
    int failed = !first || !into || !across || (alpha && !lost);
    for (long i = 0; first && i < stride; i++) first[i] = i < states ? start[i] : 0;
    if (frames * states * states < WORTH_THREADS) threads = 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (long b = 0; b < sequences; b += TILE) {
        double *x = room(2 * TILE * stride), *spare = x + TILE * stride;
        if (!x || failed) {
            failed = 1;
            continue;
        }
        unsigned long before = flushing();
        Progress of[TILE];
        int count = LEAST(TILE, sequences - b);
        for (int r = 0; r < count; r++) {
            long own = starts[b + r + 1] - starts[b + r];
            of[r] = (Progress){starts[b + r], own, 0, DBL_EPSILON / ((double)own * states), 0};
        }
        run(&chain, likelihood, alpha, lost, 0, 0, of, count, x, spare, 1);
        for (int r = 0; r < count; r++) {
            double all = 0;
            for (long i = 0; i < states; i++) all += x[r * stride + i];
            for (long i = 0; last && i < states; i++) last[(b + r) * states + i] = x[r * stride + i] / all;
            double units = 0;
            for (long t = 0; offset && t < of[r].frames; t++) units += offset[of[r].first + t];
            log_likelihood[b + r] = of[r].logarithm + log(all) + units;
        }
        if (alpha) run(&chain, likelihood, alpha, lost, weights, posterior, of, count, x, spare, 0);
        for (int r = 0; r < count; r++) {
            uncertain[b + r] = of[r].uncertain;
            if (weights) memset(weights + of[r].first * states, 0, states * sizeof *weights);
        }
        as_before(before);
        free(x);
    }
    free(first), free(lost), free(into), free(across);
    return failed;
}

typedef struct { /* for each of some states: the best way to it, and the state that came from */
    lanes value;
    marks from;
} Best;

INLINE void consider(Best *best, long from, lanes value) {
    best->from = (marks)either(value >= best->value, (lanes)((marks){0} + from), (lanes)best->from);
    best->value = larger(value, best->value);
}

INLINE Best better(Best a, Best b) { /* of equal ones that from the higher state */
    marks second = (b.value > a.value) | ((b.value == a.value) & (b.from > a.from));
    return (Best){larger(a.value, b.value), (marks)either(second, (lanes)b.from, (lanes)a.from)};
}

/* The best path to each state at every frame. x: (2, stride) room, beginning with the first frame's ln P, ending with
   the last's in its first row. origin: (T, S) the state before. */
INLINE void best_paths(const long stride, const Chain *chain, const double *density, double *x, uint16_t *origin,
                       long frames) {
    const long states = chain->states;
    double *before = x, *now = x + stride;
    for (long t = 1; t < frames; t++) {
        for (long at = 0; at < stride; at += LANES) {
            const double *into = chain->into + at * states;
            Best best[CHAINS];
            UNROLL for (int c = 0; c < CHAINS; c++) best[c] = (Best){(lanes){0} - INFINITY, {0}};
            long i = 0;
            for (; i + CHAINS <= states; i += CHAINS)
                UNROLL for (int c = 0; c < CHAINS; c++)
                    consider(best + c, i + c, before[i + c] + load(into + (i + c) * LANES));
            UNROLL for (int c = 0; c < CHAINS - 1; c++)
                if (i + c < states) consider(best + c, i + c, before[i + c] + load(into + (i + c) * LANES));
            Best found = better(better(best[0], best[1]), better(best[2], best[3]));
            store(now + at, found.value + load_inside(density + t * states + at, inside(chain, at)));
            for (long l = 0; l < LEAST(LANES, states - at); l++) origin[t * states + at + l] = found.from[l];
        }
        double *other = before;
        before = now, now = other;
    }
    if (before != x) memcpy(x, before, stride * sizeof *x);
}

/* path: (N) the most probable states; of equal ways to a state that from the highest, of equal ends the lowest, as
   hmmlearn has it. value: (B) ln P(path, sequence). log_start, log_transition: logarithms. density: (N, S) in nats. */
int viterbi(long sequences, const long *starts, long states, const double *log_start, const double *log_transition,
            const double *density, int64_t *path, double *value, long threads) {
    const long stride = (states + LANES - 1) / LANES * LANES;
    double *into = panels(log_transition, states, 0, -INFINITY);
    Chain chain = {states, stride, log_start, into, 0, last_lanes(states)};
    int failed = !into;
    if (starts[sequences] * states * states < WORTH_THREADS) threads = 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (long b = 0; b < sequences; b++) {
        const long frames = starts[b + 1] - starts[b];
        const double *first = density + starts[b] * states;
        double *x = room(2 * stride);
        uint16_t *origin = malloc(frames * states * sizeof *origin);
        if (failed || !x || !origin) {
            failed = 1;
        } else {
            long now = 0;
            for (long i = 0; i < states; i++) x[i] = log_start[i] + first[i];
            ALL_STRIDES(best_paths, &chain, first, x, origin, frames);
            for (long i = 1; i < states; i++)
                if (x[i] > x[now]) now = i;
            value[b] = x[now];
            for (long t = frames - 1; t > 0; now = origin[t-- * states + now]) path[starts[b] + t] = now;
            path[starts[b]] = now;
        }
        free(x), free(origin);
    }
    free(into);
    return failed;
}

static double log_sum(const double *terms, long count) {
    double most = -INFINITY, total = 0;
    for (long i = 0; i < count; i++) most = terms[i] <= most ? most : terms[i];
    if (most == -INFINITY) return most;
    for (long i = 0; i < count; i++)
        if (!(terms[i] - most <= NEGLIGIBLE)) total += exp(terms[i] - most);
    return most + log(total);
}

/* One sequence of `logarithmic`. alpha: (T, S) room; counts: (S, S) to be filled; both rows of room: (S). */
static double in_logarithms(long states, long frames, const double *log_start, const double *log_transition,
                            const double *density, double *alpha, double *posterior, double *counts, double *terms,
                            double *ahead) {
    for (long i = 0; i < states; i++) alpha[i] = log_start[i] + density[i];
    for (long t = 1; t < frames; t++)
        for (long j = 0; j < states; j++) {
            for (long i = 0; i < states; i++)
                terms[i] = alpha[(t - 1) * states + i] + log_transition[i * states + j];
            alpha[t * states + j] = log_sum(terms, states) + density[t * states + j];
        }
    double total = log_sum(alpha + (frames - 1) * states, states);
    if (!posterior || total == -INFINITY) return total;
    for (long t = frames - 1; t >= 0; t--) {
        const double *here = alpha + t * states;
        double *shares = posterior + t * states;
        for (long i = 0; i < states; i++) {
            double beta = 0;
            if (t < frames - 1) {
                for (long j = 0; j < states; j++) {
                    terms[j] = log_transition[i * states + j] + ahead[j];
                    if (counts) counts[i * states + j] += exp(here[i] + terms[j] - total);
                }
                beta = log_sum(terms, states);
            }
            shares[i] = beta;
        }
        for (long i = 0; i < states; i++) {
            ahead[i] = density[t * states + i] + shares[i];
            shares[i] = exp(here[i] + shares[i] - total);
        }
    }
    return total;
}

/* As `forward_backward` with nothing lost, for S times the exponentials, of the sequences that `which` (B) marks.

   density: (N, S) in nats. counts: (S, S) expected transitions, which are added; the sequences' rows of weights become
   0. Either, posterior and last may be null. */
int logarithmic(long sequences, const long *starts, long states, const double *log_start,
                const double *log_transition, const double *density, const uint8_t *which, double *weights,
                double *posterior, double *last, double *counts, double *log_likelihood, long threads) {
    int failed = 0;
#pragma omp parallel for ordered schedule(dynamic, 1) num_threads(threads) if (threads > 1)
    for (long b = 0; b < sequences; b++) {
        const long frames = starts[b + 1] - starts[b], from = starts[b] * states, size = frames * states;
        double *alpha = which[b] ? room(size + 2 * states + states * states) : 0, *own = 0;
        if (which[b] && !alpha) failed = 1;
        if (alpha) {
            if (weights) memset(weights + from, 0, size * sizeof *weights);
            if (posterior) memset(posterior + from, 0, size * sizeof *posterior);
            if (counts) memset(own = alpha + size + 2 * states, 0, states * states * sizeof *own);
            double total = in_logarithms(states, frames, log_start, log_transition, density + from, alpha,
                                         posterior ? posterior + from : 0, own, alpha + size, alpha + size + states);
            log_likelihood[b] = total;
            for (long i = 0; last && i < states; i++) last[b * states + i] = exp(alpha[size - states + i] - total);
        }
#pragma omp ordered
        for (long i = 0; own && i < states * states; i++) counts[i] += own[i]; /* the same sum for any threads */
        free(alpha);
    }
    return failed;
}
