/* What the programs of a convolution on CPUs share: vectors, products of matrices, functions of the radial network, edges of
 * an atom, threads. `library.py` puts the numbers of the layer before this file and the program after it:
 *
 *   REAL, REAL_BYTES                    the type of all numbers
 *   R_MAX, POWER, WHOLE_POWER           cut-off, and power of the envelope; WHOLE_POWER is 0 where it is no integer
 *   TABLE                               1 if radial weights are interpolated, 0 if the radial network makes them
 *   BASIS, BASIS_ROOM                   inputs of the radial network, with room
 *   HIDDEN, SHIFTED_SOFTPLUS, ACT_SCALE its hidden layers, their function (else silu), and what that is multiplied by
 *   ROOM_STEP, WIDEST_LAYER, TOP        rows of neurons are filled up with zeros to a multiple of it; room for a row, and for
 *                                       one of the last layer
 *   EACH_HIDDEN(X), EACH_HIDDEN_BACKWARDS(X)  X(n, inputs, room for inputs, outputs, room for outputs, offset, offset of the
 *                                       transposed matrix)
 *   LAST, LAST_TRANSPOSED, LAST_INPUTS  offsets of the last matrix, and its inputs
 *   RADIAL                              numbers of frequencies and matrices
 *   COLUMNS, COLUMNS_ROOM, CHANNELS_STEP  radial weights of an edge, with room, and the power of two that divides all channels
 *   OPERATIONS                          multiplications of an edge
 *   SOURCES, MIDS, DEGREES, MOMENTS     arrays of features, messages, harmonics; numbers of all moments of an atom
 *   SOURCE_WIDTH, MID_WIDTH             tables of them
 *   POWERS, HARMONICS(X)                products of the components of a direction, and X(degree, component, value, and its
 *                                       derivatives by x, y, z) made of them
 *   PATHS(X), PATHS_OF_DEGREE_n(X), EACH_DEGREE(X)  lists of X(source, 2 l1 + 1, degree, 2 l2 + 1, 2 l3 + 1, channels,
 *                                       first column, first moment, mid, channels of the mid, first channel, terms, count)
 *
 * and tables of `term`, the Clebsch-Gordan coefficients of each path.
 *
 * An atom is worked on at a time, EDGES of its neighbours at a time, so that all numbers on the way stay in the cache.
 * Entries of the list whose index is no row of the features, and those beyond the cut-off, are skipped. Atoms are cut into
 * as many parts as XLA has threads. What parts have in common, as the gradient of the features, each adds to an array of its
 * own, so results do not depend on timing. */

#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TOGETHER 2 /* edges that share a load backwards; 32 registers have room for two */
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TOGETHER 1
#else
#define VECTOR_BYTES 16
#define TOGETHER 1
#endif

/* Numbers of the widest vectors that divide the room for neurons, and the channels. */
#define WIDEST (VECTOR_BYTES / REAL_BYTES)
#define WIDE (ROOM_STEP < WIDEST ? ROOM_STEP : WIDEST)
#define LANES (CHANNELS_STEP < WIDEST ? CHANNELS_STEP : WIDEST)

typedef REAL wide __attribute__((vector_size(WIDE * REAL_BYTES), aligned(REAL_BYTES), may_alias));
typedef REAL vec __attribute__((vector_size(LANES * REAL_BYTES), aligned(REAL_BYTES), may_alias));
#if REAL_BYTES == 4
typedef int32_t whole;
#else
typedef int64_t whole;
#endif
typedef whole bits __attribute__((vector_size(WIDE * REAL_BYTES), may_alias));

