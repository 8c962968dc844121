"""The genomics environment as its stack made it: two buckets, a Spot and an on-demand compute environment, two job queues.

`batchyard up` makes the stack from `templates/genomics.yaml`, here; on AWS, CloudFormation makes the same of the same template.
"""

from __future__ import annotations

import dataclasses
import typing

import botocore.exceptions
from variant_calling import endpoint, patience

STACK = "genomics"


@dataclasses.dataclass(frozen=True)
class Environment:
    """The names of the six things."""

    results_bucket: str
    log_bucket: str
    spot_environment: str
    on_demand_environment: str
    default_queue: str
    high_priority_queue: str


class NoEnvironment(Exception):
    """There is no such stack, or it is not the genomics environment."""


def find(clients: endpoint.Clients, stack: str = STACK) -> Environment:
    """The environment of that stack, by its outputs; NoEnvironment when there is none."""
    try:
        answer = patience.patiently(lambda: clients.cloudformation.describe_stacks(StackName=stack))
    except botocore.exceptions.ClientError as problem:
        if "does not exist" in str(problem):
            raise NoEnvironment(f"there is no stack {stack}: make it with batchyard up") from problem
        raise
    outputs: dict[str, typing.Any] = {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0].get("Outputs", [])}
    try:
        return Environment(
            results_bucket=outputs["GenomicsEnvS3Bucket"],
            log_bucket=outputs["GenomicsEnvLogBucket"],
            spot_environment=_name(outputs["GenomicsEnvSpotComputeEnvironmentArn"]),
            on_demand_environment=_name(outputs["GenomicsEnvOnDemandComputeEnvironmentArn"]),
            default_queue=_name(outputs["GenomicsEnvDefaultJobQueueArn"]),
            high_priority_queue=_name(outputs["GenomicsEnvHighPriorityJobQueueArn"]),
        )
    except KeyError as missing:
        raise NoEnvironment(f"the stack {stack} has no output {missing}: it is not the genomics environment") from missing


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]
