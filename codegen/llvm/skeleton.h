// skeleton.h: what emits the body of a kernel: one function per TileSkeleton, and what they
// share.
#pragma once

#include "codegen/llvm/builder.h"

// Emits the body of b->function for b->program. False, with the reason in b->diag: the program
// has no code here.
MUST_USE bool stream_emit(Builder *b);
MUST_USE bool order_emit(Builder *b);  // of a STREAM program that sorts
MUST_USE bool loop_emit(Builder *b);
MUST_USE bool attend_emit(Builder *b);
MUST_USE bool chunk_emit(Builder *b);
