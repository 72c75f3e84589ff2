"""Writes the description of tiny models of every family, and what diffusers computes with them.

    pip install -r ../requirements.txt && python make.py

Weights are not stored: each is drawn from a seed with torch's generator, which the tests have bit for bit.
Every value is rounded to what both bf16 and f16 hold, so that files of all precisions carry the same model.
Everything is computed in f32 (the golden value) and in f64; the largest difference is kept in `spread.json`.
"""

import copy
import json
import sys
from pathlib import Path

import open_clip
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import checkpoints

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import models  # noqa: E402

torch.set_num_threads(1)
torch.set_grad_enabled(False)
SPREAD, OUT, COMPONENTS = {}, {}, {}

CROSS, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
SD = (CROSS, CROSS, CROSS, PLAIN)
UNETS = {
    "sd1-inpainting": dict(in_channels=9, block_out_channels=(32, 64, 64, 64), blocks=SD, cross_attention_dim=32, attention_head_dim=8),
    "sd1-pix2pix": dict(in_channels=8, block_out_channels=(32, 64, 64, 64), blocks=SD, cross_attention_dim=32, attention_head_dim=8),
    "sd1-lcm": dict(block_out_channels=(32, 64, 64, 64), blocks=SD, cross_attention_dim=32, attention_head_dim=8, time_cond_proj_dim=32),
    "sd2": dict(block_out_channels=(64, 128, 64, 64), blocks=SD, cross_attention_dim=32, attention_head_dim=[1, 2, 1, 1], use_linear_projection=True),
    "sdxl": dict(
        block_out_channels=(64, 128, 128), blocks=(PLAIN, CROSS, CROSS), cross_attention_dim=96, attention_head_dim=[1, 2, 2],
        transformer_layers_per_block=[1, 1, 3], use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=64 + 6 * 256,
    ),
    "sdxl-refiner": dict(
        block_out_channels=(64, 128, 64, 64), blocks=(PLAIN, CROSS, CROSS, PLAIN), cross_attention_dim=64, attention_head_dim=[1, 2, 1, 1],
        transformer_layers_per_block=2, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=64 + 5 * 256,
    ),
}


def draw(shape, name, seed):
    count = max(1, torch.Size(shape).numel())
    value = torch.randn(count, generator=torch.Generator().manual_seed(seed)).reshape(shape)
    if len(shape) == 1:
        value = value * 0.2 + 1 if name.endswith("weight") else value * 0.1
    else:
        value = value * torch.tensor(torch.Size(shape[1:]).numel() ** -0.5, dtype=torch.float32)
    return value.bfloat16().half().float()


def fill(key, model, ldm, config=True):
    """Draws all weights of a model, and keeps names and shapes: tensor number i of component c has the seed 1000·c + i."""
    model.eval().requires_grad_(False)
    number = len(COMPONENTS)
    tensors = [(name.removeprefix("text_model."), list(value.shape)) for name, value in model.state_dict().items() if "position_ids" not in name]
    prefix = "text_model." if any(n.startswith("text_model.") for n in model.state_dict()) else ""
    state = {}
    for i, (name, shape) in enumerate(tensors):
        full = prefix + name if prefix + name in model.state_dict() else name
        state[full] = draw(shape, name, 1000 * number + i)
    missing = [n for n in model.load_state_dict(state, strict=False).missing_keys if "position_ids" not in n]
    assert not missing, missing
    written = {k: v for k, v in dict(model.config.to_dict() if hasattr(model.config, "to_dict") else model.config).items() if not k.startswith("_") or k == "_class_name"}
    COMPONENTS[key] = {"number": number, "config": json.loads(json.dumps(written, default=str)), "tensors": tensors, "ldm": ldm(tensors)}
    return model


def unet_ldm(blocks):
    attends = [pair is CROSS for pair in blocks]

    def name_of(name):
        if name.startswith("add_embedding.linear_"):
            return f"label_emb.0.{'0' if '_1.' in name else '2'}." + name.rsplit(".", 1)[1]
        if name.startswith("time_embedding.cond_proj."):
            return name.replace("time_embedding", "time_embed")
        if ".upsamplers." in name:
            level = int(name.split(".")[1])
            return f"output_blocks.{level * 2 + 1}.{2 if attends[::-1][level] else 1}.conv.{name.rsplit('.', 1)[1]}"
        return models.unet_name(name)

    return lambda tensors: {"model.diffusion_model." + name_of(n): n for n, _ in tensors}


