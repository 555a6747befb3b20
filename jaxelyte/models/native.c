/* The convolution of one layer on CPUs, as XLA calls it. `native.py` puts the numbers of the layer before this file:
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
 *   COLUMNS, COLUMNS_ROOM, CHANNELS_STEP  radial weights of an edge, with room, and the power of two that divides all channels
 *   OPERATIONS                          multiplications of an edge
 *   SOURCES, MIDS, DEGREES, MOMENTS     arrays of features, messages, harmonics; numbers of all moments of an atom
 *   SOURCE_WIDTH, MID_WIDTH             tables of them
 *   POWERS, HARMONICS(X)                products of the components of a direction, and X(degree, component, value, and its
 *                                       derivatives by x, y, z) made of them
 *   PATHS(X), PATHS_OF_DEGREE_n(X), EACH_DEGREE(X)  lists of X(source, 2 l1 + 1, degree, 2 l2 + 1, 2 l3 + 1, channels,
 *                                       first column, first moment, mid, channels of the mid, first channel, terms, count)
 *
 * An atom is worked on at a time, EDGES of its neighbours at a time, so that all numbers on the way stay in the cache.
 * Entries of the list whose index is no row of the features, and those beyond the cut-off, are skipped. Atoms are cut into
 * as many parts as XLA has threads; each part adds the gradient of the features to an array of its own, so results do not
 * depend on timing. */

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

typedef struct {
    signed char a, b, c;
    REAL value;
} term;

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

/* The function of the radial network and its derivative. */
INLINE wide act(wide x, wide *slope) {
#if SHIFTED_SOFTPLUS
    wide shrunk = exponential(choose(x < 0, x, -x)), one = 1 / (1 + shrunk), sigmoid = choose(x < 0, shrunk * one, one);
    *slope = ACT_SCALE * sigmoid;
    return ACT_SCALE * (choose(x > 0, x, (wide){0}) + logarithm(shrunk) - (REAL)0.69314718055994530942);
#else
    wide sigmoid = 1 / (1 + exponential(-x));
    *slope = ACT_SCALE * sigmoid * (1 + x * (1 - sigmoid));
    return ACT_SCALE * x * sigmoid;
#endif
}
#endif

typedef struct {
    int64_t atoms, neighbors, rows, knots; /* rows of the features */
    const REAL *vectors, *radial;          /* radial: frequencies and matrices, or the table */
    const int32_t *index;
    const REAL *features[SOURCES], *gradient[MIDS];
    REAL *messages[MIDS], *of_vectors, *of_features[SOURCES];
    REAL *private_features[SOURCES]; /* of part 1, the others follow */
    int parts;
} work;

/* What a part works with; the rows of `nothing` are read, those of `dump` written, where there is no edge. */
typedef struct {
#if !TABLE
    REAL values[HIDDEN + 1][EDGES][WIDEST_LAYER], slopes[HIDDEN + 1][EDGES][WIDEST_LAYER], of_values[2][EDGES][WIDEST_LAYER];
#endif
    REAL weights[EDGES][COLUMNS_ROOM], of_weights[EDGES][COLUMNS_ROOM];
    REAL moments[MOMENTS], nothing[SOURCE_MAX], dump[SOURCE_MAX];
    REAL unit[3][EDGES], square[EDGES], distance[EDGES], inverse[EDGES], of_vector[3][EDGES], of_distance[EDGES];
    REAL harmonics[DEGREES][DEGREE_MAX][EDGES], of_harmonics[DEGREES][DEGREE_MAX][EDGES];
    const REAL *features[SOURCES][EDGES];
    REAL *of_features[SOURCES][EDGES];
    int slots[EDGES];
} room;

INLINE REAL total_wide(wide x) {
    REAL sum = 0;
    for (int n = 0; n < WIDE; ++n) sum += x[n];
    return sum;
}

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

static void radial_forward(const work *w, room *r, int edges, const int backwards) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6];
        const REAL *rows = interval(w, r->distance[e], factors, 0);
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) *(wide *)(r->weights[e] + v) = interpolated(rows + v, factors);
    }
}

