"""Listings kept on local disk, so that ten million objects are known within seconds."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from .addresses import RemoteAddress
from .azure_settings import AzureSettings
from .files import FileList
from .local import Address
from .options import LISTING_OPTIONS, as_number
from .s3_settings import S3Settings
from .settings import Settings

_LAYOUT = 1

MAX_AGE = 24 * 3600.0


def listing_cache(*sources: Mapping[str, Any]) -> ListingCache | None:
    """The one that storage options name, the first of which wins; None: listings are not kept.

    Raises
    ------
    ConfigError
        The folder is no path, or the age no number of seconds.
    """
    folder, age = (
        next((source[name] for source in sources if source.get(name) not in (None, "")), None)
        for name in LISTING_OPTIONS
    )
    if folder is None:
        return None
    if not isinstance(folder, (str, os.PathLike)):
        raise ConfigError(f"listing_cache: must be a folder's path, not {type(folder).__name__}")
    return ListingCache(
        os.path.expanduser(folder), MAX_AGE if age is None else as_number(age, "listing_max_age")
    )


@dataclass(frozen=True)
class ListingCache:
    """A folder with one file a listing: an NPZ archive, whose checksums tell a damaged one.

    Parameters
    ----------
    folder : str or path-like
        Made where it is not there. Safe to share between processes: files appear as a whole.
    max_age : float
        Seconds after which a listing no longer counts.
    """

    folder: Address
    max_age: float

    def _what(self, address: RemoteAddress, suffixes: tuple[str, ...], settings: Settings) -> dict[str, Any]:
        """What a listing is of; holds no secret."""
        store: list[str] = []
        if isinstance(settings, S3Settings):
            store = sorted(settings.endpoints)
        elif isinstance(settings, AzureSettings):
            store = [settings.endpoint]
        return {"layout": _LAYOUT, "address": str(address), "store": store, "suffixes": list(suffixes)}

    def path(self, address: RemoteAddress, suffixes: tuple[str, ...], settings: Settings) -> str:
        """The file that holds a listing."""
        what = json.dumps(self._what(address, suffixes, settings), sort_keys=True)
        return os.path.join(self.folder, f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.listing")

    def load(self, address: RemoteAddress, suffixes: tuple[str, ...], settings: Settings) -> FileList | None:
        """The kept listing; None: there is none, or it is too old or damaged."""
        path = self.path(address, suffixes, settings)
        try:
            with np.load(path, allow_pickle=False) as kept:
                header = json.loads(bytes(kept["header"]))
                age = time.time() - header.pop("time")
                if header != self._what(address, suffixes, settings) or not 0 <= age <= self.max_age:
                    return None
                block = kept["names"].tobytes()
                found = FileList.of_block(bytes(kept["root"]), block, kept["sizes"], kept["versions"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            _warn(path, f"cannot be used: {type(error).__name__}")
            return None
        whole = not block or block.endswith(b"\0")
        right = all(a is not None and a.dtype == np.uint64 and a.shape == (len(found),)
                    for a in (found.sizes, found.versions))  # fmt: skip
        if whole and right:
            return found
        _warn(path, "is damaged")
        return None

    def save(
        self, files: FileList, address: RemoteAddress, suffixes: tuple[str, ...], settings: Settings
    ) -> None:
        """Keep a listing; a disk that has no room for it is no error."""
        path = self.path(address, suffixes, settings)
        header = {**self._what(address, suffixes, settings), "time": time.time()}
        temporary = ""
        try:
            os.makedirs(self.folder, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=self.folder, prefix=".", suffix=".tmp", delete=False
            ) as file:
                temporary = file.name
                np.savez(
                    file,
                    header=np.frombuffer(json.dumps(header).encode(), np.uint8),
                    root=np.frombuffer(files.root, np.uint8),
                    names=np.frombuffer(files.names, np.uint8),
                    sizes=_or_empty(files.sizes),
                    versions=_or_empty(files.versions),
                )
            os.replace(temporary, path)
        except OSError as error:
            _warn(path, f"cannot be written: {error.strerror or type(error).__name__}")
            if temporary and os.path.exists(temporary):
                os.unlink(temporary)


def _or_empty(values: Any) -> Any:
    return np.zeros(0, np.uint64) if values is None else values


def _warn(path: str, what: str) -> None:
    logging.getLogger("dlio_fast").warning("%s: the kept listing %s; listing anew", path, what)
