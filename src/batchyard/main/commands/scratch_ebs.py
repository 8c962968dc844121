"""scratch, on EC2: the options of EBS volumes, and the taking away of volumes whose instance is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchyard.main.client import Trouble
from batchyard.main.commands.draw import emit, say

if TYPE_CHECKING:
    from batchyard.scratch.ebs_kinds import Kind

_Command = TypeVar("_Command", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_OPTIONS = (
    click.option("--volume-type", help="EBS: the type of volumes  [gp3]"),
    click.option("--iops", type=click.IntRange(min=100), help="EBS: of each volume (gp3, io1, io2)."),
    click.option("--throughput-mib", type=click.IntRange(min=125), help="EBS: MiB/s of each volume (gp3)."),
    click.option("--encrypted", is_flag=True, help="EBS: encrypt the volumes."),
    click.option("--kms-key-id", help="EBS: ... with this key instead of the account's default one."),
    click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="EBS: a tag of each volume. Can be repeated."),
    click.option("--elastic", is_flag=True, help="EBS: make one volume larger, which is how ebs-xfs grows in any case."),
)


def ebs_options(command: _Command) -> _Command:
    """The options of `scratch watch` that say what volumes to make."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def kind_of_volumes(backend: str, asked: dict[str, Any]) -> Kind | None:
    """What `ebs_options` were given; None for back ends that are not of EBS, which refuse them."""
    if not backend.startswith("ebs-"):
        given = [name for name, value in asked.items() if value]
        if given:
            name = "tag" if given[0] == "tags" else given[0].replace("_", "-")
            raise click.BadParameter(f"is for the back ends ebs-btrfs and ebs-xfs, not for {backend}", param_hint=f"--{name}")
        return None
    from batchyard.scratch.ebs_kinds import Kind

    if asked["elastic"] and backend == "ebs-btrfs":
        raise click.BadParameter(
            "a btrfs grows by another volume; one volume that is made larger is --backend ebs-xfs", param_hint="--elastic"
        )
    tags = []
    for text in asked["tags"]:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--tag")
        tags.append((key, value))
    return Kind(
        asked["volume_type"] or "gp3", asked["iops"], asked["throughput_mib"], asked["encrypted"], asked["kms_key_id"] or "", tuple(tags)
    )


class Duration(click.ParamType[float]):
    """A number with s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return float(value[:-1]) * _UNITS[value[-1]]
        except (ValueError, KeyError, IndexError):
            self.fail(f"{value!r} is no duration: 30m, 2h, 1d", param, ctx)


@click.command()
@click.option("--older-than", type=Duration(), default="1h", show_default=True, help="Leave younger ones alone: 30m, 2h, 1d.")
@click.option("--region", help="Where to look  [as the AWS CLI has it]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document of what was found.")
def reap(older_than: float, region: str | None, yes: bool, as_json: bool) -> None:
    """Delete EBS volumes of scratch space whose instance is gone.

    For an operator, with the credentials of one: an instance that ends takes its volumes along, but one that dies between the making
    of a volume and its attachment cannot.
    """
    from batchyard.scratch import reaper
    from batchyard.scratch.ec2 import Ec2
    from batchyard.scratch.provision import ScratchError

    ec2 = Ec2(region, limit_s=20)
    try:
        found = reaper.lost(ec2, time.time() - older_than)
        if as_json:
            emit([{"volumeId": one.id, "sizeGiB": one.size_gib, "instanceId": reaper.instance_of(one), "tags": one.tags} for one in found])
        for one in [] if as_json else found:
            made = datetime.fromtimestamp(one.created_s, UTC).isoformat(timespec="minutes")
            say(f"{one.id}  {one.size_gib} GiB  of {reaper.instance_of(one)}, which is gone; made {made}")
        if not found:
            if not as_json:
                say("There are none.")
            return
        if not yes:
            click.confirm(f"Delete {len(found)} volume(s)?", abort=True, err=True)
        reaper.delete(ec2, found)
    except ScratchError as error:
        raise Trouble(str(error)) from None
