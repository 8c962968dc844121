"""The workflow as Batch jobs: job definitions, one SubmitJob per step with its dependencies, and where the jobs stand."""

from __future__ import annotations

import dataclasses
import typing

from variant_calling import endpoint, interpreter, patience, workflow

ATTEMPTS = 5
TIMEOUT_S = 600
DESCRIBED_AT_ONCE = 100
FINAL = ("SUCCEEDED", "FAILED")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the workflow: its name, its place in the results bucket, and the table of its steps."""

    name: str
    bucket: str
    shards: int
    regions: int
    held_shard: int = -1

    @property
    def prefix(self) -> str:
        """The key prefix of everything that the run reads and writes."""
        return f"runs/{self.name}"

    @property
    def url(self) -> str:
        """The place of the run as its jobs are told it."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def steps(self) -> list[workflow.Step]:
        """The steps in the order of their dependencies."""
        return workflow.steps(self.shards, self.regions)

    def job_name(self, step: workflow.Step) -> str:
        """The name of a step's job; no other run has it."""
        return f"{self.name}-{step.name}"


def register(clients: endpoint.Clients, step: workflow.Step, python: interpreter.Interpreter | None = None) -> str:
    """Register the definition of a step's jobs, unless the same is registered already: its ARN."""
    request = definition(step, python)
    name = request["jobDefinitionName"]

    def there() -> str | None:
        answer = clients.batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")
        wanted = request["containerProperties"]
        same = [d for d in answer["jobDefinitions"] if all(d["containerProperties"].get(k) == v for k, v in wanted.items())]
        return same[0]["jobDefinitionArn"] if same else None

    def make() -> str:
        return str(clients.batch.register_job_definition(**request)["jobDefinitionArn"])

    return patience.patiently(there) or patience.patiently(make, already=there)


def definition(step: workflow.Step, python: interpreter.Interpreter | None = None) -> dict[str, typing.Any]:
    """RegisterJobDefinition's request: what differs between runs is a parameter; a lost host is retried, all else is not."""
    python = python or interpreter.for_jobs()
    command = [*python.command, step.name, "--at", "Ref::run"]
    command += ["--shards", "Ref::shards", "--regions", "Ref::regions", "--hold-shard", "Ref::held"]
    environment = {"PYTHONUNBUFFERED": "1"} | python.environment
    return {
        "jobDefinitionName": f"variant-calling-{step.name}",
        "type": "container",
        "parameters": {"held": "-1"},
        "containerProperties": {
            "image": python.image,
            "command": command,
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": str(step.memory_mib)}],
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
        },
        "retryStrategy": {
            "attempts": ATTEMPTS,
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": TIMEOUT_S},
    }


def submit(
    clients: endpoint.Clients, run: Run, default_queue: str, urgent_queue: str, python: interpreter.Interpreter | None = None
) -> dict[str, str]:
    """Submit all steps at once, linked by dependencies: job id by step. No step is ever submitted twice.

    SubmitJob knows no token that would make it safe to repeat. So a call that got no answer is followed by a look for
    its job, whose name only this run uses, before it is made again.
    """
    job_ids: dict[str, str] = {}
    for step in run.steps:
        queue = urgent_queue if step.urgent else default_queue
        request: dict[str, typing.Any] = {
            "jobName": run.job_name(step),
            "jobQueue": queue,
            "jobDefinition": register(clients, step, python),
            "parameters": {"run": run.url, "shards": str(run.shards), "regions": str(run.regions), "held": str(run.held_shard)},
            "tags": {"run": run.name},
        }
        depends_on = [{"jobId": job_ids[earlier]} for earlier in step.after]
        if step.lockstep_after:
            depends_on.append({"jobId": job_ids[step.lockstep_after], "type": "N_TO_N"})
        if depends_on:
            request["dependsOn"] = depends_on
        if step.size:
            request["arrayProperties"] = {"size": step.size}
        job_ids[step.name] = _submit_once(clients, request)
    return job_ids


def _submit_once(clients: endpoint.Clients, request: dict[str, typing.Any]) -> str:
    """The job's id, from SubmitJob's answer or, when the answer was lost, from ListJobs."""

    def make() -> str:
        return str(clients.batch.submit_job(**request)["jobId"])

    def there() -> str | None:
        by_name = [{"name": "JOB_NAME", "values": [request["jobName"]]}]
        answer = clients.batch.list_jobs(jobQueue=request["jobQueue"], filters=by_name)
        found = [job["jobId"] for job in answer["jobSummaryList"]]
        return found[0] if found else None

    return patience.patiently(make, already=there)


def describe(clients: endpoint.Clients, job_ids: list[str]) -> dict[str, dict[str, typing.Any]]:
    """DescribeJobs for any number of jobs: details by id."""
    details: dict[str, dict[str, typing.Any]] = {}
    for start in range(0, len(job_ids), DESCRIBED_AT_ONCE):
        some = job_ids[start : start + DESCRIBED_AT_ONCE]
        answer = patience.patiently(lambda some=some: clients.batch.describe_jobs(jobs=some))  # type: ignore[misc]
        details |= {job["jobId"]: job for job in answer["jobs"]}
    return details


def single_jobs(run: Run, job_ids: dict[str, str]) -> list[str]:
    """The ids of all jobs that run something: array children instead of their parents, in the order of the steps."""
    return [each for step in run.steps for each in children(job_ids[step.name], step)]


def children(job_id: str, step: workflow.Step) -> list[str]:
    """The ids of a step's own jobs: its children when it is an array, else itself."""
    return [f"{job_id}:{index}" for index in range(step.size)] if step.size else [job_id]
