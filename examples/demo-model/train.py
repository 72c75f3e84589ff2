"""Trains the demo model from nothing: autoencoder, text encoder, UNet, decoder again, then export and score.

Run ``python train.py``; run it again after an interruption and it goes on from its last checkpoint.
"""

import argparse
from pathlib import Path

import torch

from diffusion import train_diffusion
from evaluate import evaluate, preview
from export import export_file
from text import train_text
from vae import refine_decoder, train_vae

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """Command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of checkpoints and sample grids")
    parser.add_argument("--output", type=Path, default=HERE / "easel-demo.safetensors", help="file to write")
    parser.add_argument("--vae-minutes", type=float, default=14, help="time for the autoencoder")
    parser.add_argument("--unet-minutes", type=float, default=42, help="time for the UNet")
    parser.add_argument("--refine-minutes", type=float, default=17, help="time for the decoder alone")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--seed", type=int, default=1, help="seed of the training data and the initial weights")
    return parser.parse_args()


def main() -> None:
    """Run the stages that are not done yet."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "vae-done.pt").exists():
        train_vae(args.work, args.vae_minutes)
    if not (args.work / "text-done.pt").exists():
        train_text(args.work)

    def milestone() -> None:
        export_file(args.work, args.output)
        preview(args.output, args.work)

    train_diffusion(args.work, args.unet_minutes, milestone)
    if not (args.work / "vae-refined.pt").exists():
        milestone()
        refine_decoder(args.work, args.refine_minutes)
    export_file(args.work, args.output)
    evaluate(args.output, args.work)


if __name__ == "__main__":
    main()
