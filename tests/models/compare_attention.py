"""compare_attention.py STRATA MODELS_DIR: attention alone (tests/models/attention) against NumPy in f64: the result and
every gradient, over lengths, masks, groups of heads and widths, in f32 and bf16; and that it is kernels of attention.
"""
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
from tensors import bf16

BATCH = 2
CASES = {
    "one token": {"t": 1},
    "causal": {"t": 300},  # some chunks of keys, the last one not whole
    "all": {"t": 137, "causal": "false"},
    "window": {"t": 333, "window": 40},
    "window longer than a chunk": {"t": 400, "window": 200},
    "groups": {"t": 150, "h": 2, "r": 3},
    "one head of keys": {"t": 90, "h": 1, "r": 4, "causal": "false"},
    "192 and 128 wide": {"t": 200, "dk": 192, "dv": 128, "scale": 192**-0.5},
    "odd widths, large scale": {"t": 75, "dk": 13, "dv": 3, "scale": 2},
    "scores of some thousand": {"t": 75, "r": 2, "scale": 300},
    "equal scores": {"t": 170, "keys_alike": True},
}
CROSS = {
    "fewer queries": {"t": 40, "s": 500, "ahead": 460},
    "one query": {"t": 1, "s": 700, "ahead": 600},
    "fewer keys": {"t": 300, "s": 90, "ahead": 0},
}
# Lengths of the sequences in each row of the batch.
PACKED = {
    "packed, causal": ({"h": 2, "r": 2}, [[100, 0, 0, 0, 1, 37, 12, 0], [0, 1, 0, 0, 149, 0, 0, 0]]),
    "packed, one has everything": ({"h": 2}, [[0, 0, 150, 0], [150, 0, 0, 0]]),
    "packed, all": ({"causal": "false"}, [[0, 60, 1, 0, 9], [70, 0, 0, 0, 0]]),
    "packed, window": ({"window": 9, "dk": 13}, [[5, 70, 1], [76, 0, 0]]),
    "packed, single tokens": ({}, [[1] * 20 + [0], [0] + [1] * 20]),
}
# The same of the keys: queries of a segment without keys see nothing.
PACKED_CROSS = {
    "segments without keys": ({}, [[30, 3, 40], [0, 73]], [[80, 0, 55], [100, 35]]),
    "no key at all": ({"r": 3}, [[9, 3], [12]], [[0, 0, 40], [40]]),
}
DEFAULTS = {"h": 2, "r": 1, "dk": 8, "dv": 4, "t": 11, "scale": 0.35}
STORAGE = {"f32": 2.0**-24, "bf16": 2.0**-8}  # the most by which a number is rounded, of itself
F32 = STORAGE["f32"]
FACTORS = 0.0  # the same of weights and of gradients of scores: kernels for CPUs multiply them as they are, those for GPUs in 16 bits


# ---- attention


def mask_of(s, keys):
    behind = np.arange(s["t"])[:, None] - np.arange(keys)
    seen = behind >= -s["ahead"] if "ahead" in s else np.full(behind.shape, True)
    if s.get("causal", "true") == "true" and "s" not in s:
        seen &= behind >= 0
    return seen & (behind < s["window"]) if "window" in s else seen


def weigh(q, k, s, segments):
    """Scores (0 where they are not seen), their logarithmic sums and the weights: [b, h, r, t, s]."""
    scores = np.einsum("bthrd,bshd->bhrts", q, k) * s["scale"]
    seen = mask_of(s, k.shape[1])[None]
    if segments:
        seen = seen & (segments[0][:, :, None] == segments[1][:, None, :])
    seen = np.broadcast_to(seen[:, None, None], scores.shape)
    top = np.maximum(np.where(seen, scores, -np.inf).max(-1, keepdims=True), -1e30)
    p = np.where(seen, np.exp(np.minimum(scores - top, 0)), 0)
    total = np.maximum(p.sum(-1, keepdims=True), 1e-30)  # nothing where nothing is seen
    return np.where(seen, scores, 0), np.where(seen, top + np.log(total), 0), p / total


def evaluate(q, k, v, g, s, segments=None):
    """The results, and what limits() needs of the way to them."""
    scores, lse, p = weigh(q, k, s, segments)
    y = np.einsum("bhrts,bshe->bthre", p, v)
    up = np.einsum("bthre,bshe->bhrts", g, v) - np.einsum("bthre,bthre->bhrt", g, y)[..., None]
    ds = p * up * s["scale"]
    return {"y": y, "loss": (g * y).sum(), "grad.v": np.einsum("bhrts,bthre->bshe", p, g),
            "grad.q": np.einsum("bhrts,bshd->bthrd", ds, k), "grad.k": np.einsum("bhrts,bthrd->bshd", ds, q)}, (scores, lse, p, up)


