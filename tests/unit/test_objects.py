"""
Log files from S3: which are fetched, and how many at a time.
"""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import IncompleteReadError, ReadTimeoutError

from exporter.aws import objects as module
from exporter.aws.objects import Buckets, Objects, Room
from exporter.errors import (
    BucketElsewhere,
    BucketMissing,
    KeyGone,
    LogFileArchived,
    LogFileDenied,
    LogFileLocked,
    LogFileMissing,
    LogFileThrottled,
    LogFileUnavailable,
    OversizedLogFile,
    RefusedBucket,
    Transient,
)
from exporter.notifications import LogFile
from exporter.values import AllowedBucket
from tests.fakes import ACCOUNT, BUCKET, Edge, FakeS3, idle, keys_of, no_connection, refusal

FILE = LogFile(BUCKET, "one")
TRAIL_ONLY = Buckets([AllowedBucket(BUCKET)])


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
async def s3(edge: Edge) -> FakeS3:
    s3 = FakeS3(edge)
    s3.objects = {(BUCKET, str(number)): bytes(10) for number in range(100)}
    s3.objects[BUCKET, "one"] = b"the content"
    return s3


@pytest.fixture
def objects(s3: FakeS3) -> Objects:
    return Objects(s3, TRAIL_ONLY, compressed_bytes_max=100)


async def read(objects: Objects, log_file: LogFile) -> bytes:
    async with objects.fetch(log_file) as body:
        return body


class Holders:
    """
    Tasks that fetch files and keep them in hand until told to let go.
    """

    def __init__(self, objects: Objects) -> None:
        self.in_hand: list[str] = []
        self._objects = objects
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._let_go: dict[str, asyncio.Event] = {}

    async def want(self, *keys: str) -> None:
        for key in keys:
            self._let_go[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._hold(key))
        await idle()

    async def let_go(self, *keys: str) -> None:
        for key in keys:
            self._let_go[key].set()
            await self._tasks[key]
            self.in_hand.remove(key)
        await idle()

    async def _hold(self, key: str) -> None:
        async with self._objects.fetch(LogFile(BUCKET, key)):
            self.in_hand.append(key)
            await self._let_go[key].wait()


async def test_a_log_file_is_handed_over_as_stored(objects: Objects, s3: FakeS3) -> None:
    """
    The bytes are S3's own, and the body is closed once the caller is done with it.
    """
    async with objects.fetch(FILE) as body:
        open_meanwhile = s3.bodies_open
        content = body

    assert b"the content" == content
    assert (1, 0) == (open_meanwhile, s3.bodies_open)


@pytest.mark.parametrize("bucket", ["another", "", f"arn:aws:s3:::{BUCKET}", f"{BUCKET} "])
async def test_another_bucket_causes_no_request(objects: Objects, edge: Edge, bucket: str) -> None:
    """
    A bucket that is not allowed by exactly its name is refused unasked.
    """
    with pytest.raises(RefusedBucket, match="not allowed"):
        objects.admit(LogFile(bucket, "one"))
    with pytest.raises(RefusedBucket, match="not allowed"):
        await read(objects, LogFile(bucket, "one"))

    assert [] == edge.calls


def test_an_allowed_bucket_is_admitted(objects: Objects, edge: Edge) -> None:
    """
    Whoever asks whether a file may be read learns it without a request.
    """
    objects.admit(FILE)

    assert [] == edge.calls


def test_any_bucket_is_any_general_purpose_bucket() -> None:
    """
    Where any bucket may be read, its name must still be one, and is not repeated otherwise.
    """
    buckets = Buckets([], any_bucket=True)
    buckets.admit("another")
    with pytest.raises(RefusedBucket, match="of 35 characters is not allowed") as caught:
        buckets.admit("arn:aws:iam::1:user/wilhelmine.tell")

    assert "wilhelmine" not in str(caught.value)


def test_a_refused_bucket_is_named() -> None:
    """
    A name that any bucket may have identifies nobody.
    """
    with pytest.raises(RefusedBucket, match="bucket another is not allowed"):
        TRAIL_ONLY.admit("another")


def test_every_bucket_has_its_owner() -> None:
    """
    A bucket's own owner comes before that of all others.
    """
    allowed = [AllowedBucket("ours", "111122223333"), AllowedBucket("any")]
    owned = Buckets(allowed, any_bucket=True, owner=ACCOUNT)
    unowned = Buckets(allowed, any_bucket=True)
    names = ("ours", "any", "other")

    assert ["111122223333", ACCOUNT, ACCOUNT] == [owned.owner_of(name) for name in names]
    assert ["111122223333", None, None] == [unowned.owner_of(name) for name in names]


