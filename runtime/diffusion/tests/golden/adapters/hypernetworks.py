"""Hypernetworks for the tiny model, and the UNet's output with them; called by make.py.

The layers are built as the web UI's `HypernetworkModule` does, in a processor of diffusers' attention.
"""

import copy

import torch
from safetensors.torch import save_file
from torch import nn

STRENGTH = 0.6
ACTIVATIONS = {"relu": nn.ReLU, "swish": nn.Hardswish, "leakyrelu": nn.LeakyReLU}


def layers(width, structure, activation, norm, dropout, activate_output):
    out = []
    for i in range(len(structure) - 1):
        out.append(nn.Linear(int(width * structure[i]), int(width * structure[i + 1])))
        if activation is not None and (activate_output or i < len(structure) - 2):
            out.append(ACTIVATIONS[activation]())
        if norm:
            out.append(nn.LayerNorm(int(width * structure[i + 1])))
        if dropout and i < len(structure) - 3:
            out.append(nn.Dropout(p=0.3))
    return nn.Sequential(*out).eval()


class Processor:
    def __init__(self, networks):
        self.networks = networks

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        pair = self.networks.get(context.shape[2])
        k, v = (context, context) if pair is None else (context + n.to(context.dtype)(context) * STRENGTH for n in pair)
        split = lambda x: x.reshape(x.shape[0], x.shape[1], attn.heads, -1).transpose(1, 2)
        x = nn.functional.scaled_dot_product_attention(split(attn.to_q(hidden_states)), split(attn.to_k(k)), split(attn.to_v(v)))
        return attn.to_out[0](x.transpose(1, 2).reshape(hidden_states.shape))


CASES = {
    # structure, activation, layer norm, dropout, activated output, widths
    "hyper": ([1, 2, 1, 1], "swish", True, True, False, (16, 32)),
    "hyper-activated": ([1, 1.5, 1], "leakyrelu", False, False, None, (16,)),
    "hyper-old": ([1, 2, 1], None, False, False, None, (16,)),
}


def make(base, run, merged, here):
    for seed, (case, (structure, activation, norm, dropout, output, widths)) in enumerate(CASES.items()):
        torch.manual_seed(40 + seed)
        # A file that does not say so activates its output.
        networks = {w: tuple(layers(w, structure, activation, norm, dropout, output is None) for _ in range(2)) for w in widths}
        saved, flat = {}, {}
        for width, pair in networks.items():
            states = []
            for side, network in enumerate(pair):
                for value in network.parameters():
                    value.copy_(value + 0.1 * torch.randn(value.shape))
                state = {f"linear.{n}": t for n, t in network.state_dict().items()}
                if case == "hyper-old":
                    state = {n.replace("linear.0.", "linear1.").replace("linear.1.", "linear2."): t for n, t in state.items()}
                states.append(state)
                flat |= {f"{width}.{side}.{n}": t.contiguous() for n, t in state.items()}
            saved[width] = tuple(states)
        texts = {}
        if case != "hyper-old":
            texts = {"step": 100, "name": case, "layer_structure": structure, "activation_func": activation, "is_layer_norm": norm,
                     "weight_initialization": "Normal", "use_dropout": dropout, "sd_checkpoint": None}
            if output is not None:
                texts["activate_output"] = output
        torch.save(saved | texts, here / f"{case}.pt")
        save_file(flat, here / f"{case}.safetensors", metadata={k: str(v) for k, v in texts.items()})
        unet = copy.deepcopy(base["unet"])
        unet.set_attn_processor(Processor(networks))
        merged[f"{case}/unet"] = run(unet, "hypernetwork").contiguous()
