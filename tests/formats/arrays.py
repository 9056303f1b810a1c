"""Arrays of every kind that numpy saves, and what it means that two are the same."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "25s", "7D"]

scalar_dtypes = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    npst.complex_number_dtypes(endianness="?"),
    st.sampled_from([np.dtype(np.longdouble), np.dtype(np.clongdouble)]),
    npst.byte_string_dtypes(endianness="?", min_len=1, max_len=9),
    npst.unicode_string_dtypes(endianness="?", min_len=1, max_len=9),
    st.builds("{}{}8[{}]".format, st.sampled_from("<>"), st.sampled_from("mM"), st.sampled_from(UNITS)),
    st.sampled_from(["<m8", ">M8"]),
    st.integers(1, 20).map("V{}".format),
).map(np.dtype)

field_names = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), min_size=1, max_size=6)


@st.composite
def structured_dtypes(draw, parts):
    """Fields of these parts, some of them subarrays or titled; packed, aligned, or with gaps."""
    names = draw(st.lists(field_names, min_size=1, max_size=4, unique=True))
    formats = [
        (draw(parts), draw(npst.array_shapes(max_dims=2, max_side=3))) if draw(st.booleans()) else draw(parts)
        for _ in names
    ]
    layout = draw(st.sampled_from(["packed", "aligned", "gaps", "titled"]))
    if layout == "gaps":
        offsets, end = [], 0
        for format in formats:
            offsets.append(end + draw(st.integers(0, 5)))
            end = offsets[-1] + np.dtype(format).itemsize
        fields = {"names": names, "formats": formats, "offsets": offsets}
        return np.dtype(fields | {"itemsize": end + draw(st.integers(0, 5))})
    if layout == "titled":
        names = [(f"title of {name}", name) for name in names]
    fields = [
        (name, *format) if isinstance(format, tuple) else (name, format)
        for name, format in zip(names, formats, strict=True)
    ]
    return np.dtype(fields, align=layout == "aligned")


dtypes = st.one_of(
    scalar_dtypes,
    structured_dtypes(scalar_dtypes),
    structured_dtypes(st.one_of(scalar_dtypes, structured_dtypes(scalar_dtypes))),
)
shapes = st.one_of(
    npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    st.sampled_from([(), (0,), (0, 3), (1,) * 32, (2,) * 10, (1, 0, 1), (3001,)]),
)


def array_of(dtype, shape: tuple[int, ...], order: str = "C", seed: int = 0) -> np.ndarray:
    """An array of arbitrary bytes."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=object))
    data = np.random.default_rng(seed).bytes(count * dtype.itemsize)
    return np.ndarray(shape, dtype, bytearray(data), order=order)


arrays = st.builds(array_of, dtypes, shapes, st.sampled_from("CF"), st.integers(0, 2**32 - 1))


def content(array: np.ndarray) -> bytes:
    """The bytes of every field, without the gaps between them: numpy leaves those as memory had them."""
    if array.dtype.names is None:
        return array.tobytes()
    return b"".join(content(array[name]) for name in array.dtype.names)


def assert_same(ours, numpys) -> None:
    """Equal in kind, dtype, shape, order and content."""
    if isinstance(numpys, bytes):
        assert isinstance(ours, bytes) and ours == numpys
        return
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == numpys.dtype and ours.dtype.str == numpys.dtype.str
    assert ours.dtype.fields == numpys.dtype.fields
    assert ours.shape == numpys.shape
    assert ours.flags.f_contiguous == numpys.flags.f_contiguous
    assert ours.flags.c_contiguous == numpys.flags.c_contiguous
    assert content(ours) == content(numpys)
