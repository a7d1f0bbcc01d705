"""Encoders and heads as graphs: the same numbers as the modules, for any batch."""

import itertools

import pytest
import torch
from encoders.test_build import ALL, READERS_OF, SMALL, cells_of

import altuna
from altuna.core.heads import HEADS
from altuna.encoders import FRONT_ENDS, Fitted, build
from altuna.errors import UserError
from altuna.export.graphs import Branch, branch_program, fusion_program

TINY = {"dimension": 16, "depth": 2, "heads": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_encoder_is_a_graph_of_any_batch(kind, name):
    options = TINY | SMALL[name] if name in SMALL else {"width": 4} if "resnet" in name else {}
    same_graph(READERS_OF[kind], name, TINY if name == "vit" else options)


@pytest.mark.parametrize("front_end", ["log_stft", {"name": "log_stft", "tile": True}, "kaldi_fbank"])
def test_every_front_end_of_sound(front_end):
    small = {"name": front_end, "mels": 32, "frames": 32} if front_end == "kaldi_fbank" else front_end
    same_graph(READERS_OF["audio"], "resnet18", {"width": 4, "front_end": small})


@pytest.mark.parametrize("front_end", FRONT_ENDS["vector"])
def test_every_front_end_of_vectors(front_end):
    same_graph(READERS_OF["vector"], "mlp", {"front_end": front_end})


def same_graph(reader, name, options):
    torch.manual_seed(0)
    encoder = build("m", reader, name, **options).eval()
    if isinstance(encoder.front_end, Fitted):
        encoder.front_end.fit(cells_of(reader, 50).numpy())
    model = altuna.MultimodalClassifier({"m": encoder}, 2).eval()
    graph = branch_program(model, "m", reader, name).module()
    for number in (3, 1):
        cells = cells_of(reader, number)
        if reader.type == "audio":
            cells[:, 2000:] = 0
        if reader.type == "text":
            cells = cells[:, : number + 1].clamp(min=1)
        torch.testing.assert_close(graph(cells), encoder(cells), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("impute", ["zero", "mean"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_from_every_subset(head, impute):
    torch.manual_seed(0)
    try:
        model = altuna.MultimodalClassifier(
            {m: torch.nn.Linear(4, 8 if m == "a" else 6) for m in "abc"}, 4, head=head, impute=impute
        ).eval()
    except ValueError:
        pytest.skip("this head imputes in its own way")
    graph = fusion_program(model).module()
    present = torch.tensor([*itertools.product([False, True], repeat=3)][1:])
    for part in (present, present[:1], present[-1:]):
        features = [torch.randn(len(part), size) for size in model.head.sizes]
        rows = {m: part[:, i].nonzero().flatten() for i, m in enumerate("abc")}
        given = {m: features[i][rows[m]] for i, m in enumerate("abc") if len(rows[m])}
        with torch.no_grad():
            wanted = model.fuse(model.outputs_of(given, {m: rows[m] for m in given}, len(part)))
        absent = [torch.where(part[:, i, None], f, torch.nan) for i, f in enumerate(features)]
        probabilities, weights, unimodal = graph(part, *absent)
        torch.testing.assert_close(probabilities, wanted.probabilities)
        torch.testing.assert_close(weights, wanted.weights.T)
        torch.testing.assert_close(unimodal, wanted.unimodal_logits.transpose(0, 1))


@pytest.mark.parametrize("own", ["", "b", "abc"])
def test_a_joint_expert_with_encoders_of_its_own(own):
    torch.manual_seed(0)
    encoders = {m: torch.nn.Linear(4, 6) for m in "abc"}
    expert = {m: torch.nn.Linear(4, 5) for m in own}
    model = altuna.MultimodalClassifier(encoders, 4, expert=expert).eval()
    model.joint_weight.fill_(0.7)
    model.class_biases.copy_(torch.randn(4, 4))
    cells = {m: torch.randn(9, 4) for m in "abc"}
    present = torch.rand(9, 3) < 0.7
    present[:3] = True
    present[:, 0] |= ~present.any(1)
    features = []
    for i, m in enumerate("abc"):
        found = Branch(model, i)(cells[m])
        assert found.shape == (9, model.widths[i])
        features.append(torch.where(present[:, i, None], found, torch.nan))
    program = fusion_program(model)
    assert not [name for name in program.state_dict if "encoders" in name]
    got, _, _ = program.module()(present, *features)
    rows = {m: present[:, i].nonzero().flatten() for i, m in enumerate("abc")}
    wanted = model({m: cells[m][rows[m]] for m in "abc"}, rows, 9)
    torch.testing.assert_close(got, wanted.probabilities)


def test_an_encoder_that_is_no_graph_is_named():
    class ByNumPy(torch.nn.Linear):
        def forward(self, x):
            return super().forward(torch.from_numpy(x.numpy() + 1))

    model = altuna.MultimodalClassifier({"acc": ByNumPy(3, 4)}, 2).eval()
    with pytest.raises(UserError, match=r"^modality 'acc': the encoder 'hf:x' cannot be exported: ") as error:
        branch_program(model, "acc", READERS_OF["vector"], "hf:x")
    assert "\n" not in str(error.value)
