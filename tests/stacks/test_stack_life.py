"""The life of a stack over the wire: events in order, every way to fail and to come back, and what may not be done to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stack_client import Stacks, body, broken, note

from yard import Yard

HANDLE = {"Type": "AWS::CloudFormation::WaitConditionHandle"}


def waits(**more: Any) -> dict[str, Any]:
    return {"Type": "AWS::CloudFormation::WaitCondition", "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "600"}, **more}


@pytest.fixture(scope="module")
def stacks(yard: Yard) -> Stacks:
    return Stacks(yard)


def parameters(yard: Yard, prefix: str) -> list[str]:
    entries = yard.client("ssm").describe_parameters()["Parameters"]
    return [entry["Name"] for entry in entries if entry["Name"].removeprefix("CFN-").startswith(prefix)]


def test_events_tell_the_whole_story_in_order(stacks: Stacks) -> None:
    template = body({"First": note(), "Second": note({"Ref": "First"})})
    assert stacks.create("story", template)["StackStatus"] == "CREATE_COMPLETE"
    made = "Resource creation Initiated"
    one = [("First", "CREATE_IN_PROGRESS", ""), ("First", "CREATE_IN_PROGRESS", made), ("First", "CREATE_COMPLETE", "")]
    two = [("Second", status, why) for _, status, why in one]
    created = [("story", "CREATE_IN_PROGRESS", "User Initiated"), *one, *two, ("story", "CREATE_COMPLETE", "")]
    assert stacks.events("story") == created

    changed = body({"First": note("w")})
    assert stacks.update("story", changed)["StackStatus"] == "UPDATE_COMPLETE"
    updated = [
        ("story", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("First", "UPDATE_IN_PROGRESS", ""),
        ("First", "UPDATE_COMPLETE", ""),
        ("story", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", ""),
        ("Second", "DELETE_IN_PROGRESS", ""),
        ("Second", "DELETE_COMPLETE", ""),
        ("story", "UPDATE_COMPLETE", ""),
    ]
    assert stacks.events("story") == [*created, *updated]
    assert [r["LogicalResourceId"] for r in stacks.client.describe_stack_resources(StackName="story")["StackResources"]] == ["First"]

    gone = stacks.delete("story")
    assert gone["StackStatus"] == "DELETE_COMPLETE" and gone["DeletionTime"]
    deleted = [
        ("story", "DELETE_IN_PROGRESS", "User Initiated"),
        ("First", "DELETE_IN_PROGRESS", ""),
        ("First", "DELETE_COMPLETE", ""),
        ("story", "DELETE_COMPLETE", ""),
    ]
    assert stacks.events(gone["StackId"]) == [*created, *updated, *deleted]
    with pytest.raises(ClientError, match="Stack with id story does not exist"):
        stacks.one("story")
    entries = stacks.client.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
    assert "story" in [entry["StackName"] for entry in entries]
    assert {entry["StackStatus"] for entry in entries} == {"DELETE_COMPLETE"}


def test_a_creation_that_fails_is_taken_back(stacks: Stacks, yard: Yard) -> None:
    stack = stacks.create("fails", body({"Good": note(), "Bad": broken() | {"DependsOn": "Good"}}))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert parameters(yard, "fails-") == []
    told = stacks.events("fails")
    assert [event[:2] for event in told[-6:]] == [
        ("Bad", "CREATE_IN_PROGRESS"),
        ("Bad", "CREATE_FAILED"),
        ("fails", "ROLLBACK_IN_PROGRESS"),
        ("Good", "DELETE_IN_PROGRESS"),
        ("Good", "DELETE_COMPLETE"),
        ("fails", "ROLLBACK_COMPLETE"),
    ]
    why = stacks.reason("fails", "fails", "ROLLBACK_IN_PROGRESS")
    assert why == "The following resource(s) failed to create: [Bad]. Rollback requested by user."
    assert "pattern" in stacks.reason("fails", "Bad", "CREATE_FAILED").lower()
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update("fails", body({"Good": note("w")}))
    with pytest.raises(ClientError) as refused:
        stacks.create("fails", body({"Good": note()}))
    assert refused.value.response["Error"]["Code"] == "AlreadyExistsException"
    assert stacks.delete("fails")["StackStatus"] == "DELETE_COMPLETE"


def test_what_a_failure_does_is_the_callers_choice(stacks: Stacks, yard: Yard) -> None:
    template = body({"Good": note(), "Bad": broken() | {"DependsOn": "Good"}})
    assert stacks.create("away", template, OnFailure="DELETE")["StackStatus"] == "DELETE_COMPLETE"
    assert parameters(yard, "away-") == []
    stays = stacks.create("stays", template, OnFailure="DO_NOTHING")
    assert stays["StackStatus"] == "CREATE_FAILED" and len(parameters(yard, "stays-")) == 1
    assert stays["StackStatusReason"] == "The following resource(s) failed to create: [Bad]."
    stacks.client.rollback_stack(StackName="stays")
    assert stacks.over("stays")["StackStatus"] == "ROLLBACK_COMPLETE" and parameters(yard, "stays-") == []
    held = stacks.create("held", template, DisableRollback=True)
    assert held["StackStatus"] == "CREATE_FAILED" and held["DisableRollback"] is True
    assert stacks.update("held", body({"Good": note(), "Bad": note("mended")}))["StackStatus"] == "UPDATE_COMPLETE"
    with pytest.raises(ClientError, match="You cannot specify both DisableRollback and OnFailure"):
        stacks.create("both", template, DisableRollback=True, OnFailure="DELETE")


def test_an_update_that_fails_is_taken_back(stacks: Stacks, yard: Yard) -> None:
    before = body({"Good": note("one")}, Outputs={"Out": {"Value": {"Fn::GetAtt": ["Good", "Value"]}}})
    stacks.create("back", before)
    after = body({"Good": note("two"), "New": note(), "Bad": broken() | {"DependsOn": ["Good", "New"]}})
    stack = stacks.update("back", after)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert [out["OutputValue"] for out in stack["Outputs"]] == ["one"]
    (name,) = parameters(yard, "back-")
    assert yard.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "one"
    assert [r["LogicalResourceId"] for r in stacks.client.describe_stack_resources(StackName="back")["StackResources"]] == ["Good"]
    assert [event[1:] for event in stacks.events("back") if event[0] == "back"][-4:] == [
        ("UPDATE_IN_PROGRESS", "User Initiated"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Bad]."),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", ""),
        ("UPDATE_ROLLBACK_COMPLETE", ""),
    ]
    held = stacks.update("back", after, DisableRollback=True)
    assert held["StackStatus"] == "UPDATE_FAILED"
    stacks.client.rollback_stack(StackName="back")
    assert stacks.over("back")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert yard.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "one"


def test_a_way_back_that_fails_goes_on_without_what_is_skipped(stacks: Stacks, yard: Yard) -> None:
    def group(days: int) -> dict[str, Any]:
        return {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "life-lost", "RetentionInDays": days}}

    stacks.create("stuck", body({"Kept": note("one"), "Lost": group(7)}))
    both = {"Kept": note("two"), "Lost": group(14), "Handle": HANDLE, "Wait": waits(DependsOn=["Kept", "Lost"])}
    stacks.client.update_stack(StackName="stuck", TemplateBody=body(both))
    stacks.under_way("stuck", "Wait", "CREATE_IN_PROGRESS")
    yard.client("logs").delete_log_group(logGroupName="life-lost")
    stacks.client.cancel_update_stack(StackName="stuck")
    stack = stacks.over("stuck")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED", stacks.events("stuck")
    assert stack["StackStatusReason"] == "The following resource(s) failed to update: [Lost]."
    with pytest.raises(ClientError, match="UPDATE_ROLLBACK_FAILED state and can not be updated"):
        stacks.update("stuck", body({"Kept": note("three")}))
    with pytest.raises(ClientError, match="do not exist"):
        stacks.client.continue_update_rollback(StackName="stuck", ResourcesToSkip=["Nobody"])
    stacks.client.continue_update_rollback(StackName="stuck")
    assert stacks.over("stuck")["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    stacks.client.continue_update_rollback(StackName="stuck", ResourcesToSkip=["Lost"])
    assert stacks.over("stuck")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.update("stuck", body({"Kept": note("three")}))["StackStatus"] == "UPDATE_COMPLETE"


def test_an_update_is_cancelled(stacks: Stacks) -> None:
    stacks.create("turns", body({"One": note("one")}))
    with pytest.raises(ClientError, match="CancelUpdateStack cannot be called from current stack status"):
        stacks.client.cancel_update_stack(StackName="turns")
    stacks.client.update_stack(StackName="turns", TemplateBody=body({"One": note("two"), "Handle": HANDLE, "Wait": waits()}))
    stacks.under_way("turns", "Wait", "CREATE_IN_PROGRESS")
    stacks.client.cancel_update_stack(StackName="turns")
    assert stacks.over("turns")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "cancelled" in stacks.reason("turns", "Wait", "CREATE_FAILED")
    assert stacks.reason("turns", "turns", "UPDATE_ROLLBACK_IN_PROGRESS")


def test_a_stack_is_deleted_while_it_is_created(stacks: Stacks, yard: Yard) -> None:
    arn = stacks.client.create_stack(StackName="early", TemplateBody=body({"One": note(), "Handle": HANDLE, "Wait": waits()}))["StackId"]
    stacks.under_way("early", "Wait", "CREATE_IN_PROGRESS")
    stacks.client.delete_stack(StackName="early")
    assert stacks.over(arn)["StackStatus"] == "DELETE_COMPLETE" and parameters(yard, "early-") == []


def test_a_protected_stack_stays(stacks: Stacks) -> None:
    stacks.create("safe", body({"One": note()}), EnableTerminationProtection=True)
    with pytest.raises(ClientError, match=r"Stack \[safe\] cannot be deleted while TerminationProtection is enabled"):
        stacks.client.delete_stack(StackName="safe")
    stacks.client.update_termination_protection(StackName="safe", EnableTerminationProtection=False)
    assert stacks.delete("safe")["StackStatus"] == "DELETE_COMPLETE"


def test_a_deletion_that_fails_is_tried_again_or_leaves_things(stacks: Stacks, yard: Yard) -> None:
    s3 = yard.client("s3")
    template = body({"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "life-full"}}, "Other": note()})
    stacks.create("full", template)
    s3.put_object(Bucket="life-full", Key="k", Body=b"x")
    with pytest.raises(ClientError, match="RetainResources"):
        stacks.client.delete_stack(StackName="full", RetainResources=["Bucket"])
    failed = stacks.delete("full")
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert failed["StackStatusReason"] == "The following resource(s) failed to delete: [Bucket]."
    assert "BucketNotEmpty" in stacks.reason("full", "Bucket", "DELETE_FAILED") or "empty" in stacks.reason(
        "full", "Bucket", "DELETE_FAILED"
    )
    assert stacks.delete("full")["StackStatus"] == "DELETE_FAILED"
    gone = stacks.delete("full", RetainResources=["Bucket"])
    assert gone["StackStatus"] == "DELETE_COMPLETE"
    assert ("Bucket", "DELETE_SKIPPED", "") in stacks.events(gone["StackId"])
    assert s3.head_bucket(Bucket="life-full")


def test_policies_keep_what_they_say(stacks: Stacks, yard: Yard) -> None:
    ssm = yard.client("ssm")
    resources = {
        "Stays": note(DeletionPolicy="Retain") | {"Properties": {"Type": "String", "Value": "v", "Name": "policy-stays"}},
        "OnCreate": note(DeletionPolicy="RetainExceptOnCreate")
        | {"Properties": {"Type": "String", "Value": "v", "Name": "policy-on-create"}},
        "Goes": note() | {"Properties": {"Type": "String", "Value": "v", "Name": "policy-goes"}},
    }
    assert (
        stacks.create("policies", body({**resources, "Bad": broken() | {"DependsOn": list(resources)}}))["StackStatus"]
        == "ROLLBACK_COMPLETE"
    )
    assert sorted(parameters(yard, "policy-")) == ["policy-stays"]
    ssm.delete_parameter(Name="policy-stays")
    stacks.delete("policies")
    stacks.create("policies", body(resources))
    stacks.delete("policies")
    assert sorted(parameters(yard, "policy-")) == ["policy-on-create", "policy-stays"]
    with pytest.raises(ClientError, match="Snapshot"):
        stacks.create("snap", body({"One": note(DeletionPolicy="Snapshot")}))


def test_a_replaced_resource_is_kept_where_its_policy_says_so(stacks: Stacks, yard: Yard) -> None:
    def named(name: str) -> str:
        parameter = {"Type": "String", "Value": "v", "Name": name}
        return body({"One": note(UpdateReplacePolicy="Retain") | {"Properties": parameter}})

    stacks.create("replaced", named("replaced-a"))
    assert stacks.update("replaced", named("replaced-b"))["StackStatus"] == "UPDATE_COMPLETE"
    assert sorted(parameters(yard, "replaced-")) == ["replaced-a", "replaced-b"]


def test_an_operation_that_is_asked_for_again_is_the_same(stacks: Stacks) -> None:
    template = body({"Handle": HANDLE, "Wait": waits()})
    first = stacks.client.create_stack(StackName="again", TemplateBody=template, ClientRequestToken="t")
    second = stacks.client.create_stack(StackName="again", TemplateBody=template, ClientRequestToken="t")
    assert first["StackId"] == second["StackId"]
    with pytest.raises(ClientError, match="already exists"):
        stacks.client.create_stack(StackName="again", TemplateBody=template, ClientRequestToken="u")
    events = stacks.client.describe_stack_events(StackName="again")["StackEvents"]
    assert {event["ClientRequestToken"] for event in events} == {"t"}
    stacks.client.delete_stack(StackName="again")
    stacks.over(first["StackId"])


def test_updates_use_what_was_there(stacks: Stacks) -> None:
    given = {"Size": {"Type": "String"}, "Colour": {"Type": "String", "Default": "red"}}
    template = body(
        {"One": note({"Fn::Sub": "${Size} ${Colour}"})}, Parameters=given, Outputs={"Out": {"Value": {"Fn::GetAtt": ["One", "Value"]}}}
    )
    stacks.create("uses", template, Parameters=[{"ParameterKey": "Size", "ParameterValue": "big"}], Tags=[{"Key": "team", "Value": "t"}])
    use = [{"ParameterKey": "Size", "UsePreviousValue": True}]
    with pytest.raises(ClientError, match="No updates are to be performed"):
        stacks.update("uses", UsePreviousTemplate=True, Parameters=use)
    stack = stacks.update("uses", UsePreviousTemplate=True, Parameters=[*use, {"ParameterKey": "Colour", "ParameterValue": "blue"}])
    assert stack["Outputs"][0]["OutputValue"] == "big blue" and stack["Tags"] == [{"Key": "team", "Value": "t"}]
    with pytest.raises(ClientError, match=r"Parameters: \[Size\] must have values"):
        stacks.update("uses", UsePreviousTemplate=True)
    with pytest.raises(ClientError, match="usePreviousValue"):
        stacks.update("uses", UsePreviousTemplate=True, Parameters=[*use, {"ParameterKey": "Shape", "UsePreviousValue": True}])


def test_exports_are_protected_while_they_are_used(stacks: Stacks) -> None:
    def exporting(value: str) -> str:
        return body({"One": note(value)}, Outputs={"Out": {"Value": {"Fn::GetAtt": ["One", "Value"]}, "Export": {"Name": "life-export"}}})

    stacks.create("gives", exporting("a"))
    stacks.create("takes", body({"One": note({"Fn::ImportValue": "life-export"})}))
    assert stacks.client.list_imports(ExportName="life-export")["Imports"] == ["takes"]
    with pytest.raises(ClientError, match="Export life-export cannot be deleted as it is in use by takes"):
        stacks.client.delete_stack(StackName="gives")
    assert stacks.update("gives", exporting("b"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "cannot be updated as it is in use by takes" in stacks.reason("gives", "gives", "UPDATE_ROLLBACK_IN_PROGRESS")
    (export,) = [one for one in stacks.client.list_exports()["Exports"] if one["Name"] == "life-export"]
    assert export["Value"] == "a"
    twin = stacks.create("twin", exporting("c"))
    assert twin["StackStatus"] == "ROLLBACK_COMPLETE"
    assert stacks.create("dangling", body({"One": note({"Fn::ImportValue": "nobody"})}))["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "No export named nobody found" in stacks.reason("dangling", "One", "CREATE_FAILED")
    stacks.delete("takes")
    assert stacks.delete("gives")["StackStatus"] == "DELETE_COMPLETE"


def test_secrets_are_shown_nowhere(stacks: Stacks, yard: Yard) -> None:
    secret = "hush-hush-73"
    given = {"Word": {"Type": "String", "NoEcho": True}}
    template = body({"One": note({"Fn::Sub": "<${Word}>"}), "Bad": broken() | {"DependsOn": "One"}}, Parameters=given)
    values = [{"ParameterKey": "Word", "ParameterValue": secret}]
    stacks.create("quiet", template, Parameters=values)
    stacks.create("hushed", body({"One": note({"Ref": "Word"})}, Parameters=given), Parameters=values)
    more = body({"One": note({"Ref": "Word"}), "Two": note({"Ref": "Word"})}, Parameters=given)
    stacks.client.create_change_set(
        StackName="hushed", ChangeSetName="c", TemplateBody=more, Parameters=[{"ParameterKey": "Word", "ParameterValue": secret + "4"}]
    )
    shown = [
        stacks.client.describe_change_set(StackName="hushed", ChangeSetName="c", IncludePropertyValues=True),
        stacks.client.describe_stacks(),
        *(stacks.client.describe_stack_events(StackName=name) for name in ("quiet", "hushed")),
        stacks.client.describe_stack_resources(StackName="hushed"),
    ]
    assert secret not in json.dumps(shown, default=str) and secret not in yard.log()
    assert stacks.one("hushed")["Parameters"] == [{"ParameterKey": "Word", "ParameterValue": "****"}]


def test_what_must_be_acknowledged_is(stacks: Stacks) -> None:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}}
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_IAM\]") as refused:
        stacks.create("roles", body({"Role": role}))
    assert refused.value.response["Error"]["Code"] == "InsufficientCapabilitiesException"
    named = {"Type": "AWS::IAM::Role", "Properties": {**role["Properties"], "RoleName": "life-role"}}
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_NAMED_IAM\]"):
        stacks.create("roles", body({"Role": named}), Capabilities=["CAPABILITY_IAM"])
    assert stacks.create("roles", body({"Role": named}), Capabilities=["CAPABILITY_NAMED_IAM"])["StackStatus"] == "CREATE_COMPLETE"


def test_tags_reach_what_can_bear_them(stacks: Stacks, yard: Yard) -> None:
    template = body({"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "life-tags"}}})
    stacks.create("tagged", template, Tags=[{"Key": "team", "Value": "one"}])
    tags = {tag["Key"]: tag["Value"] for tag in yard.client("s3").get_bucket_tagging(Bucket="life-tags")["TagSet"]}
    assert tags["team"] == "one"
    assert stacks.update("tagged", template, Tags=[{"Key": "team", "Value": "two"}])["StackStatus"] == "UPDATE_COMPLETE"
    tags = {tag["Key"]: tag["Value"] for tag in yard.client("s3").get_bucket_tagging(Bucket="life-tags")["TagSet"]}
    assert tags["team"] == "two"


def test_lists_have_pages(stacks: Stacks) -> None:
    for n in range(102):
        stacks.client.create_stack(StackName=f"many-{n}", TemplateBody=body({"One": HANDLE}))
    pages = list(stacks.client.get_paginator("list_stacks").paginate())
    names = [entry["StackName"] for page in pages for entry in page["StackSummaries"]]
    assert len(pages) > 1 and len({name for name in names if name.startswith("many-")}) == 102


def test_templates_are_shown_and_summed_up(stacks: Stacks) -> None:
    one = "{Type: 'AWS::SSM::Parameter', Properties: {Type: String, Value: !Ref Size}}"
    template = f"Parameters: {{Size: {{Type: String, Default: big}}}}\nResources:\n  One: {one}\n"
    stacks.create("shown", template)
    original = stacks.client.get_template(StackName="shown")
    assert original["TemplateBody"] == template and original["StagesAvailable"] == ["Original", "Processed"]
    processed = stacks.client.get_template(StackName="shown", TemplateStage="Processed")["TemplateBody"]
    assert "Size" in str(processed)
    summary = stacks.client.get_template_summary(StackName="shown")
    assert summary["ResourceTypes"] == ["AWS::SSM::Parameter"] and summary["Parameters"][0]["ParameterKey"] == "Size"
    with pytest.raises(ClientError, match="line 3"):
        stacks.client.validate_template(TemplateBody=template.replace("!Ref Size", "!Ref Nobody"))


def test_regions_do_not_know_each_other(stacks: Stacks, yard: Yard) -> None:
    template = body({"One": note({"Ref": "AWS::Region"})}, Outputs={"Out": {"Value": {"Fn::GetAtt": ["One", "Value"]}}})
    there = Stacks(yard, region_name="ap-southeast-2")
    assert stacks.create("region", template)["Outputs"][0]["OutputValue"] == yard.endpoint["region"]
    assert there.create("region", template)["Outputs"][0]["OutputValue"] == "ap-southeast-2"
    there.delete("region")
    assert stacks.one("region")["StackStatus"] == "CREATE_COMPLETE"


def test_what_is_not_there_is_refused_by_name_or_recorded(stacks: Stacks) -> None:
    template = (
        "Resources:\n  Note: {Type: 'AWS::CloudFormation::WaitConditionHandle'}\n  Machine:\n    Type: AWS::StepFunctions::StateMachine\n"
    )
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::StepFunctions::StateMachine\].*line 4"):
        stacks.create("unknown", template)
    stack = stacks.create("unknown", template, Tags=[{"Key": "batchyard:inert", "Value": "allow"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert "Recorded without effect" in stacks.reason("unknown", "Machine", "CREATE_COMPLETE")


def test_the_types_that_are_real_can_be_read(stacks: Stacks) -> None:
    pages = stacks.client.get_paginator("list_types").paginate(Visibility="PUBLIC", Filters={"TypeNamePrefix": "AWS::Batch::"})
    found = {one["TypeName"]: one["TypeArn"] for page in pages for one in page["TypeSummaries"]}
    assert {"AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue", "AWS::Batch::JobDefinition"} <= found.keys()
    assert stacks.client.list_types()["TypeSummaries"] == []
    queue = stacks.client.describe_type(Type="RESOURCE", TypeName="AWS::Batch::JobQueue")
    assert "ComputeEnvironmentOrder" in json.loads(queue["Schema"])["properties"] and queue["ProvisioningType"] == "FULLY_MUTABLE"
    assert stacks.client.describe_type(Arn=found["AWS::Batch::JobQueue"])["TypeName"] == "AWS::Batch::JobQueue"
    with pytest.raises(ClientError, match="cannot be found") as refused:
        stacks.client.describe_type(Type="RESOURCE", TypeName="AWS::StepFunctions::StateMachine")
    assert refused.value.response["Error"]["Code"] == "TypeNotFoundException"
