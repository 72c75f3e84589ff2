"""The three networks of Stable Diffusion 1.x at toy width, and the noise schedule they share."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_SCALE = 0.18215
TEXT_WIDTH = 32
VAE_CHANNELS = (64, 32, 32, 64)
UNET_CHANNELS = (64, 64, 32, 32)
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def make_vae() -> AutoencoderKL:
    """SD 1.x autoencoder.

    First and last level have 64 channels: the norms before both outputs have 32 groups, and a group of one channel
    would erase the mean, so the colour, of a picture.
    """
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=VAE_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=32,
        scaling_factor=LATENT_SCALE,
    )


def make_unet() -> UNet2DConditionModel:
    """SD 1.x UNet: three levels with cross-attention, one without, two layers each, eight heads."""
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=UNET_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        attention_head_dim=8,
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=32,
    )


def make_text_encoder() -> CLIPTextModel:
    """CLIP text transformer with the full vocabulary and a narrow width."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
        projection_dim=TEXT_WIDTH,
    )
    return CLIPTextModel(config)


def make_scheduler() -> DDIMScheduler:
    """DDIM as Stable Diffusion 1.x configures it."""
    return DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def alphas_cumprod() -> torch.Tensor:
    """Product of the alphas for each of the 1000 training steps."""
    return make_scheduler().alphas_cumprod


def count_parameters(*networks: torch.nn.Module) -> int:
    """Number of weights in all given networks."""
    return sum(weight.numel() for network in networks for weight in network.parameters())