/* From gradients of the radial weights those of the distances. */
static void radial_backward(const work *w, room *r, int edges) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6];
        const REAL *rows = interval(w, r->distance[e], factors, 1);
        wide sum = (wide){0};
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) sum += *(wide *)(r->of_weights[e] + v) * interpolated(rows + v, factors);
        r->of_distance[e] = total_wide(sum);
    }
}
#else
/* x^n with whole n >= 0 */
INLINE REAL raised(REAL x, int n) {
    REAL y = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) y *= x;
    return y;
}

/* The radial basis, values[0], and its derivative, slopes[0]: Bessel functions times the envelope f. */
INLINE void embed(const work *w, room *r, int edges, const int backwards) {
    const REAL p = POWER, norm = 2 / R_MAX;
    REAL factor[EDGES], slope_of_factor[EDGES];
    for (int e = 0; e < edges; ++e) {
        REAL x = r->distance[e] / R_MAX, rest = 1 - x, power = WHOLE_POWER ? raised(x, WHOLE_POWER - 1) : POW(x, p - 1);
        REAL f = 1 - power * x * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)));
        REAL slope = -p * (p + 1) * (p + 2) / 2 * power * rest * rest / R_MAX;
        factor[e] = norm * f * r->inverse[e];
        slope_of_factor[e] = norm * (slope - f * r->inverse[e]) * r->inverse[e];
    }
    for (int e = 0; e < edges; ++e)
        for (int v = 0; v < BASIS_ROOM; v += WIDE) {
            wide frequency = *(const wide *)(w->radial + v), slope;
            wide s = sine(r->distance[e] / R_MAX * frequency, &slope);
            *(wide *)(r->values[0][e] + v) = s * factor[e];
            if (backwards)
                *(wide *)(r->slopes[0][e] + v) = slope * frequency * (factor[e] / R_MAX) + s * slope_of_factor[e];
        }
}

/* Radial weights of the edges; `backwards` also what radial_backward needs. */
INLINE void radial_forward(const work *w, room *r, int edges, const int backwards) {
    embed(w, r, edges, backwards);
#define HIDDEN_FORWARD(n, inputs, inputs_room, outputs, outputs_room, at, at_transposed)                             \
    product(inputs, outputs_room, r->values[n][0], WIDEST_LAYER, w->radial + at, r->values[n + 1][0], WIDEST_LAYER, edges); \
    for (int e = 0; e < edges; ++e)                                                                                  \
        for (int v = 0; v < outputs_room; v += WIDE) {                                                               \
            wide *x = (wide *)(r->values[n + 1][e] + v), slope;                                                      \
            *x = act(*x, &slope);                                                                                    \
            if (backwards) *(wide *)(r->slopes[n + 1][e] + v) = slope;                                               \
        }
    EACH_HIDDEN(HIDDEN_FORWARD)
    product(LAST_INPUTS, COLUMNS_ROOM, r->values[HIDDEN][0], WIDEST_LAYER, w->radial + LAST, r->weights[0], COLUMNS_ROOM,
            edges);
}

/* From gradients of the radial weights those of the distances. */
static void radial_backward(const work *w, room *r, int edges) {
    product(COLUMNS, TOP, r->of_weights[0], COLUMNS_ROOM, w->radial + LAST_TRANSPOSED, r->of_values[HIDDEN % 2][0],
            WIDEST_LAYER, edges);
#define HIDDEN_BACKWARD(n, inputs, inputs_room, outputs, outputs_room, at, at_transposed)                             \
    for (int e = 0; e < edges; ++e)                                                                                   \
        for (int v = 0; v < outputs_room; v += WIDE)                                                                  \
            *(wide *)(r->of_values[(n + 1) % 2][e] + v) *= *(wide *)(r->slopes[n + 1][e] + v);                        \
    product(outputs, inputs_room, r->of_values[(n + 1) % 2][0], WIDEST_LAYER, w->radial + at_transposed,              \
            r->of_values[n % 2][0], WIDEST_LAYER, edges);
    EACH_HIDDEN_BACKWARDS(HIDDEN_BACKWARD)
    for (int e = 0; e < edges; ++e) {
        wide sum = (wide){0};
        for (int v = 0; v < BASIS_ROOM; v += WIDE)
            sum += *(wide *)(r->of_values[0][e] + v) * *(wide *)(r->slopes[0][e] + v);
        r->of_distance[e] = total_wide(sum);
    }
}
#endif

