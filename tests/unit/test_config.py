"""
What options mean, where their values come from, and what is said of wrong ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from exporter.config import (
    ALL_SETTINGS,
    DemoSettings,
    LedgerBackupSettings,
    LedgerRestoreSettings,
    ScanSettings,
    ServeSettings,
    options,
    state_directory,
)
from exporter.errors import ConfigError
from exporter.families import EVENT_LABELS
from exporter.sources import read_settings
from exporter.values import (
    NO_LABELS,
    AllowedBucket,
    BackupUrl,
    LedgerUrl,
    ListenAddress,
    Rebuild,
    either,
    is_bucket_name,
    read_account_id,
    read_bytes,
    read_count,
    read_integer,
    read_path,
    read_queue_url,
    read_rate,
    read_seconds,
    read_seconds_above_zero,
    read_switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.config import Settings

QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/log-files"
FLAGS: dict[str, Any] = {"sqs.queue-url": [QUEUE], "s3.allowed-bucket": ["trail"]}
GRACE = "CODECOMMIT_EXPORTER_SHUTDOWN_GRACE"


def serve_settings(environ: Mapping[str, str] | None = None, **flags: object) -> ServeSettings:
    """
    The settings of ``serve`` with flags written as ``shutdown__grace="1s"``.
    """
    given = {name.replace("__", ".").replace("_", "-"): text for name, text in flags.items()}
    return read_settings(ServeSettings, FLAGS | given, environ or {})


def complaint(environ: Mapping[str, str] | None = None, **flags: object) -> str:
    """
    What is said of wrong options.
    """
    with pytest.raises(ConfigError) as caught:
        serve_settings(environ, **flags)
    return str(caught.value)


# How values are written ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("90d", 7_776_000.0),
        ("1m30s", 90.0),
        ("1d2h3m4s5ms", 93_784.005),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """
    A duration is units from days to milliseconds, the larger before the smaller.
    """
    assert seconds == read_seconds(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20", '"20" has no unit; write 20s, 2m, 1h or 1d'),
        ("1.5", '"1.5" has no unit; write 1.5s, 2m, 1h or 1d'),
        ("", '"" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("1.5h", '"1.5h" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("30s1m", '"30s1m" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("-1s", '"-1s" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("2w", '"2w" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("1s\n", '"1s\\n" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
        ("٣s", '"\\u0663s" is no duration; write 500ms, 90s, 1m30s, 1h or 90d'),
    ],
)
def test_wrong_duration(text: str, said: str) -> None:
    """
    Anything else is refused with words that say what to write.
    """
    with pytest.raises(ValueError, match="write") as caught:
        read_seconds(text)

    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("512KiB", 512 << 10), ("64MiB", 64 << 20), ("1GiB", 1 << 30)],
)
def test_size(text: str, size: int) -> None:
    """
    A size is a number of bytes or of their multiples by 1024.
    """
    assert size == read_bytes(text)


@pytest.mark.parametrize("text", ["", "64MB", "64M", "64 MiB", "1.5GiB", "-1", "0x10", "9" * 40])
def test_wrong_size(text: str) -> None:
    """
    Multiples by 1000, whose letters are often meant otherwise, and the rest are refused.
    """
    with pytest.raises(ValueError, match="is no size; write 512KiB, 64MiB, 1GiB or 1048576"):
        read_bytes(text)


def test_no_size() -> None:
    """
    A limit that nothing could pass is refused.
    """
    with pytest.raises(ValueError, match='"0MiB" leaves no room'):
        read_bytes("0MiB")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10112", "", 10112),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:80", "::1", 80),
    ],
)
def test_listen_address(text: str, host: str, port: int) -> None:
    """
    An address is host and port, and is shown as it was written.
    """
    address = ListenAddress.read(text)

    assert (ListenAddress(host, port), text) == (address, str(address))


@pytest.mark.parametrize(
    "text",
    ["", "10112", "localhost", "::1:80", "[]:80", "[x]:80", ":65536", "http://a:80", "a b:1"],
)
def test_wrong_listen_address(text: str) -> None:
    """
    An address without a port, or an IPv6 address without brackets, is refused.
    """
    with pytest.raises(ValueError, match=r"write :10112 \(all interfaces\), 127"):
        ListenAddress.read(text)


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        ("my-trail.logs", AllowedBucket("my-trail.logs", "")),
        ("trail=012345678901", AllowedBucket("trail", "012345678901")),
    ],
)
def test_allowed_bucket(text: str, bucket: AllowedBucket) -> None:
    """
    A bucket is a name, and the account that owns it where that is to be checked.
    """
    assert (bucket, text) == (AllowedBucket.read(text), str(bucket))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no bucket's name"),
        ("ab", "is no bucket's name"),
        ("a" * 64, "is no bucket's name"),
        ("Trail", "is no bucket's name"),
        ("trail/AWSLogs", "is no bucket's name"),
        ("s3://trail", "is no bucket's name"),
        ("a..b", "is no bucket's name"),
        ("-trail", "is no bucket's name"),
        ("10.0.0.1", "is no bucket's name"),
        ("arn:aws:s3:::trail", "is an ARN"),
        ("arn:aws:s3:eu-central-1:111122223333:accesspoint/a", "is an ARN"),
        ("logs-abc123-s3alias", "names an access point or a special kind"),
        ("logs--ol-s3", "names an access point or a special kind"),
        ("logs--euc1-az1--x-s3", "names an access point or a special kind"),
        ("mfzwi23gnjvgw.mrap", "names an access point or a special kind"),
        ("logs--euc1-az1--xa-s3", "names an access point or a special kind"),
        ("logs-o01ac5d28a6a232904--op-s3", "names an access point or a special kind"),
        ("logs--table-s3", "names an access point or a special kind"),
        ("trail.s3.eu-central-1.amazonaws.com", "is no bucket's name"),
        ("trail.s3.cn-north-1.amazonaws.com.cn", "is no bucket's name"),
        ("trail=", "is no account id; write trail=123456789012"),
        ("trail=12345678901", "is no account id; write trail=123456789012"),
        ("trail=111122223333=1", "is no account id; write trail=123456789012"),
    ],
)
def test_wrong_bucket(text: str, said: str) -> None:
    """
    A name that may lead anywhere but to a general purpose bucket is refused.
    """
    with pytest.raises(ValueError, match=said):
        AllowedBucket.read(text)


@given(st.from_regex(r"[a-z0-9.-]{1,70}", fullmatch=True))
def test_allowed_buckets_are_buckets(text: str) -> None:
    """
    What may be allowed by name and what may be read anyway are told by the same rules.
    """
    try:
        AllowedBucket.read(text)
    except ValueError:
        assert not is_bucket_name(text)
    else:
        assert is_bucket_name(text)


@pytest.mark.parametrize(
    "text", [QUEUE, "http://127.0.0.1:5000/123456789012/demo", "http://localhost:9324/queue/demo"]
)
def test_queue_url(text: str) -> None:
    """
    A queue's URL is taken as it stands, AWS's and a local server's alike.
    """
    assert text == read_queue_url(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arn:aws:sqs:eu-central-1:111122223333:log-files", "is the queue's ARN"),
        ("log-files", "is no queue's URL"),
        ("https://sqs.eu-central-1.amazonaws.com/", "is no queue's URL"),
        ("ftp://host/queue", "is no queue's URL"),
        ("https:///queue", "is no queue's URL"),
        ("https://host/queue?Action=SendMessage", "is no queue's URL"),
        ("https://host/my queue", "is no queue's URL"),
        ("https://host:port/queue", "is no URL"),
        ("https://[::1/queue", "is no URL"),
    ],
)
def test_wrong_queue_url(text: str, said: str) -> None:
    """
    What is no queue's URL is refused with words that show one.
    """
    with pytest.raises(ValueError, match=rf"{said}; write https://sqs\.REGION\."):
        read_queue_url(text)


def test_password_in_a_queue_url() -> None:
    """
    A password is refused without being repeated.
    """
    with pytest.raises(ValueError, match="has no user name or password") as caught:
        read_queue_url("https://me:hunter2@host/queue")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sqlite:///ledger.db", Path("/state/ledger.db")),
        ("sqlite:///sub/ledger.db", Path("/state/sub/ledger.db")),
        ("sqlite:////mnt/ledger.db", Path("/mnt/ledger.db")),
        ("memory:", None),
    ],
)
def test_ledger_url(text: str, file: Path | None) -> None:
    """
    Three slashes lead into the state directory, four from the root, memory to no file.
    """
    url = LedgerUrl.read(text)

    assert (file, text) == (url.file(Path("/state")), str(url))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no ledger"),
        ("ledger.db", "is no ledger"),
        ("sqlite://ledger.db", "is no ledger"),
        ("sqlite:///", "is no ledger"),
        ("sqlite:///:memory:", "is no ledger"),
        ("sqlite:///folder/", "is no ledger"),
        ("sqlite:///ledger.db?mode=ro", "is no ledger"),
        ("dynamodb://table", "DynamoDB is not available in this version"),
    ],
)
def test_wrong_ledger_url(text: str, said: str) -> None:
    """
    Ledgers of other kinds, and files that are none, are refused.
    """
    with pytest.raises(ValueError, match=f"{said}; write sqlite:///ledger.db"):
        LedgerUrl.read(text)


def test_other_values() -> None:
    """
    Rates are above 0, seeds are whole, switches are on or off in YAML's words too.
    """
    assert (0.5, -7, 7) == (read_rate("0.5"), read_integer("-7"), read_count("7"))
    assert "012345678901" == read_account_id("012345678901")
    assert [True] * 4 == [read_switch(text) for text in ("true", "True", "yes", "1")]
    assert [False] * 4 == [read_switch(text) for text in ("false", "no", "off", "0")]
    assert Path.home() / "state" == read_path("~/state")


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_rate, "0", "is no number above 0; write 2 or 0.5"),
        (read_rate, "nan", "is no number above 0; write 2 or 0.5"),
        (read_rate, "1e400", "is no number above 0; write 2 or 0.5"),
        (read_integer, "1.0", "is no whole number; write 1, for example"),
        (read_count, "", "is no whole number above 0; write 10000, for example"),
        (read_count, "0", "is no whole number above 0; write 10000, for example"),
        (read_count, "-1", "is no whole number above 0; write 10000, for example"),
        (read_count, "1e4", "is no whole number above 0; write 10000, for example"),
        (read_account_id, "12345678901", "is no account id; write 123456789012 (12 digits)"),
        (read_account_id, "1234-5678-9012", "is no account id; write 123456789012 (12 digits)"),
        (read_switch, "maybe", "is neither on nor off; write true or false"),
        (read_path, "", "is no path; write /var/lib/codecommit-exporter, for example"),
        (read_seconds_above_zero, "0s", "is no time at all; write 500ms, 90s, 1h or 90d"),
        (Rebuild.read, "again", "is no way to rebuild; write restore, mark, recount or fresh"),
        (Rebuild.read, "Fresh", "is no way to rebuild; write restore, mark, recount or fresh"),
        (Rebuild.read, "", "is no way to rebuild; write restore, mark, recount or fresh"),
    ],
)
def test_other_wrong_values(read: Callable[[str], object], text: str, said: str) -> None:
    """
    Each error repeats what was written and says what to write.
    """
    with pytest.raises(ValueError, match="write") as caught:
        read(text)

    assert f'"{text}" {said}' == str(caught.value)


@given(
    text=st.text(),
    read=st.sampled_from(
        [
            read_account_id,
            read_bytes,
            read_count,
            read_integer,
            read_path,
            read_queue_url,
            read_rate,
            read_seconds,
            read_switch,
            AllowedBucket.read,
            LedgerUrl.read,
            ListenAddress.read,
        ]
    ),
)
def test_any_text(text: str, read: Callable[[str], object]) -> None:
    """
    Whatever is written is read or refused in one line; nothing else happens.
    """
    lines = ["read"]
    try:
        read(text)
    except ValueError as error:
        lines = str(error).splitlines()

    assert 1 == len(lines)


# Defaults --------------------------------------------------------------------------------


def test_defaults_of_serve(tmp_path: Path) -> None:
    """
    Queue and bucket are all that ``serve`` needs to be told.
    """
    settings = serve_settings(state__directory=str(tmp_path))

    assert (QUEUE,) == settings.sqs.queue_url
    assert not settings.sqs.accept_inline_events
    assert (AllowedBucket("trail", ""),) == settings.s3.allowed_bucket
    assert not settings.s3.allow_any_bucket
    assert settings.s3.expected_bucket_owner is None
    assert (64 << 20, 512 << 20) == (
        settings.s3.max_compressed_bytes,
        settings.s3.max_inflated_bytes,
    )
    assert tmp_path / "ledger.db" == settings.ledger_file
    assert 7_776_000.0 == settings.ledger.dedupe_window
    assert (None, 3600.0) == (settings.ledger.backup_url, settings.ledger.backup_interval)
    assert settings.ledger.rebuild is None
    assert 120.0 == settings.metrics.new_series_hold
    assert (10_000, 200_000) == (settings.metrics.max_repositories, settings.metrics.max_series)
    assert 0.0 == settings.metrics.retire_after
    assert 0.0 == settings.reconcile.interval
    assert (ListenAddress("", 10112),) == settings.web.listen_address
    assert 25.0 == settings.shutdown.grace
    assert ("info", "logfmt") == (settings.log.level, settings.log.format)
    assert settings.config.file is None


def test_any_bucket_needs_no_name() -> None:
    """
    Where any bucket may be read none needs to be named, but may be, for its owner's sake.
    """
    flags = {"sqs.queue-url": [QUEUE], "s3.allow-any-bucket": "true"}
    owner = {"CODECOMMIT_EXPORTER_S3_EXPECTED_BUCKET_OWNER": "012345678901"}
    any_bucket = read_settings(ServeSettings, flags, owner).s3
    both = serve_settings(s3__allow_any_bucket="true").s3

    assert ((), "012345678901") == (any_bucket.allowed_bucket, any_bucket.expected_bucket_owner)
    assert (AllowedBucket("trail"),) == both.allowed_bucket


def test_defaults_of_demo() -> None:
    """
    ``demo`` listens on this machine only, and holds new series for a shorter time.
    """
    settings = read_settings(DemoSettings, {}, {})

    assert (2.0, 0.0, 1, False) == (
        settings.demo.rate,
        settings.demo.duration,
        settings.demo.seed,
        settings.demo.faults,
    )
    assert 10.0 == settings.metrics.new_series_hold
    assert (ListenAddress("127.0.0.1", 10112),) == settings.web.listen_address


def test_defaults_of_scan() -> None:
    """
    ``scan`` prints a table, and takes its paths as they are, commas and all.
    """
    settings = read_settings(ScanSettings, {"paths": ["a,b", " c"]}, {})

    assert (("a,b", " c"), "table") == (settings.paths, settings.format)
    assert 64 << 20 == settings.s3.max_compressed_bytes


def test_settings_from_values() -> None:
    """
    Code makes settings from values as well as from text.
    """
    settings = ServeSettings.model_validate(
        {
            "sqs": {"queue_url": (QUEUE,)},
            "s3": {"allowed_bucket": (AllowedBucket("trail"),), "max_inflated_bytes": 1},
            "ledger": {"url": LedgerUrl(None)},
            "metrics": {"new_series_hold": 0.0},
            "web": {"listen_address": [ListenAddress("127.0.0.1", 0)]},
        }
    )

    assert (1, None, 0.0) == (
        settings.s3.max_inflated_bytes,
        settings.ledger_file,
        settings.metrics.new_series_hold,
    )


def test_settings_are_frozen() -> None:
    """
    Nothing changes an option once the program runs.
    """
    settings = serve_settings()

    with pytest.raises(ValidationError):
        settings.shutdown.grace = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}, "linux", "/var/lib/one"),
        ({}, "linux", "/home/me/.local/state/codecommit-exporter"),
        ({"XDG_STATE_HOME": "/xdg"}, "linux", "/xdg/codecommit-exporter"),
        ({"XDG_STATE_HOME": "x"}, "linux", "/home/me/.local/state/codecommit-exporter"),
        ({}, "darwin", "/home/me/Library/Application Support/codecommit-exporter"),
    ],
)
def test_state_directory(
    environ: dict[str, str], platform: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    State goes where systemd says, else where the platform keeps it.
    """
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)

    assert Path(folder) == state_directory()


