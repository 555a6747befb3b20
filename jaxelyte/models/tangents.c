/* The second stage of a training step, as XLA calls it; after `native.h`. The convolution of features x at vectors r together
 * with its tangent along given changes of both, and the gradient of the two with respect to the parameters of the radial
 * network, the features, and the changes of the features.
 *
 * With a table the first of these is the gradient with respect to the table.
 *
 * What is called moving is the tangent of what it stands beside. Gradients with respect to vectors are left to the reference. */

#define ATOMS 16 /* whose sums are made first; one sum over all edges would lose a digit in float32 */

/* What a part works with; the rows of `nothing` are read, those of `dump` written, where there is no edge. */
typedef struct {
    neighborhood near;
#if !TABLE
    /* Of the radial network by layer: values, derivative of the function, and its second derivative times the tangent of its
     * argument. */
    REAL values[HIDDEN + 1][EDGES][WIDEST_LAYER], moving_values[HIDDEN + 1][EDGES][WIDEST_LAYER];
    REAL slopes[HIDDEN + 1][EDGES][WIDEST_LAYER], bends[HIDDEN + 1][EDGES][WIDEST_LAYER];
    REAL of_values[2][EDGES][WIDEST_LAYER], of_moving_values[2][EDGES][WIDEST_LAYER];
    REAL of_radial[RADIAL]; /* of ATOMS at a time */
#endif
    REAL weights[EDGES][COLUMNS_ROOM], moving_weights[EDGES][COLUMNS_ROOM];
    REAL of_weights[EDGES][COLUMNS_ROOM], of_moving_weights[EDGES][COLUMNS_ROOM];
    REAL moments[MOMENTS], moving_moments[MOMENTS], nothing[SOURCE_MAX], dump[SOURCE_MAX];
    REAL speed[EDGES], moving_harmonics[DEGREES][DEGREE_MAX][EDGES]; /* speed: tangent of the distance */
    REAL *features[SOURCES][EDGES], *moving_features[SOURCES][EDGES];
    REAL *of_features[SOURCES][EDGES], *of_moving_features[SOURCES][EDGES];
} room;

/* Tangents of distances and harmonics. */
static void move_edges(const work *w, room *r, int64_t i, int count, int edges) {
    const neighborhood *near = &r->near;
    for (int e = 0; e < edges; ++e) {
        POWERS
        const REAL *moving = w->moving_vectors + 3 * (i * w->neighbors + near->slots[e]);
        REAL x = 0, y = 0, z = 0;
        if (e < count) x = moving[0], y = moving[1], z = moving[2];
        REAL along = r->speed[e] = x * x1 + y * y1 + z * z1;
        x = (x - along * x1) * near->inverse[e], y = (y - along * y1) * near->inverse[e], z = (z - along * z1) * near->inverse[e];
#define HARMONIC_MOVES(degree, b, value, by_x, by_y, by_z) \
    r->moving_harmonics[degree][b][e] = (by_x) * x + (by_y) * y + (by_z) * z;
        HARMONICS(HARMONIC_MOVES)
    }
}

#if TABLE
/* Radial weights of the edges and their tangents. */
static void radial_forward(const work *w, room *r, int edges, const int backwards) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6], slopes[6];
        const REAL *rows = interval(w, r->near.distance[e], factors, 0);
        interval(w, r->near.distance[e], slopes, 1);
        for (int n = 0; n < 6; ++n) slopes[n] *= r->speed[e];
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) {
            *(wide *)(r->weights[e] + v) = interpolated(rows + v, factors);
            *(wide *)(r->moving_weights[e] + v) = interpolated(rows + v, slopes);
        }
    }
}

/* From gradients of the radial weights and their tangents that of the table. */
static void radial_backward(const work *w, room *r, int edges, REAL *of_table) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6], slopes[6];
        REAL *rows = of_table + (interval(w, r->near.distance[e], factors, 0) - w->radial);
        interval(w, r->near.distance[e], slopes, 1);
        for (int n = 0; n < 6; ++n) slopes[n] *= r->speed[e];
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) {
            wide of = *(wide *)(r->of_weights[e] + v), of_moving = *(wide *)(r->of_moving_weights[e] + v);
            UNROLL for (int n = 0; n < 6; ++n)
                *(wide *)(rows + n * COLUMNS_ROOM + v) += factors[n] * of + slopes[n] * of_moving;
        }
    }
}
#else
/* The radial basis and its tangent: Bessel functions times the envelope. */
INLINE void embed(const work *w, room *r, int edges) {
    for (int e = 0; e < edges; ++e) {
        REAL slope_of_factor, factor = enveloped(r->near.distance[e], r->near.inverse[e], &slope_of_factor);
        for (int v = 0; v < BASIS_ROOM; v += WIDE) {
            wide frequency = *(const wide *)(w->radial + v), cosine, s = sine(r->near.distance[e] / R_MAX * frequency, &cosine);
            *(wide *)(r->values[0][e] + v) = s * factor;
            *(wide *)(r->moving_values[0][e] + v) =
                (cosine * frequency * (factor / R_MAX) + s * slope_of_factor) * r->speed[e];
        }
    }
}

