"""The data set: which files it has, what a sample is, and single samples."""

import pickle
import threading

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ConfigError, MemberError, SampleError, UnsupportedError

from .files import numbered, write_files


@pytest.fixture
def samples():
    return numbered(5)


@pytest.fixture
def files(tmp_path, samples):
    return write_files(tmp_path / "data", samples, y=list(range(5)))


def values(dataset) -> list[np.ndarray]:
    return [dataset[i]["x"] for i in range(len(dataset))]


def assert_samples(dataset, samples) -> None:
    assert len(dataset) == len(samples)
    for ours, expected in zip(values(dataset), samples, strict=True):
        np.testing.assert_array_equal(ours, expected)


# -- which files --


@pytest.mark.parametrize("scheme", ["", "file://", "direct://"])
def test_files_are_named_by_a_list_a_folder_a_glob_or_one_path(tmp_path, files, samples, scheme):
    (tmp_path / "data/readme.md").write_text("no data")
    (tmp_path / "data/.hidden.npz").write_bytes(b"no data")
    assert_samples(df.Dataset.from_files([scheme + path for path in files]), samples)
    assert_samples(df.Dataset.from_files(f"{scheme}{tmp_path}/data"), samples)
    assert_samples(df.Dataset.from_files(f"{scheme}{tmp_path}/data/*.npz"), samples)
    assert_samples(df.Dataset.from_files(f"{scheme}{tmp_path}/**/f00[13].npz"), [samples[1], samples[3]])
    assert_samples(df.Dataset.from_files(scheme + files[2]), [samples[2]])


def test_paths_may_be_objects_and_come_from_a_generator(tmp_path, files, samples):
    assert_samples(df.Dataset.from_files(tmp_path / "data"), samples)
    assert_samples(df.Dataset.from_files(path for path in sorted((tmp_path / "data").iterdir())), samples)


def test_a_list_keeps_its_order_and_its_repetitions(files, samples):
    order = [3, 1, 1, 4]
    assert_samples(df.Dataset.from_files([files[i] for i in order]), [samples[i] for i in order])


@pytest.mark.parametrize("suffix", ["txt", "lst", "list", "manifest"])
@pytest.mark.parametrize("scheme", ["", "file://", "direct://"])
def test_a_manifest_lists_files_relative_to_itself_or_not(
    tmp_path, files, samples, suffix, scheme, monkeypatch
):
    manifest = tmp_path / f"files.{suffix}"
    manifest.write_text(f"data/f003.npz\r\n\n{files[0]}\n  \n./data/../data/f001.npz")
    assert_samples(df.Dataset.from_files(f"{scheme}{manifest}"), [samples[i] for i in (3, 0, 1)])
    monkeypatch.chdir(tmp_path / "data")
    assert_samples(df.Dataset.from_files(f"{scheme}../files.{suffix}"), [samples[i] for i in (3, 0, 1)])


def test_files_lie_in_a_folder_or_one_level_below(tmp_path, samples):
    write_files(tmp_path / "deep/1", samples[:3], "img_{}_a.npz")
    write_files(tmp_path / "deep/0", samples[3:], "img_{}_b.npz")
    names = [path.rpartition("/")[2] for path in df.Dataset.from_files(tmp_path / "deep").files]
    assert names == ["img_0_a.npz", "img_0_b.npz", "img_1_a.npz", "img_1_b.npz", "img_2_a.npz"]


def test_upper_case_suffixes_count(tmp_path, samples):
    (tmp_path / "F.NPZ").write_bytes(b"")
    path = write_files(tmp_path, samples[:1])[0]
    (tmp_path / "F.NPZ").write_bytes(open(path, "rb").read())
    assert_samples(df.Dataset.from_files(tmp_path), samples[:1] * 2)


def test_names_need_not_be_text(tmp_path, samples):
    folder = bytes(tmp_path) + b"/\xff\xfe"
    path = write_files(tmp_path, samples[:1])[0]
    (tmp_path / "manifest.txt").write_bytes(b"\xff\xfe.npz")
    with open(folder + b".npz", "wb") as copy:
        copy.write(open(path, "rb").read())
    assert_samples(df.Dataset.from_files(tmp_path), samples[:1] * 2)
    assert_samples(df.Dataset.from_files([folder + b".npz"]), samples[:1])
    assert_samples(df.Dataset.from_files(tmp_path / "manifest.txt"), samples[:1])


def test_a_path_that_leads_nowhere_is_an_error_at_once(tmp_path, files):
    for missing in (tmp_path / "missing", tmp_path / "*.npz", f"direct://{tmp_path}/missing.npz"):
        with pytest.raises(FileNotFoundError, match="no such file, folder or match"):
            df.Dataset.from_files(missing)
    with pytest.raises(UnsupportedError, match="all direct:// or none"):
        df.Dataset.from_files([files[0], f"direct://{files[1]}"])


def test_no_files_are_no_samples(tmp_path):
    for dataset in (df.Dataset.from_files([]), df.Dataset.from_files(tmp_path)):
        assert len(dataset) == 0 and list(dataset) == []
        with pytest.raises(IndexError):
            dataset[0]
        with pytest.raises(FileNotFoundError, match="no files"):
            dataset.spec  # noqa: B018


