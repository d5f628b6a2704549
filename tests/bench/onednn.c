// onednn.c: the calls of oneDNN 2; its threads are OpenMP's.
#include "tests/bench/onednn.h"

#ifndef STRATA_HAVE_DNNL

void onednn_threads(int count) { (void)count; }

bool product_open(Product *p, const Shape *shape, void *const data[PRODUCT_ARRAYS]) {
    *p = (Product){.shape = *shape, .data = data};
    return false;
}

bool product_run(Product *p) { return p->matmul != NULL; }

void product_close(Product *p) { *p = (Product){0}; }

#else

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

// oneDNN's threads are OpenMP's, whose library it brings along.
void onednn_threads(int count) {
    void *all = dlopen(NULL, RTLD_NOW),
         *symbol = all ? dlsym(all, "omp_set_num_threads") : NULL;
    void (*set)(int) = NULL;
    memcpy(&set, &symbol, sizeof set);
    if (set != NULL) set(count);
}

static bool matrix_init(dnnl_memory_desc_t *out, const dnnl_dims_t extents, bool turned,
                        DType type) {
    dnnl_data_type_t element = type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
    return dnnl_memory_desc_init_by_tag(out, 2, extents, element, turned ? dnnl_ba : dnnl_ab) ==
           dnnl_success;
}

static bool matmul_new(Product *p) {
    const Shape *s = &p->shape;
    dnnl_memory_desc_t matrices[PRODUCT_ARRAYS];
    const dnnl_dims_t a = {s->m, s->k}, b = {s->k, s->n}, y = {s->m, s->n};
    if (!matrix_init(&matrices[PRODUCT_A], a, s->turned_a, s->type) ||
        !matrix_init(&matrices[PRODUCT_B], b, s->turned_b, s->type) ||
        !matrix_init(&matrices[PRODUCT_Y], y, false, DTYPE_F32))
        return false;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t chosen;
    if (dnnl_matmul_desc_init(&desc, &matrices[PRODUCT_A], &matrices[PRODUCT_B], NULL,
                              &matrices[PRODUCT_Y]) != dnnl_success ||
        dnnl_primitive_desc_create(&chosen, &desc, NULL, p->engine, NULL) != dnnl_success)
        return false;
    bool good = dnnl_primitive_create(&p->matmul, chosen) == dnnl_success;
    dnnl_primitive_desc_destroy(chosen);
    for (int i = 0; good && i < PRODUCT_ARRAYS; i++)
        good = dnnl_memory_create(&p->memories[i], &matrices[i], p->engine, p->data[i]) ==
               dnnl_success;
    return good;
}

bool product_open(Product *p, const Shape *shape, void *const data[PRODUCT_ARRAYS]) {
    *p = (Product){.shape = *shape, .data = data};
    if (shape->type == DTYPE_F32) return true;
    return dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success &&
           dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags) ==
               dnnl_success &&
           matmul_new(p);
}

bool product_run(Product *p) {
    const Shape *s = &p->shape;
    if (s->type == DTYPE_F32)
        return dnnl_sgemm(s->turned_a ? 'T' : 'N', s->turned_b ? 'T' : 'N', s->m, s->n, s->k, 1,
                          p->data[PRODUCT_A], s->turned_a ? s->m : s->k, p->data[PRODUCT_B],
                          s->turned_b ? s->k : s->n, 0, p->data[PRODUCT_Y],
                          s->n) == dnnl_success;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->memories[PRODUCT_A]},
                                    {DNNL_ARG_WEIGHTS, p->memories[PRODUCT_B]},
                                    {DNNL_ARG_DST, p->memories[PRODUCT_Y]}};
    return dnnl_primitive_execute(p->matmul, p->stream, PRODUCT_ARRAYS, args) == dnnl_success &&
           dnnl_stream_wait(p->stream) == dnnl_success;
}

// oneDNN's destroy functions take NULL as well.
void product_close(Product *p) {
    for (int i = 0; i < PRODUCT_ARRAYS; i++)
        dnnl_memory_destroy(p->memories[i]);
    dnnl_primitive_destroy(p->matmul);
    dnnl_stream_destroy(p->stream);
    dnnl_engine_destroy(p->engine);
    *p = (Product){0};
}

#endif
