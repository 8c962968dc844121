"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.ecr import policies, repositories
from batchyard.services.ecr.not_yet import NOT_YET
from batchyard.services.shelved import reading, writing

OPERATIONS: dict[str, Handler] = {
    "CreateRepository": writing("ecr", repositories.create_repository),
    "DeleteLifecyclePolicy": writing("ecr", policies.delete_lifecycle_policy),
    "DeleteRepository": writing("ecr", repositories.delete_repository),
    "DeleteRepositoryPolicy": writing("ecr", policies.delete_repository_policy),
    "DescribeImages": reading("ecr", repositories.describe_images),
    "DescribeRepositories": reading("ecr", repositories.describe_repositories),
    "GetLifecyclePolicy": reading("ecr", policies.get_lifecycle_policy),
    "GetRepositoryPolicy": reading("ecr", policies.get_repository_policy),
    "ListImages": reading("ecr", repositories.list_images),
    "ListTagsForResource": reading("ecr", repositories.list_tags_for_resource),
    "PutImageScanningConfiguration": writing("ecr", repositories.put_image_scanning_configuration),
    "PutImageTagMutability": writing("ecr", repositories.put_image_tag_mutability),
    "PutLifecyclePolicy": writing("ecr", policies.put_lifecycle_policy),
    "SetRepositoryPolicy": writing("ecr", policies.set_repository_policy),
    "TagResource": writing("ecr", repositories.tag_resource),
    "UntagResource": writing("ecr", repositories.untag_resource),
}

__all__ = ["NOT_YET", "OPERATIONS"]
