"""
A ledger that is lost, what to begin with instead, and what it has to catch up with.

Rules:

1. Nothing begins again by itself where something has been. The newest backup is put in the
   ledger's place; without one the program is not ready until somebody says what to do.
2. A restored ledger catches up before anything is shown or received: every log file that
   was stored since it was copied is read once more, in the order of storing and, within the
   second that S3 tells, of its events. What it knows adds nothing, so the totals afterwards
   are those of the ledger that was lost.
3. An interrupted replay goes on. What the ledger has to catch up with is a fact in it.
4. A log file that cannot be read for good was not counted before either, or is no more
   there: it is told and passed over. Whatever may be mended meanwhile is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import islice

from exporter.aws.listing import Listing
from exporter.backups import Backups, clear_unfinished
from exporter.errors import (
    KeyGone,
    LedgerLost,
    LedgerUnavailable,
    LogFileArchived,
    LogFileMissing,
    Permanent,
)
from exporter.ledger.copies import check_copy
from exporter.ledger.place import Place, lost
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.tables import Replay
from exporter.notifications import LogFile
from exporter.pipeline import Pipeline
from exporter.tally import Reading
from exporter.telemetry import Source, Telemetry
from exporter.values import Rebuild

AHEAD_MAX = 16
"""How many log files are read ahead of the one that is counted next."""
TOGETHER_MAX = 256
"""How many log files of one second are put in order."""
SECOND_MS = 999
"""S3 lists the second of storing, and announces the millisecond. The end of that second makes
no delay of delivery shorter than it was shown before the ledger was lost."""
_UNREADABLE = (Permanent, LogFileMissing, LogFileArchived, KeyGone)


class Recovery:
    """
    Knows what to begin with where there is no ledger.

    Args:
        backups: Where backups are kept, if anywhere.
        rebuild: What the user wants of a lost ledger, if anything has been said.
    """

    def __init__(
        self, backups: Backups | None, rebuild: Rebuild | None, telemetry: Telemetry
    ) -> None:
        self._backups = backups
        self._rebuild = rebuild
        self._telemetry = telemetry

    async def begin(self, place: Place) -> Replay | None:
        """
        Put the newest backup where there is no ledger, or say what to begin with.

        Raises:
            LedgerLost: There was a ledger, and nothing says how to begin again, or no backup can
                be used.
            BackupUnavailable: Whether there is a backup cannot be told, or it did not come.
            LedgerUnavailable: The backup cannot be put there.
        """
        if place.moved_aside:
            self._telemetry.ledger_moved_aside(place.path, place.moved_aside)
        anew = self._rebuild in _ANEW
        names = list[str]()
        if self._backups and not (anew and place.had_ledger):
            names = await self._backups.names()
        if not (names or place.had_ledger):
            if self._rebuild is not Rebuild.FRESH:
                self._telemetry.ledger_started_empty(place.path, self._backups, self._rebuild)
            return None
        if anew:
            return self._anew(place)
        if not self._backups:
            raise lost(place)
        if not names:
            raise LedgerLost(f"{lost(place)}; there is no backup in {self._backups} either")
        restored = await restore_newest(self._backups, names, place, self._telemetry)
        self._telemetry.ledger_restored(place.path, f"{self._backups}/{restored}")
        return None

    def _anew(self, place: Place) -> Replay | None:
        """
        Begin with an empty ledger, as the user has said.
        """
        self._telemetry.ledger_rebuilt(place.path, str(self._rebuild))
        return {
            Rebuild.MARK: Replay(0, counts=False),
            Rebuild.RECOUNT: Replay(0, counts=True),
        }.get(self._rebuild)  # type: ignore[arg-type]


_ANEW = {Rebuild.MARK, Rebuild.RECOUNT, Rebuild.FRESH}


async def restore_newest(
    backups: Backups, names: Sequence[str], place: Place, telemetry: Telemetry
) -> str:
    """
    Put the newest sound backup where a ledger belongs, and return its name.

    One that is not sound is told and passed over: an older one has more to catch up with.

    Args:
        names: The names of the backups, oldest first; at least one.

    Raises:
        BackupUnavailable: It did not come.
        LedgerLost: None is a ledger that this program reads.
        LedgerUnavailable: It cannot be put there.
    """
    file = place.beside(".restored")
    # The place is taken: whoever left something unfinished beside it has ended.
    with suppress(OSError):
        await asyncio.to_thread(clear_unfinished, place.path.parent, older_than_seconds=0)
    for name in reversed(names):
        try:
            await backups.fetch(name, file)
            try:
                await asyncio.to_thread(check_copy, file)
            except LedgerUnavailable as error:
                telemetry.backup_unusable(f"{backups}/{name}", error)
            else:
                await asyncio.to_thread(place.put, file)
                return name
        finally:
            with suppress(OSError):  # where nothing can be removed, nothing was made
                await asyncio.to_thread(file.unlink, missing_ok=True)
    raise LedgerLost(
        f"none of the {len(names)} backups in {backups} can be used",
        hint="Bring a sound one there; without one, --ledger.rebuild of serve says how to begin: "
        "mark, recount or fresh.",
    )


class CatchUp:
    """
    Reads the log files that a ledger has to catch up with.

    Args:
        listing: Lists what lies in a bucket.
        buckets: The names of the buckets to look into.
    """

    def __init__(
        self,
        ledger: SqliteLedger,
        pipeline: Pipeline,
        listing: Listing,
        buckets: Iterable[str],
        telemetry: Telemetry,
    ) -> None:
        self._ledger = ledger
        self._pipeline = pipeline
        self._listing = listing
        self._buckets = tuple(buckets)
        self._telemetry = telemetry

    async def run(self) -> None:
        """
        Catch up. What has been read stays read if it fails; another call goes on from there.

        Raises:
            LogFileUnavailable: S3 did not list a bucket or hand over a log file.
            LedgerUnavailable: The ledger cannot be read or written.
        """
        replay = self._ledger.replay
        if replay is None:
            return
        progress = self._telemetry.replay_begun(replay.from_ms, counts=replay.counts)
        log_files = await self._listed(replay.from_ms, progress.found)
        unread = await self._ledger.unread(log_files)
        progress.to_read(len(unread))
        source = Source.RECONCILE if replay.counts else None
        async with aclosing(self._seconds(unread, progress.read)) as seconds:
            async for readings in seconds:
                for reading in sorted(readings, key=_first_event_ms):
                    await self._pipeline.commit(reading, source)
        await self._ledger.replayed()
        progress.ended()

    async def _listed(self, from_ms: int, found: Callable[[int], None]) -> list[LogFile]:
        log_files = list[LogFile]()
        for bucket in self._buckets:

            def found_here(number: int, before: int = len(log_files)) -> None:
                found(before + number)

            log_files += await self._listing.since(bucket, from_ms, found_here)
        log_files.sort(key=lambda one: (one.announced_ms or 0, one.key))
        return [replace(one, announced_ms=(one.announced_ms or 0) + SECOND_MS) for one in log_files]

    async def _seconds(
        self, log_files: Sequence[LogFile], one_read: Callable[[], None]
    ) -> AsyncGenerator[list[Reading], None]:
        """
        What the log files hold that were stored in the same second, second by second.

        A second in which very many were stored comes in several parts.
        """
        together = list[Reading]()
        read = 0
        async with aclosing(self._readings(log_files)) as readings:
            async for reading in readings:
                if reading is not None:
                    together.append(reading)
                read += 1
                one_read()
                stored_ms = {one.announced_ms for one in log_files[read - 1 : read + 1]}
                if read == len(log_files) or len(stored_ms) > 1 or len(together) == TOGETHER_MAX:
                    yield together
                    together = []

    async def _readings(self, log_files: Sequence[LogFile]) -> AsyncGenerator[Reading | None, None]:
        """
        What the log files hold, in their order; None for one that cannot be read.
        """
        rest = iter(log_files)
        ahead = [self._begin_reading(one) for one in islice(rest, AHEAD_MAX)]
        try:
            while ahead:
                reading = await ahead[0]
                del ahead[0]
                ahead += [self._begin_reading(one) for one in islice(rest, 1)]
                yield reading
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    def _begin_reading(self, log_file: LogFile) -> asyncio.Task[Reading | None]:
        return asyncio.create_task(self._read(log_file), name=f"replay {log_file.key}")

    async def _read(self, log_file: LogFile) -> Reading | None:
        with self._telemetry.log_file_in_hand():
            try:
                return await self._pipeline.read(log_file)
            except _UNREADABLE as error:
                self._telemetry.log_file_failed(error)
                return None


def _first_event_ms(reading: Reading) -> int:
    """
    When the first event of a log file happened; 0 where none tells.
    """
    return min((event.time_ms for event in reading.events if event.time_ms), default=0)
