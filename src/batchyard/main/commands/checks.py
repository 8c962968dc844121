"""What `batchyard doctor` looks at: one function per subject, each giving what it found and how to mend it."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from batchyard.main.client import Trouble
from batchyard.main.commands.place import from_folder

PYTHON = (3, 11)
SQLITE = (3, 51, 3)
MEMORY_WARN_MIB = 1024
DISK_WARN_MIB = 5 * 1024
DISK_FAIL_MIB = 200
SKEW_FAIL_S = 900
SKEW_WARN_S = 30
SENSIBLE_YEAR = 2025
SOCKET_PATH_BYTES = 104  # what the address of a unix socket may hold, on the strictest system
ANSWER_WITHIN_S = 20.0  # a busy service is no other program
_LOST = re.compile(r'^batchyard_access_log_records_lost_total\{why="([^"]*)"\} (\S+)$', re.MULTILINE)
JOB_PROGRAMS = ("aws", "python3")


class Finding(NamedTuple):
    """`result` is "ok", "warn" or "fail"."""

    subject: str
    result: str
    found: str
    fix: str = ""


Check = Callable[[Path], Iterator[Finding]]


def python(folder: Path) -> Iterator[Finding]:
    fits = sys.version_info[:2] >= PYTHON
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("Python", "ok" if fits else "fail", found, f"Install Python {PYTHON[0]}.{PYTHON[1]} or newer.")


def sqlite(folder: Path) -> Iterator[Finding]:
    try:
        import apsw
    except ImportError as error:
        yield Finding("SQLite", "fail", f"apsw cannot be imported: {error}", "pip install 'apsw>=3.51.3'")
        return
    version = apsw.sqlite_lib_version()
    fits = tuple(int(part) for part in version.split(".")) >= SQLITE
    fix = f"Older than {'.'.join(map(str, SQLITE))}, which mends a loss of data in WAL mode: pip install --upgrade apsw"
    yield Finding("SQLite", "ok" if fits else "fail", f"{version} (apsw {apsw.apsw_version()})", fix)


def memory(folder: Path) -> Iterator[Finding]:
    """What jobs could have now, as the kernel reckons it."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[name].split()[0]) // 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        total, free = _memory_by_sysconf()
    result = "ok" if free >= MEMORY_WARN_MIB else "warn"
    yield Finding(
        "Memory", result, f"{free} MiB free of {total} MiB", "Little is left for jobs: end other programs, or serve with --memory-mib."
    )


def _memory_by_sysconf() -> tuple[int, int]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return total, total


def disk(folder: Path) -> Iterator[Finding]:
    """Room where the service keeps its state, objects and the jobs' directories, and whether it can be written safely."""
    there = _existing(folder)
    free_mib = shutil.disk_usage(there).free // 1024**2
    result = "fail" if free_mib < DISK_FAIL_MIB else "warn" if free_mib < DISK_WARN_MIB else "ok"
    yield Finding(
        "Disk",
        result,
        f"{free_mib} MiB free at {there}",
        "Objects, logs and jobs' files are kept there: make room, or serve with another --data.",
    )
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "What is acknowledged must be on the disk first: choose a folder of your own on a local disk with --data."
        yield Finding("Folder", "fail", f"{there} cannot be written: {error.strerror}", fix)
    else:
        yield Finding("Folder", "ok", f"{folder} can be written and synced" if folder.exists() else f"{folder} can be made")


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def clock(folder: Path) -> Iterator[Finding]:
    now = time.time()
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    sensible = time.gmtime(now).tm_year >= SENSIBLE_YEAR
    yield Finding("Clock", "ok" if sensible else "fail", found, "Signed requests need the right time: set the clock (NTP).")


