"""
How tallies change the series of a ledger: holds, returns to the page, and the limits.
"""

from __future__ import annotations

from exporter.codecommit import Repository
from exporter.families import (
    EVENTS,
    LAST_PUSH,
    OTHER,
    PUSH_REFERENCES,
    PUSHES,
    Exemplar,
    Series,
    Total,
)
from exporter.journal import Counted, Entries
from exporter.knowledge import Known
from exporter.ledger.book import Book, Change, Policy
from exporter.retirement import Retirement
from exporter.tally import Tally

NOW_MS = 1_790_000_000_000
DAY_MS = 24 * 3600 * 1000
TOOLS = Repository("210987654321", "eu-central-1", "tools")
PUSH = Series(PUSHES.name, (*TOOLS, "SSH"))
REFERENCES = Series(PUSH_REFERENCES.name, (*TOOLS, "SSH"))
ID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
NEWEST = Series(LAST_PUSH.name, tuple(TOOLS))


def pushes(*repositories: str) -> Tally:
    """
    One push to each of these repositories.
    """
    tally = Tally()
    for name in repositories:
        tally.add([(Series(PUSHES.name, (*TOOLS[:2], name, "SSH")), Total(1))], ID)
    return tally


def commit(book: Book, *tallies: Tally, now_ms: int = NOW_MS) -> None:
    """
    What a ledger does that has nothing to write to; every repository named is active.
    """
    named = {Repository(*series.labels[:3]) for tally in tallies for series in tally.totals}
    known = {one: book.known.get(one, Known())._replace(active_ms=now_ms) for one in named}
    book.update(book.changed(tallies, known, now_ms))


def amounts(book: Book) -> dict[str, int]:
    """
    The pushes by repository.
    """
    return {
        series.labels[2]: state.total.amount
        for series, state in book.series.items()
        if series.family == PUSHES.name
    }


def test_counters_and_histograms_are_born_held() -> None:
    """
    A new counter or histogram shows 0 until it is released; a gauge shows its value at once.
    """
    book = Book(Policy(hold=True))
    tally = Tally()
    tally.add(
        [(PUSH, Total(1)), (REFERENCES, PUSH_REFERENCES.observed(3000)), (NEWEST, Total(7))], ID
    )
    commit(book, tally)

    assert Total(0) == book.series[PUSH].shown
    assert PUSH_REFERENCES.zero() == book.series[REFERENCES].shown
    assert Total(7) == book.series[NEWEST].shown

    book.update(book.released([PUSH, REFERENCES, NEWEST], NOW_MS))

    assert Total(1) == book.series[PUSH].shown
    assert PUSH_REFERENCES.observed(3000) == book.series[REFERENCES].shown


def returning(hold: bool = True) -> Book:
    """
    A book whose repository has retired after two pushes, and to which another one came.
    """
    book = Book(Policy(hold=hold, retirement=Retirement(DAY_MS)))
    commit(book, pushes("tools"), pushes("tools"))
    book.update(book.released([PUSH], NOW_MS))
    commit(book, pushes("tools"), now_ms=NOW_MS + DAY_MS)
    return book


def test_a_series_that_comes_back_first_shows_what_it_showed() -> None:
    """
    It is held at its old total, so that the increase is between two samples.
    """
    book = returning()

    assert (Total(3), Total(2)) == (book.series[PUSH].total, book.series[PUSH].shown)

    book.update(book.released([PUSH], NOW_MS + DAY_MS))

    assert Total(3) == book.series[PUSH].shown


