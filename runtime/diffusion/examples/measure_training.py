"""The rows of `measure_training.rs` for diffusers and PEFT: the same sizes, batch, precision and optimiser.

    pip install -r ../tests/golden/train/requirements.txt && python measure_training.py

What is trained and how is that of diffusers' example `train_text_to_image_lora.py`: adapters beside the attention
of the UNet, AdamW, mean squared error. Weights are random. As there, the autoencoder and the text encoder stay in
memory. Without arguments all rows are printed, each by a process of its own; `MODEL BATCH SIDE STEPS off|blocks`
prints one.
"""

import os
import resource
import subprocess
import sys
import time

# Model, batch, side, steps. At 64² the demo model has one pixel at its lowest level, in 32 groups of a channel, which torch
# refuses to normalise in a batch of one.
ROWS = [("easel-demo", 2, 64, 20), ("sd15", 1, 256, 2)]
THREADS = len(os.sched_getaffinity(0))
# Channels of UNet and autoencoder, width, layers and heads of the text encoder.
SIZES = {
    "easel-demo": ((64, 64, 32, 32), (64, 32, 32, 64), 32, 3, 1),
    "sd15": ((320, 640, 1280, 1280), (128, 256, 512, 512), 768, 12, 12),
}


def networks(model):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    unet_channels, vae_channels, width, layers, heads = SIZES[model]
    unet = UNet2DConditionModel(
        block_out_channels=unet_channels, cross_attention_dim=width, attention_head_dim=8, norm_num_groups=32
    )
    vae = AutoencoderKL(
        block_out_channels=vae_channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
        )
    )
    return unet, vae, text


def measure(model, batch, side, steps, checkpointing):
    import torch
    import torch.nn.functional as F
    from diffusers import DDPMScheduler
    from peft import LoraConfig

    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    unet, vae, text = networks(model)
    for network in (unet, vae, text):
        network.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=["to_k", "to_q", "to_v", "to_out.0"]
        )
    )
    unet.train()
    if checkpointing == "blocks":
        unet.enable_gradient_checkpointing()
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    with torch.no_grad():
        context = text(torch.randint(0, 49000, (batch, 77)))[0]
    began, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        latents = torch.randn(batch, 4, side // 8, side // 8)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (batch,))
        prediction = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, context).sample
        loss = F.mse_loss(prediction, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    step, cpu = (time.perf_counter() - began) / steps, (time.process_time() - busy) / steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    size = f"{batch} x {side}²"
    times = f"{step:.3f} | {1 / step:.2f} | {cpu:.3f}"
    print(f"| diffusers, PEFT | {model} | {size} | {checkpointing} | {times} | {peak} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 6:
        measure(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
    else:
        for row in ROWS:
            for checkpointing in ("off", "blocks"):
                subprocess.run([sys.executable, __file__, *map(str, row), checkpointing], check=True)