#define ROWS 6 /* edges of a tile of a matrix product */
#define EDGES (COLUMNS <= 1024 ? 4 * ROWS : ROWS)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* out[e] = in[e] · matrix for `edges` rows; rows of the matrix are `cols` long, a multiple of the vector. */
INLINE void tile(const int inner, const int cols, const REAL *in, const int in_step, const REAL *matrix, REAL *out,
                 const int out_step, const int vectors) {
    wide sum[ROWS][2];
    UNROLL for (int e = 0; e < ROWS; ++e) UNROLL for (int v = 0; v < vectors; ++v) sum[e][v] = (wide){0};
    for (int k = 0; k < inner; ++k) {
        const REAL *row = matrix + k * cols;
        UNROLL for (int e = 0; e < ROWS; ++e) UNROLL for (int v = 0; v < vectors; ++v)
            sum[e][v] += in[e * in_step + k] * *(const wide *)(row + v * WIDE);
    }
    UNROLL for (int e = 0; e < ROWS; ++e) UNROLL for (int v = 0; v < vectors; ++v)
        *(wide *)(out + e * out_step + v * WIDE) = sum[e][v];
}

INLINE void product(const int inner, const int cols, const REAL *in, const int in_step, const REAL *matrix, REAL *out,
                    const int out_step, int edges) {
    for (int e = 0; e < edges; e += ROWS) {
        int at = 0;
        for (; at + 2 * WIDE <= cols; at += 2 * WIDE)
            tile(inner, cols, in + e * in_step, in_step, matrix + at, out + e * out_step + at, out_step, 2);
        for (; at < cols; at += WIDE)
            tile(inner, cols, in + e * in_step, in_step, matrix + at, out + e * out_step + at, out_step, 1);
    }
}

INLINE wide choose(bits first, wide x, wide y) { return (wide)(((bits)x & first) | ((bits)y & ~first)); }

/* 2^n exp(r) with |r| <= ln 2 / 2, by the Taylor series to the last digit; n is found in the last bits of x / ln 2 + SHIFT. */
static const REAL over_factorial[] = {
    1, 1, 1. / 2., 1. / 6., 1. / 24., 1. / 120., 1. / 720., 1. / 5040., 1. / 40320., 1. / 362880., 1. / 3628800.,
    1. / 39916800., 1. / 479001600., 1. / 6227020800., 1. / 87178291200., 1. / 1307674368000.,
    1. / 20922789888000., 1. / 355687428096000., 1. / 6402373705728000., 1. / 121645100408832000.,
    1. / 2432902008176640000., 1. / 51090942171709440000., 1. / 1124000727777607680000.,
    1. / 25852016738884976640000., 1. / 620448401733239439360000., 1. / 15511210043330985984000000.};

INLINE wide exponential(wide x) {
#if REAL_BYTES == 4
    const REAL shift = 0x1.8p23f, high = 0x1.62ep-1f, low = 0x1.0bfbe8p-15f, limit = 87;
    const int mantissa = 23, bias = 127, order = 7;
#else
    const REAL shift = 0x1.8p52, high = 0x1.62e42feep-1, low = 0x1.a39ef35793c76p-33, limit = 708;
    const int mantissa = 52, bias = 1023, order = 13;
#endif
    x = choose(x < -limit, (wide){0} - limit, choose(x > limit, (wide){0} + limit, x));
    wide shifted = x * (REAL)1.44269504088896340736 + shift;
    wide n = shifted - shift, r = x - n * high - n * low, sum = (wide){0};
    UNROLL for (int k = order; k >= 0; --k) sum = sum * r + over_factorial[k];
    bits power = ((bits)shifted << mantissa) + ((whole)bias << mantissa);
    return sum * (wide)power;
}

/* ln(1 + u) for 0 <= u <= 1, as twice the area tangent of u / (2 + u). */
INLINE wide logarithm(wide u) {
    const int order = REAL_BYTES == 4 ? 8 : 17;
    wide s = u / (2 + u), square = s * s, sum = (wide){0};
    UNROLL for (int k = order; k >= 0; --k) sum = (REAL)1 / (2 * k + 1) + sum * square;
    return 2 * s * sum;
}

#if REAL_BYTES == 4
#define SQRT sqrtf
#define POW powf
#else
#define SQRT sqrt
#define POW pow
#endif

