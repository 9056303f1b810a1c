"""Generated JPEG, PNG and CSV files, read by Pillow, pandas and ourselves."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.formats.generating import generator_for
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree

COMPRESSIONS = ["none", "gzip", "bz2", "xz", "zip"]
IMAGE_DIMS = [[1, 1], [7, 300], [300, 7], [64, 64], [1100, 1000]]


def made(folder, **dataset):
    """The paths of the training files of a data set, and what made it."""
    cfg = config(data_folder=str(folder), **dataset)
    generate(cfg)
    return sorted((folder / "train").iterdir()), generator_for(cfg.dataset)


def noise(generator, index) -> np.ndarray:
    """The random contents of a file, shape (samples, columns)."""
    numbers = np.frombuffer(b"".join(map(bytes, generator.payload(index))), generator.dtype)
    return numbers.reshape(generator.samples, -1)


@pytest.mark.parametrize("dims", IMAGE_DIMS, ids=str)
def test_a_png_holds_the_random_bytes(tmp_path, dims):
    paths, generator = made(tmp_path, format="png", record_dims=dims)
    for index, path in enumerate(paths):
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", (dims[1], dims[0]))
        assert np.asarray(image).tobytes() == noise(generator, index).tobytes()


@pytest.mark.parametrize("dims", IMAGE_DIMS, ids=str)
def test_a_jpeg_is_the_random_image_as_pillow_saves_it(tmp_path, dims):
    paths, generator = made(tmp_path, format="jpeg", record_dims=dims)
    for index, path in enumerate(paths):
        Image.fromarray(noise(generator, index).reshape(dims)).save(tmp_path / "pillow.jpeg")
        assert path.read_bytes() == (tmp_path / "pillow.jpeg").read_bytes()


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_file_is_one_image_whatever_the_samples_and_has_the_drawn_size(tmp_path, format):
    paths, generator = made(
        tmp_path, format=format, num_samples_per_file=4, record_length_bytes_stdev=4000, num_files_train=5
    )
    sizes = [Image.open(path).size[::-1] for path in paths]
    assert sizes == [generator.file_dims(index) for index in range(5)] and len(set(sizes)) == 5


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float16", "float32", "float64"])
def test_pandas_reads_the_numbers_of_a_csv(tmp_path, dtype, compression):
    paths, generator = made(
        tmp_path, format="csv", record_dims=[3, 5], num_samples_per_file=7, record_element_type=dtype,
        compression=compression,
    )  # fmt: skip
    for index, path in enumerate(paths):
        assert path.suffix == ".csv"
        table = pd.read_csv(path, header=None, compression=None if compression == "none" else compression)
        found = table.to_numpy().astype(dtype)
        rows = noise(generator, index)
        assert found.shape == (7, 15) and len(np.unique(rows, axis=0)) > 1
        # pandas reads float64 by default, which differs in the last digit where a float32 is meant
        assert np.array_equal(found, rows) if generator.dtype.kind != "f" else np.allclose(found, rows, 1e-6)
    batch = df.Dataset(config(data_folder=str(tmp_path), format="csv", record_element_type=dtype)).batch([8])
    assert np.array_equal(batch["x"][0], noise(generator, 1)[1])


def test_rows_of_many_pieces_are_cut_where_they_end(tmp_path):
    (path,), generator = made(
        tmp_path, format="csv", record_dims=[1000], num_samples_per_file=3001, num_files_train=1
    )
    assert np.array_equal(pd.read_csv(path, header=None).to_numpy(), noise(generator, 0))


@pytest.mark.parametrize(
    "dataset",
    [
        dict(format="png"), dict(format="jpeg"),
        *(dict(format="csv", compression=compression) for compression in COMPRESSIONS),
    ],
    ids=str,
)  # fmt: skip
def test_threads_and_direct_io_do_not_change_a_byte_and_a_second_run_keeps_all(tmp_path, dataset):
    trees = []
    for name, scheme, threads in (("a", "", 1), ("b", "", 3), ("c", "direct://", 2)):
        cfg = config(data_folder=f"{scheme}{tmp_path / name}", **dataset)
        result = generate(cfg, threads=threads)
        assert result.files == 3 and result.bytes == sum(
            path.stat().st_size for path in tmp_path.glob(f"{name}/train/*")
        )
        trees.append(tree(tmp_path / name))
        assert generate(cfg, skip_existing=True).skipped == 3
    assert trees[0] == trees[1] == trees[2]
    assert len(set(trees[0].values())) == 3


@pytest.mark.parametrize("format", ["png", "jpeg", "csv"])
def test_the_room_that_is_asked_for_is_what_files_take(tmp_path, format):
    paths, generator = made(tmp_path, format=format, record_length_bytes=300_000)
    for path, expected in zip(paths, generator.nbytes(), strict=True):
        assert path.stat().st_size <= expected <= 1.05 * path.stat().st_size


@pytest.mark.parametrize(
    "dataset, said",
    [
        (dict(format="jpeg", record_dims=[70_000, 2]), "65500 at most"),
        (dict(format="png", record_dims=[9]), "2 dimensions"),
        (dict(format="png", compression="gzip"), "compression"),
        (dict(format="csv", record_element_type="complex64"), "complex64"),
        (dict(format="csv", compression="gzip", compression_level=10), "0 to 9"),
        (dict(format="csv", compression="lz4"), "gzip"),
    ],
)
def test_what_cannot_be_generated_is_refused(tmp_path, dataset, said):
    with pytest.raises(ConfigError, match=said):
        generate(config(data_folder=str(tmp_path), **dataset))
