"""
The variables of OpenTelemetry.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from hypothesis import example, given, strategies
from opentelemetry import environment_variables as of_the_api
from opentelemetry.sdk import environment_variables as of_the_sdk
from opentelemetry.sdk.trace.sampling import _KNOWN_SAMPLERS
from opentelemetry.util.re import parse_env_headers
from requests.utils import check_header_validity

from exporter.errors import ConfigError
from exporter.otlp.variables import (
    _SAMPLERS,
    VARIABLES,
    MetricsExport,
    Otlp,
    Signal,
    TracesExport,
    read_variables,
    unknown_variables,
)
from tests.aws_settings import Authority

if TYPE_CHECKING:
    from pathlib import Path

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
METRICS = MetricsExport(
    url="http://collector:4318/v1/metrics",
    interval_seconds=60,
    timeout_seconds=30,
    request_seconds=10,
    exemplars=False,
)
TRACES = TracesExport(
    url="http://collector:4318/v1/traces",
    delay_seconds=5,
    queue_max=2048,
    batch_max=512,
    timeout_seconds=30,
    request_seconds=10,
)
WITHOUT_END = 2_147_483.647


def under(endpoint: str) -> tuple[str, str]:
    """
    Where metrics and traces go under an endpoint for all.
    """
    return f"{endpoint}/v1/metrics", f"{endpoint}/v1/traces"


def complaint(environ: Mapping[str, str]) -> str:
    """
    What is said of an environment that is refused.
    """
    with pytest.raises(ConfigError) as refused:
        read_variables(environ)
    return str(refused.value)


# What is sent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"} | ON,
        {"OTEL_SDK_DISABLED": "true"} | ON,
        {"OTEL_SDK_DISABLED": " TRUE "} | ON,
        {"OTEL_SDK_DISABLED": "true", "OTEL_METRICS_EXPORTER": "console"},
        {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4318"},
    ],
    ids=str,
)
def test_nothing_is_sent_unless_it_is_asked_for(environ: dict[str, str]) -> None:
    """
    Without an endpoint and an exporter, or with the SDK disabled, all is off and unchecked.
    """
    assert read_variables(environ) is None


@pytest.mark.parametrize(
    ("environ", "metrics", "traces"),
    [
        (ON, METRICS.url, TRACES.url),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://c/in?a=b"},
            "https://c/in?a=b",
            None,
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4318/"} | ON,
            METRICS.url,
            "http://[::1]:4318/",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, *under("https://c/otlp")),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "http://localhost:4318/v1/metrics", None),
        ({"OTEL_TRACES_EXPORTER": "OTLP"}, None, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none"} | ON, METRICS.url, None),
        ({"OTEL_METRICS_EXPORTER": "None "} | ON, None, TRACES.url),
        ({"OTEL_SDK_DISABLED": "false"} | ON, METRICS.url, TRACES.url),
    ],
    ids=str,
)
def test_an_endpoint_or_an_exporter_switches_on(
    environ: dict[str, str], metrics: str | None, traces: str | None
) -> None:
    """
    A signal is sent where it has an endpoint or an exporter, with the specification's defaults.

    Its path is put after an endpoint for all, and never after its own.
    """
    expected = Otlp(
        replace(METRICS, url=metrics) if metrics else None,
        replace(TRACES, url=traces) if traces else None,
    )
    assert expected == read_variables(environ)


def test_a_signal_that_is_not_sent_is_not_checked() -> None:
    """
    What only concerns traces does no harm where only metrics are sent.
    """
    environ = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": METRICS.url,
        "OTEL_TRACES_SAMPLER": "xray",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "",
    }

    assert Otlp(METRICS, None) == read_variables(environ)


# How it is sent --------------------------------------------------------------------------


def test_numbers() -> None:
    """
    Times are milliseconds, and 0 as a timeout is as good as no end.
    """
    environ = ON | {
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
        "OTEL_METRIC_EXPORT_TIMEOUT": "0",
        "OTEL_EXPORTER_OTLP_TIMEOUT": " 500 ",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
        "OTEL_BSP_SCHEDULE_DELAY": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
        "OTEL_BSP_EXPORT_TIMEOUT": "7000",
    }

    assert Otlp(
        MetricsExport(
            url=METRICS.url,
            interval_seconds=15,
            timeout_seconds=WITHOUT_END,
            request_seconds=0.5,
            exemplars=False,
        ),
        TracesExport(
            url=TRACES.url,
            delay_seconds=0.001,
            queue_max=100,
            batch_max=10,
            timeout_seconds=7,
            request_seconds=2.5,
        ),
    ) == read_variables(environ)


def test_an_empty_variable_is_as_good_as_none() -> None:
    """
    So says the specification, and the signal's own gives way to the one for all.
    """
    environ = {name: "" for variable in VARIABLES for name in variable.names}
    given = environ | ON | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}

    otlp = read_variables(given)

    assert otlp
    assert otlp.metrics
    assert otlp.traces
    assert (1, 1) == (otlp.metrics.request_seconds, otlp.traces.request_seconds)


@pytest.mark.parametrize(
    ("text", "exemplars"), [("always_on", True), ("Always_Off", False), ("trace_based", False)]
)
def test_exemplars_are_sent_where_all_are_wanted(text: str, exemplars: bool) -> None:
    """
    They carry no trace, so only the filter that lets everything through has them.
    """
    otlp = read_variables(ON | {"OTEL_METRICS_EXEMPLAR_FILTER": text})

    assert otlp
    assert otlp.metrics
    assert exemplars == otlp.metrics.exemplars


def test_a_small_queue_makes_small_batches() -> None:
    """
    A batch nobody has chosen fits into the queue.
    """
    otlp = read_variables(ON | {"OTEL_BSP_MAX_QUEUE_SIZE": "100"})

    assert otlp
    assert otlp.traces
    assert (100, 100) == (otlp.traces.queue_max, otlp.traces.batch_max)


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "HTTP/protobuf"},
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Cumulative"},
        {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b==, x=,Authorization = Basic dXNlcjpwdw==,"},
        {"OTEL_EXPORTER_OTLP_INSECURE": "true"},
        {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod, a = b=c,"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "os, host"},
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "*"},
        {"OTEL_PROPAGATORS": "xray", "OTEL_LOG_LEVEL": "debug"},
        {"OTEL_TRACES_SAMPLER": "traceidratio"},
        {"OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "of another sampler"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "a=Basic%20dXNlcjpwdw%3D%3D,b=50% of all"},
        {"OTEL_SPAN_LINK_COUNT_LIMIT": "0", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100"},
    ],
    ids=str,
)
def test_what_can_be_honoured_is_taken(environ: dict[str, str]) -> None:
    """
    Words count in any case, a signal's own variable comes first, and the rest is the library's.
    """
    assert Otlp(METRICS, TRACES) == read_variables(ON | environ)


# What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "instead"),
    [
        (
            "OTEL_METRICS_EXPORTER",
            "prometheus",
            '"prometheus" is not available; write otlp or none (/metrics is served in any case)',
        ),
        ("OTEL_TRACES_EXPORTER", "otlp,console", '"otlp,console" is not available; write otlp or'),
        ("OTEL_LOGS_EXPORTER", "otlp", '"otlp" is not available; write none; the log goes to'),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c", "the log goes to standard error only; "),
        ("OTEL_CONFIG_FILE", "a.yaml", '"a.yaml" is not available; take it out and set variables'),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", "a.yaml", '"a.yaml" is not available; take it out and'),
    ],
)
@pytest.mark.parametrize("environ", [{}, ON], ids=["off", "on"])
def test_a_choice_that_cannot_be_honoured_is_refused(
    environ: dict[str, str], name: str, text: str, instead: str
) -> None:
    """
    What asks for another way of sending is refused even where nothing else is asked for.
    """
    assert complaint(environ | {name: text}).startswith(f"{name}: {instead}")


@pytest.mark.parametrize(
    ("name", "text", "instead"),
    [
        ("OTEL_SDK_DISABLED", "yes", '"yes" is not available; write true or false'),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", '"grpc" is not available; write http/protobuf'),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", '"http/json" is not available; write'),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "delta",
            '"delta" is not available; write cumulative',
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "lowmemory",
            '"lowmemory" is not available; write cumulative',
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram",
            '"base2_exponential_bucket_histogram" is not available; write explicit_bucket_hist',
        ),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", '"zstd" is not available; write none, gzip or '),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "all", '"all" is not available; write always_on, always'),
        (
            "OTEL_PYTHON_EXPORTER_OTLP_HTTP_METRICS_CREDENTIAL_PROVIDER",
            "gcp",
            '"gcp" is not available; take it out and put credentials into OTEL_EXPORTER_OTLP_HEAD',
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s", '"60s" is no number of milliseconds above 0; write'),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", '"0" is no number of milliseconds above 0; write'),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "-1", '"-1" is no number of milliseconds; write 10000 for'),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1.5", '"1.5" is no number of milliseconds; write'),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", '"0" is no number of milliseconds above 0; write 60000 '),
        ("OTEL_BSP_EXPORT_TIMEOUT", "2147483648", '"2147483648" is no number of milliseconds; '),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", '"0" is no whole number above 0; write 512, for example'),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", '"4096" is more than OTEL_BSP_MAX_QUEUE_SIZE; '),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", '"-1" is no whole number; write 128, for'),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", '"jaeger_remote" is not available; write always'),
        ("OTEL_TRACES_SAMPLER", " always_on", '" always_on" is not available; write always_on, '),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01", '"0.01" is for a sampler that goes by ratio; write '),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://collector/?api-key=SECRET",
            '"https://collector/?..." is no URL to send to; write http://collector:4318',
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://the.collectors.name.example/in/0123456789abcdef-SECRET/#",
            '"https://the.collectors.name.example/in/.../#" is no URL to send to; write http://',
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://collector/#SECRET\nSECRET",
            '"https://collector/#..." is no URL to send to; write http://collector:4318/v1/traces',
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,cd", '"cd" is no attribute; write key=value,key=value'),
        ("OTEL_RESOURCE_ATTRIBUTES", "=b", '"=b" is no attribute; write key=value,key=value'),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "ec2", '"ec2" is not installed; write *, host'),
    ],
)
def test_what_cannot_be_honoured_is_refused(name: str, text: str, instead: str) -> None:
    """
    It is never ignored: one line names the variable, quotes it and says what to write.
    """
    line = complaint(ON | {name: text})

    assert line.startswith(f"{name}: {instead}")
    assert "\n" not in line


OF_OTHERS = {
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "10",
    "OTEL_EXPORTER_JAEGER_ENDPOINT": "http://collector",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=b",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "9464",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://collector",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "10",
    "OTEL_NODE_IP": "192.0.2.1",
    "OTEL_POD_IP": "192.0.2.2",
    "OTEL_PYTHON_LOG_CORRELATION": "true",
    "OTEL_RESOURCE_ATTRIBUTES_NODE_NAME": "node",
    "OTEL_RESOURCE_ATTRIBUTES_POD_NAME": "pod",
    "OTEL_RESOURCE_PROVIDERS_AWS_ENABLED": "true",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
}
"""Variables that exist elsewhere, of the specification, other languages and Kubernetes."""


def test_a_slip_of_the_pen_is_told() -> None:
    """
    What looks like a variable about OTLP and is none; those of other signals are theirs.
    """
    environ = ON | {
        "OTEL_EXPORTER_OTLP_ENDPONT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_METRIC_ENDPOINT": "",
        "OTEL_METRICS_EXPORT_INTERVAL": "5000",
        "OTEL_SERVICENAME": "counting",
        "OTEL_TRACE_SAMPLER": "always_off",
        **OF_OTHERS,
    }

    assert [
        "OTEL_EXPORTER_OTLP_ENDPONT",
        "OTEL_EXPORTER_OTLP_METRIC_ENDPOINT",
        "OTEL_METRICS_EXPORT_INTERVAL",
        "OTEL_SERVICENAME",
        "OTEL_TRACE_SAMPLER",
    ] == unknown_variables(environ)
    assert [] == unknown_variables(
        dict.fromkeys((name for one in VARIABLES for name in one.names), "")
    )


def test_a_file_of_certificates_holds_some(tmp_path: Path) -> None:
    """
    Every export would fail otherwise.
    """
    file = tmp_path / "ca.pem"
    file.write_text("root:x:0:0")
    variable = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(file)}

    assert complaint(ON | variable).endswith('ca.pem" holds no certificates in PEM format')
    variable = {"OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE": str(file)}
    assert complaint(ON | variable).startswith("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE: ")


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "a tenth"])
def test_a_ratio_is_from_0_to_1(text: str) -> None:
    """
    The library takes another for 1.
    """
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": text}

    assert (
        f'OTEL_TRACES_SAMPLER_ARG: "{text}" is no number from 0 to 1; write 0.1, for example'
    ) == complaint(ON | environ)


@pytest.mark.parametrize(
    "text",
    [
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://:4318",
        "http://collector:port",
        "http://collector:65536",
        "http://[collector",
        " http://collector:4318",
        "http://collector:4318\n",
        "http://collector/?a=b",
        "http://collector/#a",
        "http://sämmler",
    ],
)
def test_an_endpoint_is_a_url(text: str) -> None:
    """
    Anything else would fail at every export.
    """
    line = complaint({"OTEL_EXPORTER_OTLP_ENDPOINT": text})

    assert line.startswith('OTEL_EXPORTER_OTLP_ENDPOINT: "')
    assert line.endswith('" is no URL to send to; write http://collector:4318')


@pytest.mark.parametrize("signal", Signal)
def test_a_signals_own_endpoint_is_shown_with_its_path(signal: Signal) -> None:
    """
    It is taken as it stands, so what to write has the path.
    """
    name = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"

    assert (
        f'{name}: "collector" is no URL to send to; write http://collector:4318/v1/{signal.lower()}'
    ) == complaint({name: "collector"})


@pytest.mark.parametrize(
    "text", ["https://user:s3cret@collector:4318", "https://user:s3cret@[collector", "s3cret@"]
)
def test_a_password_in_an_endpoint_is_not_told(text: str) -> None:
    """
    What stands before an @ is refused without being shown.
    """
    line = complaint({"OTEL_EXPORTER_OTLP_ENDPOINT": text})

    assert "OTEL_EXPORTER_OTLP_HEADERS" in line
    assert "s3cret" not in line


@pytest.mark.parametrize(
    "text",
    [
        "s3cret",
        "=s3cret",
        "api key=s3cret",
        "a%20b=s3cret",
        'a="s3cret"',
        "a=s3cret;b",
        "a=s3cret\\",
        "a=s3cret%0d%0ab: c",
        "a=s3cret%00",
        "a=s3cret%E2%82%AC",
        "a=s3cretä",
        "a=Basic s3cret%3D",
        "a=%62asic s3cret",
        "a=s3cret\nb",
    ],
)
@pytest.mark.parametrize("before", ["", "x=y,"], ids=["first", "second"])
def test_a_header_is_never_told(text: str, before: str) -> None:
    """
    One that the library would leave out, or HTTP not send, is refused by its number.
    """
    line = complaint(ON | {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": before + text})

    assert line.startswith(f"OTEL_EXPORTER_OTLP_TRACES_HEADERS: header {2 if before else 1} is ")
    assert "s3cret" not in line


FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


@pytest.mark.parametrize("what", FILES)
def test_a_file_must_be_there(tmp_path: Path, what: str) -> None:
    """
    One that is not, a folder, and a name nothing can have are refused.
    """
    name = f"OTEL_EXPORTER_OTLP_METRICS_{what}"

    for text in (str(tmp_path / "gone.pem"), str(tmp_path), "x" * 5000):
        assert (
            f'{name}: "{text}" cannot be read; write the path of a file in PEM format'
        ) == complaint(ON | {name: text})


@pytest.mark.parametrize("what", FILES)
def test_a_key_is_never_told(what: str) -> None:
    """
    Somebody may write what the file holds, in place of its name.
    """
    name = f"OTEL_EXPORTER_OTLP_{what}"
    line = complaint(ON | {name: "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----"})

    assert f"{name}: is no path but what the file should hold; write the path of a file" == line


def test_a_key_needs_its_certificate(tmp_path: Path) -> None:
    """
    The library would not show a key alone; certificate and key may be in one file.
    """
    file = tmp_path / "client.pem"
    Authority(tmp_path).context("client")  # makes the file
    key = {"OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY": str(file)}
    certificate = {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(file)}

    assert (
        f'OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY: "{file}" is a key without a certificate; '
        "write OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE as well"
    ) == complaint(ON | key)
    assert Otlp(METRICS, TRACES) == read_variables(ON | certificate)
    assert Otlp(METRICS, TRACES) == read_variables(ON | certificate | key)


# The library's own reading ---------------------------------------------------------------


@given(strategies.text('aB%0dE2 \t\n=,;:"\\\x7fä'))
@example("a\n=0")
@example("a=0%20")
def test_headers_that_are_taken_are_sent(text: str) -> None:
    """
    Of those that are not refused the library leaves out none and decodes each, and HTTP takes it.
    """
    try:
        read_variables(ON | {"OTEL_EXPORTER_OTLP_HEADERS": text})
    except ConfigError:
        return

    headers = parse_env_headers(text, liberal=True)
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]

    assert {name.strip().lower(): unquote(value).strip() for name, _, value in pairs} == headers
    for header in headers.items():
        check_header_validity(header)
        assert re.fullmatch(rb"[\t -~\x80-\xff]*", header[1].encode("latin-1"))


def test_samplers_are_those_of_the_library() -> None:
    """
    It takes any other for its default.
    """
    assert set(_KNOWN_SAMPLERS) == set(_SAMPLERS)


def test_every_variable_of_the_library_is_declared_or_left_out_on_purpose() -> None:
    """
    Left out are those of logs, of other exporters, of gRPC and of instrumentation from outside.
    """
    known = {
        value
        for module in (of_the_api, of_the_sdk)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("OTEL_")
    }
    declared = {name for variable in VARIABLES for name in variable.names}
    left_out = re.compile(
        r"OTEL_(PYTHON_|BLRP_|LOGRECORD_|EXPORTER_OTLP_LOGS_|EXPORTER_ZIPKIN_|EXPORTER_PROMETHEUS_)"
    )

    assert [] == [name for name in sorted(known - declared) if not left_out.match(name)]


def test_nothing_of_opentelemetry_is_imported() -> None:
    """
    Whoever sends nothing does not pay for it.
    """
    heavy = "{'opentelemetry', 'requests', 'google'}"
    program = f"import sys, exporter.otlp.variables; print({heavy} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert b"set()" == done.stdout.strip()