#if !TABLE
/* sin x and its derivative for |x| up to some hundred periods; pi in three parts, of which multiples of the first are exact. */
INLINE wide sine(wide x, wide *slope) {
#if REAL_BYTES == 4
    const REAL shift = 0x1.8p23f;
    const int order = 7, sign_bit = 31;
#else
    const REAL shift = 0x1.8p52;
    const int order = 12, sign_bit = 63;
#endif
    wide shifted = x * (REAL)0.31830988618379067154, n = (shifted += shift) - shift;
    wide rest = x - n * (REAL)3.140625 - n * (REAL)9.67653589793116e-4 - n * (REAL)1.2246467991473532e-16;
    wide square = rest * rest, odd = (wide){0}, even = (wide){0};
    UNROLL for (int k = order; k >= 0; --k) {
        REAL sign = k % 2 ? -1 : 1;
        odd = odd * square + sign * over_factorial[2 * k + 1];
        even = even * square + sign * over_factorial[2 * k];
    }
    bits flip = (bits)shifted << sign_bit;
    *slope = (wide)((bits)even ^ flip);
    return (wide)((bits)(rest * odd) ^ flip);
}

/* The function of the radial network and its first two derivatives. */
INLINE wide act(wide x, wide *slope, wide *curvature) {
#if SHIFTED_SOFTPLUS
    wide shrunk = exponential(choose(x < 0, x, -x)), one = 1 / (1 + shrunk), sigmoid = choose(x < 0, shrunk * one, one);
    *slope = ACT_SCALE * sigmoid;
    *curvature = ACT_SCALE * shrunk * one * one;
    return ACT_SCALE * (choose(x > 0, x, (wide){0}) + logarithm(shrunk) - (REAL)0.69314718055994530942);
#else
    wide sigmoid = 1 / (1 + exponential(-x)), rest = 1 - sigmoid;
    *slope = ACT_SCALE * sigmoid * (1 + x * rest);
    *curvature = ACT_SCALE * sigmoid * rest * (2 + x * (rest - sigmoid));
    return ACT_SCALE * x * sigmoid;
#endif
}

/* x^n with whole n >= 0 */
INLINE REAL raised(REAL x, int n) {
    REAL y = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) y *= x;
    return y;
}

/* What the Bessel functions sin(w d / R_MAX) are multiplied by at distance d, the envelope and 2 / (R_MAX d), and its derivative. */
INLINE REAL enveloped(REAL distance, REAL inverse, REAL *slope) {
    const REAL p = POWER, norm = 2 / R_MAX;
    REAL x = distance / R_MAX, rest = 1 - x, power = WHOLE_POWER ? raised(x, WHOLE_POWER - 1) : POW(x, p - 1);
    REAL f = 1 - power * x * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)));
    REAL slope_of_f = -p * (p + 1) * (p + 2) / 2 * power * rest * rest / R_MAX;
    *slope = norm * (slope_of_f - f * inverse) * inverse;
    return norm * f * inverse;
}
#endif

#define MOST_SUMS (2 * SOURCES + 1)

typedef struct {
    int64_t atoms, neighbors, rows, knots; /* rows of the features */
    const REAL *vectors, *radial;          /* radial: frequencies and matrices, or the table */
    const int32_t *index;
    const REAL *features[SOURCES], *gradient[MIDS];
    REAL *messages[MIDS], *of_vectors;
    /* The same for the tangents of vectors, features and messages. */
    const REAL *moving_vectors, *moving_features[SOURCES], *moving_gradient[MIDS];
    REAL *moving_messages[MIDS];
    /* Arrays that all parts add to, and their sizes; those of all parts but the first lie one after the other. */
    REAL *sums[MOST_SUMS], *private_sums;
    size_t sizes[MOST_SUMS], size_of_sums;
    int count_of_sums, parts;
} work;

#if TABLE
/* The quintic through values and two derivatives at both ends of an interval: where its six rows are, and their factors,
 * or those of the derivative. Knots lie at 1, 2, ... knots times the step; the last is the cut-off. */
