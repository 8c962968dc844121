"""The Batch API: every operation of AWS's model, served or with the reason why not yet."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.batch.consumables import (
    create_consumable_resource,
    delete_consumable_resource,
    describe_consumable_resource,
    list_consumable_resources,
    list_jobs_by_consumable_resource,
    update_consumable_resource,
)
from batchyard.services.batch.definitions import deregister_job_definition, describe_job_definitions, register_job_definition
from batchyard.services.batch.environments import (
    create_compute_environment,
    delete_compute_environment,
    describe_compute_environments,
    update_compute_environment,
)
from batchyard.services.batch.jobs import cancel_job, cancel_jobs, describe_jobs, terminate_job, terminate_jobs
from batchyard.services.batch.listing import list_jobs
from batchyard.services.batch.policies import (
    create_scheduling_policy,
    delete_scheduling_policy,
    describe_scheduling_policies,
    list_scheduling_policies,
    update_scheduling_policy,
)
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
    "CreateConsumableResource": create_consumable_resource,
    "CreateJobQueue": create_job_queue,
    "CreateSchedulingPolicy": create_scheduling_policy,
    "DeleteComputeEnvironment": delete_compute_environment,
    "DeleteConsumableResource": delete_consumable_resource,
    "DeleteJobQueue": delete_job_queue,
    "DeleteSchedulingPolicy": delete_scheduling_policy,
    "DeregisterJobDefinition": deregister_job_definition,
    "DescribeComputeEnvironments": describe_compute_environments,
    "DescribeConsumableResource": describe_consumable_resource,
    "DescribeJobDefinitions": describe_job_definitions,
    "DescribeJobQueues": describe_job_queues,
    "DescribeJobs": describe_jobs,
    "DescribeSchedulingPolicies": describe_scheduling_policies,
    "GetJobQueueSnapshot": get_job_queue_snapshot,
    "ListConsumableResources": list_consumable_resources,
    "ListJobs": list_jobs,
    "ListJobsByConsumableResource": list_jobs_by_consumable_resource,
    "ListSchedulingPolicies": list_scheduling_policies,
    "ListTagsForResource": list_tags_for_resource,
    "RegisterJobDefinition": register_job_definition,
    "SubmitJob": submit_job,
    "TagResource": tag_resource,
    "TerminateJob": terminate_job,
    "TerminateJobs": terminate_jobs,
    "UntagResource": untag_resource,
    "UpdateComputeEnvironment": update_compute_environment,
    "UpdateConsumableResource": update_consumable_resource,
    "UpdateJobQueue": update_job_queue,
    "UpdateSchedulingPolicy": update_scheduling_policy,
}

_QUOTA = "quota shares are not there yet"
_SERVICE_ENVIRONMENT = "service environments are not there yet"
_SERVICE_JOB = "service jobs are not there yet"

NOT_YET: dict[str, str] = {
    "CreateQuotaShare": _QUOTA,
    "CreateServiceEnvironment": _SERVICE_ENVIRONMENT,
    "DeleteQuotaShare": _QUOTA,
    "DeleteServiceEnvironment": _SERVICE_ENVIRONMENT,
    "DescribeQuotaShare": _QUOTA,
    "DescribeServiceEnvironments": _SERVICE_ENVIRONMENT,
    "DescribeServiceJob": _SERVICE_JOB,
    "ListQuotaShares": _QUOTA,
    "ListServiceJobs": _SERVICE_JOB,
    "SubmitServiceJob": _SERVICE_JOB,
    "TerminateServiceJob": _SERVICE_JOB,
    "TerminateServiceJobs": _SERVICE_JOB,
    "UpdateQuotaShare": _QUOTA,
    "UpdateServiceEnvironment": _SERVICE_ENVIRONMENT,
    "UpdateServiceJob": _SERVICE_JOB,
}
