"""
Write the tables of options, metrics and variables, each from the place that declares them.

A table stands between ``<!-- options serve -->`` and ``<!-- end -->``. With ``--check``
nothing is written: the stale tables are named, and the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from docs.costs import Run
from exporter.config import ALL_SETTINGS, Option, options
from exporter.families import (
    CALLER_EVENTS,
    EVENT_DELIVERY,
    EVENT_ERRORS,
    EVENTS,
    FAMILIES,
    KMS_REQUESTS,
    LAST_EVENT,
    LAST_PUSH,
    PULL_REQUEST_EVENTS,
    PULL_REQUEST_OPEN,
    PUSH_REFERENCES,
    PUSHES,
    REFERENCE_UPDATES,
    REPOSITORY_INFO,
    Family,
    Kind,
)
from exporter.otlp.names import ATTRIBUTES, otlp_name
from exporter.otlp.variables import VARIABLES, Variable
from exporter.telemetry import METRICS, Metric

REPOSITORIES = 1000
ORDINARY = {
    EVENTS: (14, "pulls and pushes over HTTPS with and without data, pulls over SSH, 9 API calls"),
    EVENT_DELIVERY: (14, "the same"),
    EVENT_ERRORS: (3, "a missing branch, a merge conflict, a denied call"),
    PUSHES: (1, "HTTPS"),
    PUSH_REFERENCES: (1, "HTTPS"),
    REFERENCE_UPDATES: (3, "branches updated and deleted, tags"),
    PULL_REQUEST_EVENTS: (5, "created, merged, closed, approved, commented"),
    PULL_REQUEST_OPEN: (2, "merged, closed"),
    CALLER_EVENTS: (3, "people, build servers, services of AWS"),
    KMS_REQUESTS: (2, "Encrypt, Decrypt"),
    LAST_EVENT: (11, "one an action"),
    LAST_PUSH: (1, ""),
    REPOSITORY_INFO: (1, ""),
}
"""How many label sets each family has of a repository that is used in the ordinary way."""

POINTS = {Kind.COUNTER: "sum", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}
"""What OpenTelemetry calls the kinds of metrics."""

README = Path(__file__).parent.parent / "README.md"


def option_table(declared: Iterable[Option]) -> str:
    """
    One line an option: flag, variable, default, what it does.
    """
    return table(
        ("flag", "variable", "default", "what it does"),
        (
            (
                code(option.flag if option.positional else f"{option.flag} {option.metavar}"),
                code(option.variable),
                "required" if option.required else code(option.default),
                f"{option.text} Repeatable." if option.repeatable else option.text,
            )
            for option in declared
        ),
    )


def metric_table(declared: Iterable[Family | Metric]) -> str:
    """
    One line a metric: name, type with a histogram's buckets, labels, what it tells.
    """
    return table(
        ("metric", "type", "labels", "what it tells"),
        (
            (
                code(metric.name),
                f"{metric.kind} {', '.join(map(str, metric.buckets))}".strip(),
                ", ".join(map(code, metric.labels)),
                metric.help,
            )
            for metric in declared
        ),
    )


def cardinality_table() -> str:
    """
    One line a family: what Prometheus keeps of so many ordinary repositories; and their sum.
    """
    rows = [
        (family, label_sets, label_sets * samples(family), why)
        for family, (label_sets, why) in ORDINARY.items()
    ]
    return table(
        ("metric", "label sets of a repository", "samples each", f"series of {REPOSITORIES:,}"),
        [
            *(
                (
                    code(family.name),
                    f"{label_sets}: {why}" if why else str(label_sets),
                    str(samples(family)),
                    f"{REPOSITORIES * series:,}",
                )
                for family, label_sets, series, why in rows
            ),
            ("all", "", "", f"{REPOSITORIES * sum(series for _, _, series, _ in rows):,}"),
        ],
    )


def variable_table(declared: Iterable[Variable]) -> str:
    """
    One line a variable: its names, default, what it does.
    """
    return table(
        ("variable", "default", "what it does"),
        (
            (", ".join(map(code, variable.names)), code(variable.default), variable.text)
            for variable in declared
        ),
    )


def name_table(declared: Iterable[Family | Metric]) -> str:
    """
    One line a metric: its name here and in OpenTelemetry, unit, kind.
    """
    return table(
        ("metric", "in OpenTelemetry", "unit", "kind"),
        (
            (
                code(metric.name),
                code(otlp_name(metric.name)),
                code(metric.unit),
                POINTS[metric.kind],
            )
            for metric in declared
        ),
    )


def attribute_table(attributes: Mapping[str, str]) -> str:
    """
    One line a label: the attribute it becomes.
    """
    return table(
        ("label", "attribute"),
        ((code(label), code(attribute)) for label, attribute in attributes.items()),
    )


def samples(family: Family) -> int:
    """
    How many samples one label set has: a histogram's buckets with +Inf, its sum and its count.
    """
    return len(family.buckets) + 3 if family.buckets else 1


def cost_tables() -> dict[str, str]:
    """
    What the run of the benchmark found that is kept beside this.
    """
    run = Run.read()
    return {
        "costs": f"{run.measured}, {run.machine}:\n\n"
        + table(("what", "figure", "bound", "", "measured"), run.costs()),
        "sizes": table(("accounts", "log files a second", "CPU cores"), run.sizes()),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    A Markdown table.
    """
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """
    Text that stays in its cell: GitHub ends one at every bar, in code as well.
    """
    return text.replace("|", r"\|")


