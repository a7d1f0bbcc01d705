"""Tables of a comparison: what is shown, and how."""

import io

import pytest
from rich.console import Console

from altuna.comparison import tables
from altuna.comparison.summary import flat_metrics, ranking, summary
from altuna.terminal.tables import comparison_tables


def test_numbers_that_are_none_do_not_count():
    """An absent modality has no accuracy; a loss may be infinite."""
    metrics = {
        "n": 7,
        "fused": {"accuracy": 0.5, "nll": float("inf")},
        "modalities": {"a": {"accuracy": None, "n": 0}},
        "fusion": {"rules": {"evidence": {"accuracy": 0.4}, "mean": {"accuracy": 0.3}}},
        "imbalance": {"gap": 0.1, "deep": {"x": 1, "said": "no"}},
        "cost": {"seconds": 2.0, "best_epoch": 3},
    }
    found = flat_metrics(metrics)
    assert found == {
        "accuracy": 0.5,
        "a/n": 0,
        "imbalance/gap": 0.1,
        "imbalance/deep/x": 1,
        "fusion/evidence/accuracy": 0.4,
        "samples": 7,
        "seconds": 2,
        "best_epoch": 3,
    }
    assert summary([found, {"accuracy": 0.7}])["accuracy"] == pytest.approx({"mean": 0.6, "sd": 0.02**0.5})


def test_markdown_and_terminal_show_names_as_they_are():
    result = {"data": "[x]", "method": "a|b", "split": None, "metrics": {}, "versus": None}
    run = {"folder": "r", "reason": "[red]no", "killed_once": False}
    comparison = {
        "results": [result], "ranking": None, "left_out": [], "runs": [run],
        "budget": "updates", "seeds": 1, "reference": "a|b",
    }  # fmt: skip
    assert "| a\\|b |" in tables.markdown(comparison)
    assert [*comparison_tables(comparison)][-1] == "failed: r: \\[red]no"


def result_of(method, accuracy=0.8, samples=100.0, data="d.csv", split="test"):
    metrics = {name: {"mean": 0.5, "sd": 0.1} for name in ("macro_f1", "nll", "ece", "seconds")}
    for name in ("a_long_modality", "another_modality", "one_more_modality"):
        metrics[f"{name}/accuracy"] = {"mean": 0.5, "sd": 0.1}
    metrics |= {"accuracy": {"mean": accuracy, "sd": 0.1}, "samples": {"mean": samples, "sd": 0.0}}
    versus = {"groups": 20, "mean": -0.1, "p_holm": 0.012, "detectable": 0.034}
    return {"data": data, "method": method, "split": split, "metrics": metrics, "versus": versus}


def comparison_of(*results, seeds=3):
    shared = {"ranking": None, "left_out": [], "runs": [], "budget": "updates", "reference": "mla"}
    return {"results": [*results], "seeds": seeds, **shared}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_narrow_terminal_folds_columns_and_loses_none(width):
    results = result_of("mla"), result_of("modality_valuation"), result_of("unimodal:a_long_modality")
    table, *_ = comparison_tables(comparison_of(*results))
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("50.0") == 3 * 3  # three methods, three modalities
    for number in ("0.012", "-10.0", "3.4", "80.0", "0.500"):
        assert text.count(number) == 3
    if width >= 200:
        for name in ("mla", "modality_valuation", "unimodal:a_long_modality"):
            assert name in text


def test_methods_tested_on_fewer_samples_stand_apart():
    results = result_of("mla", 0.7), result_of("unimodal:a", 0.9, samples=60.0), result_of("sum", 0.8)
    (_, ordered), *_ = tables.by_data(comparison_of(*results))
    assert [r["method"] for r in ordered] == ["sum", "mla", "unimodal:a"]
    assert "unimodal:a (60 of 100 samples)" in tables.markdown(comparison_of(*results))
    more = [result_of(m, data="e.csv") for m in ("mla", "unimodal:a", "sum")]
    assert {*ranking([*results, *more])["mean_rank"]} == {"mla", "sum"}


def test_the_best_epoch_is_counted_from_1():
    result = result_of("mla")
    result["metrics"]["best_epoch"] = {"mean": 3.0, "sd": 0.0}
    lines = [
        [c.strip() for c in line.split("|")] for line in tables.markdown(comparison_of(result)).splitlines()
    ]
    header = next(line for line in lines if "best epoch" in line)
    row = next(line for line in lines if "mla" in line)
    assert row[header.index("best epoch")] == "4"


def test_the_legend():
    test, val = result_of("mla"), result_of("mla", split="val")
    assert "on the test split, mean ± standard deviation over 3 seeds" in tables.legend(comparison_of(test))
    assert "optimistic" not in tables.legend(comparison_of(test))
    assert "validation split" in tables.legend(comparison_of(val))
    assert "optimistic" in tables.legend(comparison_of(val))
    one = tables.legend(comparison_of(test, seeds=1))
    assert "±" not in one
    assert "not two methods" in one
    titles = [
        name
        for name, _ in tables.by_data(
            comparison_of(result_of("mla", data="a/d.csv"), result_of("mla", data="b/d.csv"))
        )
    ]
    assert titles == ["a/d.csv", "b/d.csv"]
