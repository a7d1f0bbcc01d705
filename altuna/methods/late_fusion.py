"""Late fusion (unimodal ensemble, UME)."""

from __future__ import annotations

from altuna.methods.base import Method


class LateFusion(Method):
    """Train every modality separately, with its own encoder and head, and fuse the predictions at test time.

    The modalities share no parameters. As in ``mla``, each batch has one turn per modality, so both methods
    make the same number of updates. In contrast to ``late_fusion``, ``mla`` has a shared head and projects
    the gradient of this head. Du et al. (2023, arXiv 2305.01233) call late fusion *unimodal ensemble* (UME).

    The loss of the turn of modality m is :math:`L_m`. The weights :math:`W_m` and the biases :math:`b_m` are
    the head of modality m:

    .. math:: L_m = CE(W_m h_m + b_m, y)
    """

    head = "separate"
