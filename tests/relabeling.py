"""
What Prometheus makes of labels, by its configuration: the actions that the chart needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Labels = dict[str, str]

_GROUP = re.compile(r"\$(\d+)")


def relabeled(labels: Mapping[str, str], steps: Iterable[Mapping[str, Any]]) -> Labels:
    """
    Labels after the steps of ``relabelings`` or ``metricRelabelings``; none where they are dropped.

    Raises KeyError for an action that is not among those here.
    """
    found = dict(labels)
    for step in steps:
        found = _ACTIONS[step.get("action", "replace").lower()](found, step)
        if not found:
            break
    return found


def scraped(target: Mapping[str, str], sample: Mapping[str, str], *, honor: bool) -> Labels:
    """
    The labels of a sample of a target, before the relabeling of samples.

    Where both have a label, the target's wins and the sample's is called ``exported_``, unless
    those of samples are honored.
    """
    if honor:
        return {**target, **sample}
    renamed = {f"exported_{name}" if name in target else name: v for name, v in sample.items()}
    return {**target, **renamed}


def _match(labels: Labels, step: Mapping[str, Any]) -> re.Match[str] | None:
    values = (labels.get(name, "") for name in step.get("sourceLabels", ()))
    return re.fullmatch(
        step.get("regex", "(.*)"), step.get("separator", ";").join(values), re.DOTALL
    )


def _replace(labels: Labels, step: Mapping[str, Any]) -> Labels:
    match = _match(labels, step)
    if match is None:
        return labels
    replacement = step.get("replacement", "$1")
    value = _GROUP.sub(lambda found: match[int(found[1])] or "", replacement)
    changed = labels | {step["targetLabel"]: value}
    return {name: value for name, value in changed.items() if value}


def _drop(labels: Labels, step: Mapping[str, Any]) -> Labels:
    return {} if _match(labels, step) else labels


_ACTIONS = {"replace": _replace, "drop": _drop}
