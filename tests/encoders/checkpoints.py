"""Checkpoints with the published names and shapes, as the public code of their authors defines them."""

from __future__ import annotations

import torch


def parameters(name, *shape):
    """A layer's weight and bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def m3ae(dimension, depth, tokens):
    """Shapes in the PyTorch port of M3AE's encoder (MLA's repository, models/m3ae.py)."""
    d = dimension
    shapes = {"cls_token": (1, 1, d), "text_embedding.weight": (tokens, d)}
    shapes |= parameters("image_embedding", d, 768)
    shapes |= {f"encoder_{kind}_type_embedding": (1, 1, d) for kind in ("image", "text")}
    for i in range(depth):
        block = f"encoder.blocks.{i}"
        shapes |= parameters(f"{block}.layer_norm1", d) | parameters(f"{block}.layer_norm2", d)
        shapes |= parameters(f"{block}.attention.qkv_linear", 3 * d, d)
        shapes |= parameters(f"{block}.attention.fc", d, d)
        shapes |= parameters(f"{block}.transformer_mlp.fc1", 4 * d, d)
        shapes |= parameters(f"{block}.transformer_mlp.fc2", d, 4 * d)
    return shapes | parameters("encoder.layer_norm", d)


def cav_mae(dimension, depth, patches):
    """Shapes in CAV-MAE, decoder and all (YuanGongND/cav-mae, src/models/cav_mae.py)."""
    d = dimension

    def blocks(name, number, d):
        shapes = {}
        for i in range(number):
            block = f"{name}.{i}"
            for norm in ("norm1", "norm1_a", "norm1_v", "norm2", "norm2_a", "norm2_v"):
                shapes |= parameters(f"{block}.{norm}", d)
            shapes |= parameters(f"{block}.attn.qkv", 3 * d, d) | parameters(f"{block}.attn.proj", d, d)
            shapes |= parameters(f"{block}.mlp.fc1", 4 * d, d) | parameters(f"{block}.mlp.fc2", d, 4 * d)
        return shapes

    shapes = parameters("patch_embed_a.proj", d, 1, 16, 16) | parameters("patch_embed_v.proj", d, 3, 16, 16)
    shapes |= {"modality_a": (1, 1, d), "modality_v": (1, 1, d)}
    shapes |= {"pos_embed_a": (1, patches, d), "pos_embed_v": (1, 196, d)}
    shapes |= blocks("blocks_a", depth - 1, d) | blocks("blocks_v", depth - 1, d) | blocks("blocks_u", 1, d)
    shapes |= parameters("norm_a", d) | parameters("norm_v", d) | parameters("norm", d)
    shapes |= parameters("decoder_embed", 512, d) | {"mask_token": (1, 1, 512)}
    shapes |= {"decoder_modality_a": (1, 1, 512), "decoder_modality_v": (1, 1, 512)}
    shapes |= {"decoder_pos_embed_a": (1, patches, 512), "decoder_pos_embed_v": (1, 196, 512)}
    shapes |= blocks("decoder_blocks", 1, 512) | parameters("decoder_norm", 512)
    return shapes | parameters("decoder_pred_a", 256, 512) | parameters("decoder_pred_v", 768, 512)


def filled(shapes, seed=0):
    """Random weights of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def hollow(shapes):
    """Weights of these shapes that take no room, in a file neither."""
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
