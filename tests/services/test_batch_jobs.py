"""SubmitJob, DescribeJobs, and how jobs look on their way (specification, sections 1.5, 1.8, 1.9, 2.2-2.8)."""

from __future__ import annotations

import pytest
from batch_bench import BATCH, Bench, ready_bench

from batchyard.model.messages import InstanceGone


def test_a_job_from_submission_to_its_end(ready: Bench) -> None:
    answer = ready.call("SubmitJob", jobName="align-1", jobQueue="queue", jobDefinition="job")
    job_id = answer["jobId"]
    assert answer == {"jobArn": f"{BATCH}:job/{job_id}", "jobName": "align-1", "jobId": job_id}

    waiting = ready.job(job_id)
    assert waiting["status"] == "RUNNABLE"
    assert waiting["jobQueue"] == f"{BATCH}:job-queue/queue"
    assert waiting["jobDefinition"] == f"{BATCH}:job-definition/job:1"
    assert waiting["createdAt"] == ready.world.now
    assert not {"startedAt", "stoppedAt", "arrayProperties", "timeout"} & waiting.keys()
    assert waiting["attempts"] == [] and waiting["dependsOn"] == [] and waiting["parameters"] == {}
    assert waiting["retryStrategy"] == {"attempts": 1, "evaluateOnExit": []}
    assert waiting["propagateTags"] is False and waiting["platformCapabilities"] == [] and waiting["tags"] == {}
    assert waiting["isCancelled"] is False and waiting["isTerminated"] is False
    for name in ("volumes", "environment", "mountPoints", "ulimits", "networkInterfaces", "secrets"):
        assert waiting["container"][name] == []

    ready.instances_up()
    starting = ready.job(job_id)
    assert starting["status"] == "STARTING"
    assert "taskArn" in starting["container"] and "logStreamName" not in starting["container"]

    ready.tick()
    ready.start(job_id)
    running = ready.job(job_id)
    assert running["status"] == "RUNNING" and running["startedAt"] == ready.world.now
    attempt = ready.attempt(job_id)
    assert running["container"]["logStreamName"] == f"job/default/{attempt}"
    cluster = ready.call("DescribeComputeEnvironments")["computeEnvironments"][0]["ecsClusterArn"].rpartition("/")[2]
    assert running["container"]["taskArn"] == f"arn:aws:ecs:eu-central-1:123456789012:task/{cluster}/{attempt}"

    ready.tick()
    ready.end(job_id, 0)
    ended = ready.job(job_id)
    assert ended["status"] == "SUCCEEDED" and ended["stoppedAt"] == ready.world.now
    assert ended["statusReason"] == "Essential container in task exited"
    assert ended["container"]["exitCode"] == 0 and "reason" not in ended["container"]
    (only,) = ended["attempts"]
    assert only["container"]["exitCode"] == 0 and only["container"]["logStreamName"] == f"job/default/{attempt}"
    assert (only["startedAt"], only["stoppedAt"]) == (ended["startedAt"], ended["stoppedAt"])
    assert only["statusReason"] == "Essential container in task exited"
    (instance,) = ready.engine.ledger.instances
    assert only["container"]["containerInstanceArn"].endswith(f"/{instance}")


def test_a_lost_host_leaves_no_exit_code(ready: Bench) -> None:
    job_id = ready.submit(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}]})
    ready.start(job_id)
    instance = ready.lose_host(job_id)
    retried = ready.job(job_id)
    assert retried["status"] == "RUNNABLE"
    (lost,) = retried["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    assert "exitCode" not in lost["container"] and "exitCode" not in retried["container"]
    assert retried["retryStrategy"] == {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}]}


def test_a_container_that_cannot_start_has_no_start_time(ready: Bench) -> None:
    job_id = ready.submit()
    ready.instances_up()
    ready.end(job_id, None, cause="not-started", reason="CannotPullContainerError: manifest for x not found")
    job = ready.job(job_id)
    assert job["status"] == "FAILED" and job["statusReason"] == "Task failed to start"
    assert "startedAt" not in job and "startedAt" not in job["attempts"][0] and "stoppedAt" in job
    assert job["container"]["reason"].startswith("CannotPullContainerError") and "exitCode" not in job["container"]


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
        ({"nodeOverrides": {"numNodes": 2}}, "nodeOverrides is not available"),
        ({"eksPropertiesOverride": {"podProperties": {"metadata": {"labels": {"a": "b"}}}}}, "eksPropertiesOverride is not available"),
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


def test_describe_keeps_the_order_and_leaves_out_the_unknown(ready: Bench) -> None:
    a, b = ready.submit(), ready.submit()
    jobs = ready.call("DescribeJobs", jobs=[b, "gone", f"{BATCH}:job/{a}", "arn:aws:batch:us-east-1:1:job/x"])["jobs"]
    assert [job["jobId"] for job in jobs] == [b, a]
    assert ready.call("DescribeJobs", jobs=[])["jobs"] == []
    message = "Error executing request, Exception : Maximum number of jobs supported is 100"
    assert ready.refused("DescribeJobs", jobs=["x"] * 101) == message


