"""The one typed configuration: what every option states of itself, and what is refused."""

import inspect
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from altuna.comparison.config import CompareConfig, run_options
from altuna.comparison.paper import CONFIGS
from altuna.errors import UserError
from altuna.files import read_yaml
from altuna.options import validate
from altuna.training import option_fields as groups
from altuna.training.config import FitConfig, options
from altuna.training.fit import fit
from altuna.training.option_fields import marker

PAPER = sorted(CONFIGS.glob("*.yaml"))
EXAMPLES = [
    {},
    {"method": {"name": "mla", "alpha": 0.1}, "budget": {"updates": 5}, "fixed_weights": {"a": 1}},
    {"budget": {"seconds": 0.5}, "encoders": {"a": "vit", "b": {"width": 4}, "c": None}, "lr": 0},
    {"transforms": {"a": None, "b": {"flip": {}}}, "modalities": {"a": {"column": "x"}}, "clip": 1},
]


@pytest.mark.parametrize("schema", [FitConfig, CompareConfig])
def test_every_option_states_its_help_group_and_effect(schema):
    known = {value for name, value in vars(groups).items() if name.isupper() and isinstance(value, str)}
    for name, field in schema.model_fields.items():
        assert field.description.endswith("."), name
        assert field.description[0].isupper(), name
        assert marker(field, "group") in known, name
        assert isinstance(marker(field, "place"), bool), name
        assert not field.is_required(), name


def test_ten_options_come_first_in_the_help():
    common = [name for name, field in options().items() if marker(field, "group") == groups.COMMON]
    first = ["data", "method", "preset", "epochs", "time_limit", "seed", "out", "resume", "quiet"]
    assert common == first  # and --config


def test_what_is_saved_is_what_changes_the_result_and_where_to_find_the_data():
    place = {name for name, field in options().items() if marker(field, "place")}
    assert {"workers", "devices", "threads", "compile", "out", "report", "quiet"} <= place
    assert not place & {"data", "method", "seed", "lr", "precision", "missing_rate", "strict"}
    assert {*FitConfig().saved()} == {*options()} - place | {"root", "logger"}


def test_a_saved_configuration_is_the_same_again():
    for example in EXAMPLES:
        saved = FitConfig(**example).saved()
        again = FitConfig(**yaml.safe_load(yaml.safe_dump(saved)))
        assert again.saved() == saved


def test_paths_are_saved_as_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("")
    Path("folder").mkdir()
    given = {"data": Path("t.csv"), "missing_mask": "m.parquet", "encoders": {"a": "hf:folder", "b": "vit"}}
    saved = FitConfig(**given).saved()
    assert saved["data"] == str(tmp_path / "t.csv")
    assert saved["missing_mask"] == str(tmp_path / "m.parquet")
    assert saved["encoders"] == {"a": f"hf:{tmp_path / 'folder'}", "b": "vit"}
    assert FitConfig(data="emoji").saved()["data"] == "emoji"


def test_a_comparison_does_not_pass_on_what_it_sets_itself():
    assert not {*run_options()} & {*CompareConfig.model_fields}
    assert {"lr", "epochs", "encoders", "store", "workers"} <= {*run_options()}
    assert not {*run_options()} & {"data", "method", "seed", "budget", "out", "resume", "devices", "stream"}


