"""
The variables of OpenTelemetry: what each does here, and what they say.

Rule 1. A variable is declared once, with its default, its reader and its line of README.

Rule 2. What cannot be honoured is refused with one line that names the variable, quotes
what stands there and says what to write instead. Headers are never quoted: they hold
secrets.

Rule 3. The OpenTelemetry library reads endpoints, certificates, headers, compression,
sampler, limits and resource itself. It takes a wrong value for none and goes on, or ends
with a traceback; so they are read here first, the way it reads them, and left for it.

Rule 4. An empty variable is one that is not set, as the specification has it. It also has
booleans and words in any case, and times in milliseconds, where the library takes
seconds for some.

Every process imports this, and nothing of OpenTelemetry with it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from exporter.errors import ConfigError
from exporter.values import either, quote


@dataclass(frozen=True, slots=True)
class MetricsExport:
    """
    How metrics are sent.
    """

    url: str
    interval_seconds: float
    timeout_seconds: float
    """For one export, which may take several requests."""
    request_seconds: float
    exemplars: bool


@dataclass(frozen=True, slots=True)
class TracesExport:
    """
    How spans are sent.
    """

    url: str
    delay_seconds: float
    queue_max: int
    batch_max: int
    """Spans of one export; never more than the queue holds."""
    timeout_seconds: float
    request_seconds: float


@dataclass(frozen=True, slots=True)
class Otlp:
    """
    What is sent: at least one of the two.
    """

    metrics: MetricsExport | None
    traces: TracesExport | None


class Signal(StrEnum):
    """
    What can be sent, as the names of variables have it.
    """

    METRICS = "METRICS"
    TRACES = "TRACES"


# How values are read: text in, what it means out. Each raises ValueError with a sentence
# that says what to write instead.


def _word(*words: str, note: str = "") -> Callable[[str], str]:
    """
    A reader of words of which only these are available.
    """

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"{quote(text)} is not available; write {either(words)}{note}")
        return word

    return read


def _refused(instead: str) -> Callable[[str], NoReturn]:
    """
    A reader that takes nothing.
    """

    def read(text: str) -> NoReturn:
        raise ValueError(f"{quote(text)} is not available; {instead}")

    return read


_LARGEST = 2**31 - 1
"""As far as the specification has numbers go. As milliseconds it is 24 days."""


def _whole(text: str, least: int, otherwise: str) -> int:
    """
    A whole number from the least on.
    """
    digits = text.strip()
    if not re.fullmatch(r"\d{1,10}", digits, re.ASCII) or not least <= int(digits) <= _LARGEST:
        raise ValueError(f"{quote(text)} is no {otherwise}")
    return int(digits)


def _duration(text: str) -> float:
    """
    The seconds of so many milliseconds.
    """
    return _whole(text, 1, "number of milliseconds above 0; write 60000 for a minute") / 1000


def _timeout(text: str) -> float:
    """
    The seconds of so many milliseconds; 0 means without end, which becomes very long.
    """
    milliseconds = _whole(text, 0, "number of milliseconds; write 10000 for 10 seconds")
    return (milliseconds or _LARGEST) / 1000


def _count(text: str) -> int:
    """
    A whole number above 0.
    """
    return _whole(text, 1, "whole number above 0; write 512, for example")


def _limit(text: str) -> int:
    """
    A whole number.
    """
    return _whole(text, 0, "whole number; write 128, for example")


_SECRETS = re.compile(r"(?<=[?#]).+|(?<!://)(?<=/)[^/?#]{20,}", re.DOTALL)
"""What may be a token: what follows the path of a URL, and long pieces of the path."""


def _url(example: str, unwanted: str) -> Callable[[str], str]:
    """
    A reader of URLs without any of the unwanted characters.
    """

    def read(text: str) -> str:
        if "@" in text:
            # Not quoted: what stands there may be a password.
            raise ValueError(
                "a user name or password is not taken from the URL; write it as "
                "OTEL_EXPORTER_OTLP_HEADERS=Authorization=Basic%20..."
            )
        if set(text) & set(unwanted) or not _is_web_address(text):
            shown = _SECRETS.sub("...", text)
            raise ValueError(f"{quote(shown)} is no URL to send to; write {example}")
        return text

    return read


def _is_web_address(text: str) -> bool:
    """
    Whether the text is a URL with a host, of HTTP or HTTPS, in printable ASCII.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port  # looks at it, and raises ValueError where it is none
    except ValueError:
        return False
    known = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return known and re.fullmatch(r"[!-~]+", text) is not None