def check_unet(key, model, sources):
    """diffusers reads the single-file names back into its own."""
    state = {ldm: model.state_dict()[name] for ldm, name in sources.items() if "cond_proj" not in ldm}
    config = dict(model.config)
    back = single_file_utils.convert_ldm_unet_checkpoint(state, config)
    for name, value in model.state_dict().items():
        assert "cond_proj" in name or torch.equal(back[name], value), (key, name)


def open_clip_ldm(tensors):
    out = {"positional_embedding": "embeddings.position_embedding.weight", "token_embedding.weight": "embeddings.token_embedding.weight"}
    members = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for name, _ in tensors:
        stem, leaf = name.rsplit(".", 1)
        if stem == "final_layer_norm":
            out[f"ln_final.{leaf}"] = name
        elif stem == "text_projection":
            out["text_projection"] = {"turned": name}
        elif stem.startswith("encoder.layers."):
            index, member = stem.removeprefix("encoder.layers.").split(".", 1)
            if member in members:
                out[f"transformer.resblocks.{index}.{members[member]}.{leaf}"] = name
            else:
                at = f"encoder.layers.{index}.self_attn"
                out[f"transformer.resblocks.{index}.attn.in_proj_{leaf}"] = {"stacked": [f"{at}.{p}_proj.{leaf}" for p in "qkv"]}
    return out


def gather(state, source):
    if isinstance(source, str):
        return state[source]
    return state[source["turned"]].T if "turned" in source else torch.cat([state[n] for n in source["stacked"]])


def check_open_clip(model, ldm):
    """open_clip's own network takes the single-file tensors, and pools the same text."""
    config = model.config
    other = open_clip.model.CLIP(
        embed_dim=config.projection_dim, vision_cfg=dict(layers=1, width=64, patch_size=16, image_size=32),
        text_cfg=dict(width=config.hidden_size, heads=config.num_attention_heads, layers=config.num_hidden_layers, vocab_size=49408),
    ).eval()
    own = {name.removeprefix("text_model."): value for name, value in model.state_dict().items()}
    state = {name: gather(own, source) for name, source in ldm.items()}
    rest = other.load_state_dict(state, strict=False)
    assert not rest.unexpected_keys and all(k.startswith(("visual", "logit")) for k in rest.missing_keys), rest
    ids = torch.tensor([[49406, 320, 2368, 49407] + [0] * 73])
    assert (other.encode_text(ids) - model(ids).text_embeds).abs().max() < 1e-5


def text(key, cls, width, layers, ldm, **extra):
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=max(1, width // 64), vocab_size=49408,
        max_position_embeddings=77, bos_token_id=49406, eos_token_id=49407, **extra,
    )
    return fill(key, cls(config), ldm)


def texts():
    plain = lambda prefix: lambda tensors: {f"{prefix}text_model.{n}": n for n, _ in tensors}
    text("text-clip", CLIPTextModel, 32, 2, plain("transformer."), hidden_act="quick_gelu")
    text("text-open", CLIPTextModel, 32, 2, open_clip_ldm, hidden_act="gelu")
    big = text("text-big", CLIPTextModelWithProjection, 64, 2, open_clip_ldm, hidden_act="gelu", projection_dim=64)
    check_open_clip(big, COMPONENTS["text-big"]["ldm"])


def both(name, key, model, run):
    f32, f64 = run(model, torch.float32), run(copy.deepcopy(model).double(), torch.float64)
    SPREAD[name] = max(SPREAD.get(name, 0.0), (f32.double() - f64).abs().max().item())
    OUT[key] = f32.contiguous()
    return f32


