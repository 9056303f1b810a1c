"""The file systems of fsspec that list, write, and read where nothing faster can."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from .azure_settings import AzureSettings
from .options import file_system_class
from .s3_settings import S3Settings
from .settings import Settings

DEFAULT_POOL = 64
"""Requests that may be under way at once; botocore's own default is 10."""

_kept: dict[tuple[Settings, int], Any] = {}
_lock = threading.Lock()


_inherited: list[Any] = []
"""A child's: file systems of the parent, never to be finalised, and the event loop of their thread."""


def _note_loop() -> None:
    asyn = sys.modules.get("fsspec.asyn")
    _inherited[:] = [asyn.loop[0]] if asyn and asyn.loop and asyn.loop[0] else []


def _forget_inherited() -> None:
    global _lock
    _lock = threading.Lock()
    # The child's descriptor leads to the parent's own epoll instance: a connection that is closed here would
    # be forgotten there, and the parent would wait for its answer for ever.
    for loop in _inherited:
        selector = getattr(loop, "_selector", None)
        if selector is not None:
            selector.close()
    _inherited.append(dict(_kept))
    _kept.clear()


os.register_at_fork(before=_note_loop, after_in_child=_forget_inherited)


def filesystem(settings: Settings, *, pool: int = DEFAULT_POOL, endpoint: str | None = None) -> Any:
    """The file system for a store, made once in each process and kept.

    It is never to be pickled: in another process, call this again there.

    Parameters
    ----------
    settings : Settings
    pool : int
        How many requests may be under way at once.
    endpoint : str, optional
        One of the settings' several endpoints; default: the first.

    Returns
    -------
    fsspec.AbstractFileSystem
        s3fs's S3FileSystem, adlfs's AzureBlobFileSystem, or the one for another scheme.

    Raises
    ------
    MissingDependencyError
        Names what to install.
    """
    if endpoint and isinstance(settings, S3Settings):
        others = tuple(e for e in settings.endpoints if e != endpoint)
        settings = replace(settings, endpoints=(endpoint, *others))
    skip = settings.options.get("skip_instance_cache")
    with _lock:
        found = None if skip else _kept.get((settings, pool))
        if found is None:
            found = new_filesystem(settings, pool)
            if not skip:
                _kept[settings, pool] = found
        return found


def new_filesystem(settings: Settings, pool: int = DEFAULT_POOL, **others: Any) -> Any:
    """A file system of its own, with further arguments of its class."""
    cls = file_system_class(settings.backend)
    options = {**settings.file_system_options(pool), **others}
    if settings.backend in ("s3", "az"):
        options["skip_instance_cache"] = True
    fs = cls(**options)
    if isinstance(settings, AzureSettings):
        _retry_sooner(fs)
    return fs


def _retry_sooner(fs: Any) -> None:
    """Wait about 1.5, 2 and 3 seconds between attempts, not 18, 24 and 42: adlfs has no option for that."""
    policy: Any = getattr(getattr(fs.service_client, "_config", None), "retry_policy", None)
    if hasattr(policy, "initial_backoff") and hasattr(policy, "increment_base"):
        policy.initial_backoff, policy.increment_base, policy.random_jitter_range = 0, 1.5, 0.5


def on_loop(fs: Any, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """Run a coroutine on a file system's event loop, and wait for what it returns."""
    from fsspec.asyn import sync

    return sync(fs.loop, work, *args, **kwargs)