def limits(q, k, v, g, s, want, way, storage):
    """How far each element of the results may be off by all roundings on its way, in the worst case. Operands are exact; sums of
    n terms, in f32, have n roundings; results are rounded as they are stored.
    """
    q, k, v, g = (np.abs(x) for x in (q, k, v, g))
    (scores, lse, p, up), keys, queries = way, k.shape[1], q.shape[1] * q.shape[3]
    score = np.einsum("bthrd,bshd->bhrts", q, k) * s["scale"] * (q.shape[-1] + 2) * F32
    # A weight is off by a share of itself: what its score, the others in its sum, and the argument of exp are off.
    share = score + score.max(-1, keepdims=True) + F32 * (2 * np.abs(scores) + 2 * np.abs(lse) + keys + 32)
    errors = {}

    def stored(name, error):
        errors[name] = error + storage * (np.abs(want[name]) + error)
        return errors[name]

    y = stored("y", np.einsum("bhrts,bshe->bthre", p * (share + FACTORS + keys * F32), v))
    errors["loss"] = (g * y).sum() + g.size * F32 * (g * np.abs(want["y"])).sum()
    # Of g v, and of the sum of g y, where y is what was stored.
    sums = np.einsum("bthre,bshe->bhrts", g, v) * (v.shape[-1] + 1) * F32
    sums += np.einsum("bthre,bthre->bhrt", g, y + (v.shape[-1] + 1) * F32 * np.abs(want["y"]))[..., None]
    ds, slope = s["scale"] * p * np.abs(up), s["scale"] * p * (np.abs(up) * (share + FACTORS + 4 * F32) + sums)
    stored("grad.q", np.einsum("bhrts,bshd->bthrd", slope + ds * keys * F32, k))
    stored("grad.k", np.einsum("bhrts,bthrd->bshd", slope + ds * queries * F32, q))
    stored("grad.v", np.einsum("bhrts,bthre->bshe", p * (share + FACTORS + queries * F32), g))
    return {name: error * (1 + 4 * storage) for name, error in errors.items()}  # roundings of what has been rounded


# ---- cases


def segments_of(lengths):
    return np.stack([np.repeat(np.arange(len(row)), row) for row in lengths]).astype(np.int32)


def compare_packed(strata, report, model, name, case, rng):
    segments = [segments_of(lengths) for lengths in case[1:]]
    s = {**case[0], "t": segments[0].shape[1]}
    if len(segments) > 1:
        s |= {"s": segments[1].shape[1]}
        inputs = {"segment": segments[0], "key_segment": segments[1]}
    else:
        s |= {"sequences": len(case[1][0])}
        inputs = {"offsets": np.pad(np.cumsum(case[1], 1), ((0, 0), (1, 0))).astype(np.int32)}
    compare_case(strata, report, model, name, s, rng, (inputs, segments[0], segments[-1]))


def places(tokens):
    return np.eye(BATCH * tokens, dtype=np.float32).reshape(BATCH, tokens, -1)


def draw(s, rng):
    keys, heads = s.get("s", s["t"]), (s["h"], s["r"])
    shapes = {"q": (BATCH, s["t"], *heads, s["dk"]), "k": (BATCH, keys, s["h"], s["dk"]),
              "v": (BATCH, keys, s["h"], s["dv"]), "upstream": (BATCH, s["t"], *heads, s["dv"])}
    leaves = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
    if s.get("keys_alike"):
        leaves["k"][:] = leaves["k"][:, :1]
    return leaves


def compare_case(strata, report, model, name, case, rng, packed=None):
    s = {**DEFAULTS, **case}
    leaves = draw(s, rng)
    inputs, *segments = packed or ({},)
    inputs |= {"at": places(s["t"])}
    settings = {key: value for key, value in s.items() if key not in ("keys_alike", "t", "s")} | {"n": BATCH * s["t"]}
    if "s" in s:
        inputs |= {"key_at": places(s["s"])}
        settings |= {"m": BATCH * s["s"]}
    extents = {key: s[key] for key in ("t", "s") if key in s} | {"b": BATCH}
    regions = strata.call("show", model, settings | extents, "--stage", "regions", "--grad").decode()
    report.check(f"{name}: kernels of attention", 0 if " = attend_dk " in regions and " = attend " in regions else 1)
    for dtype in ("f32", "bf16"):
        if dtype == "bf16":
            leaves = {key: bf16(x) for key, x in leaves.items()}
        params = {key: x.reshape(-1, *x.shape[2:]) for key, x in leaves.items()}
        upstream = params.pop("upstream")
        got = strata.run(model, settings, params, {"upstream": upstream, **inputs}, "--dtype", dtype)
        wide = [x.astype(np.float64) for x in leaves.values()]
        want, way = evaluate(*wide, s, segments)
        for key in want:
            got[key] = got[key].reshape(want[key].shape)
        compare_results(report, f"{name}, {dtype}", got, want, limits(*wide, s, want, way, STORAGE[dtype]))


def compare_results(report, name, got, want, limit):
    """Each element against its own limit; told is the worst error's share of it."""
    for key in want:
        share = np.abs(got[key] - want[key]) / np.maximum(limit[key], 1e-30)
        report.check(f"{name}: {key}, of its limit", np.max(np.where(np.isfinite(share), share, np.inf)), 1)


def main(program, _models):
    rng = np.random.default_rng(12)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, Path(__file__).parent / "attention", folder)
        for model, cases in (("attention", CASES), ("cross", CROSS)):
            for name, case in cases.items():
                compare_case(strata, report, model, name, case, rng)
        for model, cases in (("packed", PACKED), ("packed_cross", PACKED_CROSS)):
            for name, case in cases.items():
                compare_packed(strata, report, model, name, case, rng)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