/* The next edges of atom i from slot *from on, their directions and harmonics: how many there are, filled up to a multiple
 * of ROWS. */
static int next_edges(const work *w, room *r, int64_t i, int *from, int *filled, REAL *const *of_features) {
    int count = 0, slot = *from;
    for (; slot < w->neighbors && count < EDGES; ++slot) {
        int64_t at = i * w->neighbors + slot;
        int32_t j = w->index[at];
        if (j < 0 || j >= w->rows) continue;
        REAL square = 0;
        for (int c = 0; c < 3; ++c) {
            REAL x = w->vectors[3 * at + c];
            r->unit[c][count] = x;
            square += x * x;
        }
        if (square >= R_MAX * R_MAX) continue; /* but not what is no number */
        r->square[count] = square;
        r->slots[count] = slot;
        for (int s = 0; s < SOURCES; ++s) {
            r->features[s][count] = w->features[s] + (size_t)j * SOURCE_WIDTH[s];
            if (of_features) r->of_features[s][count] = of_features[s] + (size_t)j * SOURCE_WIDTH[s];
        }
        ++count;
    }
    *from = slot;
    *filled = (count + ROWS - 1) / ROWS * ROWS;
    for (int e = count; e < *filled; ++e) {
        r->square[e] = r->unit[0][e] = 1, r->unit[1][e] = r->unit[2][e] = 0;
        for (int s = 0; s < SOURCES; ++s) r->features[s][e] = r->nothing, r->of_features[s][e] = r->dump;
    }
    for (int e = 0; e < *filled; ++e) {
        r->distance[e] = SQRT(r->square[e]);
        r->inverse[e] = 1 / r->distance[e];
        for (int c = 0; c < 3; ++c) r->unit[c][e] *= r->inverse[e];
    }
    for (int e = 0; e < *filled; ++e) {
        POWERS
#define HARMONIC(degree, b, value, by_x, by_y, by_z) r->harmonics[degree][b][e] = value;
        HARMONICS(HARMONIC)
    }
    return count;
}

/* From gradients of distances and harmonics those of the vectors. */
static void geometry_backward(room *r, int edges) {
    for (int e = 0; e < edges; ++e) {
        POWERS
        REAL of_x = 0, of_y = 0, of_z = 0;
#define HARMONIC_BACKWARD(degree, b, value, by_x, by_y, by_z) \
    {                                                         \
        REAL of = r->of_harmonics[degree][b][e];              \
        of_x += of * (by_x), of_y += of * (by_y), of_z += of * (by_z); \
    }
        HARMONICS(HARMONIC_BACKWARD)
        REAL along = of_x * x1 + of_y * y1 + of_z * z1, inverse = r->inverse[e], of = r->of_distance[e] - along * inverse;
        r->of_vector[0][e] = of_x * inverse + of * x1;
        r->of_vector[1][e] = of_y * inverse + of * y1;
        r->of_vector[2][e] = of_z * inverse + of * z1;
    }
}

/* moments[a, v, b] += Σ_e Y[b] (R x)[a, v] */
INLINE void add_moments(room *r, int edges, int source, const int d1, int degree, const int d2, const int channels,
                        int column, int start) {
    for (int a = 0; a < d1; ++a)
        for (int v = 0; v < channels / LANES; ++v) {
            REAL *at = r->moments + start + (a * (channels / LANES) + v) * d2 * LANES;
            vec sum[d2];
            UNROLL for (int b = 0; b < d2; ++b) sum[b] = *(vec *)(at + b * LANES);
            for (int e = 0; e < edges; ++e) {
                vec product = *(vec *)(r->weights[e] + column + v * LANES) *
                              *(const vec *)(r->features[source][e] + a * channels + v * LANES);
                UNROLL for (int b = 0; b < d2; ++b) sum[b] += r->harmonics[degree][b][e] * product;
            }
            UNROLL for (int b = 0; b < d2; ++b) *(vec *)(at + b * LANES) = sum[b];
        }
}

