"""CSV: a row a sample, all columns numbers; parsed by pyarrow."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._typing import Array, Values
from ..errors import ConfigError, FormatError, MemberError, MissingDependencyError, UnsupportedError
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec
from .compressed import PACKERS, packing, unpacked
from .decoding import Block, DecodedFormat
from .generating import EncodedGenerator
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config import Config
    from ..config.data import DatasetSection
    from .generating import Generator

FIELD = "x"
"""What the row of a CSV file is called."""

NUMBERS = 1 << 17
"""Numbers that are made text at once."""

SHOWN = 300
"""Characters of pyarrow's messages, which quote what they cannot read."""

INFERRED = (np.dtype(np.int64), np.dtype(np.float64))

_BOM = b"\xef\xbb\xbf"
_ROW_NUMBER = re.compile(rb"^[^,\n]*,", re.MULTILINE)
_COMMA, _NEWLINE = b",\n"
_NO_NUMBER = frozenset(',\r\n"')
_WHERE = re.compile(r"Row #(\d+): (.*)", re.DOTALL)


class CsvFormat(DecodedFormat):
    """Rows of numbers, divided by commas; each is a sample `x` of shape (columns,).

    Empty lines are passed over. What stands for a missing number (nothing, ``NA``, ``nan`` and what else
    pyarrow takes for null) is NaN where the dtype has one, else an error. A file that is compressed (gzip,
    bz2, xz, zip), as DLIO writes them under a plain ``.csv`` name, is known by its first bytes; it may unpack
    to 100 times its size, or to 32 MiB.

    Parameters
    ----------
    dtype : numpy.dtype or its name, optional
        Of all columns. Default: DLIO's ``dataset.record_element_type`` where a configuration sets it; else
        int64 if all numbers of the first file are integers, or float64.
    header : bool, optional
        Whether the first line names the columns; default: it does where no field of it is a number. Where
        it is ``,0,1,2`` and so on, as a pandas.DataFrame is written by default and by DLIO 2.0.0, it is left
        out, and with it the first column, which numbers the rows.
    """

    name = "csv"
    suffixes = (".csv",)

    def __init__(self, dtype: Any = None, header: bool | None = None):
        self.dtype = None if dtype is None else np.dtype(dtype)
        self.header = header
        if self.dtype is not None and self.dtype.kind not in "biuf":
            raise UnsupportedError(
                f"columns of {self.dtype} are not supported in CSV; bool, int and float are"
            )

    def configured(self, config: Config) -> CsvFormat:
        if not config.is_set("dataset.record_element_type"):
            return self
        return CsvFormat(config.dataset.record_element_type, self.header)

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        """Read the whole file: only that says how many rows there are, and of which numbers."""
        if fields is not None and list(fields) != [FIELD]:
            raise MemberError(f"{path}: a CSV file has the one field {FIELD!r}, not {list(fields)}", path)
        with _core.File(path, shared_pool(), direct=direct) as file:
            text = unpacked(path, memoryview(file.read()))
        rows = self._rows(path, text, INFERRED if self.dtype is None else (self.dtype,))
        field = FieldSpec(FIELD, rows.dtype, rows.shape[1:], b"", rows.dtype.str.encode())
        return FileSpec((field,), len(rows), 3 * len(text) + 2 * rows.nbytes)

    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Values]:
        return [self._rows(path, unpacked(path, data[0]), (spec.fields[0].dtype,))]

    def _rows(self, path: str, text: bytes, dtypes: Sequence[np.dtype[Any]]) -> Array:
        """Return a text's numbers, shape (rows, columns), of the first of the dtypes that holds them all."""
        text = _plain(path, text)
        first, _, rest = text.partition(b"\n")
        if self.header is None and _numbers_columns(first):
            text = _ROW_NUMBER.sub(b"", rest)
        elif self.header or (self.header is None and _names_columns(first)):
            text = rest
        columns = _columns(path, text)
        # pyarrow is slow with many columns and fast with one: every number gets a line of its own.
        lines = text.replace(b",", b"\n")
        for dtype in dtypes[:-1]:
            try:
                return _numbers(path, lines, columns, dtype)
            except FormatError:
                continue
        return _numbers(path, lines, columns, dtypes[-1])

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return CsvGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return CsvPacker(fields, packing, self.name)


