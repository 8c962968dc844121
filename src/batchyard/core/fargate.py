"""The sizes that a Fargate task may have (API reference, ResourceRequirement; specification, section 5.6)."""

from __future__ import annotations

from batchyard.model.capacity import Resources
from batchyard.model.fault import client_fault

# vCPUs -> memory in MiB
SIZES: dict[float, frozenset[int]] = {
    0.25: frozenset((512, 1024, 2048)),
    0.5: frozenset(range(1024, 4096 + 1, 1024)),
    1: frozenset(range(2048, 8192 + 1, 1024)),
    2: frozenset(range(4096, 16384 + 1, 1024)),
    4: frozenset(range(8192, 30720 + 1, 1024)),
    8: frozenset(range(16384, 61440 + 1, 4096)),
    16: frozenset(range(32768, 122880 + 1, 8192)),
}


def check_size(needs: Resources) -> None:
    """Refuse a size that no Fargate task has, in AWS's words."""
    if needs.gpus:
        raise client_fault("Error executing request, Exception : GPU is not applicable for Fargate.")
    if needs.memory_mib not in SIZES.get(needs.vcpus, ()):
        size = f"{needs.vcpus:.2f} vCPU, {needs.memory_mib} MiB"
        raise client_fault(f"Error executing request, Exception : Fargate resource requirements ({size}) not valid.")
