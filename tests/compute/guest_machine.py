"""A small emulated machine with a kernel of Debian: it consists of this interpreter, the node's code and a first process of the tests."""

from __future__ import annotations

import contextlib
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

HERE = Path(__file__).parent
EMULATOR = shutil.which("qemu-system-x86_64")
BUSYBOX = shutil.which("busybox")
KERNELS = [Path(os.environ["GUEST_KERNEL"])] if "GUEST_KERNEL" in os.environ else sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64"))
APPLETS = ("sh", "sleep", "true", "false", "cat", "echo", "grep")
TOOLS = ("losetup", "mount", "umount", "wipefs", "mkfs.btrfs", "btrfs", "mkfs.xfs", "xfs_growfs", "bwrap")  # as far as they are here
MODULES = ("virtio_pci", "virtio_blk", "loop", "btrfs", "xfs", "tcp_diag")
SCRIPTS = ("compute_rig.py", "cage_cases.py", "cage_user.py", "scratch_case.py", "link_local_case.py")
DISK_BYTES = 4 << 30  # a file with holes
LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "idlelib", "ensurepip", "site-packages", "__pycache__", "config-*", "lib2to3", "tkinter", "*.a"
)
PATIENCE_S = 1200


def why_not() -> str:
    """Why there can be no guest here; "" if there can."""
    wanted = {"qemu-system-x86_64": EMULATOR, "busybox": BUSYBOX, "mkfs.ext4": shutil.which("mkfs.ext4")}
    missing = [name for name, found in wanted.items() if not found]
    missing += [] if KERNELS else ["/boot/vmlinuz-*-cloud-amd64 (or GUEST_KERNEL)"]
    return f"needs {', '.join(missing)} (make test-systems)" if missing else ""


def run(folder: Path) -> dict[str, dict[str, Any]]:
    """Boot it, let it play everything, and return what it said, by name. The folder is for its image and its disk."""
    assert EMULATOR
    kernel, root, image, disk = KERNELS[-1], folder / "root", folder / "initramfs", folder / "disk.img"
    _fill(root, kernel)
    image.write_bytes(_packed(root))
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, capture_output=True, timeout=60)
    command = [EMULATOR, "-accel", "tcg", "-cpu", "max", "-m", "1500", "-display", "none", "-monitor", "none", "-no-reboot"]
    command += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
    command += ["-kernel", str(kernel), "-initrd", str(image), "-append", "console=ttyS0 quiet panic=1"]
    console, told = folder / "console", folder / "told"  # the kernel speaks on the first port, at any time; the tests on the second
    command += ["-serial", f"file:{console}", "-serial", f"file:{told}"]
    # Out of time, what it said until then is still worth reading.
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL)
        assert not done.returncode, done.stderr
    found = {said["name"]: said for said in map(json.loads, filter(None, told.read_text().splitlines()))}
    found["console"] = {"text": console.read_text(errors="replace")}
    return found


def _fill(root: Path, kernel: Path) -> None:
    """This interpreter where it is here, and what it needs; tools, modules, the node's code, and the script that is the first process."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    shutil.copytree(library, _at(root, library), ignore=LEFT_OUT, symlinks=True)
    tools = [Path(found).resolve() for found in map(shutil.which, TOOLS) if found]
    app = root / "app"
    for name in ("batchyard", "msgspec"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        shutil.copytree(Path(spec.origin).parent, app / name, ignore=LEFT_OUT)
    for library_path in _libraries([python, *tools, *library.rglob("lib-dynload/*.so"), *(app / "msgspec").glob("*.so")]):
        shutil.copy(library_path, _at(root, library_path))
    for program in (python, *tools):
        shutil.copy(program, _at(root, program))
    for found in filter(None, map(shutil.which, TOOLS)):  # by the names that they are called by, too
        if not _at(root, Path(found)).exists():
            _at(root, Path(found)).symlink_to(Path(found).resolve())
    assert BUSYBOX
    shutil.copy(BUSYBOX, _at(root, Path("/bin/busybox")))
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for script in SCRIPTS:
        shutil.copy(HERE / script, app / script)
    _copy_modules(root, kernel)
    (root / "run").mkdir()
    init = root / "init"
    script = (HERE / "guest_init.py").read_text()
    init.write_text(f"#!{python}\nimport os, sys\nsys.path.insert(0, '/app')\nos.environ['PYTHONPATH'] = '/app'\n{script}")
    init.chmod(0o755)


def _copy_modules(root: Path, kernel: Path) -> None:
    """The modules and those that they need, in the order in which they can be loaded (the file `modules` names them)."""
    place = kernel.parent.parent / "lib/modules" / kernel.name.removeprefix("vmlinuz-")
    needs: dict[str, list[str]] = {}
    if (place / "modules.dep").exists():
        for line in (place / "modules.dep").read_text().splitlines():
            path, _, below = line.partition(":")
            needs[path] = below.split()
    named = {Path(path).name.removesuffix(".ko"): path for path in needs}
    order: list[str] = []
    for module in MODULES:
        if module in named:
            order += [path for path in (*reversed(needs[named[module]]), named[module]) if path not in order]
    for path in order:
        shutil.copy(place / path, _at(root, Path("/modules") / Path(path).name))
    (root / "modules").mkdir(exist_ok=True)
    (root / "modules/order").write_text("\n".join(Path(path).name for path in order))


def _at(root: Path, place: Path) -> Path:
    inside = root / str(place).lstrip("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    return inside


def _libraries(programs: list[Path]) -> set[Path]:
    """The shared libraries that programs load, where the loader looks for them."""
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False, timeout=60).stdout
    return {Path(word) for word in told.split() if word.startswith("/") and ".so" in word and Path(word).is_file()}


def _packed(root: Path) -> bytes:
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
