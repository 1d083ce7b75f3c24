"""
Invented CloudTrail activity of an invented organisation, and what it should count to.

The demo lives on it, the tests take it for their oracle, the benchmarks for their
corpora. Its rules:

1. Nothing here reads what it wrote. Whoever makes a call declares what the call is
   about (``CodeCommitCall``, ``KeyCall``, ``Caller``), and the truth of a file is added up
   from these declarations alone. Therefore nothing of the exporter is imported either.
2. The truths of all files that were written add up to what has been counted once all
   of them were read, in whatever order, also several at a time and some of them repeated.
   Hence no call leans on another file:

   - A failed call that names an existing repository never stands alone: either its own
     record has the repository's ARN, or its file holds a successful call that names the
     same one.
   - A call that tells no more than an id (of a pull request, a comment, or to KMS of a
     repository) does not stand alone either: its file holds a successful call that shows
     whose the id is, earlier or later. Or no file ever does, and its repository is empty
     for good.
   - An id belongs to one repository for ever. Only the sandbox is ever renamed; it has no
     pull requests and no comments, and KMS is never asked on its behalf.
   - Of a visit two accounts are told, and either copy may be read first: they differ in
     nothing that is counted.

   What depends on the order or on the time of reading (newest times, how long a pull
   request was open, which id a name has at last) is not in the truth.
3. The same seed and the same calls give the same bytes. There is no clock in here and
   no input or output; the time of delivery is an argument.

Where AWS publishes no sample (pull requests, failures, KMS), records follow the CodeCommit
API reference in the spelling of CloudTrail, whose member names start in lower case.
Addresses are of the ranges kept for documentation, names and accounts are made up.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Record: TypeAlias = dict[str, object]
Series: TypeAlias = tuple[str, tuple[str, ...]]
"""
The name of a metric family, and its label values in the family's own order.
"""

EVENTS = "codecommit_events_total"
ERRORS = "codecommit_event_errors_total"
PUSHES = "codecommit_pushes_total"
REFERENCE_UPDATES = "codecommit_reference_updates_total"
PULL_REQUEST_EVENTS = "codecommit_pull_request_events_total"
CALLER_EVENTS = "codecommit_caller_events_total"
KMS_REQUESTS = "codecommit_kms_requests_total"

CODECOMMIT = "codecommit.amazonaws.com"
ACCOUNTS = ("111122223333", "444455556666", "777788889999")
REGIONS = ("eu-central-1", "us-east-1")
KEY_ACCOUNT = "999900001111"
"""
Keeps the customer managed keys of everybody else, and has no trail.
"""

YOUNGEST_SECONDS, OLDEST_SECONDS = 10, 540
"""
How long before its delivery an event happened: a log file is some minutes behind.
"""

NO_COMMIT = "0" * 40
"""
The commit to which a push moves a reference that it deletes.
"""


@dataclass(frozen=True, slots=True)
class WrittenLogFile:
    """
    One CloudTrail log file: its key, its gzip-compressed body, and what it adds.

    The truth is what the file adds to the counters when every event is counted once,
    given that the files it repeats are read as well; a series that gains nothing is
    not in it.
    """

    key: str
    body: bytes
    truth: Counter[Series]

    @property
    def inflated(self) -> bytes:
        """
        The JSON inside the body; ``EOFError`` for a truncated file.
        """
        return gzip.decompress(self.body)


class Activity:
    """
    The organisation, living on with every log file that is asked of it.

    Args:
        seed: decides everything that is left to chance.
        accounts: account ids, twelve digits each.
        regions: the Regions in which every account works.
        repositories: how many each account has in each Region; names recur between them.
        cross_account: whether accounts visit each other's repositories. CloudTrail then
            tells both of them, with one ``sharedEventID`` and two ``eventID`` (CloudTrail
            User Guide, record contents), and the visitor's copy adds nothing.

    """

    def __init__(
        self,
        seed: int,
        *,
        accounts: Sequence[str] = ACCOUNTS,
        regions: Sequence[str] = REGIONS,
        repositories: int = 6,
        cross_account: bool = True,
    ) -> None:
        self._chance = Random(seed)  # noqa: S311 - invents activity, keeps no secret
        self._places = _found(self._chance, accounts, regions, repositories)
        self._cross_account = cross_account

    def log_file(
        self,
        delivered: datetime,
        *,
        records: int | None = None,
        codecommit: float = 0.3,
        denied: float = 0.02,
    ) -> WrittenLogFile:
        """
        The next log file, of one account and Region.

        Args:
            delivered: when CloudTrail delivers it; a naive time is a ``ValueError``.
            records: how many it holds; by itself a few dozen, now and then hundreds.
            codecommit: the share of them that are CodeCommit's, on average. What CodeCommit
                asks of KMS, and look-alikes, which only mention it, are among the others,
                also when this is 0.
            denied: the share of CodeCommit calls that are refused for want of permission.

        """
        scene = Scene.at(self._chance, self._chance.choice(self._places), delivered)
        size = _size(self._chance) if records is None else records
        wanted = sum(self._chance.random() < codecommit for _ in range(size))
        copies = scene.place.copies_due(scene.delivered, at_most=wanted)
        calls = self._codecommit_calls(scene, wanted - len(copies), denied)
        ours, truth = scene.told(calls)
        self._tell_visitors(calls, ours)
        other_calls = _other_calls(scene.beside(calls), size - wanted, beside_codecommit=wanted > 0)
        others, other_truth = scene.told(other_calls)
        return WrittenLogFile(
            key=_key(self._chance, scene.place.account, scene.place.region, scene.delivered),
            body=_body(self._chance, [*ours, *copies, *others]),
            truth=truth + other_truth,
        )

    def repeat(self, log_file: WrittenLogFile, delivered: datetime) -> WrittenLogFile:
        """
        Another file with the same events, as CloudTrail delivers them now and then.
        """
        _, account, _, region, *_ = log_file.key.split("/")
        return WrittenLogFile(
            key=_key(self._chance, account, region, _utc(delivered)),
            body=_body(self._chance, json.loads(log_file.inflated)["Records"]),
            truth=Counter(),
        )

    def truncated(self, log_file: WrittenLogFile) -> WrittenLogFile:
        """
        Another file that breaks off inside the compressed events of this one.
        """
        stem = log_file.key.rpartition("_")[0]
        end = self._chance.randrange(len(log_file.body) // 2, len(log_file.body) - 8)
        return WrittenLogFile(
            key=f"{stem}_{_unique(self._chance)}.json.gz",
            body=log_file.body[:end],
            truth=Counter(),
        )

    def _codecommit_calls(self, scene: Scene, count: int, denied: float) -> list[CodeCommitCall]:
        neighbours = self._neighbours(scene.place)
        calls: list[CodeCommitCall] = []
        while (room := count - len(calls)) > 0:
            if self._chance.random() < denied:
                calls.append(_denied(scene))
            elif room >= MOST_TOGETHER and self._chance.random() < 0.3:
                calls += TOGETHER.pick(self._chance)(scene)
            elif neighbours and self._chance.random() < 0.02:
                calls.append(_visit(scene, neighbours))
            else:
                calls.append(SINGLES.pick(self._chance)(scene))
        return calls

    def _neighbours(self, place: Place) -> list[Place]:
        """
        The places of other accounts in the same Region from which visitors come.
        """
        return [
            other
            for other in self._places
            if self._cross_account
            and other.region == place.region
            and other.account != place.account
        ]

    def _tell_visitors(self, calls: list[CodeCommitCall], records: list[Record]) -> None:
        for call, record in zip(calls, records, strict=True):
            if call.visitor:
                record["sharedEventID"] = _uuid(self._chance)
                own = {"eventID": _uuid(self._chance), "recipientAccountId": call.visitor.account}
                call.visitor.owed.append(record | own)


# The organisation


@dataclass(frozen=True, slots=True)
class Repository:
    """
    A CodeCommit repository: its name, which people see, and its id, which KMS sees.
    """

    name: str
    id: str
    arn: str

    @classmethod
    def of(cls, chance: Random, account: str, region: str, name: str) -> Repository:
        """
        A new repository of this name.
        """
        return cls(name, _uuid(chance), f"arn:aws:codecommit:{region}:{account}:{name}")


@dataclass(frozen=True, slots=True)
class PullRequest:
    """
    An open pull request; its id is unique in its account and Region.
    """

    id: str
    repository: Repository
    revision: str
    opened: str

    @property
    def title(self) -> str:
        """
        What it changes, in characters that need care.
        """
        return f'Change {self.id}: drop "{self.repository.name}" {{legacy}}'


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Someone who calls AWS; the start of a session is filled in with each record.

    ``counted_as`` are the labels ``identity_type`` and ``credentials`` of what it does.
    """

    identity: Record
    address: str
    counted_as: tuple[str, str]
    session: Record | None = None
    console: bool = False

    def identity_since(self, since: str) -> Record:
        """
        The ``userIdentity`` of a record, its session created at this time.
        """
        if self.session is None:
            return self.identity
        attributes = {"creationDate": since, "mfaAuthenticated": str(self.console).lower()}
        return {**self.identity, "sessionContext": {**self.session, "attributes": attributes}}


