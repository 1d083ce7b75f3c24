"""
README's generated tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.reference import (
    ORDINARY,
    attribute_table,
    cardinality_table,
    main,
    metric_table,
    name_table,
    option_table,
    renewed,
    samples,
    stale,
    table,
    tables,
    variable_table,
)
from exporter.config import DemoSettings, ScanSettings, options
from exporter.families import FAMILIES, Family, Kind, Series
from exporter.lines import Lines
from exporter.otlp.variables import Signal, Variable

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
# Title

<!-- one -->
old
<!-- end -->

between

<!-- two -->
<!-- end -->
"""


def test_option_table() -> None:
    """
    An option is flag, variable, default and sentence; bars do not end a cell.
    """
    chosen = {"log.format", "web.listen-address"}
    declared = [option for option in options(DemoSettings) if option.name in chosen]
    declared += [option for option in options(ScanSettings) if option.positional]

    assert (
        "| flag | variable | default | what it does |\n"
        "| --- | --- | --- | --- |\n"
        "| `--web.listen-address [HOST]:PORT` | `CODECOMMIT_EXPORTER_WEB_LISTEN_ADDRESS` "
        "| `127.0.0.1:10112` | Address to listen on. Without HOST it is all interfaces; port 0 "
        "picks a free one, which the log names. Repeatable. |\n"
        r"| `--log.format logfmt\|json` | `CODECOMMIT_EXPORTER_LOG_FORMAT` "
        "| `logfmt` | How a line of the log is written. |\n"
        "| `PATH` |  | required | Log file, folder of log files or s3://bucket/prefix; - reads "
        "one log file from standard input. Repeatable. |"
    ) == option_table(declared)


def test_metric_table() -> None:
    """
    A metric is name, type, labels and sentence; a histogram has its buckets.
    """
    declared = [
        Family("a_total", Kind.COUNTER, "Counts a.", ("one", "two")),
        Family("b_seconds", Kind.HISTOGRAM, "Takes b.", (), (1, 86400)),
    ]

    assert (
        "| metric | type | labels | what it tells |\n"
        "| --- | --- | --- | --- |\n"
        "| `a_total` | counter | `one`, `two` | Counts a. |\n"
        "| `b_seconds` | histogram 1, 86400 |  | Takes b. |"
    ) == metric_table(declared)


def test_variable_table() -> None:
    """
    A variable is all its names, default and sentence.
    """
    declared = [
        Variable("OTEL_*A", "1", "Does a."),
        Variable("OTEL_*B", "", "Does b.", signals=(Signal.TRACES,)),
        Variable("OTEL_C", "", "Does c."),
    ]

    assert (
        "| variable | default | what it does |\n"
        "| --- | --- | --- |\n"
        "| `OTEL_A`, `OTEL_METRICS_A`, `OTEL_TRACES_A` | `1` | Does a. |\n"
        "| `OTEL_B`, `OTEL_TRACES_B` |  | Does b. |\n"
        "| `OTEL_C` |  | Does c. |"
    ) == variable_table(declared)


def test_name_table() -> None:
    """
    A metric is both its names, unit and what OpenTelemetry calls its kind.
    """
    declared = [
        Family("codecommit_a_total", Kind.COUNTER, "Counts a.", (), unit="{event}"),
        Family("codecommit_b_seconds", Kind.HISTOGRAM, "Takes b.", (), (1,), unit="s"),
        Family("codecommit_exporter_c_info", Kind.GAUGE, "Is c.", ()),
    ]

    assert (
        "| metric | in OpenTelemetry | unit | kind |\n"
        "| --- | --- | --- | --- |\n"
        "| `codecommit_a_total` | `codecommit.a` | `{event}` | sum |\n"
        "| `codecommit_b_seconds` | `codecommit.b` | `s` | histogram |\n"
        "| `codecommit_exporter_c_info` | `codecommit.exporter.c_info` |  | gauge |"
    ) == name_table(declared)


def test_attribute_table() -> None:
    """
    A label stands beside the attribute it becomes.
    """
    assert ("| label | attribute |\n| --- | --- |\n| `a` | `b.c` |") == attribute_table(
        {"a": "b.c"}
    )


def test_table() -> None:
    """
    A table has a head, a rule and its rows.
    """
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" == table(("a", "b"), [("1", "2")])


def test_renewed() -> None:
    """
    Each table goes between its markers; everything else stays.
    """
    text = renewed(TEXT, {"one": r"new \1", "two": "2"})

    assert TEXT.replace("old", r"new \1").replace("two -->\n", "two -->\n2\n") == text
    assert [] == stale(text, {"one": r"new \1", "two": "2"})
    assert text == renewed(text, {"one": r"new \1", "two": "2"})


def test_stale() -> None:
    """
    A table that differs, or has no place, is stale.
    """
    assert ["two", "three"] == stale(TEXT, {"one": "old", "two": "new", "three": "3"})


@pytest.mark.parametrize("text", ["", "<!-- one -->\n<!-- two -->\n<!-- end -->\n"])
def test_no_place(text: str) -> None:
    """
    A marker without an end of its own takes nothing of the next table.
    """
    with pytest.raises(LookupError, match="no <!-- one --> with an <!-- end -->"):
        renewed(text, {"one": "1"})


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The check names stale tables and changes nothing; once written, it is content.
    """
    readme = tmp_path / "README.md"
    pages = {readme: tables}
    text = "".join(f"<!-- {name} -->\n<!-- end -->\n" for name in tables())
    readme.write_text(text)
    before = main(["--check"], pages)
    complaints = capsys.readouterr().err.splitlines()
    unchanged = readme.read_text()

    written = main([], pages)
    after = main(["--check"], pages)

    assert (1, text) == (before, unchanged)
    assert [
        f"README.md: the table '{name}' is stale; make docs writes it" for name in tables()
    ] == (complaints)
    assert (0, 0, "") == (written, after, capsys.readouterr().err)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_samples_of_a_label_set_are_those_of_the_page(family: Family) -> None:
    """
    What Prometheus keeps of a series is as many lines as the page has of it.
    """
    one = Series(family.name, ("x",) * len(family.labels))

    assert Lines(family).write(one.labels, family.zero()).count("\n") == samples(family)


def test_the_cardinality_of_every_family_is_told() -> None:
    """
    None is left out, and the last line is the sum of the others.
    """
    *lines, last = [line.split("|")[4].strip() for line in cardinality_table().splitlines()[2:]]
    series = [int(number.replace(",", "")) for number in (*lines, last)]

    assert list(FAMILIES) == list(ORDINARY)
    assert sum(series[:-1]) == series[-1]
