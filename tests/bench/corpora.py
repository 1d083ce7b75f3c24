"""
Log files as an organisation's trail leaves them, and what they should count to.

All that mentions CodeCommit is written by ``Activity``, which declares what it adds. The
bulk is what everybody else does, and is written here, since hundreds of thousands of such
records have to be made in seconds: each is one of some prepared texts with fresh ids,
names and times. They are as long as real ones, compress no better, and hold what a search
for CodeCommit stumbles over: JSON inside strings, escaped quotes and lines, records that are
only quoted.

The same arguments give the same bytes. How long files are is no chance at all: their sizes
are the quantiles of a distribution, so that a corpus of forty files is one of two thousand
in small, except for its longest.
"""

from __future__ import annotations

import json
import math
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate, compress
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import TypeAlias

from exporter.activity import (
    EVENTS,
    OLDEST_SECONDS,
    REGIONS,
    YOUNGEST_SECONDS,
    Activity,
    Series,
    WrittenLogFile,
)

Json: TypeAlias = object
"""
What ``json.dumps`` takes.
"""

DELIVERED = datetime(2026, 1, 1, tzinfo=UTC)
GZIP_WINDOW_BITS = 31
ACCOUNTS = tuple(f"{number:012d}" for number in range(210_000_000_001, 210_000_000_041))
BIG_ACCOUNT = f"{210_000_000_041:012d}"
"""None of the organisation's: ids of pull requests are told apart by account."""

CODECOMMIT_SHARE = 0.02
"""Of all records of an organisation."""
BUSY_FILES = 3, 20
"""In how many files of how many an organisation has any CodeCommit record: 15 %."""
GIT_SHARE = 0.31
"""Of the records of an organisation that does little but Git."""

RECORDS_MEDIAN, RECORDS_SIGMA = 40, 1.2
"""A file's records: log-normal, by which one in twenty files has more than 280."""
RECORDS_OF_LONGEST = 10_000
"""And one file in a thousand has about as many, which no log-normal distribution has."""
GIT_RECORDS = 78
"""The mean of the other organisation's files."""

ORG_OTHERS, GIT_OTHERS = 1.7, 0.5
"""Records beside one of CodeCommit's that Activity writes: one in eight mentions CodeCommit."""
OTHERS_ALONE = 2
"""The same in a file without any: one in fourteen of these files has such a mention."""

