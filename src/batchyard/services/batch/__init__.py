"""The Batch API: every operation of AWS's model, served or with the reason why not yet."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.batch.definitions import deregister_job_definition, describe_job_definitions, register_job_definition
from batchyard.services.batch.environments import (
    create_compute_environment,
    delete_compute_environment,
    describe_compute_environments,
    update_compute_environment,
)
from batchyard.services.batch.jobs import cancel_job, cancel_jobs, describe_jobs, terminate_job, terminate_jobs
from batchyard.services.batch.listing import list_jobs
from batchyard.services.batch.queues import (
    create_job_queue,
    delete_job_queue,
    describe_job_queues,
    get_job_queue_snapshot,
    update_job_queue,
)
from batchyard.services.batch.submit import submit_job
from batchyard.services.batch.tags import list_tags_for_resource, tag_resource, untag_resource

OPERATIONS: dict[str, Handler] = {
    "CancelJob": cancel_job,
    "CancelJobs": cancel_jobs,
    "CreateComputeEnvironment": create_compute_environment,
    "CreateJobQueue": create_job_queue,
    "DeleteComputeEnvironment": delete_compute_environment,
    "DeleteJobQueue": delete_job_queue,
    "DeregisterJobDefinition": deregister_job_definition,
    "DescribeComputeEnvironments": describe_compute_environments,
    "DescribeJobDefinitions": describe_job_definitions,
    "DescribeJobQueues": describe_job_queues,
    "DescribeJobs": describe_jobs,
    "GetJobQueueSnapshot": get_job_queue_snapshot,
    "ListJobs": list_jobs,
    "ListTagsForResource": list_tags_for_resource,
    "RegisterJobDefinition": register_job_definition,
    "SubmitJob": submit_job,
    "TagResource": tag_resource,
    "TerminateJob": terminate_job,
    "TerminateJobs": terminate_jobs,
    "UntagResource": untag_resource,
    "UpdateComputeEnvironment": update_compute_environment,
    "UpdateJobQueue": update_job_queue,
}

_CONSUMABLE = "consumable resources are not there yet"
_QUOTA = "quota shares are not there yet"
_SERVICE_ENVIRONMENT = "service environments are not there yet"
_SERVICE_JOB = "service jobs are not there yet"
_POLICY = "scheduling policies are not there yet: every queue is first in, first out"

NOT_YET: dict[str, str] = {
    "CreateConsumableResource": _CONSUMABLE,
    "CreateQuotaShare": _QUOTA,
    "CreateSchedulingPolicy": _POLICY,
    "CreateServiceEnvironment": _SERVICE_ENVIRONMENT,
    "DeleteConsumableResource": _CONSUMABLE,
    "DeleteQuotaShare": _QUOTA,
    "DeleteSchedulingPolicy": _POLICY,
    "DeleteServiceEnvironment": _SERVICE_ENVIRONMENT,
    "DescribeConsumableResource": _CONSUMABLE,
    "DescribeQuotaShare": _QUOTA,
    "DescribeSchedulingPolicies": _POLICY,
    "DescribeServiceEnvironments": _SERVICE_ENVIRONMENT,
    "DescribeServiceJob": _SERVICE_JOB,
    "ListConsumableResources": _CONSUMABLE,
    "ListJobsByConsumableResource": _CONSUMABLE,
    "ListQuotaShares": _QUOTA,
    "ListSchedulingPolicies": _POLICY,
    "ListServiceJobs": _SERVICE_JOB,
    "SubmitServiceJob": _SERVICE_JOB,
    "TerminateServiceJob": _SERVICE_JOB,
    "TerminateServiceJobs": _SERVICE_JOB,
    "UpdateConsumableResource": _CONSUMABLE,
    "UpdateQuotaShare": _QUOTA,
    "UpdateSchedulingPolicy": _POLICY,
    "UpdateServiceEnvironment": _SERVICE_ENVIRONMENT,
    "UpdateServiceJob": _SERVICE_JOB,
}
