"""
What metrics and labels are called in OpenTelemetry.

Rules:

1. Names follow from those of the page: no ``_total``, no unit (OTLP has a field for it), and the
   namespace set off by dots. Prometheus, which does the opposite, arrives at the page's names.
2. Labels of CodeCommit metrics are attributes of the semantic conventions where these have one
   with the same meaning and values, else of the program's own namespace. (A protocol's name
   would have to be in small letters; two values that differ on the page must not become one.)
3. The exporter's own metrics keep their labels.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACES = ("codecommit_exporter", "codecommit", "process", "python")
UNITS = {"seconds": "s", "bytes": "By"}
"""Units that are part of a name on the page, and how UCUM writes them."""

ATTRIBUTES: Mapping[str, str] = {
    "account_id": "cloud.account.id",
    "aws_region": "cloud.region",
    "repository": "vcs.repository.name",
    "repository_id": "codecommit.repository.id",
    "action": "codecommit.action",
    "protocol": "codecommit.protocol",
    "data_transferred": "codecommit.data_transferred",
    "error_code": "error.type",
    "ref_type": "vcs.ref.type",
    "change": "codecommit.reference.change",
    "event": "codecommit.pull_request.event",
    "outcome": "vcs.change.state",
    "identity_type": "codecommit.caller.identity_type",
    "credentials": "codecommit.caller.credentials",
}
"""The attribute that each label of CodeCommit metrics becomes."""


def otlp_name(name: str) -> str:
    """
    What a metric of the page is called.
    """
    base = name.removesuffix("_total")
    for suffix in UNITS:
        base = base.removesuffix(f"_{suffix}")
    for namespace in NAMESPACES:
        if base.startswith(f"{namespace}_"):
            return f"{namespace.replace('_', '.')}.{base.removeprefix(f'{namespace}_')}"
    return base


def unit_in(name: str) -> str:
    """
    The unit that a name on the page ends with, as UCUM writes it; empty if it has none.
    """
    return UNITS.get(name.removesuffix("_total").rpartition("_")[2], "")