INLINE const REAL *interval(const work *w, REAL distance, REAL *factors, const int derivative) {
    REAL per_step = w->knots / R_MAX, place = distance * per_step - 1;
    int k = place > 0 ? (place < w->knots - 2 ? (int)place : (int)w->knots - 2) : 0; /* also where it is no number */
    REAL t = place - k, s = t * t;
    if (derivative) {
        factors[0] = per_step * s * (-30 + t * (60 - 30 * t));
        factors[1] = per_step * (1 + s * (-18 + t * (32 - 15 * t)));
        factors[2] = per_step * t * (1 + t * ((REAL)-4.5 + t * (6 - (REAL)2.5 * t)));
        factors[3] = -factors[0];
        factors[4] = per_step * s * (-12 + t * (28 - 15 * t));
        factors[5] = per_step * s * ((REAL)1.5 + t * (-4 + (REAL)2.5 * t));
    } else {
        factors[3] = s * t * (10 + t * (-15 + 6 * t));
        factors[0] = 1 - factors[3];
        factors[1] = t * (1 + s * (-6 + t * (8 - 3 * t)));
        factors[2] = (REAL)0.5 * s * (1 + t * (-3 + t * (3 - t)));
        factors[4] = s * t * (-4 + t * (7 - 3 * t));
        factors[5] = (REAL)0.5 * s * t * (1 + t * (-2 + t));
    }
    return w->radial + (size_t)k * 3 * COLUMNS_ROOM;
}

INLINE wide interpolated(const REAL *rows, const REAL *factors) {
    wide sum = factors[0] * *(const wide *)rows;
    UNROLL for (int n = 1; n < 6; ++n) sum += factors[n] * *(const wide *)(rows + n * COLUMNS_ROOM);
    return sum;
}
#endif

/* Where a part adds to the sums: zeros to begin with. */
static void sums_of_part(const work *w, int part, REAL **sums) {
    REAL *at = part ? w->private_sums + (part - 1) * w->size_of_sums : NULL;
    for (int n = 0; n < w->count_of_sums; ++n) {
        sums[n] = part ? at : w->sums[n];
        memset(sums[n], 0, w->sizes[n] * sizeof(REAL));
        if (part) at += w->sizes[n];
    }
}

/* Some edges of an atom: slots of the list, rows of the features (-1 where there is no edge), directions, harmonics. */
typedef struct {
    int slots[EDGES];
    int32_t rows[EDGES];
    REAL unit[3][EDGES], square[EDGES], distance[EDGES], inverse[EDGES];
    REAL harmonics[DEGREES][DEGREE_MAX][EDGES];
} neighborhood;

/* The next edges of atom i from slot *from on: how many there are, filled up to a multiple of ROWS. */
static int next_edges(const work *w, neighborhood *near, int64_t i, int *from, int *filled) {
    int count = 0, slot = *from;
    for (; slot < w->neighbors && count < EDGES; ++slot) {
        int64_t at = i * w->neighbors + slot;
        int32_t j = w->index[at];
        if (j < 0 || j >= w->rows) continue;
        REAL square = 0;
        for (int c = 0; c < 3; ++c) {
            REAL x = w->vectors[3 * at + c];
            near->unit[c][count] = x;
            square += x * x;
        }
        if (square >= R_MAX * R_MAX) continue; /* but not what is no number */
        near->square[count] = square;
        near->slots[count] = slot;
        near->rows[count++] = j;
    }
    *from = slot;
    *filled = (count + ROWS - 1) / ROWS * ROWS;
    for (int e = count; e < *filled; ++e) {
        near->square[e] = near->unit[0][e] = 1, near->unit[1][e] = near->unit[2][e] = 0;
        near->rows[e] = -1;
    }
    for (int e = 0; e < *filled; ++e) {
        near->distance[e] = SQRT(near->square[e]);
        near->inverse[e] = 1 / near->distance[e];
        for (int c = 0; c < 3; ++c) near->unit[c][e] *= near->inverse[e];
    }
    for (int e = 0; e < *filled; ++e) {
        POWERS
#define HARMONIC(degree, b, value, by_x, by_y, by_z) near->harmonics[degree][b][e] = value;
        HARMONICS(HARMONIC)
    }
    return count;
}