def residuals(model, x, dtype):
    """What a ControlNet would add, drawn from seeds 900, 901, …"""
    shapes, channels = [], model.config.block_out_channels
    h, w = x.shape[-2:]
    shapes.append((channels[0], h, w))
    for level, c in enumerate(channels):
        shapes.append((c, h, w))
        if level + 1 < len(channels):
            h, w = -(-h // 2), -(-w // 2)
            shapes.append((c, h, w))
    shapes.append((channels[-1], h, w))
    drawn = [torch.randn(2 * c * h * w, generator=torch.Generator().manual_seed(900 + i)).reshape(2, c, h, w).to(dtype) for i, (c, h, w) in enumerate(shapes)]
    return drawn[:-1], drawn[-1]


def unets():
    g = torch.Generator().manual_seed(3)
    for key, spec in UNETS.items():
        spec = dict(spec)
        blocks = spec.pop("blocks")
        model = UNet2DConditionModel(
            sample_size=8, layers_per_block=1, norm_num_groups=32, down_block_types=tuple(d for d, _ in blocks),
            up_block_types=tuple(u for _, u in reversed(blocks)), **spec,
        )
        fill(key, model, unet_ldm(blocks))
        check_unet(key, model, COMPONENTS[key]["ldm"])
        x = torch.randn(2, model.config.in_channels, 8, 9, generator=g)
        c = torch.randn(2, 5, model.config.cross_attention_dim, generator=g)
        t = torch.tensor([961.0, 20.75])
        OUT.update({f"{key}.x": x, f"{key}.context": c, f"{key}.t": t})
        cond, extra = None, {}
        if model.config.addition_embed_type:
            pooled = torch.randn(2, 64, generator=g)
            ids = torch.tensor([[1024.0, 1024.0, 0.0, 8.0, 1024.0, 768.0], [512.0, 640.0, 3.0, 0.0, 64.0, 64.0]])
            if key == "sdxl-refiner":
                ids = torch.tensor([[1024.0, 1024.0, 0.0, 0.0, 6.0], [512.0, 640.0, 3.0, 0.0, 2.5]])
            OUT.update({f"{key}.pooled": pooled, f"{key}.time_ids": ids})
            extra = {"text_embeds": pooled, "time_ids": ids}
        if model.config.time_cond_proj_dim:
            scales = torch.tensor([1.0, 7.5])
            cond = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, scales - 1, embedding_dim=32)
            OUT.update({f"{key}.scales": scales, f"{key}.guidance": cond})
        cast = lambda v, dtype: {k: e.to(dtype) if k == "text_embeds" else e for k, e in v.items()} or None

        def run(m, dtype, **control):
            return m(x.to(dtype), t, c.to(dtype), timestep_cond=None if cond is None else cond.to(dtype), added_cond_kwargs=cast(extra, dtype), **control).sample

        both(key, f"{key}.out", model, run)
        if key == "sd1-inpainting":
            def controlled(m, dtype):
                down, mid = residuals(m, x, dtype)
                return run(m, dtype, down_block_additional_residuals=down, mid_block_additional_residual=mid)

            both("control", f"{key}.controlled", model, controlled)
        if key == "sd2":
            probe(model)


def probe(model):
    """The web UI's question to an SD 2.x model, for this one and one that answers as v-prediction does."""
    flat = torch.full((1, 4, 8, 8), 0.5)
    answer = lambda m: (m(flat, torch.tensor([999.0]), torch.full((1, 2, 32), 0.5)).sample - flat).mean()
    shifted = copy.deepcopy(model)
    shifted.conv_out.bias.sub_(2)
    OUT["sd2.probe"] = torch.stack([answer(model), answer(shifted)])
    assert OUT["sd2.probe"][0] > -1 > OUT["sd2.probe"][1], OUT["sd2.probe"]


def vaes():
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 32), layers_per_block=1, latent_channels=4, norm_num_groups=32, scaling_factor=0.13025,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )
    fill("vae", vae, lambda tensors: {"first_stage_model." + models.vae_name(n): n for n, _ in tensors})
    state = {ldm: vae.state_dict()[name] for ldm, name in COMPONENTS["vae"]["ldm"].items()}
    back = single_file_utils.convert_ldm_vae_checkpoint(state, dict(vae.config))
    for name, value in vae.state_dict().items():
        assert torch.equal(back[name].reshape(value.shape), value), name
    g = torch.Generator().manual_seed(4)
    latent, picture = torch.randn(1, 4, 6, 5, generator=g), torch.rand(1, 3, 40, 48, generator=g) * 2 - 1
    OUT.update({"latent": latent, "picture": picture})
    both("vae.decode", "vae.decoded", vae, lambda m, d: m.decode(latent.to(d) / 0.13025).sample)
    both("vae.encode", "vae.moments", vae, lambda m, d: m.encode(picture.to(d)).latent_dist.parameters)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4, num_encoder_blocks=(1, 2, 1, 1), num_decoder_blocks=(1, 2, 1, 1),
    )
    fill("taesd", tiny, lambda tensors: {checkpoints.taesd_name(n): n for n, _ in tensors})
    both("taesd.decode", "taesd.decoded", tiny, lambda m, d: m.decode(latent.to(d)).sample)
    both("taesd.encode", "taesd.latent", tiny, lambda m, d: m.encode(picture.to(d)).latents)
    checkpoints.taesd_files(tiny, HERE)


if __name__ == "__main__":
    texts()
    unets()
    vaes()
    checkpoints.write(HERE)
    save_file(OUT, HERE / "families.safetensors")
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in COMPONENTS.items())
    (HERE / "components.json").write_text("{\n" + lines + "\n}\n")
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
    print(json.dumps(SPREAD, indent=1))
