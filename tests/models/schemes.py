"""The ways to connect sublayers of models/std in float64 NumPy, written from their papers (docs/depth.md), and
models/lm.strata, which has them as settings.

`schemes.py` alone tests itself: gradients against finite differences.
"""
import collections
import itertools
import sys

import numpy as np

import reference
import tape as tp


# Tests draw centre + spread * normal: no parameter is at a special value, and none makes the result sensitive to
# rounding. `first` is the initial value; None if that is drawn.
Param = collections.namedtuple("Param", "shape centre spread first")


class Scheme:
    """What sublayers read and what becomes of their results. One residual stream, as it stands.

    Sublayer i, whose parameters have names that begin with `at`, calls read, which gives its inputs (queries, keys
    and values if there are three), and write. `own` says what parameters it adds: {name: Param}.
    """

    prenorm = True
    head_has_own = False  # the head adds the parameters of one more sublayer

    @staticmethod
    def own(s, i):
        return {}

    def __init__(self, tape, params, settings, x):
        self.tape, self.params, self.s, self.h = tape, params, settings, x
        self.begin(x)

    def begin(self, x):
        pass

    def read(self, i, at):
        return [self.h]

    def write(self, i, at, y):
        self.h = tp.add(self.tape, self.h, y)

    def finish(self, i, at):
        return self.h


# ---- one stream


class Post(Scheme):
    prenorm = False
    factor = 1.0

    @staticmethod
    def own(s, i):
        return {"rms_norm.gain": Param((s["d"],), 1, 0.3, 1)}

    def write(self, i, at, y):
        h = tp.add(self.tape, tp.scale(self.tape, self.h, self.factor), y)
        self.h = tp.rms_norm(self.tape, h, self.params[f"{at}.rms_norm.gain"], self.s["eps"])


class Deep(Post):
    def begin(self, x):
        self.factor = (2 * self.s["layers"]) ** 0.25


class Highway(Scheme):
    @staticmethod
    def own(s, i):
        d = s["d"]
        return {"w": Param((d, d), 0, d**-0.5, None), "bias": Param((d,), -1, 0.5, -2)}

    def write(self, i, at, y):
        t, p = self.tape, self.params
        gate = tp.sigmoid(t, tp.add(t, tp.contract(t, "btd,de->bte", self.h, p[f"{at}.w"]), p[f"{at}.bias"]))
        change = tp.mul(t, gate, tp.add(t, y, tp.scale(t, self.h, -1)))
        self.h = tp.add(t, self.h, change)


class LayerScale(Scheme):
    @staticmethod
    def own(s, i):
        first = 0.1 if s["layers"] <= 18 else 1e-5 if s["layers"] <= 24 else 1e-6
        return {"scale": Param((s["d"],), 0.5, 0.2, first)}

    def write(self, i, at, y):
        self.h = tp.add(self.tape, self.h, tp.mul(self.tape, self.params[f"{at}.scale"], y))


class ReZero(LayerScale):
    @staticmethod
    def own(s, i):
        return {"scale": Param((), 0.5, 0.2, 0)}


# ---- sums over the stream's past


class Dense(Scheme):
    period = 2

    @classmethod
    def own(cls, s, i):
        count = (i + 1) // cls.period + 1
        last = np.eye(count)[-1]
        return {} if (i + 1) % cls.period else {"dense_mix.weight": Param((count,), last, 0.3, last)}

    def begin(self, x):
        self.past = [x]

    def write(self, i, at, y):
        super().write(i, at, y)
        if (i + 1) % self.period:
            return
        self.past.append(self.h)
        t, weight = self.tape, self.params[f"{at}.dense_mix.weight"]
        terms = [tp.mul(t, tp.part(t, weight, j), x) for j, x in enumerate(self.past)]
        self.h = tp.total(t, tp.stack(t, terms), 0)


