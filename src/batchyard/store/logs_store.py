"""Which log groups and streams there are, whoever made them: clients by calls, nodes by opening a segment, or AWS Batch by being there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from batchyard.store.folders import make_folder, sync_folder
from batchyard.store.logs import ABOUT_GROUP, DEFAULT_GROUP, SUFFIX, file_name, group_path, header, opened, plain_name, segment_path
from batchyard.store.logs_book import Book, LogGroup, Namespace
from batchyard.store.logs_segment import Segment
from batchyard.store.logs_stream import Stream

READERS = 4
BACKGROUND_WORKERS = 2
SEGMENTS_REMEMBERED = 20_000
LISTINGS_REMEMBERED = 256
GOING, GONE = ".going-", ".gone-"  # directories of groups that are being deleted, and that are no more
# A directory that changed twice within one tick of the file system's clock shows the same time: only older ones are believed.
_TICK_NS = 100_000_000


def wall_ms() -> int:
    """Milliseconds since 1970 by the wall clock."""
    return time.time_ns() // 1_000_000


class _Listing(NamedTuple):
    """The segments of a directory: file names by the names of their streams, which are in order."""

    changed_ns: int
    inode: int
    files: dict[str, str]


class LogStore:
    """All log groups, streams and events under `root` (the folder that nodes write their segments to).

    Its verbs block: call them through `pool`, which bounds how many run at once. They may run side by side.
    """

    def __init__(self, root: Path, clock_ms: Callable[[], int] = wall_ms) -> None:
        make_folder(root)
        self.root = root
        self.now_ms = clock_ms
        self.book = Book(root / "logs.sqlite", clock_ms())
        self.pool = ThreadPoolExecutor(READERS, thread_name_prefix="logs")
        # for what takes long and nobody waits for: queries and exports, which look at `closing` now and then
        self.background = ThreadPoolExecutor(BACKGROUND_WORKERS, thread_name_prefix="logs-background")
        self.closing = threading.Event()
        self.tags_changed: Callable[[], None] = lambda: None
        """To be called when groups may have other tags than before; who goes by them hangs itself in here. From any thread."""
        self._lock = threading.RLock()
        self._segments: OrderedDict[Path, Segment] = OrderedDict()
        self._listings: OrderedDict[Path, _Listing] = OrderedDict()
        self._end_deletions()

    def close(self) -> None:
        """Wait for what is under way and let go of the files."""
        self.closing.set()
        self.background.shutdown(cancel_futures=True)
        self.pool.shutdown()
        self.book.close()

    # --- groups ---

    def groups(self, namespace: Namespace) -> list[LogGroup]:
        """All groups, sorted by name."""
        noted = {group.name: group for group in self.book.groups(namespace)}
        names = {name for name, group in noted.items() if not group.is_deleted} | set(self._groups_on_disk(namespace))
        if DEFAULT_GROUP not in noted:
            names.add(DEFAULT_GROUP)
        found = (self._group(namespace, name, noted.get(name)) for name in sorted(names))
        return [group for group in found if group is not None]

    def group(self, namespace: Namespace, name: str) -> LogGroup | None:
        """The group of that name, or None."""
        return self._group(namespace, name, self.book.group(namespace, name))

    def _group(self, namespace: Namespace, name: str, noted: LogGroup | None) -> LogGroup | None:
        if noted is not None and not noted.is_deleted:
            return noted
        about = self._about_group(group_path(self.root, *namespace, name))
        if about is not None:
            return LogGroup(name, about[1])
        if name == DEFAULT_GROUP and noted is None:
            return LogGroup(name, self.book.created_at_ms)
        return None

    def create_group(self, namespace: Namespace, group: LogGroup) -> bool:
        """Make a group; False if there is one of that name."""
        with self._lock:
            if self.group(namespace, group.name) is not None:
                return False
            self.book.note_group(namespace, group)
        if group.tags:
            self.tags_changed()
        return True

    def change_group(self, namespace: Namespace, name: str, change: Callable[[LogGroup], LogGroup]) -> LogGroup | None:
        """Replace a group by what `change` makes of it; None if there is no such group. What `change` raises comes out."""
        with self._lock:
            group = self.group(namespace, name)
            if group is None:
                return None
            changed = change(group)
            self.book.note_group(namespace, changed)
        if changed.tags != group.tags:
            self.tags_changed()
        return changed

    def delete_group(self, namespace: Namespace, name: str) -> bool:
        """Remove a group with all its streams and events; False if there is none. The group of AWS Batch comes back with the next job."""
        with self._lock:
            group = self.group(namespace, name)
            if group is None:
                return False
            gone = self._take_away(namespace, group, group_path(self.root, *namespace, name))
        if group.tags:
            self.tags_changed()
        if gone is not None:
            shutil.rmtree(gone, ignore_errors=True)  # what is left over is swept by the retention chore
        return True

    def _take_away(self, namespace: Namespace, group: LogGroup, directory: Path) -> Path | None:
        """Let a group be no more, durably; what is left of its directory. The directory is set aside under a name that says so until
        the book has forgotten the group, so that a deletion which a crash cut off is brought to its end."""
        going = directory.with_name(f"{GOING}{os.urandom(4).hex()}-{directory.name}")
        try:
            directory.rename(going)
        except FileNotFoundError:
            self._forget_group(namespace, group)
            return None
        try:
            sync_folder(going.parent)
            self._forget_group(namespace, group)
        except BaseException:
            with contextlib.suppress(OSError):  # a node has made it again: then its old streams go with the next start
                going.rename(directory)
            raise
        return _set_aside(going)

    def _forget_group(self, namespace: Namespace, group: LogGroup) -> None:
        grave = LogGroup(group.name, group.created_at_ms, is_deleted=True) if group.name == DEFAULT_GROUP else None
        self.book.forget_group(namespace, group.name, grave)

    def _end_deletions(self) -> None:
        """Bring to their end those that a crash cut off."""
        for going in self.root.glob(f"*/*/{GOING}*"):
            account, region = plain_name(going.parent.parent.name), plain_name(going.parent.name)
            about = self._about_group(going)
            name = about[0] if about else plain_name(going.name[len(GOING) + 9 :])
            if account is not None and region is not None and name is not None:
                self._forget_group((account, region), LogGroup(name, about[1] if about else self.book.created_at_ms))
            _set_aside(going)

    def bytes_stored(self, namespace: Namespace, name: str) -> int:
        """How many bytes the group's streams take."""
        put = self.book.bytes_put(namespace, name)
        try:
            with os.scandir(group_path(self.root, *namespace, name)) as found:
                return put + sum(_size(entry) for entry in found if entry.name.endswith(SUFFIX))
        except FileNotFoundError:
            return put

    def _groups_on_disk(self, namespace: Namespace) -> list[str]:
        region = self.root / file_name(namespace[0]) / file_name(namespace[1])
        names = []
        try:
            with os.scandir(region) as found:
                for entry in found:
                    if entry.name.startswith("."):
                        continue
                    name = plain_name(entry.name)
                    if name is None:
                        about = self._about_group(region / entry.name)
                        name = about[0] if about else None
                    if name is not None:
                        names.append(name)
        except FileNotFoundError:
            return []
        return names

    def _about_group(self, directory: Path) -> tuple[str, int] | None:
        """(name, time of creation) of the group in a directory; None if there is no such directory."""
        try:
            about = json.loads((directory / ABOUT_GROUP).read_bytes())
            return str(about["group"]), int(about["created_at_ms"])
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            # Without the note (a power cut can lose it), the directory itself has to do.
            name = plain_name(directory.name)
            try:
                return (name, directory.stat().st_mtime_ns // 1_000_000) if name is not None else None
            except FileNotFoundError:
                return None

    # --- streams ---

    def stream_names(self, namespace: Namespace, group: str) -> list[str]:
        """The names of all streams of a group, sorted."""
        written = self._segment_files(group_path(self.root, *namespace, group))
        put = self.book.stream_names(namespace, group)
        return sorted({*written, *put}) if put else list(written)

    def streams(self, namespace: Namespace, group: str, prefix: str = "") -> list[Stream]:
        """All streams of a group whose names begin with `prefix`, sorted by name; of many, quicker than one by one."""
        directory = group_path(self.root, *namespace, group)
        files = self._segment_files(directory)
        put = {stream.name: stream for stream in self.book.streams(namespace, group)}
        found = []
        for name in sorted({*files, *put}) if put else files:
            if name.startswith(prefix):
                file = files.get(name)
                segment = self.segment(directory / file) if file is not None else None
                found.append(Stream(name, segment, put.get(name), self.book))
        return found

    def stream(self, namespace: Namespace, group: str, name: str) -> Stream | None:
        """A stream, or None."""
        path = segment_path(self.root, *namespace, group, name)
        segment = self.segment(path) if path.exists() else None
        put = self.book.stream(namespace, group, name)
        return Stream(name, segment, put, self.book) if segment is not None or put is not None else None

    def create_stream(self, namespace: Namespace, group: str, name: str) -> bool:
        """Make a stream for clients to put events into; False if there is one of that name."""
        with self._lock:
            if self.stream(namespace, group, name) is not None:
                return False
            self.book.note_stream(namespace, group, name, self.now_ms())
            return True

    def delete_stream(self, namespace: Namespace, group: str, name: str) -> bool:
        """Remove a stream with its events; False if there is none."""
        with self._lock:
            stream = self.stream(namespace, group, name)
            if stream is None:
                return False
            if stream.put is not None:
                self.book.forget_stream(namespace, group, name)
            if stream.segment is not None:
                stream.segment.path.unlink(missing_ok=True)
                sync_folder(stream.segment.path.parent)
                self._segments.pop(stream.segment.path, None)
            return True

    def put(self, namespace: Namespace, group: str, stream: str, events: Sequence[tuple[int, bytes]]) -> int | None:
        """Add (timestamp in ms, message) pairs to a stream; durable on return. Its sequence number, None if it is not there."""
        with self._lock:
            found = self.stream(namespace, group, stream)
            if found is None:
                return None
            put = found.put or self.book.note_stream(namespace, group, stream, found.created_at_ms() or self.now_ms())
        return self.book.put(put.id, events, self.now_ms())

    def segment(self, path: Path) -> Segment:
        """What is remembered of a segment."""
        with self._lock:
            known = self._segments.get(path)
            if known is None:
                known = self._segments[path] = Segment(path)
                if len(self._segments) > SEGMENTS_REMEMBERED:
                    self._segments.popitem(last=False)
            else:
                self._segments.move_to_end(path)
            return known

    def forget_segment(self, path: Path) -> None:
        """Drop what is remembered, because the file was changed otherwise than at its end."""
        with self._lock:
            self._segments.pop(path, None)

    def _segment_files(self, directory: Path) -> dict[str, str]:
        """The segments in a directory, in the order of their streams' names; it is read again only when it has changed."""
        try:
            state = directory.stat()
            known = self._listings.get(directory)
            if known is not None and (known.changed_ns, known.inode) == (state.st_mtime_ns, state.st_ino):
                return known.files
            looked_at_ns = time.time_ns()
            files, is_whole = _read_directory(directory)
        except FileNotFoundError:
            return {}
        if is_whole and looked_at_ns - state.st_mtime_ns > _TICK_NS:
            with self._lock:
                self._listings[directory] = _Listing(state.st_mtime_ns, state.st_ino, files)
                if len(self._listings) > LISTINGS_REMEMBERED:
                    self._listings.popitem(last=False)
        return files


def _set_aside(going: Path) -> Path:
    """The directory of a group that is no more, under the name of one that nobody needs to look into again."""
    gone = going.with_name(GONE + os.urandom(8).hex())
    going.rename(gone)
    sync_folder(gone.parent)
    return gone


def _read_directory(directory: Path) -> tuple[dict[str, str], bool]:
    """(the segments, whether none was left out because its header is not there yet)."""
    named: list[tuple[str, str]] = []
    is_whole = True
    with os.scandir(directory) as found:
        for entry in found:
            if not entry.name.endswith(SUFFIX):
                continue
            name = plain_name(entry.name[: -len(SUFFIX)]) or _name_inside(Path(entry.path))
            if name is None:
                is_whole = False
            else:
                named.append((name, entry.name))
    return dict(sorted(named)), is_whole


def _name_inside(path: Path) -> str | None:
    try:
        with opened(path) as descriptor:
            about = header(descriptor)
    except FileNotFoundError:
        return None
    return about.stream if about else None


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
