"""doctor: looks whether this machine and this service are fit to run jobs, and says how to mend what is not."""

from __future__ import annotations

from pathlib import Path

import click

from batchyard.main.client import EXIT_FAILED
from batchyard.main.commands.draw import STYLES, emit, is_terminal, say
from batchyard.main.commands.place import NEAREST, nearest


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service  [the nearest]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(data: Path | None, as_json: bool) -> None:
    """Check this machine and the service.

    Each line is ok, warn or fail, with what to do. Exit code 1 if anything fails.
    """
    from batchyard.main.commands.checks import CHECKS

    folder = data or nearest() or NEAREST
    findings = [finding for check in CHECKS for finding in check(folder)]
    failed = sum(finding.result == "fail" for finding in findings)
    warned = sum(finding.result == "warn" for finding in findings)
    if as_json:
        emit({"data": str(folder), "ok": not failed, "checks": [finding._asdict() for finding in findings]})
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            colour = STYLES[finding.result].removeprefix("bold ")
            word = (
                click.style(finding.result.ljust(4), fg=colour, bold=finding.result == "fail") if is_terminal() else finding.result.ljust(4)
            )
            click.echo(f"{word}  {finding.subject.ljust(width)}  {finding.found}")
            if finding.fix and finding.result != "ok":
                click.echo(f"{'':{width + 8}}{finding.fix}")
        say(f"{failed} failed, {warned} to know about, {len(findings) - failed - warned} fine.")
    if failed:
        raise SystemExit(EXIT_FAILED)
