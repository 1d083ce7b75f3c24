"""
A lost ledger: what it begins with instead, how it catches up, and how backups are kept.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from exporter import backups as module, recovery as recovery_module
from exporter.aws.listing import Listing
from exporter.aws.objects import Buckets, Objects
from exporter.backups import (
    BACKUPS_KEPT,
    RETRY_SECONDS,
    Backups,
    FolderBackups,
    back_up,
    backup_ms,
    backup_name,
    keep_backups,
)
from exporter.errors import (
    BackupUnavailable,
    BucketUnlisted,
    LedgerLost,
    LedgerUnavailable,
    LogFileDenied,
    LogFileThrottled,
    LogFileUnavailable,
    Transient,
)
from exporter.families import EVENT_DELIVERY, Series, Total
from exporter.ledger.book import Policy
from exporter.ledger.copies import check_copy
from exporter.ledger.place import Place
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.tables import Replay
from exporter.notifications import LogFile
from exporter.pipeline import Pipeline
from exporter.recovery import AHEAD_MAX, CatchUp, Recovery, restore_newest
from exporter.telemetry import Telemetry
from exporter.values import AllowedBucket, Rebuild
from tests import records
from tests.fakes import (
    ACCOUNT,
    BUCKET,
    Clock,
    Edge,
    EdgeLedger,
    FakeS3,
    idle,
    in_no_time,
    keys_of,
    no_connection,
    refusal,
    sample,
    until,
)
from tests.readings import BIRTH, DAY, at, events_total, reading

BIRTH_MS = round(BIRTH * 1000)
OTHER_BUCKET = "other-logs"
OLDER, NEWER, NEWEST = (backup_name(BIRTH_MS + hour * 3_600_000) for hour in (-3, -2, -1))


@pytest.fixture
def clock() -> Clock:
    return Clock(BIRTH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A folder for backups, which is not there yet.
    """
    return tmp_path / "backups"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """
    The sentences that the program has said so far, those of a kind that asks for attention.
    """
    caplog.set_level(logging.INFO, logger="exporter")
    return lambda: [one.getMessage() for one in caplog.records if one.levelno > logging.INFO]


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """
    Copies of a ledger that had counted nothing, one event, two events.
    """
    path = tmp_path_factory.mktemp("copies") / "ledger.db"
    made = list[bytes]()

    async def make() -> None:
        async with opened(path, Clock(BIRTH)) as ledger:
            for number in range(3):
                await ledger.copy(path.with_name("copy"))
                made.append(path.with_name("copy").read_bytes())
                await ledger.commit(reading(at(BIRTH + number), key=f"{number}.json.gz"))

    asyncio.run(make())
    return made


@asynccontextmanager
async def opened(
    path: Path, now: Callable[[], float], **options: Any
) -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open(
        path, window_seconds=90 * DAY, policy=Policy(hold=True), now=now, **options
    )
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def taken(path: Path) -> AsyncIterator[Place]:
    place = await Place.take(path)
    try:
        yield place
    finally:
        place.leave()


def names(path: Path) -> list[str]:
    """
    What lies in a ledger's folder, but for lock and marker.
    """
    files = (file.name for file in path.parent.iterdir())
    return sorted(name for name in files if not name.endswith((".lock", ".marker")))


def keep(folder: Path, **backups: bytes) -> None:
    """
    Have backups there, by their names without punctuation.
    """
    folder.mkdir()
    for name, content in backups.items():
        (folder / {"older": OLDER, "newer": NEWER, "newest": NEWEST}[name]).write_bytes(content)


# What to begin with ----------------------------------------------------------------------

RESTORED = "the newest backup is in its place"
EMPTY = "an empty ledger begins"
MARKED = "an empty ledger begins, and marks what the buckets hold"
RECOUNTED = "an empty ledger begins, and counts what the buckets hold"
LOST = "it is lost"
UNTOLD = "whether there is a backup cannot be told"
OBEYED = "what was asked for happens"

PROMISES: Mapping[tuple[bool, str], tuple[str, str]] = {
    # has one been there, as the place tells; backups -> without a word or with "restore";
    # with another word
    (False, "none"): (EMPTY, EMPTY),
    (False, "empty"): (EMPTY, EMPTY),
    (False, "some"): (RESTORED, OBEYED),
    (False, "unreachable"): (UNTOLD, UNTOLD),
    (True, "none"): (LOST, OBEYED),
    (True, "empty"): (LOST, OBEYED),
    (True, "some"): (RESTORED, OBEYED),
    (True, "unreachable"): (UNTOLD, OBEYED),
}
ASKED_FOR = {Rebuild.MARK: MARKED, Rebuild.RECOUNT: RECOUNTED, Rebuild.FRESH: EMPTY}
REPLAYS = {
    None: EMPTY,
    Replay(0, counts=False): MARKED,
    Replay(0, counts=True): RECOUNTED,
}
COMBINATIONS = list(
    product(
        (False, True),
        (False, True),
        ("none", "empty", "some", "unreachable"),
        (None, *Rebuild),
    )
)


