"""Tables of random columns, and what samples of them are, computed value by value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

NUMBERS = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(), pa.bool_(),
]  # fmt: skip
TIMES = [
    pa.timestamp("us"), pa.timestamp("ms", tz="UTC"), pa.duration("us"), pa.date32(), pa.time32("ms"),
    pa.time64("us"),
]  # fmt: skip
BYTES = [pa.binary(), pa.string(), pa.large_binary(), pa.large_string(), pa.binary(5)]

scalars = st.sampled_from([*NUMBERS, *TIMES])
flat = st.one_of(scalars, st.sampled_from(BYTES))
lists = st.one_of(
    st.builds(pa.list_, st.sampled_from(NUMBERS)),
    st.builds(pa.large_list, st.sampled_from(NUMBERS)),
    st.builds(pa.list_, st.sampled_from(NUMBERS), st.integers(1, 7)),
    st.builds(lambda inner, n: pa.list_(pa.list_(inner, 2), n), st.sampled_from(NUMBERS), st.integers(1, 3)),
)
dictionaries = st.builds(pa.dictionary, st.just(pa.int32()), st.sampled_from([pa.string(), pa.binary()]))
column_types = st.one_of(flat, lists, dictionaries)


def column(type: pa.DataType, rows: int, seed: int) -> pa.Array:
    """A column of random values, without nulls."""
    rng = np.random.default_rng(seed)
    if pa.types.is_dictionary(type):
        return column(type.value_type, rows, seed).dictionary_encode()
    if pa.types.is_fixed_size_list(type):
        return pa.FixedSizeListArray.from_arrays(
            column(type.value_type, rows * type.list_size, seed), type=type
        )
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        sizes = np.full(rows, 3) if seed % 3 == 0 else rng.integers(0, 5, rows)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        make = pa.ListArray if pa.types.is_list(type) else pa.LargeListArray
        kind = pa.int32() if pa.types.is_list(type) else pa.int64()
        return make.from_arrays(pa.array(offsets, kind), column(type.value_type, int(offsets[-1]), seed))
    if pa.types.is_fixed_size_binary(type):
        return pa.array([rng.bytes(type.byte_width) for _ in range(rows)], type)
    if type in BYTES:
        words = ["", "a", "Grüße", "x" * 20, "\0"] if seed % 2 else ["abc", "xyz"]
        words = [words[i] for i in rng.integers(0, len(words), rows)]
        return pa.array([word.encode() for word in words]).cast(type)
    if pa.types.is_boolean(type):
        return pa.array(rng.integers(0, 2, rows).astype(bool))
    if pa.types.is_floating(type):
        return pa.array(rng.standard_normal(rows).astype(type.to_pandas_dtype()))
    if type in TIMES:
        ticks = rng.integers(0, 86_400, rows).astype(f"i{type.bit_width // 8}")
        return pa.array(ticks).view(type)
    info = np.iinfo(type.to_pandas_dtype())
    return pa.array(rng.integers(info.min, info.max, rows, dtype=info.dtype, endpoint=True))


def sample(column: pa.ChunkedArray, row: int) -> np.ndarray:
    """What a row of a column is as a sample, by the value that pyarrow makes of it."""
    type, value = column.type, column[row]
    if pa.types.is_dictionary(type):
        type, value = type.value_type, pa.scalar(value.as_py(), type.value_type)
    if pa.types.is_fixed_size_binary(type) or type in BYTES:
        raw = value.as_py()
        return np.frombuffer(raw.encode() if isinstance(raw, str) else raw, np.uint8)
    if pa.types.is_nested(type):
        inner = type.value_type
        while pa.types.is_nested(inner):
            inner = inner.value_type
        return np.array(value.as_py(), inner.to_pandas_dtype())
    if pa.types.is_time(type):
        return np.array(value.value, f"i{type.bit_width // 8}")
    if pa.types.is_timestamp(type) or pa.types.is_duration(type):
        letter = "M8" if pa.types.is_timestamp(type) else "m8"
        return np.array(value.value, "i8").view(f"{letter}[{type.unit}]")
    if pa.types.is_date(type):
        return np.array(value.value, "i8").view("M8[D]")
    return np.array(value.as_py(), type.to_pandas_dtype())


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have the same dtype, shape and bytes."""
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@st.composite
def tables(draw, types=column_types) -> pa.Table:
    """Tables of one to five columns."""
    count = draw(st.integers(1, 60))
    found = draw(st.lists(st.tuples(types, st.integers(0, 1000)), min_size=1, max_size=5))
    return pa.table({f"c{i}": column(type, count, seed) for i, (type, seed) in enumerate(found)})
