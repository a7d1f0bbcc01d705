"""Late fusion (unimodal ensemble, UME)."""

from __future__ import annotations

from altuna.methods.base import Method


class LateFusion(Method):
    """Train every modality separately, with its own encoder and head, and fuse predictions at test time.

    Modalities share no parameters and no loss. A batch has the same turns as in ``mla``, so both methods make
    the same number of updates. If the results of ``late_fusion`` and ``mla`` differ, the reasons are the
    shared head of ``mla`` and the projection of its gradient. The method is also known as the unimodal
    ensemble, UME (Du et al., 2023, arXiv 2305.01233).

    .. math:: L_m = CE(W_m h_m + b_m, y)
    """

    head = "separate"
