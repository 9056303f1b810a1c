"""Ranges of a file: those that are to be read, and a file object over those that were."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from ..errors import FormatError


def joined_extents(extents: Iterable[tuple[int, int]], gap: int = 0) -> list[tuple[int, int]]:
    """Return ascending extents in which all of these lie, those at most `gap` bytes apart as one."""
    joined: list[tuple[int, int]] = []
    for start, nbytes in sorted(extents):
        if joined and start <= sum(joined[-1]) + gap:
            first, length = joined.pop()
            joined.append((first, max(length, start + nbytes - first)))
        else:
            joined.append((start, nbytes))
    return joined


class Ranges:
    """A file of which some ranges, ascending ones, have been read, for pyarrow; others cannot be."""

    closed = False

    def __init__(self, path: str, size: int, extents: Sequence[tuple[int, int]], data: Sequence[memoryview]):
        self._path, self._size, self._position = path, size, 0
        self._starts = [start for start, _ in extents]
        self._data = data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> memoryview:
        found = self.slice(self._position, size if size >= 0 else self._size - self._position)
        self._position += len(found)
        return found

    def slice(self, at: int, size: int) -> memoryview:
        """Return some of what was read; FormatError where it was not."""
        if not size:
            return memoryview(b"")
        number = bisect_right(self._starts, at) - 1
        if number >= 0:
            begin = at - self._starts[number]
            found = self._data[number][begin : begin + size]
            if len(found) == size:
                return found
        raise FormatError(
            f"{self._path}: bytes {at} to {at + size} are wanted, which no column that is read lies in",
            self._path, None, at,
        )  # fmt: skip

    def close(self) -> None:
        pass
