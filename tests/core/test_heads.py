"""What every head must have."""

import pytest
import torch

from altuna.core.heads import Head
from altuna.core.heads.base import concat_at_rows, sum_at_rows


def test_a_head_must_say_its_logits():
    with pytest.raises(NotImplementedError):
        Head([3], 2)(0, torch.zeros(1, 3))


@pytest.mark.parametrize("types", [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)])
def test_features_of_two_types(types):
    """Under autocast one encoder may end in bf16, another in float32; a GPU's does not mix them by itself."""
    parts = {i: torch.ones(2, 3, dtype=kind) for i, kind in enumerate(types)}
    rows = {0: torch.tensor([0, 1]), 1: torch.tensor([1, 2])}
    beside, total = concat_at_rows(parts, rows, 3, [3, 3]), sum_at_rows(parts, rows, 3, 3)
    assert beside.dtype == total.dtype == torch.float32
    assert beside.sum(1).tolist() == [3, 6, 3]
    assert total[:, 0].tolist() == [1, 2, 1]
