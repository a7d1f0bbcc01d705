"""The presets, what ``best`` goes without, and the time limit."""

import json
import time

import pytest
import torch
import transformers
import yaml
from notes import Notes
from training.test_folds import SHORT, write

import altuna
from altuna.errors import UserError
from altuna.training import presets
from altuna.training.config import FAST_EPOCHS, FitConfig
from altuna.training.loop import Loop
from altuna.training.progress import Extent, Progress

QUICK = {name: value for name, value in SHORT.items() if name != "quiet"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("presets") / "data.csv")


@pytest.fixture
def no_hub(monkeypatch):
    """Let no pretrained encoder be found."""

    def refuse(name):
        raise UserError(f"{name}: cannot be loaded")

    monkeypatch.setattr(presets, "check_source", refuse)


def saved(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def test_fast_changes_only_what_is_not_given():
    assert FitConfig(preset="fast").epochs == FAST_EPOCHS < FitConfig().epochs
    assert FitConfig(preset="fast", epochs=3).epochs == 3


def test_best_says_what_it_does_without(table, tmp_path, no_hub):
    notes = Notes()
    run = altuna.fit(table, preset="best", out=tmp_path / "run", reporter=notes, **QUICK)
    (said,) = [text for text in notes.texts if text.startswith("preset best")]
    assert said == f"preset best, without {presets.PRETRAINED['text']['name']}: cannot be loaded"
    options = saved(run)
    assert (options["folds"], options["joint_expert"], options["encoders"]) == (presets.FOLDS, "apart", {})
    assert options["estimators"] == "extra_trees,logistic"
    assert json.loads((run / "config.json").read_text())["folds"] == presets.FOLDS


def test_best_keeps_what_is_given_and_what_is_possible(table, tmp_path, no_hub):
    notes = Notes()
    options = {"method": "concat", "folds": 2, **QUICK}
    run = altuna.fit(table, preset="best", out=tmp_path / "run", reporter=notes, **options)
    assert saved(run)["folds"] == 2
    assert saved(run)["joint_expert"] == "off"
    assert any("joint_expert (not for the method 'concat'" in text for text in notes.texts)


def test_best_without_a_test_split_trains_one_model(tmp_path, no_hub):
    table, notes = write(tmp_path / "data.csv", test=False), Notes()
    run = altuna.fit(table, preset="best", out=tmp_path / "run", reporter=notes, **QUICK)
    assert saved(run)["folds"] is None
    assert any("no row is in test" in text for text in notes.texts)


@pytest.mark.slow
def test_best_takes_pretrained_encoders_where_none_is_given(table, tmp_path, monkeypatch):
    folder = tmp_path / "bert"
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "fox", "blue", "sky", "green", "tea"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    monkeypatch.setitem(presets.PRETRAINED, "text", {"name": f"hf:{folder}"})
    run = altuna.fit(table, preset="best", out=tmp_path / "run", **SHORT)
    assert saved(run)["encoders"] == {"title": {"name": f"hf:{folder}"}}
    names = altuna.load(run).model.state_dict()
    kept = [name for name in names if name.endswith("word_embeddings.weight")]
    assert len(kept) == 1  # the frozen network is the same in all folds
    own = altuna.fit(table, preset="best", encoders={"title": "text_small"}, out=tmp_path / "own", **SHORT)
    assert saved(own)["encoders"]["title"] in ("text_small", {"name": "text_small"})


def test_a_limit_that_is_far_changes_nothing():
    plain, limited = Extent(5, None, None, 2), Extent(5, None, None, 2, limit=1e6)
    progress = Progress()
    for _ in range(5):
        assert limited.done_of_total(progress, 10) == plain.done_of_total(progress, 10)
        assert limited.expected_epochs(progress, 10) == 5
        assert not limited.is_over(progress)
        progress.start_epoch()
        progress.steps += 10
        progress.end_epoch({"seconds": 1.0, "updates": 20.0})
    assert limited.is_over(progress)


def test_a_near_limit_ends_the_training_and_its_schedule():
    extent, progress = Extent(100, None, None, 2, limit=3.0), Progress()
    progress.start_epoch()
    progress.end_epoch({"seconds": 1.0, "updates": 20.0})
    progress.steps = 10
    assert extent.expected_epochs(progress, 10) == 3
    done, total = extent.done_of_total(progress, 10)
    assert done / total == pytest.approx(1 / 3)
    progress.start_epoch()
    progress.end_epoch({"seconds": 2.0, "updates": 40.0})
    assert extent.is_over(progress)


@pytest.mark.slow
def test_a_time_limit_ends_the_training_early(table, tmp_path, monkeypatch):
    train_batch, notes = Loop.train_batch, Notes()

    def slow(self, batch):
        time.sleep(0.2)
        train_batch(self, batch)

    monkeypatch.setattr(Loop, "train_batch", slow)
    options = {**QUICK, "epochs": 1000, "time_limit": 0.1, "reporter": notes}
    run = altuna.fit(table, folds=2, out=tmp_path / "run", **options)
    assert (run / "metrics.json").exists()
    assert sum("time_limit: the training ended in epoch" in text for text in notes.texts) == 2


def test_no_time_to_train_is_one_line(table, tmp_path):
    with pytest.raises(UserError, match=r"time_limit: 1e-06 minutes were over before the training"):
        altuna.fit(table, time_limit=1e-6, out=tmp_path / "run", **SHORT)
    assert not (tmp_path / "run").exists()


def test_a_limit_that_was_reached_holds_when_the_training_is_resumed():
    limited, progress = Extent(5, None, None, 2, limit=1.0), Progress()
    progress.start_epoch()
    progress.end_epoch({"seconds": 2.0, "updates": 20.0}, ended=True)
    again = Progress(**progress.state())
    assert limited.is_over(again)
    assert Extent(5, None, None, 2).is_over(again)


def test_the_seconds_of_an_interrupted_epoch_count_before_it_starts_again():
    assert Progress(seconds=100.0).all_seconds() == 100.0


def test_a_budget_is_not_taken_for_a_limit():
    extent, progress = Extent(5, 4, None, 2, limit=1e6), Progress(updates=4)
    assert extent.is_spent(progress)
    assert not extent.limit_is_reached(progress)


def test_best_of_a_method_of_one_modality(table, tmp_path, no_hub):
    notes = Notes()
    method = {"name": "unimodal", "modality": "a"}
    run = altuna.fit(table, method=method, preset="best", out=tmp_path / "run", reporter=notes, **QUICK)
    assert saved(run)["joint_expert"] == "off"
    assert any("joint_expert (there is only one modality)" in text for text in notes.texts)


@pytest.mark.slow
def test_best_resumes_with_what_was_chosen_at_first(table, tmp_path, monkeypatch, no_hub):
    run = altuna.fit(table, preset="best", out=tmp_path / "run", **SHORT)
    monkeypatch.setattr(presets, "check_source", lambda name: None)  # now there would be an encoder
    altuna.fit(table, preset="best", out=run, resume=True, **SHORT)
    assert saved(run)["encoders"] == {}
    assert saved(run)["preset"] == "default"
