"""CSV: the numbers are those that numpy and pandas read, and bad files are typed errors."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import dlio_fast as df
from dlio_fast.errors import DataError, FormatError, MemberError, SampleError, UnsupportedError
from dlio_fast.formats.csv import CsvFormat
from tests.formats.decoded import check_refused, read

PANDAS = {"gzip": "gzip", "bz2": "bz2", "xz": "xz", "zip": "zip", "none": None}
DTYPES = ["bool", "i1", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8"]

tables = st.sampled_from(DTYPES).flatmap(
    lambda name: npst.arrays(
        np.dtype(name),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=dict(allow_nan=False) if np.dtype(name).kind == "f" else None,
    )
)
in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, text: str | bytes):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@given(tables, st.sampled_from(list(PANDAS)))
@in_one_folder
def test_what_pandas_writes_is_read_value_for_value(tmp_path, table, compression):
    """As DLIO does it: the name says nothing of a compression."""
    path = tmp_path / "a.csv"
    # pandas writes numbers of 16 bits with too few digits
    shown = table.astype("f8") if table.dtype == np.float16 else table.astype(table.dtype.newbyteorder("="))
    pd.DataFrame(shown).to_csv(path, header=False, index=False, compression=PANDAS[compression])
    rows = read(path, CsvFormat(table.dtype))
    assert rows[0].dtype == table.dtype
    assert np.array_equal(np.stack(rows), table)


@given(tables.filter(lambda table: table.dtype.kind in "if" and table.dtype != np.float16))
@in_one_folder
def test_without_a_dtype_integers_are_int64_and_others_float64(tmp_path, table):
    path = write(tmp_path / "a.csv", "\n".join(",".join(map(repr, row)) for row in table.tolist()))
    rows = np.stack(read(path))
    assert rows.dtype == (np.float64 if table.dtype.kind == "f" else np.int64)
    assert np.array_equal(rows, table)


@given(
    st.lists(st.lists(st.integers(-99, 999), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.data(),
)
@in_one_folder
def test_quotes_line_ends_and_empty_lines_change_nothing(tmp_path, rows, end, bom, data):
    lines = []
    for row in rows:
        shown = [data.draw(st.sampled_from(["{}", '"{}"', " {}"])).format(value) for value in row]
        lines += [""] * data.draw(st.integers(0, 2)) + [",".join(shown)]
    text = end.join(lines) + end * data.draw(st.integers(0, 2))
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbf" * bom + text.encode())
    assert np.stack(read(path)).tolist() == rows


@pytest.mark.parametrize(
    "text, header, rows",
    [
        ("a,b\n1,2\n", None, [[1, 2]]),
        ('"a","b"\n1,2\n', None, [[1, 2]]),
        ("1,2\n3,4\n", None, [[1, 2], [3, 4]]),
        ("1,2\n3,4\n", True, [[3, 4]]),
        ("nan,inf\n3,4\n", None, [[np.nan, np.inf], [3, 4]]),
        ("1,,3\n,5,NA\n", None, [[1, np.nan, 3], [np.nan, 5, np.nan]]),
    ],
)
def test_headers_and_missing_numbers(tmp_path, text, header, rows):
    found = np.stack(read(write(tmp_path / "a.csv", text), CsvFormat(header=header)))
    assert np.array_equal(found, np.array(rows), equal_nan=True)


@pytest.mark.parametrize("columns", [1, 3, 40])
def test_a_data_frame_s_row_and_column_numbers_are_left_out(tmp_path, columns):
    numbers = np.arange(300 * columns).reshape(300, columns) % 251
    pd.DataFrame(numbers).to_csv(tmp_path / "a.csv")
    assert np.array_equal(read(tmp_path / "a.csv", CsvFormat(np.uint8)), numbers)


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_many_files_of_many_rows_are_read_in_any_order(tmp_path, scheme):
    for i in range(5):
        np.savetxt(tmp_path / f"{i}.csv", np.arange(60).reshape(20, 3) + 60 * i, "%d", ",")
    with df.Loader(df.Dataset.from_files(f"{scheme}{tmp_path}"), batch_size=8, shuffle=True) as batches:
        rows = np.concatenate([batch["x"] for batch in batches])
        stats = batches.stats()
    assert np.array_equal(rows[rows[:, 0].argsort()], np.arange(300).reshape(100, 3))
    assert bool(stats["direct_bytes"]) is (bool(scheme) and not stats["fallbacks"])


def test_a_dlio_config_says_which_numbers_they_are(tmp_path):
    (tmp_path / "train").mkdir()
    write(tmp_path / "train/img_0_of_1.csv", "1,2\n3,4\n")
    dataset = {"format": "csv", "data_folder": str(tmp_path), "num_files_train": 1}
    assert df.Dataset({"dataset": dataset})[1]["x"].dtype == np.int64
    dataset["record_element_type"] = "float32"
    x = df.Dataset({"dataset": dataset})[1]["x"]
    assert x.dtype == np.float32 and x.tolist() == [3, 4]


def test_rows_that_pyarrow_reads_column_by_column_are_the_same(tmp_path):
    from pyarrow import csv

    path = write(tmp_path / "a.csv", "\n".join(f"{i},{i / 7},{-i}" for i in range(500)))
    table = csv.read_csv(path, csv.ReadOptions(autogenerate_column_names=True))
    assert np.array_equal(np.stack(read(path)), np.stack([c.to_numpy() for c in table.columns], axis=1))


def test_there_is_no_other_field(tmp_path):
    with pytest.raises(MemberError, match="one field 'x'"):
        df.Dataset.from_files(write(tmp_path / "a.csv", "1\n"), fields="y")[0]


def test_columns_of_complex_numbers_are_refused():
    with pytest.raises(UnsupportedError, match="complex64"):
        CsvFormat("complex64")


def test_without_pyarrow_the_error_says_what_to_install(tmp_path):
    path = write(tmp_path / "a.csv", "1\n")
    program = (
        "import sys; sys.modules['pyarrow'] = None; import dlio_fast as df\n"
        f"df.Dataset.from_files({str(path)!r})[0]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert "MissingDependencyError" in done.stderr and "pip install dlio-fast[arrow]" in done.stderr


GOOD = "".join(f"{i},{i + 1},{i + 2}\n" for i in range(1000)).encode()
PACK = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for i, data in enumerate(members):
            archive.writestr(f"{i}.csv", data)
    return out.getvalue()


PACK["zip"] = zipped
ENCRYPTED = bytearray(zipped(GOOD))
ENCRYPTED[6] |= 1
ENCRYPTED[ENCRYPTED.index(b"PK\1\2") + 8] |= 1
BOMB = b"1,2,3\n" * (20 << 20)
BAD = {
    "empty": (b"", FormatError),
    "only empty lines": (b"\n\n\r\n", FormatError),
    "only a header": (b"a,b,c\n", FormatError),
    "NUL bytes": (bytes(1000), FormatError),
    "NUL bytes behind numbers": (b"1,2,3\n" + bytes(1000), FormatError),
    "a NUL byte in a number": (b"1,2,3\n1,2\0,3\n", FormatError),
    "garbage": (np.random.default_rng(1).bytes(5000), DataError),
    "text in a number": (b"1,2,3\n1,2x,3\n", FormatError),
    "text": (b"hello, world\n" * 100, FormatError),
    "quoted text": (b'1,2,3\n1,"2,5",3\n', FormatError),
    "a quote that never ends": (b'1,2,3\n"1,2,3\n' * 1000, FormatError),
    "UTF-16": ("1,2,3\n".encode("utf-16"), FormatError),
    "a row too short": (GOOD + b"1,2\n", FormatError),
    "a row too long": (GOOD + b"1,2,3,4\n", FormatError),
    "rows that are ragged and even out": (b"1,2,3\n1,2\n1,2,3,4\n", FormatError),
    "a line without end": (b"1,2,3\n" + b"x" * 3_000_000, FormatError),
    "semicolons": (b"1;2;3\n4;5;6\n", FormatError),
    "an encrypted ZIP": (bytes(ENCRYPTED), UnsupportedError),
    "a ZIP by LZMA": (zipped(GOOD, method=zipfile.ZIP_LZMA), UnsupportedError),
    "a ZIP of two": (zipped(GOOD, GOOD), FormatError),
    "a ZIP of none": (zipped(), FormatError),
    "only the magic of gzip": (b"\x1f\x8b", DataError),
    "gzip of text": (gzip.compress(b"hello, world\n" * 100), FormatError),
    "gzip and garbage": (gzip.compress(GOOD) + b"garbage", FormatError),
    "streams without end": (gzip.compress(b"") * 100_000, UnsupportedError),
} | {
    f"{kind} that is {what}": case
    for kind, pack in PACK.items()
    for what, case in {
        "cut": (pack(GOOD)[: len(pack(GOOD)) // 2], FormatError),
        "cut at its very end": (pack(GOOD)[:-1], FormatError),
        "flipped": (pack(GOOD)[:200] + b"\xa5\x5a\xa5" + pack(GOOD)[203:], DataError),
        "a bomb": (pack(BOMB), UnsupportedError),
    }.items()
}


@pytest.mark.parametrize("data, kinds", BAD.values(), ids=BAD)
def test_bad_files_are_typed_errors(tmp_path, data, kinds):
    check_refused(kinds, write(tmp_path / "bad.csv", data), write(tmp_path / "good.csv", GOOD))


def test_an_xz_file_that_asks_for_gigabytes_is_refused(tmp_path):
    raw = bytearray(lzma.compress(GOOD))
    header = 12  # behind the stream's own comes the block's: size, flags, filter, size of properties, them
    assert raw[header + 2] == 0x21
    raw[header + 4] = 40  # 4 GiB - 1
    length = (raw[header] + 1) * 4
    raw[header + length - 4 : header + length] = zlib.crc32(raw[header : header + length - 4]).to_bytes(
        4, "little"
    )
    check_refused(FormatError, write(tmp_path / "bad.csv", bytes(raw)), write(tmp_path / "good.csv", GOOD))


def test_streams_that_follow_one_another_are_one_file(tmp_path):
    for kind in ("gzip", "bz2", "xz"):
        data = PACK[kind](GOOD[: len(GOOD) // 2]) + PACK[kind](GOOD[len(GOOD) // 2 :])
        assert len(read(write(tmp_path / "a.csv", data))) == 1000
    assert len(read(write(tmp_path / "a.csv", gzip.compress(GOOD) + bytes(512)))) == 1000


def test_a_file_of_more_rows_than_the_first_is_no_part_of_the_data_set(tmp_path):
    write(tmp_path / "a.csv", GOOD), write(tmp_path / "b.csv", GOOD + b"1,2,3\n")
    data = df.Dataset.from_files(tmp_path)
    with pytest.raises(SampleError, match="b.csv"):
        data[1500]


def test_fractions_behind_a_file_of_integers_say_what_to_do(tmp_path):
    write(tmp_path / "a.csv", "1,2\n"), write(tmp_path / "b.csv", "1,2.5\n")
    with pytest.raises(FormatError, match=r"row 1, column 2.*2\.5.*record_element_type"):
        df.Dataset.from_files(tmp_path)[1]
    assert df.Dataset.from_files(tmp_path, format=CsvFormat("f8"))[1]["x"].tolist() == [1, 2.5]


@given(st.binary(max_size=60) | st.text('0123456789,.-e\n\r"x ', max_size=60).map(str.encode))
@settings(in_one_folder, max_examples=300)
def test_whatever_the_bytes_it_is_a_typed_error_or_what_pandas_reads(tmp_path, raw):
    path = write(tmp_path / "a.csv", raw)
    try:
        rows = np.stack(read(path, CsvFormat("f8", header=False)))
    except DataError as error:
        assert error.path == str(path)
        return
    pandas = pd.read_csv(path, header=None, dtype="f8", engine="c").to_numpy()
    assert rows.shape == pandas.shape
    assert np.allclose(rows, pandas, rtol=1e-14, atol=0, equal_nan=True)
