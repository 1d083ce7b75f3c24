"""
What every ledger promises, tried on each of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from exporter.codecommit import Event, Repository, event
from exporter.families import (
    EVENT_DELIVERY,
    EVENTS,
    KMS_REQUESTS,
    LAST_EVENT,
    OTHER,
    PUSHES,
    Exemplar,
    Family,
    Series,
)
from exporter.journal import Entries
from exporter.kms import kms_request
from exporter.ledger import Ledger
from exporter.ledger.book import Policy
from exporter.ledger.memory import MemoryLedger
from exporter.ledger.sqlite import SqliteLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from tests.records import OWNER, REGION, Record, api_call, denied, git, push, record

NOW = 1_790_000_000.0
RECENT = "2026-09-21T12:00:00Z"


class MakeLedger(Protocol):
    async def __call__(self, *, hold: bool = False, policy: Policy | None = None) -> Ledger: ...


@pytest.fixture(params=["memory", "sqlite"])
async def make_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeLedger]:
    """
    Makes a ledger of each kind, on a clock that stands still.
    """
    made: list[Ledger] = []

    async def make(*, hold: bool = False, policy: Policy | None = None) -> Ledger:
        ledger: Ledger
        policy = policy or Policy(hold=hold)
        if request.param == "memory":
            ledger = MemoryLedger(policy, now=lambda: NOW)
        else:
            ledger = await SqliteLedger.open(
                tmp_path / f"{len(made)}.db",
                window_seconds=90 * 86400,
                policy=policy,
                now=lambda: NOW,
            )
        made.append(ledger)
        return ledger

    yield make
    for ledger in made:
        await ledger.close()


def reading(*records: Record, key: str = "one.json.gz") -> Reading:
    """
    A log file with these records, delivered five minutes after RECENT.
    """
    events: tuple[Event, ...] = tuple(map(event, records))
    return Reading(LogFile("trail", key), 1_789_992_300_000, events)


def kms_reading(repository: str) -> Reading:
    """
    A log file with one KMS request that CodeCommit made for a repository's data.
    """
    told = record(
        "Decrypt",
        eventSource="kms.amazonaws.com",
        sourceIPAddress="codecommit.amazonaws.com",
        requestParameters={"encryptionContext": {"id": repository_id_of(repository)}},
    )
    return Reading(LogFile("trail", "kms.json.gz"), None, (), (kms_request(told),))


def repository_id_of(name: str) -> str:
    """
    The id that a Git record tells of a repository.
    """
    found: str = git("GitPull", name, moved=False)["additionalEventData"]["repositoryId"]
    return found


def answer(**fields: object) -> dict[str, object]:
    return {"responseElements": fields}


def shown(ledger: Ledger, family: Family) -> dict[tuple[str, ...], int]:
    """
    The amounts of one family by label values.
    """
    return {
        series.labels: state.total.amount
        for series, state in ledger.series.items()
        if series.family == family.name
    }


def labels(repository: str, action: str, protocol: str = "", moved: str = "") -> tuple[str, ...]:
    return (OWNER, REGION, repository, action, protocol, moved)


async def test_an_event_adds_to_its_series(make_ledger: MakeLedger) -> None:
    """
    A push adds to every family that is about it.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(push("tools", "refs/heads/main", eventTime=RECENT)))

    assert {labels("tools", "GitPush", "HTTP", "true"): 1} == shown(ledger, EVENTS)
    assert {(OWNER, REGION, "tools", "HTTP"): 1} == shown(ledger, PUSHES)
    assert {(OWNER, REGION, "tools", "GitPush"): 1_789_992_000_000} == shown(ledger, LAST_EVENT)
    assert {labels("tools", "GitPush", "HTTP", "true"): 300_000} == shown(ledger, EVENT_DELIVERY)


async def test_the_same_reading_twice_adds_nothing(make_ledger: MakeLedger) -> None:
    """
    A reading that is committed again is known, event by event.
    """
    ledger = await make_ledger()
    twice = reading(api_call("PutFile", "tools"), git("GitPull", "tools", moved=False))
    first = await ledger.commit(twice)
    before = dict(ledger.series)
    again = await ledger.commit(twice)

    assert (2, 0) == (len(first.counted), first.repeated)
    assert (0, 2) == (len(again.counted), again.repeated)
    assert before == ledger.series


async def test_an_event_in_two_files_counts_once(make_ledger: MakeLedger) -> None:
    """
    The same event in another file, as a second trail delivers it, adds nothing.
    """
    ledger = await make_ledger()
    one = api_call("PutFile", "tools")
    await ledger.commit(reading(one))
    await ledger.commit(reading(api_call("PutFile", "tools"), one, key="two.json.gz"))

    assert {labels("tools", "PutFile"): 2} == shown(ledger, EVENTS)


