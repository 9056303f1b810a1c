"""Parquet: what pyarrow writes is read value by value, whatever types, row groups and codecs there are."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import ChecksumError, FormatError, MemberError, SampleError, UnsupportedError
from dlio_fast.formats.parquet import ParquetFormat

from .tables import column, same, sample, tables

SLOW_SETUP = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
CODECS = ["none", "snappy", "gzip", "lz4", "zstd", "brotli"]


def assert_samples(dataset: df.Dataset, table: pa.Table) -> None:
    assert len(dataset) == table.num_rows
    samples = dataset.__getitems__(range(len(dataset)))
    for row, found in enumerate(samples):
        for name, value in found.items():
            assert same(value, sample(table.column(name), row)), (name, row)


@settings(suppress_health_check=SLOW_SETUP, max_examples=80)
@given(
    table=tables(),
    codec=st.sampled_from(CODECS),
    rows=st.integers(1, 30),
    dictionary=st.booleans(),
    page=st.sampled_from([1 << 20, 64]),
    version=st.sampled_from(["1.0", "2.0"]),
    checksum=st.booleans(),
)
def test_samples_are_what_pyarrow_reads(tmp_path, table, codec, rows, dictionary, page, version, checksum):
    path = tmp_path / "t.parquet"
    pq.write_table(
        table, path, compression=codec, row_group_size=rows, use_dictionary=dictionary, data_page_size=page,
        data_page_version=version, write_page_checksum=checksum,
    )  # fmt: skip
    assert_samples(df.Dataset.from_files(path), pq.read_table(path))


@pytest.mark.parametrize(
    "encoding",
    ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
)
def test_every_encoding_is_read(tmp_path, encoding):
    of = pa.string() if "BYTE_ARRAY" in encoding else pa.int64()
    table = pa.table({"c": column(of, 100, 1)})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=False, column_encoding={"c": encoding})
    assert_samples(df.Dataset.from_files(tmp_path / "t.parquet"), table)


# Fields


def wide(folder, count=3, rows=100, group=30, **options) -> list[str]:
    """Files of a scalar, a vector and a string column, in which each value tells file and row."""
    paths = []
    for i in range(count):
        ids = np.arange(i * rows, (i + 1) * rows)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, 4).astype("f4")), 4)
        table = pa.table({"id": ids, "vector": vectors, "word": [f"{n:05d}" for n in ids]})
        paths.append(str(folder / f"f{i}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=group, **options)
    return paths


def test_only_the_chunks_of_wanted_columns_are_read(tmp_path):
    noise = np.random.default_rng(1).bytes(1 << 20)
    table = pa.table({"small": np.arange(64), "large": [noise] * 64})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=False, compression="none", row_group_size=4)
    with df.Loader(df.Dataset.from_files(tmp_path / "t.parquet", fields=["small"]), batch_size=8) as loader:
        assert np.concatenate([batch["small"] for batch in loader]).tolist() == list(range(64))
        assert loader.stats()["bytes_read"] < 1 << 20


def test_columns_that_cannot_be_arrays_are_left_out_unless_asked_for(tmp_path):
    table = pa.table({"a": [1, 2], "s": [{"x": 1}, {"x": 2}], "b": [1.0, 2.0], "l": [[[1]], [[2], []]]})
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = df.Dataset.from_files(tmp_path / "t.parquet")
    assert [field.name for field in dataset.spec.fields] == ["a", "b"]
    assert dataset[1] == {"a": 2, "b": 2.0}
    for name in ("s", "l"):
        with pytest.raises(UnsupportedError, match=f"column '{name}' of type"):
            df.Dataset.from_files(tmp_path / "t.parquet", fields=[name])[0]
    with pytest.raises(MemberError, match="no column 'z'; it has a, s, b, l"):
        df.Dataset.from_files(tmp_path / "t.parquet", fields=["z"])[0]


def test_a_null_is_an_error_that_names_column_and_row_group(tmp_path):
    table = pa.table({"a": [1, 2, 3, None], "b": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    dataset = df.Dataset.from_files(tmp_path / "t.parquet")
    assert dataset[0] == {"a": 1, "b": 1}
    with pytest.raises(UnsupportedError, match="column 'a' has a null in row group 1"):
        dataset[2]
    assert df.Dataset.from_files(tmp_path / "t.parquet", fields=["b"])[2] == {"b": 3}


def test_the_payload_is_data_or_the_first_column_that_can_be_an_array(tmp_path):
    from dlio_fast.torch import DlioPyTorchDataset

    def payloads(table, folder, **config):
        (tmp_path / folder).mkdir()
        pq.write_table(table, tmp_path / folder / "img_0_of_1.parquet")
        made = DlioPyTorchDataset(
            config_dict={"dataset": {"data_folder": str(tmp_path / folder), "format": "parquet", **config}},
            batch_size=2, shuffle=False,
        )  # fmt: skip
        return [sample.tolist() for sample in made]

    records = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype="u1")), 6)
    assert payloads(pa.table({"id": [0, 1], "data": records}), "data")[1] == [6, 7, 8, 9, 10, 11]
    shaped = payloads(pa.table({"data": records}), "shaped", record_dims=[2, 3])
    assert shaped[1] == [[6, 7, 8], [9, 10, 11]]
    assert payloads(pa.table({"s": [{"x": 1}] * 2, "id": [0, 1], "b": [2, 3]}), "first") == [0, 1]
    columns = {"columns": [{"name": "a", "read": False}, {"name": "b"}, {"name": "c"}]}
    assert payloads(pa.table({"a": [1, 2], "b": [3, 4], "c": [5, 6]}), "told", parquet=columns) == [3, 4]


def test_a_configuration_says_which_columns_are_read(tmp_path):
    (tmp_path / "train").mkdir()
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "train" / "f.parquet")
    columns = [{"name": "a", "read": True}, {"name": "b", "read": False}, {"name": "c"}]
    config = {"dataset": {"format": "parquet", "data_folder": str(tmp_path), "parquet": {"columns": columns}}}
    dataset = df.Dataset(config)
    assert dataset[0] == {"a": 1, "c": 3}
    assert pickle.loads(pickle.dumps(dataset))[0] == {"a": 1, "c": 3}
    assert df.Dataset(config, fields=["b"])[0] == {"b": 2}


# Loading


@pytest.mark.parametrize("shuffle", ["off", "global", "files", "window"])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_every_sample_comes_once_whatever_the_order(tmp_path, shuffle, batch_size):
    dataset = df.Dataset.from_files(wide(tmp_path))
    with df.Loader(dataset, batch_size=batch_size, shuffle=shuffle, seed=3) as loader:
        for _ in range(2):
            seen = []
            for batch in loader:
                seen += batch["id"].tolist()
                assert (batch["vector"] == batch["id"][:, None]).all()
                assert [int(bytes(word)) for word in batch["word"]] == batch["id"].tolist()
            assert sorted(seen) == list(range(300))
            assert (seen == list(range(300))) == (shuffle == "off")


def test_reading_past_the_page_cache_gives_the_same(tmp_path):
    paths = wide(tmp_path, rows=5000, group=1000)
    dataset = df.Dataset.from_files([f"direct://{path}" for path in paths])
    with df.Loader(dataset, batch_size=500) as loader:
        assert sum(batch["id"].sum() for batch in loader) == sum(range(15000))
        stats = loader.stats()
        assert stats["direct_bytes"] > 0 or stats["fallback_reason"]


def test_files_of_other_numbers_of_rows_are_an_error(tmp_path):
    pq.write_table(pa.table({"id": range(5)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": range(6)}), tmp_path / "b.parquet")
    dataset = df.Dataset.from_files([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert dataset[4] == {"id": 4}
    with pytest.raises(SampleError, match="b.parquet: the file holds 6 samples"):
        dataset[5]


def test_scratch_bytes_are_those_of_the_largest_row_group(tmp_path):
    records = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(100 * 1000, "f4")), 1000)
    pq.write_table(pa.table({"x": records}), tmp_path / "t.parquet", row_group_size=60, compression="zstd")
    spec = df.Dataset.from_files(tmp_path / "t.parquet").spec
    assert 60 * 4000 <= spec.scratch_bytes <= 60 * 8000 + 10_000


# Files that lie


def test_a_row_group_over_the_limit_is_refused_before_it_is_read(tmp_path):
    pq.write_table(pa.table({"x": np.zeros(1 << 20)}), tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 20_000
    dataset = df.Dataset.from_files(tmp_path / "bomb.parquet", format=ParquetFormat(limit=1 << 20))
    with pytest.raises(UnsupportedError, match="bomb.parquet: row group 0 takes 8"):
        dataset[0]


def test_one_long_value_that_comes_a_million_times_stays_one(tmp_path):
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 20, "i4")), pa.array(["x" * (1 << 20)]))
    pq.write_table(pa.table({"w": words}), tmp_path / "t.parquet")
    assert df.Dataset.from_files(tmp_path / "t.parquet")[1 << 19]["w"].shape == (1 << 20,)


def test_pages_that_hold_more_than_the_footer_says_are_refused(tmp_path):
    table = pa.table({"x": np.arange(1000)})
    pq.write_table(table, tmp_path / "t.parquet", compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    # The page header of the one data page: i32 type, i32 unpacked, i32 packed size, as zigzag varints.
    assert data[4:6] == b"\x15\x00" and data[6] == 0x15
    data[7:9] = b"\xfe\x7f"
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(FormatError, match="the pages of column 'x' of row group 0 hold"):
        df.Dataset.from_files(tmp_path / "t.parquet")[0]


def test_a_flipped_byte_is_found_where_pages_have_checksums(tmp_path):
    table = pa.table({"a": np.arange(1000), "x": np.arange(1000)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    at = pq.read_metadata(path).row_group(0).column(1).data_page_offset + 500
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match="column 'x' of row group 0"):
        df.Dataset.from_files(path)[0]
    assert df.Dataset.from_files(path, fields=["a"])[0] == {"a": 0}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "0 bytes are no Parquet file"),
        (b"PAR1" * 2, "8 bytes are no Parquet file"),
        (b"PAR1" + bytes(100), "without its end"),
        (b"hello" * 100, "not a Parquet file"),
        (b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1", "a footer of 2147483647 bytes"),
        (b"PAR1" + bytes(100) + b"\x20\0\0\0PAR1", "the footer is malformed"),
        (b"PARE" + bytes(100) + b"\x20\0\0\0PARE", "the file is encrypted"),
    ],
)
def test_what_is_no_parquet_file_is_refused(tmp_path, data, error):
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises((FormatError, UnsupportedError), match=error):
        df.Dataset.from_files(tmp_path / "t.parquet")[0]


GOOD = pa.table(
    {
        "n": np.arange(50),
        "w": [f"word {i % 7}" for i in range(50)],
        "v": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(150, dtype="f4")), 3),
        "r": [list(range(i % 4)) for i in range(50)],
    }
)


@settings(suppress_health_check=SLOW_SETUP, max_examples=400)
@given(
    codec=st.sampled_from(["none", "snappy", "zstd", "gzip", "lz4"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    near_end=st.booleans(),
    cut=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_damaged_files_are_read_or_refused_with_their_name(tmp_path, codec, flips, near_end, cut):
    path = tmp_path / "damaged.parquet"
    pq.write_table(GOOD, path, compression=codec, row_group_size=20)
    data = bytearray(path.read_bytes())
    begin = len(data) * 2 // 3 if near_end else 0
    for where, value in flips:
        data[begin + int(where * (len(data) - begin))] = value
    path.write_bytes(data[: int(cut * len(data))] if cut is not None else data)
    try:
        dataset = df.Dataset.from_files(path)
        dataset.__getitems__(range(min(len(dataset), 100)))
    except df.errors.DataError as error:
        assert "damaged.parquet" in str(error)


# The core's own decoder


@settings(suppress_health_check=SLOW_SETUP, max_examples=80)
@given(
    dtype=st.sampled_from(["i1", "u2", "i4", "u8", "f2", "f4", "f8", "?"]),
    size=st.sampled_from([None, 1, 3, 40]),
    distinct=st.sampled_from([1, 2, 5, 300, 5000]),
    rows=st.integers(1, 700),
    dictionary=st.booleans(),
    page=st.sampled_from([1 << 20, 500]),
    version=st.sampled_from(["1.0", "2.0"]),
)
def test_the_core_decodes_plain_numbers_as_pyarrow_does(
    tmp_path, dtype, size, distinct, rows, dictionary, page, version
):
    rng = np.random.default_rng(rows)
    pool = rng.integers(0, 256, (distinct, np.dtype(dtype).itemsize), np.uint8)
    values = (pool[:, 0] > 127) if dtype == "?" else pool.view(dtype)[:, 0]
    values = values[rng.integers(0, distinct, rows * (size or 1))]
    column = pa.array(values) if size is None else pa.FixedSizeListArray.from_arrays(pa.array(values), size)
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"x": column}), path, compression="none", use_dictionary=dictionary, data_page_size=page,
        data_page_version=version, write_page_checksum=rows % 2 == 0, row_group_size=300,
    )  # fmt: skip
    meta = pq.read_metadata(path)
    levels = meta.schema.column(0).max_definition_level
    stored = {"BOOLEAN": 0, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}.get(
        meta.schema.column(0).physical_type, 2
    )
    for i in range(meta.num_row_groups):
        chunk = meta.row_group(i).column(0)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        data = path.read_bytes()[start : start + chunk.total_compressed_size]
        out = np.empty(chunk.num_values, dtype)
        job = (0, len(out), stored, out.itemsize, levels, size or 0)
        [decoded] = _core.parquet_columns([data], [job], out.view("u1"))
        # pyarrow writes booleans of its version 2 pages in runs, which are left to it.
        assert decoded or (dtype == "?" and version == "2.0")
        if decoded:
            first = 300 * i * (size or 1)
            assert out.tobytes() == values[first : first + len(out)].tobytes()
    assert df.Dataset.from_files(path)[rows - 1]["x"].tobytes() == values[-(size or 1) :].tobytes()


def test_compressed_and_nullable_columns_are_left_to_pyarrow(tmp_path):
    table = pa.table({"a": [1, None], "b": [3, 4]})
    pq.write_table(table, tmp_path / "t.parquet", compression="none")
    chunk = pq.read_metadata(tmp_path / "t.parquet").row_group(0).column(0)
    data = (tmp_path / "t.parquet").read_bytes()[chunk.dictionary_page_offset :]
    out = np.empty(16, np.uint8)
    assert _core.parquet_columns([data[: chunk.total_compressed_size]], [(0, 2, 8, 8, 1, 0)], out) == [False]


def test_every_byte_of_a_footer_may_be_wrong(tmp_path):
    path = tmp_path / "damaged.parquet"
    pq.write_table(GOOD.select(["n", "w"]), path, row_group_size=30, store_schema=False)
    image = path.read_bytes()
    for at in range(len(image) - int.from_bytes(image[-8:-4], "little") - 8, len(image)):
        for byte in (0, 0x7F, 0xFF):
            path.write_bytes(image[:at] + bytes([byte]) + image[at + 1 :])
            try:
                dataset = df.Dataset.from_files(path)
                dataset.__getitems__(range(min(len(dataset), 50)))
            except df.errors.DataError as error:
                assert "damaged.parquet" in str(error)


def test_numbers_beyond_a_dictionary_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"w": ["a", "b"] * 50}), path, compression="none")
    image = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    begin = image.index(b"\xaa" * 12, at)  # a bit each, 0 and 1 in turn
    image[begin - 2] = 2  # of two bits each, then: 2
    path.write_bytes(image)
    with pytest.raises(FormatError, match=r"t.parquet: column 'w' (of|in) row group 0"):
        df.Dataset.from_files(path)[0]