/* Radial weights of the edges and their tangents; `backwards` also what radial_backward needs. */
INLINE void radial_forward(const work *w, room *r, int edges, const int backwards) {
    embed(w, r, edges);
#define HIDDEN_FORWARD(n, inputs, inputs_room, outputs, outputs_room, at, at_transposed)                                 \
    product(inputs, outputs_room, r->values[n][0], WIDEST_LAYER, w->radial + at, r->values[n + 1][0], WIDEST_LAYER, edges); \
    product(inputs, outputs_room, r->moving_values[n][0], WIDEST_LAYER, w->radial + at, r->moving_values[n + 1][0],      \
            WIDEST_LAYER, edges);                                                                                        \
    for (int e = 0; e < edges; ++e)                                                                                      \
        for (int v = 0; v < outputs_room; v += WIDE) {                                                                   \
            wide *x = (wide *)(r->values[n + 1][e] + v), *moving = (wide *)(r->moving_values[n + 1][e] + v);             \
            wide slope, curvature, value = act(*x, &slope, &curvature);                                                  \
            if (backwards) {                                                                                             \
                *(wide *)(r->slopes[n + 1][e] + v) = slope;                                                              \
                *(wide *)(r->bends[n + 1][e] + v) = curvature * *moving;                                                 \
            }                                                                                                            \
            *x = value;                                                                                                  \
            *moving *= slope;                                                                                            \
        }
    EACH_HIDDEN(HIDDEN_FORWARD)
    product(LAST_INPUTS, COLUMNS_ROOM, r->values[HIDDEN][0], WIDEST_LAYER, w->radial + LAST, r->weights[0], COLUMNS_ROOM,
            edges);
    product(LAST_INPUTS, COLUMNS_ROOM, r->moving_values[HIDDEN][0], WIDEST_LAYER, w->radial + LAST, r->moving_weights[0],
            COLUMNS_ROOM, edges);
}

/* sums[k] += Σ_e in[e][k] of[e] + moving[e][k] of_moving[e], for some rows k and vectors of the sums */
INLINE void outer_tile(const int rows, const int vectors, const int cols, const REAL *in, const REAL *moving, const int in_step,
                       const REAL *of, const REAL *of_moving, const int of_step, REAL *sums, int edges) {
    wide sum[rows][vectors];
    UNROLL for (int k = 0; k < rows; ++k) UNROLL for (int v = 0; v < vectors; ++v)
        sum[k][v] = *(const wide *)(sums + k * cols + v * WIDE);
    for (int e = 0; e < edges; ++e) {
        UNROLL for (int k = 0; k < rows; ++k) UNROLL for (int v = 0; v < vectors; ++v)
            sum[k][v] += in[e * in_step + k] * *(const wide *)(of + e * of_step + v * WIDE);
        UNROLL for (int k = 0; k < rows; ++k) UNROLL for (int v = 0; v < vectors; ++v)
            sum[k][v] += moving[e * in_step + k] * *(const wide *)(of_moving + e * of_step + v * WIDE);
    }
    UNROLL for (int k = 0; k < rows; ++k) UNROLL for (int v = 0; v < vectors; ++v)
        *(wide *)(sums + k * cols + v * WIDE) = sum[k][v];
}

INLINE void outer_rows(const int rows, const int cols, const REAL *in, const REAL *moving, const int in_step, const REAL *of,
                       const REAL *of_moving, const int of_step, REAL *sums, int edges) {
    int at = 0;
    for (; at + 4 * WIDE <= cols; at += 4 * WIDE)
        outer_tile(rows, 4, cols, in, moving, in_step, of + at, of_moving + at, of_step, sums + at, edges);
    for (; at < cols; at += WIDE)
        outer_tile(rows, 1, cols, in, moving, in_step, of + at, of_moving + at, of_step, sums + at, edges);
}

