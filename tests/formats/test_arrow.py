"""Arrow IPC: what pyarrow writes is read value by value, whatever types, record batches and codecs."""

from __future__ import annotations

import os
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather

import dlio_fast as df
from dlio_fast.errors import DataError, FormatError, MemberError, TruncatedError, UnsupportedError
from dlio_fast.formats.arrow import ArrowFormat

from .tables import same, sample, tables

SLOW_SETUP = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def write(table: pa.Table, path, *, stream=False, rows=None, codec=None) -> str:
    options = pa.ipc.IpcWriteOptions(compression=codec, unify_dictionaries=not stream)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return str(path)


@settings(suppress_health_check=SLOW_SETUP, max_examples=120)
@given(
    table=tables(),
    codec=st.sampled_from([None, "lz4", "zstd"]),
    rows=st.integers(1, 30),
    stream=st.booleans(),
)
def test_samples_are_what_pyarrow_reads(tmp_path, table, codec, rows, stream):
    dataset = df.Dataset.from_files(write(table, tmp_path / "t.arrow", stream=stream, rows=rows, codec=codec))
    assert len(dataset) == table.num_rows
    for row, found in enumerate(dataset.__getitems__(range(len(dataset)))):
        for name, value in found.items():
            assert same(value, sample(table.column(name), row)), (name, row)


def test_feather_is_read(tmp_path):
    feather.write_feather(pa.table({"x": np.arange(100)}), tmp_path / "t.feather", chunksize=30)
    assert df.Dataset.from_files(tmp_path / "t.feather")[99] == {"x": 99}
    feather.write_feather(pa.table({"x": [1]}), tmp_path / "old.feather", version=1)
    with pytest.raises(UnsupportedError, match="version 1"):
        df.Dataset.from_files(tmp_path / "old.feather")[0]


def test_only_the_buffers_of_wanted_columns_are_read(tmp_path):
    table = pa.table({"small": np.arange(64), "large": [bytes(1 << 20)] * 64, "other": np.arange(64.0)})
    path = write(table, tmp_path / "t.arrow", rows=4)
    with df.Loader(df.Dataset.from_files(path, fields=["other", "small"]), batch_size=8) as loader:
        assert np.concatenate([batch["small"] for batch in loader]).tolist() == list(range(64))
        assert loader.stats()["bytes_read"] < 1 << 20


def test_columns_that_cannot_be_arrays_are_passed_over(tmp_path):
    table = pa.table(
        {
            "s": [{"x": 1, "y": "a"}] * 3,
            "m": pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
            "v": pa.array(["a" * 30, "b", ""], pa.string_view()),
            "n": pa.nulls(3),
            "e": pa.RunEndEncodedArray.from_arrays(pa.array([3], "i4"), pa.array([1])),
            "l": [[[1]], [[]], [[2, 3]]],
            "x": [1, 2, 3],
        }
    )
    dataset = df.Dataset.from_files(write(table, tmp_path / "t.arrow"))
    assert [field.name for field in dataset.spec.fields] == ["x"]
    assert dataset[2] == {"x": 3}
    with pytest.raises(UnsupportedError, match="column 'm' of type"):
        df.Dataset.from_files(tmp_path / "t.arrow", fields=["m"])[0]
    with pytest.raises(MemberError, match="no column 'z'"):
        df.Dataset.from_files(tmp_path / "t.arrow", fields=["z"])[0]


def test_a_null_is_an_error_that_names_column_and_record_batch(tmp_path):
    table = pa.table({"a": [1, 2, 3, None], "b": [1, 2, 3, 4]})
    dataset = df.Dataset.from_files(write(table, tmp_path / "t.arrow", rows=2))
    assert dataset[1] == {"a": 2, "b": 2}
    with pytest.raises(UnsupportedError, match="column 'a' has a null in record batch 1"):
        dataset[3]


@pytest.mark.parametrize("shuffle", ["off", "global", "files", "window"])
def test_every_sample_comes_once_whatever_the_order(tmp_path, shuffle):
    for i in range(3):
        ids = np.arange(100 * i, 100 * (i + 1))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, 4).astype("f4")), 4)
        write(pa.table({"id": ids, "vector": vectors}), tmp_path / f"f{i}.arrow", rows=30)
    with df.Loader(df.Dataset.from_files(tmp_path), batch_size=7, shuffle=shuffle, seed=3) as loader:
        seen = []
        for batch in loader:
            seen += batch["id"].tolist()
            assert (batch["vector"] == batch["id"][:, None]).all()
        assert sorted(seen) == list(range(300))


