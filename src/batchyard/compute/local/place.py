"""What all attempts of one node have in common, however they run: where they live, and what each is told of its room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchyard.compute.local.cage import USUAL, Limits
from batchyard.model.messages import Launch

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubbles
    from batchyard.compute.local.doors.doors import Doors


class Place(NamedTuple):
    """What attempts of one node have in common."""

    node: str  # the node's own name, a marker by which its processes are found
    work: str  # where the private directories are made
    logs: Path
    reserved: range
    allow_any_user: bool
    limits: Limits = USUAL
    bubbles: Bubbles | None = None  # makes the namespaces that jobs live in, where that can be
    doors: Doors | None = None  # what jobs can ask of us


def of_needs(launch: Launch) -> dict[str, str]:
    """What a job is told about the room that it has."""
    needs = launch.needs
    promised = {"BATCHYARD_SCRATCH_MIB": str(needs.scratch_mib)} if needs.scratch_mib else {}
    return {
        **promised,
        "BATCHYARD_VCPUS": f"{needs.vcpus:g}",
        "BATCHYARD_MEMORY_MIB": str(needs.memory_mib),
        "BATCHYARD_GPUS": str(needs.gpus),
    }