def _file(text: str) -> str:
    """
    The path of a file that can be read.
    """
    if "-----BEGIN" in text:
        # Not quoted: it may be a private key.
        raise ValueError("is no path but what the file should hold; write the path of a file")
    if not (os.access(text, os.R_OK) and Path(text).is_file()):
        raise ValueError(f"{quote(text)} cannot be read; write the path of a file in PEM format")
    return text


def _certificates(text: str) -> str:
    """
    The path of a file that holds certificates.
    """
    path = _file(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(f"{quote(text)} holds no certificates in PEM format") from None
    return path


_HEADER = re.compile(r"\s*[\w!#$&'*+.^`|~-]+[ \t]*=([ !#-+\--:<-\[\]-~]*)\s*", re.ASCII)
"""The characters that the library takes for a header's name (but no %) and its value."""
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")


def _headers(text: str) -> None:
    """
    Look at ``name=value,name=value``, each value percent-encoded.

    What the library would log or leave out, or send as it was not meant, and what HTTP does not
    send, is refused.
    """
    for number, header in enumerate(text.split(","), 1):
        match = _HEADER.fullmatch(header)
        if header.strip() and not (match and _is_sent_as_meant(match[1].strip())):
            raise ValueError(
                f"header {number} is none (not shown here, it may be secret); write "
                "name=value,name=value with blanks, commas and the like percent-encoded"
            )


def _is_sent_as_meant(value: str) -> bool:
    """
    Whether the library decodes the value of a header, and HTTP sends what it is then.
    """
    if " " in value and _ENCODED.search(value):
        return False  # it would stay encoded
    return _HEADER_VALUE.fullmatch(unquote(value)) is not None


def _attributes(text: str) -> None:
    """
    Look at ``key=value,key=value``.
    """
    for pair in text.split(","):
        key, equals, _ = pair.partition("=")
        if pair.strip() and not (equals and key.strip()):
            raise ValueError(f"{quote(pair)} is no attribute; write key=value,key=value")


def _detectors(text: str) -> None:
    """
    Look at the names of resource detectors, each of which must be installed.
    """
    known = {"*", *entry_points(group="opentelemetry_resource_detector").names}
    for name in filter(None, map(str.strip, text.split(","))):
        if name not in known:
            raise ValueError(f"{quote(name)} is not installed; write {either(sorted(known))}")


_SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def _sampler(text: str) -> str:
    """
    The name of a sampler, around which the library would not take blanks.
    """
    if text.lower() not in _SAMPLERS:
        raise ValueError(f"{quote(text)} is not available; write {either(_SAMPLERS)}")
    return text.lower()


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable, and what it does here.

    A star in its name stands for nothing, or for one signal, whose own variable comes
    before the one for all. Without a default it has no value where it is not set.
    """

    name: str
    default: str
    text: str
    read: Callable[[str], Any] = str
    signals: tuple[Signal, ...] = tuple(Signal)
    """The signals that heed it."""

    @property
    def names(self) -> tuple[str, ...]:
        """
        Every name it goes by, first the one for all signals.
        """
        stars = ("", *(f"{signal}_" for signal in self.signals))
        return tuple(dict.fromkeys(self.name.replace("*", star) for star in stars))

    def name_in(self, environ: Mapping[str, str], signal: str = "") -> str:
        """
        The name under which a signal finds it, or nothing where it is not set.
        """
        names = (self.name.replace("*", star) for star in (f"{signal}_", ""))
        return next(filter(environ.get, names), "")

    def value(self, environ: Mapping[str, str], signal: str = "") -> Any:
        """
        What it says to a signal. Raises ConfigError.
        """
        name = self.name_in(environ, signal)
        if not name:
            return self.read(self.default) if self.default else None
        try:
            return self.read(environ[name])
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None


CHOICES = (
    Variable(
        "OTEL_METRICS_EXPORTER",
        "",
        "`otlp` sends metrics and `none` does not; unset, they are sent if an endpoint is set for "
        "them. `/metrics` is served in any case. Others are refused.",
        _word("otlp", "none", note=" (/metrics is served in any case)"),
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_TRACES_EXPORTER",
        "",
        "The same for traces.",
        _word("otlp", "none"),
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_LOGS_EXPORTER",
        "",
        "Logs go to standard error only. Anything but `none` is refused, and so is "
        "`OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` without it.",
        _word("none", note="; the log goes to standard error only"),
        (),
    ),
    *(
        Variable(
            name,
            "",
            "Refused: OpenTelemetry's configuration files are not read.",
            _refused("take it out and set variables such as OTEL_EXPORTER_OTLP_ENDPOINT"),
            (),
        )
        for name in ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
    ),
)
"""What decides which signals are sent. They are read in any case."""

SETTINGS = (
    Variable(
        "OTEL_SDK_DISABLED",
        "false",
        "`true` sends nothing, whatever the others say.",
        _word("true", "false"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://localhost:4318",
        "URL to send both signals to, each under a path of its own (`/v1/metrics`, `/v1/traces`). "
        "Setting it is what switches them on; the default is for an exporter that is `otlp`.",
        _url("http://collector:4318", "#?"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "",
        "URL to send metrics to, path included; switches on metrics alone.",
        _url("http://collector:4318/v1/metrics", "#"),
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "",
        "URL to send traces to, path included; switches on traces alone.",
        _url("http://collector:4318/v1/traces", "#"),
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*PROTOCOL",
        "http/protobuf",
        "Others, `grpc` and `http/json`, are refused.",
        _word("http/protobuf", note=" (usually port 4318, where gRPC has 4317)"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*HEADERS",
        "",
        "Headers of each request, `name=value,name=value`, percent-encoded.",
        _headers,
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*COMPRESSION",
        "none",
        "How requests are compressed: `none`, `gzip` or `deflate`.",
        _word("none", "gzip", "deflate"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*TIMEOUT",
        "10000",
        "Milliseconds that one request may take, repeated tries included; 0 is without end. (What "
        "is made with OpenTelemetry's Python library elsewhere often reads seconds here.)",
        _timeout,
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*CERTIFICATE",
        "",
        "File with the certificates of authorities that the endpoint's may come from.",
        _certificates,
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE",
        "",
        "File with the certificate to show to the endpoint.",
        _file,
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*CLIENT_KEY",
        "",
        "File with that certificate's key, unless it is in the same file.",
        _file,
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*INSECURE",
        "",
        "No effect: it is for gRPC. The endpoint's URL tells whether TLS is spoken.",
    ),
    Variable(
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_*CREDENTIAL_PROVIDER",
        "",
        "Refused.",
        _refused("take it out and put credentials into OTEL_EXPORTER_OTLP_HEADERS"),
    ),
    Variable(
        "OTEL_METRIC_EXPORT_INTERVAL",
        "60000",
        "Milliseconds from one export of metrics to the next.",
        _duration,
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "30000",
        "Milliseconds that one export of metrics may take, all its requests together; 0 is "
        "without end.",
        _timeout,
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "trace_based",
        "`always_on` sends exemplars. They tell of an event and not of a trace, so `trace_based` "
        "sends none, like `always_off`.",
        _word("always_on", "always_off", "trace_based"),
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "cumulative",
        "Others, `delta` and `lowmemory`, are refused: the ledger holds totals. A Collector can "
        "[make deltas of them](#deltas).",
        _word("cumulative", note="; a Collector can make deltas of totals"),
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram",
        "The other, `base2_exponential_bucket_histogram`, is refused: the ledger holds buckets.",
        _word("explicit_bucket_histogram"),
        (Signal.METRICS,),
    ),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        f"Which traces are sent: {either([f'`{name}`' for name in _SAMPLERS])}.",
        _sampler,
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "Which part of the traces is sent, from 0 to 1, where the sampler goes by ratio. Refused "
        "where no sampler is chosen.",
        str,
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_BSP_SCHEDULE_DELAY",
        "5000",
        "Milliseconds that spans wait for others to be sent with.",
        _duration,
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "2048",
        "Spans that may wait. Past it they are dropped, and counted.",
        _count,
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "512",
        "Spans sent at once; no more than may wait.",
        _count,
        (Signal.TRACES,),
    ),
    Variable(
        "OTEL_BSP_EXPORT_TIMEOUT",
        "30000",
        "Milliseconds that one export of spans may take; 0 is without end.",
        _timeout,
        (Signal.TRACES,),
    ),
    # The library looks at these limits when it is imported, for metrics as well.
    *(
        Variable(name, default, text, _limit)
        for name, default, text in (
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128", "Attributes of a span."),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", "Characters of their values."),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "128", "Links of a span."),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "128", "Attributes of a link."),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "128", "Events of a span; there are none."),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "128", "Attributes of such an event."),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "128", "The same as those, where they are not set."),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", "The same for the length of values."),
        )
    ),
    Variable(
        "OTEL_SERVICE_NAME",
        "codecommit-exporter",
        "The resource's `service.name`.",
    ),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        "More about the resource, `key=value,key=value`, percent-encoded. The ledger's totals take "
        "no `service.instance.id` from it, and nothing that tells of a version, process, host, "
        "container, pod or cloud: they outlive these.",
        _attributes,
    ),
    Variable(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        "",
        "What finds out more about the resource of the exporter's own metrics and of traces, such "
        "as `os,host`; it must be installed.",
        _detectors,
    ),
    Variable(
        "OTEL_PROPAGATORS",
        "",
        "No effect: SQS and S3 take no trace along. Messages bring AWS X-Ray's.",
    ),
    Variable("OTEL_LOG_LEVEL", "", "No effect: `--log.level` is for the log."),
)
"""What the signals that are sent heed."""

_ABOUT = ("OTEL_BSP_", "OTEL_EXPORTER_OTLP_", "OTEL_METRIC_", "OTEL_METRICS_")
_OF_OTHERS = ("OTEL_BLRP_", "OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_PROFILES_")
_NEAR = 0.9
"""How much of two names must be the same for one to be taken for a slip of the other."""

VARIABLES = (*CHOICES, *SETTINGS)
"""
Every variable that means something here.

Left out are those of what cannot be chosen (logs, Zipkin, the SDK's own Prometheus
exporter) and those by which code is instrumented from outside (``OTEL_PYTHON_*``).
"""


def read_variables(environ: Mapping[str, str]) -> Otlp | None:
    """
    What is sent and how; None where nothing is.

    Raises ConfigError, one line, for the first variable that cannot be honoured. Those of a
    signal that is not sent are not looked at, apart from the choice of exporters.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    choices = {variable.name: variable.value(environ) for variable in CHOICES}
    if environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") and not choices["OTEL_LOGS_EXPORTER"]:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: the log goes to standard error only; take it out, "
            "or write OTEL_LOGS_EXPORTER=none"
        )
    sent = {
        signal
        for signal in Signal
        if (choices[f"OTEL_{signal}_EXPORTER"] or _by_endpoint(environ, signal)) == "otlp"
    }
    metrics = _metrics(environ) if Signal.METRICS in sent else None
    traces = _traces(environ) if Signal.TRACES in sent else None
    return Otlp(metrics, traces) if sent else None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """
    The names that look like variables about OTLP and are none, so that a slip is not lost.

    They begin like those, or nearly are one. Those of other signals are theirs.
    """
    known = {name for variable in VARIABLES for name in variable.names}
    foreign = sorted(name for name in environ.keys() - known if name.startswith("OTEL_"))
    if not foreign:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - hardly any start needs it

    return [
        name
        for name in foreign
        if not name.startswith(_OF_OTHERS)
        and (name.startswith(_ABOUT) or get_close_matches(name, known, cutoff=_NEAR))
    ]


