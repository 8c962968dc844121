"""The real store, in memory, on a disk that fails when it is told to."""

from __future__ import annotations

from batchyard.simulate.chance import Chance
from batchyard.store.records import Changes
from batchyard.store.sql import Store


class DiskFailed(Exception):
    """An injected failure of a write."""


class ShakyStore(Store):
    """Fails in `stage`, in `commit` with nothing kept, or in `commit` with everything kept and yet an error."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(":memory:")
        self._chance = chance

    def stage(self, changes: Changes) -> None:
        super().stage(changes)
        if self._chance("failed_stage"):
            self.abandon()
            raise DiskFailed("stage")

    def commit(self) -> None:
        if self._chance("failed_commit"):
            self.abandon()
            raise DiskFailed("commit")
        super().commit()
        if self._chance("unsure_commit"):
            raise DiskFailed("after the commit")
