"""Load released checkpoints, by the names of their parameters, without running code in them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from altuna.errors import UserError

Weights = dict[str, Tensor]


def load_weights(
    module: nn.Module,
    path: str | Path,
    name_of: Callable[[str], str],
    others: str,
    convert: Callable[[Weights], Weights] = lambda weights: weights,
) -> None:
    """Load a checkpoint into a module.

    Args:
        module: All its parameters must be in the file.
        path: A ``.safetensors`` file, or a state dictionary saved by ``torch.save``.
        name_of: From the name of a parameter in the module to that in the file.
        others: A regular expression of names that the file may have besides.
        convert: Applied to the content of the file.

    Raises:
        UserError: It is not such a file, or has other names or shapes.

    Example:
        >>> import tempfile
        >>> release, layer = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> path = Path(tempfile.mkdtemp(), "release.pt")
        >>> torch.save({f"fc.{name}": value for name, value in release.state_dict().items()}, path)
        >>> load_weights(layer, path, name_of=lambda name: f"fc.{name}", others="decoder")
        >>> torch.equal(layer.weight, release.weight)
        True
    """
    found = convert(_read(Path(path)))
    own = {name_of(name): (name, value) for name, value in module.state_dict().items()}
    wrong = [f"{name} is missing" for name in own if name not in found]
    wrong += [f"{name} is unexpected" for name in found if name not in own and not re.match(others, name)]
    for name in own.keys() & found.keys():
        has, needs = [*found[name].shape], [*own[name][1].shape]
        if has != needs:
            wrong.append(f"{name} has the shape {has} instead of {needs}")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(f"{path}: not the weights of this encoder: {'; '.join(wrong[:5])}{more}")
    module.load_state_dict({own[name][0]: found[name] for name in own})


def _read(path: Path) -> Weights:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the pickling of files that are rejected
                found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # other files make the libraries raise exceptions of many types
        raise UserError(
            f"{path}: neither a .safetensors file nor a PyTorch state dictionary "
            "(other pickles are not opened: they can run code)"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise UserError(f"{path}: does not hold a dictionary of tensors")
    # nn.DataParallel saves names with this prefix.
    return {str(name).removeprefix("module."): value for name, value in found.items()}
