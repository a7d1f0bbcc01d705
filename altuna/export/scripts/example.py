"""Predict with the exported graphs of this folder, from any subset of the modalities."""

from __future__ import annotations

from typing import Any

import numpy as np
from readers import Array, loaded, main


def run(format: str, file: str, **inputs: Array) -> list[Array]:
    """Return the outputs of a graph, run by ONNX Runtime or PyTorch: only the one of the format is needed."""
    if format == "onnx":
        import onnxruntime

        outputs: list[Array] = loaded(file, onnxruntime.InferenceSession).run(None, inputs)
        return outputs
    import torch

    found = loaded(file, torch.export.load).module()(*map(torch.tensor, inputs.values()))
    return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]


def predict(cells: dict[str, Array], config: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return class probabilities and fusion weights of one sample.

    Args:
        cells: Input [1, ...] of each modality that the sample has, by name.
        config: Content of ``export.json``.
    """
    format, modalities = config["format"], config["modalities"]
    inputs = {"present": np.array([[m["name"] in cells for m in modalities]])}
    for i, m in enumerate(modalities):
        features = np.zeros((1, m["features"]), np.float32)  # the values of an absent modality do not matter
        if m["name"] in cells:
            features = run(format, m["file"], cells=cells[m["name"]])[0]
        inputs[f"features_{i}"] = features
    probabilities, weights, *_ = run(format, config["fusion"]["file"], **inputs)
    return {
        "probabilities": dict(zip(config["classes"], probabilities[0].tolist(), strict=True)),
        "weights": dict(zip((m["name"] for m in modalities), weights[0].tolist(), strict=True)),
    }


if __name__ == "__main__":
    main(predict, __doc__)
