"""The picture of the demo: coverage along the genome, and above it what was planted and what was called."""

from __future__ import annotations

import pathlib
import typing

import matplotlib

matplotlib.use("Agg")

import matplotlib.lines
import matplotlib.pyplot
import matplotlib.ticker

from variant_calling import genome, sample

WINDOW = 100
"""Bases over which the depth is averaged in the picture."""
COLOURS = {"SNV": "#0072b2", "insertion": "#009e73", "deletion": "#d55e00"}
INK = "#22303c"
PALE = "#8fa3b3"
DEPTH_FILL = "#cfe0ec"
DEPTH_LINE = "#5b8db8"
DOUBTFUL = "#f0e9da"
KINDS = tuple(COLOURS)


def draw(
    path: pathlib.Path,
    *,
    depth: list[int],
    planted: set[sample.Variant],
    called: set[sample.Variant],
    doubtful: list[genome.Interval],
    title: str,
    subtitle: str,
) -> None:
    """Write the picture as PNG. `depth` is per base; the variants are left-aligned."""
    style: dict[typing.Any, typing.Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "figure.constrained_layout.h_pad": 0.1,
        "figure.constrained_layout.w_pad": 0.1,
        "axes.edgecolor": PALE,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with matplotlib.rc_context(style):
        figure, (tracks, coverage) = matplotlib.pyplot.subplots(
            2, 1, figsize=(12, 6), dpi=150, sharex=True, height_ratios=(1.0, 1.15), layout="constrained"
        )
        _draw_tracks(tracks, planted, called)
        _draw_coverage(coverage, depth, doubtful)
        figure.suptitle(title, x=0.012, ha="left", fontsize=15, fontweight="bold")
        tracks.set_title(subtitle, loc="left", fontsize=10, color="#4a5b68", pad=10)
        figure.savefig(path)
        matplotlib.pyplot.close(figure)


def _draw_tracks(axes: typing.Any, planted: set[sample.Variant], called: set[sample.Variant]) -> None:
    """One lane per kind: planted above the line, called below it; what is only on one side stands out in red."""
    for lane, kind in enumerate(reversed(KINDS)):
        of_kind = [v for v in planted | called if v.kind == kind]
        axes.axhline(lane, color="#d7dfe5", linewidth=0.8, zorder=1)
        for variants, low, high in ((planted, 0.03, 0.34), (called, -0.34, -0.03)):
            for variant in of_kind:
                if variant in variants:
                    both = variant in planted and variant in called
                    colour = COLOURS[kind] if both else "#cc0033"
                    axes.vlines(variant.position, lane + low, lane + high, color=colour, linewidth=1.4 if both else 2.4, zorder=3)
    counts = {kind: sum(v.kind == kind for v in planted) for kind in KINDS}
    axes.set_yticks(range(len(KINDS)), [f"{kind}s  ({counts[kind]})" for kind in reversed(KINDS)])
    axes.set_ylim(-0.55, len(KINDS) - 0.45)
    axes.tick_params(axis="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    key = [
        matplotlib.lines.Line2D([], [], color=INK, marker=2, markersize=8, linestyle="none", label="planted (above the line)"),
        matplotlib.lines.Line2D([], [], color=INK, marker=3, markersize=8, linestyle="none", label="called (below)"),
        matplotlib.lines.Line2D([], [], color="#cc0033", marker="|", markersize=9, linestyle="none", label="only one of the two"),
    ]
    axes.legend(handles=key, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=9, handletextpad=0.3)


def _draw_coverage(axes: typing.Any, depth: list[int], doubtful: list[genome.Interval]) -> None:
    """Mean depth in windows, and in the background where nothing is promised."""
    starts = list(range(0, len(depth), WINDOW))
    means = [sum(depth[start : start + WINDOW]) / len(depth[start : start + WINDOW]) for start in starts]
    middles = [start + WINDOW / 2 for start in starts]
    mean = sum(depth) / len(depth)
    for number, interval in enumerate(doubtful):
        label = "not promised: ends, low complexity" if number == 0 else None
        axes.axvspan(interval.start, interval.end, color=DOUBTFUL, linewidth=0, zorder=0, label=label)
    axes.fill_between(middles, means, color=DEPTH_FILL, linewidth=0, zorder=2)
    axes.plot(middles, means, color=DEPTH_LINE, linewidth=1.0, zorder=3)
    axes.axhline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=4, label=f"mean {mean:.1f}x")
    axes.set_ylim(0, max(means) * 1.18)
    axes.set_xlim(-300, len(depth) + 300)
    axes.set_ylabel(f"depth, mean of {WINDOW} bases")
    axes.set_xlabel("position in the genome of phage lambda, NC_001416.1 (kb)")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda position, _: f"{position / 1_000:g}"))
    axes.grid(axis="y", color="#e6ecf0", linewidth=0.8, zorder=1)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
