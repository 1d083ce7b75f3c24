"""
What goes on in one repository, or in a few of them.
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
    heat_map,
    stat,
    table,
)
from grafana.source.promql import (
    API_CALL,
    SELECTED_ACTION,
    a_minute,
    codecommit,
    combined,
    count,
    increase,
    measured,
    quantile,
    rate,
    spread,
)

EVENTS = codecommit("codecommit_events_total", SELECTED_ACTION)
ERRORS = codecommit("codecommit_event_errors_total", SELECTED_ACTION)
GIT_PULL = codecommit("codecommit_events_total", 'action="GitPull"')
API_CALLS = codecommit("codecommit_events_total", API_CALL, SELECTED_ACTION)
PUSHES = codecommit("codecommit_pushes_total")
LAST_PUSH = codecommit("codecommit_last_push_timestamp_seconds")
LAST_EVENT = codecommit("codecommit_last_event_timestamp_seconds", SELECTED_ACTION)
REFERENCES = codecommit("codecommit_reference_updates_total")
REFERENCES_A_PUSH = "codecommit_push_references"
PULL_REQUESTS = codecommit("codecommit_pull_request_events_total")
OPEN_TIME = codecommit("codecommit_pull_request_open_seconds_bucket")


def pull_requests(event: str) -> str:
    """
    How many pull requests had this happen to them.
    """
    return count(codecommit("codecommit_pull_request_events_total", f'event="{event}"'))


def open_time(outcome: str) -> str:
    """
    The median of how long pull requests with this outcome were open.
    """
    buckets = codecommit("codecommit_pull_request_open_seconds_bucket", f'outcome="{outcome}"')
    return measured(quantile(0.5, increase(buckets, "le")))


ONE_REPOSITORY = board(
    "repository",
    "CodeCommit / Repository",
    "Pulls, pushes, references, pull requests, errors and last activity of one repository: choose "
    "it above, with its account and Region where the name is not unique.",
    (JOB, ACCOUNT, REGION, REPOSITORY, ACTION),
    {
        "How much is it used?": [
            stat(
                "Pulls",
                "GitPull events: git clone, fetch and pull, also those that found nothing new or "
                "were refused.",
                count(GIT_PULL),
            ),
            stat("Pushes", "Successful git pushes that brought something.", count(PUSHES)),
            stat(
                "API calls",
                "Events that are neither pull nor push: console, AWS CLI, pipelines and others.",
                count(API_CALLS),
            ),
            stat("Errors", "Events of requests that failed.", count(ERRORS)),
            stat(
                "Time since the last push",
                "How long ago the newest push was that brought something, whatever the time range; "
                "none where none has been counted.",
                measured(f"time() - max({LAST_PUSH})"),
                unit="s",
            ),
            stat(
                "Time since the last event",
                "How long ago the newest event was, of the chosen actions.",
                measured(f"time() - max({LAST_EVENT})"),
                unit="s",
            ),
            graph(
                "Pulls, pushes and API calls",
                "How many a minute, when they were counted: some minutes after they happened.",
                {
                    "Pulls": a_minute(GIT_PULL),
                    "Pushes": a_minute(PUSHES),
                    "API calls": a_minute(API_CALLS),
                },
            ),
            graph(
                "Events by action",
                "Events a minute by action, as CloudTrail names it.",
                {"{{action}}": a_minute(EVENTS, "action")},
                stacked=True,
            ),
        ],
        "Over which protocol, and does it move data?": [
            graph(
                "Pulls by protocol and data",
                "Pulls a minute by protocol (HTTP is CloudTrail's word for HTTPS) and by whether "
                "they moved data; one that did not found nothing new. (none): refused before "
                "CloudTrail knew.",
                {
                    "{{protocol}}, data moved: {{data_transferred}}": a_minute(
                        GIT_PULL, "protocol", "data_transferred"
                    )
                },
                stacked=True,
                width=16,
            ),
            bars(
                "Pulls in the time range",
                "The same as sums over the time range.",
                "{{protocol}}, data moved: {{data_transferred}}",
                count(GIT_PULL, "protocol", "data_transferred"),
                width=8,
            ),
            graph(
                "Pushes by protocol",
                "Pushes a minute that brought something.",
                {"{{protocol}}": a_minute(PUSHES, "protocol")},
                stacked=True,
                width=24,
            ),
        ],
        "What do pushes change?": [
            bars(
                "References by type and change",
                "Branches, tags and other references that pushes updated or deleted in the time "
                "range.",
                "{{ref_type}}, {{change}}",
                count(REFERENCES, "ref_type", "change"),
            ),
            graph(
                "References a push",
                "How many references one push updates on average. Many at once are mirrors and "
                "migrations. The line breaks off where there were no pushes.",
                {
                    "Average": measured(
                        f"{rate(codecommit(f'{REFERENCES_A_PUSH}_sum'))} / "
                        f"{rate(codecommit(f'{REFERENCES_A_PUSH}_count'))}"
                    )
                },
                unit="short",
            ),
        ],
        "How do pull requests fare?": [
            stat("Opened", "Pull requests created in the time range.", pull_requests("created")),
            stat("Merged", "Pull requests merged in the time range.", pull_requests("merged")),
            stat(
                "Closed unmerged",
                "Pull requests closed without a merge in the time range.",
                pull_requests("closed"),
            ),
            stat("Approvals", "Approvals given in the time range.", pull_requests("approved")),
            stat(
                "Open until merged",
                "Median time from creation to merge of the pull requests merged in the time range; "
                "only of those whose creation has been counted. Less than an hour is "
                "not told apart.",
                open_time("merged"),
                unit="s",
            ),
            stat(
                "Open until closed",
                "Median time from creation to the end of the pull requests closed without a merge.",
                open_time("closed"),
                unit="s",
            ),
            bars(
                "Pull request events",
                "All that happened to pull requests in the time range, comments included. "
                "overridden means that approval rules were set aside.",
                "{{event}}",
                count(PULL_REQUESTS, "event"),
            ),
            heat_map(
                "Open time of pull requests",
                "How long pull requests had been open when they ended: each column is a moment, "
                "each field a span of open time, the darker the more ended a minute.",
                spread(OPEN_TIME),
            ),
        ],
        "Who calls?": [
            graph(
                "Events by kind of caller",
                "Events a minute by what made the request and by its credentials; never which "
                "person.",
                {
                    "{{identity_type}}, {{credentials}}": a_minute(
                        codecommit("codecommit_caller_events_total"),
                        "identity_type",
                        "credentials",
                    )
                },
                stacked=True,
                width=24,
            ),
        ],
        "What fails?": [
            graph(
                "Errors by code",
                "Failed requests a minute by the error code of the answer. A denial seldom names "
                "its repository: to see those, choose all repositories.",
                {"{{error_code}}": a_minute(ERRORS, "error_code")},
                stacked=True,
            ),
            table(
                "Errors by action",
                "Failed requests in the time range by action and error code.",
                ("action", "error_code"),
                Column("Errors", count(ERRORS, "action", "error_code")),
                width=12,
            ),
        ],
        "When was what done last?": [
            table(
                "Last activity by action",
                "Each action ever counted, how often in the time range and when last, failed ones "
                "included.",
                ("action",),
                Column("Events", count(EVENTS, "action")),
                Column(
                    "Last",
                    f"1000 * {combined('max', LAST_EVENT, 'action')}",
                    unit="dateTimeFromNow",
                ),
            ),
        ],
    },
)
