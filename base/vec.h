// vec.h: typed growing arrays that live in an arena.
//     Vec(int) v = {0};  vec_push(&arena, &v, 7);  v.ptr[0]; v.len
// Growing copies; the old array stays in the arena until that is rewound.
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/arena.h"

// Types and names of variables cannot be put in parentheses, and elements may be pointers.
// NOLINTBEGIN(bugprone-macro-parentheses,bugprone-sizeof-expression)

#define Vec(T)             \
    struct {               \
        T *ptr;            \
        uint32_t len, cap; \
    }

void *vec_grown(Arena *arena, const void *ptr, uint32_t len, uint32_t *cap, size_t size);

#define vec_push(arena, v, ...)                                                       \
    ((v)->len == (v)->cap ? (void)((v)->ptr = vec_grown((arena), (v)->ptr, (v)->len,  \
                                                        &(v)->cap, sizeof *(v)->ptr)) \
                          : (void)0,                                                  \
     (void)((v)->ptr[(v)->len++] = (__VA_ARGS__)))
// An empty vector may have no array, and NULL + 0 is undefined in C.
#define vec_each(T, it, v) for (T *it = (v)->ptr; it && it < (v)->ptr + (v)->len; it++)

// NOLINTEND(bugprone-macro-parentheses,bugprone-sizeof-expression)
