"""
Numbers as people read them, in the units of Grafana that the dashboards use.
"""

from __future__ import annotations

import math

TIMES = ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs"))
THOUSANDS = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1, ""))
BYTES = ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B"))
SCALES = {
    "short": (THOUSANDS, ""),
    "cpm": (THOUSANDS, " / min"),
    "cps": (THOUSANDS, " / s"),
    "reqps": (THOUSANDS, " req/s"),
    "s": (TIMES, ""),
    "bytes": (BYTES, ""),
    "binBps": (BYTES, "/s"),
}


def formatted(value: float, unit: str, now: float = 0) -> str:
    """
    A value in Grafana's unit; ``now`` is in seconds since 1970, for times that are told as ages.
    """
    if math.isnan(value):
        return "none"
    match unit:
        case "percentunit":
            return f"{_digits(100 * value)} %"
        case "bool_yes_no":
            return "Yes" if value else "No"
        case "d":
            return f"{value:.2f} d"
        case "dateTimeFromNow":
            return f"{formatted(now - value / 1000, 's')} ago"
    scale, suffix = SCALES[unit]
    fitting = (step for step in scale if step[0] <= abs(value))
    factor, letter = next(fitting, (1, dict(scale)[1]))
    return f"{_digits(value / factor)}{letter}{suffix}"


def _digits(value: float) -> str:
    """
    Three digits that count, or all before the point.
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
