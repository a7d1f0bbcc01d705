"""Write docs/methods.md from the registry of methods and their docstrings.

python tools/build_methods.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from altuna import methods

ROOT = Path(__file__).parent.parent
TERMS = (
    "- A *row* is one sample of a batch, and a *cell* is the input of one modality in one row.",
    "- A *head* maps features to logits.",
    "- A *turn* is one forward pass, backward pass and optimizer step.",
    "- *Unimodal logits* come from the features of one modality. *Joint logits* come from the features of\n"
    "  all modalities, through a *joint head*.",
    "- A *joint expert* is a small network on the features of all modalities. A model with a\n"
    "  joint expert also has a head for unimodal logits.",
    "- *Joint training* trains all encoders in one turn, with the cross-entropy of the joint logits.",
    "- A modality is *ahead* of other modalities if it currently predicts the true\n"
    "  classes better than the other modalities do.",
    "- A *deviation* is a difference between altuna and the paper or the code that the authors released.",
    "- In equations, $h_m$ are the features of modality m, and $z_m$ are its unimodal logits. $z$ are the\n"
    "  joint logits, $y$ are the labels, and $CE$ is the cross-entropy. $W$ are weights and $b$ are biases.",
)
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def summary(name: str) -> tuple[str, str, str]:
    """Return a method's first sentence, its head and a link to its paper (empty if there is none)."""
    kind = methods.get(name)
    text = inspect.getdoc(kind) or ""
    found = ARXIV.search(text)
    link = f"[{found[1]}](https://arxiv.org/abs/{found[1]})" if found else ""
    return text.split("\n\n")[0].replace("\n", " "), kind.head, link


def table() -> str:
    """Return the table of methods, each with a link to its section."""
    lines = ["| `--method` | idea | head | paper |", "|---|---|---|---|"]
    for name in methods.list():
        idea, head, link = summary(name)
        lines.append(f"| [`{name}`](#{name}) | {idea} | `{head}` | {link} |")
    return "\n".join(lines)


def page() -> str:
    """Return docs/methods.md."""
    parts = [
        "# Methods",
        "This page describes what each method computes. The page is generated from the docstrings in\n"
        "[altuna/methods](../altuna/methods). Set the options of a method with `--set method.NAME=VALUE`.",
        "altuna evaluates all methods in the same way. altuna combines the logits of the modalities by the\n"
        "default fusion rule of the method and, for comparison, by all other fusion rules.",
        "These terms occur in several sections:",
        "\n".join(TERMS),
        "Every method with a joint head, except `cra` and `mmin`, also has the option `impute`, which\n"
        "sets the features of a missing modality. With `impute` set to `zero` (the default), the features\n"
        "of a missing modality are zeros. With `mean`, they are the running mean of the training features\n"
        "of the modality.",
        "The column *head* in the table is the name of the head in\n"
        "[altuna/core/heads](../altuna/core/heads/__init__.py).",
        table(),
    ]
    for name in methods.list():
        kind = methods.get(name)
        text = ARXIV.sub(r"arXiv [\1](https://arxiv.org/abs/\1)", inspect.getdoc(kind) or "")
        text = re.sub(r"\.\. math:: ?(.*?)(?=\n\n|\Z)", _math, text, flags=re.DOTALL)
        text = re.sub(r":math:`([^`]*)`", r"$\1$", text).replace("``", "`")
        text = re.sub(r"(?m)^    (\w+): ", r"- `\1`: ", text.replace("\nArgs:\n", "\nOptions:\n\n"))
        text = re.sub(r"(?m)^- `model`: .*\n", "", text)
        parts.append(f"## {name}\n\n{text.strip()}")
    return "\n\n".join(parts) + "\n"


def _math(found: re.Match[str]) -> str:
    return "$$" + " ".join(line.strip() for line in found[1].splitlines()) + "$$"


def main() -> None:
    """Write the page."""
    (ROOT / "docs" / "methods.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
