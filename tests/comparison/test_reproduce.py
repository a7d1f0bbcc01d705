"""The paper's recipes are valid, and its tables run on a release of the true shape."""

import csv
import json

import pytest
import trees

from altuna import UserError, methods
from altuna.comparison.compare import _methods
from altuna.comparison.paper import BASELINES, CONFIGS, LABEL, PUBLISHED, TABLES
from altuna.comparison.reproduce import merge_options, reproduce
from altuna.files import read_yaml, write_json
from altuna.recipes import RELEASES
from altuna.recipes.cremad import EMOTIONS
from altuna.reporting import Reporter
from altuna.runs.directory import read_json
from altuna.training.config import FitConfig


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_valid(path):
    options = FitConfig(data="x.csv", **read_yaml(path))
    assert (options.epochs, options.batch_size, options.optimizer) == (100, 64, "sgd")
    assert (options.lr, options.weight_decay) == (1e-3, 1e-4)
    assert options.schedule.model_dump() == {"step": 70, "gamma": 0.1}


FOLDER = "cremad-mla-order=given-reset=never"  # of a run of the paper's MLA


def test_tables_name_what_there_is():
    for table in TABLES.values():
        assert {*table.data.values()} <= {*RELEASES}
        assert all((CONFIGS / f"{config}.yaml").exists() for config in table.data)
    known = {
        (n, config, rate) for n, table in TABLES.items() for config in table.data for rate in table.rates
    }
    assert {*PUBLISHED} <= known
    assert {*BASELINES} <= {*methods.list()}


def test_over():
    assert merge_options({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}) == {
        "a": {"b": 4, "c": 2},
        "d": {"e": 5},
    }


