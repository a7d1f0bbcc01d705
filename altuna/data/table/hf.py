"""Read Hugging Face data sets from the hub or a folder, and the column types noted in their Parquet files.

Nothing is decoded here: cells stay bytes and paths in memory-mapped Arrow tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from altuna.data.formats.columns import is_number
from altuna.errors import UserError

PREFIX = "hf:"
# From the names of splits in data sets to ours.
SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
MEDIA = {"Image": "image", "Audio": "audio", "Video": "video"}
SPLIT = "split"
HUB_TIMEOUT = 5.0  # seconds


def is_dataset(path: Path) -> bool:
    """Return whether a path is ``hf:NAME[:CONFIG]``, or a folder that ``datasets`` saved to disk.

    Example:
        >>> is_dataset(Path("hf:ORG/NAME")), is_dataset(Path("owls.csv"))
        (True, False)
    """
    if str(path).startswith(PREFIX):
        return True
    one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return one or (path / "dataset_dict.json").is_file()


def read_dataset(
    path: Path, label: str, *, keep_unlabelled: bool
) -> tuple[pa.Table, dict[str, str], tuple[str, ...]]:
    """Read all splits of a data set.

    Splits named train, validation (valid, val, dev) and test become the column ``split``. Other splits are
    left out, as is a val or test split without any label (all empty or -1). A data set with one split becomes
    a table without that column.

    Args:
        path: ``hf:NAME[:CONFIG]`` or the folder.
        label: Name of the label column.
        keep_unlabelled: Keep splits without labels.

    Returns:
        The table, the types of its columns as in ``typed``, and notes on what was left out.

    Raises:
        UserError: No such data set, no network, ``datasets`` is not installed, or there is no train split.

    Example:
        >>> import datasets, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> owls = datasets.Dataset.from_dict({"label": ["a"], "note": ["hoot"]})
        >>> datasets.DatasetDict(train=owls, dev=owls, extra=owls).save_to_disk(folder)
        >>> table, types, notes = read_dataset(folder, "label", keep_unlabelled=False)
        >>> table["split"].to_pylist(), types, len(notes)  # a note on the split that is left out
        (['train', 'val'], {'label': 'text', 'note': 'text'}, 1)
    """
    tables = _from_hub(path) if str(path).startswith(PREFIX) else _from_folder(path)
    if len(tables) == 1:
        return (*typed(*tables.values()), ())
    if "train" not in tables:
        raise UserError(
            f"{path}: no split is named train; the splits are {', '.join(map(repr, tables)) or 'none'}"
        )
    parts: list[pa.Table] = []
    types: dict[str, str] = {}
    notes = []
    for name, table in tables.items():
        split = SPLITS.get(name)
        if split is None:
            notes.append(f"{path}: split {name!r} is left out: its name is not one of {', '.join(SPLITS)}")
            continue
        table, found = typed(table)
        if (
            split != "train"
            and not keep_unlabelled
            and label in table.column_names
            and _is_empty(table[label])
        ):
            notes.append(
                f"{path}: split {name!r} is left out: none of its {table.num_rows:,} rows has a label"
            )
            continue
        types |= found
        if SPLIT in table.column_names:
            table = table.drop_columns([SPLIT])
        parts.append(table.append_column(SPLIT, pa.repeat(split, table.num_rows)))
    return pa.concat_tables(parts, promote_options="permissive"), types, tuple(notes)


def typed(table: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """Return a table with class names in place of class numbers, and the types noted in its metadata.

    The types, which ``datasets`` writes, are image, audio, video, text, and ``class`` for class names.

    Example:
        >>> features = {"label": {"_type": "ClassLabel", "names": ["cat", "owl"]}}
        >>> metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        >>> table, types = typed(pa.table({"label": [1, 0]}).replace_schema_metadata(metadata))
        >>> table["label"].to_pylist(), types
        (['owl', 'cat'], {'label': 'class'})
    """
    types: dict[str, str] = {}
    features = _features(table.schema.metadata)
    for i, field in enumerate(table.schema):
        feature = features.get(field.name)
        if not isinstance(feature, Mapping):
            continue
        kind, names = str(feature.get("_type")), feature.get("names")
        if kind in MEDIA and not is_number(field.type):
            types[field.name] = MEDIA[kind]
        elif kind == "Value" and (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            types[field.name] = "text"
        elif kind == "ClassLabel":
            types[field.name] = "class"
            if isinstance(names, list) and pa.types.is_integer(field.type):
                table = table.set_column(i, field.name, _class_names(table[i], names))
    return table.replace_schema_metadata(), types


def _class_names(numbers: pa.ChunkedArray, names: list[Any]) -> pa.ChunkedArray:
    """Return the names of class numbers; null for -1 and other numbers without a class."""
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(names)))
    return pc.take(pa.array(map(str, names), pa.string()), pc.if_else(known, numbers, None))


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _is_empty(labels: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(labels.type):
        labels = pc.if_else(pc.equal(labels, -1), None, labels)
    return bool(labels.null_count == len(labels))


def _from_folder(folder: Path) -> dict[str, pa.Table]:
    """Open a data set saved by ``save_to_disk``, without ``datasets``, which takes seconds to import."""
    try:
        if not (folder / "dataset_dict.json").is_file():
            return {"": _open_saved(folder)}
        splits = _read_json(folder / "dataset_dict.json")["splits"]
        return {str(name): _open_saved(folder / str(name)) for name in splits}
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: not a complete data set saved to disk: {reason}") from None


def _open_saved(folder: Path) -> pa.Table:
    files = [str(folder / file["filename"]) for file in _read_json(folder / "state.json")["_data_files"]]
    table = pa.concat_tables(pa.ipc.open_stream(pa.memory_map(file)).read_all() for file in files)
    info = {"info": {"features": _read_json(folder / "dataset_info.json")["features"]}}
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _from_hub(path: Path) -> dict[str, pa.Table]:
    name, _, config = str(path).removeprefix(PREFIX).partition(":")
    if not name:
        raise UserError(f"{path}: write hf:NAME or hf:NAME:CONFIG")
    try:
        import datasets
    except ImportError:
        raise UserError(f"{path}: requires the package datasets: pip install 'altuna[hf]'") from None
    before = datasets.config.HF_HUB_OFFLINE
    # Without a network, ``datasets`` would try for half a minute before it uses its cache.
    datasets.config.HF_HUB_OFFLINE = before or not (Path(name).exists() or _is_hub_there())
    try:
        splits = datasets.load_dataset(name, config or None)
        return {str(split): _table(dataset) for split, dataset in splits.items()}
    except Exception as error:  # exceptions of many types
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, ConnectionError):
            reason = f"the hub cannot be reached, and the data set is not in the local cache ({reason})"
        raise UserError(f"{path}: {reason}") from None
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _is_hub_there() -> bool:
    from datasets import config
    from huggingface_hub import get_session

    try:
        get_session().head(config.HF_ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception:  # of any HTTP library
        return False
    return True


def _table(dataset: Any) -> pa.Table:
    if (
        dataset._indices is not None
    ):  # after select or shuffle, the rows have another order than those of the table
        dataset = dataset.with_format("arrow").flatten_indices()
    return dataset.data.table.replace_schema_metadata(dataset.features.arrow_schema.metadata)
