"""The layers of models/std/linear_attention.strata in float64 NumPy, token by token, written from their papers.

`linear_layers.py` alone tests itself: gradients against finite differences.
"""
import sys

import numpy as np

import tape as tp


# ---- parts. Axes: b batch, t tokens, h heads, k elements of a key, v elements of a value


def shifted(tape, x, by):
    """y[:, t] = x[:, t - by], 0 before the first token."""
    def pull(g):
        grad = np.zeros_like(g)
        grad[:, :grad.shape[1] - by] = g[:, by:]
        return [grad]

    y = np.zeros_like(x.value)
    y[:, by:] = x.value[:, :y.shape[1] - by]
    return tape.record(y, [x], pull)


def softplus(tape, x):
    return tp.elementwise(tape, x, np.logaddexp(0, x.value), 1 / (1 + np.exp(-x.value)))


def feature(tape, x):
    """elu(x) + 1."""
    below = np.exp(np.minimum(x.value, 0))
    return tp.elementwise(tape, x, np.maximum(x.value, 0) + below, np.where(x.value > 0, 1, below))


def unit_l2(tape, x, eps=1e-6):
    r = 1 / np.sqrt(np.sum(x.value**2, -1, keepdims=True) + eps)
    y = x.value * r
    return tape.record(y, [x], lambda g: [r * (g - y * np.sum(g * y, -1, keepdims=True))])


def short_conv(tape, x, w, bias=None):
    taps, y = w.value.shape[-1], None
    for i in range(min(taps, x.value.shape[1])):
        term = tp.mul(tape, shifted(tape, x, i), tp.part(tape, w, (..., taps - 1 - i)))
        y = term if y is None else tp.add(tape, y, term)
    return tp.silu(tape, y if bias is None else tp.add(tape, y, bias))


def along_time(tape, xs):
    return tape.record(np.stack([x.value for x in xs], 1), list(xs), lambda g: [g[:, t] for t in range(g.shape[1])])


def recurrence(tape, q, k, v, decay=None, beta=None, delta=False, scale=1.0):
    """decay: (b, t, h, k) or (b, t, h, 1); beta: (b, t, h)."""
    (b, tokens, h, width), e = k.value.shape, v.value.shape[-1]
    state, out = tp.Var(np.zeros((b, h, width, e))), []
    if decay is not None:
        tape.decays.append(decay)
    for t in range(tokens):
        now = (slice(None), t)
        query, key, write = (tp.part(tape, x, now) for x in (q, k, v))
        if decay is not None:
            factor = tp.exp(tape, tp.part(tape, decay, now))
            state = tp.mul(tape, state, tp.reshape(tape, factor, (b, h, -1, 1)))
        if delta:
            held = tp.contract(tape, "bhkv,bhk->bhv", state, key)
            write = tp.add(tape, write, tp.scale(tape, held, -1))
        if beta is not None:
            write = tp.mul(tape, write, tp.reshape(tape, tp.part(tape, beta, now), (b, h, 1)))
        state = tp.add(tape, state, tp.mul(tape, tp.reshape(tape, key, (b, h, width, 1)),
                                           tp.reshape(tape, write, (b, h, 1, e))))
        out.append(tp.scale(tape, tp.contract(tape, "bhkv,bhk->bhv", state, query), scale))
    return along_time(tape, out)


# ---- layers. shapes(s): {parameter: shape}; run(tape, p, x, s), s: settings such as d, h, dk


