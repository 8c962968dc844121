"""SubmitJob: what it takes, what it refuses and in which words (specification, sections 1.5, 2.8, 5.7)."""

from __future__ import annotations

import pytest
from batch_bench import BATCH, Bench, ready_bench


def test_every_form_of_a_definition(ready: Bench) -> None:
    ready.definition()
    for form, revision in (
        ("job", 2),
        ("job:1", 1),
        (f"{BATCH}:job-definition/job:1", 1),
        (f"{BATCH}:job-definition/job", 2),
    ):
        assert ready.job(ready.submit(jobDefinition=form))["jobDefinition"] == f"{BATCH}:job-definition/job:{revision}"
    ready.call("DeregisterJobDefinition", jobDefinition="job:2")
    for form in ("job", f"{BATCH}:job-definition/job"):
        assert ready.job(ready.submit(jobDefinition=form))["jobDefinition"] == f"{BATCH}:job-definition/job:1"
    inactive = "JobDefinition name job:2 does not exist or is not in ACTIVE status"
    assert ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job:2") == inactive


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"jobDefinition": "gone"}, "JobDefinition name gone does not exist or is not in ACTIVE status"),
        ({"jobDefinition": f"{BATCH}:job-definition/gone:1"}, f"JobDefinition {BATCH}:job-definition/gone:1 not found."),
        ({"jobDefinition": "job:latest"}, "Provided name job:latest is not supported pattern[a-zA-Z_0-9-]{1,128}"),
        ({"jobQueue": "gone"}, "JobQueue gone not found."),
        ({"jobQueue": "arn:aws:batch:us-east-1:1:job-queue/queue"}, "JobQueue arn:aws:batch:us-east-1:1:job-queue/queue not found."),
        (
            {"jobName": "_x"},
            "Error executing request, Exception : Job name should match valid pattern, RequestId: request-1",
        ),
        (
            {"containerOverrides": {"command": ["Ref::x"]}},
            "Unable to substitute value. No parameter found for reference x",
        ),
        (
            {"shareIdentifier": "a"},
            "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share scheduling policy.",
        ),
        (
            {"schedulingPriorityOverride": 1},
            "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share scheduling policy.",
        ),
        (
            {"retryStrategy": {"evaluateOnExit": [{"action": "RETRY"}]}},
            "Error executing request, Exception : RetryAttempts must be provided with retry strategy",
        ),
        (
            {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "1.0"}]}},
            "Error executing request, Exception : Value 1.0 for type VCPU in resourceRequirement is not valid. "
            "Please provide a numeric value.",
        ),
    ],
)
def test_submissions_that_aws_refuses_in_known_words(ready: Bench, members: dict, message: str) -> None:
    assert ready.refused("SubmitJob", **{"jobName": "j", "jobQueue": "queue", "jobDefinition": "job", **members}) == message


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"arrayProperties": {"size": 1}}, "arrayProperties.size"),
        ({"arrayProperties": {"size": 10001}}, "arrayProperties.size"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"retryStrategy": {"attempts": 0}}, "retryStrategy.attempts"),
        ({"retryStrategy": {"attempts": 11}}, "retryStrategy.attempts"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY"}] * 6}}, "at most 5"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "MAYBE"}]}}, "evaluateOnExit[0].action"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onReason": "a*b"}]}}, "onReason"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "x"}]}}, "onExitCode"),
        ({"tags": {"aws:x": "1"}}, "aws:"),
        ({"tags": {"batchyard:nonsense": "1"}}, "batchyard:spill"),
        ({"tags": {"batchyard:spill": "idle"}}, "job queue"),
        ({"containerOverrides": {"command": ["a", ""]}}, "empty strings"),
        ({"containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}}, "AWS_BATCH_X"),
        ({"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "3"}]}}, "at least 4"),
        ({"containerOverrides": {"instanceType": "m5.large"}}, "instanceType"),
        ({"dependsOn": [{"jobId": "x"}] * 21}, "at most 20"),
        ({"dependsOn": [{"jobId": "gone"}]}, "gone does not exist"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "only for array jobs"),
        ({"dependsOn": [{}]}, "jobId is required"),
        ({"nodeOverrides": {"numNodes": 2}}, "nodeOverrides is only for multi-node parallel jobs"),
        ({"eksPropertiesOverride": {"podProperties": {"metadata": {"labels": {"a": "b"}}}}}, "eksPropertiesOverride is not for this job"),
    ],
)
def test_submissions_that_are_refused_naming_the_member(ready: Bench, members: dict, part: str) -> None:
    assert part in ready.refused("SubmitJob", **{"jobName": "j", "jobQueue": "queue", "jobDefinition": "job", **members})


def test_empty_forms_are_harmless(ready: Bench) -> None:
    job_id = ready.submit(
        arrayProperties={},
        tags={},
        dependsOn=[],
        parameters={},
        containerOverrides={"environment": [], "command": [], "resourceRequirements": []},
        retryStrategy={},
        timeout={},
        nodeOverrides={"nodePropertyOverrides": []},
        consumableResourcePropertiesOverride={"consumableResourceList": []},
        shareIdentifier="",
    )
    job = ready.job(job_id)
    assert "arrayProperties" not in job and job["container"]["command"] == ["sleep", "60"]


def test_a_disabled_queue_takes_no_jobs(ready: Bench) -> None:
    ready.call("UpdateJobQueue", jobQueue="queue", state="DISABLED")
    assert "DISABLED" in ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job")


def test_overrides_and_parameters_show_in_the_job(ready: Bench) -> None:
    ready.definition(
        "cat",
        containerProperties={
            "command": ["cat", "Ref::file", "--to=Ref::out.x"],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        },
        parameters={"file": "default", "out": "o"},
        timeout={"attemptDurationSeconds": 60},
        retryStrategy={"attempts": 3},
        propagateTags=True,
    )
    job = ready.job(ready.submit(jobDefinition="cat"))
    assert job["container"]["command"] == ["cat", "default", "--to=o.x"]
    assert job["timeout"] == {"attemptDurationSeconds": 60} and job["retryStrategy"]["attempts"] == 3 and job["propagateTags"] is True

    job = ready.job(
        ready.submit(
            jobDefinition="cat",
            parameters={"file": "mine", "unused": "u"},
            timeout={"attemptDurationSeconds": 90},
            retryStrategy={"attempts": 1},
            propagateTags=False,
            containerOverrides={
                "environment": [{"name": "C", "value": "3"}, {"name": "A", "value": "9"}],
                "resourceRequirements": [{"type": "MEMORY", "value": "1024"}],
                "vcpus": 8,
                "memory": 9,
            },
        )
    )
    assert job["parameters"] == {"file": "mine", "out": "o", "unused": "u"}
    container = job["container"]
    assert container["command"] == ["cat", "mine", "--to=o.x"]
    assert container["environment"] == [{"name": "A", "value": "9"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]
    assert container["resourceRequirements"] == [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "1024"}]
    assert "vcpus" not in container and "memory" not in container
    assert job["timeout"] == {"attemptDurationSeconds": 90} and job["retryStrategy"]["attempts"] == 1 and job["propagateTags"] is False


def test_the_old_spelling_of_sizes(ready: Bench) -> None:
    old = {"image": "busybox", "command": ["true"], "vcpus": 2, "memory": 100}
    ready.call("RegisterJobDefinition", jobDefinitionName="old", type="container", containerProperties=old)
    container = ready.job(ready.submit(jobDefinition="old", containerOverrides={"memory": 200}))["container"]
    assert (container["vcpus"], container["memory"], container["resourceRequirements"]) == (2, 200, [])
    requirement = {"type": "VCPU", "value": "3"}
    container = ready.job(ready.submit(jobDefinition="old", containerOverrides={"resourceRequirements": [requirement]}))["container"]
    assert "vcpus" not in container and container["memory"] == 100 and container["resourceRequirements"] == [requirement]


def test_dependencies(ready: Bench) -> None:
    first = ready.submit()
    second = ready.submit(dependsOn=[{"jobId": first}])
    assert ready.job(second)["status"] == "PENDING" and ready.job(second)["dependsOn"] == [{"jobId": first}]
    ready.start(first)
    ready.end(first, 1)
    assert (ready.job(second)["status"], ready.job(second)["statusReason"]) == ("FAILED", "Dependent Job failed")
    assert ready.job(second)["attempts"] == []
    late = ready.submit(dependsOn=[{"jobId": first}])
    assert ready.job(late)["status"] == "FAILED"

    good = ready.submit()
    ready.start(good)
    ready.end(good, 0)
    assert ready.job(ready.submit(dependsOn=[{"jobId": good}]))["status"] in ("RUNNABLE", "STARTING")

    array = ready.submit(arrayProperties={"size": 3})
    n_to_n = {"jobId": array, "type": "N_TO_N"}
    refusal = ready.refused(
        "SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", arrayProperties={"size": 2}, dependsOn=[n_to_n]
    )
    assert "same size" in refusal
    plain = {"jobId": good, "type": "N_TO_N"}
    refusal = ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", arrayProperties={"size": 2}, dependsOn=[plain])
    assert "must be an array job" in refusal
    follower = ready.submit(arrayProperties={"size": 3}, dependsOn=[n_to_n])
    assert ready.job(f"{follower}:0")["status"] == "PENDING"


def test_dependencies_that_are_refused(ready: Bench) -> None:
    base = {"jobName": "j", "jobQueue": "queue", "jobDefinition": "job", "arrayProperties": {"size": 2}}
    assert "has no jobId" in ready.refused("SubmitJob", **base, dependsOn=[{"jobId": "x", "type": "SEQUENTIAL"}])
    assert "type OTHER is not valid" in ready.refused("SubmitJob", **base, dependsOn=[{"jobId": "x", "type": "OTHER"}])


def test_children_one_after_another(ready: Bench) -> None:
    array = ready.submit(arrayProperties={"size": 2}, dependsOn=[{"type": "SEQUENTIAL"}])
    assert ready.job(array)["dependsOn"] == [{"type": "SEQUENTIAL"}]
    ready.start(f"{array}:0")
    assert ready.job(f"{array}:1")["status"] == "PENDING"
    ready.end(f"{array}:0", 0)
    assert ready.job(f"{array}:1")["status"] in ("RUNNABLE", "STARTING")


def test_a_queue_that_is_being_deleted_takes_no_jobs(ready: Bench) -> None:
    ready.start(ready.submit())
    ready.call("UpdateJobQueue", jobQueue="queue", state="DISABLED")
    ready.call("DeleteJobQueue", jobQueue="queue")
    assert ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job").startswith("JobQueue queue is")


def test_prepared_definitions_are_bounded(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.services.batch.submit._MOST_PREPARED", 2)
    for name in ("a", "b", "c"):
        ready.definition(name)
        ready.submit(jobDefinition=name)
    assert len(ready.desk.prepared) <= 2


def test_profile_aws_bounds_the_payload() -> None:
    strict = ready_bench("aws")
    command = ["x" * 31_000]
    refusal = strict.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", containerOverrides={"command": command})
    assert "30 KiB" in refusal
    ready_bench("open").submit(containerOverrides={"command": command})


def test_more_tags_than_can_be_propagated_fail_the_job(ready: Bench) -> None:
    ready.definition("tagged", tags={f"d{n}": "v" for n in range(30)}, propagateTags=True)
    tags = {f"j{n}": "v" for n in range(21)}
    job = ready.job(ready.submit(jobDefinition="tagged", tags=tags))
    assert job["status"] == "FAILED" and "51 tags" in job["statusReason"]
    assert ready.job(ready.submit(jobDefinition="tagged", tags=tags, propagateTags=False))["status"] == "RUNNABLE"
    tags.popitem()
    assert ready.job(ready.submit(jobDefinition="tagged", tags=tags))["status"] == "RUNNABLE"


def test_profile_aws_fails_jobs_with_long_overrides() -> None:
    long = {"command": ["x" * 8192]}
    strict = ready_bench("aws")
    assert strict.job(strict.submit(containerOverrides=long))["statusReason"] == "Container Overrides length must be at most 8192"
    assert strict.job(strict.submit(containerOverrides={"command": ["x"]}))["status"] == "RUNNABLE"


def test_child_by_child_after_an_array_that_is_over(ready: Bench) -> None:
    leader = ready.submit(arrayProperties={"size": 2})
    for index, code in ((0, 0), (1, 1)):
        ready.start(f"{leader}:{index}")
        ready.end(f"{leader}:{index}", code)
    assert ready.job(leader)["status"] == "FAILED"
    follower = ready.submit(arrayProperties={"size": 2}, dependsOn=[{"jobId": leader, "type": "N_TO_N"}])
    assert ready.job(f"{follower}:0")["status"] in ("RUNNABLE", "STARTING")
    assert (ready.job(f"{follower}:1")["status"], ready.job(f"{follower}:1")["statusReason"]) == ("FAILED", "Dependent Job failed")


NEEDS = (("VCPU", "1"), ("MEMORY", "64"))


def test_profile_aws_counts_the_overrides_of_nodes_and_of_tasks_too() -> None:
    strict, text = ready_bench("aws"), "Container Overrides length must be at most 8192"
    container = {"name": "main", "image": "busybox", "resourceRequirements": [{"type": t, "value": v} for t, v in NEEDS]}
    entry = {"targetNodes": "0:", "ecsProperties": {"taskProperties": [{"containers": [container]}]}}
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [entry]}
    strict.call("RegisterJobDefinition", jobDefinitionName="nodes", type="multinode", nodeProperties=nodes)
    strict.call("RegisterJobDefinition", jobDefinitionName="task", type="container", ecsProperties=entry["ecsProperties"])
    long = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main", "command": ["x" * 8192]}]}]}}
    overrides = {"nodePropertyOverrides": [{"targetNodes": "0:", **long}]}
    assert strict.job(strict.submit(jobDefinition="nodes", nodeOverrides=overrides))["statusReason"] == text
    assert strict.job(strict.submit(jobDefinition="task", **long))["statusReason"] == text
