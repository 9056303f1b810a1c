"""Conversions between every two formats."""

import numpy as np
import pytest

from dlio_fast import Dataset
from dlio_fast.errors import ConfigError, DataError
from dlio_fast.formats import PAYLOAD, format_named, format_names
from dlio_fast.formats.generating import generated_formats
from dlio_fast.workload.convert import convert
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree

IMAGES = ("jpeg", "png")
FLAT = ("csv",)
"""Formats that keep no shape, even under a configuration that says it."""
SOURCES = format_names()
TARGETS = [name for name in SOURCES if name != "synthetic"]
# A row of CSV is no image.
PAIRS = [(old, new) for old in SOURCES for new in TARGETS if old != "csv" or new not in IMAGES]


def source_config(format, **dataset):
    """A data set of 8 samples (6, 9) of uint8, in 2 files where a file can hold several."""
    files, samples = (8, 1) if format in IMAGES else (2, 4)
    what = {
        "record_dims": [6, 9],
        "record_element_type": "uint8",
        "num_files_train": files,
        "num_samples_per_file": samples,
        **dataset,
    }
    return config(format=format, **what)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_format_becomes_every_other(tmp_path, old, new):
    cfg = source_config(old)
    if old in generated_formats():
        generate(cfg, data_folder=tmp_path / "source")
    else:
        generate(source_config("npz"), data_folder=tmp_path / "npz")
        convert(tmp_path / "npz", tmp_path / "source", format=old, fields=["x"])
    source = Dataset(cfg, data_folder=tmp_path / "source", fields=PAYLOAD)
    [payload] = source[0]
    result = convert(
        tmp_path / "source", tmp_path / "target", config=cfg, format=new, fields=[payload],
        lossy=new == "jpeg", flatten=new in FLAT, samples_per_file=1 if new in IMAGES else 2,
    )  # fmt: skip
    assert (result.samples, result.files) == (8, 8 if new in IMAGES else 4)
    before = [s[payload] for s in source]
    target = format_named(new).configured(cfg)
    after = Dataset.from_files(tmp_path / "target/train", format=target, sample_axis=-1, fields=PAYLOAD)
    after = [next(iter(s.values())) for s in after]
    assert len(before) == len(after) == 8
    for a, b in zip(before, after, strict=True):
        assert (b.dtype, b.size) == (a.dtype, a.size)
        if new not in FLAT and old not in FLAT:
            assert a.shape == b.shape
        if new != "jpeg":
            np.testing.assert_array_equal(a.reshape(-1), b.reshape(-1))
    again = convert(
        tmp_path / "source", tmp_path / "target", config=cfg, format=new, fields=[payload],
        lossy=new == "jpeg", flatten=new in FLAT, samples_per_file=1 if new in IMAGES else 2,
    )  # fmt: skip
    assert (again.files, again.kept) == (0, result.files)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("new", [name for name in TARGETS if name not in IMAGES])
def test_the_element_type_stays(tmp_path, new, dtype):
    cfg = source_config("npz", record_element_type=dtype)
    generate(cfg, data_folder=tmp_path / "source")
    convert(
        tmp_path / "source", tmp_path / "target", format=new, fields=["x"], flatten=new in FLAT
    )  # which compares
    assert len(tree(tmp_path / "target")) >= 2


def test_text_has_as_many_digits_as_it_takes(tmp_path):
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**64, (64, 100), np.uint64)
    (tmp_path / "source").mkdir()
    np.save(tmp_path / "source/0.npy", bits.view(np.float64))
    convert(tmp_path / "source", tmp_path / "csv", format="csv", sample_axis=0)
    found = np.loadtxt(tmp_path / "csv/0.csv", delimiter=",")
    np.testing.assert_array_equal(found, bits.view(np.float64))


