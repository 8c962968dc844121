"""The same Python, packages and program once more, made of hard links in a folder that every user may enter."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import pathlib
import re
import shutil
import sys
import sysconfig
import tempfile

PACKAGES = ("pysam", "pybwa", "botocore")
# Where every user may go. Not /var/tmp, where that can be avoided: jobs may have one of their own.
PUBLIC = next(place for place in map(pathlib.Path, ("/var/lib", "/var/tmp")) if os.access(place, os.W_OK))
LEFT_OUT = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "config-3*")
READABLE_BY_ALL = 0o004
ENTERED_BY_ALL = 0o755


def make_folder() -> pathlib.Path:
    """A new folder that every user may enter and that is removed when this process ends."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="batchyard-demo-", dir=PUBLIC))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(ENTERED_BY_ALL)
    return folder


def link_tree(source: pathlib.Path, target: pathlib.Path) -> None:
    """Every file of the tree less caches and tests, readable by all."""
    shutil.copytree(source, target, ignore=LEFT_OUT, copy_function=_link)
    _open_folders(target)


def link_python(folder: pathlib.Path) -> pathlib.Path:
    """The interpreter, its standard library and, if it has one, its shared library below `folder`: the interpreter's path."""
    own = pathlib.Path(sys.executable).resolve()
    interpreter = folder / "bin" / own.name
    link_tree(pathlib.Path(sysconfig.get_paths()["stdlib"]), folder / "lib" / f"python{sysconfig.get_python_version()}")
    interpreter.parent.mkdir()
    _link(str(own), str(interpreter))
    shared = str(sysconfig.get_config_var("INSTSONAME") or "")
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        _link(f"{sysconfig.get_config_var('LIBDIR')}/{shared}", str(folder / "lib" / shared))
    _open_folders(folder)
    return interpreter


def link_packages(folder: pathlib.Path) -> None:
    """The packages of the steps and all that they need, file by file."""
    wanted = list(PACKAGES)
    for name in wanted:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            source = pathlib.Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                target = folder / file
                if target.exists():
                    continue  # a file that two packages claim, or a package met under two spellings
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(str(source), str(target))
        wanted += [each for each in needed_by(distribution) if each not in wanted]
    _open_folders(folder)


def needed_by(distribution: importlib.metadata.Distribution) -> list[str]:
    """The names of the installed distributions that one requires, extras left aside."""
    requirements = [requirement for requirement in distribution.requires or [] if "extra ==" not in requirement]
    installed = []
    for requirement in requirements:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on another system or version only
        installed.append(name)
    return installed


def _link(source: str, target: str) -> str:
    """A hard link where that can be and the file is readable by all, else a readable copy."""
    original = pathlib.Path(source).resolve()
    copy = pathlib.Path(target)
    if original.stat().st_mode & READABLE_BY_ALL:
        try:
            copy.hardlink_to(original)
        except OSError:
            pass  # another file system, or one without hard links
        else:
            return target
    shutil.copyfile(original, copy)
    copy.chmod(0o755 if os.access(original, os.X_OK) else 0o644)
    return target


def _open_folders(folder: pathlib.Path) -> None:
    """Let everybody enter the folder and all folders in it; the files are links, whose modes belong to the originals."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(ENTERED_BY_ALL)
