"""What an environment costs while it stands: a range per hour, from what runs when nothing is to be done to what may run at most.

Prices are arguments, with their source; what is assumed is said in every line, and what is not counted is named.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.compute.catalogue import USD_PER_GIB_HOUR, USD_PER_VCPU_HOUR, InstanceType

HOURS_PER_MONTH = 730
_LISTED = "AWS's price list, us-east-1, 2024"
# AWS Fargate, Linux on x86; a vCPU goes with 2 to 8 GiB
_FARGATE_USD_PER_VCPU_HOUR, _FARGATE_USD_PER_GIB_HOUR, _FARGATE_GIB = 0.04048, 0.004445, (2, 8)
# What costs as long as it is there: USD per hour, and what that is
_STANDING: dict[str, tuple[float, str]] = {
    "AWS::EC2::NatGateway": (0.045, "a NAT gateway, without the data that goes through it (0.045 USD per GB)"),
    "AWS::EC2::EIP": (0.005, "a public IPv4 address"),
    "AWS::KMS::Key": (1 / HOURS_PER_MONTH, "a key, without requests"),
    "AWS::SecretsManager::Secret": (0.40 / HOURS_PER_MONTH, "a secret, without requests"),
    "AWS::CloudWatch::Alarm": (0.10 / HOURS_PER_MONTH, "an alarm"),
}
_ENDPOINT_USD_PER_HOUR = 0.01
_VOLUME_USD_PER_GIB_MONTH = 0.08
# What costs by use, or by what cannot be known from a template
_BY_USE = {
    "AWS::S3::Bucket": "storage and requests in buckets",
    "AWS::Logs::LogGroup": "logs that are taken in and kept",
    "AWS::Lambda::Function": "calls of functions",
    "AWS::EFS::FileSystem": "what file systems hold",
    "AWS::FSx::FileSystem": "FSx file systems",
    "AWS::ECR::Repository": "images in repositories",
    "AWS::SQS::Queue": "messages",
    "AWS::SNS::Topic": "messages",
    "AWS::StepFunctions::StateMachine": "steps of state machines",
    "AWS::CodeBuild::Project": "builds",
    "AWS::ImageBuilder::ImagePipeline": "instances that build images",
}
_ALWAYS_BY_USE = ("data that leaves the region or crosses zones", "root volumes of instances")


@dataclass(frozen=True, slots=True)
class Price:
    """What an instance type costs: USD per hour on demand (0 when not known), its vCPUs, and where and when that was said."""

    usd_per_hour: float
    vcpus: float
    source: str
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What one resource costs: at least and at most, USD per hour, and why.

    `unpriced` are instance types that nothing is known of, `estimated` those whose price was not listed.
    """

    logical_id: str
    low_usd_per_hour: float
    high_usd_per_hour: float
    why: str
    unpriced: tuple[str, ...] = ()
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """All lines, the sums, and what is not counted."""

    lines: tuple[Line, ...]
    not_counted: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def low_usd_per_hour(self) -> float:
        """The least: nothing to do, all at its minimum."""
        return sum(line.low_usd_per_hour for line in self.lines)

    @property
    def high_usd_per_hour(self) -> float:
        """The most: every environment at its maximum, in its dearest type."""
        return sum(line.high_usd_per_hour for line in self.lines)

    @property
    def low_usd_per_month(self) -> float:
        return self.low_usd_per_hour * HOURS_PER_MONTH

    @property
    def high_usd_per_month(self) -> float:
        return self.high_usd_per_hour * HOURS_PER_MONTH


def priced(types: Iterable[InstanceType], source: str) -> dict[str, Price]:
    """The prices of a catalogue of instance types; `source` says where and when it has them from (`Catalogue.prices_from`).

    What it has no price of is estimated from vCPUs and memory, as the catalogue does for jobs.
    """
    found = {}
    for one in types:
        listed = one.price_per_hour
        usd = listed or one.room.vcpus * USD_PER_VCPU_HOUR + one.room.memory_mib / 1024 * USD_PER_GIB_HOUR
        found[one.name] = Price(usd, one.room.vcpus, source, is_estimated=not listed)
    return found


def estimate(
    resources: Mapping[str, tuple[str, Mapping[str, Any]]],
    prices: Mapping[str, Price],
    *,
    groups: Mapping[str, Sequence[str]],
    spot_part: float,
) -> Estimate:
    """The cost of resources (logical id -> type, resolved properties) by these prices.

    `groups` are the families behind Batch's words such as "optimal"; `spot_part` is the part of the on-demand price that Spot is assumed
    to cost at least. At most, Spot costs what the environment bids. Instances are whole: the last one is paid even if a vCPU of it does.
    """
    lines: list[Line] = []
    not_counted: dict[str, None] = {}
    for name in sorted(resources):
        type_name, properties = resources[name]
        if type_name == "AWS::Batch::ComputeEnvironment":
            line = _environment(name, properties, prices, groups, spot_part)
        elif type_name == "AWS::EC2::Instance":
            line = _instance(name, properties, prices)
        else:
            line = _standing(name, type_name, properties)
        if line is not None:
            lines.append(line)
        elif type_name == "AWS::Batch::ComputeEnvironment":
            not_counted.setdefault(f"{name}, whose instances are not Batch's or not known before the change")
        elif type_name in _BY_USE:
            not_counted.setdefault(_BY_USE[type_name])
    if any(type_name == "AWS::Batch::ComputeEnvironment" for type_name, _ in resources.values()):
        not_counted.update(dict.fromkeys(_ALWAYS_BY_USE))
    sources = {price.source for price in prices.values()} if lines else set()
    sources |= {_LISTED} if any(resources[line.logical_id][0] in _STANDING for line in lines) else set()
    return Estimate(tuple(lines), tuple(not_counted), tuple(sorted(sources)))


