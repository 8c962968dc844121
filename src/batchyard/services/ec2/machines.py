"""Instances as Batchyard has them (slices of its machines), and what the catalogue says of instance types, zones and images."""

from __future__ import annotations

from typing import Any

from batchyard.compute.catalogue import GROUPS, SPOT_PART, Catalogue, InstanceType
from batchyard.engine.task_facts import Whereabouts
from batchyard.model.capacity import Environment, Instance, InstanceState
from batchyard.model.fault import Fault
from batchyard.model.requests import Reclaim
from batchyard.services import Caller, Params
from batchyard.services.ec2 import defaults
from batchyard.services.ec2.book import SUBNET, VPC, Book, invalid
from batchyard.services.ec2.describing import filtered, members, paged
from batchyard.services.images import IMAGES
from batchyard.store.shelf import Document, Place, Shelf

ADDRESS = "127.0.0.1"
_MANY = {"ap-northeast": 3, "ap-south": 1, "ap-southeast": 2, "ca-central": 1, "eu-central": 1, "eu-north": 1, "eu-west": 3, "sa-east": 1}
REGIONS = [f"{area}-{n}" for area, many in (_MANY | {"us-east": 2, "us-west": 2}).items() for n in range(1, many + 1)]
_STATES = {InstanceState.PENDING: (0, "pending"), InstanceState.RUNNING: (16, "running"), InstanceState.STOPPING: (32, "shutting-down")}
_FILTERS = members(
    instance_id="InstanceId",
    instance_type="InstanceType",
    image_id="ImageId",
    subnet_id="SubnetId",
    vpc_id="VpcId",
    private_ip_address="PrivateIpAddress",
    private_dns_name="PrivateDnsName",
    architecture="Architecture",
    instance_lifecycle="InstanceLifecycle",
    key_name="KeyName",
) | {
    "instance-state-name": lambda one: one["State"]["Name"],
    "instance-state-code": lambda one: one["State"]["Code"],
    "availability-zone": lambda one: one["Placement"]["AvailabilityZone"],
    "instance.group-id": lambda one: [group["GroupId"] for group in one["SecurityGroups"]],
}


def instance_type_of(catalogue: Catalogue, instance: Instance) -> InstanceType | None:
    """The type that an instance shows: its own, or of a slice cut to measure the smallest of its families that has as much."""
    if instance.type_name in catalogue.types:
        return catalogue.types[instance.type_name]
    name = instance.type_name.partition(".")[0]  # of a slice cut to measure its size follows
    families = GROUPS.get(name, (name,))
    types = [t for t in catalogue.types.values() if t.name.partition(".")[0] in families]
    types.sort(key=lambda t: (t.room.vcpus, t.room.memory_mib, t.name))
    return next((t for t in types if instance.room.fits(t.room)), types[-1] if types else None)


def whereabouts(shelf: Shelf, catalogue: Catalogue, environment: Environment, instance: Instance | None) -> Whereabouts:
    """What DescribeInstances says of a slice, for the metadata endpoint of the jobs on it."""
    settings = environment.settings
    place = Place("ec2", environment.account, environment.region)
    subnet_id = (settings.get("subnets") or [""])[0]
    subnet = shelf.look(place, lambda drawer: Book(drawer).find(SUBNET, subnet_id)) or {}
    zone = subnet.get("AvailabilityZone") or defaults.zones_of(environment.region)[0]
    kind = instance_type_of(catalogue, instance) if instance is not None else None
    return Whereabouts(
        zone=zone,
        zone_id=defaults.zone_id(environment.region, zone),
        vpc=subnet.get("VpcId", ""),
        instance_type=kind.name if kind else instance.type_name if instance is not None else "",
        machine_image=settings.get("imageId") or IMAGES[0].id,
        architecture="arm64" if kind and kind.is_arm else "x86_64",
    )


def _instances(desk: Any, caller: Caller) -> list[Document]:
    environments = desk.read.environments
    found = []
    for instance in desk.read.instances.values():
        environment = environments.get(instance.environment)
        if environment is not None and (environment.account, environment.region) == (caller.account, caller.region):
            found.append(_instance(desk, instance, environment))
    return found