def ports(folder: Path) -> Iterator[Finding]:
    """Whether the service's own port (if it has one already) is taken by somebody else, and whether loopback works at all."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        yield Finding("Ports", "fail", f"127.0.0.1 cannot be listened on: {error.strerror}", "Bring the loopback interface up.")
        return
    try:
        where = urlsplit(from_folder(folder).endpoint_of("batch"))
    except Trouble:
        yield Finding("Ports", "ok", "loopback can be listened on; the first start takes a port and keeps it")
        return
    host, port = where.hostname or "", where.port or 80
    state = _healthz(host, port)[0]
    if state == "other":
        fix = f"End that program, or serve with another port: batchyard serve --data {folder} --port N"
        yield Finding("Ports", "fail", f"port {port} of this service is taken by another program", fix)
    else:
        yield Finding("Ports", "ok", f"port {port} is {'held by the service' if state == 'batchyard' else 'free'}")


def server(folder: Path) -> Iterator[Finding]:
    """Whether the server answers, is ready, and agrees about the time."""
    try:
        place = from_folder(folder)
    except Trouble as trouble:
        yield Finding("Server", "warn", trouble.message, trouble.fix)
        return
    where = urlsplit(place.endpoint_of("batch"))
    state, detail, date = _healthz(where.hostname or "", where.port or 80)
    if state != "batchyard":
        yield Finding("Server", "warn", f"does not answer at {where.netloc}{f' ({detail})' if detail else ''}", place.start_hint)
        return
    yield Finding("Server", "ok", f"answers at {place.endpoint_of('batch')} for {place.region}")
    if date is not None:
        skew = abs(time.time() - date)
        result = "fail" if skew > SKEW_FAIL_S else "warn" if skew > SKEW_WARN_S else "ok"
        if result != "ok":
            yield Finding(
                "Clock", result, f"{skew:.0f} s away from the server's", "Signatures are refused beyond 15 minutes: set the clock (NTP)."
            )


def _healthz(host: str, port: int) -> tuple[str, str, float | None]:
    """Who listens there: ("batchyard" | "other" | "nobody", what went wrong, the time by its Date header)."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
    except ConnectionRefusedError:
        return "nobody", "", None
    except (OSError, http.client.HTTPException) as error:
        return "other", str(error) or type(error).__name__, None
    finally:
        connection.close()
    if answer.status >= 400:
        return "other", f"HTTP {answer.status} to /healthz", None
    date = answer.getheader("date")
    return "batchyard", "", parsedate_to_datetime(date).timestamp() if date else None


def access_logs(folder: Path) -> Iterator[Finding]:
    """Whether access logs of buckets go lost, because the bucket that they are for does not take them."""
    try:
        where = urlsplit(from_folder(folder).endpoint_of("batch"))
    except Trouble:
        return
    lost = {why: count for why, count in _LOST.findall(_metrics(where.hostname or "", where.port or 80)) if float(count)}
    if lost:
        found = ", ".join(f"{float(count):.0f} ({why})" for why, count in lost.items())
        fix = "The server's log names the buckets: let logging.s3.amazonaws.com put into the target (s3:PutObject in its policy)."
        yield Finding("Access logs", "warn", f"records lost since the start: {found}", fix)


def _metrics(host: str, port: int) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""  # that it does not answer is told elsewhere
    finally:
        connection.close()


def node(folder: Path) -> Iterator[Finding]:
    """Whether the process that starts and reaps jobs is there; without a server and without work there need be none."""
    from batchyard.compute.local.protocol import LOG

    try:
        where = urlsplit(from_folder(folder).endpoint_of("batch"))
        served = _healthz(where.hostname or "", where.port or 80)[0] == "batchyard"
    except Trouble:
        served = False
    try:
        there = node_answers(folder)
    except OSError as error:
        yield Finding("Node", "fail", f"does not answer ({error.strerror or error})", f"Look into {folder / LOG}.")
        return
    if there:
        yield Finding("Node", "ok", "runs" if served else "runs, and its jobs with it; the server will find them")
    elif served:
        yield Finding("Node", "warn", "is not running", f"The server starts it anew; if it does not, look into {folder / LOG}.")
    else:
        yield Finding("Node", "ok", "is not running: without a server and without work there is none")