/* message[c, u] += C[a, b, c] moments[a, b, u] */
INLINE void add_message(const room *r, REAL *message, const int d2, const int channels, int start, int width, int first,
                        const term *terms, int count) {
    for (int n = 0; n < count; ++n)
        for (int v = 0; v < channels / LANES; ++v) {
            const vec *moment =
                (const vec *)(r->moments + start + ((terms[n].a * (channels / LANES) + v) * d2 + terms[n].b) * LANES);
            *(vec *)(message + terms[n].c * width + first + v * LANES) += terms[n].value * *moment;
        }
}

/* gradient of the moments[a, b, u] = Σ_c C[a, b, c] gradient of the message[c, u] */
INLINE void add_of_moments(room *r, const REAL *gradient, const int d2, const int channels, int start, int width,
                           int first, const term *terms, int count) {
    for (int n = 0; n < count; ++n)
        for (int v = 0; v < channels / LANES; ++v) {
            vec *moment = (vec *)(r->moments + start + ((terms[n].a * (channels / LANES) + v) * d2 + terms[n].b) * LANES);
            *moment += terms[n].value * *(const vec *)(gradient + terms[n].c * width + first + v * LANES);
        }
}

/* Of TOGETHER edges: gradients of the path's weights and features; adds that of the harmonics to `of_y`. */
INLINE void path_backward(room *r, int e, int source, const int d1, const int d2, const int channels, int column,
                          int start, const vec (*y)[TOGETHER], vec (*of_y)[TOGETHER]) {
    for (int v = 0; v < channels / LANES; ++v) {
        vec weight[TOGETHER], of_weight[TOGETHER];
        UNROLL for (int t = 0; t < TOGETHER; ++t) {
            weight[t] = *(vec *)(r->weights[e + t] + column + v * LANES);
            of_weight[t] = (vec){0};
        }
        for (int a = 0; a < d1; ++a) {
            const vec *of_moment = (const vec *)(r->moments + start + (a * (channels / LANES) + v) * d2 * LANES);
            int at = a * channels + v * LANES;
            vec x[TOGETHER], product[TOGETHER], sum[TOGETHER];
            UNROLL for (int t = 0; t < TOGETHER; ++t) {
                x[t] = *(const vec *)(r->features[source][e + t] + at);
                product[t] = weight[t] * x[t];
                sum[t] = (vec){0};
            }
            UNROLL for (int b = 0; b < d2; ++b) {
                vec of = of_moment[b];
                UNROLL for (int t = 0; t < TOGETHER; ++t) {
                    of_y[b][t] += of * product[t];
                    sum[t] += of * y[b][t];
                }
            }
            UNROLL for (int t = 0; t < TOGETHER; ++t) {
                of_weight[t] += x[t] * sum[t];
                *(vec *)(r->of_features[source][e + t] + at) += weight[t] * sum[t];
            }
        }
        UNROLL for (int t = 0; t < TOGETHER; ++t) *(vec *)(r->of_weights[e + t] + column + v * LANES) = of_weight[t];
    }
}

INLINE REAL total(vec x) {
    REAL sum = 0;
    for (int n = 0; n < LANES; ++n) sum += x[n];
    return sum;
}

#define DEGREE_BACKWARD(degree, d2)                                                                             \
    static void degree_backward_##degree(room *r, int edges) {                                                  \
        for (int e = 0; e < edges; e += TOGETHER) {                                                             \
            vec y[d2][TOGETHER], of_y[d2][TOGETHER];                                                            \
            UNROLL for (int b = 0; b < d2; ++b) UNROLL for (int t = 0; t < TOGETHER; ++t) {                     \
                y[b][t] = (vec){0} + r->harmonics[degree][b][e + t];                                            \
                of_y[b][t] = (vec){0};                                                                          \
            }                                                                                                   \
            PATHS_OF_DEGREE_##degree(PATH_BACKWARD)                                                             \
            UNROLL for (int b = 0; b < d2; ++b) UNROLL for (int t = 0; t < TOGETHER; ++t)                       \
                r->of_harmonics[degree][b][e + t] = total(of_y[b][t]);                                          \
        }                                                                                                       \
    }
