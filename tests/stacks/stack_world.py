"""Stacks over real services in one process, whose power may be cut before any commit of their records."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stack_hands import ROOT, Workbench

from batchyard.services.cloudformation.running.stacks import Stacks
from batchyard.store.shelf import NO_REGION, Place, Shelf

PATIENCE_S = 90.0


class CutShelf:
    """A shelf that takes `cut_at - 1` commits, and from then on answers nobody, as if the process were gone."""

    def __init__(self, shelf: Shelf, cut_at: int | None) -> None:
        self._shelf = shelf
        self._cut_at = cut_at
        self.commits = 0
        self.is_cut = False

    def change(self, place: Place, act: Any) -> Future[Any]:
        self.commits += 1
        if self._cut_at is not None and self.commits >= self._cut_at:
            self.is_cut = True
            return Future()
        return self._shelf.change(place, act)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shelf, name)


class World(Workbench):
    """Services and stacks on a folder; another World on the same folder is the next start."""

    def __init__(self, folder: Path, cut_at: int | None = None) -> None:
        super().__init__(folder)
        self.cut = CutShelf(self.shelf, cut_at)
        self.desk.shelf = self.cut
        self.desk.functions = SimpleNamespace(endpoint_url="http://127.0.0.1:9")
        self.desk.stacks = Stacks(self.desk)

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """An operation of CloudFormation."""
        return await self.desk.calls(ROOT, "cloudformation", operation, params)  # type: ignore[no-any-return]

    async def do(self, operation: str, **params: Any) -> bool:
        """Ask for an operation and follow it to its end; False when the power was cut before the end."""
        asking = asyncio.create_task(self.ask(operation, **params))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self.cut.is_cut and not (asking.done() and not self.desk.stacks.runs):
                    await asyncio.sleep(0.002)
            if not self.cut.is_cut:
                await asking
            return not self.cut.is_cut
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def restart(self) -> None:
        """Take up what was interrupted, to its end."""
        await self.desk.stacks.start()
        await self.rest()

    async def rest(self) -> None:
        """Until nothing is done to any stack: an operation answers after a while, whether or not it is at its end then."""
        async with asyncio.timeout(PATIENCE_S):
            while self.desk.stacks.runs:
                await asyncio.sleep(0.002)

    async def leave(self) -> None:
        await self.desk.stacks.close()
        self.close()

    async def stack(self, name: str) -> dict[str, Any] | None:
        """A stack as DescribeStacks shows it; of one that is gone the last of that name."""
        found = (await self.ask("ListStacks"))["StackSummaries"]
        arns = [entry["StackId"] for entry in found if entry["StackName"] == name]
        return (await self.ask("DescribeStacks", StackName=arns[0]))["Stacks"][0] if arns else None

    async def residue(self) -> dict[str, Any]:
        """What there is of everything that the templates of these tests make, without ids."""
        call = self.hands.call
        vpcs = (await call("ec2", "DescribeVpcs"))["Vpcs"]
        groups = (await call("ec2", "DescribeSecurityGroups"))["SecurityGroups"]
        templates = (await call("ec2", "DescribeLaunchTemplates"))["LaunchTemplates"]
        return {
            "vpcs": sorted(vpc["CidrBlock"] for vpc in vpcs),
            "groups": sorted((group["Description"], len(group["IpPermissions"])) for group in groups),
            "subnets": len((await call("ec2", "DescribeSubnets"))["Subnets"]),
            "templates": [template["LatestVersionNumber"] for template in templates],
            "roles": len((await call("iam", "ListRoles"))["Roles"]),
            "profiles": len((await call("iam", "ListInstanceProfiles"))["InstanceProfiles"]),
            "policies": len((await call("iam", "ListPolicies", {"Scope": "Local"}))["Policies"]),
            "parameters": sorted(entry["Type"] for entry in (await call("ssm", "DescribeParameters"))["Parameters"]),
            "secrets": len((await call("secretsmanager", "ListSecrets"))["SecretList"]),
            "buckets": len((await call("s3", "ListBuckets")).get("Buckets", [])),
            "log groups": len((await call("logs", "DescribeLogGroups"))["logGroups"]),
            "answers": len(self.shelf.look(Place("repeating", ROOT.account, NO_REGION), lambda drawer: drawer.names("answer"))),
        }


def template(resources: dict[str, Any], **sections: Any) -> str:
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources, **sections})
