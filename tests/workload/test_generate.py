"""Generated data sets: DLIO's names, sizes and layout, and the same bytes whoever writes them."""

import errno
import os
import resource
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_fast import _core
from dlio_fast.errors import ConfigError, DiskFullError, DlioFastError
from dlio_fast.formats.layout import npz_layout
from dlio_fast.workload.generate import generate
from dlio_fast.workload.place import LocalPlace
from dlio_fast.workload.plan import FilePlan, Inventory
from tests.workload.files import but_for_zip_versions, config, payload_offset, tree, x_of

DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64 complex64 complex128 >i4"
).split()


# Names and sizes


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_names_are_padded_to_the_width_of_the_count(tmp_path, suffix):
    generate(config(format=suffix, num_files_train=16, num_files_eval=3), data_folder=tmp_path)
    assert sorted(tree(tmp_path)) == [
        *(f"train/img_{i:02d}_of_16.{suffix}" for i in range(16)),
        *(f"valid/img_{i}_of_3.{suffix}" for i in range(3)),
    ]


def test_files_go_round_the_subfolders_and_keep_their_numbers(tmp_path):
    cfg = config(
        num_files_train=12, num_subfolders_train=10, num_subfolders_eval=1, num_files_eval=1, file_prefix="s"
    )
    generate(cfg, data_folder=tmp_path)
    assert sorted(tree(tmp_path)) == sorted(
        [*(f"train/{i % 10:02d}/s_{i:02d}_of_12.npz" for i in range(12)), "valid/s_0_of_1.npz"]
    )


def test_the_folder_of_evaluation_files_is_always_there(tmp_path):
    generate(config(), data_folder=tmp_path / "new")
    assert sorted(os.listdir(tmp_path / "new")) == ["train", "valid"]
    assert os.listdir(tmp_path / "new/valid") == []


def test_a_4_mib_sample_has_the_size_that_dlio_gives_it(tmp_path):
    generate(
        config(num_files_train=1, record_length_bytes=4 << 20, align_payload=False), data_folder=tmp_path
    )
    assert (tmp_path / "train/img_0_of_1.npz").stat().st_size == 4194802


def test_ragged_sizes_are_those_of_dlio(tmp_path):
    cfg = config(
        num_files_train=3, num_files_eval=1, record_length_bytes=2828486, record_length_bytes_stdev=71311
    )
    generate(cfg, data_folder=tmp_path)
    shapes = [x_of(path).shape for path in sorted(tmp_path.rglob("*.npz"))]
    assert shapes == [(1709, 1696, 1), (1648, 1680, 1), (1694, 1665, 1), (1686, 1683, 1)]


def test_the_golden_sizes_of_unet3d_come_out(tmp_path):
    cfg = config(num_files_train=4, record_length_bytes=146600628, record_length_bytes_stdev=68341808)
    plan = FilePlan(cfg, LocalPlace(str(tmp_path)))
    assert [plan.generator.payload_nbytes()[i] for i in range(4)] == [
        224093125,
        93582835,
        139625640,
        159581528,
    ]


# Layout


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    dims=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    n_samples=st.integers(1, 4),
    suffix=st.sampled_from(["npz", "npy"]),
)
def test_files_are_those_that_numpy_writes(tmp_path_factory, dtype, dims, n_samples, suffix):
    folder = tmp_path_factory.mktemp("layout")
    what = {
        "record_element_type": dtype,
        "record_dims": dims,
        "num_samples_per_file": n_samples,
        "format": suffix,
    }
    generate(config(num_files_train=1, align_payload=False, **what), data_folder=folder / "plain")
    generate(config(num_files_train=1, **what), data_folder=folder / "aligned")
    plain, aligned = (folder / kind / f"train/img_0_of_1.{suffix}" for kind in ("plain", "aligned"))

    x = x_of(plain)
    assert (x.shape, x.dtype) == ((*dims, n_samples), np.dtype(dtype))
    reference = folder / f"reference.{suffix}"
    if suffix == "npz":
        np.savez(reference, x=x, y=np.zeros(n_samples, np.int64))
        assert zipfile.ZipFile(plain).testzip() is None
        assert zipfile.ZipFile(aligned).testzip() is None
        y = np.load(aligned)["y"]
        assert (y.dtype, y.tolist()) == (np.int64, [0] * n_samples)
    else:
        np.save(reference, x)
    assert but_for_zip_versions(plain) == but_for_zip_versions(reference)

    np.testing.assert_array_equal(x_of(aligned), x)
    assert payload_offset(aligned) % 4096 == 0
    assert plain.stat().st_size < aligned.stat().st_size <= plain.stat().st_size + 4096