/* The gradient of a matrix: for all its rows. */
INLINE void outer(const int inner, const int cols, const REAL *in, const REAL *moving, const int in_step, const REAL *of,
                  const REAL *of_moving, const int of_step, REAL *sums, int edges) {
    int k = 0;
    for (; k + 4 <= inner; k += 4)
        outer_rows(4, cols, in + k, moving + k, in_step, of, of_moving, of_step, sums + k * cols, edges);
    for (; k < inner; ++k)
        outer_rows(1, cols, in + k, moving + k, in_step, of, of_moving, of_step, sums + k * cols, edges);
}

/* From gradients of the radial weights and their tangents those of matrices and frequencies. */
static void radial_backward(const work *w, room *r, int edges, REAL *of_radial) {
    outer(LAST_INPUTS, COLUMNS_ROOM, r->values[HIDDEN][0], r->moving_values[HIDDEN][0], WIDEST_LAYER, r->of_weights[0],
          r->of_moving_weights[0], COLUMNS_ROOM, of_radial + LAST, edges);
    product(COLUMNS, TOP, r->of_weights[0], COLUMNS_ROOM, w->radial + LAST_TRANSPOSED, r->of_values[HIDDEN % 2][0],
            WIDEST_LAYER, edges);
    product(COLUMNS, TOP, r->of_moving_weights[0], COLUMNS_ROOM, w->radial + LAST_TRANSPOSED,
            r->of_moving_values[HIDDEN % 2][0], WIDEST_LAYER, edges);
#define HIDDEN_BACKWARD(n, inputs, inputs_room, outputs, outputs_room, at, at_transposed)                               \
    for (int e = 0; e < edges; ++e)                                                                                     \
        for (int v = 0; v < outputs_room; v += WIDE) {                                                                  \
            wide *of = (wide *)(r->of_values[(n + 1) % 2][e] + v), *of_moving = (wide *)(r->of_moving_values[(n + 1) % 2][e] + v); \
            wide slope = *(wide *)(r->slopes[n + 1][e] + v);                                                            \
            *of = *of * slope + *of_moving * *(wide *)(r->bends[n + 1][e] + v);                                         \
            *of_moving *= slope;                                                                                        \
        }                                                                                                               \
    outer(inputs, outputs_room, r->values[n][0], r->moving_values[n][0], WIDEST_LAYER, r->of_values[(n + 1) % 2][0],    \
          r->of_moving_values[(n + 1) % 2][0], WIDEST_LAYER, of_radial + at, edges);                                    \
    product(outputs, inputs_room, r->of_values[(n + 1) % 2][0], WIDEST_LAYER, w->radial + at_transposed,                \
            r->of_values[n % 2][0], WIDEST_LAYER, edges);                                                               \
    product(outputs, inputs_room, r->of_moving_values[(n + 1) % 2][0], WIDEST_LAYER, w->radial + at_transposed,         \
            r->of_moving_values[n % 2][0], WIDEST_LAYER, edges);
    EACH_HIDDEN_BACKWARDS(HIDDEN_BACKWARD)
    for (int v = 0; v < BASIS_ROOM; v += WIDE) {
        wide frequency = *(const wide *)(w->radial + v), sum = *(wide *)(of_radial + v);
        for (int e = 0; e < edges; ++e) {
            REAL x = r->near.distance[e] / R_MAX, slope_of_factor;
            REAL factor = enveloped(r->near.distance[e], r->near.inverse[e], &slope_of_factor);
            wide cosine, s = sine(x * frequency, &cosine);
            wide moves = slope_of_factor * x * cosine + factor / R_MAX * (cosine - x * frequency * s);
            sum += *(wide *)(r->of_values[0][e] + v) * (factor * x * cosine);
            sum += *(wide *)(r->of_moving_values[0][e] + v) * moves * r->speed[e];
        }
        *(wide *)(of_radial + v) = sum;
    }
}
#endif

