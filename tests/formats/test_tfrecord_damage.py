"""Damaged, lying and hostile TFRecord files: the error that says what is wrong, and never wrong bytes."""

import gzip
import os
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import (
    ChecksumError,
    DataError,
    FormatError,
    MemberError,
    TruncatedError,
    UnsupportedError,
)

from .tfrecords import (
    entry,
    example,
    feature,
    header,
    image,
    masked_crc,
    message,
    read,
    record,
    varint,
    write,
)

SCHEMES = ["", "direct://"]
GOOD = [image(bytes([i]) * (500 + 100 * (i % 3))) for i in range(6)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecord") / "f.tfrecord"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


def start_of(i: int) -> int:
    return sum(len(record(one)) for one in GOOD[:i])


ALL = b"".join(map(record, GOOD))
EQUAL = b"".join(record(image(bytes([i]) * 500)) for i in range(6))

BAD = {
    "a length whose checksum is wrong": (
        flipped(ALL, 8),
        ChecksumError,
        "CRC-32C does not match the record's length",
    ),
    "a length that is wrong": (flipped(ALL, start_of(2) + 1), ChecksumError, "the record's length"),
    "the same among records of one length": (
        flipped(EQUAL, len(EQUAL) // 2 + 1),
        ChecksumError,
        "the record's length",
    ),
    "data that are wrong": (
        flipped(ALL, start_of(2) + 200),
        ChecksumError,
        f"the record .at byte {start_of(2) + 12}",
    ),
    "a checksum of the data that is wrong": (
        flipped(ALL, start_of(3) - 1),
        ChecksumError,
        "does not match the record",
    ),
    "a length of 2**63": (header(2**63) + bytes(100), TruncatedError, "ends inside a record"),
    "a length of 2**64 - 1": (header(2**64 - 1) + bytes(100), TruncatedError, "ends inside a record"),
    "a length of 2**40": (header(2**40) + bytes(100), TruncatedError, "ends inside a record"),
    "no records": (b"", FormatError, "no records"),
    "records of no bytes": (record(b"") * 4, MemberError, "no features"),
    "less than a header": (b"12345", TruncatedError, "header"),
    "no TFRecord file at all": (
        b"once upon a time, there was a file" * 9,
        ChecksumError,
        "is it a TFRecord file",
    ),
    "no Example": (record(b"\x0a\xff\xff\xff\xff\x0f rest"), FormatError, "longer than what holds it"),
    "a varint without an end": (record(b"\x0a" + b"\x80" * 12), FormatError, "more than 64 bits"),
    "a varint that the record cuts off": (record(b"\x0a\x80\x80"), FormatError, "inside a varint"),
    "a group": (record(b"\x0b\x0c"), FormatError, "unknown kind"),
    "a field of number 0": (record(b"\x02\x00"), FormatError, "impossible number"),
    "floats cut short": (
        record(example(entry(b"a", message(2, message(1, b"12345"))))),
        FormatError,
        "cut short",
    ),
    "integers cut short": (
        record(example(entry(b"a", message(3, message(1, b"\x01\x80"))))),
        FormatError,
        "cut short",
    ),
    "a feature of two lists": (
        record(example(entry(b"a", feature("int64", [1]) + feature("float", [1.0])))),
        UnsupportedError,
        "several lists",
    ),
    "compressed data that are corrupt": (flipped(gzip.compress(ALL), 40), DataError, "compressed|CRC"),
    "compressed data cut off": (gzip.compress(ALL)[:-20], TruncatedError, "inside its compressed data"),
    "compressed data with something behind": (gzip.compress(ALL) + b"??" * 20, FormatError, "corrupt"),
    "a zlib stream whose checksum is wrong": (
        flipped(zlib.compress(ALL), -1 % len(zlib.compress(ALL))),
        FormatError,
        "corrupt",
    ),
    "a compressed file of something else": (
        gzip.compress(b"once upon a time" * 9),
        ChecksumError,
        "TFRecord",
    ),
    "a bomb": (gzip.compress(bytes(100 << 20)), UnsupportedError, "bomb"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", BAD)
def test_the_error_says_what_is_wrong(path, name, scheme):
    data, error, words = BAD[name]
    path.write_bytes(data)
    with pytest.raises(error, match=words) as raised:
        read(f"{scheme}{path}")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", BAD)
def test_the_same_in_a_file_that_is_not_the_first(tmp_path, path, name, scheme):
    """Where the first file has said what to expect, and its own length is that of six records."""
    good = tmp_path / "a.tfrecord"
    good.write_bytes(EQUAL)
    path.write_bytes(BAD[name][0])
    with pytest.raises(DataError) as raised:
        read(f"{scheme}{good}", f"{scheme}{path}", threads=1)
    assert raised.value.path == str(path)


@settings(max_examples=200)
@given(st.data())
def test_a_file_that_is_damaged_anywhere_gives_an_error_or_the_right_samples(path, data):
    """One of records that are all read, so that damage cannot hide."""
    made = data.draw(st.sampled_from([ALL, EQUAL]))
    kind = data.draw(st.sampled_from(["flip", "cut", "drop", "double"]))
    at = data.draw(st.integers(0, len(made) - 1))
    bad = {
        "flip": flipped(made, at),
        "cut": made[:at],
        "drop": made[:at] + made[at + 1 :],
        "double": made[:at] + made[at : at + 20] + made[at:],
    }[kind]
    path.write_bytes(bad)
    try:
        got = [sample["image"].tobytes() for sample in read(path)]
    except DataError:
        return
    path.write_bytes(made)
    assert got == [sample["image"].tobytes() for sample in read(path)][: len(got)]


@settings(max_examples=300)
@given(st.data())
def test_an_example_that_is_damaged_anywhere_never_does_worse_than_an_error(path, data):
    """With checksums that are right, as who means harm would write them."""
    raw = bytearray(
        example(
            entry(b"image", feature("bytes", [b"abc" * 9])),
            entry(b"size", feature("int64", [27, -1, 2**40])),
            entry(b"f", feature("float", [1.0, 2.0], packed=False)),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    write(path, bytes(raw), *[bytes(raw)] * 2)
    try:
        samples = read(path)
    except DataError:
        return
    assert len(samples) == 3


def test_a_damaged_record_costs_itself_alone(path):
    path.write_bytes(flipped(ALL, start_of(2) + 200))
    with df.Loader(df.Dataset.from_files([path]), batch_size=1, on_error="skip") as loader:
        assert [int(batch["image"][0][0]) for batch in loader] == [0, 1, 3, 4, 5]
        assert loader.stats()["skipped_samples"] == 1


def test_a_large_record_is_checked_as_well(path):
    data = record(image(bytes(3_000_000)))
    for at in (20, 1_500_000, len(data) - 10, len(data) - 1):
        path.write_bytes(flipped(data, at))
        for scheme in SCHEMES:
            with pytest.raises(ChecksumError):
                read(f"{scheme}{path}")


def test_a_file_that_nests_another_is_not_taken_for_one_of_equal_records(path):
    """Its size is a multiple of the number of its records, which differ in length."""
    made = [
        image(b"a" * 400 + record(image(b"i" * 50))),
        image(b"b" * 300),
        image(b"c" * 200),
        image(b"d" * 700),
    ]
    total = sum(len(record(one)) for one in made)
    made[3] = image(b"d" * (700 + -total % 4))
    samples = read(write(path, *made))
    assert [chr(sample["image"][0]) for sample in samples] == list("abcd")


class TestIndex:
    LINES = [(start_of(i), len(record(one))) for i, one in enumerate(GOOD)]

    @staticmethod
    def text(lines):
        return "".join(f"{offset} {length}\n" for offset, length in lines)

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "train" / "f.tfrecord"
        path.parent.mkdir()
        path.write_bytes(ALL)
        return path

    @pytest.fixture(params=["beside", "DLIO's"])
    def index(self, file, request):
        path = file.parent / "f.tfrecord.idx"
        if request.param != "beside":
            path = file.parent.parent / "index" / "train" / "f.tfrecord.idx"
            path.parent.mkdir(parents=True)
        return path

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_it_says_where_the_records_are(self, file, index, end):
        index.write_bytes(self.text(self.LINES).replace("\n", end).encode())
        assert len(read(file)) == len(GOOD)

    @pytest.mark.parametrize(
        "change",
        [
            lambda lines: lines[:-1],
            lambda lines: lines[1:],
            lambda lines: [*lines, (len(ALL), 20)],
            lambda lines: [(0, len(ALL))],
            lambda lines: [(0, lines[0][1] + 1), (lines[0][1] + 1, lines[1][1] - 1), *lines[2:]],
            lambda lines: [(0, 2**63), *lines[1:]],
            lambda lines: [(0, "99999999999999999999999999"), *lines[1:]],
            lambda lines: [(0, 5), *lines[1:]],
            lambda lines: [(0, -1), *lines[1:]],
            lambda lines: [("x", "y")],
            lambda lines: [],
        ],
    )
    def test_one_that_disagrees_with_the_file_is_an_error(self, file, index, change):
        index.write_text(self.text(change(self.LINES)))
        with pytest.raises(FormatError, match="index does not fit") as raised:
            read(file)
        assert raised.value.path == str(file)

    def test_one_that_is_no_file_is_passed_over(self, file, index):
        os.mkfifo(index)
        assert len(read(file)) == len(GOOD)

    @given(st.binary(max_size=200))
    @settings(max_examples=50)
    def test_one_of_any_bytes_gives_an_error(self, tmp_path_factory, contents):
        path = tmp_path_factory.mktemp("index") / "f.tfrecord"
        path.write_bytes(ALL)
        path.with_name("f.tfrecord.idx").write_bytes(contents)
        with pytest.raises(FormatError):
            read(path)


def test_hand_made_records_are_framed_right():
    assert struct.unpack("<I", record(b"")[12:])[0] == masked_crc(b"") and varint(300) == b"\xac\x02"
