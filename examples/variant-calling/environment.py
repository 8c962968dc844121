"""The genomics environment by API calls: two buckets, a Spot and an on-demand compute environment, two job queues.

They are the same six things that `templates/genomics.yaml` creates as one stack. Every call can be repeated: what is
there already is taken as it is, so that the calls survive a service that is restarted in the middle of them.
"""

from __future__ import annotations

import dataclasses
import os
import time
import typing

import botocore.exceptions
from variant_calling import endpoint, patience

if typing.TYPE_CHECKING:
    import collections.abc

VALID_WITHIN_S = 60.0
POLL_S = 0.1
SPILL_TAG = "batchyard:spill"
"""A Batchyard tag, legal and without effect on AWS: `idle` falls back only to capacity that is there already."""
INSTANCE_ROLE = "ecsInstanceRole"
SUBNET = "subnet-0000000000000000a"
SECURITY_GROUP = "sg-0000000000000000a"


@dataclasses.dataclass(frozen=True)
class Environment:
    """The names of the six things."""

    results_bucket: str
    log_bucket: str
    spot_environment: str
    on_demand_environment: str
    default_queue: str
    high_priority_queue: str


def named(prefix: str) -> Environment:
    """The names that an environment of this prefix has."""
    return Environment(
        results_bucket=f"{prefix}-results",
        log_bucket=f"{prefix}-logs",
        spot_environment=f"{prefix}-spot",
        on_demand_environment=f"{prefix}-on-demand",
        default_queue=f"{prefix}-default",
        high_priority_queue=f"{prefix}-high-priority",
    )


def create(clients: endpoint.Clients, prefix: str = "genomics", *, max_vcpus: int | None = None) -> Environment:
    """Create what is missing of the six things and wait until all are VALID; TimeoutError when one does not become so.

    `max_vcpus` holds for each compute environment; the default is the number of this machine's cores.
    """
    environment = named(prefix)
    most = max_vcpus or os.cpu_count() or 1
    for bucket in (environment.results_bucket, environment.log_bucket):
        _create_bucket(clients, bucket)
    _create_compute(clients, environment.spot_environment, "SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED", most)
    _create_compute(clients, environment.on_demand_environment, "EC2", "BEST_FIT_PROGRESSIVE", most)
    spot_first = [environment.spot_environment, environment.on_demand_environment]
    _create_queue(clients, environment.default_queue, 1, spot_first, "idle")
    _create_queue(clients, environment.high_priority_queue, 100, spot_first[::-1], "scale")
    return environment


def _create_bucket(clients: endpoint.Clients, bucket: str) -> None:
    def there() -> dict[str, typing.Any] | None:
        try:
            answer: dict[str, typing.Any] = clients.s3.head_bucket(Bucket=bucket)
        except botocore.exceptions.ClientError as problem:
            if problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
        return answer

    if patience.patiently(there) is None:
        patience.patiently(lambda: clients.s3.create_bucket(Bucket=bucket), already=there)


def _create_compute(clients: endpoint.Clients, name: str, kind: str, strategy: str, max_vcpus: int) -> None:
    request = {
        "computeEnvironmentName": name,
        "type": "MANAGED",
        "state": "ENABLED",
        "computeResources": {
            "type": kind,
            "allocationStrategy": strategy,
            "minvCpus": 0,
            "maxvCpus": max_vcpus,
            "instanceTypes": ["optimal"],
            "instanceRole": INSTANCE_ROLE,
            "subnets": [SUBNET],
            "securityGroupIds": [SECURITY_GROUP],
        },
    }

    def there() -> dict[str, typing.Any] | None:
        answer = clients.batch.describe_compute_environments(computeEnvironments=[name])
        return next(iter(answer["computeEnvironments"]), None)

    _create_and_wait(name, lambda: clients.batch.create_compute_environment(**request), there)


def _create_queue(clients: endpoint.Clients, name: str, priority: int, order: list[str], spill: str) -> None:
    request = {
        "jobQueueName": name,
        "state": "ENABLED",
        "priority": priority,
        "computeEnvironmentOrder": [{"order": place, "computeEnvironment": each} for place, each in enumerate(order, 1)],
        "tags": {SPILL_TAG: spill},
    }

    def there() -> dict[str, typing.Any] | None:
        answer = clients.batch.describe_job_queues(jobQueues=[name])
        return next(iter(answer["jobQueues"]), None)

    _create_and_wait(name, lambda: clients.batch.create_job_queue(**request), there)


def _create_and_wait(
    name: str,
    make: collections.abc.Callable[[], dict[str, typing.Any]],
    there: collections.abc.Callable[[], dict[str, typing.Any] | None],
) -> None:
    """Create a Batch resource unless it is there, and wait until its status is VALID."""
    if patience.patiently(there) is None:
        patience.patiently(make, already=there)
    deadline = time.monotonic() + VALID_WITHIN_S
    while True:
        found = patience.patiently(there) or {}
        if found.get("status") == "VALID":
            return
        if found.get("status") == "INVALID" or time.monotonic() > deadline:
            raise TimeoutError(f"{name} is {found.get('status', 'missing')}: {found.get('statusReason', 'no reason given')}")
        time.sleep(POLL_S)
