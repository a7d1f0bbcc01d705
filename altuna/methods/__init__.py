"""The registry of methods: ``list()`` returns their names, ``get(name)`` the class.

Example:
    >>> import altuna
    >>> altuna.methods.list()[:3]
    ['mla', 'late_fusion', 'unimodal']
    >>> altuna.methods.get("mla").head
    'shared'
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from altuna.errors import UserError
from altuna.options import check_options, nearest

if TYPE_CHECKING:
    from altuna.methods.base import Method

# Name to class name; the module has the method's name.
REGISTRY = {
    "mla": "MLA",
    "late_fusion": "LateFusion",
    "unimodal": "Unimodal",
    "sum": "Sum",
    "concat": "Concat",
    "film": "FiLM",
    "gated": "Gated",
    "mla_joint": "MLAJoint",
    "ogm": "OGM",
    "ogm_ge": "OGMGE",
    "qmf": "QMF",
    "agm": "AGM",
    "pmr": "PMR",
    "mmcosine": "MMCosine",
    "g_blending": "GBlending",
    "umt": "UMT",
    "mmpareto": "MMPareto",
    "reconboost": "ReconBoost",
    "lfm": "LFM",
    "opm": "OPM",
    "greedy": "Greedy",
    "amco": "AMCo",
    "mbsd": "MBSD",
    "cml": "CML",
    "relearning": "Relearning",
    "modality_valuation": "ModalityValuation",
    "g2d": "G2D",
    "modality_dropout": "ModalityDropout",
    "cra": "CRA",
    "mmin": "MMIN",
}


def list() -> builtins.list[str]:
    """Return the names of all methods.

    Example:
        >>> "ogm_ge" in list()
        True
    """
    return [*REGISTRY]


def get(name: str) -> type[Method]:
    """Return the class of a method. For a method outside altuna, give ``module.Class``.

    Raises:
        UserError: The method does not exist (the message suggests the nearest name) or cannot be imported.

    Example:
        >>> get("concat")
        <class 'altuna.methods.concat.Concat'>
        >>> get("concatt")
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: unknown method 'concatt'; did you mean 'concat'?
    """
    if "." in str(name):
        return _elsewhere(name)
    if name not in REGISTRY:
        raise UserError(f"unknown method {name!r}{nearest(name, REGISTRY)}")
    method: type[Method] = getattr(import_module(f"altuna.methods.{name}"), REGISTRY[name])
    return method


def _elsewhere(place: str) -> type[Method]:
    from altuna.methods.base import Method

    module, _, kind = place.rpartition(".")
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise UserError(f"method {place!r}: cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"method {place!r}: is no subclass of altuna.methods.base.Method")
    return found


def check(name: str, options: Mapping[str, Any]) -> type[Method]:
    """Return the class of a method after a check of its options (its own, and ``impute``).

    Raises:
        UserError: The method, an option or a value does not exist.

    Example:
        >>> check("ogm", {"alpha": 0.5}).head
        'concat'
        >>> check("ogm", {"alhpa": 0.5})
        Traceback (most recent call last):
        ...
        altuna.errors.UserError: method 'ogm': unknown option 'alhpa'; did you mean 'alpha'?
    """
    from altuna.core.model import Impute

    kind = get(name)
    check_options(options, kind, f"method {name!r}", beside=("model",), more={"impute": Impute})
    return kind