def _by_endpoint(environ: Mapping[str, str], signal: Signal) -> str:
    """
    The exporter of a signal that nobody chose one for.
    """
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return "otlp" if any(map(environ.get, names)) else "none"


def _metrics(environ: Mapping[str, str]) -> MetricsExport:
    """
    How metrics are sent. Raises ConfigError.
    """
    values = _values(environ, Signal.METRICS)
    return MetricsExport(
        url=_url_of(values, Signal.METRICS),
        interval_seconds=values["OTEL_METRIC_EXPORT_INTERVAL"],
        timeout_seconds=values["OTEL_METRIC_EXPORT_TIMEOUT"],
        request_seconds=values["OTEL_EXPORTER_OTLP_*TIMEOUT"],
        exemplars=values["OTEL_METRICS_EXEMPLAR_FILTER"] == "always_on",
    )


def _traces(environ: Mapping[str, str]) -> TracesExport:
    """
    How spans are sent. Raises ConfigError.
    """
    values = _values(environ, Signal.TRACES)
    ratio = values["OTEL_TRACES_SAMPLER_ARG"]
    if environ.get("OTEL_TRACES_SAMPLER_ARG") and not environ.get("OTEL_TRACES_SAMPLER"):
        raise ConfigError(
            f"OTEL_TRACES_SAMPLER_ARG: {quote(ratio)} is for a sampler that goes by ratio; write "
            "OTEL_TRACES_SAMPLER=traceidratio as well, or take it out"
        )
    if values["OTEL_TRACES_SAMPLER"].endswith("ratio") and not _is_part(ratio):
        raise ConfigError(
            f"OTEL_TRACES_SAMPLER_ARG: {quote(ratio)} is no number from 0 to 1; write 0.1, "
            "for example"
        )
    queue, batch = values["OTEL_BSP_MAX_QUEUE_SIZE"], values["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]
    if batch > queue and environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        raise ConfigError(
            f'OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "{batch}" is more than OTEL_BSP_MAX_QUEUE_SIZE; '
            f"write {queue} or less"
        )
    return TracesExport(
        url=_url_of(values, Signal.TRACES),
        delay_seconds=values["OTEL_BSP_SCHEDULE_DELAY"],
        queue_max=queue,
        batch_max=min(batch, queue),
        timeout_seconds=values["OTEL_BSP_EXPORT_TIMEOUT"],
        request_seconds=values["OTEL_EXPORTER_OTLP_*TIMEOUT"],
    )


def _url_of(values: Mapping[str, Any], signal: Signal) -> str:
    """
    Where a signal is sent: its own endpoint as it stands, or its path under the one for all.
    """
    own: str = values[f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"]
    return own or f"{values['OTEL_EXPORTER_OTLP_ENDPOINT'].rstrip('/')}/v1/{signal.lower()}"


def _is_part(text: str) -> bool:
    """
    Whether the text is a number from 0 to 1.
    """
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _values(environ: Mapping[str, str], signal: Signal) -> dict[str, Any]:
    """
    What every variable that a signal heeds says to it. Raises ConfigError.
    """
    heeded = {variable.name: variable for variable in SETTINGS if signal in variable.signals}
    values = {name: variable.value(environ, signal) for name, variable in heeded.items()}
    key, certificate = (f"OTEL_EXPORTER_OTLP_*CLIENT_{what}" for what in ("KEY", "CERTIFICATE"))
    if values[key] and not values[certificate]:
        name = heeded[key].name_in(environ, signal)
        raise ConfigError(
            f"{name}: {quote(values[key])} is a key without a certificate; write "
            f"{name.replace('KEY', 'CERTIFICATE')} as well"
        )
    if values[certificate]:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                values[certificate], values[key], password=""
            )
        except ssl.SSLError:
            name = heeded[certificate].name_in(environ, signal)
            raise ConfigError(
                f"{name}: {quote(values[certificate])} holds no certificate in PEM format, or not "
                "that of the key"
            ) from None
    return values
