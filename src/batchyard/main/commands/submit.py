"""submit: hand in a job from the command line, and see it through if asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from batchyard.main.client import EXIT_CANNOT, Client, Trouble
from batchyard.main.commands.draw import emit, say
from batchyard.main.commands.lookup import last_of
from batchyard.main.commands.place import talks

IMAGE = "public.ecr.aws/docker/library/busybox:latest"
SMALL_MEMORY_MIB = 512
NAME_LENGTH = 128


def _mapping(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """`K=V` arguments as a dictionary."""
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value!r}: write NAME=VALUE.", ctx, param)
    return dict(value.split("=", 1) for value in values)


def _dependencies(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> list[dict[str, str]]:
    """`ID`, `ID:3` (one child), `ID:N_TO_N` and `SEQUENTIAL` as AWS's dependsOn."""
    entries = []
    for value in values:
        if value.upper() == "SEQUENTIAL":
            entries.append({"type": "SEQUENTIAL"})
        elif value.upper().endswith(":N_TO_N"):
            entries.append({"jobId": value[: -len(":N_TO_N")], "type": "N_TO_N"})
        else:
            entries.append({"jobId": value})
    return entries


@click.command()
@click.option("-q", "--queue", required=True, help="The job queue: its name or ARN.")
@click.option("-d", "--definition", help="The job definition: NAME, NAME:REVISION or ARN.")
@click.option("-n", "--name", help="The job's name  [from the definition or the command]")
@click.option("--array", type=click.IntRange(2, 10_000), metavar="SIZE", help="Submit an array of SIZE jobs (2 to 10000).")
@click.option(
    "--depends-on", multiple=True, callback=_dependencies, metavar="ID", help="Wait for job ID (ID:N_TO_N: child by child; SEQUENTIAL)."
)
@click.option("-e", "--env", multiple=True, callback=_mapping, metavar="K=V", help="An environment variable of the job.")
@click.option("--vcpus", type=click.FloatRange(min=0, min_open=True), help="vCPUs that the job gets.")
@click.option("--memory", type=click.IntRange(min=4), metavar="MIB", help="Memory that the job gets, in MiB.")
@click.option("--attempts", type=click.IntRange(1, 10), help="How often it is tried at most (1 to 10).")
@click.option("--timeout", type=click.IntRange(min=60), metavar="SECONDS", help="End an attempt after so long (60 or more).")
@click.option("--share", metavar="NAME", help="The shareIdentifier: on a queue with fair share it is needed.")
@click.option("--priority", type=click.IntRange(0, 9999), help="schedulingPriority within the share  [from the definition, else 0]")
@click.option("--tag", "tags", multiple=True, callback=_mapping, metavar="K=V", help="A tag of the job.")
@click.option("--param", "parameters", multiple=True, callback=_mapping, metavar="K=V", help="A value for Ref::K in the command.")
@click.option("--image", default=IMAGE, show_default=True, help="The image, where a definition is made for COMMAND.")
@click.option("--wait", is_flag=True, help="Show how it goes, until it ends: exit code 0 if it SUCCEEDED, 1 if it FAILED.")
@click.option("--json", "as_json", is_flag=True, help="Print AWS's answer (with --wait: the job's details at its end).")
@click.argument("command", nargs=-1)
@talks
def submit(client: Client, *, wait: bool, as_json: bool, **asked: Any) -> None:
    """Submit a job; its id goes to stdout.

    COMMAND replaces the definition's command. Without --definition a small definition is registered for it
    (batchyard-cli-QUEUE: 1 vCPU, 512 MiB, --image), so that this is all it takes:

    \b
    batchyard submit --queue default -- echo hello
    batchyard submit --queue default --wait --array 8 -- sh -c 'echo part $AWS_BATCH_JOB_ARRAY_INDEX'
    """
    if not asked["definition"] and not asked["command"]:
        raise click.UsageError("Name a --definition, or give a COMMAND after --.")
    definition = asked["definition"] or _small_definition(client, asked["queue"], asked["image"])
    answer = client.batch("SubmitJob", **_submission(definition, asked))
    job_id = answer["jobId"]
    if not wait:
        if as_json:
            emit(answer)
        else:
            click.echo(job_id)
            say(f"Submitted {answer['jobName']}. See it: batchyard job {job_id}")
        return
    from batchyard.main.commands.watch import see_through

    if not as_json:
        click.echo(job_id)
    raise SystemExit(see_through(client, job_id, as_json=as_json))


def _submission(definition: str, asked: dict[str, Any]) -> dict[str, Any]:
    """SubmitJob's members for what was asked; only what was given is named, so that the definition holds for the rest."""
    overrides: dict[str, Any] = {}
    if asked["command"]:
        overrides["command"] = list(asked["command"])
    if asked["env"]:
        overrides["environment"] = [{"name": name, "value": value} for name, value in asked["env"].items()]
    sizes = [("VCPU", asked["vcpus"]), ("MEMORY", asked["memory"])]
    if any(value is not None for _, value in sizes):
        overrides["resourceRequirements"] = [{"type": kind, "value": f"{value:.15g}"} for kind, value in sizes if value is not None]
    members = {
        "jobName": asked["name"] or _job_name(definition, asked),
        "jobQueue": asked["queue"],
        "jobDefinition": definition,
        "containerOverrides": overrides,
        "arrayProperties": {"size": asked["array"]} if asked["array"] else None,
        "dependsOn": asked["depends_on"],
        "retryStrategy": {"attempts": asked["attempts"]} if asked["attempts"] else None,
        "timeout": {"attemptDurationSeconds": asked["timeout"]} if asked["timeout"] else None,
        "tags": asked["tags"],
        "parameters": asked["parameters"],
        "shareIdentifier": asked["share"],
    }
    named = {name: value for name, value in members.items() if value}
    priority = asked["priority"]
    if priority is None and asked["share"] and not asked["definition"]:
        priority = 0  # the definition that is made for a command has none
    return named if priority is None else {**named, "schedulingPriorityOverride": priority}


def _job_name(definition: str, asked: dict[str, Any]) -> str:
    if asked["definition"]:
        return last_of(definition).partition(":")[0]
    word = asked["command"][0].rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_-]", "-", word).lstrip("-_")[:NAME_LENGTH] or "job"


def _small_definition(client: Client, queue: str, image: str) -> str:
    """The definition for plain commands on `queue`: the newest active one if it is for this image, else a new revision."""
    name = f"batchyard-cli-{last_of(queue)}"[:NAME_LENGTH]
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise Trouble(f"{queue!r} is no queue's name or ARN.", "`batchyard queues` lists them.", exit_code=EXIT_CANNOT)
    if not client.batch("DescribeJobQueues", jobQueues=[queue]).get("jobQueues"):  # before a definition is left behind for nothing
        raise Trouble(f"{client.place.name} has no job queue {queue}.", "`batchyard queues` lists them.")
    known = client.pages("DescribeJobDefinitions", "jobDefinitions", jobDefinitionName=name, status="ACTIVE")
    latest = max(known, key=lambda definition: int(definition["revision"]), default=None)
    if latest and (latest.get("containerProperties") or {}).get("image") == image:
        return f"{name}:{latest['revision']}"
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": str(SMALL_MEMORY_MIB)}]
    properties = {"image": image, "command": [], "resourceRequirements": needs}
    made = client.batch("RegisterJobDefinition", jobDefinitionName=name, type="container", containerProperties=properties)
    return f"{name}:{made['revision']}"
