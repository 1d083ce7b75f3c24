"""
Every option of every command, declared once.

An option is a field of a section. Its flag, its variable, its key in the configuration
file, its line of ``--help`` and its row in the README all come from that one declaration:
``grace`` of ``shutdown`` is ``--shutdown.grace``, ``CODECOMMIT_EXPORTER_SHUTDOWN_GRACE``
and ``shutdown: {grace: ...}``. What a value means is in ``values``, where values come from
in ``sources``.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from exporter.errors import ConfigError
from exporter.families import EVENT_LABELS

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

from exporter.values import (
    PROGRAM,
    AccountIdOrNone,
    AllowedBuckets,
    BackupUrlGiven,
    BackupUrlOrNone,
    Bytes,
    Count,
    DeliveryLabels,
    FileOrNone,
    Folder,
    Integer,
    LedgerUrlGiven,
    ListenAddresses,
    QueueUrls,
    Rate,
    Rebuild,
    RebuildOrNone,
    Seconds,
    SecondsAboveZero,
    Switch,
    Written,
    ZeroSeconds,
)

PREFIX = "CODECOMMIT_EXPORTER_"
"""What the names of the program's environment variables start with."""


# How options are declared ----------------------------------------------------------------


def option(
    text: str,
    *,
    default: Any = ...,
    shown: str = "",
    example: str = "",
    positional: bool = False,
) -> Any:
    """
    Declare an option of the section around it.

    Args:
        text: What the option does, in sentences for ``--help`` and the README.
        default: The default as a user would write it, or what computes it; None or an empty
            tuple where the option is not used. Without a default the option is required.
        shown: The default in words, where it is no text.
        example: What the error of a missing required option tells the user to write.
        positional: Whether the values are a command's plain arguments instead of a flag.
    """
    extra: dict[str, Any] = {"shown": shown, "example": example, "positional": positional}
    if callable(default):
        return Field(default_factory=default, description=text, json_schema_extra=extra)
    # A default that is no text is a value already, and there is nothing to read.
    return Field(
        default=default,
        validate_default=isinstance(default, str),
        description=text,
        json_schema_extra=extra,
    )


def section(kind: type[Section], **defaults: str) -> Any:
    """
    Declare a section of a command, with the defaults that are this command's own.
    """
    return Field(
        default_factory=lambda: kind.model_validate(defaults),
        json_schema_extra={"defaults": dict(defaults)},
    )


class Section(BaseModel):
    """
    Options that belong together; the docstring is their heading in ``--help``.
    """

    # A process runs one command, and never needs the others' validators.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


