"""
What the command line answers before, instead of and after a command.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from exporter import cli
from exporter.build import revision, version
from exporter.cli import COMMANDS, main
from exporter.config import DemoSettings, ScanSettings, ServeSettings, options
from exporter.errors import ConfigError, LedgerUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.config import Settings

QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/log-files"
NEEDED = {
    "serve": ("--sqs.queue-url", QUEUE, "--s3.allowed-bucket", "trail"),
    "scan": ("a-file",),
    "ledger backup": ("--ledger.backup-url", "/mnt/backups"),
    "ledger restore": ("--ledger.backup-url", "/mnt/backups"),
}
"""What each command must be told."""
ANY_COMMAND = "serve, demo, scan, ledger backup or ledger restore"
LEDGER_COMMAND = "ledger backup or ledger restore"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A terminal of 80 columns without colours, and no option in the environment.
    """
    for name in [name for name in os.environ if name.startswith("CODECOMMIT_EXPORTER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


class Told:
    """
    Commands that only remember what they were told.
    """

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.raises: BaseException | None = None
        self.code = 0

    def run(self, settings: Settings) -> int:
        """
        Remember, and end as asked.
        """
        self.settings.append(settings)
        if self.raises is not None:
            raise self.raises
        return self.code


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """
    The command line with commands that do nothing.
    """
    told = Told()
    for name, command in COMMANDS.items():
        monkeypatch.setitem(
            COMMANDS,
            name,
            cli.Command(
                command.settings, command.summary, command.description, command.epilog, told.run
            ),
        )
    return told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The version line names version, commit and Python.
    """
    code = main(["--version"])

    python = platform.python_version()
    line = f"codecommit-exporter {version()} (commit {revision()}, Python {python})\n"
    assert (0, line) == (code, capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments", [["-h"], ["--help"], ["ledger", "-h"], ["ledger", "--help"]], ids=" ".join
)
def test_overview(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    The program's own help is this text; so is that of half a command.
    """
    code = main(arguments)

    assert 0 == code
    assert (
        """\
usage: codecommit-exporter COMMAND [OPTION]...

Counts what happens in AWS CodeCommit, from CloudTrail's log files, and shows
it to Prometheus. Each event counts once.

commands:
  serve
      Count what an SQS queue announces, and serve /metrics.
  demo
      Do the same with invented activity; needs no AWS account.
  scan
      Print what log files hold, without queue or ledger.
  ledger backup
      Back up the ledger, also while serve is writing it.
  ledger restore
      Put the newest backup where there is no ledger.

options:
  --version
      Show version and commit.
  -h, --help
      Show this; after a command, its options.

Example, which needs no AWS account:

  codecommit-exporter demo
"""
        == capsys.readouterr().out
    )


def test_help_of_scan(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A command's help begins with what it does and ends with an example.
    """
    code = main(["scan", "--help"])

    assert 0 == code
    assert (
        """\
usage: codecommit-exporter scan [OPTION]... PATH...

Reads CloudTrail log files and prints what they hold of CodeCommit. It
receives nothing, keeps nothing and serves nothing.

What to read, how to print it:
  PATH
      Log file, folder of log files or s3://bucket/prefix; - reads one log
      file from standard input.
      Required.
  --format table|json|openmetrics
      How the findings are printed.
      Default: table.
      Variable: CODECOMMIT_EXPORTER_FORMAT

How large a log file may be:
  --s3.max-compressed-bytes SIZE
      Largest log file as it is stored. A larger one is refused as a whole.
      Default: 64MiB.
      Variable: CODECOMMIT_EXPORTER_S3_MAX_COMPRESSED_BYTES
  --s3.max-inflated-bytes SIZE
      Largest log file once inflated. A larger one is refused as a whole.
      Default: 512MiB.
      Variable: CODECOMMIT_EXPORTER_S3_MAX_INFLATED_BYTES

The program's own log, on standard error:
  --log.level debug|info|warning|error
      Least severe lines that are logged.
      Default: info.
      Variable: CODECOMMIT_EXPORTER_LOG_LEVEL
  --log.format logfmt|json
      How a line of the log is written.
      Default: logfmt.
      Variable: CODECOMMIT_EXPORTER_LOG_FORMAT

Help:
  -h, --help
      Show this.

Every option is also an environment variable, over which the flag wins.
A SIZE is written 512KiB, 64MiB, 1GiB or 1048576.

Example:

  codecommit-exporter scan --format json AWSLogs/111122223333/CloudTrail/
"""
        == capsys.readouterr().out
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_fits(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Help names every flag and variable, wrapped to the terminal but for the example.
    """
    monkeypatch.setenv("COLUMNS", str(columns))

    main([name, "--help"])

    text = capsys.readouterr().out
    explained = text.partition("\nExample:")[0]
    named = [
        word
        for option in options(COMMANDS[name].settings)
        for word in (option.flag, option.variable)
    ]
    assert [] == [word for word in named if word not in text]
    assert max(map(len, explained.splitlines())) <= min(columns, 100)


def test_help_wins(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Who asks for help gets it, whatever else is missing.
    """
    assert 0 == main(["serve", "--help"])
    assert [] == told.settings
    assert "usage: codecommit-exporter serve" in capsys.readouterr().out


def test_layout_leans_on_argparse() -> None:
    """
    The parts of argparse's layout that ours replaces are there.
    """
    for name in ("_split_lines", "_fill_text"):
        assert callable(getattr(argparse.HelpFormatter, name))


def test_flags(told: Told) -> None:
    """
    Flags reach the command's settings, in either spelling, the last of a kind counting.
    """
    code = main(
        [
            "serve",
            f"--sqs.queue-url={QUEUE}",
            "--sqs.queue-url",
            f"{QUEUE}-2",
            "--s3.allowed-bucket",
            "trail",
            "--shutdown.grace=1s",
            "--shutdown.grace=2s",
        ]
    )

    (settings,) = told.settings
    assert isinstance(settings, ServeSettings)
    assert (0, 2.0) == (code, settings.shutdown.grace)
    assert (QUEUE, f"{QUEUE}-2") == settings.sqs.queue_url


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ([], False),
        (["--demo.faults"], True),
        (["--demo.faults", "--demo.rate", "3"], True),
        (["--demo.faults=false"], False),
    ],
)
def test_switch(arguments: list[str], faults: bool, told: Told) -> None:
    """
    A switch alone is on, and can be told to be off.
    """
    main(["demo", *arguments])

    (settings,) = told.settings
    assert isinstance(settings, DemoSettings)
    assert faults == settings.demo.faults


def test_any_bucket(told: Told) -> None:
    """
    The switch alone stands for the names of all buckets.
    """
    code = main(["serve", "--sqs.queue-url", QUEUE, "--s3.allow-any-bucket"])

    (settings,) = told.settings
    assert isinstance(settings, ServeSettings)
    assert (0, True, ()) == (code, settings.s3.allow_any_bucket, settings.s3.allowed_bucket)


def test_beginning_empty_with_any_bucket(told: Told) -> None:
    """
    Who starts with an empty ledger need not name a bucket.
    """
    arguments = ["--sqs.queue-url", QUEUE, "--s3.allow-any-bucket", "--ledger.rebuild", "fresh"]
    code = main(["serve", *arguments])

    assert (0, 1) == (code, len(told.settings))


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["-"], ("-",)),
        (["a", "--format", "json", "b"], ("a", "b")),
        (["--format=json", "a"], ("a",)),
        (["--format=json", "--", "-a", "--b"], ("-a", "--b")),
        (["a", "--format=json", "--", "--"], ("a", "--")),
    ],
)
def test_paths(arguments: list[str], paths: tuple[str, ...], told: Told) -> None:
    """
    Paths stand anywhere between flags; behind a bare -- everything is a path.
    """
    main(["scan", *arguments])

    (settings,) = told.settings
    assert isinstance(settings, ScanSettings)
    assert paths == settings.paths


def test_environment(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The process's own environment is read.
    """
    monkeypatch.setenv("CODECOMMIT_EXPORTER_DEMO_SEED", "7")

    main(["demo"])

    (settings,) = told.settings
    assert isinstance(settings, DemoSettings)
    assert 7 == settings.demo.seed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], f": a command is missing; write {ANY_COMMAND}, or --help"),
        (["observe"], f': "observe" is no command; write {ANY_COMMAND}'),
        (["backup"], f': "backup" is no command; write {ANY_COMMAND}'),
        (
            ["--log.level", "debug", "serve"],
            f": --log.level: no such option here; write {ANY_COMMAND} before its options",
        ),
        (["ledger"], f': "ledger" is no command; write {LEDGER_COMMAND}'),
        (["ledger", "foo"], f': "ledger foo" is no command; write {LEDGER_COMMAND}'),
        (
            ["ledger", "--state.directory", "/mnt", "backup"],
            f': "ledger --state.directory" is no command; write {LEDGER_COMMAND}',
        ),
        (
            ["ledger", "backup", *NEEDED["ledger backup"], "x"],
            ' ledger backup: "x": this command takes options only; see --help',
        ),
        (
            ["ledger", "restore"],
            (
                " ledger restore: --ledger.backup-url is missing; write --ledger.backup-url "
                "s3://my-backup-bucket/codecommit-exporter or set "
                "CODECOMMIT_EXPORTER_LEDGER_BACKUP_URL"
            ),
        ),
        (
            ["serve", *NEEDED["serve"], "--ledger.rebuild", "restore"],
            " serve: --ledger.rebuild: is restore, which needs --ledger.backup-url",
        ),
        (
            ["serve", "--sqs.queue=x"],
            " serve: --sqs.queue: no such option; did you mean --sqs.queue-url?",
        ),
        (["serve", "--xyzzy", "x"], " serve: --xyzzy: no such option; --help lists what there is"),
        (
            ["serve", "--demo.rate", "1"],
            " serve: --demo.rate: no such option; --help lists what there is",
        ),
        (["demo", "x\ny"], ' demo: "x\\ny": this command takes options only; see --help'),
        (["demo", "--", "x"], ' demo: "x": this command takes options only; see --help'),
        (["demo", "--x\ny"], " demo: --x y: no such option; --help lists what there is"),
        (["demo", "--demo.rate"], " demo: --demo.rate: expected one argument"),
        (
            ["demo", "--shutdown.grace", "20"],
            ' demo: --shutdown.grace: "20" has no unit; write 20s, 2m, 1h or 1d',
        ),
        (
            ["serve", "--sqs.queue-url", QUEUE],
            (
                " serve: --s3.allowed-bucket is missing (required unless --s3.allow-any-bucket); "
                "write --s3.allowed-bucket my-trail-bucket=123456789012 or set "
                "CODECOMMIT_EXPORTER_S3_ALLOWED_BUCKET"
            ),
        ),
        (
            ["serve", *NEEDED["serve"], "--s3.expected-bucket-owner", "me"],
            (
                ' serve: --s3.expected-bucket-owner: "me" is no account id; '
                "write 123456789012 (12 digits)"
            ),
        ),
        (
            ["scan"],
            (
                " scan: PATH is missing; "
                "write a log file, a folder, s3://bucket/prefix or - (standard input)"
            ),
        ),
    ],
)
def test_wrong_options(
    arguments: list[str], said: str, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A wrong option is one line on standard error and exit code 2, and nothing runs.
    """
    code = main(arguments)

    assert 2 == code
    assert ("", f"codecommit-exporter{said}\n") == tuple(capsys.readouterr())
    assert [] == told.settings


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code(code: int, told: Told) -> None:
    """
    A command's own exit code is the program's.
    """
    told.code = code

    assert code == main(["demo"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("no Region\nis known"), 2, "codecommit-exporter demo: no Region is known\n"),
        (
            LedgerUnavailable("ledger.db: disk full"),
            1,
            f"codecommit-exporter demo: ledger.db: disk full. {LedgerUnavailable.hint}\n",
        ),
        (
            LedgerUnavailable("ledger.db: gone", hint="Start anew."),
            1,
            "codecommit-exporter demo: ledger.db: gone. Start anew.\n",
        ),
        (LedgerUnavailable("it is there", hint=""), 1, "codecommit-exporter demo: it is there\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_of_a_command(
    error: BaseException, code: int, said: str, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What a command cannot go on with is one line as well, with what can be done about it.

    An error may know better than its kind what that is, also that it is nothing.
    """
    told.raises = error

    assert code == main(["demo"])
    assert ("", said) == tuple(capsys.readouterr())


def test_bugs_are_not_hidden(told: Told) -> None:
    """
    What nobody raised on purpose keeps its traceback.
    """
    told.raises = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        main(["demo"])


def test_the_reader_has_gone() -> None:
    """
    Output into a closed pipe ends quietly.
    """
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "exporter", "--help"],
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert (1, b"") == (ended.returncode, ended.stderr)


