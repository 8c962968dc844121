"""entrypoint: the scripts that stand before a job's own program, for images and machines."""

from __future__ import annotations

from pathlib import Path

import click

from batchyard.main import shipped
from batchyard.main.client import Trouble
from batchyard.main.commands.draw import emit, table

_NAMES = click.Choice(shipped.ENTRYPOINTS)


@click.group()
def entrypoint() -> None:
    """Scripts that fetch a job's program, or its inputs and outputs, from buckets.

    They run in any image that has sh, and the AWS CLI or boto3: here and on AWS, unchanged.
    """


@entrypoint.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(as_json: bool) -> None:
    """What there is, and what each does."""
    rows = [(name, shipped.entrypoint_purpose(name)) for name in shipped.ENTRYPOINTS]
    if as_json:
        emit({"entrypoints": [{"name": name, "purpose": purpose} for name, purpose in rows]})
    else:
        table(("name", "what it does"), rows)


@entrypoint.command()
@click.argument("name", type=_NAMES)
def show(name: str) -> None:
    """Print one script, whole: its first lines say how it is used."""
    click.echo(shipped.entrypoint(name), nl=False)


@entrypoint.command()
@click.argument("names", type=_NAMES, nargs=-1)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to put them into.")
def install(names: tuple[str, ...], folder: Path) -> None:
    """Write scripts into a folder, ready to be run by everybody. Without NAMES: all of them."""
    for name in names or shipped.ENTRYPOINTS:
        path, partial = folder / name, folder / f".{name}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_text(shipped.entrypoint(name), encoding="utf-8")
            partial.chmod(0o755)
            partial.replace(path)
        except OSError as error:
            raise Trouble(f"{path} cannot be written: {error.strerror}.") from None
        click.echo(str(path))
