"""
What events teach about repositories, in whatever order they come.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from hypothesis import given, settings, strategies as st

from exporter.codecommit import IdKind, Repository, Subject, event
from exporter.families import EVENTS, PULL_REQUEST_EVENTS
from exporter.knowledge import (
    Known,
    Learnt,
    Repositories,
    created_ms,
    first_learnt,
    is_on_pull_request,
    learn,
    repository_of,
)
from exporter.ledger.book import Policy
from exporter.ledger.memory import DictMemory
from exporter.ledger.sqlite import SqliteLedger
from exporter.notifications import LogFile
from exporter.tally import Reading
from exporter.timestamps import FUTURE_MS_MAX
from tests.records import OWNER, REGION, Record, api_call, denied, git, record

OTHER = "123412341234"
"""Another account."""

NOW_MS = 1_789_992_000_000
BEGIN_MS = NOW_MS - 24 * 3600 * 1000
"""The tests' minutes are counted from here."""

MINUTE_MS = 60_000

quickly = settings(max_examples=150, deadline=None)


def at(minute: float) -> str:
    """
    A point in time as CloudTrail writes it, in whole seconds.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN_MS / 1000 + minute * 60))


def ms(minute: float) -> int:
    return round(BEGIN_MS + minute * MINUTE_MS)


def told(action: str, request: Record, answer: Record | None, **fields: object) -> Record:
    return record(action, requestParameters=request, responseElements=answer, **fields)


def created(name: str, repository_id: str, minute: float) -> Record:
    """
    A repository begins, with an id of its own.
    """
    metadata = {"repositoryName": name, "repositoryId": repository_id}
    answer = {"repositoryMetadata": metadata}
    return told("CreateRepository", {"repositoryName": name}, answer, eventTime=at(minute))


def deleted(name: str, repository_id: str, minute: float) -> Record:
    answer = {"repositoryId": repository_id}
    return told("DeleteRepository", {"repositoryName": name}, answer, eventTime=at(minute))


def renamed(old: str, new: str, minute: float) -> Record:
    names = {"oldName": old, "newName": new}
    return told("UpdateRepositoryName", names, None, eventTime=at(minute))


def pulled(name: str, repository_id: str, minute: float) -> Record:
    """
    Git tells name and id together.
    """
    ids = {"repositoryName": name, "repositoryId": repository_id}
    return git("GitPull", name, moved=True, eventTime=at(minute)) | {"additionalEventData": ids}


def opened(name: str, pull_request: object, minute: float) -> Record:
    """
    A pull request begins.
    """
    request = {"targets": [{"repositoryName": name}]}
    answer = {"pullRequest": {"pullRequestId": pull_request}}
    return told("CreatePullRequest", request, answer, eventTime=at(minute))


def commented(name: str, pull_request: object, comment: str, minute: float) -> Record:
    """
    The first comment of a chain, on a pull request.
    """
    request = {"repositoryName": name, "pullRequestId": pull_request}
    answer = {"comment": {"commentId": comment}}
    return told("PostCommentForPullRequest", request, answer, eventTime=at(minute))


def replied(to: str, comment: str, minute: float = 0, **fields: object) -> Record:
    """
    An answer to a comment, which tells nothing but the two ids.
    """
    answer = {"comment": {"commentId": comment}}
    return told("PostCommentReply", {"inReplyTo": to}, answer, eventTime=at(minute), **fields)


def at_pull_request(pull_request: object, **fields: object) -> Record:
    return told("GetPullRequest", {"pullRequestId": pull_request}, None, **fields)


def at_comment(comment: str, **fields: object) -> Record:
    return told("GetComment", {"commentId": comment}, None, **fields)


def at_repository(repository_id: str, **fields: object) -> Record:
    """
    A record that has a repository's id and no name, though none is known to be so.
    """
    return record("X", additionalEventData={"repositoryId": repository_id}, **fields)


class CountingMemory(DictMemory):
    """
    Counts how often it is asked about subjects, and told of them.
    """

    calls = 0

    def learnt(self, subject: Subject) -> Learnt | None:
        self.calls += 1
        return super().learnt(subject)

    def keep_learnt(self, subject: Subject, learnt: Learnt) -> None:
        self.calls += 1
        super().keep_learnt(subject, learnt)


class Class:
    """
    Is taught by records, file by file, and asked afterwards.
    """

    def __init__(self, *files: Iterable[Record], named_max: int = 100) -> None:
        self.memory = CountingMemory(Repositories({}, named=0, named_max=named_max))
        for records in files:
            self.read(*records)

    def read(self, *records: Record) -> None:
        """
        One log file.
        """
        learn(list(map(event, records)), self.memory, NOW_MS)

    def name(self, asking: Record) -> str:
        """
        The repository that a record is told to be about.
        """
        return repository_of(event(asking), self.memory).name

    def learnt(self, kind: IdKind, one: str) -> Learnt | None:
        return self.memory.learnt(Subject(kind, OWNER, REGION, one))

    def known(self, name: str) -> Known | None:
        return self.memory.repositories.get(Repository(OWNER, REGION, name))

    @property
    def infos(self) -> dict[str, str]:
        """
        The names that are shown with an id.
        """
        return {
            repository.name: known.repository_id
            for repository, known in self.memory.repositories.changed.items()
            if known.repository_id and known.active_ms
        }


# Who teaches ------------------------------------------------------------------------------

LESSONS: dict[str, tuple[Record, Record]] = {
    "pull request in the request": (
        {"requestParameters": {"repositoryName": "tools", "pullRequestId": "27"}},
        at_pull_request("27"),
    ),
    "pull request in the answer": (
        {
            "requestParameters": {"repositoryName": "tools"},
            "responseElements": {"pullRequestId": "27"},
        },
        at_pull_request("27"),
    ),
    "pull request in the answer's pull request": (
        {
            "responseElements": {
                "pullRequest": {
                    "pullRequestId": "27",
                    "pullRequestTargets": [{"repositoryName": "tools"}],
                }
            }
        },
        at_pull_request("27"),
    ),
    "comment in the request": (
        {"requestParameters": {"repositoryName": "tools", "commentId": "c:27"}},
        at_comment("c:27"),
    ),
    "comment that is answered": (
        {"requestParameters": {"repositoryName": "tools", "inReplyTo": "c:27"}},
        at_comment("c:27"),
    ),
    "comment in the answer": (
        {
            "requestParameters": {"repositoryName": "tools"},
            "responseElements": {"comment": {"commentId": "c:27"}},
        },
        at_comment("c:27"),
    ),
    "repository of Git": (
        {"additionalEventData": {"repositoryName": "tools", "repositoryId": "0a1b"}},
        at_repository("0a1b"),
    ),
    "repository in the answer's metadata": (
        {
            "responseElements": {
                "repositoryMetadata": {"repositoryName": "tools", "repositoryId": "0a1b"}
            }
        },
        at_repository("0a1b"),
    ),
    "repository in the answer": (
        {
            "requestParameters": {"repositoryName": "tools"},
            "responseElements": {"repositoryId": "0a1b"},
        },
        at_repository("0a1b"),
    ),
    "repository of a resource": (
        {
            "requestParameters": {"pullRequestId": "27"},
            "resources": [{"ARN": f"arn:aws:codecommit:{REGION}:{OWNER}:tools"}],
        },
        at_pull_request("27"),
    ),
}


@pytest.mark.parametrize(("fields", "asking"), LESSONS.values(), ids=LESSONS)
@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("before in the file", "tools"),
        ("behind in the file", "tools"),
        ("an earlier commit", "tools"),
        ("another file's commit", ""),
    ],
)
def test_a_success_teaches(fields: Record, asking: Record, place: str, expected: str) -> None:
    """
    Every id of a success that names its repository is learnt, by all of its file and later.
    """
    lesson = record("X", **fields)
    files: dict[str, list[list[Record]]] = {
        "before in the file": [[lesson, asking]],
        "behind in the file": [[asking, lesson]],
        "an earlier commit": [[lesson], [asking]],
        "another file's commit": [[asking]],
    }

    assert expected == Class(*files[place]).name(asking)


@pytest.mark.parametrize(("fields", "asking"), LESSONS.values(), ids=LESSONS)
@pytest.mark.parametrize("code", ["AccessDenied", "no code", 403], ids=repr)
def test_a_failure_teaches_nothing(fields: Record, asking: Record, code: object) -> None:
    """
    What a failed request claims of an id is not believed, wherever it stands.
    """
    failed = record("X", **fields, errorCode=code)

    assert "" == Class([failed, asking], [failed]).name(asking)


@pytest.mark.parametrize(
    "lesson",
    [
        told("DeleteRepository", {"repositoryName": "tools", "pullRequestId": "27"}, {}),
        told("X", {"repositoryName": "no such/name", "pullRequestId": "27"}, None),
        told("X", {"repositoryNames": ["tools", "docs"], "pullRequestId": "27"}, None),
        told("X", {"repositoryName": 27, "pullRequestId": "27"}, None),
        told("X", {"pullRequestId": "27"}, None),
        told("X", {"repositoryName": "tools", "pullRequestId": 27.0}, None),
        told("X", {"repositoryName": "tools", "pullRequestId": "no id"}, None),
        told("X", {"repositoryName": "tools", "pullRequestId": ["27"]}, None),
        told("X", {"repositoryName": "tools", "commentId": "27"}, None),
    ],
    ids=lambda lesson: str(lesson["requestParameters"]),
)
def test_a_record_without_one_name_and_an_id_teaches_nothing(lesson: Record) -> None:
    """
    No name, several, an impossible one or an odd id; and no id is one of another kind.
    """
    assert "" == Class([lesson]).name(at_pull_request("27"))


@pytest.mark.parametrize("first", [27, "27"], ids=repr)
@pytest.mark.parametrize("second", [27, "27"], ids=repr)
def test_ids_compare_as_text(first: object, second: object) -> None:
    """
    27 is "27".
    """
    assert "tools" == Class([opened("tools", first, 1)]).name(at_pull_request(second))


@pytest.mark.parametrize("field", ["recipientAccountId", "awsRegion"])
def test_an_id_is_one_of_its_account_and_region(field: str) -> None:
    """
    The same id elsewhere is another one.
    """
    pupils = Class([opened("tools", 27, 1)])
    elsewhere = at_pull_request(27, **{field: OTHER})

    assert ("tools", "") == (pupils.name(at_pull_request(27)), pupils.name(elsewhere))


def test_the_owner_of_the_repository_learns() -> None:
    """
    A record that another account received teaches the account that owns the repository.
    """
    arn = f"arn:aws:codecommit:{REGION}:{OWNER}:tools"
    lesson = opened("tools", 27, 1) | {
        "recipientAccountId": OTHER,
        "resources": [{"ARN": arn, "accountId": OWNER}],
    }
    pupils = Class([lesson])

    assert "tools" == pupils.name(at_pull_request(27))
    assert "" == pupils.name(at_pull_request(27, recipientAccountId=OTHER))


# Who asks ---------------------------------------------------------------------------------


def test_ids_are_looked_up_in_their_order() -> None:
    """
    A pull request before a comment before a repository, and the first that is learnt.
    """
    ids: Record = {
        "requestParameters": {"pullRequestId": 1, "commentId": "c1"},
        "additionalEventData": {"repositoryId": "A"},
    }
    asking = record("X", **ids, errorCode="AccessDenied")
    lessons = [created("a", "A", 1), commented("c", 9, "c1", 1), opened("p", 1, 1)]
    pupils = Class()
    found = []
    for lesson in lessons:
        pupils.read(lesson)
        found.append(pupils.name(asking))

    assert ["a", "c", "p"] == found


def test_a_failed_request_looks_up() -> None:
    """
    What a failure is about may be learnt, though it teaches nothing itself.
    """
    pupils = Class([opened("tools", 27, 1)])

    assert "tools" == pupils.name(at_pull_request(27, errorCode="AccessDenied"))


@pytest.mark.parametrize(
    "request_parameters",
    [
        {"repositoryName": "no such/name"},
        {"repositoryNames": ["tools", "docs"]},
        {"repositoryName": "a-strangers-typing"},
    ],
    ids=repr,
)
def test_a_name_that_is_none_is_not_replaced(request_parameters: Record) -> None:
    """
    Where a place is present the id is not asked for, whatever the place says.
    """
    parameters = request_parameters | {"pullRequestId": 27}
    asking = record("X", requestParameters=parameters, errorCode="AccessDenied")

    assert "" == Class([opened("tools", 27, 1)]).name(asking)


def test_a_name_stands_before_what_is_learnt() -> None:
    """
    A record that names its repository is about that one, whatever is learnt of its ids.
    """
    pupils = Class([opened("tools", 27, 1)])
    asking = told("X", {"repositoryName": "docs", "pullRequestId": 27}, None)

    assert "docs" == pupils.name(asking)


def test_nothing_is_learnt_of_nothing() -> None:
    assert None is first_learnt((), Class([opened("tools", 27, 1)]).memory)


# Reply chains -----------------------------------------------------------------------------

CHAIN = [
    commented("tools", 27, "c0", 1),
    replied("c0", "c1", 2),
    replied("c1", "c2", 3),
    replied("c2", "c3", 4),
]
ORDERS = list(permutations(range(len(CHAIN))))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_chain_of_replies_is_learnt_in_any_order(order: Sequence[int]) -> None:
    """
    Whatever stands first in the file, each comment belongs where the first one does.
    """
    records = [CHAIN[number] for number in order]
    pupils = Class(records)

    assert ["tools"] * 4 == [pupils.name(at_comment(f"c{number}")) for number in range(4)]
    assert all(is_on_pull_request(event(one), pupils.memory) for one in records)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_replies_that_name_their_repository_in_any_order(order: Sequence[int]) -> None:
    """
    A reply whose resources name the repository is on a pull request all the same.
    """
    resources = [{"ARN": f"arn:aws:codecommit:{REGION}:{OWNER}:tools"}]
    records = [CHAIN[number] | {"resources": resources} for number in order]
    pupils = Class(records)

    assert all(is_on_pull_request(event(one), pupils.memory) for one in records)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_goes_on_over_commits(backwards: bool) -> None:
    """
    What a commit learnt holds for the next one; what came too early stays without a name.
    """
    pupils = Class(*([one] for one in (CHAIN[::-1] if backwards else CHAIN)))

    assert ["tools", *["" if backwards else "tools"] * 2] == [
        pupils.name(at_comment(comment)) for comment in ("c0", "c2", "c3")
    ]


def test_a_reply_teaches_what_it_answers() -> None:
    """
    The two comments of a reply are of one repository, whichever of them is known.
    """
    pupils = Class([commented("tools", 27, "c1", 2)], [replied("c0", "c1", 2)])

    assert "tools" == pupils.name(at_comment("c0"))


def test_a_failed_reply_is_no_link() -> None:
    """
    It made no comment.
    """
    pupils = Class([CHAIN[0], replied("c0", "c1", 2, errorCode="AccessDenied"), CHAIN[2]])

    assert ["", ""] == [pupils.name(at_comment("c1")), pupils.name(at_comment("c2"))]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (commented("tools", 27, "c0", 1), True),
        (
            told(
                "PostCommentForComparedCommit",
                {"repositoryName": "tools"},
                {"comment": {"commentId": "c0"}},
            ),
            False,
        ),
        (told("GetComment", {"repositoryName": "tools", "commentId": "c0"}, None), False),
    ],
    ids=["pull request", "commit", "reading"],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_chain_is_where_its_first_comment_is(
    first: Record, together: bool, expected: bool
) -> None:
    """
    On a pull request or not; the repository is known either way.
    """
    replies = [replied("c1", "c2", 3), replied("c0", "c1", 2)]
    pupils = Class([*replies, first]) if together else Class([first], replies)

    assert [expected] * 2 == [is_on_pull_request(event(one), pupils.memory) for one in replies]
    assert "tools" == pupils.name(at_comment("c2"))


def test_where_a_comment_is_may_be_learnt_later_than_whose_it_is() -> None:
    """
    Both pass from reply to reply, the second as well as the first.
    """
    reading_it = told("GetComment", {"repositoryName": "tools", "commentId": "c0"}, None)
    pupils = Class([reading_it, *CHAIN[1:]], [*CHAIN[:0:-1], CHAIN[0]])

    assert all(is_on_pull_request(event(one), pupils.memory) for one in CHAIN)


@pytest.mark.parametrize("step", [1, -1], ids=["forwards", "backwards"])
@pytest.mark.parametrize("star", [False, True], ids=["chain", "star"])
def test_learning_takes_as_long_as_the_chain_is(step: int, star: bool) -> None:
    """
    Twice the replies, twice the work, in any order.
    """

    def calls(replies: int) -> int:
        records = [commented("tools", 27, "c0", 1)]
        records += [
            replied("c0" if star else f"c{one}", f"c{one + 1}", 2) for one in range(replies)
        ]
        pupils = Class(records[::step])

        assert "tools" == pupils.name(at_comment(f"c{replies}"))
        return pupils.memory.calls

    few, many = calls(500), calls(5000)

    assert many <= 10.5 * few
    assert many <= 25 * 5000


# Which lesson counts ----------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_the_newest_lesson_counts(together: bool, backwards: bool) -> None:
    """
    An older one never replaces a newer one, within a file and over commits.
    """
    lessons = [opened("old", 27, 1), commented("new", 27, "c0", 2)][:: -1 if backwards else 1]
    pupils = Class(lessons) if together else Class(*([lesson] for lesson in lessons))

    assert "new" == pupils.name(at_pull_request(27))


@pytest.mark.parametrize("together", [True, False])
def test_the_later_of_two_lessons_of_a_second_counts(together: bool) -> None:
    """
    Of the same time the one that came last.
    """
    lessons = [opened("first", 27, 1), opened("second", 27, 1)]
    pupils = Class(lessons) if together else Class(*([lesson] for lesson in lessons))

    assert "second" == pupils.name(at_pull_request(27))


@pytest.mark.parametrize(
    "odd",
    [None, "yesterday", at((NOW_MS + FUTURE_MS_MAX - BEGIN_MS) / MINUTE_MS + 1)],
    ids=["none", "odd", "ahead"],
)
@pytest.mark.parametrize("backwards", [True, False])
def test_a_lesson_without_a_usable_time_is_the_oldest(odd: object, backwards: bool) -> None:
    """
    No time, an odd one or one that only a wrong clock can have made.
    """
    lessons = [opened("odd", 27, 1) | {"eventTime": odd}, opened("tools", 27, 1)]
    pupils = Class(*([lesson] for lesson in lessons[:: -1 if backwards else 1]))

    assert "tools" == pupils.name(at_pull_request(27))
    assert "odd" == Class([lessons[0]]).name(at_pull_request(27))


def test_a_time_a_little_ahead_is_a_time() -> None:
    """
    Fifteen minutes are a clock's business.
    """
    ahead = (NOW_MS + FUTURE_MS_MAX - BEGIN_MS) / MINUTE_MS
    pupils = Class([opened("ahead", 27, ahead)], [opened("tools", 27, 1)])

    assert "ahead" == pupils.name(at_pull_request(27))


def test_an_event_that_names_nothing_makes_no_lesson_newer() -> None:
    """
    A reply knows no name: what it passes on is as old as what it rests on.
    """
    pupils = Class(
        [commented("old", 27, "c0", 1)], [replied("c0", "c1", 30)], [renamed("old", "new", 20)]
    )

    assert ["new", "new"] == [pupils.name(at_comment(one)) for one in ("c0", "c1")]


# Renames ----------------------------------------------------------------------------------


def in_any_order(*records: Record) -> list[Class]:
    """
    Every order of the same records, each one a commit, and each order as one file.
    """
    orders = list(permutations(records))
    return [Class(*([one] for one in order)) for order in orders] + list(map(Class, orders))


def test_what_belongs_to_a_repository_follows_its_renames() -> None:
    """
    Lessons and renames may come in any order, late ones too.
    """
    pupils = in_any_order(
        opened("a", 1, 1), renamed("a", "b", 2), renamed("b", "c", 3), created("a", "A", 0)
    )

    assert {"c"} == {one.name(at_pull_request(1)) for one in pupils}
    assert {"c"} == {one.name(at_repository("A")) for one in pupils}
    assert [{"c": "A"}] * len(pupils) == [one.infos for one in pupils]


def test_a_repository_may_get_its_old_name_back() -> None:
    """
    There and back again, with lessons of each time.
    """
    pupils = in_any_order(
        opened("a", 1, 1), renamed("a", "b", 2), opened("b", 2, 3), renamed("b", "a", 4)
    )

    assert {"a"} == {one.name(at_pull_request(number)) for one in pupils for number in (1, 2)}


def test_two_repositories_may_swap_names() -> None:
    """
    What moved to a name later is not what had moved from it before.
    """
    pupils = in_any_order(
        created("app", "OLD", 1),
        created("app-new", "NEW", 1),
        renamed("app", "app-old", 2),
        renamed("app-new", "app", 3),
    )

    assert [{"app": "NEW", "app-old": "OLD"}] * len(pupils) == [one.infos for one in pupils]


def test_a_name_that_got_free_may_be_used_again() -> None:
    """
    A lesson later than the rename is about another repository of the old name.
    """
    pupils = in_any_order(
        created("a", "FIRST", 1), renamed("a", "b", 2), created("a", "SECOND", 3), opened("a", 7, 4)
    )

    assert [{"a": "SECOND", "b": "FIRST"}] * len(pupils) == [one.infos for one in pupils]
    assert {"a"} == {one.name(at_pull_request(7)) for one in pupils}


def test_several_names_pass_nothing_on() -> None:
    """
    What is known of one thing that an event mentions is not said of another, if it names several.
    """
    memory = DictMemory(Repositories({}, named=0, named_max=10))
    taught = record(
        "PostCommentForPullRequest",
        requestParameters={"repositoryName": "a", "pullRequestId": "27"},
    )
    several = record(
        "X",
        requestParameters={"repositoryNames": ["a", "b"], "pullRequestId": "27", "commentId": "c"},
    )
    learn([event(taught), event(several)], memory, NOW_MS)

    assert memory.learnt(Subject(IdKind.PULL_REQUEST, OWNER, REGION, "27"))
    assert memory.learnt(Subject(IdKind.COMMENT, OWNER, REGION, "c")) is None


def test_an_id_that_is_told_of_again_is_the_newest() -> None:
    """
    Whichever event came first: of two ids of one name the one is shown that was told last.
    """
    told = [
        event(git("GitPull", "a", moved=False, eventTime=at(minute)) | repository_id_is(one))
        for minute, one in ((1, "id-1"), (2, "id-2"), (3, "id-1"))
    ]
    found = set()
    for order in itertools.permutations(told):
        memory = DictMemory(Repositories({}, named=0, named_max=10))
        for one in order:
            learn([one], memory, NOW_MS)
        known = memory.repositories.get(Repository(OWNER, REGION, "a"))
        found.add(known and known.repository_id)

    assert {"id-1"} == found


def repository_id_is(repository_id: str) -> Record:
    return {"additionalEventData": {"repositoryName": "a", "repositoryId": repository_id}}


@pytest.mark.parametrize("moment", [None, at(1)], ids=["no time", "one second"])
def test_events_that_contradict_each_other_come_to_an_end(moment: str | None) -> None:
    """
    Two names for the same things in one second are one of them, and each is said once.
    """
    told = [
        record(
            "PostCommentForPullRequest",
            eventTime=moment,
            requestParameters={"repositoryName": name, "pullRequestId": "27"},
            responseElements={"comment": {"commentId": "c"}},
        )
        for name in ("a", "b")
    ]
    memory = DictMemory(Repositories({}, named=0, named_max=10))
    learn([event(one) for one in told], memory, NOW_MS)

    assert {"b"} == {
        learnt.repository
        for kind, one in ((IdKind.PULL_REQUEST, "27"), (IdKind.COMMENT, "c"))
        if (learnt := memory.learnt(Subject(kind, OWNER, REGION, one)))
    }


def test_a_late_rename_of_a_name_that_was_renamed_again() -> None:
    """
    Each repository follows its own rename, the first one after its lesson.
    """
    pupils = in_any_order(
        created("a", "FIRST", 1),
        opened("a", 7, 1.5),
        renamed("a", "b", 2),
        created("a", "SECOND", 3),
        renamed("a", "c", 4),
    )

    assert [{"b": "FIRST", "c": "SECOND"}] * len(pupils) == [one.infos for one in pupils]
    assert {"b"} == {one.name(at_pull_request(7)) for one in pupils}


def test_a_lesson_of_the_renames_second_follows_it() -> None:
    """
    It names the old name, so it came before.
    """
    pupils = in_any_order(opened("a", 1, 2), renamed("a", "b", 2))

    assert {"b"} == {one.name(at_pull_request(1)) for one in pupils}


def test_renames_of_one_second_do_not_follow_each_other() -> None:
    """
    Each step is later than the one before: of a second nobody knows the order.
    """
    pupils = in_any_order(opened("a", 1, 1), renamed("a", "b", 2), renamed("b", "c", 2))

    assert {"b"} == {one.name(at_pull_request(1)) for one in pupils}


def test_a_rename_to_the_same_name_changes_nothing() -> None:
    pupils = in_any_order(created("a", "A", 1), opened("a", 1, 1), renamed("a", "a", 2))

    assert {"a"} == {one.name(at_pull_request(1)) for one in pupils}
    assert [{"a": "A"}] * len(pupils) == [one.infos for one in pupils]


def test_a_rename_told_again_moves_nothing_more() -> None:
    """
    A second trail's copy is no second rename.
    """
    rename = renamed("a", "b", 2)
    pupils = Class([opened("a", 1, 1), rename], [opened("a", 2, 3)], [rename, rename], [rename])

    assert ["b", "a"] == [pupils.name(at_pull_request(number)) for number in (1, 2)]


def test_a_rename_is_one_of_its_account_and_region() -> None:
    """
    A repository of the same name elsewhere keeps it.
    """
    pupils = Class(
        [opened("a", 1, 1)],
        [renamed("a", "b", 2) | {"awsRegion": "us-east-1"}],
        [renamed("a", "b", 2) | {"recipientAccountId": OTHER}],
        [opened("a", 2, 1)],
    )

    assert ["a", "a"] == [pupils.name(at_pull_request(number)) for number in (1, 2)]


@pytest.mark.parametrize(
    "rename",
    [
        renamed("a", "b", 2) | {"errorCode": "RepositoryNameExistsException"},
        renamed("a", "no such/name", 2),
        told("UpdateRepositoryName", {"oldName": "a", "newName": None}, None, eventTime=at(2)),
        told("UpdateRepositoryName", {"oldName": "no/name", "newName": "b"}, None, eventTime=at(2)),
    ],
    ids=["failed", "odd", "none", "odd old"],
)
def test_what_is_no_rename_moves_nothing(rename: Record) -> None:
    pupils = in_any_order(opened("a", 1, 1), rename)

    assert {"a"} == {one.name(at_pull_request(1)) for one in pupils}


def test_the_event_of_a_rename_is_about_the_old_name() -> None:
    """
    And the new one exists from then on.
    """
    rename = renamed("a", "b", 2)
    pupils = Class([rename])

    assert "a" == pupils.name(rename)
    assert Known(shown_ms=ms(2)) == pupils.known("b")
    assert "b" == pupils.name(denied("PutFile", "b"))


# Deletion and ids -------------------------------------------------------------------------


def test_one_id_per_name_and_one_name_per_id() -> None:
    """
    The newest lesson tells both, in any order.
    """
    pupils = in_any_order(pulled("a", "A", 1), pulled("b", "B", 2), pulled("b", "A", 3))

    assert [{"b": "A"}] * len(pupils) == [one.infos for one in pupils]


def test_a_deleted_repository_has_no_id() -> None:
    """
    Its id is gone for good, whatever comes late; its name is still known.
    """
    pupils = in_any_order(created("a", "A", 1), pulled("a", "A", 2), deleted("a", "A", 3))

    assert [{}] * len(pupils) == [one.infos for one in pupils]
    assert {"a"} == {one.name(at_repository("A")) for one in pupils}
    assert {"a"} == {one.name(denied("PutFile", "a")) for one in pupils}
    assert all(known.is_deleted for one in pupils if (known := one.known("a")))


def test_a_name_may_be_created_again() -> None:
    """
    Another repository has another id, and no late word of the first one takes it away.
    """
    pupils = in_any_order(
        created("a", "FIRST", 1), deleted("a", "FIRST", 2), created("a", "SECOND", 3)
    )

    assert [{"a": "SECOND"}] * len(pupils) == [one.infos for one in pupils]
    assert not any(known.is_deleted for one in pupils if (known := one.known("a")))


def test_a_name_may_be_created_again_within_the_second() -> None:
    """
    The deletion takes away its own id and no other, whichever record stands first.
    """
    pupils = in_any_order(
        created("a", "FIRST", 1), deleted("a", "FIRST", 2), created("a", "SECOND", 2)
    )

    assert [{"a": "SECOND"}] * len(pupils) == [one.infos for one in pupils]


@pytest.mark.parametrize("first", ["A", "Z"])
def test_a_name_created_again_within_the_second_may_be_left(first: str) -> None:
    """
    Whatever the ids are, the one that is there moves on.
    """
    pupils = in_any_order(
        created("a", first, 1), deleted("a", first, 2), created("a", "M", 2), renamed("a", "b", 3)
    )

    assert [{"b": "M"}] * len(pupils) == [one.infos for one in pupils]


def test_a_name_that_was_used_again_may_be_left() -> None:
    """
    The new repository takes its own id along; the old one's is gone.
    """
    pupils = in_any_order(
        created("a", "FIRST", 1),
        deleted("a", "FIRST", 2),
        created("a", "SECOND", 3),
        renamed("a", "b", 4),
    )

    assert [{"b": "SECOND"}] * len(pupils) == [one.infos for one in pupils]


def test_a_late_deletion_uncovers_the_id_that_is_there() -> None:
    """
    Until it came, both repositories might have been called so.
    """
    pupils = in_any_order(
        created("a", "A", 1),
        created("b", "B", 2),
        deleted("b", "B", 3),
        renamed("a", "b", 4),
        renamed("b", "a", 5),
    )

    assert [{"a": "A"}] * len(pupils) == [one.infos for one in pupils]


def test_a_deletion_of_nothing_deletes_nothing() -> None:
    """
    It succeeds all the same, without an id in its answer.
    """
    nothing = api_call("DeleteRepository", "a", responseElements={}, eventTime=at(2))
    pupils = Class([created("a", "A", 1)], [nothing])

    assert ({"a": "A"}, 0) == (pupils.infos, (pupils.known("a") or Known()).deleted_ms)


def test_a_deletion_that_names_nothing_deletes_its_id() -> None:
    """
    CloudTrail may have left the request out.
    """
    unnamed = deleted("a", "A", 2) | {"requestParameters": None}
    pupils = [*in_any_order(created("a", "A", 1), unnamed), Class([unnamed])]

    assert [{}] * len(pupils) == [one.infos for one in pupils]
    assert {"a", ""} == {one.name(at_repository("A")) for one in pupils}


def test_what_has_no_name_teaches_none() -> None:
    """
    An id that is only known to be gone says nothing about a comment, which may be learnt later.
    """
    unnamed = deleted("a", "A", 2) | {"requestParameters": None}
    both = told("X", {"commentId": "c0"}, {"repositoryId": "A"}, eventTime=at(3))
    pupils = Class([unnamed], [both], [commented("a", 1, "c0", 1)])

    assert "a" == pupils.name(at_comment("c0"))


def test_a_deletion_without_a_usable_time_deletes_its_id() -> None:
    """
    Ids are never used again, so the time of their end does not matter.
    """
    pupils = in_any_order(created("a", "A", 1), deleted("a", "A", 2) | {"eventTime": None})

    assert [{}] * len(pupils) == [one.infos for one in pupils]


def test_a_resource_shows_that_a_repository_is_there_again() -> None:
    """
    Also by the ARN of a failed request.
    """
    pupils = Class([deleted("a", "A", 2)], [pulled("a", "B", 3) | {"errorCode": "AccessDenied"}])
    known = pupils.known("a")

    assert known
    assert (ms(3), ms(2), "", False) == (
        known.shown_ms,
        known.deleted_ms,
        known.repository_id,
        known.is_deleted,
    )


def test_an_id_takes_a_place_only_once() -> None:
    """
    A repository that is shown with its id is named by a label.
    """
    pupils = Class([created("a", "A", 1)], [pulled("a", "A", 2)], [created("b", "B", 3)])

    assert 2 == pupils.memory.repositories.named


def test_past_the_limit_no_id_is_shown() -> None:
    """
    The repository is known all the same.
    """
    pupils = Class([created("a", "A", 1)], [created("b", "B", 2)], named_max=1)

    assert {"a": "A"} == pupils.infos
    assert "b" == pupils.name(at_repository("B"))


NAMES = ("a", "b", "c")


@dataclass
class World:
    """
    What there is in the end, and the records of how it came about, a minute apart.
    """

    records: list[Record] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, list[int]] = field(default_factory=dict)

    @property
    def possible(self) -> list[tuple[str, str, str]]:
        """
        What may happen next: an action, a name, and a new one where it is a rename.
        """
        free = [name for name in NAMES if name not in self.ids]
        return [
            *(("create", name, name) for name in free),
            *(("rename", name, new) for name in self.ids for new in free),
            *((action, name, name) for name in self.ids for action in ("delete", "open", "pull")),
        ]

    def happen(self, action: str, name: str, new: str) -> None:
        """
        Let one of these things happen.
        """
        minute = len(self.records) + 1
        if action == "create":
            self.ids[name], self.pull_requests[name] = f"id-{minute}", []
            told_by = created(name, self.ids[name], minute)
        elif action == "rename":
            self.ids[new] = self.ids.pop(name)
            self.pull_requests[new] = self.pull_requests.pop(name)
            told_by = renamed(name, new, minute)
        elif action == "delete":
            told_by = deleted(name, self.ids.pop(name), minute)
            del self.pull_requests[name]
        elif action == "open":
            self.pull_requests[name].append(minute)
            told_by = opened(name, minute, minute)
        else:
            told_by = pulled(name, self.ids[name], minute)
        self.records.append(told_by)

    def is_told_by(self, pupils: Class) -> bool:
        """
        Whether just this has been learnt of what there is.
        """
        return (
            pupils.infos == self.ids
            and all(pupils.name(at_repository(one)) == name for name, one in self.ids.items())
            and all(
                pupils.name(at_pull_request(one)) == name
                for name, ones in self.pull_requests.items()
                for one in ones
            )
        )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """
    A dozen things that happened at most.
    """
    world = World()
    for _ in range(draw(st.integers(1, 12))):
        world.happen(*draw(st.sampled_from(world.possible)))
    return world


@quickly
@given(world=worlds(), shuffled=st.data())
def test_commits_in_any_order_teach_the_same(world: World, shuffled: st.DataObject) -> None:
    """
    In the end every name has its id and every id its name, whatever came first.
    """
    order: Sequence[Record] = shuffled.draw(st.permutations(world.records))
    orders = (world.records, world.records[::-1], order)
    pupils = [Class(*([one] for one in records)) for records in orders]

    assert [True] * 3 == [world.is_told_by(one) for one in pupils]
    assert [times(pupils[0])] * 3 == [times(one) for one in pupils]


@quickly
@given(world=worlds(), shuffled=st.data())
def test_a_file_in_any_order_teaches_the_same(world: World, shuffled: st.DataObject) -> None:
    """
    Within a file as well, which is one commit.
    """
    order: Sequence[Record] = shuffled.draw(st.permutations(world.records))

    assert world.is_told_by(Class(order))


def times(pupils: Class) -> dict[str, tuple[int, int]]:
    """
    When each repository was last seen and deleted.
    """
    return {
        repository.name: (known.shown_ms, known.deleted_ms)
        for repository, known in pupils.memory.repositories.changed.items()
    }


# Creation of pull requests ----------------------------------------------------------------


class Creation(NamedTuple):
    """
    When a pull request has been created, asked by its end.
    """

    files: list[list[Record]]
    expected: int


@pytest.mark.parametrize(
    "creation",
    [
        Creation([[opened("a", 1, 5)]], ms(5)),
        Creation([[commented("a", 1, "c", 4)], [opened("a", 1, 5)]], ms(5)),
        Creation([[opened("a", 1, 5)], [commented("a", 1, "c", 6)]], ms(5)),
        Creation([[commented("a", 1, "c", 6)], [opened("a", 1, 5)]], ms(5)),
        Creation([[opened("a", 1, 5)], [renamed("a", "b", 6)]], ms(5)),
        Creation([[renamed("a", "b", 6)], [opened("a", 1, 5)]], ms(5)),
        Creation([[opened("a", "1", 5)]], ms(5)),
        Creation([[commented("a", 1, "c", 5)]], 0),
        Creation([[opened("a", 2, 5)]], 0),
        Creation([[opened("a", 1, 5) | {"errorCode": "AccessDenied"}]], 0),
        Creation([[opened("a", 1, 5) | {"eventTime": None}]], 0),
        Creation([[opened("a", 1, 5) | {"recipientAccountId": OTHER}]], 0),
        Creation([], 0),
    ],
    ids=lambda creation: ", ".join(one["eventName"] for file in creation.files for one in file),
)
def test_the_creation_of_a_pull_request_is_learnt(creation: Creation) -> None:
    """
    By the success that created it, whatever else is learnt before or after.
    """
    asking = event(at_pull_request(1))

    assert creation.expected == created_ms(asking, Class(*creation.files).memory)


def test_what_is_about_no_pull_request_has_no_creation() -> None:
    pupils = Class([opened("a", 1, 5), created("a", "1", 5)])

    assert 0 == created_ms(event(at_repository("1")), pupils.memory)


# On disk ----------------------------------------------------------------------------------


class OpenLedger(Protocol):
    async def __call__(self) -> SqliteLedger: ...


@pytest.fixture
async def open_ledger(tmp_path: Path) -> AsyncIterator[OpenLedger]:
    """
    Opens the ledger of one file, and closes the one that was open before.
    """
    opened_before: list[SqliteLedger] = []

    async def open_it() -> SqliteLedger:
        for ledger in opened_before:
            await ledger.close()
        opened_before.append(
            await SqliteLedger.open(
                tmp_path / "ledger.db",
                window_seconds=90 * 86400,
                policy=Policy(),
                now=lambda: NOW_MS / 1000,
            )
        )
        return opened_before[-1]

    yield open_it
    for ledger in opened_before:
        await ledger.close()


async def counted(ledger: SqliteLedger, *records: Record) -> dict[tuple[str, str], int]:
    """
    What a file with these records adds to some series, by family and repository.
    """
    file = LogFile("trail", "one.json.gz")
    tally = await ledger.commit(Reading(file, None, tuple(map(event, records))))
    return {
        (series.family, series.labels[2]): total.amount
        for series, total in tally.totals.items()
        if series.family in (EVENTS.name, PULL_REQUEST_EVENTS.name)
    }


async def test_lessons_survive_a_restart(open_ledger: OpenLedger) -> None:
    """
    Names, renames, chains, creations and deletions are facts of the file.
    """
    lessons = [
        [created("a", "A", 1), commented("a", 1, "c0", 2), created("gone", "G", 1)],
        [renamed("a", "b", 10)],
        [replied("c0", "c1", 11), deleted("gone", "G", 3)],
        [opened("a", 2, 5)],
        [created("gone", "G", 1)],
    ]
    for records in lessons:
        await counted(await open_ledger(), *records)
    ledger = await open_ledger()

    assert {(EVENTS.name, "b"): 1, (PULL_REQUEST_EVENTS.name, "b"): 1} == await counted(
        ledger, replied("c1", "c2", 12)
    )
    assert {(EVENTS.name, "b"): 1} == await counted(ledger, at_pull_request(2))
    assert {(EVENTS.name, "b"): 1} == await counted(ledger, at_repository("A"))
    assert {"b": "A"} == {
        repository.name: known.repository_id
        for repository, known in ledger.known.items()
        if known.repository_id
    }


@pytest.mark.parametrize("minutes", [(1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (3, 5, 1, 4, 2)])
async def test_a_history_in_any_order_survives_restarts(
    open_ledger: OpenLedger, minutes: tuple[int, ...]
) -> None:
    """
    A ledger that is closed between any two files learns what one that stays open does.
    """
    history = {
        1: created("a", "FIRST", 1),
        2: renamed("a", "b", 2),
        3: created("a", "SECOND", 3),
        4: deleted("b", "FIRST", 4),
        5: renamed("a", "b", 5),
    }
    for minute in minutes:
        await counted(await open_ledger(), history[minute])
    ledger = await open_ledger()
    found = {
        repository.name: known.repository_id
        for repository, known in ledger.known.items()
        if known.repository_id
    }

    assert {"b": "SECOND"} == found
    assert found == Class(*([history[minute]] for minute in minutes)).infos


@pytest.mark.parametrize("backwards", [True, False])
async def test_both_memories_keep_the_same_of_two_renames_of_one_time(
    open_ledger: OpenLedger, backwards: bool
) -> None:
    """
    Nobody knows which of them it was, but every ledger says the same.
    """
    renames = [
        renamed("a", "b", 2) | {"eventTime": None},
        renamed("a", "c", 2) | {"eventTime": None},
    ]
    files = [[one] for one in renames[:: -1 if backwards else 1]]
    files.append([opened("a", 1, 1) | {"eventTime": None}])
    for records in files:
        await counted(await open_ledger(), *records)
    found = await counted(await open_ledger(), at_pull_request(1))

    assert {(EVENTS.name, Class(*files).name(at_pull_request(1))): 1} == found


async def test_an_odd_arn_does_not_stop_the_ledger(open_ledger: OpenLedger) -> None:
    """
    Half a surrogate pair cannot be written to a file.
    """
    odd = record("X", resources=[{"ARN": "arn:aws:codecommit:\ud800:\ud800:tools"}])

    assert {(EVENTS.name, "tools"): 1} == await counted(await open_ledger(), odd)
