"""stack: deploy, plan, follow, show and delete stacks of CloudFormation, on a service here and on AWS."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchyard.main.client import EXIT_CANNOT, EXIT_FAILED, Trouble
from batchyard.main.commands.draw import Branch, emit, heading, is_terminal, pairs, say, table, tree
from batchyard.main.commands.times import moment

if TYPE_CHECKING:
    from batchyard.main.stacks.account import Account

_LIVE = (
    "CREATE_IN_PROGRESS",
    "CREATE_FAILED",
    "CREATE_COMPLETE",
    "ROLLBACK_IN_PROGRESS",
    "ROLLBACK_FAILED",
    "ROLLBACK_COMPLETE",
    "DELETE_IN_PROGRESS",
    "DELETE_FAILED",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_COMPLETE",
    "UPDATE_FAILED",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE",
    "REVIEW_IN_PROGRESS",
)


def keyed(_: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments as a mapping."""
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{text!r} must be KEY=VALUE", param=option)
        found[key] = value
    return found


def _words(_: click.Context, __: click.Parameter, given: Sequence[str]) -> list[str]:
    """Capabilities, in whatever way they are separated."""
    from batchyard.main.stacks.asking import CAPABILITIES

    words = [word for text in given for word in text.replace(",", " ").split()]
    for word in words:
        if word not in CAPABILITIES:
            raise click.BadParameter(f"{word!r} is none of {', '.join(CAPABILITIES)}")
    return words