# -- the format --


def test_the_format_follows_the_first_files_suffix_unless_it_is_given(tmp_path, samples):
    npz = write_files(tmp_path / "a", samples, "f{}.npz")
    npy = write_files(tmp_path / "b", samples, "f{}.npy")
    assert df.Dataset.from_files(npz).format.name == "npz"
    assert df.Dataset.from_files(npy).format.name == "npy"
    assert_samples(df.Dataset.from_files(npy), samples)
    odd = write_files(tmp_path / "c", samples, "f{}.npy")
    renamed = [tmp_path / f"c/{i}.data" for i in range(len(odd))]
    for path, new in zip(odd, renamed, strict=True):
        (tmp_path / path).rename(new)
    with pytest.raises(ConfigError, match=r"0\.data: the suffix names no supported format .*format="):
        len(df.Dataset.from_files(renamed))
    assert_samples(df.Dataset.from_files(renamed, format="npy"), samples)
    with pytest.raises(ConfigError, match="'hdf6' is not supported; supported: npz, npy"):
        df.Dataset.from_files(npz, format="hdf6")


def test_a_given_format_picks_its_files_of_a_folder(tmp_path, samples):
    write_files(tmp_path, samples, "f{}.npz")
    write_files(tmp_path, samples[:2], "g{}.npy")
    assert len(df.Dataset.from_files(tmp_path, format="npz")) == 5
    assert len(df.Dataset.from_files(tmp_path, format="npy")) == 2


# -- fields --


def test_a_sample_has_all_fields_or_those_asked_for(files, samples):
    whole = df.Dataset.from_files(files)
    assert list(whole[2]) == ["x", "y"]
    assert whole[2]["y"].shape == () and whole[2]["y"] == 2
    assert list(df.Dataset.from_files(files, fields=["y"])[2]) == ["y"]
    assert list(df.Dataset.from_files(files, fields=("y", "x"))[2]) == ["y", "x"]
    assert list(df.Dataset.from_files(files, fields="y")[2]) == ["y"]


def test_a_missing_field_is_named_beside_those_there_are(tmp_path, files, samples):
    with pytest.raises(MemberError, match=r"f000\.npz: no member 'z'; it has x, y"):
        df.Dataset.from_files(files, fields=["x", "z"])[0]
    with pytest.raises(MemberError, match="no fields are asked for"):
        df.Dataset.from_files(files, fields=[])[0]
    npy = write_files(tmp_path, samples, "f{}.npy")
    assert list(df.Dataset.from_files(npy, fields=["x"])[0]) == ["x"]
    with pytest.raises(MemberError, match="one field 'x'"):
        df.Dataset.from_files(npy, fields=["y"])[0]


def test_the_spec_says_what_a_file_holds(files):
    spec = df.Dataset.from_files(files).spec
    assert [(f.name, f.dtype, f.shape, f.nbytes) for f in spec.fields] == [
        ("x", np.dtype("i8"), (2, 3), 48),
        ("y", np.dtype("i8"), (), 8),
    ]
    assert spec.samples == 1


def test_a_bad_first_file_does_not_hide_the_others(files, samples):
    with open(files[0], "wb") as file:
        file.write(b"garbage")
    dataset = df.Dataset.from_files(files)
    assert len(dataset) == 5
    np.testing.assert_array_equal(dataset[1]["x"], samples[1])
    with pytest.raises(df.DlioFastError, match="f000.npz"):
        dataset[0]


# -- samples within files --


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["f{}.npz", "f{}.npy"])
def test_samples_lie_along_an_axis(tmp_path, axis, order, name):
    arrays = [np.asarray(array, order=order) for array in numbered(3, (4, 5, 6), "f4")]
    dataset = df.Dataset.from_files(write_files(tmp_path, arrays, name), sample_axis=axis)
    assert_samples(dataset, [array.take(i, axis) for array in arrays for i in range(array.shape[axis])])


def test_all_fields_have_samples_along_the_axis(tmp_path):
    write_files(tmp_path, numbered(2, (3, 4)), y=[np.arange(3), np.arange(3, 6)])
    dataset = df.Dataset.from_files(tmp_path, sample_axis=0)
    assert len(dataset) == 6
    assert [int(dataset[i]["y"]) for i in range(6)] == list(range(6))
    np.testing.assert_array_equal(dataset[4]["x"], numbered(2, (3, 4))[1][1])


def test_an_axis_that_does_not_fit_is_an_error_that_names_the_field(tmp_path, files):
    with pytest.raises(SampleError, match=r"'y' has shape \(\), without an axis 0"):
        len(df.Dataset.from_files(files, sample_axis=0))
    write_files(tmp_path / "b", numbered(1, (3, 4)), y=[np.arange(4)])
    with pytest.raises(SampleError, match=r"disagree about the number of samples: {'x': 3, 'y': 4}"):
        len(df.Dataset.from_files(tmp_path / "b", sample_axis=0))


# -- single samples --


