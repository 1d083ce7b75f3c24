"""
How much is CodeCommit used, by whom and how.
"""

from __future__ import annotations

from grafana.source.parts import (
    ACCOUNT,
    ACTION,
    JOB,
    REGION,
    REPOSITORY,
    Column,
    bars,
    board,
    graph,
    stat,
    table,
)
from grafana.source.promql import (
    API_CALL,
    PLACE_LABELS,
    REPOSITORY_LABELS,
    SELECTED_ACTION,
    a_minute,
    codecommit,
    combined,
    count,
    increase,
    rate,
    share,
    shown,
)

PULL = 'action="GitPull"'
NO_DATA = 'data_transferred="false"'

EVENTS = codecommit("codecommit_events_total", SELECTED_ACTION)
ERRORS = codecommit("codecommit_event_errors_total", SELECTED_ACTION)
PULLS = codecommit("codecommit_events_total", PULL)
EMPTY_PULLS = codecommit("codecommit_events_total", PULL, NO_DATA)
TOLD_PULLS = codecommit("codecommit_events_total", PULL, 'data_transferred!=""')
PUSHES = codecommit("codecommit_pushes_total")
API_CALLS = codecommit("codecommit_events_total", API_CALL, SELECTED_ACTION)
CALLERS = codecommit("codecommit_caller_events_total")

NAMED = 'repository!=""'
NAMED_EVENTS = codecommit("codecommit_events_total", NAMED, SELECTED_ACTION)
ROWS_MAX = 50
EXISTING = combined("max", codecommit("codecommit_repository_info", NAMED), *REPOSITORY_LABELS)
LAST_PUSH = combined(
    "max", codecommit("codecommit_last_push_timestamp_seconds"), *REPOSITORY_LABELS
)
LAST_EVENT = combined(
    "max", codecommit("codecommit_last_event_timestamp_seconds"), *REPOSITORY_LABELS
)


def of_each(metric: str, *matchers: str) -> str:
    """
    A count for each repository that has a name.
    """
    return f"round({increase(codecommit(metric, NAMED, *matchers), *REPOSITORY_LABELS)})"


def days_since(newest: str) -> str:
    """
    How many days ago that was, for each repository that there still is.
    """
    return f"(time() - {newest}) / 86400 and on ({', '.join(REPOSITORY_LABELS)}) {EXISTING}"