@pytest.mark.parametrize(
    ("owner", "kind"), [(ACCOUNT, None), ("999999999999", LogFileDenied)], ids=["right", "wrong"]
)
async def test_the_expected_owner_is_sent(
    s3: FakeS3, owner: str, kind: type[LogFileDenied] | None
) -> None:
    """
    A bucket of another owner than the configured one is not read from.
    """
    objects = Objects(s3, Buckets([AllowedBucket(BUCKET, owner)]), compressed_bytes_max=100)
    if kind is None:
        assert b"the content" == await read(objects, FILE)
        assert await objects.check_bucket(BUCKET)
    else:
        with pytest.raises(kind):
            await read(objects, FILE)
        assert not await objects.check_bucket(BUCKET)


@pytest.mark.parametrize("size", [100, 101])
async def test_a_file_over_the_cap_is_refused_unread(
    objects: Objects, s3: FakeS3, edge: Edge, size: int
) -> None:
    """
    What is larger than the cap is not read, and not kept open; what just fits is read.
    """
    s3.objects[BUCKET, "one"] = bytes(size)
    if size <= 100:
        assert bytes(size) == await read(objects, FILE)
        return
    with pytest.raises(OversizedLogFile, match=r"s3://trail-logs/one has 101 bytes"):
        await read(objects, FILE)

    assert [] == keys_of(edge.calls, "read")
    assert 0 == s3.bodies_open


