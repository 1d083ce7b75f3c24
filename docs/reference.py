"""
Write README's tables of options and metrics, each from the place that declares them.

A table stands between ``<!-- options serve -->`` and ``<!-- end -->``. With ``--check``
nothing is written: the stale tables are named, and the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from exporter.config import ALL_SETTINGS, Option, options
from exporter.families import FAMILIES, Family
from exporter.telemetry import METRICS, Metric

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
    Every table, by the words of its marker.
    """
    return {
        **{f"options {kind.command}": option_table(options(kind)) for kind in ALL_SETTINGS},
        "metrics codecommit": metric_table(FAMILIES),
        "metrics exporter": metric_table(METRICS),
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


def main(arguments: Sequence[str], readme: Path = README) -> int:
    """
    Renew or check the tables, and tell the exit code.
    """
    parser = argparse.ArgumentParser(description="Write README's tables of options and metrics.")
    parser.add_argument("--check", action="store_true", help="write nothing, name stale tables")
    text = readme.read_text(encoding="utf-8")
    if not parser.parse_args(arguments).check:
        readme.write_text(renewed(text, tables()), encoding="utf-8")
        return 0
    names = stale(text, tables())
    for name in names:
        print(f"{readme.name}: the table '{name}' is stale; make docs writes it", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