def _instance(desk: Any, instance: Instance, environment: Environment) -> Document:
    """A slice as an instance. `Tags` is a dict, as in all records."""
    settings = environment.settings
    where = whereabouts(desk.shelf, desk.catalogue, environment, instance)
    code, name = _STATES[instance.state]
    tags = {
        "AWSBatchServiceTag": "batch",
        "aws:batch:compute-environment": environment.name,
        "batchyard:size": f"{instance.room.vcpus:g} vCPUs, {instance.room.memory_mib} MiB",
        **(settings.get("tags") or {}),
    }
    shown: Document = {
        "InstanceId": instance.id,
        "InstanceType": where.instance_type,
        "Architecture": where.architecture,
        "ImageId": where.machine_image,
        "State": {"Code": code, "Name": name},
        "LaunchTime": instance.launched_at_ms / 1000,
        "PrivateIpAddress": ADDRESS,
        "PrivateDnsName": "localhost",
        "PublicDnsName": "",
        "Placement": {"AvailabilityZone": where.zone, "Tenancy": "default"},
        "SubnetId": (settings.get("subnets") or [""])[0],
        "VpcId": where.vpc,
        "SecurityGroups": [{"GroupId": id, "GroupName": id} for id in settings.get("securityGroupIds") or ()],
        "Monitoring": {"State": "disabled"},
        "Tags": tags,
    }
    if instance.spot:
        shown["InstanceLifecycle"] = "spot"
    if settings.get("ec2KeyPair"):
        shown["KeyName"] = settings["ec2KeyPair"]
    return shown


def _asked(desk: Any, caller: Caller, params: Params) -> list[Document]:
    instances = _instances(desk, caller)
    ids = params.get("InstanceIds") or []
    if ids:
        known = {one["InstanceId"] for one in instances}
        missing = [id for id in ids if id not in known]
        if missing:
            words = f"The instance ID '{missing[0]}' does not exist"
            if len(missing) > 1:
                words = f"The instance IDs '{', '.join(missing)}' do not exist"
            raise Fault("InvalidInstanceID.NotFound", words)
        instances = [one for one in instances if one["InstanceId"] in ids]
    return filtered(instances, params.get("Filters", []), _FILTERS)


