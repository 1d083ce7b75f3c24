"""
The lines of one family: which are there, and what they come to where labels are left out.
"""

from __future__ import annotations

from uuid import UUID

from exporter.families import EVENT_DELIVERY, LAST_PUSH, PUSHES, Exemplar, SeriesState, Total
from exporter.journal import Counted
from exporter.lines import Format, Lines
from exporter.sheets import TextSheet

WHERE = ("210987654321", "eu-central-1")
PULL = (*WHERE, "tools", "GitPull", "HTTP", "true")
PULL_OF_WEB = (*WHERE, "web", "GitPull", "HTTP", "true")
PUSH_OF_WEB = (*WHERE, "web", "GitPush", "SSH", "true")
NAME = EVENT_DELIVERY.name


def state(
    *seconds: int, born_ms: int = 1000, held_at: tuple[int, ...] | None = None
) -> SeriesState:
    """
    A series of these delivery times; one that is held shows those of ``held_at``.
    """
    total, shown = EVENT_DELIVERY.zero(), EVENT_DELIVERY.zero()
    for one in seconds:
        total = EVENT_DELIVERY.sum(total, EVENT_DELIVERY.observed(one * 1000))
    for one in held_at or ():
        shown = EVENT_DELIVERY.sum(shown, EVENT_DELIVERY.observed(one * 1000))
    return SeriesState(total, born_ms, None if held_at is not None else 2000, shown)


def counted(number: int, counted_ms: int) -> Counted:
    return Counted(Exemplar(str(UUID(int=number)), 1000), counted_ms)


def merged(*labels: str, created: bool = False) -> TextSheet:
    return TextSheet(Lines(EVENT_DELIVERY, labels), Format.OPENMETRICS, created=created)


def line(sheet: TextSheet, part: str) -> str:
    """
    The one sample of a name that a sheet has, without that; empty if there is none.
    """
    name = f"{NAME}_{part}"
    found = [one for one in sheet.text([name]).decode().split("\n") if one.startswith(name)]
    assert len(found) <= 1
    return "".join(found).removeprefix(name)


def test_series_that_are_alike_are_one_line() -> None:
    """
    Its buckets, count and sum are theirs together, whichever labels are left.
    """
    sheet = merged("action")
    sheet.show(PULL, state(30, 90))
    sheet.show(PULL_OF_WEB, state(90, 4000))
    sheet.show(PUSH_OF_WEB, state(5))
    text = sheet.text().decode()

    for sample in (
        f'{NAME}_bucket{{action="GitPull",le="60.0"}} 1.0\n',
        f'{NAME}_bucket{{action="GitPull",le="120.0"}} 3.0\n',
        f'{NAME}_bucket{{action="GitPull",le="+Inf"}} 4.0\n',
        f'{NAME}_count{{action="GitPull"}} 4.0\n',
        f'{NAME}_sum{{action="GitPull"}} 4210.0\n',
        f'{NAME}_count{{action="GitPush"}} 1.0\n',
    ):
        assert sample in text


def test_without_labels_there_is_one_line_for_all() -> None:
    """
    It has no braces where it has no bounds.
    """
    sheet = merged()
    for labels in (PULL, PULL_OF_WEB, PUSH_OF_WEB):
        sheet.show(labels, state(30))

    assert " 3.0" == line(sheet, "count")
    assert f'{NAME}_bucket{{le="60.0"}} 3.0\n' in sheet.text().decode()


def test_what_is_hidden_goes_on_counting_for_its_line() -> None:
    """
    The line leaves with the last of its series, and comes back with all that it showed.
    """
    sheet = merged("action")
    sheet.show(PULL, state(30, 90))
    sheet.show(PULL_OF_WEB, state(90))
    sums = [line(sheet, "sum")]
    for labels in (PULL, PULL_OF_WEB):
        sheet.hide(labels)
        sums.append(line(sheet, "sum"))
    sheet.show(PULL_OF_WEB, state(90, 1, held_at=(90,)))
    sums.append(line(sheet, "sum"))
    sheet.show(PULL_OF_WEB, state(90, 1))
    sums.append(line(sheet, "sum"))
    sheet.hide(PULL_OF_WEB)

    assert ["210.0", "210.0", "", "210.0", "211.0"] == [one.partition(" ")[2] for one in sums]
    assert "" == line(sheet, "sum")
    assert sheet.text().decode().endswith("# TYPE codecommit_event_delivery_seconds histogram\n")


