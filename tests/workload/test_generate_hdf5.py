"""HDF5 files are generated in DLIO's layout, with the same contents however they are stored."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.formats.generating import generator_for
from dlio_fast.workload.convert import convert
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree

PLANNED = [
    {},
    {"hdf5": {"num_dset_per_record": 3}},
    {"compression": "gzip", "compression_level": 1},
    {"compression": "lzf"},
    {"compression": "zip"},
    {"hdf5": {"chunk_dims": [2, 3, 5], "num_dset_per_record": 3}},
    {"hdf5": {"max_shape": [9, 9]}, "compression": "none"},
    {"hdf5": {"max_shape": [9, 9], "chunk_dims": [9, 9, 9]}, "compression": "gzip"},
    {"record_element_type": "float64", "num_samples_per_file": 1},
]


def planned(**dataset):
    return config(**{"format": "hdf5", "record_dims": [6, 7], "num_samples_per_file": 5, **dataset})


def contents(cfg, index: int) -> np.ndarray:
    """What the records of a file hold, all of them."""
    generator = generator_for(cfg.dataset)
    data = np.frombuffer(b"".join(map(bytes, generator.payload(index))), generator.dtype)
    return data.reshape(cfg.dataset.hdf5.num_dset_per_record, generator.samples, -1)


@pytest.mark.parametrize("dataset", PLANNED, ids=str)
def test_h5py_reads_dlios_layout_with_the_planned_contents(tmp_path, dataset):
    cfg = planned(num_files_train=2, **dataset)
    generate(cfg, data_folder=tmp_path)
    samples, parts = cfg.dataset.num_samples_per_file, cfg.dataset.hdf5.num_dset_per_record
    for index, path in enumerate(sorted((tmp_path / "train").iterdir())):
        with h5py.File(path) as file:
            assert sorted(file) == ["labels", *(f"records_{part}" for part in range(parts))]
            assert file["labels"].dtype == np.int64 and not file["labels"][...].any()
            for part, values in enumerate(contents(cfg, index)):
                records = file[f"records_{part}"]
                assert records.shape == (samples, 6 // parts, 7) and records.dtype == cfg.dataset.dtype
                np.testing.assert_array_equal(records[...].reshape(samples, -1), values)


@pytest.mark.parametrize("dataset", PLANNED, ids=str)
def test_what_is_generated_is_what_the_data_set_reads(tmp_path, dataset):
    cfg = planned(num_files_train=3, **dataset)
    generate(cfg, data_folder=f"direct://{tmp_path}")
    dataset = df.Dataset(cfg, data_folder=f"direct://{tmp_path}", fields="records_0")
    with df.Loader(dataset, batch_size=4, shuffle=False) as loader:
        read = np.concatenate([batch["records_0"] for batch in loader])
        assert loader.stats()["library_samples"] == 0
    expected = np.concatenate([contents(cfg, index)[0] for index in range(3)])
    np.testing.assert_array_equal(read.reshape(expected.shape), expected)


@pytest.mark.parametrize("dataset", PLANNED, ids=str)
def test_files_have_the_same_bytes_on_every_run_and_are_known_again(tmp_path, dataset):
    cfg = planned(num_files_train=3, num_files_eval=1, **dataset)
    generate(cfg, data_folder=tmp_path / "one", threads=1)
    generate(cfg, data_folder=tmp_path / "two", threads=3)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert generate(cfg, data_folder=tmp_path / "one", skip_existing=True).skipped == 4
    victim = next((tmp_path / "one" / "train").iterdir())
    os.truncate(victim, victim.stat().st_size - 1)
    assert generate(cfg, data_folder=tmp_path / "one", skip_existing=True).skipped == 3
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("dataset", PLANNED, ids=str)
def test_nothing_in_a_file_tells_the_time(tmp_path, dataset):
    generate(planned(num_files_train=1, **dataset), data_folder=tmp_path)
    with h5py.File(tmp_path / "train/img_0_of_1.hdf5") as file:
        assert not any(h5py.h5o.get_info(one.id).mtime for one in (file["/"], *file.values()))


def test_nothing_in_a_converted_file_tells_the_time(tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["deep/er/x"] = file["deep/y"] = np.arange(6)
    convert(tmp_path / "source.h5", tmp_path / "out", format="hdf5", fields=["deep/er/x", "deep/y"])
    [path] = (path for path in (tmp_path / "out").rglob("*") if path.suffix == ".hdf5")
    with h5py.File(path) as file:
        assert file["deep/er/x"][...].tolist() == file["deep/y"][...].tolist() == list(range(6))
        names = ["/", "deep", "deep/er", "deep/er/x", "deep/y"]
        assert not any(h5py.h5o.get_info(file[name].id).mtime for name in names)


def test_options_of_storage_are_those_of_the_configuration(tmp_path):
    hdf5 = {"chunk_dims": [2, 3, 5], "max_shape": [9, 9]}
    generate(
        planned(compression="gzip", compression_level=7, hdf5=hdf5, num_files_train=1), data_folder=tmp_path
    )
    with h5py.File(tmp_path / "train/img_0_of_1.hdf5") as file:
        records = file["records_0"]
        assert (records.chunks, records.maxshape) == ((2, 3, 5), (5, 9, 9))
        assert (records.compression, records.compression_opts) == ("gzip", 7)


def test_a_first_dimension_of_which_nothing_remains_is_left_out(tmp_path):
    generate(planned(hdf5={"num_dset_per_record": 6}, num_files_train=1), data_folder=tmp_path)
    with h5py.File(tmp_path / "train/img_0_of_1.hdf5") as file:
        assert file["records_5"].shape == (5, 7)


def test_large_records_begin_on_a_page(tmp_path):
    generate(planned(record_dims=[40, 130], num_files_train=1), data_folder=tmp_path)
    with h5py.File(tmp_path / "train/img_0_of_1.hdf5") as file:
        assert file["records_0"].id.get_offset() % 4096 == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dims=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    samples=st.integers(1, 3000),
    parts=st.integers(1, 40),
    align=st.booleans(),
)
def test_nothing_but_records_lies_where_records_are_written(tmp_path, dims, samples, parts, align):
    dims = [dims[0] * parts, *dims[1:]] if parts > 1 else dims
    if np.prod(dims) * samples > 1 << 22:
        samples = 1
    cfg = planned(
        record_dims=dims, num_samples_per_file=samples, num_files_train=1, align_payload=align,
        hdf5={"num_dset_per_record": parts},
    )  # fmt: skip
    generate(cfg, data_folder=tmp_path)
    with h5py.File(tmp_path / "train/img_0_of_1.hdf5") as file:
        assert not file["labels"][...].any() and len(file["labels"]) == samples
        for part in range(parts):
            assert len(file[f"records_{part}"][...]) == samples


@pytest.mark.parametrize("dataset", PLANNED, ids=str)
def test_the_room_that_files_take_is_foreseen(tmp_path, dataset):
    cfg = planned(num_files_train=1, **{"num_samples_per_file": 500, **dataset})
    generate(cfg, data_folder=tmp_path)
    foreseen = generator_for(cfg.dataset).nbytes()[0]
    taken = (tmp_path / "train/img_0_of_1.hdf5").stat().st_size
    assert taken <= foreseen <= 2 * taken + 40_000


@pytest.mark.parametrize(
    ("dataset", "match"),
    [
        ({"hdf5": {"chunk_dims": [2, 2]}}, "chunk_dims.*needs 3 dimensions"),
        ({"hdf5": {"max_shape": [9]}}, "max_shape"),
        ({"hdf5": {"max_shape": [9, 2]}}, "max_shape.*does not hold"),
        ({"compression": "gzip", "compression_level": 12}, "compression_level"),
        ({"compression": "bz2"}, "compression.*gzip"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, dataset, match):
    with pytest.raises(ConfigError, match=match):
        generate(planned(**dataset), data_folder=tmp_path)
    assert not list(tmp_path.iterdir())
