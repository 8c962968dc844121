"""How every Describe of EC2 works: by ids, by filters, in pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchyard.core.policy_patterns import matches, read_pattern
from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.ec2.book import Book, Kind, no_such, shown
from batchyard.services.paging import page_of
from batchyard.store.shelf import Document

Values = Callable[[Document], Any]
_TOKEN = Fault("InvalidParameterValue", "Invalid value for 'nextToken': it was not made for this request.")


def described(
    book: Book,
    kind: Kind,
    params: Params,
    *,
    ids: str,
    member: str,
    filters: Mapping[str, Values],
    show: Callable[[Document], Params] = shown,
) -> Params:
    """The records of a kind that a request asks for: `ids` is the parameter with ids, `member` the member of the answer."""
    records = book.all(kind)
    wanted = params.get(ids) or []
    if wanted:
        known = {record[kind.member]: record for record in records}
        for id in wanted:
            if id not in known:
                raise no_such(kind, id)
        records = [known[id] for id in sorted(set(wanted))]
    records = filtered(records, params.get("Filters", []), filters)
    return paged(records, params, lambda record: str(record[kind.member]), member, show)


def paged(items: Sequence[Any], params: Params, name_of: Callable[[Any], str], member: str, show: Callable[[Any], Params]) -> Params:
    """A page: all of it unless MaxResults says otherwise."""
    page, token = page_of(
        sorted(items, key=name_of),
        name_of,
        limit=params.get("MaxResults") or 1000,
        token=params.get("NextToken"),
        purpose=(member, repr(params.get("Filters"))),
        invalid=_TOKEN,
    )
    answer: Params = {member: [show(item) for item in page]}
    return {**answer, "NextToken": token} if token else answer


def filtered(records: Sequence[Document], asked: Sequence[Params], known: Mapping[str, Values]) -> list[Document]:
    """The records that pass all filters; a filter passes with any of its values. `*` and `?` are wildcards."""
    tests = [
        (_values_of(one.get("Name", ""), known), [read_pattern(v, has_variables=False) for v in one.get("Values", [])]) for one in asked
    ]

    def passes(record: Document) -> bool:
        return all(any(matches(pattern, text) for text in _texts(values(record)) for pattern in patterns) for values, patterns in tests)

    return [record for record in records if passes(record)]


def _values_of(name: str, known: Mapping[str, Values]) -> Values:
    if name.startswith("tag:"):
        key = name[4:]
        return lambda record: record.get("Tags", {}).get(key)
    if name == "tag-key":
        return lambda record: list(record.get("Tags", {}))
    if name == "tag-value":
        return lambda record: list(record.get("Tags", {}).values())
    if name in known:
        return known[name]
    if name == "owner-id":
        return lambda record: record.get("OwnerId")
    raise Fault("InvalidParameterValue", f"The filter '{name}' is invalid")


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (list, tuple, set)):
        return [text for one in value for text in _texts(one)]
    return [str(value)]


def members(**names: str) -> dict[str, Values]:
    """Filters that ask for a member: `vpc_id="VpcId"` is the filter vpc-id."""
    return {name.replace("_", "-"): _member(member) for name, member in names.items()}


def _member(path: str) -> Values:
    """The value at `Member` or `List.Member` of a record."""
    first, _, rest = path.partition(".")

    def values(record: Document) -> Any:
        value = record.get(first)
        if not rest:
            return value
        return [_member(rest)(one) for one in (value if isinstance(value, list) else [value] if value else [])]

    return values
