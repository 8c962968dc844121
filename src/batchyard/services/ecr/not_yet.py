"""What of Amazon ECR's model is not there, and why."""

from __future__ import annotations

_REGISTRY = "there is no registry of images here yet: name images of other registries in job definitions"
_CACHES = "there are no pull-through caches"
_TEMPLATES = "there are no templates of repositories"
_SCANS = "images are not scanned, as there is no registry"
_SIGNING = "images are not signed"
_REPLICATION = "there is one registry, and nothing to replicate to"
_SETTINGS = "the registry as a whole has no settings"

NOT_YET: dict[str, str] = {
    **dict.fromkeys(
        (
            "BatchCheckLayerAvailability",
            "BatchDeleteImage",
            "BatchGetImage",
            "CompleteLayerUpload",
            "GetAuthorizationToken",
            "GetDownloadUrlForLayer",
            "GetLifecyclePolicyPreview",
            "InitiateLayerUpload",
            "ListImageReferrers",
            "PutImage",
            "StartLifecyclePolicyPreview",
            "UpdateImageStorageClass",
            "UploadLayerPart",
        ),
        _REGISTRY,
    ),
    **dict.fromkeys(
        (
            "CreatePullThroughCacheRule",
            "DeletePullThroughCacheRule",
            "DeregisterPullTimeUpdateExclusion",
            "DescribePullThroughCacheRules",
            "ListPullTimeUpdateExclusions",
            "RegisterPullTimeUpdateExclusion",
            "UpdatePullThroughCacheRule",
            "ValidatePullThroughCacheRule",
        ),
        _CACHES,
    ),
    **dict.fromkeys(
        (
            "CreateRepositoryCreationTemplate",
            "DeleteRepositoryCreationTemplate",
            "DescribeRepositoryCreationTemplates",
            "UpdateRepositoryCreationTemplate",
        ),
        _TEMPLATES,
    ),
    **dict.fromkeys(
        (
            "BatchGetRepositoryScanningConfiguration",
            "DescribeImageScanFindings",
            "GetRegistryScanningConfiguration",
            "PutRegistryScanningConfiguration",
            "StartImageScan",
        ),
        _SCANS,
    ),
    **dict.fromkeys(
        ("DeleteSigningConfiguration", "DescribeImageSigningStatus", "GetSigningConfiguration", "PutSigningConfiguration"), _SIGNING
    ),
    **dict.fromkeys(
        (
            "DescribeImageReplicationStatus",
            "DescribeReplicationBackfillResults",
            "ListReplicationBackfills",
            "PutReplicationConfiguration",
            "StartReplicationBackfill",
            "StopReplicationBackfill",
        ),
        _REPLICATION,
    ),
    **dict.fromkeys(
        ("DeleteRegistryPolicy", "DescribeRegistry", "GetAccountSetting", "GetRegistryPolicy", "PutAccountSetting", "PutRegistryPolicy"),
        _SETTINGS,
    ),
}
