/* The convolution of one layer and its gradient with respect to vectors and features, as XLA calls them; after `native.h`. */

/* What a part works with; the rows of `nothing` are read, those of `dump` written, where there is no edge. */
typedef struct {
    neighborhood near;
#if !TABLE
    REAL values[HIDDEN + 1][EDGES][WIDEST_LAYER], slopes[HIDDEN + 1][EDGES][WIDEST_LAYER], of_values[2][EDGES][WIDEST_LAYER];
#endif
    REAL weights[EDGES][COLUMNS_ROOM], of_weights[EDGES][COLUMNS_ROOM];
    REAL moments[MOMENTS], nothing[SOURCE_MAX], dump[SOURCE_MAX];
    REAL of_vector[3][EDGES], of_distance[EDGES], of_harmonics[DEGREES][DEGREE_MAX][EDGES];
    REAL *features[SOURCES][EDGES], *of_features[SOURCES][EDGES];
} room;

INLINE REAL total_wide(wide x) {
    REAL sum = 0;
    for (int n = 0; n < WIDE; ++n) sum += x[n];
    return sum;
}

#if TABLE
static void radial_forward(const work *w, room *r, int edges, const int backwards) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6];
        const REAL *rows = interval(w, r->near.distance[e], factors, 0);
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) *(wide *)(r->weights[e] + v) = interpolated(rows + v, factors);
    }
}

/* From gradients of the radial weights those of the distances. */
static void radial_backward(const work *w, room *r, int edges) {
    for (int e = 0; e < edges; ++e) {
        REAL factors[6];
        const REAL *rows = interval(w, r->near.distance[e], factors, 1);
        wide sum = (wide){0};
        for (int v = 0; v < COLUMNS_ROOM; v += WIDE) sum += *(wide *)(r->of_weights[e] + v) * interpolated(rows + v, factors);
        r->of_distance[e] = total_wide(sum);
    }
}
#else
/* The radial basis, values[0], and its derivative, slopes[0]: Bessel functions times the envelope f. */
INLINE void embed(const work *w, room *r, int edges, const int backwards) {
    REAL factor[EDGES], slope_of_factor[EDGES];
    for (int e = 0; e < edges; ++e) factor[e] = enveloped(r->near.distance[e], r->near.inverse[e], &slope_of_factor[e]);
    for (int e = 0; e < edges; ++e)
        for (int v = 0; v < BASIS_ROOM; v += WIDE) {
            wide frequency = *(const wide *)(w->radial + v), slope;
            wide s = sine(r->near.distance[e] / R_MAX * frequency, &slope);
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
            wide *x = (wide *)(r->values[n + 1][e] + v), slope, unused;                                              \
            *x = act(*x, &slope, &unused);                                                                           \
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

/* From gradients of distances and harmonics those of the vectors. */
static void geometry_backward(room *r, int edges) {
    for (int e = 0; e < edges; ++e) {
        const neighborhood *near = &r->near;
        POWERS
        REAL of_x = 0, of_y = 0, of_z = 0;
#define HARMONIC_BACKWARD(degree, b, value, by_x, by_y, by_z) \
    {                                                         \
        REAL of = r->of_harmonics[degree][b][e];              \
        of_x += of * (by_x), of_y += of * (by_y), of_z += of * (by_z); \
    }
        HARMONICS(HARMONIC_BACKWARD)
        REAL along = of_x * x1 + of_y * y1 + of_z * z1, inverse = r->near.inverse[e], of = r->of_distance[e] - along * inverse;
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
                UNROLL for (int b = 0; b < d2; ++b) sum[b] += r->near.harmonics[degree][b][e] * product;
            }
            UNROLL for (int b = 0; b < d2; ++b) *(vec *)(at + b * LANES) = sum[b];
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
                y[b][t] = (vec){0} + r->near.harmonics[degree][b][e + t];                                            \
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

static void forward_part(const work *w, int part, void *memory) {
    room *r = memory;
    int64_t end = w->atoms * (part + 1) / w->parts;
    for (int64_t i = w->atoms * part / w->parts; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
        for (int from = 0, edges; from < w->neighbors;) {
            if (!next_edges(w, &r->near, i, &from, &edges)) continue;
            for (int s = 0; s < SOURCES; ++s) point(&r->near, edges, s, w->features[s], r->nothing, r->features[s]);
            radial_forward(w, r, edges, 0);
#define PATH_FORWARD(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_moments(r, edges, source, d1, degree, d2, channels, column, start);
            PATHS(PATH_FORWARD)
        }
        for (int m = 0; m < MIDS; ++m) memset(w->messages[m] + i * MID_WIDTH[m], 0, MID_WIDTH[m] * sizeof(REAL));
#define PATH_MESSAGE(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_message(r->moments, w->messages[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);
        PATHS(PATH_MESSAGE)
    }
}

static void backward_part(const work *w, int part, void *memory) {
    room *r = memory;
    REAL *of_features[SOURCES];
    sums_of_part(w, part, of_features);
    int64_t start = w->atoms * part / w->parts, end = w->atoms * (part + 1) / w->parts;
    memset(w->of_vectors + start * w->neighbors * 3, 0, (end - start) * w->neighbors * 3 * sizeof(REAL));
    for (int64_t i = start; i < end; ++i) {
        memset(r->moments, 0, sizeof r->moments);
#define PATH_OF_MOMENTS(source, d1, degree, d2, d3, channels, column, start, mid, width, first, terms, count) \
    add_of_moments(r->moments, w->gradient[mid] + i * MID_WIDTH[mid], d2, channels, start, width, first, terms, count);
        PATHS(PATH_OF_MOMENTS)
        for (int from = 0, edges; from < w->neighbors;) {
            int count = next_edges(w, &r->near, i, &from, &edges);
            if (!count) continue;
            for (int s = 0; s < SOURCES; ++s) {
                point(&r->near, edges, s, w->features[s], r->nothing, r->features[s]);
                point(&r->near, edges, s, of_features[s], r->dump, r->of_features[s]);
            }
            radial_forward(w, r, edges, 1);
#define DEGREE(degree, d2) degree_backward_##degree(r, edges);
            EACH_DEGREE(DEGREE)
            radial_backward(w, r, edges);
            geometry_backward(r, edges);
            for (int e = 0; e < count; ++e)
                for (int c = 0; c < 3; ++c) w->of_vectors[(i * w->neighbors + r->near.slots[e]) * 3 + c] = r->of_vector[c][e];
        }
    }
}

/* vectors, index, radial, features -> messages */
XLA_FFI_Error *convolution_forward(XLA_FFI_CallFrame *frame) {
    if (only_asked(frame)) return NULL;
    int n;
    work w = read_work(frame, &n);
    for (int m = 0; m < MIDS; ++m) w.messages[m] = result(frame, m);
    return run_parts(frame, &w, forward_part, sizeof(room));
}

/* vectors, index, radial, features, gradients of the messages -> gradients of vectors and features */
XLA_FFI_Error *convolution_backward(XLA_FFI_CallFrame *frame) {
    if (only_asked(frame)) return NULL;
    int n;
    work w = read_work(frame, &n);
    for (int m = 0; m < MIDS; ++m) w.gradient[m] = argument(frame, n++);
    w.of_vectors = result(frame, 0);
    for (int s = 0; s < SOURCES; ++s) add_to(&w, result(frame, 1 + s), (size_t)w.rows * SOURCE_WIDTH[s]);
    return run_parts(frame, &w, backward_part, sizeof(room));
}
