"""Lays boxes out in columns, so that arrows go from left to right and cross as little as can be had cheaply. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
GAP_Y = 26.0  # between boxes of a column
BAND_Y = 40.0  # the most between two rows that nothing stands between
LANE = 14.0  # the room of an arrow that passes through a column
SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A box to be placed: its size, and the first column that it may stand in."""

    id: str
    width: float
    height: float
    layer: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow to be routed; `room` is the width that its label wants at its beginning."""

    source: str
    target: str
    room: float = 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where all is: the left upper corner and the width of each box (all of a column are as wide as its widest), the points that each
    arrow goes through (level at each), and the whole size."""

    places: Mapping[str, Point]
    widths: Mapping[str, float]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def laid_out(boxes: Sequence[Box], links: Sequence[Link], gap_x: float = 76.0) -> Layout:
    """Boxes in columns and the routes of `links`, in their order, whose boxes must all be there (else KeyError). In a circle the link
    that closes it goes back."""
    layers = _layers(boxes, links)
    sizes = {box.id: (box.width, box.height) for box in boxes}
    chains = []
    columns: dict[int, list[str]] = defaultdict(list)
    for box in boxes:
        columns[layers[box.id]].append(box.id)
    for number, link in enumerate(links):
        first, last = layers[link.source], layers[link.target]
        lanes = [f"{number}\n{column}" for column in range(first + 1, last)]
        for column, lane in enumerate(lanes, first + 1):
            columns[column].append(lane)
        chains.append([link.source, *lanes, link.target])
        for lane in lanes:
            sizes[lane] = (0.0, LANE)
    used = [columns[column] for column in sorted(columns)]
    for held in used:
        widest = max(sizes[id][0] for id in held)
        sizes.update({id: (widest, sizes[id][1]) for id in held})
    steps = [step for chain in chains for step in pairwise(chain)]
    ordered = _ordered(used, steps)
    centres = _centres(ordered, steps, {id: size[1] for id, size in sizes.items()})
    lefts, width = _lefts(ordered, sizes, chains, links, gap_x)
    centres, height = _closed_up(centres, {id: size[1] for id, size in sizes.items()})
    places = {box.id: (lefts[box.id], centres[box.id] - box.height / 2) for box in boxes}
    widths = {box.id: sizes[box.id][0] for box in boxes}
    return Layout(places, widths, _routes(chains, centres, lefts, sizes), width, height)


def _layers(boxes: Sequence[Box], links: Sequence[Link]) -> dict[str, int]:
    """The column of each box: one after the last of those that point to it, in columns that are counted without holes."""
    layers = {box.id: box.layer for box in boxes}
    for _ in boxes:  # the longest way has no more steps than there are boxes
        moved = False
        for link in links:
            if layers[link.target] <= layers[link.source] < len(boxes):
                layers[link.target] = layers[link.source] + 1
                moved = True
        if not moved:
            break
    rank = {layer: n for n, layer in enumerate(sorted(set(layers.values())))}
    return {id: rank[layer] for id, layer in layers.items()}