def _environment(
    name: str, properties: Mapping[str, Any], prices: Mapping[str, Price], groups: Mapping[str, Sequence[str]], spot_part: float
) -> Line | None:
    resources = properties.get("ComputeResources") or {}
    kind = str(resources.get("Type", "")).upper()
    least, most = _number(resources.get("MinvCpus", 0)), _number(resources.get("MaxvCpus"))
    if str(properties.get("Type", "")).upper() == "UNMANAGED" or most is None or least is None:
        return None
    if kind.startswith("FARGATE"):
        return _fargate(name, most, spot_part if kind == "FARGATE_SPOT" else 1.0)
    if kind not in ("EC2", "SPOT"):
        return None
    named = [str(one) for one in resources.get("InstanceTypes") or ("optimal",)]
    types = {one: prices[one] for one in _expanded(named, prices, groups)}
    known = {one: price for one, price in types.items() if price.usd_per_hour and price.vcpus}
    unpriced = tuple(sorted({*types} - {*known} | {one for one in named if not _expanded([one], prices, groups)}))
    if not known:
        return Line(name, 0.0, 0.0, f"no price is known for {', '.join(named)}", unpriced)
    low = min(math.ceil(least / price.vcpus) * price.usd_per_hour for price in known.values())
    high, dearest = max((math.ceil(most / price.vcpus) * price.usd_per_hour, one) for one, price in known.items())
    estimated = tuple(sorted(one for one, price in known.items() if price.is_estimated))
    why = f"{_count(least)}{f' to {_count(most)}' if most != least else ''} vCPUs; at most all of them in {dearest}"
    if kind == "SPOT":
        bid = _number(resources.get("BidPercentage")) or 100.0
        low, high = low * min(spot_part, bid / 100), high * bid / 100
        why += f"; on Spot, from {spot_part:.0%} of the on-demand price (assumed) to {bid:.0f} % of it (the bid)"
    return Line(name, low, high, why, unpriced, estimated)


def _fargate(name: str, most: float, part: float) -> Line:
    high = most * (_FARGATE_USD_PER_VCPU_HOUR + _FARGATE_GIB[1] * _FARGATE_USD_PER_GIB_HOUR) * part
    spot = "" if part == 1.0 else f", Spot taken for {part:.0%} of the price"
    return Line(name, 0.0, high, f"0 to {_count(most)} vCPUs on Fargate with up to {_FARGATE_GIB[1]} GiB each{spot} ({_LISTED})")


def _instance(name: str, properties: Mapping[str, Any], prices: Mapping[str, Price]) -> Line | None:
    kind = str(properties.get("InstanceType", "m1.small"))
    price = prices.get(kind)
    if price is None or not price.usd_per_hour:
        return Line(name, 0.0, 0.0, f"no price is known for {kind}", (kind,))
    return Line(name, price.usd_per_hour, price.usd_per_hour, f"an instance of type {kind}")


def _standing(name: str, type_name: str, properties: Mapping[str, Any]) -> Line | None:
    if type_name in _STANDING:
        usd, why = _STANDING[type_name]
        return Line(name, usd, usd, f"{why} ({_LISTED})")
    if type_name == "AWS::EC2::VPCEndpoint" and str(properties.get("VpcEndpointType", "Gateway")) == "Interface":
        zones = max(1, len(properties.get("SubnetIds") or ()))
        usd = zones * _ENDPOINT_USD_PER_HOUR
        return Line(name, usd, usd, f"an interface endpoint in {zones} subnets, without data ({_LISTED})")
    size = _number(properties.get("Size")) if type_name == "AWS::EC2::Volume" else None
    if size:
        usd = size * _VOLUME_USD_PER_GIB_MONTH / HOURS_PER_MONTH
        return Line(name, usd, usd, f"a volume of {_count(size)} GiB as gp3 ({_LISTED})")
    return None


def _expanded(names: Collection[str], prices: Mapping[str, Price], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The types behind types, families and Batch's groups."""
    families = {family for name in names for family in groups.get(name, (name,))}
    return [one for one in prices if one in names or one.partition(".")[0] in families]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _count(number: float) -> str:
    return f"{number:g}"


def said(found: Estimate) -> Iterator[str]:
    """The estimate in lines of text: the range, each resource, what is not counted, where the prices are from."""
    hour, month = ((found.low_usd_per_hour, found.high_usd_per_hour), (found.low_usd_per_month, found.high_usd_per_month))
    yield f"{_range(*hour)} per hour, {_range(*month)} per month"
    for line in found.lines:
        missing = f"; no price for {_few(line.unpriced)}" if line.unpriced and line.high_usd_per_hour else ""
        missing += f"; by estimate: {_few(line.estimated)}" if line.estimated else ""
        yield f"{line.logical_id}: {_range(line.low_usd_per_hour, line.high_usd_per_hour)} per hour, {line.why}{missing}"
    if found.not_counted:
        yield f"not counted: {'; '.join(found.not_counted)}"
    if found.sources:
        yield f"prices: {'; '.join(found.sources)}"


def _few(names: Sequence[str]) -> str:
    """Names, or the first of them and how many more there are."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _range(low: float, high: float) -> str:
    return f"{_money(low)} USD" if _money(low) == _money(high) else f"{_money(low)} to {_money(high)} USD"


def _money(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 0.1 or usd == 0 else f"{usd:.4f}"
