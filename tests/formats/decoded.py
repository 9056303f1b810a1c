"""Reading files of formats that Python decodes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import DataError

SECONDS = 1.0
"""What a bad file may take."""


def read(path, format=None) -> list[np.ndarray]:
    """All samples of a file."""
    data = df.Dataset.from_files([path], format=format)
    try:
        return [sample["x"] for sample in data]
    finally:
        data.close()


@contextmanager
def refused(kinds, path):
    """What is done inside raises one of these, naming the file, before a second is over."""
    begin = time.perf_counter()
    with pytest.raises(kinds) as caught:
        yield
    assert isinstance(caught.value, DataError)
    assert Path(path).name in str(caught.value) and caught.value.path
    assert time.perf_counter() - begin < SECONDS


def check_refused(kinds, bad, good, format=None) -> None:
    """The bad file is refused as the first of a data set, and behind a good one."""
    with refused(kinds, bad):
        read(bad, format)
    data = df.Dataset.from_files([good, bad], format=format)
    with refused(kinds, bad):
        data.batch(range(len(data)))
    data.close()
