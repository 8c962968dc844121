"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.ecs import clusters, tasks
from batchyard.services.ecs.not_yet import NOT_YET

OPERATIONS: dict[str, Handler] = {
    "DescribeClusters": clusters.describe_clusters,
    "DescribeContainerInstances": clusters.describe_container_instances,
    "DescribeTasks": tasks.describe_tasks,
    "ListClusters": clusters.list_clusters,
    "ListContainerInstances": clusters.list_container_instances,
    "ListTasks": tasks.list_tasks,
}

__all__ = ["NOT_YET", "OPERATIONS"]