class CsvGenerator(EncodedGenerator):
    """DLIO's CSV files: no header, a row a sample, compressed under their plain name where that is asked for.

    Other than DLIO's, the rows of a file differ. Numbers have the digits that their dtype needs.
    """

    compressions = ("none", *PACKERS, "zip")

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        super().__init__(dataset, where)
        if self.dtype.kind not in "biuf":
            raise ConfigError(f"{where}.record_element_type: CSV has no columns of {self.dtype}")
        if dataset.compression != "none" and not 0 <= dataset.compression_level <= 9:
            raise ConfigError(f"{where}.compression_level: {dataset.compression_level} is not one of 0 to 9")

    def nbytes(self) -> npt.NDArray[np.float64]:
        some = np.empty(1024, self.dtype)
        self.fill(some.view(np.uint8), 0)
        return self.payload_nbytes() * (1.01 * len(_lines_of(some)) / some.nbytes) + 1024

    def encode(self, index: int, file: IO[bytes]) -> None:
        columns = math.prod(self.file_dims(index))
        with packing(file, self.dataset.compression, self.dataset.compression_level, f"{index}.csv") as out:
            done = 0
            for piece in self.payload(index):
                numbers = np.frombuffer(piece, self.dtype)
                out.write(_rows_of(numbers, done, columns))
                done += len(numbers)


class CsvPacker(Packer):
    """Writes a row a sample: numbers of as many digits as give back every bit; one NaN is like another."""

    compressions = ("none", *PACKERS, "zip")
    one_field = True

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        field = self.fields[0]
        if len(field.shape) != 1 or not field.shape[0]:
            raise ConfigError(
                f"a row of CSV is a sample of shape (columns,), not {field.shape}: make it flat"
            )
        if field.dtype.kind not in "biuf" or field.dtype.itemsize > 8:
            raise ConfigError(f"CSV has no columns of {field.dtype}")
        if packing.level is not None and not 0 <= packing.level <= 9:
            raise ConfigError(f"level {packing.level} is not one of 0 to 9")

    def nbytes(self) -> int:
        return self.packing.samples * math.prod(self.fields[0].shape) * self.fields[0].dtype.itemsize * 3

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        [(name, values)] = samples.items()
        rows = self.stacked(name, values)
        numbers = np.ascontiguousarray(rows, rows.dtype.newbyteorder("=")).reshape(-1)
        level = 4 if self.packing.level is None else self.packing.level
        with packing(file, self.packing.compression, level, "0.csv") as out:
            for start in range(0, len(numbers), NUMBERS):
                out.write(_rows_of(numbers[start : start + NUMBERS], start, rows.shape[1]))


def _rows_of(numbers: Array, done: int, columns: int) -> memoryview:
    """Return numbers as text, `done` numbers after the beginning of rows of so many columns."""
    text = np.frombuffer(_lines_of(numbers), np.uint8).copy()
    ends = np.flatnonzero(text == _NEWLINE)
    inner = np.arange(done + 1, done + len(ends) + 1) % columns != 0
    text[ends[inner]] = _COMMA
    return text.data


def _lines_of(numbers: Array) -> Any:
    """Return numbers as text, one a line."""
    arrow, module = _pyarrow()
    out = arrow.BufferOutputStream()
    if (
        numbers.dtype == np.float16
    ):  # its shortest digits are those that a float32 of the value needs, or fewer
        numbers = numbers.astype(np.float32)
    module.write_csv(
        arrow.table({FIELD: numbers}), out, module.WriteOptions(include_header=False, batch_size=1 << 16)
    )
    return out.getvalue()


