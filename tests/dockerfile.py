"""
The project's Dockerfile: what its stages are made from, and what they tell of a process.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from tests.processes import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Instruction(NamedTuple):
    """
    An instruction: its word in capitals, and on one line what follows it.
    """

    word: str
    text: str


def texts(word: str, among: Iterable[Instruction]) -> list[str]:
    """
    What follows each instruction of a kind.
    """
    return [instruction.text for instruction in among if instruction.word == word]


def commands(among: Iterable[Instruction]) -> list[str]:
    """
    The commands that are run, one by one.
    """
    return [command for text in texts("RUN", among) for command in text.split(" && ")]


def pairs(word: str, among: Iterable[Instruction]) -> dict[str, str]:
    """
    The names and values of ENV, LABEL or ARG; an ARG without a value is left out.
    """
    words = [each for text in texts(word, among) for each in shlex.split(text)]
    return dict(each.split("=", 1) for each in words if "=" in each)


class Stage(NamedTuple):
    """
    A stage, and the process of an image that ends with it.

    ``base`` is the image or stage it starts from, ``own`` are its instructions in order, and
    ``inherited`` those of the stages before it.
    """

    base: str
    inherited: list[Instruction]
    own: list[Instruction]

    @property
    def whole(self) -> list[Instruction]:
        """
        All instructions that make the stage.
        """
        return [*self.inherited, *self.own]

    @property
    def entrypoint(self) -> list[str]:
        """
        The words that every command line begins with.
        """
        return self._words("ENTRYPOINT")

    @property
    def command(self) -> list[str]:
        """
        The words that follow unless others are given.
        """
        return self._words("CMD")

    @property
    def health_check(self) -> list[str]:
        """
        The command that tells whether the process is well.
        """
        return self._words("HEALTHCHECK")

    @property
    def health_check_timeout(self) -> int:
        """
        The seconds after which that command is killed.
        """
        (found,) = re.findall(r"--timeout=(\d+)s ", self._last("HEALTHCHECK"))
        return int(found)

    @property
    def stop_signal(self) -> str:
        """
        What the process is sent when it is to stop.
        """
        return self._last("STOPSIGNAL")

    @property
    def volumes(self) -> list[str]:
        """
        The folders that outlive a container.
        """
        return self._words("VOLUME")

    @property
    def variables(self) -> dict[str, str]:
        """
        The environment.
        """
        return pairs("ENV", self.whole)

    @property
    def folder(self) -> str:
        """
        Where the process starts.
        """
        return self._last("WORKDIR")

    @property
    def user(self) -> str:
        """
        User and group, ``uid:gid``.
        """
        return self._last("USER")

    @property
    def port(self) -> int:
        """
        The port that the process listens on.
        """
        return int(self._last("EXPOSE"))

    def _last(self, word: str) -> str:
        """
        What follows the last instruction of a kind, which is the one in force.
        """
        return texts(word, self.whole)[-1]

    def _words(self, word: str) -> list[str]:
        text = self._last(word)
        words: list[str] = json.loads(text[text.index("[") :])
        return words


def _instructions(dockerfile: str) -> Iterator[Instruction]:
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line:
            word, _, text = line.partition(" ")
            yield Instruction(word.upper(), " ".join(text.split()))


def _stages() -> dict[str, Stage]:
    found = dict[str, Stage]()
    for instruction in INSTRUCTIONS:
        if instruction.word == "FROM":
            base, name = re.sub(r"^--\S+ ", "", instruction.text).split(" AS ")
            found[name] = Stage(base, found[base].whole if base in found else [], [])
        elif found:
            next(reversed(found.values())).own.append(instruction)
    return found


INSTRUCTIONS = [*_instructions((PROJECT / "Dockerfile").read_text())]
"""All of them, those before the first stage, too."""

STAGES = _stages()
"""By name, in order."""
