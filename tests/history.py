"""
A history of accounts that use CodeCommit, in records that hold everything that may happen.

Every action is called about as often as any other, since a rare one is as easily counted
wrong. Repositories are created, renamed (also back), deleted and created again under the
same name; pull requests and comments are known by nothing but their ids; requests fail,
with names that exist and with a stranger's; records come twice, under other ids, from other
services, without UUIDs, late, and with a field that holds what no field should.

The same seed gives the same records. Nothing here says what they count to.
"""

from __future__ import annotations

import copy
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from tests.actions import ACTIONS, Subject, refused, succeeded
from tests.records import Record, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

BEGIN = datetime(2026, 8, 25, 12, 0, tzinfo=UTC)
ACCOUNTS = ("210987654321", "345634563456")
REGIONS = ("eu-central-1", "us-gov-west-1")
NAMES = ("tools", "web", "lib.core", "infra_2", "docs-site", "n" * 100)
"""Few, so that names are used again, and in several places at once."""

FAILURES = (
    "AccessDenied",
    "RepositoryDoesNotExistException",
    "Client.UnauthorizedOperation",
    "no code at all",
    403,
)
IDENTITIES: tuple[Record | None, ...] = (
    {"type": "Root", "accessKeyId": "ASIAQWERTZUIOPEXAMPLE"},
    {"type": "IAMUser", "accessKeyId": "AKIAQWERTZUIOPEXAMPLE"},
    {"type": "IAMUser"},
    {"type": "AssumedRole", "accessKeyId": "ASIAQWERTZUIOPEXAMPLE"},
    {"type": "AssumedRole", "accessKeyId": ""},
    {"type": "IdentityCenterUser", "invokedBy": "codepipeline.amazonaws.com"},
    {"type": "AWSService", "invokedBy": "codepipeline.amazonaws.com"},
    {"invokedBy": "codecommit.amazonaws.com"},
    {"type": "Unknown"},
    {},
    None,
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    27,
    -1.5,
    10**30,
    "",
    "27",
    "tools",
    "no such/repository",
    "x" * 300,
    'quote " and \\ and\nline',
    "nul \0",
    "\ud800",
    "\N{RIGHT-TO-LEFT OVERRIDE}txet",
    "\N{ARABIC-INDIC DIGIT ONE}" * 12,
    [],
    {},
    [None, 5, "tools", {"repositoryName": "web", "ARN": "arn"}],
    {"repositoryName": ["tools"], "type": {}, "pullRequestId": 27.0},
    "2026-13-45T99:99:99Z",
)
"""What may stand in any field."""

OTHER_SERVICES: tuple[Record, ...] = (
    {"eventSource": "s3.amazonaws.com", "sourceIPAddress": "codecommit.amazonaws.com"},
    {"eventCategory": "Insight"},
    {"eventCategory": "NetworkActivity", "eventType": "AwsVpceEvents"},
    {"eventCategory": "Aggregated"},
    {"eventCategory": "Data"},
    {"eventSource": "codecommit.amazonaws.com.example"},
)
"""What makes something else of a record, which then says nothing and marks no id as seen."""


@dataclass
class Repository:
    """
    A repository under whatever name, and the ids of what there is in it.

    Some of it is older than the history, so that nothing tells of its beginning.
    """

    repository_id: str
    pull_requests: list[str]
    comments: list[str]


@dataclass
class Place:
    """
    The repositories of one account in one Region, by their names of today.
    """

    account: str
    region: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    pull_requests_opened: int = 1000


