"""Change the files of a run directory, and check that what reads them refuses them in one line."""

import json
import re

import pytest

from altuna.errors import UserError

MISSING = object()
NAN, INFINITE = float("nan"), float("inf")
HUGE = 10**9


def refused(function, *words):
    """Check that a function raises one line with these words."""
    with pytest.raises(UserError) as caught:
        function()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 700
    for word in words:
        assert word in line, line


def put(content, key, value):
    """Put a value at a key such as ``modalities.a.type``, or its parts."""
    *before, last = key.split(".") if isinstance(key, str) else key
    for part in before:
        content = content[int(part) if isinstance(content, list) else part]
    if value is MISSING:
        del content[last]
    else:
        content[int(last) if isinstance(content, list) else last] = value


def edit_json(path, key, value):
    content = json.loads(path.read_text())
    put(content, key, value)
    path.write_text(json.dumps(content))


def shown(value):
    return "missing" if value is MISSING else re.sub(r"\W+", "", repr(value))[:20]


def cases(some):
    return [pytest.param(*one, id="-".join([one[0], *map(shown, one[1:])])) for one in some]
