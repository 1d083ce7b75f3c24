"""
Write the generated files of the Helm chart.

They are its schema, the table of values in its README, and its copies of the rules and
dashboards. A value is described by the comment right above it in values.yaml that begins
with ``# --``. With ``--check`` nothing is written: the stale files are named, and the exit
code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from docs.reference import code, renewed, table
from exporter.config import Option, ServeSettings, options

PROJECT = Path(__file__).parent.parent
CHART = PROJECT / "deploy/helm/codecommit-exporter"

Schema = dict[str, Any]


# What values.yaml says -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """
    One value of the chart.
    """

    name: str
    """As ``--set`` takes it, ``image.tag``."""
    default: Any
    text: str
    """What its comment says; empty where there is none."""

    def is_in(self, other: Value) -> bool:
        """
        Whether it is a part of the other value.
        """
        return self.name.startswith(f"{other.name}.")


def values(text: str) -> tuple[Value, ...]:
    """
    The values of a values.yaml, in its order.

    Raises ValueError for a value that neither its own comment nor one of a value around it
    describes, and for a comment that describes none.
    """
    lines = text.splitlines()
    found = list[Value]()
    used = set[int]()
    for name, line, node in _entries(yaml.compose(text, Loader=yaml.SafeLoader)):
        first = _description(lines, line)
        default = yaml.safe_load(yaml.serialize(node, Dumper=yaml.SafeDumper))
        value = Value(name, default, " ".join(map(_said, lines[first:line])))
        has_parts = default and isinstance(default, dict)
        if not (value.text or has_parts or any(value.is_in(one) for one in found if one.text)):
            raise ValueError(f"values.yaml:{line + 1}: {name} is not described")
        used.add(first)
        found.append(value)
    for number, text_line in enumerate(lines):
        if text_line.lstrip().startswith("# --") and number not in used:
            raise ValueError(f"values.yaml:{number + 1}: no value follows this description")
    return tuple(found)


def _entries(node: yaml.Node | None, around: str = "") -> Iterator[tuple[str, int, yaml.Node]]:
    """
    The name, line from 0 and node of each value of a mapping, and of those in it.
    """
    if isinstance(node, yaml.MappingNode):
        for key, value in cast("list[tuple[yaml.ScalarNode, yaml.Node]]", node.value):
            name = f"{around}{key.value}"
            yield name, key.start_mark.line, value
            yield from _entries(value, f"{name}.")


def _description(lines: Sequence[str], line: int) -> int:
    """
    Where the description right above a line begins; the line itself where there is none.
    """
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
        if lines[first].lstrip().startswith("# --"):
            return first
    return line


def _said(line: str) -> str:
    """
    What a line of a description says.
    """
    return line.strip().removeprefix("# --").removeprefix("#").strip()


def value_table(declared: Sequence[Value]) -> str:
    """
    One line a described value: name, default, what it does.

    The default of one with described values in it is theirs.
    """
    described = [one for one in declared if one.text]
    return table(
        ("value", "default", "what it does"),
        (
            (
                code(one.name),
                "" if any(part.is_in(one) for part in described) else code(json.dumps(one.default)),
                one.text,
            )
            for one in described
        ),
    )


# What may be written ---------------------------------------------------------------------


def anchored(pattern: str) -> str:
    """
    The regular expression of a text that matches from its beginning to its end.
    """
    return f"^({pattern})$"


def closed(properties: dict[str, Schema]) -> Schema:
    """
    An object that has no other properties.
    """
    return {"type": "object", "properties": properties, "additionalProperties": False}


def complete(properties: dict[str, Schema]) -> Schema:
    """
    An object that has no other properties, and all of these that may not be null.

    Helm takes away what is null before it looks.
    """
    needed = [name for name, one in properties.items() if "null" not in one.get("type", ())]
    return closed(properties) | ({"required": needed} if needed else {})


OPEN: Schema = {"type": ["object", "null"]}
"""An object of Kubernetes' own."""

