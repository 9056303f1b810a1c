"""Lists of files, compact enough for ten million of them."""

from __future__ import annotations

import copy
import errno
import glob
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from .._limits import default_threads
from ..errors import DlioFastFileNotFoundError, FormatError, NotRegularFileError, UnsupportedError, os_error
from .local import Address, local_path

if TYPE_CHECKING:
    from .remote import RemoteStore

UNKNOWN_SIZE = np.iinfo(np.uint64).max
MANIFEST_SUFFIXES = (".txt", ".lst", ".list", ".manifest")


class FileList(Sequence[str]):
    """A sequence of paths, kept as one block of names below a common root.

    Takes the names' own length plus 9 bytes a file, instead of a Python string each.

    Parameters
    ----------
    root : bytes
        What every path begins with, including the final ``/``; may be empty.
    names : sequence of bytes
        The paths below it.
    direct : bool
        Read them past the page cache.
    sizes : array of uint64, optional
        Of objects, in bytes, as far as a listing has told: UINT64_MAX where it has not.
    versions : array of uint64, optional
        What stands for their ETags (csrc/dlf_store.h); 0 where there is none.

    Attributes
    ----------
    store : RemoteStore or None
        Where they lie, if not in local file systems.
    """

    store: RemoteStore | None = None

    def __init__(
        self,
        root: bytes,
        names: Sequence[bytes],
        *,
        direct: bool = False,
        sizes: NDArray[np.uint64] | None = None,
        versions: NDArray[np.uint64] | None = None,
    ):
        block = b"\0".join(names) + b"\0" if names else b""
        self._set(root, block, direct, sizes, versions)
        if len(self) != len(names):
            raise FormatError("a path cannot hold a NUL character")

    def _set(
        self,
        root: bytes,
        block: bytes,
        direct: bool,
        sizes: NDArray[np.uint64] | None,
        versions: NDArray[np.uint64] | None,
    ) -> None:
        self.root, self.names, self.direct = root, block, direct
        self.sizes, self.versions = sizes, versions
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 0)
        self.offsets = np.zeros(len(ends), np.uint64)
        self.offsets[1:] = ends[:-1] + 1

    @classmethod
    def of_block(
        cls,
        root: bytes,
        block: bytes,
        sizes: NDArray[np.uint64] | None = None,
        versions: NDArray[np.uint64] | None = None,
    ) -> FileList:
        """A list of the names in one block, each of which ends with a NUL."""
        self = cls.__new__(cls)
        self._set(root, block, False, sizes, versions)
        return self

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = int(self.offsets[index])  # an IndexError of numpy's names the index and the length
        path = os.fsdecode(self.root + self.names[start : self.names.index(b"\0", start)])
        if self.store is None:
            return path
        known = None
        if self.sizes is not None and self.sizes[index] != UNKNOWN_SIZE:
            known = int(self.sizes[index]), int(self.versions[index]) if self.versions is not None else 0
        return self.store.path(path, known)

    def chosen(self, which: Sequence[int]) -> FileList:
        """Those files, in that order."""
        index = np.asarray(which, np.intp)
        starts = self.offsets[index].tolist()
        names = [self.names[start : self.names.index(b"\0", start)] for start in starts]
        files = FileList(self.root, names, direct=self.direct)
        files.store = self.store
        files.sizes = None if self.sizes is None else self.sizes[index]
        files.versions = None if self.versions is None else self.versions[index]
        return files

    def head(self, count: int) -> FileList:
        """The first count files."""
        if count >= len(self):
            return self
        first = copy.copy(self)
        first.offsets = self.offsets[:count].copy()
        first.names = self.names[: int(self.offsets[count])]
        first.sizes = None if self.sizes is None else self.sizes[:count].copy()
        first.versions = None if self.versions is None else self.versions[:count].copy()
        return first

    @property
    def threads(self) -> int:
        """How many threads to read them with, by default."""
        return default_threads(self.direct, self.store is not None)

    def __repr__(self) -> str:
        return f"<FileList of {len(self)} files below {os.fsdecode(self.root) or '.'!r}>"


def _listdir(folder: bytes) -> list[bytes]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise _os_error(error, "the folder cannot be listed", os.fsdecode(folder)) from None
    names.sort()
    return names


def _os_error(error: OSError, what: str, path: str) -> OSError:
    code = error.errno or errno.EIO
    return os_error(code, f"{os.strerror(code)}: {what}", path)


