"""HDF5 files of every kind, and reading them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import dlio_fast as df

plain_dtypes = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    npst.complex_number_dtypes(endianness="?"),
    npst.byte_string_dtypes(min_len=1, max_len=9),
).map(np.dtype)


def values_of(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Values that compress somewhat, and of which no NaN is unequal to itself."""
    values = np.random.default_rng(seed).integers(0, 50, shape)
    return values.astype(dtype) if dtype.kind != "S" else values.astype("S").astype(dtype)


@st.composite
def datasets(draw) -> dict:
    """Arguments for create_dataset, `data` and which of it is `written`."""
    dtype = draw(plain_dtypes)
    shape = (draw(st.integers(1, 9)), *draw(npst.array_shapes(min_dims=0, max_dims=3, max_side=9)))
    made: dict = {"dtype": dtype, "shape": shape}
    if draw(st.booleans()):
        made["chunks"] = tuple(draw(st.integers(1, side)) for side in shape)
        made["maxshape"] = tuple(draw(st.sampled_from([side, side + 3, None])) for side in shape)
        made["shuffle"] = draw(st.booleans())
        made["fletcher32"] = draw(st.booleans())
        made["compression"] = draw(st.sampled_from([None, "gzip", "lzf", 0, 9]))
    if draw(st.booleans()):
        made["fillvalue"] = values_of(dtype, (), draw(st.integers(0, 99)))[()]
    data = values_of(dtype, shape, draw(st.integers(0, 99)))
    written = tuple(draw(st.sampled_from([slice(None), slice(0, 1), slice(side // 2, side), slice(0, 0)]))
                    for side in shape)  # fmt: skip
    return {"create": made, "data": data, "written": written}


def write_datasets(path: Path, made: dict[str, dict], libver: str = "latest") -> None:
    """Write datasets as drawn."""
    with h5py.File(path, "w", libver=libver) as file:
        for name, one in made.items():
            dataset = file.create_dataset(name, **one["create"])
            if one["data"][one["written"]].size:
                dataset[one["written"]] = one["data"][one["written"]]


def write_file(path: Path, libver: str = "latest", **fields) -> str:
    """Write arrays, or (array, arguments of create_dataset)."""
    with h5py.File(path, "w", libver=libver) as file:
        for name, value in fields.items():
            data, options = value if isinstance(value, tuple) else (value, {})
            file.create_dataset(name, data=data, **options)
    return str(path)


def read_all(addresses: list[str], batch_size: int = 3, **options) -> tuple[dict[str, list], dict]:
    """Read all samples in a shuffled order; returns them in the files' order by field, and the stats."""
    dataset = df.Dataset.from_files(addresses, fields=options.pop("fields", None))
    found: dict[str, list] = {}
    with df.Loader(dataset, batch_size=batch_size, shuffle=True, **options) as loader:
        order = loader.sampler.ids(0, 0, len(dataset))
        at = 0
        for batch in loader:
            for name, values in batch.items():
                kept = found.setdefault(name, [None] * len(dataset))
                for i, value in enumerate(values):
                    kept[order[at + i]] = value
            at += len(next(iter(batch.values())))
        return found, loader.stats()


def assert_as_h5py(paths: list[str], found: dict[str, list]) -> None:
    """Equal in dtype, shape and value to what h5py reads."""
    for name, samples in found.items():
        theirs = [sample for path in paths for sample in _with_h5py(path, name)]
        assert len(samples) == len(theirs)
        for ours, other in zip(samples, theirs, strict=True):
            assert ours.dtype == other.dtype and ours.shape == other.shape
            np.testing.assert_array_equal(ours, other)


def _with_h5py(path: str, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][...]
