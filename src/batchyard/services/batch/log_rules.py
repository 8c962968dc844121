"""What a container's logConfiguration may say: only what has an effect (specification, section 5.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.core import loglines
from batchyard.model.fault import client_fault
from batchyard.store import json_logs

_DELIVERY = {"mode": ("blocking", "non-blocking"), "max-buffer-size": ()}  # a job's output is always read as it comes


def check_log_configuration(where: str, configuration: Mapping[str, Any] | None, region: str) -> None:
    """Refuse options that would be ignored, and values that cannot be followed. AWS's drivers that are not there are refused before."""
    options = (configuration or {}).get("options") or {}
    place = f"{where}.logConfiguration.options"
    driver = loglines.other_driver({"logConfiguration": configuration})
    if driver:
        _check_other(f"{where}.logConfiguration", driver, options)
        return
    for name, value in options.items():
        if name in _DELIVERY:
            if _DELIVERY[name] and value not in _DELIVERY[name]:
                raise client_fault(f"{place}: {name} {value} is not valid. Valid values are: {', '.join(_DELIVERY[name])}.")
        elif name not in loglines.OPTIONS:
            raise client_fault(f"{place}: {name} has no effect here. Known are: {', '.join((*loglines.OPTIONS, *_DELIVERY))}.")
    wanted = options.get(loglines.REGION)
    if wanted and wanted != region:
        raise client_fault(f"{place}: {loglines.REGION} {wanted} cannot be had: a job's log is kept in its own region, {region}.")
    if options.get(loglines.CREATE, "true").lower() not in ("true", "false"):
        raise client_fault(f"{place}: {loglines.CREATE} {options[loglines.CREATE]} is not valid. Valid values are: true, false.")
    for name, check in ((loglines.DATETIME, loglines.wrong_format), (loglines.MULTILINE, loglines.wrong_pattern)):
        wrong = check(options.get(name) or "")
        if wrong:
            raise client_fault(f"{place}: {name} {options[name]!r} cannot be used: {wrong}.")


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
    try:
        json_logs.limits_of(options)
    except ValueError as wrong:
        raise client_fault(f"{where}.options: {wrong}") from None
