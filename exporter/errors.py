"""
What can go wrong, drawn as a tree. The class says whether trying again can help.

    ExporterError
    ├── ConfigError             the user's to mend; one line on standard error, exit 2
    ├── Permanent               trying again cannot help: left to the redrive policy, counted
    │   ├── ForeignMessage          not an announcement of log files
    │   ├── UnreadableMessage       an announcement, but not in a form that can be read
    │   ├── InlineEvent             carries the event itself, which is not accepted
    │   ├── RefusedBucket           names a bucket that is not allowed
    │   ├── MalformedLogFile        not gzip'd JSON with Records, or damaged
    │   └── OversizedLogFile        larger than the caps, compressed or inflated
    └── Transient               trying again can help: the message comes back
        ├── QueueUnavailable        SQS did not answer, or refused
        │   ├── QueueMissing            there is no such queue
        │   ├── QueueDenied             access denied
        │   └── ReceiptExpired          a message is not in hand any more
        ├── LogFileUnavailable      S3 did not hand over the log file
        │   ├── LogFileMissing          404
        │   ├── LogFileDenied           403
        │   ├── LogFileLocked           its KMS key cannot be used
        │   │   └── KeyGone                 the key is disabled, or there is none
        │   ├── LogFileArchived         it must be restored first
        │   ├── LogFileThrottled        S3 asks for fewer requests
        │   ├── BucketMissing           there is no such bucket
        │   ├── BucketElsewhere         its bucket is in a Region that S3 does not tell
        │   └── BucketUnlisted          S3 did not list the bucket
        ├── LedgerUnavailable       the ledger could not commit
        │   └── LedgerLost              there was a ledger, and it is gone
        ├── BackupUnavailable       a backup could not be kept or fetched
        └── ExportFailed            an OTLP endpoint did not take what was sent to it
            └── ExportRefused           it did not take one request, whatever it does with others
                └── ExportRejected          it took only a part of it

Every error names what it is about (a bucket and key, a queue, a message) and its
``hint`` says what a person can do. A library's exception stops at the edge it came
from and is kept as the cause.
"""

from __future__ import annotations

_CREDENTIALS = (
    "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from AWS_PROFILE, or "
    "from the role of the pod, task or instance."
)


class ExporterError(Exception):
    """
    Anything this program raises on purpose.
    """

    hint = ""
    reason = "error"
    """The value of a ``reason`` label; the set of them is closed."""

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class ConfigError(ExporterError):
    """
    An option, variable or configuration file is wrong.
    """

    reason = "config"


class Permanent(ExporterError):
    """
    Trying again cannot help.
    """


class Transient(ExporterError):
    """
    Trying again can help.
    """


class ForeignMessage(Permanent):
    """
    The message is not an announcement of log files.
    """

    hint = "Something else writes to this queue; the message is left for the dead-letter queue."
    reason = "foreign_message"


class UnreadableMessage(Permanent):
    """
    The message announces log files, but not in a form that can be read.
    """

    hint = (
        "Its sender writes another version of the announcement, or a damaged one; the message "
        "is left for the dead-letter queue."
    )
    reason = "unreadable_message"


class InlineEvent(Permanent):
    """
    The message carries a CloudTrail event itself, and such messages are not accepted.
    """

    hint = (
        "Log files hold the same event. Whoever can send to the queue could invent such a "
        "message; --sqs.accept-inline-events believes it."
    )
    reason = "inline_event"


class RefusedBucket(Permanent):
    """
    A notification names a bucket that is not allowed.
    """

    hint = (
        "Name the bucket with --s3.allowed-bucket if its log files are to be counted; ARNs, "
        "access points and directory buckets are never read."
    )
    reason = "bucket_not_allowed"


class MalformedLogFile(Permanent):
    """
    The object is not a CloudTrail log file, or a damaged one; nothing of it is counted.
    """

    hint = (
        "The object must be (gzip-compressed) JSON with a list of Records, as CloudTrail writes it."
    )
    reason = "malformed_log_file"


class OversizedLogFile(Permanent):
    """
    The object is larger than the program is willing to read; nothing of it is counted.
    """

    hint = (
        "If the file is genuine, raise the cap on bytes that it exceeds: "
        "--s3.max-compressed-bytes or --s3.max-inflated-bytes."
    )
    reason = "oversized_log_file"


class QueueUnavailable(Transient):
    """
    SQS did not answer, or refused.
    """

    hint = f"See that SQS can be reached. {_CREDENTIALS}"
    reason = "queue_unavailable"


class QueueMissing(QueueUnavailable):
    """
    SQS says that there is no such queue.
    """

    hint = "Create the queue, or mend --sqs.queue-url; the Region must be the queue's."
    reason = "queue_missing"


