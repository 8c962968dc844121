"""Parameters are read: by name, by path, as descriptions, and as history."""

from __future__ import annotations

import base64
from collections.abc import Callable

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.paging import page_of
from batchyard.services.ssm.records import KIND, PUBLIC, Selected, arn_of, described, find, refusal, require, text_of
from batchyard.store.shelf import Document, Drawer

_TOKEN = Fault("InvalidNextToken", "The specified token is not valid.")


def get_parameter(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetParameter."""
    return {"Parameter": _shown(sealer, drawer, caller, require(drawer, params["Name"]), params)}


def get_parameters(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetParameters: what is not there is listed, not refused."""
    shown, invalid = [], []
    if len(set(params["Names"])) != len(params["Names"]):
        raise refusal(f"Duplicate parameters specified: {', '.join(params['Names'])}")
    for name in params["Names"]:
        selected = _or_none(drawer, name)
        if selected is None:
            invalid.append(name)
        else:
            shown.append(_shown(sealer, drawer, caller, selected, params))
    return {"Parameters": shown, "InvalidParameters": invalid}


def _or_none(drawer: Drawer, name: str) -> Selected | None:
    try:
        return find(drawer, name)
    except Fault:
        return None


def get_parameters_by_path(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetParametersByPath."""
    path = params["Path"]
    if not path.startswith("/"):
        raise refusal(
            f'The parameter doesn\'t meet the parameter name requirements. The parameter name must begin with a forward slash "/": {path}'
        )
    folder = path.rstrip("/") + "/"
    is_wanted = _filter(params.get("ParameterFilters", []), ("Type", "KeyId", "Label"))
    label = next((f["Values"] for f in params.get("ParameterFilters", []) if f["Key"] == "Label"), None)
    found = []
    for document in _below(drawer, folder):
        if not params.get("Recursive") and "/" in document["name"][len(folder) :]:
            continue
        versions = document["versions"]
        chosen = [v for v in versions if label is None or set(label) & set(v.get("labels", ()))]
        if chosen and is_wanted(document, chosen[-1]):
            found.append(Selected(document, chosen[-1], ""))
    page, token = page_of(
        found,
        lambda s: str(s.document["name"]),
        limit=params.get("MaxResults", 10),
        token=params.get("NextToken"),
        purpose=("path", path, params.get("Recursive", False)),
        invalid=_TOKEN,
    )
    return {"Parameters": [_shown(sealer, drawer, caller, s, params) for s in page], **({"NextToken": token} if token else {})}


def _below(drawer: Drawer, folder: str) -> list[Document]:
    public = [document for name, document in sorted(PUBLIC.items()) if name.startswith(folder)] if folder.startswith("/aws/") else []
    return [document for _, document in drawer.entries(KIND, prefix=folder)] + public


def describe_parameters(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeParameters: no values."""
    older = [{"Key": f["Key"], "Values": f["Values"], "Option": "BeginsWith"} for f in params.get("Filters", [])]
    if older and params.get("ParameterFilters"):
        raise refusal("You can use either Filters or ParameterFilters in a single request.")
    if params.get("Shared"):
        return {"Parameters": []}
    filters = older or params.get("ParameterFilters", [])
    is_wanted = _filter(filters, ("Name", "Type", "KeyId", "Path", "Tier", "DataType"))
    found = [d for d in drawer.all(KIND) if is_wanted(d, d["versions"][-1])]
    page, token = page_of(
        found,
        lambda d: str(d["name"]),
        limit=params.get("MaxResults", 50),
        token=params.get("NextToken"),
        purpose=("describe", repr(filters)),
        invalid=_TOKEN,
    )
    shown = [{**described(caller, d, d["versions"][-1]), "ARN": arn_of(caller.account, caller.region, d["name"])} for d in page]
    return {"Parameters": shown, **({"NextToken": token} if token else {})}


def get_parameter_history(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetParameterHistory: oldest first."""
    document = require(drawer, params["Name"].partition(":")[0] if not params["Name"].startswith("arn:") else params["Name"]).document
    page, token = page_of(
        document["versions"],
        lambda v: f"{v['version']:012}",
        limit=params.get("MaxResults", 50),
        token=params.get("NextToken"),
        purpose=("history", document["name"]),
        invalid=_TOKEN,
    )
    shown = []
    for version in page:
        value = _value(sealer, drawer, document, version, params)
        shown.append({**described(caller, document, version), "Value": value, "Labels": version.get("labels", [])})
    return {"Parameters": shown, **({"NextToken": token} if token else {})}


def _shown(sealer: Sealing, drawer: Drawer, caller: Caller, selected: Selected, params: Params) -> Params:
    document, version, selector = selected
    shown = {
        "Name": document["name"],
        "Type": version["type"],
        "Value": _value(sealer, drawer, document, version, params),
        "Version": version["version"],
        "LastModifiedDate": version["modified_at_ms"] / 1000,
        "ARN": arn_of(caller.account, caller.region, document["name"]),
        "DataType": version["data_type"],
    }
    return {**shown, "Selector": selector} if selector else shown


def _value(sealer: Sealing, drawer: Drawer, document: Document, version: Document, params: Params) -> str:
    value = version["value"]
    if isinstance(value, bytes) and not params.get("WithDecryption"):
        return base64.b64encode(value).decode()
    return text_of(sealer, drawer, document, version)


def _filter(filters: list[Params], keys: tuple[str, ...]) -> Callable[[Document, Document], bool]:
    """Whether a parameter and its version pass all of `filters`. Faults for a key or option that is not known."""
    tests = []
    for one in filters:
        key, option, values = one["Key"], one.get("Option"), one.get("Values", [])
        if key not in keys and not key.startswith("tag:"):
            raise Fault("InvalidFilterKey", f"The filter key {key} is not valid here. Valid keys: {', '.join(keys)}, tag:NAME.")
        known = ("Recursive", "OneLevel") if key == "Path" else ("Equals", "BeginsWith", "Contains")
        if option is not None and option not in known:
            raise Fault("InvalidFilterOption", f"The filter option {option} is not valid for {key}. Valid options: {', '.join(known)}.")
        tests.append(_test(key, option or known[0 if key != "Path" else 1], values))
    return lambda document, version: all(test(document, version) for test in tests)


_FIELD = {"Type": "type", "KeyId": "key_id", "Tier": "tier", "DataType": "data_type"}


def _test(key: str, option: str, values: list[str]) -> Callable[[Document, Document], bool]:
    def test(document: Document, version: Document) -> bool:
        name = document["name"]
        if key == "Path":
            folders = [value.rstrip("/") + "/" for value in values]
            return any(name.startswith(f) and (option == "Recursive" or "/" not in name[len(f) :]) for f in folders)
        if key == "Label":
            return bool(set(values) & set(version.get("labels", ())))
        if key.startswith("tag:"):
            found = document.get("tags", {}).get(key[4:])
            return found is not None and (not values or found in values)
        text = name if key == "Name" else str(version.get(_FIELD[key], ""))
        if option == "BeginsWith":
            return any(text.lstrip("/").startswith(value.lstrip("/")) for value in values)
        return any(value in text for value in values) if option == "Contains" else text in values

    return test
