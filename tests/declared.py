"""
What Prometheus can know of the program, by the program's own declarations.
"""

from __future__ import annotations

from typing import NamedTuple

import prometheus_client

from exporter.families import FAMILIES, Kind
from exporter.telemetry import METRICS

FROM_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""


class Sample(NamedTuple):
    """
    What a line of the page can be: its labels, and whether it only ever grows.
    """

    labels: set[str]
    grows: bool


def samples() -> dict[str, Sample]:
    """
    Every name that Prometheus can know, by the declarations.
    """
    known = {"up": Sample(FROM_PROMETHEUS, grows=False)}
    for metric in (*FAMILIES, *METRICS):
        labels = {*metric.labels} | (FROM_PROMETHEUS if metric in METRICS else {"job"})
        if metric.kind is Kind.HISTOGRAM:
            known[f"{metric.name}_bucket"] = Sample({*labels, "le"}, grows=True)
            known[f"{metric.name}_sum"] = Sample(labels, grows=True)
            known[f"{metric.name}_count"] = Sample(labels, grows=True)
        else:
            known[metric.name] = Sample(labels, metric.kind is Kind.COUNTER)
    process = prometheus_client.ProcessCollector(registry=None)
    for family in process.collect():
        for sample in family.samples:
            known[sample.name] = Sample(FROM_PROMETHEUS, family.type == "counter")
    return known
