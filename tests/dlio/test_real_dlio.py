"""Both directions with the real DLIO, release 2.0.0: we read what it generates, it trains on what we do.

Both are compared, value for value, with what the plain library of the format reads. A row of the table counts
as soon as the format can be read, or generated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dlio_fast as df
from dlio_fast.formats import PAYLOAD, format_names
from dlio_fast.formats.generating import generated_formats
from dlio_fast.workload.generate import generate

pytestmark = [
    pytest.mark.skipif(
        not all(map(find_spec, ("dlio_benchmark", "dftracer", "mpi4py"))),
        reason="DLIO is not installed; `make test` does it where there are wheels of what it needs",
    ),
    pytest.mark.timeout(900),
]

WHO = ("theirs", "ours")
FILES, SIDE, BUFFER = 4, 20, 1000
"""Of DLIO's generation buffer: less than a file's samples."""


def numpy_samples(path: Path) -> list[np.ndarray]:
    loaded = np.load(path)
    return list(np.moveaxis(loaded["x"] if path.suffix == ".npz" else loaded, -1, 0))


def hdf5_samples(path: Path) -> list[np.ndarray]:
    with h5py.File(path) as file:
        return list(file["records" if "records" in file else "records_0"][()])


def csv_samples(path: Path) -> list[np.ndarray]:
    theirs = path.read_bytes().startswith(b",")  # a header, and the rows' numbers
    return list(pd.read_csv(path, **{"index_col": 0} if theirs else {"header": None}).to_numpy())


def image_samples(path: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path))]


def indexed_samples(path: Path) -> list[np.ndarray]:
    sizes = np.fromfile(f"{path}.sz.idx", np.uint64).tolist()
    return list(np.fromfile(path, np.uint8)[: sum(sizes)].reshape(len(sizes), -1))


def text_samples(path: Path) -> list[np.ndarray]:
    return [np.frombuffer(path.read_bytes(), np.uint8)]


def tfrecord_samples(path: Path) -> list[np.ndarray]:
    import tensorflow as tf

    feature = {"image": tf.io.FixedLenFeature([], tf.string), "size": tf.io.FixedLenFeature([], tf.int64)}
    examples = [tf.io.parse_single_example(record, feature) for record in tf.data.TFRecordDataset(str(path))]
    return [np.frombuffer(example["image"].numpy(), np.uint8) for example in examples]


@dataclass(frozen=True)
class Row:
    """A format.

    `holds` tells whether DLIO's reader still holds what it has read when it is asked, or did read it rightly.
    `refused` is what DLIO 2.0.0 says of the layout of later releases, which ours is.
    """

    plain: Callable[[Path], list[np.ndarray]]
    samples: int = 3
    field: str = PAYLOAD
    framework: str = "pytorch"
    holds: bool = True
    refused: str = ""


TABLE = {
    "npz": Row(numpy_samples),
    "npy": Row(numpy_samples),
    "hdf5": Row(hdf5_samples, field="records", refused="object 'records' doesn't exist"),
    "csv": Row(csv_samples, refused="out of bounds"),  # it takes the first row for a header
    "jpeg": Row(image_samples, samples=1),
    "png": Row(image_samples, samples=1),
    "tfrecord": Row(tfrecord_samples, framework="tensorflow", holds=False),
    "indexed_binary": Row(indexed_samples),
    "mmap_indexed_binary": Row(indexed_samples, holds=False),  # it takes each byte of the index for a number
    "synthetic": Row(text_samples, holds=False),
}
TFRECORD2IDX = """
import struct, sys
with open(sys.argv[1], "rb") as records, open(sys.argv[2], "w") as index:
    while head := records.read(12):
        length = struct.unpack("<Q", head[:8])[0] + 16
        index.write(f"{records.tell() - 12} {length}\\n")
        records.seek(length - 12, 1)
"""
READ = [name for name in TABLE if name in format_names() and name != "synthetic"]
GENERATED = [name for name in TABLE if name in generated_formats() and name != "synthetic"]


@dataclass
class Runs:
    """Where the data sets and DLIO's outputs are: ``theirs/npz``, ``ours/npz``, ``trained/npz``, …"""

    root: Path

    def data(self, who: str, name: str) -> list[Path]:
        return sorted(self.root.glob(f"{who}/{name}/train/*.{name}"))

    def failure(self, what: str, name: str) -> str:
        path = self.root / what / name / "failure.txt"
        return path.read_text() if path.exists() else ""

    def config(self, who: str, name: str) -> df.Config:
        return df.load_config(
            {
                "dataset": {
                    "format": name, "data_folder": str(self.root / who / name), "num_files_train": FILES,
                    "num_samples_per_file": TABLE[name].samples, "record_length_bytes": SIDE * SIDE,
                }
            }
        )  # fmt: skip


