"""The paper's recipes are valid, and its tables run on a release of the true shape."""

import csv
import json

import pytest
import trees

from altuna import UserError
from altuna.fitting import checked, completed
from altuna.recipes import RELEASES
from altuna.reproducing import CONFIGS, METHODS, PUBLISHED, TABLES, over, reproduce
from altuna.run import read_yaml


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_valid(path):
    options = checked(completed("x.csv", **read_yaml(path)))
    assert (options["epochs"], options["batch_size"], options["optimizer"]) == (100, 64, "sgd")
    assert (options["lr"], options["weight_decay"]) == (1e-3, 1e-4)
    assert options["schedule"] == {"step": 70, "gamma": 0.1}


def test_tables_name_what_there_is():
    for table in TABLES.values():
        assert {*table.data.values()} <= {*RELEASES}
        assert all((CONFIGS / f"{config}.yaml").exists() for config in table.data)
    known = {(config, method) for table in TABLES.values() for config in table.data for method in METHODS}
    assert {(config, method) for config, method, _ in PUBLISHED} <= known


def test_over():
    assert over({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}) == {
        "a": {"b": 4, "c": 2},
        "d": {"e": 5},
    }


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    trees.cremad(folder / "cremad", trees.Media(tmp_path_factory.mktemp("media")))
    return folder


SMALL = {
    "epochs": 1,
    "batch_size": 16,
    "accelerator": "cpu",
    "readers": {"video": {"size": 32}, "audio": {"rate": 4000, "seconds": 0.5}},
    "encoders": {"video": {"width": 2}, "audio": {"width": 2}},
    "transforms": {"video": {"random_resized_crop": {"size": 32}}},
}


def rows(out):
    with (out / "reproduce.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def test_a_table_beside_what_was_published(releases, tmp_path, capsys):
    out = reproduce("complete", releases, methods=["mla", "concat"], seeds=2, out=tmp_path / "out", **SMALL)
    mla, concat = rows(out)
    runs = [json.loads((out / "cremad" / f"cremad-mla-{s}" / "metrics.json").read_text()) for s in (0, 1)]
    accuracy = sum(100 * run["fused"]["accuracy"] for run in runs) / 2
    assert mla["accuracy %"].startswith(f"{accuracy:.2f} ± ")
    assert mla["published"].startswith("79.70 (Zhang et al.")
    assert concat["published"] == ""
    said = capsys.readouterr().out
    assert "Not there, left out: kinetics-sounds, food101, mvsa, iemocap." in " ".join(said.split())
    assert (releases / "cremad.csv").exists()
    config = read_yaml(out / "cremad" / "cremad-mla-0" / "config.yaml")
    assert (config["optimizer"], config["epochs"]) == ("sgd", 1)
    assert config["encoders"]["audio"]["front_end"]["n_fft"] == 256


def test_the_ablation_has_a_row_a_fusion(releases, tmp_path):
    out = reproduce("ablation", releases, data=["cremad"], seeds=1, out=tmp_path / "out", quiet=True, **SMALL)
    assert [row["method"] for row in rows(out)] == [
        "mla, entropy",
        "mla, mean",
        "mla (project=off), entropy",
        "mla (project=off), mean",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"table": "complet"}, "no table 'complet'; did you mean 'complete'"),
        ({"data": ["cremat"]}, "no data 'cremat'; did you mean 'cremad'"),
        ({"methods": ["mlaa"]}, "unknown method 'mlaa'"),
        ({"data_root": "nowhere"}, "none of cremad, .* is there"),
    ],
)
def test_mistakes(given, words, releases, tmp_path):
    with pytest.raises(UserError, match=words):
        reproduce(
            **{"table": "complete", "data_root": releases, "out": tmp_path / "out", "quiet": True} | given
        )