@pytest.fixture
def comparison(tmp_path, monkeypatch):
    """A folder of data for which comparisons are made up: 60 or so for MLA, 70 or so for the next."""

    def compare(data, *, methods, seeds, out, **options):
        out.mkdir(parents=True)
        write_json(out / "given.json", options)
        runs = []
        for i, (label, _) in enumerate(_methods(methods)):
            rules = {
                rule: {"accuracy": 0.6 + i / 10 + j / 100}
                for j, rule in enumerate(("own", "entropy", "mean"))
            }
            (out / f"run-{i}").mkdir()
            write_json(out / f"run-{i}" / "metrics.json", {"fusion": {"rule": "own", "rules": rules}})
            runs.append({"method": label, "folder": f"run-{i}", "reason": ""})
        write_json(
            out / "compare.json", {"runs": runs, "results": [{"method": run["method"]} for run in runs]}
        )

    monkeypatch.setattr("altuna.comparison.reproduce.compare", compare)
    # What is made up has no more than the accuracies, so it is read without the schema.
    monkeypatch.setattr(
        "altuna.comparison.reproduce.read_metrics", lambda run: read_json(run, "metrics.json")
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cremad.csv").write_text("id\n")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def releases(media, tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    ids = trees.cremad(folder / "cremad", media, actors=4)
    labels = {short: long for long, short in EMOTIONS.items()}
    for split, sentence in (("train", "DFA"), ("test", "TIE")):
        listed = "".join(f"{id}.flv {labels[id[9:12]]}\n" for id in ids if id[5:8] == sentence)
        trees.put(folder / "lists" / f"my_{split}_cre.txt", listed)
    return folder


SMALL = {
    "epochs": 1,
    "batch_size": 16,
    "accelerator": "cpu",
    "readers": {"video": {"size": 32}, "audio": {"rate": 4000, "seconds": 0.5}},
    "encoders": {"video": {"width": 2}, "audio": {"width": 2}},
    "transforms": {"video": {"random_resized_crop": {"size": 32}}},
}


class Notes(Reporter):
    """Keeps what is reported."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def rows(out):
    with (out / "reproduce.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.mark.slow
def test_a_table_beside_what_was_published(releases, tmp_path):
    reporter = Notes()
    options = merge_options(SMALL, {"seeds": 2, "out": tmp_path / "out"}) | {"reporter": reporter}
    out = reproduce("complete", releases, methods=["mla"], splits=releases / "lists", **options)
    mla, entropy = rows(out)
    runs = [json.loads((out / "cremad" / f"{FOLDER}-{s}" / "metrics.json").read_text()) for s in (0, 1)]
    assert mla["accuracy %"].startswith(f"{sum(50 * run['fused']['accuracy'] for run in runs):.2f} ± ")
    by_entropy = sum(50 * run["fusion"]["rules"]["entropy"]["accuracy"] for run in runs)
    assert entropy["accuracy %"].startswith(f"{by_entropy:.2f} ± ")
    assert (mla["method"], entropy["method"]) == (LABEL, f"{LABEL}, entropy")
    assert entropy["published"].startswith("79.70 (Zhang et al.")  # who fuse by entropy
    assert mla["published"] == ""
    assert "Not found, left out: kinetics-sounds, food101, mvsa, iemocap." in reporter.notes
    assert any("4 of 4 actors shared" in note for note in reporter.notes)  # the lists leak, and are used
    assert (releases / "cremad.csv").exists()
    config = read_yaml(out / "cremad" / f"{FOLDER}-0" / "config.yaml")
    assert (config["optimizer"], config["epochs"]) == ("sgd", 1)
    assert config["encoders"]["audio"]["front_end"]["n_fft"] == 256


def test_the_ablation_has_a_row_a_fusion(comparison, tmp_path):
    """What is trained stands above; here is what becomes of it."""
    out = reproduce("ablation", comparison, data=["cremad"], seeds=1, out=tmp_path / "out")
    assert [(row["method"], row["accuracy %"], row["published"]) for row in rows(out)] == [
        (f"{LABEL}, entropy", "61.00", ""),
        (f"{LABEL}, mean", "62.00", ""),
        (f"{LABEL[:-1]}, project=off), entropy", "71.00", ""),
        (f"{LABEL[:-1]}, project=off), mean", "72.00", ""),
    ]


def test_lists_do_not_change_a_manifest_that_exists(comparison, tmp_path):
    reporter = Notes()
    options = {"methods": ["mla"], "splits": tmp_path, "out": tmp_path / "out", "reporter": reporter}
    reproduce("complete", comparison, **options)
    assert "cremad.csv already exists, so its splits are used" in reporter.notes[0]


def test_options_of_a_modality_are_for_the_data_that_have_it(comparison, tmp_path):
    """So that one command says for all data where the released weights are."""
    (comparison / "food101.csv").write_text("id\n")
    given = {"image": {"weights": "m3ae.safetensors"}}
    reproduce("complete", comparison, encoders=given, out=tmp_path / "out")
    of = {
        name: read_json(tmp_path / "out" / name, "given.json")["encoders"] for name in ("cremad", "food101")
    }
    assert of["food101"]["image"] == {"name": "m3ae_base", "weights": "m3ae.safetensors"}
    assert {*of["cremad"]} == {"video", "audio"}


def test_each_missing_rate_has_its_metrics(comparison, tmp_path):
    out = reproduce("missing", comparison, data=["cremad"], methods=["mla"], seeds=1, out=tmp_path / "out")
    published = {(row["missing"], row["method"]): row["published"].partition(" ")[0] for row in rows(out)}
    assert published == {
        **{(rate, LABEL): "" for rate in ("0%", "20%", "50%")},
        ("0%", f"{LABEL}, entropy"): "79.43",
        ("20%", f"{LABEL}, entropy"): "69.35",
        ("50%", f"{LABEL}, entropy"): "57.53",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"table": "complet"}, "no table 'complet'; did you mean 'complete'"),
        ({"data": ["cremat"]}, "no data 'cremat'; did you mean 'cremad'"),
        ({"encoders": {"vidoe": {}}}, "has no modality 'vidoe'; did you mean 'video'"),
        ({"methods": ["mlaa"]}, "unknown method 'mlaa'"),
        ({"data_root": "nowhere"}, "has none of cremad, .* as a folder"),
    ],
)
def test_mistakes(given, words, releases, tmp_path):
    with pytest.raises(UserError, match=words):
        reproduce(**{"table": "complete", "data_root": releases, "out": tmp_path / "out"} | given)
