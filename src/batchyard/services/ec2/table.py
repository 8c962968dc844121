"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Handler, Params
from batchyard.services.ec2 import acls, gateways, machines, networks, routing, security, templates
from batchyard.services.ec2.book import Book, refuse_reserved_tags
from batchyard.services.ec2.not_yet import NOT_YET
from batchyard.services.shelved import changed, place_of

Act = Callable[[Book, Params], Params]
SignedAct = Callable[[Book, Params, str], Params]

_ACTS: dict[str, Act] = {
    "AllocateAddress": gateways.allocate_address,
    "AssociateDhcpOptions": acls.associate_dhcp_options,
    "AssociateRouteTable": routing.associate_route_table,
    "AttachInternetGateway": gateways.attach_internet_gateway,
    "AuthorizeSecurityGroupEgress": partial(security.authorize, is_egress=True),
    "AuthorizeSecurityGroupIngress": partial(security.authorize, is_egress=False),
    "CreateDhcpOptions": acls.create_dhcp_options,
    "CreateInternetGateway": gateways.create_internet_gateway,
    "CreateNatGateway": gateways.create_nat_gateway,
    "CreateNetworkAcl": acls.create_network_acl,
    "CreateNetworkAclEntry": acls.create_network_acl_entry,
    "CreatePlacementGroup": templates.create_placement_group,
    "CreateRoute": routing.create_route,
    "CreateRouteTable": routing.create_route_table,
    "CreateSecurityGroup": security.create_security_group,
    "CreateSubnet": networks.create_subnet,
    "CreateTags": templates.create_tags,
    "CreateVpc": networks.create_vpc,
    "CreateVpcEndpoint": gateways.create_vpc_endpoint,
    "DeleteDhcpOptions": acls.delete_dhcp_options,
    "DeleteInternetGateway": gateways.delete_internet_gateway,
    "DeleteKeyPair": templates.delete_key_pair,
    "DeleteLaunchTemplate": templates.delete_launch_template,
    "DeleteLaunchTemplateVersions": templates.delete_launch_template_versions,
    "DeleteNatGateway": gateways.delete_nat_gateway,
    "DeleteNetworkAcl": acls.delete_network_acl,
    "DeleteNetworkAclEntry": acls.delete_network_acl_entry,
    "DeletePlacementGroup": templates.delete_placement_group,
    "DeleteRoute": routing.delete_route,
    "DeleteRouteTable": routing.delete_route_table,
    "DeleteSecurityGroup": security.delete_security_group,
    "DeleteSubnet": networks.delete_subnet,
    "DeleteTags": templates.delete_tags,
    "DeleteVpc": networks.delete_vpc,
    "DeleteVpcEndpoints": gateways.delete_vpc_endpoints,
    "DescribeAccountAttributes": machines.describe_account_attributes,
    "DescribeAddresses": gateways.describe_addresses,
    "DescribeAvailabilityZones": machines.describe_availability_zones,
    "DescribeDhcpOptions": acls.describe_dhcp_options,
    "DescribeImages": machines.describe_images,
    "DescribeInternetGateways": gateways.describe_internet_gateways,
    "DescribeKeyPairs": templates.describe_key_pairs,
    "DescribeLaunchTemplateVersions": templates.describe_launch_template_versions,
    "DescribeLaunchTemplates": templates.describe_launch_templates,
    "DescribeNatGateways": gateways.describe_nat_gateways,
    "DescribeNetworkAcls": acls.describe_network_acls,
    "DescribeNetworkInterfaces": gateways.describe_network_interfaces,
    "DescribePlacementGroups": templates.describe_placement_groups,
    "DescribeRegions": machines.describe_regions,
    "DescribeRouteTables": routing.describe_route_tables,
    "DescribeSecurityGroupRules": security.describe_security_group_rules,
    "DescribeSecurityGroups": security.describe_security_groups,
    "DescribeSubnets": networks.describe_subnets,
    "DescribeTags": templates.describe_tags,
    "DescribeVpcAttribute": networks.describe_vpc_attribute,
    "DescribeVpcEndpoints": gateways.describe_vpc_endpoints,
    "DescribeVpcs": networks.describe_vpcs,
    "DetachInternetGateway": gateways.detach_internet_gateway,
    "DisassociateRouteTable": routing.disassociate_route_table,
    "ImportKeyPair": templates.import_key_pair,
    "ModifyLaunchTemplate": templates.modify_launch_template,
    "ModifySubnetAttribute": networks.modify_subnet_attribute,
    "ModifyVpcAttribute": networks.modify_vpc_attribute,
    "ModifyVpcEndpoint": gateways.modify_vpc_endpoint,
    "ModifyVpcTenancy": networks.modify_vpc_tenancy,
    "ReleaseAddress": gateways.release_address,
    "ReplaceNetworkAclAssociation": acls.replace_network_acl_association,
    "ReplaceNetworkAclEntry": acls.replace_network_acl_entry,
    "ReplaceRoute": routing.replace_route,
    "ReplaceRouteTableAssociation": routing.replace_route_table_association,
    "RevokeSecurityGroupEgress": partial(security.revoke, is_egress=True),
    "RevokeSecurityGroupIngress": partial(security.revoke, is_egress=False),
    "UpdateSecurityGroupRuleDescriptionsEgress": partial(security.describe_rules_anew, is_egress=True),
    "UpdateSecurityGroupRuleDescriptionsIngress": partial(security.describe_rules_anew, is_egress=False),
}
_SIGNED_ACTS: dict[str, SignedAct] = {
    "CreateLaunchTemplate": templates.create_launch_template,
    "CreateLaunchTemplateVersion": templates.create_launch_template_version,
}
_OF_THE_ENGINE: dict[str, Handler] = {
    "DescribeInstanceStatus": machines.describe_instance_status,
    "DescribeInstanceTypeOfferings": machines.describe_instance_type_offerings,
    "DescribeInstanceTypes": machines.describe_instance_types,
    "DescribeInstances": machines.describe_instances,
    "DescribeSpotPriceHistory": machines.describe_spot_price_history,
    "TerminateInstances": machines.terminate_instances,
}


def _refuse_dry_run(params: Params) -> None:
    """EC2 answers a dry run with an error either way."""
    if params.get("DryRun"):
        raise Fault("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")


def _on_the_book(name: str, act: Act) -> Handler:
    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        _refuse_dry_run(params)
        refuse_reserved_tags(caller, params)
        place = place_of("ec2", caller)
        if name.startswith("Describe"):
            return desk.shelf.look(place, lambda drawer: act(Book(drawer), params))  # type: ignore[no-any-return]
        return await changed(desk, place, lambda drawer: act(Book(drawer), params))  # type: ignore[no-any-return]

    return handler


def _signed(act: SignedAct) -> Handler:
    """For records that say who made them."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        _refuse_dry_run(params)
        refuse_reserved_tags(caller, params)
        return await changed(desk, place_of("ec2", caller), lambda drawer: act(Book(drawer), params, caller.arn))  # type: ignore[no-any-return]

    return handler


def _undried(handler: Handler) -> Handler:
    async def handle(desk: Any, caller: Caller, params: Params) -> Params:
        _refuse_dry_run(params)
        return await handler(desk, caller, params)

    return handle


OPERATIONS: dict[str, Handler] = {
    **{name: _on_the_book(name, act) for name, act in _ACTS.items()},
    **{name: _signed(act) for name, act in _SIGNED_ACTS.items()},
    **{name: _undried(handler) for name, handler in _OF_THE_ENGINE.items()},
}

__all__ = ["NOT_YET", "OPERATIONS"]
