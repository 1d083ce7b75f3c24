"""
The unit of systemd: it starts the program as its options say, leaves it time, locks it up.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.cli import WRONG_OPTION
from exporter.config import Ledger, ServeSettings, Shutdown
from exporter.values import read_seconds
from tests.conftest import needs
from tests.processes import CLOSING_SECONDS, PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Told

FOLDER = PROJECT / "deploy/systemd"
UNIT = FOLDER / "codecommit-exporter.service"
EXAMPLE = FOLDER / "config.yaml"
README = (FOLDER / "README.md").read_text()

EXPOSURE_MAX = 12
"""In tenths, one more than it is; each version of systemd reckons a little differently."""


def values(name: str) -> list[str]:
    """
    All values of a setting of the unit, in order.
    """
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def setting(name: str) -> str:
    """
    The one value of a setting of the unit.
    """
    (value,) = values(name)
    return value


def started(told: Told, config: Path, state_directory: str = "/var/lib/state") -> ServeSettings:
    """
    What the program that the unit starts is told, with another file of options.
    """
    _, *arguments = shlex.split(setting("ExecStart"))
    place = arguments.index("--config.file") + 1
    assert "/etc/codecommit-exporter/config.yaml" == arguments[place]
    arguments[place] = str(config)
    settings: ServeSettings = told(arguments, STATE_DIRECTORY=state_directory)
    return settings


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Ask systemd's own checker.
    """
    return subprocess.run(
        [needs("systemd-analyze"), *arguments], capture_output=True, text=True, check=False
    )


def test_the_unit_starts_the_program_with_the_example(told: Told) -> None:
    """
    ExecStart's words are a command and options of the program, and so is each of the example's.
    """
    settings = started(told, EXAMPLE)

    assert 1 == len(settings.sqs.queue_url)
    assert ["my-trail-bucket=111122223333"] == [str(each) for each in settings.s3.allowed_bucket]
    assert ["127.0.0.1:10112"] == [str(each) for each in settings.web.listen_address]
    assert Ledger() == settings.ledger


def test_what_the_example_comments_out_can_be_taken_in(told: Told, tmp_path: Path) -> None:
    """
    Without its mark a comment that has the form of an option is one.
    """
    whole = tmp_path / "config.yaml"
    whole.write_text(
        re.sub(r"^( +)# ([a-z-]+: )", r"\1\2", EXAMPLE.read_text(), flags=re.MULTILINE)
    )

    settings = started(told, whole)

    assert "s3://my-backup-bucket/codecommit-exporter" == str(settings.ledger.backup_url)


@pytest.mark.parametrize("folders", ["", " codecommit-exporter-backups"], ids=["one", "two"])
def test_the_ledger_is_in_the_state_directory(told: Told, folders: str) -> None:
    """
    Of several directories that systemd has made the first is the ledger's.
    """
    named = (setting("StateDirectory") + folders).split()

    settings = started(told, EXAMPLE, ":".join(f"/var/lib/{each}" for each in named))

    assert "/var/lib/codecommit-exporter/ledger.db" == str(settings.ledger_file)


def test_a_stop_has_the_time_it_takes() -> None:
    """
    The process is killed only after its grace, and after what it takes to close everything.
    """
    assert read_seconds(setting("TimeoutStopSec")) >= Shutdown().grace + CLOSING_SECONDS


def test_a_wrong_option_is_not_tried_again() -> None:
    """
    Whatever else ends the process, it is started again.
    """
    assert "always" == setting("Restart")
    assert str(WRONG_OPTION) == setting("RestartPreventExitStatus")


def test_the_readme_puts_everything_where_the_unit_looks() -> None:
    """
    Program, options and variables have the same paths in both, and what is copied is there.
    """
    program, *_ = shlex.split(setting("ExecStart"))
    copied = re.findall(r"deploy/systemd/[\w.-]+", README)

    assert f"venv {program.removesuffix('/bin/codecommit-exporter')}\n" in README
    assert "/etc/codecommit-exporter/config.yaml\n" in README
    assert f"`{setting('EnvironmentFile').removeprefix('-')}`" in README
    assert copied
    assert [] == [path for path in copied if not (PROJECT / path).is_file()]


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """
    It knows every setting and value, with a program in ExecStart that is there.
    """
    program, *_ = shlex.split(setting("ExecStart"))
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(program, sys.executable))

    verified = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))

    assert (0, "", "") == (verified.returncode, verified.stdout, verified.stderr)


def test_the_service_is_locked_up() -> None:
    """
    What an attacker inside the process could do is little, as systemd reckons it.
    """
    judged = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNIT))

    assert 0 == judged.returncode, judged.stdout


def test_what_the_service_writes_is_its_own() -> None:
    """
    Nobody else reads its ledger or its temporary files.
    """
    assert "0077" == setting("UMask")
    assert "0750" == setting("StateDirectoryMode")
    assert "yes" == setting("PrivateTmp")


def test_the_service_may_do_what_it_needs() -> None:
    """
    It makes no privileged calls, asks resolvers on socket files, and sees when the machine started.
    """
    allowed, refused = values("SystemCallFilter")

    assert "@system-service" == allowed
    assert {"~@privileged", "@resources"} == {*refused.split()}
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} == {*setting("RestrictAddressFamilies").split()}
    assert [] == values("ProcSubset")


def test_the_service_has_the_memory_of_a_pod() -> None:
    """
    Kubernetes' Mi is systemd's M.
    """
    chart = PROJECT / "deploy/helm/codecommit-exporter/values.yaml"
    limits = yaml.safe_load(chart.read_text())["resources"]["limits"]

    assert limits["memory"] == f"{setting('MemoryMax')}i"
