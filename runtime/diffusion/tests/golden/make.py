"""Writes the tiny model and the golden tensors beside this file.

    pip install -r requirements.txt && python make.py

Everything is computed once in f32 (the golden value) and once in f64; the largest difference of the two
is printed and stored as `spread`, which the tests' tolerances are taken from.
"""

import copy
import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

import models
import reference
from tokenizer import tokenizer

HERE = Path(__file__).parent
torch.set_num_threads(1)
torch.set_grad_enabled(False)
SPREAD = {}

TEXTS = [
    "a red circle on a blue background", "", "Hello, World!!!", "don't we've it's I'll you're he'd I'm", "x2 3.14 2024 ⅷ ²",
    "ÉCOLE e\u0301cole ΣΊΣΥΦΟΣ İstanbul straße ﬁne", "日本語 한국어 中文 🎨👩‍🎨", "tabs\tand\nnew  lines\u00a0nbsp \u3000ideographic",
    "under_score semi;colon (paren) [brack] <tag> a/b @#$%^&*", "donaudampfschifffahrtsgesellschaftskapitänsmütze " * 3,
    "'''s 's 'S ''t", "<|endoftext|> a <|startoftext|>b", "<start_of_text> <end_of_text>", "a" * 300, "\u200bzero\u200dwidth\ufeff", "ＦＵＬＬ width ﷺ",
]
# A prompt as the web UI's grammar reads it: pieces and weights, written out by hand; None is BREAK.
EMPHASIS = {
    "a (red:1.3) circle on a [blue] background": [("a ", 1.0), ("red", 1.3), (" circle on a ", 1.0), ("blue", 1 / 1.1), (" background", 1.0)],
    "((cat)) BREAK dog": [("cat", 1.1 * 1.1), None, ("dog", 1.0)],
    "very " * 80 + "(long:0.5)": [("very " * 80, 1.0), ("long", 0.5)],
}


def spread(name, f32, f64):
    SPREAD[name] = max(SPREAD.get(name, 0.0), (f32.double() - f64.double()).abs().max().item())


def both(name, fn, out, key):
    """Runs `fn` with the f32 and the f64 models, keeps the f32 result and returns both."""
    f32, f64 = fn(MODELS, torch.float32), fn(DOUBLE, torch.float64)
    spread(name, f32, f64)
    out[key] = f32.contiguous()
    return f32, f64