def backups_in_state(state: str, folder: Path, content: bytes) -> Backups | None:
    if state == "some":
        keep(folder, newest=content)
    elif state == "unreachable":
        folder.write_text("a file where a folder should be")
    return None if state == "none" else FolderBackups(folder)


@pytest.mark.parametrize(("marked", "damaged", "backups", "rebuild"), COMBINATIONS)
async def test_what_a_ledger_begins_with(
    path: Path,
    folder: Path,
    copies: list[bytes],
    marked: bool,
    damaged: bool,
    backups: str,
    rebuild: Rebuild | None,
) -> None:
    """
    For each place, backups and word what the table promises; nothing else is put there.
    """
    recovery = Recovery(backups_in_state(backups, folder, copies[1]), rebuild, Telemetry())
    async with taken(path) as place:
        if marked:
            place.mark()
        if damaged:
            place.moved_aside = path.with_name("ledger.db.damaged")
        try:
            outcome = REPLAYS[await recovery.begin(place)]
        except LedgerLost:
            outcome = LOST
        except BackupUnavailable:
            outcome = UNTOLD
    if path.exists():
        assert copies[1] == path.read_bytes()
        outcome = RESTORED
    unasked, asked = PROMISES[marked or damaged, backups]
    promised = asked if rebuild in ASKED_FOR else unasked

    assert (ASKED_FOR[rebuild] if promised == OBEYED else promised) == outcome  # type: ignore[index]
    assert (["ledger.db"] if outcome == RESTORED else []) == names(path)


async def test_a_first_ledger_is_told(
    path: Path, folder: Path, said: Callable[[], list[str]]
) -> None:
    """
    Somebody who had one elsewhere sees that this is none, unless empty is what was asked for.
    """
    warning = "There is no ledger, and nothing says that there was one: starting an empty one"
    told = []
    for rebuild in (None, Rebuild.RESTORE, Rebuild.FRESH):
        before = len(said())
        async with taken(path) as place:
            await Recovery(FolderBackups(folder), rebuild, Telemetry()).begin(place)
        told.append(said()[before:])

    assert [[warning], [warning], []] == told


async def test_a_restored_ledger_is_told(
    path: Path, folder: Path, copies: list[bytes], said: Callable[[], list[str]]
) -> None:
    """
    So is that a damaged one has been moved aside.
    """
    keep(folder, newest=copies[1])
    async with taken(path) as place:
        place.mark()
        path.write_bytes(b"no database" * 1000)
        assert not place.holds_ledger()
        await Recovery(FolderBackups(folder), None, Telemetry()).begin(place)

    assert [
        "The ledger is lost or damaged; what there is of it has been moved aside",
        "The ledger was lost and is restored",
    ] == said()


@pytest.mark.parametrize("rebuild", ASKED_FOR)
@pytest.mark.parametrize("marked", [True, False])
async def test_a_word_that_is_obeyed_is_told(
    path: Path,
    folder: Path,
    copies: list[bytes],
    said: Callable[[], list[str]],
    rebuild: Rebuild,
    marked: bool,
) -> None:
    """
    Whether the place or only a backup says that there was a ledger.
    """
    keep(folder, newest=copies[1])
    async with taken(path) as place:
        if marked:
            place.mark()
        await Recovery(FolderBackups(folder), rebuild, Telemetry()).begin(place)

    assert ["The ledger was lost; an empty one takes its place, as asked for"] == said()


async def test_a_place_without_backups_is_named(path: Path, folder: Path) -> None:
    """
    Somebody who has given the wrong one sees which it was.
    """
    async with taken(path) as place:
        place.mark()
        with pytest.raises(LedgerLost) as caught:
            await Recovery(FolderBackups(folder), None, Telemetry()).begin(place)

    assert (
        f"{path} is gone: a ledger was started here, and nothing is left of it; there is no "
        f"backup in {folder} either"
    ) == str(caught.value)


async def test_a_lost_ledger_is_opened_from_its_backup(
    path: Path, folder: Path, copies: list[bytes], clock: Clock
) -> None:
    """
    All together: marker, no file, a backup; the ledger goes on with that and has to catch up.
    """
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(at(BIRTH)))
    path.unlink()
    keep(folder, older=copies[1], newest=copies[2])
    recovery = Recovery(FolderBackups(folder), None, Telemetry())
    async with opened(path, clock, missing=recovery.begin) as ledger:
        total, due = events_total(ledger), ledger.replay
        await ledger.replayed()
    async with opened(path, clock, missing=recovery.begin) as ledger:
        later = (events_total(ledger), ledger.replay)

    assert (2, (2, None)) == (total, later)
    assert due == Replay(BIRTH_MS - round(2 * DAY * 1000), counts=True)


