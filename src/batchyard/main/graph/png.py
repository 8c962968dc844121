"""A picture as PNG, drawn by matplotlib, which comes with the extra "demo"."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from batchyard.main.client import EXIT_CANNOT, Trouble
from batchyard.main.graph.picture import ARROW, Arrow, Picture, Rectangle, curve

PIXELS_PER_UNIT = 2.0
POINTS_PER_INCH = 72.0


def png(picture: Picture, file: Path) -> None:
    """Write the picture to `file`. Raises `Trouble` where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        fix = 'Install it: pip install "batchyard[demo]"; or draw an .svg, which needs nothing'
        raise Trouble("A PNG is drawn by matplotlib, which is not installed.", fix, exit_code=EXIT_CANNOT) from None
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    inch = POINTS_PER_INCH  # a unit of the picture is a point, so that sizes of texts are what they say
    figure = Figure(figsize=(picture.width / inch, picture.height / inch), dpi=inch * PIXELS_PER_UNIT)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, picture.width)
    axes.set_ylim(picture.height, 0)
    axes.axis("off")
    for level, shape in enumerate(picture.shapes):
        if isinstance(shape, Rectangle):
            axes.add_patch(_rectangle(shape, level))
        elif isinstance(shape, Arrow):
            for patch in _arrow(shape, level):
                axes.add_patch(patch)
        else:
            anchor = "center" if shape.anchor == "middle" else "left"
            weight = "bold" if shape.is_bold else "normal"
            axes.text(shape.x, shape.y, shape.text, fontsize=shape.size, color=shape.colour, ha=anchor, va="baseline", weight=weight,
                      zorder=level, parse_math=False)  # fmt: skip
    figure.savefig(file, format="png", metadata={"Software": None})


def _rectangle(shape: Rectangle, level: int) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style = f"round,pad=0,rounding_size={shape.radius}" if shape.radius else "square,pad=0"
    border = shape.border or "none"
    return FancyBboxPatch(
        (shape.x, shape.y), shape.width, shape.height, boxstyle=style, facecolor=shape.fill, edgecolor=border, linewidth=1.3, zorder=level
    )


def _arrow(shape: Arrow, level: int) -> list[Any]:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Line

    *before, (x, y) = shape.points
    points = [*before, (x - ARROW, y)]
    corners, codes = [points[0]], [Line.MOVETO]
    for start, end in pairwise(points):
        corners += [*curve(start, end), end]
        codes += [Line.CURVE4] * 3
    head = [(x, y), (x - ARROW, y - ARROW / 2), (x - ARROW, y + ARROW / 2)]
    return [
        PathPatch(Line(corners, codes), fill=False, edgecolor=shape.colour, linewidth=shape.width, zorder=level),
        Polygon(head, closed=True, facecolor=shape.colour, edgecolor="none", zorder=level),
    ]
