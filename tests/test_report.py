import pyarrow as pa

from altuna.report import trust_by_class, write_report

NASTY = "<script>alert(1)</script>"


def metrics(name):
    figures = {"accuracy": 0.5, "macro_f1": 0.4, "nll": 1.0, "ece": 0.1}
    return {
        "data": "samples.csv",
        "method": "mla",
        "seed": 0,
        "split": "test",
        "n": 2,
        "fused": figures,
        "modalities": {name: {**figures, "n": 2}, "absent": {"n": 0}},
        "training": {
            "n": 9,
            "remarks": [f"no sample has {name}"],
            "classes": {name: {"x": 1, NASTY: 2}},
        },
        "subsets": {name: {**figures, "n": 2}},
        "fusion": {"rule": "mean", "rules": {"mean": figures, "entropy": figures}},
        "cost": {"best_epoch": 0, "epochs": 1, "seconds": 1.0},
    }


def table(name):
    return pa.table(
        {
            "id": [NASTY, "b"],
            "label": ["x", NASTY],
            "prediction": ["x", "x"],
            f"weight_{name}": [0.25, 1.0],
            "weight_absent": [0.75, 0.0],
        }
    )


def test_a_report_stands_alone_and_escapes_everything(tmp_path):
    history = [{"epoch": 0, "val/accuracy/fused": 0.5, f"val/accuracy/{NASTY}": 0.25}]
    answers = {NASTY: ["x", "y"], "absent": [NASTY, ""]}
    write_report(tmp_path / "report.html", metrics(NASTY), history, table(NASTY), answers)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert page.count("25%") >= 2  # the curve's end and the weight of a disagreeing sample
    assert "50.0%" in page
    assert "<td>3<td>33%<td>x <small>1</small><td>&lt;script&gt;" in page


def test_trust_is_the_mean_weight_by_class():
    assert trust_by_class(table("m")) == {
        "x": {"m": 0.25, "absent": 0.75},
        NASTY: {"m": 1.0, "absent": 0.0},
    }