async def test_a_backup_that_is_damaged_is_passed_over(
    path: Path, folder: Path, copies: list[bytes], said: Callable[[], list[str]]
) -> None:
    """
    The next older one is taken, and each that could not be used is told.
    """
    keep(folder, older=copies[1], newer=b"no database" * 1000, newest=copies[2][:5000])
    async with taken(path) as place:
        name = await restore_newest(
            FolderBackups(folder), [OLDER, NEWER, NEWEST], place, Telemetry()
        )

    assert (OLDER, copies[1]) == (name, path.read_bytes())
    assert ["A backup cannot be used"] * 2 == said()
    assert ["ledger.db"] == names(path)


async def test_backups_that_are_all_damaged_are_none(path: Path, folder: Path) -> None:
    """
    The ledger stays lost, and begins with nothing.
    """
    keep(folder, older=b"no database" * 1000, newest=b"")
    async with taken(path) as place:
        place.mark()
        with pytest.raises(LedgerLost, match=f"none of the 2 backups in {folder} can be used"):
            await Recovery(FolderBackups(folder), None, Telemetry()).begin(place)

    assert [] == names(path)


async def test_a_backup_that_does_not_come_is_waited_for(
    path: Path, folder: Path, copies: list[bytes]
) -> None:
    """
    An older one would do less well; nothing is left of what came.
    """
    keep(folder, older=copies[1], newest=copies[2])

    class Cut(FolderBackups):
        async def fetch(self, name: str, into: Path) -> None:
            into.write_bytes(b"half of it")
            raise BackupUnavailable(f"{name}: the connection was lost")

    async with taken(path) as place:
        with pytest.raises(BackupUnavailable, match=NEWEST):
            await Recovery(Cut(folder), None, Telemetry()).begin(place)

    assert [] == names(path)


@pytest.mark.parametrize("step", ["before it is there", "after it is there"])
async def test_a_disk_that_fails_is_no_fault_of_the_backup(
    path: Path,
    folder: Path,
    copies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], list[str]],
    step: str,
) -> None:
    """
    No older one is tried instead, nor is the one that is there already moved aside.
    """
    keep(folder, older=copies[1], newest=copies[2])

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    async with taken(path) as place:
        with monkeypatch.context() as patch:
            patch.setattr(Place, *{"b": ("_move_aside", full), "a": ("mark", full)}[step[0]])
            with pytest.raises(LedgerUnavailable, match="No space left"):
                await Recovery(FolderBackups(folder), None, Telemetry()).begin(place)

    assert [] == said()
    assert ([] if step[0] == "b" else ["ledger.db"]) == names(path)
    assert step[0] == "b" or copies[2] == path.read_bytes()


# Catching up -----------------------------------------------------------------------------


class StoredS3(FakeS3):
    """
    An S3 client with two buckets that lists what lies in them, and since when.
    """

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge)
        self.owners |= {OTHER_BUCKET: ACCOUNT}
        self.stored: dict[tuple[str, str], int] = {}

    def put(
        self, key: str, stored: float, *written: records.Record, bucket: str = BUCKET
    ) -> LogFile:
        """
        Store a log file; ``stored`` is in seconds after the ledger's birth.
        """
        self.objects[bucket, key] = records.log_file(records.text(*written))
        self.stored[bucket, key] = BIRTH_MS + round(stored * 1000)
        return LogFile(bucket, key, self.stored[bucket, key])

    async def list_objects_v2(self, **request: str) -> dict[str, Any]:
        async with self._edge.crossed("list_objects_v2", request["Bucket"]):
            self._check_bucket("ListObjectsV2", request)
            entries: list[dict[str, Any]] = [
                {
                    "Key": key,
                    "LastModified": datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms),
                }
                for (bucket, key), ms in sorted(self.stored.items())
                if bucket == request["Bucket"] and key.startswith(request["Prefix"])
            ]
            assert not any("/" in entry["Key"] for entry in entries), "a walk without folders"
            return {"IsTruncated": False, "Contents": entries}


class Stand:
    """
    A ledger that has to catch up, and the buckets that it catches up from.
    """

    def __init__(self, ledger: SqliteLedger, clock: Clock, s3: StoredS3, edge: Edge) -> None:
        allowed = Buckets([AllowedBucket(BUCKET), AllowedBucket(OTHER_BUCKET)])
        self.ledger = ledger
        self.edge = edge
        self.telemetry = Telemetry(now=clock)
        pipeline = Pipeline(
            Objects(s3, allowed, compressed_bytes_max=100_000),
            EdgeLedger(ledger, edge),
            self.telemetry,
            inflated_bytes_max=1_000_000,
            now=clock,
        )
        self.catch_up = CatchUp(
            ledger, pipeline, Listing(s3, allowed), (BUCKET, OTHER_BUCKET), self.telemetry
        )

    @property
    def read(self) -> list[str]:
        """
        The keys of the log files that were counted, in order.
        """
        return keys_of(self.edge.calls, "commit")

    def told(self, name: str, **labels: str) -> float:
        return sample(self.telemetry.registry, f"codecommit_exporter_{name}", **labels)


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def s3(edge: Edge) -> StoredS3:
    return StoredS3(edge)