@dataclass(slots=True)
class Place:
    """
    One account in one Region, and what goes on there.
    """

    account: str
    region: str
    repositories: Sequence[Repository]
    callers: Sequence[Caller]
    key_arn: str
    pull_requests: list[PullRequest] = field(default_factory=list)
    pull_requests_opened: int = 0
    sandbox: Repository | None = None
    owed: list[Record] = field(default_factory=list)
    """Copies of visits elsewhere that this account has not been told of yet."""

    def copies_due(self, delivered: datetime, *, at_most: int) -> list[Record]:
        """
        Takes the copies that a file delivered now may hold; too old ones are forgotten.
        """
        oldest, youngest = _ago(delivered, OLDEST_SECONDS), _ago(delivered, YOUNGEST_SECONDS)
        fitting = [each for each in self.owed if oldest <= str(each["eventTime"]) <= youngest]
        self.owed = fitting[at_most:]
        return fitting[:at_most]


SYSTEMS = (
    *("payments", "orders", "billing", "search", "catalog", "identity", "checkout", "inventory"),
    *("shipping", "pricing", "reports", "ledger", "mobile", "gateway", "fraud", "loyalty"),
    *("media", "messaging", "onboarding", "analytics", "support", "warehouse", "website", "tax"),
)
PARTS = ("api", "worker", "frontend", "infra", "jobs", "sdk", "schemas", "docs", "helm", "importer")
JOINTS = "---_."
PEOPLE = ("mary.major", "arnav.desai", "li.juan", "martha.rivera")


def _found(
    chance: Random, accounts: Sequence[str], regions: Sequence[str], repositories: int
) -> list[Place]:
    """
    Founds the organisation; its places draw from one list of names, so that names recur.
    """
    plain = len(SYSTEMS) * len(PARTS)
    numbers = chance.sample(range(max(2 * repositories, plain)), 2 * repositories)
    names = [_repository_name(number) for number in numbers]
    places = []
    for account in accounts:
        callers = _callers(chance, account)
        for region in regions:
            own = [
                Repository.of(chance, account, region, name)
                for name in chance.sample(names, repositories)
            ]
            key_arn = f"arn:aws:kms:{region}:{KEY_ACCOUNT}:key/{_uuid(chance)}"
            places.append(Place(account, region, own, callers, key_arn))
    return places


def _repository_name(number: int) -> str:
    """
    One name per number: first the plain ones, then the same again with the round they are of.
    """
    rounds, rest = divmod(number, len(SYSTEMS) * len(PARTS))
    part, system = divmod(rest, len(SYSTEMS))
    name = f"{SYSTEMS[system]}{JOINTS[rest % len(JOINTS)]}{PARTS[part]}"
    return f"{name}-{rounds + 1}" if rounds else name


def _callers(chance: Random, account: str) -> list[Caller]:
    """
    Who works in an account, the busiest first.
    """
    by_key, in_console = ("IAMUser", "long_term"), ("IAMUser", "temporary")
    users = [_user(chance, account, name) for name in PEOPLE]
    del users[1]["accessKeyId"]  # absent where a user comes with Git credentials or an SSH key
    users[3]["accessKeyId"] = _session_key(chance)
    no_issuer: Record = {"sessionIssuer": {}, "webIdFederationData": {}}
    return [
        _role(chance, account, "codebuild-service-role", "AWSCodeBuild-3f7e1c52"),
        Caller(users[0], _address(chance), by_key),
        _role(chance, account, "AWSReservedSSO_Developer_8a1b", "jorge.souza@example.com"),
        Caller(users[1], _address(chance), by_key),
        Caller(users[2], _address(chance), by_key, session=no_issuer),
        Caller(users[3], _address(chance), in_console, session={}, console=True),
        _identity_center_user(chance, account),
        Caller(_root(account), _address(chance), ("Root", "root")),
        _service("codestar-notifications.amazonaws.com"),
        _another_account(chance),
        _internal(account),
    ]


def _user(chance: Random, account: str, name: str) -> Record:
    return {
        "type": "IAMUser",
        "principalId": f"AIDA{_capitals(chance, 17)}",
        "arn": f"arn:aws:iam::{account}:user/{name}",
        "accountId": account,
        "accessKeyId": f"AKIA{_capitals(chance, 9)}EXAMPLE",
        "userName": name,
    }


def _session_key(chance: Random) -> str:
    """
    The id of a key that ends with its session (IAM User Guide, unique ID prefixes).
    """
    return f"ASIA{_capitals(chance, 9)}EXAMPLE"


def _role(chance: Random, account: str, role: str, session: str) -> Caller:
    principal = f"AROA{_capitals(chance, 17)}"
    identity: Record = {
        "type": "AssumedRole",
        "principalId": f"{principal}:{session}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
        "accountId": account,
        "accessKeyId": _session_key(chance),
    }
    issuer = {
        "type": "Role",
        "principalId": principal,
        "arn": f"arn:aws:iam::{account}:role/{role}",
        "accountId": account,
        "userName": role,
    }
    session_context: Record = {"sessionIssuer": issuer, "webIdFederationData": {}}
    return Caller(identity, _address(chance), ("AssumedRole", "temporary"), session_context)


def _identity_center_user(chance: Random, account: str) -> Caller:
    store = f"arn:aws:identitystore::{account}:identitystore/d-{_digits(chance, 10)}"
    identity: Record = {
        "type": "IdentityCenterUser",
        "accountId": account,
        "onBehalfOf": {"userId": _uuid(chance), "identityStoreArn": store},
        "credentialId": _uuid(chance),
    }
    return Caller(identity, _address(chance), ("IdentityCenterUser", "temporary"))


def _root(account: str) -> Record:
    return {
        "type": "Root",
        "principalId": account,
        "arn": f"arn:aws:iam::{account}:root",
        "accountId": account,
        "accessKeyId": "",
    }


def _service(name: str) -> Caller:
    identity: Record = {"type": "AWSService", "invokedBy": name}
    return Caller(identity, name, ("AWSService", "aws_service"))


def _another_account(chance: Random) -> Caller:
    """
    Somebody of whom no more is told than an account (CloudTrail User Guide, userIdentity).
    """
    principal = f"AIDA{_capitals(chance, 17)}"
    identity: Record = {"type": "AWSAccount", "principalId": principal, "accountId": KEY_ACCOUNT}
    return Caller(identity, _address(chance), ("AWSAccount", "unknown"))


def _internal(account: str) -> Caller:
    """
    AWS itself, whose identity has no type.
    """
    identity: Record = {"accountId": account, "invokedBy": "AWS Internal"}
    return Caller(identity, "AWS Internal", ("(invalid)", "aws_service"))