@pytest.mark.parametrize(
    "copy",
    [
        {"sharedEventID": "7b3a61a3-1fd6-4e1e-9d93-6e0e5d4f8e55"},
        {"addendum": {"originalEventID": "0f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c001"}},
    ],
    ids=["shared", "addendum"],
)
async def test_an_event_is_known_by_all_its_ids(make_ledger: MakeLedger, copy: Record) -> None:
    """
    A copy under an eventID of its own counts nothing if another of its ids is known.
    """
    ledger = await make_ledger()
    original = api_call(
        "PutFile",
        "tools",
        eventID="0f7c2a55-61f6-4b0c-8f4e-b4e3a1e0c001",
        sharedEventID="7b3a61a3-1fd6-4e1e-9d93-6e0e5d4f8e55",
    )
    await ledger.commit(reading(original))
    third = str(uuid4())
    tally = await ledger.commit(reading(api_call("PutFile", "tools", eventID=third, **copy)))
    again = await ledger.commit(reading(api_call("PutFile", "tools", eventID=third)))

    assert 1 == tally.repeated
    assert 1 == again.repeated, "the copy's own eventID is remembered too"


async def test_a_shared_id_joins_only_the_same_call(make_ledger: MakeLedger) -> None:
    """
    Two different calls may carry one sharedEventID; both count.
    """
    ledger = await make_ledger()
    shared = str(uuid4())
    await ledger.commit(
        reading(
            api_call("PutFile", "tools", sharedEventID=shared),
            api_call("DeleteFile", "tools", sharedEventID=shared),
        )
    )

    assert {labels("tools", "PutFile"): 1, labels("tools", "DeleteFile"): 1} == shown(
        ledger, EVENTS
    )


async def test_records_without_any_uuid_are_known_by_their_text(make_ledger: MakeLedger) -> None:
    """
    Equal records without a UUID are one event, different ones are two.
    """
    ledger = await make_ledger()
    one = git("GitPull", "tools", moved=False, eventID="740f-EXAMPLE", eventTime=RECENT)
    other = {**one, "userAgent": "another"}
    tally = await ledger.commit(reading(one, dict(reversed(one.items())), other))

    assert (2, 1) == (len(tally.counted), tally.repeated)


async def test_a_strangers_typing_makes_no_series(make_ledger: MakeLedger) -> None:
    """
    A failed request that names an unknown repository counts under the empty name.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(denied("GetRepository", "no-such-thing")))

    assert {labels("", "GetRepository"): 1} == shown(ledger, EVENTS)


async def test_a_known_repository_names_its_failures(make_ledger: MakeLedger) -> None:
    """
    Once a success has shown a repository, failed requests count under its name.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(api_call("PutFile", "tools")))
    await ledger.commit(reading(denied("GetRepository", "tools"), key="two.json.gz"))

    assert 1 == shown(ledger, EVENTS)[labels("tools", "GetRepository")]


async def test_a_file_teaches_before_it_is_resolved(make_ledger: MakeLedger) -> None:
    """
    A success that comes after the failure in the same file is in time.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(denied("GetRepository", "tools"), api_call("PutFile", "tools")))

    assert 1 == shown(ledger, EVENTS)[labels("tools", "GetRepository")]


async def test_a_repeated_event_teaches_nothing_wrong(make_ledger: MakeLedger) -> None:
    """
    A known repository is known once, however often it is shown.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(api_call("PutFile", "tools"), api_call("PutFile", "tools")))

    assert 1 == len(ledger.known)


async def test_a_delete_that_deleted_nothing_proves_nothing(make_ledger: MakeLedger) -> None:
    """
    DeleteRepository of a name that is no repository succeeds, and makes no series.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(api_call("DeleteRepository", "ghost", responseElements={})))

    assert {labels("", "DeleteRepository"): 1} == shown(ledger, EVENTS)
    assert {} == ledger.known


async def test_a_delete_that_deleted_names_its_repository(make_ledger: MakeLedger) -> None:
    """
    DeleteRepository with a repositoryId in its answer proves that there was one.
    """
    ledger = await make_ledger()
    answer = {"repositoryId": str(uuid4())}
    await ledger.commit(reading(api_call("DeleteRepository", "tools", responseElements=answer)))

    assert {labels("tools", "DeleteRepository"): 1} == shown(ledger, EVENTS)


async def test_a_file_without_events_changes_nothing(make_ledger: MakeLedger) -> None:
    """
    Most files hold no CodeCommit event; they leave no series.
    """
    ledger = await make_ledger()
    tally = await ledger.commit(reading())

    assert [] == tally.counted
    assert {} == ledger.series


async def test_an_event_without_usable_time_counts(make_ledger: MakeLedger) -> None:
    """
    An event whose time cannot be read counts once, without a delay or a timestamp.
    """
    ledger = await make_ledger()
    timeless = record("ListRepositories", eventTime="yesterday")
    await ledger.commit(reading(timeless))
    await ledger.commit(reading(timeless))

    assert {labels("", "ListRepositories"): 1} == shown(ledger, EVENTS)
    assert {} == shown(ledger, EVENT_DELIVERY)
    assert {} == shown(ledger, LAST_EVENT)


async def test_a_time_far_ahead_sets_no_timestamp(make_ledger: MakeLedger) -> None:
    """
    An event more than 15 minutes ahead of the clock counts, and moves no timestamp.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(record("ListRepositories", eventTime="2031-01-01T00:00:00Z")))

    assert {labels("", "ListRepositories"): 1} == shown(ledger, EVENTS)
    assert {} == shown(ledger, LAST_EVENT)


