"""Generated TFRecord files: DLIO's layout, read by TensorFlow, the same from every run."""

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree

tf = pytest.importorskip("tensorflow")


def made(folder, **dataset):
    parsed = config(format="tfrecord", num_samples_per_file=4, data_folder=str(folder), **dataset)
    generate(parsed)
    return parsed


def by_tensorflow(path):
    for raw in tf.data.TFRecordDataset(str(path)):  # which verifies both checksums
        feature = tf.train.Example.FromString(raw.numpy()).features.feature
        assert set(feature) == {"image", "size"}
        [image], [size] = feature["image"].bytes_list.value, feature["size"].int64_list.value
        assert len(image) == size
        yield image


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("nbytes", [1, 100, 10_000, 114_660, 3_000_000])
def test_tensorflow_reads_what_we_read(tmp_path, nbytes, scheme):
    parsed = made(f"{scheme}{tmp_path}", record_length_bytes=nbytes)
    ours = [sample["image"].tobytes() for sample in df.Dataset(parsed)]
    theirs = [
        image for i in range(3) for image in by_tensorflow(tmp_path / "train" / f"img_{i}_of_3.tfrecord")
    ]
    side = int(nbytes**0.5)
    assert ours == theirs and {len(one) for one in ours} == {side * side}
    assert len(set(ours)) == 12 or nbytes == 1


def test_a_record_of_4_mib_takes_66_bytes_more_as_in_dlio(tmp_path):
    made(tmp_path, record_length_bytes=4 << 20)
    assert (tmp_path / "train" / "img_0_of_3.tfrecord").stat().st_size == 4 * 4_194_370


def test_the_index_tiles_the_file(tmp_path):
    made(tmp_path, num_files_eval=1, num_subfolders_train=3)
    for split, name, sub in (("train", "img_2_of_3", "2/"), ("valid", "img_0_of_1", "")):
        lines = (tmp_path / "index" / split / f"{name}.tfrecord.idx").read_text().splitlines()
        ends = [sum(map(int, line.split())) for line in lines]
        assert [int(line.split()[0]) for line in lines] == [0, *ends[:-1]]
        assert ends[-1] == (tmp_path / split / sub / f"{name}.tfrecord").stat().st_size


def test_sizes_that_differ_from_file_to_file(tmp_path):
    parsed = made(tmp_path, record_length_bytes=10_000, record_length_bytes_stdev=3000)
    sizes = [sample["image"].size for sample in df.Dataset(parsed)]
    assert sizes == np.repeat(parsed.dataset.dims_table(3).prod(axis=1), 4).tolist()


def test_elements_of_another_type(tmp_path):
    parsed = made(tmp_path, record_dims=[5, 7], record_element_type="float32")
    x = df.Dataset(parsed, fields="image").batch(range(12))["image"]
    assert x.shape == (12, 5, 7) and x.dtype == np.float32 and (0 <= x).all() and (x < 1).all()


def test_the_contents_depend_on_the_seed_alone(tmp_path):
    for name in ("a", "b"):
        made(tmp_path / name)
    made(tmp_path / "c", seed=1)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")


def test_a_second_run_keeps_good_files_and_makes_damaged_ones_anew(tmp_path):
    parsed = made(tmp_path)
    before = tree(tmp_path)
    damaged = tmp_path / "train" / "img_1_of_3.tfrecord"
    data = bytearray(damaged.read_bytes())
    for at in (0, 60, len(data) - 30):
        data[at] ^= 1
        damaged.write_bytes(data)
        data[at] ^= 1
        assert generate(parsed, skip_existing=True).files == 1 and tree(tmp_path) == before
    assert generate(parsed, skip_existing=True).files == 0
