"""Converted data sets: the same samples in other files, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_fast import Dataset
from dlio_fast.errors import ConfigError, DataError, DiskFullError, SampleError
from dlio_fast.formats import format_named, register
from dlio_fast.formats.npz import NpzFormat, NpzPacker
from dlio_fast.workload.convert import convert
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree


def samples_of(files, **options):
    """All samples, as lists of (dtype, shape, bytes) a field."""
    dataset = Dataset.from_files(files, **options)
    return [
        {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in sample.items()}
        for sample in dataset
    ]


@pytest.fixture
def source(tmp_path):
    """DLIO's folder of 6 NPZ files of 4 samples for training, and 2 for evaluation."""
    cfg = config(num_files_train=6, num_files_eval=2, num_samples_per_file=4, record_dims=[40, 50])
    generate(cfg, data_folder=tmp_path / "source")
    return tmp_path / "source"


def train(folder, **options):
    return samples_of(folder / "train", sample_axis=-1, **options)


# The same samples


def test_a_split_stays_a_split_and_files_keep_their_names(tmp_path, source):
    result = convert(source, tmp_path / "npy", format="npy", fields=["x"])
    assert (result.files, result.kept, result.samples, result.verified) == (8, 0, 32, True)
    assert sorted(tree(tmp_path / "npy")) == [
        *(f"train/img_{i}_of_6.npy" for i in range(6)),
        *(f"valid/img_{i}_of_2.npy" for i in range(2)),
    ]
    assert train(tmp_path / "npy") == train(source, fields=["x"])


