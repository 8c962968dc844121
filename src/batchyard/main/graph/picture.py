"""An environment as shapes on a sheet: boxes, texts that fit into them, arrows with their labels, and what the words on these mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from batchyard.main.graph.environment import PLAIN, STRONG, WRITES, Edge, Environment, Node
from batchyard.main.graph.layout import Box, Layout, Link, Point, laid_out

MARGIN = 28.0
PADDING = 14.0
KIND_SIZE, TITLE_SIZE, LINE_SIZE, LABEL_SIZE, HEAD_SIZE = 11.0, 14.0, 12.0, 11.5, 19.0
LINE_HEIGHT = 17.0
LEAST_WIDTH, MOST_CHARACTERS = 150.0, 40
PORT_ROOM = 24.0  # between arrows that leave one box, so that their labels do not touch
HEAD_ROOM, NOTE_HEIGHT = 44.0, 19.0
ARROW = 8.0
INK, FAINT, PAPER = "#1f2933", "#52606d", "#ffffff"
# Fill and border of each kind of box, pale enough for dark text.
COLOURS = {
    "Job queue": ("#e8f1fd", "#3b7dd8"),
    "Job definition": ("#f1f3f5", "#868e96"),
    "Compute environment": ("#e6f6ec", "#2f9e58"),
    "Scheduling policy": ("#f1f3f5", "#868e96"),
    "Role": ("#fdf1e3", "#d9822b"),
    "Launch template": ("#f1f3f5", "#868e96"),
    "Security group": ("#f1f3f5", "#868e96"),
    "Network": ("#f1f3f5", "#868e96"),
    "Log group": ("#f3ecfb", "#8250c4"),
    "Bucket": ("#fdf8df", "#b8910a"),
}
TONES = {STRONG: ("#3b7dd8", 1.8), PLAIN: ("#9aa5b1", 1.1), WRITES: ("#b8910a", 1.5)}
# Widths of characters in parts of the size, of a wide common typeface: what fits by these fits in others.
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[] /-"), frozenset("mwMWQOGD@%&")


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `y` is its base line. `anchor` is start or middle."""

    x: float
    y: float
    text: str
    size: float
    colour: str = INK
    is_bold: bool = False
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Rectangle:
    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str
    border: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line that is level at each of its points, with a head at the last one."""

    points: tuple[Point, ...]
    colour: str
    width: float


@dataclass(slots=True)
class Picture:
    """What is on the sheet, from back to front. `description` is for who cannot see it."""

    width: float
    height: float
    title: str
    description: str
    shapes: list[Rectangle | Arrow | Text] = field(default_factory=list)


def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """How wide a text is at most, in the units of `size`."""
    parts = sum(0.42 if c in _NARROW else 0.95 if c in _WIDE else 0.72 if c.isupper() else 0.635 for c in text)
    return parts * size * (1.1 if is_bold else 1.0)


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of at most `most` characters: of a longer one both ends, which tell more than its middle."""
    if len(text) <= most:
        return text
    tail = most // 2 - 1
    return f"{text[: most - tail - 1]}…{text[-tail:]}"


def drawn(environment: Environment, title: str, subtitle: str = "") -> Picture:
    """The picture of an environment."""
    boxes = [_box(node, environment.edges) for node in environment.nodes]
    links = [Link(edge.source, edge.target, _label_room(edge.label)) for edge in environment.edges]
    layout = laid_out(boxes, links)
    notes = _notes(environment.edges)
    head = HEAD_ROOM + (NOTE_HEIGHT if subtitle else 0.0)
    widest = max([layout.width, width_of(title, HEAD_SIZE, is_bold=True), *(width_of(note, LINE_SIZE) for note in (subtitle, *notes))])
    foot = len(notes) * NOTE_HEIGHT + (18.0 if notes else 0.0)
    picture = Picture(widest + 2 * MARGIN, head + layout.height + foot + 2 * MARGIN, title, _description(environment))
    picture.shapes.append(Rectangle(0, 0, picture.width, picture.height, 0, PAPER))
    picture.shapes.append(Text(MARGIN, MARGIN + HEAD_SIZE * 0.8, title, HEAD_SIZE, is_bold=True))
    if subtitle:
        picture.shapes.append(Text(MARGIN, MARGIN + HEAD_SIZE * 0.8 + NOTE_HEIGHT + 3, subtitle, LINE_SIZE, FAINT))
    _draw(picture, environment, boxes, layout, MARGIN + (widest - layout.width) / 2, MARGIN + head)
    for number, note in enumerate(notes):
        y = picture.height - MARGIN - (len(notes) - 1 - number) * NOTE_HEIGHT
        picture.shapes.append(Text(MARGIN, y, note, LINE_SIZE, FAINT))
    return picture