TEXTS: Schema = OPEN | {"additionalProperties": {"type": ["string", "null"]}}
"""Labels or annotations. A number or a truth among them has to stand in quotes."""


# For an option of the program ------------------------------------------------------------

SET_BY_CHART = frozenset({"state.directory", "web.listen-address", "config.file"})
"""Options that are none of the chart's values; it needs no configuration file."""

OPTIONS = {one.name: one for one in options(ServeSettings) if one.name not in SET_BY_CHART}

LARGEST = 10**12 - 1
"""The largest number that the program reads."""

# The volume is where the state directory is, so the ledger has to be in there.
LEDGER_URL = r"memory:|sqlite:///(\w[\w.-]*/)*\w[\w.-]*"


def option_schema(option: Option) -> Schema:
    """
    What may be written for an option; null stands for the program's default.

    A list may be one text with commas, as in a variable; spaces around them do not matter.
    Raises ValueError where the program does not tell what its values look like.
    """
    pattern = LEDGER_URL if option.name == "ledger.url" else option.pattern
    if not (pattern or option.switch or option.choices):
        raise ValueError(f"{option.flag} has no pattern")
    text = {"type": ["string", "null"], "minLength": 1, "pattern": anchored(pattern)}
    if option.switch:
        return {"enum": [True, False, "true", "false", None]}
    if option.choices:
        return {"enum": [*option.choices, None]}
    if option.whole:
        return text | {"type": ["integer", "string", "null"], "minimum": 1, "maximum": LARGEST}
    if option.repeatable:
        one = rf"\s*({pattern})?\s*"
        return {
            "type": ["array", "string", "null"],
            "pattern": anchored(f"{one}(,{one})*"),
            "items": {"type": "string", "pattern": anchored(pattern)},
        }
    return text


def config_schema() -> Schema:
    """
    What may be written below ``config``, section by section.
    """
    sections = dict[str, Schema]()
    for option in OPTIONS.values():
        section, key = option.name.split(".")
        empty = {"description": option.heading} | closed({}) | OPEN
        properties = sections.setdefault(section, empty)["properties"]
        properties[key] = {"description": option.text} | option_schema(option)
    return closed(sections)


# For a value of the chart ----------------------------------------------------------------

INTERVAL: Schema = {
    "type": ["string", "null"],
    "pattern": anchored(OPTIONS["ledger.dedupe-window"].pattern),
}
"""A duration that Prometheus and the program write in the same way, or nothing."""

RETENTION: Schema = {"enum": ["Retain", "Delete"]}
PEER: Schema = closed(dict.fromkeys(("ipBlock", "namespaceSelector", "podSelector"), OPEN)) | {
    "minProperties": 1
}
"""Who may come in, as a NetworkPolicy takes it."""

DECLARED: dict[str, Schema] = {
    "config": config_schema(),
    "image.digest": {"type": ["string", "null"], "pattern": anchored("(sha256:[0-9a-f]{64})?")},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "persistence.accessMode": {"enum": ["ReadWriteOnce", "ReadWriteOncePod"]},
    "persistence.size": {
        "type": "string",
        "pattern": anchored(r"[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])"),
    },
    "persistence.retentionPolicy.whenDeleted": RETENTION,
    "persistence.retentionPolicy.whenScaled": RETENTION,
    "replicaCount": {"type": "integer", "minimum": 0, "maximum": 1},
    "autoscaling.enabled": {"const": False},
    "resources": OPEN,
    "terminationGracePeriodSeconds": {"type": ["integer", "null"], "minimum": 1},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "serviceMonitor.interval": INTERVAL,
    "serviceMonitor.scrapeTimeout": INTERVAL,
    "podMonitor.interval": INTERVAL,
    "podMonitor.scrapeTimeout": INTERVAL,
    "podSecurityContext": OPEN,
    "securityContext": OPEN,
    "startupProbe": OPEN,
    "livenessProbe": OPEN,
    "readinessProbe": OPEN,
    "affinity": OPEN,
    "extraArgs": {"type": ["array", "null"], "items": {"type": "string"}},
    "extraEnv": {
        "type": ["array", "null"],
        "items": {"type": "object", "required": ["name"]},
    },
    "networkPolicy.scrapers": {"type": ["array", "null"], "items": PEER},
}
"""What a default does not tell."""


