"""
What somebody who guards the code wants to know.
"""

from __future__ import annotations

from grafana.source.parts import (
    ACCOUNT,
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
    REPOSITORY_LABELS,
    a_minute,
    codecommit,
    combined,
    count,
    increase,
    named,
    share,
    shown,
    successes,
)

DENIAL = 'error_code=~".*AccessDenied.*|.*Unauthorized.*"'
"""AWS's names for a want of permission differ by service; a key's begin with EncryptionKey."""

DENIED = codecommit("codecommit_event_errors_total", DENIAL)
KEY_ERRORS = codecommit("codecommit_event_errors_total", 'error_code=~"EncryptionKey.*"')
EVENTS = codecommit("codecommit_events_total")
CALLERS = codecommit("codecommit_caller_events_total")
ROOT = codecommit("codecommit_caller_events_total", 'credentials="root"')
LONG_TERM = codecommit("codecommit_caller_events_total", 'credentials="long_term"')
KMS_DENIED = codecommit("codecommit_kms_requests_total", DENIAL)
KMS_FAILED = codecommit("codecommit_kms_requests_total", 'error_code!=""')
KMS = codecommit("codecommit_kms_requests_total")
PUSH_DELETIONS = codecommit("codecommit_reference_updates_total", 'change="delete"')
OVERRIDDEN = codecommit("codecommit_pull_request_events_total", 'event="overridden"')
REVOKED = codecommit("codecommit_pull_request_events_total", 'event="approval_revoked"')

APPROVAL_RULES = (
    "(Create|Update|Delete|Associate|Disassociate|BatchAssociate|BatchDisassociate).*ApprovalRule.*"
)
TRIGGERS = "PutRepositoryTriggers"
KEY = "UpdateRepositoryEncryptionKey"
SENSITIVE = (
    f"DeleteRepository|DeleteBranch|DeleteFile|UpdateRepositoryName|UpdateDefaultBranch"
    f"|OverridePullRequestApprovalRules|{APPROVAL_RULES}|{TRIGGERS}|{KEY}"
)
EACH = (*REPOSITORY_LABELS, "action")
CHANGES = f"{successes(SENSITIVE, *EACH)} > 0"
LAST_ASKED = combined("max", codecommit("codecommit_last_event_timestamp_seconds"), *EACH)


def deleted(ref_type: str) -> str:
    """
    Deletions by push.
    """
    return codecommit(
        "codecommit_reference_updates_total", 'change="delete"', f'ref_type="{ref_type}"'
    )


