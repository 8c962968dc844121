"""One port for every AWS service: which of them a request is meant for.

credential scope (header or presigned query)  ->  X-Amz-Target  ->  Action and Version of a form  ->  path  ->  S3
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from batchyard.wire.http import HttpRequest

# The service of a credential scope -> botocore's name of its model, for those whose names differ.
_FOLDERS = {
    "elasticfilesystem": "efs",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
    "elasticmapreduce": "emr",
}

# X-Amz-Target prefix -> service; Version of a form -> service. A test compares both with the models.
TARGETS = {
    "Logs_20140328": "logs",
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "AWSEvents": "events",
    "AmazonSSM": "ssm",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "TrentService": "kms",
    "secretsmanager": "secretsmanager",
}
VERSIONS = {
    "2011-06-15": "sts",
    "2010-05-08": "iam",
    "2010-05-15": "cloudformation",
    "2016-11-15": "ec2",
}

# Paths that only Lambda has, though a bucket could be called like a date.
_LAMBDA_PATHS = ("/2015-03-31/functions", "/2017-03-31/tags/arn")

OWN = "batchyard"
OWN_PATH = f"/{OWN}/v1/"

_SCOPE = re.compile(r"Credential=[^/,\s]*/[^/,\s]*/[^/,\s]*/([a-z0-9-]{1,40})/aws4_request")
_QUERY_SCOPE = re.compile(r"X-Amz-Credential=([^&]*)")
_VERSION = re.compile(r"(?:^|&)Version=([0-9-]{10})(?:&|$)")


def service_of(request: HttpRequest) -> str | None:
    """botocore's name of the service that `request` is meant for; None when only its form can tell (see `service_of_form`)."""
    scope = scope_service(request)
    if scope is not None:
        return _FOLDERS.get(scope, scope)
    target = request.headers.get("x-amz-target")
    if target is not None:
        prefix = target.rpartition(".")[0]
        return TARGETS.get(prefix, prefix.lower() or "unknown")
    if "Action=" in request.raw_query:
        service = service_of_form(request.raw_query)
        if service is not None:
            return service
    path = request.raw_path
    if path.startswith(OWN_PATH) and request.method == "POST":
        return OWN
    if path.startswith(_LAMBDA_PATHS):
        return "lambda"
    if path.startswith("/v1/") and (request.method == "POST" or path.startswith("/v1/tags/")):
        return "batch"
    if path == "/" and request.method == "POST" and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    return "s3"


def scope_service(request: HttpRequest) -> str | None:
    """The service that the credential scope names, if there is one."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        found = _SCOPE.search(authorization)
        return found[1] if found else None
    found = _QUERY_SCOPE.search(request.raw_query)
    if found is None:
        return None
    parts = unquote(found[1]).rsplit("/", 4)
    return parts[3] if len(parts) == 5 and re.fullmatch(r"[a-z0-9-]{1,40}", parts[3]) else None


def service_of_form(form: str) -> str | None:
    """The service whose API version a form names."""
    found = _VERSION.search(form)
    return VERSIONS.get(found[1]) if found else None