def overrides(name: str, folder: Path, **others) -> list[str]:
    """What the command line of DLIO takes."""
    row = TABLE[name]
    keys = {
        "framework": row.framework, "reader.data_loader": row.framework, "dataset.format": name,
        "dataset.data_folder": folder, "dataset.num_files_train": FILES, "dataset.num_files_eval": 0,
        "dataset.num_subfolders_train": 0, "dataset.num_subfolders_eval": 0,
        "dataset.record_length": SIDE * SIDE, "dataset.num_samples_per_file": row.samples,
        "dataset.generation_buffer_size": BUFFER, "workflow.evaluation": False, **others,
    }  # fmt: skip
    return [f"++workload.{key}={value}" for key, value in keys.items()]


GENERATE = {"workflow.generate_data": True, "workflow.train": False}
TRAIN = {"train.epochs": 1, "train.computation_time": 0, "reader.batch_size": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All of DLIO's runs, in one process."""
    runs, jobs = Runs(tmp_path_factory.mktemp("dlio")), []

    def run(what: str, name: str, arguments: list[str]) -> None:
        (runs.root / what / name).mkdir(parents=True)
        jobs.append([str(runs.root / what / name), arguments])

    for name in READ:
        run("generated", name, overrides(name, runs.root / "theirs" / name, **GENERATE))
    run("generated", "synthetic", overrides("synthetic", runs.root / "theirs/synthetic", **GENERATE))
    one_file = overrides("indexed_binary", runs.root / "one_file/indexed_binary", **GENERATE)
    run("one_file_generated", "indexed_binary", [*one_file, "++workload.dataset.num_files_train=1"])
    for name in [*GENERATED, "synthetic"]:
        generate(runs.config("ours", name))
        # In the process itself, where we see what is read; TensorFlow wants a thread.
        threads = {"reader.read_threads": int(TABLE[name].framework == "tensorflow")}
        run("trained", name, overrides(name, runs.root / "ours" / name, **TRAIN, **threads))

    # DLIO calls DALI's program, and fails without.
    program = runs.root / "bin/tfrecord2idx"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{TFRECORD2IDX}")
    program.chmod(0o755)
    (runs.root / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("dlio_process.py"), runs.root / "jobs.json"],
        cwd=runs.root,
        env={
            **os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return runs


def assert_we_read(dataset: df.Dataset, expected: list[np.ndarray], field: str) -> None:
    assert len(dataset) == len(expected)
    field = dataset.format.field(field)
    for got, want in zip(dataset.batch(range(len(dataset)))[field], expected, strict=True):
        np.testing.assert_array_equal(got.reshape(-1), want.reshape(-1))


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_we_read_what_dlio_generates(runs, name, scheme):
    assert not runs.failure("generated", name)
    paths = runs.data("theirs", name)
    assert len(paths) == FILES
    expected = [sample for path in paths for sample in TABLE[name].plain(path)]
    assert len({sample.tobytes() for sample in expected}) > 1
    folder = f"{scheme}{runs.root / 'theirs' / name}"
    dataset = df.Dataset(runs.config("theirs", name), fields=TABLE[name].field, data_folder=folder)
    assert_we_read(dataset, expected, TABLE[name].field)


def test_we_read_the_file_that_dlio_writes_with_mpi_and_longer_than_its_samples(runs):
    assert not runs.failure("one_file_generated", "indexed_binary")
    (path,) = runs.data("one_file", "indexed_binary")
    assert path.stat().st_size > 3 * SIDE * SIDE
    assert_we_read(df.Dataset.from_files(path), indexed_samples(path), PAYLOAD)


@pytest.mark.parametrize("name", GENERATED)
def test_dlio_reads_what_we_generate(runs, name):
    row, failure = TABLE[name], runs.failure("trained", name)
    if row.refused:
        assert row.refused in failure
        return
    assert not failure
    expected = {
        f"{path.name}|{i}": sample
        for path in runs.data("ours", name)
        for i, sample in enumerate(row.plain(path))
    }
    assert len(expected) == FILES * row.samples
    report = json.loads((runs.root / "trained" / name / "summary.json").read_text())
    assert report["num_files_train"] == FILES and report["num_samples_per_file"] == row.samples
    if row.holds:
        with np.load(runs.root / "trained" / name / "samples.npz") as held:
            assert held.keys() == expected.keys()
            for key, sample in expected.items():
                np.testing.assert_array_equal(held[key].reshape(-1), sample.reshape(-1))


def test_synthetic_files_are_dlios_and_it_trains_without_them(runs):
    assert not runs.failure("generated", "synthetic") and not runs.failure("trained", "synthetic")
    theirs, ours = ({path.name: path.read_bytes() for path in runs.data(who, "synthetic")} for who in WHO)
    assert theirs == ours and len(ours) == FILES


@pytest.mark.parametrize("name", GENERATED)
def test_what_we_generate_has_dlios_names_and_what_we_read_is_what_the_plain_library_does(runs, name):
    ours, theirs = runs.data("ours", name), runs.data("theirs", name)
    assert [path.name for path in ours] == [path.name for path in theirs]
    expected = [sample for path in ours for sample in TABLE[name].plain(path)]
    assert_we_read(df.Dataset(runs.config("ours", name), fields=PAYLOAD), expected, PAYLOAD)