@pytest.mark.parametrize("size", [0, 100, 101, 1000])
async def test_a_file_of_unknown_size(objects: Objects, s3: FakeS3, edge: Edge, size: int) -> None:
    """
    Where S3 does not tell the size, no more is read than shows that it is too much.
    """
    s3.tells_sizes = False
    s3.objects[BUCKET, "one"] = bytes(size)
    if size <= 100:
        assert bytes(size) == await read(objects, FILE)
        return
    with pytest.raises(
        OversizedLogFile, match="s3://trail-logs/one has more than 100 bytes, the cap is 100"
    ):
        await read(objects, FILE)

    assert 1 == len(keys_of(edge.calls, "read"))
    assert 0 == s3.bodies_open


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (refusal("GetObject", "NoSuchKey", 404), LogFileMissing),
        (refusal("GetObject", "NoSuchBucket", 404), BucketMissing),
        (refusal("GetObject", "AccessDenied", 403), LogFileDenied),
        (refusal("GetObject", "AllAccessDisabled", 403), LogFileDenied),
        (refusal("GetObject", "InvalidObjectState", 403), LogFileArchived),
        (refusal("GetObject", "KMS.DisabledException", 400), KeyGone),
        (refusal("GetObject", "KMS.SomethingNewException", 400), LogFileLocked),
        (refusal("GetObject", "KMS.ThrottlingException", 400), LogFileUnavailable),
        (refusal("GetObject", "PermanentRedirect", 301), BucketElsewhere),
        (refusal("GetObject", "ExpiredToken", 400), LogFileUnavailable),
        (refusal("GetObject", "SlowDown", 503), LogFileThrottled),
        (refusal("GetObject", "RequestLimitExceeded", 503), LogFileThrottled),
        (refusal("GetObject", "InternalError", 500), LogFileUnavailable),
        (refusal("GetObject", "SomethingNew", 418), LogFileUnavailable),
        (no_connection(), LogFileUnavailable),
        (ReadTimeoutError(endpoint_url="https://s3.invalid/"), LogFileUnavailable),
        (ClientPayloadError("cut"), LogFileUnavailable),
        (TimeoutError(), LogFileUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_every_failure_has_its_kind(
    objects: Objects, edge: Edge, cause: Exception, kind: type[LogFileUnavailable]
) -> None:
    """
    Whatever S3 or the network answers is one of the program's own errors, with its cause.

    It names the file, and never the person whom AWS's own message names.
    """
    edge.fail("get_object", cause)
    with pytest.raises(Transient) as caught:
        await read(objects, FILE)

    assert kind is type(caught.value)
    assert cause is caught.value.__cause__
    assert str(FILE) in str(caught.value)
    assert "wilhelmine" not in str(caught.value)


@pytest.mark.parametrize(
    "cause",
    [
        IncompleteReadError(actual_bytes=3, expected_bytes=11),
        ReadTimeoutError(endpoint_url="https://s3.invalid/"),
        ClientPayloadError("cut"),
        TimeoutError(),
    ],
    ids=lambda cause: type(cause).__name__,
)
async def test_a_body_that_breaks_off_is_no_log_file(
    objects: Objects, s3: FakeS3, edge: Edge, cause: Exception
) -> None:
    """
    Part of a body is never handed over, and its connection is let go of.
    """
    edge.fail("read", cause)
    with pytest.raises(LogFileUnavailable, match="s3://trail-logs/one"):
        await read(objects, FILE)

    assert 0 == s3.bodies_open
    assert b"the content" == await read(objects, FILE)


async def test_the_callers_own_error_stays_its_own(objects: Objects, s3: FakeS3) -> None:
    """
    What goes wrong while a body is in hand is not S3's fault.
    """
    with pytest.raises(TimeoutError):
        async with objects.fetch(FILE):
            raise TimeoutError

    assert 0 == s3.bodies_open


async def test_files_in_hand_are_bounded_by_number(objects: Objects, edge: Edge) -> None:
    """
    No more files are asked for than may be in hand; the next in line follows each that ends.
    """
    holders = Holders(objects)
    keys = [str(number) for number in range(module.LOG_FILES_IN_HAND_MAX + 5)]
    await holders.want(*keys)
    first = list(holders.in_hand)
    asked = len(keys_of(edge.calls, "get_object"))
    await holders.let_go("3", "0")
    then = list(holders.in_hand)
    await holders.let_go(*keys[1:3], *keys[4:])

    assert keys[:16] == first
    assert 16 == asked == module.LOG_FILES_IN_HAND_MAX
    assert [*first[1:3], *first[4:], "16", "17"] == then
    assert [] == holders.in_hand


async def test_files_in_hand_are_bounded_by_bytes(
    s3: FakeS3, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A body is not read before there is room for it, until its caller is done with it.
    """
    monkeypatch.setattr(module, "BYTES_IN_HAND_MAX", 35)
    monkeypatch.setattr(module, "SMALL_BYTES_MAX", 9)
    objects = Objects(s3, TRAIL_ONLY, compressed_bytes_max=100)
    holders = Holders(objects)
    await holders.want("0", "1", "2", "3", "4")
    first = (list(holders.in_hand), len(keys_of(edge.calls, "read")))
    await holders.let_go("1")
    then = (list(holders.in_hand), len(keys_of(edge.calls, "read")))
    await holders.let_go("0", "2", "3", "4")

    assert (["0", "1", "2"], 3) == first
    assert (["0", "2", "3"], 4) == then


async def test_a_small_body_does_not_wait_for_large_ones(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Large bodies share a room of their own, and however many wait, they keep no hand from others.
    """
    monkeypatch.setattr(module, "BYTES_IN_HAND_MAX", 35)
    monkeypatch.setattr(module, "SMALL_BYTES_MAX", 10)
    large = [f"large-{number}" for number in range(module.LOG_FILES_IN_HAND_MAX + 2)]
    s3.objects |= {(BUCKET, key): bytes(35) for key in large}
    objects = Objects(s3, TRAIL_ONLY, compressed_bytes_max=100)
    holders = Holders(objects)
    small = [str(number) for number in range(module.LOG_FILES_IN_HAND_MAX)]
    await holders.want(*large, *small)
    meanwhile = list(holders.in_hand)
    await holders.let_go(large[0], *small)
    then = list(holders.in_hand)
    await holders.let_go(*large[1:])

    assert [large[0], *small] == meanwhile
    assert [large[1]] == then


async def test_a_body_of_unknown_size_is_a_large_one(
    s3: FakeS3, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It may become as large as the cap, so it waits for so much room.
    """
    monkeypatch.setattr(module, "BYTES_IN_HAND_MAX", 35)
    monkeypatch.setattr(module, "SMALL_BYTES_MAX", 10)
    s3.tells_sizes = False
    holders = Holders(Objects(s3, TRAIL_ONLY, compressed_bytes_max=35))
    await holders.want("0", "1")
    first = (list(holders.in_hand), len(keys_of(edge.calls, "read")))
    await holders.let_go("0", "1")

    assert (["0"], 1) == first


async def test_a_failed_fetch_gives_its_hand_back(objects: Objects, edge: Edge) -> None:
    """
    After more failures than there are hands the next file is fetched all the same.
    """
    for name in ("get_object", "read"):
        edge.fail(name, *(no_connection() for _ in range(module.LOG_FILES_IN_HAND_MAX + 1)))
        for _ in range(module.LOG_FILES_IN_HAND_MAX + 1):
            with pytest.raises(LogFileUnavailable):
                await read(objects, FILE)

    assert b"the content" == await read(objects, FILE)


async def test_a_cancelled_fetch_gives_its_hand_back(
    s3: FakeS3, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever gives up, while waiting for room or for the body, leaves nothing occupied.
    """
    monkeypatch.setattr(module, "BYTES_IN_HAND_MAX", 10)
    monkeypatch.setattr(module, "SMALL_BYTES_MAX", 1)
    objects = Objects(s3, TRAIL_ONLY, compressed_bytes_max=100)
    gate = edge.close("read")
    tasks = [asyncio.create_task(read(objects, FILE)) for _ in range(40)]
    await idle()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    gate.set()

    assert b"the content" == await read(objects, FILE)
    assert 0 == s3.bodies_open


class Guests:
    """
    Tasks that hold part of a room until told to leave.
    """

    def __init__(self, room: Room) -> None:
        self.inside: list[str] = []
        self._room = room
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def come(self, name: str, size: int) -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, size))
        await idle()

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await self.tasks[name]
        await idle()

    async def _stay(self, name: str, size: int) -> None:
        async with self._room.hold(size):
            self.inside.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)