PIECE_RECORDS = 3_000
"""Of a big file, made and compressed piece by piece: about 5 MB."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """
    A log file as S3 stores it.
    """

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Corpus:
    """
    Log files, and what counting each of them once adds up to.
    """

    name: str
    files: Sequence[LogFile]
    truth: Counter[Series]

    @property
    def bodies(self) -> list[bytes]:
        """
        What is in the files, gzip-compressed.
        """
        return [file.body for file in self.files]

    @property
    def keys(self) -> list[str]:
        """
        The files' keys in their bucket, in the same order; no two are alike.
        """
        return [file.key for file in self.files]

    @property
    def events(self) -> int:
        """
        The CodeCommit events to be counted.
        """
        return sum(total for (family, _), total in self.truth.items() if family == EVENTS)

    def save(self, folder: Path) -> None:
        """
        Write the corpus into a folder, for other processes; ``OSError`` where that fails.
        """
        folder.mkdir(parents=True, exist_ok=True)
        index = {
            "name": self.name,
            "files": [(file.key, len(file.body)) for file in self.files],
            "truth": [(*series, total) for series, total in self.truth.items()],
        }
        (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
        with (folder / "bodies").open("wb") as bodies:
            bodies.writelines(self.bodies)

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """
        Read a corpus that was saved; ``OSError`` where there is none.
        """
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        with (folder / "bodies").open("rb") as bodies:
            files = [LogFile(key, bodies.read(size)) for key, size in index["files"]]
        truth = {(family, tuple(labels)): total for family, labels, total in index["truth"]}
        return cls(index["name"], files, Counter(truth))


def org(files: int = 2_000, *, seed: int = 1) -> Corpus:
    """
    An organisation in which few use CodeCommit: 2 % of the records, in 15 % of the files.
    """
    trail = Trail.of(seed, ORG_OTHERS)
    sizes = _sizes(files)
    busy = _busy(trail.chance, files)
    share = CODECOMMIT_SHARE * sum(sizes) / sum(compress(sizes, busy))
    plan = [(size, share if one else 0.0) for size, one in zip(sizes, busy, strict=True)]
    return trail.corpus("org", plan)


def git(files: int = 400, *, seed: int = 1) -> Corpus:
    """
    An organisation that does little but Git: CodeCommit in every file, 31 % of its records.
    """
    trail = Trail.of(seed, GIT_OTHERS)
    least, most = 20, 2 * GIT_RECORDS - 20
    plan = [(trail.chance.randint(least, most), GIT_SHARE) for _ in range(files)]
    return trail.corpus("git", plan)


def big(inflated_bytes: int = 50_000_000, *, level: int = 6, seed: int = 1) -> Corpus:
    """
    One file of that many bytes, a few MB more or less, in which 2 % is CodeCommit's.

    It is made in pieces, so the memory that this takes is that of its compressed bytes.

    Args:
        inflated_bytes: Of the JSON inside.
        level: Of the compression, 1 (quick) to 9.
        seed: Decides everything left to chance.
    """
    trail = Trail.of(seed, ORG_OTHERS, accounts=(BIG_ACCOUNT,), regions=("eu-central-1",))
    compressor = zlib.compressobj(level, wbits=GZIP_WINDOW_BITS)
    truth: Counter[Series] = Counter()
    key, size, compressed = "", 0, [compressor.compress(b'{"Records":[')]
    while size < inflated_bytes:
        written, records = trail.log_file(PIECE_RECORDS, CODECOMMIT_SHARE, DELIVERED)
        piece = ",".join(records if not size else ["", *records]).encode()
        compressed.append(compressor.compress(piece))
        truth.update(written.truth)
        key, size = key or written.key, size + len(piece)
    compressed += [compressor.compress(b"]}"), compressor.flush()]
    return Corpus("big", [LogFile(key, b"".join(compressed))], truth)


def _sizes(files: int) -> list[int]:
    """
    How many records each of the files has, the shortest first.
    """
    spread = NormalDist(math.log(RECORDS_MEDIAN), RECORDS_SIGMA)
    sizes = [round(math.exp(spread.inv_cdf((rank + 0.5) / files))) for rank in range(files)]
    for number in range(files // 1000):
        sizes[-1 - number] = RECORDS_OF_LONGEST - 1_000 * number
    return sizes


def _busy(chance: Random, files: int) -> list[bool]:
    """
    Which files, in the order of their sizes, have CodeCommit records: some of each stretch.
    """
    some, stretch = BUSY_FILES
    busy: list[bool] = []
    while rest := files - len(busy):
        length = min(rest, stretch)
        chosen = chance.sample(range(length), max(1, round(some * length / stretch)))
        busy += [rank in chosen for rank in range(length)]
    return busy


@dataclass(frozen=True, slots=True)
class Trail:
    """
    What writes log files: Activity all that is about CodeCommit, its neighbours the rest.

    Args:
        chance: Decides what nobody else does.
        activity: Lives in the organisation's accounts.
        others: Records beside one of CodeCommit's that Activity writes as well.
    """

    chance: Random
    activity: Activity
    others: float

    @classmethod
    def of(
        cls,
        seed: int,
        others: float,
        *,
        accounts: Sequence[str] = ACCOUNTS,
        regions: Sequence[str] = REGIONS,
    ) -> Trail:
        """
        The trail of a new organisation.
        """
        # Not the sequence that Activity takes its ids from, else some would come twice.
        chance = Random(f"trail {seed}")  # noqa: S311 - invents activity
        return cls(chance, Activity(seed, accounts=accounts, regions=regions), others)

    def corpus(self, name: str, plan: list[tuple[int, float]]) -> Corpus:
        """
        Files of so many records with such a share of CodeCommit's, in an order left to chance.
        """
        self.chance.shuffle(plan)
        files: list[LogFile] = []
        truth: Counter[Series] = Counter()
        for number, (size, share) in enumerate(plan):
            delivered = DELIVERED + timedelta(seconds=number)
            written, records = self.log_file(size, share, delivered)
            text = '{"Records":[' + ",".join(records) + "]}"
            # The level is zlib's own; which one CloudTrail takes is not known.
            body = zlib.compress(text.encode(), level=6, wbits=GZIP_WINDOW_BITS)
            files.append(LogFile(written.key, body))
            truth.update(written.truth)
        return Corpus(name, files, truth)

    def log_file(
        self, size: int, share: float, delivered: datetime
    ) -> tuple[WrittenLogFile, list[str]]:
        """
        The records of a file, in no order, and what Activity wrote of it.
        """
        written = self._written(size, share, delivered)
        records = [_json(record) for record in json.loads(written.inflated)["Records"]]
        _, account, _, region, *_ = written.key.split("/")
        neighbours = _neighbours(account, region)
        records += neighbours.records(self.chance, size - len(records), delivered)
        self.chance.shuffle(records)
        return written, records

    def _written(self, size: int, share: float, delivered: datetime) -> WrittenLogFile:
        if not share:
            return self.activity.log_file(delivered, records=min(size, OTHERS_ALONE), codecommit=0)
        records = min(size, max(1, round(size * share * (1 + self.others))))
        while True:
            written = self.activity.log_file(
                delivered, records=records, codecommit=size * share / records
            )
            # A short file may have come out without any event, and was to have some.
            if any(family == EVENTS for family, _ in written.truth):
                return written


# Everybody else


@dataclass(frozen=True, slots=True)
class Call:
    """
    A request that is made over and over again, how often in comparison to the others.

    Its texts hold the names of ``_fresh`` as ``%`` takes them, and ``{account}`` and ``{region}``.
    """

    weight: int
    service: str
    action: str
    request: Json
    response: Json = None
    resources: Json = None

    def record(self, account: str, region: str) -> str:
        """
        Its record in JSON, to be filled in with ``%``.
        """
        record: dict[str, Json] = {
            "eventVersion": "1.11",
            "userIdentity": "@caller",
            "eventTime": "%(time)s",
            "eventSource": f"{self.service}.amazonaws.com",
            "eventName": self.action,
            "awsRegion": region,
            "sourceIPAddress": "%(address)s",
            "userAgent": "%(agent)s",
            "requestParameters": self.request,
            "responseElements": self.response,
            "requestID": "%(call)s",
            "eventID": "%(event)s",
            "readOnly": self.response is None,
            "resources": self.resources or [],
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": account,
            "vpcEndpointId": "vpce-%(other)s",
            "eventCategory": "Management",
            "tlsDetails": {
                "tlsVersion": "TLSv1.3",
                "cipherSuite": "TLS_AES_128_GCM_SHA256",
                "clientProvidedHostHeader": f"{self.service}.{region}.amazonaws.com",
            },
        }
        text = _json(record).replace('"@caller"', "%(caller)s")
        text = text.replace("{account}", account).replace("{region}", region)
        return text.replace("<", r"\u003c").replace(">", r"\u003e")


class Neighbours:
    """
    What goes on in one account and Region beside CodeCommit.
    """

    def __init__(self, account: str, region: str) -> None:
        self._calls = [call.record(account, region) for call in CALLS]
        self._weights = list(accumulate(call.weight for call in CALLS))
        self._callers = [_caller(account, person) for person in PEOPLE]

    def records(self, chance: Random, count: int, delivered: datetime) -> list[str]:
        """
        So many records in JSON, of the minutes before the delivery.
        """
        records = []
        for call in chance.choices(self._calls, cum_weights=self._weights, k=count):
            age = timedelta(seconds=chance.randrange(YOUNGEST_SECONDS, OLDEST_SECONDS))
            fresh = _fresh(chance, delivered - age)
            fresh["caller"] = chance.choice(self._callers) % fresh
            records.append(call % fresh)
        return records


@cache
def _neighbours(account: str, region: str) -> Neighbours:
    """
    The same for all files of a place, since they take a while to prepare.
    """
    return Neighbours(account, region)


def _fresh(chance: Random, time: datetime) -> dict[str, str]:
    """
    What differs between two records of one call.
    """
    bits = f"{chance.getrandbits(512):0128x}"
    return {
        "time": f"{time.isoformat()[:19]}Z",
        "event": f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:32]}",
        "call": f"{bits[32:40]}-{bits[40:44]}-4{bits[45:48]}-b{bits[49:52]}-{bits[52:64]}",
        "id": bits[64:81],
        "other": bits[81:98],
        "key": bits[98:114].upper(),
        "token": b64encode(chance.randbytes(270)).decode(),
        "name": f"{chance.choice(SYSTEMS)}-{chance.choice(PARTS)}",
        "number": str(chance.randrange(10_000)),
        "address": f"10.{chance.randrange(32)}.{chance.randrange(256)}.{chance.randrange(256)}",
        "agent": chance.choice(AGENTS),
    }


def _caller(account: str, person: str) -> str:
    """
    The identity of somebody in a role, in JSON, to be filled in with ``%``.
    """
    role, session = f"engineer-{person.partition('.')[0]}", f"{person}@example.com"
    issuer: Json = {
        "type": "Role",
        "principalId": "AROA%(key)s",
        "arn": f"arn:aws:iam::{account}:role/{role}",
        "accountId": account,
        "userName": role,
    }
    return _json(
        {
            "type": "AssumedRole",
            "principalId": f"AROA%(key)s:{session}",
            "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
            "accountId": account,
            "accessKeyId": "ASIA%(key)s",
            "sessionContext": {
                "sessionIssuer": issuer,
                "webIdFederationData": {},
                "attributes": {"creationDate": "%(time)s", "mfaAuthenticated": "false"},
            },
        }
    )


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _policy(action: str, resource: str) -> str:
    """
    JSON that stands inside a string of JSON.
    """
    statement: Json = {
        "Sid": "%(name)s",
        "Effect": "Allow",
        "Action": [f"{action}Get*", f"{action}List*", f"{action}Put*"],
        "Resource": resource,
        "Condition": {"StringEquals": {"aws:SourceAccount": "{account}"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=4)


SYSTEMS = ("claims", "invoices", "quotes", "routes", "stock", "tickets", "tokens", "vouchers")
PARTS = ("api", "batch", "cache", "events", "portal", "stream", "sync", "worker")
PEOPLE = ("ana.carolina", "diego.ramirez", "jane.doe", "nikki.wolf", "pat.candella", "terry.wu")
AGENTS = (
    "aws-sdk-go-v2/1.32.7 ua/2.1 os/linux lang/go#1.23.4 md/GOOS#linux md/GOARCH#arm64",
    "aws-sdk-java/2.29.9 md/io#sync md/http#Apache ua/2.1 os/Linux#6.1.115 lang/java#21.0.5",
    "Boto3/1.35.71 md/Botocore#1.35.71 ua/2.0 os/linux#6.1.115 lang/python#3.12.7",
    "aws-sdk-js/3.699.0 ua/2.1 os/linux#5.10.228 lang/js md/nodejs#20.18.0 m/E,N",
    r"node-agent/1.2.1 (linux; amd64) \u003cworker\u003e",
)

ROLE = "arn:aws:iam::{account}:role/%(name)s"
SECRET = "arn:aws:secretsmanager:{region}:{account}:secret:%(name)s/database"
QUEUE = "arn:aws:sqs:{region}:{account}:%(name)s"
TARGETS = "arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/%(name)s/%(id).16s"
KEY = "arn:aws:kms:{region}:{account}:key/%(event)s"
IMAGE = "{account}.dkr.ecr.{region}.amazonaws.com/%(name)s:%(number)s"
QUERY = """SELECT "user", count(*) AS n
FROM "logs"."%(name)s"
WHERE year >= 2025 AND path <> '/health' AND took < %(number)s
GROUP BY 1\tORDER BY n DESC"""

CALLS = (
    Call(
        20,
        "sts",
        "AssumeRole",
        {"roleArn": ROLE, "roleSessionName": "%(id)s", "durationSeconds": 3600},
        {
            "credentials": {
                "accessKeyId": "ASIA%(key)s",
                "sessionToken": "%(token)s",
                "expiration": "%(time)s",
            },
            "assumedRoleUser": {"assumedRoleId": "AROA%(key)s:%(id)s", "arn": f"{ROLE}/%(id)s"},
        },
        [{"accountId": "{account}", "type": "AWS::IAM::Role", "ARN": ROLE}],
    ),
    Call(
        16,
        "ec2",
        "DescribeInstances",
        {
            "maxResults": 1000,
            "nextToken": "%(token).200s",
            "instancesSet": {"items": [{"instanceId": "i-%(id)s"}, {"instanceId": "i-%(other)s"}]},
            "filterSet": {
                "items": [
                    {"name": "instance-state-name", "valueSet": {"items": [{"value": "running"}]}},
                    {"name": "tag:Name", "valueSet": {"items": [{"value": "%(name)s-%(number)s"}]}},
                ]
            },
        },
    ),
    Call(
        8,
        "ec2",
        "CreateNetworkInterface",
        {"subnetId": "subnet-%(id)s", "groupSet": {"items": [{"groupId": "sg-%(other)s"}]}},
        {
            "requestId": "%(call)s",
            "networkInterface": {
                "networkInterfaceId": "eni-%(other)s",
                "subnetId": "subnet-%(id)s",
                "availabilityZone": "{region}a",
                "description": "AWS Lambda VPC ENI-%(name)s",
                "ownerId": "{account}",
                "requesterManaged": False,
                "status": "pending",
                "privateIpAddress": "%(address)s",
                "sourceDestCheck": True,
                "interfaceType": "lambda",
                "groupSet": {"items": [{"groupId": "sg-%(other)s", "groupName": "%(name)s"}]},
                "privateIpAddressesSet": {"item": [{"privateIpAddress": "%(address)s"}]},
            },
        },
    ),
    Call(
        14,
        "kms",
        "Decrypt",
        {
            "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "encryptionContext": {"SecretARN": SECRET, "SecretVersionId": "%(call)s"},
        },
        None,
        [{"accountId": "{account}", "type": "AWS::KMS::Key", "ARN": KEY}],
    ),
    Call(
        8,
        "secretsmanager",
        "GetSecretValue",
        {"secretId": f"{SECRET}-%(key).6s", "versionStage": "AWSCURRENT"},
    ),
    Call(
        10,
        "logs",
        "CreateLogStream",
        {
            "logGroupName": "/aws/lambda/%(name)s",
            "logStreamName": "2026/01/01/[$LATEST]%(id)s%(other).15s",
        },
    ),
    Call(
        9,
        "s3",
        "GetBucketAcl",
        {"bucketName": "%(name)s-{account}", "Host": "s3.{region}.amazonaws.com", "acl": ""},
        {"x-amz-id-2": "%(token).76s", "bytesTransferredOut": 0},
        [
            {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::%(name)s-{account}"},
            {"type": "AWS::S3::Object", "ARN": 'arn:aws:s3:::%(name)s/Übersicht "%(number)s".csv'},
        ],
    ),
    Call(
        6,
        "dynamodb",
        "DescribeTable",
        {"tableName": "%(name)s-%(number)s"},
        None,
        [{"type": "AWS::DynamoDB::Table", "ARN": "arn:aws:dynamodb:{region}:{account}:%(name)s"}],
    ),
    Call(
        8,
        "ssm",
        "UpdateInstanceInformation",
        {
            "instanceId": "i-%(id)s",
            "agentVersion": "3.3.1345.0",
            "agentStatus": "Active",
            "platformType": "Linux",
            "platformName": "Amazon Linux",
            "platformVersion": "2023",
            "iPAddress": "%(address)s",
            "computerName": "%(name)s.{region}.compute.internal",
            "agentName": "amazon-ssm-agent",
            "availabilityZone": "{region}b",
            "sSMConnectionChannel": "ssmmessages",
        },
    ),
    Call(
        8,
        "elasticloadbalancing",
        "DescribeTargetGroups",
        {"targetGroupArns": [TARGETS], "marker": "%(token).200s"},
    ),
    Call(
        6,
        "ecs",
        "RegisterTaskDefinition",
        {
            "family": "%(name)s",
            "taskRoleArn": ROLE,
            "networkMode": "awsvpc",
            "containerDefinitions": [
                {
                    "name": "%(name)s",
                    "image": IMAGE,
                    "cpu": 256,
                    "memory": 512,
                    "essential": True,
                    "command": ["sh", "-c", 'exec java -Dname="%(name)s" -jar app.jar 2>&1'],
                    "secrets": [{"name": "DATABASE", "valueFrom": SECRET}],
                    "healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost || exit 1"]},
                }
            ],
        },
        {
            "taskDefinition": {
                "taskDefinitionArn": "arn:aws:ecs:{region}:{account}:task-definition/%(name)s",
                "family": "%(name)s",
                "revision": "%(number)s",
                "status": "ACTIVE",
                "requiresAttributes": [
                    {"name": "com.amazonaws.ecs.capability.ecr-auth"},
                    {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.19"},
                    {"name": "ecs.capability.execution-role-awslogs"},
                    {"name": "com.amazonaws.ecs.capability.task-iam-role"},
                ],
            }
        },
    ),
    Call(
        4,
        "iam",
        "PutRolePolicy",
        {
            "roleName": "%(name)s",
            "policyName": "%(name)s-access",
            "policyDocument": _policy("s3:", "arn:aws:s3:::%(name)s-{account}/*"),
        },
    ),
    Call(
        3,
        "sqs",
        "SetQueueAttributes",
        {
            "queueUrl": "https://sqs.{region}.amazonaws.com/{account}/%(name)s",
            "attributes": {"Policy": _policy("sqs:", QUEUE), "VisibilityTimeout": "%(number)s"},
        },
    ),
    Call(
        3,
        "athena",
        "StartQueryExecution",
        {
            "queryString": QUERY,
            "clientRequestToken": "%(call)s",
            "resultConfiguration": {"outputLocation": "s3://%(name)s-{account}/%(id)s/"},
        },
        {"queryExecutionId": "%(event)s"},
    ),
    Call(
        2,
        "logs",
        "PutMetricFilter",
        {
            "logGroupName": "/aws/cloudtrail/%(name)s",
            "filterName": "%(name)s-%(number)s",
            "filterPattern": '{ $.errorCode = "*" } },{"eventVersion":"1.08","eventSource":"s3"}',
        },
    ),
)
"""Compact where AWS has no more to tell, and with text in texts as often as is usual."""
