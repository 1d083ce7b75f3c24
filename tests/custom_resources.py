"""
JSON Schemas of what the Prometheus operator takes: ServiceMonitor, PodMonitor, PrometheusRule.

They are stricter than the definitions (monitoring.coreos.com/v1): a field that is not named here
is refused, where Kubernetes would leave it out without a word. What the chart can write is here,
and what stands beside it and is often asked for.
"""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]

Schema = dict[str, Any]

_DURATION = {
    "type": "string",
    "minLength": 1,
    "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$",
}
_LABEL_NAME = {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}
_METRIC_NAME = {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}
_TEXT = {"type": "string", "minLength": 1}
_SWITCH = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_ACTIONS = (
    *("replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep"),
    *("lowercase", "uppercase", "keepequal", "dropequal"),
)


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """
    An object that has no other properties than these.
    """
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*required],
        "properties": properties,
    }


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _map(values: Schema, names: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "additionalProperties": values,
        "propertyNames": names or {"type": "string"},
    }


_RELABELINGS = _list(
    _object(
        sourceLabels=_list(_LABEL_NAME),
        separator={"type": "string"},
        regex={"type": "string"},
        modulus=_COUNT,
        replacement={"type": "string"},
        targetLabel=_LABEL_NAME,
        action={"enum": [*_ACTIONS]},
    )
)
_SELECTOR = _object(
    matchLabels=_map({"type": "string", "maxLength": 63}),
    matchExpressions=_list(
        _object(
            ("key", "operator"),
            key=_TEXT,
            operator={"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            values=_list({"type": "string"}),
        )
    ),
)
_ENDPOINT = _object(
    ("port",),
    port=_TEXT,
    path={"type": "string", "pattern": "^/"},
    scheme={"enum": ["http", "https"]},
    params=_map(_list({"type": "string"})),
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    honorLabels=_SWITCH,
    honorTimestamps=_SWITCH,
    trackTimestampsStaleness=_SWITCH,
    followRedirects=_SWITCH,
    enableHttp2=_SWITCH,
    relabelings=_RELABELINGS,
    metricRelabelings=_RELABELINGS,
)
_MONITOR: dict[str, Schema] = {
    "selector": _SELECTOR,
    "namespaceSelector": _object(any=_SWITCH, matchNames=_list(_TEXT)),
    "jobLabel": _TEXT,
    "podTargetLabels": _list(_LABEL_NAME),
    "attachMetadata": _object(node=_SWITCH),
    "sampleLimit": _COUNT,
    "targetLimit": _COUNT,
    "labelLimit": _COUNT,
}
_RULE = _object(
    ("expr",),
    record=_METRIC_NAME,
    alert=_TEXT,
    expr={"type": ["string", "integer"]},
    labels=_map({"type": "string"}, _LABEL_NAME),
    annotations=_map({"type": "string"}, _LABEL_NAME),
    **{"for": _DURATION, "keep_firing_for": _DURATION},
)
_GROUP = _object(
    ("name",),
    name=_TEXT,
    interval=_DURATION,
    query_offset=_DURATION,
    limit=_COUNT,
    labels=_map({"type": "string"}, _LABEL_NAME),
    rules=_list(
        {
            **_RULE,
            # A rule records or alerts, and what records waits for nothing.
            "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
            "dependentSchemas": {
                "record": {"properties": {"for": False, "annotations": False}},
            },
        }
    ),
)


def _resource(kind: str, spec: Schema) -> Schema:
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=_object(
            ("name", "namespace"),
            name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
            namespace=_TEXT,
            labels=_map({"type": "string", "maxLength": 63}),
            annotations=_map({"type": "string"}),
        ),
        spec=spec,
    )


SCHEMAS = {
    "ServiceMonitor": _resource(
        "ServiceMonitor",
        _object(
            ("selector", "endpoints"),
            endpoints=_list(_ENDPOINT, 1),
            targetLabels=_list(_LABEL_NAME),
            **_MONITOR,
        ),
    ),
    "PodMonitor": _resource(
        "PodMonitor",
        _object(
            ("selector", "podMetricsEndpoints"),
            podMetricsEndpoints=_list(_ENDPOINT, 1),
            **_MONITOR,
        ),
    ),
    "PrometheusRule": _resource("PrometheusRule", _object(("groups",), groups=_list(_GROUP, 1))),
}
"""By kind; each takes a whole object."""


def problem(found: dict[str, Any]) -> str:
    """
    What is wrong with an object of one of these kinds; empty if nothing is.
    """
    try:
        jsonschema.Draft202012Validator(SCHEMAS[found["kind"]]).validate(found)
    except jsonschema.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    return ""
