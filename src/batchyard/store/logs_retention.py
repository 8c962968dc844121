"""The chore that removes log events whose retention has ended, and what deletions left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil

from batchyard.store.logs import DRAFT, segment_path
from batchyard.store.logs_book import LogGroup, Namespace
from batchyard.store.logs_segment import Segment
from batchyard.store.logs_store import GONE, LogStore

EVERY_S = 600.0
DRAFT_MS = 3_600_000


def run_once(logs: LogStore, now_ms: int) -> float:
    """Remove what has expired at `now_ms`; the seconds until it should run again.

    Streams stay, as on AWS. A node's segment is emptied once its last event has expired and no writer holds it; until then,
    readers do not see the events that have.
    """
    for namespace, group in logs.book.retaining():
        cutoff_ms = group.cutoff_ms(now_ms)
        while logs.book.expire(namespace, group.name, cutoff_ms):
            pass
        _empty_segments(logs, namespace, group, cutoff_ms)
    for gone in logs.root.glob(f"*/*/{GONE}*"):
        shutil.rmtree(gone, ignore_errors=True)
    for draft in logs.root.glob(f"*/*/{DRAFT}*"):
        with contextlib.suppress(FileNotFoundError):
            if draft.stat().st_mtime * 1000 < now_ms - DRAFT_MS:  # whoever made it is no more
                shutil.rmtree(draft, ignore_errors=True)
    return EVERY_S


def _empty_segments(logs: LogStore, namespace: Namespace, group: LogGroup, cutoff_ms: int) -> None:
    for name in logs.stream_names(namespace, group.name):
        segment = Segment(segment_path(logs.root, *namespace, group.name, name))
        try:
            span = segment.span_ms()
            if span is not None and span[1] < cutoff_ms and _empty(segment, cutoff_ms):
                logs.forget_segment(segment.path)
        except FileNotFoundError:
            continue  # a stream without a segment, or deleted just now


def _empty(segment: Segment, cutoff_ms: int) -> bool:
    descriptor = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        span, about = segment.span_ms(), segment.about()
        if span is None or about is None or span[1] >= cutoff_ms:
            return False
        os.ftruncate(descriptor, about.end)
        return True
    except BlockingIOError:
        return False  # its writer is there: the next run looks again
    finally:
        os.close(descriptor)
