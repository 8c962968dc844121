"""(k) Stacks: the genomics environment, and a template of 500 resources, from the request to CREATE_COMPLETE, beside moto."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from bench import peers, targets
from bench.report import Line, compare, show, want

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "templates"))

from genomics_on_moto import body_for_moto, parameters_for_moto, session  # the template as moto takes it

TEMPLATE = Path(__file__).parents[1] / "templates" / "genomics.yaml"
GOALS_S = {"environment": 2.0, "500 resources": 5.0}
PATIENCE_S = 120.0
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print."""
    count = 50 if is_quick else 500
    figures: dict[str, list[float]] = {}
    why_not: dict[str, str] = {}
    for _ in range(alternations):
        _batchyard(count, figures)
        with contextlib.suppress(peers.NotRun):
            _moto(count, figures, why_not)
    lines = []
    for what, goal_s in GOALS_S.items():
        ours = Line(f"Batchyard, deploy, {what}", figures[f"Batchyard {what}"], "s")
        seen = figures.get(f"moto {what}", [])
        theirs = Line("moto", seen, "s", why_not="" if seen else why_not.get(what, "moto's server did not start"))
        compare(ours, theirs)
        want(ours, f"<= {goal_s:g} s", ours.median <= goal_s)
        lines += [ours, theirs, Line(f"Batchyard, delete, {what}", figures[f"Batchyard {what} delete"], "s")]
    show(f"(k) Stacks: genomics.yaml, and {count} resources", lines)


def large(count: int) -> str:
    """A template of `count` resources of five types, a fifth of them referring to another."""
    resources: dict[str, Any] = {}
    for number in range(count // 5):
        resources[f"Role{number}"] = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
        resources[f"Group{number}"] = {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": f"number {number}"}}
        resources[f"Log{number}"] = {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}}
        resources[f"Parameter{number}"] = {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Type": "String", "Name": f"/bench/{number}", "Value": {"Fn::GetAtt": [f"Role{number}", "Arn"]}},
        }
        resources[f"Bucket{number}"] = {"Type": "AWS::S3::Bucket"}
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})


def _batchyard(count: int, figures: dict[str, list[float]]) -> None:
    with targets.running_yard("--vcpus", "2", "--memory-mib", "2048") as yard:
        cloudformation, ec2 = yard.client("cloudformation"), yard.client("ec2")
        parameters = _given({**_network(ec2), "RequireTls": "false"})
        for what, body, given in (("environment", TEMPLATE.read_text(), parameters), ("500 resources", large(count), [])):
            arn, seconds = _created(cloudformation, body, given)
            figures.setdefault(f"Batchyard {what}", []).append(seconds)
            started = time.perf_counter()
            cloudformation.delete_stack(StackName=arn)
            _until(cloudformation, arn, "DELETE_COMPLETE")
            figures.setdefault(f"Batchyard {what} delete", []).append(time.perf_counter() - started)


def _moto(count: int, figures: dict[str, list[float]], why_not: dict[str, str]) -> None:
    """moto makes a stack while CreateStack waits, and takes the template with less in it (see the tests' `genomics_on_moto`)."""
    with peers.moto(simulated=True) as url:
        made = session()
        cloudformation, ec2 = (made.create_client(name, endpoint_url=url) for name in ("cloudformation", "ec2"))
        parameters = parameters_for_moto(_network(ec2))
        for what, body, given in (("environment", body_for_moto(), parameters), ("500 resources", large(count), [])):
            try:
                figures.setdefault(f"moto {what}", []).append(_created(cloudformation, body, given)[1])
            except (BotoCoreError, ResponseParserError) as failure:
                why_not[what] = f"{type(failure).__name__}: moto answers with a 500"
            except ClientError as refusal:
                why_not[what] = str(refusal)[:120]


def _network(ec2: Any) -> dict[str, str]:
    """The default VPC and its subnets."""
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return {"VpcId": vpc, "SubnetIds": ",".join(subnet["SubnetId"] for subnet in subnets)}


def _given(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def _created(cloudformation: Any, body: str, parameters: list[dict[str, str]]) -> tuple[str, float]:
    """(ARN, seconds from the request to CREATE_COMPLETE)."""
    started = time.perf_counter()
    name = f"bench-{len(body)}"
    arn = cloudformation.create_stack(StackName=name, TemplateBody=body, Parameters=parameters, Capabilities=["CAPABILITY_IAM"])["StackId"]
    _until(cloudformation, arn, "CREATE_COMPLETE")
    return arn, time.perf_counter() - started


def _until(cloudformation: Any, arn: str, status: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = cloudformation.describe_stacks(StackName=arn)["Stacks"][0]["StackStatus"]
        if found == status:
            return
        if not found.endswith("IN_PROGRESS"):
            raise peers.NotRun(f"the stack is {found}")
        time.sleep(0.01)
    raise peers.NotRun(f"the stack is not {status} after {PATIENCE_S:.0f} s")