def test_an_array_and_its_children(ready: Bench) -> None:
    parent = ready.submit(arrayProperties={"size": 3}, tags={"who": "me"})
    shown = ready.job(parent)
    assert shown["status"] == "PENDING" and shown["attempts"] == [] and shown["tags"] == {"who": "me"}
    assert shown["arrayProperties"]["size"] == 3
    zeros = dict.fromkeys(("SUBMITTED", "PENDING", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"), 0)
    assert shown["arrayProperties"]["statusSummary"] == {**zeros, "RUNNABLE": 3}
    child = ready.job(f"{parent}:2")
    assert child["arrayProperties"] == {"statusSummary": {}, "index": 2} and child["jobArn"] == f"{BATCH}:job/{parent}:2"
    assert child["tags"] == {} and child["status"] == "RUNNABLE" and child["jobName"] == "j"
    assert ready.call("DescribeJobs", jobs=[f"{parent}:3", f"{parent}:x"])["jobs"] == []

    ready.instances_up()
    for index, code in ((0, 0), (1, 1), (2, 0)):
        ready.start(f"{parent}:{index}")
        ready.end(f"{parent}:{index}", code)
    shown = ready.job(parent)
    assert (shown["status"], shown["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert shown["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 2 and shown["arrayProperties"]["statusSummary"]["FAILED"] == 1
    assert "exitCode" not in shown["container"] and "startedAt" not in shown
    assert ready.job(f"{parent}:1")["container"]["exitCode"] == 1


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


def test_a_job_outlives_its_environment(ready: Bench) -> None:
    job_id = ready.submit()
    ready.start(job_id)
    ready.end(job_id, 0)
    ready.call("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=[{"order": 1, "computeEnvironment": ready.environment("other")}])
    ready.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    ready.call("DeleteComputeEnvironment", computeEnvironment="ce")
    ready.report(*(InstanceGone(instance, ready.world.now) for instance in list(ready.desk.read.instances)))
    assert ready.call("DescribeComputeEnvironments", computeEnvironments=["ce"])["computeEnvironments"] == []
    assert "/AWSBatch-ce/" in ready.job(job_id)["attempts"][0]["container"]["taskArn"]


def test_prepared_definitions_are_bounded(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.services.batch.submit._MOST_PREPARED", 2)
    for name in ("a", "b", "c"):
        ready.definition(name)
        ready.submit(jobDefinition=name)
    assert len(ready.desk.prepared) <= 2


def test_cancel_and_terminate(ready: Bench) -> None:
    job_id = ready.submit()
    assert ready.call("CancelJob", jobId=job_id, reason="not needed") == {}
    job = ready.job(job_id)
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "not needed", True)
    assert ready.call("TerminateJob", jobId=job_id, reason="again") == {}
    assert ready.job(job_id)["statusReason"] == "not needed"

    running = ready.submit()
    ready.start(running)
    ready.call("CancelJob", jobId=running, reason="too late")
    assert ready.job(running)["status"] == "RUNNING"
    ready.call("TerminateJob", jobId=running, reason="stop it")
    assert ready.job(running)["isTerminated"] is True
    ready.end(running, 143, cause="stopped")
    job = ready.job(running)
    assert (job["status"], job["statusReason"], job["container"]["exitCode"]) == ("FAILED", "stop it", 143)

    for operation in ("CancelJob", "TerminateJob"):
        assert ready.call(operation, jobId="11111111-1111-4111-8111-111111111111", reason="x") == {}
        assert "reason" in ready.refused(operation, jobId=job_id, reason="")
        assert "jobId" in ready.refused(operation, jobId="", reason="x")
        assert "1024" in ready.refused(operation, jobId=job_id, reason="x" * 1025)


def test_ending_many(ready: Bench) -> None:
    a, b = ready.submit(), ready.submit()
    answer = ready.call("TerminateJobs", jobs=[a, "unknown", ""], reason="enough")
    assert answer["successful"] == [a, "unknown"]
    (error,) = answer["errors"]
    assert (error["job"], error["code"]) == ("", "ClientException") and error["message"]
    assert ready.job(a)["statusReason"] == "enough"
    assert ready.call("CancelJobs", jobs=[b], reason="too") == {"successful": [b], "errors": []}
    assert ready.job(b)["status"] == "FAILED"
    assert "50" in ready.refused("CancelJobs", jobs=["x"] * 51, reason="r")
    assert "50" in ready.refused("CancelJobs", jobs=[], reason="r")


def test_a_job_of_another_account_is_not_seen(ready: Bench) -> None:
    from dataclasses import replace

    job_id = ready.submit()
    stranger = replace(ready.caller, account="999999999999")
    assert ready.call("DescribeJobs", caller=stranger, jobs=[job_id])["jobs"] == []
    ready.call("TerminateJob", caller=stranger, jobId=job_id, reason="mine")
    assert ready.job(job_id)["status"] == "RUNNABLE"


def test_waiting_jobs_say_why(ready: Bench) -> None:
    big = ready.submit(containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "9999999"}]})
    assert ready.job(big)["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_the_record_says_that_the_image_is_not_used(ready: Bench) -> None:
    job = ready.job(ready.submit())
    assert job["container"]["image"] == "busybox"
    assert job["container"]["runtimePlatform"] == {"operatingSystemFamily": "LINUX (process: image not used)"}


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


def test_log_group_and_stream_prefix(ready: Bench) -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "mine", "awslogs-stream-prefix": "pre"}}
    ready.definition("logged", containerProperties={"logConfiguration": log})
    job_id = ready.submit(jobDefinition="logged")
    ready.start(job_id)
    assert ready.job(job_id)["container"]["logStreamName"] == f"pre/default/{ready.attempt(job_id)}"
    assert ready.job(job_id)["container"]["logConfiguration"] == log
    assert ready.engine.ledger.specifications[job_id].log_group == "mine"
