"""Columns whose inferred type may be wrong are named; codes and single words are categories."""

import pyarrow as pa
import pytest
import yaml

from altuna.cli.init import config_text
from altuna.data.table.account import described, from_csv, to_csv
from altuna.data.table.column_kinds import is_category, is_code
from altuna.data.table.doubts import doubt
from altuna.data.table.manifest import read_manifest
from altuna.errors import UserError


def column(*cells):
    return pa.chunked_array([pa.array([*cells])])


@pytest.mark.parametrize(
    ("name", "cells", "code"),
    [
        ("shopId", [3, 17, 5] * 10, True),
        ("wardCode", [3.0, 17.0, 5.0] * 10, True),
        ("Breed2", [3, 17, None] * 10 + [4] * 10, True),
        ("shopId", [*range(30)], False),  # they do not repeat
        ("shopId", [3, 17] * 10, False),  # two values are the same as a number
        ("shopId", [0.5, 1.5, 2.5] * 10, False),
        ("shopId", [3, 17, 5], False),
        ("ids_seen", [3, 17, 5] * 10, False),
        ("years_at_site", [3, 17, 5] * 10, False),  # their order tells something
        ("age_group", [3, 17, 5] * 10, False),
        ("humidity", [3, 17, 5] * 10, False),
    ],
)
def test_repeated_whole_numbers_with_a_name_of_codes_are_categories(name, cells, code):
    assert is_code(name, column(*cells)) == code


def test_single_words_are_categories_more_readily_than_phrases():
    assert is_category(column(*(f"x{i}" for i in range(10)), *(f"x{i}" for i in range(10)), *["x0"] * 10))
    assert not is_category(
        column(*(f"an x{i}" for i in range(10)), *(f"an x{i}" for i in range(10)), *["an x0"] * 10)
    )


@pytest.mark.parametrize(
    ("use", "cells", "part"),
    [
        ("number", [1, 2, 3] * 20, "3 different whole numbers"),
        ("number", [1.5, 2, 3] * 20, ""),
        ("number", [*range(60)], ""),
        ("number", [True, False] * 20, ""),
        ("category", ["a", "b"] * 30, ""),
        ("category", [3, 17, 5] * 20, "a number if their order"),
        ("category", ["a b", "b c", "c d", "d e"] * 12, "maybe a text"),
        ("text", ["a b", "c d e"] * 20, "maybe a category"),
        ("text", [f"{i} owls {'in a wood' * (i % 37)}" for i in range(40)], "start with a digit"),
        ("text", [f"an owl{' here' * (i % 37)}, {i}" for i in range(40)], ""),
        ("text", [f"POINT ({i}.5 {-i})" for i in range(40)], "differ in their numbers, as 'POINT (0.5 0)'"),
        (
            "text",
            [f"{('Sun', 'Mon', 'Tue')[i % 3]}, Week {i}, {i + 3}." for i in range(40)],
            "a list or a date",
        ),
        ("date", [f"{i % 12 + 1}/3/2020" for i in range(40)], "is read as 2020-01-03"),
        ("date", [f"2020-01-{i % 28 + 1:02}" for i in range(40)], ""),
        ("image", ["a.png"] * 40, ""),
    ],
)
def test_doubts(use, cells, part):
    found = doubt(use, column(*cells))
    assert part in found
    assert bool(part) == bool(found)


@pytest.fixture
def table(tmp_path):
    rows = [f"{'ab'[i % 2]},{i % 3 + 1},{i * 7 % 50 / 8},owl number {i % 20}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["class,grade,size,remark", *rows]))
    return tmp_path / "t.csv"


def test_the_account_names_doubts_unless_the_type_is_stated(table):
    account = read_manifest(table, columns={"label": "class"}).account
    grade = next(c for c in account if c.column == "grade")
    assert grade.used_as == "tabular (number)"
    assert grade.reason == "doubtful: 3 different whole numbers; a category if they are codes"
    assert from_csv(to_csv(account)) == [*account]
    assert described(account)[-1].startswith("doubtful: grade (3 different whole numbers; a")
    stated = read_manifest(table, columns={"label": "class"}, types={"grade": "number"}).account
    assert next(c for c in stated if c.column == "grade").reason == ""


def test_init_lists_the_types_of_columns_and_what_is_doubtful(table):
    text = config_text(table, "class")
    config = yaml.safe_load(text)
    assert config["types"] == {"grade": "number", "size": "number"}
    assert config["columns"] == {"label": "class"}
    assert "  grade: number  # doubtful: 3 different whole numbers" in text
    assert "cells; doubtful: only 20 different values in 60 cells; maybe a category" in text
    edited = config["types"] | {"grade": "category"}
    kinds = (
        read_manifest(table, config["modalities"], columns=config["columns"], types=edited)
        .modalities["tabular"]
        .kinds
    )
    assert kinds == ("category", "number")


def test_init_leaves_out_columns_that_no_reader_accepts_and_says_so(tmp_path):
    rows = [f"{'ab'[i % 2]},https://host/{i}.png,{i * 7 % 50 / 8}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["label,picture,size", *rows]))
    text = config_text(tmp_path / "t.csv")
    assert [*yaml.safe_load(text)["modalities"]] == ["size"]
    line = next(line for line in text.splitlines() if line.startswith("  # left out: picture: "))
    assert "URLs are not read; download the files" in line
    (tmp_path / "t.csv").write_text("\n".join(["label,picture", *(r.rpartition(",")[0] for r in rows)]))
    with pytest.raises(UserError, match=r"column 'picture': .*URLs are not read"):
        config_text(tmp_path / "t.csv")