RECOUNT = Replay(0, counts=True)
Stood = Callable[..., Any]


@pytest.fixture
def stand(path: Path, clock: Clock, s3: StoredS3, edge: Edge) -> Stood:
    """
    Opens a ledger that is new and has to catch up, or goes on with the one that is there.
    """

    @asynccontextmanager
    async def open_it(replay: Replay | None = RECOUNT) -> AsyncIterator[Stand]:
        async def missing(_: Place) -> Replay | None:
            return replay

        async with opened(path, clock, missing=missing) as ledger:
            yield Stand(ledger, clock, s3, edge)

    return open_it


def numbered(s3: StoredS3, number: int) -> list[str]:
    """
    Store so many log files with an event each, and return their keys in the order of storing.
    """
    keys = [f"{one:03}.json.gz" for one in range(number)]
    for one, key in enumerate(keys):
        s3.put(key, one, at(BIRTH - 100 + one))
    return keys


async def test_log_files_are_counted_in_the_order_of_storing(
    stand: Stood, s3: StoredS3, edge: Edge
) -> None:
    """
    Over all buckets, those of one moment by their keys, whichever comes first from S3.
    """
    s3.put("c.json.gz", 10, at(BIRTH, "c"))
    s3.put("b.json.gz", 30, at(BIRTH, "b"))
    s3.put("x.json.gz", 20, at(BIRTH, "x"), bucket=OTHER_BUCKET)
    s3.put("a.json.gz", 30, at(BIRTH, "a"), bucket=OTHER_BUCKET)
    gate = edge.close("get_object c.json.gz")
    async with stand() as one:
        catch_up = asyncio.create_task(one.catch_up.run())
        others = {"get_object b.json.gz", "get_object x.json.gz", "get_object a.json.gz"}
        await until(lambda: others <= set(edge.calls), "the others are read ahead")
        await idle()
        before = one.read
        gate.set()
        await catch_up

        assert ([], ["c", "x", "a", "b"]) == (before, [key[0] for key in one.read])
        assert (None, 4) == (one.ledger.replay, events_total(one.ledger))
        assert 4 == one.told("events_counted_total", source="reconcile")
        assert 0 == one.told("events_counted_total", source="queue")
        assert 0 == one.told("event_lag_seconds_count")


async def test_no_more_log_files_are_ahead_than_fit(stand: Stood, s3: StoredS3, edge: Edge) -> None:
    """
    While the first is on its way the others wait, however many there are.
    """
    keys = numbered(s3, AHEAD_MAX + 10)
    gate = edge.close(f"get_object {keys[0]}")
    async with stand() as one:
        catch_up = asyncio.create_task(one.catch_up.run())
        asked = set(keys[:AHEAD_MAX])
        await until(lambda: asked <= set(keys_of(edge.calls, "get_object")), "all are asked for")
        await idle()
        ahead = keys_of(edge.calls, "get_object")
        gate.set()
        await catch_up

        assert sorted(asked) == sorted(ahead)
        assert keys == one.read


async def test_only_what_was_stored_since_then_is_read(
    stand: Stood, s3: StoredS3, edge: Edge, clock: Clock
) -> None:
    """
    The moment itself belongs to it.
    """
    clock.seconds += 60
    for number in range(4):
        s3.put(f"{number}.json.gz", number * 10, at(BIRTH + number))
    async with stand(Replay(BIRTH_MS + 20_000, counts=True)) as one:
        await one.catch_up.run()

    assert ["2.json.gz", "3.json.gz"] == keys_of(edge.calls, "get_object")


