"""Damaged, lying and hostile HDF5 files get a typed error, or what h5py reads; never a crash or a hang."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import (
    ChecksumError,
    DataError,
    DlioFastFileNotFoundError,
    DlioFastIsADirectoryError,
    FormatError,
    NotRegularFileError,
    TruncatedError,
    UnsupportedError,
)

from .hdf5_files import read_all, write_file

IMAGES = np.random.default_rng(1).integers(0, 99, (6, 40, 30)).astype("i4")
GZIP = {"chunks": (2, 40, 30), "compression": "gzip", "shuffle": True}


def chunks_of(path: str) -> list:
    with h5py.File(path) as file:
        return [file["x"].id.get_chunk_info(i) for i in range(file["x"].id.get_num_chunks())]


def replace(path: str, old: bytes, new: bytes) -> None:
    """Overwrite the one place where the metadata have these bytes."""
    data = Path(path).read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    Path(path).write_bytes(data.replace(old, new))


def address(value: int) -> bytes:
    return struct.pack("<Q", value)


def plain_chunks(tmp_path, **options) -> str:
    """Metadata of the first format, which no checksum protects."""
    return write_file(tmp_path / "f.h5", "earliest", x=(IMAGES, options or {"chunks": (2, 40, 30)}))


def fails(path: str, error: type[Exception], match: str | None = None) -> None:
    begun = time.perf_counter()
    with pytest.raises(error, match=match) as caught:
        read_all([path])
    assert time.perf_counter() - begun < 1
    assert path in str(caught.value)


@pytest.mark.parametrize("options", [{"chunks": (2, 40, 30)}, GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize("where", ["behind the end", "past the end", "wrapping around"])
def test_a_chunk_outside_the_file(tmp_path, options, where):
    path = plain_chunks(tmp_path, **options)
    chunk, size = chunks_of(path)[1], os.path.getsize(path)
    to = {"behind the end": size + 5000, "past the end": size - chunk.size + 1, "wrapping around": 2**64 - 9}
    replace(path, address(chunk.byte_offset), address(to[where]))
    fails(path, DataError, "outside the file|overlap|h5py cannot read")


def test_chunks_that_overlap(tmp_path):
    path = plain_chunks(tmp_path)
    first, second = chunks_of(path)[:2]
    replace(path, address(second.byte_offset), address(first.byte_offset + 100))
    fails(path, FormatError, "overlap")


def test_a_chunk_twice_in_the_index(tmp_path):
    path = plain_chunks(tmp_path)
    corners = [struct.pack("<5Q", c.byte_offset, 0, 0, 0, 0)[:8] for c in chunks_of(path)]
    replace(path, corners[2], corners[1])
    fails(path, FormatError, "overlap|twice")


@pytest.mark.parametrize("options", [{"chunks": (2, 40, 30)}, GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize("size", [0, 1, 3, 2**31, 2**32 - 1])
def test_a_chunk_of_a_wrong_size(tmp_path, options, size):
    path = plain_chunks(tmp_path, **options)
    chunk = chunks_of(path)[1]
    key = struct.pack("<IIQ", chunk.size, 0, chunk.chunk_offset[0])
    replace(path, key, struct.pack("<IIQ", size, 0, chunk.chunk_offset[0]))
    fails(path, DataError, "outside the file|size|overlap|h5py cannot read")


def raw_chunk(tmp_path, data: bytes, options: dict, mask: int = 0) -> str:
    """A file whose second chunk is these bytes."""
    path = plain_chunks(tmp_path, **options)
    with h5py.File(path, "r+") as file:
        file["x"].id.write_direct_chunk((2, 0, 0), data, mask)
    return path


ONE_CHUNK = 2 * 40 * 30 * 4


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (zlib.compress(bytes(ONE_CHUNK + 1)), FormatError, "more than was declared"),
        (zlib.compress(bytes(1 << 24)), FormatError, "more than was declared"),
        (zlib.compress(bytes(ONE_CHUNK - 1)), FormatError, "end early"),
        (zlib.compress(os.urandom(ONE_CHUNK))[:-900], FormatError, "end early"),
        (b"\xff" * 500, FormatError, "no zlib stream"),
        (b"\x78\x9c" + b"\xff" * 500, FormatError, "corrupt"),
        (zlib.compress(bytes(ONE_CHUNK))[:-1] + b"?", ChecksumError, "Adler-32"),
        (b"\x78\x9c", FormatError, "size"),
    ],
    ids=["longer", "a bomb", "shorter", "cut", "no zlib", "no deflate", "checksum", "nothing"],
)
def test_a_gzip_chunk_that_is_none(tmp_path, data, error, match):
    fails(raw_chunk(tmp_path, data, GZIP), error, match)


def test_bytes_behind_a_zlib_stream_are_let_pass_as_h5py_does(tmp_path):
    path = raw_chunk(tmp_path, zlib.compress(bytes(ONE_CHUNK)) + b"more", GZIP)
    assert not np.array(read_all([path])[0]["x"][2:4]).any()


@pytest.mark.parametrize("data", [b"\x00", b"\xff\xff\xff" * 50, b"\x20\xff" * 300, os.urandom(999)])
def test_an_lzf_chunk_that_is_none(tmp_path, data):
    fails(raw_chunk(tmp_path, data, {"chunks": (2, 40, 30), "compression": "lzf"}), FormatError, "LZF|size")


def test_a_flipped_bit_is_noticed_by_fletcher32_unless_not_verified(tmp_path):
    path = plain_chunks(tmp_path, chunks=(2, 40, 30), fletcher32=True)
    at = chunks_of(path)[1].byte_offset + 77
    data = bytearray(Path(path).read_bytes())
    data[at] ^= 4
    Path(path).write_bytes(data)
    fails(path, ChecksumError, "fletcher32")
    found, _ = read_all([path], verify=False)
    assert sum((ours != x).sum() for ours, x in zip(found["x"], IMAGES, strict=True)) == 1


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_file_cut_anywhere(tmp_path, libver):
    whole = Path(write_file(tmp_path / "f.h5", libver, x=(IMAGES, GZIP), y=np.arange(6))).read_bytes()
    path = tmp_path / "cut.h5"
    for end in [*range(0, 200, 7), *range(200, len(whole) - 1, 501), len(whole) - 1]:
        path.write_bytes(whole[:end])
        fails(str(path), FormatError)
        assert end < 96 or isinstance(_error(path), TruncatedError)


def _error(path) -> Exception:
    with pytest.raises(DataError) as caught:
        len(df.Dataset.from_files([str(path)]))
    return caught.value


def test_a_dataset_that_claims_to_be_far_larger_than_its_file(tmp_path):
    path = str(tmp_path / "f.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4, 1 << 20, 1 << 20), "f8", chunks=(1, 512, 512))
    fails(path, UnsupportedError, "claims 35184372088832 bytes")


def test_a_later_file_that_claims_so_too(tmp_path):
    good = write_file(tmp_path / "a.h5", x=IMAGES)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (6, 1 << 20, 1 << 20), "f8", chunks=(1, 512, 512))
    with pytest.raises(UnsupportedError, match=r"b\.h5.*claims"):
        read_all([good, str(tmp_path / "b.h5")])


def test_what_is_no_hdf5_file(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "fifo.h5")
    kinds = {
        "text.h5": FormatError, "folder.h5": DlioFastIsADirectoryError, "fifo.h5": NotRegularFileError,
        "none.h5": DlioFastFileNotFoundError,
    }  # fmt: skip
    good = write_file(tmp_path / "good.h5", x=IMAGES)
    for name, error in kinds.items():
        for files in ([str(tmp_path / name)], [good, str(tmp_path / name)]):
            with pytest.raises(error, match=name):
                read_all(files)


def test_the_good_files_come_all_the_same(tmp_path):
    paths = [write_file(tmp_path / f"{i}.h5", "earliest", x=(IMAGES + i, GZIP)) for i in range(3)]
    chunk = chunks_of(paths[1])[1]
    replace(paths[1], address(chunk.byte_offset), address(2**40))
    with df.Loader(df.Dataset.from_files(paths), batch_size=6, on_error="skip") as loader:
        batches = [batch["x"] for batch in loader]
    assert [int(x[0, 0, 0]) for x in batches] == [IMAGES[0, 0, 0], IMAGES[0, 0, 0] + 2]


FLIPPED = """
import random, signal, sys, warnings
import h5py, numpy as np
from pathlib import Path
from tests.formats.hdf5_files import read_all
from dlio_fast.errors import DlioFastError