def test_there_and_back_again_gives_the_same_bytes(tmp_path, source):
    convert(source, tmp_path / "npz", fields=["x"], align=False)
    convert(tmp_path / "npz", tmp_path / "npy", format="npy")
    convert(tmp_path / "npy", tmp_path / "again", format="npz", align=False)
    assert tree(tmp_path / "again") == tree(tmp_path / "npz")


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from("bool uint8 <i4 >i4 float16 float64 complex64 S5 <U3 M8[s]".split()),
    shape=st.lists(st.integers(0, 5), max_size=3),
    names=st.lists(st.text("abxyzÄ./", min_size=1, max_size=4), min_size=1, max_size=3, unique=True),
    n_files=st.integers(1, 4),
    align=st.booleans(),
    compression=st.sampled_from(["none", "zip"]),
)
def test_whatever_numpy_writes_is_converted_and_numpy_reads_it(
    tmp_path_factory, dtype, shape, names, n_files, align, compression
):
    folder = tmp_path_factory.mktemp("any")
    rng = np.random.default_rng(n_files)
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    (folder / "source").mkdir()
    written = []
    for i in range(n_files):
        data = rng.integers(0, 2, nbytes, np.uint8).tobytes() if "U" not in dtype else bytes(nbytes)
        arrays = {name: np.frombuffer(data, dtype).reshape(shape) for name in names}
        with zipfile.ZipFile(folder / f"source/{i}.npz", "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.save(member, array)
        written.append(arrays)
    convert(folder / "source", folder / "target", align=align, compression=compression)
    for i, arrays in enumerate(written):
        with np.load(folder / f"target/{i}.npz") as found:
            assert sorted(found.files) == sorted(arrays)
            for name, array in arrays.items():
                assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
                assert found[name].tobytes() == array.tobytes()
        assert zipfile.ZipFile(folder / f"target/{i}.npz").testzip() is None


def test_the_aligned_form_begins_every_large_payload_on_a_page(tmp_path):
    (tmp_path / "source").mkdir()
    arrays = {
        name: np.random.default_rng(1).random(size) for name, size in (("a", 3), ("b", 999), ("c", 512))
    }
    np.savez(tmp_path / "source/0.npz", **arrays)
    convert(tmp_path / "source", tmp_path / "aligned")
    data = (tmp_path / "aligned/0.npz").read_bytes()
    offsets = {name: data.index(arrays[name].tobytes()) % 4096 for name in arrays}
    assert (offsets["b"], offsets["c"]) == (0, 0)
    assert (tmp_path / "aligned/0.npz").stat().st_size < 3 * 4096 + sum(a.nbytes for a in arrays.values())


@pytest.mark.parametrize(
    "how", [{"files": 8}, {"samples_per_file": 12}, {"samples_per_file": 1}, {"files": 1}]
)
def test_samples_are_regrouped_in_their_order(tmp_path, source, how):
    result = convert(source / "train", tmp_path / "npz", sample_axis=-1, **how)
    assert result.files == how.get("files", 24 // how.get("samples_per_file", 24))
    assert samples_of(tmp_path / "npz", sample_axis=-1) == train(source)


def test_samples_that_cannot_be_divided_like_that_are_refused(tmp_path, source):
    with pytest.raises(ConfigError, match="24 samples cannot be divided into files of 5"):
        convert(source, tmp_path / "npz", samples_per_file=5)
    with pytest.raises(ConfigError, match="into 7 files"):
        convert(source, tmp_path / "npz", files=7)
    assert not (tmp_path / "npz").exists()


def test_files_whose_new_names_would_change_their_order_are_numbered(tmp_path):
    for folder, value in (("b", 1), ("a", 2), ("c", 3)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", np.full(3, value))
    files = [tmp_path / folder / "x.npy" for folder in "bac"]
    convert(files, tmp_path / "npz", format="npz")
    assert sorted(os.listdir(tmp_path / "npz")) == [f"img_{i}_of_3.npz" for i in range(3)]
    assert [int(np.load(tmp_path / f"npz/img_{i}_of_3.npz")["x"][0]) for i in range(3)] == [1, 2, 3]


def test_subfolders_stay(tmp_path):
    cfg = config(num_files_train=5, num_subfolders_train=2)
    generate(cfg, data_folder=tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "npy", format="npy", fields=["x"])
    names = [name for name in tree(tmp_path / "npy")]
    assert sorted(names) == sorted(f"train/{i % 2}/img_{i}_of_5.npy" for i in range(5))
    assert train(tmp_path / "npy") == train(tmp_path / "source", fields=["x"])


def test_files_of_several_sizes_are_converted_one_by_one(tmp_path):
    cfg = config(num_files_train=4, record_length_bytes_stdev=5000)
    generate(cfg, data_folder=tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "npy", format="npy", fields=["x"])
    assert train(tmp_path / "npy") == train(tmp_path / "source", fields=["x"])
    with pytest.raises(SampleError, match="differ"):
        convert(tmp_path / "source", tmp_path / "one", format="npy", fields=["x"], files=1)


def test_arrays_are_made_flat_where_it_is_asked_for(tmp_path, source):
    convert(source / "train", tmp_path / "npy", format="npy", fields=["x"], sample_axis=-1, flatten=True)
    flat = [sample["x"] for sample in samples_of(tmp_path / "npy", sample_axis=-1)]
    assert flat == [(dtype, (2000,), data) for dtype, _, data in (sample["x"] for sample in train(source))]


def test_it_writes_and_reads_back_past_the_page_cache(tmp_path, source):
    result = convert(f"direct://{source}", f"direct://{tmp_path}/npz", compression="zip")
    assert result.direct or "O_DIRECT" in result.fallback_reason
    assert train(tmp_path / "npz") == train(source)


# What is refused


def test_several_fields_do_not_go_into_a_format_of_one(tmp_path, source):
    with pytest.raises(ConfigError, match="holds one field: choose it of x, y"):
        convert(source, tmp_path / "npy", format="npy")
    assert not (tmp_path / "npy").exists()


def test_the_source_is_never_written_to(tmp_path, source):
    before = tree(source)
    os.symlink(source, tmp_path / "link")
    for target in (source, tmp_path / "link", f"{source}/train/../"):
        with pytest.raises(ConfigError, match="convert to another folder"):
            convert(source, target)
    with pytest.raises(ConfigError, match="convert to another folder"):
        convert(sorted((source / "train").iterdir()), source / "train", format="npy", fields=["x"])
    assert tree(source) == before


def test_a_folder_without_data_is_told(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ConfigError, match="no files to convert"):
        convert(tmp_path / "source", tmp_path / "target")


def test_a_bad_file_of_the_source_is_named_and_what_was_converted_stays(tmp_path, source):
    bad = source / "train/img_3_of_6.npz"
    os.truncate(bad, 100)
    with pytest.raises(DataError, match="img_3_of_6.npz"):
        convert(source, tmp_path / "npz", threads=1)
    assert all(name.endswith(".npz") for name in tree(tmp_path / "npz"))
    assert "train/img_3_of_6.npz" not in tree(tmp_path / "npz")


def test_a_disk_without_the_room_is_told_before_anything_is_written(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1, [("a", "u1", (1 << 20,))]))
    with pytest.raises(DiskFullError, match="needs .* GB more"):
        disk = os.statvfs(tmp_path)
        huge = disk.f_bavail * disk.f_frsize + (1 << 30)
        with open(tmp_path / "huge.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (huge,)}
            )
            try:
                os.truncate(tmp_path / "huge.npy", file.tell() + huge)  # a hole
            except OSError:
                pytest.skip("the file system holds no file so large")
        convert(tmp_path / "huge.npy", tmp_path / "npz", format="npz")
    assert not (tmp_path / "npz").exists()


# Verifying


class BadPacker(NpzPacker):
    """Swaps two samples."""

    def pack(self, samples, file):
        super().pack({name: values[::-1] for name, values in samples.items()}, file)


class BadFormat(NpzFormat):
    def packer(self, fields, packing):
        return BadPacker(fields, packing, self.name)


@pytest.fixture
def bad_npz():
    good = format_named("npz")
    register(BadFormat())
    yield
    register(good)


def test_a_file_that_gives_back_other_values_is_told_and_removed(tmp_path, source, bad_npz):
    with pytest.raises(SampleError, match="img_._of_6.npz: 'x' of sample 0 is read back with other values"):
        convert(source, tmp_path / "npz")
    assert tree(tmp_path / "npz").keys() <= {f"train/img_{i}_of_6.npz" for i in range(6)}
    convert(source, tmp_path / "unverified", verify=False)
    assert len(tree(tmp_path / "unverified")) == 8


# Going on


@pytest.mark.parametrize("compression", ["none", "zip"])
def test_complete_files_are_kept_and_others_written_anew(tmp_path, source, compression):
    target = tmp_path / "npz"
    convert(source, target, compression=compression)
    expected = tree(target)
    flipped, short, gone = (target / f"train/img_{i}_of_6.npz" for i in range(3))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    os.truncate(short, short.stat().st_size - 1)
    gone.unlink()
    result = convert(source, target, compression=compression)
    assert (result.files, result.kept) == (3, 5)
    assert tree(target) == expected


def test_another_form_of_the_same_samples_is_not_taken_for_complete(tmp_path, source):
    convert(source, tmp_path / "npz")
    assert convert(source, tmp_path / "npz", align=False).files == 8
    assert convert(source, tmp_path / "npz", align=False).kept == 8


def test_files_of_another_conversion_bring_a_warning(tmp_path, source):
    convert(source / "train", tmp_path / "npz", sample_axis=-1)
    with pytest.warns(UserWarning, match="finds 9 files there, 3 are of this conversion"):
        convert(source / "train", tmp_path / "npz", sample_axis=-1, files=3)


def test_a_killed_conversion_leaves_whole_files_and_the_next_completes_it(tmp_path):
    generate(config(num_files_train=60, record_length_bytes=4 << 20), data_folder=tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "reference", format="npy", fields=["x"])
    expected = tree(tmp_path / "reference")
    command = [sys.executable, "-m", "dlio_fast", "convert", str(tmp_path / "source"), str(tmp_path / "npy")]
    folder = tmp_path / "npy/train"
    for blow in (signal.SIGKILL, signal.SIGINT):
        child = subprocess.Popen([*command, "--format", "npy", "--fields", "x"], stderr=subprocess.PIPE)
        while not folder.exists() or sum(name.endswith(".npy") for name in os.listdir(folder)) < 5:
            assert child.poll() is None, "the run ended before the moment came"
        child.send_signal(blow)
        child.communicate()
        left = tree(tmp_path / "npy")
        whole = {name: digest for name, digest in left.items() if name.endswith(".npy")}
        assert whole.items() <= expected.items()
        assert blow == signal.SIGKILL or whole == left
    result = convert(tmp_path / "source", tmp_path / "npy", format="npy", fields=["x"])
    assert (result.kept, result.files) == (len(whole), 60 - len(whole))
    assert tree(tmp_path / "npy") == expected