class History:
    """
    Goes on record by record; everything follows from the seed.
    """

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)  # noqa: S311 - a test's dice
        self._time = BEGIN
        self._places = [Place(account, region) for account in ACCOUNTS for region in REGIONS]
        self._told: list[Record] = []

    def log_files(self, records_min: int) -> list[str]:
        """
        So many records or a few more, cut into log files of any size.
        """
        records: list[Record] = []
        while len(records) < records_min:
            records += self._happening()
        self._mingle(records)
        texts: list[str] = []
        while records:
            size = self._any((1, 2, 5, 20, 100, 300))
            file: list[Any] = records[:size]
            del records[:size]
            if self._often(0.1):
                file.append(self._any((None, 5, "codecommit", ["codecommit"])))
            texts.append(json.dumps({"Records": file}))
        return texts

    def _mingle(self, records: list[Record]) -> None:
        """
        Put some records a little later or earlier: log files are in no order.
        """
        for at in range(len(records)):
            if self._often(0.3):
                other = max(0, min(len(records) - 1, at + self._chance.randint(-25, 25)))
                records[at], records[other] = records[other], records[at]

    def _happening(self) -> list[Record]:
        """
        One call, and what CloudTrail makes of it.
        """
        self._time += timedelta(seconds=self._chance.randint(1, 600))
        place = self._any(self._places)
        told = self._kms_request(place) if self._often(0.1) else self._call(place)
        told["eventTime"] = self._time.strftime("%Y-%m-%dT%H:%M:%SZ")
        told["eventID"], told["requestID"] = self._uuid(), self._uuid()
        told["userIdentity"] = self._any(IDENTITIES)
        if self._often(0.05):
            told["eventID"] = "0a1b-EXAMPLE"
        if self._often(0.1):
            told = self._made_odd(told)
        records = list(self._repeats(told))
        self._told += records
        return records

    def _call(self, place: Place) -> Record:
        """
        A call of any action, about something that exists, which it may change.
        """
        action = self._any(tuple(ACTIONS))
        subject = self._subject(place, action)
        if self._often(0.2):
            told = refused(action, self._mistaken(subject), errorCode=self._any(FAILURES))
        elif action == "DeleteRepository" and self._often(0.6):
            told = succeeded(action, self._mistaken(subject), responseElements={})
        else:
            told = succeeded(action, subject)
            self._change(place, action, subject)
        if self._often(0.2):
            told["resources"] = subject.resources
        if self._often(0.2):
            self._ask_for_something_else(told)
        return told

    def _subject(self, place: Place, action: str) -> Subject:
        """
        What a call is about: something that exists, unless the call is to create it.
        """
        free = [name for name in NAMES if name not in place.repositories]
        is_new = not place.repositories or (action == "CreateRepository" and bool(free))
        name = self._any(free if is_new else place.repositories)
        place.repositories.setdefault(name, self._repository(place))
        repository = place.repositories[name]
        if action == "CreatePullRequest":
            repository.pull_requests.append(self._pull_request(place))
        subject = Subject(
            name,
            repository.repository_id,
            pull_request=repository.pull_requests[-1],
            comment=self._any(repository.comments),
            new_comment=self._comment(),
            new_name=self._any(free or [f"spare-{self._chance.randrange(10**6)}"]),
            account=place.account,
            region=place.region,
        )
        if action == "CreatePullRequest":
            return subject
        return replace(subject, pull_request=self._any(repository.pull_requests))

    def _repository(self, place: Place) -> Repository:
        return Repository(self._uuid(), [self._pull_request(place)], [self._comment()])

    def _pull_request(self, place: Place) -> str:
        place.pull_requests_opened += 1
        return str(place.pull_requests_opened)

    def _comment(self) -> str:
        return f"{self._uuid()}:{self._uuid()}"

    def _mistaken(self, subject: Subject) -> Subject:
        """
        The subject of a request that fails: half the time somebody's typing error.
        """
        if self._often(0.5):
            return subject
        return replace(subject, repository=f"typo-{self._chance.randrange(10**9)}")

    def _ask_for_something_else(self, told: Record) -> None:
        """
        Turn the parameters that decide what a call is about, or what it does.
        """
        others = {
            "pullRequestStatus": "OPEN",
            "approvalState": "REVOKE",
            "overrideStatus": "REVOKE",
            "repositoryNames": ["tools", "web"],
        }
        for name, value in (told["requestParameters"] or {}).items():
            told["requestParameters"][name] = others.get(name, value)
        if told["requestParameters"] and "pullRequestId" in told["requestParameters"]:
            told["requestParameters"]["pullRequestId"] = int(
                told["requestParameters"]["pullRequestId"]
            )

    def _change(self, place: Place, action: str, subject: Subject) -> None:
        """
        What a successful call does to what there is.
        """
        if action == "DeleteRepository":
            del place.repositories[subject.repository]
        if action == "UpdateRepositoryName":
            place.repositories[subject.new_name] = place.repositories.pop(subject.repository)
        if action.startswith("PostComment"):
            place.repositories[subject.repository].comments.append(subject.new_comment)

    def _kms_request(self, place: Place) -> Record:
        """
        A request that CodeCommit makes of AWS KMS, or that somebody else makes.
        """
        ids = [repository.repository_id for repository in place.repositories.values()]
        context = {
            "aws:codecommit:env-alg": "ALG",
            "aws:codecommit:id": self._any([*ids, "unknown"]),
        }
        told = record(
            self._any(("Encrypt", "Decrypt", "GenerateDataKey", "odd name")),
            eventSource="kms.amazonaws.com",
            awsRegion=place.region,
            recipientAccountId=place.account,
            requestParameters={"encryptionContext": context},
            sourceIPAddress=self._any(("codecommit.amazonaws.com", "s3.amazonaws.com")),
        )
        if self._often(0.2):
            told["errorCode"] = self._any(FAILURES)
        return told

    def _repeats(self, told: Record) -> Iterator[Record]:
        """
        What else CloudTrail may write of a call, before and after its record.
        """
        if self._often(0.05):
            yield copy.deepcopy(told) | self._any(OTHER_SERVICES)
        if self._often(0.05):
            told["sharedEventID"] = self._uuid()
            other_account = {"eventID": self._uuid(), "recipientAccountId": "987698769876"}
            yield copy.deepcopy(told) | other_account
        yield told
        if self._often(0.05):
            addendum = {"reason": "UPDATED_DATA", "originalEventID": told["eventID"]}
            yield copy.deepcopy(told) | {"eventID": self._uuid(), "addendum": addendum}
        if self._often(0.05) and self._told:
            yield self._any(self._told)

    def _made_odd(self, told: Record) -> Record:
        """
        The record with one of its fields, however deep, replaced by what does not belong there.
        """
        odd = copy.deepcopy(told)
        inner: Any = odd
        while True:
            at = self._any(range(len(inner)) if isinstance(inner, list) else inner)
            if not isinstance(inner[at], dict | list) or not inner[at] or self._often(0.2):
                inner[at] = self._any(ODD_VALUES)
                return odd
            inner = inner[at]

    def _often(self, share: float) -> bool:
        return self._chance.random() < share

    def _any(self, choices: Iterable[T]) -> T:
        return self._chance.choice(tuple(choices))

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
