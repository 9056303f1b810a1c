"""Our exceptions as TensorFlow's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .errors import (
    ChecksumError,
    ClosedError,
    DlioFastError,
    FileChangedError,
    TruncatedError,
    UnsupportedError,
)

KINDS: tuple[tuple[type[Exception], Any], ...] = (
    (FileNotFoundError, tf.errors.NotFoundError),
    (PermissionError, tf.errors.PermissionDeniedError),
    (TimeoutError, tf.errors.DeadlineExceededError),
    (ChecksumError, tf.errors.DataLossError),
    (TruncatedError, tf.errors.DataLossError),
    (FileChangedError, tf.errors.DataLossError),
    (UnsupportedError, tf.errors.UnimplementedError),
    (ClosedError, tf.errors.CancelledError),
    (ValueError, tf.errors.InvalidArgumentError),
    (Exception, tf.errors.UnknownError),
)
"""Which of TensorFlow's codes is nearest; the first that fits counts."""


def tf_error(error: DlioFastError) -> DlioFastError:
    """Return the same error as one of tf.errors, too: to be caught as either, with message and attributes."""
    kind = next(kind for ours, kind in KINDS if isinstance(error, ours))
    both = _both(type(error), kind)
    # OSError keeps the file's name apart from its args.
    named = (error.errno, error.strerror, error.filename) if isinstance(error, OSError) else error.args
    made: DlioFastError = both.__new__(both, *named)
    kind.__init__(made, None, None, str(error))
    made.__dict__.update(error.__dict__)
    made.args, made.__cause__ = error.args, error
    return made


def _both(ours: type[DlioFastError], kind: Any) -> Any:
    key = ours, kind
    if key not in _made:
        names = {"__module__": ours.__module__, "__reduce__": _reduce}
        _made[key] = type(ours.__name__, key, names)
    return _made[key]


_made: dict[tuple[type[DlioFastError], Any], Any] = {}


def _reduce(error: DlioFastError) -> tuple[Any, ...]:
    return tf_error, (error.__cause__,)
