"""A picture as SVG: plain shapes and real text, which browsers show without anything else."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from batchyard.main.graph.picture import ARROW, Arrow, Picture, Rectangle, Text, curve

FONTS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(picture: Picture) -> str:
    """The text of the file. The same picture gives the same text."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(picture.width)} {_n(picture.height)}" width="{_n(picture.width)}"'
        f' height="{_n(picture.height)}" font-family="{FONTS}" role="img" aria-labelledby="title about">',
        f'<title id="title">{escape(picture.title)}</title>',
        f'<desc id="about">{escape(picture.description)}</desc>',
    ]
    for shape in picture.shapes:
        if isinstance(shape, Rectangle):
            lines.append(_rectangle(shape))
        elif isinstance(shape, Arrow):
            lines += _arrow(shape)
        else:
            lines.append(_text(shape))
    return "\n".join([*lines, "</svg>", ""])


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _rectangle(shape: Rectangle) -> str:
    border = f' stroke="{shape.border}" stroke-width="1.3"' if shape.border else ""
    place = f'x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" height="{_n(shape.height)}"'
    return f'<rect {place} rx="{_n(shape.radius)}" fill="{shape.fill}"{border}/>'


def _arrow(shape: Arrow) -> list[str]:
    """The line ends where the head begins."""
    *before, (x, y) = shape.points
    points = [*before, (x - ARROW, y)]
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for start, end in pairwise(points):
        one, two = curve(start, end)
        path.append("C" + " ".join(f"{_n(px)} {_n(py)}" for px, py in (one, two, end)))
    head = f"M{_n(x)} {_n(y)}L{_n(x - ARROW)} {_n(y - ARROW / 2)}L{_n(x - ARROW)} {_n(y + ARROW / 2)}Z"
    return [
        f'<path d="{"".join(path)}" fill="none" stroke="{shape.colour}" stroke-width="{_n(shape.width)}"/>',
        f'<path d="{head}" fill="{shape.colour}"/>',
    ]


def _text(shape: Text) -> str:
    bold = ' font-weight="bold"' if shape.is_bold else ""
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    look = f'font-size="{_n(shape.size)}" fill="{shape.colour}"{bold}{anchor}'
    return f'<text x="{_n(shape.x)}" y="{_n(shape.y)}" {look}>{escape(shape.text)}</text>'
