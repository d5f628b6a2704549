"""compare_mapping.py STRATA MODELS_DIR: checkpoints made for elsewhere by `strata export` against NumPy: names, shapes,
values, types and files; and `strata import` of them, bit for bit. Each step of a mapping alone, then Kimi Linear.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import tensors

# A model of parameters alone; what it computes does not matter.
MODEL = """model m {
    dim a = 2, b = 3, c = 5
    param w[a, b, c] = 1
    param v[a, c] = 2
    state s[c] = 0
    input x[a] : f32
    output y = sum(w, [b, c]) * x + sum(v * s, c)
}
"""
KIMI = {"size": "tiny", "sparse": "true", "e": 5, "top": 2, "wide": 24, "layers": 4}


class Strata:
    def __init__(self, program, folder):
        self.program, self.folder = program, Path(folder)

    def call(self, command, model, *options, expect=0):
        line = [self.program, command, model, "-q", "--target", "cpu", *map(str, options)]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == expect, f"{line}: {done.returncode}\n{done.stderr}"
        return done.stderr

    def out(self, params, model, mapping, *options):
        """The exported folder."""
        folder = self.folder / "out"
        subprocess.run(["rm", "-rf", folder], check=True)
        tensors.write(self.folder / "p.safetensors", params)
        self.call("export", model, "--params", self.folder / "p.safetensors", "--map", mapping, "-o", folder, *options)
        return folder

    def back(self, source, model, mapping, *options):
        self.call("import", model, "--from", source, "--map", mapping, "-o", self.folder / "q.safetensors", *options)
        return tensors.read(self.folder / "q.safetensors")


def read_folder(folder):
    """All tensors of the files that the index names, each of which must be where it says; and the files' names."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = {name: tensors.read(folder / name) for name in sorted(set(index["weight_map"].values()))}
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "model.safetensors.index.json"])
    found = {name: files[file][name] for name, file in index["weight_map"].items()}
    assert sum(map(len, files.values())) == len(found)
    count = len(files)
    assert list(files) == [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    return found, list(files), index["metadata"]["total_size"]


def same(what, got, wanted):
    assert sorted(got) == sorted(wanted), f"{what}: {sorted(set(got) ^ set(wanted))}"
    for name, array in wanted.items():
        assert got[name].shape == array.shape, f"{what}: {name} {got[name].shape} {array.shape}"
        assert got[name].tobytes() == np.ascontiguousarray(array).tobytes(), f"{what}: {name}"


def check(strata, what, model, mapping, params, theirs, *options):
    got, files, _ = read_folder(strata.out(params, model, mapping, *options))
    same(what, got, theirs)
    same(what, strata.back(strata.folder / "out", model, mapping), params)
    print(f"{what}: {len(got)} tensors in {len(files)} files")


def check_steps(strata, random):
    """Each step alone and together; some are not their own inverse, so that a direction mistaken is seen."""
    params = {"w": random.normal(size=(2, 3, 5)), "v": random.normal(size=(2, 5)), "s": random.normal(size=5)}
    params = {name: array.astype("<f4") for name, array in params.items()}
    w, v, s = params["w"], params["v"], params["s"]
    plain = [{"ours": "v", "name": "x.v"}, {"ours": "s", "name": "x.s"}]
    rest = {"x.v": v, "x.s": s}
    model = strata.folder / "m.strata"
    model.write_text(MODEL)

    def case(what, rules, theirs, *options):
        path = strata.folder / "map.json"
        path.write_text(json.dumps({"rules": rules}))
        check(strata, what, model, path, params, theirs, *options)

    case("rename", [{"ours": "w", "name": "x.w"}, *plain], {"x.w": w, **rest})
    case("transpose", [{"ours": "w", "name": "x", "shape": ["c", "a", "b"], "steps": [{"transpose": [1, 2, 0]}]}, *plain],
         {"x": w.transpose(2, 0, 1), **rest})
    case("reshape", [{"ours": "w", "name": "x", "shape": [1, "a * b", "c"], "steps": [{"reshape": ["a", "b", "c"]}]},
                     *plain], {"x": w.reshape(1, 6, 5), **rest})
    stack = {"stack": {"axis": 1, "over": "k", "count": "b"}}
    case("stack", [{"ours": "w", "name": "x.{k + 1}.w", "shape": ["c", "a"], "steps": [{"transpose": [1, 0]}, stack]}, *plain],
         {**{f"x.{k + 1}.w": w[:, k].T for k in range(3)}, **rest})

    def part(begin, end):
        return {"slice": {"axis": 1, "begin": begin, "end": end}}

    # One tensor of theirs holds w and v: [a, b c + c] by rows.
    both = ["a", "(b + 1) * c"]
    case("slice", [{"ours": "w", "name": "x", "shape": both, "steps": [part("c", "(b + 1) * c"), {"reshape": ["a", "b", "c"]}]},
                   {"ours": "v", "name": "x", "shape": both, "steps": [part(0, "c")]}, plain[1]],
         {"x": np.concatenate([v, w.reshape(2, 15)], 1), "x.s": s})
    # Every third column, and what is left, from an axis made by a reshape.
    third = ["c", "b + 1", "a"]
    case("slice of a reshape",
         [{"ours": "w", "name": "x", "shape": ["c", "(b + 1) * a"],
           "steps": [{"reshape": third}, part(0, "b"), {"transpose": [2, 1, 0]}]},
          {"ours": "v", "name": "x", "shape": ["c", "(b + 1) * a"],
           "steps": [{"reshape": third}, part("b", "b + 1"), {"reshape": ["c", "a"]}, {"transpose": [1, 0]}]}, plain[1]],
         {"x": np.concatenate([w, v[:, None]], 1).transpose(2, 1, 0).reshape(5, 8), "x.s": s})
    case("files", [{"ours": "w", "name": "x.w"}, *plain], {"x.w": w, **rest}, "--shard-size", 1)
    check_types(strata, params, model)


def check_types(strata, params, model):
    path = strata.folder / "map.json"
    path.write_text(json.dumps({"rules": [{"ours": "w", "name": "x.w", "dtype": "BF16"}, {"ours": "v", "name": "x.v"},
                                          {"ours": "s", "name": "x.s", "dtype": "F32"}]}))
    got, _, size = read_folder(strata.out(params, model, path))
    same("types", got, {"x.w": tensors.bf16(params["w"]), "x.v": params["v"], "x.s": params["s"]})
    assert size == 2 * 30 + 4 * 15
    folder = strata.out(params, model, path, "--dtype", "bf16")
    rounded = {"w": tensors.bf16(params["w"]), "v": tensors.bf16(params["v"]), "s": params["s"]}
    same("types", strata.back(folder, model, path), rounded)
    # A folder may hold one file without an index, and a file may be named itself; I32 does for a float.
    alone = strata.folder / "alone"
    alone.mkdir()
    whole = {"x.w": np.arange(30, dtype="<i4").reshape(2, 3, 5), "x.v": params["v"].astype("<f8"), "x.s": params["s"]}
    tensors.write(alone / "model.safetensors", whole)
    wanted = {**params, "w": whole["x.w"].astype("<f4")}
    same("one file", strata.back(alone, model, path), wanted)
    same("one file", strata.back(alone / "model.safetensors", model, path), wanted)
    print("types: as the rules say, else --dtype, else as stored")


# ---- Kimi Linear

def rows(w, inputs):
    """x @ w as the weight of a torch.nn.Linear: outputs by inputs."""
    return w.reshape(int(np.prod(w.shape[:inputs])), -1).T


def kimi_attention(p, at, layer):
    own = {key[len(at) + 1:]: value for key, value in p.items() if key.startswith(at + ".")}
    a = f"model.layers.{layer}.self_attn"
    if at.endswith("mla"):
        kv = np.concatenate([own["wk"], own["wv"]], 2)  # a head's keys, then its values
        return {f"{a}.q_proj.weight": rows(own["wq"], 1), f"{a}.o_proj.weight": rows(own["wo"], 2),
                f"{a}.kv_a_proj_with_mqa.weight": np.concatenate([own["wc"].T, own["wr"].T]),
                f"{a}.kv_a_layernorm.weight": own["rms_norm.gain"], f"{a}.kv_b_proj.weight": rows(kv, 1)}
    theirs = {f"{a}.{x}_proj.weight": rows(own["w" + x], 1) for x in "qkvb"}
    for ours, x in (("f1", "f_a"), ("f2", "f_b"), ("g1", "g_a"), ("g2", "g_b")):
        theirs[f"{a}.{x}_proj.weight"] = rows(own[ours], 1)
    for x in "qkv":
        theirs[f"{a}.{x}_conv1d.weight"] = own[f"conv_{x}.w"].reshape(-1, 1, 4)
    theirs[f"{a}.A_log"] = own["a_log"].reshape(1, 1, -1, 1)
    theirs[f"{a}.dt_bias"] = own["dt_bias"].reshape(-1)
    theirs[f"{a}.o_norm.weight"] = own["rms_norm.gain"]
    theirs[f"{a}.o_proj.weight"] = rows(own["wo"], 2)
    return theirs


def kimi_layer(p, layer, mixer):
    ours, theirs = f"layers.{layer}", f"model.layers.{layer}"
    out = kimi_attention(p, f"{ours}.mix.{mixer}", layer)
    out[f"{theirs}.input_layernorm.weight"] = p[f"{ours}.mix.rms_norm.gain"]
    out[f"{theirs}.post_attention_layernorm.weight"] = p[f"{ours}.ffn.rms_norm.gain"]
    for sublayer, name in (("mix", "self_attention_res"), ("ffn", "mlp_res")):
        if f"{ours}.{sublayer}.attn_res.query" in p:
            out[f"{theirs}.{name}_proj.weight"] = p[f"{ours}.{sublayer}.attn_res.query"][None]
            out[f"{theirs}.{name}_norm.weight"] = p[f"{ours}.{sublayer}.attn_res.gain"]
    if layer == 0:
        for x in ("gate", "up", "down"):
            out[f"{theirs}.mlp.{x}_proj.weight"] = p[f"{ours}.ffn.swiglu.{x}"].T
        return out
    moe = f"{theirs}.block_sparse_moe"
    out[f"{moe}.gate.weight"] = p[f"{ours}.ffn.route.router"].T
    out[f"{moe}.gate.e_score_correction_bias"] = p[f"{ours}.ffn.route.bias"]
    for x, w in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
        out[f"{moe}.shared_experts.{x}_proj.weight"] = p[f"{ours}.ffn.shared.{x}"].T
        for e, expert in enumerate(p[f"{ours}.ffn.experts.{x}"]):
            out[f"{moe}.experts.{e}.{w}.weight"] = expert.T
    return out


def kimi_theirs(p):
    out = {"model.embed_tokens.weight": p["embed"], "lm_head.weight": p["head"].T, "model.norm.weight": p["out.rms_norm.gain"]}
    if "out.attn_res.query" in p:
        out["model.output_attn_res_proj.weight"] = p["out.attn_res.query"][None]
        out["model.output_attn_res_norm.weight"] = p["out.attn_res.gain"]
    for layer in range(KIMI["layers"]):
        out.update(kimi_layer(p, layer, "mla" if layer == 3 else "kda"))
    return out


def check_kimi(strata, models, random):
    model, mapping = models / "kimi_linear.strata", models / "kimi_linear.hf.json"
    settings = [text for item in KIMI.items() for text in ("--set", "=".join(map(str, item)))]
    strata.call("init", model, *settings, "-o", strata.folder / "init.safetensors")
    initial = tensors.read(strata.folder / "init.safetensors")
    params = {name: random.normal(size=array.shape).astype("<f4") for name, array in initial.items()}
    params.update({f"layers.{i}.ffn.route.bias": random.normal(size=KIMI["e"]).astype("<f4") for i in (1, 2, 3)})

    folder = strata.out(params, model, mapping, *settings, "--shard-size", 100000)
    got, files, size = read_folder(folder)
    same("kimi_linear", got, kimi_theirs(params))
    assert size == sum(array.nbytes for array in got.values())
    assert all((folder / file).stat().st_size < 120000 for file in files if file != files[0])
    same("kimi_linear", strata.back(folder, model, mapping, *settings), params)
    print(f"kimi_linear: {len(got)} tensors in {len(files)} files, and back")

    # As it was published: a plain residual, or parameters of Attention Residuals that are the model's initial values.
    published = {name: array for name, array in params.items() if ".attn_res." not in name}
    plain = [*settings, "--set", "residual=standard"]
    folder = strata.out(published, model, mapping, *plain, "--dtype", "bf16")
    got = read_folder(folder)[0]
    exact = (".A_log", ".dt_bias", "_conv1d.weight", "_correction_bias")
    same("kimi_linear", got, {name: array if name.endswith(exact) else tensors.bf16(array)
                              for name, array in kimi_theirs(published).items()})
    same("kimi_linear", strata.back(strata.out(published, model, mapping, *plain), model, mapping, *plain), published)
    new = {name: array for name, array in initial.items() if ".attn_res." in name}
    same("kimi_linear", strata.back(strata.folder / "out", model, mapping, *settings), {**published, **new})
    print("kimi_linear: with a plain residual, also into one with Attention Residuals")

    # States that the parameters lack have their initial values.
    folder = strata.out(initial, model, mapping, *settings)
    biases = {f"layers.{i}.ffn.route.bias": np.zeros(KIMI["e"], "<f4") for i in (1, 2, 3)}
    same("kimi_linear", strata.back(folder, model, mapping, *settings), {**initial, **biases})


def public_shapes():
    """Of the public checkpoint, from its configuration."""
    d, p, heads, rank, vocab = 2304, 4096, 32, 512, 163840
    shapes = {"model.embed_tokens.weight": [vocab, d], "lm_head.weight": [vocab, d], "model.norm.weight": [d]}
    for layer in range(27):
        at = f"model.layers.{layer}"
        a = f"{at}.self_attn"
        shapes.update({f"{at}.input_layernorm.weight": [d], f"{at}.post_attention_layernorm.weight": [d],
                       f"{a}.o_proj.weight": [d, p]})
        if layer + 1 in (4, 8, 12, 16, 20, 24, 27):
            shapes.update({f"{a}.q_proj.weight": [heads * 192, d], f"{a}.kv_a_proj_with_mqa.weight": [rank + 64, d],
                           f"{a}.kv_a_layernorm.weight": [rank], f"{a}.kv_b_proj.weight": [heads * 256, rank]})
        else:
            shapes.update({f"{a}.{x}_proj.weight": [p, d] for x in "qkv"})
            shapes.update({f"{a}.{x}_conv1d.weight": [p, 1, 4] for x in "qkv"})
            shapes.update({f"{a}.{x}_a_proj.weight": [128, d] for x in "fg"})
            shapes.update({f"{a}.{x}_b_proj.weight": [p, 128] for x in "fg"})
            shapes.update({f"{a}.b_proj.weight": [heads, d], f"{a}.A_log": [1, 1, heads, 1], f"{a}.dt_bias": [p],
                           f"{a}.o_norm.weight": [128]})
        wide, mlp = (9216, f"{at}.mlp") if layer == 0 else (1024, f"{at}.block_sparse_moe.shared_experts")
        shapes.update({f"{mlp}.gate_proj.weight": [wide, d], f"{mlp}.up_proj.weight": [wide, d],
                       f"{mlp}.down_proj.weight": [d, wide]})
        if layer:
            moe = f"{at}.block_sparse_moe"
            shapes.update({f"{moe}.gate.weight": [256, d], f"{moe}.gate.e_score_correction_bias": [256]})
            for e in range(256):
                shapes.update({f"{moe}.experts.{e}.w1.weight": [1024, d], f"{moe}.experts.{e}.w3.weight": [1024, d],
                               f"{moe}.experts.{e}.w2.weight": [d, 1024]})
    return shapes


def check_public(strata, models):
    """Every name and shape of the checkpoint of 48 G parameters fits: what fails at last is the file to be written. The
    numbers are holes in a file."""
    header, offset = {}, 0
    for name, shape in public_shapes().items():
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    assert offset == 2 * 49122681728  # 26 biases of 256 experts beside the parameters
    text = json.dumps(header).encode()
    with open(strata.folder / "public.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    (strata.folder / "file").write_text("")
    error = strata.call("import", models / "kimi_linear.strata", "--set", "size=b48", "--set", "residual=standard", "--from",
                        strata.folder / "public.safetensors", "--map", models / "kimi_linear.hf.json",
                        "-o", strata.folder / "file/p.safetensors", expect=3)
    assert "file/p.safetensors: error: cannot write" in error, error
    print(f"kimi_linear: {len(header)} tensors of the public checkpoint fit, {offset // 2} numbers")


def main(program, models):
    random = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as folder:
        strata = Strata(program, folder)
        check_steps(strata, random)
        check_kimi(strata, Path(models), random)
        check_public(strata, Path(models))


if __name__ == "__main__":
    main(*sys.argv[1:])
