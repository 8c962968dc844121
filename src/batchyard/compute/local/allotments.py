"""Every attempt's part of the scratch space: the ground that its directories stand on, and how much of it the attempt may take."""

from __future__ import annotations

from batchyard.compute.local.ground import Ground, Plain


class Allotments:
    """Those of one node. Until it is told to stand on a scratch space, directories are plain and nobody has a limit."""

    def __init__(self) -> None:
        self.ground: Ground = Plain()

    def stand_on(self, ground: Ground) -> None:
        """From now on directories are made on this ground. Before any is made: the scratch space was mounted."""
        self.ground = ground
