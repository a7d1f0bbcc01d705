"""An extension of griffe, which reads docstrings for the site: ``Example:`` is a section of code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Name the section as griffe does, which takes ``Example:`` for prose with a title."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