def _box(node: Node, edges: Sequence[Edge]) -> Box:
    wanted = [width_of(shortened(node.title), TITLE_SIZE, is_bold=True), width_of(node.kind, KIND_SIZE)]
    wanted += [width_of(shortened(line), LINE_SIZE) for line in node.lines]
    labelled = [sum(1 for edge in edges if edge.source == node.id), sum(1 for edge in edges if edge.target == node.id) * 0.7]
    height = 2 * PADDING + KIND_SIZE + 6 + TITLE_SIZE + len(node.lines) * LINE_HEIGHT
    return Box(node.id, max(LEAST_WIDTH, max(wanted) + 2 * PADDING), max(height, (max(labelled) + 1) * PORT_ROOM), node.layer)


def _label_room(label: str) -> float:
    return width_of(label, LABEL_SIZE) + 16 if label else 0.0


def _draw(picture: Picture, environment: Environment, boxes: Sequence[Box], layout: Layout, x: float, y: float) -> None:
    """Arrows first, so that boxes and labels are over them."""
    moved = [tuple((px + x, py + y) for px, py in route) for route in layout.routes]
    order = sorted(range(len(moved)), key=lambda n: environment.edges[n].tone != PLAIN)
    for number in order:
        colour, width = TONES[environment.edges[number].tone]
        picture.shapes.append(Arrow(moved[number], colour, width))
    for node, box in zip(environment.nodes, boxes, strict=True):
        left, top = layout.places[node.id]
        _draw_box(picture, node, left + x, top + y, layout.widths[node.id], box.height)
    for edge, route in zip(environment.edges, moved, strict=True):
        if edge.label:
            _draw_label(picture, edge, route)


def _draw_box(picture: Picture, node: Node, x: float, y: float, width: float, height: float) -> None:
    fill, border = COLOURS[node.kind]
    picture.shapes.append(Rectangle(x, y, width, height, 9, fill, border))
    texts = KIND_SIZE + 6 + TITLE_SIZE + len(node.lines) * LINE_HEIGHT
    base = y + (height - texts) / 2 + KIND_SIZE * 0.85
    picture.shapes.append(Text(x + PADDING, base, node.kind, KIND_SIZE, border))
    base += 6 + TITLE_SIZE
    picture.shapes.append(Text(x + PADDING, base, shortened(node.title), TITLE_SIZE, is_bold=True))
    for line in node.lines:
        base += LINE_HEIGHT
        picture.shapes.append(Text(x + PADDING, base, shortened(line), LINE_SIZE, FAINT))


def _draw_label(picture: Picture, edge: Edge, route: Sequence[Point]) -> None:
    """On the arrow, near its beginning, where arrows of one box have not met others yet."""
    (x0, y0), (x1, y1) = route[0], route[1]
    width = width_of(edge.label, LABEL_SIZE) + 10
    middle = x0 + 8 + width / 2
    y = y0 + (y1 - y0) * _risen((middle - x0) / (x1 - x0)) if x1 > x0 else y0
    picture.shapes.append(Rectangle(middle - width / 2, y - 9, width, 18, 9, PAPER, TONES[edge.tone][0]))
    picture.shapes.append(Text(middle, y + LABEL_SIZE * 0.36, edge.label, LABEL_SIZE, INK, anchor="middle"))


def _risen(part: float) -> float:
    """How far an arrow has risen when it has come so far across: where its Bezier curve is."""
    low, high = 0.0, 1.0
    for _ in range(30):
        t = (low + high) / 2
        if 1.5 * t * (1 - t) + t**3 < part:
            low = t
        else:
            high = t
    return 3 * low**2 - 2 * low**3


def _notes(edges: Sequence[Edge]) -> list[str]:
    """What the words on the arrows mean."""
    labels = {edge.label for edge in edges if edge.tone == STRONG}
    notes = []
    if labels:
        notes.append("1, 2, 3: the order in which a queue tries its compute environments. The queue of the higher priority comes first.")
    if any("if idle" in label for label in labels):
        notes.append("if idle: only into room that already runs and is free; it is never scaled up for this queue (batchyard:spill=idle).")
    if any("scales" in label for label in labels):
        notes.append("scales: started and scaled up for this queue when the ones before it are full.")
    return notes


def _description(environment: Environment) -> str:
    titles = {node.id: node.title for node in environment.nodes}
    told = [f"{titles[edge.source]} to {titles[edge.target]}" + (f" ({edge.label})" if edge.label else "") for edge in environment.edges]
    return "; ".join(told)


def curve(start: Point, end: Point) -> tuple[Point, Point]:
    """The two control points of the Bezier curve between two points at both of which it is level."""
    middle = (start[0] + end[0]) / 2
    return (middle, start[1]), (middle, end[1])
