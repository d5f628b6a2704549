"""Kimi delta attention in PyTorch, in chunks: what is not serial is batched over all chunks and heads.

For gates that are bounded (here exp(2 * CHUNK / 2) fits f32), so that decays between tokens of a chunk are one product of factors
around its middle. What is serial, the states, has its own backward pass; the rest is differentiated and may be compiled.
"""
import torch

CHUNK = 32


class Scan(torch.autograd.Function):
    """V = U - W S and the S that enters each chunk, where S' = total S + K^T V. (chunks, heads, tokens, width)"""

    @staticmethod
    def forward(ctx, u, w, k, total):
        s = u.new_zeros(u.shape[1], w.shape[-1], u.shape[-1])
        states, v = u.new_empty(u.shape[0], *s.shape), torch.empty_like(u)
        for n in range(u.shape[0]):
            states[n] = s
            torch.baddbmm(u[n], w[n], s, alpha=-1, out=v[n])
            s = torch.baddbmm(total[n] * s, k[n].mT, v[n])
        ctx.save_for_backward(w, k, total, states, v)
        return v, states

    @staticmethod
    def backward(ctx, dv, dstates):
        w, k, total, states, v = ctx.saved_tensors
        ds = torch.zeros_like(states[0])
        slopes, du = torch.empty_like(states), torch.empty_like(v)
        for n in reversed(range(v.shape[0])):
            slopes[n] = ds
            torch.baddbmm(dv[n], k[n], ds, out=du[n])
            ds = torch.baddbmm(total[n] * ds + dstates[n], w[n].mT, du[n], alpha=-1)
        return du, -du @ states.mT, v @ slopes.mT, (slopes * states).sum(-1, keepdim=True)


def within_chunks(q, k, v, decay, beta):
    q, k, v, decay, beta = (x.unflatten(0, (-1, CHUNK)).transpose(1, 2) for x in (q, k, v, decay, beta[..., None]))
    reached = decay.cumsum(2)
    last = reached[:, :, -1:]
    middle = last / 2
    late, early, whole = torch.exp(reached - middle), torch.exp(middle - reached), torch.exp(middle)
    keys, queries = k * early, q * late
    delta = beta * (k * late @ keys.mT).tril(-1)
    scores = (queries @ keys.mT).tril()
    writes = torch.cat([beta * v, beta * (k * late * whole)], -1)
    return scores, delta, writes, queries * whole, keys * whole, torch.exp(last).mT


def results(queries, scores, states, values):
    return (queries @ states + scores @ values).transpose(1, 2).flatten(0, 1)


def chunked(wrap):
    """(T, heads, width) each, beta (T, heads)."""
    before, after = wrap(within_chunks), wrap(results)

    def kda(q, k, v, decay, beta):
        scores, delta, writes, queries, keys, total = before(q, k, v, decay, beta)
        solved = torch.linalg.solve_triangular(delta, writes, upper=False, unitriangular=True)
        u, w = solved.split([v.shape[-1], q.shape[-1]], -1)
        values, states = Scan.apply(u, w, keys, total)
        return after(queries, scores, states, values)

    return kda


def decode(q, k, v, decay, beta, state):
    """One token: (sequences, 1, heads, width); the state (sequences, heads, width, width)."""
    q, k, v, decay, beta = (x[:, 0] for x in (q, k, v, decay, beta))
    state = torch.exp(decay)[..., None] * state
    write = beta[..., None] * (v - torch.einsum("bhd,bhde->bhe", k, state))
    state = state + k[..., None] * write[..., None, :]
    return torch.einsum("bhd,bhde->bhe", q, state), state
