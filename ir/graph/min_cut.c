// min_cut.c: maximum flow by Dinic's algorithm (E. A. Dinic, Soviet Math. Dokl. 11, 1970):
// shortest paths only, all of one length at a time. Written without recursion: a path may be as
// long as the graph is deep.
#include "ir/graph/min_cut.h"

#include "base/check.h"

#define CUT_NO_EDGE UINT32_MAX

void cut_init(CutNet *net, Arena *arena, uint32_t nodes) {
    *net =
        (CutNet){.arena = arena, .nodes = nodes, .first = arena_array(arena, uint32_t, nodes)};
    for (uint32_t i = 0; i < nodes; i++)
        net->first[i] = CUT_NO_EDGE;
}

static void cut_half_edge(CutNet *net, uint32_t from, uint32_t to, int64_t room) {
    vec_push(net->arena, &net->edges,
             (CutEdge){.to = to, .next = net->first[from], .room = room});
    net->first[from] = net->edges.len - 1;
}

void cut_edge(CutNet *net, uint32_t from, uint32_t to, int64_t cost) {
    ASSERT(from < net->nodes && to < net->nodes && cost >= 0 && cost <= CUT_NEVER);
    cut_half_edge(net, from, to, cost);
    cut_half_edge(net, to, from, 0);
}

typedef struct {
    CutNet *net;
    uint32_t source, sink;
    uint32_t *level;  // steps from the source, plus 1; 0: not reached
    uint32_t *next;   // per node: the edge to try next
    uint32_t *list;   // the nodes of a breadth-first walk, or the edges of a path
} Flow;

static bool flow_levels(Flow *f) {
    memset(f->level, 0, f->net->nodes * sizeof *f->level);
    uint32_t head = 0, tail = 0;
    f->list[tail++] = f->source;
    f->level[f->source] = 1;
    while (head < tail) {
        uint32_t u = f->list[head++];
        for (uint32_t e = f->net->first[u]; e != CUT_NO_EDGE; e = f->net->edges.ptr[e].next) {
            const CutEdge *edge = &f->net->edges.ptr[e];
            if (edge->room == 0 || f->level[edge->to] != 0) continue;
            f->level[edge->to] = f->level[u] + 1;
            f->list[tail++] = edge->to;
        }
    }
    return f->level[f->sink] != 0;
}

static bool flow_step_open(const Flow *f, uint32_t u, uint32_t e) {
    const CutEdge *edge = &f->net->edges.ptr[e];
    return edge->room > 0 && f->level[edge->to] == f->level[u] + 1;
}

// Sends what the path of `length` edges can take; gives the number of edges before the first
// that is now full.
static uint32_t flow_send(Flow *f, uint32_t length) {
    CutEdge *edges = f->net->edges.ptr;
    int64_t amount = CUT_NEVER;
    uint32_t keep = 0;
    for (uint32_t i = 0; i < length; i++)
        if (edges[f->list[i]].room < amount) amount = edges[f->list[i]].room;
    for (uint32_t i = length; i-- > 0;) {
        edges[f->list[i]].room -= amount;
        edges[f->list[i] ^ 1].room += amount;
        if (edges[f->list[i]].room == 0) keep = i;
    }
    return keep;
}

// Fills every path that the levels allow.
static void flow_fill(Flow *f) {
    const CutEdge *edges = f->net->edges.ptr;
    uint32_t u = f->source, length = 0;
    memcpy(f->next, f->net->first, f->net->nodes * sizeof *f->next);
    for (;;) {
        if (u == f->sink) {
            length = flow_send(f, length);
            u = edges[f->list[length] ^ 1].to;
            continue;
        }
        uint32_t e = f->next[u];
        while (e != CUT_NO_EDGE && !flow_step_open(f, u, e))
            e = edges[e].next;
        f->next[u] = e;
        if (e != CUT_NO_EDGE) {
            f->list[length++] = e;
            u = edges[e].to;
        } else if (length > 0) {
            f->level[u] = 0;  // a dead end: no step leads here any more
            u = edges[f->list[--length] ^ 1].to;
        } else {
            return;
        }
    }
}

// Which nodes can still reach the sink.
static bool *flow_sink_side(Flow *f) {
    bool *side = arena_array(f->net->arena, bool, f->net->nodes);
    const CutEdge *edges = f->net->edges.ptr;
    uint32_t head = 0, tail = 0;
    f->list[tail++] = f->sink;
    side[f->sink] = true;
    while (head < tail) {
        for (uint32_t e = f->net->first[f->list[head++]]; e != CUT_NO_EDGE; e = edges[e].next) {
            if (edges[e ^ 1].room == 0 || side[edges[e].to]) continue;
            side[edges[e].to] = true;
            f->list[tail++] = edges[e].to;
        }
    }
    return side;
}

bool *cut_sink_side(CutNet *net, uint32_t source, uint32_t sink) {
    Flow f = {.net = net, .source = source, .sink = sink};
    f.level = arena_array(net->arena, uint32_t, net->nodes);
    f.next = arena_array(net->arena, uint32_t, net->nodes);
    f.list = arena_array(net->arena, uint32_t, net->nodes);
    while (flow_levels(&f))
        flow_fill(&f);
    return flow_sink_side(&f);
}
