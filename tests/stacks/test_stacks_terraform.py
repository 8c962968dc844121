"""A stack as a resource of Terraform (`aws_cloudformation_stack`): created, planned again, changed and destroyed by the real provider."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import client_tools
from yard import Yard, serving

PATIENCE_S = 240
MAIN = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100, < 6" }
  }
}

provider "aws" {
  skip_metadata_api_check = true
  default_tags { tags = { lab = "one" } }
}

variable "vcpus" { type = number }

resource "aws_cloudformation_stack" "queue" {
  name               = "tf-stack"
  template_body      = file("queue.yaml")
  capabilities       = ["CAPABILITY_IAM"]
  timeout_in_minutes = 5
  on_failure         = "DELETE"
  parameters         = { Vcpus = var.vcpus }
}

data "aws_cloudformation_stack" "seen" {
  name = aws_cloudformation_stack.queue.name
}

data "aws_cloudformation_export" "queue" {
  name       = "tf-stack-queue"
  depends_on = [aws_cloudformation_stack.queue]
}

output "queue" { value = aws_cloudformation_stack.queue.outputs["Queue"] }
output "same" { value = data.aws_cloudformation_stack.seen.outputs["Queue"] == data.aws_cloudformation_export.queue.value }
"""
QUEUE = """
Description: A queue with its environment
Parameters:
  Vcpus: {Type: Number, Default: 4}
Resources:
  Profile: {Type: 'AWS::IAM::InstanceProfile', Properties: {Roles: [!Ref Role]}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: 'sts:AssumeRole'}]
  Environment:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      Type: MANAGED
      ComputeResources:
        Type: SPOT
        AllocationStrategy: SPOT_PRICE_CAPACITY_OPTIMIZED
        MinvCpus: 0
        MaxvCpus: !Ref Vcpus
        InstanceTypes: [optimal]
        InstanceRole: !GetAtt Profile.Arn
        Subnets: [subnet-12345678]
        SecurityGroupIds: [sg-12345678]
  Queue:
    Type: AWS::Batch::JobQueue
    Properties: {Priority: 1, ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: !Ref Environment}]}
Outputs:
  Queue: {Value: !Ref Queue, Export: {Name: !Sub '${AWS::StackName}-queue'}}
"""


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with serving(tmp_path / "yard") as made:
        yield made


class Terraform:
    """Terraform in a folder with `main.tf`."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        folder.mkdir()
        (folder / "main.tf").write_text(MAIN)
        (folder / "queue.yaml").write_text(QUEUE)
        found = client_tools.terraform(folder)
        if isinstance(found, str):
            pytest.skip(found)
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        self._environment = {
            **kept,
            **yard.environment,
            **found,
            "TF_IN_AUTOMATION": "1",
            "TF_CLI_ARGS": "-no-color",
            "CHECKPOINT_DISABLE": "1",
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            ["terraform", *arguments], cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == code, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.system("terraform, a mirror with its AWS provider")
@pytest.mark.timeout(6 * PATIENCE_S)
def test_a_stack_of_terraform_from_its_creation_to_its_end(yard: Yard, tmp_path: Path) -> None:
    terraform = Terraform(yard, tmp_path / "infrastructure")
    terraform.run("init", "-input=false")
    small, large = "-var=vcpus=4", "-var=vcpus=16"
    said = terraform.run("apply", "-auto-approve", small)
    assert "Apply complete! Resources: 1 added, 0 changed, 0 destroyed." in said
    assert "same = true" in said
    assert "No changes." in terraform.run("plan", "-detailed-exitcode", small)
    (environment,) = yard.batch.describe_compute_environments()["computeEnvironments"]
    assert (environment["status"], environment["computeResources"]["maxvCpus"]) == ("VALID", 4)

    said = terraform.run("apply", "-auto-approve", large)
    assert "Apply complete! Resources: 0 added, 1 changed, 0 destroyed." in said
    assert "No changes." in terraform.run("plan", "-detailed-exitcode", large)
    (environment,) = yard.batch.describe_compute_environments()["computeEnvironments"]
    assert environment["computeResources"]["maxvCpus"] == 16
    (stack,) = yard.client("cloudformation").describe_stacks(StackName="tf-stack")["Stacks"]
    assert (stack["StackStatus"], stack["Tags"]) == ("UPDATE_COMPLETE", [{"Key": "lab", "Value": "one"}])

    assert "Destroy complete! Resources: 1 destroyed." in terraform.run("destroy", "-auto-approve", large)
    assert yard.batch.describe_compute_environments()["computeEnvironments"] == []
