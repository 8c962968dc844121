"""Server access logs: who asked what of a bucket that has logging, delivered as objects of the bucket that it names.

A request adds itself to a queue and goes on. A thread makes lines of what has come together and appends them to a spool without a
sync; every so often, and at an orderly end, the spool becomes objects. So `kill -9` loses the last moment (`GATHER_S`) and nothing
else, and no line is delivered twice. As on AWS it is done as well as it goes: what cannot be delivered is dropped, counted and said.

A delivery is no request, and no log tells of it: on AWS a bucket that logs into itself writes logs about logs for ever.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3.access_lines import Deed, Exchange, line_of, line_of_chore, line_of_deed
from batchyard.services.s3.deliveries import ACCESS_LOGS, Sender, put_for
from batchyard.services.s3.route import match
from batchyard.store import objects_lifecycle
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_lifecycle import Done
from batchyard.store.objects_records import Traits
from batchyard.store.spool import Sealed, Spool
from batchyard.wire.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)

GATHER_S = 0.05
MOST_QUEUED = 100_000  # that wait for the thread; a request more is not logged
AGAIN_S = 30.0
_BY_EVENT = "EventTime"
_CHORES = {"expire": "S3.EXPIRE.OBJECT", "mark": "S3.CREATE.DELETEMARKER", "abort": "S3.DELETE.UPLOAD"}
# how a transition names the class; those without a name of their own go to Glacier's flexible retrieval
_CLASSES = {"STANDARD_IA": "_SIA", "ONEZONE_IA": "_ZIA", "INTELLIGENT_TIERING": "_INT", "GLACIER_IR": "_GIR", "DEEP_ARCHIVE": "_GDA"}
_CODE = re.compile(rb"<Code>([^<]*)</Code>")


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bucket that has logging, and where its logs go. `partition` is "" for plain keys, else whose date parts them."""

    bucket: str
    account: str
    region: str
    target: str
    prefix: str
    partition: str = ""
    grants: tuple[tuple[str, str], ...] = ()
    day: str = ""  # of the events, where their date parts the keys


