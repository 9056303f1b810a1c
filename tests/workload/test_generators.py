"""What a format gives `generate`: encoded files, and the index files that belong to them."""

import os
import zlib

import numpy as np
import pytest

from dlio_fast.errors import ClosedError, DiskFullError
from dlio_fast.formats import base, format_named, register
from dlio_fast.formats.generating import EncodedGenerator
from dlio_fast.formats.npz import NpzFormat
from dlio_fast.formats.writing import Writer
from dlio_fast.workload.generate import generate
from dlio_fast.workload.place import LocalPlace
from dlio_fast.workload.plan import FilePlan
from tests.workload.files import config, tree


class PackedGenerator(EncodedGenerator):
    """Deflated samples behind their number, which is put in last; two index files, as DLIO's formats have."""

    def nbytes(self):
        return self.payload_nbytes() + 100

    def encode(self, index, file):
        file.write(bytes(8))
        packer = zlib.compressobj(1)
        for piece in self.payload(index):
            file.write(packer.compress(piece))
        file.write(packer.flush())
        file.seek(0)
        file.write(index.to_bytes(8, "little"))

    def companion_names(self, name):
        split, _, rest = name.partition("/")
        return f"{name}.off.idx", f"index/{split}/{os.path.basename(rest)}.idx"

    def companions(self, index):
        return index.to_bytes(8, "little"), f"0 {index}\n".encode()


class PackedFormat(NpzFormat):
    name = "hdf5_opt"
    suffixes = (".hdf5_opt",)

    def generator(self, dataset, where="dataset"):
        return PackedGenerator(dataset, where)


@pytest.fixture(autouse=True)
def packed():
    register(PackedFormat())
    yield
    del base._formats["hdf5_opt"]


def packed_config(**dataset):
    return config(format="hdf5_opt", record_element_type="bool", **dataset)


@pytest.mark.parametrize("address", ["{}", "direct://{}"])
def test_encoded_files_have_the_same_bytes_whoever_writes_them(tmp_path, address):
    cfg = packed_config(num_files_eval=2, num_subfolders_train=2, record_length_bytes=9 << 20)
    generate(cfg, data_folder=tmp_path / "one", threads=1)
    for rank in range(2):
        result = generate(cfg, data_folder=address.format(tmp_path / "two"), rank=rank, world_size=2)
        assert result.fallback_reason is None or "O_DIRECT" in result.fallback_reason
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    data = (tmp_path / "one/train/1/img_1_of_3.hdf5_opt").read_bytes()
    assert data[:8] == (1).to_bytes(8, "little")
    assert b"".join(map(bytes, FilePlan(cfg, LocalPlace("")).generator.payload(1))) == zlib.decompress(
        data[8:]
    )


def test_index_files_lie_where_the_format_says(tmp_path):
    generate(packed_config(num_files_train=1, num_files_eval=1), data_folder=tmp_path)
    assert sorted(tree(tmp_path)) == [
        "index/train/img_0_of_1.hdf5_opt.idx",
        "index/valid/img_0_of_1.hdf5_opt.idx",
        "train/img_0_of_1.hdf5_opt",
        "train/img_0_of_1.hdf5_opt.off.idx",
        "valid/img_0_of_1.hdf5_opt",
        "valid/img_0_of_1.hdf5_opt.off.idx",
    ]
    assert (tmp_path / "index/valid/img_0_of_1.hdf5_opt.idx").read_text() == "0 1\n"


@pytest.mark.parametrize("name", ["train/{}", "train/{}.off.idx", "index/train/{}.idx"])
@pytest.mark.parametrize("damage", ["gone", "short", "flipped"])
def test_resuming_rewrites_what_is_damaged_of_a_file_and_its_index(tmp_path, name, damage):
    generate(packed_config(), data_folder=tmp_path)
    expected = tree(tmp_path)
    path = tmp_path / name.format("img_1_of_3.hdf5_opt")
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(data[:-1] if damage == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    result = generate(packed_config(), data_folder=tmp_path, skip_existing=True)
    assert (result.files, result.skipped) == (1, 2)
    assert tree(tmp_path) == expected


def test_unfinished_index_files_of_dead_runs_are_removed(tmp_path):
    generate(packed_config(), data_folder=tmp_path)
    expected = tree(tmp_path)
    dead = [
        tmp_path / "train/.img_0_of_3.hdf5_opt.off.idx.17.tmp",
        tmp_path / "index/train/.img_0_of_3.hdf5_opt.idx.17.tmp",
    ]
    for path in dead:
        path.write_text("half")
    generate(packed_config(), data_folder=tmp_path, skip_existing=True)
    assert tree(tmp_path) == expected


def test_the_random_contents_of_columns_are_independent(tmp_path):
    generator = format_named("hdf5_opt").generator(packed_config().dataset)
    columns = [np.empty(100, dtype) for dtype in ("u1", "u1", "f4")]
    for part, column in enumerate(columns):
        generator.fill(column, 0, dtype=column.dtype, part=part)
    assert columns[0].tolist() != columns[1].tolist()
    assert 0 <= columns[2].min() < columns[2].max() < 1


# The writer


def test_what_a_library_makes_of_the_file_object_s_exception_is_undone(tmp_path):
    def encode(file):
        try:
            file.write(bytes(32 << 20))
        except Exception as error:
            raise ValueError("the library failed") from error

    writer = Writer()
    writer.cancel()
    for direct in (False, True):
        with pytest.raises(ClosedError, match="cancelled"):
            writer.write_encoded(str(tmp_path / "x"), encode, direct=direct)
    assert tree(tmp_path) == {}


def test_a_failure_leaves_no_file(tmp_path):
    def encode(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_text("old")
    for direct in (False, True):
        with pytest.raises(DiskFullError, match="x"):
            Writer().write_encoded(str(tmp_path / "x"), encode, direct=direct)
    assert (tmp_path / "x").read_text() == "old"
    assert len(tree(tmp_path)) == 1


@pytest.mark.parametrize("direct", [False, True])
def test_no_library_writes_past_the_file_object(tmp_path, direct):
    def encode(file):
        with pytest.raises(OSError):
            file.fileno()
        file.write(b"all")

    Writer().write_encoded(str(tmp_path / "x"), encode, direct=direct)
    assert (tmp_path / "x").read_bytes() == b"all"
