"""Writes `conditioning.safetensors` and `spread.json`: what each family reads of a text.

    pip install -r ../requirements.txt && python make.py

The encoders are transformers' own, tiny, with weights drawn from torch's generator; the tests draw the same
numbers, so no weights are stored. How the web UI cuts, pads, weighs and joins is restated here for pieces of
text that are written out by hand, independent of any parser.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from tokenizer import tokenizer

START, END = 49406, 49407
torch.set_num_threads(1)
torch.set_grad_enabled(False)

# Width, heads, activation, projection, seed.
SHAPES = {"l": (16, 2, "quick_gelu", None, 11), "h": (24, 2, "gelu", None, 12), "g": (32, 4, "gelu", 20, 13)}
# Of each family its encoders: which, layers from the end, last normalisation, padding, pooled.
STYLES = {
    "sd1": [("l", 1, True, END, False)],
    "sd2": [("h", 2, True, 0, False)],
    "sdxl": [("l", 2, False, END, False), ("g", 2, False, 0, True)],
    "refiner": [("g", 2, False, 0, True)],
}


def build(name):
    width, heads, act, projection, seed = SHAPES[name]
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3, num_attention_heads=heads, hidden_act=act,
        vocab_size=49408, max_position_embeddings=77, bos_token_id=START, eos_token_id=END, projection_dim=projection or width,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()
    g = torch.Generator().manual_seed(seed)
    tensors = {n.removeprefix("text_model."): p for n, p in model.named_parameters()}
    for key in ORDER + (["text_projection.weight"] if projection else []):
        value = tensors.pop(key)
        scale, offset = rule(key)
        value.copy_(torch.randn(value.shape, generator=g) * scale + offset)
    assert not tensors, tensors.keys()
    return model


LAYER = ["layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm2", "mlp.fc1", "mlp.fc2"]
ORDER = ["embeddings.token_embedding.weight", "embeddings.position_embedding.weight"]
ORDER += [f"encoder.layers.{n}.{part}.{leaf}" for n in range(3) for part in LAYER for leaf in ("weight", "bias")]
ORDER += ["final_layer_norm.weight", "final_layer_norm.bias"]


def rule(key):
    """Factor and offset of the numbers of a tensor."""
    if key.endswith("bias"):
        return 0.125, 0.0
    if "norm" in key:
        return 0.25, 1.0
    return (0.5 if "embedding" in key else 0.25), 0.0


def vectors(count, width, seed):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 0.5


# Names of embeddings, their vectors for each encoder.
EMBEDDINGS = {
    "@two": {"l": vectors(2, 16, 21), "g": vectors(2, 32, 22)},
    "@three": {"l": vectors(3, 16, 23), "h": vectors(3, 24, 24)},
}


def chunks(pieces, encoder, encode):
    """Rows of (token, weight, vector); splits only where 75 are full, as these texts have no comma late."""
    out, line = [], []

    def close():
        filled = line + [(END, 1.0, None)] * (75 - len(line))
        out.append([(START, 1.0, None), *filled, (END, 1.0, None)])
        line.clear()

    for piece in pieces:
        if piece is None:
            close()
            continue
        text, weight = piece
        if text in EMBEDDINGS:
            rows = [(0, weight, v) for v in EMBEDDINGS[text][encoder]]
            if len(line) + len(rows) > 75:
                close()
            line += rows
            continue
        for token in encode(text):
            if len(line) == 75:
                close()
            line.append((token, weight, None))
    if line or not out:
        close()
    return out


def run(model, rows, skip, norm, pad, pooled, dtype):
    """One batch of chunks through one encoder: states and pooled text."""
    ids = torch.tensor([[t for t, _, _ in row] for row in rows])
    for row in ids:
        row[row.tolist().index(END) + 1 :] = pad
    base = getattr(model, "text_model", model)

    def insert(_module, _inputs, embedded):
        for i, row in enumerate(rows):
            for k, (_, _, vector) in enumerate(row):
                if vector is not None:
                    embedded[i, k] = vector.to(dtype)
        return embedded

    hook = base.embeddings.token_embedding.register_forward_hook(insert)
    out = model(ids, output_hidden_states=True)
    hook.remove()
    hidden = out.hidden_states[-skip]
    z = base.final_layer_norm(hidden) if norm else hidden
    return z, (out.text_embeds if pooled else None)


def schedule(models, dtype, style, texts, encode, mode="Original", skips=None):
    """All texts of a schedule as one batch: contexts and pooled texts."""
    sides, pooled = [], None
    for index, (name, skip, norm, pad, pools) in enumerate(STYLES[style]):
        skip = skips[index] if skips else skip
        cut = [chunks(pieces, name, encode) for pieces in texts]
        longest = max(len(c) for c in cut)
        empty = chunks([], name, encode)
        cut = [c + empty * (longest - len(c)) for c in cut]
        places = []
        for place in range(longest):
            rows = [c[place] for c in cut]
            z, p = run(models[name], rows, skip, norm, pad, pools, dtype)
            if pools and place == 0:
                pooled = p
            if mode in ("Original", "No norm"):
                weights = torch.tensor([[w for _, w, _ in row] for row in rows], dtype=dtype).unsqueeze(-1)
                mean, z = z.mean(), z * weights
                z = z * (mean / z.mean()) if mode == "Original" else z
            places.append(z)
        sides.append(torch.cat(places, 1))
    return torch.cat(sides, 2), pooled


RED = [("a ", 1.0), ("red", 1.3), (" circle on a ", 1.0), ("blue", 1 / 1.1), (" background", 1.0)]
LONG = [("very " * 80, 1.0), ("long", 0.5)]
CAT, DOG, HAT = ("cat ", 1.0), ("dog ", 1.0), ("hat", 1.4)
# Case: style, texts of the schedule, and what differs from the default.
CASES = {
    "sd1.plain": ("sd1", [[("a red circle", 1.0)]], {}),
    "sd1.empty": ("sd1", [[]], {}),
    "sd1.skip2": ("sd1", [[("a red circle", 1.0)]], {"skips": [2]}),
    "sd1.original": ("sd1", [RED], {}),
    "sd1.nonorm": ("sd1", [RED], {"mode": "No norm"}),
    "sd1.ignore": ("sd1", [RED], {"mode": "Ignore"}),
    "sd1.none": ("sd1", [[("a (red:1.3) BREAK cat", 1.0)]], {"mode": "None"}),
    "sd1.break": ("sd1", [[("cat", 1.1 * 1.1), None, ("dog", 1.0)]], {}),
    "sd1.long": ("sd1", [LONG], {}),
    "sd1.embedding": ("sd1", [[("a ", 1.0), ("@two", 1.2), (" of cat", 1.0)]], {}),
    "sd1.boundary": ("sd1", [[("cat " * 73, 1.0), ("@three", 1.0), (" dog", 1.0)]], {}),
    "sd1.edited": ("sd1", [[CAT, HAT], [DOG, HAT]], {}),
    "sd1.alternated": ("sd1", [[("a", 1.0)], [("b ", 1.0), ("x", 1.5)], [("a", 1.0)]], {}),
    "sd1.uneven": ("sd1", [[CAT, HAT], [("very " * 80, 1.0), HAT]], {}),
    "sd2.plain": ("sd2", [[("a red circle", 1.0)]], {}),
    "sd2.long": ("sd2", [LONG], {}),
    "sd2.embedding": ("sd2", [[("a ", 1.0), ("@three", 1.2), (" of cat", 1.0)]], {}),
    "sdxl.plain": ("sdxl", [[("a red circle", 1.0)]], {}),
    "sdxl.original": ("sdxl", [RED], {}),
    "sdxl.long": ("sdxl", [LONG], {"mode": "No norm"}),
    "sdxl.embedding": ("sdxl", [[("a ", 1.0), ("@two", 1.2), (" of cat", 1.0)]], {}),
    "sdxl.clip_l": ("sdxl", [[("a red circle", 1.0)]], {"skips": [3, 2]}),
    "sdxl.both": ("sdxl", [[("a red circle", 1.0)]], {"skips": [3, 3]}),
    "refiner.original": ("refiner", [RED], {}),
    "refiner.embedding": ("refiner", [[("a ", 1.0), ("@two", 1.2), (" of cat", 1.0)]], {}),
}

if __name__ == "__main__":
    tok = tokenizer()
    encode = lambda text: tok(text, add_special_tokens=False, truncation=False)["input_ids"]
    MODELS = {name: build(name) for name in SHAPES}
    DOUBLE = {name: copy.deepcopy(model).double() for name, model in MODELS.items()}
    out, spread = {}, {}
    for case, (style, texts, options) in CASES.items():
        f32 = schedule(MODELS, torch.float32, style, texts, encode, **options)
        f64 = schedule(DOUBLE, torch.float64, style, texts, encode, **options)
        for kind, a, b in zip(("context", "pooled"), f32, f64):
            if a is None:
                continue
            out[f"{case}.{kind}"] = a.contiguous()
            # States that no normalisation centred have a mean near zero, and a mean restored magnifies rounding.
            group = f"{style}.original" if style in ("sdxl", "refiner") and case.endswith(("original", "embedding")) else style
            key = f"{group}.{kind}"
            spread[key] = max(spread.get(key, 0.0), (a.double() - b).abs().max().item())
            spread[f"{key}.std"] = a.std().item()
    for name, value in EMBEDDINGS.items():
        out |= {f"embedding.{name[1:]}.{encoder}": v for encoder, v in value.items()}
    save_file(out, HERE / "conditioning.safetensors")
    (HERE / "spread.json").write_text(json.dumps(spread, indent=1) + "\n")
    print(json.dumps(spread, indent=1))