#define PATH_BACKWARD(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    path_backward(r, e, source, d1, d2, channels, column, start, y, of_y);
EACH_DEGREE(DEGREE_BACKWARD)

static room *make_room(void) {
    room *r = calloc(1, sizeof(room));
    if (!r) abort();
    return r;
}

static void forward_part(const work *w, int part) {
    room *r = make_room();
    int64_t end = w->atoms * (part + 1) / w->parts;
    for (int64_t i = w->atoms * part / w->parts; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
        for (int from = 0, edges; from < w->neighbors;) {
            if (!next_edges(w, r, i, &from, &edges, NULL)) continue;
            radial_forward(w, r, edges, 0);
#define PATH_FORWARD(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_moments(r, edges, source, d1, degree, d2, channels, column, start);
            PATHS(PATH_FORWARD)
        }
        for (int m = 0; m < MIDS; ++m) memset(w->messages[m] + i * MID_WIDTH[m], 0, MID_WIDTH[m] * sizeof(REAL));
#define PATH_MESSAGE(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_message(r, w->messages[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);
        PATHS(PATH_MESSAGE)
    }
    free(r);
}

static void backward_part(const work *w, int part) {
    room *r = make_room();
    REAL *of_features[SOURCES];
    for (int s = 0; s < SOURCES; ++s) {
        size_t size = (size_t)w->rows * SOURCE_WIDTH[s];
        of_features[s] = part ? w->private_features[s] + (part - 1) * size : w->of_features[s];
        memset(of_features[s], 0, size * sizeof(REAL));
    }
    int64_t start = w->atoms * part / w->parts, end = w->atoms * (part + 1) / w->parts;
    memset(w->of_vectors + start * w->neighbors * 3, 0, (end - start) * w->neighbors * 3 * sizeof(REAL));
    for (int64_t i = start; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
#define PATH_OF_MOMENTS(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_of_moments(r, w->gradient[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);
        PATHS(PATH_OF_MOMENTS)
        for (int from = 0, edges; from < w->neighbors;) {
            int count = next_edges(w, r, i, &from, &edges, of_features);
            if (!count) continue;
            radial_forward(w, r, edges, 1);
#define DEGREE(degree, d2) degree_backward_##degree(r, edges);
            EACH_DEGREE(DEGREE)
            radial_backward(w, r, edges);
            geometry_backward(r, edges);
            for (int e = 0; e < count; ++e)
                for (int c = 0; c < 3; ++c) w->of_vectors[(i * w->neighbors + r->slots[e]) * 3 + c] = r->of_vector[c][e];
        }
    }
    free(r);
}

/* Parts on XLA's threads. The caller takes parts as well, so nothing waits for a thread that never comes; a thread that
 * comes late finds none left, which is why the job may outlive the call. */
typedef struct {
    int next, done, users;
    void (*part)(const work *, int);
    const work *work;
    int parts;
} job;

static void leave(job *j) {
    if (__atomic_sub_fetch(&j->users, 1, __ATOMIC_ACQ_REL) == 0) free(j);
}

