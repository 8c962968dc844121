"""node: the process that starts and reaps jobs of this machine, and outlives the server."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder of the service.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[NODE OPTIONS]...")
def node(data: Path, options: tuple[str, ...]) -> None:
    """Run the node of a service.

    `batchyard serve` starts it by itself; there is no need to. Its further options:
    `python -m batchyard.compute.local.node --help`.
    """
    from batchyard.compute.local.node import main

    raise SystemExit(main(["--data", str(data), *options]))
