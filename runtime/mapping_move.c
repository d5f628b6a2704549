// mapping_move.c: elements between strided views. A step and its reverse are the same copy with
// its sides exchanged.
#include "runtime/mapping.h"

typedef struct {
    int64_t strides[PLAN_RANK_MAX], first;  // elements
} View;

// The same elements, as a part of what is before a move and of what is after it.
typedef struct {
    Shape shape;
    View before, after;
} Views;

static void strides_of(const Shape *s, int64_t *out) {
    int64_t stride = 1;
    for (uint32_t i = s->rank; i-- > 0; stride *= s->extents[i])
        out[i] = stride;
}

static Views views_of(const Move *m, int64_t part) {
    const MapStep *step = m->step;
    Views v = {.shape = m->after};
    int64_t before[PLAN_RANK_MAX] = {0}, after[PLAN_RANK_MAX] = {0};
    strides_of(&m->before, before);
    strides_of(&m->after, after);
    if (step->kind == MAP_STACK) {
        v.shape = m->before;
        v.after.first = part * after[step->axis];
    } else if (step->kind == MAP_SLICE) {
        v.before.first = m->begin * before[step->axis];
    } else if (step->kind == MAP_RESHAPE) {
        v.shape = (Shape){.rank = 1, .extents = {shape_count(&m->after)}};
        v.before.strides[0] = v.after.strides[0] = 1;
        return v;
    }
    for (uint32_t i = 0; i < v.shape.rank; i++) {
        bool behind = step->kind == MAP_STACK && i >= step->axis;
        v.after.strides[i] = after[i + behind];
        v.before.strides[i] = before[step->kind == MAP_TRANSPOSE ? step->order[i] : i];
    }
    return v;
}

typedef struct {
    const View *to, *from;
    const Shape *shape;
    size_t bytes;
} Copy;

static void copy_line(const Copy *c, char *to, const char *from) {
    uint32_t last = c->shape->rank - 1;
    int64_t n = c->shape->extents[last], bytes = (int64_t)c->bytes;
    int64_t to_step = c->to->strides[last] * bytes, from_step = c->from->strides[last] * bytes;
    if (to_step == bytes && from_step == bytes) {
        memcpy(to, from, (size_t)n * c->bytes);
        return;
    }
    // A constant size becomes one load and one store.
    for (int64_t i = 0; i < n; i++, to += to_step, from += from_step) {
        switch (c->bytes) {
        case 1: *to = *from; break;
        case 2: memcpy(to, from, 2); break;
        case 4: memcpy(to, from, 4); break;
        default: memcpy(to, from, c->bytes);
        }
    }
}

static void copy_axis(const Copy *c, uint32_t axis, char *to, const char *from) {
    if (axis + 1 >= c->shape->rank) {
        if (c->shape->rank)
            copy_line(c, to, from);
        else
            memcpy(to, from, c->bytes);
        return;
    }
    for (int64_t i = 0; i < c->shape->extents[axis]; i++) {
        copy_axis(c, axis + 1, to + i * c->to->strides[axis] * (int64_t)c->bytes,
                  from + i * c->from->strides[axis] * (int64_t)c->bytes);
    }
}

static void copy(const Copy *c, void *to, const void *from) {
    int64_t bytes = (int64_t)c->bytes;
    copy_axis(c, 0, (char *)to + c->to->first * bytes,
              (const char *)from + c->from->first * bytes);
}

void move_forward(const Move *m, int64_t part, size_t bytes, const void *before, void *after) {
    Views v = views_of(m, part);
    copy(&(Copy){&v.after, &v.before, &v.shape, bytes}, after, before);
}

void move_back(const Move *m, int64_t part, size_t bytes, const void *after, void *before) {
    Views v = views_of(m, part);
    copy(&(Copy){&v.before, &v.after, &v.shape, bytes}, before, after);
}

const void *moves_back(Arena *arena, const Fill *fill, int64_t part, size_t bytes,
                       const void *ours) {
    const void *x = ours;
    for (uint32_t i = fill->move_count; i-- > 0;) {
        const Move *m = &fill->moves[i];
        if (m->step->kind == MAP_RESHAPE) continue;
        void *before = arena_alloc(arena, (size_t)shape_count(&m->before), bytes);
        move_back(m, part, bytes, x, before);
        x = before;
    }
    return x;
}
