"""h5py, imported when first needed, and what it raises as the exception family."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..errors import DlioFastError, FormatError, MissingDependencyError, TruncatedError, os_error


@cache
def h5py() -> Any:
    """The library. Raises MissingDependencyError where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f"reading and writing HDF5 needs h5py ({error}): pip install 'dlio-fast[hdf5]'"
        ) from error
    return h5py


@contextmanager
def typed_errors(path: str) -> Iterator[None]:
    """Raise what h5py does not like about a file as the exception family."""
    try:
        yield
    except DlioFastError:
        raise
    except OSError as error:
        if error.errno:
            raise os_error(error.errno, f"{os.strerror(error.errno)}: cannot be opened", path) from None
        kind = TruncatedError if "truncated file" in str(error) else FormatError
        raise kind(f"{path}: h5py cannot read it: {error}", path) from error
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: h5py cannot read it: {error}", path) from error