def test_all_series_of_a_repository_come_back_held() -> None:
    """
    Also those that nothing was added to: the next commit may come before the next scrape.
    """
    book = Book(Policy(hold=True, retirement=Retirement(DAY_MS)))
    pull = Series(EVENTS.name, (*TOOLS, "GitPull", "SSH", "true"))
    tally = Tally()
    tally.add([(PUSH, Total(1)), (pull, Total(5)), (NEWEST, Total(7))], ID)
    commit(book, tally)
    book.update(book.released([PUSH, pull], NOW_MS))
    commit(book, pushes("tools"), now_ms=NOW_MS + DAY_MS)
    tally = Tally()
    tally.add([(pull, Total(1))], ID)
    commit(book, tally, now_ms=NOW_MS + DAY_MS + 1)

    assert (Total(1), Total(5), Total(7)) == tuple(
        book.series[one].shown for one in (PUSH, pull, NEWEST)
    )
    assert (Total(2), Total(6)) == (book.series[PUSH].total, book.series[pull].total)


def test_a_series_born_after_a_return_comes_back_with_the_next() -> None:
    """
    A repository may retire again and again, and has more series each time.
    """
    book = returning()
    pull = Series(EVENTS.name, (*TOOLS, "GitPull", "SSH", "true"))
    tally = Tally()
    tally.add([(pull, Total(5))], ID)
    commit(book, tally, now_ms=NOW_MS + DAY_MS)
    book.update(book.released([PUSH, pull], NOW_MS + DAY_MS))
    commit(book, pushes("tools"), now_ms=NOW_MS + 2 * DAY_MS)

    assert (Total(3), Total(5)) == (book.series[PUSH].shown, book.series[pull].shown)
    assert [None, None] == [book.series[one].released_ms for one in (PUSH, pull)]


def test_a_repository_that_is_there_again_comes_back_held() -> None:
    """
    One that was deleted may be back by a rename, or a look at it, before anything is counted.
    """
    book = Book(Policy(hold=True, retirement=Retirement(DAY_MS)))
    commit(book, pushes("tools"))
    book.update(book.released([PUSH], NOW_MS))
    deleted = Known(shown_ms=1, deleted_ms=1, active_ms=NOW_MS)
    book.update(Change({}, {TOOLS: deleted}))
    later_ms = NOW_MS + DAY_MS // 2
    there_again = {TOOLS: deleted._replace(shown_ms=2)}
    book.update(book.changed([], there_again, later_ms))
    commit(book, pushes("tools"), now_ms=later_ms)

    assert (Total(1), Total(2)) == (book.series[PUSH].shown, book.series[PUSH].total)


def test_what_comes_back_goes_on_being_held_at_the_same_value() -> None:
    """
    Events that come during the hold move the total, not what is shown.
    """
    book = returning()
    commit(book, pushes("tools"), now_ms=NOW_MS + DAY_MS + 1000)

    assert (Total(4), Total(2)) == (book.series[PUSH].total, book.series[PUSH].shown)


def test_nothing_is_held_where_holding_is_off() -> None:
    """
    Then a series that comes back shows its value at once, as a new one does.
    """
    assert Total(3) == returning(hold=False).series[PUSH].shown


def test_an_active_repository_holds_nothing_back() -> None:
    """
    Only what has left the page comes back to it.
    """
    book = Book(Policy(hold=True, retirement=Retirement(DAY_MS)))
    commit(book, pushes("tools"))
    book.update(book.released([PUSH], NOW_MS))
    commit(book, pushes("tools"), now_ms=NOW_MS + DAY_MS - 1)

    assert Total(2) == book.series[PUSH].shown


def test_what_would_be_one_series_more_goes_to_the_others() -> None:
    """
    Past the limit new label sets add to (other), and the sum stays the number of events.
    """
    book = Book(Policy(series_max=2))
    first, second = pushes("a", "b", "c", "d"), pushes("a", "c", "e")
    commit(book, first)
    commit(book, second)

    assert {"a": 2, "b": 1, OTHER: 4} == amounts(book)
    assert (2, 2) == (first.limit_hits, second.limit_hits)
    assert Series(PUSHES.name, (OTHER,) * 4) in book.series


def test_the_limit_holds_over_all_families_and_within_one_group() -> None:
    """
    Two tallies of one commit share the room that is left, and so do all families.
    """
    book = Book(Policy(series_max=2))
    tally = Tally()
    tally.add([(Series(EVENTS.name, (*TOOLS, "GitPush", "SSH", "true")), Total(1))], ID)
    commit(book, tally, pushes("a"), pushes("b"))

    assert {"a": 1, OTHER: 1} == amounts(book)
    assert 3 == len(book.series)


