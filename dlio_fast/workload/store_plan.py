"""The files of a configured data set in a store: one listing says what is there."""

from __future__ import annotations

import os

import numpy as np

from ..config import Config
from ..storage.files import FileList
from .place import Place
from .plan import FilePlan, Inventory, Split


class StorePlan(FilePlan):
    """A plan whose files are objects."""

    def __init__(self, cfg: Config, place: Place):
        super().__init__(cfg, place)
        self._there = np.zeros(len(self), np.bool_)

    def take_inventory(self, rank: int, world_size: int) -> Inventory:
        """Look at what readers find, and have the store drop dead runs' uploads of files of the same rank."""
        found, pattern = Inventory(), self.own_names()
        for split in self.splits:
            for path in self._listed(split):
                folder, name = os.path.split(path[len(self.folder) + 1 :])
                match = pattern.fullmatch(name)
                index = int(match["index"]) if match else -1
                if match and self.belongs(name, split, index, folder):
                    if not match["rest"]:
                        self._there[split.first + index] = True
                else:
                    found.foreign.append(path)
        self._abort_uploads(rank, world_size)
        return found

    def check_room(self, found: Inventory, replaced_at_once: int) -> None:
        """A store has room."""

    def is_complete(self, index: int) -> bool:
        """As :meth:`FilePlan.is_complete`; nothing is asked for what was not listed."""
        return bool(self._there[index]) and super().is_complete(index)

    def _listed(self, split: Split) -> FileList:
        return self.place.listed(f"{self.folder}/{split.name}", [f".{self.dataset.format}"])

    def _abort_uploads(self, rank: int, world_size: int) -> None:
        from ..storage.uploading import abort_uploads

        pattern = self.own_names()

        def ours(path: str) -> bool:
            folder, name = os.path.split(path[len(self.folder) + 1 :])
            match = pattern.fullmatch(name)
            split = next((split for split in self.splits if folder.startswith(split.name)), None)
            if not match or not split or not self.belongs(name, split, int(match["index"]), folder):
                return False
            return (split.first + int(match["index"])) % world_size == rank

        assert self.place.store is not None
        abort_uploads(self.place.store, f"{self.folder}/", ours)