def node_answers(folder: Path) -> bool:
    """Whether a node takes connections in `folder`; OSError if it is there and does not."""
    from batchyard.compute.local.protocol import SOCKET

    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        path = str(folder / SOCKET)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_WITHIN_S)
            probe.connect(path if len(os.fsencode(path)) < SOCKET_PATH_BYTES else f"/proc/self/fd/{held}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        os.close(held)
    return True


def isolation(folder: Path) -> Iterator[Finding]:
    """What separates jobs from each other here, as the node will see it: users, limits, room."""
    from batchyard.compute.local import facts

    seen = facts(folder)
    if seen["uid_isolation"]:
        yield Finding("Users", "ok", "jobs run under users of their own")
    if seen["isolation"] != "watching":
        yield Finding("Cgroups", "ok", f"{seen['isolation']} ({', '.join(seen['controllers'])}): the kernel keeps jobs within their limits")
    if seen["bubblewrap"]:
        yield Finding("Namespaces", "ok", "jobs that are processes have a /tmp and a list of processes of their own (bubblewrap)")
    gpus = f", {seen['gpus']} GPUs" if seen["gpus"] else ""
    yield Finding("Machine", "ok", f"{seen['vcpus']:g} vCPUs, {seen['memory_mib']} MiB{gpus}")
    for warning in seen["warnings"]:
        yield Finding("Isolation", "warn", warning)


def containers(folder: Path) -> Iterator[Finding]:
    """Whether jobs could run in their images, and with which daemon."""
    from batchyard.compute.local.containers import sockets

    choice = sockets.choose("auto")
    fix = "Start Docker or Podman, or name its socket (batchyard serve --container-socket PATH), if jobs are to run in their images."
    yield Finding("Containers", "ok" if choice.daemon else "warn", choice.why, fix)


def link_local(folder: Path) -> Iterator[Finding]:
    """Whether jobs could ask at the addresses that programs have built in. Nobody has to have that: nothing is to be mended."""
    from batchyard.compute.local import cgroups, protocol
    from batchyard.compute.local.doors import link_local as taking

    addresses = " and ".join(taking.ADDRESSES)
    if (folder / protocol.LINK_LOCAL).exists():
        with contextlib.suppress(OSError):  # that the node does not answer is told elsewhere
            if node_answers(folder):
                yield Finding("Link-local", "ok", f"jobs of this service are answered at {addresses}")
                return
    groups = cgroups.usable_groups()
    why = taking.why_not() if groups.version else taking.sentence(taking.GROUPS.format(why=groups.why_not))
    yield Finding("Link-local", "ok", why or f"{taking.OPTION} is possible: jobs would be answered at {addresses}")


def programs(folder: Path) -> Iterator[Finding]:
    """Whether the users of jobs may start what jobs most often start; below /root, say, they may not."""
    from batchyard.compute.local import facts

    found = {name: path for name in JOB_PROGRAMS if (path := shutil.which(name))}
    if not found or not facts(folder)["uid_isolation"]:
        return
    closed = {name: above for name, path in found.items() if (above := closed_to_others(path))}
    if not closed:
        yield Finding("Programs", "ok", f"jobs may start {' and '.join(found)} of this PATH")
        return
    told = ", ".join(f"{name} (below {above})" for name, above in closed.items())
    fix = "Install them where every user may go (/usr/local, /opt), or give the job definition a PATH that leads to others."
    yield Finding("Programs", "warn", f"the users of jobs cannot start {told} of this PATH", fix)


def closed_to_others(program: str) -> Path | None:
    """The first directory on the way to a program, or to the interpreter that its first line names, which other users may not pass."""
    ways = [program, os.path.realpath(program)]
    with open(program, "rb") as file:
        first = file.readline(256)
    if first.startswith(b"#!") and (words := first[2:].split()):
        ways.append(os.path.realpath(os.fsdecode(words[0])))
    directories = (above for way in ways for above in reversed(Path(way).absolute().parents))
    return next((above for above in directories if above.exists() and not above.stat().st_mode & stat.S_IXOTH), None)


def surroundings(folder: Path) -> Iterator[Finding]:
    """Variables of this shell that would lead other tools astray."""
    astray = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if os.environ.get(name)]
    if os.environ.get("AWS_ENDPOINT_URL") and astray:
        yield Finding("Shell", "warn", f"{' and '.join(astray)} may win over the endpoint's keys", f"unset {' '.join(astray)}")
    proxy = next((name for name in ("HTTP_PROXY", "http_proxy") if os.environ.get(name)), None)
    bypassed = os.environ.get("NO_PROXY", "") + os.environ.get("no_proxy", "")
    if proxy and "127.0.0.1" not in bypassed and bypassed != "*":
        yield Finding("Shell", "warn", f"{proxy} is set: AWS tools would ask it for 127.0.0.1", "export NO_PROXY=127.0.0.1,localhost")


CHECKS: tuple[Check, ...] = (
    *(python, sqlite, memory, disk, isolation, containers, link_local, programs, clock),
    *(ports, server, access_logs, node, surroundings),
)
