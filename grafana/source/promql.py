"""
Expressions in PromQL, as the panels need them.

Rules:

1. What is counted is summed over exactly the labels that are shown, and only then divided or
   compared.
2. A family of CodeCommit has no series before its first event, so a count that is missing is
   a 0. A measurement that is missing (how long, how old, which share) is no 0; it is NaN, shown
   as "none". The exporter's own metrics are there from its start: where they are missing, it
   is, and nothing stands in for them.
3. An empty label value says that CloudTrail told none. It is shown as "(none)". What stands in
   for series that there are not is called "-".
4. What is subtracted is exact: increase() stretches each series by another factor, so that of
   sixty denied deletions one would seem to have succeeded.
"""

from __future__ import annotations

PLACE_LABELS = ("account_id", "aws_region")
REPOSITORY_LABELS = (*PLACE_LABELS, "repository")
"""The labels that tell one repository from all others."""

API_CALL = 'action!~"GitPull|GitPush"'
SELECTED_ACTION = 'action=~"$action"'


def codecommit(metric: str, *matchers: str) -> str:
    """
    A metric's series of the accounts, Regions and repositories that are selected.
    """
    selected = (
        'job=~"$job"',
        'account_id=~"$account"',
        'aws_region=~"$region"',
        'repository=~"$repository"',
    )
    return _selector(metric, *selected, *matchers)


def ledger(metric: str, *matchers: str) -> str:
    """
    A metric's series of everything that the selected jobs count.

    They may have another instance than the exporter's own ones, which are of a process.
    """
    return _selector(metric, 'job=~"$job"', *matchers)


def exporter(metric: str, *matchers: str) -> str:
    """
    A metric's series of the selected exporters.

    A metric that any program has is to be kept to exporters: ``of_exporters``.
    """
    return _selector(metric, 'job=~"$job"', 'instance=~"$instance"', *matchers)


def of_exporters(expression: str) -> str:
    """
    The same without the series of other programs, which the jobs that are selected may have.
    """
    return f"{expression} and on (job, instance) {exporter('codecommit_exporter_build_info')}"


def combined(aggregation: str, expression: str, *by: str) -> str:
    """
    An aggregation (sum, max) over all labels but these.
    """
    labels = f" by ({', '.join(by)}) " if by else ""
    return f"{aggregation}{labels}({expression})"


def increase(series: str, *by: str) -> str:
    """
    By how much a counter grew in the time range that is shown.
    """
    return combined("sum", f"increase({series}[$__range])", *by)


def rate(series: str, *by: str) -> str:
    """
    How fast a counter grows, a second.
    """
    return combined("sum", f"rate({series}[$__rate_interval])", *by)


def named(expression: str, *labels: str) -> str:
    """
    The same with "(none)" in the place of an empty label.
    """
    for label in labels:
        expression = f'label_replace({expression}, "{label}", "(none)", "{label}", "")'
    return expression


def shown(expression: str, *labels: str) -> str:
    """
    A count as people see it: "(none)" for an empty label, and a 0 where there is nothing.
    """
    return f"{named(expression, *labels)} or on() {_stand_in('0', *labels)}"


def measured(expression: str, *labels: str) -> str:
    """
    A measurement as people see it: the same, but NaN where there is nothing.
    """
    return f"{named(expression, *labels)} or on() {_stand_in('NaN', *labels)}"


def count(series: str, *by: str) -> str:
    """
    How many there were in the time range, whole: increase() extrapolates to fractions.
    """
    return shown(f"round({increase(series, *by)})", *by)


def a_minute(series: str, *by: str) -> str:
    """
    How many there are a minute: CodeCommit is seldom so busy that seconds make sense.
    """
    return shown(f"60 * {rate(series, *by)}", *by)


def share(part: str, whole: str, *labels: str) -> str:
    """
    One amount as a share of another, from 0 to 1; of nothing there is no share.
    """
    nought = f"{whole} * 0" if labels else "on() vector(0)"
    return measured(f"({part} or {nought}) / {whole}", *labels)


def successes(actions: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """
    Requests in the time range that did not fail; ``actions`` is a regular expression.
    """
    matchers = (f'action=~"{actions}"', *matchers)
    asked = _growth(codecommit("codecommit_events_total", *matchers), *by)
    failed = _growth(codecommit("codecommit_event_errors_total", *matchers), *by)
    return f"clamp_min({asked} - ({failed} or {asked} * 0), 0)"


def spread(buckets: str) -> str:
    """
    How many observations a minute each of a histogram's buckets gets, for a heat map.
    """
    return f"60 * {rate(buckets, 'le')} or on() {_stand_in('0', 'le', name='+Inf')}"


def quantile(share_below: float, buckets: str) -> str:
    """
    The value below which this share of a histogram's observations lies.
    """
    return f"histogram_quantile({share_below}, {buckets})"


def _growth(series: str, *by: str) -> str:
    """
    By how much a counter of the ledger grew; it falls only where a ledger begins anew.
    """
    grown = f"last_over_time({series}[$__range]) - min_over_time({series}[$__range])"
    return combined("sum", grown, *by)


def _stand_in(value: str, *labels: str, name: str = "-") -> str:
    vector = f"vector({value})"
    for label in labels:
        vector = f'label_replace({vector}, "{label}", "{name}", "{label}", "")'
    return vector


def _selector(metric: str, *matchers: str) -> str:
    return f"{metric}{{{', '.join(matchers)}}}"