async def test_a_second_of_very_many_files_comes_in_parts(
    stand: Stood, s3: StoredS3, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What has been read before a failure stays read, though the second is not over.
    """
    monkeypatch.setattr(recovery_module, "TOGETHER_MAX", 2)
    keys = [f"{number}.json.gz" for number in range(5)]
    for number, key in enumerate(keys):
        s3.put(key, 1, at(BIRTH + number))
    edge.fail(f"get_object {keys[4]}", refusal("GetObject", "InternalError", 500))
    async with stand() as one:
        with pytest.raises(LogFileUnavailable):
            await one.catch_up.run()
        before = one.read
        await one.catch_up.run()

        assert (keys[:4], keys) == (before, one.read)


async def test_a_damaged_ledger_is_begun_anew_at_once(path: Path, clock: Clock) -> None:
    """
    What takes the damaged one's place is the ledger from then on.
    """
    async with opened(path, clock) as ledger:
        await ledger.commit(reading(at(BIRTH)))
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    recovery = Recovery(None, Rebuild.FRESH, Telemetry())
    async with opened(path, clock, missing=recovery.begin) as ledger:
        await ledger.commit(reading(at(BIRTH), at(BIRTH)))

        assert 2 == events_total(ledger)


async def test_files_of_one_second_are_read_in_the_order_of_their_events(
    stand: Stood, s3: StoredS3
) -> None:
    """
    S3 tells the second only, and what comes first teaches what comes later.
    """
    s3.put("b.json.gz", 1, at(BIRTH + 1))
    s3.put("c.json.gz", 1, at(BIRTH))
    s3.put("a.json.gz", 1, at(BIRTH + 2))
    s3.put("d.json.gz", 2, at(BIRTH - 1))
    async with stand() as one:
        await one.catch_up.run()

    assert ["c.json.gz", "b.json.gz", "a.json.gz", "d.json.gz"] == one.read


async def test_a_moment_that_is_still_to_come_says_nothing(
    stand: Stood, s3: StoredS3, edge: Edge
) -> None:
    """
    A copy made by a clock that was ahead catches up from the birth of its ledger.
    """
    for number in range(2):
        s3.put(f"{number}.json.gz", number * 10, at(BIRTH + number))
    async with stand(Replay(BIRTH_MS + 86_400_000, counts=True)) as one:
        await one.catch_up.run()

    assert ["0.json.gz", "1.json.gz"] == keys_of(edge.calls, "get_object")


async def test_what_has_been_read_is_not_fetched_again(
    stand: Stood, s3: StoredS3, edge: Edge
) -> None:
    """
    The ledger knows it by its address; a file of the same key in another bucket it does not.
    """
    read = [at(BIRTH), at(BIRTH + 1)]
    s3.put("a.json.gz", 1, read[0])
    s3.put("b.json.gz", 2, read[1])
    s3.put("c.json.gz", 3)
    s3.put("a.json.gz", 4, at(BIRTH + 2), bucket=OTHER_BUCKET)
    async with stand() as one:
        await one.ledger.commit(reading(read[0], key="a.json.gz", bucket=BUCKET))
        await one.ledger.commit(reading(read[1], key="b.json.gz", bucket=BUCKET))
        await one.ledger.commit(reading(key="c.json.gz", bucket=BUCKET))
        await one.catch_up.run()

        assert ["get_object a.json.gz"] == [call for call in edge.calls if "get" in call]
        assert 3 == events_total(one.ledger)


async def test_a_ledger_that_is_up_to_date_reads_nothing(
    stand: Stood, s3: StoredS3, edge: Edge
) -> None:
    """
    Nor does one that has caught up and is asked once more.
    """
    numbered(s3, 2)
    async with stand(None) as one:
        await one.catch_up.run()
        calls = list(edge.calls)

    assert [] == calls


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(gzip.compress(b"[no JSON"), id="malformed"),
        pytest.param(records.log_file(records.text())[:-9], id="cut short"),
        pytest.param(b"\0" * 100_001, id="too large"),
        pytest.param(None, id="missing"),
        pytest.param(refusal("GetObject", "InvalidObjectState", 403), id="archived"),
        pytest.param(refusal("GetObject", "KMS.DisabledException"), id="its key is disabled"),
    ],
)
async def test_what_cannot_be_read_for_good_is_passed_over(
    stand: Stood,
    s3: StoredS3,
    edge: Edge,
    spoilt: bytes | Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is counted as failed; the others are counted, and the ledger has caught up with all.
    """
    caplog.set_level("INFO")
    keys = numbered(s3, 3)
    if isinstance(spoilt, Exception):
        edge.fail(f"get_object {keys[1]}", spoilt)
    elif spoilt is None:
        del s3.objects[BUCKET, keys[1]]
    else:
        s3.objects[BUCKET, keys[1]] = spoilt
    async with stand() as one:
        await one.catch_up.run()

        assert {"log_files": 3} == caplog.records[-1].__dict__["fields"]
        assert [keys[0], keys[2]] == one.read
        assert (None, 2) == (one.ledger.replay, events_total(one.ledger))
        assert (2, 1) == (
            one.told("log_files_total", outcome="counted"),
            one.told("log_files_total", outcome="failed"),
        )
        assert 0 == one.told("log_files_in_hand")


def key_denied() -> ClientError:
    """
    What S3 answers whoever may read an object but not use its key.
    """
    error = refusal("GetObject", "AccessDenied", 403)
    error.response["Error"]["Message"] = (
        "User: arn:aws:sts::567856785678:assumed-role/exporter/i-0 is not authorized to perform: "
        "kms:Decrypt on the resource associated with this ciphertext"
    )
    return error


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [
        ("get_object", refusal("GetObject", "AccessDenied", 403), LogFileDenied),
        ("get_object", refusal("GetObject", "InternalError", 500), LogFileUnavailable),
        ("get_object", refusal("GetObject", "SlowDown", 503), LogFileThrottled),
        ("get_object", refusal("GetObject", "ExpiredToken"), LogFileUnavailable),
        ("get_object", refusal("GetObject", "KMS.ThrottlingException"), LogFileUnavailable),
        ("get_object", key_denied(), LogFileUnavailable),
        ("get_object", no_connection(), LogFileUnavailable),
        ("read", no_connection(), LogFileUnavailable),
        ("commit", LedgerUnavailable("the disk is full"), LedgerUnavailable),
    ],
)
async def test_what_may_be_mended_meanwhile_is_waited_for(
    stand: Stood, s3: StoredS3, edge: Edge, call: str, error: Exception, kind: type[Exception]
) -> None:
    """
    It is raised; what had been counted stays counted, and a second call reads only the rest.
    """
    keys = numbered(s3, 40)
    edge.fail(f"{call} {keys[20]}", error)
    async with stand() as one:
        with pytest.raises(kind):
            await one.catch_up.run()
        first = (one.ledger.replay, events_total(one.ledger))
        edge.calls.clear()
        await one.catch_up.run()

        assert (Replay(0, counts=True), 20) == first
        assert keys[20:] == sorted(keys_of(edge.calls, "get_object"))
        assert (None, 40) == (one.ledger.replay, events_total(one.ledger))
        assert 0 == one.told("log_files_total", outcome="failed")
        assert 40 == one.told("events_counted_total", source="reconcile")