def other_kernels(fn):
    """The same f32 networks computed in other orders: what the reference differs by from itself."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield fn(MODELS, torch.float32)
    turned = {name: copy.deepcopy(model).to(memory_format=torch.channels_last) for name, model in MODELS.items() if name != "text"}
    yield fn(turned, torch.float32)


def chunks(pieces, encode):
    """75 tokens to a chunk, without a comma near the end these prompts split nowhere else."""
    out, line = [], []

    def close():
        filled = line[:75] + [(49407, 1.0)] * (75 - len(line[:75]))
        out.append([(49406, 1.0), *filled, (49407, 1.0)])
        del line[:75]

    for piece in pieces:
        if piece is None:
            close()
            continue
        for token in encode(piece[0]):
            if len(line) == 75:
                close()
            line.append((token, piece[1]))
    if line or not out:
        close()
    return out


def context(parts, dtype, chunked, skip=1):
    rows = []
    for chunk in chunked:
        ids = torch.tensor([[t for t, _ in chunk]])
        weights = torch.tensor([w for _, w in chunk], dtype=dtype).reshape(1, -1, 1)
        hidden = parts["text"](ids, output_hidden_states=True).hidden_states[-skip]
        z = parts["text"].get_submodule(NORM)(hidden)
        if any(w != 1 for _, w in chunk):
            mean = z.mean()
            z = z * weights
            z = z * (mean / z.mean())
        rows.append(z)
    return torch.cat(rows, 1)


def text_goldens(encode):
    out = {}
    rows = [[49406, *encode(t)[:75]] for t in TEXTS[:4]]
    ids = torch.tensor([r + [49407] * (77 - len(r)) for r in rows])
    out["ids"] = ids.int()
    for skip in (1, 2):
        run = lambda parts, dtype: parts["text"].get_submodule(NORM)(parts["text"](ids, output_hidden_states=True).hidden_states[-skip])
        both("clip", run, out, f"hidden.skip{skip}")
    assert torch.equal(out["hidden.skip1"], MODELS["text"](ids).last_hidden_state)
    for i, pieces in enumerate(EMPHASIS.values()):
        both("emphasis", lambda parts, dtype: context(parts, dtype, chunks(pieces, encode)), out, f"emphasis.{i}")
    save_file(out, HERE / "text.safetensors")


def network_goldens():
    g = torch.Generator().manual_seed(2)
    out = {}
    for name, height, width in (("square", 8, 8), ("odd", 9, 11)):
        x = torch.randn(2, 4, height, width, generator=g)
        c = torch.randn(2, 77, models.WIDTH, generator=g)
        t = torch.tensor([981.0, 20.75])
        out |= {f"{name}.x": x, f"{name}.context": c, f"{name}.t": t}
        # Fractional timesteps go through the embedding as they are.
        run = lambda parts, dtype: parts["unet"](x.to(dtype), t, c.to(dtype)).sample
        f32, exact = both("unet", run, out, f"{name}.out")
        out[f"{name}.exact"] = exact.contiguous()
        for other in other_kernels(run):
            spread("unet.kernels", f32, other)
    save_file(out, HERE / "unet.safetensors")
    out = {"latent": torch.randn(2, 4, 8, 12, generator=g), "picture": torch.rand(2, 3, 64, 96, generator=g) * 2 - 1}
    both("vae", lambda parts, dtype: parts["vae"].decode(out["latent"].to(dtype) / 0.18215).sample, out, "decoded")
    both("moments", lambda parts, dtype: parts["vae"].encode(out["picture"].to(dtype)).latent_dist.parameters, out, "moments")
    save_file(out, HERE / "vae.safetensors")


def random_goldens():
    out = {}
    for seed in (0, 1, 42, 2**31 + 5, 2**32 + 1, 2**63 + 11):
        for size in (1, 2, 15, 16, 17, 31, 64, 1000):
            out[f"{seed}.{size}"] = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    # One stream that is asked several times, with odd counts between the blocks.
    g = torch.Generator().manual_seed(7)
    out["stream"] = torch.cat([torch.randn(n, generator=g) for n in (3, 256, 5, 20, 1, 16)])
    save_file(out, HERE / "random.safetensors")


def schedule_goldens():
    out = {"alphas_cumprod": reference.ALPHAS, "sigmas": reference.SIGMAS}
    for name in ("uniform", "karras", "exponential"):
        for steps in (1, 2, 7, 20, 50, 150):
            out[f"{name}.{steps}"] = reference.sigmas(name, steps)
    probe = torch.cat([reference.sigmas("karras", 20)[:-1], torch.tensor([0.02, 20.0])])
    out["probe"], out["probe.t"] = probe, torch.stack([reference.timestep_of(s) for s in probe])
    save_file(out, HERE / "schedule.safetensors")


def sampler_goldens(encode):
    """Two pictures at once, guidance 5, eight steps: every latent of each run, and the pictures."""
    out = {}
    prompts = ["a (red:1.3) circle on a [blue] background", "green"]
    pieces = [EMPHASIS[prompts[0]], [("green", 1.0)]]
    for run in reference.RUNS:
        finals = {}
        for parts, dtype in ((MODELS, torch.float32), (DOUBLE, torch.float64)):
            cond, uncond = (context(parts, dtype, chunks(p, encode)).expand(2, -1, -1) for p in pieces)

            def model(x, t):
                time = torch.full((2,), float(t))
                c, u = (parts["unet"](x.to(dtype), time, k).sample for k in (cond, uncond))
                return u + 5.0 * (c - u)

            generators = [torch.Generator().manual_seed(s) for s in (11, 12)]
            noise = lambda: torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators]).to(dtype)
            latents = reference.trajectory(run, model, noise(), noise, 8)
            finals[dtype] = torch.stack(latents)
            if dtype == torch.float32:
                out[run] = finals[dtype].contiguous()
                pixels = parts["vae"].decode(latents[-1] / 0.18215).sample
                out[f"{run}.picture"] = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).contiguous()
            if run == "ddim" and dtype == torch.float32:
                check_ddim(model, latents)
        spread("sampler." + run, finals[torch.float32], finals[torch.float64])
        SPREAD["std." + run] = finals[torch.float32][-1].std().item()
    save_file(out, HERE / "samplers.safetensors")


def check_ddim(model, latents):
    """diffusers' DDIM takes the same steps (its last one, to t = 0, is one that the web UI leaves out)."""
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(8)
    x = latents[0]
    for t, want in zip(scheduler.timesteps, latents[1:]):
        x = scheduler.step(model(x, t), t, x).prev_sample
        assert (x - want).abs().max() < 1e-3 * want.abs().max(), (t, (x - want).abs().max())


MODELS = models.build()
models.save(MODELS, HERE)
DOUBLE = {name: copy.deepcopy(model).double() for name, model in MODELS.items()}
NORM = "text_model.final_layer_norm" if hasattr(MODELS["text"], "text_model") else "final_layer_norm"

if __name__ == "__main__":
    tok = tokenizer()
    encode = lambda text: tok(text, add_special_tokens=False, truncation=False)["input_ids"]
    tokens = [{"text": t, "ids": encode(t)} for t in TEXTS]
    (HERE / "tokens.json").write_text(json.dumps(tokens, indent=1) + "\n")
    text_goldens(encode)
    network_goldens()
    random_goldens()
    schedule_goldens()
    sampler_goldens(encode)
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
    print(json.dumps(SPREAD, indent=1))
