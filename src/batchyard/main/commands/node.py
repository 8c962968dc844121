"""node: the process that starts and reaps jobs of this machine, and outlives the server."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder of the service.")
def node(data: Path) -> None:
    """Run the node of a service. `batchyard serve` starts it by itself; there is no need to."""
    from batchyard.compute.local.node import main

    raise SystemExit(main(data))