@pytest.mark.parametrize("bucket", [BUCKET, OTHER_BUCKET])
async def test_a_bucket_that_is_not_listed_is_waited_for(
    stand: Stood, s3: StoredS3, edge: Edge, bucket: str
) -> None:
    """
    Nothing is counted before it is known what there is to count.
    """
    keys = numbered(s3, 2)
    edge.fail(f"list_objects_v2 {bucket}", refusal("ListObjectsV2", "AccessDenied", 403))
    async with stand() as one:
        with pytest.raises(BucketUnlisted):
            await one.catch_up.run()
        first = (one.ledger.replay, one.read)
        await one.catch_up.run()

        assert ((Replay(0, counts=True), []), keys) == (first, one.read)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("get_object", refusal("GetObject", "InternalError", 500)),
        ("commit", LedgerUnavailable("the disk is full")),
    ],
)
async def test_nothing_goes_on_unseen_after_a_failure(
    stand: Stood, s3: StoredS3, edge: Edge, call: str, error: Exception
) -> None:
    """
    What was read ahead is given up before the failure is told.
    """
    keys = numbered(s3, 10)
    edge.fail(f"{call} {keys[0]}", error)
    for key in keys[1:]:
        edge.close(f"get_object {key}")
    async with stand() as one:
        with pytest.raises(Transient):
            await one.catch_up.run()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}

        assert (set(), 0) == (tasks, one.told("log_files_in_hand"))


@pytest.mark.parametrize("counts", [True, False])
async def test_a_process_that_ends_half_way_goes_on_the_next_time(
    stand: Stood, s3: StoredS3, edge: Edge, counts: bool
) -> None:
    """
    With the rest, and as often as it takes; every event is counted once, or none is.
    """
    keys = numbered(s3, 12)
    for half_way in (3, 7, 11):
        gate = edge.close(f"get_object {keys[half_way]}")
        async with stand(Replay(0, counts=counts)) as one:
            catch_up = asyncio.create_task(one.catch_up.run())
            await until_counted(one, half_way)
            catch_up.cancel()
            await asyncio.wait([catch_up])
            assert Replay(0, counts=counts) == one.ledger.replay
        gate.set()
    async with stand() as one:
        await one.catch_up.run()

        assert keys == one.read
        assert (None, 12 if counts else 0) == (one.ledger.replay, events_total(one.ledger))


async def until_counted(stand: Stand, events: int) -> None:
    """
    Wait for so many events.
    """
    await until(lambda: events_total(stand.ledger) == events, f"{events} events are counted")


async def test_marking_counts_nothing_and_knows_everything(stand: Stood, s3: StoredS3) -> None:
    """
    Events of the bucket are repeats from then on, those that come later are counted.
    """
    events = [at(BIRTH + number) for number in range(3)]
    for number, one in enumerate(events):
        s3.put(f"{number}.json.gz", number, one)
    async with stand(Replay(0, counts=False)) as marking:
        await marking.catch_up.run()
        before = dict(marking.ledger.series)
        tally = await marking.ledger.commit(reading(*events, at(BIRTH + 9), key="later"))

        assert {} == before
        assert (3, 1) == (tally.repeated, events_total(marking.ledger))


def totals(ledger: SqliteLedger) -> dict[Series, Total]:
    """
    All totals but those of delivery, which depend on which log file of an event came first.
    """
    return {
        series: state.total
        for series, state in ledger.series.items()
        if series.family != EVENT_DELIVERY.name
    }


