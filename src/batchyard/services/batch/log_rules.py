"""What a container's logConfiguration may say: only what has an effect (specification, section 5.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.core import loglines
from batchyard.model.fault import client_fault
from batchyard.store import json_logs

_BUFFER = "max-buffer-size"
_WRONG = {
    loglines.GROUP: loglines.wrong_group,
    loglines.PREFIX: loglines.wrong_prefix,
    loglines.DATETIME: loglines.wrong_format,
    loglines.MULTILINE: loglines.wrong_pattern,
    _BUFFER: loglines.wrong_buffer,
}
_DELIVERY = {"mode": ("blocking", "non-blocking"), _BUFFER: ()}  # a job's output is always read as it comes


def check_log_configuration(where: str, configuration: Mapping[str, Any] | None, region: str) -> None:
    """Refuse options that would be ignored, and values that cannot be followed. AWS's drivers that are not there are refused before."""
    options = (configuration or {}).get("options") or {}
    place = f"{where}.logConfiguration.options"
    driver = loglines.other_driver({"logConfiguration": configuration})
    if driver:
        _check_other(f"{where}.logConfiguration", driver, options)
        return
    _check_delivery(place, options)
    for name in options:
        if name not in _DELIVERY and name not in loglines.OPTIONS:
            raise client_fault(f"{place}: {name} has no effect here. Known are: {', '.join((*loglines.OPTIONS, *_DELIVERY))}.")
    wanted = options.get(loglines.REGION)
    if wanted and wanted != region:
        raise client_fault(f"{place}: {loglines.REGION} {wanted} cannot be had: a job's log is kept in its own region, {region}.")
    if options.get(loglines.CREATE, "true").lower() not in ("true", "false"):
        raise client_fault(f"{place}: {loglines.CREATE} {options[loglines.CREATE]} is not valid. Valid values are: true, false.")
    for name, check in _WRONG.items():
        wrong = check(options.get(name) or "")
        if wrong:
            raise client_fault(f"{place}: {name} {options[name]!r} cannot be used: {wrong}.")


def _check_delivery(place: str, options: Mapping[str, str]) -> None:
    """The options that all drivers have."""
    for name, value in options.items():
        if _DELIVERY.get(name) and value not in _DELIVERY[name]:
            raise client_fault(f"{place}: {name} {value} is not valid. Valid values are: {', '.join(_DELIVERY[name])}.")


def _check_other(where: str, driver: str, options: Mapping[str, str]) -> None:
    """The options of a driver other than awslogs."""
    if driver not in (loglines.JSON_FILE, loglines.NONE):
        known = ", ".join((loglines.AWSLOGS, loglines.JSON_FILE, loglines.NONE))
        raise client_fault(f"{where}.logDriver {driver} is not valid. Valid values here are: {known}.")
    known_options = (*json_logs.OPTIONS, *_DELIVERY) if driver == loglines.JSON_FILE else ()
    for name in options:
        if name not in known_options:
            has = f"Known are: {', '.join(known_options)}." if known_options else "It has no options."
            raise client_fault(f"{where}.options: {name} has no effect with {driver}. {has}")
    _check_delivery(f"{where}.options", options)
    wrong_size = loglines.wrong_buffer(options.get(_BUFFER) or "")
    if wrong_size:
        raise client_fault(f"{where}.options: {_BUFFER} {options[_BUFFER]!r} cannot be used: {wrong_size}.")
    try:
        json_logs.limits_of(options)
    except ValueError as wrong:
        raise client_fault(f"{where}.options: {wrong}") from None