def test_a_series_that_is_back_keeps_its_line() -> None:
    """
    Though all the others are hidden then, and it was before.
    """
    sheet = merged("action")
    for labels in (PULL, PULL_OF_WEB):
        sheet.show(labels, state(30))
    sheet.hide(PULL)
    sheet.show(PULL, state(30, 30))
    sheet.hide(PULL_OF_WEB)
    shown = line(sheet, "count")
    sheet.hide(PULL)

    assert ('{action="GitPull"} 3.0', "") == (shown, line(sheet, "count"))


def test_a_line_of_held_series_alone_leads_nowhere() -> None:
    """
    It does as soon as anything that it shows is counted.
    """
    sheet = merged("action")
    told = {0: counted(1, 10_000)}
    found = []
    for shown in (state(30, held_at=()), state(30), state(30, 30, held_at=(30,))):
        sheet.show(PULL, shown, told)
        found.append(sheet.text().count(b"event_id"))

    assert [0, 1, 0] == found


def test_a_held_series_adds_what_it_shows() -> None:
    """
    Nothing while it is new, and once it is released all of it.
    """
    sheet = merged("protocol")
    sheet.show(PULL, state(30))
    sheet.show(PULL_OF_WEB, state(90, 90, held_at=()))
    before = line(sheet, "sum")
    sheet.show(PULL_OF_WEB, state(90, 90))

    assert ('{protocol="HTTP"} 30.0', '{protocol="HTTP"} 210.0') == (before, line(sheet, "sum"))


def test_a_line_leads_to_the_newest_event_of_any_of_its_series() -> None:
    """
    Bucket by bucket, whichever series is written last.
    """
    sheet = merged("action")
    sheet.show(PULL, state(30, 90), {0: counted(1, 10_000), 1: counted(2, 20_000)})
    sheet.show(PULL_OF_WEB, state(30, 90), {0: counted(3, 12_000), 1: counted(4, 18_000)})
    sheet.show(PULL, state(30, 90, 90), {1: counted(2, 20_000)})
    text = sheet.text().decode()

    assert f'"60.0"}} 2.0 # {{event_id="{UUID(int=3)}"}} 1.0 12.0\n' in text
    assert f'"120.0"}} 5.0 # {{event_id="{UUID(int=2)}"}} 1.0 20.0\n' in text
    assert 2 == text.count("event_id")


def test_of_two_events_of_one_commit_a_line_always_leads_to_the_same() -> None:
    """
    Whichever is written first: at one time there is one exemplar, or Prometheus complains.
    """
    told = {PULL: counted(1, 10_000), PULL_OF_WEB: counted(2, 10_000)}
    texts = set()
    for order in ((PULL, PULL_OF_WEB), (PULL_OF_WEB, PULL)):
        sheet = merged("action")
        for labels in order:
            sheet.show(labels, state(30), {0: told[labels]})
        texts.add(sheet.text())

    assert 1 == len(texts)


def test_a_line_was_born_with_the_first_of_its_series() -> None:
    """
    Whichever is written first, and whether that is still shown.
    """
    sheet = merged("action", created=True)
    sheet.show(PULL, state(30, born_ms=5000))
    late = line(sheet, "created")
    sheet.show(PULL_OF_WEB, state(30, born_ms=3000))
    sheet.hide(PULL_OF_WEB)
    sheet.show(PULL, state(30, 30, born_ms=5000))

    assert ('{action="GitPull"} 5.0', '{action="GitPull"} 3.0') == (late, line(sheet, "created"))


def test_text_says_nothing_of_births_and_exemplars() -> None:
    """
    It knows neither; and a gauge is never born.
    """
    pushes = TextSheet(Lines(PUSHES), Format.TEXT, created=True)
    pushes.show((*WHERE, "tools", "SSH"), SeriesState(Total(1), 1, 1, Total(0)), {0: counted(1, 1)})
    gauge = TextSheet(Lines(LAST_PUSH), Format.OPENMETRICS, created=True)
    gauge.show((*WHERE, "tools"), SeriesState(Total(1), 1, 1, Total(0)))

    assert b"created" not in pushes.text()
    assert b"event_id" not in pushes.text()
    assert b"created" not in gauge.text()