def _plain(path: str, text: bytes) -> bytes:
    """Return the text with \\n alone at the end of each line, no empty lines, and no quotes."""
    text = text.removeprefix(_BOM)
    if b'"' in text:
        text = _without_quotes(path, text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n\n" in text or text[:1] == b"\n":
        text = b"\n".join(filter(None, text.split(b"\n")))
    if text and text[-1:] != b"\n":
        text += b"\n"
    return text


def _without_quotes(path: str, text: bytes) -> bytes:
    lines = []
    try:
        for number, row in enumerate(
            csv.reader(io.StringIO(text.decode("latin-1"), newline=""), strict=True)
        ):
            if any(not _NO_NUMBER.isdisjoint(field) for field in row):
                raise FormatError(f"{path}: line {number + 1} holds text, not only numbers", path)
            lines.append(",".join(row))
    except csv.Error as error:
        raise FormatError(f"{path}: the quotes are not those of CSV: {error}", path) from error
    return "\n".join(lines).encode("latin-1")


def _names_columns(line: bytes) -> bool:
    fields = line.split(b",")
    return not any(_is_number(field) for field in fields) and any(field.strip() for field in fields)


def _numbers_columns(line: bytes) -> bool:
    return line.startswith(b",0") and line.split(b",") == [b"", *(b"%d" % i for i in range(line.count(b",")))]


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return field.strip().lower() in (b"true", b"false", b"na", b"null")
    return True


def _columns(path: str, text: bytes) -> int:
    """Return how many columns the lines have, each as many as the first."""
    if not text:
        raise FormatError(f"{path}: the file has no rows", path)
    columns = text.count(b",", 0, text.index(b"\n")) + 1
    characters = np.frombuffer(text, np.uint8)
    ends = characters[(characters == _COMMA) | (characters == _NEWLINE)]
    rows = len(ends) // columns
    if rows * columns == len(ends):
        wanted = ends.reshape(rows, columns)
        if (wanted[:, -1] == _NEWLINE).all() and (wanted[:, :-1] == _COMMA).all():
            return columns
    of_line = np.diff(np.flatnonzero(ends == _NEWLINE), prepend=-1)
    line = int(np.flatnonzero(of_line != columns)[0])
    raise FormatError(f"{path}: row {line + 1} has {of_line[line]} columns, the first has {columns}", path)


def _numbers(path: str, lines: bytes, columns: int, dtype: np.dtype[Any]) -> Array:
    """Parse one number a line; an array (rows, columns)."""
    arrow, reader = _pyarrow()
    native = np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")
    try:
        table = reader.read_csv(
            arrow.BufferReader(lines),
            read_options=reader.ReadOptions(use_threads=False, column_names=[FIELD]),
            parse_options=reader.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=reader.ConvertOptions(
                column_types={FIELD: arrow.from_numpy_dtype(native)}, check_utf8=False
            ),
        )
    except arrow.ArrowInvalid as error:
        raise FormatError(f"{path}: {_explained(str(error), columns)[:SHOWN]}; {_ADVICE}", path) from error
    numbers = table.column(0)
    if numbers.null_count and dtype.kind != "f":
        raise FormatError(f"{path}: a number is missing, and {dtype} has nothing for it; {_ADVICE}", path)
    array: Array = numbers.to_numpy().astype(dtype, copy=False)
    return array.reshape(-1, columns)


_ADVICE = (
    "columns have to be numbers, of the first file's kind, or of dataset.record_element_type where it is set "
    "(CsvFormat(dtype=…) without a configuration)"
)


def _explained(message: str, columns: int) -> str:
    found = _WHERE.search(message)
    if found is None:
        return message
    number = int(found[1]) - 1
    return f"row {number // columns + 1}, column {number % columns + 1}: {found[2]}"


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError as error:
        raise MissingDependencyError("CSV files need pyarrow: pip install dlio-fast[arrow]") from error
    return pyarrow, pyarrow.csv


FORMAT = CsvFormat()