async def test_a_room_is_shared_in_order_of_arrival() -> None:
    """
    A small body does not overtake a large one that waits for room.
    """
    guests = Guests(Room(10))
    await guests.come("first", 6)
    await guests.come("large", 8)
    await guests.come("small", 1)
    before = list(guests.inside)
    await guests.leave("first")
    after = list(guests.inside)
    await guests.leave("large")
    await guests.leave("small")

    assert ["first"] == before
    assert ["large", "small"] == after


async def test_whoever_leaves_the_line_lets_the_next_one_in() -> None:
    """
    A waiting caller that is cancelled holds nobody up and takes no room.
    """
    guests = Guests(Room(10))
    await guests.come("first", 6)
    await guests.come("large", 8)
    await guests.come("small", 4)
    guests.tasks["large"].cancel()
    await idle()
    inside = list(guests.inside)
    await guests.leave("first")
    await guests.leave("small")
    await guests.come("all", 10)

    assert ["first", "small"] == inside
    assert ["all"] == guests.inside
    await guests.leave("all")


async def test_what_is_larger_than_the_room_has_it_alone() -> None:
    """
    A body larger than all there is waits until it has all, and is not stuck for ever.
    """
    guests = Guests(Room(10))
    await guests.come("small", 1)
    await guests.come("huge", 1000)
    waiting = list(guests.inside)
    await guests.leave("small")
    alone = list(guests.inside)
    await guests.come("next", 1)
    still_alone = list(guests.inside)
    await guests.leave("huge")

    assert (["small"], ["huge"], ["huge"]) == (waiting, alone, still_alone)
    assert ["next"] == guests.inside
    await guests.leave("next")


async def test_an_empty_body_needs_no_room() -> None:
    """
    Nothing waits behind a body without bytes.
    """
    guests = Guests(Room(10))
    await guests.come("all", 10)
    await guests.come("nothing", 0)

    assert ["all", "nothing"] == guests.inside
    await guests.leave("all")
    await guests.leave("nothing")


async def test_a_bucket_that_is_there(objects: Objects) -> None:
    """
    S3 confirms a bucket that may be looked at.
    """
    assert await objects.check_bucket(BUCKET)


async def test_a_bucket_that_is_not_there(s3: FakeS3) -> None:
    """
    A missing bucket is named, and may yet be made.
    """
    objects = Objects(s3, Buckets([AllowedBucket("missing")]), compressed_bytes_max=100)
    with pytest.raises(BucketMissing, match="bucket missing does not exist"):
        await objects.check_bucket("missing")


async def test_a_bucket_that_may_not_be_looked_at(objects: Objects, edge: Edge) -> None:
    """
    Looking at a bucket takes another permission than reading from it: a refusal proves nothing.
    """
    edge.fail("head_bucket", refusal("HeadBucket", "403", 403))

    assert not await objects.check_bucket(BUCKET)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (no_connection(), LogFileUnavailable),
        (refusal("HeadBucket", "400", 400), LogFileUnavailable),
        (refusal("HeadBucket", "301", 301), BucketElsewhere),
    ],
    ids=["none", "400", "301"],
)
async def test_a_bucket_that_does_not_answer(
    objects: Objects, edge: Edge, cause: Exception, kind: type[LogFileUnavailable]
) -> None:
    """
    No answer, or one of another Region, says nothing about whether the bucket is there.
    """
    edge.fail("head_bucket", cause)
    with pytest.raises(LogFileUnavailable, match=f"bucket {BUCKET}: ") as caught:
        await objects.check_bucket(BUCKET)

    assert kind is type(caught.value)