def test_fit_shows_all_options():
    parameters = inspect.signature(fit).parameters
    assert [*parameters] == [*options(), "reporter"]
    assert parameters["batch_size"].default == FitConfig().batch_size
    for name, field in options().items():
        assert f"{name}: {field.description}" in fit.__doc__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 1}, "unknown option 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "x", "sed": 1}, "unknown option 'sed'; did you mean 'seed'?"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": "5"}, "epochs must be a whole number, got '5'"),
        ({"epochs": 5.0}, "epochs must be a whole number, got 5.0"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"epochs": None}, "epochs must be a whole number, got nothing"),
        ({"strict": 0}, "strict must be true or false, got 0"),
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"lr": True}, "lr must be a number, got True"),
        ({"lr": float("nan")}, "lr must be a finite number, got nan"),
        ({"clip": 0}, "clip must be above 0, got 0"),
        ({"seed": 2**70}, f"seed must be at most {2**63 - 1}, got {2**70}"),
        ({"micro_batch": 10**30}, "micro_batch must be at most"),
        ({"log_every": 10**30}, "log_every must be at most"),
        ({"checkpoint_every": 10**30}, "checkpoint_every must be at most"),
        ({"devices": 10**30}, "devices must be at most 65536, got 1000"),
        ({"nodes": 10**5000}, "nodes must be at most 65536, got a number of thousands of digits"),
        ({"workers": 10**30}, "workers must be at most"),
        ({"optimizer": "adam"}, "optimizer: no 'adam'; did you mean 'adamw'?"),
        ({"accelerator": "tpu"}, "accelerator: no 'tpu'; did you mean 'gpu'?"),
        ({"precision": "16-mixed"}, "precision: 16-mixed scales the gradients that methods read and modify"),
        ({"method": {"alpha": 1}}, "method: needs a name, one of mla"),
        ({"method": 3}, "method: must be a name, or a mapping of options to values, got 3"),
        ({"encoders": {"a": 3}}, "encoders.a: must be a name, or a mapping of options to values, got 3"),
        ({"columns": ["a"]}, "columns must be a mapping of options to values, got ['a']"),
        ({"fixed_weights": {"a": "x"}}, "fixed_weights.a must be a number, got 'x'"),
        ({"schedule": {"step": 1}}, "schedule.gamma is missing"),
        ({"schedule": {"step": 1, "gama": 1}}, "schedule: unknown option 'gama'; did you mean 'gamma'?"),
        ({"budget": {}}, "budget: give one of updates, seconds; got none"),
        ({"micro_batch": 65}, "micro_batch must be at most batch_size (64), got 65"),
        ({"logger": "tensorbord"}, "unknown logger 'tensorbord'; did you mean 'tensorboard'?"),
        ({"root": "x"}, "root: is for av-digits only, not for emoji"),
        ({"stream": "x", "missing_rate": 0.1}, "missing_rate: the cells of a stream cannot be masked"),
        ({"buffer": 5}, "buffer: requires the option stream"),
        (
            {"missing_mask": "m", "test_missing_rate": 0.1},
            "missing_mask: cannot be combined with missing",
        ),
        (
            {"missing_mask": "m", "missing_pattern": "group"},
            "missing_mask: cannot be combined with missing",
        ),
        ({"out": 3}, "out must be a path, got 3"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(given, message):
    with pytest.raises(UserError) as error:
        validate(FitConfig, given, "here.yaml")
    assert str(error.value).startswith(f"here.yaml: {message}")
    assert "\n" not in str(error.value)


def test_zero_and_false_survive():
    config = FitConfig(lr=0, missing_rate=0, weight_decay=0.0, report=False, seed=0)
    assert (config.lr, config.missing_rate, config.weight_decay, config.report) == (0, 0, 0, False)


def test_nothing_changes_a_configuration():
    with pytest.raises(ValueError, match="frozen"):
        FitConfig().epochs = 3


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_configurations_of_the_paper_are_valid(path):
    content = read_yaml(path)
    assert "epochs" in content
    validate(FitConfig, content, str(path))


SCHEMA = FitConfig.model_json_schema()
TYPES = {
    "array": list,
    "integer": int,
    "number": (int, float),
    "string": str,
    "object": dict,
    "null": type(None),
}


def accepts(schema, value):
    """Tell whether a JSON schema accepts a value, by the keywords that pydantic writes."""
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value)
    if "anyOf" in schema:
        return any(accepts(one, value) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind == "boolean":
        return isinstance(value, bool)
    if kind and (isinstance(value, bool) or not isinstance(value, TYPES[kind])):
        return False
    if value is not None and kind in ("integer", "number"):
        above = value > schema.get("exclusiveMinimum", float("-inf"))
        return above and schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if kind == "object":
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        fine = all(accepts(known[k], v) for k, v in value.items() if k in known)
        rest = [v for k, v in value.items() if k not in known]
        if isinstance(others, dict):
            return fine and all(accepts(others, v) for v in rest)
        return fine and (others or not rest) and {*schema.get("required", ())} <= {*value}
    return True


@pytest.mark.parametrize("given", [*EXAMPLES, *map(read_yaml, PAPER), FitConfig().saved()])
def test_editors_accept_what_is_accepted(given):
    assert accepts(SCHEMA, given)


@pytest.mark.parametrize(
    "given",
    [
        {"epoch": 1}, {"epochs": 0}, {"epochs": "5"}, {"lr": -1}, {"optimizer": "adam"}, {"strict": 1},
        {"schedule": {"step": 1}}, {"budget": {"update": 1}}, {"method": 3}, {"encoders": {"a": 3}},
    ],
)  # fmt: skip
def test_editors_refuse_what_is_refused(given):
    assert not accepts(SCHEMA, given)
    with pytest.raises(UserError):
        validate(FitConfig, given)


def test_the_schema_describes_every_option():
    assert [*SCHEMA["properties"]] == [*options()]
    assert all(one["description"] for one in SCHEMA["properties"].values())
    assert issubclass(FitConfig, BaseModel)
