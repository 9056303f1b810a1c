"""Page-locked memory, from which a GPU copies asynchronously: how the pools of loaders get it."""

from __future__ import annotations

import ctypes
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger("dlio_fast")

Pinning = Callable[[], tuple[int, int] | None]
"""What a loader asks, in the process that reads, for the functions that pin and unpin its memory."""

_in_child = False


def not_pinned() -> None:
    """Memory stays as it is."""


def cuda_pinning(maps: str | Path = "/proc/self/maps") -> tuple[int, int] | None:
    """Return the addresses of cudaHostRegister and cudaHostUnregister; None where memory cannot be pinned.

    They are those of the CUDA runtime that PyTorch has loaded. Without a CUDA device, without such a
    library, and in a forked process, which cannot use its parent's CUDA context, there are none.
    """
    import torch

    if _in_child or not torch.cuda.is_available():
        logger.debug("pin_memory: no CUDA device to be used by this process, memory is not page-locked")
        return None
    torch.cuda.current_device()  # makes the context that memory is registered with
    found = library_addresses("libcudart", ("cudaHostRegister", "cudaHostUnregister"), maps)
    if found is None:
        logger.debug("pin_memory: no CUDA runtime library is loaded, memory is not page-locked")
        return None
    return found[0], found[1]


def library_addresses(library: str, names: tuple[str, ...], maps: str | Path) -> list[int] | None:
    """Return where functions of a library that this process has loaded are; None where it has not."""
    path = re.search(rf"(/\S*/{re.escape(library)}[-.\w]*\.so[.\d]*)$", Path(maps).read_text(), re.MULTILINE)
    if path is None:
        return None
    functions = ctypes.CDLL(path[1])
    try:
        addresses = [ctypes.cast(getattr(functions, name), ctypes.c_void_p).value for name in names]
    except AttributeError:
        return None
    return [address for address in addresses if address is not None]


def _mark_child() -> None:
    global _in_child
    _in_child = True


os.register_at_fork(after_in_child=_mark_child)
