"""
Log lines: one each, readable by machines, whatever is in them.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr

import pytest
from hypothesis import given, strategies as st

from exporter.logs import FIELD_LENGTH_MAX, LOG, say, set_up_logs
from exporter.notifications import LogFile

PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)(?: |$)')

texts = st.lists(
    st.characters(codec="utf-8")
    | st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Zs"])
    | st.sampled_from('"\\= \n\r\t\x0b\x0c\x1c\x85\u2028\u2029\u200b\ud800\x00\x1b'),
    max_size=20,
).map("".join)
"""Texts in which line ends, quotes, control characters and lone surrogates are frequent."""


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """
    The tests' own logging is there again afterwards.
    """
    root = logging.getLogger()
    handlers, level, own_level = list(root.handlers), root.level, LOG.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    LOG.setLevel(own_level)


def written(log_format: str, speak: Callable[[], None], level: str = "debug") -> str:
    """
    What is on standard error afterwards, which here refuses what is no proper UTF-8.
    """
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors="strict", newline="")
    with redirect_stderr(stream):
        logging.getLogger().handlers.clear()
        set_up_logs(level, log_format)
        speak()
        stream.flush()
    return raw.getvalue().decode()


def logfmt(line: str) -> dict[str, str]:
    """
    A logfmt line read by rules of the tests' own.
    """
    pairs = PAIR.findall(line)
    assert line == " ".join(f"{name}={value}" for name, value in pairs)
    return {name: json.loads(value) if value[0] == '"' else value for name, value in pairs}


def joined(text: str) -> str:
    """
    A text whose surrogates are joined to characters where two of them make one, as JSON does.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def frozen(log_format: str, **attributes: object) -> str:
    """
    How a record of a fixed time is written.
    """
    set_up_logs("debug", log_format)
    (handler,) = logging.getLogger().handlers
    record = {"name": "exporter", "levelno": logging.INFO, "levelname": "INFO", "msg": "Hello"}
    return handler.format(
        logging.makeLogRecord(record | {"created": 1_790_000_000.0625} | attributes)
    )


@given(texts)
def test_a_logfmt_line_is_one_line(text: str) -> None:
    """
    Whatever a field holds, it can be read back, and nothing of it starts a line of its own.
    """
    output = written("logfmt", lambda: say(logging.INFO, "Something happened", field=text))
    line, end, rest = output.partition("\n")

    assert ("\n", "") == (end, rest)
    assert [line] == line.splitlines()
    assert joined(text) == joined(logfmt(line)["field"])


@given(texts)
def test_a_json_line_is_one_line(text: str) -> None:
    """
    The same of a JSON line.
    """
    output = written("json", lambda: say(logging.INFO, "Something happened", field=text))
    line, end, rest = output.partition("\n")

    assert ("\n", "") == (end, rest)
    assert [line] == line.splitlines()
    assert joined(text) == joined(json.loads(line)["field"])


@given(texts, st.sampled_from(["logfmt", "json"]))
def test_a_librarys_warning_is_one_line(text: str, log_format: str) -> None:
    """
    Other loggers' messages, which may quote anything, are escaped as fields are.
    """
    output = written(log_format, lambda: logging.getLogger("aiohttp.client").warning("%s", text))

    assert 1 == len(output.splitlines())
    read = logfmt(output[:-1]) if log_format == "logfmt" else json.loads(output)
    assert "aiohttp.client" == read["logger"]
    assert joined(text) == joined(read["msg"])


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
@pytest.mark.parametrize("length", [FIELD_LENGTH_MAX, FIELD_LENGTH_MAX + 1, 100_000])
def test_a_long_field_is_cut(log_format: str, length: int) -> None:
    """
    What just fits stands whole; what does not is cut and says so.
    """
    output = written(log_format, lambda: say(logging.INFO, "Something", field="é" * length))
    read = logfmt(output[:-1]) if log_format == "logfmt" else json.loads(output)
    end = "" if length == FIELD_LENGTH_MAX else "…"

    assert "é" * 512 + end == read["field"]


def test_a_whole_logfmt_line() -> None:
    """
    Time, level and sentence come first, then the fields in the order given.
    """
    fields = {
        "log_file": LogFile("trail", "a b.json.gz"),
        "count": 3,
        "seconds": 0.123456789,
        "empty": "",
        "nothing": None,
        "quoted": 'say "hi"\n',
        "url": "http://127.0.0.1:10112",
        "equals": "a=b",
    }

    assert (
        "ts=2026-09-21T14:13:20.062Z level=info msg=Hello"
        ' log_file="s3://trail/a b.json.gz" count=3 seconds=0.123457 empty="" nothing=None'
        r' quoted="say \"hi\"\n" url=http://127.0.0.1:10112 equals="a=b"'
    ) == frozen("logfmt", fields=fields)


def test_a_whole_json_line() -> None:
    """
    The same in JSON, where numbers stay numbers.
    """
    fields = {"log_file": LogFile("trail", "a\nb"), "count": 3, "seconds": 0.5, "true": True}

    assert (
        '{"ts": "2026-09-21T14:13:20.062Z", "level": "info", "msg": "Hello",'
        r' "log_file": "s3://trail/a\nb", "count": 3, "seconds": 0.5, "true": true}'
    ) == frozen("json", fields=fields)


def fail() -> None:
    """
    Log an error with its traceback, which is longer than a field may be.
    """
    try:
        raise ZeroDivisionError("x" * FIELD_LENGTH_MAX + " the end\nof it")  # noqa: TRY301
    except ZeroDivisionError:
        LOG.exception("A fault", extra={"fields": {"message_id": "one"}})


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_a_traceback_is_whole_and_on_the_same_line(log_format: str) -> None:
    """
    Its last line is the one that matters, so it is not cut.
    """
    output = written(log_format, fail)
    read = logfmt(output[:-1]) if log_format == "logfmt" else json.loads(output)

    assert 1 == len(output.splitlines())
    assert "one" == read["message_id"]
    assert read["traceback"].startswith("Traceback (most recent call last):\n")
    assert read["traceback"].endswith("the end\nof it")


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
    ],
)
def test_a_level_leaves_out_what_is_below(level: str, said: list[str]) -> None:
    """
    Lines of the level and above are written.
    """

    def speak() -> None:
        for number, word in (
            (logging.DEBUG, "d"),
            (logging.INFO, "i"),
            (logging.WARNING, "w"),
            (logging.ERROR, "e"),
        ):
            say(number, word)

    output = written("logfmt", speak, level)

    assert said == [logfmt(line)["msg"] for line in output.splitlines()]


def test_libraries_speak_of_warnings_only() -> None:
    """
    The level is the program's own: debugging it does not let botocore write its requests.
    """

    def speak() -> None:
        logging.getLogger("botocore.endpoint").debug("a request with its signature")
        logging.getLogger("botocore.endpoint").info("a connection")

    assert "" == written("logfmt", speak, "debug")


def test_setting_up_again_replaces_what_was() -> None:
    """
    A second set-up leaves one handler, and so one line.
    """

    def speak() -> None:
        set_up_logs("info", "json")
        say(logging.INFO, "Once")

    assert 1 == len(written("logfmt", speak).splitlines())
