"""
Looking after a ledger by hand: ``ledger backup`` and ``ledger restore``.

Rules:

1. A backup may be made at any time: it reads the ledger without its lock, whatever the
   exporter does to it meanwhile.
2. A restored ledger takes the place of none: whoever restores over a ledger has to move it
   away first. It catches up when the exporter starts next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.exceptions import BotoCoreError

from exporter.aws.session import Session
from exporter.backups import Backups, back_up, backups_at
from exporter.config import LedgerBackupSettings, LedgerRestoreSettings
from exporter.errors import BackupUnavailable, ConfigError, LedgerUnavailable
from exporter.ledger.copies import copy_beside
from exporter.ledger.place import Place
from exporter.logs import set_up_logs
from exporter.recovery import restore_newest
from exporter.telemetry import Telemetry

PLACE_SECONDS = 5.0
"""How long a restore waits for an exporter that is just looking whether its ledger is back."""


async def ledger_backup(settings: LedgerBackupSettings) -> int:
    """
    Back up the ledger as it is now.

    Raises:
        ConfigError: The AWS settings cannot be used.
        LedgerUnavailable: There is no ledger, or it cannot be read.
        BackupUnavailable: The backup could not be kept.
    """
    set_up_logs(settings.log.level, settings.log.format)
    path = settings.ledger_file
    if not path.is_file():
        raise LedgerUnavailable(
            f"{path}: there is no ledger to back up", hint="See --state.directory and --ledger.url."
        )

    async def copy(into: Path) -> None:
        await copy_beside(path, into, round(time.time() * 1000))

    with _scratch() as folder:
        async with _backups(settings) as backups:
            name = await back_up(copy, Path(folder) / path.name, backups)
        print(f"{path} is backed up as {backups}/{name}")
    return 0


async def ledger_restore(settings: LedgerRestoreSettings) -> int:
    """
    Put the newest backup where the ledger belongs.

    Raises:
        ConfigError: The AWS settings cannot be used.
        LedgerUnavailable: There is a ledger, or a process that has it open.
        LedgerLost: No backup is one that this program reads.
        BackupUnavailable: There is no backup, or it did not come.
    """
    set_up_logs(settings.log.level, settings.log.format)
    path = settings.ledger_file
    async with _backups(settings) as backups, _place(path) as place:
        if await asyncio.to_thread(place.holds_ledger):
            raise LedgerUnavailable(f"{path} is a ledger; move it away first", hint="")
        if place.moved_aside:
            print(f"What there was of {path} is now {place.moved_aside.name}.")
        names = await backups.names()
        if not names:
            raise BackupUnavailable(f"{backups}: there is no backup", hint="")
        name = await restore_newest(backups, names, place, Telemetry())
        print(
            f"{backups}/{name} is now {path}. When serve starts next, it first reads what the "
            "buckets have had since."
        )
    return 0


def _scratch() -> TemporaryDirectory[str]:
    """
    A folder for the copy; not beside the ledger, whose disk may be full or read-only.
    """
    try:
        return TemporaryDirectory()
    except OSError as error:
        raise LedgerUnavailable(
            f"there is no place for a copy: {error}",
            hint="Set TMPDIR to a folder that has room for one.",
        ) from error


@asynccontextmanager
async def _backups(settings: LedgerBackupSettings) -> AsyncIterator[Backups]:
    url = settings.ledger.backup_url
    if url.folder is not None:
        yield backups_at(url, None)
        return
    session = Session(lambda *_: None)
    async with AsyncExitStack() as clients:
        try:
            s3 = await clients.enter_async_context(session.client("s3"))
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"the AWS settings cannot be used: {error}") from error
        yield backups_at(url, s3)


@asynccontextmanager
async def _place(path: Path) -> AsyncIterator[Place]:
    try:
        async with asyncio.timeout(PLACE_SECONDS):
            place = await Place.take(path)
    except TimeoutError:
        raise LedgerUnavailable(
            f"{path}: a process has it open; stop that first", hint=""
        ) from None
    try:
        yield place
    finally:
        place.leave()
