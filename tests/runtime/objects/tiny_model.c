// tiny_model.c: the kernels of tiny_model.h, one an object: TINY_TRAIN, TINY_ACCUMULATE and so
// on say which.
//
//     loss = mean over (B, T) of (w[token] - target / 64)^2
#include "tests/runtime/objects/kernels.h"
#include "tests/runtime/objects/tiny_shape.h"

enum { POSITIONS = TINY_B * TINY_T };

#if defined(TINY_TRAIN) || defined(TINY_ACCUMULATE) || defined(TINY_EVAL) || defined(TINY_GRAD)
static float error_at(const int32_t *tokens, const int32_t *targets, const float *w, int i) {
    return w[tokens[i]] - (float)targets[i] / 64;
}

static float loss_of(const int32_t *tokens, const int32_t *targets, const float *w) {
    float sum = 0;
    for (int i = 0; i < POSITIONS; i++) {
        float e = error_at(tokens, targets, w, i);
        sum += e * e;
    }
    return sum / POSITIONS;
}
#endif

#if defined(TINY_TRAIN) || defined(TINY_ACCUMULATE) || defined(TINY_GRAD)
// Adds d loss / d w to grad.
static void add_gradient(void *const *args, float *grad) {
    const int32_t *tokens = args[0], *targets = args[1];
    const float *w = args[2];
    for (int i = 0; i < POSITIONS; i++)
        grad[tokens[i]] += 2 * error_at(tokens, targets, w, i) / POSITIONS;
}
#endif

#if defined(TINY_TRAIN) || defined(TINY_APPLY)
// SGD with momentum on share * grad; the step only decides that the first one has no momentum.
static void update(void *const *tensors, const float *grad, float share) {
    float *w = tensors[0], *momentum = tensors[1], *norm = tensors[5];
    float lr = *(const float *)tensors[2], clip = *(const float *)tensors[4], sum = 0;
    float keep = *(const float *)tensors[3] > 1 ? 0.9F : 0.0F;
    for (int v = 0; v < TINY_VOCAB; v++)
        sum += share * grad[v] * share * grad[v];
    *norm = __builtin_sqrtf(sum);
    float scale = *norm > clip ? clip / *norm : 1;
    for (int v = 0; v < TINY_VOCAB; v++) {
        momentum[v] = keep * momentum[v] + scale * share * grad[v];
        w[v] -= lr * momentum[v];
    }
}
#endif

// tokens, targets, w, momentum, seen, lr, step, clip, loss, grad_norm, report.loss
#ifdef TINY_TRAIN
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    float *grad = scratch, *seen = args[4];
    void *const tensors[] = {args[2], args[3], args[5], args[6], args[7], args[9]};
    (void)begin, (void)end;
    for (int v = 0; v < TINY_VOCAB; v++)
        grad[v] = 0;
    *(float *)args[8] = *(float *)args[10] = loss_of(args[0], args[1], args[2]);
    add_gradient(args, grad);
    update(tensors, grad, 1);
    *seen += POSITIONS;
}
#endif

// tokens, targets, w, seen, optim.grad.w, optim.micro, loss, report.loss
#ifdef TINY_ACCUMULATE
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    float *seen = args[3], *micro = args[5];
    (void)begin, (void)end, (void)scratch;
    *(float *)args[6] = *(float *)args[7] = loss_of(args[0], args[1], args[2]);
    add_gradient(args, args[4]);
    *micro += 1;
    *seen += POSITIONS;
}
#endif

// w, momentum, lr, step, clip, grad_norm, optim.grad.w, optim.micro
#ifdef TINY_APPLY
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    float *grad = args[6], *micro = args[7];
    (void)begin, (void)end, (void)scratch;
    update(args, grad, 1 / *micro);
    for (int v = 0; v < TINY_VOCAB; v++)
        grad[v] = 0;
    *micro = 0;
}
#endif

// tokens, targets, w, loss
#ifdef TINY_EVAL
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    (void)begin, (void)end, (void)scratch;
    *(float *)args[3] = loss_of(args[0], args[1], args[2]);
}
#endif

// tokens, targets, w, loss, grad.w
#ifdef TINY_GRAD
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    float *grad = args[4];
    (void)begin, (void)end, (void)scratch;
    *(float *)args[3] = loss_of(args[0], args[1], args[2]);
    for (int v = 0; v < TINY_VOCAB; v++)
        grad[v] = 0;
    add_gradient(args, grad);
}
#endif

// tokens, w, logits: the most probable token after a text is the sum of its tokens, modulo the
// vocabulary.
#ifdef TINY_INFER
void kernel(void *const *args, int64_t begin, int64_t end, void *scratch) {
    const int32_t *tokens = args[0];
    const float *w = args[1];
    float *logits = args[2];  // (T, vocab, B)
    (void)begin, (void)end, (void)scratch;
    for (int b = 0; b < TINY_B; b++) {
        int sum = 0;
        for (int t = 0; t < TINY_T; t++) {
            sum = (sum + tokens[b * TINY_T + t]) % TINY_VOCAB;
            for (int v = 0; v < TINY_VOCAB; v++)
                logits[(t * TINY_VOCAB + v) * TINY_B + b] = (v == sum ? 8.0F : 0.0F) + w[v];
        }
    }
}
#endif
