"""dlio_fast: training data from storage to tensors, as fast as the storage allows."""

import logging as _logging
import os as _os

from ._core import Buffer
from ._version import __version__
from .config import load_config
from .errors import DlioFastError
from .formats.load import load
from .pipeline import Dataset, Loader
from .storage.local import read, read_many

__all__ = [
    "Buffer",
    "Dataset",
    "DlioFastError",
    "Loader",
    "__version__",
    "load",
    "load_config",
    "read",
    "read_many",
]

_logging.getLogger("dlio_fast").addHandler(_logging.NullHandler())
if _os.environ.get("DLIO_FAST_LOG"):
    from ._log import log_to_stderr as _log_to_stderr

    _log_to_stderr(_os.environ["DLIO_FAST_LOG"])