class QueueDenied(QueueUnavailable):
    """
    SQS refuses access to the queue.
    """

    hint = (
        "The role needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and "
        "sqs:GetQueueAttributes on the queue."
    )
    reason = "queue_denied"


class ReceiptExpired(QueueUnavailable):
    """
    SQS does not take a message's receipt handle any more.
    """

    hint = "The message comes back, and what has been counted of it is known."
    reason = "receipt_expired"


class LogFileUnavailable(Transient):
    """
    S3 did not hand over the log file.
    """

    hint = f"See that S3 can be reached. {_CREDENTIALS}"
    reason = "log_file_unavailable"


class LogFileMissing(LogFileUnavailable):
    """
    S3 says that there is no such object.
    """

    hint = "The object was deleted, expired or moved after it was announced."
    reason = "log_file_missing"


class LogFileDenied(LogFileUnavailable):
    """
    S3 refuses to hand over the log file.
    """

    hint = "The role needs s3:GetObject on the bucket, and kms:Decrypt on its key if it has one."
    reason = "log_file_denied"


class LogFileLocked(LogFileUnavailable):
    """
    The KMS key that the log file is encrypted with cannot be used.
    """

    hint = (
        "The key must be enabled, and its policy and the role must allow kms:Decrypt; the "
        "bucket's account and the key's may differ."
    )
    reason = "log_file_locked"


class KeyGone(LogFileLocked):
    """
    The KMS key that encrypts the log file is disabled, or there is none.
    """

    hint = "Enable the key, or end its deletion; without it the log file cannot be read."
    reason = "log_file_key_gone"


class LogFileArchived(LogFileUnavailable):
    """
    The log file lies in an archive, from which S3 hands over nothing.
    """

    hint = (
        "Restore it (s3:RestoreObject), and let the bucket's lifecycle rules archive log files "
        "only after they have been counted."
    )
    reason = "log_file_archived"


class LogFileThrottled(LogFileUnavailable):
    """
    S3 asks for fewer requests.
    """

    hint = "Nothing is lost: fewer log files are fetched until S3 takes more."
    reason = "log_file_throttled"


class BucketMissing(LogFileUnavailable):
    """
    S3 says that there is no such bucket.
    """

    hint = (
        "Create the bucket, or see who names it: --s3.allowed-bucket, or the messages on the queue."
    )
    reason = "bucket_missing"


class BucketElsewhere(LogFileUnavailable):
    """
    The bucket is in another Region, and S3 does not say in which.
    """

    hint = "Set AWS_REGION to the bucket's Region."
    reason = "bucket_elsewhere"


class BucketUnlisted(LogFileUnavailable):
    """
    S3 did not list the bucket.
    """

    hint = (
        "Replaying log files into a restored or rebuilt ledger needs s3:ListBucket on the bucket "
        "that holds them."
    )
    reason = "bucket_unlisted"


class LedgerUnavailable(Transient):
    """
    The ledger could not commit; nothing was counted and nothing is deleted from the queue.
    """

    hint = (
        "See that the state directory is a folder with free space that can be written, and "
        "that the file there is the ledger."
    )
    reason = "ledger_unavailable"


class LedgerLost(LedgerUnavailable):
    """
    There was a ledger, it is gone, and nothing says how to begin again.
    """

    hint = (
        "Bring it back, or say with --ledger.rebuild what to do: restore (a backup), mark (count "
        "only what comes from now on), recount (all log files of the bucket) or fresh (start "
        "empty)."
    )
    reason = "ledger_lost"


class BackupUnavailable(Transient):
    """
    A backup of the ledger could not be kept, listed or fetched.
    """

    hint = (
        "See that --ledger.backup-url is a folder that can be written or a bucket of which the "
        "role may do s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject."
    )
    reason = "backup_unavailable"


class ExportFailed(Transient):
    """
    An OTLP endpoint did not take what was sent to it.
    """

    hint = (
        "See that the endpoint can be reached and takes OTLP over HTTP, usually on port 4318; 4317 "
        "is for gRPC. Neither counting nor /metrics depends on it."
    )
    reason = "export_failed"


class ExportRefused(ExportFailed):
    """
    An OTLP endpoint did not take a request, whatever it may do with others.
    """

    hint = "Its answer tells why, or its own log. Neither counting nor /metrics depends on it."
    reason = "export_refused"


class ExportRejected(ExportRefused):
    """
    An OTLP endpoint did not take everything, but something.

    ``rejected`` is how many points or spans it says it did not take of a request.
    """

    hint = "Its answer tells why, or its own log. What it took is right."
    reason = "export_rejected"

    def __init__(self, message: str = "", rejected: int = 0, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rejected = rejected


def kind_of(error: BaseException) -> str:
    """
    What kind of error it is, in a word that tells nothing of what it is about.
    """
    return error.reason if isinstance(error, ExporterError) else type(error).__name__
