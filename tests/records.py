"""
CloudTrail records and log files of the tests' own: invented people, names and ids.

The shapes are those that the CloudTrail User Guide ("CloudTrail record contents") and
the CodeCommit User Guide ("Logging AWS CodeCommit API calls with AWS CloudTrail") tell.
"""

from __future__ import annotations

import gzip
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

Record = dict[str, Any]

OWNER = "210987654321"
"""The account that owns the repositories."""

REGION = "eu-central-1"

PERSONAL = (
    "wilhelmine",
    "AIDAQWERTZUIOPEXAMPLE",
    "AKIAQWERTZUIOPEXAMPLE",
    "arn:aws:iam",
    "198.51.100.77",
    "git/2.47.1",
    "refs/heads/secret-plan",
)
"""What the records hold of people and their work, to be found nowhere but in log files."""


def record(action: str, **fields: object) -> Record:
    """
    One management event of CodeCommit, a minute old at most; fields replace or add.
    """
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAQWERTZUIOPEXAMPLE",
            "arn": "arn:aws:iam::567856785678:user/wilhelmine.tell",
            "accountId": "567856785678",
            "accessKeyId": "AKIAQWERTZUIOPEXAMPLE",
            "userName": "wilhelmine.tell",
        },
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:00Z"),
        "eventSource": "codecommit.amazonaws.com",
        "eventName": action,
        "awsRegion": REGION,
        "sourceIPAddress": "198.51.100.77",
        "userAgent": "git/2.47.1",
        "requestParameters": None,
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": OWNER,
        "eventCategory": "Management",
    } | fields


def api_call(action: str, repository: str, **fields: object) -> Record:
    """
    A successful request that names its repository, as GetRepository or PutFile.
    """
    return record(
        action, requestParameters={"repositoryName": repository}, readOnly=False, **fields
    )


def denied(action: str, repository: str) -> Record:
    """
    A refused request: its message holds an ARN, and what it names may not exist.
    """
    return api_call(
        action,
        repository,
        errorCode="AccessDenied",
        errorMessage="User: arn:aws:iam::567856785678:user/wilhelmine.tell is not authorized",
    )


def git(action: str, repository: str, *, moved: bool, **fields: object) -> Record:
    """
    A GitPull or GitPush over HTTP, with the repository among its resources.
    """
    return record(
        action,
        additionalEventData={
            "protocol": "HTTP",
            "dataTransferred": moved,
            "repositoryName": repository,
            "repositoryId": str(uuid.uuid5(uuid.NAMESPACE_URL, repository)),
        },
        resources=[
            {
                "ARN": f"arn:aws:codecommit:{REGION}:{OWNER}:{repository}",
                "accountId": OWNER,
                "type": "AWS::CodeCommit::Repository",
            }
        ],
        **fields,
    )


def push(repository: str, *refs: str, **fields: object) -> Record:
    """
    The record of a push that moves data, with the references it names.
    """
    references = [{"commit": f"{number + 1:040x}", "ref": ref} for number, ref in enumerate(refs)]
    return git(
        "GitPush",
        repository,
        moved=True,
        requestParameters={"references": references},
        readOnly=False,
        **fields,
    )


def push_pair(repository: str, *refs: str) -> list[Record]:
    """
    The two records that one push over HTTP leaves.
    """
    return [git("GitPush", repository, moved=False), push(repository, *refs)]


def documentation_samples() -> list[Record]:
    """
    Six records of an age and shape like the samples of the CodeCommit guide.

    Five of them share one eventID and one requestID that are no UUIDs, the sixth has its own.
    """
    old: Record = {"eventVersion": "1.05", "eventTime": "2016-12-14T18:19:15Z"}
    shared: Record = old | {"eventID": "1b2c3d4e-EXAMPLE", "requestID": "9f8e7d6c-EXAMPLE"}
    samples = [
        record("ListRepositories", **old, eventID="5a6b7c8d-EXAMPLE"),
        api_call(
            "CreateRepository",
            "sample",
            **shared,
            responseElements={
                "repositoryMetadata": {"repositoryName": "sample", "repositoryId": "0a1b-EXAMPLE"}
            },
        ),
        git("GitPull", "sample", moved=False, **shared),
        git("GitPull", "sample", moved=True, **shared),
        git("GitPush", "sample", moved=False, **shared),
        push("sample", "refs/heads/main", **shared),
    ]
    for sample in samples:
        del sample["managementEvent"], sample["eventCategory"]  # fields of later versions
    return samples


def text(*records: Record) -> str:
    """
    A log file's JSON as CloudTrail writes it: compact, on one line.
    """
    return json.dumps({"Records": records}, separators=(",", ":"))


def with_trailing_commas(json_text: str) -> str:
    """
    The same text with the mistake of the guide's samples: a comma after a last member.
    """
    return re.sub(r'("repositoryId": ?"[^"]*")(\s*\})', r"\1,\2", json_text)


def log_file(json_text: str) -> bytes:
    """
    A log file as it lies in the bucket.
    """
    return gzip.compress(json_text.encode(), compresslevel=1, mtime=0)


def inflated(body: bytes) -> str:
    """
    A log file's JSON again.
    """
    return gzip.decompress(body).decode()


NOW = datetime.now(UTC)
"""One for all keys, or the same number would make two of them around a full minute."""


def key(unique: int) -> str:
    """
    A log file's key, by its number among the files of a test.
    """
    return (
        f"AWSLogs/{OWNER}/CloudTrail/{REGION}/{NOW:%Y/%m/%d}/"
        f"{OWNER}_CloudTrail_{REGION}_{NOW:%Y%m%dT%H%MZ}_{unique:016}.json.gz"
    )
