"""What bench_gpu.py measures: for each case Strata's artifact and what counts of it, and the peers' side of it
(tests/peers/peer_cuda.py). All sizes are far beyond the L2 cache but those of small contractions."""
from dataclasses import dataclass, field

TOKENS = 32768
GIB = 1 << 30
# GPU memory that programs of a case take together, in times of its tensors, as far as it can be told before.
EAGER, OTHERS = 6, 8


@dataclass
class Case:
    key: str
    title: str
    model: str = ""  # none: Strata has no part in it
    settings: dict = field(default_factory=dict)
    entry: str = "infer"
    kernels: str = ""  # of bench_step; empty: the whole run
    peer: str = ""
    peers: tuple = ("torch",)
    bytes: float = 0  # that must be moved, at least
    flops: float = 0
    memory: float = 0  # bytes of GPU memory that all contestants take
    alone: bool = False  # contestants do not fit beside each other
    batch: int = 0
    context: int = 0
    options: tuple = ()  # of strata compile, besides

    def command(self):
        """Options of strata compile."""
        line = [item for key, value in self.settings.items() for item in ("--set", f"{key}={value}")]
        line += ["--batch", str(self.batch), "--context", str(self.context)] if self.batch else []
        return [self.model, *line, *self.options, "--mode", "infer" if self.entry == "infer" else "train"]


def options(**settings):
    return ",".join(f"{key}={value}" for key, value in settings.items())


def depth(direction, d, n, tokens):
    tensor = tokens * d * 2
    both = direction == "both"
    peers = ["torch", "torch-compile", "fla"]
    memory = n * tensor * (EAGER + OTHERS)
    if memory > 120 * GIB:  # what a stack of copies takes
        peers.remove("torch")
        memory = n * tensor * OTHERS
    return Case(f"attn_res_{direction}_d{d}_n{n}", f"d {d}, N {n}", "tests/bench/depth_bf16.strata",
                {"d": d, "n": n, "T": tokens}, "grad" if both else "infer", "softmax,mul.",
                f"attn_res_{direction}:{options(d=d, n=n, t=tokens)}", tuple(peers),
                bytes=tensor * (n + 1 + (2 * n + 1 if both else 0)), memory=memory, alone=memory > 110 * GIB)


def block(direction, d, n, s, tokens, phases):
    """The reads of a block's s sublayers over n completed blocks and the sum so far, which is updated before and
    normalised after."""
    tensor, both = tokens * d * 2, direction == "both"
    # A merge reads what the first phase gave, the sum so far and a result, writes a sum and a norm; the first has no result.
    forward = n + s + 5 * s - 2 if phases == 2 else s * (n + 4) - 2
    # Merges read four gradients and values, and write two; the sources, s gradients, the sources' gradients.
    backward = 6 * s + n + s + n if phases == 2 else s * (3 * n + 6)
    return Case(f"attn_block_{direction}_d{d}_n{n}_s{s}_p{phases}",
                f"d {d}, N {n}, {s} sublayers, {'two phases' if phases == 2 else 'one by one'}",
                "tests/bench/depth_block_bf16.strata", {"d": d, "n": n, "s": s, "T": tokens},
                "grad" if both else "infer", "softmax", f"attn_block_{direction}:{options(d=d, n=n, s=s, t=tokens)}",
                ("torch-compile", "fla"), bytes=tensor * (forward + (backward if both else 0)),
                memory=tensor * (n + 6 * s) * OTHERS, options=("--two-phase", "on" if phases == 2 else "off"))


def row(name, d, tokens):
    return Case(name, f"{name} of {tokens} rows of {d}", "tests/bench/rows_bf16.strata",
                {"d": d, "T": tokens, "softmax_too": int(name == "softmax")}, "infer",
                "softmax,reduce_" if name == "softmax" else "reduce_sum", f"{name}:{options(d=d, t=tokens)}",
                ("torch", "torch-compile"), bytes=4 * tokens * d, memory=20 * tokens * d)


def adamw(a):
    return Case("adamw", f"AdamW of {a}² f32 parameters", "tests/bench/adamw.strata", {"a": a, "b": a, "T": 64},
                "train", "div", f"adamw:{options(a=a, b=a)}", ("torch",), bytes=28 * a * a, memory=64 * a * a)


def product(n, epilogue):
    names = ("product", "product_silu", "product_add")
    titles = ("", ", then silu", ", plus a residual")
    return Case(f"{names[epilogue]}_{n}", f"{n}³{titles[epilogue]}", "tests/bench/contraction_bf16.strata",
                {"n": n, "k": n, "T": n, "epilogue": epilogue}, "infer", "largest",
                f"{names[epilogue]}:{options(m=n, n=n, k=n)}", ("torch", "torch-compile") if epilogue else ("torch",),
                flops=2 * n**3, memory=20 * n * n + 3 * GIB)


def step(key, title, batch, context, gib, **settings):
    return Case(key, title, "models/attnres_block.strata", settings, "train", "",
                f"attnres_block:{options(**settings, B=batch, T=context)}", ("torch", "torch-compile"),
                memory=gib * GIB, batch=batch, context=context)


def sections(small):
    """(title, cases), most wanted first. small: sizes at which everything can be tried out without a GPU."""
    tokens, top = (64, 64) if small else (TOKENS, 8192)
    widths, counts = ((32,), (3,)) if small else ((4096, 1024, 2048, 7168), (8, 16, 32))
    tiny = dict(vocab=64, d=32, h=2, r=1, dk=16, ff=48, layers=2, block=2)
    yield "Memory", [Case("copy", "device-to-device copy of 4 GiB", peer="copy:mib=" + ("1" if small else "4096"),
                          bytes=2 * (1 << 20 if small else 4 * GIB), memory=10 * GIB)]
    products = [n for n in (8192, 4096, 2048, 1024, 64) if n <= top and (small or n > 64)]
    yield "Contractions", [product(n, 0) for n in products]
    yield "Contractions with an epilogue", [product(n, e) for n in products for e in (1, 2)]
    yield "Rows", [row("rms_norm", 32 if small else 4096, tokens), row("softmax", 32 if small else 4096, tokens),
                   adamw(64 if small else 8192)]
    yield "A small training step", [
        step("small_step", "attnres_block, d 256, 4 layers, T 256, B 8", 8, 256, 6,
             **(tiny if small else dict(vocab=512, d=256, h=4, r=1, dk=64, ff=640, layers=4, block=4)))]
    for direction in ("forward", "both"):
        name = "AttnRes, forward" if direction == "forward" else "AttnRes, forward and backward"
        yield f"{name}: {tokens} tokens", [depth(direction, d, n, tokens) for n in counts for d in widths]
    sizes = [(32, 3, 2, 64)] if small else [(4096, 16, 8, 8192), (7168, 8, 4, 8192)]  # the second: Kimi K3's
    for direction in ("forward", "both"):
        name = "A block's reads, forward" if direction == "forward" else "A block's reads, forward and backward"
        yield name, [block(direction, *size, phases) for size in sizes for phases in (2, 1)]
    yield "A training step", [
        step("step", "attnres_block, d 1024, 16 layers, T 2048, B 8", 8, 16 if small else 2048, 110,
             **(tiny if small else dict(vocab=16384, d=1024, h=16, r=1, dk=64, ff=2816, layers=16, block=8)))]
