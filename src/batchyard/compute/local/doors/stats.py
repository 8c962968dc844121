"""What a process job uses, read from its cgroups, in the shape of Docker's ContainerStats, which is what ECS's `/stats` answers.

A figure that this kernel or these cgroups do not give is left out. There are no `networks`: as in a container on the host's network,
all traffic is the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchyard.compute.local import knobs

_OURS = "batchyard-"  # what the groups of a node's jobs lie in
_NANOSECONDS = 1_000_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_NO_LIMIT = 1 << 62
_BEGINNING = "0001-01-01T00:00:00Z"  # what Docker says where there was no reading before


def of_process(pid: int, name: str, before_ns: int) -> dict[str, Any] | None:
    """One reading of the cgroups of a job's first process; None if it has none of its own. `before_ns`: see `Cage.cpu_before_ns`."""
    groups = _groups_of(pid)
    if not groups:
        return None
    cpu = _cpu2(groups[""]) if "" in groups else _cpu1(groups, before_ns)
    memory = _memory2(groups[""]) if "" in groups else _memory1(groups["memory"]) if "memory" in groups else {}
    pids = groups.get("") or groups.get("pids")
    now = {**cpu, "system_cpu_usage": _machine_cpu_ns(), "online_cpus": os.cpu_count() or 1}
    return {
        "read": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "preread": _BEGINNING,
        "pids_stats": _pids(pids) if pids else {},
        "blkio_stats": {"io_service_bytes_recursive": list(_io2(groups[""])) if "" in groups else []},
        "num_procs": 0,  # of Windows, as the next one is
        "storage_stats": {},
        "cpu_stats": now,
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": memory,
        "name": f"/{name}",
    }


def _groups_of(pid: int) -> dict[str, Path]:
    """The directories of a process's cgroups by controller (version 2: ""), as far as they are a job's own."""
    mounts: dict[str, knobs.Mount] = {}
    for mount in knobs.mounts():
        for controller in mount.options if mount.kind == "cgroup" else ("",):
            mounts.setdefault(controller, mount)
    found: dict[str, Path] = {}
    for line in knobs.read(Path(f"/proc/{pid}/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if _OURS in path and not path.endswith("/home"):
            found.update({name: knobs.place_in(mounts[name], path) for name in controllers.split(",") if name in mounts})
    if "memory" in found:
        found.pop("", None)  # where version 1 has the controllers, version 2 has nothing to say
    return found


def _number(path: Path) -> int:
    """The number in a file; 0 if there is none."""
    text = knobs.read(path).strip()
    return int(text) if text.isdecimal() else 0


def _numbers(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in knobs.read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _cpu1(groups: dict[str, Path], before_ns: int) -> dict[str, Any]:
    """These groups are used by one job after the other: only of the sum is it known what was counted before."""
    group = groups.get("cpuacct")
    if group is None:
        return {"cpu_usage": {"total_usage": 0}}
    throttled = _numbers(groups.get("cpu", group) / "cpu.stat")
    total_ns = max(0, _number(group / "cpuacct.usage") - before_ns)
    return {"cpu_usage": {"total_usage": total_ns}, "throttling_data": _throttling(throttled, throttled.get("throttled_time", 0))}


def _cpu2(group: Path) -> dict[str, Any]:
    numbers = _numbers(group / "cpu.stat")
    return {
        "cpu_usage": {
            "total_usage": numbers.get("usage_usec", 0) * 1000,
            "usage_in_kernelmode": numbers.get("system_usec", 0) * 1000,
            "usage_in_usermode": numbers.get("user_usec", 0) * 1000,
        },
        "throttling_data": _throttling(numbers, numbers.get("throttled_usec", 0) * 1000),
    }


def _throttling(numbers: dict[str, int], throttled_ns: int) -> dict[str, int]:
    return {
        "periods": numbers.get("nr_periods", 0),
        "throttled_periods": numbers.get("nr_throttled", 0),
        "throttled_time": throttled_ns,
    }


def _memory1(group: Path) -> dict[str, Any]:
    limit = _number(group / "memory.limit_in_bytes")
    return {
        "usage": _number(group / "memory.usage_in_bytes"),
        "max_usage": _number(group / "memory.max_usage_in_bytes"),
        "failcnt": _number(group / "memory.failcnt"),
        "stats": _numbers(group / "memory.stat"),
        "limit": limit if limit < _NO_LIMIT else _machine_memory_bytes(),
    }


def _memory2(group: Path) -> dict[str, Any]:
    return {
        "usage": _number(group / "memory.current"),
        "stats": _numbers(group / "memory.stat"),
        "limit": _number(group / "memory.max") or _machine_memory_bytes(),
    }


def _pids(group: Path) -> dict[str, int]:
    limit = _number(group / "pids.max")
    return {"current": _number(group / "pids.current"), **({"limit": limit} if limit else {})}


def _io2(group: Path) -> Iterator[dict[str, Any]]:
    for line in knobs.read(group / "io.stat").splitlines():
        device, *pairs = line.split()
        major, colon, minor = device.partition(":")
        numbers = dict(pair.partition("=")[::2] for pair in pairs)
        if colon:
            for name, operation in (("rbytes", "read"), ("wbytes", "write")):
                yield {"major": int(major), "minor": int(minor), "op": operation, "value": int(numbers.get(name, 0))}


def _machine_cpu_ns() -> int:
    """The time that all processors have spent, busy or idle."""
    first = knobs.read(Path("/proc/stat")).partition("\n")[0].split()
    return sum(int(number) for number in first[1:9]) * _NANOSECONDS // _TICKS


def _machine_memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
