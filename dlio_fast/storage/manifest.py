"""Manifests: text files that name objects, one a line, with what is known of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..config import is_remote
from ..errors import FormatError
from .files import MANIFEST_SUFFIXES
from .local import Address, local_path


@dataclass
class Manifest:
    """Addresses, and sizes in bytes and ETags where a line has them; empty lists where none has."""

    path: str
    names: list[str] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)


def manifest_of_addresses(files: Iterable[Address]) -> Manifest:
    """A list of addresses in code."""
    return Manifest("", [os.fsdecode(os.fspath(file)) for file in files])


def manifest_of(data: bytes, root: str, path: str) -> Manifest:
    """Read a manifest; names that are no addresses lie below `root`.

    Raises
    ------
    FormatError
        A line is not ``ADDRESS[<tab>SIZE[<tab>ETAG]]``; names the line.
    """
    found = Manifest(path)
    some_size = some_etag = False
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, *rest = os.fsdecode(line.rstrip(b"\r")).split("\t")
        size, etag = (*rest, "", "")[:2]
        if len(rest) > 2 or (size and not (size.isascii() and size.isdigit() and int(size) < 1 << 63)):
            raise FormatError(f"{path}: line {number} is not ADDRESS[<tab>SIZE[<tab>ETAG]]", path)
        found.names.append(name if "://" in name else root + name)
        found.sizes.append(int(size) if size else None)
        found.etags.append(etag)
        some_size, some_etag = some_size or bool(size), some_etag or bool(etag)
    if not some_size:
        found.sizes = []
    if not some_etag:
        found.etags = []
    return found


def local_manifest_root(files: Address) -> str | None:
    """What relative names of a local manifest of remote objects lie below; None: it is no such file."""
    text = os.fsdecode(os.fspath(files))
    if is_remote(text) or not text.lower().endswith(MANIFEST_SUFFIXES):
        return None
    path, _ = local_path(text)
    try:
        # Without O_NONBLOCK the open of a FIFO waits for somebody who writes into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as lines:
            if not stat.S_ISREG(os.fstat(lines.fileno()).st_mode):
                return None
            first = next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")
    except OSError:
        return None  # list_files says what is wrong
    name = os.fsdecode(first.split(b"\t")[0].strip())
    return f"{name.rpartition('/')[0]}/" if "://" in name and is_remote(name) else None