class AccessLogs:
    """One per server, over `store`; `folder` is for what is not delivered yet."""

    def __init__(self, store: ObjectStore, folder: Path, every_s: float) -> None:
        self.sources: Mapping[str, Source] = {}
        self.every_s = every_s
        self.delivered = 0
        self.lost: Counter[str] = Counter()  # records, by why
        self._store = store
        self._spool = Spool(folder, store.now_ms)
        self._queue: deque[Exchange | tuple[Deed, float]] = deque()
        self._news, self._ending = threading.Event(), threading.Event()
        self._writing, self._delivering = threading.Lock(), threading.Lock()
        self._told: dict[str, str] = {}
        store.logging_changed = self.refresh
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="access-logs", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Look up which buckets have logging. To be called whenever that may have changed."""
        self.sources = {source.bucket: source for source in self._store.ask(_sources)}

    def note(
        self, request: HttpRequest, caller: Caller | None, response: HttpResponse, sent: int, began_s: float, decided_s: float
    ) -> None:
        """A request was answered, and `sent` bytes of a body went out. `began_s`: its head was here; `decided_s`: the answer was known
        (both of `time.perf_counter`). `caller` is None when nobody found out who asked."""
        ended_s = time.perf_counter()
        notes, headers = request.notes, response.headers
        if not notes.operation:
            _look_at_path(request)
        if notes.bucket not in self.sources and not (notes.deeds and notes.deeds[0].bucket in self.sources):
            return
        self._add(
            Exchange(
                request,
                notes,
                caller.account if caller else "",
                caller.arn if caller else "",
                headers.get("x-amz-request-id", "-"),
                headers.get("x-amz-id-2", "-"),
                time.time() - (ended_s - began_s),
                response.status,
                _code_in(response) if response.status >= 400 else "",
                headers.get("x-amz-version-id", ""),
                sent,
                round((ended_s - began_s) * 1000),
                round((decided_s - max(began_s, notes.body_ended_s)) * 1000),
            )
        )

    def note_chore(self, done: Iterable[Done]) -> None:
        """Lifecycle rules were carried out."""
        for step, bucket, key, version, size, storage_class in done:
            if bucket in self.sources:
                operation = _CHORES.get(step) or f"S3.TRANSITION{_CLASSES.get(storage_class, '')}.OBJECT"
                self._add((Deed(operation, bucket, key, 0, version, size=size), time.time()))

    def deliver(self, now_ms: int = 0) -> float:
        """Make objects of what was logged so far; the seconds until that should be done again. Blocks."""
        with self._delivering:
            self._write()
            self._spool.seal()
            try:
                for sealed in self._spool.sealed():
                    self._deliver(sealed)
            except (OSError, apsw.Error):
                log.exception("access logs cannot be delivered now; it is tried again")
                return min(AGAIN_S, self.every_s)
            return self.every_s

    def close(self) -> None:
        """Deliver what was logged, and let go."""
        self._ending.set()
        self._news.set()
        self._thread.join()
        self.deliver()

    def _add(self, item: Exchange | tuple[Deed, float]) -> None:
        if len(self._queue) >= MOST_QUEUED:
            self.lost["too many waited"] += 1
            return
        self._queue.append(item)
        if not self._news.is_set():
            self._news.set()

    def _follow(self) -> None:
        while not self._ending.is_set():
            self._news.wait()
            self._ending.wait(GATHER_S)
            self._news.clear()
            self._write()

    def _write(self) -> None:
        """Append what waits to the spool."""
        with self._writing:
            lines: dict[Source, list[bytes]] = {}
            while self._queue:
                item = self._queue.popleft()
                try:
                    self._lines(item, lines)
                except Exception:  # one that cannot be told must not take the others with it
                    log.exception("a request cannot be logged")
                    self.lost["not written"] += 1
            for source, found in lines.items():
                try:
                    self._spool.append(msgspec.json.encode(source), found)
                except OSError as failure:
                    self.lost["not written"] += len(found)
                    self._say(source.bucket, f"cannot be written: {failure}")

    def _lines(self, item: Exchange | tuple[Deed, float], lines: dict[Source, list[bytes]]) -> None:
        if isinstance(item, tuple):
            deed, at_s = item
            source = self.sources.get(deed.bucket)
            if source is not None:
                request_id = str(uuid.uuid4())
                line = line_of_chore(deed, source.account, source.region, at_s, request_id, f"batchyard/{request_id}")
                lines.setdefault(_of_day(source, at_s), []).append(line)
            return
        notes = item.notes
        source = self.sources.get(notes.bucket)
        if source is not None:
            lines.setdefault(_of_day(source, item.at_s), []).append(line_of(item, source.account, source.region))
        for deed in notes.deeds:
            other = self.sources.get(deed.bucket)
            if other is not None:
                lines.setdefault(_of_day(other, item.at_s), []).append(line_of_deed(deed, item, other.account, other.region))

    def _deliver(self, sealed: Sealed) -> None:
        """Put one object. Raises what the disk raises; what the target refuses is dropped."""
        label, lines = sealed.read()
        count = lines.count(b"\n")
        try:
            source = msgspec.json.decode(label, type=Source)
        except msgspec.MsgspecError:  # a power cut took the beginning of the file
            self.lost["damaged"] += count
            count = 0
        if count:
            sender = Sender(ACCESS_LOGS, source.account, f"arn:aws:s3:::{source.bucket}")
            traits = Traits(headers={"content-type": "text/plain"}, grants=list(source.grants))
            try:
                put_for(self._store, sender, source.target, _key(source, sealed), [lines], traits)
            except Fault as fault:
                self._say(source.bucket, f"are dropped: {source.target} does not take them ({fault.code}: {fault.message})")
                self.lost[fault.code] += count  # after that: who sees the figure looks into the log
            else:
                self.delivered += count
                self._told.pop(source.bucket, None)
        sealed.path.unlink()

    def _say(self, bucket: str, what: str) -> None:
        """Once for as long as it stays so."""
        if self._told.get(bucket) != what:
            self._told[bucket] = what
            log.warning("the access logs of %s %s", bucket, what)


def carry_out_lifecycles(store: ObjectStore, access_logs: AccessLogs, now_ms: int) -> float:
    """The chore of lifecycle rules, with what it does in the logs of the buckets; the seconds until it should run again."""
    return objects_lifecycle.run_once(store, now_ms, access_logs.note_chore)


def _sources(index: apsw.Connection) -> list[Source]:
    query = "SELECT name, account, region, document FROM bucket JOIN bucket_setting ON bucket = id WHERE kind = 'logging'"
    return [_source(str(name), str(account), str(region), str(document)) for name, account, region, document in index.execute(query)]


def _source(name: str, account: str, region: str, document: str) -> Source:
    wanted = msgspec.json.decode(document)
    partitioned = wanted.get("TargetObjectKeyFormat", {}).get("PartitionedPrefix")
    partition = "" if partitioned is None else partitioned.get("PartitionDateSource", _BY_EVENT)
    grants = tuple((grantee, permission) for grantee, permission in wanted.get("grants", ()))
    return Source(name, account, region, wanted["TargetBucket"], wanted.get("TargetPrefix", ""), partition, grants)


def _of_day(source: Source, at_s: float) -> Source:
    """The source; of the day of an event, where its log objects are of one day each."""
    if source.partition != _BY_EVENT:
        return source
    return msgspec.structs.replace(source, day=time.strftime("%Y-%m-%d", time.gmtime(at_s)))


def _key(source: Source, sealed: Sealed) -> str:
    """The key of the log object. (S3 User Guide, "How are logs delivered?"; API reference, PartitionedPrefix)"""
    at = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(sealed.at_ms // 1000))
    if not source.partition:
        return f"{source.prefix}{at}-{sealed.name}"
    if source.day:
        at = f"{source.day}-00-00-00"
    year, month, day = at.split("-")[:3]
    return f"{source.prefix}{source.account}/{source.region}/{source.bucket}/{year}/{month}/{day}/{at}-{sealed.name}"


def _code_in(response: HttpResponse) -> str:
    found = _CODE.search(response.body) if isinstance(response.body, bytes) else None
    return found[1].decode() if found else ""


def _look_at_path(request: HttpRequest) -> None:
    """What a request was about that was refused before anybody asked (its signature was wrong)."""
    try:
        target = match(request)
    except Fault:
        return
    request.notes.operation, request.notes.bucket, request.notes.key = target.operation, target.bucket, target.key