async def test_new_counters_and_histograms_are_born_held(make_ledger: MakeLedger) -> None:
    """
    With a hold, a new counter or histogram waits for its release; a gauge does not.
    """
    ledger = await make_ledger(hold=True)
    await ledger.commit(reading(push("tools", "refs/heads/main", eventTime=RECENT)))
    held = {series.family for series, state in ledger.series.items() if state.released_ms is None}

    assert {EVENTS.name, EVENT_DELIVERY.name, PUSHES.name} <= held
    assert LAST_EVENT.name not in held


async def test_what_belongs_to_a_repository_is_learnt(make_ledger: MakeLedger) -> None:
    """
    Requests that carry only an id, and KMS requests, get the name that earlier commits taught.
    """
    ledger = await make_ledger()
    await ledger.commit(
        reading(
            git("GitPull", "tools", moved=False),
            api_call("MergePullRequestBySquash", "tools", **answer(pullRequestId="27")),
        )
    )
    await ledger.commit(reading(record("GetPullRequest", requestParameters={"pullRequestId": 27})))
    await ledger.commit(kms_reading("tools"))

    assert 1 == shown(ledger, EVENTS)[labels("tools", "GetPullRequest")]
    assert {(OWNER, REGION, "tools", "Decrypt", ""): 1} == shown(ledger, KMS_REQUESTS)


async def test_a_kms_request_counts_once(make_ledger: MakeLedger) -> None:
    """
    It is known by its ids, as an event is, and is none.
    """
    ledger = await make_ledger()
    once = kms_reading("tools")
    first, again = await ledger.commit(once), await ledger.commit(once)

    assert (1, 0) == (first.kms_requests, first.repeated)
    assert (0, 1) == (again.kms_requests, again.repeated)
    assert {(OWNER, REGION, "", "Decrypt", ""): 1} == shown(ledger, KMS_REQUESTS)
    assert {} == shown(ledger, EVENTS)


async def test_a_rename_takes_everything_along(make_ledger: MakeLedger) -> None:
    """
    What was learnt of the old name is of the new one, and back; the id is where it belongs.
    """
    ledger = await make_ledger()
    await ledger.commit(reading(git("GitPull", "tools", moved=False, eventTime=RECENT)))
    found = []
    for minute, (old, new) in enumerate([("tools", "kit"), ("kit", "tools")], start=1):
        names = {"oldName": old, "newName": new}
        moment = f"2026-09-21T12:0{minute}:00Z"
        await ledger.commit(
            reading(record("UpdateRepositoryName", requestParameters=names, eventTime=moment))
        )
        await ledger.commit(kms_reading("tools"))
        found.append({one.name: known.repository_id for one, known in ledger.known.items()})
    repository_id = repository_id_of("tools")

    assert [
        {"tools": "", "kit": repository_id},
        {"tools": repository_id, "kit": ""},
    ] == found
    assert {"kit": 1, "tools": 1} == {
        series[2]: amount for series, amount in shown(ledger, KMS_REQUESTS).items()
    }


async def test_a_deleted_repository_has_no_id(make_ledger: MakeLedger) -> None:
    """
    Its id is gone for good, also when an older event arrives; its name may come again.
    """
    ledger = await make_ledger()
    repository_id = repository_id_of("tools")
    pull = git("GitPull", "tools", moved=False, eventTime=RECENT)
    deletion = api_call("DeleteRepository", "tools", **answer(repositoryId=repository_id))
    await ledger.commit(reading(deletion | {"eventTime": "2026-09-21T12:05:00Z"}))
    await ledger.commit(reading(pull))
    (known,) = ledger.known.values()
    assert ("", True) == (known.repository_id, known.is_deleted)

    created = api_call(
        "CreateRepository",
        "tools",
        eventTime="2026-09-21T12:06:00Z",
        **answer(repositoryMetadata={"repositoryName": "tools", "repositoryId": "new-id"}),
    )
    await ledger.commit(reading(created))
    (known,) = ledger.known.values()

    assert ("new-id", False) == (known.repository_id, known.is_deleted)


