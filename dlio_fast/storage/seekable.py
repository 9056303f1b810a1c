"""An object as a file that can be read and sought in, for libraries that want one."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from typing import Any

from .. import _core
from .memory import shared_pool

BLOCK = 256 << 10
"""Bytes that are asked for at once: metadata lie in small pieces, close to each other."""
KEPT = 16
"""Blocks that are remembered."""


class SeekableFile(io.RawIOBase):
    """Reads a file of any store in blocks, of which the latest are kept.

    Attributes
    ----------
    file : _core.File
    """

    def __init__(self, path: str):
        self.file = _core.File(path, shared_pool())
        self._at = 0
        self._blocks: OrderedDict[int, memoryview] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.file.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        done = 0
        while done < len(into) and self._at < self.file.size:
            number, skip = divmod(self._at, BLOCK)
            piece = self._block(number)[skip : skip + len(into) - done]
            into[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _block(self, number: int) -> memoryview:
        block = self._blocks.get(number)
        if block is None:
            begin = number * BLOCK
            block = memoryview(self.file.read(begin, min(BLOCK, self.file.size - begin)))
            self._blocks[number] = block
            while len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return block

    def close(self) -> None:
        self._blocks.clear()
        self.file.close()
        super().close()