def data_suffixes(suffixes: Iterable[str]) -> tuple[bytes, ...]:
    """The endings of the files that :func:`list_folder` takes: ``.npz`` in lower and in upper case."""
    return tuple(s.encode() for suffix in suffixes for s in (suffix, suffix.upper()))


def is_data(name: bytes, suffixes: tuple[bytes, ...]) -> bool:
    """Tell whether a file of that name is one of the data; hidden ones are not."""
    return name.endswith(suffixes) and not name.startswith(b".")


def list_folder(folder: Address, suffixes: Iterable[str]) -> FileList:
    """The data files of a folder, as DLIO finds them.

    Files directly in the folder, sorted by name; where its first entry is a folder, those one level
    below, sorted by name regardless of their folder. Hidden files are left out.

    Parameters
    ----------
    folder : str or path-like
    suffixes : iterable of str
        Such as ``.npz``; the upper-case form counts too.
    """
    path, direct = local_path(folder)
    base = os.path.join(os.fsencode(path), b"")
    wanted = data_suffixes(suffixes)
    names = [name for name in _listdir(base) if not name.startswith(b".")]
    if not names or not os.path.isdir(base + names[0]):
        return FileList(base, [name for name in names if is_data(name, wanted)], direct=direct)
    below = [
        os.path.join(sub, name)
        for sub in names
        if os.path.isdir(base + sub)
        for name in _listdir(base + sub)
        if is_data(name, wanted)
    ]
    below.sort(key=os.path.basename)
    return FileList(base, below, direct=direct)


def list_files(
    files: Address | Iterable[Address],
    suffixes: Iterable[str],
    storage_options: Mapping[str, Any] | None = None,
) -> FileList:
    """Resolve what a user names as his files: a list, a folder, a glob, a manifest, or one file.

    Parameters
    ----------
    files : str, path-like, or iterable of these
        A manifest is a text file (``.txt``, ``.lst``, ``.list``, ``.manifest``) with one path a line,
        relative ones below the manifest's own folder; lines that begin with ``#`` are comments.
    suffixes : iterable of str
        Which files of a folder count.
    storage_options : mapping, optional
        For the store of addresses that are not local.

    Raises
    ------
    DlioFastFileNotFoundError
        Nothing is there.
    """
    if not isinstance(files, (str, bytes, os.PathLike)):
        files = list(files)
    from .listing import names_remote  # which needs this module

    if names_remote(files):
        from .remote import list_objects

        return list_objects(files, suffixes, storage_options)
    if not isinstance(files, (str, bytes, os.PathLike)):
        return _from_paths(files)
    path, direct = local_path(files)
    if os.path.isdir(path):
        return list_folder(files, suffixes)
    if os.path.exists(path):
        if path.lower().endswith(MANIFEST_SUFFIXES):
            return _from_manifest(path, direct)
        return FileList(b"", [os.fsencode(path)], direct=direct)
    if glob.has_magic(path):
        found = sorted(p for p in glob.iglob(os.fsencode(path), recursive=True) if not os.path.isdir(p))
        if found:
            return FileList(b"", found, direct=direct)
    raise DlioFastFileNotFoundError(2, "no such file, folder or match for the pattern", path)


def _from_paths(files: Iterable[Address], folder: str = "", direct: bool = False) -> FileList:
    texts = [os.fsdecode(file) for file in files]
    split = [local_path(text) if "://" in text else (text, False) for text in texts]
    directs = {direct or is_direct for _, is_direct in split}
    if len(directs) > 1:
        raise UnsupportedError("a list of files must be all direct:// or none of them")
    names = [os.fsencode(os.path.join(folder, path) if folder else path) for path, _ in split]
    return FileList(b"", names, direct=True in directs)


def _from_manifest(path: str, direct: bool) -> FileList:
    try:
        # Without O_NONBLOCK the open of a FIFO waits for somebody who writes into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as lines:
            if not stat.S_ISREG(os.fstat(lines.fileno()).st_mode):
                raise NotRegularFileError(f"{path}: the manifest is not a regular file", path)
            names = [line.rstrip(b"\r\n") for line in lines]
    except OSError as error:
        raise _os_error(error, "the manifest cannot be read", path) from None
    names = [name for name in names if name.strip() and not name.startswith(b"#")]
    folder = os.path.dirname(os.path.abspath(path))
    if any(b"://" in name for name in names):
        return _from_paths(map(os.fsdecode, names), folder, direct)
    base = os.path.join(os.fsencode(folder), b"")
    return FileList(b"", [name if name.startswith(b"/") else base + name for name in names], direct=direct)
