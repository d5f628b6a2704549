"""A tiny reverse-mode tape in float64 NumPy: the operations of a transformer, derivatives written by hand.

The reference for Strata's models; it shares no code and no derivation with the compiler.
"""
import math

import numpy as np


class Var:
    """A value on the tape; `grad` is filled by Tape.backward."""

    def __init__(self, value):
        self.value = np.asarray(value, dtype=np.float64)
        self.grad = np.zeros_like(self.value)


class Tape:
    def __init__(self):
        self.steps = []
        self.decays = []  # of linear attention, for a look at their gradients

    def record(self, value, inputs, pull):
        """A new Var; pull(g) gives the gradient of each input from g, the gradient of the value."""
        out = Var(value)
        self.steps.append((out, inputs, pull))
        return out

    def backward(self, loss):
        loss.grad = np.ones_like(loss.value)
        for out, inputs, pull in reversed(self.steps):
            for var, grad in zip(inputs, pull(out.grad)):
                var.grad = var.grad + grad


def summed_to(shape, g):
    """The gradient of a value of this shape that was repeated to the shape of g, as NumPy does."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] > 1), keepdims=True)


def add(tape, a, b):
    return tape.record(a.value + b.value, [a, b],
                       lambda g: [summed_to(x.value.shape, g) for x in (a, b)])


def mul(tape, a, b):
    return tape.record(a.value * b.value, [a, b],
                       lambda g: [summed_to(a.value.shape, g * b.value), summed_to(b.value.shape, g * a.value)])


def scale(tape, x, factor, offset=0.0):
    """factor * x + offset; both are numbers or constant arrays of x's shape."""
    return tape.record(factor * x.value + offset, [x], lambda g: [g * factor])


def elementwise(tape, x, value, slope):
    return tape.record(value, [x], lambda g: [g * slope])


def exp(tape, x):
    y = np.exp(x.value)
    return elementwise(tape, x, y, y)


def reciprocal(tape, x):
    return elementwise(tape, x, 1 / x.value, -1 / x.value**2)


def sigmoid(tape, x):
    y = 1 / (1 + np.exp(-x.value))
    return elementwise(tape, x, y, y * (1 - y))


def tanh(tape, x):
    y = np.tanh(x.value)
    return elementwise(tape, x, y, 1 - y**2)


def gelu(tape, x):
    """x F(x) with F the normal distribution; F' is its density."""
    below = 0.5 * (1 + np.vectorize(math.erf)(x.value / math.sqrt(2)))
    density = np.exp(-x.value**2 / 2) / math.sqrt(2 * math.pi)
    return elementwise(tape, x, x.value * below, below + x.value * density)


def total(tape, x, axes, keep=False):
    """The sum over axes, numbers from the last: -1, or (-2, -1)."""
    return tape.record(x.value.sum(axes, keepdims=keep), [x], lambda g: [
        np.broadcast_to(g if keep else np.expand_dims(g, axes), x.value.shape)])


def softmax(tape, x, axis):
    p = np.exp(x.value - x.value.max(axis, keepdims=True))
    p /= p.sum(axis, keepdims=True)
    return tape.record(p, [x], lambda g: [p * (g - np.sum(g * p, axis, keepdims=True))])


def unit_rms(tape, x, axes, eps):
    """y = x r, r = 1 / sqrt(mean(x^2) + eps) over the axes: dx = r (g - y mean(g y))."""
    r = 1 / np.sqrt(np.mean(x.value**2, axes, keepdims=True) + eps)
    y = x.value * r
    return tape.record(y, [x], lambda g: [r * (g - y * np.mean(g * y, axes, keepdims=True))])


def stack(tape, xs):
    """Along a new first axis."""
    return tape.record(np.stack([x.value for x in xs]), list(xs), list)


def reshape(tape, x, shape):
    return tape.record(x.value.reshape(shape), [x], lambda g: [g.reshape(x.value.shape)])


def part(tape, x, key):
    """x[key], where key picks no element twice."""
    def pull(g):
        grad = np.zeros_like(x.value)
        grad[key] = g
        return [grad]

    return tape.record(x.value[key], [x], pull)