class Layer:
    eps = 1e-5  # of the norm of the result

    def __init__(self, tape, params, s):
        self.t, self.p, self.s = tape, params, s

    def map(self, x, name):
        """x times a map of d to the axes of heads."""
        w = self.p[name]
        axes = "hkv"[:w.value.ndim - 1]
        return tp.contract(self.t, f"btd,d{axes}->bt{axes}", x, w)

    def low_rank(self, x, first, second):
        return tp.contract(self.t, "btl,lhk->bthk", tp.contract(self.t, "btd,dl->btl", x, self.p[first]), self.p[second])

    def conv(self, x, name):
        return short_conv(self.t, x, self.p[f"{name}.w"], self.p.get(f"{name}.bias"))

    def normed(self, y):
        return tp.rms_norm(self.t, y, self.p["rms_norm.gain"], self.eps)

    def out(self, y):
        return tp.contract(self.t, "bthv,hvd->btd", y, self.p["wo"])

    @staticmethod
    def maps(s, *more):
        h, k, v, d = s["h"], s["dk"], s["dv"], s["d"]
        every = {"wq": (d, h, k), "wk": (d, h, k), "wv": (d, h, v), "wo": (h, v, d), "wg": (d, h, v), "wb": (d, h),
                 "wa": (d, h), "rms_norm.gain": (v,), "conv_q.w": (h, k, s["taps"]), "conv_k.w": (h, k, s["taps"]),
                 "conv_v.w": (h, v, s["taps"]), "f1": (d, s["rank"]), "f2": (s["rank"], h, k), "g1": (d, s["rank"]),
                 "g2": (s["rank"], h, v), "a_log": (h,)}
        return {name: every[name] for name in ("wq", "wk", "wv", "wo") + more}

    def scale(self):
        return self.s["dk"] ** -0.5


class Plain(Layer):
    eps = 1e-6

    @classmethod
    def shapes(cls, s):
        return cls.maps(s, "rms_norm.gain")

    def run(self, x):
        q, k = (feature(self.t, self.map(x, name)) for name in ("wq", "wk"))
        return self.out(self.normed(recurrence(self.t, q, k, self.map(x, "wv"), scale=self.scale())))


class Delta(Layer):
    CONVS = ("wb", "conv_q.w", "conv_k.w", "conv_v.w", "rms_norm.gain")

    @classmethod
    def shapes(cls, s):
        return cls.maps(s, *cls.CONVS)

    def decay(self, x):
        return None

    def gate(self, y, x):
        return y

    def run(self, x):
        t = self.t
        q, k = (unit_l2(t, self.conv(self.map(x, f"w{name}"), f"conv_{name}")) for name in "qk")
        v, beta = self.conv(self.map(x, "wv"), "conv_v"), tp.sigmoid(t, self.map(x, "wb"))
        y = recurrence(t, q, k, v, self.decay(x), beta, True, self.scale())
        return self.out(self.gate(self.normed(y), x))


class GatedDelta(Delta):
    @classmethod
    def shapes(cls, s):
        return {**cls.maps(s, *cls.CONVS, "wa", "wg", "a_log"), "dt_bias": (s["h"],)}

    def rate(self, f):
        """-exp(a) softplus(f), a number a head."""
        t = self.t
        rate = tp.scale(t, tp.exp(t, self.p["a_log"]), -1)
        return tp.mul(t, tp.reshape(t, rate, rate.value.shape + (1,) * (f.value.ndim - 3)), softplus(t, f))

    def decay(self, x):
        g = self.rate(tp.add(self.t, self.map(x, "wa"), self.p["dt_bias"]))
        return tp.reshape(self.t, g, g.value.shape + (1,))

    def gate(self, y, x):
        return tp.mul(self.t, y, tp.silu(self.t, self.map(x, "wg")))


class Kda(GatedDelta):
    @classmethod
    def shapes(cls, s):
        return {**cls.maps(s, *cls.CONVS, "f1", "f2", "g1", "g2", "a_log"), "dt_bias": (s["h"], s["dk"])}

    def decay(self, x):
        t = self.t
        f = tp.add(t, self.low_rank(x, "f1", "f2"), self.p["dt_bias"])
        if self.s["least"] == 0:
            return self.rate(f)
        steepness = tp.reshape(t, tp.exp(t, self.p["a_log"]), (-1, 1))
        return tp.scale(t, tp.sigmoid(t, tp.mul(t, steepness, f)), self.s["least"])

    def gate(self, y, x):
        return tp.mul(self.t, y, tp.sigmoid(self.t, self.low_rank(x, "g1", "g2")))


