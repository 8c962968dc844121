"""Where a container's log goes, by its driver, and which lines of it are one event: awslogs' options (specification, section 5.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

GROUP, PREFIX, REGION = "awslogs-group", "awslogs-stream-prefix", "awslogs-region"
CREATE, DATETIME, MULTILINE = "awslogs-create-group", "awslogs-datetime-format", "awslogs-multiline-pattern"
AWSLOGS, JSON_FILE, NONE = "awslogs", "json-file", "none"
OPTIONS = (GROUP, PREFIX, REGION, CREATE, DATETIME, MULTILINE)

MAX_PATTERN = 512
MAX_REPEATS = 2  # unbounded ones: each multiplies the time of a search by the length of a line's beginning

# What a strftime directive of awslogs-datetime-format may look like in a log.
_DIRECTIVES = {
    "%a": "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)",
    "%A": "(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day",
    "%b": "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
    "%B": "(January|February|March|April|May|June|July|August|September|October|November|December)",
    "%d": "[0-9]{2}",
    "%f": "[0-9]{6}",
    "%H": "[0-9]{2}",
    "%I": "[0-9]{2}",
    "%j": "[0-9]{3}",
    "%L": "[.][0-9]{3}",
    "%m": "[0-9]{2}",
    "%M": "[0-9]{2}",
    "%p": "[AP]M",
    "%S": "[0-9]{2}",
    "%U": "[0-9]{2}",
    "%w": "[0-6]",
    "%y": "[0-9]{2}",
    "%Y": "[0-9]{4}",
    "%z": "[+-][0-9]{4}",
    "%Z": "[A-Z]{1,4}T",
    "%%": "%",
}
_DIRECTIVE = re.compile("%.?")
_CHARACTER = re.compile(r"\\.|.", re.DOTALL)
_CLASSES = (r"\d", r"\s", r"\w")
_GROUP_NAME = re.compile("[A-Za-z0-9._/#-]{1,512}")
_PREFIX_MOST = 223  # a stream's name has 512 characters, the container's up to 255, and the attempt's id 32
_BUFFER = re.compile(r"[0-9]+(\.[0-9]+)? ?[kmgtp]?i?b?", re.IGNORECASE)
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?[^):]*[:)]?)?|\)|[*+?]|\{[0-9]*,?[0-9]*\}|.", re.DOTALL)


def other_driver(container: Mapping[str, Any]) -> str:
    """The log driver of a container, in lower case; "" for awslogs, the only one that has a log stream."""
    driver = str((container.get("logConfiguration") or {}).get("logDriver") or AWSLOGS).lower()
    return "" if driver == AWSLOGS else driver


def file_options(container: Mapping[str, Any]) -> dict[str, str]:
    """The options of a container's json-file driver; {} for any other driver."""
    return dict((container.get("logConfiguration") or {}).get("options") or {}) if other_driver(container) == JSON_FILE else {}


class _Configuration(msgspec.Struct, rename="camel"):
    log_driver: str | None = None


class _Logging(msgspec.Struct, rename="camel"):
    """Of a container the log driver alone: decoding the rest would cost each time that a job is shown."""

    log_configuration: _Configuration | None = None


_logging = msgspec.json.Decoder(_Logging).decode


def has_stream(effective: msgspec.Raw) -> bool:
    """Whether a container, as it is kept encoded, has a log stream."""
    if b'"logDriver"' not in bytes(effective):
        return True
    configuration = _logging(effective).log_configuration
    return configuration is None or (configuration.log_driver or AWSLOGS).lower() == AWSLOGS


def begins(options: Mapping[str, str]) -> str:
    """The pattern that is found in the first line of each event; "" if each line is one. The date's format wins over a pattern."""
    form = options.get(DATETIME)
    if not form:
        return str(options.get(MULTILINE) or "")
    parts: list[str] = []
    at = 0
    for found in _DIRECTIVE.finditer(form):
        parts += [_literal(form[at : found.start()]), _DIRECTIVES.get(found[0], re.escape(found[0]))]
        at = found.end()
    return "".join([*parts, _literal(form[at:])])


def _literal(text: str) -> str:
    """What stands between directives. To Docker it is a part of a regular expression, so its users write `\\[`: that is a bracket too."""
    return "".join(
        found[0] if found[0] in _CLASSES else re.escape(found[0][1:] if found[0][0] == "\\" and not found[0][-1].isalnum() else found[0])
        for found in _CHARACTER.finditer(text)
    )


def wrong_group(name: str) -> str:
    """What is wrong with an awslogs-group; "" if nothing is."""
    return "" if not name or _GROUP_NAME.fullmatch(name) else "a log group has 1 to 512 of the characters A-Z a-z 0-9 . _ - / #"


def wrong_prefix(prefix: str) -> str:
    """What is wrong with an awslogs-stream-prefix; "" if nothing is."""
    if len(prefix) > _PREFIX_MOST:
        return f"it has more than {_PREFIX_MOST} characters"
    return "the name of a log stream has no : and no *" if ":" in prefix or "*" in prefix else ""


def wrong_buffer(size: str) -> str:
    """What is wrong with a max-buffer-size; "" if nothing is."""
    return "" if not size or _BUFFER.fullmatch(size) else "a size looks like 4096, 512k or 25m"


def wrong_format(form: str) -> str:
    """What is wrong with an awslogs-datetime-format; "" if nothing is."""
    if len(form) > MAX_PATTERN:
        return f"it has more than {MAX_PATTERN} characters"
    unknown = next((found[0] for found in _DIRECTIVE.finditer(form) if found[0] not in _DIRECTIVES), "")
    return f"{unknown} is not known" if unknown else ""


def wrong_pattern(pattern: str) -> str:
    """What is wrong with an awslogs-multiline-pattern; "" if nothing is.

    One process searches the logs of all jobs, so only patterns that are quick on any line are taken: no repeated groups, no
    references, no looking around, and few unbounded repeats.
    """
    if len(pattern) > MAX_PATTERN:
        return f"it has more than {MAX_PATTERN} characters"
    try:
        re.compile(pattern.encode())
    except re.error as error:
        return f"it is no regular expression ({error})"
    repeats, before = 0, ""
    for found in _TOKEN.finditer(pattern):
        token = found[0]
        repeated = token in ("*", "+") or (token.startswith("{") and len(token) > 2)
        if before == ")" and repeated:
            return "a group is repeated"
        if token.startswith("(?") and token != "(?:":
            return f"{token} is not taken"
        if re.fullmatch(r"\\[1-9]", token):
            return f"{token} refers to a group"
        if token in ("*", "+") or (token.startswith("{") and token.endswith(",}")):
            repeats += 1
        elif repeated and any(int(number) > 64 for number in re.findall("[0-9]+", token)):
            return f"{token} repeats too often"
        before = token
    return f"it has more than {MAX_REPEATS} unbounded repeats" if repeats > MAX_REPEATS else ""
