"""
Log lines, as logfmt or as JSON, one line each whatever is in them.

Rules:

1. A line is a sentence for a person and fields for a machine.
2. What came from outside is a field, never part of the sentence, and is escaped and cut.
3. No field holds what identifies a person: no user, ARN, address, user agent or record.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

LOG = logging.getLogger("exporter")

FIELD_LENGTH_MAX = 512

_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def say(level: int, sentence: str, **fields: object) -> None:
    """
    Write one log line.
    """
    LOG.log(level, sentence, extra={"fields": fields})


def set_up_logs(level: str, log_format: str) -> None:
    """
    Send the program's lines, and warnings of the libraries, to standard error.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``logfmt`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Logfmt())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    LOG.setLevel(level.upper())


class _Lines(logging.Formatter):
    """
    What both formats have in common: the fields of a line, in order.
    """

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """
        Everything the line says, by name.
        """
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        if record.name != LOG.name:
            fields["logger"] = record.name
        fields.update(getattr(record, "fields", {}))
        if record.exc_info and not record.name.startswith(LOG.name):
            # A library's error quotes AWS, and AWS quotes the caller's ARN.
            fields["error"] = getattr(record.exc_info[0], "__name__", "")
        elif record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return fields


class _Logfmt(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(
            f"{name}={_logfmt_value(name, value)}" for name, value in self.fields(record).items()
        )


class _Json(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                name: value if isinstance(value, (int, float, bool)) else _cut(name, value)
                for name, value in self.fields(record).items()
            }
        )


def _logfmt_value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _cut(name, value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _cut(name: str, value: object) -> str:
    text = str(value)
    if name == "traceback" or len(text) <= FIELD_LENGTH_MAX:
        return text
    return text[:FIELD_LENGTH_MAX] + "…"
