"""Compute environments of Kubernetes (eksConfiguration): the cluster and namespace are recorded and shown; jobs run on this machine's
instances like all others (docs/reference/several-containers.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchyard.model.capacity import Environment
from batchyard.model.fault import client_fault
from batchyard.services import Caller
from batchyard.services.batch.pod_rules import check_namespace

DEFAULT_STRATEGY = "BEST_FIT_PROGRESSIVE"
DEFAULT_EC2_CONFIGURATION = "EKS_AL2023"
_VERSION = re.compile(r"1\.[0-9]{2}")


def configuration(given: Mapping[str, Any] | None, caller: Caller) -> dict[str, str]:
    """eksConfiguration, checked; {} if there is none."""
    if not given:
        return {}
    cluster, namespace = given["eksClusterArn"], given["kubernetesNamespace"]
    if not re.fullmatch(rf"arn:aws[a-z-]*:eks:{caller.region}:{caller.account}:cluster/[A-Za-z0-9][A-Za-z0-9_-]{{0,99}}", cluster):
        raise client_fault(
            f"eksConfiguration.eksClusterArn {cluster} is not valid: arn:aws:eks:{caller.region}:{caller.account}:cluster/NAME is expected."
        )
    check_namespace("eksConfiguration.kubernetesNamespace", namespace)
    return {"eksClusterArn": cluster, "kubernetesNamespace": namespace}


def with_defaults(resources: Mapping[str, Any]) -> dict[str, Any]:
    """computeResources of an EKS environment, with what they are without the caller's word. Refuses what EKS does not have."""
    strategy = resources.get("allocationStrategy")
    if strategy == "BEST_FIT":
        raise client_fault(f"allocationStrategy BEST_FIT is not applicable for EKS. Use {DEFAULT_STRATEGY} or a SPOT_* strategy.")
    if resources.get("spotIamFleetRole"):
        raise client_fault("spotIamFleetRole is not applicable for EKS.")
    for entry in resources.get("ec2Configuration") or ():
        version = entry.get("imageKubernetesVersion")
        if version and not _VERSION.fullmatch(version):
            raise client_fault("At least one imageKubernetesVersion in EC2Configuration is not supported.")
    return {
        **resources,
        "allocationStrategy": strategy or DEFAULT_STRATEGY,
        "ec2Configuration": resources.get("ec2Configuration") or [{"imageType": DEFAULT_EC2_CONFIGURATION}],
    }


def check_update(update: Mapping[str, Any]) -> None:
    """Refuse what an update may not say of an EKS environment."""
    if update.get("desiredvCpus") is not None:
        raise client_fault("desiredvCpus cannot be updated for a compute environment of EKS: it follows from the jobs.")


def orchestration(environment: Environment) -> dict[str, Any]:
    """The members of DescribeComputeEnvironments that say where containers run."""
    if environment.eks:
        return {"eksConfiguration": environment.eks, "containerOrchestrationType": "EKS"}
    return {"ecsClusterArn": environment.ecs_cluster_arn, "containerOrchestrationType": "ECS"}
