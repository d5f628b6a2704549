// gpu.h: what tests on a real GPU need to know of it.
#pragma once

#include "codegen/emitter.h"

// The architecture that kernels are compiled for on the first GPU here. False: there is no
// usable GPU or no NVRTC; stderr says which.
bool gpu_level(IsaLevel *out);