def test_nobody_is_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A user without a home folder is asked for a state directory.
    """

    def nowhere() -> Path:
        raise RuntimeError

    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)

    assert (
        "--state.directory: this user has no home folder; write /var/lib/codecommit-exporter"
        == complaint()
    )


# Where values come from ------------------------------------------------------------------


def test_precedence(tmp_path: Path) -> None:
    """
    A flag wins over a variable, a variable over the file, the file over the default.
    """
    file = tmp_path / "exporter.yml"
    file.write_text("shutdown: {grace: 1s}\nlog: {level: error, format: json}\n")
    environ = {GRACE: "2s", "CODECOMMIT_EXPORTER_LOG_LEVEL": "debug"}

    settings = serve_settings(environ, config__file=str(file), shutdown__grace="3s")

    assert (3.0, "debug", "json", file) == (
        settings.shutdown.grace,
        settings.log.level,
        settings.log.format,
        settings.config.file,
    )


def test_a_list_is_replaced_not_extended() -> None:
    """
    The queues of a flag are all queues; those of the variable are forgotten.
    """
    environ = {"CODECOMMIT_EXPORTER_SQS_QUEUE_URL": "https://host/1/other"}

    assert (QUEUE,) == serve_settings(environ).sqs.queue_url


def test_lists_in_variables() -> None:
    """
    A variable separates the values of a repeatable option by commas.
    """
    environ = {
        "CODECOMMIT_EXPORTER_SQS_QUEUE_URL": f"{QUEUE}, {QUEUE}-2,",
        "CODECOMMIT_EXPORTER_S3_ALLOWED_BUCKET": "one,two=111122223333",
    }

    settings = read_settings(ServeSettings, {}, environ)

    assert (QUEUE, f"{QUEUE}-2") == settings.sqs.queue_url
    assert ["one", "two=111122223333"] == [str(one) for one in settings.s3.allowed_bucket]


def test_an_empty_variable() -> None:
    """
    An empty variable says nothing, as templates leave them.
    """
    assert 25.0 == serve_settings({GRACE: " "}).shutdown.grace


@pytest.mark.parametrize(
    "name",
    [
        "CODECOMMIT_EXPORTER_PORT",
        "CODECOMMIT_EXPORTER_PORT_10112_TCP_ADDR",
        "CODECOMMIT_EXPORTER_SERVICE_HOST",
        "CODECOMMIT_EXPORTER_SERVICE_PORT_METRICS",
        "CODECOMMIT_EXPORTER_WEB_PORT_10112_TCP",
        "CODECOMMIT_EXPORTER_DEMO_RATE",
        "CODECOMMIT_EXPORTERS",
        "PATH",
    ],
)
def test_variables_of_others(name: str) -> None:
    """
    Kubernetes' variables and those of other commands and programs are none of ours.
    """
    environ = {name: "x", "CODECOMMIT_EXPORTER_WEB_SERVICE_HOST": "10.0.0.1"}

    assert serve_settings() == serve_settings(environ)


def test_unknown_variable() -> None:
    """
    A variable that is no option is an error, and the nearest one is named.
    """
    assert (
        "CODECOMMIT_EXPORTER_SHUTDOWN_GRAC: no such option; did you mean "
        "CODECOMMIT_EXPORTER_SHUTDOWN_GRACE?"
    ) == complaint({"CODECOMMIT_EXPORTER_SHUTDOWN_GRAC": "1s"})
    assert "CODECOMMIT_EXPORTER_XYZZY: no such option; --help lists what there is" == complaint(
        {"CODECOMMIT_EXPORTER_XYZZY": "1"}
    )
    assert "CODECOMMIT_EXPORTER_WEB_PORT: no such option" in complaint(
        {"CODECOMMIT_EXPORTER_WEB_PORT": "80"}
    )


@pytest.mark.parametrize(
    "text",
    [
        f"sqs: {{queue-url: {QUEUE}}}\ns3: {{allowed-bucket: [one, 'two=111122223333']}}",
        f"sqs.queue-url: [{QUEUE}]\ns3.allowed-bucket: one,two=111122223333",
        f"""
        # comments, a section with nothing in it, and another command's option
        log:
        demo: {{rate: 5}}
        sqs:
          queue-url:
            - {QUEUE}
        s3:
          allowed-bucket: [one, two=111122223333]
        """,
    ],
)
def test_file(text: str, tmp_path: Path) -> None:
    """
    The file takes the flags' names, flat or nested.
    """
    file = tmp_path / "exporter.yml"
    file.write_text(text)

    settings = read_settings(ServeSettings, {}, {"CODECOMMIT_EXPORTER_CONFIG_FILE": str(file)})

    assert (QUEUE,) == settings.sqs.queue_url
    assert ["one", "two=111122223333"] == [str(one) for one in settings.s3.allowed_bucket]


def test_an_empty_file(tmp_path: Path) -> None:
    """
    A file without options is no mistake.
    """
    file = tmp_path / "exporter.yml"
    file.write_text("# nothing yet\n")

    assert 25.0 == serve_settings(config__file=str(file)).shutdown.grace


def test_scalars_of_a_file_are_text(tmp_path: Path) -> None:
    """
    YAML's numbers and truths are read as they are written.
    """
    file = tmp_path / "exporter.yml"
    file.write_text("demo: {faults: yes, seed: 010, rate: 0.5}\nweb.listen-address: 22:10\n")

    settings = read_settings(DemoSettings, {"config.file": str(file)}, {})

    assert (ListenAddress("22", 10),) == settings.web.listen_address
    assert (True, 10, 0.5) == (settings.demo.faults, settings.demo.seed, settings.demo.rate)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqs: {queue: x}", ":1: sqs.queue: no such option; did you mean sqs.queue-url?"),
        ("\nsqs: {queue_url: x}", ":2: sqs.queue_url: no such option; did you mean sqs.queue-url?"),
        ("xyzzy:", ":1: xyzzy: no such option; --help lists what there is"),
        ("config: {file: x}", ":1: config.file: no such option; --help lists what there is"),
        ("paths: [x]", ":1: paths: no such option; --help lists what there is"),
        ("{? [a, b] : c}", ":1: a key is no text; write log.level, for example"),
        ("log.level: info\nlog: {level: info}", ":2: log.level: is given twice; write it once"),
        ("log: {level: }", ":1: log.level: has no value"),
        ("log.level: ", ":1: log.level: has no value"),
        ("log: {level: [info]}", ":1: log.level: holds more than is read; write one value"),
        (
            "sqs: {queue-url: {a: b}}",
            ":1: sqs.queue-url: holds more than is read; write one value or a list",
        ),
        ("web: {listen-address: []}", ":1: web.listen-address: is empty; write at least one value"),
        (
            "shutdown:\n  grace: 20",
            ':2: shutdown.grace: "20" has no unit; write 20s, 2m, 1h or 1d',
        ),
        ("- a", ":1: holds no options; write log.level: info, for example"),
        ("just words", ":1: holds no options; write log.level: info, for example"),
        ("a: 'b", ":1: is no YAML: found unexpected end of stream"),
        ("a: b\n---\nc: d", ":2: is no YAML: but found another document"),
    ],
)
def test_wrong_file(text: str, said: str, tmp_path: Path) -> None:
    """
    What is wrong in a file is named with file, line and key.
    """
    file = tmp_path / "exporter.yml"
    file.write_text(text)

    assert f"{file}{said}" == complaint(config__file=str(file))


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"\x00", b"[" * 1_000])
def test_a_file_that_is_no_yaml(content: bytes, tmp_path: Path) -> None:
    """
    Bytes that are no YAML at all end in the same one line.
    """
    file = tmp_path / "exporter.yml"
    file.write_bytes(content)

    assert f'--config.file: "{file}" is no YAML file' == complaint(config__file=str(file))


def test_a_file_that_is_not_there() -> None:
    """
    A file that cannot be read is named with the place that named it.
    """
    assert '--config.file: "/nowhere/x.yml": No such file or directory' == complaint(
        config__file="/nowhere/x.yml"
    )
    assert "CODECOMMIT_EXPORTER_CONFIG_FILE: " in complaint(
        {"CODECOMMIT_EXPORTER_CONFIG_FILE": "/nowhere/x.yml"}
    )


# What is said of wrong values ------------------------------------------------------------


def test_the_place_is_named() -> None:
    """
    An error begins with the flag or variable that holds the wrong value.
    """
    said = '"20" has no unit; write 20s, 2m, 1h or 1d'

    assert f"--shutdown.grace: {said}" == complaint(shutdown__grace="20")
    assert f"{GRACE}: {said}" == complaint({GRACE: "20"})


def test_a_choice_is_spelt_out() -> None:
    """
    A word that is none of an option's is refused with all of them.
    """
    assert '--log.level: "loud" is not known; write debug, info, warning or error' == complaint(
        log__level="loud"
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {},
            (
                "--sqs.queue-url is missing; write --sqs.queue-url "
                "https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE or set "
                "CODECOMMIT_EXPORTER_SQS_QUEUE_URL"
            ),
        ),
        (
            {"sqs.queue-url": [QUEUE], "s3.allow-any-bucket": "no"},
            (
                "--s3.allowed-bucket is missing (required unless --s3.allow-any-bucket); write "
                "--s3.allowed-bucket my-trail-bucket=123456789012 or set "
                "CODECOMMIT_EXPORTER_S3_ALLOWED_BUCKET"
            ),
        ),
    ],
)
def test_missing(flags: dict[str, Any], said: str) -> None:
    """
    What is missing is named with what to write.
    """
    with pytest.raises(ConfigError) as caught:
        read_settings(ServeSettings, flags, {})

    assert said == str(caught.value)


def test_missing_path() -> None:
    """
    A scan of nothing is told what it can scan.
    """
    with pytest.raises(ConfigError) as caught:
        read_settings(ScanSettings, {}, {})

    assert (
        "PATH is missing; write a log file, a folder, s3://bucket/prefix or - (standard input)"
        == str(caught.value)
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"reconcile__interval": "1h"}, '"1h" is not available in this version; write 0s (never)'),
        ({"sqs__queue_url": [QUEUE, QUEUE]}, f'"{QUEUE}" is given twice; write it once'),
        (
            {"s3__allowed_bucket": ["one", "one=111122223333"]},
            '"one" is given twice; write it once',
        ),
        ({"sqs__queue_url": [""]}, "is empty; write at least one value"),
        ({"s3__allowed_bucket": [""]}, "--s3.allowed-bucket: is empty; write at least one value"),
        ({"web__listen_address": [":1,2"]}, '"2" is no address to listen on; write :10112'),
    ],
)
def test_other_complaints(flags: dict[str, object], said: str) -> None:
    """
    One value of a list is enough to refuse it, and a bucket has one owner.
    """
    assert said in complaint({}, **flags)


@pytest.mark.parametrize("word", list(Rebuild))
def test_ways_to_rebuild(word: str) -> None:
    """
    Each word of the help is one.
    """
    given = serve_settings(ledger__rebuild=word, ledger__backup_url="/mnt/backups")

    assert word == given.ledger.rebuild


def test_restoring_needs_a_place_for_backups() -> None:
    """
    The other ways to rebuild need none.
    """
    assert "--ledger.rebuild: is restore, which needs --ledger.backup-url" == complaint(
        ledger__rebuild="restore"
    )
    for word in set(Rebuild) - {Rebuild.RESTORE}:
        assert word == serve_settings(ledger__rebuild=word).ledger.rebuild


@pytest.mark.parametrize("kind", [LedgerBackupSettings, LedgerRestoreSettings])
def test_upkeep_must_be_told_where_backups_are(
    kind: type[LedgerBackupSettings], tmp_path: Path
) -> None:
    """
    Nothing but the place is needed, and it may come from the file that ``serve`` has.
    """
    file = tmp_path / "exporter.yml"
    file.write_text("ledger.backup-url: /mnt/backups\ns3.allowed-bucket: trail\n")
    variables = {"CODECOMMIT_EXPORTER_SQS_QUEUE_URL": QUEUE}
    settings = read_settings(kind, {"config.file": str(file)}, variables)
    with pytest.raises(ConfigError, match=r"^--ledger\.backup-url is missing; write "):
        read_settings(kind, {}, {})

    assert BackupUrl(Path("/mnt/backups")) == settings.ledger.backup_url


@pytest.mark.parametrize("kind", [ServeSettings, LedgerBackupSettings, LedgerRestoreSettings])
def test_a_ledger_in_memory_has_no_backups(kind: type[Settings]) -> None:
    """
    It ends with the process; nothing would be there to be lost.
    """
    flags = FLAGS if kind is ServeSettings else {}
    given = flags | {"ledger.url": "memory:", "ledger.backup-url": "/mnt/backups"}
    with pytest.raises(ConfigError) as caught:
        read_settings(kind, given, {})

    assert (
        "--ledger.backup-url: is for a ledger in a file; take it out, or choose another "
        "--ledger.url"
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("ledger.backup-url", "/mnt/backups"),
        ("ledger.rebuild", "mark"),
        ("ledger.rebuild", "recount"),
    ],
)
def test_catching_up_needs_a_named_bucket(option: str, text: str) -> None:
    """
    Where any bucket may be read, nothing says which ones to list; the others stay allowed.
    """
    flags = {"sqs.queue-url": [QUEUE], "s3.allow-any-bucket": "true"}
    with pytest.raises(ConfigError) as caught:
        read_settings(ServeSettings, flags | {option: text}, {})
    both = read_settings(ServeSettings, FLAGS | flags | {option: text}, {})

    assert (
        f"--{option}: needs --s3.allowed-bucket: only buckets that are named can be listed"
        == str(caught.value)
    )
    assert both.s3.allow_any_bucket


def test_an_empty_ledger_needs_no_named_bucket() -> None:
    """
    It has nothing to catch up with, so nothing is listed.
    """
    flags = {"sqs.queue-url": [QUEUE], "s3.allow-any-bucket": "true", "ledger.rebuild": "fresh"}

    assert Rebuild.FRESH == read_settings(ServeSettings, flags, {}).ledger.rebuild


# The declarations ------------------------------------------------------------------------


def test_every_option_is_explained() -> None:
    """
    Each option has a sentence, a form and, if it is required, an example.
    """
    declared = [option for kind in ALL_SETTINGS for option in options(kind)]

    assert [] == [option.name for option in declared if not option.text.endswith(".")]
    assert [] == [option.name for option in declared if not option.metavar]
    assert [] == [option.name for option in declared if option.required and not option.example]


def test_names() -> None:
    """
    Flag, key and variable of an option are one name in three spellings.
    """
    option = next(one for one in options(ServeSettings) if one.field == "max_inflated_bytes")

    assert ("--s3.max-inflated-bytes", "s3.max-inflated-bytes") == (option.flag, option.name)
    assert "CODECOMMIT_EXPORTER_S3_MAX_INFLATED_BYTES" == option.variable
    assert ("SIZE", "512MiB") == (option.metavar, option.default)


def test_what_can_be_missing_comes_first() -> None:
    """
    A reader of ``--help`` meets queue and bucket before what can be left as it is.
    """
    needed = [option.name for option in options(ServeSettings) if option.example]
    first = {option.section: option.name for option in reversed(options(ServeSettings))}

    assert ["sqs.queue-url", "s3.allowed-bucket"] == needed == [first["sqs"], first["s3"]]


def test_variables_differ() -> None:
    """
    No two options of a command share a variable, dots and hyphens being one there.
    """
    for kind in ALL_SETTINGS:
        variables = [option.variable for option in options(kind)]

        assert len(variables) == len(set(variables))


def test_series_retire_after_their_hold() -> None:
    """
    What is hidden before its value was sure to be seen would never be counted by anybody.
    """
    assert (
        "--metrics.retire-after: is shorter than --metrics.new-series-hold; write 90d, for example"
    ) == complaint(metrics__retire_after="119s")
    assert 120 == serve_settings(metrics__retire_after="2m").metrics.retire_after
    assert (
        1
        == serve_settings(
            metrics__retire_after="1s", metrics__new_series_hold="0s"
        ).metrics.retire_after
    )


DELIVERY_LABELS = "CODECOMMIT_EXPORTER_METRICS_DELIVERY_LABELS"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("protocol,account_id", ("account_id", "protocol")),
        (" action , repository ,", ("repository", "action")),
        (",".join(reversed(EVENT_LABELS)), EVENT_LABELS),
        ("none", ()),
    ],
)
def test_labels_of_delivery_times(text: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    """
    In any order, which becomes the family's, by flag, variable or file; all if nothing is said.
    """
    file = tmp_path / "exporter.yml"
    listed = "".join(f"\n    - {one}" for one in text.split(",") if one)
    file.write_text(f"metrics:\n  delivery-labels:{listed}\n")
    found = [
        serve_settings(metrics__delivery_labels=text.split(",")),
        serve_settings({DELIVERY_LABELS: text}),
        serve_settings(config__file=str(file)),
    ]

    assert [labels] * 3 == [one.metrics.delivery_labels for one in found]
    assert EVENT_LABELS == serve_settings().metrics.delivery_labels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "protocol,le",
            f'"le" is no label of an event; write {either((*EVENT_LABELS, NO_LABELS))}',
        ),
        ("none,action", "has none beside labels; write one or the other"),
        ("action,protocol,action", '"action" is given twice; write it once'),
        ("none,none", '"none" is given twice; write it once'),
    ],
)
def test_wrong_labels_of_delivery_times(text: str, said: str) -> None:
    """
    What is no label, labels together with none, and the same twice.
    """
    assert f"--metrics.delivery-labels: {said}" == complaint(
        metrics__delivery_labels=text.split(",")
    )
    assert f"{DELIVERY_LABELS}: {said}" == complaint({DELIVERY_LABELS: text})


def test_births_are_told_where_that_is_asked_for() -> None:
    """
    They cost a line for each series, so nobody has them unasked.
    """
    asked = serve_settings(metrics__created_timestamps="true")

    assert (False, True) == (
        serve_settings().metrics.created_timestamps,
        asked.metrics.created_timestamps,
    )