@pytest.mark.parametrize("nbytes", [2**31 - 200, 2**31 - 130, 2**31, 2**32 - 300, 2**32 + 5])
@pytest.mark.parametrize("align", [False, True])
def test_the_directory_of_a_huge_file_is_found(tmp_path, nbytes, align):
    layout = npz_layout((nbytes, 1), np.dtype("uint8"), 1, align)
    path = tmp_path / "huge.npz"
    with path.open("wb") as file:  # sparse: the payload is a hole
        file.write(layout.head)
        file.seek(len(layout.head) + nbytes)
        file.write(layout.tail)
    assert path.stat().st_size == layout.nbytes
    with zipfile.ZipFile(path) as archive:
        x, y = archive.infolist()
        assert (x.filename, x.file_size, x.compress_size) == ("x.npy", nbytes + 128, nbytes + 128)
        assert archive.open(x).read(6) == b"\x93NUMPY"
        assert np.load(archive.open(y)).tolist() == [0]
        assert y.header_offset == len(layout.head) + nbytes
    assert payload_offset(path) == len(layout.head)


# Contents


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_uniform_between_0_and_1(tmp_path, dtype):
    generate(
        config(num_files_train=1, record_length_bytes=65536, record_element_type=dtype), data_folder=tmp_path
    )
    x = x_of(tmp_path / "train/img_0_of_1.npz").astype(np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    np.testing.assert_allclose(np.histogram(x, 8, (0, 1))[0] / x.size, 1 / 8, atol=0.01)


def test_integers_have_their_full_range_and_booleans_both_values(tmp_path):
    for dtype, count in (("uint8", 256), ("bool", 2)):
        folder = tmp_path / dtype
        generate(
            config(num_files_train=1, record_length_bytes=65536, record_element_type=dtype),
            data_folder=folder,
        )
        values, counts = np.unique(x_of(folder / "train/img_0_of_1.npz").view("uint8"), return_counts=True)
        assert values.tolist() == list(range(count))
        assert counts.min() > 0.7 * 65536 / count


def test_contents_are_the_random_stream_of_seed_and_file_number(tmp_path):
    generate(config(num_files_train=2, num_files_eval=2, seed=77), data_folder=tmp_path)
    for index, path in enumerate(sorted(tmp_path.rglob("*.npz"))):  # evaluation files count on
        expected = bytearray(100 * 100)
        _core.fill(expected, 77, index)
        assert x_of(path).tobytes() == expected


def test_every_file_is_different_and_so_is_every_seed(tmp_path):
    for seed in (1, 2):
        generate(config(num_files_train=20, num_files_eval=20, seed=seed), data_folder=tmp_path / str(seed))
    assert len(set(tree(tmp_path).values())) == 80


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("align", [True, False])
def test_threads_ranks_and_direct_io_do_not_change_a_byte(tmp_path, suffix, align):
    cfg = config(
        format=suffix, align_payload=align, num_files_train=7, num_files_eval=4, record_element_type="int16",
        record_length_bytes=3_000_000, record_length_bytes_stdev=500_000,
    )  # fmt: skip
    generate(cfg, data_folder=tmp_path / "one", threads=1)
    generate(cfg, data_folder=tmp_path / "five", threads=5)
    result = generate(cfg, data_folder=f"direct://{tmp_path}/direct", threads=3)
    assert result.direct or result.fallback_reason
    parts = [generate(cfg, data_folder=tmp_path / "ranks", rank=rank, world_size=3) for rank in range(3)]
    assert [part.files for part in parts] == [4, 4, 3]
    expected = tree(tmp_path / "one")
    assert len(expected) == 11
    for other in ("five", "direct", "ranks"):
        assert tree(tmp_path / other) == expected


def test_a_rank_writes_its_share_of_training_and_evaluation_files_together(tmp_path):
    generate(config(num_files_train=3, num_files_eval=3), data_folder=tmp_path, rank=1, world_size=2)
    assert sorted(tree(tmp_path)) == ["train/img_1_of_3.npz", "valid/img_0_of_3.npz", "valid/img_2_of_3.npz"]


def test_the_result_counts_what_was_done(tmp_path):
    cfg = config(num_files_train=3, num_files_eval=2)
    result = generate(cfg, data_folder=f"file://{tmp_path}", threads=2)
    assert (result.files, result.skipped, result.threads, result.direct) == (5, 0, 2, False)
    assert result.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.npz"))
    assert result.gb_per_second == pytest.approx(result.bytes / result.seconds / 1e9)


# Compression


def test_compressed_files_are_those_of_savez_compressed(tmp_path):
    what = {"record_element_type": "bool", "record_length_bytes": 3 << 20, "num_samples_per_file": 2}
    generate(config(**what), data_folder=tmp_path / "plain")
    result = generate(config(**what, compression="zip"), data_folder=f"direct://{tmp_path}/zip")
    assert result.direct or "O_DIRECT" in result.fallback_reason
    for path in sorted((tmp_path / "plain").rglob("*.npz")):
        x = x_of(path)
        np.savez_compressed(tmp_path / "reference.npz", x=x, y=np.zeros(2, np.int64))
        compressed = tmp_path / "zip/train" / path.name
        assert but_for_zip_versions(compressed) == but_for_zip_versions(tmp_path / "reference.npz")
        assert compressed.stat().st_size < path.stat().st_size / 4


# What cannot be done


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"format": "hdf5_opt"}, "dataset.format: 'hdf5_opt' cannot be generated; what can: .*npz, npy"),
        ({"compression": "gzip"}, "dataset.compression: 'gzip' cannot be generated; what can: none, zip"),
        ({"format": "npy", "compression": "zip"}, "dataset.compression"),
        ({"record_element_type": "float128"}, "dataset.record_element_type"),
        ({"record_element_type": ">f4"}, "dataset.record_element_type"),
    ],
)
def test_what_cannot_be_generated_is_refused_before_anything_is_made(tmp_path, dataset, said):
    with pytest.raises(ConfigError, match=said):
        generate(config(**dataset), data_folder=tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("address", ["file://", "s3://", "az:///data", "nosuchscheme://"])
def test_an_address_that_leads_nowhere_is_refused(address):
    with pytest.raises(ConfigError, match=address):
        generate(config(), data_folder=address)


def test_a_rank_lies_within_its_world(tmp_path):
    with pytest.raises(ValueError, match="rank 2"):
        generate(config(), data_folder=tmp_path, rank=2, world_size=2)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DiskFullError, match=r"3 files needs 3000000000\.\d+ GB more, .* GB free") as caught:
        generate(config(record_dims=[10**9, 10**9]), data_folder=tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DiskFullError):
        generate(config(record_dims=[10**9, 10**9]), data_folder=tmp_path / "new/folder")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_does_not_know_its_size_is_not_asked_for_room():
    assert os.statvfs("/proc").f_blocks == 0
    FilePlan(config(record_dims=[10**9, 10**9]), LocalPlace("/proc")).check_room(Inventory(), 1)


