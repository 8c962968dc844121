"""What several commands ask about jobs: their details, their log streams, how they stand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from batchyard.main.client import EXIT_CANNOT, Client, Trouble
from batchyard.main.commands.draw import FINAL

DESCRIBE_AT_ONCE = 100
LOG_GROUP = "/aws/batch/job"
JobDetail = dict[str, Any]


def details(client: Client, job_ids: Sequence[str]) -> dict[str, JobDetail]:
    """The details of those of `job_ids` that are known, by the id that was asked for. Ids may be ARNs."""
    plain = {job_id: bare_id(job_id) for job_id in job_ids}
    wanted = list(dict.fromkeys(plain.values()))
    found: dict[str, JobDetail] = {}
    for start in range(0, len(wanted), DESCRIBE_AT_ONCE):
        for job in client.batch("DescribeJobs", jobs=wanted[start : start + DESCRIBE_AT_ONCE]).get("jobs", []):
            found[job["jobId"]] = job
    return {asked: found[bare] for asked, bare in plain.items() if bare in found}


def detail(client: Client, job_id: str) -> JobDetail:
    """The details of one job; raises `Trouble` if nobody knows it."""
    found = details(client, [job_id])
    if job_id not in found:
        raise unknown(client, job_id)
    return found[job_id]


def unknown(client: Client, job_id: str) -> Trouble:
    return Trouble(f"{client.place.name} knows no job {job_id}.", "`batchyard jobs` lists them; finished ones are kept for some days.")


def bare_id(job_id: str) -> str:
    """The id within an ARN; anything else as it is."""
    return job_id.rpartition(":job/")[2] if job_id.startswith("arn:") else job_id


def last_of(arn: str) -> str:
    """What people call it: the name within the ARN of a queue, a definition, an environment."""
    return arn.rpartition("/")[2]


def is_final(job: JobDetail) -> bool:
    return job["status"] in FINAL


def is_array_parent(job: JobDetail) -> bool:
    return bool((job.get("arrayProperties") or {}).get("size"))


def node_ids(job: JobDetail) -> list[str]:
    """The nodes of a multi-node parallel job, the main one first; none for any other job, nor for a node."""
    nodes = job.get("nodeProperties")
    if not nodes or job.get("nodeDetails"):
        return []
    main = nodes["mainNode"]
    return [f"{job['jobId']}#{n}" for n in (main, *(n for n in range(nodes["numNodes"]) if n != main))]


def container_names(job: JobDetail) -> list[str]:
    """The containers of a job that has several; none for the classic single one."""
    tasks = (job.get("ecsProperties") or {}).get("taskProperties") or []
    return [str(container.get("name", "")) for task in tasks for container in task.get("containers", [])]


def of_container(job: JobDetail, name: str = "") -> JobDetail:
    """The job as if it had only the container of that name. Without a name: the one that failed, else the first essential one.

    A job of a single container stays as it is. Raises `Trouble` for a name that the job does not have.
    """
    names = container_names(job)
    if name and name not in names:
        has = f"It has: {', '.join(names)}." if names else "It is a job of a single container: leave --container out."
        raise Trouble(f"{job['jobId']} has no container {name}.", has, exit_code=EXIT_CANNOT)
    if not names:
        return job
    (task, *_) = job["ecsProperties"]["taskProperties"]
    if not name:
        wanted = [c for c in task["containers"] if c.get("exitCode")] + [c for c in task["containers"] if c.get("essential", True)]
        name = (wanted or task["containers"])[0].get("name", "")
    attempts = [
        {**attempt, "taskProperties": [_only(one, name) for one in attempt.get("taskProperties") or []]}
        for attempt in job.get("attempts") or []
    ]
    return {**job, "ecsProperties": {"taskProperties": [_only(task, name)]}, "attempts": attempts}


def _only(task: dict[str, Any], name: str) -> dict[str, Any]:
    return {**task, "containers": [container for container in task.get("containers", []) if container.get("name") == name]}


def container_of(part: JobDetail) -> dict[str, Any]:
    """The container of a job or of one of its attempts; of a job with several, the first that says anything about its end."""
    if part.get("container"):
        return dict(part["container"])
    tasks = part.get("taskProperties") or (part.get("ecsProperties") or {}).get("taskProperties") or []
    containers = [container for task in tasks for container in task.get("containers", [])]
    return next((c for c in containers if c.get("exitCode")), containers[0] if containers else {})


def why(job: JobDetail) -> str:
    """statusReason, and container.reason and exit code where there are any, as one text."""
    container = container_of(job)
    parts = [job.get("statusReason", ""), container.get("reason", "")]
    if container.get("exitCode"):
        parts.append(f"exit code {container['exitCode']}")
    return "; ".join(part for part in parts if part)


def log_group(job: JobDetail) -> str:
    options = (container_of(job).get("logConfiguration") or {}).get("options") or {}
    return str(options.get("awslogs-group") or LOG_GROUP)


def log_streams(job: JobDetail) -> list[str]:
    """The stream of each attempt so far, oldest first; "" for an attempt that has none."""
    streams = [str(container_of(attempt).get("logStreamName", "")) for attempt in job.get("attempts") or []]
    newest = str(container_of(job).get("logStreamName", ""))
    if newest and newest not in streams:
        streams.append(newest)
    return streams


def log_driver(job: JobDetail) -> str:
    """What becomes of a job's output: awslogs, json-file, none ..."""
    return str((container_of(job).get("logConfiguration") or {}).get("logDriver") or "awslogs").lower()