def _ordered(columns: list[list[str]], steps: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The columns with their boxes in the order with the fewest crossings that some sweeps find."""
    best, fewest = columns, _crossings(columns, steps)
    now = [list(column) for column in columns]
    into, out = _neighbours(steps)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        places = {id: n for column in now for n, id in enumerate(column)}
        for number in range(len(now)) if forward else range(len(now) - 1, -1, -1):
            sides = into if forward else out

            def wanted(id: str, sides: Mapping[str, list[str]] = sides, places: dict[str, int] = places) -> float:
                near = sides.get(id)
                return sum(places[other] for other in near) / len(near) if near else float(places[id])

            now[number].sort(key=wanted)
            places.update({id: n for n, id in enumerate(now[number])})
        count = _crossings(now, steps)
        if count < fewest:
            best, fewest = [list(column) for column in now], count
    return best


def _neighbours(steps: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    into: dict[str, list[str]] = defaultdict(list)
    out: dict[str, list[str]] = defaultdict(list)
    for source, target in steps:
        into[target].append(source)
        out[source].append(target)
    return into, out


def _crossings(columns: list[list[str]], steps: Sequence[tuple[str, str]]) -> int:
    """How many pairs of steps between the same two columns cross."""
    at = {id: (c, n) for c, column in enumerate(columns) for n, id in enumerate(column)}
    by_column: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, target in steps:
        by_column[at[source][0]].append((at[source][1], at[target][1]))
    return sum((a - c) * (b - d) < 0 for found in by_column.values() for n, (a, b) in enumerate(found) for c, d in found[:n])


def _centres(columns: list[list[str]], steps: Sequence[tuple[str, str]], heights: Mapping[str, float]) -> dict[str, float]:
    """The height at which each box's middle is: as near to the middle of its neighbours as its column lets it."""
    into, out = _neighbours(steps)
    centres: dict[str, float] = {}
    for column in columns:
        y = 0.0
        for id in column:
            centres[id] = y + heights[id] / 2
            y += heights[id] + GAP_Y
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wishes = []
            for id in column:
                near = [*into.get(id, ()), *out.get(id, ())]
                wishes.append(sum(centres[other] for other in near) / len(near) if near else centres[id])
            centres.update(zip(column, _apart(wishes, [heights[id] for id in column]), strict=True))
    return centres


def _closed_up(centres: Mapping[str, float], heights: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """The middles, from 0 on, without bands in which no column has anything; and the height of all."""
    moved: dict[str, float] = {}
    top = bottom = 0.0  # of what is settled: where it would be, and where it is
    is_first = True
    for id in sorted(centres, key=lambda id: centres[id] - heights[id] / 2):
        upper, lower = centres[id] - heights[id] / 2, centres[id] + heights[id] / 2
        if is_first or upper - top > BAND_Y:
            shift = bottom + (0.0 if is_first else BAND_Y) - upper
        is_first = False
        moved[id] = centres[id] + shift
        top, bottom = max(top, lower) if len(moved) > 1 else lower, max(bottom, lower + shift)
    return moved, bottom


def _apart(wishes: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Places as near to the wishes as can be (least squares), in their order and GAP_Y apart: pools of neighbours that collide."""
    offsets = [0.0]
    for above, below in pairwise(heights):
        offsets.append(offsets[-1] + above / 2 + GAP_Y + below / 2)
    pools: list[tuple[float, int]] = []  # (mean, count)
    for wish, offset in zip(wishes, offsets, strict=False):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] > mean:
            above, many = pools.pop()
            mean, count = (mean * count + above * many) / (count + many), count + many
        pools.append((mean, count))
    settled = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(settled, offsets, strict=False)]


def _lefts(
    columns: list[list[str]],
    sizes: Mapping[str, tuple[float, float]],
    chains: Sequence[Sequence[str]],
    links: Sequence[Link],
    gap_x: float,
) -> tuple[dict[str, float], float]:
    """The left side of each box, and the width of all. Between columns there is room for the labels that begin there."""
    at = {id: n for n, column in enumerate(columns) for id in column}
    rooms = [0.0] * (len(columns) + 1)
    for chain, link in zip(chains, links, strict=True):
        rooms[at[chain[0]]] = max(rooms[at[chain[0]]], link.room)
    lefts: dict[str, float] = {}
    x = 0.0
    for number, column in enumerate(columns):
        width = sizes[column[0]][0]
        lefts.update(dict.fromkeys(column, x))
        x += width + gap_x + rooms[number]
    return lefts, x - gap_x - rooms[len(columns) - 1] if columns else 0.0


def _routes(
    chains: Sequence[Sequence[str]],
    centres: Mapping[str, float],
    lefts: Mapping[str, float],
    sizes: Mapping[str, tuple[float, float]],
) -> tuple[tuple[Point, ...], ...]:
    """Points of each chain: arrows leave and reach a box one below the other, in the order of what they come from and lead to."""
    leaving: dict[str, list[int]] = defaultdict(list)
    coming: dict[str, list[int]] = defaultdict(list)
    for number, chain in enumerate(chains):
        leaving[chain[0]].append(number)
        coming[chain[-1]].append(number)
    for found in leaving.values():
        found.sort(key=lambda number: centres[chains[number][1]])
    for found in coming.values():
        found.sort(key=lambda number: centres[chains[number][-2]])

    def port(id: str, numbers: Sequence[int], number: int) -> float:
        height = sizes[id][1]
        return centres[id] - height / 2 + height * (numbers.index(number) + 1) / (len(numbers) + 1)

    routes = []
    for number, chain in enumerate(chains):
        first, last = chain[0], chain[-1]
        points = [(lefts[first] + sizes[first][0], port(first, leaving[first], number))]
        for lane in chain[1:-1]:
            points += [(lefts[lane], centres[lane]), (lefts[lane] + sizes[lane][0], centres[lane])]
        points.append((lefts[last], port(last, coming[last], number)))
        routes.append(tuple(points))
    return tuple(routes)
