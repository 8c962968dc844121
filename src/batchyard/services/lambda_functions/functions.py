"""Functions are created, shown, changed, tagged and deleted."""

from __future__ import annotations

from typing import Any

from batchyard.core.policies import Question, Verdict, decide
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam.records import ROLE, find
from batchyard.services.iam.standing import trust_of
from batchyard.services.lambda_functions.code import Code, code_of
from batchyard.services.lambda_functions.names import LATEST, arn_of, invalid, named, not_found
from batchyard.services.lambda_functions.records import CODE, KIND, check_revision, configuration, require, require_named, touched
from batchyard.services.lambda_functions.settings import check_tags, refuse_reserved_tags, settings_of
from batchyard.services.paging import page_of
from batchyard.services.shelved import changed, place_of
from batchyard.store.shelf import NO_REGION, Document, Drawer

SERVICE = "lambda"
PAGE = 50
_CANNOT_ASSUME = "The role defined for the function cannot be assumed by Lambda."


async def create_function(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, CreateFunction. The function can be invoked when this has answered."""
    name = named(caller, params["FunctionName"]).name
    settings, tags = settings_of(params), check_tags(caller, dict(params.get("Tags") or {}))
    code = await code_of(desk, params["Code"])
    document = {"name": name, "settings": settings, "tags": tags, "architectures": params.get("Architectures") or ["x86_64"]}

    def act(drawer: Drawer) -> Params:
        if drawer.get(KIND, name) is not None:
            raise Fault("ResourceConflictException", f"Function already exist: {name}", Type="User")
        _check_role(desk, drawer, settings["Role"])
        made = _put(drawer, document, code)
        return configuration(caller, made)

    return await changed(desk, place_of(SERVICE, caller), act)  # type: ignore[no-any-return]


def _put(drawer: Drawer, document: Document, code: Code | None = None) -> Document:
    """Write a function, changed now, with `code` unless that stays."""
    if code is not None:
        drawer.put(CODE, document["name"], {"archive": code.archive})
        document = {**document, "code_sha256": code.sha256, "code_bytes": len(code.archive)}
    document = touched(document, drawer.now_ms)
    drawer.put(KIND, document["name"], document)
    return document


def _check_role(desk: Any, drawer: Drawer, arn: str) -> None:
    """Where roles count (profile aws, IAM enforced) the function's must exist and trust Lambda."""
    if desk.settings.profile != "aws" and not desk.settings.enforce_iam:
        return
    iam = drawer.elsewhere(drawer.place._replace(service="iam", region=NO_REGION))
    role = find(iam, ROLE, arn.rpartition("/")[2])
    if role is None or role["arn"] != arn:
        raise invalid(_CANNOT_ASSUME)
    question = Question("sts:AssumeRole", principals=frozenset({("Service", "lambda.amazonaws.com")}))
    if decide(trust_of(role["trust"]), question) is not Verdict.ALLOWED:
        raise invalid(_CANNOT_ASSUME)


async def update_function_code(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, UpdateFunctionCode: the next invocation runs the new code."""
    for member in ("Publish", "PublishTo"):
        if params.get(member):
            raise invalid(f"{member}: versions of functions are not available in this version of Batchyard; leave it out.")
    wanted = named(caller, params["FunctionName"])
    desk.shelf.look(place_of(SERVICE, caller), lambda drawer: require_named(drawer, caller, wanted))
    code = await code_of(desk, params)

    def act(drawer: Drawer) -> Params:
        document = require_named(drawer, caller, wanted)
        check_revision(document, params.get("RevisionId"))
        if params.get("DryRun"):
            return {**configuration(caller, document), "CodeSha256": code.sha256, "CodeSize": len(code.archive)}
        if params.get("Architectures"):
            document["architectures"] = params["Architectures"]
        return configuration(caller, _put(drawer, document, code))

    return await changed(desk, place_of(SERVICE, caller), act)  # type: ignore[no-any-return]


async def update_function_configuration(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, UpdateFunctionConfiguration: what is not named stays."""

    def act(drawer: Drawer) -> Params:
        document = require(drawer, caller, params["FunctionName"])
        check_revision(document, params.get("RevisionId"))
        document["settings"] = settings_of(params, document["settings"])
        if params.get("Role"):
            _check_role(desk, drawer, params["Role"])
        return configuration(caller, _put(drawer, document))

    return await changed(desk, place_of(SERVICE, caller), act)  # type: ignore[no-any-return]


def get_function(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetFunction. There is no URL of the code: it is in nobody's bucket."""
    document = require(drawer, caller, params["FunctionName"], params.get("Qualifier"))
    shown: Params = {"Configuration": configuration(caller, document, with_qualifier=_is_qualified(caller, params))}
    shown["Code"] = {"RepositoryType": "S3"}
    if document.get("tags"):
        shown["Tags"] = document["tags"]
    return shown


def get_function_configuration(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetFunctionConfiguration."""
    document = require(drawer, caller, params["FunctionName"], params.get("Qualifier"))
    return configuration(caller, document, with_qualifier=_is_qualified(caller, params))


def _is_qualified(caller: Caller, params: Params) -> bool:
    return bool(named(caller, params["FunctionName"], params.get("Qualifier")).qualifier)


def get_function_code_signing_config(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetFunctionCodeSigningConfig: no function has one."""
    return {"CodeSigningConfigArn": "", "FunctionName": require(drawer, caller, params["FunctionName"])["name"]}


def list_functions(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListFunctions: 50 a page at most. FunctionVersion ALL lists their only version, $LATEST."""
    if params.get("MasterRegion") not in (None, "ALL", caller.region):
        return {"Functions": []}
    page, marker = page_of(
        drawer.all(KIND),
        lambda document: str(document["name"]),
        limit=min(params.get("MaxItems") or PAGE, PAGE),
        token=params.get("Marker"),
        purpose=("ListFunctions",),
        invalid=invalid("Invalid Marker"),
    )
    is_all = params.get("FunctionVersion") == "ALL"
    shown = [configuration(caller, document, with_qualifier=is_all) for document in page]
    return {"Functions": shown, **({"NextMarker": marker} if marker else {})}


def list_versions_by_function(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListVersionsByFunction: $LATEST is the only one."""
    if params.get("Marker"):
        raise invalid("Invalid Marker")
    document = require(drawer, caller, params["FunctionName"])
    return {"Versions": [configuration(caller, document, with_qualifier=True)]}


def delete_function(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteFunction: with its code, policy and tags; its log group stays."""
    wanted = named(caller, params["FunctionName"], params.get("Qualifier"))
    if wanted.qualifier == LATEST:
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    require_named(drawer, caller, wanted)
    drawer.delete(KIND, wanted.name)
    drawer.delete(CODE, wanted.name)
    return {"StatusCode": 204}


def tag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagResource."""
    document = _tagged(drawer, caller, params["Resource"])
    document["tags"] = check_tags(caller, params["Tags"], document.get("tags", {}))
    drawer.put(KIND, document["name"], document)
    return {}


def untag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource."""
    document = _tagged(drawer, caller, params["Resource"])
    refuse_reserved_tags(caller, params["TagKeys"])
    document["tags"] = {key: value for key, value in document.get("tags", {}).items() if key not in params["TagKeys"]}
    drawer.put(KIND, document["name"], document)
    return {}


def list_tags(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListTags."""
    return {"Tags": dict(_tagged(drawer, caller, params["Resource"]).get("tags", {}))}


def _tagged(drawer: Drawer, caller: Caller, arn: str) -> Document:
    prefix = arn_of(caller, "")
    document = drawer.get(KIND, arn.removeprefix(prefix)) if arn.startswith(prefix) else None
    if document is None:
        raise not_found(arn)
    return document
