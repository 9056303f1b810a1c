"""Parquet: the cases of the table of targets, beside pyarrow's own ways."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

import dlio_fast as df
from dlio_fast.config.data import Column
from dlio_fast.workload.generate import generate

from . import data
from .runner import Case, Goal

MIB = 1 << 20
SCAN, OURS = "pyarrow.dataset scan", "dlio_fast"


def drain(loader: df.Loader) -> int:
    """Take every batch; the core has put every byte into it."""
    return sum(values.nbytes for batch in loader for values in batch.values())


def scan(files: list[str], batch_size: int, columns: list[str] | None = None) -> int:
    """Take every batch of pyarrow's scan, on all cores, as arrays of numpy."""
    moved = 0
    for batch in pyarrow.dataset.dataset(files).to_batches(columns=columns, batch_size=batch_size):
        for column in batch.columns:
            flat = column.flatten() if pa.types.is_nested(column.type) else column
            moved += flat.to_numpy().nbytes
    return moved


def generated(name: str, count: int, rows: int, **dataset) -> list[str]:
    """Files as DLIO lays them out."""

    def make(folder: Path) -> None:
        config = {"format": "parquet", "num_files_train": count, "num_samples_per_file": rows, **dataset}
        generate(df.load_config({"dataset": {**config, "data_folder": str(folder)}}))

    folder = data.made(f"parquet_{name}_{count}x{rows}", make)
    return sorted(map(str, folder.rglob("*.parquet")))


def _case(name: str, title: str, files: list[str], batch_size: int, columns: list[str] | None = None) -> Case:
    data.warm(files)
    ours = df.Loader(df.Dataset.from_files(files, fields=columns), batch_size=batch_size)
    return Case(
        name, title, scan(files, batch_size, columns),
        {
            SCAN: lambda: scan(files, batch_size, columns),
            OURS: lambda: drain(ours),
        },
        [Goal("against pyarrow's own scan", OURS, SCAN, 0.9, 1.1)],
    )  # fmt: skip


def parquet_records() -> Case:
    files = generated("records", 4, 512, record_dims=[256, 256], parquet={"row_group_size": 64})
    return _case("parquet_records", "4 × 512 records of 64 KiB in Parquet, batches of 64", files, 64)


def parquet_flux() -> Case:
    columns = df.load_config("flux_b200").dataset.parquet.columns
    files = generated("flux", 4, 32, parquet={"row_group_size": 8, "columns": _plain(columns)})
    return _case("parquet_flux", "128 rows of 2.2 MB as Flux has them, batches of 48", files, 48)


def parquet_dlrm() -> Case:
    columns = df.load_config("dlrm_b200").dataset.parquet.columns
    files = generated("dlrm", 4, 6144 * 16, parquet={"row_group_size": 6144, "columns": _plain(columns)})
    wanted = [column.name for column in columns if column.read]
    title = f"{len(wanted)} of DLRM's 200 columns, 393,216 rows, batches of 16,384"
    return _case("parquet_dlrm", title, files, 16384, wanted)


def parquet_dlrm_wide() -> Case:
    columns = df.load_config("dlrm_b200").dataset.parquet.columns
    files = generated("dlrm", 4, 6144 * 16, parquet={"row_group_size": 6144, "columns": _plain(columns)})
    return _case("parquet_dlrm_wide", "All of DLRM's 200 columns, batches of 16,384", files, 16384)


def _plain(columns: tuple[Column, ...]) -> list[dict]:
    return [column.to_dict() for column in columns]


def parquet_generation() -> Case:
    folder = data.ROOT / "generated"
    layouts = {
        "records": {"record_dims": [256, 256], "num_samples_per_file": 256},
        "dlrm": {
            "num_samples_per_file": 6144 * 4,
            "parquet": {
                "row_group_size": 6144,
                "columns": _plain(df.load_config("dlrm_b200").dataset.parquet.columns),
            },
        },
    }

    def dlio(name: str) -> Callable[[], int]:
        dataset = df.load_config({"dataset": {"format": "parquet", **layouts[name]}}).dataset
        return lambda: sum(_dlio_file(dataset, folder / f"dlio_{name}", i) for i in range(4))

    def ours(name: str) -> Callable[[], int]:
        out = {"format": "parquet", "num_files_train": 4, "data_folder": f"{folder}/ours_{name}"}
        config = df.load_config({"dataset": {**out, **layouts[name]}})
        return lambda: generate(config).bytes

    def clean() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()

    pairs = {f"{who}, {name}": make(name) for name in layouts for who, make in (("DLIO", dlio), (OURS, ours))}
    return Case(
        "parquet_generation",
        "Generate Parquet: 4 × 256 records of 64 KiB, 4 × 24,576 rows of DLRM's columns",
        64 * MIB, pairs,
        [
            Goal(f"{name} against DLIO's method", f"{OURS}, {name}", f"DLIO, {name}", 1.5, 2.5)
            for name in layouts
        ],
        cache="no cache: files are written",
        before_each=clean,
        after=clean,
    )  # fmt: skip


def _dlio_file(dataset, folder: Path, index: int) -> int:
    """Write a file as DLIO's generator does: numpy's random numbers, a table a row group, write_table."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, path = np.random.default_rng(index), folder / f"{index}.parquet"
    writer = None
    for start in range(0, dataset.num_samples_per_file, dataset.parquet.row_group_size):
        rows = min(dataset.parquet.row_group_size, dataset.num_samples_per_file - start)
        table = pa.table(_dlio_columns(dataset, rng, rows))
        writer = writer or pq.ParquetWriter(path, table.schema, compression="none")
        writer.write_table(table, row_group_size=rows)
    writer.close()
    return os.path.getsize(path)


def _dlio_columns(dataset, rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    if not dataset.parquet.columns:
        size = math.prod(dataset.sample_dims)
        records = (rng.random(rows * size, np.float32) * 255).astype(np.uint8)
        return {"data": pa.FixedSizeListArray.from_arrays(pa.array(records), size)}
    found = {}
    for column in dataset.parquet.columns:
        dtype, count = np.dtype(column.dtype), rows * column.size
        if dtype.kind == "f":
            values = rng.random(count, "f8" if dtype.itemsize == 8 else "f4").astype(dtype)
        else:
            values = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, count, dtype)
        array = pa.array(values)
        found[column.name] = (
            array if column.size == 1 else pa.FixedSizeListArray.from_arrays(array, column.size)
        )
    return found
