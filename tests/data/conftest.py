"""What tests of streams share."""

import pyarrow as pa
import pyarrow.parquet
import pytest
from shards import table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    splits = [("train", "val", "test")[i % 3] for i in range(60)]
    pyarrow.parquet.write_table(table(range(1000, 1060), splits), folder / "some.parquet")
    (folder / "shards").mkdir()
    for shard, (start, end) in enumerate([(0, 50), (50, 53), (53, 120), (120, 120), (120, 150)]):
        path = folder / "shards" / f"{shard}.parquet"
        pyarrow.parquet.write_table(table(range(start, end)), path, row_group_size=20)
    return folder


@pytest.fixture
def broken(folder, tmp_path):
    """Return what writes one shard, whose cells are another's, and gives its pattern."""

    def write(**columns):
        whole = table(range(1, 5)).to_pydict() | columns
        pyarrow.parquet.write_table(pa.table(whole), tmp_path / "one.parquet")
        return tmp_path / "one.parquet"

    return write