def contract(tape, spec, a, b):
    """einsum of two operands. Every index of one operand must be in the other or in the result."""
    operands, out = spec.split("->")
    left, right = operands.split(",")

    def pull(g):
        return [np.einsum(f"{out},{right}->{left}", g, b.value, optimize=True),
                np.einsum(f"{left},{out}->{right}", a.value, g, optimize=True)]

    return tape.record(np.einsum(spec, a.value, b.value, optimize=True), [a, b], pull)


def gather_rows(tape, table, index):
    def pull(g):
        grad = np.zeros_like(table.value)
        np.add.at(grad, index, g)
        return [grad]

    return tape.record(table.value[index], [table], pull)


def silu(tape, x):
    gate = 1 / (1 + np.exp(-x.value))
    return tape.record(x.value * gate, [x], lambda g: [g * gate * (1 + x.value * (1 - gate))])


def rms_norm(tape, x, gain, eps):
    """gain * x r, r = 1 / sqrt(mean(x^2) + eps). With u = g * gain: dx = r (u - x r^2 mean(u x))."""
    r = 1 / np.sqrt(np.mean(x.value**2, -1, keepdims=True) + eps)

    def pull(g):
        u = g * gain.value
        dx = r * (u - x.value * r**2 * np.mean(u * x.value, -1, keepdims=True))
        return [dx, (g * x.value * r).reshape(-1, gain.value.size).sum(0)]

    return tape.record(gain.value * x.value * r, [x, gain], pull)


def turn(x, angle):
    """Turns element j of the last axis with element j + n/2; angle: (T, n/2), T the second axis of x."""
    angle = angle.reshape((1, angle.shape[0]) + (1,) * (x.ndim - 3) + (angle.shape[1],))
    low, high = np.split(x, 2, -1)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)


def rope(tape, x, base=10000.0):
    """x: (B, T, ..., n). The angle of pair j at position t is t * base^(-2j/n)."""
    n = x.value.shape[-1]
    angle = np.arange(x.value.shape[1])[:, None] * base ** (-2 * np.arange(n // 2) / n)
    return tape.record(turn(x.value, angle), [x], lambda g: [turn(g, -angle)])


def causal_softmax(tape, s, scale):
    """softmax(scale * s) over the last axis, the keys; the axis before it is the queries."""
    seen = np.tril(np.ones(s.value.shape[-2:], dtype=bool))
    z = np.where(seen, scale * s.value, -np.inf)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def pull(g):
        return [scale * p * (g - np.sum(g * p, -1, keepdims=True))]

    return tape.record(p, [s], pull)


def attn_res(tape, sources, query, gain, eps):
    """h = sum_j p_j v_j, p = softmax_j(s_j), s_j = r_j (u . v_j), u = query * gain, r_j = 1/rms(v_j).

    Backward, D the width: ds_j = p_j (g . v_j - g . h), dv_j = p_j g + ds_j r_j (u - s_j r_j v_j / D),
    du = sum over tokens and j of ds_j r_j v_j.
    """
    v = np.stack([x.value for x in sources])  # (N, B, T, D)
    u = query.value * gain.value
    r = 1 / np.sqrt(np.mean(v**2, -1, keepdims=True) + eps)
    s = r * np.sum(u * v, -1, keepdims=True)
    p = np.exp(s - s.max(0))
    p /= p.sum(0)
    h = np.sum(p * v, 0)

    def pull(g):
        ds = p * (np.sum(g * v, -1, keepdims=True) - np.sum(g * h, -1, keepdims=True))
        dv = p * g + ds * r * (u - s * r * v / u.size)
        du = np.sum(ds * r * v, (0, 1, 2))
        return [*dv, du * gain.value, du * query.value]

    return tape.record(h, [*sources, query, gain], pull)


def mean_cross_entropy(tape, logits, targets):
    """logits: (B, T, vocabulary)."""
    z = logits.value - logits.value.max(-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, targets[..., None], -1)

    def pull(g):
        grad = np.exp(log_p)
        np.put_along_axis(grad, targets[..., None],
                          np.take_along_axis(grad, targets[..., None], -1) - 1, -1)
        return [g * grad / targets.size]

    return tape.record(-chosen.mean(), [logits], pull)