# Calls and the records that tell of them


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request to an AWS service, as far as its record depends on what was asked.
    """

    action: str
    request: Record | None = None
    _: KW_ONLY
    service: str
    response: Record | None = None
    resources: list[Record] | None = None
    error: tuple[str, str] | None = None
    """``errorCode`` and ``errorMessage``."""
    details: Record | None = None
    """``additionalEventData``."""
    read_only: bool | None = None
    """If left out, as the action's name says."""
    caller: Caller | None = None
    """If left out, whoever is about."""
    on_behalf: str = ""
    """The AWS service that makes the call for its caller."""
    agent: str = ""
    request_id: str = ""
    host: str | None = None
    """The first part of the host's name; empty where no TLS is spoken."""
    category: str = "Management"
    kind: str = "AwsApiCall"


@dataclass(frozen=True, slots=True)
class CodeCommitCall(Call):
    """
    A request to CodeCommit, with a declaration of what it is about.

    ``repository`` is the one that it counts for: its record shows it, or another one of its
    file shows whose the id is that it has instead.
    """

    _: KW_ONLY
    service: str = "codecommit"
    repository: Repository | None = None
    protocol: str = ""
    moved: bool | None = None
    """Whether a Git request transferred data."""
    references: Sequence[Reference] = ()
    pull_request_event: str = ""
    """What happens to a pull request, if the call succeeds."""
    visitor: Place | None = None
    """Where the caller is from, if it is another account."""

    @property
    def shows_repository_id(self) -> bool:
        """
        Whether the record teaches the id of its repository, as those of Git do.
        """
        return bool(self.protocol) and not self.error


@dataclass(frozen=True, slots=True)
class KeyCall(Call):
    """
    A request to KMS that CodeCommit makes, for a repository known by its id alone.

    ``repository`` is the one that it counts for: another record of its file shows the id.
    """

    _: KW_ONLY
    service: str = "kms"
    repository: Repository | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """
    A reference that a push moves, as the record has it and as it is to be counted.
    """

    moved: Record
    ref_type: str
    change: str


MOVED_LABEL = {None: "", False: "false", True: "true"}


def _adds(call: Call, caller: Caller, place: Place) -> Iterator[Series]:
    """
    The series that a call raises by one: the only place that knows what is counted.
    """
    if isinstance(call, KeyCall):
        yield KMS_REQUESTS, (*_where(call, place), call.action, call.error[0] if call.error else "")
    elif isinstance(call, CodeCommitCall):
        where = _where(call, place)
        yield EVENTS, (*where, call.action, call.protocol, MOVED_LABEL[call.moved])
        yield CALLER_EVENTS, (*where, *caller.counted_as)
        if call.error:
            yield ERRORS, (*where, call.action, call.error[0])
            return
        if call.action == "GitPush" and call.moved:
            yield PUSHES, (*where, call.protocol)
        for reference in call.references:
            yield REFERENCE_UPDATES, (*where, reference.ref_type, reference.change)
        if call.pull_request_event:
            yield PULL_REQUEST_EVENTS, (*where, call.pull_request_event)


def _where(call: CodeCommitCall | KeyCall, place: Place) -> tuple[str, str, str]:
    return place.account, place.region, call.repository.name if call.repository else ""


