"""
The image, without building one: Dockerfile and .dockerignore held against the program.

Commands of the Dockerfile that need nothing of a container are run.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from exporter.build import revision
from exporter.cli import COMMANDS
from exporter.config import options, state_directory
from exporter.holds import Holds
from exporter.telemetry import Telemetry
from exporter.values import ListenAddress
from exporter.web import Health, Web
from tests.conftest import needs
from tests.dockerfile import INSTRUCTIONS, STAGES, commands, pairs, texts
from tests.processes import PROJECT, clean_environment

SHIPPED = ("demo", "serve")
"""The stages that are images of their own, each named after the command it runs."""

SERVE = STAGES["serve"]

MACHINES = ("x86_64", "aarch64")
ARCHITECTURES = ("amd64", "arm64")
"""What a builder calls the machines."""

GLIBC_MINOR = 28
"""The glibc, 2.28, that uv takes wheels for where it is told a platform and no more."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROJECT_FILE: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
LOCK: dict[str, Any] = tomllib.loads((PROJECT / "uv.lock").read_text())
VALUES: dict[str, Any] = yaml.safe_load(
    (PROJECT / "deploy/helm/codecommit-exporter/values.yaml").read_text()
)


# The images ------------------------------------------------------------------------------


def test_without_a_target_the_image_serves() -> None:
    """
    The last stage is the one that is built unless told otherwise.
    """
    assert [*SHIPPED] == [*STAGES][-2:]


@pytest.mark.parametrize("name", SHIPPED)
def test_an_image_runs_a_command_of_the_program(name: str) -> None:
    """
    The entry point is the script that the project installs, and the first word a command.
    """
    assert [*PROJECT_FILE["project"]["scripts"]] == STAGES[name].entrypoint
    assert name == STAGES[name].command[0]
    assert name in COMMANDS


@pytest.mark.parametrize("name", SHIPPED)
def test_an_image_is_heard_outside_of_its_container(name: str) -> None:
    """
    It listens on all interfaces, at the port it exposes, and has no other option set.
    """
    flags = STAGES[name].command[1:]
    usual = {option.flag: option.default for option in options(COMMANDS[name].settings)}
    given = usual | dict(zip(flags[::2], flags[1::2], strict=True))
    port = STAGES[name].port

    assert ListenAddress("", port) == ListenAddress.read(given["--web.listen-address"])
    assert VALUES["service"]["port"] == port
    assert set(flags[::2]) <= {"--web.listen-address"}


def test_the_user_is_the_chart_s() -> None:
    """
    The state directory belongs to the user the program runs as, who is the chart's, too.
    """
    security = VALUES["podSecurityContext"]
    user, group = SERVE.user.split(":")
    made = re.findall(
        r"install --directory --owner=(\d+) --group=(\d+) --mode=0750 (\S+)",
        " ".join(texts("RUN", SERVE.whole)),
    )

    assert [(user, group, *SERVE.volumes)] == made
    assert (int(user), int(group)) == (security["runAsUser"], security["runAsGroup"])
    assert int(group) == security["fsGroup"]