AUDIT = board(
    "audit",
    "CodeCommit / Security and audit",
    "Denied calls, root and long-term credentials, deletions, rules that were set aside, changes "
    "of triggers and keys, refusals of AWS KMS. It tells what to look for; CloudTrail tells who.",
    (JOB, ACCOUNT, REGION, REPOSITORY),
    {
        "Is anybody refused?": [
            stat(
                "Denied calls",
                "Requests in the time range that failed for want of permission, be it for "
                "CodeCommit or for the repository's key.",
                count(DENIED),
                bad_from=1,
                height=8,
            ),
            stat(
                "Share of calls denied",
                "Denied calls as a share of all events.",
                share(increase(DENIED), increase(EVENTS)),
                unit="percentunit",
                height=8,
            ),
            graph(
                "Denied calls by action",
                "Denied calls a minute, by what was attempted.",
                {"{{action}}": a_minute(DENIED, "action")},
                stacked=True,
                width=16,
            ),
            table(
                "Denied calls by place and action",
                "Where they were attempted. (none): CloudTrail leaves the repository out of most "
                "denials.",
                (*EACH, "error_code"),
                Column(
                    "Denied calls",
                    shown(
                        f"round({increase(DENIED, *EACH, 'error_code')}) > 0", *EACH, "error_code"
                    ),
                ),
            ),
        ],
        "Who calls with credentials that should be rare?": [
            stat(
                "Events by root",
                "Requests made by the root user of an account in the time range. AWS advises to "
                "keep it for what nobody else can do.",
                count(ROOT),
                bad_from=1,
                height=8,
            ),
            stat(
                "Events with long-term credentials",
                "Requests with access keys, Git credentials or SSH keys of IAM users, which stay "
                "valid until somebody removes them.",
                count(LONG_TERM),
                height=8,
            ),
            stat(
                "Share with long-term credentials",
                "Requests with long-term credentials as a share of all events.",
                share(increase(LONG_TERM), increase(CALLERS)),
                unit="percentunit",
                height=8,
            ),
            graph(
                "Events by credentials",
                "Events a minute by what the caller signed in with.",
                {"{{credentials}}": a_minute(CALLERS, "credentials")},
                stacked=True,
            ),
            table(
                "Root and long-term credentials by place",
                "In which accounts, Regions and repositories they are used.",
                (*REPOSITORY_LABELS, "identity_type", "credentials"),
                Column(
                    "Events",
                    count(
                        codecommit(
                            "codecommit_caller_events_total", 'credentials=~"root|long_term"'
                        ),
                        *REPOSITORY_LABELS,
                        "identity_type",
                        "credentials",
                    ),
                ),
            ),
        ],
        "What was deleted?": [
            stat(
                "Repositories deleted",
                "Successful calls of DeleteRepository in the time range that deleted one: a call "
                "that names no existing repository succeeds as well.",
                shown(successes("DeleteRepository", matchers=('repository!=""',))),
                bad_from=1,
                height=8,
            ),
            stat(
                "Branches deleted by call",
                "Successful calls of DeleteBranch in the time range.",
                shown(successes("DeleteBranch")),
                height=8,
            ),
            stat(
                "Branches deleted by push",
                "Branches that a git push deleted in the time range.",
                count(deleted("branch")),
                height=8,
            ),
            stat(
                "Tags deleted by push",
                "Tags that a git push deleted in the time range.",
                count(deleted("tag")),
                height=8,
            ),
            bars(
                "References deleted by push",
                "Branches, tags and others that pushes deleted in the time range.",
                "{{ref_type}}",
                count(PUSH_DELETIONS, "ref_type"),
                width=8,
            ),
        ],
        "Were rules set aside, or triggers and keys changed?": [
            stat(
                "Approval rules overridden",
                "Pull requests in the time range whose approval rules somebody set aside.",
                count(OVERRIDDEN),
                bad_from=1,
            ),
            stat(
                "Approvals revoked",
                "Approvals that were taken back in the time range.",
                count(REVOKED),
            ),
            stat(
                "Approval rules changed",
                "Successful calls that created, changed, deleted, attached or detached approval "
                "rules or their templates.",
                shown(successes(APPROVAL_RULES)),
            ),
            stat(
                "Triggers changed",
                "Successful calls that replaced the triggers of a repository, which say what runs "
                "or is told after a push.",
                shown(successes(TRIGGERS)),
                bad_from=1,
            ),
            stat(
                "Encryption keys changed",
                "Successful calls that gave a repository another AWS KMS key.",
                shown(successes(KEY)),
                bad_from=1,
            ),
            stat(
                "Default branches changed",
                "Successful calls that made another branch the one that a clone checks out.",
                shown(successes("UpdateDefaultBranch")),
            ),
            table(
                "Changes that deserve a second look",
                "Successful deletions, renamings and changes of rules, triggers and keys in the "
                "time range, and when each was last asked for, failed requests included. "
                "DeleteRepository of (none) deleted nothing: there was no such repository.",
                EACH,
                Column("Changes", shown(CHANGES, *EACH)),
                Column(
                    "Last asked for",
                    named(f"1000 * {LAST_ASKED} and on ({', '.join(EACH)}) {CHANGES}", *EACH),
                    unit="dateTimeFromNow",
                ),
            ),
        ],
        "Does AWS KMS refuse CodeCommit?": [
            stat(
                "KMS requests denied",
                "Requests for the key of a repository that AWS KMS refused CodeCommit for want of "
                "permission.",
                count(KMS_DENIED),
                bad_from=1,
                height=8,
            ),
            stat(
                "Calls failed for their key",
                "CodeCommit requests that failed because the repository's key was not to be had: "
                "denied, disabled, deleted.",
                count(KEY_ERRORS),
                bad_from=1,
                height=8,
            ),
            stat(
                "KMS requests",
                "All requests that CodeCommit made to AWS KMS in the time range.",
                count(KMS),
                height=8,
            ),
            graph(
                "Failed KMS requests",
                "Failed requests a minute, by action and error code.",
                {"{{action}}, {{error_code}}": a_minute(KMS_FAILED, "action", "error_code")},
                stacked=True,
            ),
        ],
    },
)
