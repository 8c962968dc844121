"""The chore that carries out the lifecycle rules of buckets: objects and old versions expire, uploads that nobody ends are aborted.

It goes through a bucket a page of versions at a time; what a page calls for is one change of the index, so that a crash leaves
each step done or not done. A step looks again at what it is about to change: what was written meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import apsw
import msgspec

from . import objects_keys as keys
from . import objects_uploads as uploads
from . import objects_versions as versions
from .objects import ObjectStore
from .objects_listing import list_versions
from .objects_records import Bucket, ObjectRecord, Upload
from .objects_rules import Rule, due_ms, rules_of

EVERY_S = 3600.0
PAGE = 1000
Steps = list[tuple[str, ObjectRecord, str]]
"""(expire | remove | class, the version, the storage class)."""


class Done(NamedTuple):
    """What was done to a key: `step` is expire, mark (a delete marker was made), class or abort; `version` is the one that went or came."""

    step: str
    bucket: str
    key: str
    version: str
    size: int
    storage_class: str = ""


Tell = Callable[[Sequence[Done]], None]


def run_once(store: ObjectStore, now_ms: int, tell: Tell = lambda done: None) -> float:
    """Do what is due at `now_ms`; the seconds until it should run again. `tell` hears of each page that is done for good."""
    for bucket, rules in store.ask(_ruled):
        tell(_abort_uploads(store, bucket, rules, now_ms))
        for steps in _pages(store, bucket, rules, now_ms):
            tell(store.change(partial(_carry_out, bucket=bucket, steps=steps, now_ms=now_ms)).result())
    return EVERY_S


def _ruled(index: apsw.Connection) -> list[tuple[Bucket, list[Rule]]]:
    """The buckets that have rules in force."""
    query = "SELECT name, document FROM bucket JOIN bucket_setting ON bucket = id WHERE kind = 'lifecycle'"
    found = []
    for name, document in index.execute(query).fetchall():
        bucket, rules = keys.find_bucket(index, str(name)), rules_of(msgspec.json.decode(str(document)))
        if bucket is not None and rules:
            found.append((bucket, rules))
    return found


def _abort_uploads(store: ObjectStore, bucket: Bucket, rules: list[Rule], now_ms: int) -> list[Done]:
    done: list[Done] = []
    due = [rule for rule in rules if rule.abort_days is not None]
    key, upload_id = "", ""
    while due:
        page = store.ask(lambda index: uploads.list_uploads(index, bucket, "", "", key, upload_id, PAGE))  # noqa: B023 (asked at once)
        for upload in page.uploads:
            is_due = any(
                upload.key.startswith(rule.prefix) and due_ms(upload.initiated_at_ms, rule.abort_days or 0) <= now_ms for rule in due
            )
            if is_due and store.change(partial(_abort, upload=upload)).result():
                done.append(Done("abort", bucket.name, upload.key, "", 0))
        if not page.truncated:
            break
        key, upload_id = page.last_key, page.last_id
    return done


def _abort(index: apsw.Connection, upload: Upload) -> bool:
    """Abort an upload, unless it was completed since it was looked at: then its parts are an object's. Whether it was aborted."""
    if uploads.find_upload(index, upload.bucket, upload.key, upload.id) is None:
        return False
    uploads.abort_upload(index, upload)
    return True


def _pages(store: ObjectStore, bucket: Bucket, rules: list[Rule], now_ms: int) -> Iterator[Steps]:
    """What is due, a page of versions at a time. A key whose versions go over the end of a page is looked at as a whole."""
    history: list[ObjectRecord] = []
    key, behind = "", None
    while True:
        page = store.ask(lambda index: list_versions(index, bucket, "", "", key, behind, PAGE))  # noqa: B023 (asked at once)
        steps: Steps = []
        for record in page.versions:
            if history and history[0].key != record.key:
                steps += _due(history, rules, now_ms)
                history = []
            history.append(record)
        if not page.truncated:
            steps += _due(history, rules, now_ms) if history else []
        if steps:
            yield steps
        if not page.truncated:
            return
        last = page.versions[-1]
        key, behind = last.key, last.place


def _due(history: list[ObjectRecord], rules: list[Rule], now_ms: int) -> Steps:
    """What is due of one key, whose versions are given from the newest on."""
    latest, older = history[0], history[1:]
    steps: Steps = []
    for newer, record in enumerate(older):
        about = [rule for rule in rules if rule.is_about(record)]
        if any(rule.expires_noncurrent(record, newer, now_ms) for rule in about):
            steps.append(("remove", record, ""))
        elif not record.is_marker:
            names = [name for rule in about if (name := rule.noncurrent_storage_class(record, newer, now_ms))]
            steps += [("class", record, names[0])] if names and names[0] != record.traits.storage_class else []
    about = [rule for rule in rules if rule.is_about(latest)]
    if latest.is_marker:
        lone = not older and any(
            rule.removes_lone_markers and (rule.days is None or rule.expires(latest, now_ms)) for rule in about if not rule.tags
        )
        steps += [("remove", latest, "")] if lone else []
    elif any(rule.expires(latest, now_ms) for rule in about):
        steps.append(("expire", latest, ""))
    else:
        names = [name for rule in about if (name := rule.storage_class(latest, now_ms))]
        steps += [("class", latest, names[0])] if names and names[0] != latest.traits.storage_class else []
    return steps


def _carry_out(index: apsw.Connection, bucket: Bucket, steps: Steps, now_ms: int) -> list[Done]:
    """The change of one page. Whatever is no longer as it was when it was looked at is left alone."""
    now, done = keys.find_bucket(index, bucket.name), list[Done]()
    if now is None or now.id != bucket.id:
        return done
    for step, record, storage_class in steps:
        found = versions.find_version(index, now, record.key, record.version)
        if found is None or (found.manifest, found.place, found.is_latest) != (record.manifest, record.place, record.is_latest):
            continue
        if step == "expire":
            marker = versions.delete_latest(index, now, record.key, now_ms)
            done.append(Done("expire" if marker is None else "mark", now.name, record.key, marker or "", record.size))
        elif step == "remove":
            versions.delete_version(index, now, record.key, record.version)
            done.append(Done("expire", now.name, record.key, record.version, record.size))
        else:
            versions.put_traits(index, found, msgspec.structs.replace(found.traits, storage_class=storage_class))
            done.append(Done("class", now.name, record.key, record.version, record.size, storage_class))
    return done