/* moments[a, v, b] += Σ_e Y[b] (R x)[a, v], and the tangent of it */
INLINE void add_moments(room *r, int edges, int source, const int d1, int degree, const int d2, const int channels,
                        int column, int start) {
    for (int a = 0; a < d1; ++a)
        for (int v = 0; v < channels / LANES; ++v) {
            int place = start + (a * (channels / LANES) + v) * d2 * LANES, at = a * channels + v * LANES;
            vec sum[d2], moving[d2];
            UNROLL for (int b = 0; b < d2; ++b) {
                sum[b] = *(vec *)(r->moments + place + b * LANES);
                moving[b] = *(vec *)(r->moving_moments + place + b * LANES);
            }
            for (int e = 0; e < edges; ++e) {
                vec weight = *(vec *)(r->weights[e] + column + v * LANES), x = *(vec *)(r->features[source][e] + at);
                vec product = weight * x, change = *(vec *)(r->moving_weights[e] + column + v * LANES) * x +
                                                   weight * *(vec *)(r->moving_features[source][e] + at);
                UNROLL for (int b = 0; b < d2; ++b) {
                    REAL y = r->near.harmonics[degree][b][e];
                    sum[b] += y * product;
                    moving[b] += y * change + r->moving_harmonics[degree][b][e] * product;
                }
            }
            UNROLL for (int b = 0; b < d2; ++b) {
                *(vec *)(r->moments + place + b * LANES) = sum[b];
                *(vec *)(r->moving_moments + place + b * LANES) = moving[b];
            }
        }
}

/* Of TOGETHER edges: gradients of the path's weights and their tangents, of features and their tangents. */
INLINE void path_backward(room *r, int e, int source, const int d1, const int d2, const int channels, int column,
                          int start, const vec (*y)[TOGETHER], const vec (*moving_y)[TOGETHER]) {
    for (int v = 0; v < channels / LANES; ++v) {
        vec of_weight[TOGETHER], of_moving_weight[TOGETHER];
        UNROLL for (int t = 0; t < TOGETHER; ++t) of_weight[t] = of_moving_weight[t] = (vec){0};
        for (int a = 0; a < d1; ++a) {
            int place = start + (a * (channels / LANES) + v) * d2 * LANES, at = a * channels + v * LANES;
            vec sum[TOGETHER], moving_sum[TOGETHER];
            UNROLL for (int t = 0; t < TOGETHER; ++t) sum[t] = moving_sum[t] = (vec){0};
            UNROLL for (int b = 0; b < d2; ++b) {
                vec of = *(vec *)(r->moments + place + b * LANES), of_moving = *(vec *)(r->moving_moments + place + b * LANES);
                UNROLL for (int t = 0; t < TOGETHER; ++t) {
                    sum[t] += of * y[b][t] + of_moving * moving_y[b][t];
                    moving_sum[t] += of_moving * y[b][t];
                }
            }
            UNROLL for (int t = 0; t < TOGETHER; ++t) {
                vec weight = *(vec *)(r->weights[e + t] + column + v * LANES);
                vec x = *(vec *)(r->features[source][e + t] + at);
                of_weight[t] += x * sum[t] + *(vec *)(r->moving_features[source][e + t] + at) * moving_sum[t];
                of_moving_weight[t] += x * moving_sum[t];
                *(vec *)(r->of_features[source][e + t] + at) +=
                    weight * sum[t] + *(vec *)(r->moving_weights[e + t] + column + v * LANES) * moving_sum[t];
                *(vec *)(r->of_moving_features[source][e + t] + at) += weight * moving_sum[t];
            }
        }
        UNROLL for (int t = 0; t < TOGETHER; ++t) {
            *(vec *)(r->of_weights[e + t] + column + v * LANES) = of_weight[t];
            *(vec *)(r->of_moving_weights[e + t] + column + v * LANES) = of_moving_weight[t];
        }
    }
}

#define DEGREE_BACKWARD(degree, d2)                                                                 \
    static void degree_backward_##degree(room *r, int edges) {                                      \
        for (int e = 0; e < edges; e += TOGETHER) {                                                 \
            vec y[d2][TOGETHER], moving_y[d2][TOGETHER];                                            \
            UNROLL for (int b = 0; b < d2; ++b) UNROLL for (int t = 0; t < TOGETHER; ++t) {         \
                y[b][t] = (vec){0} + r->near.harmonics[degree][b][e + t];                           \
                moving_y[b][t] = (vec){0} + r->moving_harmonics[degree][b][e + t];                  \
            }                                                                                       \
            PATHS_OF_DEGREE_##degree(PATH_BACKWARD)                                                 \
        }                                                                                           \
    }
#define PATH_BACKWARD(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    path_backward(r, e, source, d1, d2, channels, column, start, y, moving_y);
EACH_DEGREE(DEGREE_BACKWARD)

static int next_moving_edges(const work *w, room *r, int64_t i, int *from, int *edges) {
    int count = next_edges(w, &r->near, i, from, edges);
    if (!count) return 0;
    move_edges(w, r, i, count, *edges);
    for (int s = 0; s < SOURCES; ++s) {
        point(&r->near, *edges, s, w->features[s], r->nothing, r->features[s]);
        point(&r->near, *edges, s, w->moving_features[s], r->nothing, r->moving_features[s]);
    }
    return count;
}

