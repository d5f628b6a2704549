// npy.h: arrays as files of NumPy's format, version 1.0: float64, little-endian, row-major.
#pragma once

#include "base/diag.h"

// x[rows, columns]. The file is written whole or not at all.
MUST_USE bool npy_write(Diag *diag, Str path, const double *x, uint32_t rows, uint32_t columns);
