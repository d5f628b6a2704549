"""What variants/variants.strata adds, in float64 NumPy: ways to connect sublayers that the library does not have, and
the switches of those that it has. variants.py alone tests itself.
"""
import sys

import schemes
import tape as tp
from schemes import Param


class Temperature(schemes.Sources):
    @staticmethod
    def own(s, i):
        shape = (s["heads"], s["d"] // s["heads"])
        return {"temperature_mix.query": Param(shape, 0, 0.5 * shape[1] ** -0.5, 0),
                "temperature_mix.temperature": Param(shape[:1], 1, 0.3, 1)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, p = self.tape, self.params
        query, temperature = (p[f"{at}.temperature_mix.{name}"] for name in ("query", "temperature"))
        whole = sources[0].value.shape
        v = tp.stack(t, [tp.reshape(t, x, whole[:-1] + query.value.shape) for x in sources[-6:]])
        score = tp.mul(t, temperature, self.scores(query, tp.unit_rms(t, v, -1, self.s["eps"])))
        return tp.reshape(t, self.weighted(tp.softmax(t, score, 0), v), whole)


class Recency(schemes.Blocks):
    @staticmethod
    def own(s, i):
        count = 1 + -(-i // s["block"])
        return {"recency_mix.query": Param((s["d"],), 0, 0.5 * s["d"] ** -0.5, 0),
                "recency_mix.nearness": Param((count,), 0, 0.5, 0), "recency_mix.share": Param((), 0, 0.5, 0)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, v = self.tape, tp.stack(self.tape, sources)
        query, nearness, share = (self.params[f"{at}.recency_mix.{name}"] for name in ("query", "nearness", "share"))
        score = self.scores(query, tp.unit_rms(t, v, -1, self.s["eps"]))
        p = tp.softmax(t, tp.add(t, score, tp.reshape(t, nearness, (-1, 1, 1))), 0)
        rest = self.weighted(p, v)
        newer = tp.add(t, sources[-1], tp.scale(t, rest, -1))
        return tp.add(t, rest, tp.mul(t, tp.sigmoid(t, share), newer))


class Difference(schemes.Sources):
    @staticmethod
    def own(s, i):
        query = Param((s["d"],), 0, 0.5 * s["d"] ** -0.5, 0)
        return {"difference_mix.query": query, "difference_mix.other": query,
                "difference_mix.part": Param((), 0, 0.5, 0)}

    def mix(self, sources, at):
        if len(sources) == 1:
            return sources[0]
        t, v = self.tape, tp.stack(self.tape, sources)
        query, other, part = (self.params[f"{at}.difference_mix.{name}"] for name in ("query", "other", "part"))
        k = tp.unit_rms(t, v, -1, self.s["eps"])
        less = tp.mul(t, tp.sigmoid(t, part), tp.softmax(t, self.scores(other, k), 0))
        return self.weighted(tp.add(t, tp.softmax(t, self.scores(query, k), 0), tp.scale(t, less, -1)), v)


class HeadsWhole(schemes.Heads):
    normalised = (-2, -1)


class SigmoidNormalised(schemes.Sigmoid):
    def weights(self, p):
        return tp.mul(self.tape, p, tp.reciprocal(self.tape, tp.total(self.tape, p, 0)))


class StaticSum(schemes.StaticMix):
    @staticmethod
    def own(s, i):
        return {"static_mix.weight": Param((i + 1,), 1, 0.5, 1)}

    def weights(self, p):
        return p


class DenseSublayers(schemes.Dense):
    period = 1


class ReZeroAlone(schemes.ReZero):
    prenorm = False


VARIANTS = {"temperature": Temperature, "recency": Recency, "difference": Difference, "heads_whole": HeadsWhole,
            "sigmoid_normalised": SigmoidNormalised, "static_sum": StaticSum, "dense_sublayers": DenseSublayers,
            "rezero_alone": ReZeroAlone}

if __name__ == "__main__":
    sys.exit(schemes.self_test(VARIANTS))
