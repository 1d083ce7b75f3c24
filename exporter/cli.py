"""
The command line: commands, their help, their exit codes.

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | the command found something wrong, or failed |
| 2 | an option is wrong; one line on standard error says which |
| 130 | stopped by Ctrl-C |
| 143 | ended by SIGTERM, as a container's first process; ``serve`` and ``demo`` stop and give 0 |

argparse splits the command line and lays out the help, both from what ``config``
declares. What a value means is left to ``config``, so that a wrong flag is refused with
the same words as a wrong variable.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from types import FrameType
from typing import Any, NoReturn

from exporter.build import revision, version
from exporter.config import (
    DemoSettings,
    LedgerBackupSettings,
    LedgerRestoreSettings,
    Option,
    ScanSettings,
    ServeSettings,
    Settings,
    options,
)
from exporter.errors import ConfigError, ExporterError
from exporter.sources import read_settings, suggestion
from exporter.values import PROGRAM, either, quote

DONE = 0
FAILED = 1
WRONG_OPTION = 2
INTERRUPTED = 130
"""What shells report for a process that SIGINT ended: 128 and the signal's number."""
TERMINATED = 143
FIRST_PROCESS = 1

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Python's own 700 cost serve a twentieth of its CPU, and spare it no memory."""


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command: what it is told, what its help says, what it runs.
    """

    settings: type[Settings]
    summary: str
    description: str
    epilog: str
    run: Callable[[Any], int]

    @property
    def name(self) -> str:
        """
        The word, or the two, that call it.
        """
        return self.settings.command


def main(argv: Sequence[str] | None = None) -> int:
    """
    Obey the command line and tell the exit code.
    """
    if os.getpid() == FIRST_PROCESS:
        # The kernel keeps from it what it has no handler for, and a stop would be lost, at least
        # until serve and demo have loaded their modules and bring a handler of their own.
        signal.signal(signal.SIGTERM, _terminate)
    arguments = sys.argv[1:] if argv is None else list(argv)
    command, rest = _command(arguments)
    program = f"{PROGRAM} {command.name}" if command else PROGRAM
    try:
        code = _obey(command, rest) if command else _answer(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        _complain(program, error)
        return WRONG_OPTION
    except ExporterError as error:
        _complain(program, error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as head does. Python flushes once more at its
        # end and would complain about that with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """
    End the process, as SIGTERM does any other.
    """
    sys.exit(TERMINATED)


def _command(arguments: Sequence[str]) -> tuple[Command | None, Sequence[str]]:
    """
    The command that the first words call, if they do, and what follows them.
    """
    for words in (2, 1):
        if command := COMMANDS.get(" ".join(arguments[:words])):
            return command, arguments[words:]
    return None, arguments


def _complain(program: str, error: ExporterError) -> None:
    """
    Say on one line of standard error what is wrong, whatever the error quotes.
    """
    said = ". ".join(filter(None, (str(error), error.hint)))
    print(f"{program}: {' '.join(said.split())}", file=sys.stderr)


def _answer(arguments: Sequence[str]) -> int:
    """
    Do what is asked of the program itself, without a command. Raises ConfigError.
    """
    first = arguments[0] if arguments else ""
    family = tuple(name for name in COMMANDS if name.startswith(f"{first} "))
    commands = either(family or tuple(COMMANDS))
    if first in {"-h", "--help"} or (family and set(arguments[1:]) & {"-h", "--help"}):
        print(_overview())
    elif family:
        raise ConfigError(f"{quote(' '.join(arguments[:2]))} is no command; write {commands}")
    elif first == "--version":
        python = platform.python_version()
        print(f"{PROGRAM} {version()} (commit {revision()}, Python {python})")
    elif not first:
        raise ConfigError(f"a command is missing; write {commands}, or --help")
    elif first.startswith("-"):
        raise ConfigError(f"{first}: no such option here; write {commands} before its options")
    else:
        raise ConfigError(f"{quote(first)} is no command; write {commands}")
    return DONE


def _obey(command: Command, arguments: Sequence[str]) -> int:
    """
    Run a command with its settings, or print its help. Raises ConfigError.
    """
    given = _split(command, arguments)
    if given.pop("help", None):
        print(_parser(command).format_help(), end="")
        return DONE
    return command.run(read_settings(command.settings, given, os.environ))


def _split(command: Command, arguments: Sequence[str]) -> dict[str, Any]:
    """
    The texts of the flags that were given, by option name. Raises ConfigError.
    """
    known = {option.name: option for option in options(command.settings)}
    # What follows a bare -- is no flag. argparse knows that too, but not (before Python
    # 3.13) where flags and paths are mixed.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parsed, unknown = _parser(command).parse_known_intermixed_args(arguments[:end])
    given = vars(parsed)
    plain = [*given.pop("paths", ()), *arguments[end + 1 :]]
    for word in unknown:
        name = word.partition("=")[0]
        flags = [option.flag for option in known.values() if not option.positional]
        if name.startswith("-"):
            raise ConfigError(f"{name}: no such option{suggestion(name, flags, '--')}")
        plain.append(word)
    if plain and "paths" not in known:
        raise ConfigError(f"{quote(plain[0])}: this command takes options only; see --help")
    return given | {"paths": plain} if plain else given


class _Parser(argparse.ArgumentParser):
    """
    A parser that raises its complaint instead of printing a page about it.
    """

    def error(self, message: str) -> NoReturn:
        """
        Raise ConfigError with argparse's words on one flag.
        """
        raise ConfigError(message.removeprefix("argument "))


class _Layout(argparse.HelpFormatter):
    """
    Help with each explanation below its flag, wrapped to the terminal but not too wide.

    Line breaks of the text stay, lines that begin with a space stay whole (examples), and
    no name is broken at its hyphens.
    """

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, 100) - 2
        super().__init__(prog, max_help_position=6, width=width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [line for part in text.splitlines() for line in _wrapped(part, width)]

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(f"{indent}{line}" for line in self._split_lines(text, width))


def _wrapped(text: str, width: int) -> list[str]:
    """
    One paragraph as lines.
    """
    if not text or text.startswith(" "):
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _overview() -> str:
    """
    The program's own help.
    """
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [OPTION]...",
        description="Counts what happens in AWS CodeCommit, from CloudTrail's log files, and "
        "shows it to Prometheus. Each event counts once.",
        epilog=f"Example, which needs no AWS account:\n\n  {PROGRAM} demo",
        formatter_class=_Layout,
        add_help=False,
    )
    commands = parser.add_argument_group("commands")
    for command in COMMANDS.values():
        commands.add_argument(command.name, help=command.summary)
    others = parser.add_argument_group("options")
    others.add_argument("--version", action="store_true", help="Show version and commit.")
    others.add_argument(
        "-h", "--help", action="store_true", help="Show this; after a command, its options."
    )
    return parser.format_help().rstrip()


def _parser(command: Command) -> _Parser:
    """
    The parser of a command's options, and the writer of its help.
    """
    declared = options(command.settings)
    plain = "".join(f" {option.metavar}..." for option in declared if option.positional)
    parser = _Parser(
        prog=f"{PROGRAM} {command.name}",
        usage=f"{PROGRAM} {command.name} [OPTION]...{plain}",
        description=command.description,
        epilog=command.epilog,
        formatter_class=_Layout,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        add_help=False,
    )
    for heading, together in groupby(declared, key=lambda option: option.heading):
        group = parser.add_argument_group(heading.rstrip(".") or "What to read, how to print it")
        for option in together:
            _add(group, option)
    parser.add_argument_group("Help").add_argument(
        "-h", "--help", action="store_true", help="Show this."
    )
    return parser


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    """
    Let a parser know an option.
    """
    shape: dict[str, Any] = {"metavar": option.metavar, "help": _help(option)}
    if option.positional:
        group.add_argument(option.name, nargs="*", **shape)
    elif option.switch:
        group.add_argument(option.flag, dest=option.name, nargs="?", const="true", **shape)
    else:
        action = "append" if option.repeatable else "store"
        group.add_argument(option.flag, dest=option.name, action=action, **shape)


def _help(option: Option) -> str:
    """
    What an option does; on lines of their own, its default and its variable.
    """
    default = "Required." if option.required else f"Default: {option.default}."
    often = " May be repeated." if option.repeatable and not option.positional else ""
    variable = f"\nVariable: {option.variable}" if option.variable else ""
    text = f"{option.text}\n{default}{often}{variable}"
    return text.replace("%", "%%")  # argparse formats it once more


def _serve(settings: ServeSettings) -> int:
    with _loading():
        from exporter.service import serve  # noqa: PLC0415 - the AWS libraries take long to load
    # Reading log files makes and drops many objects, few of them in cycles.
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    return _run(serve(settings))


def _demo(settings: DemoSettings) -> int:
    from exporter.demo import demo  # noqa: PLC0415 - so does the pretended AWS

    return _run(demo(settings))


def _scan(settings: ScanSettings) -> int:
    from exporter.scan import scan  # noqa: PLC0415 - the same

    return scan(settings)


def _ledger_backup(settings: LedgerBackupSettings) -> int:
    from exporter.upkeep import ledger_backup  # noqa: PLC0415 - the same

    return _run(ledger_backup(settings))


def _ledger_restore(settings: LedgerRestoreSettings) -> int:
    from exporter.upkeep import ledger_restore  # noqa: PLC0415 - the same

    return _run(ledger_restore(settings))


@contextmanager
def _loading() -> Iterator[None]:
    """
    Keep the garbage collector from modules that are loaded in the block, then and ever after.

    They stay, and searching them for garbage again and again is a tenth of loading them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _run(work: Coroutine[Any, Any, int]) -> int:
    """
    Run a command on uvloop where it is installed, which spares CPU, else on asyncio.
    """
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return asyncio.run(work)
    return uvloop.run(work)