def state_directory() -> Path:
    """
    Where this platform keeps the state of programs.

    systemd says it in ``STATE_DIRECTORY`` (systemd.exec(5): several are separated by
    colons); otherwise it is macOS's Application Support or the XDG state folder.
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigError(
            f"--state.directory: this user has no home folder; write /var/lib/{PROGRAM}"
        ) from None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / PROGRAM
    # The XDG specification has relative paths ignored.
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else home / ".local" / "state") / PROGRAM


# The options -----------------------------------------------------------------------------


class Sqs(Section):
    """
    The queue that hears of new log files.
    """

    queue_url: QueueUrls = option(
        "Queue that S3 tells about new log files.",
        example="https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE",
    )
    accept_inline_events: Switch = option(
        "Also count CloudTrail records that EventBridge puts into the message itself. Whoever "
        "can send to the queue is then believed.",
        default="false",
    )


class S3Sizes(Section):
    """
    How large a log file may be.
    """

    max_compressed_bytes: Bytes = option(
        "Largest log file as it is stored. A larger one is refused as a whole.",
        default="64MiB",
    )
    max_inflated_bytes: Bytes = option(
        "Largest log file once inflated. A larger one is refused as a whole.",
        default="512MiB",
    )


class S3(S3Sizes):
    """
    The bucket that holds the log files.
    """

    allowed_bucket: AllowedBuckets = option(
        "Bucket whose log files may be read. A notification that names any other is counted, "
        "never followed, and left for the dead-letter queue. With OWNER, an account id, S3 "
        "also refuses when the bucket belongs to somebody else.",
        default=(),
        shown="required unless --s3.allow-any-bucket",
        example="my-trail-bucket=123456789012",
    )
    allow_any_bucket: Switch = option(
        "Read log files of whatever general purpose bucket a notification names; ARNs, access "
        "points and directory buckets are refused all the same.",
        default="false",
    )
    expected_bucket_owner: AccountIdOrNone = option(
        "Account that must own the buckets given without OWNER, and any other.",
        default=None,
        shown="none",
    )

    @model_validator(mode="after")
    def _named_or_any(self) -> Self:
        """
        Refuse settings under which no bucket at all may be read, as any other missing option.
        """
        if not (self.allowed_bucket or self.allow_any_bucket):
            missing = InitErrorDetails(type="missing", loc=("allowed_bucket",), input={})
            raise ValidationError.from_exception_data("S3", [missing])
        return self


class State(Section):
    """
    Where the program keeps what must survive a restart.
    """

    directory: Folder = option(
        "Folder for the ledger; keep it on a local disk that outlives the process.",
        default=state_directory,
        shown=f"$STATE_DIRECTORY, else ~/.local/state/{PROGRAM} (macOS: "
        f"~/Library/Application Support/{PROGRAM})",
    )


class LedgerUrls(Section):
    """
    The ledger, which remembers what has been counted.
    """

    url: LedgerUrlGiven = option(
        "Where the ledger is kept: sqlite:///PATH, relative to the state directory "
        "(sqlite:////PATH is absolute), or memory: for a trial whose counts end with the "
        "process.",
        default="sqlite:///ledger.db",
    )
    backup_url: BackupUrlOrNone = option(
        "Where backups of the ledger are kept: a folder on another disk, or s3://BUCKET/PREFIX. A "
        "ledger that is lost is restored from the newest one, and catches up from the buckets.",
        default=None,
        shown="none",
    )

    @model_validator(mode="after")
    def _backed_up_where_it_is_kept(self) -> Self:
        """
        Refuse backups of a ledger that ends with the process.
        """
        if self.backup_url and self.url.path is None:
            wrong = PydanticCustomError(
                "memory", "is for a ledger in a file; take it out, or choose another --ledger.url"
            )
            error = InitErrorDetails(type=wrong, loc=("backup_url",), input=self.backup_url)
            raise ValidationError.from_exception_data("Ledger", [error])
        return self


class LedgerAndBackups(LedgerUrls):
    """
    The ledger and its backups.
    """

    backup_url: BackupUrlGiven = option(
        "Where backups of the ledger are kept: a folder or s3://BUCKET/PREFIX.",
        example="s3://my-backup-bucket/codecommit-exporter",
    )


class Ledger(LedgerUrls):
    """
    The ledger, which remembers what has been counted.
    """

    dedupe_window: SecondsAboveZero = option(
        "How long an event's id is remembered, by the event's own time, so that a repeat is "
        "not counted again. AWS's own redeliveries end after 58 days.",
        default="90d",
    )
    backup_interval: SecondsAboveZero = option(
        "How often the ledger is backed up. The newest 24 backups are kept.", default="1h"
    )
    rebuild: RebuildOrNone = option(
        "What to do about a lost ledger: restore the newest backup (done anyway where there is "
        "one); mark all log files of the buckets as read, with totals from 0; recount them all; "
        "or start fresh, empty. Where no ledger is lost it does nothing; take it out again once it "
        "has been done.",
        default=None,
        shown="none",
    )

    @model_validator(mode="after")
    def _restored_from_somewhere(self) -> Self:
        """
        Refuse to restore without a place for backups.
        """
        if self.rebuild is Rebuild.RESTORE and not self.backup_url:
            wrong = PydanticCustomError("no_backups", "is restore, which needs --ledger.backup-url")
            error = InitErrorDetails(type=wrong, loc=("rebuild",), input=self.rebuild)
            raise ValidationError.from_exception_data("Ledger", [error])
        return self


class Metrics(Section):
    """
    What the page of metrics shows.
    """

    new_series_hold: Seconds = option(
        "How long a new series is shown as 0, from the first scrape that showed it; Prometheus "
        "would otherwise miss its first increase. At least twice the longest scrape interval; "
        "0s: not at all.",
        default="2m",
    )
    max_repositories: Count = option(
        "How many repositories have series of their own, deleted and retired ones included. "
        "The label value of the others is (other).",
        default="10000",
    )
    max_series: Count = option(
        "How many counters and histograms there are, over all families; a histogram is one, "
        "though Prometheus stores its buckets one by one. What would be one more adds to a "
        "series of its family whose label values are all (other).",
        default="200000",
    )
    delivery_labels: DeliveryLabels = option(
        "The labels that codecommit_event_delivery_seconds is shown with; none for one histogram "
        "over all. It has most of the page's lines. The ledger keeps all of them.",
        default=",".join(EVENT_LABELS),
        shown="all six",
    )
    created_timestamps: Switch = option(
        "Also tell when each counter and histogram was born: OpenMetrics' _created samples, one "
        "more line each.",
        default="false",
    )
    retire_after: Seconds = option(
        "Series of a repository for which nothing has been counted for so long leave the page, "
        "those of a deleted one after an hour. The totals stay in the ledger and come back with "
        "the next event. At least as long as the hold; 0s: never.",
        default="0s",
    )

    @model_validator(mode="after")
    def _retired_after_the_hold(self) -> Self:
        """
        Refuse to hide series sooner than two scrapes are sure to have seen their value.
        """
        if 0 < self.retire_after < self.new_series_hold:
            too_soon = PydanticCustomError(
                "too_soon", "is shorter than --metrics.new-series-hold; write 90d, for example"
            )
            wrong = InitErrorDetails(type=too_soon, loc=("retire_after",), input=self.retire_after)
            raise ValidationError.from_exception_data("Metrics", [wrong])
        return self


class Reconcile(Section):
    """
    Comparing the bucket with what has been read.
    """

    interval: ZeroSeconds = option(
        "How often the bucket is listed to find log files that were never announced. This "
        "version knows only 0s, which is never.",
        default="0s",
    )


class Web(Section):
    """
    The web server that Prometheus scrapes.
    """

    listen_address: ListenAddresses = option(
        "Address to listen on. Without HOST it is all interfaces; port 0 picks a free one, "
        "which the log names.",
        default=":10112",
    )


class Shutdown(Section):
    """
    How the program stops.
    """

    grace: Seconds = option("How long a stop waits for what is in hand.", default="25s")


class Log(Section):
    """
    The program's own log, on standard error.
    """

    level: Literal["debug", "info", "warning", "error"] = option(
        "Least severe lines that are logged.", default="info"
    )
    format: Literal["logfmt", "json"] = option(
        "How a line of the log is written.", default="logfmt"
    )


class ConfigFile(Section):
    """
    Options in a file.
    """

    file: FileOrNone = option(
        "YAML file with options, named as the flags are, flat (sqs.queue-url: ...) or nested "
        "(sqs: {queue-url: ...}).",
        default=None,
        shown="none",
    )


class Demo(Section):
    """
    The invented activity.
    """

    rate: Rate = option("Log files written each second.", default="2")
    duration: Seconds = option(
        "How long activity is invented. The demo then ends with a summary that compares what "
        "was written with what was counted. 0s: until stopped.",
        default="0s",
    )
    seed: Integer = option("Where chance starts: the same seed invents the same.", default="1")
    faults: Switch = option(
        "Mix in what happens in real life: repeated notifications and events, digest files, "
        "test and removal notifications, truncated files, foreign messages, denied calls.",
        default="false",
    )


class Settings(BaseModel):
    """
    What one command is told. Its fields are sections, or options without one.
    """

    # A process runs one command, and never needs the others' validators.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    command: ClassVar[str] = ""


class ServeSettings(Settings):
    """
    What ``serve`` is told.
    """

    command = "serve"

    sqs: Sqs = section(Sqs)
    s3: S3 = section(S3)
    ledger: Ledger = section(Ledger)
    state: State = section(State)
    metrics: Metrics = section(Metrics)
    reconcile: Reconcile = section(Reconcile)
    web: Web = section(Web)
    shutdown: Shutdown = section(Shutdown)
    log: Log = section(Log)
    config: ConfigFile = section(ConfigFile)

    @property
    def ledger_file(self) -> Path | None:
        """
        The SQLite file of the ledger, or None where it is kept in memory.
        """
        return self.ledger.url.file(self.state.directory)

    @model_validator(mode="after")
    def _catching_up_somewhere(self) -> Self:
        """
        Refuse to rely on buckets that nobody has named: only those can be listed.
        """
        ledger = self.ledger
        lists = ledger.backup_url or ledger.rebuild in {Rebuild.MARK, Rebuild.RECOUNT}
        if self.s3.allowed_bucket or not lists:
            return self
        given = "backup_url" if ledger.backup_url else "rebuild"
        unnamed = PydanticCustomError(
            "unnamed", "needs --s3.allowed-bucket: only buckets that are named can be listed"
        )
        wrong = InitErrorDetails(type=unnamed, loc=("ledger", given), input=getattr(ledger, given))
        raise ValidationError.from_exception_data("ServeSettings", [wrong])


class DemoSettings(Settings):
    """
    What ``demo`` is told. Its ledger lives in a folder of its own that goes with it.
    """

    command = "demo"

    demo: Demo = section(Demo)
    metrics: Metrics = section(Metrics, new_series_hold="10s")
    web: Web = section(Web, listen_address="127.0.0.1:10112")
    shutdown: Shutdown = section(Shutdown)
    log: Log = section(Log)
    config: ConfigFile = section(ConfigFile)


class ScanSettings(Settings):
    """
    What ``scan`` is told.
    """

    command = "scan"

    paths: tuple[Annotated[str, Written("PATH", str)], ...] = option(
        "Log file, folder of log files or s3://bucket/prefix; - reads one log file from "
        "standard input.",
        example="a log file, a folder, s3://bucket/prefix or - (standard input)",
        positional=True,
    )
    format: Literal["table", "json", "openmetrics"] = option(
        "How the findings are printed.", default="table"
    )
    s3: S3Sizes = section(S3Sizes)
    log: Log = section(Log)


class LedgerBackupSettings(Settings):
    """
    What ``ledger backup`` is told.
    """

    command = "ledger backup"

    ledger: LedgerAndBackups = section(LedgerAndBackups)
    state: State = section(State)
    log: Log = section(Log)
    config: ConfigFile = section(ConfigFile)

    @property
    def ledger_file(self) -> Path:
        """
        The SQLite file of the ledger.
        """
        path = self.ledger.url.file(self.state.directory)
        assert path is not None, "a ledger in memory is refused with its backups"  # noqa: S101
        return path


class LedgerRestoreSettings(LedgerBackupSettings):
    """
    What ``ledger restore`` is told.
    """

    command = "ledger restore"


ALL_SETTINGS: tuple[type[Settings], ...] = (
    ServeSettings,
    DemoSettings,
    ScanSettings,
    LedgerBackupSettings,
    LedgerRestoreSettings,
)
"""The settings of every command."""


@dataclass(frozen=True, slots=True)
class Option:
    """
    One option of one command, as its declaration tells it.
    """

    section: str
    """Field of the settings that holds it; empty for an option without a section."""
    field: str
    heading: str
    """What the options of its section are about; empty without a section."""
    text: str
    metavar: str
    pattern: str
    """Regular expression that the text of a value matches as a whole; empty where none is told."""
    default: str
    """As shown to people; empty for a required option."""
    example: str
    choices: tuple[str, ...]
    repeatable: bool
    switch: bool
    whole: bool
    """Whether its values are whole numbers, of bytes for example."""
    positional: bool

    @property
    def name(self) -> str:
        """
        The key in the configuration file, ``sqs.queue-url``.
        """
        return ".".join(self.path).replace("_", "-")

    @property
    def path(self) -> tuple[str, ...]:
        """
        Where the settings hold the value, field by field.
        """
        return (self.section, self.field) if self.section else (self.field,)

    @property
    def flag(self) -> str:
        """
        The flag, ``--sqs.queue-url``, or what stands for the plain arguments.
        """
        return self.metavar if self.positional else f"--{self.name}"

    @property
    def variable(self) -> str:
        """
        The environment variable; empty for plain arguments.
        """
        upper = re.sub(r"[.-]", "_", self.name).upper()
        return "" if self.positional else f"{PREFIX}{upper}"

    @property
    def required(self) -> bool:
        """
        Whether the command does nothing without it.
        """
        return not self.default


def options(settings: type[Settings]) -> tuple[Option, ...]:
    """
    The options of a command, section by section, first those of each that can be missing.
    """
    found = list[Option]()
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            own = declaration(field)["defaults"]
            heading = inspect.cleandoc(kind.__doc__ or "")
            here = [
                replace(_described(key, each, own.get(key)), section=name, heading=heading)
                for key, each in kind.model_fields.items()
            ]
            found.extend(sorted(here, key=lambda option: not option.example))
        else:
            found.append(_described(name, field))
    return tuple(found)


def declaration(field: FieldInfo) -> dict[str, Any]:
    """
    What ``option`` or ``section`` noted about a field.
    """
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _described(name: str, field: FieldInfo, own_default: str | None = None) -> Option:
    """
    The option that a field declares, as if it were in no section.
    """
    noted = declaration(field)
    repeatable = get_origin(field.annotation) is tuple
    item = get_args(field.annotation)[0] if repeatable else field.annotation
    marks = getattr(item, "__metadata__", ()) if repeatable else field.metadata
    choices = get_args(item) if get_origin(item) is Literal else ()
    written = next((m for m in marks if isinstance(m, Written)), Written("|".join(choices), str))
    default = "" if field.is_required() else own_default or noted["shown"] or field.default
    return Option(
        section="",
        field=name,
        heading="",
        text=field.description or "",
        metavar=written.metavar,
        pattern=written.pattern,
        default=default,
        example=noted["example"],
        choices=choices,
        repeatable=repeatable,
        switch=item is bool,
        whole=item is int,
        positional=noted["positional"],
    )
