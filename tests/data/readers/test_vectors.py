"""Vectors: numbers of every kind keep their values; files that lie or would run code are refused."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from media import npy

from altuna.data.readers import READERS, BadCellError, NotFiniteError

VectorReader = READERS["vector"]
NUMERIC = [*"?bhilqBHILQefdg", ">f4", "<f8", ">i2", ">u8"]


def header(text, version=(1, 0), length=None):
    """The header of a .npy file."""
    content = text.encode("latin-1") + b"\n"
    length = len(content) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", length) + content


def described(shape, descr="<f8", order=False):
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize("dtype", NUMERIC)
def test_every_numeric_dtype(dtype, tmp_path):
    content = npy(0, 1, 1, dtype=dtype)
    (tmp_path / "v.npy").write_bytes(content)
    for cell in (content, tmp_path / "v.npy", f"{tmp_path}/v.npy", np.array([0, 1, 1], dtype)):
        vector = VectorReader(3).read(cell)
        assert vector.dtype == np.float32
        assert vector.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "cell", [npy([1], [2], [3], dtype=np.int8), (1, 2, 3), [1.0, 2, True + 2], [[1, 2, 3]], range(1, 4)]
)
def test_other_shapes_and_sequences(cell):
    assert VectorReader(3).read(cell).tolist() == [1, 2, 3]


def test_fortran_order_and_version_2():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for version in ((1, 0), (2, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version)
        assert VectorReader(6).read(buffer.getvalue()).tolist() == [0, 1, 2, 3, 4, 5]
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (3, 0))
    with pytest.raises(BadCellError, match=r"version 3\.0"):
        VectorReader(6).read(buffer.getvalue())


def test_the_most_frequent_length():
    assert VectorReader.fit([[1.0], [1, 2, 3], [4, 5, 6]]).size == 3
    assert VectorReader.fit([b"broken", None, npy(1, 2)]).size == 2
    assert VectorReader.fit([None]).size == 1
    assert VectorReader.fit([[1.0]], size=7).size == 7


def test_missing_numbers_stay_missing_with_a_note():
    for cell in ([1, None, 3], np.array([1, np.nan, 3])):
        notes = []
        vector = VectorReader(3).read(cell, notes.append)
        np.testing.assert_array_equal(vector, np.array([1, np.nan, 3], np.float32))
        assert notes == ["1 of 3 numbers are empty: imputed by the training means"]
    for cell in ([None, None], np.full(2, np.nan)):
        with pytest.raises(BadCellError, match="all its numbers are empty"):
            VectorReader(2).read(cell)


@pytest.mark.parametrize("dtype", ["e", "f", "d", "g"])
def test_nan_that_somebody_wrote_is_an_error(dtype):
    """In a file or a list, NaN is a number gone wrong, not one left out."""
    for cell in (npy(1, np.nan, np.nan, dtype=dtype), [1, float("nan"), float("nan")]):
        with pytest.raises(NotFiniteError, match="has 2 NaN numbers"):
            VectorReader(3).read(cell)
    with pytest.raises(NotFiniteError, match="has 1 NaN numbers"):
        VectorReader(3).read([1, None, float("nan")])


@pytest.mark.parametrize(
    "cell", [npy(1, -np.inf), npy(1, 1e300), [1, float("inf")], np.array([np.inf, np.nan])]
)
def test_infinite_numbers(cell):
    with pytest.raises(NotFiniteError, match="infinite"):
        VectorReader(2).read(cell)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", f"({2**40}, {2**40})"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_promises_more_than_there_is_memory_for(shape, version):
    with pytest.raises(BadCellError, match=r"refused, too large: .*float64"):
        VectorReader(3).read(header(described(shape), version) + bytes(24))


@pytest.mark.parametrize("descr", ["|V1000000000000", "<U1000000000", "|S99"])
def test_one_number_larger_than_memory(descr):
    with pytest.raises(BadCellError, match=r"refused, too large|not a vector"):
        VectorReader(1).read(header(described("(1,)", descr)) + bytes(24))


@pytest.mark.parametrize(
    "content",
    [
        *(npy(1, 2, 3)[:n] for n in (1, 6, 7, 9, 12, 40, 127, 128, 140, 151)),
        header(described("(4,)")) + bytes(24),
        header(described("(-3,)")) + bytes(24),
        header(described("(-1,)")) + bytes(24),
        header(described("(-1, -3)")) + bytes(24),
        header(described("(3.0,)")) + bytes(24),
        header(described("3")) + bytes(24),
        header(described("(3,)", "<x9")) + bytes(24),
        header("{") + bytes(24),
        header("") + bytes(24),
        header("(" * 5000) + bytes(24),
        header("9" * 5000) + bytes(24),
        header("__import__('os').getcwd()") + bytes(24),
        header("{'shape': (3,)}") + bytes(24),
        header(described("(3,)"), length=60_000) + bytes(24),
        header(described("(3,)"), (2, 0), length=2**32 - 1) + bytes(24),
        header(described("(3L,)") + "'") + bytes(24),
        b"hello",
        b"PK\x03\x04hello",
        b"",
    ],
)
def test_broken_files(content, tmp_path, recwarn):
    """From bytes and from a file, which numpy reads in different ways."""
    (tmp_path / "v.npy").write_bytes(content)
    for cell in (content, tmp_path / "v.npy"):
        with pytest.raises(BadCellError, match=r"not a|empty|refused"):
            VectorReader(3).read(cell)
    assert not recwarn.list


class Trap:
    """Unpickled, it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_pickles_are_never_run(tmp_path):
    objects = np.empty(1, object)
    objects[0] = Trap(tmp_path / "trap")
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    plain = pickle.dumps(Trap(tmp_path / "trap"))
    for name, content in {"v.npy": buffer.getvalue(), "v.pkl": plain}.items():
        (tmp_path / name).write_bytes(content)
        for cell in (content, tmp_path / name):
            with pytest.raises(BadCellError, match="not a"):
                VectorReader(1).read(cell)
    assert not (tmp_path / "trap").exists()
    pickle.loads(plain)  # the trap works
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (npy(1, 2), "a vector of 2 numbers, the others have 3"),
        ([], "a vector of 0 numbers"),
        (["a", "b", "c"], "its numbers are <U1"),
        ([[1, 2], [3]], "not a vector"),
        ([1, {}, 3], "not a vector"),
        ([10**400, 1, 2], "not a vector"),
        ([10**400, 1.5, 2], "not a vector"),
        ([1j, 1, 2], "its numbers are complex128"),
        (npy(1, 2, 3, dtype="datetime64[s]"), "its numbers are datetime64"),
        (npy(1, 2, 3, dtype=complex), "its numbers are complex128"),
        (np.array(["a"]), "not a vector"),
        (None, "not a vector"),
        (3.5, "not a vector"),
        (object(), "not a vector"),
        ({"a": 1, "b": 2, "c": 3}, "not a vector"),
    ],
)
def test_what_is_no_vector(cell, words):
    with pytest.raises(BadCellError, match=words):
        VectorReader(3).read(cell)