/* Rows of features, or of their gradient, that belong to the edges; `nothing` where there is none. */
INLINE void point(const neighborhood *near, int edges, int source, const REAL *all, REAL *nothing, REAL **rows) {
    for (int e = 0; e < edges; ++e)
        rows[e] = near->rows[e] < 0 ? nothing : (REAL *)all + (size_t)near->rows[e] * SOURCE_WIDTH[source];
}

/* message[c, u] += C[a, b, c] moments[a, b, u] */
INLINE void add_message(const REAL *moments, REAL *message, const int d2, const int channels, int start, int width, int first,
                        const term *terms, int count) {
    for (int n = 0; n < count; ++n)
        for (int v = 0; v < channels / LANES; ++v) {
            const vec *moment =
                (const vec *)(moments + start + ((terms[n].a * (channels / LANES) + v) * d2 + terms[n].b) * LANES);
            *(vec *)(message + terms[n].c * width + first + v * LANES) += terms[n].value * *moment;
        }
}

/* gradient of the moments[a, b, u] = Σ_c C[a, b, c] gradient of the message[c, u] */
INLINE void add_of_moments(REAL *moments, const REAL *gradient, const int d2, const int channels, int start, int width,
                           int first, const term *terms, int count) {
    for (int n = 0; n < count; ++n)
        for (int v = 0; v < channels / LANES; ++v) {
            vec *moment = (vec *)(moments + start + ((terms[n].a * (channels / LANES) + v) * d2 + terms[n].b) * LANES);
            *moment += terms[n].value * *(const vec *)(gradient + terms[n].c * width + first + v * LANES);
        }
}

/* Parts on XLA's threads. The caller takes parts as well, so nothing waits for a thread that never comes; a thread that
 * comes late finds none left, which is why the job may outlive the call. */
typedef struct {
    int next, done, users;
    void (*part)(const work *, int, void *);
    const work *work;
    char *rooms;
    size_t room;
    int parts;
} job;

/* Zeros; an option of the compiler can put another function here. */
#ifndef ALLOCATE
#define ALLOCATE(bytes) calloc(1, bytes)
#endif

#define ALIGNMENT 64 /* a line of the cache */

static void leave(job *j) {
    if (__atomic_sub_fetch(&j->users, 1, __ATOMIC_ACQ_REL) == 0) free(j);
}

static void take_parts(job *j) {
    for (int part; (part = __atomic_fetch_add(&j->next, 1, __ATOMIC_ACQ_REL)) < j->parts;) {
        j->part(j->work, part, j->rooms + part * j->room);
        __atomic_add_fetch(&j->done, 1, __ATOMIC_ACQ_REL);
    }
}

static void task(void *data) {
    take_parts(data);
    leave(data);
}

static void destroy(const XLA_FFI_Api *api, XLA_FFI_Error *error) {
    XLA_FFI_Error_Destroy_Args args = {XLA_FFI_Error_Destroy_Args_STRUCT_SIZE, NULL, error};
    api->XLA_FFI_Error_Destroy(&args);
}

static int threads(XLA_FFI_CallFrame *frame) {
    int64_t count = 1;
    XLA_FFI_ThreadPool_NumThreads_Args args = {XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE, NULL, frame->ctx, &count};
    XLA_FFI_Error *error = frame->api->XLA_FFI_ThreadPool_NumThreads(&args);
    if (error) destroy(frame->api, error);
    return error || count < 1 ? 1 : (int)count;
}

static XLA_FFI_Error *no_memory(XLA_FFI_CallFrame *frame) {
    XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, NULL,
                                      "no memory is left for the convolution of a network",
                                      XLA_FFI_Error_Code_RESOURCE_EXHAUSTED};
    return frame->api->XLA_FFI_Error_Create(&args);
}

