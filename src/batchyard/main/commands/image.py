"""image: the images that jobs of this machine run in, built or loaded without a registry."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from batchyard.main.client import EXIT_CANNOT, Trouble
from batchyard.main.commands.draw import emit, say

if TYPE_CHECKING:
    from batchyard.main.image_daemon import Images

_MIB = 1024 * 1024
_SOCKET = click.option(
    "--container-socket", "given", type=click.Path(path_type=Path), help="The daemon's unix socket  [DOCKER_HOST, then the usual places]"
)


@click.group()
def image() -> None:
    """Images of this machine, for its jobs.

    With the Docker or Podman daemon that `batchyard serve` uses; no registry is needed, and no other command.
    """


@image.command()
@click.argument("context", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-t", "--name", required=True, metavar="NAME[:TAG]", help="The name that job definitions will say.")
@click.option("-f", "--file", "dockerfile", default="Dockerfile", show_default=True, help="The Dockerfile, from CONTEXT or anywhere else.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="For the Dockerfile's ARG; may be given again.")
@click.option("--network", default="", metavar="NAME", help="The network of its RUN steps: host, none, ...  [the daemon's]")
@_SOCKET
def build(context: Path, name: str, dockerfile: str, arguments: tuple[str, ...], network: str, given: Path | None) -> None:
    """Build an image from the folder CONTEXT, in which a Dockerfile lies."""
    from batchyard.main.image_archive import check_name

    check_name(name)
    recipe = next((path for path in (context / dockerfile, Path(dockerfile)) if path.is_file()), None)
    if recipe is None:
        raise Trouble(f"There is no {dockerfile} in {context}.", "Name it with --file, as seen from CONTEXT.", exit_code=EXIT_CANNOT)
    values = dict(_pair(argument) for argument in arguments)
    _images(given).build(context, name, recipe, values, network, say)
    click.echo(name)


@image.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, allow_dash=True))
@click.option("-t", "--name", metavar="NAME[:TAG]", help="The name to be; needed where SOURCE is a root file system.")
@click.option("--change", "changes", multiple=True, metavar="TEXT", help="A word of a Dockerfile, as 'CMD [\"sh\"]'; may be given again.")
@_SOCKET
def load(source: Path, name: str | None, changes: tuple[str, ...], given: Path | None) -> None:
    """Load an image from SOURCE.

    SOURCE is what `docker save` or `podman save` wrote, an OCI layout, or a root file system: a tar archive (also compressed, also `-`) or
    a folder. Saved images keep the names that they have in it, unless --name gives another.
    """
    from batchyard.compute.local.containers.engine import full_name
    from batchyard.main.image_archive import check_name, images_in, named

    if name:
        check_name(name)
    images = _images(given)
    with _opened(source) as archive, _about(source):
        found = images_in(archive)
        if found is None:
            if not name:
                raise Trouble("it is a root file system, which has no name", "Give it one with --name.", exit_code=EXIT_CANNOT)
            images.make(archive, name, changes, lambda _: None)
            click.echo(name)
            return
        if changes:
            raise Trouble("it is a saved image, with words of its own", "Leave out --change.", exit_code=EXIT_CANNOT)
        loaded = named(found, name or "")
        images.load(archive, loaded)
        for each in (each for image in loaded for each in image.names):
            click.echo(name or full_name(each))


@image.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@_SOCKET
def listed(as_json: bool, given: Path | None) -> None:
    """The images that are here, the largest first."""
    found = _images(given).listed()
    if as_json:
        emit({"images": found})
        return
    width = max((len(row["name"]) for row in found), default=0)
    for row in found:
        made = time.strftime("%Y-%m-%d", time.gmtime(row["created_s"]))
        click.echo(f"{row['name']:<{width}}  {row['id']}  {row['bytes'] / _MIB:>8.1f} MiB  {made}")


@image.command("rm")
@click.argument("names", nargs=-1, required=True)
@_SOCKET
def remove(names: tuple[str, ...], given: Path | None) -> None:
    """Remove images; one that a container uses stays, and is an error."""
    images = _images(given)
    for name in names:
        images.remove(name)


def _images(given: Path | None) -> Images:
    from batchyard.compute.local.containers import sockets
    from batchyard.main.image_daemon import Images

    try:
        choice = sockets.choose("container", str(given) if given else None)
    except sockets.NoDaemon as why:
        raise Trouble(str(why), exit_code=EXIT_CANNOT) from None
    assert choice.daemon is not None  # or it would have raised
    return Images(choice.daemon)


@contextlib.contextmanager
def _about(source: Path) -> Iterator[None]:
    """Say of which SOURCE something is wrong."""
    try:
        yield
    except Trouble as trouble:
        raise Trouble(f"{source}: {trouble.message}", trouble.fix, exit_code=trouble.exit_code) from None


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    """SOURCE as a file that can be read twice."""
    from batchyard.main.image_daemon import pack

    if str(source) != "-" and not source.is_dir():
        with open(source, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        if str(source) == "-":
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.seek(0)
        else:
            pack(source, file)
        yield file


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f"{text!r} must be NAME=VALUE", param_hint="--build-arg")
    return name, value
