"""
A dashboard as a picture: its grid of panels, drawn by matplotlib from the answers to its queries.

Rules:

1. Lengths are pixels, counted from the upper left corner; so are sizes of type.
2. A name has one colour in all panels of a dashboard.
3. What has no room is cut and ends with an ellipsis; rows and legends that are left out are
   counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple, TypeAlias

from docs.paper import EDGE, FAINT, GROUND, INK, WIDTH, Box, Paper, fitted, lines_of, width_of
from docs.units import formatted
from tests.prometheus import Result

GRID_COLUMNS, GRID_ROW = 24, 36
HEADER, FOOTER = 64, 40
GAP, PADDING, SWATCH = 8, 12, 20
TITLE, LINE, ROW = 15, 20, 27
LEGEND_LINES_MAX = 2
ROOM_FOR_MORE = 90
"""How wide "and 99 more" is, at most."""

PANEL = "#ffffff"
THRESHOLDS = {"blue": "#3d71ad", "green": "#3a8f45", "red": "#cc4444"}
PALETTE = (
    *("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2"),
    *("#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8c8c8c"),
    *("#2b4c73", "#b35f0f", "#2f6b28", "#a32a2e", "#3d7f7a"),
    *("#a88a10", "#7a4a6d", "#c9606d", "#6b4c3b", "#4d4d4d"),
)
LABEL = re.compile(r"{{(\w+)}}")
FOOTNOTE = (
    "Drawn by matplotlib from what Prometheus answered to this dashboard's queries while the demo "
    "ran. Not a screenshot of Grafana."
)

Answers: TypeAlias = Mapping[tuple[str, str], Sequence[Result]]
"""What each query gave, by the title of its panel and its letter."""


class Line(NamedTuple):
    """
    A series under the name that the legend gives it; times are in seconds since the first.
    """

    name: str
    times: list[float]
    values: list[float]

    @property
    def total(self) -> float:
        """
        All its values together.
        """
        return sum(value for value in self.values if not math.isnan(value))


class Picture:
    """
    One dashboard, drawn panel by panel.

    Args:
        made: the dashboard, as its JSON has it.
        answers: what its queries gave.
        begin: where the time axes begin, in seconds since 1970.
        end: and where they end.

    """

    def __init__(self, made: Mapping[str, Any], answers: Answers, begin: float, end: float) -> None:
        self._made, self._answers = made, answers
        self._begin, self._end = begin, end
        self._colours: dict[str, str] = {}
        self._description = lines_of(made["description"], WIDTH - 2 * GAP)
        self._top = HEADER + LINE * len(self._description)
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in made["panels"])
        self._height = self._top + rows * GRID_ROW + FOOTER
        self._paper = Paper(self._height)

    def png(self, notes: Mapping[str, str]) -> bytes:
        """
        Draw it; ``notes`` go into the file.
        """
        self._paper.text(GAP, 28, self._made["title"], fontsize=24, weight="bold")
        for number, line in enumerate(self._description):
            self._paper.text(GAP, HEADER + number * LINE, line, color=FAINT)
        self._paper.text(GAP, self._height - FOOTER / 2, FOOTNOTE, color=FAINT)
        for panel in self._made["panels"]:
            self._draw(panel)
        return self._paper.png(notes)

    def _draw(self, panel: Mapping[str, Any]) -> None:
        """
        A panel with its frame and title, or the question of a row.
        """
        place, column = panel["gridPos"], (WIDTH - GAP) / GRID_COLUMNS
        whole = Box(
            GAP / 2 + place["x"] * column,
            self._top + place["y"] * GRID_ROW,
            place["w"] * column,
            place["h"] * GRID_ROW,
        )
        if panel["type"] == "row":
            self._paper.text(
                GAP, whole.y + GRID_ROW / 2, panel["title"], fontsize=18, weight="bold"
            )
            return
        frame = whole.inside(*[GAP / 2] * 4)
        self._paper.box(frame, PANEL, EDGE)
        room = frame.width - 2 * PADDING
        lines = lines_of(panel["title"], room, TITLE, "bold")
        for number, line in enumerate(lines):
            self._paper.text(
                frame.x + PADDING,
                frame.y + 18 + number * LINE,
                line,
                fontsize=TITLE,
                weight="bold",
            )
        draw = getattr(self, f"_{panel['type']}")
        draw(panel, frame.inside(PADDING, 16 + len(lines) * LINE, PADDING, PADDING))

    def _results(self, panel: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Result]]:
        """
        Every series of a panel, with the query that gave it.
        """
        for target in panel["targets"]:
            for result in self._answers[panel["title"], target["refId"]]:
                yield target, result

    def _lines(self, panel: Mapping[str, Any]) -> list[Line]:
        return [
            Line(
                _legend(target, result),
                [point.at - self._begin for point in result.points],
                [point.value for point in result.points],
            )
            for target, result in self._results(panel)
        ]

    def _take_colours(self, names: Sequence[str]) -> None:
        """
        Give each name a colour that no other of these has, as far as there are enough.
        """
        taken = {self._colours.get(name) for name in names}
        free = (colour for colour in cycle(PALETTE) if colour not in taken or taken >= {*PALETTE})
        for name in names:
            self._colours.setdefault(name, next(free))

    def _stat(self, panel: Mapping[str, Any], box: Box) -> None:
        """
        One number in the colour of its threshold.
        """
        [(_, result)] = self._results(panel)
        defaults = panel["fieldConfig"]["defaults"]
        steps = defaults["thresholds"]["steps"]
        [*_, step] = [each for each in steps if not (each["value"] or -math.inf) > result.value]
        self._paper.text(
            box.x + box.width / 2,
            box.y + box.height / 2,
            formatted(result.value, defaults["unit"]),
            fontsize=34,
            weight="bold",
            ha="center",
            color=FAINT if math.isnan(result.value) else THRESHOLDS[step["color"]],
        )

    def _timeseries(self, panel: Mapping[str, Any], box: Box) -> None:
        """
        Lines, or areas one upon the other with the largest at the bottom.
        """
        defaults = panel["fieldConfig"]["defaults"]
        lines = self._lines(panel)
        stacked = defaults["custom"]["stacking"]["mode"] == "normal"
        if stacked:
            lines = sorted(lines, key=lambda line: line.total, reverse=True)
        names = [line.name for line in lines]
        self._take_colours(names)
        legend = self._draw_legend(names, box)
        axes = self._paper.plot(
            box.inside(70, 4, 6, legend + 26), lambda value: formatted(value, defaults["unit"])
        )
        colours = [self._colours[name] for name in names]
        if stacked:
            times = sorted({at for line in lines for at in line.times})
            heights = [_at(line, times) for line in lines]
            axes.stackplot(times, heights, colors=colours, alpha=0.75, linewidth=0)
        else:
            for line, colour in zip(lines, colours, strict=True):
                axes.plot(line.times, line.values, color=colour, linewidth=2)
                axes.fill_between(line.times, line.values, color=colour, alpha=0.08, linewidth=0)
        top = axes.get_ylim()[1] if any(line.total for line in lines) else 1
        axes.set(xlim=(0, self._end - self._begin), ylim=(0, top))

    def _draw_legend(self, names: Sequence[str], box: Box) -> float:
        """
        Names in their colours at the foot of a box, in a line or two; tells their height.
        """
        room = box.width - ROOM_FOR_MORE
        places: list[tuple[float, int]] = []
        x, line = 0.0, 0
        for name in names:
            width = SWATCH + width_of(name)
            if x and x + width > room:
                x, line = 0.0, line + 1
            if line == LEGEND_LINES_MAX:
                break
            places.append((x, line))
            x += width + 2 * GAP
        height = LINE * (places[-1][1] + 1)
        top = box.y + box.height - height + LINE / 2
        for name, (x, line) in zip(names, places, strict=False):
            y = top + line * LINE
            self._paper.box(Box(box.x + x, y - 2, 14, 5), self._colours[name])
            self._paper.text(box.x + x + SWATCH, y, fitted(name, room - SWATCH))
        if left_out := len(names) - len(places):
            looks = {"ha": "right", "color": FAINT}
            self._paper.text(box.x + box.width, top + LINE, f"and {left_out} more", **looks)
        return height

    def _heatmap(self, panel: Mapping[str, Any], box: Box) -> None:
        """
        A row for each bucket, the darker the more observations.

        Prometheus counts in each bucket what is in the lower ones, too.
        """
        unit = panel["options"]["yAxis"]["unit"]
        lines = sorted(self._lines(panel), key=lambda line: float(line.name))
        times = sorted({at for line in lines for at in line.times})
        heights = [_at(line, times) for line in lines]
        spread = [
            [max(0.0, upper - lower) or math.nan for upper, lower in zip(above, below, strict=True)]
            for above, below in zip(heights, [[0.0] * len(times), *heights], strict=False)
        ]
        axes = self._paper.plot(box.inside(86, 4, 6, 26), str)
        edges = [*times, 2 * times[-1] - times[-2]]
        axes.pcolormesh(edges, range(len(lines) + 1), spread, cmap="Oranges", linewidth=0)
        names = [
            "more" if math.isinf(float(line.name)) else f"≤ {formatted(float(line.name), unit)}"
            for line in lines
        ]
        axes.set_yticks([place + 0.5 for place in range(len(lines))], names)
        axes.grid(visible=False)

    def _bargauge(self, panel: Mapping[str, Any], box: Box) -> None:
        """
        A bar for each series, as many as there is room for.
        """
        bars = [(_legend(target, result), result.value) for target, result in self._results(panel)]
        names = min(max(width_of(name) for name, _ in bars), 0.6 * box.width)
        longest = max(value for _, value in bars) or 1
        for top, (name, value) in self._rows(bars, box, ROW):
            self._paper.text(box.x, top + ROW / 2, fitted(name, names))
            whole = Box(box.x, top, box.width, ROW).inside(names + PADDING, 4, 70, 4)
            self._paper.box(whole, GROUND)
            self._paper.box(whole._replace(width=whole.width * value / longest), THRESHOLDS["blue"])
            self._paper.text(
                box.x + box.width, top + ROW / 2, formatted(value, "short"), ha="right"
            )

    def _table(self, panel: Mapping[str, Any], box: Box) -> None:
        """
        Rows merged by their labels, in the order that the panel asks for.
        """
        columns, rows = self._merged(panel)
        numbers = [isinstance(rows[0].get(column, 0.0), float) for column in columns]
        cells = [
            [self._cell(panel, column, row.get(column, "")) for column in columns] for row in rows
        ]
        shown = [*self._rows([columns, *cells], box, ROW)]
        widths = _widths([row for _, row in shown], box.width)
        for number, (top, row) in enumerate(shown):
            self._paper.box(Box(box.x, top + ROW, box.width, 1), EDGE)
            left = box.x
            for text, width, right in zip(row, widths, numbers, strict=True):
                self._paper.text(
                    left + (width - PADDING if right else 0),
                    top + ROW / 2,
                    fitted(text, width - PADDING),
                    ha="right" if right else "left",
                    color=INK if number else FAINT,
                )
                left += width

    def _merged(self, panel: Mapping[str, Any]) -> tuple[list[str], list[dict[str, str | float]]]:
        """
        The titles of a table's columns, and its rows by these titles.
        """
        options = panel["transformations"][1]["options"]
        titles: dict[str, str] = options["renameByName"]
        places: dict[str, int] = options["indexByName"]
        merged: dict[frozenset[tuple[str, str]], dict[str, str | float]] = {}
        for target, result in self._results(panel):
            labels = {titles[label]: text for label, text in result.labels.items()}
            value = titles[f"Value #{target['refId']}"]
            merged.setdefault(frozenset(labels.items()), {**labels})[value] = result.value
        [order] = panel["options"]["sortBy"]
        rows = sorted(
            merged.values(),
            key=lambda row: row.get(order["displayName"], -math.inf),
            reverse=order["desc"],
        )
        columns = dict.fromkeys(titles[name] for name in sorted(titles, key=places.__getitem__))
        return [*columns], rows

    def _cell(self, panel: Mapping[str, Any], column: str, value: str | float) -> str:
        if isinstance(value, str):
            return value
        unit = next(
            change["value"]
            for override in panel["fieldConfig"]["overrides"]
            for change in override["properties"]
            if override["matcher"]["options"] == column and change["id"] == "unit"
        )
        return formatted(value, unit, self._end)

    def _rows(self, rows: Sequence[Any], box: Box, height: float) -> Iterator[tuple[float, Any]]:
        """
        As many rows as there is room for, each with where it begins.
        """
        fitting = int(box.height // height)
        shown = rows if len(rows) <= fitting else rows[: fitting - 1]
        for number, row in enumerate(shown):
            yield box.y + number * height, row
        if left_out := len(rows) - len(shown):
            y = box.y + (len(shown) + 0.5) * height
            self._paper.text(box.x, y, f"and {left_out} more", color=FAINT)


def _widths(rows: Sequence[Sequence[str]], whole: float) -> list[float]:
    """
    The widths of a table's columns: what their texts take, and the widest gives way.
    """
    widths = [
        max(width_of(text) for text in column) + 2 * PADDING for column in zip(*rows, strict=True)
    ]
    spare = whole - sum(widths)
    if spare < 0:
        widths[widths.index(max(widths))] += spare
        return widths
    return [width + spare / len(widths) for width in widths]


def _legend(target: Mapping[str, Any], result: Result) -> str:
    """
    The name of a series, with its labels filled in.
    """
    name = LABEL.sub(lambda found: result.labels.get(found[1], ""), target["legendFormat"])
    return name.strip()


def _at(line: Line, times: Sequence[float]) -> list[float]:
    """
    A line's values at all times, 0 where it has none.
    """
    values = dict(zip(line.times, line.values, strict=True))
    return [value if not math.isnan(value := values.get(at, 0.0)) else 0.0 for at in times]