/* Run the parts, each in a room of its own; with fewer parts where memory for so many is not there. */
static XLA_FFI_Error *run_parts(XLA_FFI_CallFrame *frame, work *w, void (*part)(const work *, int, void *), size_t room) {
    room = (room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t most = 1 + PRIVATE_BYTES / (1 + w->size_of_sums * sizeof(REAL));
    if (w->size_of_sums && (size_t)w->parts > most) w->parts = (int)most;
    char *memory = NULL;
    for (;; w->parts /= 2) {
        size_t sums = (w->parts - 1) * w->size_of_sums * sizeof(REAL);
        memory = ALLOCATE(w->parts * room + sums + ALIGNMENT);
        if (memory) break;
        if (w->parts == 1) return no_memory(frame);
    }
    char *rooms = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
    w->private_sums = (REAL *)(rooms + w->parts * room);
    job *j = w->parts > 1 ? ALLOCATE(sizeof(job)) : NULL;
    if (j) {
        *j = (job){0, 0, w->parts, part, w, rooms, room, w->parts};
        for (int n = 1; n < w->parts; ++n) {
            XLA_FFI_ThreadPool_Schedule_Args args = {XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE, NULL, frame->ctx, task, j};
            XLA_FFI_Error *error = frame->api->XLA_FFI_ThreadPool_Schedule(&args);
            if (error) destroy(frame->api, error), leave(j);
        }
        take_parts(j);
        while (__atomic_load_n(&j->done, __ATOMIC_ACQUIRE) < w->parts) sched_yield();
        leave(j);
    } else {
        for (int n = 0; n < w->parts; ++n) part(w, n, rooms + n * room);
    }
    const REAL *from = w->private_sums;
    for (int n = 1; n < w->parts; ++n)
        for (int s = 0; s < w->count_of_sums; from += w->sizes[s++])
            for (size_t k = 0; k < w->sizes[s]; ++k) w->sums[s][k] += from[k];
    free(memory);
    return NULL;
}

/* True where XLA only asks which version of its interface this was built for, or is not about to run anything. */
static int only_asked(XLA_FFI_CallFrame *frame) {
    XLA_FFI_Extension_Base *extension = frame->extension_start;
    if (extension && extension->type == XLA_FFI_Extension_Metadata) {
        XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
        metadata->api_version.major_version = XLA_FFI_API_MAJOR;
        metadata->api_version.minor_version = XLA_FFI_API_MINOR;
        return 1;
    }
    return frame->stage != XLA_FFI_ExecutionStage_EXECUTE;
}

static void *argument(XLA_FFI_CallFrame *frame, int n) { return ((XLA_FFI_Buffer *)frame->args.args[n])->data; }
static void *result(XLA_FFI_CallFrame *frame, int n) { return ((XLA_FFI_Buffer *)frame->rets.rets[n])->data; }
static int64_t length(XLA_FFI_CallFrame *frame, int n) { return ((XLA_FFI_Buffer *)frame->args.args[n])->dims[0]; }

static void add_to(work *w, REAL *sum, size_t size) {
    w->sums[w->count_of_sums] = sum;
    w->sizes[w->count_of_sums++] = size;
    w->size_of_sums += size;
}

/* The first arguments of all programs: vectors, index, radial, features; *n is the number of the next one. */
static work read_work(XLA_FFI_CallFrame *frame, int *n) {
    work w = {0};
    int64_t *edges = ((XLA_FFI_Buffer *)frame->args.args[0])->dims;
    w.atoms = edges[0], w.neighbors = edges[1];
    w.vectors = argument(frame, 0), w.index = argument(frame, 1), w.radial = argument(frame, 2);
    w.knots = length(frame, 2); /* if it is a table */
    w.rows = length(frame, 3);
    *n = 3;
    for (int s = 0; s < SOURCES; ++s) w.features[s] = argument(frame, (*n)++);
    w.parts = threads(frame);
    /* Waking a thread takes as long as a million operations. */
    int64_t most = 1 + w.atoms * w.neighbors * OPERATIONS / 1000000;
    if (most > w.atoms) most = w.atoms;
    if (w.parts > most) w.parts = most < 1 ? 1 : (int)most;
    return w;
}