def test_gauges_take_no_room_and_make_none() -> None:
    """
    A gauge does not count towards the limit, and past it is the newest of all others.
    """
    book = Book(Policy(series_max=1))
    early, late = Tally(), Tally()
    early.add([(NEWEST, Total(5))], ID)
    late.add(
        [
            (Series(LAST_PUSH.name, (*TOOLS[:2], name)), Total(at))
            for name, at in (("x", 9), ("y", 7))
        ],
        ID,
    )
    commit(book, early, pushes("a"), late)

    assert Total(5) == book.series[NEWEST].total
    assert Total(9) == book.series[LAST_PUSH.other()].total
    assert {"a": 1} == amounts(book)


def test_a_book_read_again_knows_how_full_it_is() -> None:
    """
    The limits count what was kept before.
    """
    full = Book(Policy(series_max=1, repositories_max=1))
    commit(full, pushes("a"))
    again = Book(Policy(series_max=1, repositories_max=1), full.series, full.known)
    commit(again, pushes("b"))

    assert {"a": 1, OTHER: 1} == amounts(again)
    assert not again.repositories().name(TOOLS, NOW_MS)
    assert again.repositories().name(TOOLS._replace(name="a"), NOW_MS)


def test_a_transaction_that_fails_names_nobody() -> None:
    """
    A place that was taken in vain is free again.
    """
    book = Book(Policy(repositories_max=1))

    assert book.repositories().name(TOOLS, NOW_MS)
    assert book.repositories().name(TOOLS._replace(name="docs"), NOW_MS)


# What changes are told --------------------------------------------------------------------


def test_what_goes_to_the_others_leads_there() -> None:
    """
    The series of all others has the exemplars of what was added to it, and that is told.
    """
    book = Book(Policy(series_max=1))
    commit(book, pushes("a"))
    book.journal.take()
    tally = Tally()
    for name, event_id in (("b", ID), ("c", ID.replace("1", "2"))):
        tally.add([(Series(PUSHES.name, (*TOOLS[:2], name, "SSH")), Total(1))], event_id)
    commit(book, tally, now_ms=NOW_MS + 5)
    series, repositories = book.journal.take()

    assert {PUSHES.other(): {0: Counted(Exemplar(ID.replace("1", "2"), 1), NOW_MS + 5)}} == series
    assert {TOOLS._replace(name=name) for name in "bc"} == set(repositories)


def test_everything_that_comes_back_is_told() -> None:
    """
    Also series that nothing was added to: they are held from now on.
    """
    book = Book(Policy(hold=True, retirement=Retirement(DAY_MS)))
    tally = Tally()
    tally.add([(PUSH, Total(1)), (REFERENCES, PUSH_REFERENCES.observed(3000))], ID)
    commit(book, tally)
    book.update(book.released([PUSH, REFERENCES], NOW_MS))
    book.journal.take()
    commit(book, pushes("tools"), now_ms=NOW_MS + DAY_MS)

    assert {
        PUSH: {0: Counted(Exemplar(ID, 1), NOW_MS + DAY_MS)},
        REFERENCES: {},
    } == book.journal.take().series


def test_a_change_that_is_not_kept_is_not_told() -> None:
    """
    The journal knows what the book has taken over.
    """
    book = Book(Policy(hold=True))
    book.changed([pushes("tools")], {TOOLS: Known(active_ms=NOW_MS)}, NOW_MS)
    nothing = book.journal.take()
    commit(book, pushes("tools"))
    book.journal.take()
    book.update(book.released([PUSH], NOW_MS))
    released = book.journal.take()
    book.update(book.released([PUSH], NOW_MS))

    assert Entries({}, set()) == nothing
    assert Entries({PUSH: {}}, set()) == released
    assert Entries({}, set()) == book.journal.take()
