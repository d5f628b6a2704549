"""compare_kimi.py STRATA MODELS_DIR: models/kimi_linear.strata against NumPy: parameters, outputs, loss and every
gradient; latent attention with its keys in two parts, Kimi Delta Attention token by token (linear_layers.py).
"""
import sys
import tempfile

import numpy as np

import compare
import compare_schemes
import linear_layers
import reference
import schemes
import tape as tp

SETTINGS = {"vocab": 29, "d": 20, "h": 2, "dk": 6, "dr": 4, "rank": 8, "ff": 28, "layers": 5, "every": 4, "block": 4,
            "least": 0}
CASES = {"kimi_linear": {}, "bounded, every second layer": {"least": -5, "every": 2, "layers": 3, "block": 3}}
BATCH, CONTEXT = 2, 9
WAYS = (["--reference"], [])


def has_latent_attention(s, layer):
    return layer % s["every"] == s["every"] - 1 or layer == s["layers"] - 1


def mla_shapes(s):
    d, h, dk, dr, rank = (s[key] for key in ("d", "h", "dk", "dr", "rank"))
    return {"wq": (d, h, dk + dr), "wc": (d, rank), "wr": (d, dr), "wk": (rank, h, dk), "wv": (rank, h, dk),
            "wo": (h, dk, d), "rms_norm.gain": (rank,)}


def mla(tape, x, p, s):
    c = tp.rms_norm(tape, tp.contract(tape, "btd,dr->btr", x, p["wc"]), p["rms_norm.gain"], 1e-5)
    q = tp.contract(tape, "btd,dhk->bthk", x, p["wq"])
    own = tp.contract(tape, "bthk,bshk->bhts", tp.part(tape, q, (..., slice(s["dk"]))),
                      tp.contract(tape, "btr,rhk->bthk", c, p["wk"]))
    common = tp.contract(tape, "bthk,bsk->bhts", tp.part(tape, q, (..., slice(s["dk"], None))),
                         tp.contract(tape, "btd,dk->btk", x, p["wr"]))
    weights = tp.causal_softmax(tape, tp.add(tape, own, common), (s["dk"] + s["dr"]) ** -0.5)
    y = tp.contract(tape, "bhts,bshv->bthv", weights, tp.contract(tape, "btr,rhv->bthv", c, p["wv"]))
    return tp.contract(tape, "bthv,hvd->btd", y, p["wo"])


def linear_settings(s):
    return {**s, "dv": s["dk"], "rank": s["dk"], "taps": 4}


def parameter_shapes(s):
    d, ff = s["d"], s["ff"]
    own = {"attn_res.query": (d,), "attn_res.gain": (d,), "rms_norm.gain": (d,)}
    shapes = {"embed": (s["vocab"], d), "head": (d, s["vocab"])}
    scopes = {"out": own}
    for layer in range(s["layers"]):
        at = f"layers.{layer}"
        scopes[f"{at}.mix"] = scopes[f"{at}.ffn"] = own
        if has_latent_attention(s, layer):
            scopes[f"{at}.mix.mla"] = mla_shapes(s)
        else:
            scopes[f"{at}.mix.kda"] = linear_layers.Kda.shapes(linear_settings(s))
        scopes[f"{at}.ffn.swiglu"] = {"gate": (d, ff), "up": (d, ff), "down": (ff, d)}
    shapes.update({f"{at}.{leaf}": shape for at, leaves in scopes.items() for leaf, shape in leaves.items()})
    return shapes


def random_parameters(shapes, rng):
    params = linear_layers.random_parameters(shapes, rng)
    for key, value in params.items():
        if key.endswith("query"):
            params[key] = 0.5 * value
        elif key == "embed":
            params[key] = rng.standard_normal(value.shape)
    return params


def scoped(params, at):
    return {key.removeprefix(f"{at}."): value for key, value in params.items() if key.startswith(f"{at}.")}


def logits_of(tape, p, tokens, s):
    def normed(x, at):
        return tp.rms_norm(tape, x, p[f"{at}.rms_norm.gain"], 1e-5)

    scheme = schemes.Block(tape, p, {**s, "eps": 1e-6}, tp.gather_rows(tape, p["embed"], tokens))
    for layer in range(s["layers"]):
        at = f"layers.{layer}.mix"
        x = normed(scheme.read(2 * layer, at)[0], at)
        if has_latent_attention(s, layer):
            y = mla(tape, x, scoped(p, f"{at}.mla"), s)
        else:
            y = linear_layers.Kda(tape, scoped(p, f"{at}.kda"), linear_settings(s)).run(x)
        scheme.write(2 * layer, at, y)
        at = f"layers.{layer}.ffn"
        x = normed(scheme.read(2 * layer + 1, at)[0], at)
        scheme.write(2 * layer + 1, at, reference.swiglu(tape, x, p, f"{at}.swiglu"))
    x = normed(scheme.finish(2 * s["layers"], "out"), "out")
    return tp.contract(tape, "btd,dv->btv", x, p["head"])


def evaluate(params, tokens, targets, s):
    tape = tp.Tape()
    p = {key: tp.Var(value) for key, value in params.items()}
    logits = logits_of(tape, p, tokens, s)
    loss = tp.mean_cross_entropy(tape, logits, targets)
    tape.backward(loss)
    return {"logits": logits.value, "loss": loss.value, **{f"grad.{key}": var.grad for key, var in p.items()}}


def compare_case(strata, report, name, s, rng):
    shapes = {key: value.shape for key, value in strata.init("kimi_linear", s).items()}
    want = parameter_shapes(s)
    report.check(f"{name}: names and shapes of parameters", 0.0 if shapes == want else np.inf)
    params = {key: value.astype(np.float32) for key, value in random_parameters(want, rng).items()}
    tokens, targets = rng.integers(0, s["vocab"], (2, BATCH, CONTEXT)).astype(np.int32)
    want = evaluate({key: value.astype(np.float64) for key, value in params.items()}, tokens, targets, s)
    for way in WAYS:
        got = strata.run("kimi_linear", s, params, {"tokens": tokens, "targets": targets}, *way)
        report.compare(" ".join([name, *way]), compare_schemes.grouped(got), compare_schemes.grouped(want))


def main(program, models):
    rng = np.random.default_rng(13)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, models, folder)
        for name, more in CASES.items():
            compare_case(strata, report, name, {**SETTINGS, **more}, rng)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