_WAYS = (
    "Every option is also an environment variable and a key of the file given with "
    "--config.file. A flag wins over its variable, a variable over the file. A repeatable "
    "option has commas in its variable, a list in the file.\n"
    "A DURATION is written 500ms, 90s, 1m30s, 1h or 90d, a SIZE 512KiB, 64MiB, 1GiB or 1048576."
)

COMMANDS = {
    command.name: command
    for command in (
        Command(
            ServeSettings,
            summary="Count what an SQS queue announces, and serve /metrics.",
            description="Receives S3's notifications of new CloudTrail log files from SQS, reads "
            "the files, counts their CodeCommit events, each once, and serves the totals on "
            "/metrics until SIGTERM or Ctrl-C. A restart goes on from the ledger.\n"
            "Credentials, Region and endpoints come from the AWS SDK's own variables and files.\n"
            "With OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables the same numbers "
            "go out over OTLP as well, and a trace of each message.",
            epilog=f"{_WAYS}\n\nExample:\n\n"
            f"  {PROGRAM} serve \\\n"
            "      --sqs.queue-url https://sqs.eu-central-1.amazonaws.com/111122223333/trail \\\n"
            "      --s3.allowed-bucket my-trail-bucket=111122223333",
            run=_serve,
        ),
        Command(
            DemoSettings,
            summary="Do the same with invented activity; needs no AWS account.",
            description="Starts an S3 and SQS on this machine, keeps writing invented CloudTrail "
            "activity into them, and runs serve's own code against that, until Ctrl-C. Nothing is "
            "kept, and nothing leaves the machine, unless OpenTelemetry's variables say where to.",
            epilog=f"{_WAYS}\n\nExample:\n\n  {PROGRAM} demo --demo.duration 1m --demo.faults",
            run=_demo,
        ),
        Command(
            ScanSettings,
            summary="Print what log files hold, without queue or ledger.",
            description="Reads CloudTrail log files and prints what they hold of CodeCommit. It "
            "receives nothing, keeps nothing and serves nothing.",
            epilog="Every option is also an environment variable, over which the flag wins.\n"
            "A SIZE is written 512KiB, 64MiB, 1GiB or 1048576.\n\nExample:\n\n"
            f"  {PROGRAM} scan --format json AWSLogs/111122223333/CloudTrail/",
            run=_scan,
        ),
        Command(
            LedgerBackupSettings,
            summary="Back up the ledger, also while serve is writing it.",
            description="Copies the ledger as it is at this moment to where backups are kept. "
            "serve does so by itself where --ledger.backup-url is set.",
            epilog=f"{_WAYS}\n\nExample:\n\n"
            f"  {PROGRAM} ledger backup --ledger.backup-url s3://my-backup-bucket/exporter",
            run=_ledger_backup,
        ),
        Command(
            LedgerRestoreSettings,
            summary="Put the newest backup where there is no ledger.",
            description="Fetches the newest sound backup and puts it where the ledger belongs; a "
            "ledger that is there has to be moved away first. When serve starts next, it first "
            "reads every log file that the buckets have had since. It does all that by itself "
            "where --ledger.backup-url is set and the ledger is lost.",
            epilog=f"{_WAYS}\n\nExample:\n\n"
            f"  {PROGRAM} ledger restore --ledger.backup-url s3://my-backup-bucket/exporter",
            run=_ledger_restore,
        ),
    )
}