VERSIONS = ("1.08", "1.09", "1.10", "1.11", "1.11")
READING = ("Get", "GitPull", "List", "BatchGet", "Describe")
AGENTS = (
    "aws-cli/2.17.20 md/awscrt#0.20.11 ua/2.0 os/linux#6.8.0 md/arch#x86_64 lang/python#3.11.9",
    "Boto3/1.34.144 md/Botocore#1.34.144 ua/2.0 os/linux#5.10.219 lang/python#3.12.3",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.2 (+https://www.terraform.io) aws-sdk-go-v2/1.30.1",
    "aws-sdk-java/2.26.20 Linux/5.10.218 OpenJDK_64-Bit_Server_VM/17.0.11+9-LTS io/sync",
    "[console.amazonaws.com, Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Firefox/127.0]",
)
CIPHERS = (
    ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """
    A place at the time of a delivery: what whoever invents a call draws on.
    """

    chance: Random
    place: Place
    delivered: datetime
    session_start: str
    shown_date: str
    """A date the way answers print it, which is for people only."""
    known_by_id: Sequence[Repository] = ()
    """Whose ids the file shows already."""

    @classmethod
    def at(cls, chance: Random, place: Place, delivered: datetime) -> Scene:
        """
        The scene of a file that is delivered at this time.
        """
        moment = _utc(delivered)
        shown_date = moment.strftime("%b %d, %Y, %I:%M:%S %p")
        return cls(chance, place, moment, _ago(moment, 47 * 60), shown_date)

    def beside(self, calls: Sequence[CodeCommitCall]) -> Scene:
        """
        The scene of further calls in the file of these.
        """
        shown = [call.repository for call in calls if call.repository and call.shows_repository_id]
        return replace(self, known_by_id=shown)

    def caller(self) -> Caller:
        """
        Someone of this account.
        """
        return _often_first(self.chance, self.place.callers)

    def repository(self) -> Repository:
        """
        One of the repositories that are always there.
        """
        return _often_first(self.chance, self.place.repositories)

    def commit(self) -> str:
        """
        A commit id, which serves for a blob or a tree as well.
        """
        return _digits(self.chance, 40)

    def branch(self) -> str:
        """
        The name of a branch that somebody works on.
        """
        if self.chance.random() < 0.4:
            return "main"
        return f"feature/{self.system()}-{self.chance.randrange(10_000)}"

    def system(self) -> str:
        """
        The name of something that the organisation runs.
        """
        return self.chance.choice(SYSTEMS)

    def told(self, calls: Sequence[Call]) -> tuple[list[Record], Counter[Series]]:
        """
        The records of calls that were made in this order, and what they add.
        """
        ages = [self.chance.uniform(YOUNGEST_SECONDS, OLDEST_SECONDS) for _ in calls]
        records: list[Record] = []
        truth: Counter[Series] = Counter()
        for call, age in zip(calls, sorted(ages, reverse=True), strict=True):
            caller = call.caller or self.caller()
            records.append(self._record(call, caller, _ago(self.delivered, age)))
            truth.update(_adds(call, caller, self.place))
        return records, truth

    def _record(self, call: Call, caller: Caller, event_time: str) -> Record:
        """
        One record, its fields in the order that real ones have.
        """
        reading = call.action.startswith(READING) if call.read_only is None else call.read_only
        record: Record = {
            "eventVersion": self.chance.choice(VERSIONS),
            "userIdentity": _identity(call, caller, self.session_start),
            "eventTime": event_time,
            "eventSource": f"{call.service}.amazonaws.com",
            "eventName": call.action,
            "awsRegion": self.place.region,
            "sourceIPAddress": call.on_behalf or caller.address,
            "userAgent": call.agent or call.on_behalf or self.chance.choice(AGENTS),
        }
        if call.error:
            record["errorCode"], record["errorMessage"] = call.error
        record["requestParameters"] = call.request
        record["responseElements"] = call.response
        if call.details:
            record["additionalEventData"] = call.details
        record["requestID"] = call.request_id or _uuid(self.chance)
        record["eventID"] = _uuid(self.chance)
        record["readOnly"] = reading
        if call.resources:
            record["resources"] = call.resources
        record["eventType"] = call.kind
        record["managementEvent"] = call.category == "Management"
        record["recipientAccountId"] = self.place.account
        record["eventCategory"] = call.category
        if not call.on_behalf and call.host != "":
            record["tlsDetails"] = self._tls(call.host or call.service)
        if caller.console and not call.details:
            record["sessionCredentialFromConsole"] = "true"
        return record

    def _tls(self, host: str) -> Record:
        version, cipher = self.chance.choice(CIPHERS)
        name = f"{host}.{self.place.region}.amazonaws.com"
        return {"tlsVersion": version, "cipherSuite": cipher, "clientProvidedHostHeader": name}


def _identity(call: Call, caller: Caller, session_start: str) -> Record:
    identity = caller.identity_since(session_start)
    return {**identity, "invokedBy": call.on_behalf} if call.on_behalf else identity


def _resources(scene: Scene, repository: Repository) -> list[Record]:
    """
    The ``resources`` of a record: members may lack parts, and the repository's key may be first.
    """
    account, kind = {"accountId": scene.place.account}, {"type": "AWS::CodeCommit::Repository"}
    arn = {"ARN": repository.arn}
    key = {"ARN": scene.place.key_arn, "accountId": KEY_ACCOUNT, "type": "AWS::KMS::Key"}
    forms: tuple[list[Record], ...] = (
        [{**account, **kind, **arn}],
        [{**arn, **account}],
        [{**arn, **kind}],
        [{**key}, {**arn, **account, **kind}],
    )
    return scene.chance.choices(forms, cum_weights=(85, 90, 95, 100))[0]


def _often_resources(scene: Scene, repository: Repository) -> list[Record] | None:
    """
    The same for a call whose request names the repository, and for which they can be absent.
    """
    return _resources(scene, repository) if scene.chance.random() < 0.7 else None


# CodeCommit over Git

GIT_AGENTS = {
    "HTTP": ("git/2.39.3 (Apple Git-146)", "git/2.43.0", "git/2.45.2.windows.1"),
    "SSH": ("SSH-2.0-OpenSSH_8.7", "SSH-2.0-OpenSSH_9.6", "SSH-2.0-JGit_6.10"),
}
CAPABILITIES = {
    "GitPull": ("multi_ack_detailed", "side-band-64k", "thin-pack"),
    "GitPush": ("report-status", "side-band-64k"),
}


@dataclass(frozen=True, slots=True)
class GitSession:
    """
    One run of Git against one repository. Over HTTP it asks first, then transfers.
    """

    repository: Repository
    protocol: str
    caller: Caller
    agent: str
    request_id: str
    resources: list[Record]

    @classmethod
    def over(cls, scene: Scene, protocol: str) -> GitSession:
        """
        A run over ``HTTP`` (CloudTrail's word for HTTPS) or ``SSH``.
        """
        repository = scene.repository()
        return cls(
            repository,
            protocol,
            scene.caller(),
            scene.chance.choice(GIT_AGENTS[protocol]),
            _uuid(scene.chance),
            _resources(scene, repository),
        )

    def asks(self, action: str) -> CodeCommitCall:
        """
        The request that asks what there is; the only one when there is nothing to transfer.
        """
        return self._call(action, moved=False)

    def pulls(self) -> CodeCommitCall:
        """
        The request that brings the commits.
        """
        return self._call("GitPull", moved=True)

    def pushes(
        self, references: Sequence[Reference], *, error: tuple[str, str] | None = None
    ) -> CodeCommitCall:
        """
        The request that carries the commits; without references, CloudTrail left them out.
        """
        return self._call("GitPush", moved=True, references=references, error=error)

    def _call(
        self,
        action: str,
        *,
        moved: bool,
        references: Sequence[Reference] = (),
        error: tuple[str, str] | None = None,
    ) -> CodeCommitCall:
        details: Record = {
            "protocol": self.protocol,
            "dataTransferred": moved,
            "repositoryName": self.repository.name,
            "repositoryId": self.repository.id,
        }
        if moved:
            details["capabilities"] = CAPABILITIES[action]
        if moved and action == "GitPull":
            details["shallow"] = False
        return CodeCommitCall(
            action,
            {"references": [each.moved for each in references]} if references else None,
            resources=self.resources,
            error=error,
            details=details,
            read_only=action == "GitPull" or not moved,
            caller=self.caller,
            agent=self.agent,
            request_id=self.request_id,
            host="git-codecommit" if self.protocol == "HTTP" else "",
            repository=self.repository,
            protocol=self.protocol,
            moved=moved,
            references=references,
        )


def _pull_over_http(scene: Scene) -> list[CodeCommitCall]:
    git = GitSession.over(scene, "HTTP")
    return [git.asks("GitPull"), git.pulls()]


def _push_over_http(scene: Scene) -> list[CodeCommitCall]:
    git = GitSession.over(scene, "HTTP")
    return [git.asks("GitPush"), git.pushes(_references(scene))]


def _push_without_key(scene: Scene) -> list[CodeCommitCall]:
    """
    A push that moved data and failed all the same: its caller may not use the key.
    """
    git = GitSession.over(scene, "HTTP")
    error = ("EncryptionKeyAccessDeniedException", "The encryption key is not accessible.")
    return [git.asks("GitPush"), git.pushes((), error=error)]


def _pull_of_nothing(scene: Scene) -> CodeCommitCall:
    return GitSession.over(scene, "HTTP").asks("GitPull")


def _push_of_nothing(scene: Scene) -> CodeCommitCall:
    return GitSession.over(scene, "HTTP").asks("GitPush")


def _pull_over_ssh(scene: Scene) -> CodeCommitCall:
    git = GitSession.over(scene, "SSH")
    return git.pulls() if scene.chance.random() < 0.4 else git.asks("GitPull")


def _push_over_ssh(scene: Scene) -> CodeCommitCall:
    return GitSession.over(scene, "SSH").pushes(_references(scene))


def _push_of_thousands(scene: Scene) -> CodeCommitCall:
    """
    Past 100 KB the content of ``requestParameters`` is left out (record contents).
    """
    return GitSession.over(scene, "SSH").pushes(())


def _references(scene: Scene) -> list[Reference]:
    """
    What one push moves: a branch, as a rule; a release or a mirror moves several.
    """
    count = 1 if scene.chance.random() < 0.85 else scene.chance.randint(2, 12)
    first = scene.chance.randrange(10_000)
    return [_reference(scene, number) for number in range(first, first + count)]


def _reference(scene: Scene, number: int) -> Reference:
    forms = (
        ("branch", f"refs/heads/fix/{number}"),
        ("tag", f"refs/tags/v{number // 100}.{number % 100}.0"),
        ("other", f"refs/notes/review-{number}"),
    )
    ref_type, name = scene.chance.choices(forms, cum_weights=(80, 95, 100))[0]
    if scene.chance.random() < 0.08:
        return Reference({"commit": NO_COMMIT, "ref": name}, ref_type, "delete")
    return Reference({"commit": scene.commit(), "ref": name}, ref_type, "update")


# CodeCommit's API

READS: dict[str, Callable[[Scene], Record]] = {
    "GetRepository": lambda _: {},
    "ListBranches": lambda _: {},
    "GetBranch": lambda scene: {"branchName": scene.branch()},
    "GetCommit": lambda scene: {"commitId": scene.commit()},
    "GetFile": lambda scene: {"commitSpecifier": scene.branch(), "filePath": "docs/README.md"},
    "GetFolder": lambda scene: {"commitSpecifier": scene.commit(), "folderPath": "/"},
    "GetDifferences": lambda scene: {
        "beforeCommitSpecifier": scene.commit(),
        "afterCommitSpecifier": scene.commit(),
    },
    "ListPullRequests": lambda _: {"pullRequestStatus": "OPEN", "maxResults": 50},
}

WRITES: dict[str, Callable[[Scene], Record]] = {
    "PutFile": lambda scene: {
        "branchName": scene.branch(),
        "filePath": "deploy/values.yaml",
        "parentCommitId": scene.commit(),
        # Text that trips up whoever looks for the end of a record by its braces.
        "commitMessage": 'Grüße: quote "{name}", not }] or \\" {',
    },
    "CreateBranch": lambda scene: {"branchName": scene.branch(), "commitId": scene.commit()},
    "DeleteBranch": lambda scene: {"branchName": scene.branch()},
    "MergeBranchesByFastForward": lambda scene: {
        "sourceCommitSpecifier": scene.branch(),
        "destinationCommitSpecifier": "main",
    },
    "UpdateDefaultBranch": lambda _: {"defaultBranchName": "main"},
    "PutRepositoryTriggers": lambda scene: {
        "triggers": [
            {
                "name": "build",
                "destinationArn": f"arn:aws:sns:{scene.place.region}:{scene.place.account}:builds",
                "branches": [],
                "events": ["all"],
            }
        ]
    },
    "AssociateApprovalRuleTemplateWithRepository": lambda _: {
        "approvalRuleTemplateName": "two-approvals"
    },
    "UpdateRepositoryEncryptionKey": lambda scene: {
        "kmsKeyId": f"arn:aws:kms:{scene.place.region}:{scene.place.account}:alias/repositories"
    },
}

ACCOUNT_LEVEL: tuple[tuple[str, Record | None], ...] = (
    ("ListRepositories", None),
    ("ListRepositories", {"sortBy": "lastModifiedDate", "order": "descending"}),
    ("GetApprovalRuleTemplate", {"approvalRuleTemplateName": "two-approvals"}),
)


def _read(scene: Scene) -> CodeCommitCall:
    return _read_of(scene, scene.repository(), scene.chance.choice(tuple(READS)))


def _read_of(scene: Scene, repository: Repository, action: str) -> CodeCommitCall:
    request = {"repositoryName": repository.name, **READS[action](scene)}
    resources = _often_resources(scene, repository)
    return CodeCommitCall(action, request, resources=resources, repository=repository)


def _write(scene: Scene) -> CodeCommitCall:
    repository = scene.repository()
    action = scene.chance.choice(tuple(WRITES))
    request = {"repositoryName": repository.name, **WRITES[action](scene)}
    resources = _often_resources(scene, repository)
    return CodeCommitCall(action, request, resources=resources, repository=repository)


def _large_commit(scene: Scene) -> CodeCommitCall:
    """
    Files too large for a record: only ``resources`` says where they went.
    """
    repository = scene.repository()
    resources = _resources(scene, repository)
    return CodeCommitCall("CreateCommit", resources=resources, repository=repository)


def _tree(scene: Scene) -> CodeCommitCall:
    """
    An action that only IAM's list of permissions knows, with a repository as its resource.
    """
    repository = scene.repository()
    resources = _resources(scene, repository)
    request: Record = {"treeId": scene.commit()}
    return CodeCommitCall("GetTree", request, resources=resources, repository=repository)


def _visit(scene: Scene, neighbours: Sequence[Place]) -> CodeCommitCall:
    """
    Somebody of another account asks; ``resources`` says whose the repository is.
    """
    visitor = scene.chance.choice(neighbours)
    repository = scene.repository()
    return CodeCommitCall(
        "GetRepository",
        {"repositoryName": repository.name},
        resources=_resources(scene, repository),
        caller=_often_first(scene.chance, visitor.callers),
        repository=repository,
        visitor=visitor,
    )


def _overview(scene: Scene) -> CodeCommitCall:
    """
    Several repositories at once are none in particular; the same one twice is one.
    """
    asked = [scene.repository() for _ in range(scene.chance.randint(1, 5))]
    request: Record = {"repositoryNames": [repository.name for repository in asked]}
    only = asked[0] if asked.count(asked[0]) == len(asked) else None
    return CodeCommitCall("BatchGetRepositories", request, repository=only)


def _account_level(scene: Scene) -> CodeCommitCall:
    return CodeCommitCall(*scene.chance.choice(ACCOUNT_LEVEL))


def _tags(scene: Scene) -> CodeCommitCall:
    repository = scene.repository()
    request: Record = {"resourceArn": repository.arn}
    if scene.chance.random() < 0.7:
        return CodeCommitCall("ListTagsForResource", request, repository=repository)
    request["tags"] = {"team": "core"}
    return CodeCommitCall("TagResource", request, repository=repository)


ARCHIVED = "-archived"


def _sandbox(scene: Scene) -> CodeCommitCall:
    """
    The next step in the life of a repository that is created, renamed, deleted, and so on.
    """
    place, sandbox = scene.place, scene.place.sandbox
    if sandbox is None:
        name = f"sandbox-{scene.chance.randint(1, 3)}"
        place.sandbox = Repository.of(scene.chance, place.account, place.region, name)
        return _created(scene, place.sandbox)
    if not sandbox.name.endswith(ARCHIVED):
        archived = Repository(sandbox.name + ARCHIVED, sandbox.id, sandbox.arn + ARCHIVED)
        place.sandbox = archived
        names: Record = {"oldName": sandbox.name, "newName": archived.name}
        return CodeCommitCall("UpdateRepositoryName", names, repository=sandbox)
    place.sandbox = None
    return CodeCommitCall(
        "DeleteRepository",
        {"repositoryName": sandbox.name},
        response={"repositoryId": sandbox.id},
        resources=_resources(scene, sandbox),
        repository=sandbox,
    )


def _created(scene: Scene, repository: Repository) -> CodeCommitCall:
    named: Record = {"repositoryName": repository.name, "repositoryDescription": "To try out."}
    metadata = {
        **named,
        "accountId": scene.place.account,
        "repositoryId": repository.id,
        "creationDate": scene.shown_date,
        "lastModifiedDate": scene.shown_date,
        "arn": repository.arn,
        "kmsKeyId": scene.place.key_arn,
    }
    return CodeCommitCall(
        "CreateRepository",
        named,
        response={"repositoryMetadata": metadata},
        resources=_resources(scene, repository),
        repository=repository,
    )


# Pull requests

FEWEST_OPEN, MOST_OPEN = 2, 8
MERGES = ("MergePullRequestByFastForward", "MergePullRequestBySquash", "MergePullRequestByThreeWay")
LOOKS = ("GetPullRequest", "DescribePullRequestEvents", "GetPullRequestApprovalStates")


def _pull_request(scene: Scene) -> CodeCommitCall:
    """
    The next step in the life of some pull request of the place, told with its repository.
    """
    waiting = scene.place.pull_requests
    crowd = len(waiting)
    if crowd < FEWEST_OPEN or (crowd < MOST_OPEN and scene.chance.random() < 0.2):
        return _opened(scene)
    return PULL_REQUEST_STEPS.pick(scene.chance)(scene, scene.chance.choice(waiting))


def _reviewed(scene: Scene) -> list[CodeCommitCall]:
    """
    A step told by the pull request's id alone, and one that shows whose it is: see rule 2.

    Either may be the first, unless the other one ends the pull request.
    """
    waiting, review = scene.place.pull_requests, REVIEW_STEPS.pick(scene.chance)
    if not waiting:
        return [_opened(scene), review(scene, waiting[0])]
    pull_request = scene.chance.choice(waiting)
    step = PULL_REQUEST_STEPS.pick(scene.chance)
    calls = [review(scene, pull_request), step(scene, pull_request)]
    if pull_request in waiting:
        scene.chance.shuffle(calls)
    return calls


def _opened(scene: Scene) -> CodeCommitCall:
    place, repository = scene.place, scene.repository()
    place.pull_requests_opened += 1
    number, revision = str(place.pull_requests_opened), _uuid(scene.chance)
    opened = PullRequest(number, repository, revision, scene.shown_date)
    place.pull_requests.append(opened)
    target = {"repositoryName": repository.name, "sourceReference": scene.branch()}
    return CodeCommitCall(
        "CreatePullRequest",
        {"title": opened.title, "targets": [target]},
        response=_answer(scene, opened),
        resources=_often_resources(scene, repository),
        repository=repository,
        pull_request_event="created",
    )


def _answer(
    scene: Scene, pull_request: PullRequest, *, status: str = "OPEN", merged: bool = False
) -> Record:
    """
    The answer of calls that return the pull request as a whole.
    """
    target = {
        "repositoryName": pull_request.repository.name,
        "sourceReference": f"refs/heads/fix/{pull_request.id}",
        "destinationReference": "refs/heads/main",
        "mergeMetadata": {"isMerged": merged},
    }
    return {
        "pullRequest": {
            "pullRequestId": pull_request.id,
            "title": pull_request.title,
            "pullRequestStatus": status,
            "creationDate": pull_request.opened,
            "lastActivityDate": scene.shown_date,
            "pullRequestTargets": [target],
            "revisionId": pull_request.revision,
            "approvalRules": [],
        }
    }


def _merged(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    scene.place.pull_requests.remove(pull_request)
    repository = pull_request.repository
    return CodeCommitCall(
        scene.chance.choice(MERGES),
        {"pullRequestId": pull_request.id, "repositoryName": repository.name},
        response=_answer(scene, pull_request, status="CLOSED", merged=True),
        resources=_often_resources(scene, repository),
        repository=repository,
        pull_request_event="merged",
    )


def _closed(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    scene.place.pull_requests.remove(pull_request)
    return _with_status(scene, pull_request, "CLOSED", "closed")


def _left_open(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    """
    Somebody asks for what it is already.

    The API sets this status in no other way (API reference, UpdatePullRequestStatus).
    """
    return _with_status(scene, pull_request, "OPEN", "reopened")


def _with_status(
    scene: Scene, pull_request: PullRequest, status: str, event: str
) -> CodeCommitCall:
    return CodeCommitCall(
        "UpdatePullRequestStatus",
        {"pullRequestId": pull_request.id, "pullRequestStatus": status},
        response=_answer(scene, pull_request, status=status),
        repository=pull_request.repository,
        pull_request_event=event,
    )


def _retitled(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    return CodeCommitCall(
        "UpdatePullRequestTitle",
        {"pullRequestId": pull_request.id, "title": pull_request.title},
        response=_answer(scene, pull_request),
        repository=pull_request.repository,
    )


def _approved(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    forms = (("APPROVE", "approved"), ("REVOKE", "approval_revoked"))
    state, event = scene.chance.choices(forms, cum_weights=(85, 100))[0]
    more: Record = {"revisionId": pull_request.revision, "approvalState": state}
    return _by_id(pull_request, "UpdatePullRequestApprovalState", more, event=event)


def _approved_own(_: Scene, pull_request: PullRequest) -> CodeCommitCall:
    """
    Its author may not approve it.
    """
    more: Record = {"revisionId": pull_request.revision, "approvalState": "APPROVE"}
    error = ("PullRequestCannotBeApprovedByAuthorException", "The author cannot approve it.")
    call = _by_id(pull_request, "UpdatePullRequestApprovalState", more, event="approved")
    return replace(call, error=error)


def _overridden(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    """
    Somebody sets the approval rules aside, or (which is no event) no longer does.
    """
    forms = (("OVERRIDE", "overridden"), ("REVOKE", ""))
    status, event = scene.chance.choices(forms, cum_weights=(80, 100))[0]
    more: Record = {"revisionId": pull_request.revision, "overrideStatus": status}
    return _by_id(pull_request, "OverridePullRequestApprovalRules", more, event=event)


def _looked_at(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    return _by_id(pull_request, scene.chance.choice(LOOKS), {})


def _by_id(
    pull_request: PullRequest, action: str, more: Record, *, event: str = ""
) -> CodeCommitCall:
    """
    A call whose record says no more of the pull request than its id.
    """
    return CodeCommitCall(
        action,
        {"pullRequestId": pull_request.id, **more},
        repository=pull_request.repository,
        pull_request_event=event,
    )


# Comments

REACTIONS: tuple[tuple[str, Record], ...] = (
    ("PutCommentReaction", {"reactionValue": ":thumbsup:"}),
    ("GetComment", {}),
    ("GetCommentReactions", {}),
)


@dataclass(frozen=True, slots=True)
class Comment:
    """
    A comment. Of what follows on it, records tell no more than its id.

    ``repository`` is None where no file tells of its posting.
    """

    id: str
    repository: Repository | None
    on_pull_request: bool

    @classmethod
    def new(
        cls, chance: Random, repository: Repository | None, *, on_pull_request: bool = False
    ) -> Comment:
        """
        A new comment. Its id looks like two of the usual ones.
        """
        return cls(f"{_uuid(chance)}:{_uuid(chance)}", repository, on_pull_request)

    def reply(self, chance: Random) -> Comment:
        """
        A new comment that answers this one.
        """
        return self.new(chance, self.repository, on_pull_request=self.on_pull_request)


def _discussed(scene: Scene) -> list[CodeCommitCall]:
    """
    A pull request is commented, and others join in: see rule 2.
    """
    waiting = scene.place.pull_requests
    if not waiting:
        return [_opened(scene)]
    pull_request = scene.chance.choice(waiting)
    comment = Comment.new(scene.chance, pull_request.repository, on_pull_request=True)
    return [_posted(scene, pull_request, comment), *_conversation(scene.chance, comment)]


def _discussed_commit(scene: Scene) -> list[CodeCommitCall]:
    """
    A commit is commented, not a pull request, and others join in.
    """
    repository = scene.repository()
    comment = Comment.new(scene.chance, repository)
    named: Record = {"repositoryName": repository.name, "afterCommitId": scene.commit()}
    posted = CodeCommitCall(
        "PostCommentForComparedCommit",
        {**named, "content": "Why is this here?"},
        response={**named, "comment": {"commentId": comment.id, "deleted": False}},
        resources=_often_resources(scene, repository),
        repository=repository,
    )
    return [posted, *_conversation(scene.chance, comment)]


def _went_on(scene: Scene) -> list[CodeCommitCall]:
    """
    A conversation that began before there was a trail: nothing will ever tell where.
    """
    return _conversation(scene.chance, Comment.new(scene.chance, None))


def _conversation(chance: Random, comment: Comment) -> list[CodeCommitCall]:
    """
    A reply, and what comes of it: known by the comment before, and that by the first one.
    """
    reply = comment.reply(chance)
    if chance.random() < 0.5:
        return [_replied(comment, reply), _replied(reply, reply.reply(chance))]
    return [_replied(comment, reply), _reacted(chance, reply)]


def _replied(comment: Comment, reply: Comment) -> CodeCommitCall:
    return CodeCommitCall(
        "PostCommentReply",
        {"inReplyTo": comment.id, "content": "It is."},
        response={"comment": {"commentId": reply.id, "inReplyTo": comment.id}},
        repository=comment.repository,
        pull_request_event="commented" if comment.on_pull_request else "",
    )


def _reacted(chance: Random, comment: Comment) -> CodeCommitCall:
    action, more = chance.choice(REACTIONS)
    request = {"commentId": comment.id, **more}
    return CodeCommitCall(action, request, repository=comment.repository)


def _commented(scene: Scene, pull_request: PullRequest) -> CodeCommitCall:
    comment = Comment.new(scene.chance, pull_request.repository, on_pull_request=True)
    return _posted(scene, pull_request, comment)


def _posted(scene: Scene, pull_request: PullRequest, comment: Comment) -> CodeCommitCall:
    repository = pull_request.repository
    named: Record = {"pullRequestId": pull_request.id, "repositoryName": repository.name}
    return CodeCommitCall(
        "PostCommentForPullRequest",
        {**named, "content": "Is this still needed?"},
        response={**named, "comment": {"commentId": comment.id, "deleted": False}},
        resources=_often_resources(scene, repository),
        repository=repository,
        pull_request_event="commented",
    )


# Calls to CodeCommit that fail

DENIED = ("GitPull", "GitPush", "GetRepository", "GetBranch", "PutFile", "DeleteBranch")
BAD_NAMES = ("../../etc/passwd", "my first repository", "x" * 300)
NO_PULL_REQUEST = "999999999"


def _denied(scene: Scene) -> CodeCommitCall:
    """
    No permission. As in real denials there is no request, and no resources.
    """
    action = scene.chance.choice(DENIED)
    error = _denial(caller := scene.caller(), f"codecommit:{action}", scene.repository().arn)
    return CodeCommitCall(action, error=error, caller=caller)


def _denial(caller: Caller, action: str, resource: str) -> tuple[str, str]:
    who = caller.identity.get("arn", "anonymous")
    reason = f"User: {who} is not authorized to perform: {action} on resource: {resource}"
    return "AccessDenied", f"{reason} because no identity-based policy allows the action"


def _mistyped(scene: Scene) -> CodeCommitCall:
    """
    The name of a repository that exists nowhere: a stranger's typing is not a label.
    """
    name = _typo(scene)
    error = ("RepositoryDoesNotExistException", f"{name} does not exist")
    return CodeCommitCall("GetRepository", {"repositoryName": name}, error=error)


def _misnamed(scene: Scene) -> CodeCommitCall:
    request: Record = {"repositoryName": scene.chance.choice(BAD_NAMES)}
    error = ("InvalidRepositoryNameException", "The specified repository name is not valid.")
    return CodeCommitCall("CreateRepository", request, error=error)


def _deleted_nothing(scene: Scene) -> CodeCommitCall:
    """
    Deleting what is not there succeeds, without the id of a repository in the answer.
    """
    return CodeCommitCall("DeleteRepository", {"repositoryName": _typo(scene)})


def _typo(scene: Scene) -> str:
    """
    A name with a letter of its first word doubled, which no repository has.
    """
    name, at = scene.repository().name, scene.chance.choice((1, 2))
    return f"{name[:at]}{name[at]}{name[at:]}"


def _missing_pull_request(_: Scene) -> CodeCommitCall:
    error = ("PullRequestDoesNotExistException", f"{NO_PULL_REQUEST} does not exist")
    return CodeCommitCall("GetPullRequest", {"pullRequestId": NO_PULL_REQUEST}, error=error)


def _missing_branch(scene: Scene) -> list[CodeCommitCall]:
    """
    A branch that is not there, and the question which ones are: see rule 2.
    """
    repository, branch = scene.repository(), scene.branch()
    request: Record = {"repositoryName": repository.name, "branchName": branch}
    error = ("BranchDoesNotExistException", f"{branch} does not exist")
    return [
        CodeCommitCall("GetBranch", request, error=error, repository=repository),
        _read_of(scene, repository, "ListBranches"),
    ]


def _lost_race(scene: Scene) -> CodeCommitCall:
    """
    Two wrote to one branch. The call failed, but an ARN shows that the repository exists.
    """
    repository = scene.repository()
    return CodeCommitCall(
        "PutFile",
        {"repositoryName": repository.name, "branchName": "main"},
        resources=_resources(scene, repository),
        error=("ConcurrentReferenceUpdateException", "main was updated meanwhile"),
        repository=repository,
    )


# Everybody else


def _instances(scene: Scene) -> Call:
    instance = {"instanceId": f"i-0{_digits(scene.chance, 16)}"}
    states = {"items": [{"value": "running"}, {"value": "pending"}]}
    filters = [{"name": "instance-state-name", "valueSet": states}]
    request: Record = {"instancesSet": {"items": [instance]}, "filterSet": {"items": filters}}
    if scene.chance.random() < 0.1:
        error = (
            "Client.UnauthorizedOperation",
            "You are not authorized to perform this operation.",
        )
        return Call("DescribeInstances", request, service="ec2", error=error)
    return Call("DescribeInstances", request, service="ec2")


def _role_assumed(scene: Scene) -> Call:
    """
    A service takes on its role.
    """
    role = f"arn:aws:iam::{scene.place.account}:role/ecs-{scene.system()}"
    token = {"expiration": scene.shown_date, "sessionToken": _digits(scene.chance, 120)}
    return Call(
        "AssumeRole",
        {"roleArn": role, "roleSessionName": _uuid(scene.chance), "durationSeconds": 3600},
        service="sts",
        response={"credentials": {"accessKeyId": "ASIAIOSFODNN7EXAMPLE", **token}},
        resources=[{"ARN": role, "accountId": scene.place.account, "type": "AWS::IAM::Role"}],
        read_only=True,
        caller=_service("ecs-tasks.amazonaws.com"),
        on_behalf="ecs-tasks.amazonaws.com",
    )


def _role_denied(scene: Scene) -> Call:
    role = f"arn:aws:iam::{scene.place.account}:role/{scene.system()}"
    error = _denial(caller := scene.caller(), "iam:GetRole", role)
    return Call("GetRole", service="iam", error=error, caller=caller)


def _object(scene: Scene) -> Call:
    bucket = f"{scene.system()}-uploads-{scene.place.account}"
    key = f'inbox/{scene.commit()}/Übersicht "Q{scene.chance.randint(1, 4)}" }}],{{.csv'
    return Call(
        "GetObject",
        {"bucketName": bucket, "Host": f"{bucket}.s3.amazonaws.com", "key": key},
        service="s3",
        resources=[{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/{key}"}],
        details={
            "SignatureVersion": "SigV4",
            "CipherSuite": "TLS_AES_128_GCM_SHA256",
            "AuthenticationMethod": "AuthHeader",
            "x-amz-id-2": _digits(scene.chance, 76),
            "bytesTransferredOut": scene.chance.randrange(100_000),
        },
        category="Data",
    )


def _secret_decrypted(scene: Scene) -> Call:
    """
    A service uses a key for its caller, who stays the identity of the record.
    """
    where = f"{scene.place.region}:{scene.place.account}"
    secret = f"arn:aws:secretsmanager:{where}:secret:{scene.system()}/database"
    context: Record = {"SecretARN": secret, "SecretVersionId": _uuid(scene.chance)}
    return Call(
        "Decrypt",
        _key_use(context),
        service="kms",
        resources=[_key_resource(scene)],
        read_only=True,
        on_behalf="secretsmanager.amazonaws.com",
    )


def _key_use(context: Record) -> Record:
    return {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": context}


def _key_resource(scene: Scene) -> Record:
    return {"accountId": KEY_ACCOUNT, "type": "AWS::KMS::Key", "ARN": scene.place.key_arn}


def _key_rotated(scene: Scene) -> Call:
    """
    An event of AWS itself.
    """
    return Call(
        "RotateKey",
        service="kms",
        resources=[_key_resource(scene)],
        caller=_internal(scene.place.account),
        on_behalf="AWS Internal",
        kind="AwsServiceEvent",
    )


def _function(scene: Scene) -> Call:
    request: Record = {"functionName": f"{scene.system()}-{scene.chance.choice(PARTS)}"}
    return Call("GetFunction20150331v2", request, service="lambda")


def _table(scene: Scene) -> Call:
    table, account = scene.system(), scene.place.account
    arn = f"arn:aws:dynamodb:{scene.place.region}:{account}:table/{table}"
    resource: Record = {"accountId": account, "type": "AWS::DynamoDB::Table", "ARN": arn}
    return Call("DescribeTable", {"tableName": table}, service="dynamodb", resources=[resource])


def _log_stream(scene: Scene) -> Call:
    stream = f"2024/07/[$LATEST]{_digits(scene.chance, 32)}"
    request: Record = {"logGroupName": f"/aws/lambda/{scene.system()}", "logStreamName": stream}
    return Call("CreateLogStream", request, service="logs")


def _policy(scene: Scene) -> Call:
    return _policy_allowing(scene, ["s3:GetObject", "s3:PutObject"])


def _policy_allowing(scene: Scene, actions: list[str]) -> Call:
    """
    JSON inside a string of JSON: quotes with backslashes, and braces that are text.
    """
    statement = {"Sid": "Some", "Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    request: Record = {
        "policyName": f"{scene.system()}-access",
        "policyDocument": json.dumps(policy, indent=2),
        "description": 'Lets them read "all} of it]\\"',
    }
    return Call("CreatePolicy", request, service="iam")


# What CodeCommit asks of KMS, and everybody else who mentions it


def _codecommit_key_used(scene: Scene) -> Call:
    """
    CodeCommit encrypts or decrypts on behalf of its caller.
    """
    return replace(_key_used_for(scene), on_behalf=CODECOMMIT)


def _key_used_for(scene: Scene) -> KeyCall:
    """
    A use of a repository's key. The context holds the id of the repository.

    So the CodeCommit User Guide says (encryption); it does not say under which name,
    and nobody should rely on the one here. The id is one that the file shows, or that of
    a repository of which no file tells: see rule 2.
    """
    known = scene.known_by_id if scene.chance.random() < 0.9 else ()
    repository = scene.chance.choice(known) if known else None
    context: Record = {
        "aws:codecommit:id": repository.id if repository else _uuid(scene.chance),
        "aws:codecommit:env-alg": "AES/256",
    }
    return KeyCall(
        scene.chance.choice(("Decrypt", "Decrypt", "Encrypt", "GenerateDataKey")),
        _key_use(context),
        resources=[_key_resource(scene)],
        read_only=True,
        repository=repository,
    )


def _codecommit_key_used_unasked(scene: Scene) -> Call:
    """
    Only the address tells that it was CodeCommit.

    That of a service is its DNS name (CloudTrail User Guide, sourceIPAddress).
    """
    caller = Caller({"type": "AWSService"}, CODECOMMIT, ("AWSService", "aws_service"))
    return replace(_key_used_for(scene), caller=caller, host="")


def _codecommit_key_refused(scene: Scene) -> Call:
    """
    The key is disabled; or the caller may not use it, and then there is no request.
    """
    used = replace(_key_used_for(scene), on_behalf=CODECOMMIT)
    if scene.chance.random() < 0.5:
        return replace(used, error=("DisabledException", f"{scene.place.key_arn} is disabled."))
    error = _denial(caller := scene.caller(), f"kms:{used.action}", scene.place.key_arn)
    return KeyCall(used.action, error=error, caller=caller, on_behalf=CODECOMMIT)


def _key_used_by_hand(scene: Scene) -> Call:
    """
    Somebody tries to do what CodeCommit does: no request of CodeCommit's.
    """
    used = _key_used_for(scene)
    return Call(used.action, used.request, service="kms", resources=used.resources, read_only=True)


def _codecommit_policy(scene: Scene) -> Call:
    return _policy_allowing(scene, ["codecommit:GitPull", "codecommit:Get*"])


def _codecommit_rule(scene: Scene) -> Call:
    """
    A rule that waits for CodeCommit events quotes what one looks like.
    """
    pattern = {"source": ["aws.codecommit"], "eventSource": "codecommit.amazonaws.com"}
    request: Record = {"name": scene.system(), "eventPattern": json.dumps(pattern)}
    return Call("PutRule", request, service="events")


def _codecommit_role(scene: Scene) -> Call:
    role = f"arn:aws:iam::{scene.place.account}:role/codecommit-mirror"
    request: Record = {"roleArn": role, "roleSessionName": "git-remote-codecommit"}
    return Call("AssumeRole", request, service="sts", read_only=True)


def _other_calls(scene: Scene, count: int, *, beside_codecommit: bool) -> list[Call]:
    """
    Calls to other services.

    Most files of an account do without any mention of CodeCommit, therefore those that
    mention it come together in some files.
    """
    mention = scene.chance.random() < (0.8 if beside_codecommit else 0.25)
    share = 0.15 if mention else 0.0
    return [
        (MENTIONS if scene.chance.random() < share else OTHERS).pick(scene.chance)(scene)
        for _ in range(count)
    ]


# How often what happens

Choice = TypeVar("Choice")


class Mix(Generic[Choice]):
    """
    Things that happen, each with its weight.
    """

    def __init__(self, *choices: tuple[float, Choice]) -> None:
        self._weights = list(accumulate(weight for weight, _ in choices))
        self._choices = [choice for _, choice in choices]

    def pick(self, chance: Random) -> Choice:
        """
        One of them.
        """
        return chance.choices(self._choices, cum_weights=self._weights)[0]


SINGLES: Mix[Callable[[Scene], CodeCommitCall]] = Mix(
    (30, _pull_of_nothing),
    (10, _pull_over_ssh),
    (6, _push_over_ssh),
    (3, _push_of_nothing),
    (1, _push_of_thousands),
    (14, _read),
    (6, _write),
    (0.7, _large_commit),
    (1.5, _tree),
    (3, _overview),
    (5, _account_level),
    (2, _tags),
    (1, _sandbox),
    (14, _pull_request),
    (1.5, _mistyped),
    (0.4, _misnamed),
    (0.4, _deleted_nothing),
    (0.7, _missing_pull_request),
    (0.7, _lost_race),
)

TOGETHER: Mix[Callable[[Scene], list[CodeCommitCall]]] = Mix(
    (14, _pull_over_http),
    (10, _push_over_http),
    (0.5, _push_without_key),
    (1.5, _missing_branch),
    (12, _reviewed),
    (4, _discussed),
    (1, _discussed_commit),
    (0.5, _went_on),
)
"""Calls that belong into one file, be it only for rule 2."""

MOST_TOGETHER = 3

PULL_REQUEST_STEPS: Mix[Callable[[Scene, PullRequest], CodeCommitCall]] = Mix(
    (45, _commented),
    (10, _retitled),
    (12, _merged),
    (3, _closed),
    (1, _left_open),
)

REVIEW_STEPS: Mix[Callable[[Scene, PullRequest], CodeCommitCall]] = Mix(
    (30, _looked_at),
    (20, _approved),
    (1, _approved_own),
    (2, _overridden),
)

OTHERS: Mix[Callable[[Scene], Call]] = Mix(
    (20, _instances),
    (15, _role_assumed),
    (1, _role_denied),
    (14, _object),
    (15, _secret_decrypted),
    (0.5, _key_rotated),
    (8, _function),
    (9, _table),
    (12, _log_stream),
    (2, _policy),
)

MENTIONS: Mix[Callable[[Scene], Call]] = Mix(
    (55, _codecommit_key_used),
    (6, _codecommit_key_used_unasked),
    (6, _codecommit_key_refused),
    (3, _key_used_by_hand),
    (10, _codecommit_policy),
    (10, _codecommit_rule),
    (10, _codecommit_role),
)

Item = TypeVar("Item")


def _often_first(chance: Random, items: Sequence[Item]) -> Item:
    """
    One of the items, the earlier the likelier: a few do most of the work.
    """
    return items[int(len(items) * chance.random() ** 2)]


# Files

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _size(chance: Random) -> int:
    """
    How many records a file holds: real ones had 1 to 394, half of them up to 20.
    """
    return min(1 + int(chance.expovariate(1 / 28)), 400)


def _key(chance: Random, account: str, region: str, delivered: datetime) -> str:
    """
    The key of a log file (CloudTrail User Guide, log file name format).
    """
    day, minute = delivered.strftime("%Y/%m/%d"), delivered.strftime("%Y%m%dT%H%MZ")
    name = f"{account}_CloudTrail_{region}_{minute}_{_unique(chance)}.json.gz"
    return f"AWSLogs/{account}/CloudTrail/{region}/{day}/{name}"


def _body(chance: Random, records: list[Record]) -> bytes:
    """
    A file's bytes. CloudTrail keeps no order among records, so there is none.
    """
    chance.shuffle(records)
    text = json.dumps({"Records": records}, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the time of a delivery needs a time zone")
    return moment.astimezone(UTC)


def _ago(moment: datetime, seconds: float) -> str:
    """
    An earlier time as records write it; such texts are in the order of their times.
    """
    return f"{(moment - timedelta(seconds=seconds)).isoformat()[:19]}Z"


def _unique(chance: Random) -> str:
    return "".join(chance.choices(ALPHANUMERIC, k=16))


def _capitals(chance: Random, count: int) -> str:
    return "".join(chance.choices(CAPITALS, k=count))


def _digits(chance: Random, count: int) -> str:
    return f"{chance.getrandbits(4 * count):0{count}x}"


def _uuid(chance: Random) -> str:
    bits = _digits(chance, 32)
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"


def _address(chance: Random) -> str:
    network = chance.choice(("192.0.2", "198.51.100", "203.0.113"))
    return f"{network}.{chance.randint(1, 254)}"