whole, path, seed = Path(sys.argv[1]).read_bytes(), sys.argv[2], int(sys.argv[3])
metadata = [int(at) for at in sys.argv[4].split(",")]
draw = random.Random(seed)
with h5py.File(sys.argv[1]) as file:
    originals = {name: file[name][...] for name in ("x", "y")}
outcomes = {"same": 0, "error": 0}
for turn in range(int(sys.argv[5])):
    data = bytearray(whole)
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.choice(metadata)
        data[at] = draw.choice([0, 1, 255, data[at] ^ 1 << draw.randrange(8), draw.randrange(256)])
    Path(path).write_bytes(data)
    signal.alarm(20)
    try:
        found, _ = read_all([path], fields=["x", "y"], threads=1)
    except DlioFastError:
        outcomes["error"] += 1
        continue
    try:
        with h5py.File(path) as file:
            theirs = {name: file[name][...] for name in found}
    except Exception:
        continue  # h5py looks at more than we need
    for name, samples in found.items():
        # HDF5's search in an index may miss a chunk that the index still names: its own values are right, too
        for i, (ours, other) in enumerate(zip(samples, theirs[name], strict=True)):
            assert ours.dtype == other.dtype and ours.shape == other.shape
            if ours.tobytes() != other.tobytes():
                assert ours.dtype == originals[name].dtype, (seed, turn, name)
                assert (ours[ours != other] == originals[name][i][ours != other]).all(), (seed, turn, name)
    outcomes["same"] += 1
signal.alarm(0)
print(outcomes)
"""


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("options", [{}, {"chunks": (4, 16, 30)}, GZIP], ids=["contiguous", "plain", "gzip"])
def test_metadata_with_flipped_bytes_give_an_error_or_the_right_values(tmp_path, libver, options):
    whole = write_file(tmp_path / "whole.h5", libver, x=(IMAGES, options), y=np.arange(6))
    with h5py.File(whole) as file:
        x = file["x"].id
        taken = [(x.get_offset(), IMAGES.nbytes)] if not options else [
            (c.byte_offset, c.size) for c in map(x.get_chunk_info, range(x.get_num_chunks()))
        ]  # fmt: skip
    payload = {at for start, size in taken for at in range(start, start + size)}
    metadata = ",".join(str(at) for at in range(os.path.getsize(whole)) if at not in payload)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FLIPPED, whole, tmp_path / "flipped.h5", "1", metadata, "120"],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'same'")
