"""The workflow as it is submitted: dependencies, arrays, queues, and no job twice."""

import collections

import botocore.exceptions
import pytest
import steps
from variant_calling import endpoint, interpreter, reckoning, service, submission, watch, workflow


class Batch:
    """Keeps what it is sent; `lost` names jobs whose answer never arrives, though they were accepted."""

    def __init__(self, lost: tuple[str, ...] = ()) -> None:
        self.jobs: list[dict] = []
        self.definitions: list[dict] = []
        self.lost = set(lost)

    def describe_job_definitions(self, jobDefinitionName: str, status: str) -> dict:
        assert status == "ACTIVE"
        return {"jobDefinitions": [d for d in self.definitions if d["jobDefinitionName"] == jobDefinitionName]}

    def register_job_definition(self, **request) -> dict:
        arn = f"arn:{request['jobDefinitionName']}:{len(self.definitions) + 1}"
        self.definitions.append(request | {"jobDefinitionArn": arn})
        return {"jobDefinitionArn": arn}

    def submit_job(self, **request) -> dict:
        job_id = f"id-{len(self.jobs)}"
        self.jobs.append(request | {"jobId": job_id})
        if request["jobName"] in self.lost:
            self.lost.remove(request["jobName"])
            raise botocore.exceptions.ConnectionClosedError(endpoint_url="http://127.0.0.1:1")
        return {"jobId": job_id}

    def list_jobs(self, jobQueue: str, filters: list[dict]) -> dict:
        (named,) = filters
        found = [job for job in self.jobs if job["jobQueue"] == jobQueue and job["jobName"] in named["values"]]
        return {"jobSummaryList": [{"jobId": job["jobId"]} for job in found]}


@pytest.fixture(autouse=True)
def python_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr(interpreter, "for_jobs", lambda: interpreter.Interpreter("/usr/bin/python3"))


RUN = submission.Run("r1", "results", shards=4, regions=5, held_shard=2)


def submitted(batch: Batch) -> dict[str, dict]:
    clients = endpoint.Clients(batch=batch, s3=None, logs=None, cloudformation=None)
    submission.submit(clients, RUN, "default", "urgent")
    return {job["jobName"].removeprefix("r1-"): job for job in batch.jobs}


def test_all_steps_at_once_linked_by_dependencies() -> None:
    jobs = submitted(Batch())
    ids = {name: job["jobId"] for name, job in jobs.items()}
    assert list(jobs) == ["index", "shard", "align", "sort", "merge", "call", "gather", "compare"]
    assert jobs["align"]["dependsOn"] == [{"jobId": ids["index"]}, {"jobId": ids["shard"]}]
    assert jobs["sort"]["dependsOn"] == [{"jobId": ids["align"], "type": "N_TO_N"}]
    assert jobs["merge"]["dependsOn"] == [{"jobId": ids["sort"]}]
    assert "dependsOn" not in jobs["index"]
    assert {name: job["arrayProperties"]["size"] for name, job in jobs.items() if "arrayProperties" in job} == {
        "align": 4,
        "sort": 4,
        "call": 5,
    }
    assert {name for name, job in jobs.items() if job["jobQueue"] == "urgent"} == {"compare"}
    assert jobs["align"]["parameters"] == {"run": "s3://results/runs/r1", "shards": "4", "regions": "5", "held": "2"}


def test_a_lost_answer_is_not_a_second_job() -> None:
    batch = Batch(lost=("r1-align", "r1-compare"))
    jobs = submitted(batch)
    assert len(batch.jobs) == len(jobs) == 8
    assert jobs["sort"]["dependsOn"][0]["jobId"] == jobs["align"]["jobId"]


def test_definitions_are_registered_once_and_retry_a_lost_host_only() -> None:
    batch = Batch()
    submitted(batch)
    submitted(batch)
    assert len(batch.definitions) == 8
    strategy = batch.definitions[0]["retryStrategy"]
    assert strategy["evaluateOnExit"][0] == {"onStatusReason": "Host EC2*", "action": "RETRY"}
    assert strategy["evaluateOnExit"][-1]["action"] == "EXIT"
    command = next(d for d in batch.definitions if d["jobDefinitionName"].endswith("-align"))["containerProperties"]["command"]
    assert command[:3] == ["/usr/bin/python3", str(interpreter.EXAMPLE / "steps.py"), "align"]
    assert "Ref::run" in command


