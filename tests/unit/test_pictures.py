"""
The pictures of the dashboards: they show the present ones, and how they are drawn.
"""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from PIL import Image

from docs import pictures
from docs.drawing import GRID_ROW, LABEL, THRESHOLDS, Answers, Picture
from docs.paper import FAINT, WIDTH, fitted, lines_of, width_of
from docs.pictures import DRAWN_FROM, PICTURES, Seen, digest, draw, drawn_from, main, stale
from docs.units import formatted
from grafana.source.expressions import dashboards, panels
from grafana.source.parts import Column, bars, board, graph, heat_map, stat, table
from tests.observed import Span
from tests.processes import PROJECT
from tests.prometheus import Point, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.text import Text

    from grafana.source.parts import Panel

BYTES_MAX = 250 * 1024
SPAN = Span(1_000_000.0, 1_000_180.0)
TIMES = (SPAN.begin, SPAN.begin + 90, SPAN.end)


def result(labels: Mapping[str, str], *values: float) -> Result:
    """
    A series with these values, the last one at the end of the time.
    """
    times = TIMES[len(TIMES) - len(values) :]
    return Result(labels, [Point(*point) for point in zip(times, values, strict=True)])


def written(panel: Panel, *answers: Sequence[Result]) -> list[Text]:
    """
    The texts in the picture of a dashboard with this one panel, axes last.

    ``answers`` are what its queries give, in their order.
    """
    made = board("small", "Small", "A small dashboard.", (), {"What is it?": [panel]})
    title = panel.build().title or ""
    picture = drawn(
        json.loads(JSONEncoder().encode(made)),
        {(title, letter): answer for letter, answer in zip("ABC", answers, strict=False)},
    )
    sheet, *plots = picture._paper._figure.axes
    return [*sheet.texts, *(label for plot in plots for label in plot.get_yticklabels())]


def words(panel: Panel, *answers: Sequence[Result]) -> list[str]:
    """
    The same as plain words.
    """
    return [text.get_text() for text in written(panel, *answers)]


def drawn(made: Mapping[str, Any], answers: dict[tuple[str, str], Sequence[Result]]) -> Picture:
    """
    A picture that has been drawn.
    """
    picture = Picture(made, answers, *SPAN)
    picture.png({})
    return picture


def invented(panel: Mapping[str, Any], target: Mapping[str, Any]) -> Result:
    """
    A series with the labels that a panel shows.
    """
    labels = LABEL.findall(target.get("legendFormat", ""))
    if panel["type"] == "table":
        columns = panel["transformations"][1]["options"]["renameByName"]
        labels = [name for name in columns if not name.startswith("Value")]
    return result(dict.fromkeys(labels, "60"), *([5.0] if target["instant"] else [1, 5, 3]))


@pytest.mark.parametrize("name", dashboards())
def test_each_dashboard_has_its_picture(name: str) -> None:
    """
    It is drawn from the present dashboard, not large, and stands in the text with its questions.

    ``python -m docs.pictures`` draws those that are stale.
    """
    picture = PICTURES / f"{name}.png"
    text = (PROJECT / "docs/dashboards.md").read_text()
    questions = [each["title"] for each in dashboards()[name]["panels"] if each["type"] == "row"]

    assert digest(name) == drawn_from(picture)
    assert picture.stat().st_size < BYTES_MAX
    assert f"](pictures/{name}.png)" in text
    assert [] == [question for question in questions if f"- {question}\n" not in text]


def test_no_picture_is_left_over() -> None:
    """
    Each picture is of a dashboard that there is.
    """
    assert [*dashboards()] == sorted(path.stem for path in PICTURES.glob("*"))


def test_what_has_changed_is_drawn_again(tmp_path: Path) -> None:
    """
    A picture without a note and a missing one are stale; a fresh one is not.
    """
    everything: dict[str, Answers] = {
        name: {
            (panel["title"], target["refId"]): [invented(panel, target)]
            for panel in panels(made)
            for target in panel["targets"]
        }
        for name, made in dashboards().items()
    }
    draw(["audit", "exporter", "overview"], Seen(everything, SPAN), tmp_path)
    Image.new("RGB", (1, 1)).save(tmp_path / "exporter.png")

    assert ["exporter", "repository"] == stale(tmp_path)


def test_a_picture_has_the_size_of_its_grid_and_its_notes() -> None:
    """
    The width is fixed, the height follows from the rows.
    """
    sizes = []
    for rows in (1, 11):
        place = {"x": 0, "y": 0, "w": 24, "h": rows}
        row = {"type": "row", "title": "Is it?", "gridPos": place}
        made = {"title": "Title", "description": "Words.", "panels": [row]}
        png = Picture(made, {}, *SPAN).png({DRAWN_FROM: "abc"})
        with Image.open(BytesIO(png)) as image:
            sizes.append(image.size)
            assert "abc" == image.info[DRAWN_FROM]

    assert [WIDTH] * 2 == [width for width, _ in sizes]
    assert 10 * GRID_ROW == sizes[1][1] - sizes[0][1]