def on_account(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command on stacks: gives it `--target` and `--data`, and the `Account` as its first argument."""

    @click.option("--target", type=click.Choice(["local", "aws"]), default="local", help="A service here, or AWS itself  [local]")
    @click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service to talk to.")
    @functools.wraps(command)
    def run(*args: Any, target: str, data: Path | None, **kwargs: Any) -> Any:
        from batchyard.main.stacks.account import account_of

        return command(account_of(target, data), *args, **kwargs)

    return run


def _about_template(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a deployment and its plan have in common."""
    for option in reversed(
        [
            click.argument("template"),
            click.option("--stack-name", required=True, help="The stack to make or to change."),
            click.option("--parameter", "parameters", multiple=True, metavar="K=V", callback=keyed, help="A parameter; may be given again"),
            click.option("--tag", "tags", multiple=True, metavar="K=V", callback=keyed, help="A tag of the stack and of what is in it"),
            click.option("--bucket", default="", help="Where nested and large templates go  [batchyard-templates-ACCOUNT-REGION]"),
            click.option("--role-arn", default="", help="The role that CloudFormation works under  [the caller's rights]"),
        ]
    ):
        command = option(command)
    return command


@click.group()
def stack() -> None:
    """Stacks of CloudFormation: deploy, plan, follow, show, draw, delete.

    The same commands work on a service here and, with --target aws, on AWS with the credentials of the usual AWS configuration.
    """


@stack.command()
@_about_template
@click.option("--capabilities", multiple=True, callback=_words, metavar="NAME", help="What the template may do: CAPABILITY_IAM, ...")
@click.option("--yes", is_flag=True, help="Do not ask (on AWS the plan is shown, and a question follows).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@on_account
def deploy(
    account: Account,
    *,
    template: str,
    stack_name: str,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    bucket: str,
    role_arn: str,
    capabilities: Sequence[str],
    yes: bool,
    as_json: bool,
) -> None:
    """Make a stack of TEMPLATE, or change the one that is there.

    TEMPLATE is a file, or `genomics`: the environment that `batchyard up` makes, as it comes with Batchyard.

    Nested templates at relative paths go into a bucket first. Parameters that are not given keep their values. The exit code says
    whether it ended well; when there is nothing to change, it did.
    """
    from batchyard.main.stacks import asking
    from batchyard.main.stacks.deploying import carry_out, failed, tell
    from batchyard.main.stacks.packaging import Packer, named

    packaged = Packer(account, bucket).package(named(template))
    proposed = asking.propose(account, asking.Wanted(stack_name, packaged, parameters, tags, capabilities, role_arn))
    if account.is_aws and proposed.has_changes and not _is_agreed(account, proposed, is_sure=yes, as_json=as_json):
        return
    outcome = carry_out(account, proposed, is_quiet=as_json)
    if not as_json:
        tell(stack_name, outcome)
        return
    emit({"changed": outcome.has_changed, **plain(outcome.stack)})
    if not outcome.is_good and outcome.has_changed:
        raise failed(stack_name, outcome)


def _is_agreed(account: Account, proposed: Any, *, is_sure: bool, as_json: bool) -> bool:
    """Whether somebody has said yes to what would be done on AWS, having seen it."""
    from batchyard.main.stacks import asking, plan

    if not as_json:
        say(f"{account.name}, account {account.id}:")
        for line in plan.told(plan.read(account, proposed)):
            say(line)
    if is_sure:
        return True
    try:
        _must_ask("deploy")
        agreed = click.confirm("Do this?", default=False, err=True)
    except BaseException:
        asking.discard(account, proposed)
        raise
    if not agreed:
        asking.discard(account, proposed)
        say("Nothing was done.")
    return agreed


def _must_ask(what: str) -> None:
    if not (sys.stdin.isatty() and is_terminal(err=True)):
        raise Trouble(f"To {what} takes a yes, and there is no terminal to ask at.", "Say it beforehand: --yes", exit_code=EXIT_CANNOT)


@stack.command(name="plan")
@_about_template
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@on_account
def plan_stack(
    account: Account,
    *,
    template: str,
    stack_name: str,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    bucket: str,
    role_arn: str,
    as_json: bool,
) -> None:
    """Show what a deployment would do, and do nothing.

    What is added, changed, replaced and removed, property by property; what that does to permissions; what it costs on AWS, from
    what runs when there is nothing to do to all that may run; and which registered job definitions could never run in the compute
    environments then.
    """
    from batchyard.main.stacks import asking, plan
    from batchyard.main.stacks.packaging import Packer, named

    packaged = Packer(account, bucket).package(named(template))
    proposed = asking.propose(account, asking.Wanted(stack_name, packaged, parameters, tags, asking.CAPABILITIES, role_arn))
    try:
        found = plan.read(account, proposed)
    finally:
        asking.discard(account, proposed)
    if as_json:
        emit(plain(plan.as_document(found)))
        return
    for line in plan.told(found):
        click.echo(line)


@stack.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the operation under way has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line.")
@on_account
def events(account: Account, *, name: str, follow: bool, as_json: bool) -> None:
    """List the events of a stack and of its nested stacks.

    With --follow the exit code says whether the operation ended well.
    """
    from batchyard.main.stacks import asking, drawing, watching
    from batchyard.main.stacks.deploying import GOOD

    arn = str(asking.required(account, name)["StackId"])
    feed, lines = watching.Feed(account, arn), watching.Tree(name, arn)

    def show(found: Any) -> None:
        for event in found:
            place = lines.take(event)
            if as_json:
                emit(plain(event), on_a_line=True)
            else:
                click.echo(f"{moment(int(event['Timestamp'].timestamp() * 1000))}  {drawing.line(event, place)}")

    status = str(asking.required(account, arn)["StackStatus"])
    show(feed.new())
    if follow and not watching.is_over(status) and not watching.is_over(lines.root.status):
        status, _ = watching.until_rest(feed, show)
        if status not in GOOD:
            raise Trouble(f"{name} is in {status}.", exit_code=EXIT_FAILED)


@stack.command()
@click.argument("name")
@click.option("--retain", multiple=True, metavar="ID", help="After a failed deletion: leave this resource where it is; may be given again")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@on_account
def delete(account: Account, *, name: str, retain: Sequence[str], yes: bool, as_json: bool) -> None:
    """Delete a stack and what it made.

    What its template retains stays, and is named. Asks first, unless --yes.
    """
    from batchyard.main.stacks import asking
    from batchyard.main.stacks.deploying import failed, take_down, tell

    found = asking.standing(account, name)
    if found is None or found["StackStatus"] == "DELETE_COMPLETE":
        raise Trouble(f"{account.name} has no stack {name}.", "`batchyard stack list` lists them.")
    if not yes:
        _must_ask("delete a stack")
        count = sum(
            1 for _ in account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=found["StackId"])
        )
        if not click.confirm(f"Delete the stack {name} with its {count} resources on {account.name}?", default=False, err=True):
            say("Nothing was done.")
            return
    outcome = take_down(account, found, retain=retain, is_quiet=as_json)
    if as_json:
        kept = [{key: each.get(key) for key in ("LogicalResourceId", "ResourceType", "PhysicalResourceId")} for each in outcome.kept]
        emit({"StackName": name, "StackId": found["StackId"], "StackStatus": outcome.status, "kept": kept})
        if not outcome.is_good:
            raise failed(name, outcome)
        return
    tell(name, outcome)
    for each in outcome.kept:
        say(f"stays, as its template says: {each['ResourceType']} {each.get('PhysicalResourceId', '')} ({each['LogicalResourceId']})")


@stack.command(name="list")
@click.option("--all", "with_deleted", is_flag=True, help="Those that were deleted lately too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@on_account
def list_stacks(account: Account, *, with_deleted: bool, as_json: bool) -> None:
    """List the stacks, nested ones below those that hold them."""
    wanted = {} if with_deleted else {"StackStatusFilter": _LIVE}
    found = list(account.pages("cloudformation", "list_stacks", "StackSummaries", **wanted))
    if as_json:
        emit({"StackSummaries": plain(found)})
        return
    if not found:
        say("No stacks. Make one: batchyard up, or batchyard stack deploy TEMPLATE --stack-name NAME")
        return
    found.sort(key=lambda each: each["CreationTime"])
    rows = [row for each in found if not each.get("ParentId") for row in _rows(each, found, "")]
    table(["STACK", "STATUS", "CHANGED", "DESCRIPTION", "REASON"], rows)


def _rows(each: Mapping[str, Any], found: Sequence[Mapping[str, Any]], indent: str) -> list[list[str]]:
    changed = each.get("DeletionTime") or each.get("LastUpdatedTime") or each["CreationTime"]
    row = [
        indent + str(each["StackName"]),
        str(each["StackStatus"]),
        moment(int(changed.timestamp() * 1000)),
        str(each.get("TemplateDescription") or ""),
        str(each.get("StackStatusReason") or ""),
    ]
    return [row, *(line for below in found if below.get("ParentId") == each["StackId"] for line in _rows(below, found, indent + "  "))]


@stack.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@on_account
def show(account: Account, *, name: str, as_json: bool) -> None:
    """Show a stack: status, parameters, outputs, resources, those of its nested stacks among them."""
    from batchyard.main.stacks import asking

    found = asking.required(account, name)
    resources = asking.resources(account, found["StackId"])
    if as_json:
        emit({**plain(found), "Resources": plain(resources)})
        return
    told = [("stack", found["StackName"]), ("status", found["StackStatus"]), ("reason", found.get("StackStatusReason", ""))]
    made, changed = found["CreationTime"], found.get("LastUpdatedTime")
    told += [("made", moment(int(made.timestamp() * 1000))), ("changed", moment(int(changed.timestamp() * 1000)) if changed else "")]
    pairs([*told, ("arn", found["StackId"]), ("about", found.get("Description", ""))])
    for title, entries in (
        ("Parameters", [(p["ParameterKey"], p.get("ResolvedValue") or p.get("ParameterValue", "")) for p in found.get("Parameters") or []]),
        ("Outputs", [(o["OutputKey"], o["OutputValue"]) for o in found.get("Outputs") or []]),
        ("Tags", [(t["Key"], t["Value"]) for t in found.get("Tags") or []]),
    ):
        if entries:
            heading(title)
            pairs(entries)
    heading("Resources")
    tree((name, [_branch(each) for each in resources]))


@stack.command()
@click.argument("what", metavar="NAME|TEMPLATE")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The picture to write: .svg or .png")
@click.option("--parameter", "parameters", multiple=True, metavar="K=V", callback=keyed, help="Of a template; may be given again")
@click.option("--stack-name", default="", help="How the stack of a template would be called  [the name of its file]")
@click.option("--json", "as_json", is_flag=True, help="Print what is drawn as one JSON document.")
@click.option("--target", type=click.Choice(["local", "aws"]), default="local", help="A service here, or AWS itself  [local]")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service to talk to.")
def graph(
    *, what: str, output: Path, parameters: Mapping[str, str], stack_name: str, as_json: bool, target: str, data: Path | None
) -> None:
    """Draw the environment of a stack, or of a template before there is one.

    Queues with the order of their compute environments, what instances are, roles, buckets and logs, and who writes where. A PNG
    needs matplotlib (the extra "demo"); an SVG needs nothing.
    """
    from batchyard.main.graph import reading, writing

    writing.check(output)
    if Path(what).is_file():
        name = stack_name or (Path(what).parent.name if Path(what).stem == "root" else Path(what).stem.removesuffix(".template"))
        found = reading.of_file(Path(what), name, parameters)
    else:
        from batchyard.main.stacks.account import account_of

        if parameters or stack_name:
            raise click.UsageError(f"There is no file {what}, and a stack has its parameters and its name already.")
        found, name = reading.of_stack(account_of(target, data), what), what
    writing.write(found, name, output)
    if as_json:
        emit(writing.told(found, output))
    else:
        say(f"{output}: {len(found.nodes)} things and {len(found.edges)} arrows between them")


def _branch(each: Mapping[str, Any]) -> Branch:
    text = f"{each['LogicalResourceId']}  {each['ResourceType']}  {each['ResourceStatus']}  {each.get('PhysicalResourceId') or ''}"
    return text.rstrip(), [_branch(below) for below in each.get("Resources", [])]


def plain(document: Any) -> Any:
    """A document as JSON has it: times as ISO 8601 says them, without what belongs to the transport."""
    if isinstance(document, Mapping):
        return {key: plain(value) for key, value in document.items() if key != "ResponseMetadata"}
    if isinstance(document, list | tuple):
        return [plain(value) for value in document]
    return document.isoformat() if isinstance(document, datetime) else document