class Mudd(Scheme):
    @staticmethod
    def ways(s, i):
        return 1 if i + 1 == 2 * s["layers"] else 4

    @staticmethod
    def own(s, i):
        gain = Param((s["d"],), 1, 0.3, 1)
        if i % 2 == 0:
            return {"rms_norm.1.gain": gain, "rms_norm.2.gain": gain}
        count, ways = i // 2 + 2, Mudd.ways(s, i)
        hidden = -(-4 * count // 64) * 64
        return {"mudd_mix.w1": Param((s["d"], hidden), 0, s["d"] ** -0.5, None),
                "mudd_mix.w2": Param((hidden, ways, count), 0, 0.3 * hidden**-0.5, 0),
                "mudd_mix.bias": Param((ways, count), np.eye(count)[-1], 0.3, np.eye(count)[-1])}

    def begin(self, x):
        self.past, self.inputs = [x], [x, x, x]

    def read(self, i, at):
        return self.inputs if i % 2 == 0 else [self.h]

    def write(self, i, at, y):
        super().write(i, at, y)
        if i % 2 == 0:
            return
        t = self.tape
        w1, w2, bias = (self.params[f"{at}.mudd_mix.{name}"] for name in ("w1", "w2", "bias"))
        hidden = tp.gelu(t, tp.contract(t, "btd,dh->bth", tp.unit_rms(t, self.h, -1, self.s["eps"]), w1))
        weight = tp.add(t, tp.contract(t, "bth,hck->btck", hidden, w2), bias)
        self.past.append(self.h)
        sums = tp.contract(t, "btck,kbtd->cbtd", weight, tp.stack(t, self.past))
        *self.inputs, self.h = (tp.part(t, sums, c) for c in range(Mudd.ways(self.s, i)))


# ---- several streams: H' = C H + b y, y = f(a H). Axes: n of streams that are read, m of streams that are written


class Streams(Scheme):
    def begin(self, x):
        self.h = tp.stack(self.tape, [x] * self.s["n"])  # (n, b, t, d)

    def read(self, i, at):
        self.a, self.c, self.b = self.weights(i, at)
        return [tp.contract(self.tape, "btn,nbtd->btd", self.a, self.h)]

    def write(self, i, at, y):
        t = self.tape
        self.h = tp.add(t, tp.contract(t, "btnm,nbtd->mbtd", self.c, self.h),
                        tp.contract(t, "btm,btd->mbtd", self.b, y))

    def finish(self, i, at):
        return tp.total(self.tape, self.h, 0)


class HyperStatic(Streams):
    @staticmethod
    def own(s, i):
        n = s["n"]
        one = np.eye(n)
        return {"hyper_weights.read": Param((n,), one[i % n], 0.5, one[i % n]),
                "hyper_weights.write": Param((n,), 1, 0.5, 1), "hyper_weights.keep": Param((n, n), one, 0.3, one)}

    def weights(self, i, at):
        """The same everywhere: repeated for each batch and position."""
        t, ones = self.tape, tp.Var(np.ones(self.h.value.shape[1:3] + (1,)))
        read, keep, write = (self.params[f"{at}.hyper_weights.{name}"] for name in ("read", "keep", "write"))
        return (tp.mul(t, ones, read), tp.mul(t, tp.reshape(t, ones, ones.value.shape + (1,)), keep),
                tp.mul(t, ones, write))


class Hyper(HyperStatic):
    @staticmethod
    def own(s, i):
        n, d = s["n"], s["d"]
        return {**HyperStatic.own(s, i), "hyper_change.w": Param((d, n + 2), 0, d**-0.5, 0),
                "hyper_change.scale": Param((2,), 0.5, 0.2, 0.01),
                "hyper_change.rms_norm.gain": Param((d,), 1, 0.3, 1)}

    def weights(self, i, at):
        t, p = self.tape, self.params
        a, c, b = super().weights(i, at)
        normed = tp.rms_norm(t, self.h, p[f"{at}.hyper_change.rms_norm.gain"], self.s["eps"])
        z = tp.tanh(t, tp.contract(t, "nbtd,dk->btnk", normed, p[f"{at}.hyper_change.w"]))
        scale = [tp.part(t, p[f"{at}.hyper_change.scale"], k) for k in range(2)]
        return tuple(tp.add(t, static, tp.mul(t, tp.part(t, z, (..., k)), scale[which]))
                     for static, k, which in ((a, 0, 0), (c, slice(2, None), 0), (b, 1, 1)))


class Mhc(Streams):
    prefix = "mhc_weights"

    @staticmethod
    def own(s, i):
        n = s["n"]
        return {"mhc_weights.read": Param((n,), 0, 0.5, 0), "mhc_weights.write": Param((n,), 0, 0.5, 0),
                "mhc_weights.keep": Param((n, n), 0, 0.5, 0), **Mhc.gates("mhc_weights", s, n * n, None)}

    @staticmethod
    def gates(prefix, s, size, first):
        n, d = s["n"], s["d"]
        return {f"{prefix}.gates.phi": Param((n, d, 2 * n + size), 0, (n * d) ** -0.5, first),
                f"{prefix}.gates.scale": Param((3,), 0.6, 0.2, 0.01)}

    def groups(self, at):
        """The three groups of numbers of all streams, scaled."""
        t, n = self.tape, self.s["n"]
        phi, scale = (self.params[f"{at}.{self.prefix}.gates.{name}"] for name in ("phi", "scale"))
        z = tp.contract(t, "nbtd,ndk->btk", tp.unit_rms(t, self.h, (0, -1), self.s["eps"]), phi)
        cuts = (slice(0, n), slice(n, 2 * n), slice(2 * n, None))
        return [tp.mul(t, tp.part(t, scale, g), tp.part(t, z, (..., cut))) for g, cut in enumerate(cuts)]

    def weights(self, i, at):
        t, n = self.tape, self.s["n"]
        read, write, keep = (self.params[f"{at}.mhc_weights.{name}"] for name in ("read", "write", "keep"))
        za, zb, zc = self.groups(at)
        zc = tp.reshape(t, zc, zc.value.shape[:-1] + (n, n))
        c = tp.exp(t, tp.add(t, zc, keep))  # rows are the streams that are written
        for _ in range(20):
            for axis in (-1, -2):
                c = tp.mul(t, c, tp.reciprocal(t, tp.total(t, c, axis, keep=True)))
        identity = tp.Var(np.eye(n))
        return (tp.sigmoid(t, tp.add(t, za, read)), tp.contract(t, "btmn,nk->btkm", c, identity),
                tp.scale(t, tp.sigmoid(t, tp.add(t, zb, write)), 2))


class MhcLite(Mhc):
    prefix = "mhc_lite_weights"

    @staticmethod
    def permutations(n):
        """(n!, m, n), the identity first. In what order the others come is a convention of the parameters' only."""
        def insert(orders, new):
            return [p[:at] + (new,) + p[at:] for at in range(new, -1, -1) for p in orders]

        orders = [()]
        for new in range(n):
            orders = insert(orders, new)
        assert sorted(orders) == sorted(itertools.permutations(range(n)))
        return np.eye(n)[np.array(orders)]

    @staticmethod
    def own(s, i):
        n, p = s["n"], MhcLite.prefix
        count, one = len(MhcLite.permutations(n)), 2 * np.eye(n)[i % n]
        return {f"{p}.read": Param((n,), one, 0.5, one), f"{p}.write": Param((n,), one, 0.5, one),
                f"{p}.matrix": Param((count,), 0, 0.5, 8 * np.eye(count)[0]), **Mhc.gates(p, s, count, 0)}

    def weights(self, i, at):
        t = self.tape
        read, write, matrix = (self.params[f"{at}.{self.prefix}.{name}"] for name in ("read", "write", "matrix"))
        za, zb, zc = self.groups(at)
        mean = tp.softmax(t, tp.add(t, zc, matrix), -1)
        orders = tp.Var(MhcLite.permutations(self.s["n"]))
        return (tp.sigmoid(t, tp.scale(t, tp.add(t, za, read), 1, -1)), tp.contract(t, "bto,omn->btnm", mean, orders),
                tp.scale(t, tp.sigmoid(t, tp.scale(t, tp.add(t, zb, write), 1, -1)), 2))


# ---- mixes of sources


class Sources(Scheme):
    """Every output is a source."""

    head_has_own = True

    @staticmethod
    def count(s, i):
        return i + 1

    def begin(self, x):
        self.sources = [x]

    def read(self, i, at):
        return [self.mix(self.sources, at)]

    def write(self, i, at, y):
        self.sources.append(y)

    def finish(self, i, at):
        return self.mix(self.sources, at)

    def weighted(self, weight, v):
        """Sum over the first axis of weight, which lacks the last axis of v, times v."""
        t = self.tape
        return tp.total(t, tp.mul(t, tp.reshape(t, weight, weight.value.shape + (1,)), v), 0)

    def scores(self, key, v):
        """(sources, b, t) of (d,) or (b, t, d) and (sources, b, t, d)."""
        return tp.total(self.tape, tp.mul(self.tape, key, v), -1)


class Full(Sources):
    name = "attn_res"

    @classmethod
    def own(cls, s, i):
        d = s["d"]
        return {f"{cls.name}.query": Param((d,), 0, 0.5 * d**-0.5, 0), f"{cls.name}.gain": Param((d,), 1, 0.3, 1)}

    def learned(self, at):
        return self.params[f"{at}.{self.name}.query"], self.params[f"{at}.{self.name}.gain"]

    def mix(self, sources, at):
        return sources[0] if len(sources) == 1 else tp.attn_res(
            self.tape, sources, *self.learned(at), self.s["eps"])


class Window(Full):
    def mix(self, sources, at):
        return super().mix([sources[0], *sources[1:][-self.s["window"]:]], at)


class Blocks(Sources):
    """The sources are the embedding, sums of blocks, and the current block's sum so far."""

    def begin(self, x):
        self.sources, self.left = [x], 0
        self.sizes = itertools.chain(self.s.get("blocks", []), itertools.repeat(self.s["block"]))

    def write(self, i, at, y):
        if self.left == 0:
            self.left = next(self.sizes)
            self.sources.append(y)
        else:
            self.sources[-1] = tp.add(self.tape, self.sources[-1], y)
        self.left -= 1


class Block(Blocks, Full):
    pass


class Heads(Blocks, Full):
    name = "heads_mix"
    normalised = -1  # the axes of keys, of which the last two are heads and their channels

    @classmethod
    def own(cls, s, i):
        heads, d = s["heads"], s["d"]
        shape = (heads, d // heads)
        return {f"{cls.name}.query": Param(shape, 0, 0.5 * shape[1] ** -0.5, 0),
                f"{cls.name}.gain": Param(shape, 1, 0.3, 1)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, (query, gain) = self.tape, self.learned(at)
        whole = sources[0].value.shape
        v = tp.stack(t, [tp.reshape(t, x, whole[:-1] + query.value.shape) for x in sources])
        key = tp.mul(t, gain, tp.unit_rms(t, v, self.normalised, self.s["eps"]))
        p = tp.softmax(t, self.scores(query, key), 0)
        return tp.reshape(t, self.weighted(p, v), whole)


class Sigmoid(Full):
    name = "sigmoid_mix"

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, (query, gain) = self.tape, self.learned(at)
        v = tp.stack(t, sources)
        key = tp.mul(t, gain, tp.unit_rms(t, v, -1, self.s["eps"]))
        return self.weighted(self.weights(tp.sigmoid(t, self.scores(query, key))), v)

    def weights(self, p):
        return p


class NoNorm(Sources):
    @staticmethod
    def own(s, i):
        return {"no_norm_mix.query": Param((s["d"],), 0, 0.5 * s["d"] ** -0.5, 0)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, v = self.tape, tp.stack(self.tape, sources)
        return self.weighted(tp.softmax(t, self.scores(self.params[f"{at}.no_norm_mix.query"], v), 0), v)


class InputQuery(Full):
    name = "input_query_mix"

    @classmethod
    def own(cls, s, i):
        d = s["d"]
        return {f"{cls.name}.query": Param((d, d), 0, 0.5 / d, 0), f"{cls.name}.gain": Param((d,), 1, 0.3, 1)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, (w, gain) = self.tape, self.learned(at)
        query = tp.contract(t, "btd,de->bte", tp.unit_rms(t, sources[-1], -1, self.s["eps"]), w)
        v = tp.stack(t, sources)
        key = tp.mul(t, gain, tp.unit_rms(t, v, -1, self.s["eps"]))
        return self.weighted(tp.softmax(t, self.scores(query, key), 0), v)


class StaticMix(Sources):
    @staticmethod
    def own(s, i):
        return {"static_mix.weight": Param((i + 1,), 0, 0.5, 0)}

    def mix(self, sources, at):
        t, weight = self.tape, self.weights(self.params[f"{at}.static_mix.weight"])
        return self.weighted(tp.reshape(t, weight, (-1, 1, 1)), tp.stack(t, sources))

    def weights(self, p):
        return tp.softmax(self.tape, p, 0)


SCHEMES = {"standard": Scheme, "post": Post, "deep": Deep, "highway": Highway, "rezero": ReZero,
           "layer_scale": LayerScale, "dense": Dense, "mudd": Mudd, "hyper_static": HyperStatic, "hyper": Hyper,
           "mhc": Mhc, "mhc_lite": MhcLite, "full": Full, "block": Block, "window": Window, "heads": Heads,
           "sigmoid": Sigmoid, "no_norm": NoNorm, "input_query": InputQuery, "static_mix": StaticMix}


# ---- models/lm.strata


def parameters(scheme, s):
    """{parameter: Param} of the whole model."""
    d, h, r, dk, ff, vocab = (s[name] for name in ("d", "h", "r", "dk", "ff", "vocab"))
    sublayers = {
        "mix": {"attention.wq": (d, h, r, dk), "attention.wk": (d, h, dk), "attention.wv": (d, h, dk),
                "attention.wo": (h, r, dk, d)},
        "ffn": {"swiglu.gate": (d, ff), "swiglu.up": (d, ff), "swiglu.down": (ff, d)},
    }
    gain = Param((d,), 1, 0.3, 1)
    values = {"embed": Param((vocab, d), 0, 1, None), "head": Param((d, vocab), 0, d**-0.5, None)}
    for i in range(2 * s["layers"]):
        name = ("mix", "ffn")[i % 2]
        at = f"layers.{i // 2}.{name}"
        for leaf, shape in sublayers[name].items():
            inputs = np.prod(shape[:-1]) if leaf.endswith("wo") else shape[0]
            values[f"{at}.{leaf}"] = Param(shape, 0, inputs**-0.5, None)
        if scheme.prenorm:
            values[f"{at}.rms_norm.gain"] = gain
        values.update({f"{at}.{leaf}": value for leaf, value in scheme.own(s, i).items()})
    if scheme.prenorm:
        values["out.rms_norm.gain"] = gain
    if scheme.head_has_own:
        values.update({f"out.{leaf}": value for leaf, value in scheme.own(s, 2 * s["layers"]).items()})
    return values


def random_parameters(scheme, s, rng):
    return {name: p.centre + p.spread * rng.standard_normal(p.shape)
            for name, p in parameters(scheme, s).items()}


def evaluate(scheme, settings, params, tokens, targets):
    """{"logits": ..., "loss": ..., "grad.NAME": ... for each parameter}, all float64."""
    s = {"eps": 1e-6, **settings}
    tape = tp.Tape()
    variables = {key: tp.Var(value) for key, value in params.items()}
    state = scheme(tape, variables, s, tp.gather_rows(tape, variables["embed"], tokens))

    def normed(x, name):
        return tp.rms_norm(tape, x, variables[name], s["eps"]) if scheme.prenorm else x

    for i in range(2 * s["layers"]):
        at = f"layers.{i // 2}.{('mix', 'ffn')[i % 2]}"
        x = [normed(x, f"{at}.rms_norm{f'.{k}' if k else ''}.gain") for k, x in enumerate(state.read(i, at))]
        if i % 2 == 0:
            y = reference.attention(tape, x[0], variables, f"{at}.attention", *x[1:])
        else:
            y = reference.swiglu(tape, x[0], variables, f"{at}.swiglu")
        state.write(i, at, y)
    x = normed(state.finish(2 * s["layers"], "out"), "out.rms_norm.gain")
    logits = tp.contract(tape, "btd,dv->btv", x, variables["head"])
    loss = tp.mean_cross_entropy(tape, logits, targets)
    tape.backward(loss)
    return {"logits": logits.value, "loss": loss.value,
            **{f"grad.{key}": var.grad for key, var in variables.items()}}


# ---- the schemes against themselves

SMALL = {"vocab": 11, "d": 12, "h": 1, "r": 2, "dk": 4, "ff": 10, "layers": 2, "block": 3, "window": 2, "n": 3,
         "heads": 3}


def difference_error(scheme, rng, step=1e-5):
    """Error of all gradients together against a central difference in a random direction, relative to their size."""
    params = random_parameters(scheme, SMALL, rng)
    tokens, targets = rng.integers(0, SMALL["vocab"], (2, 2, 5))
    exact = evaluate(scheme, SMALL, params, tokens, targets)
    worst = 0.0
    for _ in range(4):
        way = {key: rng.standard_normal(value.shape) for key, value in params.items()}
        length = np.sqrt(sum(np.sum(value**2) for value in way.values()))
        way = {key: value / length for key, value in way.items()}
        loss = [evaluate(scheme, SMALL, {key: value + sign * step * way[key] for key, value in params.items()},
                         tokens, targets)["loss"] for sign in (1, -1)]
        slope = sum(np.sum(exact[f"grad.{key}"] * way[key]) for key in params)
        size = np.sqrt(sum(np.sum(exact[f"grad.{key}"] ** 2) for key in params))
        worst = max(worst, abs((loss[0] - loss[1]) / (2 * step) - slope) / size)
    return worst


def self_test(which):
    rng = np.random.default_rng(4)
    good = [reference.check(f"{name}: gradients", difference_error(scheme, rng), 1e-9)
            for name, scheme in which.items()]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(self_test(SCHEMES))