@pytest.mark.parametrize("seed", range(8))
async def test_a_restored_ledger_ends_where_the_lost_one_was(
    path: Path, folder: Path, clock: Clock, s3: StoredS3, edge: Edge, seed: int
) -> None:
    """
    Whenever it was copied, and in whatever order log files had been counted before.

    What comes again afterwards counts no more.
    """
    random = Random(seed)  # noqa: S311 - the same each time
    clock.seconds = BIRTH + 30 * DAY
    backups = FolderBackups(folder)
    files = list[tuple[LogFile, list[records.Record]]]()
    for number in range(30):
        stored = 30 * DAY - random.random() * 1.9 * DAY
        written = [
            at(BIRTH + stored - 300, f"r{random.randrange(4)}") for _ in range(random.randrange(3))
        ]
        if files and random.random() < 0.2:
            written += random.choice(files)[1]
        key = f"{random.randrange(10**6)}-{number}.json.gz"
        files.append((s3.put(key, stored, *written), written))
    random.shuffle(files)
    copied = random.randrange(30)
    async with opened(path, clock) as ledger:
        for number, (log_file, written) in enumerate(files):
            if number == copied:
                await back_up(ledger.copy, path.with_name("copy"), backups)
            await ledger.commit(reading(*written, key=log_file.key, bucket=BUCKET))
        lost = totals(ledger)
    path.unlink()
    recovery = Recovery(backups, None, Telemetry())
    async with opened(path, clock, missing=recovery.begin) as ledger:
        await Stand(ledger, clock, s3, edge).catch_up.run()
        restored = totals(ledger)
        events = [record for _, written in files for record in written]
        tally = await ledger.commit(reading(*events, key="all"))

    assert lost == restored
    assert (0, len(events)) == (len(tally.counted), tally.repeated)


# Keeping backups -------------------------------------------------------------------------

INTERVAL = 3600.0


