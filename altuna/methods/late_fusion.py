"""Late fusion (unimodal ensemble, UME)."""

from __future__ import annotations

from altuna.methods.base import Method


class LateFusion(Method):
    """Train every modality alone, with its own encoder and head, and fuse at test time.

    Modalities never touch: no shared parameter and no joint loss. A batch has the same turns as
    MLA's, so both make the same number of updates; what MLA's shared head adds is the difference
    between the two. Known as the unimodal ensemble, UME (Du et al., 2023, arXiv 2305.01233).

    .. math:: L_m = CE(W_m h_m + b_m, y)
    """

    head = "separate"
