// rank.c: one-sided Jacobi: columns are turned in pairs until all are at right angles; their
// lengths are then the singular values (Hestenes 1958).
#include "cli/rank.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { SWEEPS = 60 };

// Turns columns p and q of a[columns, rows] (columns contiguous); false if they were at right
// angles already.
static bool turn(double *p, double *q, uint32_t n) {
    double pp = 0, qq = 0, pq = 0;
    for (uint32_t i = 0; i < n; i++) {
        pp += p[i] * p[i];
        qq += q[i] * q[i];
        pq += p[i] * q[i];
    }
    if (fabs(pq) <= 1e-15 * sqrt(pp * qq)) return false;
    double zeta = (qq - pp) / (2 * pq);
    double t = copysign(1 / (fabs(zeta) + sqrt(1 + zeta * zeta)), zeta);
    double c = 1 / sqrt(1 + t * t), s = c * t;
    for (uint32_t i = 0; i < n; i++) {
        double x = p[i], y = q[i];
        p[i] = c * x - s * y;
        q[i] = s * x + c * y;
    }
    return true;
}

static int descending(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a < b) - (a > b);
}

void singular_values(const double *m, uint32_t rows, uint32_t columns, double *scratch,
                     double *out) {
    // The shorter side gives the vectors that are turned.
    bool wide = columns > rows;
    uint32_t count = wide ? rows : columns, n = wide ? columns : rows;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < n; k++)
            scratch[(size_t)i * n + k] =
                wide ? m[(size_t)i * columns + k] : m[(size_t)k * columns + i];
    bool turned = true;
    for (int sweep = 0; turned && sweep < SWEEPS; sweep++) {
        turned = false;
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t k = i + 1; k < count; k++)
                turned |= turn(scratch + (size_t)i * n, scratch + (size_t)k * n, n);
    }
    for (uint32_t i = 0; i < count; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < n; k++)
            sum += scratch[(size_t)i * n + k] * scratch[(size_t)i * n + k];
        out[i] = sqrt(sum);
    }
    qsort(out, count, sizeof *out, descending);
}

uint32_t matrix_rank(const double *m, uint32_t rows, uint32_t columns, double tolerance) {
    uint32_t count = rows < columns ? rows : columns, rank = 0;
    Arena arena = {0};
    double *values = arena_array(&arena, double, count);
    singular_values(m, rows, columns, arena_array(&arena, double, (size_t)rows *columns),
                    values);
    while (rank < count && values[rank] > tolerance * values[0])
        rank++;
    arena_release(&arena);
    return rank;
}

// Columns that row r, or one before it, reads.
static uint32_t reach(const double *m, uint32_t columns, uint32_t r) {
    uint32_t n = 0;
    for (size_t i = 0; i < (size_t)(r + 1) * columns; i++)
        if (m[i] != 0 && i % columns >= n) n = (uint32_t)(i % columns) + 1;
    return n;
}

uint32_t semiseparable_rank(const double *m, uint32_t rows, uint32_t columns,
                            double tolerance) {
    uint32_t most = 0;
    Arena arena = {0};
    double *block = arena_array(&arena, double, (size_t)rows *columns);
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t width = reach(m, columns, r), height = rows - r;
        for (uint32_t i = 0; i < height; i++)
            memcpy(block + (size_t)i * width, m + (size_t)(r + i) * columns,
                   width * sizeof *block);
        uint32_t rank = width ? matrix_rank(block, height, width, tolerance) : 0;
        if (rank > most) most = rank;
    }
    arena_release(&arena);
    return most;
}