@pytest.fixture
def loop_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Lets the wall clock be that of the running loop.
    """
    clock = SimpleNamespace(time=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(module, "time", clock)


@asynccontextmanager
async def backing_up(
    path: Path, backups: Backups, interval: float = INTERVAL
) -> AsyncIterator[SqliteLedger]:
    """
    A ledger in use of which backups are kept during the block.
    """
    now = asyncio.get_running_loop().time
    async with opened(path, now) as ledger:
        await ledger.commit(reading(at(BIRTH)))
        keeping = asyncio.create_task(keep_backups(ledger, backups, interval, Telemetry(now=now)))
        try:
            yield ledger
        finally:
            assert not keeping.done()
            keeping.cancel()
            await asyncio.wait([keeping])


def moments(folder: Path) -> list[float]:
    """
    When the backups in a folder were made, in seconds after the loop began.
    """
    return sorted(backup_ms(file.name) / 1000 - BIRTH for file in folder.glob("ledger-*"))


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_backups_are_made_one_interval_apart(path: Path, folder: Path) -> None:
    """
    The first at once; each is a sound copy, and nothing is left beside the ledger.
    """
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(3.5 * INTERVAL)
        left = names(path)

    assert [0.0, INTERVAL, 2 * INTERVAL, 3 * INTERVAL] == moments(folder)
    for file in folder.iterdir():
        check_copy(file)
    assert ["ledger.db", "ledger.db-shm", "ledger.db-wal"] == left


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_backup_that_is_new_enough_is_waited_on(path: Path, folder: Path) -> None:
    """
    After a restart the next is due when it would have been, and at once if that is over.
    """
    found = []
    async with opened(path, asyncio.get_running_loop().time):
        await asyncio.sleep(4 * INTERVAL)
    for age in (INTERVAL / 3, INTERVAL, 3 * INTERVAL):
        start = asyncio.get_running_loop().time()
        place = folder / str(age)
        place.mkdir(parents=True)
        (place / backup_name(round((start - age) * 1000))).touch()
        async with backing_up(path, FolderBackups(place)):
            await asyncio.sleep(0.9 * INTERVAL)
        found.append([round(BIRTH + moment - start) for moment in moments(place)])

    third = round(INTERVAL / 3)
    assert [[-third, 2 * third], [-3 * third, 0], [-9 * third, 0]] == found


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_backup_of_another_ledger_is_not_waited_on(path: Path, folder: Path) -> None:
    """
    One from before this ledger was started would bring back what it took the place of.

    One that bears the second of that start is this ledger's own.
    """
    folder.mkdir()
    (folder / backup_name(BIRTH_MS - 1000)).touch()
    await asyncio.sleep(0.5)
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(0.5 * INTERVAL)
        first = moments(folder)
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(0.4 * INTERVAL)

    assert [-1.0, 0.0] == first == moments(folder)


@in_no_time
@pytest.mark.usefixtures("loop_time")
@pytest.mark.parametrize("ahead", [INTERVAL, 400 * DAY])
async def test_a_backup_of_the_future_delays_none(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """
    A clock that was wrong once does not end the backups, and its name does not stay for ever.
    """
    monkeypatch.setattr(module, "BACKUPS_KEPT", 3)
    folder.mkdir()
    (folder / backup_name(BIRTH_MS + round(ahead * 1000))).write_bytes(b"of the future")
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(0.5 * INTERVAL)
        first = moments(folder)
        await asyncio.sleep(5 * INTERVAL)

    assert [0.0, ahead] == first
    assert [3 * INTERVAL, 4 * INTERVAL, 5 * INTERVAL] == moments(folder)
    assert not [one for one in folder.iterdir() if one.read_bytes() == b"of the future"]


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_the_newest_backups_are_kept(path: Path, folder: Path) -> None:
    """
    Older ones go, and nothing else.
    """
    folder.mkdir()
    for hour in range(1, 31):
        (folder / backup_name(BIRTH_MS - hour * 3_600_000)).touch()
    (folder / "ledger.db").touch()
    async with backing_up(path, FolderBackups(folder), 1800.0):
        await asyncio.sleep(60)

    assert 24 == BACKUPS_KEPT
    assert [-3600.0 * hour for hour in range(23, 0, -1)] + [0.0] == moments(folder)
    assert (folder / "ledger.db").exists()


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_backup_that_fails_is_tried_again(
    path: Path, folder: Path, said: Callable[[], list[str]]
) -> None:
    """
    After a while, and sooner than the next is due; nothing is left beside the ledger meanwhile.
    """
    folder.write_text("a file where a folder should be")
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(2.5 * RETRY_SECONDS)
        left = names(path)
        failures = said()
        folder.unlink()
        await asyncio.sleep(INTERVAL)
        made = moments(folder)
        await asyncio.sleep(INTERVAL)

    assert ["ledger.db", "ledger.db-shm", "ledger.db-wal"] == left
    assert ["The ledger is not backed up"] * 3 == failures == said()
    assert [3 * RETRY_SECONDS] == made
    assert [3 * RETRY_SECONDS, 3 * RETRY_SECONDS + INTERVAL] == moments(folder)


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_backups_that_keep_failing_are_told_seldom(
    path: Path, folder: Path, said: Callable[[], list[str]]
) -> None:
    """
    Where they are made every few seconds a failure is not told every time.
    """
    folder.write_text("a file where a folder should be")
    async with backing_up(path, FolderBackups(folder), 5.0):
        await asyncio.sleep(58)

    assert ["The ledger is not backed up"] == said()


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_ledger_that_cannot_be_copied_is_tried_again(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """
    A damaged ledger does not stop what else is going on, and is no backup.
    """
    failures = iter(range(2))

    async def copy(ledger: SqliteLedger, into: Path) -> None:
        if next(failures, None) is not None:
            into.write_bytes(b"half a copy")
            raise LedgerUnavailable("the disk is full")
        await honest(ledger, into)

    honest = SqliteLedger.copy
    monkeypatch.setattr(SqliteLedger, "copy", copy)
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(0.5 * RETRY_SECONDS)
        left = names(path)
        await asyncio.sleep(2 * RETRY_SECONDS)

    assert ["The ledger is not backed up"] * 2 == said()
    assert ["ledger.db", "ledger.db-shm", "ledger.db-wal"] == left
    assert [2 * RETRY_SECONDS] == moments(folder)


class Lingering(FolderBackups):
    """
    A place that takes its time over what it has to tidy up, once nobody waits any more.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun = asyncio.Event()
        self.tidied = asyncio.Event()

    async def keep(self, _: Path, __: str) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.tidied.wait()


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_stop_does_not_wait_for_a_backup(path: Path, folder: Path) -> None:
    """
    What it has to tidy up is tidied up all the same, for as long as the program runs.
    """
    backups = Lingering(folder)
    async with opened(path, asyncio.get_running_loop().time) as ledger:
        keeping = asyncio.create_task(keep_backups(ledger, backups, INTERVAL, Telemetry()))
        await backups.begun.wait()
        keeping.cancel()
        await idle()
        ended, meanwhile = keeping.cancelled(), names(path)
        backups.tidied.set()
        await until(lambda: "ledger.db.copy" not in names(path), "the copy is gone")

    assert ended
    assert "ledger.db.copy" in meanwhile


@in_no_time
@pytest.mark.usefixtures("loop_time")
async def test_a_backup_that_is_made_is_told(
    path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    By its full name, with which it can be fetched.
    """
    caplog.set_level(logging.INFO, logger="exporter")
    async with backing_up(path, FolderBackups(folder)):
        await asyncio.sleep(60)
    (made,) = folder.iterdir()
    told = [vars(one)["fields"] for one in caplog.records if "backed up" in one.getMessage()]

    assert [{"to": f"{made}"}] == told


async def test_a_backup_is_named_by_its_moment(
    path: Path, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By the wall clock, whichever the ledger's own is; what it went by way of is gone.
    """
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: BIRTH + 1.9))
    by_way_of = path.with_name("copy")
    async with opened(path, clock) as ledger:
        name = await back_up(ledger.copy, by_way_of, FolderBackups(folder))

    assert backup_name(BIRTH_MS + 1000) == name
    assert [folder / name] == list(folder.iterdir())
    assert not by_way_of.exists()
