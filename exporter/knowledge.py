"""
What events teach about repositories: which exist, what they are called, what belongs to them.

Rules:

1. All records of a log file teach before any of them is resolved. What a commit has learnt
   holds for the commits after it; what came too early stays without a name.
2. Only a success teaches, or the ARN of a resource. What a failed request names is a claim.
3. Lessons count by the time of their events, not by their arrival; where two contradict
   each other about one second, by their arrival after all. What is kept of one is what it
   said: renames are applied when it is looked up, so that they may arrive in any order.
4. Ids are never used again. A deleted repository's id is gone for good, its name is not:
   another repository may get it.

Times are in milliseconds since 1970, and 0 stands for none: an event without a usable time
teaches as the oldest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from exporter.codecommit import Event, IdKind, Repository, Subject
from exporter.timestamps import usable_ms


class Known(NamedTuple):
    """
    What is known of a repository by its name.

    ``shown_ms`` and ``deleted_ms`` are the newest events that showed it to exist and deleted
    it. ``active_ms`` is when, by the clock, a label last named it. ``repository_id`` is its
    id, empty where that is not known or deleted.
    """

    shown_ms: int = 0
    deleted_ms: int = 0
    active_ms: int = 0
    repository_id: str = ""

    @property
    def is_deleted(self) -> bool:
        """
        Whether nothing has shown the repository since it was deleted.
        """
        return self.deleted_ms > 0 and self.shown_ms <= self.deleted_ms


class Learnt(NamedTuple):
    """
    What is known of a subject: the name that its repository had at the time of an event.

    ``created_ms`` is the creation of a pull request, ``on_pull_request`` says so of a
    comment, ``deleted_ms`` is when a repository was deleted.
    """

    repository: str
    event_ms: int
    created_ms: int = 0
    on_pull_request: bool = False
    deleted_ms: int = 0


class Rename(NamedTuple):
    """
    A repository got another name.
    """

    repository: Repository
    event_ms: int
    name: str


class Renames:
    """
    All renames that are known.
    """

    def __init__(self, renames: Iterable[Rename] = ()) -> None:
        self._renames = defaultdict[Repository, dict[int, str]](dict)
        self._times = defaultdict[Repository, list[int]](list)
        self._neighbours = defaultdict[Repository, set[Repository]](set)
        for rename in renames:
            self.keep(rename)

    def keep(self, rename: Rename) -> None:
        """
        Take note of a rename; of two of one name at the same time the first is believed.
        """
        if rename.event_ms in self._renames[rename.repository]:
            return
        self._renames[rename.repository][rename.event_ms] = rename.name
        insort(self._times[rename.repository], rename.event_ms)
        new = rename.repository._replace(name=rename.name)
        self._neighbours[rename.repository].add(new)
        self._neighbours[new].add(rename.repository)

    def current(
        self, repository: Repository, at_ms: int, until_ms: int = 0
    ) -> tuple[Repository, int]:
        """
        What a repository is called by now that was called so at some time, and since when.

        An event of the same second as a rename names the old name, so it came before; the
        new name is there from the next moment on. With ``until_ms`` the repository was gone
        by then, and has the name that it had last.
        """
        while (first := self._first(repository, at_ms)) is not None:
            if until_ms and first >= until_ms:
                break
            name = self._renames[repository][first]
            repository, at_ms = repository._replace(name=name), first + 1
        return repository, at_ms

    def related(self, repository: Repository) -> set[Repository]:
        """
        Every name that renames lead to from a repository's, or from which they lead there.
        """
        found = {repository}
        waiting = [repository]
        while waiting:
            new = self._neighbours[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    def _first(self, repository: Repository, at_ms: int) -> int | None:
        """
        When a repository of this name was renamed first, from some time on.
        """
        times = self._times.get(repository, [])
        place = bisect_left(times, at_ms)
        return times[place] if place < len(times) else None


class Repositories:
    """
    The repositories known, as of one transaction.

    Args:
        committed: What is known outside the transaction; it is read, not changed.
        named: How many of them labels name.
        named_max: How many of them labels may name.
    """

    def __init__(
        self, committed: Mapping[Repository, Known], *, named: int, named_max: int
    ) -> None:
        self.named = named
        self.changed: dict[Repository, Known] = {}
        self._committed = committed
        self._named_max = named_max

    def get(self, repository: Repository) -> Known | None:
        """
        What is known of a repository; None where nothing shows that it exists.
        """
        return self.changed.get(repository) or self._committed.get(repository)

    def keep(self, repository: Repository, known: Known) -> None:
        """
        Take note of a repository. A second time changes nothing.
        """
        self.changed[repository] = known

    def name(self, repository: Repository, now_ms: int) -> bool:
        """
        Whether a label may name the repository, which is then active; not past the limit.
        """
        known = self.get(repository) or Known()
        if known.active_ms and known.active_ms == now_ms:
            return True
        if not known.active_ms:
            if self.named >= self._named_max:
                return False
            self.named += 1
        self.keep(repository, known._replace(active_ms=now_ms))
        return True


class Sight(Enum):
    """
    What a memory says of an event it is shown.
    """

    NEW = "new"
    REPEATED = "repeated"
    LATE = "late"
    """Too old to be told from a repeat."""


class Memory(Protocol):
    """
    What is remembered, as of the transaction at hand.
    """

    @property
    def repositories(self) -> Repositories:
        """
        The repositories known.
        """

    def see(self, ids: tuple[bytes, ...], time_ms: int | None) -> Sight:
        """
        Tell whether something with these ids is new, and remember it; REPEATED from then on.
        """

    @property
    def renames(self) -> Renames:
        """
        The renames known.
        """

    def keep_rename(self, rename: Rename) -> None:
        """
        Take note of a rename. A second time changes nothing.
        """

    def learnt(self, subject: Subject) -> Learnt | None:
        """
        What is known of a subject; None where nothing has been learnt.
        """

    def keep_learnt(self, subject: Subject, learnt: Learnt) -> None:
        """
        Take note of a subject, instead of what was known of it.
        """

    def repository_ids(self, repository: Repository) -> Iterable[tuple[Subject, Learnt]]:
        """
        Every repository id of which this name was told last, with what is known of it.
        """


def learn(events: Sequence[Event], memory: Memory, now_ms: int) -> None:
    """
    Take in what all events of a log file teach.
    """
    proven = [event for event in events if event.proven]
    _show(events, memory, now_ms)
    told = set[Repository]()
    for event in proven:
        if event.renamed_to:
            moment = _moment(event, now_ms)
            memory.keep_rename(Rename(event.repository, moment, event.renamed_to))
            told.add(event.repository)
        if event.deleted_id:
            told |= _delete(event, memory, now_ms)
    for event in proven:
        told |= _teach_by_name(event, memory, now_ms)
    _teach_by_subjects(proven, memory)
    while told:
        names = memory.renames.related(told.pop())
        told -= names
        _identify(names, memory, now_ms)


def repository_of(event: Event, memory: Memory) -> Repository:
    """
    The repository an event is about; its name is empty where that cannot be told.

    It is the one that the event names, unless only a stranger names it, or else the one that
    the first subject belongs to of which that has been learnt.
    """
    if not event.named:
        return first_learnt(event.subjects, memory) or event.repository
    if event.proven or not event.repository.name or memory.repositories.get(event.repository):
        return event.repository
    return event.repository._replace(name="")


def first_learnt(subjects: Iterable[Subject], memory: Memory) -> Repository | None:
    """
    The repository of the first subject of which it has been learnt, as it is called by now.
    """
    for subject in subjects:
        learnt = memory.learnt(subject)
        if learnt and learnt.repository:
            return _home(subject, learnt, memory)[0]
    return None


def is_on_pull_request(event: Event, memory: Memory) -> bool:
    """
    Whether an event posts a comment on a pull request, or a reply to one that is known to be.
    """
    if not event.is_reply:
        return event.action == "PostCommentForPullRequest"
    return any(
        learnt.on_pull_request
        for subject in event.subjects
        if subject.kind is IdKind.COMMENT and (learnt := memory.learnt(subject))
    )


def created_ms(event: Event, memory: Memory) -> int:
    """
    When the pull request was created that an event is about; 0 where that is not known.
    """
    for subject in event.subjects:
        if subject.kind is IdKind.PULL_REQUEST and (learnt := memory.learnt(subject)):
            return learnt.created_ms
    return 0


def _moment(event: Event, now_ms: int) -> int:
    """
    The time of an event; 0 where there is none that can be used.
    """
    return usable_ms(event.time_ms, now_ms) or 0


def _show(events: Iterable[Event], memory: Memory, now_ms: int) -> None:
    """
    Take note of the repositories that events show to exist.
    """
    newest: dict[Repository, int] = {}
    for event in events:
        moment = _moment(event, now_ms)
        for repository in event.shows:
            newest[repository] = max(newest.get(repository, 0), moment)
    for repository, shown_ms in newest.items():
        known = memory.repositories.get(repository)
        if known is None or known.shown_ms < shown_ms:
            known = (known or Known())._replace(shown_ms=shown_ms)
            memory.repositories.keep(repository, known)


def _delete(event: Event, memory: Memory, now_ms: int) -> set[Repository]:
    """
    Let a repository be gone, and its id with it; return the names of which that is news.
    """
    at_ms = _moment(event, now_ms)
    known = memory.repositories.get(event.repository)
    if known and known.deleted_ms < at_ms:
        memory.repositories.keep(event.repository, known._replace(deleted_ms=at_ms))
    subject = Subject(IdKind.REPOSITORY, *event.repository[:2], event.deleted_id)
    old = memory.learnt(subject)
    new = Learnt(event.repository.name, at_ms) if event.repository.name or not old else old
    memory.keep_learnt(subject, new._replace(deleted_ms=max(at_ms, 1)))
    return {subject.repository(one.repository) for one in (old, new) if one}


def _teach_by_name(event: Event, memory: Memory, now_ms: int) -> set[Repository]:
    """
    Let what an event mentions belong to the repository that it names.

    Returns the names whose repository ids are news.
    """
    told = set[Repository]()
    if not event.repository.name or not event.subjects:
        return told
    at_ms = _moment(event, now_ms)
    lesson = Learnt(event.repository.name, at_ms)
    created_ms = at_ms if event.action == "CreatePullRequest" else 0
    on_pull_request = is_on_pull_request(event, memory)
    for subject in event.subjects:
        old = memory.learnt(subject)
        new = _newest(old, lesson)
        if subject.kind is IdKind.PULL_REQUEST:
            new = new._replace(created_ms=(old and old.created_ms) or created_ms)
        elif subject.kind is IdKind.COMMENT:
            new = new._replace(on_pull_request=bool(old and old.on_pull_request) or on_pull_request)
        elif new != old and not _has_id(subject, new, memory):
            told |= {subject.repository(one.repository) for one in (old, new) if one}
        if new != old:
            memory.keep_learnt(subject, new)
    return told


def _newest(old: Learnt | None, lesson: Learnt) -> Learnt:
    """
    The newer of two lessons about one subject.

    What is deleted is nothing's any more, whatever still tells of it.
    """
    return old if old and (old.deleted_ms or old.event_ms > lesson.event_ms) else lesson


def _teach_by_subjects(events: Sequence[Event], memory: Memory) -> None:
    """
    Let what events mention belong to where one of the things they mention does.

    This only adds: what is known already stays as it is. A reply makes a comment that another
    reply answers, so what is news of one event is looked at again with every event that
    mentions it.
    """
    linking = [event for event in events if len(event.subjects) > 1]
    mentions = defaultdict[Subject, list[Event]](list)
    for event in linking:
        for subject in event.subjects:
            mentions[subject].append(event)
    waiting = deque(linking)
    while waiting:
        for subject in _pass_on(waiting.popleft(), memory):
            waiting.extend(mentions[subject])


def _pass_on(event: Event, memory: Memory) -> list[Subject]:
    """
    Let what is known of one subject of an event be known of all; return those it is news of.

    An event that names no repository knows no name of its own: its lesson is as old as the
    one that it rests on. One that names some, but none in particular, has no lesson.
    """
    known = () if event.named else filter(None, map(memory.learnt, event.subjects))
    lesson = next((Learnt(*learnt[:2]) for learnt in known if learnt.repository), None)
    on_pull_request = is_on_pull_request(event, memory)
    news = []
    for subject in event.subjects:
        old = memory.learnt(subject)
        new = old or lesson
        if new and on_pull_request and subject.kind is IdKind.COMMENT:
            new = new._replace(on_pull_request=True)
        if new and new != old:
            memory.keep_learnt(subject, new)
            news.append(subject)
    return news


def _home(subject: Subject, learnt: Learnt, memory: Memory) -> tuple[Repository, int]:
    """
    The repository that a subject belongs to by its name of today, and since when it has it.
    """
    told = subject.repository(learnt.repository)
    return memory.renames.current(told, learnt.event_ms, learnt.deleted_ms)


def _has_id(subject: Subject, learnt: Learnt, memory: Memory) -> bool:
    """
    Whether the repository that an id belongs to is known to have it.
    """
    known = memory.repositories.get(_home(subject, learnt, memory)[0])
    return known is not None and known.repository_id == subject.id


def _identify(names: set[Repository], memory: Memory, now_ms: int) -> None:
    """
    Let repositories have their newest ids, unless those are deleted.

    Newest is what has the name since the latest moment, then what was told of last. The names
    are all those that renames connect: an id that was told of one of them is of one of them.
    """
    ages: dict[Repository, tuple[int, int, bool, str]] = {}
    for told in names:
        for subject, learnt in memory.repository_ids(told):
            repository, since_ms = _home(subject, learnt, memory)
            age = (since_ms, learnt.event_ms, not learnt.deleted_ms, subject.id)
            ages[repository] = max(age, ages.get(repository, age))
    for repository in names:
        known = memory.repositories.get(repository)
        _, _, lives, newest = ages.get(repository, (0, 0, False, ""))
        repository_id = newest if lives else ""
        if known and repository_id != known.repository_id:
            memory.repositories.keep(repository, known._replace(repository_id=repository_id))
        if known and repository_id and not known.active_ms:
            memory.repositories.name(repository, now_ms)