@pytest.mark.parametrize("address", ["{}", "direct://{}"])
def test_a_write_that_fails_names_the_file_and_leaves_nothing_of_it(tmp_path, address):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    cfg = config(num_files_train=4, record_length_bytes=3 << 20, record_length_bytes_stdev=1 << 20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_500_000, hard))
    try:
        with pytest.raises(OSError, match="img_._of_4.npz") as caught:
            generate(cfg, data_folder=address.format(tmp_path), threads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert isinstance(caught.value, DlioFastError)
    assert all(
        path.suffix == ".npz" and np.load(path)["x"].size for path in tmp_path.rglob("*") if path.is_file()
    )
    assert os.path.basename(caught.value.filename) not in os.listdir(tmp_path / "train")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file") as caught:
        generate(config(), data_folder=tmp_path / "file/data")
    assert isinstance(caught.value, DlioFastError)


def test_a_folder_in_the_way_of_a_file_is_named_and_stays(tmp_path):
    (tmp_path / "train/img_1_of_3.npz").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="img_1_of_3.npz"):
        generate(config(), data_folder=tmp_path)
    assert (tmp_path / "train/img_1_of_3.npz").is_dir()
    assert [name for name in os.listdir(tmp_path / "train") if name.endswith(".tmp")] == []


# Progress


def test_progress_is_shown_only_on_a_terminal_or_when_asked_for(tmp_path, capfd):
    generate(config(), data_folder=tmp_path)
    assert capfd.readouterr() == ("", "")
    generate(config(), data_folder=tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "generate" in err
    assert "B/s" in err
