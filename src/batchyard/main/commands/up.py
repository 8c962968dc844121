"""up: a service with the genomics environment on it, in one command."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchyard.main.client import EXIT_CANNOT, Trouble
from batchyard.main.commands.draw import emit, pairs, say
from batchyard.main.commands.lookup import last_of
from batchyard.main.commands.place import NEAREST, from_folder
from batchyard.main.commands.serve import answers, serve
from batchyard.main.commands.stack import keyed, plain

if TYPE_CHECKING:
    from batchyard.main.stacks.account import Account
    from batchyard.main.stacks.deploying import Outcome
    from batchyard.main.stacks.packaging import Packaged

OF_SERVE = [option for option in serve.params if isinstance(option, click.Option) and option.name != "data"]


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder that holds all state  [./.batchyard]")
@click.option("--stack-name", default="genomics", show_default=True, help="The name of the environment's stack.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="K=V", callback=keyed, help="A parameter of the template; may be given again"
)
@click.option(
    "--template", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Another template  [the genomics environment]"
)
@click.option("--foreground", is_flag=True, help="Run the service here until Ctrl-C, instead of in the background.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def up(
    data: Path | None,
    stack_name: str,
    parameters: Mapping[str, str],
    template: Path | None,
    foreground: bool,
    as_json: bool,
    **of_serve: Any,
) -> None:
    """Start a service and make the genomics environment on it.

    Buckets for results and logs, a Spot and an on-demand compute environment, a default and a high-priority queue, roles, a log
    group: one stack of one template, which AWS takes as it is. A service that runs already is taken as it is; what is there
    already is changed only where it differs. `batchyard down` ends the service.
    """
    from batchyard.main.shipped import templates_folder
    from batchyard.main.stacks import asking
    from batchyard.main.stacks.account import of_place
    from batchyard.main.stacks.deploying import carry_out, failed, tell
    from batchyard.main.stacks.packaging import Packer

    folder = data or Path(os.environ.get("BATCHYARD_DATA") or NEAREST)
    process = _served(folder, _arguments(of_serve), foreground=foreground)
    if not as_json:
        say(f"{'The service is started' if process else 'The service runs'}: {from_folder(folder).endpoint_of('batch')}")
    account = of_place(from_folder(folder))
    packaged = Packer(account).package(template or templates_folder() / "genomics.yaml")
    given = {**_filled(account, packaged, stack_name, parameters), **parameters}
    proposed = asking.propose(account, asking.Wanted(stack_name, packaged, given, capabilities=asking.CAPABILITIES))
    outcome = carry_out(account, proposed, is_quiet=as_json)
    if not outcome.is_good and outcome.has_changed:
        raise failed(stack_name, outcome)
    found = _found(account, folder, outcome) | {"pid": process.pid if process else None, "changed": outcome.has_changed}
    if foreground and process is not None:  # before the last words: who has read them may end it
        from batchyard.main.stacks.background import tie

        tie(process, say)
    if as_json:
        emit(found)
    else:
        tell(stack_name, outcome, with_outputs=False)
        _tell(found, folder)
    if foreground and process is not None:
        raise SystemExit(process.wait())


up.params += OF_SERVE


def _arguments(of_serve: Mapping[str, Any]) -> list[str]:
    """The options of serve that were given, as words of a command line."""
    words: list[str] = []
    for option in OF_SERVE:
        value = of_serve[str(option.name)]
        if value is None or value == ():
            continue
        if isinstance(value, bool):
            words.append((option.opts if value else option.secondary_opts)[0])
            continue
        for each in value if option.multiple else [value]:
            words += [option.opts[0], "=".join(each) if isinstance(each, tuple) else f"{each:g}" if isinstance(each, float) else str(each)]
    return words


def _served(folder: Path, options: list[str], *, foreground: bool) -> subprocess.Popen[bytes] | None:
    """The process of the service where it was started now; None where one answers already."""
    from batchyard.main.stacks.background import start

    if (folder / "endpoint.json").exists() and answers(from_folder(folder)):
        if foreground:
            fix = f"End it first (batchyard down --data {folder}), or leave --foreground out."
            raise Trouble(f"{folder} is served already, in the background.", fix, exit_code=EXIT_CANNOT)
        if options:
            say(f"The service of {folder} runs already: {shlex.join(options)} holds after batchyard down and batchyard up.")
        return None
    return start(folder, options)


def _filled(account: Account, packaged: Packaged, stack_name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a new stack that the service itself knows: the network that is there, and that its endpoint has no TLS."""
    from batchyard.main.stacks import asking

    before = asking.standing(account, stack_name)
    held = set() if before is None else {each["ParameterKey"] for each in before.get("Parameters") or []}
    missing = {name for name in packaged.parameters if name not in held and name not in given}
    filled: dict[str, str] = {}
    if missing & {"VpcId", "SubnetIds"}:
        vpcs = account.ask("ec2", "describe_vpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        vpc = given.get("VpcId") or next((each["VpcId"] for each in vpcs), "")
        if not vpc:
            raise Trouble("The service has no default VPC to put the environment into.", "Name one: --parameter VpcId=... SubnetIds=...")
        filled["VpcId"] = vpc
        subnets = account.ask("ec2", "describe_subnets", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        filled["SubnetIds"] = ",".join(sorted(each["SubnetId"] for each in subnets))
    if account.url.startswith("http://"):
        filled["RequireTls"] = "false"
    return {name: value for name, value in filled.items() if name in missing}


def _found(account: Account, folder: Path, outcome: Outcome) -> dict[str, Any]:
    """What there is now: the endpoint, the stack, its queues by priority, its environments and buckets."""
    from batchyard.main.stacks import asking

    resources = list(_flat(asking.resources(account, outcome.stack["StackId"])))

    def of(type_name: str) -> list[str]:
        return [str(each["PhysicalResourceId"]) for each in resources if each["ResourceType"] == type_name]

    queues = of("AWS::Batch::JobQueue")
    listed = account.ask("batch", "describe_job_queues", jobQueues=queues)["jobQueues"] if queues else []
    return {
        "endpoint": account.url,
        "data": str(folder),
        "stack": plain(outcome.stack),
        "queues": [each["jobQueueName"] for each in sorted(listed, key=lambda each: each["priority"])],
        "computeEnvironments": [last_of(arn) for arn in of("AWS::Batch::ComputeEnvironment")],
        "buckets": of("AWS::S3::Bucket"),
        "outputs": outcome.outputs,
    }


def _flat(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [leaf for each in resources for leaf in (_flat(each["Resources"]) if "Resources" in each else [each])]


def _tell(found: Mapping[str, Any], folder: Path) -> None:
    """The same for people, with what to do next."""
    named = [("endpoint", found["endpoint"])]
    for title, member in (("queues", "queues"), ("environments", "computeEnvironments"), ("buckets", "buckets")):
        named.append((title, "\n".join(found[member])))
    pairs(named)
    where = "" if folder == NEAREST else f" --data {shlex.quote(str(folder))}"
    queue = next(iter(found["queues"]), "QUEUE")
    say("\nNext:")
    say(f'  eval "$(batchyard env{where})"   # aws, boto3 and other tools of this shell talk to it')
    say(f"  batchyard submit{where} --queue {queue} --wait -- echo hello")
    say(f"  batchyard stack show{where} {found['stack']['StackName']}")
    say(f"  batchyard down{where}")
