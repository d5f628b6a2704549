// tiny_model.c: the plan of the tiny model.
#include "tests/runtime/tiny_model.h"

#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "runtime/names.h"

enum { ENTRIES = 6, ARGS_MAX = 11 };

static const int64_t batch_shape[] = {TINY_B, TINY_T}, vocab_shape[] = {TINY_VOCAB},
                     logits_shape[] = {TINY_T, TINY_VOCAB, TINY_B};
static const Str batch_axes[] = {{"B", 1}, {"T", 1}}, vocab_axes[] = {{"vocab", 5}},
                 logits_axes[] = {{"T", 1}, {"vocab", 5}, {"B", 1}};

static PlanTensor scalar(TensorKind kind, const char *name) {
    return (PlanTensor){.kind = kind, .name = str_of(name)};
}

static PlanTensor vector(TensorKind kind, const char *name) {
    return (PlanTensor){.kind = kind,
                        .name = str_of(name),
                        .rank = 1,
                        .shape = vocab_shape,
                        .axes = vocab_axes};
}

static PlanTensor batch(const char *name) {
    return (PlanTensor){.kind = TENSOR_INPUT,
                        .name = str_of(name),
                        .type = DTYPE_I32,
                        .rank = 2,
                        .shape = batch_shape,
                        .axes = batch_axes,
                        .index_below = TINY_VOCAB};
}

static void fill_tensors(Arena *arena, Plan *plan) {
    plan->tensor_count = TINY_TENSORS;
    PlanTensor *t = plan->tensors = arena_array(arena, PlanTensor, TINY_TENSORS);
    t[TINY_TOKENS] = batch(NAME_TOKENS);
    t[TINY_TARGETS] = batch(NAME_TARGETS);
    t[TINY_W] = vector(TENSOR_PARAM, "w");
    t[TINY_W].trained = true;
    t[TINY_W].init = (PlanInit){.kind = 1, .a = 0.5};
    t[TINY_MOMENTUM] = vector(TENSOR_STATE, "optim.w.momentum");
    t[TINY_SEEN] = scalar(TENSOR_STATE, "seen");
    t[TINY_SUMS] = vector(TENSOR_STATE, NAME_ACCUMULATED_PREFIX "w");
    t[TINY_MICRO] = scalar(TENSOR_STATE, NAME_MICRO);
    t[TINY_LR] = scalar(TENSOR_INPUT, NAME_LR);
    t[TINY_STEP] = scalar(TENSOR_INPUT, NAME_STEP);
    t[TINY_CLIP] = scalar(TENSOR_INPUT, NAME_CLIP);
    t[TINY_LOSS] = scalar(TENSOR_OUTPUT, NAME_LOSS);
    t[TINY_NORM] = scalar(TENSOR_OUTPUT, NAME_GRAD_NORM);
    t[TINY_REPORT] = scalar(TENSOR_OUTPUT, NAME_REPORT_PREFIX "loss");
    t[TINY_LOGITS] = vector(TENSOR_OUTPUT, NAME_LOGITS);
    t[TINY_LOGITS].rank = 3;
    t[TINY_LOGITS].shape = logits_shape;
    t[TINY_LOGITS].axes = logits_axes;
    t[TINY_GRAD_W] = vector(TENSOR_OUTPUT, NAME_GRAD_PREFIX "w");
}

typedef struct {
    const char *name, *object;
    uint32_t count;
    uint32_t tensors[ARGS_MAX];  // as the kernel takes them: objects/tiny_model.c
} EntryForm;

static const EntryForm forms[ENTRIES] = {
    {ENTRY_NAME_TRAIN,
     OBJECT_TINY_TRAIN,
     11,
     {TINY_TOKENS, TINY_TARGETS, TINY_W, TINY_MOMENTUM, TINY_SEEN, TINY_LR, TINY_STEP,
      TINY_CLIP, TINY_LOSS, TINY_NORM, TINY_REPORT}},
    {ENTRY_NAME_ACCUMULATE,
     OBJECT_TINY_ACCUMULATE,
     8,
     {TINY_TOKENS, TINY_TARGETS, TINY_W, TINY_SEEN, TINY_SUMS, TINY_MICRO, TINY_LOSS,
      TINY_REPORT}},
    {ENTRY_NAME_APPLY,
     OBJECT_TINY_APPLY,
     8,
     {TINY_W, TINY_MOMENTUM, TINY_LR, TINY_STEP, TINY_CLIP, TINY_NORM, TINY_SUMS, TINY_MICRO}},
    {ENTRY_NAME_EVAL, OBJECT_TINY_EVAL, 4, {TINY_TOKENS, TINY_TARGETS, TINY_W, TINY_LOSS}},
    {ENTRY_NAME_GRAD,
     OBJECT_TINY_GRAD,
     5,
     {TINY_TOKENS, TINY_TARGETS, TINY_W, TINY_LOSS, TINY_GRAD_W}},
    {ENTRY_NAME_INFER, OBJECT_TINY_INFER, 3, {TINY_TOKENS, TINY_W, TINY_LOGITS}},
};