static void take_parts(job *j) {
    for (int part; (part = __atomic_fetch_add(&j->next, 1, __ATOMIC_ACQ_REL)) < j->parts;) {
        j->part(j->work, part);
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

static void run_parts(XLA_FFI_CallFrame *frame, const work *w, void (*part)(const work *, int)) {
    job *j = malloc(sizeof(job));
    if (!j) abort();
    *j = (job){0, 0, w->parts, part, w, w->parts};
    for (int n = 1; n < w->parts; ++n) {
        XLA_FFI_ThreadPool_Schedule_Args args = {XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE, NULL, frame->ctx, task, j};
        XLA_FFI_Error *error = frame->api->XLA_FFI_ThreadPool_Schedule(&args);
        if (error) destroy(frame->api, error), leave(j);
    }
    take_parts(j);
    while (__atomic_load_n(&j->done, __ATOMIC_ACQUIRE) < w->parts) sched_yield();
    leave(j);
}

/* True where XLA only asks which version of its interface this was built for. */
static int asked_for_version(XLA_FFI_CallFrame *frame) {
    XLA_FFI_Extension_Base *extension = frame->extension_start;
    if (!extension || extension->type != XLA_FFI_Extension_Metadata) return 0;
    XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return 1;
}

static void *argument(XLA_FFI_CallFrame *frame, int n) { return ((XLA_FFI_Buffer *)frame->args.args[n])->data; }
static void *result(XLA_FFI_CallFrame *frame, int n) { return ((XLA_FFI_Buffer *)frame->rets.rets[n])->data; }

static work read_work(XLA_FFI_CallFrame *frame) {
    work w = {0};
    int n = 3;
    int64_t *edges = ((XLA_FFI_Buffer *)frame->args.args[0])->dims;
    w.atoms = edges[0], w.neighbors = edges[1];
    w.vectors = argument(frame, 0), w.index = argument(frame, 1), w.radial = argument(frame, 2);
    w.knots = ((XLA_FFI_Buffer *)frame->args.args[2])->dims[0]; /* if it is a table */
    w.rows = ((XLA_FFI_Buffer *)frame->args.args[n])->dims[0];
    for (int s = 0; s < SOURCES; ++s) w.features[s] = argument(frame, n++);
    for (int m = 0; m < MIDS && n < frame->args.size; ++m) w.gradient[m] = argument(frame, n++);
    w.parts = threads(frame);
    /* Waking a thread takes as long as a million operations. */
    int64_t most = 1 + w.atoms * w.neighbors * OPERATIONS / 1000000;
    if (most > w.atoms) most = w.atoms;
    if (w.parts > most) w.parts = most < 1 ? 1 : (int)most;
    return w;
}

/* vectors, index, radial, features -> messages */
XLA_FFI_Error *convolution_forward(XLA_FFI_CallFrame *frame) {
    if (asked_for_version(frame) || frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return NULL;
    work w = read_work(frame);
    for (int m = 0; m < MIDS; ++m) w.messages[m] = result(frame, m);
    run_parts(frame, &w, forward_part);
    return NULL;
}

/* vectors, index, radial, features, gradients of the messages -> gradients of vectors and features */
XLA_FFI_Error *convolution_backward(XLA_FFI_CallFrame *frame) {
    if (asked_for_version(frame) || frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return NULL;
    work w = read_work(frame);
    int n = 0;
    w.of_vectors = result(frame, n++);
    for (int s = 0; s < SOURCES; ++s) w.of_features[s] = result(frame, n++);
    size_t row = 0;
    for (int s = 0; s < SOURCES; ++s) row += SOURCE_WIDTH[s];
    size_t size = (size_t)w.rows * row * sizeof(REAL);
    if (size && w.parts > (int)(1 + PRIVATE_BYTES / size)) w.parts = (int)(1 + PRIVATE_BYTES / size);
    REAL *more = NULL;
    while (w.parts > 1 && !(more = malloc(size * (w.parts - 1)))) w.parts /= 2;
    REAL *at = more;
    for (int s = 0; s < SOURCES && more; ++s) {
        w.private_features[s] = at;
        at += (size_t)w.rows * SOURCE_WIDTH[s] * (w.parts - 1);
    }
    run_parts(frame, &w, backward_part);
    for (int s = 0; s < SOURCES; ++s)
        for (int part = 1; part < w.parts; ++part) {
            size_t count = (size_t)w.rows * SOURCE_WIDTH[s];
            const REAL *from = w.private_features[s] + (part - 1) * count;
            for (size_t k = 0; k < count; ++k) w.of_features[s][k] += from[k];
        }
    free(more);
    return NULL;
}
