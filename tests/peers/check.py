"""Do the peers compute what reference.py computes? Loss, logits and every gradient, to 1e-5 as f32 allows."""
import importlib
import sys

import numpy as np

import cases  # first: it makes tests/models importable
import compare
import compare_kimi
import reference
import tape


def check_kimi(report):
    """Token by token, one row."""
    import peer_torch_kimi
    s, rng = compare_kimi.SETTINGS, np.random.default_rng(9)
    params = compare_kimi.random_parameters(compare_kimi.parameter_shapes(s), rng)
    params = {key: value.astype(np.float32) for key, value in params.items()}
    tokens = rng.integers(0, s["vocab"], (1, 17))
    wide = {key: tape.Var(value.astype(np.float64)) for key, value in params.items()}
    want = compare_kimi.logits_of(tape.Tape(), wide, tokens, s).value[0]
    report.check("peer_torch: kimi_linear: logits, token by token",
                 compare.error_between(peer_torch_kimi.decode(s, params, tokens[0]), want))


def main():
    report = compare.Report()
    for module in ("peer_torch", "peer_jax"):
        try:
            peer = importlib.import_module(module)
        except ImportError as error:
            print(f"skipped: {module}: {error}")
            continue
        if module == "peer_torch":
            check_kimi(report)
        for name in reference.MODELS:
            params, tokens, targets = cases.model_case(name, compare.SETTINGS, 3, 19)
            wide = {key: value.astype(np.float64) for key, value in params.items()}
            want = reference.evaluate(name, compare.SETTINGS, wide, tokens, targets)
            if module == "peer_torch":
                logits = peer.decode(name, compare.SETTINGS, params, tokens)
                report.check(f"{module}: {name}: logits, token by token",
                             compare.error_between(logits, want["logits"]))
            report.compare(f"{module}: {name}",
                           peer.evaluate(name, compare.SETTINGS, params, tokens, targets), want)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
