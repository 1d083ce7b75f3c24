"""
The benchmark of the start keeps working, and a start loads nothing that it does not need.
"""

from __future__ import annotations

from tests.bench import startup
from tests.bench.stores import Stores

SPARED = {"bcrypt", "boto3", "difflib", "flask", "moto", "opentelemetry", "rich", "yaml"}
"""What only some settings, other commands and mistakes need."""


def test_a_start_with_flags_alone_loads_nothing_that_others_need() -> None:
    """
    Each of these would cost every start up to a tenth of a second, and megabytes.
    """
    with Stores(startup.environment()) as stores:
        telling = stores.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
        packages = startup.start(stores.queue_url, telling).packages

    assert {"aiobotocore", "exporter"} <= packages
    assert set() == SPARED & packages


def test_a_round_finds_the_ratio_and_the_memory() -> None:
    """
    Each with its bound, and in figures that such a process can have.
    """
    ratio, memory = startup.findings(rounds=1)

    assert [1.5, 95] == [ratio.bound, memory.bound]
    assert 0.5 < ratio.figure < 10
    assert 20 < memory.figure < 500
