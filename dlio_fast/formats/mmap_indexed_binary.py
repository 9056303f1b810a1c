"""Memory-mapped indexed binary: the files of indexed_binary under another suffix.

DLIO maps them and slices the map without touching a page, so that its reader reads nothing at all
(reader/indexed_binary_mmap_reader.py). Here both formats are read alike: every byte, to where it is wanted.
"""

from __future__ import annotations

from .indexed_binary import IndexedBinaryFormat


class MmapIndexedBinaryFormat(IndexedBinaryFormat):
    """Indexed binary files that DLIO reads through a memory map."""

    name = "mmap_indexed_binary"
    suffixes = (".mmap_indexed_binary",)


FORMAT = MmapIndexedBinaryFormat()