def code(text: str) -> str:
    """
    Text set as code, unless there is none.
    """
    return f"`{text}`" if text else ""


def tables() -> dict[str, str]:
    """
    Every table of README, by the words of its marker.
    """
    return {
        **{f"options {kind.command}": option_table(options(kind)) for kind in ALL_SETTINGS},
        "metrics codecommit": metric_table(FAMILIES),
        "metrics exporter": metric_table(METRICS),
        "cardinality": cardinality_table(),
        **cost_tables(),
    }


def otlp_tables() -> dict[str, str]:
    """
    The same of the page about OpenTelemetry.
    """
    return {
        "otlp variables": variable_table(VARIABLES),
        "otlp names": name_table((*FAMILIES, *METRICS)),
        "otlp attributes": attribute_table(ATTRIBUTES),
    }


def place(name: str) -> re.Pattern[str]:
    """
    Where a table stands: the marker, what is there now, the end.
    """
    return re.compile(rf"(<!-- {name} -->\n)((?:(?!<!--).)*)(<!-- end -->)", re.DOTALL)


def stale(text: str, fresh: Mapping[str, str]) -> list[str]:
    """
    The names of the tables that the text lacks or shows otherwise.
    """
    shown = {name: place(name).search(text) for name in fresh}
    return [
        name for name, match in shown.items() if match is None or match[2] != f"{fresh[name]}\n"
    ]


def renewed(text: str, fresh: Mapping[str, str]) -> str:
    """
    The text with every table renewed. Raises LookupError where it has no place for one.
    """
    for name, content in fresh.items():
        match = place(name).search(text)
        if match is None:
            raise LookupError(f"no <!-- {name} --> with an <!-- end --> behind it")
        text = f"{text[: match.start(2)]}{content}\n{text[match.end(2) :]}"
    return text


PAGES: Mapping[Path, Callable[[], dict[str, str]]] = {
    README: tables,
    README.parent / "docs" / "opentelemetry.md": otlp_tables,
}


def main(
    arguments: Sequence[str], pages: Mapping[Path, Callable[[], dict[str, str]]] = PAGES
) -> int:
    """
    Renew or check the tables of each page, and tell the exit code.
    """
    parser = argparse.ArgumentParser(description="Write the generated tables.")
    parser.add_argument("--check", action="store_true", help="write nothing, name stale tables")
    only_checks = parser.parse_args(arguments).check
    complaints = 0
    for page, fresh in pages.items():
        text = page.read_text(encoding="utf-8")
        if not only_checks:
            page.write_text(renewed(text, fresh()), encoding="utf-8")
            continue
        for name in stale(text, fresh()):
            print(f"{page.name}: the table '{name}' is stale; make docs writes it", file=sys.stderr)
            complaints += 1
    return min(complaints, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
