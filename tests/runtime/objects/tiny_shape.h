// tiny_shape.h: extents of the tiny model, for its kernels and its plan.
#pragma once

enum { TINY_B = 3, TINY_T = 5, TINY_VOCAB = 128 };
