"""Cgroups of version 2 for real: a node with jobs in a small emulated machine, since this one's controllers may all be with version 1."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

EMULATOR = shutil.which("qemu-system-x86_64")
KERNELS = [Path(os.environ["GUEST_KERNEL"])] if "GUEST_KERNEL" in os.environ else sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64"))
LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "idlelib", "ensurepip", "site-packages", "__pycache__", "config-*", "lib2to3", "tkinter", "*.a"
)

pytestmark = [
    pytest.mark.system("qemu-system-x86, linux-image-cloud-amd64"),
    pytest.mark.skipif(not (EMULATOR and KERNELS), reason="needs qemu-system-x86_64 and /boot/vmlinuz-*-cloud-amd64 (or GUEST_KERNEL)"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the guest said, by name."""
    assert EMULATOR
    root = tmp_path_factory.mktemp("guest")
    image = tmp_path_factory.mktemp("image") / "initramfs.gz"
    fill(root)
    image.write_bytes(gzip.compress(packed(root), 1))
    command = [EMULATOR, "-accel", "tcg", "-cpu", "max", "-m", "1500", "-nographic", "-no-reboot"]
    command += ["-kernel", str(KERNELS[-1]), "-initrd", str(image), "-append", "console=ttyS0 quiet panic=1"]
    console = subprocess.run(command, capture_output=True, timeout=300, check=True, stdin=subprocess.DEVNULL).stdout.decode(
        errors="replace"
    )
    lines = [line[line.index("GUEST ") + 6 :] for line in console.splitlines() if "GUEST {" in line]
    found = {said["name"]: said for said in map(json.loads, lines)}
    assert "groups" in found, console
    return found


def fill(root: Path) -> None:
    """This interpreter where it is here, and what it needs; the node's code and the script that is the first process."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    shutil.copytree(library, at(root, library), ignore=LEFT_OUT, symlinks=True)
    dynamic = [python, *library.rglob("lib-dynload/*.so")]
    app = root / "app"
    for name in ("batchyard", "msgspec"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        shutil.copytree(Path(spec.origin).parent, app / name, ignore=LEFT_OUT)
    dynamic.extend((app / "msgspec").glob("*.so"))
    for library_path in libraries(dynamic):
        shutil.copy(library_path, at(root, library_path))
    shutil.copy(python, at(root, python))
    script = Path(__file__).with_name("guest_init.py").read_text()
    (root / "run").mkdir()
    init = root / "init"
    init.write_text(f"#!{python}\nimport os, sys\nsys.path.insert(0, '/app')\nos.environ['PYTHONPATH'] = '/app'\n{script}")
    init.chmod(0o755)


def at(root: Path, place: Path) -> Path:
    inside = root / str(place).lstrip("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    return inside


def libraries(programs: list[Path]) -> set[Path]:
    """The shared libraries that programs load, where the loader looks for them."""
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(word) for word in told.split() if word.startswith("/") and ".so" in word and Path(word).is_file()}


def packed(root: Path) -> bytes:
    """A directory as a cpio archive of the kind that the kernel unpacks ("newc"); all in it belongs to root and may be read."""
    parts = []
    for number, path in enumerate([*sorted(root.rglob("*")), None]):
        name = str(path.relative_to(root)) if path else "TRAILER!!!"
        mode, content = 0, b""
        if path:
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                mode, content = stat.S_IFLNK | 0o777, os.readlink(path).encode()  # noqa: PTH115
            elif stat.S_ISDIR(kind):
                mode = stat.S_IFDIR | 0o755
            else:
                mode, content = stat.S_IFREG | 0o755, path.read_bytes()
        named = name.encode() + b"\0"
        fields = (number + 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(named), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + named
        parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(parts)


def test_the_guest_has_version_2(told: dict[str, dict[str, Any]]) -> None:
    assert (told["facts"]["isolation"], told["facts"]["uid_isolation"], told["facts"]["warnings"]) == ("cgroup v2", True, [])
    assert set(told["facts"]["controllers"]) == {"memory", "cpu", "pids"}


def test_jobs_run_under_their_limits(told: dict[str, dict[str, Any]]) -> None:
    assert (told["plain"]["code"], told["plain"]["log"]) == (3, ["hello"])
    assert told["limits"]["log"] == [str(100 << 20), "0", "79"]
    assert 50 < told["peak"]["peak"] < 90
    assert told["peak"]["cpu"] > 0


def test_memory_kills_are_told_apart(told: dict[str, dict[str, Any]]) -> None:
    assert (told["oom"]["code"], told["oom"]["oom"]) == (137, True)
    assert (told["oom of a child"]["code"], told["oom of a child"]["oom"], told["oom of a child"]["log"]) == (0, True, ["survived"])
    assert (told["kill"]["code"], told["kill"]["oom"]) == (137, False)


def test_a_burst_is_started_by_stepping_in_and_does_not_take_the_node_along(told: dict[str, dict[str, Any]]) -> None:
    assert [(told[f"burst {number}"]["code"], told[f"burst {number}"]["oom"]) for number in range(8)] == [(0, False), (137, True)] * 4


def test_nobody_and_nothing_is_left(told: dict[str, dict[str, Any]]) -> None:
    assert told["daemon"]["code"] == 4
    assert told["runs"]["cause"] == "lost"
    assert told["left"]["processes"] == []
    assert told["groups"]["left"] == []
