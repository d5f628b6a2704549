// plan_verify.h: the part of plan_verify that is about GPU kernels.
#pragma once

#include "runtime/plan.h"

// What is wrong with the launch of a kernel of a plan for CUDA, by the limits of the launch
// itself and of tensor maps (PTX ISA, "Tensors"; cuTensorMapEncodeTiled). NULL: nothing.
const char *launch_wrong(const Launch *launch);
// What is wrong with a step's arguments for the launch of its kernel: a tensor map must
// describe an argument, and no more than the buffer has.
const char *launch_args_wrong(const Launch *launch, const PlanEntry *e, const PlanStep *step);
