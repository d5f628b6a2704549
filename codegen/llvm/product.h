// product.h: small products of matrices in close memory, blocks of rows x vectors summed in
// registers: c[row][col] (+)= sum over k of a[row, k] * b[k][col], f32 but for pairs. ATTEND
// and CHUNK are made of them.
#pragma once

#include "codegen/llvm/builder.h"

// Memory that is read or written soon, in rows and cols like c's: each block asks for its part.
typedef struct {
    IrValue at;              // NULL: none
    int64_t pitch, element;  // bytes
    int64_t steps;           // products of a sum, about
    bool write;
} ProductAhead;

enum { PRODUCT_MOST_AHEAD = 2 };

typedef struct {
    IrValue a, b, c;                            // rows of b and c are whole vectors
    int64_t a_across, a_step, b_step, c_pitch;  // elements
    IrValue row, rows;                          // i64: rows [row, rows); row NULL: 0
    IrValue count;                              // i64: products of one sum
    // Row r has no products below r + first, nor from r + end on; NULL: it has all.
    IrValue first, end;
    // Col c has no rows below c + first_row, nor from c + end_row on; NULL: it has all.
    IrValue first_row, end_row;
    int64_t cols;
    int64_t unit;   // a power of two that divides rows; 0: any number of rows
    bool add;       // to what c holds
    bool negate;    // the products
    bool pairs;     // elements of a and b are pairs of bf16, whose products are added
    IrValue scale;  // what c holds is multiplied by scale[col] first; NULL: it is not
    ProductAhead ahead[PRODUCT_MOST_AHEAD];
} Product;
void product_emit(Builder *b, const Product *p);
void product_call(Builder *b, const Product *p);  // as a routine that products alike share

// ---- numbers and indices
IrValue at_least(Builder *b, IrValue x, IrValue y);
IrValue at_most(Builder *b, IrValue x, IrValue y);
IrValue minus(Builder *b, IrValue x, IrValue y);