def test_reading_past_the_page_cache_gives_the_same(tmp_path):
    path = write(pa.table({"id": np.arange(100_000)}), tmp_path / "t.arrow", rows=10_000)
    with df.Loader(df.Dataset.from_files([f"direct://{path}"]), batch_size=5000) as loader:
        assert sum(batch["id"].sum() for batch in loader) == sum(range(100_000))
        stats = loader.stats()
        assert stats["direct_bytes"] > 0 or stats["fallback_reason"]


# Files that lie


def test_a_record_batch_over_the_limit_is_refused_before_it_is_unpacked(tmp_path):
    path = write(pa.table({"x": np.zeros(1 << 20)}), tmp_path / "bomb.arrow", codec="zstd")
    assert os.path.getsize(path) < 20_000
    dataset = df.Dataset.from_files(path, format=ArrowFormat(limit=1 << 20))
    with pytest.raises(UnsupportedError, match="bomb.arrow: record batch 0 takes 8"):
        dataset[0]


def test_a_buffer_that_lies_about_its_size_is_refused(tmp_path):
    path = write(pa.table({"x": np.zeros(1000)}), tmp_path / "t.arrow", codec="zstd")
    data = bytearray(open(path, "rb").read())
    at = data.index(struct.pack("<q", 8000) + b"\x28\xb5\x2f\xfd")
    for size, error in ((1 << 60, UnsupportedError), (16_000, FormatError), (-7, FormatError)):
        data[at : at + 8] = struct.pack("<q", size)
        (tmp_path / "lies.arrow").write_bytes(data)
        with pytest.raises(error, match="lies.arrow"):
            df.Dataset.from_files(tmp_path / "lies.arrow")[0]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", TruncatedError),
        (b"ARROW1\0\0", TruncatedError),
        (b"ARROW1\0\0" + bytes(100), TruncatedError),
        (b"ARROW1\0\0" + bytes(100) + b"\xff\xff\xff\x7fARROW1", FormatError),
        (b"ARROW1\0\0" + bytes(100) + b"\x20\0\0\0ARROW1", FormatError),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(100), TruncatedError),
        (b"\xff\xff\xff\xff\0\0\0\0", FormatError),
        (b"hello" * 100, FormatError),
    ],
)
def test_what_is_no_arrow_file_is_refused(tmp_path, data, error):
    (tmp_path / "t.arrow").write_bytes(data)
    with pytest.raises(error, match="t.arrow"):
        df.Dataset.from_files(tmp_path / "t.arrow")[0]


GOOD = pa.table(
    {
        "n": np.arange(50),
        "w": [f"word {i % 7}" for i in range(50)],
        "d": pa.array([f"word {i % 7}" for i in range(50)]).dictionary_encode(),
        "v": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(150, dtype="f4")), 3),
        "r": [list(range(i % 4)) for i in range(50)],
    }
)


@settings(suppress_health_check=SLOW_SETUP, max_examples=600)
@given(
    codec=st.sampled_from([None, "lz4", "zstd"]),
    stream=st.booleans(),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_damaged_files_are_read_or_refused_with_their_name(tmp_path, codec, stream, flips, cut):
    path = write(GOOD, tmp_path / "damaged.arrow", stream=stream, rows=20, codec=codec)
    data = bytearray(open(path, "rb").read())
    for where, value in flips:
        data[int(where * len(data))] = value
    open(path, "wb").write(data[: int(cut * len(data))] if cut is not None else data)
    try:
        dataset = df.Dataset.from_files(path)
        dataset.__getitems__(range(min(len(dataset), 100)))
    except DataError as error:
        assert "damaged.arrow" in str(error)


def test_every_byte_of_a_schema_may_be_wrong(tmp_path):
    path = tmp_path / "damaged.arrow"
    write(GOOD.select(["n", "v"]), path, stream=True)
    image = path.read_bytes()
    for at in range(8 + int.from_bytes(image[4:8], "little")):
        for byte in (0, 0x7F, 0xFF):
            path.write_bytes(image[:at] + bytes([byte]) + image[at + 1 :])
            try:
                dataset = df.Dataset.from_files(path)
                dataset.__getitems__(range(min(len(dataset), 50)))
            except DataError as error:
                assert "damaged.arrow" in str(error)
