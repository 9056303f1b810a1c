"""A data set in a store, epochs over it, and what was right about them; for the tests of faults."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import dlio_fast as df
from dlio_fast.errors import DataError, DlioFastError
from tests.remote.stores import AzureStore, Store

SMALL, LARGE = 12, 1
COUNT = SMALL + LARGE
ROADS = ("http", "fsspec")

NOT_READ = 1.0
"""Seconds without a byte, after which a connection is given up in these tests."""
RETRY = 8.0
"""Seconds without progress, after which an object is."""


def contents(i: int, other: int = 0) -> np.ndarray:
    """The array of the i-th object, or another of the same size. The last ones are read in several ranges."""
    size = 10_000 if i < SMALL else 4_500_000
    values = np.random.default_rng([i, other]).integers(0, 2**31, size, np.int32)
    values[0] = i
    return values


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def key(i: int) -> str:
    return f"data/{i:03}.npy"


def fill(store: Store) -> None:
    for i in range(COUNT):
        store.put(key(i), npy(contents(i)))


def options(store: Store, road: str = "", **more: Any) -> dict[str, Any]:
    """The store's, with patience for seconds rather than minutes."""
    if isinstance(store, AzureStore):
        timeouts: dict[str, Any] = {"read_timeout": NOT_READ}
    else:
        config = store.storage_options.get("config_kwargs", {})
        timeouts = {"config_kwargs": {**config, "read_timeout": NOT_READ}}
    return {**store.storage_options, **timeouts, "retry_timeout": RETRY, "road": road, **more}


def data_set(store: Store, road: str = "", **more: Any) -> df.Dataset:
    files = f"{store.root}/data"
    return df.Dataset.from_files(
        files, format="npy", ragged=True, storage_options=options(store, road, **more)
    )


@dataclass
class Epoch:
    seen: list[int] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def epoch(dataset: df.Dataset, *, other: dict[int, int] | None = None, **settings: Any) -> Epoch:
    """Read it all, in order, and compare every byte; what fails is kept.

    `other` tells which objects have other contents by now.
    """
    result, began = Epoch(), time.monotonic()
    with df.Loader(dataset, **{"batch_size": 3, "threads": 4, **settings}) as loader:
        batches = iter(loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                break
            except (DataError, OSError) as error:
                result.errors.append(error)
                continue
            for values in batch["x"]:
                i = int(values[0])
                np.testing.assert_array_equal(values, contents(i, (other or {}).get(i, 0)))
                result.seen.append(i)
        result.stats = loader.stats()
    result.seconds = time.monotonic() - began
    return result


def named(error: Exception, store: Store) -> int:
    """Which object an error names, that is one of dlio_fast's."""
    assert isinstance(error, DlioFastError), repr(error)
    found = [i for i in range(COUNT) if store.address(key(i)) in str(error)]
    assert len(found) == 1, str(error)
    return found[0]


def assert_whole(result: Epoch, store: Store) -> None:
    """Every object came in order, or was named by an error: nothing is lost, and nothing comes twice."""
    failed = [named(error, store) for error in result.errors]
    assert len(set(failed)) == len(failed)
    assert result.seen == [i for i in range(COUNT) if i not in failed]