OVERVIEW = board(
    "overview",
    "CodeCommit / Overview",
    "How much AWS CodeCommit is used, by which kind of caller and how.",
    (JOB, ACCOUNT, REGION, REPOSITORY, ACTION),
    {
        "How much is CodeCommit used?": [
            stat(
                "Events",
                "Everything CloudTrail told of CodeCommit in the time range: pulls, pushes and API "
                "calls, failed ones included. A push over HTTPS is two events.",
                count(EVENTS),
            ),
            stat(
                "Pulls",
                "GitPull events: git clone, fetch and pull, also those that found nothing new or "
                "were refused. An action chosen above does not narrow them.",
                count(PULLS),
            ),
            stat(
                "Pushes",
                "Successful git pushes that brought something; one over HTTPS counts once, though "
                "CloudTrail writes two records of it. An action chosen above does not narrow them.",
                count(PUSHES),
            ),
            stat(
                "API calls",
                "Events that are neither pull nor push: what the console, the AWS CLI, pipelines "
                "and other programs ask of CodeCommit.",
                count(API_CALLS),
            ),
            stat(
                "Errors",
                "Events of requests that failed, for whatever reason.",
                count(ERRORS),
            ),
            stat(
                "Active repositories",
                "Repositories with at least one event in the time range, of the chosen actions.",
                shown(f"count({increase(NAMED_EVENTS, *REPOSITORY_LABELS)} > 0)"),
            ),
            graph(
                "Pulls, pushes and API calls",
                "How many a minute. They appear when they are counted, which is some minutes after "
                "they happened: CloudTrail delivers late.",
                {
                    "Pulls": a_minute(PULLS),
                    "Pushes": a_minute(PUSHES),
                    "API calls": a_minute(API_CALLS),
                },
                width=24,
            ),
        ],
        "Who calls?": [
            graph(
                "Events by kind of caller",
                "Events a minute by what made the request, in CloudTrail's words: IAMUser, "
                "AssumedRole (programs and single sign-on), Root, AWSService and others. Never "
                "which person.",
                {"{{identity_type}}": a_minute(CALLERS, "identity_type")},
                stacked=True,
            ),
            bars(
                "Events by kind of caller and credentials",
                "Events in the time range by kind of caller, (invalid) where CloudTrail tells "
                "none, and by what it signed in with: long_term keys and passwords, temporary "
                "ones, root, an aws_service itself.",
                "{{identity_type}}, {{credentials}}",
                count(CALLERS, "identity_type", "credentials"),
            ),
        ],
        "How do they call?": [
            stat(
                "Pulls that moved no data",
                "Share of pulls that found nothing new: mostly build servers that poll. Pulls of "
                "which CloudTrail does not tell it, refused ones above all, are left out. Where "
                "CloudTrail also writes a record before the one that moves data, as it does for "
                "pushes over HTTPS, the share is too high.",
                share(increase(EMPTY_PULLS), increase(TOLD_PULLS)),
                unit="percentunit",
                height=8,
            ),
            graph(
                "Share of pulls that moved no data",
                "The same over time, by protocol. HTTP is CloudTrail's word for HTTPS. A line "
                "breaks off where there were no pulls.",
                {
                    "{{protocol}}": share(
                        rate(EMPTY_PULLS, "protocol"), rate(TOLD_PULLS, "protocol"), "protocol"
                    )
                },
                unit="percentunit",
                width=10,
            ),
            graph(
                "Pulls and pushes by protocol",
                "How many a minute over SSH and over HTTPS, which CloudTrail calls HTTP. (none): "
                "refused before CloudTrail knew the protocol.",
                {
                    "Pulls, {{protocol}}": a_minute(PULLS, "protocol"),
                    "Pushes, {{protocol}}": a_minute(PUSHES, "protocol"),
                },
                width=10,
            ),
            bars(
                "Events by action",
                "The twenty most frequent actions in the time range, as CloudTrail names them.",
                "{{action}}",
                f"topk(20, {count(EVENTS, 'action')})",
                width=24,
            ),
        ],
        "Which repositories are busy, which idle?": [
            table(
                "Busiest repositories",
                "The fifty repositories with most events in the time range. A click on a name "
                "opens its own dashboard.",
                REPOSITORY_LABELS,
                Column("Events", count(NAMED_EVENTS, *REPOSITORY_LABELS)),
                Column("Pulls", of_each("codecommit_events_total", PULL)),
                Column("Pulls without data", of_each("codecommit_events_total", PULL, NO_DATA)),
                Column("Pushes", of_each("codecommit_pushes_total")),
                Column("API calls", of_each("codecommit_events_total", API_CALL, SELECTED_ACTION)),
                Column("Errors", of_each("codecommit_event_errors_total", SELECTED_ACTION)),
                Column("Days since the last push", days_since(LAST_PUSH), unit="d"),
                rows_max=ROWS_MAX,
                links=True,
            ),
            table(
                "Idle repositories",
                "The fifty existing repositories whose last push is longest ago, whenever it was. "
                "Those of which no push was ever counted come last, while there is room. Those "
                "that --metrics.retire-after has taken off the page are missing, however idle.",
                REPOSITORY_LABELS,
                Column(
                    "Days since the last push",
                    shown(days_since(LAST_PUSH), *REPOSITORY_LABELS),
                    unit="d",
                ),
                Column("Days since any event", days_since(LAST_EVENT), unit="d"),
                rows_max=ROWS_MAX,
                links=True,
            ),
        ],
        "What fails?": [
            graph(
                "Errors by code",
                "Failed requests a minute by the error code of CodeCommit's answer.",
                {"{{error_code}}": a_minute(ERRORS, "error_code")},
                stacked=True,
            ),
            bars(
                "Errors by action and code",
                "The twenty most frequent failures in the time range.",
                "{{action}}, {{error_code}}",
                f"topk(20, {count(ERRORS, 'action', 'error_code')})",
            ),
        ],
        "In which accounts and Regions?": [
            table(
                "Accounts and Regions",
                "What was counted in the time range, by the account that owns the repository and "
                "by Region.",
                PLACE_LABELS,
                Column("Events", count(EVENTS, *PLACE_LABELS)),
                Column("Pulls", f"round({increase(PULLS, *PLACE_LABELS)})"),
                Column("Pushes", f"round({increase(PUSHES, *PLACE_LABELS)})"),
                Column("API calls", f"round({increase(API_CALLS, *PLACE_LABELS)})"),
                Column("Errors", f"round({increase(ERRORS, *PLACE_LABELS)})"),
            ),
        ],
    },
    since="now-6h",  # what it costs grows with the time: see docs/dashboards.md
)
