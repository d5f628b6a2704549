#!/bin/sh
# setup.sh: a Python environment with the peers that `make bench` measures Strata against (PyTorch and JAX),
# at $STRATA_PEERS_VENV or build/peers. Nothing else needs it. PyTorch's wheel for x86-64 Linux brings CUDA
# libraries along, so this downloads about 3 GB.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${STRATA_PEERS_VENV:-$root/build/peers}
# Debian's interpreter where there is one: others may lack venv or be too new for the wheels.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "peers: $python cannot make environments; install the package python3-venv" >&2
    exit 3
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet numpy torch jax
command -v g++ >/dev/null || echo "peers: torch.compile needs g++, which is not installed" >&2
"$venv/bin/python" - <<'END'
import jax, torch
print("peers: torch", torch.__version__, "and jax", jax.__version__)
END
