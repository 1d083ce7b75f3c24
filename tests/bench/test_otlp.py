"""
The benchmark of OTLP measures what it says.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench import otlp
from tests.bench.otlp import run_first
from tests.processes import PROJECT, clean_environment

KINDS = ("dead", "hanging", "refusing (400)", "unavailable (503)")
LOOKING = """\
import os
from exporter.otlp.variables import read_variables

try:
    import opentelemetry.sdk
except ModuleNotFoundError:
    found = False
else:
    found = True
print(found, read_variables(os.environ) is not None)
"""


def test_a_small_run_tells_all_its_figures() -> None:
    """
    Each kind of endpoint has a rate and a memory with a bound; what OTLP costs has none.
    """
    found = otlp.findings(starts=1, files=24, rounds=1)

    off = {
        "start with OTLP off / without its code": 1.03,
        "memory with OTLP off, less that without its code": 1,
    }
    kept = {
        name: bound
        for kind in KINDS
        for name, bound in (
            (f"counting rate, OTLP endpoint {kind} / healthy", 0.9),
            (f"peak memory, OTLP endpoint {kind} less healthy", 8),
        )
    }
    added = dict.fromkeys(
        ("CPU with OTLP metrics / without", "CPU with OTLP metrics and traces / without")
    )
    assert off | kept | added == {finding.name: finding.bound for finding in found}


@pytest.mark.parametrize(
    ("code", "told"),
    [("", "True True"), (otlp.STUB, "False False")],
    ids=["whole", "without"],
)
def test_an_interpreter_without_the_code_has_none_of_it(code: str, told: str) -> None:
    """
    It finds no OpenTelemetry, and takes the variables for saying that OTLP is off.
    """
    with run_first(code) as variables:
        ended = subprocess.run(
            [sys.executable, "-c", LOOKING],
            cwd=PROJECT,
            env=clean_environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318") | variables,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )

    assert told == ended.stdout.strip()
