"""Inspecting files: what is in them, where it lies, and whether it is still what was written."""

import struct
import zipfile

import numpy as np
import pytest

from dlio_fast.errors import DlioFastFileNotFoundError, FormatError, NotRegularFileError
from dlio_fast.workload.generate import generate
from dlio_fast.workload.inspect import inspect_file
from tests.workload.files import config, payload_offset


def test_stored_arrays_are_described_as_they_are(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 5), "f4"), y=np.asfortranarray(np.ones((2, 3), ">i2")))
    info = inspect_file(path)
    x, y = info.members
    assert (info.format, info.nbytes) == ("npz", path.stat().st_size)
    assert (x.name, x.dtype, x.shape, x.order, x.nbytes) == ("x", "float32", (3, 5), "C", 60)
    assert (y.name, y.dtype, y.shape, y.order, y.nbytes) == ("y", ">i2", (2, 3), "F", 12)
    assert (x.compression, x.crc_state, x.npy_version, x.header_offset) == ("stored", "ok", 1, 0)
    assert x.payload_offset == payload_offset(path)
    assert x.alignment == {"4096": False, "512": False, "64": False}
    with zipfile.ZipFile(path) as archive:
        assert [int(m.crc32, 16) for m in info.members] == [m.CRC for m in archive.infolist()]
        assert [m.header_offset for m in info.members] == [m.header_offset for m in archive.infolist()]


def test_a_compressed_array_has_no_place_in_the_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1000))
    (x,) = inspect_file(tmp_path / "a.npz").members
    assert (x.compression, x.payload_offset, x.alignment, x.crc_state) == ("deflated", None, None, "ok")
    assert x.packed_nbytes < x.nbytes == 8000


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_generated_payloads_are_aligned(tmp_path, suffix):
    generate(config(format=suffix, num_files_train=1), data_folder=tmp_path)
    x = inspect_file(tmp_path / f"train/img_0_of_1.{suffix}").members[0]
    assert x.payload_offset == 4096
    assert x.alignment == {"4096": True, "512": True, "64": True}


def test_an_npy_file_has_one_array_and_no_checksum(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 2), "u1"))
    info = inspect_file(tmp_path / "a.npy")
    (x,) = info.members
    assert (info.format, x.shape, x.payload_offset, x.crc32, x.crc_state) == (
        "npy",
        (4, 2),
        128,
        None,
        "none",
    )
    assert x.alignment == {"4096": False, "512": False, "64": True}


def test_a_header_of_version_3_is_named_so(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, np.zeros(2, [("größe", "f8")]), version=(3, 0))
    (x,) = inspect_file(tmp_path / "a.npy").members
    assert (x.npy_version, x.dtype) == (3, "[('größe', '<f8')]")


def test_a_flipped_bit_is_a_mismatch(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(1000), y=np.ones(3))
    damaged = bytearray(path.read_bytes())
    damaged[payload_offset(path) + 17] ^= 1
    path.write_bytes(damaged)
    info = inspect_file(path)
    assert [m.crc_state for m in info.members] == ["mismatch", "ok"]
    assert len(info.problems) == 1 and str(path) in info.problems[0] and "x" in info.problems[0]
    assert info.members[0].shape == (1000,), "what the header says is shown all the same"


def test_checksums_are_only_read_on_demand(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(1000))
    damaged = bytearray(path.read_bytes())
    damaged[payload_offset(path)] ^= 1
    path.write_bytes(damaged)
    info = inspect_file(path, verify=False)
    assert info.members[0].crc_state == "unchecked" and not info.problems


def test_a_member_that_is_no_array_is_no_problem(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "twelve bytes")
    info = inspect_file(tmp_path / "a.npz")
    (notes,) = info.members
    assert (notes.name, notes.nbytes, notes.dtype, notes.crc_state) == ("notes.txt", 12, None, "ok")
    assert not info.problems


def test_a_member_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, o=np.array([{}], object), x=np.arange(3))
    o, x = inspect_file(path).members
    assert o.problem and "object" in o.problem
    assert (x.problem, x.crc_state) == (None, "ok")


def test_an_encrypted_member_is_a_problem_of_its_own(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    raw = bytearray(path.read_bytes())
    for signature, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        start = raw.index(signature)
        struct.pack_into("<H", raw, start + at, 1)
    path.write_bytes(raw)
    assert "encrypted" in inspect_file(path).members[0].problem


def test_a_folder_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(NotRegularFileError, match=r"name files in it, such as .*\*\.npz"):
        inspect_file(tmp_path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("no array at all")
    with pytest.raises(FormatError, match="neither"):
        inspect_file(tmp_path / "a.txt")
    with pytest.raises(DlioFastFileNotFoundError):
        inspect_file(tmp_path / "absent.npz")


def test_it_reads_past_the_page_cache_too(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(10_000))
    plain = inspect_file(tmp_path / "a.npz")
    assert inspect_file(f"direct://{tmp_path}/a.npz").to_dict() == plain.to_dict()