async def test_a_repository_too_many_is_one_of_the_others(make_ledger: MakeLedger) -> None:
    """
    Past the limit the label is (other); whoever has a label keeps it.
    """
    ledger = await make_ledger(policy=Policy(repositories_max=1))
    await ledger.commit(reading(api_call("PutFile", "tools")))
    tally = await ledger.commit(reading(api_call("PutFile", "tools"), api_call("PutFile", "docs")))

    assert {labels("tools", "PutFile"): 2, labels(OTHER, "PutFile"): 1} == shown(ledger, EVENTS)
    assert 1 == tally.limit_hits


async def test_release_is_for_good(make_ledger: MakeLedger) -> None:
    """
    A released series stays so, also when more is added or it is released again.
    """
    ledger = await make_ledger(hold=True)
    await ledger.commit(reading(api_call("PutFile", "tools")))
    series = Series(EVENTS.name, labels("tools", "PutFile"))
    await ledger.release([series, Series(EVENTS.name, labels("never", "Seen"))])
    await ledger.commit(reading(api_call("PutFile", "tools")))
    await ledger.release([series])

    assert (2, round(NOW * 1000)) == (
        ledger.series[series].total.amount,
        ledger.series[series].released_ms,
    )


async def test_no_other_ledger_has_its_id(make_ledger: MakeLedger) -> None:
    """
    Those who receive the totals of several tell them apart by it; it is a UUID by chance.
    """
    one, other = await make_ledger(), await make_ledger()

    assert 4 == UUID(one.identity).version
    assert one.identity != other.identity


async def test_closing_twice_is_harmless(make_ledger: MakeLedger) -> None:
    """
    A ledger that is closed may be closed again.
    """
    ledger = await make_ledger()
    await ledger.close()
    await ledger.close()

    assert {} == ledger.series


async def test_the_journal_names_what_a_commit_has_changed(make_ledger: MakeLedger) -> None:
    """
    Series and repositories, with what leads to the event; once, and nothing for a repeat.
    """
    ledger = await make_ledger(hold=True)
    pushed = push("tools", "refs/heads/main", eventTime=RECENT)
    before = ledger.journal.take()
    await ledger.commit(reading(pushed))
    series, repositories = ledger.journal.take()
    await ledger.commit(reading(pushed))
    repeated = ledger.journal.take()
    delivery = Series(EVENT_DELIVERY.name, labels("tools", "GitPush", "HTTP", "true"))
    told = {told for buckets in series.values() for told in buckets.values()}

    assert Entries({}, set()) == before
    assert ledger.series.keys() == series.keys()
    assert {Repository(OWNER, REGION, "tools")} == set(repositories)
    assert {pushed["eventID"]} == {one.exemplar.event_id for one in told}
    assert {round(NOW * 1000)} == {one.counted_ms for one in told}
    assert {2: Exemplar(pushed["eventID"], 300_000)} == {
        bucket: one.exemplar for bucket, one in series[delivery].items()
    }
    assert {} == repeated.series


async def test_the_journal_names_what_was_released_and_what_was_learnt(
    make_ledger: MakeLedger,
) -> None:
    """
    A release changes its series alone; a deletion a repository, though nothing of it shows.
    """
    ledger = await make_ledger(hold=True)
    await ledger.commit(reading(api_call("PutFile", "tools"), api_call("PutFile", "web")))
    ledger.journal.take()
    series = Series(EVENTS.name, labels("tools", "PutFile"))
    await ledger.release([series, Series(EVENTS.name, labels("never", "Seen"))])
    released = ledger.journal.take()
    await ledger.release([series])
    again = ledger.journal.take()
    gone = api_call("DeleteRepository", "web", eventTime=RECENT)
    gone["responseElements"] = {"repositoryId": repository_id_of("web")}
    await ledger.commit(reading(gone))

    assert Entries({series: {}}, set()) == released
    assert Entries({}, set()) == again
    assert Repository(OWNER, REGION, "web") in ledger.journal.take().repositories


async def test_the_mapping_of_series_stays_while_all_goes_well(make_ledger: MakeLedger) -> None:
    """
    Another one would mean that everything may have changed.
    """
    ledger = await make_ledger(hold=True)
    await ledger.commit(reading(api_call("PutFile", "tools")))
    first = ledger.series
    await ledger.commit(reading(api_call("PutFile", "web")))
    await ledger.release(list(ledger.series))

    assert first is ledger.series
