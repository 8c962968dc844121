"""Which values of a resource must not be shown: what comes from NoEcho parameters, and what is a secret by its name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from batchyard.services.cloudformation.planning.changes import Place
from batchyard.services.cloudformation.planning.fragments import placed, sources

_SECRET = re.compile(
    r"(password|passphrase|secret_?string|secret_?key|secret_?access_?key|client_?secret|api_?key_?value|auth_?token|access_?token"
    r"|private_?key)$",
    re.IGNORECASE,
)
_SECRET_REFERENCE = re.compile(r"\{\{resolve:(secretsmanager|ssm-secure):")
MASK = "****"


def hidden(
    type_name: str, unresolved: Mapping[str, Any] | None, properties: Mapping[str, Any], no_echo: Collection[str]
) -> frozenset[Place]:
    """The places within the properties whose values must not be shown.

    What refers to a parameter of `no_echo` is found by the unresolved properties; the parameters of a nested stack that get one too.
    Secrets by name: a member called Password, SecretString and the like, or the Value of such a Name (an environment variable), unless it
    is a dynamic reference (which holds no secret).
    """
    found = {place for place, fragment in placed(unresolved, properties).items() if any(s.name in no_echo for s in sources(fragment))}
    return frozenset(found | set(_named(properties, ())))


def _named(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = value.get("Name") if key == "Value" else key
            if isinstance(inner, str) and _SECRET.search(str(name)) and not inner.startswith("{{resolve:"):
                yield (*place, key)
            else:
                yield from _named(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _named(inner, (*place, i))


def looked_up(properties: Any, place: Place = ()) -> frozenset[Place]:
    """The places that hold a reference to a secret, which is one itself once it is looked up."""
    if isinstance(properties, str):
        return frozenset({place}) if _SECRET_REFERENCE.search(properties) else frozenset()
    if isinstance(properties, Mapping):
        return frozenset(found for key, inner in properties.items() for found in looked_up(inner, (*place, key)))
    if isinstance(properties, list | tuple):
        return frozenset(found for i, inner in enumerate(properties) for found in looked_up(inner, (*place, i)))
    return frozenset()


def whole_lists(places: Collection[Place]) -> frozenset[Place]:
    """The same places, but of lists the whole one: elements may stand elsewhere by now."""
    return frozenset(place[: next((n for n, step in enumerate(place) if isinstance(step, int)), len(place))] for place in places)


def masked(value: Any, places: Collection[Place], place: Place = ()) -> Any:
    """The value at `place` with every hidden one as `****`, whatever of it is within or around."""
    if any(place[: len(one)] == one for one in places):
        return MASK
    if not any(one[: len(place)] == place for one in places):
        return value
    if isinstance(value, Mapping):
        return {key: masked(inner, places, (*place, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, places, (*place, i)) for i, inner in enumerate(value)]
    return value