def test_samples_are_indexed_as_those_of_a_sequence(files, samples):
    dataset = df.Dataset.from_files(files)
    for i in (0, 4, -1, -5, np.int32(3), True):
        np.testing.assert_array_equal(dataset[i]["x"], samples[i])
    for i in (5, -6, 2**40, -(2**40)):
        with pytest.raises(IndexError, match="out of range: the data set has 5 samples") as caught:
            dataset[i]
        assert isinstance(caught.value, SampleError)
    for i in (slice(0, 2), 1.0, 1.5, "x", None, (0, 1), [0]):
        with pytest.raises(TypeError):
            dataset[i]


def test_several_samples_are_read_together(files, samples):
    dataset = df.Dataset.from_files(files)
    for indices in ([3, 0, 0, -1], np.array([1, 2]), range(5)):
        got = dataset.__getitems__(indices)
        assert len(got) == len(indices)
        for i, sample in zip(indices, got, strict=True):
            np.testing.assert_array_equal(sample["x"], samples[i])
            assert sample["y"] == i % 5
    assert dataset.__getitems__([]) == []
    with pytest.raises(IndexError):
        dataset.__getitems__([0, 5])


def test_iterating_gives_every_sample(files, samples):
    got = [sample["x"] for sample in df.Dataset.from_files(files)]
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_a_sample_is_writable_aligned_and_the_callers_own(tmp_path, scheme):
    arrays = numbered(20, (50, 7), "f4")
    write_files(tmp_path, arrays)
    dataset = df.Dataset.from_files(f"{scheme}{tmp_path}")
    kept = [dataset[i]["x"] for i in range(20)]
    for i in range(20):
        assert kept[i].flags.writeable and kept[i].ctypes.data % 64 == 0
        dataset[i]["x"][...] = 0
    np.testing.assert_array_equal(kept, arrays)


def test_threads_may_share_a_data_set(files, samples):
    dataset, wrong = df.Dataset.from_files(files), []

    def read(start):
        for i in range(start, start + 100):
            if not np.array_equal(dataset[i % 5]["x"], samples[i % 5]):
                wrong.append(i)

    threads = [threading.Thread(target=read, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_goes_on_after_close(files, samples):
    dataset = df.Dataset.from_files(files)
    assert_samples(dataset, samples)
    dataset.close()
    dataset.close()
    assert_samples(dataset, samples)


@pytest.mark.parametrize("used", [False, True])
def test_it_can_be_pickled_before_and_after_use(tmp_path, files, samples, used):
    for dataset in (
        df.Dataset.from_files(files, fields=["x"], sample_axis=0),
        df.Dataset({"dataset": {"data_folder": str(tmp_path / "data")}}, fields=["x"]),
    ):
        if used:
            dataset[0]
        copy = pickle.loads(pickle.dumps(dataset))
        assert list(copy.files) == list(dataset.files)
        assert copy.spec == dataset.spec
        np.testing.assert_array_equal(values(copy), values(dataset))


def test_its_name_says_what_it_reads(tmp_path, files):
    assert repr(df.Dataset.from_files(files)) == "<dlio_fast.Dataset of 5 files>"
    config = {"dataset": {"data_folder": str(tmp_path)}}
    assert repr(df.Dataset(config, split="valid")) == f"<dlio_fast.Dataset valid {tmp_path}>"


# -- files that do not fit --


def test_object_arrays_are_refused_unless_they_are_left_out(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.arange(3), o=np.array([None, 1]))
    with pytest.raises(UnsupportedError, match=r"f\.npz: member 'o\.npy': object dtype"):
        df.Dataset.from_files(tmp_path)[0]
    assert df.Dataset.from_files(tmp_path, fields=["x"])[0]["x"].tolist() == [0, 1, 2]


def test_a_file_with_another_number_of_samples_is_named_and_the_others_are_read(tmp_path):
    counts = [3, 2, 4, 3]
    write_files(tmp_path, [np.full((count, 2), i) for i, count in enumerate(counts)])
    dataset = df.Dataset.from_files(tmp_path, sample_axis=0)
    assert len(dataset) == 12
    for i in (3, 5, 6, 8):
        with pytest.raises(SampleError, match=rf"f00{i // 3}\.npz: .* another number of samples"):
            dataset[i]
    for i in (0, 2, 9, 11):
        assert dataset[i]["x"].tolist() == [i // 3] * 2


def test_a_structured_dtype_that_differs_from_file_to_file_is_refused(tmp_path):
    write_files(tmp_path, [np.zeros(3, [("a", "i4")]), np.zeros(3, [("b", "i4")])])
    dataset = df.Dataset.from_files(tmp_path)
    assert dataset[0]["x"].dtype.names == ("a",)
    with pytest.raises(df.DlioFastError, match=r"f001\.npz"):
        dataset[1]


@pytest.mark.parametrize("field", ["żółw", "a/b", "", "x.npy"])
def test_fields_may_have_any_name(tmp_path, field):
    np.savez(tmp_path / "f.npz", **{field: np.arange(3), "other": 1})
    assert list(df.Dataset.from_files(tmp_path)[0]) == [field, "other"]
    assert df.Dataset.from_files(tmp_path, fields=[field])[0][field].tolist() == [0, 1, 2]
