"""Archives that hold an image, read and written anew in the one form and with the names that every daemon takes: that of `docker save`.

Docker before 25 loads no OCI layout, Podman's API nothing that is compressed, and each makes another name of one without a registry.
"""

from __future__ import annotations

import contextlib
import copy
import json
import lzma
import platform
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from batchyard.main.client import EXIT_CANNOT, Trouble

_MOST_NAMES = 2000  # that are looked at to tell what an archive is
_JSON_BYTES_MOST = 16 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_MANIFEST, _INDEX, _LAYOUT = "manifest.json", "index.json", "oci-layout"
_ABOUT = {_MANIFEST, _INDEX, _LAYOUT, "repositories"}  # written anew, or left out
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAMED_BY = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:))(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?"
)


class Image(NamedTuple):
    """One of an archive: its names, and where its configuration and its layers are."""

    names: tuple[str, ...]
    config: str
    layers: tuple[str, ...]


def check_name(name: str) -> None:
    """Raise `Trouble` for what no daemon takes as the name of an image; some of them do not say why."""
    if not _NAME.fullmatch(name):
        hint = "A name is in lower case, as mytool:1 or registry.example:5000/lab/mytool:1."
        raise Trouble(f"{name!r} cannot be the name of an image.", hint, exit_code=EXIT_CANNOT)


def images_in(archive: IO[bytes]) -> list[Image] | None:
    """The images of a tar archive, which may be compressed; None if it holds none, but a root file system. `Trouble` if it is no tar
    archive, or not whole. Reads from where it stands and goes back there."""
    at = archive.tell()
    try:
        with _reading(), tarfile.open(fileobj=archive, mode="r:*") as tar:
            names = {_plain(entry.name) for entry, _ in zip(tar, range(_MOST_NAMES), strict=False)}
            if _MANIFEST in names:
                return [
                    Image(tuple(one.get("RepoTags") or ()), one["Config"], tuple(one["Layers"]))
                    for one in _document(_held(tar), tar, _MANIFEST)
                ]
            return list(_of_layout(_held(tar), tar)) if {_LAYOUT, _INDEX} <= names else None
    finally:
        archive.seek(at)


def named(images: Sequence[Image], name: str) -> list[Image]:
    """The same images, with a name that somebody gave ("": their own). `Trouble` if they then have none, or the same."""
    if name and len(images) > 1:
        held = ", ".join(each for image in images for each in image.names)
        raise Trouble(f"there are several images in it: {held}", "Leave out --name: they keep their names.", exit_code=EXIT_CANNOT)
    if name:
        return [images[0]._replace(names=(name,))]
    if not all(image.names for image in images):
        raise Trouble("there is an image in it that has no name", "Give it one with --name.", exit_code=EXIT_CANNOT)
    return list(images)


def written_anew(archive: IO[bytes], images: Sequence[Image]) -> Iterator[bytes]:
    """The archive as `docker save` would write it, uncompressed and with the names of `images`, which are some of its own. `Trouble` if it
    is not whole."""
    manifest = [
        {"Config": image.config, "RepoTags": [qualified(name) for name in image.names], "Layers": list(image.layers)} for image in images
    ]
    with _reading(), tarfile.open(fileobj=archive, mode="r:*") as tar:
        held = _held(tar)
        is_layout = _LAYOUT in held and _MANIFEST not in held
        wanted = {path for image in images for path in (image.config, *image.layers)}
        for path in wanted - held.keys():
            raise Trouble(f"the archive is not whole: it has no {path}")
        for name, entry in held.items():
            if name not in _ABOUT and (name in wanted or not is_layout):
                yield from _entry(tar, entry, name)
    content = json.dumps(manifest).encode()
    about = tarfile.TarInfo(_MANIFEST)
    about.size = len(content)
    yield about.tobuf(tarfile.GNU_FORMAT) + _padded(content) + bytes(2 * tarfile.BLOCKSIZE)


def _entry(tar: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> Iterator[bytes]:
    told = copy.copy(entry)
    told.name = name
    yield told.tobuf(tarfile.GNU_FORMAT)
    content = tar.extractfile(entry) if entry.isreg() else None
    if content is not None:
        left = entry.size
        while left:
            piece = content.read(min(left, _PIECE_BYTES))
            if not piece:
                raise tarfile.ReadError("unexpected end of data")
            left -= len(piece)
            yield piece
        yield bytes(-entry.size % tarfile.BLOCKSIZE)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


# --- OCI layouts ---


def _of_layout(held: Mapping[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Iterator[Image]:
    """The images of an OCI layout that run on this machine."""
    found: dict[str, Image] = {}
    others: set[str] = set()
    for top in _document(held, tar, _INDEX)["manifests"]:
        for descriptor in _leaves(held, tar, top):
            about = descriptor.get("platform") or {}
            if about and (about.get("os"), about.get("architecture")) != ("linux", _machine()):
                others.add(f"{about.get('os')}/{about.get('architecture')}")
                continue
            manifest = _document(held, tar, _blob(descriptor["digest"]))
            layers = tuple(_blob(layer["digest"]) for layer in manifest["layers"])
            found.setdefault(top["digest"], Image(_names_of(top), _blob(manifest["config"]["digest"]), layers))
    if not found:
        raise Trouble(f"there is no image for linux/{_machine()} in it, only for {', '.join(sorted(others)) or 'nothing'}")
    yield from found.values()


def _leaves(
    held: Mapping[str, tarfile.TarInfo], tar: tarfile.TarFile, descriptor: Mapping[str, Any], deep: int = 0
) -> Iterator[Mapping[str, Any]]:
    """The manifests of images below a descriptor: an index may hold others, one for each kind of machine."""
    kind = str(descriptor.get("mediaType", ""))
    if deep < 3 and ("image.index" in kind or "manifest.list" in kind):
        for inner in _document(held, tar, _blob(descriptor["digest"]))["manifests"]:
            yield from _leaves(held, tar, inner, deep + 1)
    else:
        yield descriptor


def _names_of(descriptor: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of an image by its annotations; a tag alone is none."""
    told = descriptor.get("annotations") or {}
    given = [str(told[key]) for key in _NAMED_BY if told.get(key)]
    return next(((name,) for name in given if re.search("[:/]", name) and _NAME.fullmatch(name)), ())


def _machine() -> str:
    return _MACHINES.get(platform.machine(), platform.machine())


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


# --- reading ---


def _held(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    return {_plain(entry.name): entry for entry in tar.getmembers()}


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _document(held: Mapping[str, tarfile.TarInfo], tar: tarfile.TarFile, name: str) -> Any:
    entry = held.get(name)
    content = tar.extractfile(entry) if entry is not None and entry.size <= _JSON_BYTES_MOST else None
    if content is None:
        raise Trouble(f"the archive is not whole: it has no {name}")
    return json.loads(content.read())


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What is wrong with an archive, in a sentence."""
    try:
        yield
    except tarfile.ReadError as error:
        why = "it is empty" if "empty" in str(error) else "it is cut off" if "unexpected end" in str(error) else "no form of it is known"
        raise Trouble(
            f"this is no tar archive, or not a whole one: {why}", "An image comes from `docker save`, or as a tar of a root file system."
        ) from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise Trouble(f"the archive is not whole: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble(f"what the archive says of its images cannot be read: {error!r}") from None


def qualified(name: str) -> str:
    """With its registry, so that Podman takes it for the one that jobs mean; Docker leaves the usual one away."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
