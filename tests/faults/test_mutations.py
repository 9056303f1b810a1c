"""Random damage: a typed error, or what numpy reads. Nothing else, however the bytes fall."""

import io
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from tests.faults.bad_files import good_npy, good_npz
from tests.faults.doors import DOORS

RECORD = np.array([(1, 2.5, "é"), (2, -1.0, "zz")], [("a", "<i4"), ("b", ">f8"), ("c", "<U3")])
ARRAYS = {
    "x": np.arange(60, dtype="<i2").reshape(3, 4, 5),
    "fortran": np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4)),
    "scalar": np.float64(3.5),
    "text": np.array(["a", "bcd"]),
    "record": RECORD,
    "times": np.array(["2020-01-01", "NaT"], "<M8[D]"),
    "none": np.zeros((0, 3), np.complex64),
}
SOURCES = [good_npy(array) for array in ARRAYS.values()] + [
    good_npz(x=ARRAYS["x"]),
    good_npz(True, x=ARRAYS["x"]),
    good_npz(**ARRAYS),
    good_npz(True, **ARRAYS),
]

# Where this library refuses on purpose what numpy reads: see csrc/dlf_npy.h and csrc/dlf_zip.h.
STRICTER = (
    "the archive ends before its directory", "spans several disks", "an entry reaches beyond the directory",
    "does not lie before the directory", "overlapping members", "reaches into the directory",
    "reaches beyond its place", "NUL in a member's name", "no entry where the directory must have one",
    "more than the compressed data could hold", "the compressed data", "two sizes differ", "encrypted",
    "the local header has another", "more members than the directory", "the directory goes on after",
    "the two end records disagree", "in a string of the header", "something follows the header",
    "unknown dtype", "repeated key",
)  # fmt: skip


@st.composite
def damaged(draw):
    data = bytearray(draw(st.sampled_from(SOURCES)))
    for _ in range(draw(st.integers(1, 3))):
        # most of the structure is at both ends
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(300, len(data) - 1)))
        if draw(st.booleans()):
            at = len(data) - 1 - at
        match draw(st.sampled_from(["flip", "set", "set", "cut", "insert", "delete", "swap"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at] = draw(st.sampled_from([0, 1, 32, 40, 44, 48, 57, 79, 124, 127, 128, 255]))
            case "cut":
                del data[at + 1 :]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "delete":
                del data[at : at + draw(st.integers(1, 9))]
                data = data or bytearray(b"\0")
            case "swap":
                other = draw(st.integers(0, len(data) - 1))
                data[at], data[other] = data[other], data[at]
    return bytes(data)


def numpy_reads(data):
    """What numpy makes of each array of a file: an array, or None where it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = np.load(io.BytesIO(data))
        except Exception:
            return None
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        arrays = {}
        for name in loaded.files:
            try:
                arrays[name] = loaded[name]
            except Exception:
                arrays[name] = None
        return arrays


def we_read(path):
    """What df.load makes of it: arrays and typed errors. Anything else is a failure of the test."""
    try:
        loaded = df.load(path)
    except df.DlioFastError as error:
        return error
    if isinstance(loaded, np.ndarray):
        return {"": loaded}
    arrays = {}
    with loaded:
        for name in loaded.files:
            try:
                arrays[name] = loaded[name]
            except df.DlioFastError as error:
                arrays[name] = error
    return arrays


def is_stricter(error):
    return any(rule in str(error) for rule in STRICTER)


def same(ours, numpys):
    if isinstance(ours, bytes) or isinstance(numpys, bytes):
        return ours == numpys
    return (
        ours.dtype == numpys.dtype and ours.shape == numpys.shape and ours.tobytes() == numpys.tobytes()
    )  # bytes, since NaN is not itself


@given(damaged())
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
def test_damage_is_refused_or_read_as_numpy_reads_it(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    ours, numpys = we_read(path), numpy_reads(data)
    if isinstance(ours, df.DlioFastError):
        assert not numpys or is_stricter(ours), ours
        return
    for name, array in ours.items():
        expected = (numpys or {}).get(name)
        if isinstance(array, df.DlioFastError):
            assert expected is None or is_stricter(array), array
        elif expected is not None:
            assert same(array, expected)


@given(damaged())
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("door", ["item", "loader"])
def test_the_data_set_reads_what_load_reads(tmp_path_factory, door, data):
    suffix = ".npz" if data[:2] == b"PK" else ".npy"
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(data)
    try:
        sample = DOORS[door](path)
    except df.DlioFastError:
        return
    loaded = DOORS["load"](path)
    assert sample.keys() == loaded.keys()
    assert all(
        same(sample[name], np.ascontiguousarray(loaded[name])) or sample[name].ndim == 0 for name in sample
    )


@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_every_cut_is_noticed(tmp_path, source):
    data, path = SOURCES[source], tmp_path / "cut"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert isinstance(we_read(path), df.DlioFastError), size


def test_every_flip_of_a_payload_is_noticed(tmp_path):
    """Of a packed one, all that change a value: some bits of a packed stream mean nothing."""
    path = tmp_path / "flipped"
    for packed in (False, True):
        data = good_npz(packed, x=ARRAYS["x"])
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            end = archive.start_dir
            begin = end - archive.infolist()[0].compress_size
        for at in range(begin, end):
            path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
            array = we_read(path)["x"]
            if not isinstance(array, df.DlioFastError):
                assert packed and np.array_equal(array, ARRAYS["x"]), at
