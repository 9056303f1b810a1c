"""Generated Parquet and Arrow files: DLIO's layouts, read by pyarrow and by us, the same on every run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.formats import format_named
from dlio_fast.workload.generate import generate

DTYPES = [
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bool",
]  # fmt: skip
MIXED = [
    {"name": "id", "dtype": "int64"},
    {"name": "flag", "dtype": "bool"},
    {"name": "half", "dtype": "float16", "size": 3},
    {"name": "pixel", "dtype": "uint8", "size": 100},
    {"name": "steps", "dtype": "list", "size": 5},
    {"name": "word", "dtype": "string"},
    {"name": "blob", "dtype": "binary", "size": 7},
]


def made(folder: Path, format: str = "parquet", **dataset) -> list[str]:
    """Generate; returns the paths."""
    dataset = {"format": format, "num_files_train": 2, "num_samples_per_file": 50, **dataset}
    generate(df.load_config({"dataset": {**dataset, "data_folder": str(folder)}}))
    return sorted(map(str, folder.rglob(f"*.{format}")))


def read(path: str) -> pa.Table:
    """What pyarrow reads, pages checked."""
    if path.endswith(".parquet"):
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    return pa.ipc.open_file(path).read_all()


def digests(paths: list[str]) -> list[str]:
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_without_columns_there_is_one_of_records(tmp_path, format):
    paths = made(tmp_path, format, record_dims=[8, 6])
    for path in paths:
        table = read(path)
        assert table.schema == pa.schema([("data", pa.list_(pa.uint8(), 48))])
        assert table.num_rows == 50
        values = table.column("data").combine_chunks().flatten().to_numpy()
        assert values.min() == 0 and values.max() == 255
    config = {"dataset": {"format": format, "data_folder": str(tmp_path), "record_dims": [8, 6]}}
    assert df.Dataset(config)[3]["data"].shape == (8, 6)
    assert (df.Dataset(config)[3]["data"].reshape(-1) == read(paths[0]).column("data")[3].as_py()).all()


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_columns_are_as_their_dtypes_say(tmp_path, format):
    path = made(tmp_path, format, **{format: {"columns": MIXED}})[0]
    table = read(path)
    assert table.schema.types == [
        pa.int64(), pa.bool_(), pa.list_(pa.float16(), 3), pa.list_(pa.uint8(), 100), pa.list_(pa.float32()),
        pa.string(), pa.binary(),
    ]  # fmt: skip
    rows = table.to_pylist()
    assert all(len(row["steps"]) == 5 and len(row["blob"]) == 7 for row in rows)
    assert all(row["word"][:2] == "s_" and 0 <= int(row["word"][2:]) < 1 << 32 for row in rows)
    assert all(0 <= x < 1 for row in rows for x in row["half"])
    assert len({row["word"] for row in rows}) == len({row["id"] for row in rows}) == 50
    assert 5 < sum(row["flag"] for row in rows) < 45


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_generated_is_read_back_value_by_value(tmp_path, format, compression):
    if format == "arrow" and compression in ("gzip", "snappy"):
        with pytest.raises(ConfigError, match="compression"):
            made(tmp_path, format, compression=compression)
        return
    section = {"columns": MIXED, "generation_batch_size": 20}
    paths = made(tmp_path, format, compression=compression, **{format: section})
    dataset = df.Dataset.from_files(paths)
    rows = [row for path in paths for row in read(path).to_pylist()]
    assert len(dataset) == 100
    for row, found in zip(rows, dataset.__getitems__(range(100)), strict=True):
        assert found["id"] == row["id"] and found["flag"] == row["flag"]
        assert found["half"].tolist() == row["half"] and found["pixel"].tolist() == row["pixel"]
        assert found["steps"].tolist() == row["steps"]
        assert bytes(found["word"]).decode() == row["word"] and bytes(found["blob"]) == row["blob"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    size=st.sampled_from([1, 2, 3, 31, 32, 33, 1000]),
    rows=st.integers(1, 400),
    group=st.integers(1, 500),
    batch=st.integers(0, 300),
)
def test_every_dtype_and_size_is_valid_parquet(tmp_path, dtype, size, rows, group, batch):
    parquet = {
        "columns": [{"name": "c", "dtype": dtype, "size": size}],
        "row_group_size": group,
        "generation_batch_size": batch,
    }
    path = made(tmp_path, num_files_train=1, num_samples_per_file=rows, parquet=parquet)[0]
    found = read(path).column("c").combine_chunks()
    flat = found if size == 1 else found.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    assert values.dtype == np.dtype(dtype) and len(values) == rows * size
    sizes = pq.read_metadata(path)
    groups = [sizes.row_group(i).num_rows for i in range(sizes.num_row_groups)]
    assert sum(groups) == rows and max(groups) <= min(group, batch or group)
    # However it is cut into row groups, the contents are the same.
    whole = {**parquet, "row_group_size": 1000, "generation_batch_size": 0}
    again = made(tmp_path / "whole", num_files_train=1, num_samples_per_file=rows, parquet=whole)[0]
    assert read(again).column("c").combine_chunks().equals(found)


def test_rows_of_several_pages_are_valid(tmp_path):
    columns = [{"name": "wide", "dtype": "float32", "size": 600_000}, {"name": "n", "dtype": "uint16"}]
    path = made(tmp_path, num_files_train=1, num_samples_per_file=5, parquet={"columns": columns})[0]
    assert read(path).column("wide").combine_chunks().flatten().to_numpy().max() < 1
    long = {"columns": [{"name": "n", "dtype": "uint16"}], "row_group_size": 1 << 20}
    path = made(tmp_path / "long", num_files_train=1, num_samples_per_file=1 << 20, parquet=long)[0]
    assert len(np.unique(read(path).column("n").to_numpy())) == 1 << 16


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_files_are_the_same_on_every_run_and_past_the_page_cache(tmp_path, format):
    section = {format: {"columns": MIXED, "generation_batch_size": 20}}
    one, other = made(tmp_path / "a", format, **section), made(tmp_path / "b", format, **section)
    assert digests(one) == digests(other) and len(set(digests(one))) == 2
    config = df.load_config(
        {"dataset": {"format": format, "num_files_train": 2, "num_samples_per_file": 50, **section}}
    )
    result = generate(config, data_folder=f"direct://{tmp_path}/c", threads=1)
    assert digests(sorted(map(str, (tmp_path / "c").rglob(f"*.{format}")))) == digests(one)
    assert result.direct or result.fallback_reason
    seeds = made(tmp_path / "d", format, seed=5, **section)
    assert not set(digests(one)) & set(digests(seeds))


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_complete_files_are_kept_and_others_made_anew(tmp_path, format):
    section = {format: {"columns": MIXED, "generation_batch_size": 20}}
    paths = made(tmp_path, format, **section)
    before = digests(paths)
    data = bytearray(Path(paths[0]).read_bytes())
    data[200] ^= 1
    Path(paths[0]).write_bytes(data)
    dataset = {"format": format, "num_files_train": 2, "num_samples_per_file": 50, **section}
    config = df.load_config({"dataset": {**dataset, "data_folder": str(tmp_path)}})
    result = generate(config, skip_existing=True)
    assert (result.files, result.skipped) == (1, 1) and digests(paths) == before
    os.truncate(paths[1], os.path.getsize(paths[1]) - 20)
    result = generate(config, skip_existing=True)
    assert (result.files, result.skipped) == (1, 1) and digests(paths) == before


def test_the_bytes_that_are_foreseen_are_about_those_that_are_written(tmp_path):
    for i, columns in enumerate([MIXED, [{"name": "c", "dtype": name} for name in ["int8"]], []]):
        dataset = {"format": "parquet", "num_samples_per_file": 20_000, "parquet": {"columns": columns}}
        config = df.load_config({"dataset": {**dataset, "num_files_train": 1, "record_dims": [8, 8]}})
        result = generate(config, data_folder=tmp_path / str(i))
        foreseen = format_named("parquet").generator(config.dataset).nbytes()[0]
        assert 0.9 * result.bytes < foreseen < 1.2 * result.bytes + 10_000


@pytest.mark.parametrize(
    ("parquet", "said"),
    [
        ({"columns": [{"name": "c", "dtype": "complex64"}]}, "parquet.columns: 'c': dtype 'complex64'"),
        ({"columns": [{"name": "c", "dtype": "decimal"}]}, "parquet.columns: 'c': dtype 'decimal'"),
        ({"columns": [{"name": "c"}, {"name": "c"}]}, "'c' is there twice"),
        ({"columns": [{"name": "c", "size": 1 << 30}]}, "are too many"),
        ({"partition_by": "c"}, "partition_by"),
    ],
)
def test_what_cannot_be_generated_is_refused(tmp_path, parquet, said):
    with pytest.raises(ConfigError, match=said):
        made(tmp_path, parquet=parquet)
