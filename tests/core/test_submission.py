"""From a definition and overrides to a specification (specification, section 5.7)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.core.submission import (
    EMPTY_LISTS,
    dependencies,
    merge_by,
    needs_of,
    override_container,
    prepare,
    retry_rules,
    specify,
    with_empty_lists,
)
from batchyard.model.capacity import Resources
from batchyard.model.definition import Definition
from batchyard.model.fault import Fault
from batchyard.model.job import Dependency, DependencyKind, RetryRule, Specification

SIZES = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "512"}]
ENTRIES = st.lists(st.fixed_dictionaries({"name": st.sampled_from("ABCDEF"), "value": st.text(max_size=3)}), max_size=8)


def definition(**properties: Any) -> Definition:
    container = {"image": "x", "command": ["run"], "resourceRequirements": SIZES, **properties.pop("containerProperties", {})}
    return Definition(
        arn="arn:aws:batch:r:1:job-definition/d:1",
        name="d",
        revision=1,
        account="1",
        region="r",
        properties={"type": "container", "containerProperties": container, **properties},
    )


def submitted(base: Definition, **submission: Any) -> Specification:
    return specify(prepare(base), {"jobName": "j", **submission}, job_id="id", queue="q", now_ms=5)


def effective(spec: Specification) -> dict[str, Any]:
    return dict(msgspec.json.decode(spec.effective))


def extras(spec: Specification) -> dict[str, Any]:
    return dict(msgspec.json.decode(spec.extras))


def test_a_plain_submission_takes_the_definition_as_it_is() -> None:
    base = definition()
    spec = submitted(base)
    assert (spec.id, spec.name, spec.queue, spec.account, spec.region, spec.created_at_ms) == ("id", "j", "q", "1", "r", 5)
    assert spec.definition == base.arn and spec.needs == Resources(2.0, 512) and spec.attempts == 1 and spec.array_size == 0
    assert spec.retry_rules == () and spec.timeout_s is None and spec.tags == {} and (spec.log_group, spec.log_prefix) == ("", "")
    assert effective(spec) == {**{name: [] for name in EMPTY_LISTS}, **base.properties["containerProperties"]}
    assert extras(spec) == {
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
        "dependsOn": [],
        "parameters": {},
        "propagateTags": False,
        "platformCapabilities": [],
    }


def test_whole_values_are_replaced() -> None:
    base = definition(
        retryStrategy={"attempts": 5, "evaluateOnExit": [{"action": "RETRY"}]},
        timeout={"attemptDurationSeconds": 60},
        propagateTags=True,
        parameters={"a": "1", "b": "2"},
        schedulingPriority=3,
        platformCapabilities=["EC2"],
    )
    kept = submitted(base)
    assert (kept.attempts, kept.timeout_s, len(kept.retry_rules)) == (5, 60, 1)
    assert extras(kept)["timeout"] == {"attemptDurationSeconds": 60} and extras(kept)["propagateTags"] is True
    assert extras(kept)["schedulingPriority"] == 3 and extras(kept)["platformCapabilities"] == ["EC2"]

    changed = submitted(
        base, retryStrategy={"attempts": 2}, timeout={"attemptDurationSeconds": 70}, propagateTags=False, parameters={"b": "3"}
    )
    assert (changed.attempts, changed.timeout_s, changed.retry_rules) == (2, 70, ())
    assert extras(changed)["parameters"] == {"a": "1", "b": "3"} and extras(changed)["propagateTags"] is False

    empty = submitted(base, retryStrategy={}, timeout={}, parameters={})
    assert (empty.attempts, empty.timeout_s, len(empty.retry_rules)) == (5, 60, 1)


def test_arrays_dependencies_tags_and_logs() -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-stream-prefix": "p"}}
    base = definition(containerProperties={"logConfiguration": log})
    depends_on = [{"jobId": "a"}, {"jobId": "b", "type": "N_TO_N"}, {"type": "SEQUENTIAL"}]
    spec = specify(
        prepare(base),
        {"jobName": "j", "arrayProperties": {"size": 3}, "tags": {"k": "v"}, "dependsOn": depends_on},
        job_id="id",
        queue="q",
        depends_on=dependencies(depends_on),
        now_ms=0,
    )
    assert spec.array_size == 3 and spec.tags == {"k": "v"} and (spec.log_group, spec.log_prefix) == ("g", "p")
    assert spec.depends_on == (Dependency("a"), Dependency("b", DependencyKind.N_TO_N), Dependency("", DependencyKind.SEQUENTIAL))
    assert extras(spec)["dependsOn"] == depends_on
    assert submitted(base, arrayProperties={}).array_size == 0 and submitted(base, arrayProperties={"size": None}).array_size == 0


def test_placeholders_wait_for_the_submission() -> None:
    base = definition(containerProperties={"command": ["cat", "Ref::file"]})
    assert prepare(base).effective is None
    with pytest.raises(Fault, match="No parameter found for reference file"):
        submitted(base)
    assert effective(submitted(base, parameters={"file": "f"}))["command"] == ["cat", "f"]
    given_default = definition(containerProperties={"command": ["cat", "Ref::file"]}, parameters={"file": "d"})
    assert effective(submitted(given_default))["command"] == ["cat", "d"]
    overridden = submitted(given_default, containerOverrides={"command": ["Ref::file", "x"]}, parameters={"file": "f"})
    assert effective(overridden)["command"] == ["f", "x"]


def test_sizes_from_overrides() -> None:
    spec = submitted(
        definition(), containerOverrides={"resourceRequirements": [{"type": "GPU", "value": 1}, {"type": "VCPU", "value": "4"}]}
    )
    assert spec.needs == Resources(4.0, 512, 1)
    assert [entry["type"] for entry in effective(spec)["resourceRequirements"]] == ["VCPU", "MEMORY", "GPU"]
    ignored = submitted(definition(), containerOverrides={"vcpus": 9, "memory": 9})
    assert ignored.needs == Resources(2.0, 512) and "vcpus" not in effective(ignored)


def test_the_prepared_definition_is_not_changed_by_submissions() -> None:
    prepared = prepare(definition(containerProperties={"environment": [{"name": "A", "value": "1"}]}))
    before = msgspec.json.encode(prepared.container)
    overrides = {"command": ["x"], "environment": [{"name": "A", "value": "2"}], "resourceRequirements": [{"type": "VCPU", "value": "1"}]}
    specify(prepared, {"jobName": "j", "containerOverrides": overrides}, job_id="i", queue="q", now_ms=0)
    assert msgspec.json.encode(prepared.container) == before == bytes(prepared.effective or b"")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({}, "vCPU is not provided."),
        ({"vcpus": 1}, "Memory is not provided."),
        ({"vcpus": 1, "memory": 3}, "MEMORY must be at least 4 MiB."),
        ({"memory": 4, "resourceRequirements": [{"type": "VCPU", "value": "0"}]}, "VCPU must be at least 1."),
        ({"memory": 4, "resourceRequirements": [{"type": "VCPU", "value": "0.5"}]}, "Value 0.5 for type VCPU in resourceRequirement"),
        ({"vcpus": 1, "resourceRequirements": [{"type": "MEMORY", "value": "1GB"}]}, "Value 1GB for type MEMORY"),
        ({"vcpus": 1, "memory": 4, "resourceRequirements": [{"type": "GPU", "value": "-1"}]}, "Value -1 for type GPU"),
        ({"vcpus": 1, "memory": 4, "resourceRequirements": [{"type": "GPU", "value": "²"}]}, "Value ² for type GPU"),
    ],
)
def test_needs_that_make_no_sense(container: dict[str, Any], message: str) -> None:
    with pytest.raises(Fault) as refusal:
        needs_of(container)
    assert refusal.value.message.startswith("Error executing request, Exception : ") and message in refusal.value.message


def test_requirements_come_before_the_old_spelling() -> None:
    assert needs_of({"vcpus": 9, "memory": 9, "resourceRequirements": SIZES}) == Resources(2.0, 512)
    assert needs_of({"vcpus": 1, "memory": 4, "resourceRequirements": [{"type": "GPU", "value": "0"}]}) == Resources(1.0, 4, 0)


def test_retry_rules_keep_their_order() -> None:
    strategy = {
        "attempts": 2,
        "evaluateOnExit": [{"action": "retry", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onExitCode": "1", "onReason": "*"}],
    }
    assert retry_rules(strategy) == (
        RetryRule("RETRY", on_status_reason="Host EC2*"),
        RetryRule("EXIT", on_reason="*", on_exit_code="1"),
    )


def test_empty_lists_are_added_and_nothing_is_changed() -> None:
    assert with_empty_lists({"image": "x", "command": ["a"]}) == {"image": "x", "command": ["a"]} | {
        name: [] for name in EMPTY_LISTS if name != "command"
    }


@settings(deadline=None)
@given(ENTRIES, ENTRIES)
def test_merging_environments(base: list[dict[str, str]], over: list[dict[str, str]]) -> None:
    merged = merge_by("name", base, over)
    names = [entry["name"] for entry in merged]
    assert len(names) == len(set(names)) and set(names) == {entry["name"] for entry in (*base, *over)}
    expected = {entry["name"]: entry["value"] for entry in (*base, *over)}  # the last word counts
    assert {entry["name"]: entry["value"] for entry in merged} == expected
    first_seen = list(dict.fromkeys(entry["name"] for entry in (*base, *over)))
    assert names == first_seen


@settings(deadline=None)
@given(ENTRIES)
def test_overriding_with_nothing_changes_nothing(environment: list[dict[str, str]]) -> None:
    container = with_empty_lists({"image": "x", "environment": environment, "resourceRequirements": SIZES})
    for overrides in ({}, {"environment": [], "command": [], "resourceRequirements": []}):
        assert override_container(container, overrides) == container


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["VCPU", "MEMORY", "GPU"]), unique=True),
    st.dictionaries(st.sampled_from(["VCPU", "MEMORY", "GPU"]), st.integers(4, 64)),
    st.integers(1, 64),
    st.integers(4, 4096),
)
def test_old_sizes_never_win_over_requirements(kinds: list[str], over: dict[str, int], vcpus: int, memory: int) -> None:
    base = {"vcpus": 3, "memory": 300, "resourceRequirements": [{"type": kind, "value": "7"} for kind in kinds]}
    requirements = [{"type": kind, "value": str(value)} for kind, value in over.items()]
    merged = override_container(base, {"vcpus": vcpus, "memory": memory, "resourceRequirements": requirements})
    needs = needs_of(merged)
    assert needs.vcpus == over.get("VCPU", 7 if "VCPU" in kinds else vcpus)
    assert needs.memory_mib == over.get("MEMORY", 7 if "MEMORY" in kinds else memory)
    assert needs.gpus == over.get("GPU", 7 if "GPU" in kinds else 0)
    assert ("vcpus" in merged) == ("VCPU" not in kinds and "VCPU" not in over)


def test_one_old_size_overridden_leaves_the_other() -> None:
    assert override_container({"vcpus": 3, "memory": 300}, {"memory": 500}) == {"vcpus": 3, "memory": 500}
