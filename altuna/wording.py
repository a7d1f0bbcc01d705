"""Texts as people read them."""

from __future__ import annotations


def clipped(text: str, longest: int = 240) -> str:
    """Return a text without its middle if it is too long: names stand first, figures last."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - longest // 3 - 1]}…{text[-(longest // 3) :]}"