def test_the_state_directory_is_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The program keeps its state there, without a home, and starts there.
    """
    monkeypatch.delenv("HOME")
    for name, value in SERVE.variables.items():
        monkeypatch.setenv(name, value)

    assert [str(state_directory())] == SERVE.volumes
    assert [SERVE.folder] == SERVE.volumes


def test_the_script_is_on_the_path() -> None:
    """
    Environments are copied to the place they were made for, which comes first on the path.
    """
    made = STAGES["packages"].variables["UV_PROJECT_ENVIRONMENT"]
    copies = [text for name in SHIPPED for text in texts("COPY", STAGES[name].own)]

    assert {f"{made} {made}"} == {text.partition(" ")[2] for text in copies}
    assert f"{made}/bin:${{PATH}}" == SERVE.variables["PATH"]


def test_a_stop_is_the_signal_that_the_program_waits_for() -> None:
    """
    Whatever the image says that it starts from.
    """
    assert "SIGTERM" == SERVE.stop_signal


def test_labels_say_what_the_project_says() -> None:
    """
    A new version has its own label, and no text is written twice and differently.
    """
    labels = pairs("LABEL", SERVE.whole)
    said = {name: labels[f"org.opencontainers.image.{name}"] for name in ("title", "description")}
    project = PROJECT_FILE["project"]

    assert {"title": project["name"], "description": project["description"]} == said
    assert project["license"] == labels["org.opencontainers.image.licenses"]
    assert project["version"] == labels["org.opencontainers.image.version"]


# What is fetched -------------------------------------------------------------------------


def test_uv_is_the_makefile_s() -> None:
    """
    The image is made by the uv that the project is developed with, a wheel for each machine.
    """
    makefile = (PROJECT / "Makefile").read_text()
    version = re.findall(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    given = pairs("ARG", INSTRUCTIONS)
    hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", given["UV_HASHES"])

    assert version == [given["UV_VERSION"]]
    assert len(MACHINES) == len(set(hashes))


def test_everything_fetched_is_fixed_by_hash() -> None:
    """
    Whatever can fetch is told to look at hashes, and nothing is built from source.
    """
    fetches = re.compile(r"(uv|pip|apt|apt-get|curl|wget)\b")
    fetching = [command for command in commands(INSTRUCTIONS) if fetches.match(command)]
    fixed = re.compile(r"--locked\b|--require-hashes\b|^uv venv\b|--no-deps /dist/\*\.whl$")

    assert [] == [command for command in fetching if not fixed.search(command)]
    assert [] == texts("ADD", INSTRUCTIONS)
    assert "1" == pairs("ENV", STAGES["uv"].own)["UV_NO_BUILD"]


def test_the_build_backend_is_locked() -> None:
    """
    What builds the wheel is in the lock file, by the group that the image is built with.
    """
    export, build = (
        command
        for command in commands(STAGES["program"].own)
        if command.startswith(("uv export ", "uv build "))
    )

    assert {"--locked", "--only-group build", "--output-file /build.txt"} == {
        *re.findall(r"--locked|--only-group \S+|--output-file \S+", export)
    }
    assert {"--build-constraints /build.txt", "--require-hashes"} == {
        *re.findall(r"--build-constraints \S+|--require-hashes", build)
    }
    assert PROJECT_FILE["build-system"]["requires"] == PROJECT_FILE["dependency-groups"]["build"]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_installs_nothing(name: str) -> None:
    """
    It starts from Python's image, and gets finished environments; uv and its stage stay behind.
    """
    run = " ".join(texts("RUN", STAGES[name].whole))
    bases = {STAGES[STAGES[name].base].base, STAGES["uv"].base}

    assert {"${PYTHON_IMAGE}"} == bases
    assert {"COPY", "CMD"} == {instruction.word for instruction in STAGES[name].own}
    assert not re.search(r"\b(?:uv|apt|apt-get|dpkg|curl|wget|pip3?) ", run)


def test_only_what_runs_is_emulated() -> None:
    """
    What fetches runs on the machine that builds, whatever it builds for.
    """
    first, *others = texts("FROM", INSTRUCTIONS)

    assert first.startswith("--platform=${BUILDPLATFORM} ")
    assert [] == [text for text in others if "--platform" in text]


def test_packages_are_those_of_the_machine_built_for() -> None:
    """
    Not of the one that builds: uv is told the machine wherever it chooses wheels.
    """
    syncs = [each for each in commands(INSTRUCTIONS) if each.startswith("uv sync ")]
    told = '--python-platform "$(cat /machine)-unknown-linux-gnu"'

    assert syncs
    assert [] == [command for command in syncs if told not in command]


@pytest.mark.parametrize(
    ("architecture", "machine"), [*zip(ARCHITECTURES, MACHINES, strict=True)], ids=MACHINES
)
def test_the_machine_is_the_one_built_for(architecture: str, machine: str) -> None:
    """
    The builder's name of it becomes the one that wheels have.
    """
    (command,) = (each for each in commands(STAGES["packages"].own) if each.startswith("case"))
    named, _, file = command.partition(" > ")
    told = subprocess.run(
        ["sh", "-c", named],
        env=os.environ | {"TARGETARCH": architecture},
        capture_output=True,
        text=True,
        check=True,
    )

    assert (f"{machine}\n", "/machine") == (told.stdout, file)
    assert ["TARGETARCH"] == texts("ARG", STAGES["packages"].own)


def python_series() -> tuple[int, int]:
    """
    The Python that the image has, such as 3 and 13.
    """
    image = pairs("ARG", INSTRUCTIONS)["PYTHON_IMAGE"]
    [(major, minor)] = re.findall(r"python:(\d+)\.(\d+)-", image)
    return int(major), int(minor)


def test_the_image_has_a_python_the_project_allows() -> None:
    """
    The tag of Python's image fits what the project requires.
    """
    allowed = SpecifierSet(PROJECT_FILE["project"]["requires-python"])

    assert "{}.{}".format(*python_series()) in allowed


def tags(machine: str) -> set[Tag]:
    """
    The kinds of wheels that run under the image's Python on a machine.
    """
    old = ("manylinux2014", "manylinux2010", "manylinux1")
    names = [f"manylinux_2_{minor}" for minor in range(5, GLIBC_MINOR + 1)]
    platforms = [f"{name}_{machine}" for name in (*names, *old)]
    series = python_series()
    return {
        *cpython_tags(series, platforms=platforms),
        *compatible_tags(series, interpreter="cp{}{}".format(*series), platforms=platforms),
    }


def locked(machine: str) -> list[Requirement]:
    """
    The packages of the demo's image on a machine, each with its version; the other has fewer.
    """
    series = "{}.{}".format(*python_series())
    there = {
        "platform_machine": machine,
        "python_version": series,
        "python_full_version": f"{series}.0",
    }
    exported = subprocess.run(
        [
            *(needs(str(Path(sys.prefix, "bin/uv"))), "export", "--quiet", "--frozen", "--offline"),
            *("--no-dev", "--extra", "uvloop", "--extra", "demo", "--no-emit-project"),
            *("--no-hashes", "--no-annotate", "--no-header"),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = map(Requirement, exported.stdout.splitlines())
    return [each for each in wanted if not each.marker or each.marker.evaluate(there)]


def wheels(wanted: Requirement) -> set[Tag]:
    """
    The kinds of wheels that there are of a package.
    """
    (package,) = (
        package
        for package in LOCK["package"]
        if (package["name"], f"=={package['version']}") == (wanted.name, str(wanted.specifier))
    )
    names = [wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", [])]
    return {tag for name in names for tag in parse_wheel_filename(name)[3]}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_package_has_a_wheel_for_the_machine(machine: str) -> None:
    """
    Neither image needs a compiler, whatever it is built for.
    """
    packages = locked(machine)

    assert {"uvloop", "moto", "pydantic-core"} <= {each.name for each in packages}
    assert [] == [each.name for each in packages if not wheels(each) & tags(machine)]


def test_the_extras_are_the_project_s() -> None:
    """
    Both images have uvloop, only that of the demo what the demo needs, and none what tests need.
    """
    asked = {
        name: set(re.findall(r"--extra (\S+)", " ".join(texts("RUN", STAGES[name].own))))
        for name in ("packages", "packages-demo")
    }
    copied = {name: texts("COPY", STAGES[name].own)[0].split()[0] for name in SHIPPED}

    assert {"packages": {"uvloop"}, "packages-demo": {"uvloop", "demo"}} == asked
    assert "1" == STAGES["packages"].variables["UV_NO_DEV"]
    assert asked["packages-demo"] <= PROJECT_FILE["project"]["optional-dependencies"].keys()
    assert {"demo": "--from=packages-demo", "serve": "--from=packages"} == copied


# What is tried ---------------------------------------------------------------------------


def test_the_commit_is_written_where_the_program_looks(tmp_path: Path) -> None:
    """
    The image knows its commit from the file that the build writes.
    """
    (tmp_path / "exporter").mkdir()
    written = [each for each in commands(STAGES["program"].own) if each.startswith("printf")]
    subprocess.run(
        ["sh", "-c", *written], cwd=tmp_path, env=os.environ | {"REVISION": COMMIT}, check=True
    )

    assert COMMIT[:7] == revision(tmp_path / "exporter")
    assert "${REVISION}" == pairs("LABEL", SERVE.whole)["org.opencontainers.image.revision"]
    assert ["REVISION"] == texts("ARG", STAGES["program"].own)


def test_python_has_byte_code_and_no_pip(tmp_path: Path) -> None:
    """
    A start need not compile the library, whatever the times of its files, and cannot.
    """
    library = tmp_path / "lib/python3.13"
    for path in ("bin/pip3", "lib/python3.13/ensurepip/x", "lib/python3.13/site-packages/pip/x"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (library / "os.py").touch()
    # Nothing else is run: it would remove files of this machine.
    harmless = re.compile(r"(?:rm|python)(?: (?:/usr/local/[\w./*-]+|[\w-]+))+")
    for command in filter(harmless.fullmatch, commands(STAGES["runtime"].own)):
        here = re.sub(r"^python ", f"{sys.executable} ", command)
        here = here.replace("/usr/local", str(tmp_path))
        subprocess.run(["sh", "-c", here], cwd=tmp_path, check=True)
    (compiled,) = library.glob("__pycache__/os.*.pyc")
    is_never_compared = 1

    assert [] == [*tmp_path.rglob("*pip*")]
    assert is_never_compared == int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert "1" == SERVE.variables["PYTHONDONTWRITEBYTECODE"]


def test_packages_have_byte_code() -> None:
    """
    It is written with them, and is as that of Python's library.
    """
    variables = STAGES["packages"].variables

    assert "1" == variables["UV_COMPILE_BYTECODE"]
    assert "UNCHECKED_HASH" == variables["PYC_INVALIDATION_MODE"]


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """
    The endpoints of a program that is not ready; it need not be, to be healthy.
    """
    health = Health()
    health.set("the ledger", "it is not open yet")
    web = Web(health, Holds(0.0), Telemetry())
    yield web
    await web.stop()


async def exit_code(check: list[str]) -> int:
    """
    How a health check ends, where an unreachable proxy is set for everything.
    """
    process = await asyncio.create_subprocess_exec(
        *check,
        env=clean_environment(http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def test_the_health_check_tells_who_lives(web: Web) -> None:
    """
    It asks the exposed port, is content with a healthy program, and with nothing else.
    """
    [address] = await web.start([("127.0.0.1", 0)])
    port = str(SERVE.port)
    python, isolated, option, code = SERVE.health_check
    here = code.replace(port, address.rpartition(":")[2])
    check = [sys.executable, isolated, option]

    healthy = await exit_code([*check, here])
    other = await exit_code([*check, here.replace("/-/healthy", "/-/ready")])
    await web.stop()
    nobody = await exit_code([*check, here])

    assert ("python", 1) == (python, code.count(port))
    assert (0, 1, 1) == (healthy, other, nobody)


def test_the_health_check_ends_by_itself() -> None:
    """
    It gives up before it is killed, and so leaves no process behind.
    """
    (own,) = re.findall(r"timeout=(\d+)", SERVE.health_check[-1])

    assert int(own) < SERVE.health_check_timeout


# What is sent to the builder -------------------------------------------------------------

_PARTS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Pattern(NamedTuple):
    """
    A line of .dockerignore: its text, the paths it speaks of, and whether those are sent.
    """

    text: str
    paths: re.Pattern[str]
    is_sent: bool


def pattern(line: str) -> Pattern:
    """
    The pattern of a line, which also speaks of all that is in a folder it names.
    """
    text = line.removeprefix("!")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    expression = "".join(_PARTS.get(part, re.escape(part)) for part in parts)
    return Pattern(text, re.compile(f"{expression}(?:/.*)?"), line.startswith("!"))


PATTERNS = [
    pattern(line)
    for line in (PROJECT / ".dockerignore").read_text().splitlines()
    if line and not line.startswith("#")
]


def is_let_through(path: str) -> bool:
    """
    What the last pattern says that speaks of a path.
    """
    said = [pattern.is_sent for pattern in PATTERNS if pattern.paths.fullmatch(path)]
    return not said or said[-1]


def is_looked_into(folder: str) -> bool:
    """
    Whether a builder looks for files in a folder.

    Some look into one that is left out only where a pattern names it letter by letter.
    """
    named = (pattern.text.startswith(f"{folder}/") for pattern in PATTERNS if pattern.is_sent)
    return is_let_through(folder) or any(named)


def is_sent(path: str) -> bool:
    """
    Whether a file of the project would be sent to the builder.
    """
    folders = [folder.as_posix() for folder in PurePosixPath(path).parents][:-1]
    return is_let_through(path) and all(map(is_looked_into, folders))


def sent(folder: str = "") -> list[str]:
    """
    The files below a folder of the project that are sent, by their paths in the project.
    """
    entries = [entry for entry in (PROJECT / folder).iterdir() if not entry.is_symlink()]
    paths = [entry.relative_to(PROJECT).as_posix() for entry in entries if entry.is_file()]
    folders = [entry.relative_to(PROJECT).as_posix() for entry in entries if entry.is_dir()]
    below = [path for each in folders if is_looked_into(each) for path in sent(each)]
    return [path for path in paths if is_let_through(path)] + below


def copied() -> list[str]:
    """
    The files and folders that the Dockerfile copies from the project.
    """
    copies = [text for text in texts("COPY", INSTRUCTIONS) if not text.startswith("--from")]
    return [source for text in copies for source in text.split()[:-1]]


def test_only_what_is_copied_is_sent() -> None:
    """
    Each file that enters the build is one that the Dockerfile names or that is in such a folder.
    """
    used = {
        source: [path for path in sent() if path == source or path.startswith(f"{source}/")]
        for source in copied()
    }

    assert [] == [source for source, paths in used.items() if not paths]
    assert sorted(sent()) == sorted(path for paths in used.values() for path in paths)


def test_the_whole_package_is_sent() -> None:
    """
    No file of the package is forgotten, whatever its kind; byte code is none of it.
    """
    files = [file for file in (PROJECT / "exporter").rglob("*") if file.is_file()]
    paths = [file.relative_to(PROJECT).as_posix() for file in files]

    assert "exporter/cli.py" in paths
    assert [] == [path for path in paths if "__pycache__" not in path and not is_sent(path)]


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        "deploy/compose/serve.env",
        "exporter/.env",
        "exporter/__pycache__/cli.cpython-313.pyc",
        "exporter/ledger/ledger.db",
        "exporter/REVISION",
        "tests/conftest.py",
    ],
)
def test_nothing_else_is_sent(path: str) -> None:
    """
    Neither secrets nor what is made on the way enters the build, wherever it lies.
    """
    assert not is_sent(path)
