"""The encoders of M3AE (arXiv 2205.14204) and CAV-MAE (arXiv 2210.07839), one sample at a time, in float64.

``p`` has the parameters by the names of the published checkpoints.
"""

from __future__ import annotations

import math

import numpy as np

erf = np.vectorize(math.erf)


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def layer_norm(p, name, x, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(p, qkv, out, x, heads, hidden=()):
    """Self-attention of x [L, D]; nothing looks at the ``hidden`` places."""
    q, k, v = np.split(linear(p, qkv, x), 3, axis=1)
    size = x.shape[1] // heads
    mixed = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        scores[:, hidden] = -1e7
        mixed.append(softmax(scores) @ v[:, part])
    return linear(p, out, np.concatenate(mixed, 1))


def sines(size, place):
    angles = [place / 10_000 ** (i / (size / 2)) for i in range(size // 2)]
    return np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def grid(size, height, width):
    """A place's vector: half of it for its column, half for its row."""
    at = [(row, column) for row in range(height) for column in range(width)]
    return np.stack([np.concatenate([sines(size // 2, c), sines(size // 2, r)]) for r, c in at])


def m3ae(p, embedded, kind, depth, heads, hidden=()):
    """All of the encoder's outputs [1 + L, D] of embedded tokens or patches with their positions [L, D]."""
    embedded = embedded + p[f"encoder_{kind}_type_embedding"][0]
    x = np.concatenate([p["cls_token"][0], embedded])
    hidden = [1 + i for i in hidden]
    for i in range(depth):
        b = f"encoder.blocks.{i}"
        normed = layer_norm(p, f"{b}.layer_norm1", x, 1e-6)
        x = x + attention(p, f"{b}.attention.qkv_linear", f"{b}.attention.fc", normed, heads, hidden)
        wide = gelu_tanh(linear(p, f"{b}.transformer_mlp.fc1", layer_norm(p, f"{b}.layer_norm2", x, 1e-6)))
        x = x + linear(p, f"{b}.transformer_mlp.fc2", wide)
    return layer_norm(p, "encoder.layer_norm", x, 1e-6)


def m3ae_image(p, picture, depth, heads):
    """Outputs of a standardised picture [H, W, 3]."""
    height, width = picture.shape[0] // 16, picture.shape[1] // 16
    patches = np.stack(
        [
            picture[16 * r : 16 * r + 16, 16 * c : 16 * c + 16].reshape(-1)
            for r in range(height)
            for c in range(width)
        ]
    )
    embedded = linear(p, "image_embedding", patches)
    return m3ae(p, embedded + grid(embedded.shape[1], height, width), "image", depth, heads)


def m3ae_text(p, tokens, depth, heads, hidden=()):
    """Outputs of a tokenizer's numbers [L]; those at the ``hidden`` places are padding."""
    embedded = p["text_embedding.weight"][tokens]
    places = np.stack([sines(embedded.shape[1], i) for i in range(len(tokens))])
    return m3ae(p, embedded + places, "text", depth, heads, hidden)


def cav_mae_audio(p, spectrogram, depth, heads):
    """The mean output of a standardised spectrogram [frames, bands]; the last block is the shared one."""
    picture = spectrogram.T
    height, width = picture.shape[0] // 16, picture.shape[1] // 16
    kernel = p["patch_embed_a.proj.weight"][:, 0]
    x = np.stack(
        [
            (kernel * picture[16 * r : 16 * r + 16, 16 * c : 16 * c + 16]).sum((1, 2))
            for r in range(height)
            for c in range(width)
        ]
    )
    x = x + p["patch_embed_a.proj.bias"] + p["pos_embed_a"][0] + p["modality_a"][0]
    for i in range(depth):
        b, norm = (f"blocks_a.{i}", "norm{}") if i < depth - 1 else ("blocks_u.0", "norm{}_a")
        normed = layer_norm(p, f"{b}.{norm.format(1)}", x, 1e-5)
        x = x + attention(p, f"{b}.attn.qkv", f"{b}.attn.proj", normed, heads)
        wide = gelu(linear(p, f"{b}.mlp.fc1", layer_norm(p, f"{b}.{norm.format(2)}", x, 1e-5)))
        x = x + linear(p, f"{b}.mlp.fc2", wide)
    return layer_norm(p, "norm_a", x, 1e-5).mean(0)
