"""
Where the values of options come from: flags, environment, configuration file.

Rule 1. A flag wins over a variable, a variable over the file, the file over the default.

Rule 2. An error is one line that names the place where the value was written.

Rule 3. Each source hands over text. The YAML file is for this reason read as a tree of
text: YAML's own idea of a scalar would turn an account id with a leading zero into an
octal number and ``22:10`` into 1330.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    TypeVar,
    cast,
)

from pydantic import ValidationError

from exporter.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    Node = MappingNode | ScalarNode | SequenceNode

from exporter.config import ALL_SETTINGS, PREFIX, Option, Settings, declaration, options
from exporter.values import either, quote, read_path

SettingsT = TypeVar("SettingsT", bound="Settings")


@dataclass(frozen=True, slots=True)
class Given:
    """
    A value as somebody wrote it, and where.
    """

    text: str | Sequence[str]
    place: str


def read_settings(
    kind: type[SettingsT], flags: Mapping[str, str | Sequence[str]], environ: Mapping[str, str]
) -> SettingsT:
    """
    The settings of a command from flags, environment, configuration file and defaults.

    Args:
        kind: The command's settings.
        flags: By the option's name, the text of a flag; of a repeatable one all its texts.
        environ: The environment.

    Raises ConfigError, one line that names the place, for the first value that is wrong.
    """
    known = {option.name: option for option in options(kind)}
    by_flag = {name: Given(text, known[name].flag) for name, text in flags.items()}
    by_variable = _from_environment(environ, known)
    given = by_variable | by_flag
    if "config.file" in given:
        given = _from_file(given["config.file"], known) | given
    return _validated(kind, known, given)


def _validated(
    kind: type[SettingsT], known: Mapping[str, Option], given: Mapping[str, Given]
) -> SettingsT:
    """
    The settings that the given texts make. Raises ConfigError.
    """
    tree: dict[str, Any] = {
        name: dict(declaration(field)["defaults"])
        for name, field in kind.model_fields.items()
        if "defaults" in declaration(field)
    }
    for name, value in given.items():
        *section, field = known[name].path
        branch = tree[section[0]] if section else tree
        branch[field] = value.text
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wrong = next(o for o in known.values() if o.path == first["loc"][: len(o.path)])
        raise ConfigError(_explained(first, wrong, given)) from None


def _explained(error: ErrorDetails, option: Option, given: Mapping[str, Given]) -> str:
    """
    One line on what is wrong with an option, where it was written, and what to write.
    """
    if error["type"] == "missing":
        if option.positional:
            return f"{option.flag} is missing; write {option.example}"
        unless = f" ({option.default})" if option.default else ""
        return (
            f"{option.flag} is missing{unless}; write {option.flag} {option.example} "
            f"or set {option.variable}"
        )
    if option.choices:
        problem = f"{quote(str(error['input']))} is not known; write {either(option.choices)}"
    else:
        problem = str(error.get("ctx", {}).get("error", error["msg"]))
    return f"{given[option.name].place}: {problem}"


def _every_option() -> dict[str, Option]:
    """
    The options of all commands, by name.
    """
    return {option.name: option for kind in ALL_SETTINGS for option in options(kind)}


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """
    The end of a sentence about a wrong word: the known one nearest to it, else where to look.

    What all words begin with, the prefix, makes none of them nearer.
    """
    import difflib  # noqa: PLC0415 - only a mistake needs it

    words = {each.removeprefix(prefix): each for each in known}
    near = difflib.get_close_matches(word.removeprefix(prefix), words, n=1)
    return f"; did you mean {words[near[0]]}?" if near else "; --help lists what there is"


def _from_environment(environ: Mapping[str, str], known: Mapping[str, Option]) -> dict[str, Given]:
    """
    What the environment gives, by option name. An empty variable gives nothing.

    A variable of another command's option is left to that command: one environment often
    serves several. Raises ConfigError for one that is no command's.
    """
    variables = {option.variable for option in _every_option().values() if option.variable}
    foreign = _service_links(environ)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in variables and not name.startswith(foreign):
            raise ConfigError(f"{name}: no such option{suggestion(name, variables, PREFIX)}")
    return {
        option.name: Given(environ[option.variable].strip(), option.variable)
        for option in known.values()
        if environ.get(option.variable, "").strip()
    }


def _service_links(environ: Iterable[str]) -> tuple[str, ...]:
    """
    How the variables begin that Kubernetes sets, in every container, for each Service.

    A Service named codecommit-exporter, or codecommit-exporter-web, looks like options
    (Kubernetes documentation, Service, environment variables). Each Service has a
    ``..._SERVICE_HOST``, by which its other variables are told from mistakes.
    """
    hosts = {
        name.removesuffix("SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST")
    }
    return tuple(f"{each}{kind}" for each in {PREFIX, *hosts} for kind in ("PORT", "SERVICE_"))


def _from_file(file: Given, known: Mapping[str, Option]) -> dict[str, Given]:
    """
    What the configuration file gives, by option name.

    Another command's options are left to that command. Raises ConfigError for a file that
    cannot be read, a key that is no option, and one that is given twice.
    """
    found = dict[str, Given]()
    everything = _every_option()
    allowed = {name for name, each in everything.items() if each.variable} - {"config.file"}
    for line, name, value in _file_entries(file):
        place = f"{file.text}:{line}: {name}"
        if name not in allowed:
            raise ConfigError(f"{place}: no such option{suggestion(name, allowed)}")
        if name in found:
            raise ConfigError(f"{place}: is given twice; write it once")
        found[name] = Given(_text_of(value, everything[name], place), place)
    return {name: value for name, value in found.items() if name in known}


def _file_entries(file: Given) -> Iterator[tuple[int, str, Node]]:
    """
    The line, dotted name and value of each entry of a configuration file.

    Raises ConfigError where the file cannot be read, is no YAML, or holds no mapping.
    """
    import yaml  # noqa: PLC0415 - costs a tenth of a second that only users of a file need spend

    try:
        text = read_path(str(file.text)).read_text(encoding="utf-8-sig")
        root = cast("Node | None", yaml.compose(text, Loader=yaml.SafeLoader))
    except OSError as error:
        raise ConfigError(f"{file.place}: {quote(str(file.text))}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file.text}:{line}: is no YAML: {error.problem}") from None
    except (ValueError, yaml.YAMLError, RecursionError):
        raise ConfigError(f"{file.place}: {quote(str(file.text))} is no YAML file") from None
    if root is None:
        return
    sections = {option.section for option in _every_option().values()}
    for line, key, value in _pairs(root, str(file.text)):
        if isinstance(value, yaml.MappingNode):
            for inner_line, inner_key, inner in _pairs(value, str(file.text)):
                yield inner_line, f"{key}.{inner_key}", inner
        # A section whose options are all commented out is a key without a value.
        elif value.tag != _NULL or key not in sections:
            yield line, key, value


_NULL = "tag:yaml.org,2002:null"


def _pairs(node: Node, path: str) -> Iterator[tuple[int, str, Node]]:
    """
    The line, key and value of each pair of a YAML mapping. Raises ConfigError for others.
    """
    if node.id != "mapping":
        raise ConfigError(f"{path}:1: holds no options; write log.level: info, for example")
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.id != "scalar":
            raise ConfigError(f"{path}:{line}: a key is no text; write log.level, for example")
        yield line, str(key.value), value


def _text_of(node: Node, option: Option, place: str) -> str | tuple[str, ...]:
    """
    The text of a value, or the texts of a list. Raises ConfigError.
    """
    if node.id == "sequence" and option.repeatable:
        return tuple(str(_text_of(item, option, place)) for item in node.value)
    if node.id != "scalar":
        wanted = "one value or a list" if option.repeatable else "one value"
        raise ConfigError(f"{place}: holds more than is read; write {wanted}")
    if node.tag == _NULL:
        raise ConfigError(f"{place}: has no value")
    return str(node.value).strip()