static void forward_part(const work *w, int part, void *memory) {
    room *r = memory;
    int64_t end = w->atoms * (part + 1) / w->parts;
    for (int64_t i = w->atoms * part / w->parts; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
        memset(r->moving_moments, 0, sizeof r->moving_moments);
        for (int from = 0, edges; from < w->neighbors;) {
            if (!next_moving_edges(w, r, i, &from, &edges)) continue;
            radial_forward(w, r, edges, 0);
#define PATH_FORWARD(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_moments(r, edges, source, d1, degree, d2, channels, column, start);
            PATHS(PATH_FORWARD)
        }
        for (int m = 0; m < MIDS; ++m) {
            memset(w->messages[m] + i * MID_WIDTH[m], 0, MID_WIDTH[m] * sizeof(REAL));
            memset(w->moving_messages[m] + i * MID_WIDTH[m], 0, MID_WIDTH[m] * sizeof(REAL));
        }
#define PATH_MESSAGE(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count)               \
    add_message(r->moments, w->messages[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);     \
    add_message(r->moving_moments, w->moving_messages[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, \
                count);
        PATHS(PATH_MESSAGE)
    }
}

static void backward_part(const work *w, int part, void *memory) {
    room *r = memory;
    REAL *sums[MOST_SUMS];
    sums_of_part(w, part, sums);
    int64_t end = w->atoms * (part + 1) / w->parts;
    for (int64_t i = w->atoms * part / w->parts; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
        memset(r->moving_moments, 0, sizeof r->moving_moments);
#define PATH_OF_MOMENTS(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count)             \
    add_of_moments(r->moments, w->gradient[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);    \
    add_of_moments(r->moving_moments, w->moving_gradient[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, \
                   count);
        PATHS(PATH_OF_MOMENTS)
        for (int from = 0, edges; from < w->neighbors;) {
            if (!next_moving_edges(w, r, i, &from, &edges)) continue;
            for (int s = 0; s < SOURCES; ++s) {
                point(&r->near, edges, s, sums[1 + s], r->dump, r->of_features[s]);
                point(&r->near, edges, s, sums[1 + SOURCES + s], r->dump, r->of_moving_features[s]);
            }
            radial_forward(w, r, edges, 1);
#define DEGREE(degree, d2) degree_backward_##degree(r, edges);
            EACH_DEGREE(DEGREE)
#if TABLE
            radial_backward(w, r, edges, sums[0]);
        }
#else
            radial_backward(w, r, edges, r->of_radial);
        }
        if (i + 1 < end && (i + 1) % ATOMS) continue;
        for (size_t k = 0; k < RADIAL; ++k) sums[0][k] += r->of_radial[k], r->of_radial[k] = 0;
#endif
    }
}

static work read_moving(XLA_FFI_CallFrame *frame, int *n) {
    work w = read_work(frame, n);
    w.moving_vectors = argument(frame, (*n)++);
    for (int s = 0; s < SOURCES; ++s) w.moving_features[s] = argument(frame, (*n)++);
    return w;
}

/* vectors, index, radial, features, moving vectors, moving features -> messages, moving messages */
XLA_FFI_Error *convolution_tangent_forward(XLA_FFI_CallFrame *frame) {
    if (only_asked(frame)) return NULL;
    int n;
    work w = read_moving(frame, &n);
    for (int m = 0; m < MIDS; ++m) w.messages[m] = result(frame, m), w.moving_messages[m] = result(frame, MIDS + m);
    return run_parts(frame, &w, forward_part, sizeof(room));
}

/* the same, gradients of messages and of moving messages -> gradients of radial, of features, and of moving features */
XLA_FFI_Error *convolution_tangent_backward(XLA_FFI_CallFrame *frame) {
    if (only_asked(frame)) return NULL;
    int n;
    work w = read_moving(frame, &n);
    for (int m = 0; m < MIDS; ++m) w.gradient[m] = argument(frame, n++);
    for (int m = 0; m < MIDS; ++m) w.moving_gradient[m] = argument(frame, n++);
    add_to(&w, result(frame, 0), TABLE ? (size_t)w.knots * 3 * COLUMNS_ROOM : RADIAL);
    for (int s = 0; s < 2 * SOURCES; ++s) add_to(&w, result(frame, 1 + s), (size_t)w.rows * SOURCE_WIDTH[s % SOURCES]);
    return run_parts(frame, &w, backward_part, sizeof(room));
}
