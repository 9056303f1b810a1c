"""What stands for an ETag: ``dlf_store_version`` of csrc/dlf_store.c, FNV-1a of 64 bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# http://www.isthe.com/chongo/tech/comp/fnv/
_BASIS = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)


def versions_of(etags: Sequence[str]) -> NDArray[np.uint64]:
    """The versions of many ETags; 0 where the text is empty, for a store that tells none.

    A weak mark (``W/``) and quotation marks do not count.
    """
    bare = [_bare(etag.encode()) for etag in etags]
    lengths = np.fromiter(map(len, bare), np.intp, len(bare))
    found = np.full(len(bare), _BASIS, np.uint64)
    for length in np.unique(lengths):  # nearly always one or two
        which = np.flatnonzero(lengths == length)
        hashes = found[which]
        letters = np.frombuffer(b"".join(bare[i] for i in which), np.uint8).reshape(len(which), length)
        for column in letters.T.astype(np.uint64):
            hashes = (hashes ^ column) * _PRIME
        found[which] = hashes
    found[found == 0] = 1
    found[[not etag for etag in etags]] = 0
    return found


def _bare(etag: bytes) -> bytes:
    etag = etag.removeprefix(b"W/")
    return etag[1:-1] if len(etag) >= 2 and etag[:1] == etag[-1:] == b'"' else etag
