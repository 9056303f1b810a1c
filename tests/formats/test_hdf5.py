"""HDF5 files are read as h5py reads them, by whichever way."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import FileChangedError, MemberError, MissingDependencyError, SampleError

from .hdf5_files import assert_as_h5py, datasets, read_all, write_datasets, write_file

IMAGES = np.random.default_rng(1).integers(0, 99, (6, 40, 30)).astype("f4")
PACKED = {"chunks": (4, 9, 16), "compression": "gzip", "shuffle": True, "fletcher32": True}

several = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@several
@given(
    made=st.dictionaries(st.sampled_from(["records_0", "labels"]), datasets(), min_size=1),
    libver=st.sampled_from(["earliest", "v108", "latest"]),
    direct=st.booleans(),
    verify=st.booleans(),
    cached=st.booleans(),
)
def test_samples_are_equal_to_h5pys_whatever_layout_and_filters(
    tmp_path, made, libver, direct, verify, cached
):
    samples = min(one["create"]["shape"][0] for one in made.values())
    for one in made.values():  # the datasets of a file hold as many samples
        one["create"]["shape"] = (samples, *one["create"]["shape"][1:])
        one["data"] = one["data"][:samples]
        if "chunks" in one["create"]:
            one["create"]["chunks"] = (min(samples, one["create"]["chunks"][0]), *one["create"]["chunks"][1:])
    path = tmp_path / "f.hdf5"
    write_datasets(path, made, libver)
    address = f"direct://{path}" if direct else str(path)
    found, stats = read_all([address], verify=verify, prefetch_bytes=1 << 20 if cached else 0)
    assert_as_h5py([str(path)], found)
    assert (stats["core_samples"], stats["library_samples"]) == (samples, 0)


def test_past_the_page_cache_samples_are_the_same(tmp_path):
    paths = [
        write_file(tmp_path / f"{i}.hdf5", records_0=(IMAGES + i, options), labels=np.arange(6))
        for i, options in enumerate([{}, {"chunks": (1, 40, 30)}, PACKED])
    ]
    for path in paths:
        found, stats = read_all([f"direct://{path}"])
        assert_as_h5py([path], found)
        assert stats["direct_bytes"] > 0 or stats["fallback_reason"]


def virtual(file):
    source = h5py.VirtualSource(file.filename, "plain", IMAGES.shape)
    layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
    layout[...] = source
    file["plain"] = IMAGES
    file.create_virtual_dataset("x", layout)


def external(file):
    raw = file.filename + ".raw"
    IMAGES.tofile(raw)
    file.create_dataset("x", IMAGES.shape, IMAGES.dtype, external=[(raw, 0, IMAGES.nbytes)])


def compact(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((6, 4))
    made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, space, plist)
    h5py.Dataset(made)[...] = np.arange(24).reshape(6, 4)


def compound(file):
    dtype = np.dtype([("a", "i4"), ("b", "f8", (2,))])
    file["x"] = np.frombuffer(bytes(range(120)), dtype)


def linked(file):
    other = file.filename + ".other"
    with h5py.File(other, "w") as far:
        far["far"] = IMAGES
    file["x"] = h5py.ExternalLink(other, "/far")


def twelve_bits(file):
    kind = h5py.h5t.NATIVE_INT16.copy()
    kind.set_precision(12)
    made = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((6, 4)))
    h5py.Dataset(made)[...] = np.arange(24).reshape(6, 4)


ELSEWISE = {
    "virtual": virtual,
    "external": external,
    "compact": compact,
    "compound": compound,
    "linked": linked,
    "an integer of 12 bits": twelve_bits,
    "scaleoffset": lambda file: file.create_dataset("x", data=np.arange(24).reshape(6, 4), scaleoffset=0),
    "strings of UTF-8": lambda file: file.create_dataset(
        "x", data=np.array([b"a", b"bc"] * 3, h5py.string_dtype("utf-8", 5))
    ),
    "an enumeration": lambda file: file.create_dataset(
        "x", data=np.arange(6) % 2, dtype=h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1")
    ),
}


@pytest.mark.parametrize("kind", ELSEWISE)
def test_what_the_core_cannot_read_goes_through_h5py(tmp_path, kind):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        ELSEWISE[kind](file)
    found, stats = read_all([str(path)], fields=["x"])
    assert_as_h5py([str(path)], found)
    assert (stats["core_samples"], stats["library_samples"]) == (0, 6)


def test_a_file_behind_a_user_block_goes_through_h5py(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = IMAGES
        file.create_dataset("y", data=IMAGES, **PACKED)
    found, stats = read_all([str(path)])
    assert_as_h5py([str(path)], found)
    assert stats["library_samples"] == 6


def test_files_of_one_data_set_may_be_read_in_different_ways(tmp_path):
    paths = [
        write_file(tmp_path / f"{i}.h5", records_0=(IMAGES.astype("i4") + i, options))
        for i, options in enumerate([{}, {"chunks": True, "scaleoffset": 0}, PACKED])
    ]
    found, stats = read_all(paths, batch_size=7)
    assert_as_h5py(paths, found)
    assert (stats["core_samples"], stats["library_samples"]) == (12, 6)


def test_files_that_differ_in_shape_dtype_or_byte_order_keep_their_own(tmp_path):
    arrays = [IMAGES, IMAGES[:, :7], IMAGES.astype(">f8")]
    paths = [write_file(tmp_path / f"{i}.h5", x=one) for i, one in enumerate(arrays)]
    found, _ = read_all(paths)
    assert_as_h5py(paths, found)


def test_fields_are_all_datasets_at_the_top_and_others_by_their_paths(tmp_path):
    path = write_file(tmp_path / "f.h5", **{"b": IMAGES, "a": np.arange(6), "deep/er/c": IMAGES * 2})
    assert set(read_all([path])[0]) == {"a", "b"}
    found, _ = read_all([path], fields=["deep/er/c"])
    assert_as_h5py([path], found)


def test_dlios_layout_gives_the_payload_and_the_label(tmp_path):
    path = write_file(tmp_path / "f.hdf5", records_0=IMAGES, records_1=IMAGES, labels=np.arange(6))
    config = {"dataset": {"data_folder": str(tmp_path), "format": "hdf5", "num_files_train": 1}}
    dataset = df.Dataset(config)
    assert len(dataset) == 6
    np.testing.assert_array_equal(dataset[3]["records_1"], IMAGES[3])
    assert dataset.format.payload == "records_0" and dataset[5]["labels"] == 5
    assert path.endswith(dataset.format.suffixes)


def test_samples_that_share_a_chunk_unpack_it_once(tmp_path):
    path = write_file(tmp_path / "f.h5", x=(IMAGES, {"chunks": (6, 40, 30), "compression": "gzip"}))
    with df.Loader(df.Dataset.from_files([path]), batch_size=1, shuffle=True, threads=2) as loader:
        for _ in loader:
            pass
        stats = loader.stats()
    assert (stats["cache_misses"], stats["cache_hits"]) == (1, 5)
    assert stats["bytes_read"] < 1.1 * os.path.getsize(path)


def test_nothing_of_the_budget_is_kept_for_files_whose_samples_lie_apart(tmp_path):
    chunks = {None: False, (1, 40, 30): False, (1, 9, 9): False, (2, 40, 30): True}
    for side, shared in chunks.items():
        options = {} if side is None else {"chunks": side, "compression": "gzip"}
        path = write_file(tmp_path / "f.h5", x=(IMAGES, options))
        with df.Loader(df.Dataset.from_files([path])) as loader:
            assert (loader.cache_bytes > 0) is shared


def test_a_sample_may_be_asked_for_twice_at_once(tmp_path):
    for options in ({}, {"chunks": (1, 40, 30), "compression": "gzip"}, {"scaleoffset": 3}):
        path = write_file(tmp_path / "f.h5", x=(IMAGES, options), y=np.arange(6))
        batch = df.Dataset.from_files([path]).batch([2, 0, 2, 2, 5])
        assert batch["y"].tolist() == [2, 0, 2, 2, 5]
        with h5py.File(path) as file:
            np.testing.assert_array_equal(batch["x"], file["x"][...][[2, 0, 2, 2, 5]])


def test_a_file_with_another_number_of_samples_is_named(tmp_path):
    paths = [write_file(tmp_path / f"{i}.h5", x=IMAGES[: 6 - i]) for i in range(2)]
    with pytest.raises(SampleError, match=r"1\.h5"):
        read_all(paths)


def test_datasets_that_disagree_about_the_number_of_samples_are_named(tmp_path):
    path = write_file(tmp_path / "f.h5", x=IMAGES, y=np.arange(5))
    with pytest.raises(SampleError, match="'x': 6.*'y': 5"):
        len(df.Dataset.from_files([path]))


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    path = write_file(tmp_path / "f.h5", x=IMAGES)
    for fields in (["z"], ["x/z"], ["z/x"]):
        with pytest.raises(MemberError, match=rf"'{fields[0]}'.*it has x"):
            len(df.Dataset.from_files([path], fields=fields))


def test_a_scalar_has_no_axis_for_samples(tmp_path):
    path = write_file(tmp_path / "f.h5", x=IMAGES, version=3)
    with pytest.raises(SampleError, match="'version' is a scalar"):
        len(df.Dataset.from_files([path]))
    assert len(df.Dataset.from_files([path], fields="x")) == 6


def test_a_file_that_was_rewritten_between_two_passes_is_read_anew(tmp_path):
    path = write_file(tmp_path / "f.h5", x=IMAGES)
    with df.Loader(df.Dataset.from_files([path]), batch_size=6) as loader:
        assert all((batch["x"] == IMAGES).all() for batch in loader)
        write_file(tmp_path / "f.h5", x=(IMAGES + 1, PACKED))
        assert all((batch["x"] == IMAGES + 1).all() for batch in loader)


def test_a_file_that_changes_all_the_time_is_never_read_wrong(tmp_path):
    path = tmp_path / "f.h5"
    write_file(path, x=np.zeros((6, 9, 1000), "i4"))
    end = threading.Event()

    def rewrite():
        for i in range(10**9):
            if end.is_set():
                return
            write_file(tmp_path / "new", x=(np.full((6, 9, 1000), i, "i4"), PACKED if i % 2 else {}))
            os.replace(tmp_path / "new", path)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        with df.Loader(df.Dataset.from_files([str(path)]), batch_size=6) as loader:
            for _ in range(60):
                try:
                    for batch in loader:
                        assert (batch["x"] == batch["x"].flat[0]).all()
                except FileChangedError:
                    pass
    finally:
        end.set()
        writer.join()


def test_data_sets_and_loaders_can_be_pickled(tmp_path):
    path = write_file(tmp_path / "f.h5", x=(IMAGES, PACKED))
    dataset = pickle.loads(pickle.dumps(df.Dataset.from_files([path])))
    np.testing.assert_array_equal(dataset[4]["x"], IMAGES[4])


def test_without_h5py_the_error_names_the_extra(tmp_path):
    path = write_file(tmp_path / "f.h5", x=IMAGES)
    program = (
        "import sys; sys.modules['h5py'] = None\n"
        "import dlio_fast as df\n"
        "try: len(df.Dataset.from_files([sys.argv[1]]))\n"
        "except df.errors.MissingDependencyError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert "pip install 'dlio-fast[hdf5]'" in shown.stdout
    assert issubclass(MissingDependencyError, ImportError)
