// rank.h: singular values of small matrices.
#pragma once

#include <stdint.h>

// Singular values of m[rows, columns], row-major, the greatest first: out[min(rows, columns)].
// scratch: rows * columns doubles.
void singular_values(const double *m, uint32_t rows, uint32_t columns, double *scratch,
                     double *out);
// How many of m's singular values are above `tolerance` times the greatest.
uint32_t matrix_rank(const double *m, uint32_t rows, uint32_t columns, double tolerance);
// Of a lower triangle: the greatest rank of a block that has the rows from some row on, and the
// columns up to the last that this row or one before it reads. 1 for a triangle of ones, which
// has full rank as a whole.
uint32_t semiseparable_rank(const double *m, uint32_t rows, uint32_t columns, double tolerance);
