"""The turns of the methods that MLA is compared with first."""

import torch
from test_mla import DIM, batch_of, model_of, sgd, train
from torch.nn.functional import cross_entropy

from altuna import Batch
from altuna.methods.concat import Concat
from altuna.methods.late_fusion import LateFusion
from altuna.methods.mla import MLA


def test_late_fusion_takes_the_same_turns_and_shares_nothing():
    method, mla = LateFusion(model_of(head="separate")), MLA(model_of(), order="given")
    batches = [batch_of(i) for i in range(4)]
    ours, theirs = (train(m, batches, sgd(m)) for m in (method, mla))
    assert [[t.name for t in turns] for turns in ours] == [[t.name for t in turns] for turns in theirs]
    alone = LateFusion(model_of(head="separate"))
    only = [
        Batch({"sound": b.inputs["sound"]}, {"sound": b.rows["sound"]}, b.labels, b.indices) for b in batches
    ]
    train(alone, only, sgd(alone))
    assert torch.equal(alone.model.encoders[0].weight, method.model.encoders[0].weight)
    assert torch.equal(alone.model.head.linears[0].weight, method.model.head.linears[0].weight)


def test_concat_takes_one_turn_for_all():
    method = Concat(model_of(head="concat"))
    batch = batch_of(2)
    (turn,) = method.turns(batch)
    assert turn.modalities == ("sound", "picture")
    features = torch.zeros(8, 3 * DIM)
    for i, m in enumerate(turn.modalities):
        features[batch.rows[m], i * DIM : (i + 1) * DIM] = method.model.encode(m, batch.inputs[m])
    want = cross_entropy(method.model.head.linear(features), batch.labels)
    torch.testing.assert_close(method.loss(turn, batch), want)
