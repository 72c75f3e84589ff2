"""Small checkpoints as `torch.save` writes them, in the shapes that people's files have."""

from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file


def taesd_name(name):
    """The author's names: plain sequences, the decoder's beginning with a clamp that diffusers leaves out."""
    half, _, index, rest = name.split(".", 3)
    return f"{half}.{int(index) + (half == 'decoder')}.{rest}"


def taesd_files(model, here: Path):
    """The decoder alone as a checkpoint, in both of torch's containers."""
    decoder = OrderedDict((taesd_name(n).removeprefix("decoder."), v.half()) for n, v in model.state_dict().items() if n.startswith("decoder."))
    torch.save(decoder, here / "taesd_decoder.pth")
    torch.save(decoder, here / "taesd_decoder_legacy.pth", _use_new_zipfile_serialization=False)


class ModelCheckpoint:
    """Stands for Lightning's class of this name, which its checkpoints use as a key."""


ModelCheckpoint.__module__ = "pytorch_lightning.callbacks.model_checkpoint"


def with_lightning(save):
    """Runs `save` while pickle can find the class under Lightning's name."""
    import sys
    import types

    parts = ModelCheckpoint.__module__.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[names[-1]].ModelCheckpoint = ModelCheckpoint
    save()
    for name in names:
        del sys.modules[name]


def lightning():
    g = torch.Generator().manual_seed(5)
    base = torch.randn(6, 4, generator=g)
    linear = torch.nn.Linear(3, 2)
    state = OrderedDict(
        [
            ("a.weight", base),
            ("a.turned", base.t()),
            ("a.row", base[2]),
            ("a.strided", base[:, 1:3]),
            ("a.shared", base.view(3, 8)),
            ("b.half", base.half()),
            ("b.bfloat", base.bfloat16()),
            ("b.double", base.double()),
            ("b.long", torch.arange(5)),
            ("b.scalar", torch.tensor(2.5)),
            ("b.empty", torch.zeros(0, 4)),
            ("c.parameter", torch.nn.Parameter(base[:2].clone())),
            *((f"d.{k}", v) for k, v in linear.state_dict().items()),
        ]
    )
    state._metadata = linear.state_dict()._metadata
    checkpoint = {
        "epoch": 3, "global_step": 1000, "pytorch-lightning_version": "1.4.2", "state_dict": state,
        "callbacks": {ModelCheckpoint: {"monitor": "val/loss", "best_model_score": torch.tensor(0.5), "best_k_models": {}, "last": None, "score": numpy.float64(0.25)}},
        "optimizer_states": [{"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}]}],
        "lr_schedulers": [], "device": torch.device("cpu"), "shape": torch.Size([1, 2]), "dtype": torch.float16, "tags": {"x"}, "big": 1 << 80,
    }
    return checkpoint, state


def write(here: Path):
    checkpoint, state = lightning()
    for name, options in (("lightning.ckpt", {}), ("legacy.ckpt", {"_use_new_zipfile_serialization": False}), ("protocol4.ckpt", {"pickle_protocol": 4})):
        with_lightning(lambda: torch.save(checkpoint, here / name, **options))
    save_file({k: v.detach().float().contiguous().clone() for k, v in state.items() if k != "b.long"}, here / "lightning.safetensors")
    vector = torch.randn(2, 768, generator=torch.Generator().manual_seed(6))
    embedding = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": vector}, "name": "a cat", "step": 499, "sd_checkpoint": None, "sd_checkpoint_name": None}
    torch.save(embedding, here / "embedding.pt")
    embedding["string_to_param"] = torch.nn.ParameterDict({"*": torch.nn.Parameter(vector)})
    torch.save(embedding, here / "embedding_module.pt")
    layer = lambda width: {"linear.0.weight": torch.zeros(2, width), "linear.0.bias": torch.zeros(2)}
    torch.save({768: [layer(768), layer(768)], 320: [layer(320), layer(320)], "step": 10, "name": "net", "activation_func": "relu"}, here / "hypernetwork.pt")
