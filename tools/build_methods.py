"""Write docs/methods.md and the README's table of methods from the registry and the docstrings.

python tools/build_methods.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from altuna import methods

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- methods: made by tools/build_methods.py -->", "<!-- end of methods -->"
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def summary(name: str) -> tuple[str, str, str]:
    """Return a method's first sentence, its head and a link to its paper (empty if there is none)."""
    kind = methods.get(name)
    text = inspect.getdoc(kind) or ""
    found = ARXIV.search(text)
    link = f"[{found[1]}](https://arxiv.org/abs/{found[1]})" if found else ""
    return text.split("\n\n")[0].replace("\n", " "), kind.head, link


def table(*, linked: bool = False) -> str:
    """Return the table of methods, with links into their page if wanted."""
    lines = ["| `--method` | idea | head | paper |", "|---|---|---|---|"]
    for name in methods.list():
        idea, head, link = summary(name)
        shown = f"[`{name}`](#{name})" if linked else f"`{name}`"
        lines.append(f"| {shown} | {idea} | `{head}` | {link} |")
    return "\n".join(lines)


def page() -> str:
    """Return docs/methods.md."""
    parts = [
        "# Methods",
        "What each method computes, from the docstrings of [altuna/methods](../altuna/methods). All are\n"
        "evaluated alike: unimodal logits of every modality, fused by the method's own rule and, for\n"
        "comparison, by every other. Options are given as `--set method.NAME=VALUE`.",
        "Every method with a joint head also has `impute`: features that a sample lacks are zeros (`zero`)\n"
        "or the running mean of that modality's training features (`mean`), in training and in use.",
        table(linked=True),
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


def readme(text: str) -> str:
    """Return the README with its table made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write both."""
    (ROOT / "docs" / "methods.md").write_text(page(), encoding="utf-8")
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