def test_children_stand_for_their_array() -> None:
    ids = {step.name: f"id-{step.name}" for step in RUN.steps}
    single = submission.single_jobs(RUN, ids)
    assert len(single) == 4 + 4 + 5 + 5
    assert single[:3] == ["id-index", "id-shard", "id-align:0"]


def detail(status: str, **more) -> dict:
    return {"jobId": "j", "status": status, "createdAt": 1_000, **more}


def test_where_an_array_stands() -> None:
    summary = {"RUNNING": 1, "SUCCEEDED": 2, "FAILED": 0}
    array = detail("PENDING", arrayProperties={"size": 4, "statusSummary": summary})
    assert watch.standing(array).counts == collections.Counter(PENDING=1, RUNNING=1, SUCCEEDED=2)
    assert not watch.standing(array).is_final
    done = detail("SUCCEEDED", arrayProperties={"size": 2, "statusSummary": {"SUCCEEDED": 2}})
    assert watch.standing(done).is_final
    assert watch.standing(detail("RUNNING")).counts == collections.Counter(RUNNING=1)


def test_an_instance_that_is_gone_when_it_is_reclaimed_again_is_reclaimed(monkeypatch) -> None:
    """The service was killed after it had taken the instance away, and before it could say so: the command was repeated."""
    said = iter(["Error: Instance i-1 does not exist.", "Error: noticeSeconds must be a number"])

    def refuse(*_: object) -> None:
        raise service.ServiceError(next(said))

    monkeypatch.setattr(service, "reclaim", refuse)
    running = detail("RUNNING", container={"containerInstanceArn": "arn/i-1"}, attempts=[])
    monkeypatch.setattr(submission, "describe", lambda clients, jobs: dict.fromkeys(jobs, running))
    reclaimers = [watch.Reclaim(None, None, "j") for _ in range(2)]
    assert (reclaimers[0].look(), reclaimers[0].look()) == ("i-1", None)
    with pytest.raises(service.ServiceError, match="noticeSeconds"):
        reclaimers[1].look()


def attempt(instance: str, started: int, stopped: int, reason: str) -> dict:
    container = {"containerInstanceArn": f"arn:aws:ecs:us-east-1:0:container-instance/cluster/{instance}", "logStreamName": "s"}
    return {"container": container, "startedAt": started, "stoppedAt": stopped, "statusReason": reason}


def test_a_record_counts_from_when_the_job_could_have_started() -> None:
    lost = attempt("i-1", 5_000, 6_000, "Host EC2 (instance i-1) terminated.")
    again = attempt("i-2", 8_000, 11_000, "Essential container in task exited")
    earlier = reckoning.record("shard", detail("SUCCEEDED", attempts=[attempt("i-1", 2_000, 4_500, "")]), 0.0, spot=True)
    found = reckoning.record(
        "align", detail("SUCCEEDED", arrayProperties={"index": 3}, attempts=[lost, again]), None, spot=True, after=[earlier]
    )
    assert found.label == "align[3]"
    assert (found.queued_s, found.ran_s) == (0.5, 4.0)
    assert [each.instance for each in found.attempts] == ["i-1", "i-2"]
    assert found.cost_usd == pytest.approx(4 / 3_600 * reckoning.ON_DEMAND_USD_PER_VCPU_HOUR * reckoning.SPOT_SHARE)


def test_a_job_that_never_started_costs_and_waits_nothing() -> None:
    found = reckoning.record("call", detail("FAILED", statusReason="Dependent Job failed", attempts=[]), None, spot=False)
    assert (found.queued_s, found.ran_s, found.cost_usd, found.reason) == (0.0, 0.0, 0.0, "Dependent Job failed")


def test_the_steps_are_those_of_the_workflow() -> None:
    assert set(steps.STEPS) == {step.name for step in workflow.steps(2, 2)}
