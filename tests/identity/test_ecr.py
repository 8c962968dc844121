"""ECR's repositories through the door, with the real boto3."""

from __future__ import annotations

import json

from shelf_serving import ACCOUNT, Served, refused

LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10},
                "action": {"type": "expire"},
            }
        ]
    }
)
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "ecr:BatchGetImage"}],
    }
)


def test_a_repository_is_created_shown_changed_and_deleted(yard: Served) -> None:
    ecr = yard.ecr
    made = ecr.create_repository(repositoryName="tools/aligner", tags=[{"Key": "team", "Value": "genomics"}])["repository"]
    assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/tools/aligner"
    assert made["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tools/aligner"
    assert (made["imageTagMutability"], made["imageScanningConfiguration"], made["encryptionConfiguration"]) == (
        "MUTABLE",
        {"scanOnPush": False},
        {"encryptionType": "AES256"},
    )
    words = f"The repository with name 'tools/aligner' already exists in the registry with id '{ACCOUNT}'"
    with refused("RepositoryAlreadyExistsException", words):
        ecr.create_repository(repositoryName="tools/aligner")
    ecr.put_image_scanning_configuration(repositoryName="tools/aligner", imageScanningConfiguration={"scanOnPush": True})
    ecr.put_image_tag_mutability(repositoryName="tools/aligner", imageTagMutability="IMMUTABLE")
    (shown,) = ecr.describe_repositories(repositoryNames=["tools/aligner"])["repositories"]
    assert shown["imageScanningConfiguration"] == {"scanOnPush": True} and shown["imageTagMutability"] == "IMMUTABLE"
    assert shown["createdAt"] == made["createdAt"]
    arn = made["repositoryArn"]
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "a", "Value": "1"}])
    ecr.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "a", "Value": "1"}]
    assert ecr.delete_repository(repositoryName="tools/aligner", force=True)["repository"]["repositoryArn"] == arn
    with refused(
        "RepositoryNotFoundException", f"The repository with name 'tools/aligner' does not exist in the registry with id '{ACCOUNT}'"
    ):
        ecr.delete_repository(repositoryName="tools/aligner")


def test_lists_are_paged_and_there_are_no_images(yard: Served) -> None:
    ecr = yard.ecr
    for n in range(3):
        ecr.create_repository(repositoryName=f"listed/{n}")
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2})
    names = [repository["repositoryName"] for page in pages for repository in page["repositories"]]
    assert [name for name in names if name.startswith("listed/")] == ["listed/0", "listed/1", "listed/2"]
    assert ecr.list_images(repositoryName="listed/0")["imageIds"] == []
    assert ecr.describe_images(repositoryName="listed/0")["imageDetails"] == []
    with refused("ImageNotFoundException", "imageTag:'latest'"):
        ecr.describe_images(repositoryName="listed/0", imageIds=[{"imageTag": "latest"}])
    with refused("RepositoryNotFoundException"):
        ecr.list_images(repositoryName="nowhere")
    with refused("UnsupportedOperationException", "there is no registry of images here yet"):
        ecr.get_authorization_token()
    with refused("InvalidParameterException"):
        ecr.create_repository(repositoryName="Capitals")


def test_policies_are_kept(yard: Served) -> None:
    ecr = yard.ecr
    ecr.create_repository(repositoryName="ruled", encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "alias/x"})
    with refused("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name 'ruled'"):
        ecr.get_lifecycle_policy(repositoryName="ruled")
    with refused("RepositoryPolicyNotFoundException", "Repository policy does not exist for the repository with name 'ruled'"):
        ecr.get_repository_policy(repositoryName="ruled")
    rules = json.loads(LIFECYCLE)["rules"]
    for text in ("no json", '{"rules": []}', '{"rules": [{"rulePriority": 1}]}', json.dumps({"rules": rules * 2})):
        with refused("InvalidParameterException", "Lifecycle policy validation failure"):
            ecr.put_lifecycle_policy(repositoryName="ruled", lifecyclePolicyText=text.ljust(100))
    with refused("InvalidParameterException", "Invalid repository policy provided"):
        ecr.set_repository_policy(repositoryName="ruled", policyText="{}")
    ecr.put_lifecycle_policy(repositoryName="ruled", lifecyclePolicyText=LIFECYCLE)
    ecr.set_repository_policy(repositoryName="ruled", policyText=POLICY, force=True)
    assert ecr.get_lifecycle_policy(repositoryName="ruled")["lifecyclePolicyText"] == LIFECYCLE
    assert ecr.get_repository_policy(repositoryName="ruled")["policyText"] == POLICY
    assert ecr.delete_lifecycle_policy(repositoryName="ruled")["lifecyclePolicyText"] == LIFECYCLE
    assert ecr.delete_repository_policy(repositoryName="ruled")["policyText"] == POLICY
    with refused("LifecyclePolicyNotFoundException"):
        ecr.delete_lifecycle_policy(repositoryName="ruled")
