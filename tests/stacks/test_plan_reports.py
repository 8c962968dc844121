"""What a plan says of permissions and cost, and how far a resource has drifted from its stack."""

from __future__ import annotations

import copy
import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from batchyard.compute.catalogue import GROUPS, SPOT_PART, Catalogue
from batchyard.services.cloudformation.planning import drift
from batchyard.services.cloudformation.planning.comparing import LATER, Standing, Wanted, compare
from batchyard.services.cloudformation.planning.cost import Price, estimate, priced, said
from batchyard.services.cloudformation.planning.iam import Permission, permissions

ROLE, BUCKET, ENVIRONMENT = "AWS::IAM::Role", "AWS::S3::Bucket", "AWS::Batch::ComputeEnvironment"
TRUST = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
}


def role(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return {"AssumeRolePolicyDocument": TRUST, "Policies": [{"PolicyName": "p", "PolicyDocument": document}], **more}


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def plan(before: dict[str, Any] | None, after: dict[str, Any] | None, type_name: str = ROLE, **more: Any) -> list[Permission]:
    stands = {"R": Standing(type_name, "r", before, **more)} if before is not None else {}
    wanted = {"R": Wanted(type_name, after)} if after is not None else {}
    return permissions(compare(stands, wanted))


def lines(found: list[Permission]) -> list[str]:
    return [f"{one.sign} {one.text}{' !' if one.is_wider else ''}" for one in found]


class TestPermissions:
    def test_a_new_role_says_who_may_have_it_and_what_it_allows(self) -> None:
        wanted = role(allow(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::a/*", LATER]), ManagedPolicyArns=["arn:aws:iam::aws:policy/X"])
        assert lines(plan(None, wanted)) == [
            "+ role is added !",
            "+ gets the managed policy arn:aws:iam::aws:policy/X !",
            "+ policy p: allows s3:GetObject, s3:PutObject on arn:aws:s3:::a/*, (known after) !",
            "+ trust policy: allows ec2.amazonaws.com sts:AssumeRole !",
        ]

    def test_a_role_that_goes_takes_all_with_it_unless_it_is_kept(self) -> None:
        assert lines(plan(role(allow("s3:GetObject")), None))[0] == "- role is removed"
        assert lines(plan(role(allow("s3:GetObject")), None, deletion_policy="Retain")) == ["- role is removed, but stays in the account"]

    def test_a_statement_more_and_one_less(self) -> None:
        assert lines(plan(role(allow("s3:GetObject", "a")), role(allow("s3:GetObject", "a"), allow("batch:SubmitJob")))) == [
            "+ policy p: allows batch:SubmitJob on * !"
        ]
        assert lines(plan(role(allow(["s3:GetObject", "s3:PutObject"], "a")), role(allow("s3:GetObject", "a")))) == [
            "- no longer policy p: allows s3:PutObject on a"
        ]

    def test_widened_and_narrowed(self) -> None:
        narrow, wide = role(allow("s3:GetObject", "arn:aws:s3:::a/x/*")), role(allow("s3:*", "arn:aws:s3:::a/*"))
        assert lines(plan(narrow, wide)) == ["~ policy p: allows s3:* on arn:aws:s3:::a/*, widened from s3:GetObject arn:aws:s3:::a/x/* !"]
        assert lines(plan(wide, narrow)) == ["~ policy p: allows s3:* on arn:aws:s3:::a/*, narrowed to s3:GetObject arn:aws:s3:::a/x/*"]

    def test_a_condition_that_goes_widens_and_a_denial_that_goes_does_too(self) -> None:
        under = allow("s3:GetObject", "a", Condition={"Bool": {"aws:SecureTransport": "true"}})
        (found,) = plan(role(under), role(allow("s3:GetObject", "a")))
        assert found.sign == "~"
        assert found.is_wider
        (found,) = plan(role({**allow("s3:*"), "Effect": "Deny"}), role())
        assert (found.sign, found.is_wider) == ("-", True)

    def test_another_spelling_is_no_change(self) -> None:
        before = role(allow(["s3:GetObject"], ["a"]))
        after = role(allow("s3:GetObject", "a"), Description="x")
        after["AssumeRolePolicyDocument"] = json.dumps(TRUST)
        assert plan(before, after) == []

    def test_boundaries_and_policies_of_resources(self) -> None:
        assert lines(plan(role(PermissionsBoundary="arn:b"), role())) == ["- is no longer bounded by arn:b !"]
        public = {"Bucket": "b", "PolicyDocument": {"Statement": [allow("s3:GetObject", "arn:aws:s3:::b/*", Principal="*")]}}
        assert lines(plan(None, public, "AWS::S3::BucketPolicy")) == ["+ policy: allows * s3:GetObject on arn:aws:s3:::b/* !"]
        call = {"Action": "lambda:InvokeFunction", "FunctionName": "f", "Principal": "events.amazonaws.com", "SourceArn": "arn:rule"}
        assert lines(plan(None, call, "AWS::Lambda::Permission")) == [
            "+ permission: allows events.amazonaws.com lambda:InvokeFunction on f when called for arn:rule !"
        ]
        assert plan(None, {"BucketName": "b"}, BUCKET) == []

    @given(
        st.lists(st.tuples(st.sampled_from(["s3:*", "s3:Get*", "s3:GetObject", "*"]), st.sampled_from(["*", "a", "a/*", "b"])), max_size=4)
    )
    def test_the_same_permissions_are_no_change(self, cells: list[tuple[str, str]]) -> None:
        before = role(*(allow(action, resource) for action, resource in cells))
        after = role(*(allow([action], [resource]) for action, resource in reversed(cells)), Description="other")
        assert plan(before, after) == []
        assert all(one.is_wider for one in plan(role(), before))
        assert not any(one.is_wider for one in plan(before, role()))


def environment(kind: str = "EC2", least: Any = 0, most: Any = 8, types: Any = ("a.large",), **more: Any) -> tuple[str, dict[str, Any]]:
    return ENVIRONMENT, {
        "Type": "MANAGED",
        "ComputeResources": {"Type": kind, "MinvCpus": least, "MaxvCpus": most, "InstanceTypes": list(types), **more},
    }


class TestCost:
    prices = {
        "a.large": Price(0.1, 2, "a list of 2024"),
        "a.xlarge": Price(0.3, 4, "a list of 2024"),
        "b.large": Price(0.05, 2, "a list of 2024"),
        "c.large": Price(0.0, 2, "a list of 2024"),
    }

    def of(self, **resources: tuple[str, dict[str, Any]]) -> Any:
        return estimate(resources, self.prices, groups={"optimal": ("a", "b")}, spot_part=0.35)

    def test_whole_instances_from_the_least_to_the_most(self) -> None:
        found = self.of(E=environment(least=3, most=8))
        assert (found.low_usd_per_hour, found.high_usd_per_hour) == pytest.approx((0.2, 0.4))
        found = self.of(E=environment(least=0, most=8, types=["a"]))
        assert (found.low_usd_per_hour, found.high_usd_per_hour) == pytest.approx((0.0, 0.6))
        assert "a.xlarge" in found.lines[0].why

    def test_spot_is_between_an_assumption_and_the_bid(self) -> None:
        found = self.of(E=environment("SPOT", least=2, most=8, BidPercentage="60"))
        assert (found.low_usd_per_hour, found.high_usd_per_hour) == pytest.approx((0.035, 0.24))
        assert "assumed" in found.lines[0].why

    def test_groups_and_what_has_no_price(self) -> None:
        found = self.of(E=environment(most=4, types=["optimal", "c.large", "z9"]))
        assert found.high_usd_per_hour == pytest.approx(0.3)
        assert found.lines[0].unpriced == ("c.large", "z9")
        assert any("no price for c.large, z9" in line for line in said(found))

    def test_what_stands_and_what_is_not_counted(self) -> None:
        found = self.of(
            N=("AWS::EC2::NatGateway", {}),
            V=("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]}),
            G=("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"}),
            B=(BUCKET, {}),
            E=environment("FARGATE", most=1),
            U=(ENVIRONMENT, {"Type": "UNMANAGED"}),
        )
        assert found.low_usd_per_hour == pytest.approx(0.065)
        assert found.high_usd_per_hour == pytest.approx(0.065 + 0.04048 + 8 * 0.004445)
        assert "storage and requests in buckets" in found.not_counted
        assert any(one.startswith("U,") for one in found.not_counted)
        text = list(said(found))
        assert text[0].startswith("0.0650 to 0.14 USD per hour, 47.45 to ")
        assert text[-1].startswith("prices: ")

    def test_the_catalogue_has_prices_with_a_date(self) -> None:
        catalogue = Catalogue()
        prices = priced(catalogue.types.values(), catalogue.prices_from)
        found = estimate({"E": environment("SPOT", 0, 256, ["optimal"])}, prices, groups=GROUPS, spot_part=SPOT_PART)
        assert found.low_usd_per_hour == 0
        assert 5 < found.high_usd_per_hour < 50
        assert "dated" in found.sources[0]
        assert found.lines[0].unpriced == ()
        assert all(prices[name].is_estimated for name in found.lines[0].estimated)

    @given(st.integers(0, 500), st.integers(0, 500), st.sampled_from(["EC2", "SPOT", "FARGATE"]))
    def test_the_range_is_one(self, least: int, more: int, kind: str) -> None:
        found = self.of(E=environment(kind, least, least + more, ["optimal"]))
        assert 0 <= found.low_usd_per_hour <= found.high_usd_per_hour


MODEL = botocore.session.get_session().get_service_model("cloudformation")


class TestDrift:
    def test_what_is_as_it_should_be(self) -> None:
        expected = {"BucketName": "b", "VersioningConfiguration": {"Status": "Enabled"}}
        actual = {**expected, "Arn": "arn:aws:s3:::b", "OwnershipControls": {"Rules": []}, "VersioningConfiguration": {"Status": "Enabled"}}
        assert drift.differences(BUCKET, expected, actual) == []
        assert drift.status([]) == "IN_SYNC"
        assert drift.status(None) == "DELETED"

    def test_what_is_not(self) -> None:
        expected = {"BucketName": "b", "VersioningConfiguration": {"Status": "Enabled"}, "ObjectLockEnabled": "true"}
        found = drift.differences(BUCKET, expected, {"BucketName": "b", "VersioningConfiguration": {"Status": "Suspended"}})
        assert drift.status(found) == "MODIFIED"
        assert drift.shown(found) == [
            {
                "PropertyPath": "/VersioningConfiguration/Status",
                "ExpectedValue": "Enabled",
                "ActualValue": "Suspended",
                "DifferenceType": "NOT_EQUAL",
            },
            {"PropertyPath": "/ObjectLockEnabled", "ExpectedValue": "true", "ActualValue": "null", "DifferenceType": "REMOVE"},
        ]
        for one in drift.shown(found):
            report = ParamValidator().validate(one, MODEL.shape_for("PropertyDifference"))
            assert not report.has_errors(), report.generate_report()

    def test_lists_without_an_order_and_what_was_added(self) -> None:
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.0.0.0/8"}
        expected = {"GroupDescription": "g", "SecurityGroupIngress": [rule, {**rule, "FromPort": 443, "ToPort": 443}]}
        actual = copy.deepcopy(expected)
        actual["SecurityGroupIngress"].reverse()
        assert drift.differences("AWS::EC2::SecurityGroup", expected, actual) == []
        actual["SecurityGroupIngress"].append({**rule, "CidrIp": "0.0.0.0/0"})
        (found,) = drift.shown(drift.differences("AWS::EC2::SecurityGroup", expected, actual))
        assert (found["PropertyPath"], found["DifferenceType"], found["ExpectedValue"]) == ("/SecurityGroupIngress/2", "ADD", "null")
        assert json.loads(found["ActualValue"])["CidrIp"] == "0.0.0.0/0"

    def test_tags_of_the_stack_are_its_own(self) -> None:
        tags = [{"Key": "a", "Value": "1"}]
        there = [{"Key": "aws:cloudformation:stack-name", "Value": "s"}, {"Key": "team", "Value": "x"}, {"Key": "a", "Value": "2"}]
        found = drift.differences(BUCKET, {"Tags": tags}, {"Tags": there}, stack_tags=["team"])
        assert [(one.place, one.kind) for one in found] == [(("Tags", 0, "Value"), "NOT_EQUAL")]
        found = drift.differences("AWS::Batch::JobQueue", {"Tags": {"a": "1"}}, {"Tags": {"a": "1", "b": "2", "aws:x": "y"}})
        assert [(one.place, one.kind) for one in found] == [(("Tags", "b"), "ADD")]

    def test_policies_in_another_spelling(self) -> None:
        document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
        other = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}})
        assert drift.differences("AWS::S3::BucketPolicy", {"PolicyDocument": document}, {"PolicyDocument": other}) == []

    def test_what_is_never_told_and_secrets(self) -> None:
        wanted = {"Type": "MANAGED", "ReplaceComputeEnvironment": False, "ComputeResources": {"Type": "spot", "MaxvCpus": "4"}}
        assert drift.differences(ENVIRONMENT, wanted, {"Type": "MANAGED", "ComputeResources": {"Type": "SPOT", "MaxvCpus": 4}}) == []
        user = {"LoginProfile": {"Password": "hunter2", "PasswordResetRequired": True}}
        assert "hunter2" not in drift.told("AWS::IAM::User", user)
        (found,) = drift.shown([drift.Difference(("LoginProfile", "Password"), "NOT_EQUAL", "hunter2", "other")])
        assert (found["ExpectedValue"], found["ActualValue"]) == ("****", "****")

    @given(
        st.recursive(
            st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "Tags", "MaxvCpus", "Subnets"]), inner, max_size=3)
            ),
        )
    )
    def test_nothing_drifts_from_itself(self, value: Any) -> None:
        given_ = {"ComputeResources": value, "Tags": value, "Context": value}
        assert drift.differences(ENVIRONMENT, given_, copy.deepcopy(given_)) == []