@pytest.mark.parametrize(
    ("value", "shown", "colour"),
    [
        (0, "0", THRESHOLDS["green"]),
        (1234, "1.23 K", THRESHOLDS["red"]),
        (math.nan, "none", FAINT),
    ],
)
def test_a_stat_is_one_number(value: float, shown: str, colour: str) -> None:
    """
    It stands under its title, in the unit of the panel and the colour of its threshold.
    """
    texts = written(stat("Errors", "Failures.", "1", bad_from=1), [result({}, value)])
    [number] = [text for text in texts if text.get_text() == shown]

    assert "Errors" in [text.get_text() for text in texts]
    assert colour == number.get_color()


def test_a_graph_has_a_legend() -> None:
    """
    Labels are filled in, and what two lines do not hold is counted.
    """
    panel = graph("Calls", "Calls.", {"{{action}} calls": "1"}, stacked=True)
    many = [result({"action": f"Action{number}"}, 1, number, math.nan) for number in range(40)]
    shown = words(panel, many)
    named = [word for word in shown if word.endswith(" calls")]

    assert "Action39 calls" == named[0], "the largest comes first"
    assert f"and {40 - len(named)} more" in shown
    assert "0 / min" in shown


def test_a_graph_of_noughts_has_an_axis() -> None:
    """
    Lines at 0 lie at the bottom of a plot from 0 to 1.
    """
    panel = graph("Lag", "Lag.", {"Half": "1", "All": "2"}, unit="s")
    shown = words(panel, [result({}, 0, 0, 0)], [result({}, math.nan, 0, 0)])

    assert ["Half", "All"] == [word for word in shown if word in {"Half", "All"}]
    assert {"0 s", "500 ms", "1 s"} <= {*shown}


def test_a_heat_map_has_a_row_for_each_bucket() -> None:
    """
    The lowest bucket lies at the bottom, and the last one has no end.
    """
    buckets = [result({"le": le}, 0, count, count) for le, count in (("+Inf", 3), ("60", 1))]
    shown = words(heat_map("Lag", "Lag.", "1"), buckets)

    assert ["≤ 1 min", "more"] == shown[-2:]


def test_a_bar_has_a_name_and_a_number() -> None:
    """
    What has no room is counted.
    """
    found = [result({"action": f"Action{number}"}, 1000 - number) for number in range(99)]
    shown = words(bars("Actions", "Actions.", "{{action}}", "1"), found)
    named = [word for word in shown if word.startswith("Action") and word != "Actions"]

    assert ["Action0", "Action1"] == named[:2]
    assert {"1 K", "999", f"and {99 - len(named)} more"} <= {*shown}


def test_a_table_merges_its_queries() -> None:
    """
    Values of the same labels share a row, the largest of the first column comes first.
    """
    panel = table(
        *("Places", "Places.", ("repository", "action")),
        Column("Events", "1"),
        Column("Last", "2", unit="dateTimeFromNow"),
    )
    one = {"repository": "one", "action": "GitPull"}
    other = {"repository": "other" * 50, "action": "GitPush"}
    counts = [result(one, 5), result(other, 7)]
    shown = words(panel, counts, [result(one, 1000 * (SPAN.end - 90))])
    [head, *_] = [place for place, word in enumerate(shown) if word == "Repository"]
    cells = shown[head : head + 12]

    assert ["Repository", "Action", "Events", "Last"] == cells[:4]
    assert ["GitPush", "7", ""] == cells[5:8]
    assert ["one", "GitPull", "5", "1.5 min ago"] == cells[8:]
    assert cells[4].startswith("otherother")
    assert cells[4].endswith("…")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "s", "0 s"),
        (0.0042, "s", "4.2 ms"),
        (7200, "s", "2 h"),
        (0.02, "cps", "0.02 / s"),
        (1536, "bytes", "1.5 KiB"),
        (123_456_789, "short", "123 Mil"),
        (0.123, "percentunit", "12.3 %"),
        (1, "bool_yes_no", "Yes"),
        (2.5, "d", "2.50 d"),
        (math.nan, "s", "none"),
    ],
)
def test_numbers_are_readable(value: float, unit: str, shown: str) -> None:
    """
    Three digits, and the unit that fits.
    """
    assert shown == formatted(value, unit)


def test_text_keeps_to_its_room() -> None:
    """
    It is broken between words, or cut.
    """
    assert ["Time since the", "last push"] == lines_of("Time since the last push", 110)
    assert "short" == fitted("short", 100)
    assert fitted("much too long for this", 60).endswith("…")
    assert width_of(fitted("much too long for this", 60)) <= 60


def test_without_prometheus_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is said, and is no failure.
    """
    monkeypatch.setenv("PATH", "")

    assert 0 == main([], tmp_path)
    assert "Prometheus is not installed: audit, exporter" in capsys.readouterr().out
    assert [] == [*tmp_path.iterdir()]


def test_only_what_is_stale_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Where all is as it was, the demo is not even started; ``--all`` draws all the same.
    """
    wanted: list[str] = []
    monkeypatch.setattr(pictures, "stale", lambda _: [])
    monkeypatch.setattr(pictures, "observe", lambda _: Seen({}, SPAN))
    monkeypatch.setattr(pictures, "draw", lambda names, *_: wanted.extend(names))
    monkeypatch.setattr("shutil.which", lambda _: "prometheus")
    main([], tmp_path)

    assert ([], "") == (wanted, capsys.readouterr().out)

    main(["--all"], tmp_path)

    assert [*dashboards()] == wanted