class RetNet(Layer):
    @classmethod
    def shapes(cls, s):
        return cls.maps(s, "wg")

    def run(self, x):
        t = self.t
        q, k = (tp.rope(t, self.map(x, name)) for name in ("wq", "wk"))
        decay = np.log(1 - 2.0 ** (-5 - np.arange(self.s["h"])))[:, None]
        decay = tp.Var(np.broadcast_to(decay, x.value.shape[:2] + decay.shape))
        y = recurrence(t, q, k, self.map(x, "wv"), decay, scale=self.scale())
        return self.out(tp.mul(t, tp.unit_rms(t, y, -1, 1e-6), tp.silu(t, self.map(x, "wg"))))


class Gla(Layer):
    @classmethod
    def shapes(cls, s):
        return {**cls.maps(s, "wg", "f1", "f2", "rms_norm.gain"), "bias": (s["h"], s["dk"])}

    def run(self, x):
        t = self.t
        f = tp.add(t, self.low_rank(x, "f1", "f2"), self.p["bias"])
        decay = tp.scale(t, softplus(t, tp.scale(t, f, -1)), -1 / 16)  # log sigmoid(f) / 16
        y = recurrence(t, *(self.map(x, name) for name in ("wq", "wk", "wv")), decay, scale=self.scale())
        return self.out(tp.mul(t, self.normed(y), tp.silu(t, self.map(x, "wg"))))


class Mamba2(Layer):
    """h groups of r heads; a group shares keys and queries of width n."""

    @classmethod
    def shapes(cls, s):
        d, g, r, n, v, taps = (s[name] for name in ("d", "h", "r", "n", "dv", "taps"))
        heads = (g, r)
        return {"wz": (d, g, r, v), "wx": (d, g, r, v), "wb": (d, g, n), "wc": (d, g, n), "wdt": (d, g, r),
                "dt_bias": heads, "a_log": heads, "skip": heads, "norm": heads + (v,), "wo": heads + (v, d),
                "conv_x.w": heads + (v, taps), "conv_x.bias": heads + (v,), "conv_b.w": (g, n, taps),
                "conv_b.bias": (g, n), "conv_c.w": (g, n, taps), "conv_c.bias": (g, n)}

    def heads(self, x):
        """Repeated for each head of a group; groups and heads in one axis."""
        b, tokens, g, n = x.value.shape
        wide = tp.mul(self.t, tp.reshape(self.t, x, (b, tokens, g, 1, n)), tp.Var(np.ones((self.s["r"], 1))))
        return tp.reshape(self.t, wide, (b, tokens, -1, n))

    def run(self, x):
        t, p = self.t, self.p
        v, k, q = (self.conv(self.map(x, f"w{name}"), f"conv_{name}") for name in "xbc")
        dt = softplus(t, tp.add(t, self.map(x, "wdt"), p["dt_bias"]))
        decay = tp.mul(t, tp.scale(t, tp.exp(t, p["a_log"]), -1), dt)
        b, tokens, g, r, e = v.value.shape
        y = recurrence(t, self.heads(q), self.heads(k), tp.reshape(t, v, (b, tokens, g * r, e)),
                       tp.reshape(t, decay, (b, tokens, g * r, 1)), tp.reshape(t, dt, (b, tokens, g * r)))
        y = tp.add(t, tp.reshape(t, y, v.value.shape), tp.mul(t, tp.reshape(t, p["skip"], (g, r, 1)), v))
        y = tp.mul(t, y, tp.silu(t, self.map(x, "wz")))
        y = tp.mul(t, tp.unit_rms(t, y, (-2, -1), 1e-5), p["norm"])
        return tp.contract(t, "bthkv,hkvd->btd", y, p["wo"])