@pytest.mark.parametrize(
    ("new", "dtype", "shape", "words"),
    [
        ("png", "float32", (4, 4), "no image"),
        ("png", "uint8", (4,), "no image"),
        ("png", "uint8", (4, 4, 5), "no image"),
        ("jpeg", "uint8", (4, 4), "exact values"),
        ("csv", "uint8", (4, 4), "make it flat"),
        ("csv", "complex64", (4,), "no columns of complex64"),
        ("synthetic", "uint8", (4, 4), "cannot be converted to"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_made(tmp_path, new, dtype, shape, words):
    (tmp_path / "source").mkdir()
    np.save(tmp_path / "source/0.npy", np.zeros(shape, dtype))
    with pytest.raises(ConfigError, match=words):
        convert(tmp_path / "source", tmp_path / "target", format=new)
    assert not (tmp_path / "target").exists()


def test_features_of_every_kind_go_there_and_back(tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "source").mkdir()
    for i in range(3):
        np.savez(
            tmp_path / f"source/{i}.npz",
            x=rng.random((3, 4)), y=np.int64(-i), weights=rng.random(5, np.float32),
            counts=rng.integers(-(2**63), 2**63, 7), rows=rng.integers(0, 9, (2, 3), np.uint8),
            name=np.full(6, i, np.uint8),
        )  # fmt: skip
    convert(tmp_path / "source", tmp_path / "records", format="tfrecord", files=1)
    cfg = config(format="tfrecord", record_dims=[3, 4], record_element_type="float64")
    convert(tmp_path / "records", tmp_path / "npz", format="npz", samples_per_file=1, config=cfg)
    for i in range(3):
        a, b = np.load(tmp_path / f"source/{i}.npz"), np.load(tmp_path / f"npz/img_{i}_of_3.npz")
        assert {n: (v.dtype, v.tolist()) for n, v in a.items()} == {
            n: (v.dtype, v[..., 0].tolist()) for n, v in b.items()
        }
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other/0.npz", x=1, z=np.zeros(3))
    with pytest.raises(ConfigError, match="'z', float64"):
        convert(tmp_path / "other", tmp_path / "refused", format="tfrecord")


def test_what_the_target_cannot_give_back_is_told(tmp_path):
    (tmp_path / "source").mkdir()
    np.savez(tmp_path / "source/0.npz", x=np.zeros(4, np.uint8), one=np.zeros(1, np.float32))
    with pytest.raises(
        DataError, match=r"'one' of sample 0 is float32 \(1,\) and is read back as float32 \(\)"
    ):
        convert(tmp_path / "source", tmp_path / "records", format="tfrecord")


@pytest.mark.parametrize("address", ["{}", "direct://{}"])
@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_h5py_reads_what_was_converted(tmp_path, compression, address):
    import h5py

    generate(config(num_samples_per_file=5, record_length_bytes=90_000), data_folder=tmp_path / "source")
    target = address.format(tmp_path / "hdf5")
    result = convert(tmp_path / "source", target, format="hdf5", compression=compression)
    assert result.direct == ("direct" in address) or "O_DIRECT" in result.fallback_reason
    for i in range(3):
        expected = np.load(tmp_path / f"source/train/img_{i}_of_3.npz")
        with h5py.File(tmp_path / f"hdf5/train/img_{i}_of_3.hdf5") as file:
            assert sorted(file) == ["labels", "records_0"]
            np.testing.assert_array_equal(file["records_0"][:], np.moveaxis(expected["x"], -1, 0))
            np.testing.assert_array_equal(file["labels"][:], expected["y"])
            assert file["records_0"].compression == (None if compression == "none" else compression)
            assert compression != "none" or file["records_0"].id.get_offset() % 4096 == 0


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "lz4", "zstd"])
def test_pyarrow_reads_what_was_converted(tmp_path, compression):
    from pyarrow import parquet

    generate(config(num_samples_per_file=5, record_dims=[6, 9]), data_folder=tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "parquet", format="parquet", compression=compression)
    for i in range(3):
        expected = np.load(tmp_path / f"source/train/img_{i}_of_3.npz")
        table = parquet.read_table(tmp_path / f"parquet/train/img_{i}_of_3.parquet")
        assert table["data"].to_pylist() == np.moveaxis(expected["x"], -1, 0).tolist()
        assert table["label"].to_pylist() == expected["y"].tolist()
