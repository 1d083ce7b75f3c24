"""
When a hold begins and ends, and how far apart scrapes are.
"""

from __future__ import annotations

import pytest

from exporter.families import EVENTS, PUSHES, Series
from exporter.holds import GAP_SECONDS, SCRAPERS_MAX, Holds, Scrapers

ONE = Series(EVENTS.name, ("210987654321", "eu-central-1", "tools", "GitPull", "HTTP", "true"))
TWO = Series(PUSHES.name, ("210987654321", "eu-central-1", "tools", "SSH"))


def test_a_hold_begins_when_a_series_is_first_shown() -> None:
    """
    Showing it again does not prolong it; it is due once it has lasted long enough.
    """
    holds = Holds(120)
    holds.show([ONE], now=1000)
    holds.show([ONE, TWO], now=1060)

    assert [] == list(holds.due(1119.9))
    assert [ONE] == list(holds.due(1120))
    assert [ONE, TWO] == list(holds.due(1180))


def test_a_hold_begins_one_hold_later_when_only_some_were_shown() -> None:
    """
    That this happens again does not put it off, and that all are shown brings it forward.
    """
    holds = Holds(120)
    holds.show_in_part([ONE, TWO], now=1000)
    holds.show_in_part([ONE, TWO], now=1060)
    holds.show([ONE], now=1070)

    assert [] == list(holds.due(1189.9))
    assert [ONE] == list(holds.due(1190))
    assert [ONE, TWO] == list(holds.due(1240))


def test_a_series_that_was_never_shown_is_never_due() -> None:
    """
    Without a scrape there is no end.
    """
    assert [] == list(Holds(0).due(1e12))


def test_what_could_not_be_released_stays_due() -> None:
    """
    Asking for what is due forgets nothing; only a release does, for good.
    """
    holds = Holds(10)
    holds.show([ONE, TWO], now=0)
    first = list(holds.due(10))
    again = list(holds.due(11))
    holds.forget([ONE, ONE])

    assert [ONE, TWO] == first == again
    assert [TWO] == list(holds.due(12))


def test_forgetting_what_is_unknown_does_nothing() -> None:
    """
    A series may be released that no scrape of this process has shown.
    """
    holds = Holds(10)
    holds.forget([ONE, TWO])

    assert [] == list(holds.due(100))


@pytest.mark.parametrize(
    ("hold", "gap", "enough"), [(120, 60, True), (120, 65, True), (120, 67, False), (0, 1e6, True)]
)
def test_half_a_hold_between_two_scrapes_is_enough(hold: float, gap: float, enough: bool) -> None:
    """
    So that one scrape may fail. A little late is not too late; nothing held is nothing missed.
    """
    assert enough is Holds(hold).is_long_enough(gap)


def scrape(scrapers: Scrapers, scraper: str, now: float) -> float:
    """
    A scrape that is answered at once.
    """
    gap = scrapers.gap(scraper, now)
    scrapers.answered(scraper, now)
    return gap


def test_the_gaps_of_each_scraper_are_its_own() -> None:
    """
    Two that take turns are not one that comes twice as often.
    """
    scrapers = Scrapers()
    gaps = [
        scrape(scrapers, who, now)
        for who, now in (("a", 0), ("b", 5), ("a", 15), ("b", 65), ("a", 30))
    ]

    assert [0, 0, 15, 60, 15] == gaps
    assert 60 == scrapers.longest_gap(65)


def test_a_scrape_that_is_not_answered_ends_no_gap() -> None:
    """
    Who asks in vain has seen nothing, however often.
    """
    scrapers = Scrapers()
    scrape(scrapers, "a", 0)

    assert [15, 30, 45] == [scrapers.gap("a", now) for now in (15, 30, 45)]
    assert 45 == scrapers.longest_gap(45)


def test_the_longest_gap_is_that_of_the_last_ten_minutes() -> None:
    """
    What was long ago is over, and what was shorter shows once the longer one is.
    """
    scrapers = Scrapers()
    before = scrapers.longest_gap(0)
    for now in (0, 100, 130, 180, 200):
        scrape(scrapers, "a", now)
    longest = [scrapers.longest_gap(at + GAP_SECONDS) for at in (100, 101, 181, 201)]

    assert 0 == before
    assert [100, 50, 20, 0] == longest


def test_the_gap_of_a_seldom_scraper_shows_when_it_comes() -> None:
    """
    Also one that comes less often than gaps are kept.
    """
    scrapers = Scrapers()
    scrape(scrapers, "a", 0)
    scrape(scrapers, "a", 3600)

    assert 3600 == scrapers.longest_gap(3600)


def test_scrapers_that_came_first_are_forgotten_first() -> None:
    """
    However many addresses ask, few are remembered.
    """
    scrapers = Scrapers()
    for number in range(SCRAPERS_MAX + 1):
        scrape(scrapers, str(number), number)

    assert 0 == scrape(scrapers, "0", 1000)
    assert 1000 - SCRAPERS_MAX == scrape(scrapers, str(SCRAPERS_MAX), 1000)