FROM_ABOVE: dict[str, Schema] = {
    "global": {"description": "Values that a chart around this one has for all."} | OPEN,
    "enabled": {
        "description": "Whether a chart around this one wants it; nothing here looks at it.",
        "type": "boolean",
    },
}
"""What is no value of this chart, and given to it all the same where it is a dependency."""


def schema(declared: Sequence[Value]) -> Schema:
    """
    The JSON Schema of the values.

    Raises ValueError where neither a default nor the table above tells what may be written, and
    where the table tells of a value that is none.
    """
    if unknown := DECLARED.keys() - {one.name for one in declared}:
        raise ValueError(f"values.yaml: there is no {', '.join(sorted(unknown))}")
    texts = {one.name: one.text for one in declared if one.text}
    top = {
        one.name: value_schema(one.name, one.default, texts)
        for one in declared
        if "." not in one.name
    }
    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    return draft | complete(top) | {"properties": top | FROM_ABOVE}


def value_schema(name: str, default: Any, texts: Mapping[str, str]) -> Schema:
    """
    What may be written for a value, and what its comment says. Raises ValueError.
    """
    said = {"description": texts[name]} if name in texts else {}
    return said | (DECLARED.get(name) or _like(name, default, texts))


def _like(name: str, default: Any, texts: Mapping[str, str]) -> Schema:
    """
    What may be written instead of a default. Raises ValueError.
    """
    match default:
        case bool():
            return {"type": "boolean"}
        case str():
            return {"type": ["string", "null"]}
        case list():
            return {"type": ["array", "null"], "items": {"type": "object"}}
        case dict() if re.search("(labels|annotations|nodeSelector)$", name, re.IGNORECASE):
            return TEXTS
        case dict() if default:
            return complete(
                {key: value_schema(f"{name}.{key}", one, texts) for key, one in default.items()}
            )
    raise ValueError(f"values.yaml: the default of {name} does not tell what may be written")


# The files -------------------------------------------------------------------------------

COPIES = {
    "files/rules": sorted((PROJECT / "deploy/prometheus").glob("*.yml")),
    "files/dashboards": sorted((PROJECT / "grafana").glob("*.json")),
}
"""What the chart has copies of, by their folder in it."""


def contents(chart: Path) -> dict[Path, str]:
    """
    What each generated file should hold.
    """
    declared = values((chart / "values.yaml").read_text(encoding="utf-8"))
    readme = (chart / "README.md").read_text(encoding="utf-8")
    return {
        chart / "values.schema.json": f"{json.dumps(schema(declared), indent=2)}\n",
        chart / "README.md": renewed(readme, {"values": value_table(declared)}),
        **{
            chart / folder / file.name: file.read_text(encoding="utf-8")
            for folder, files in COPIES.items()
            for file in files
        },
    }


def stale(chart: Path, fresh: Mapping[Path, str]) -> list[Path]:
    """
    The files that hold anything else, are missing, or should not be there.
    """
    known = {file: file.read_text(encoding="utf-8") for file in fresh if file.is_file()}
    others = [
        file
        for folder in COPIES
        for file in (chart / folder).rglob("*")
        if file.is_file() and file not in fresh
    ]
    return sorted([file for file in fresh if fresh[file] != known.get(file)] + others)


def main(arguments: Sequence[str], chart: Path = CHART) -> int:
    """
    Write or check the files, and tell the exit code.
    """
    parser = argparse.ArgumentParser(description="Write the generated files of the Helm chart.")
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    check = parser.parse_args(arguments).check
    fresh = contents(chart)
    found = stale(chart, fresh)
    for file in found:
        if check:
            print(f"{file.relative_to(chart)} is stale; make docs writes it", file=sys.stderr)
        elif file in fresh:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(fresh[file], encoding="utf-8")
        else:
            file.unlink()
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