def log_sources(job: JobDetail) -> list[str]:
    """Where the output of each attempt so far is to be read, oldest first, for `log_reader`; "" for an attempt that has none."""
    match log_driver(job):
        case "json-file":
            return [str(n + 1) for n in range(len(job.get("attempts") or []) + (job["status"] == "RUNNING"))]
        case "none":
            return []
        case _:
            return log_streams(job)


def log_reader(client: Client, job: JobDetail, source: str, start_ms: int | None = None) -> LogReader | FileReader:
    """Reads one of `log_sources`."""
    if log_driver(job) == "json-file":
        return FileReader(client, job, int(source), start_ms)
    return LogReader(client, log_group(job), source, start_ms)


def last_lines(client: Client, job: JobDetail, count: int) -> list[str]:
    """The last lines that the job's latest attempt wrote; none if it wrote none or nobody keeps them."""
    sources = log_sources(job)
    if not sources or not sources[-1]:
        return []
    if log_driver(job) == "json-file":
        events = deque(log_reader(client, job, sources[-1]).read(), count)
        return [event["message"].rstrip("\n") for event in events]
    try:
        answer = client.logs("GetLogEvents", logGroupName=log_group(job), logStreamName=sources[-1], limit=count)
    except Trouble as trouble:
        return [] if trouble.code == "ResourceNotFoundException" else [f"(the log cannot be read: {trouble.message})"]
    return [event["message"].rstrip("\n") for event in answer.get("events", [])]


class LogReader:
    """Reads a stream on from where it stopped."""

    def __init__(self, client: Client, group: str, stream: str, start_ms: int | None = None) -> None:
        self.client = client
        self.where: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        if start_ms is not None:
            self.where["startTime"] = start_ms
        self.token: str | None = None

    def read(self) -> Iterator[dict[str, Any]]:
        """What is new, up to now. A token that comes back the same says that there is no more."""
        while True:
            more = {"nextToken": self.token} if self.token else {}
            try:
                answer = self.client.logs("GetLogEvents", **self.where, **more)
            except Trouble as trouble:
                if trouble.code == "ResourceNotFoundException":
                    return
                raise
            yield from answer.get("events", [])
            before, self.token = self.token, answer.get("nextForwardToken")
            if not self.token or self.token == before:
                return


class FileReader:
    """The same for an attempt whose lines are kept in a file of the service's folder (log driver json-file)."""

    def __init__(self, client: Client, job: JobDetail, attempt: int, start_ms: int | None = None) -> None:
        self.client = client
        self.where: dict[str, Any] = {"jobId": job["jobId"], "attempt": attempt, "container": (container_names(job) or [""])[0]}
        self.start_ms = start_ms
        self.position = ""

    def read(self) -> Iterator[dict[str, Any]]:
        """What is new, up to now."""
        while True:
            try:
                answer = self.client.own("log", **self.where, position=self.position)
            except Trouble as trouble:
                if trouble.code == "ResourceNotFoundException":
                    return
                raise
            yield from (event for event in answer["events"] if self.start_ms is None or event["timestamp"] >= self.start_ms)
            self.position = answer["position"]
            if answer["isAll"]:
                return
