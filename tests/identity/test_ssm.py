"""Parameter Store through the door, with the real boto3."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shelf_serving import ACCOUNT, Served, refused, served


def test_a_parameter_is_put_read_and_deleted(yard: Served) -> None:
    ssm = yard.ssm
    assert ssm.put_parameter(Name="/app/db/host", Value="db1", Type="String", Description="where")["Version"] == 1
    with refused("ParameterAlreadyExists", "To overwrite this value, set the overwrite option in the request to true."):
        ssm.put_parameter(Name="/app/db/host", Value="db2", Type="String")
    assert ssm.put_parameter(Name="/app/db/host", Value="db2", Overwrite=True)["Version"] == 2
    shown = ssm.get_parameter(Name="/app/db/host")["Parameter"]
    assert (shown["Value"], shown["Version"], shown["Type"]) == ("db2", 2, "String")
    assert shown["ARN"] == f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/app/db/host"
    assert ssm.get_parameter(Name="/app/db/host:1")["Parameter"]["Value"] == "db1"
    assert ssm.get_parameter(Name=shown["ARN"])["Parameter"]["Value"] == "db2"
    with refused("ParameterVersionNotFound"):
        ssm.get_parameter(Name="/app/db/host:9")
    assert [p["Value"] for p in ssm.get_parameter_history(Name="/app/db/host")["Parameters"]] == ["db1", "db2"]
    ssm.delete_parameter(Name="/app/db/host")
    with refused("ParameterNotFound"):
        ssm.get_parameter(Name="/app/db/host")


def test_paths_pages_and_filters(yard: Served) -> None:
    ssm = yard.ssm
    for n in range(12):
        ssm.put_parameter(Name=f"/tree/{n:02}", Value=str(n), Type="String", Tags=[{"Key": "even", "Value": str(n % 2 == 0)}])
    ssm.put_parameter(Name="/tree/deep/leaf", Value="a,b", Type="StringList")
    pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/tree", PaginationConfig={"PageSize": 5}))
    assert [len(page["Parameters"]) for page in pages] == [5, 5, 2]
    recursive = ssm.get_paginator("get_parameters_by_path").paginate(Path="/tree/", Recursive=True).search("Parameters[].Name")
    assert len(list(recursive)) == 13
    described = ssm.describe_parameters(ParameterFilters=[{"Key": "tag:even", "Values": ["True"]}])["Parameters"]
    assert len(described) == 6 and "Value" not in described[0]
    assert [p["Name"] for p in ssm.describe_parameters(ParameterFilters=[{"Key": "Type", "Values": ["StringList"]}])["Parameters"]] == [
        "/tree/deep/leaf"
    ]
    found = ssm.get_parameters(Names=["/tree/01", "/tree/none"])
    assert [p["Value"] for p in found["Parameters"]] == ["1"] and found["InvalidParameters"] == ["/tree/none"]
    with refused("InvalidNextToken"):
        ssm.get_parameters_by_path(Path="/tree", NextToken="bogus")
    deleted = ssm.delete_parameters(Names=["/tree/01", "/tree/none"])
    assert (deleted["DeletedParameters"], deleted["InvalidParameters"]) == (["/tree/01"], ["/tree/none"])


def test_secure_strings_are_sealed_in_the_store(tmp_path: Path) -> None:
    with served(tmp_path) as yard:
        yard.ssm.put_parameter(Name="password", Value="swordfish-tango", Type="SecureString")
        assert "swordfish" not in yard.ssm.get_parameter(Name="password")["Parameter"]["Value"]
        assert yard.ssm.get_parameter(Name="password", WithDecryption=True)["Parameter"]["Value"] == "swordfish-tango"
        (described,) = yard.ssm.describe_parameters()["Parameters"]
        assert described["KeyId"] == "alias/aws/ssm"
    for part in tmp_path.iterdir():
        assert b"swordfish" not in part.read_bytes()
    assert (tmp_path / "shelf.key").stat().st_mode & 0o777 == 0o600
    with served(tmp_path) as again:
        assert again.ssm.get_parameter(Name="password", WithDecryption=True)["Parameter"]["Value"] == "swordfish-tango"
    with sqlite3.connect(tmp_path / "shelf.db") as index:
        assert index.execute("PRAGMA user_version").fetchone() == (1,)


def test_labels_and_tags(yard: Served) -> None:
    ssm = yard.ssm
    for value in ("one", "two"):
        ssm.put_parameter(Name="labelled", Value=value, Type="String", Overwrite=value == "two")
    assert ssm.label_parameter_version(Name="labelled", ParameterVersion=1, Labels=["good", "aws-no"])["InvalidLabels"] == ["aws-no"]
    assert ssm.get_parameter(Name="labelled:good")["Parameter"]["Value"] == "one"
    ssm.label_parameter_version(Name="labelled", Labels=["good"])
    assert ssm.get_parameter(Name="labelled:good")["Parameter"]["Value"] == "two"
    assert ssm.unlabel_parameter_version(Name="labelled", ParameterVersion=2, Labels=["good"])["RemovedLabels"] == ["good"]
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="labelled", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId="labelled", TagKeys=["a"])
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="labelled")["TagList"] == [{"Key": "b", "Value": "2"}]
    with refused("InvalidResourceId"):
        ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="nothing")


def test_what_cannot_be_put(yard: Served) -> None:
    ssm = yard.ssm
    with refused("ValidationException", "A parameter type is required when you create a parameter."):
        ssm.put_parameter(Name="untyped", Value="x")
    with refused("AccessDeniedException", "No access to reserved parameter name: /aws/mine."):
        ssm.put_parameter(Name="/aws/mine", Value="x", Type="String")
    with refused("ValidationException", "Parameter name must be a fully qualified name."):
        ssm.put_parameter(Name="a/b", Value="x", Type="String")
    with refused("ValidationException", "maximum parameter value of 4096 characters"):
        ssm.put_parameter(Name="long", Value="x" * 4097, Type="String")
    assert ssm.put_parameter(Name="long", Value="x" * 4097, Type="String", Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    with refused("ValidationException", "tags and overwrite can't be used together"):
        ssm.put_parameter(Name="long", Value="x", Overwrite=True, Tags=[{"Key": "a", "Value": "b"}])


def test_the_images_that_templates_look_up(yard: Served) -> None:
    name = "/aws/service/ecs/optimized-ami/amazon-linux-2/recommended/image_id"
    image = yard.ssm.get_parameter(Name=name)["Parameter"]
    assert image["Value"].startswith("ami-") and image["ARN"] == f"arn:aws:ssm:us-east-1::parameter{name}"
    below = yard.ssm.get_parameters_by_path(Path="/aws/service/ami-amazon-linux-latest")["Parameters"]
    assert "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64" in [p["Name"] for p in below]