static void fill_entry(Arena *arena, Plan *plan, uint32_t index) {
    const EntryForm *form = &forms[index];
    PlanEntry *e = &plan->entries[index];
    uint32_t *args = arena_array(arena, uint32_t, form->count);
    *e = (PlanEntry){.name = str_of(form->name),
                     .buffers = arena_array(arena, PlanBuffer, form->count),
                     .buffer_count = form->count,
                     .steps = arena_new(arena, PlanStep),
                     .step_count = 1};
    for (uint32_t i = 0; i < form->count; i++) {
        uint32_t tensor = form->tensors[i];
        e->buffers[i] = (PlanBuffer){.kind = BUFFER_TENSOR,
                                     .index = tensor,
                                     .bytes = plan_tensor_bytes(&plan->tensors[tensor])};
        args[i] = i;
    }
    *e->steps = (PlanStep){
        .kind = STEP_LAUNCH, .kernel = index, .args = args, .arg_count = form->count};
}

// Tests are built for the CPU, and for the GPU of fake_cuda.h.
#ifdef STRATA_TINY_CUDA
static const char target[] = "cuda:sm_90a";
static const Launch launch = {.blocks = 1, .threads = 1, .cluster = 1};

static Str read_object(Diag *diag, Arena *arena, const EntryForm *form) {
    (void)diag;
    return str_printf(arena, "fake-cubin %.*s 1 0 %s", (int)form->count, "ppppppppppp",
                      form->object);
}
#else
static const char target[] = "cpu";
static const Launch launch;

static Str read_object(Diag *diag, Arena *arena, const EntryForm *form) {
    Str object;
    assert_true(io_read(diag, arena, str_of(form->object), &object));
    return object;
}
#endif

Plan *tiny_plan(Diag *diag, Arena *arena) {
    Plan *plan = arena_new(arena, Plan);
    plan->model = STR("tiny");
    plan->target = str_of(target);
    fill_tensors(arena, plan);
    plan->kernel_count = plan->entry_count = ENTRIES;
    plan->kernels = arena_array(arena, PlanKernel, ENTRIES);
    plan->entries = arena_array(arena, PlanEntry, ENTRIES);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        Str object = read_object(diag, arena, &forms[i]);
        plan->kernels[i] = (PlanKernel){.name = str_of(forms[i].name),
                                        .object = object,
                                        .hash = hash_bytes(object.ptr, object.len),
                                        .tasks = 1,
                                        .scratch_bytes = TINY_VOCAB * sizeof(float),
                                        .launch = launch};
        fill_entry(arena, plan, i);
    }
    return plan;
}

int tiny_setup(void **state) {
    Tiny *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->directory, sizeof f->directory, "/tmp/strata-tiny-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->plan = tiny_plan(&f->diag, &f->arena);
    assert_true(session_open(&f->diag, f->plan, 1, &f->session));
    *state = f;
    return 0;
}

int tiny_teardown(void **state) {
    Tiny *f = *state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    int status = system(command);
    session_close(f->session);
    arena_release(&f->arena);
    test_free(f);
    return status;
}

Str tiny_path(Tiny *f, const char *name) {
    return str_printf(&f->arena, "%s/%s", f->directory, name);
}

Str tiny_text(Tiny *f, const char *name, size_t n) {
    char *text = arena_alloc(&f->arena, n, 1);
    unsigned last = 1;
    for (size_t i = 0; i < n; i++) {
        last = (last * 5 + (unsigned)(i / 7) % 3) % TINY_VOCAB;
        text[i] = (char)last;
    }
    Str path = tiny_path(f, name);
    assert_true(io_write(&f->diag, path, text, n));
    return path;
}

Str tiny_read(Tiny *f, Str path) {
    Str text;
    assert_true(io_read(&f->diag, &f->arena, path, &text));
    return text;
}

void tiny_forget(Tiny *f) { diag_init(&f->diag, &f->arena); }

TrainOptions tiny_options(const Str *data, Str out) {
    return (TrainOptions){.data = data,
                          .data_count = 1,
                          .steps = 12,
                          .schedule = {.kind = LR_COSINE, .lr = 0.3, .warmup = 2, .steps = 12},
                          .clip = HUGE_VAL,
                          .seed = 7,
                          .out = out,
                          .optimizer = STR("sgd")};
}