def test_light_start() -> None:
    """
    Asking for help loads none of the libraries that only running needs.
    """
    heavy = ("aiobotocore", "aiohttp", "boto3", "botocore", "moto", "prometheus_client", "yaml")
    code = (
        "import sys; from exporter.cli import main; main(['serve', '--help']);"
        f"print(*sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert b"\n" == ended.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("fast", [True, False], ids=["uvloop", "asyncio"])
def test_commands_run(name: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each command runs the function of its own module, on uvloop where that is installed.
    """
    loops = list[str]()

    async def serve(settings: Settings) -> int:
        await asyncio.sleep(0)
        loops.append(type(asyncio.get_running_loop()).__module__)
        return len(settings.command)

    def scan(settings: Settings) -> int:
        return len(settings.command)

    modules = {"serve": "service", "ledger backup": "upkeep", "ledger restore": "upkeep"}
    function = name.replace(" ", "_")
    fake = SimpleNamespace(**{function: scan if name == "scan" else serve})
    monkeypatch.setitem(sys.modules, f"exporter.{modules.get(name, name)}", fake)
    if fast:
        pytest.importorskip("uvloop", reason="the extra uvloop is not installed")
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)

    code = main([*name.split(), *NEEDED.get(name, ())])

    assert len(name) == code
    assert [fast] * len(loops) == ["uvloop" in loop for loop in loops]


# Which build this is ---------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ({"exporter/REVISION": f"{COMMIT}\n"}, "0123456"),
        ({"exporter/REVISION": COMMIT, ".git/HEAD": OTHER}, "0123456"),
        ({".git/HEAD": f"{COMMIT}\n"}, "0123456"),
        ({".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": f"{COMMIT}\n"}, "0123456"),
        (
            {
                ".git/HEAD": "ref: refs/heads/main\n",
                ".git/packed-refs": (
                    "# pack-refs with: peeled fully-peeled sorted\n"
                    f"{OTHER} refs/heads/domain\n{OTHER} refs/heads/main2\n"
                    f"{COMMIT} refs/heads/main\n^{OTHER}\n"
                ),
            },
            "0123456",
        ),
        (
            {
                ".git/HEAD": "ref: refs/heads/main\n",
                ".git/refs/heads/main": COMMIT,
                ".git/packed-refs": f"{OTHER} refs/heads/main\n",
            },
            "0123456",
        ),
        ({".git/HEAD": "ref: refs/heads/unborn\n"}, "unknown"),
        ({".git/HEAD": "damaged"}, "unknown"),
        ({".git": "gitdir: /elsewhere\n"}, "unknown"),
        ({}, "unknown"),
    ],
    ids=[
        "image",
        "image in a checkout",
        "detached",
        "branch",
        "packed",
        "packed and newer",
        "no commit yet",
        "damaged",
        "worktree",
        "installed",
    ],
)
def test_revision(files: dict[str, str], shown: str, tmp_path: Path) -> None:
    """
    The commit comes from the package's own file, else from the repository around it.
    """
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert shown == revision(tmp_path / "exporter")


def test_version_of_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Source that is not installed has no version to tell.
    """

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)

    assert "unknown" == version()
