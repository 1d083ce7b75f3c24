"""
Every query of the written dashboards, as Grafana would send it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent.parent
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
DURATIONS = {"__range": "1h", "__rate_interval": "1m", "__interval": "15s"}


class Expression(NamedTuple):
    """
    One query of one panel; ``instant`` ones are asked once, the others over a range of time.
    """

    dashboard: str
    panel: str
    ref_id: str
    expr: str
    instant: bool


def dashboards(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """
    The written dashboards by the name of their file, without its ending.
    """
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    The panels of a dashboard, without its rows, in their order.
    """
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(folder: Path = FOLDER, **chosen: str) -> list[Expression]:
    """
    All queries with their variables filled in.

    Args:
        folder: where the dashboards are.
        chosen: values of variables (``account="1111.*"``, a regular expression) and of
            Grafana's durations (``__range="5m"``). A variable that is not named stands on
            All, and the durations are those of ``DURATIONS``.

    """
    return [each for name, made in dashboards(folder).items() for each in _of(name, made, chosen)]


def _of(name: str, made: Mapping[str, Any], chosen: Mapping[str, str]) -> Iterator[Expression]:
    everything = {
        variable["name"]: variable["allValue"]
        for variable in made["templating"]["list"]
        if variable["type"] == "query"
    }
    values = DURATIONS | everything | dict(chosen)
    for panel in panels(made):
        for target in panel["targets"]:
            expr = VARIABLE.sub(lambda found: values[found[1]], target["expr"])
            yield Expression(name, panel["title"], target["refId"], expr, target["instant"])
