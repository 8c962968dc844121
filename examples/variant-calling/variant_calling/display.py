"""What a person sees: the steps while they run, the table of jobs, and where everything lies. Drawn with rich."""

from __future__ import annotations

import time
import typing

import rich.box
import rich.console
import rich.live
import rich.table
import rich.text

from variant_calling import reckoning, watch, workflow

STYLES = {
    "SUBMITTED": "bright_black",
    "PENDING": "bright_black",
    "RUNNABLE": "yellow",
    "STARTING": "cyan",
    "RUNNING": "bold blue",
    "SUCCEEDED": "green",
    "FAILED": "bold red",
}
BAR = 24


class Progress:
    """The steps, live on a terminal; elsewhere a line whenever a step has moved on."""

    def __init__(self, console: rich.console.Console, steps: list[workflow.Step]) -> None:
        self.console = console
        self.steps = steps
        self.began = time.monotonic()
        self.remarks: list[str] = []
        self.last: watch.Picture = {}
        self.live = rich.live.Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def show(self, picture: watch.Picture, remark: str | None) -> None:
        """Draw where the steps stand."""
        elapsed_s = time.monotonic() - self.began
        if remark:
            self.remarks.append(f"{elapsed_s:5.1f} s  {remark}")
        if self.console.is_terminal:
            self.live.update(self._drawn(picture, elapsed_s))
            return
        for step in self.steps:
            if picture[step.name] != self.last.get(step.name):
                counts = picture[step.name].counts
                said = ", ".join(f"{counts[status]} {status}" for status in watch.STATUSES if counts[status])
                self.console.print(f"{elapsed_s:6.1f} s  {step.name:<8} {said}", highlight=False)
        if remark:
            self.console.print(f"{elapsed_s:6.1f} s  {remark}", highlight=False)
        self.last = picture

    def _drawn(self, picture: watch.Picture, elapsed_s: float) -> rich.console.Group:
        table = rich.table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("step", f"{elapsed_s:.0f} s", "jobs", ""):
            table.add_column(heading, header_style="bright_black")
        for step in self.steps:
            table.add_row(step.name, self._bar(picture[step.name]), *self._counts(picture[step.name]))
        return rich.console.Group("", table, *(rich.text.Text(remark, style="magenta") for remark in self.remarks))

    def _bar(self, standing: watch.Standing) -> rich.text.Text:
        bar = rich.text.Text()
        total = standing.counts.total()
        drawn = 0
        reached = 0
        for status in reversed(watch.STATUSES):
            reached += standing.counts[status]
            length = round(BAR * reached / total) - drawn
            bar.append(("━" if status != "PENDING" else "─") * length, style=STYLES[status])
            drawn += length
        return bar

    def _counts(self, standing: watch.Standing) -> tuple[str, rich.text.Text]:
        parts = [
            rich.text.Text(f"{standing.counts[status]} {status.lower()}", style=STYLES[status])
            for status in reversed(watch.STATUSES)
            if standing.counts[status]
        ]
        return f"{standing.ended}/{standing.counts.total()}", rich.text.Text("  ").join(parts)


def table_of_jobs(records: list[reckoning.Record]) -> rich.table.Table:
    """Every job with its times, attempts and cost, and the sums."""
    table = rich.table.Table(
        caption="queued: from when a job could have started to when it did",
        caption_justify="left",
        header_style="bright_black",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        show_footer=True,
    )
    ran_s = sum(record.ran_s for record in records)
    cost_usd = sum(record.cost_usd for record in records)
    starts = sum(len(record.attempts) for record in records)
    columns: list[tuple[str, str, typing.Literal["left", "right"]]] = [
        ("job", f"{len(records)} jobs", "left"),
        ("status", "", "left"),
        ("queued", "", "right"),
        ("ran", f"{ran_s:.1f} s", "right"),
        ("attempts", str(starts), "right"),
        ("cost", f"{cost_usd * 100:.4f} ¢", "right"),
        ("remark", "", "left"),
    ]
    for heading, footer, justify in columns:
        table.add_column(heading, footer=footer, justify=justify)
    for record in records:
        lost = [attempt.reason for attempt in record.attempts[:-1]]
        table.add_row(
            record.label,
            rich.text.Text(record.status, style=STYLES[record.status]),
            f"{record.queued_s:.1f} s",
            f"{record.ran_s:.1f} s",
            str(len(record.attempts)),
            f"{record.cost_usd * 100:.4f} ¢",
            rich.text.Text("; ".join(lost) or (record.reason if record.status == "FAILED" else ""), style="magenta"),
        )
    return table


def table_of_places(places: list[tuple[str, str]]) -> rich.table.Table:
    """What lies where."""
    table = rich.table.Table(title="Where everything lies", title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(style="bright_black")
    table.add_column(overflow="fold")
    for what, where in places:
        table.add_row(what, where)
    return table
