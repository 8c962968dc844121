"""EC2: the network and what templates refer to as records with AWS's checks, and the slices of this machine as instances."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
