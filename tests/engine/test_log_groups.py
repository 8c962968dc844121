"""The words for a log group that is not there, by who starts the container."""

from __future__ import annotations

from typing import Any

import pytest

from batchyard.engine.log_groups import NoLogGroup, check
from batchyard.model.capacity import Platform


def logging_to(driver: str | None = "awslogs", **options: str) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": driver, "options": {name.replace("_", "-"): value for name, value in options.items()}}}


def nowhere(account: str, region: str, group: str) -> bool:
    assert (account, region) == ("123456789012", "eu-west-1")
    return False


@pytest.mark.parametrize(
    ("platform", "begins"),
    [
        (Platform.EC2, "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create"),
        (
            Platform.FARGATE,
            "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create",
        ),
    ],
)
def test_each_platform_has_words_of_its_own(platform: Platform, begins: str) -> None:
    with pytest.raises(NoLogGroup, match="The specified log group does not exist") as refused:
        check(logging_to(awslogs_group="/mine"), "123456789012", "eu-west-1", platform, nowhere)
    assert str(refused.value).startswith(begins)


@pytest.mark.parametrize(
    "container",
    [
        {},
        logging_to(awslogs_stream_prefix="p"),
        logging_to(awslogs_group="/aws/batch/job"),
        logging_to(awslogs_group="/mine", awslogs_create_group="True"),
        logging_to("json-file", max_size="10m"),
    ],
)
def test_nobody_is_asked_where_none_is_named_or_it_is_to_be_made(container: dict[str, Any]) -> None:
    check(container, "123456789012", "eu-west-1", Platform.EC2, nowhere)