LAYERS = {"linear_plain": Plain, "delta_net": Delta, "retnet": RetNet, "mamba2": Mamba2, "gated_delta_net": GatedDelta,
          "gla": Gla, "kda": Kda}


def random_parameters(shapes, rng):
    """Nothing at a special value; decays of very different strength. Queries are like keys, so that what a first token reads
    is not so small that its norm is rounding."""
    params = {}
    for name, shape in shapes.items():
        noise = rng.standard_normal(shape)
        if name.split(".")[-1] in ("gain", "norm", "skip"):
            params[name] = 1 + 0.3 * noise
        elif name.endswith(".w"):
            params[name] = noise / np.sqrt(shape[-1])
        elif name.endswith(("bias", "a_log")):
            params[name] = noise
        else:
            params[name] = noise / np.sqrt(np.prod(shape[:-1]) if name.endswith("wo") else shape[0])
            twin = name[:-1] + "q"
            if name.endswith("wk") and shapes.get(twin) == shape:
                params[name] = 0.8 * params[twin] + 0.6 * params[name]
    return params


def segments(offsets, tokens):
    """Of one row: where each sequence that has tokens begins and ends. What is before or behind all of them is one."""
    cuts = [0, *([] if offsets is None else offsets), tokens]
    return [(first, end) for first, end in zip(cuts, cuts[1:]) if first < end]


def evaluate(member, params, x, upstream, offsets, s):
    """Each sequence by itself. The loss is half the sum of (result + upstream)^2."""
    return evaluate_with_decays(member, params, x, upstream, offsets, s)[0]


def evaluate_with_decays(member, params, x, upstream, offsets, s):
    """And the decays of each sequence, with their gradients."""
    tape = tp.Tape()
    variables = {key: tp.Var(value) for key, value in {**params, "x": x}.items()}
    y, losses = np.zeros_like(upstream), []
    for row in range(x.shape[0]):
        for first, end in segments(None if offsets is None else offsets[row], x.shape[1]):
            place = (slice(row, row + 1), slice(first, end))
            one = LAYERS[member](tape, variables, s).run(tp.part(tape, variables["x"], place))
            y[place] = one.value
            apart = tp.add(tape, one, tp.Var(upstream[place]))
            losses.append(tp.scale(tape, tp.total(tape, tp.mul(tape, apart, apart), (0, 1, 2)), 0.5))
    loss = losses[0]
    for more in losses[1:]:
        loss = tp.add(tape, loss, more)
    tape.backward(loss)
    grads = {f"grad.{key}": var.grad for key, var in variables.items()}
    return {"logits": y, "loss": loss.value, **grads}, tape.decays


SETTINGS = {"d": 12, "h": 2, "r": 3, "dk": 6, "dv": 7, "n": 5, "taps": 4, "rank": 3, "least": 0}


def self_test():
    """Finite differences along a random direction."""
    rng, worst = np.random.default_rng(1), 0.0
    offsets = [[0, 6], [0, 3, 3, 4]]
    for member in LAYERS:
        for least in (0, -5) if member == "kda" else (0,):
            s = {**SETTINGS, "least": least}
            params = random_parameters(LAYERS[member].shapes(s), rng)
            x, upstream = rng.standard_normal((2, 2, 6, s["d"]))
            got = evaluate(member, params, x, upstream, offsets, s)
            for key, value in {**params, "x": x}.items():
                way, step = rng.standard_normal(value.shape), 1e-6
                ends = []
                for sign in (1, -1):
                    moved = {**params, "x": x, key: value + sign * step * way}
                    ends.append(evaluate(member, {k: v for k, v in moved.items() if k != "x"}, moved["x"], upstream,
                                         offsets, s)["loss"])
                slope, want = (ends[0] - ends[1]) / (2 * step), np.sum(got[f"grad.{key}"] * way)
                worst = max(worst, abs(slope - want) / (1 + abs(want)))
    print(f"worst difference {worst:.1e}")
    return 0 if worst < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(self_test())
