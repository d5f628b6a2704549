"""compare_recurrence.py STRATA MODELS_DIR: linear_attention alone (tests/models/linear/recurrence.strata) against its recurrence
in float64, results, final states and gradients of both: every kind of decay with both rules, inputs that are hard on the
chunkwise form, and packed sequences with states of their own. f32 and bf16. Where $STRATA_LIBCUDA and $STRATA_NVRTC are
the emulation of a GPU (docs/simt.md), segments there too.
"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
from tensors import bf16

SHAPE = {"b": 1, "h": 2, "t": 200, "dk": 32, "dv": 24}  # several chunks, the last not full
STORED, ROUNDING = {"y", "grad.q", "grad.k", "grad.v"}, 2.0**-8  # rounded once where the storage is bf16
# Lengths of packed sequences, a row each; what is left of t belongs to none.
PACKED = {"b": 2, "h": 2, "t": 80, "dk": 32, "dv": 24, "n": 8}
LENGTHS = [[0, 5, 0, 0, 1, 66, 0, 0], [0, 0, 80, 0, 0, 0, 0, 0]]


def recurrence(x, upstream, upstream_final, scale):
    """o, the last state, and the gradients of sum(o * upstream) + sum(state * upstream_final).

    Arrays are [b, h, t, ...]; x: q, k, v, decay, beta, initial and delta.
    """
    decay = x["decay"] if x["decay"].ndim == 4 else x["decay"][..., None]
    alpha, states, writes, holds = np.exp(decay), [x["initial"]], [], []
    tokens = range(x["q"].shape[2])
    o, grads = np.zeros_like(x["v"]), {name: np.zeros_like(value) for name, value in x.items() if name != "delta"}
    for t in tokens:
        kept = alpha[:, :, t, :, None] * states[t]
        held = x["v"][:, :, t] - x["delta"] * np.einsum("bhkv,bhk->bhv", kept, x["k"][:, :, t])
        write = x["beta"][:, :, t, None] * held
        states.append(kept + x["k"][:, :, t, :, None] * write[:, :, None, :])
        o[:, :, t] = scale * np.einsum("bhkv,bhk->bhv", states[-1], x["q"][:, :, t])
        writes.append(write)
        holds.append(held)
    d_state = upstream_final
    for t in reversed(tokens):
        q, k, g = x["q"][:, :, t], x["k"][:, :, t], scale * upstream[:, :, t]
        grads["q"][:, :, t] = np.einsum("bhkv,bhv->bhk", states[t + 1], g)
        d_state = d_state + q[..., None] * g[:, :, None, :]
        d_write = np.einsum("bhkv,bhk->bhv", d_state, k)
        d_held = x["beta"][:, :, t, None] * d_write
        kept = alpha[:, :, t, :, None] * states[t]
        grads["k"][:, :, t] = np.einsum("bhkv,bhv->bhk", d_state, writes[t]) - x["delta"] * np.einsum("bhkv,bhv->bhk", kept, d_held)
        grads["v"][:, :, t], grads["beta"][:, :, t] = d_held, np.sum(d_write * holds[t], -1)
        d_state = d_state - x["delta"] * k[..., None] * d_held[:, :, None, :]
        by_channel = np.sum(d_state * kept, -1)
        grads["decay"][:, :, t] = by_channel if x["decay"].ndim == 4 else by_channel.sum(-1)
        d_state = alpha[:, :, t, :, None] * d_state
    grads["initial"] = d_state
    return o, states[-1], grads


# ---- inputs. Numbers are exact in bf16 where kernels may hold them so


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def draw(shape, rng, cosine=0.0, strength=None, decay=lambda rng, size: -rng.exponential(0.2, size)):
    """Unit keys with `cosine` between any two; strengths in (0, 1) or `strength`."""
    b, h, t, dk, dv = (shape[name] for name in ("b", "h", "t", "dk", "dv"))
    common, own = unit(rng.standard_normal((b, h, 1, dk))), unit(rng.standard_normal((b, h, t, dk)))
    return {"q": bf16(unit(rng.standard_normal((b, h, t, dk)))),
            "k": bf16(unit(np.sqrt(cosine) * common + np.sqrt(1 - cosine) * own)),
            "v": bf16(rng.standard_normal((b, h, t, dv))),
            "heads": decay(rng, (b, h, t)).astype(np.float32), "channels": decay(rng, (b, h, t, dk)).astype(np.float32),
            "beta": (rng.uniform(0, 1, (b, h, t)) if strength is None else np.full((b, h, t), strength)).astype(np.float32),
            "initial": rng.standard_normal((b, h, dk, dv)).astype(np.float32)}


def forgetting(rng, size):
    """Gates that keep everything, that lose everything, and all between."""
    kinds = [0.0, -1e-6, -0.1, -5.0, -80.0, -1e4, -np.inf]
    return rng.choice(kinds, size, p=[0.3, 0.2, 0.3, 0.1, 0.04, 0.03, 0.03])


HARD = {"near parallel keys": ({}, {"cosine": 0.99, "strength": 0.99, "decay": lambda rng, size: np.full(size, -1e-3)}),
        "gates at 0 and far below": ({}, {"decay": forgetting}),
        "segments": ({"h": 1, "t": 1031, "threads": 8}, {"decay": forgetting}),  # a prime number
        "one token": ({"t": 1}, {}), "two tokens": ({"t": 2}, {}), "a chunk and one": ({"t": 65}, {})}


def compare_case(strata, report, name, settings, options, rng):
    shape = {key: settings.get(key, value) for key, value in SHAPE.items()}
    params = draw(shape, rng, **options)
    b, h, t, dv = (shape[key] for key in ("b", "h", "t", "dv"))
    upstream = {"upstream": bf16(rng.standard_normal((b, h, t, dv))),
                "upstream_final": rng.standard_normal(params["initial"].shape).astype(np.float32)}
    compare_run(strata, report, name, ("recurrence", {**shape, **settings}, params, upstream), recurrence)


def compare_run(strata, report, name, case, reference):
    """case: model, settings, parameters, inputs; reference: as recurrence()."""
    model, settings, params, inputs = case
    used = {"q": "q", "k": "k", "v": "v", "beta": "beta", "initial": "initial"}
    if settings["decays"] != "none":
        used["heads" if settings["decays"] == "head" else "channels"] = "decay"
    wide = {ours: params[theirs].astype(np.float64) for theirs, ours in used.items()}
    wide.setdefault("decay", np.zeros(params["heads"].shape))
    y, final, grads = reference({**wide, "delta": float(settings["rule"] == "delta")},
                                *(inputs[key].astype(np.float64) for key in ("upstream", "upstream_final")), settings["dk"] ** -0.5)
    want = {"y": y, "final": final, **{f"grad.{theirs}": grads[ours] for theirs, ours in used.items()}}
    maps = {"key_map": np.eye(settings["dk"], dtype=np.float32), "value_map": np.eye(settings["dv"], dtype=np.float32)}
    settings = dict(settings)
    flags = [f"--{option}={settings.pop(option)}" for option in ("threads", "target") if option in settings]
    for dtype in ("f32",) if case[1].get("target") else ("f32", "bf16"):
        got = strata.run(model, settings, {**params, **maps}, inputs, "--dtype", dtype, *flags)
        for key in want:
            limit = compare.LIMIT + (ROUNDING if dtype == "bf16" and key in STORED else 0)
            report.check(f"{name}, {dtype}: {key}", compare.error_between(got[key], want[key]), limit)


# ---- packed sequences


def apart(longest):
    """recurrence() of each sequence by itself, of its first `longest` tokens; states are [b, n, h, ...]. The rest of a row is 0."""
    def reference(x, upstream, upstream_final, scale):
        y, final = np.zeros_like(x["v"]), np.zeros_like(x["initial"])
        grads = {name: np.zeros_like(value) for name, value in x.items() if name != "delta"}
        for row, lengths in enumerate(LENGTHS):
            for n, (length, end) in enumerate(zip(lengths, np.cumsum(lengths))):
                place = (slice(row, row + 1), slice(None), slice(end - length, end - length + min(length, longest)))
                state = (slice(row, row + 1), n)
                one = {name: value if name == "delta" else value[state if name == "initial" else place] for name, value in x.items()}
                y[place], final[state], partial = recurrence(one, upstream[place], upstream_final[state], scale)
                for name, grad in partial.items():
                    grads[name][state if name == "initial" else place] = grad
        return y.swapaxes(1, 2), final, grads  # tokens before heads, as they are moved back

    return reference


def draw_packed(shape, options, rng, offsets):
    """Parameters and inputs."""
    b, n, h, t, dk, dv = (shape[key] for key in ("b", "n", "h", "t", "dk", "dv"))
    params = draw(shape, rng, **options)
    params["initial"], final = rng.standard_normal((2, b, n, h, dk, dv)).astype(np.float32)
    return params, {"upstream": bf16(rng.standard_normal((b, h, t, dv))), "upstream_final": final, "offsets": offsets.astype(np.int32)}


def compare_packed(strata, report, name, settings, options, rng):
    shape = {**PACKED, "longest": PACKED["t"], **settings}
    drawn = draw_packed(shape, options, rng, np.pad(np.cumsum(LENGTHS, 1), ((0, 0), (1, 0))))
    compare_run(strata, report, name, ("packed_recurrence", shape, *drawn), apart(shape["longest"]))


def compare_bad_offsets(strata, report, rng):
    """They decrease, and are outside of t: as the evaluator, which checks each index, has it."""
    shape = {**PACKED, "n": 4}
    params, inputs = draw_packed(shape, {}, rng, np.array([[-7, 50, 20, 200, 90], [2**31 - 1, -2**31, 5, 3, 2**31 - 1]]))
    params |= {"key_map": np.eye(shape["dk"], dtype=np.float32), "value_map": np.eye(shape["dv"], dtype=np.float32)}
    got, want = (strata.run("packed_recurrence", shape, params, inputs, *way) for way in ([], ["--reference"]))
    for key in want:
        report.check(f"bad offsets: {key}", compare.error_between(got[key], want[key]))


def main(program, _models):
    rng = np.random.default_rng(5)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, Path(__file__).parent / "linear", folder)
        for rule in ("additive", "delta"):
            for decays in ("none", "head", "channel"):
                compare_case(strata, report, f"{rule}, {decays}", {"rule": rule, "decays": decays}, {}, rng)
                for name, (settings, options) in HARD.items():
                    compare_case(strata, report, f"{rule}, {decays}, {name}", {"rule": rule, "decays": decays, **settings}, options, rng)
        for rule, decays in (("additive", "none"), ("delta", "head")):
            compare_packed(strata, report, f"{rule}, {decays}, packed", {"rule": rule, "decays": decays}, {}, rng)
        hardest = {"rule": "delta", "decays": "channel"}
        if "STRATA_LIBCUDA" in os.environ and any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "g++", "clang++")):
            segments, options = HARD["segments"]
            compare_case(strata, report, "segments, emulated GPU", {**hardest, **segments, "target": "cuda:sm_90a"}, options, rng)
        compare_packed(strata, report, "packed, gates at 0 and far below", hardest, {"decay": forgetting}, rng)
        compare_packed(strata, report, "packed, longer than longest", {**hardest, "longest": 50}, {}, rng)
        compare_bad_offsets(strata, report, rng)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
