"""Whether what a compute environment stands on exists: subnets, security groups, launch template and instance profile, as records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.services import Caller
from batchyard.services.desk import Shelf
from batchyard.services.ec2.book import GROUP, SUBNET, TEMPLATE, Book
from batchyard.services.iam.records import PROFILE, find
from batchyard.services.shelved import place_of
from batchyard.store.shelf import Drawer


def missing(shelf: Shelf, caller: Caller, settings: Mapping[str, Any]) -> str:
    """The statusReason of an environment with these computeResources of which something is not there; "" when all is."""
    return shelf.look(place_of("ec2", caller), lambda drawer: _missing(drawer, caller, settings))


def _missing(drawer: Drawer, caller: Caller, settings: Mapping[str, Any]) -> str:
    book = Book(drawer)
    for kind, ids in ((SUBNET, settings.get("subnets")), (GROUP, settings.get("securityGroupIds"))):
        for id in ids or ():
            if book.find(kind, id) is None:
                return _client_error(kind.words.format(id), "AmazonEC2", kind.code)
    template = (settings.get("launchTemplate") or {}).get("launchTemplateId")
    if template and book.find(TEMPLATE, template) is None:
        return _client_error(TEMPLATE.words.format(template), "AmazonEC2", TEMPLATE.code)
    role = settings.get("instanceRole")
    iam = drawer.elsewhere(place_of("iam", caller, is_global=True))
    if role and find(iam, PROFILE, role.rpartition("/")[2]) is None:
        return _client_error(f"Invalid IamInstanceProfile: {role}", "AmazonAutoScaling", "ValidationError")
    return ""


def _client_error(words: str, service: str, code: str) -> str:
    return f"CLIENT_ERROR - {words} (Service: {service}; Status Code: 400; Error Code: {code})"