async def describe_instances(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeInstances: each instance is a reservation of its own."""

    def show(one: Document) -> Params:
        instance = {**one, "Tags": [{"Key": key, "Value": value} for key, value in one["Tags"].items()]}
        reservation = "r-" + one["InstanceId"].removeprefix("i-")
        return {"ReservationId": reservation, "OwnerId": caller.account, "Groups": [], "Instances": [instance]}

    return paged(_asked(desk, caller, params), params, lambda one: str(one["InstanceId"]), "Reservations", show)


async def describe_instance_status(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeInstanceStatus: of running instances, unless all are asked for."""

    def show(one: Document) -> Params:
        is_running = one["State"]["Name"] == "running"
        health: Params = {"Status": "ok" if is_running else "not-applicable", "Details": []}
        return {
            "InstanceId": one["InstanceId"],
            "AvailabilityZone": one["Placement"]["AvailabilityZone"],
            "InstanceState": one["State"],
            "InstanceStatus": health,
            "SystemStatus": health,
            "Events": [],
        }

    instances = _asked(desk, caller, params)
    if not params.get("IncludeAllInstances"):
        instances = [one for one in instances if one["State"]["Name"] == "running"]
    return paged(instances, params, lambda one: str(one["InstanceId"]), "InstanceStatuses", show)


async def terminate_instances(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, TerminateInstances: the instance is lost at once, and with it the attempts that run on it."""
    instances = _asked(desk, caller, {"InstanceIds": params["InstanceIds"]})
    ended = []
    for one in instances:
        if one["State"]["Name"] != "shutting-down":
            await desk.ask(Reclaim(one["InstanceId"], 0))
        shutting = {"Code": 32, "Name": "shutting-down"}
        ended.append({"InstanceId": one["InstanceId"], "CurrentState": shutting, "PreviousState": one["State"]})
    return {"TerminatingInstances": ended}


# --- types ---


async def describe_instance_types(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeInstanceTypes: vCPUs, memory, GPUs and architecture, as the catalogue knows them."""
    types = _types(desk, params.get("InstanceTypes") or [])
    filters = members(
        instance_type="InstanceType", current_generation="CurrentGeneration", supported_usage_class="SupportedUsageClasses"
    ) | {
        "vcpu-info.default-vcpus": lambda one: one["VCpuInfo"]["DefaultVCpus"],
        "memory-info.size-in-mib": lambda one: one["MemoryInfo"]["SizeInMiB"],
        "processor-info.supported-architecture": lambda one: one["ProcessorInfo"]["SupportedArchitectures"],
    }
    found = filtered([_type(one) for one in types], params.get("Filters", []), filters)
    limited = params if params.get("InstanceTypes") else {"MaxResults": 100, **params}
    return paged(found, limited, lambda one: str(one["InstanceType"]), "InstanceTypes", lambda one: one)


def _types(desk: Any, names: list[str]) -> list[InstanceType]:
    known = desk.catalogue.types
    missing = [name for name in names if name not in known]
    if missing:
        raise Fault("InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(missing)}]")
    return [known[name] for name in (names or known)]


def _type(one: InstanceType) -> Document:
    shown: Document = {
        "InstanceType": one.name,
        "CurrentGeneration": True,
        "SupportedUsageClasses": ["on-demand", "spot"],
        "VCpuInfo": {"DefaultVCpus": int(one.room.vcpus)},
        "MemoryInfo": {"SizeInMiB": one.room.memory_mib},
        "ProcessorInfo": {"SupportedArchitectures": ["arm64" if one.is_arm else "x86_64"]},
        "SupportedVirtualizationTypes": ["hvm"],
    }
    if one.room.gpus:
        shown["GpuInfo"] = {"Gpus": [{"Count": one.room.gpus}]}
    return shown


async def describe_instance_type_offerings(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeInstanceTypeOfferings: every type of the catalogue, everywhere."""
    kind = params.get("LocationType", "region")
    zones = defaults.zones_of(caller.region)
    places = {
        "region": [caller.region],
        "availability-zone": zones,
        "availability-zone-id": [defaults.zone_id(caller.region, zone) for zone in zones],
    }.get(kind, [])
    offerings = [{"InstanceType": name, "LocationType": kind, "Location": place} for name in desk.catalogue.types for place in places]
    found = filtered(offerings, params.get("Filters", []), members(instance_type="InstanceType", location="Location"))
    return paged(found, params, lambda one: f"{one['InstanceType']} {one['Location']}", "InstanceTypeOfferings", lambda one: one)


async def describe_spot_price_history(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeSpotPriceHistory: the catalogue's assumed price (a fixed part of the on-demand price), as of now."""
    zones = defaults.zones_of(caller.region)
    prices = [
        {
            "InstanceType": one.name,
            "AvailabilityZone": zone,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": f"{one.price_per_hour * SPOT_PART:.6f}",
            "Timestamp": desk.now_ms() / 1000,
        }
        for one in _types(desk, params.get("InstanceTypes") or [])
        for zone in zones
        if one.price_per_hour and params.get("AvailabilityZone") in (None, zone)
    ]
    wanted = params.get("ProductDescriptions")
    if wanted and not any(name.startswith("Linux/UNIX") for name in wanted):
        prices = []
    filters = members(instance_type="InstanceType", availability_zone="AvailabilityZone", product_description="ProductDescription")
    found = filtered(prices, params.get("Filters", []), filters)
    return paged(found, params, lambda one: f"{one['InstanceType']} {one['AvailabilityZone']}", "SpotPriceHistory", lambda one: one)


# --- places and images ---


def describe_availability_zones(book: Book, params: Params) -> Params:
    """API reference, DescribeAvailabilityZones: three zones a region."""
    zones = [
        {
            "ZoneName": zone,
            "ZoneId": defaults.zone_id(book.region, zone),
            "RegionName": book.region,
            "State": "available",
            "OptInStatus": "opt-in-not-required",
            "ZoneType": "availability-zone",
            "GroupName": book.region + "-zg-1",
            "NetworkBorderGroup": book.region,
            "Messages": [],
        }
        for zone in defaults.zones_of(book.region)
    ]
    names, ids = params.get("ZoneNames") or [], params.get("ZoneIds") or []
    known = {zone["ZoneName"] for zone in zones} | {zone["ZoneId"] for zone in zones}
    for name in [*names, *ids]:
        if name not in known:
            raise invalid(f"Invalid availability zone: [{name}]")
    filters = members(zone_name="ZoneName", zone_id="ZoneId", region_name="RegionName", state="State", zone_type="ZoneType")
    filters |= members(opt_in_status="OptInStatus", group_name="GroupName")
    found = filtered(zones, params.get("Filters", []), filters)
    return {"AvailabilityZones": [z for z in found if not (names or ids) or z["ZoneName"] in names or z["ZoneId"] in ids]}


def describe_regions(book: Book, params: Params) -> Params:
    """API reference, DescribeRegions: AWS's regions that need no opt-in, and the one that this service stands for."""
    names = sorted({*REGIONS, book.region})
    for name in params.get("RegionNames") or []:
        if name not in names:
            raise invalid(f"Invalid region: [{name}]")
    regions = [{"RegionName": n, "Endpoint": f"ec2.{n}.amazonaws.com", "OptInStatus": "opt-in-not-required"} for n in names]
    found = filtered(
        regions, params.get("Filters", []), members(region_name="RegionName", opt_in_status="OptInStatus", endpoint="Endpoint")
    )
    return {"Regions": [one for one in found if not params.get("RegionNames") or one["RegionName"] in params["RegionNames"]]}


def describe_account_attributes(book: Book, params: Params) -> Params:
    """API reference, DescribeAccountAttributes."""
    default = next((vpc["VpcId"] for vpc in book.all(VPC) if vpc["IsDefault"]), "none")
    values = {"supported-platforms": "VPC", "default-vpc": default}
    wanted = params.get("AttributeNames") or list(values)
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": value}]} for name, value in values.items() if name in wanted
        ]
    }


def describe_images(book: Book, params: Params) -> Params:
    """API reference, DescribeImages: the placeholders behind AWS's public parameters."""
    images = [
        {
            "ImageId": image.id,
            "Name": image.name,
            "Description": image.description,
            "Architecture": image.architecture,
            "OwnerId": image.owner,
            "ImageOwnerAlias": image.alias,
            "ImageLocation": f"{image.alias}/{image.name}",
            "ImageType": "machine",
            "State": "available",
            "Public": True,
            "CreationDate": "2026-11-01T00:00:00.000Z",
            "RootDeviceName": "/dev/xvda",
            "RootDeviceType": "ebs",
            "VirtualizationType": "hvm",
            "Hypervisor": "xen",
            "EnaSupport": True,
            "PlatformDetails": "Linux/UNIX",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "VolumeType": "gp3", "DeleteOnTermination": True}}
            ],
            "Tags": [],
        }
        for image in IMAGES
    ]
    ids, owners = params.get("ImageIds") or [], params.get("Owners") or []
    for id in ids:
        if id not in [image["ImageId"] for image in images]:
            raise Fault("InvalidAMIID.NotFound", f"The image id '[{id}]' does not exist")
    found = [
        i for i in images if (not ids or i["ImageId"] in ids) and (not owners or i["OwnerId"] in owners or i["ImageOwnerAlias"] in owners)
    ]
    filters = members(
        image_id="ImageId",
        name="Name",
        description="Description",
        architecture="Architecture",
        state="State",
        owner_alias="ImageOwnerAlias",
        owner_id="OwnerId",
        root_device_type="RootDeviceType",
        virtualization_type="VirtualizationType",
        is_public="Public",
        image_type="ImageType",
    )
    found = filtered([{**image, "Tags": {}} for image in found], params.get("Filters", []), filters)
    return paged(found, params, lambda one: str(one["ImageId"]), "Images", lambda one: {**one, "Tags": []})
