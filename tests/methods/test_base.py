"""A method's hooks: a misspelt one is refused."""

import pytest

from altuna.methods.base import Method
from altuna.methods.mla import MLA


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("turn", "turns"),
        ("modify_gradient", "modify_gradients"),
        ("after_steps", "after_step"),
        ("los", "loss"),
    ],
)
def test_an_unknown_hook_is_fatal(name, near):
    with pytest.raises(TypeError, match=f"Wrong.{name} is not a hook; did you mean '{near}'"):
        type("Wrong", (Method,), {name: lambda self: None})


def test_an_unknown_class_method_is_fatal():
    with pytest.raises(TypeError, match=r"Wrong.selects is not a hook; did you mean 'select'"):
        type("Wrong", (MLA,), {"selects": classmethod(lambda cls: None)})


def test_known_hooks_private_functions_and_attributes_are_fine():
    hooks = dict.fromkeys(["turns", "loss", "modify_gradients", "after_step", "after_epoch", "_own"])
    made = type("Right", (Method,), {**{n: lambda self: None for n in hooks}, "head": "concat", "note": 3})
    assert issubclass(made, Method)
