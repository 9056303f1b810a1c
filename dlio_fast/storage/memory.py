"""The pool that single reads share; loaders have pools of their own."""

from __future__ import annotations

import os

from .. import _core

SHARED_KEEP = 256 << 20
"""Bytes of returned buffers that stay mapped for the next read; the default of ``prefetch_bytes``, too."""

_shared: _core.Pool | None = None


def shared_pool() -> _core.Pool:
    """The process's pool for :func:`dlio_fast.read`, :func:`dlio_fast.load` and ``dataset[i]``."""
    global _shared
    if _shared is None:
        _shared = _core.Pool(SHARED_KEEP)
    return _shared


def _forget() -> None:
    global _shared
    _shared = None


os.register_at_fork(after_in_child=_forget)  # the parent's pool may be locked there for ever
