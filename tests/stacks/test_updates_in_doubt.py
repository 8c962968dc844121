"""After an update that failed and was not taken back, the next one sets what is not certain to be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchyard.services.cloudformation.running.doubt import in_doubt
from yard import serving, until

VALUES = st.recursive(st.integers(0, 2), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6)
PROPERTIES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(PROPERTIES, PROPERTIES, PROPERTIES)
def test_what_is_not_certain_differs_from_what_is_wanted(former: dict[str, Any], tried: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = in_doubt(former, tried, wanted)
    for name in {**former, **tried}:
        if former.get(name) != tried.get(name):
            assert found.get(name) != wanted.get(name)
        else:
            assert found[name] == former[name]


def test_a_resource_whose_update_failed_is_tried_again(tmp_path: Path) -> None:
    with serving(tmp_path / "yard") as yard:
        client = yard.client("cloudformation")

        def update(**group: Any) -> dict[str, str]:
            """The statuses of stack and group, when the group is to have these properties."""
            template = {"Resources": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": group}}}
            act = client.update_stack if group else client.create_stack
            act(StackName="retried", TemplateBody=json.dumps(template), **({"DisableRollback": True} if group else {}))

            def over() -> dict[str, str] | None:
                (stack,) = client.describe_stacks(StackName="retried")["Stacks"]
                if stack["StackStatus"].endswith("_IN_PROGRESS"):
                    return None
                (resource,) = client.describe_stack_resources(StackName="retried")["StackResources"]
                return {"stack": stack["StackStatus"], "group": resource["ResourceStatus"]}

            return until(over, "the stack to come to rest")

        assert update() == {"stack": "CREATE_COMPLETE", "group": "CREATE_COMPLETE"}
        key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        failed = {"stack": "UPDATE_FAILED", "group": "UPDATE_FAILED"}
        assert update(KmsKeyId=key, RetentionInDays=7) == failed
        assert update(KmsKeyId=key, RetentionInDays=7, DeletionProtectionEnabled=False) == failed  # and not taken for done
        assert update(RetentionInDays=7) == {"stack": "UPDATE_COMPLETE", "group": "UPDATE_COMPLETE"}
        (group,) = client.describe_stack_resources(StackName="retried")["StackResources"]
        (there,) = yard.client("logs").describe_log_groups(logGroupNamePrefix=group["PhysicalResourceId"])["logGroups"]
        assert there["retentionInDays"] == 7  # which the update that failed wanted as well, and did not come to
