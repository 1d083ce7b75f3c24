"""
The page over time: it is kept written, and always what would be written anew.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from prometheus_client import CollectorRegistry, Counter as OwnCounter, Gauge, Histogram, Info
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.codecommit import Repository
from exporter.families import (
    EVENT_DELIVERY,
    EVENT_LABELS,
    EVENTS,
    FAMILIES,
    FAMILY,
    KMS_REQUESTS,
    LAST_EVENT,
    PULL_REQUEST_OPEN,
    PUSH_REFERENCES,
    PUSHES,
    REPOSITORY_INFO,
    Exemplar,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.journal import Counted, Journal
from exporter.knowledge import Known
from exporter.ledger.book import Book, Change, Policy
from exporter.lines import Format, Lines
from exporter.metrics import Page as LivePage, View
from exporter.retirement import Retirement
from exporter.tally import Tally
from tests.pages import held
from tests.plain import PlainCollector, registry
from tests.processes import OPENMETRICS, TEXT, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from prometheus_client.samples import Sample

NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000
HISTORIES = 100 if os.environ.get("REQUIRE_ALL") else 30
RETIRE_MS = 2 * 3600 * 1000
HERE = ("210987654321", "eu-central-1")
TOOLS, WEB, DOCS = REPOSITORIES = [Repository(*HERE, name) for name in ("tools", "web", "docs")]
NOWHERE = Repository(*HERE, "")
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GENERATE: Mapping[str, Callable[[Any], bytes]] = {
    TEXT: generate_latest,
    OPENMETRICS: generate_openmetrics,
}

COUNTED: Mapping[Family, Sequence[tuple[str, ...]]] = {
    EVENTS: [("GitPull", "HTTP", "true"), ("GetBlob", "", "")],
    EVENT_DELIVERY: [("GitPull", "HTTP", "true"), ("GitPush", "SSH", "true"), ("GetBlob", "", "")],
    PUSHES: [("SSH",)],
    PUSH_REFERENCES: [("SSH",), ("HTTP",)],
    PULL_REQUEST_OPEN: [("merged",)],
    KMS_REQUESTS: [("Decrypt", "")],
    LAST_EVENT: [("GitPull",)],
}
"""Families of every kind, with the labels that stand behind those of the repository."""

Newest = dict[int, Counted]
"""The exemplars of a series, by bucket."""

SampleKey = tuple[str, tuple[tuple[str, str], ...]]


def one_more(family: Family, amount: int) -> Total:
    """
    What an event adds to a series of a family.
    """
    if family.kind is Kind.HISTOGRAM:
        return family.observed(amount)
    return Total(NOW_MS + amount if family.kind is Kind.GAUGE else 1)


@st.composite
def additions(draw: st.DrawFn) -> tuple[Series, Total]:
    """
    A series, and what an event adds to it.
    """
    family = draw(st.sampled_from(list(COUNTED)))
    repository = draw(st.sampled_from([*REPOSITORIES, NOWHERE]))
    labels = draw(st.sampled_from(COUNTED[family]))
    amount = draw(st.sampled_from([0, 900, 1000, 61_250, 3_600_000, 10**9]))
    return Series(family.name, (*repository, *labels)), one_more(family, amount)


CountedEvent = tuple[list[tuple[Series, Total]], bool]
EVENTS_COUNTED = st.tuples(
    st.lists(additions(), min_size=1, max_size=3, unique_by=lambda addition: addition[0].family),
    st.booleans(),
)
"""What an event adds, to one series of a family, and whether a UUID leads to it."""


def index(total: Total) -> int:
    """
    The bucket that an observation is in; 0 for what has no buckets.
    """
    return total.buckets.index(1) if total.buckets else 0


def key(sample: Sample) -> SampleKey:
    return sample.name, tuple(sorted(sample.labels.items()))


class Parsed(NamedTuple):
    """
    A family of a page, whose samples may stand in any order.
    """

    kind: str
    help: str
    samples: Mapping[SampleKey, Sample]


def parsed(text: str, accept: str) -> dict[str, Parsed]:
    """
    The families of a page. No two samples of it are of one series.
    """
    found = {}
    for name, family in Page(text, accept).families.items():
        samples = {key(sample): sample for sample in family.samples}
        assert len(samples) == len(family.samples)
        found[name] = Parsed(family.type, family.documentation, samples)
    return found


def rendered(
    series: Mapping[Series, SeriesState],
    known: Mapping[Repository, Known],
    exemplars: Mapping[Series, Newest],
    accept: str,
) -> str:
    """
    A page as prometheus_client makes it anew.
    """
    plain = PlainCollector(series, known, dict(exemplars))
    return GENERATE[accept](registry(plain)).decode()


def ordered(text: str) -> list[str]:
    """
    The lines of a page, those of repositories by their labels: these have no order.
    """
    lines = text.splitlines()
    shown = f"{REPOSITORY_INFO.name}{{"
    return [line for line in lines if not line.startswith(shown)] + sorted(
        line for line in lines if line.startswith(shown)
    )


class Merged:
    """
    What the delivery times of series come to that are alike in the labels that are shown.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._kept = [label in labels for label in EVENT_LABELS]

    def key(self, series: Series) -> Series:
        """
        The series that stands for one, without values where its labels are not shown.
        """
        labels = zip(series.labels, self._kept, strict=True)
        return series._replace(labels=tuple(label if kept else "" for label, kept in labels))

    def sums(
        self, states: Mapping[Series, SeriesState], shown: Collection[Series]
    ) -> dict[Series, SeriesState]:
        """
        The sums of all series where any is shown, since the earliest birth; held if all are.
        """
        sums: dict[Series, SeriesState] = {}
        visible = {self.key(one) for one in shown}
        for one, state in states.items():
            if one.family != EVENT_DELIVERY.name or self.key(one) not in visible:
                continue
            total, born_ms, released_ms = state.shown, state.born_ms, state.released_ms
            if before := sums.get(self.key(one)):
                total = EVENT_DELIVERY.sum(before.total, total)
                born_ms = min(before.born_ms, born_ms)
                released_ms = released_ms or before.released_ms
            sums[self.key(one)] = SeriesState(total, born_ms, released_ms, total)
        return sums

    def exemplars(self, of: Mapping[Series, Newest]) -> Mapping[Series, Newest]:
        """
        The newest exemplars of all series.
        """
        newest = defaultdict[Series, Newest](dict)
        delivery = (one for one in of if one.family == EVENT_DELIVERY.name)
        for one in delivery:
            for bucket, counted in of[one].items():
                known = newest[self.key(one)].get(bucket, counted)
                newest[self.key(one)][bucket] = max(known, counted, key=counted_ms)
        return newest

    def trimmed(self, text: str) -> str:
        """
        A page without the labels that are not shown.
        """
        for label, kept in zip(EVENT_LABELS, self._kept, strict=True):
            if not kept:
                before = rf"^({EVENT_DELIVERY.name}_[a-z]+{{[^}}]*?)"
                text = re.sub(rf'{before}\b{label}="",?', r"\1", text, flags=re.MULTILINE)
        return text.replace(",}", "}").replace("{}", "")


def counted_ms(counted: Counted) -> int:
    return counted.counted_ms


class History(RuleBasedStateMachine):
    """
    One ledger, what happens to it, and the page that somebody looks at now and then.

    A look compares the page with one made anew of the series that have not left it. What
    earlier looks have shown is kept: nothing that may only grow ever falls, and no exemplar
    is followed by an older one.
    """

    met: ClassVar = Counter[str]()
    """What has been on the pages of all runs, so that they are known to be about something."""

    @initialize(
        hold=st.booleans(),
        retires=st.booleans(),
        created=st.booleans(),
        delivery_labels=st.sampled_from(
            [EVENT_LABELS, EVENT_LABELS[:3], ("aws_region", "action"), ("protocol",), ()]
        ),
    )
    def begin(
        self, hold: bool, retires: bool, created: bool, delivery_labels: tuple[str, ...]
    ) -> None:
        """
        A ledger without series.
        """
        self.now_ms = NOW_MS
        self.journal = Journal()
        self.retirement = Retirement(RETIRE_MS if retires else 0)
        self.policy = Policy(hold=hold, retirement=self.retirement)
        self.book = Book(self.policy, journal=self.journal)
        self.page = LivePage(
            CollectorRegistry(),
            self,
            retirement=self.retirement,
            delivery_labels=delivery_labels,
            created=created,
        )
        self._created = created
        self._labels = delivery_labels
        self._merged = Merged(delivery_labels) if delivery_labels != EVENT_LABELS else None
        self._exemplars = defaultdict[Series, Newest](dict)
        self._ids: dict[str, int] = {}
        self._told: dict[SampleKey, float] = {}
        self._told_exemplars: dict[SampleKey, int] = {}
        self._ordered = not retires  # what comes back to the page stands at the end

    # What the page takes for a ledger.

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self.book.series

    @property
    def known(self) -> Mapping[Repository, Known]:
        return self.book.known

    # What happens.

    @rule(commits=st.lists(st.lists(EVENTS_COUNTED, min_size=1, max_size=2), max_size=3))
    def count(self, commits: list[list[CountedEvent]]) -> None:
        """
        Events are counted, some of which are known by no UUID.

        Of two that one commit counts neither is newer, so there is one of each where series
        that are alike make one line.
        """
        for events in commits:
            for together in [[one] for one in events] if self._merged else [events]:
                self._commit(together)

    def _commit(self, events: list[CountedEvent]) -> None:
        self.now_ms += 2
        tally = Tally()
        for added, has_uuid in events:
            event_id = str(UUID(int=len(self._ids) + 1)) if has_uuid else ""
            if event_id:
                self._ids[event_id] = self.now_ms
            tally.add(added, event_id)
            for series, total in added:
                if event_id and FAMILY[series.family].kind is not Kind.GAUGE:
                    counted = Counted(Exemplar(event_id, total.amount), self.now_ms)
                    self._exemplars[series][index(total)] = counted
        named = {Repository(*series.labels[:3]) for series in tally.totals} - {NOWHERE}
        known = {one: self.known_of(one)._replace(active_ms=self.now_ms) for one in named}
        self.book.update(self.book.changed([tally], known, self.now_ms))

    @rule(
        repository=st.sampled_from(REPOSITORIES),
        repository_id=st.sampled_from(["0a1b", "2c3d", ""]),
        is_named=st.booleans(),
    )
    def learn(self, repository: Repository, repository_id: str, is_named: bool) -> None:
        """
        Something shows a repository, as a rename does: nothing is counted for it.
        """
        known = self.known_of(repository)._replace(
            shown_ms=self.now_ms, repository_id=repository_id
        )
        if is_named:
            known = known._replace(active_ms=self.now_ms)
        self.book.update(self.book.changed([], {repository: known}, self.now_ms))

    @rule(repository=st.sampled_from(REPOSITORIES))
    def delete(self, repository: Repository) -> None:
        """
        A repository is gone; another may get its name later.
        """
        known = self.known_of(repository)._replace(deleted_ms=self.now_ms, repository_id="")
        self.book.update(self.book.changed([], {repository: known}, self.now_ms))

    @rule(seed=st.randoms(use_true_random=False), some=st.booleans())
    def release(self, seed: Any, some: bool) -> None:
        """
        Holds end, all of them or some.
        """
        waiting = held(self.series)
        chosen = [one for one in waiting if not some or seed.random() < 0.5]
        self.book.update(self.book.released(chosen, self.now_ms))

    @rule(minutes=st.sampled_from([1, 59, 61, 121, 500]))
    def wait(self, minutes: int) -> None:
        """
        Time passes.
        """
        self.now_ms += minutes * MINUTE_MS

    @rule()
    def read_again(self) -> None:
        """
        The ledger is in doubt of what it holds and reads it again, in some order.
        """
        series = dict(reversed(self.book.series.items()))
        known, counted_ms = dict(self.book.known), self.book.counted_ms
        self.book = Book(self.policy, series, known, self.journal, counted_ms)

    def known_of(self, repository: Repository) -> Known:
        return self.known.get(repository, Known())

    # What is seen.

    @rule(accept=st.sampled_from([TEXT, OPENMETRICS]))
    def look(self, accept: str) -> None:
        """
        The page in one of its formats, against what it should be.
        """
        self._compare(accept)

    def teardown(self) -> None:
        """
        In the end everything has been released, and may be retired.
        """
        if not hasattr(self, "page"):
            return
        for minutes in (0, 1, 500):
            self.wait(minutes)
            for accept in (TEXT, OPENMETRICS):
                self._compare(accept)
            self.book.update(self.book.released(held(self.series), self.now_ms))

    def _compare(self, accept: str) -> None:
        answer = self.page.answer(accept, now_ms=self.now_ms)
        text = answer.body.decode()
        shown = {one: state for one, state in self.series.items() if not self._hides(one, state)}
        known = {
            one: its
            for one, its in self.known.items()
            if not self.retirement.is_over(its, self.now_ms)
        }
        births = self._check(shown, known, text, accept)
        self._check_growth(text, accept, births)

        assert sorted(held(shown)) == sorted(answer.held)
        self.met["retired"] += len(self.series) - len(shown)

    def _hides(self, series: Series, state: SeriesState) -> bool:
        known = self.known.get(Repository(*series.labels[:3]))
        return self.retirement.hides(state, known, self.now_ms)

    def _check(
        self,
        shown: dict[Series, SeriesState],
        known: Mapping[Repository, Known],
        text: str,
        accept: str,
    ) -> dict[SampleKey, float]:
        """
        Compare a page with one made anew; return when its counters and histograms were born.
        """
        exemplars: Mapping[Series, Newest] = self._exemplars
        if self._merged:
            delivery = [one for one in shown if one.family == EVENT_DELIVERY.name]
            sums = self._merged.sums(self.series, delivery)
            leading = self._merged.exemplars(self._exemplars)
            others = (one for one in shown.items() if one[0].family != EVENT_DELIVERY.name)
            shown = dict(others) | sums
            exemplars = {**self._exemplars, **leading}
        whole = rendered(shown, known, exemplars, accept)
        if self._merged:
            whole = self._merged.trimmed(whole)
        without, births = without_births(text)
        wanted = {
            (one.family.removesuffix("_total") + "_created", shown_labels(one, self._labels)): (
                state.born_ms / 1000
            )
            for one, state in shown.items()
            if FAMILY[one.family].kind is not Kind.GAUGE
        }

        assert parsed(whole, accept) == parsed(without, accept)
        assert (wanted if self._created and accept is OPENMETRICS else {}) == births
        if self._ordered and not self._merged:
            assert ordered(whole) == ordered(without)
        return births

    def _check_growth(self, text: str, accept: str, births: Mapping[SampleKey, float]) -> None:
        """
        Compare a page with those before it.
        """
        now_shown = {
            key(sample): sample
            for family in Page(text, accept).families.values()
            if family.type in {"counter", "histogram"}
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        for one, sample in now_shown.items():
            assert self._told.get(one, 0.0) <= sample.value
            self._told[one] = sample.value
            if sample.exemplar is None:
                continue
            event_id = sample.exemplar.labels["event_id"]
            told = round(float(sample.exemplar.timestamp or 0) * 1000)
            assert accept is OPENMETRICS
            assert UUID_TEXT.fullmatch(event_id)
            assert self._ids[event_id] == told
            assert self._told_exemplars.get(one, 0) <= told
            self._told_exemplars[one] = told
            self.met["exemplars"] += 1
        self.met["growing"] += len(now_shown)
        self.met["births"] += len(births)


def shown_labels(series: Series, delivery_labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """
    The labels of a series that are on the page, by name.
    """
    labels = FAMILY[series.family].labels
    kept = delivery_labels if series.family == EVENT_DELIVERY.name else labels
    pairs = zip(labels, series.labels, strict=True)
    return tuple(sorted((name, value) for name, value in pairs if name in kept))


def without_births(text: str) -> tuple[str, dict[SampleKey, float]]:
    """
    A page without its ``_created`` lines, and what these tell by name and labels.
    """
    births: dict[SampleKey, float] = {}
    lines = []
    for line in text.splitlines(keepends=True):
        if found := re.fullmatch(r"(\w+_created)(?:\{(.*)\})? (\S+)\n", line):
            pairs = re.findall(r'(\w+)="([^"]*)"', found[2] or "")
            births[found[1], tuple(pairs)] = float(found[3])
        else:
            lines.append(line)
    return "".join(lines), births


def test_the_kept_page_is_always_the_one_that_would_be_made_anew() -> None:
    """
    Whatever is counted, learnt, released, retired or read again, in whatever order.
    """
    History.met.clear()
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=HISTORIES, stateful_step_count=30, deadline=None, derandomize=True
        ),
    )

    assert all(History.met[what] for what in ("retired", "exemplars", "growing", "births"))


# What is written again --------------------------------------------------------------------


def pushes(*names: str, event_id: str = "") -> Tally:
    """
    A push to each of these repositories.
    """
    tally = Tally()
    for name in names:
        tally.add([(push_series(name), Total(1))], event_id)
    return tally


def push_series(name: str) -> Series:
    return Series(PUSHES.name, (*HERE, name, "SSH"))


def commit(book: Book, tally: Tally, now_ms: int = NOW_MS) -> None:
    """
    Count what makes every repository that is named active.
    """
    named = {Repository(*series.labels[:3]) for series in tally.totals}
    known = {one: book.known.get(one, Known())._replace(active_ms=now_ms) for one in named}
    book.update(book.changed([tally], known, now_ms))


class Kept:
    """
    A ledger whose book can be another one, as it is after reading itself again.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.book = Book(self.policy)
        self.journal = self.book.journal

    @property
    def series(self) -> Mapping[Series, SeriesState]:
        return self.book.series

    @property
    def known(self) -> Mapping[Repository, Known]:
        return self.book.known

    def read_again(self, known: Mapping[Repository, Known] | None = None) -> None:
        """
        Have the same in another mapping.
        """
        again = dict(self.book.known) if known is None else dict(known)
        series, counted_ms = dict(self.book.series), self.book.counted_ms
        self.book = Book(self.policy, series, again, self.journal, counted_ms)


@pytest.fixture
def ledger() -> Kept:
    return Kept()


@pytest.fixture
def page(ledger: Kept) -> LivePage:
    return LivePage(CollectorRegistry(), ledger)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    The repositories of the series that are written, each time one is.
    """
    names: list[str] = []
    honest = Lines.write

    def write(lines: Lines, values: Sequence[str], *rest: Any) -> str:
        names.append(values[2])
        return honest(lines, values, *rest)

    monkeypatch.setattr(Lines, "write", write)
    return names


def shown_by(page: LivePage, accept: str = TEXT) -> Page:
    answer = page.answer(accept, now_ms=NOW_MS)
    return Page(answer.body.decode(), answer.content_type)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_only_what_has_changed_is_written_again(
    page: LivePage, ledger: Kept, written: list[str], accept: str
) -> None:
    """
    Once each however often it has changed, and nothing where nothing has.
    """
    commit(ledger.book, pushes("tools", "web", "docs"))
    shown_by(page, accept)
    first = sorted(written)
    written.clear()
    for _ in range(2):
        commit(ledger.book, pushes("web", event_id=str(UUID(int=1))))
    changed = shown_by(page, accept).value(PUSHES.name, repository="web")
    again = list(written)
    shown_by(page, accept)
    page.answer(accept, [PUSHES.name], now_ms=NOW_MS)

    assert ["docs", "tools", "web"] == first
    assert (["web"], 3) == (again, changed)
    assert again == written


def test_a_format_costs_nothing_until_it_is_asked_for(
    page: LivePage, ledger: Kept, written: list[str]
) -> None:
    """
    It is written wholly then, and followed from there on.
    """
    commit(ledger.book, pushes("tools", "web"))
    shown_by(page, TEXT)
    commit(ledger.book, pushes("web"))
    shown_by(page, TEXT)
    in_one = sorted(written)
    shown_by(page, OPENMETRICS)
    in_both = sorted(written)
    commit(ledger.book, pushes("web"))
    pages = [shown_by(page, accept) for accept in (TEXT, OPENMETRICS)]

    assert ["tools", "web", "web"] == in_one
    assert ["tools", "tools", "web", "web", "web"] == in_both
    assert [*in_both, "web", "web"] == sorted(written)
    assert [3, 3] == [one.value(PUSHES.name, repository="web") for one in pages]


@pytest.mark.parametrize("delivery_labels", [EVENT_LABELS, ("repository",)])
def test_a_format_that_is_asked_for_late_has_nothing_that_is_gone(
    delivery_labels: tuple[str, ...],
) -> None:
    """
    What has left the page in one format is not in another either.
    """
    retirement = Retirement(RETIRE_MS)
    ledger = Kept(Policy(retirement=retirement))
    page = LivePage(
        CollectorRegistry(), ledger, retirement=retirement, delivery_labels=delivery_labels
    )
    commit(ledger.book, deliveries("tools", 1))
    commit(ledger.book, pushes("tools"))
    commit(ledger.book, pushes("web"), NOW_MS + RETIRE_MS)
    pages = [
        page.answer(accept, now_ms=NOW_MS + RETIRE_MS).body.decode()
        for accept in (TEXT, OPENMETRICS)
    ]

    assert [{"web"}] * 2 == [set(re.findall('repository="(.*?)"', text)) for text in pages]


def test_a_ledger_that_has_read_itself_again_is_written_wholly(
    page: LivePage, ledger: Kept, written: list[str]
) -> None:
    """
    What is in no journal, and what is there no more; exemplars that were known stay.
    """
    event_id = str(UUID(int=1))
    commit(ledger.book, pushes("tools", event_id=event_id))
    ledger.book.update(Change({}, {WEB: Known(active_ms=1, repository_id="0a1b")}))
    before = shown_by(page, OPENMETRICS)
    written.clear()
    ledger.book.series[push_series("docs")] = ledger.series[push_series("tools")]
    ledger.read_again({DOCS: Known(active_ms=1, repository_id="2c3d")})
    after = shown_by(page, OPENMETRICS)
    (sample,) = (
        one
        for one in after.families["codecommit_pushes"].samples
        if one.labels["repository"] == "tools"
    )

    assert (1, 0) == (
        before.value(REPOSITORY_INFO.name, repository="web"),
        after.value(REPOSITORY_INFO.name, repository="web"),
    )
    assert 1 == after.value(REPOSITORY_INFO.name, repository="docs")
    assert ["docs", "docs", "tools"] == sorted(written)
    assert sample.exemplar is not None
    assert {"event_id": event_id} == sample.exemplar.labels


# Delivery times with some labels left out ------------------------------------------------


def deliveries(name: str, number: int) -> Tally:
    """
    An event that took a second, known by a UUID of this number.
    """
    tally = Tally()
    series = Series(EVENT_DELIVERY.name, (*HERE, name, "GitPull", "HTTP", "true"))
    tally.add([(series, EVENT_DELIVERY.observed(1000))], str(UUID(int=number)))
    return tally


def test_a_line_keeps_its_newest_exemplar_when_the_ledger_reads_itself_again() -> None:
    """
    Also where the series that it came from is back on the page, and held.
    """
    policy = Policy(hold=True, retirement=Retirement(RETIRE_MS))
    ledger = Kept(policy)
    page = LivePage(
        CollectorRegistry(), ledger, retirement=policy.retirement, delivery_labels=("action",)
    )

    def newest(now_ms: int) -> list[str]:
        text = page.answer(OPENMETRICS, now_ms=now_ms).body.decode()
        return re.findall(r'event_id="[-0]*(\d+)"', text)

    commit(ledger.book, deliveries("web", 1), NOW_MS)
    commit(ledger.book, deliveries("tools", 2), NOW_MS + 2)
    ledger.book.update(ledger.book.released(held(ledger.series), NOW_MS + 4))
    later_ms = NOW_MS + 4 + RETIRE_MS
    before = newest(later_ms)
    commit(ledger.book, deliveries("tools", 3), later_ms)
    back = newest(later_ms)
    ledger.read_again()
    again = newest(later_ms)
    ledger.book.update(ledger.book.released(held(ledger.series), later_ms))

    assert [] == before
    assert ["3"] == newest(later_ms)
    assert back == again


# A part of the page -----------------------------------------------------------------------


def own_registry() -> CollectorRegistry:
    """
    A metric of each kind of the exporter's own.
    """
    own = CollectorRegistry()
    OwnCounter("ours_seen", "Seen.", registry=own).inc(3)
    Gauge("ours_depth", "Depth.", ["queue"], registry=own).labels("log-files").set(7)
    Histogram("ours_seconds", "Seconds.", buckets=(1, 2), registry=own).observe(1.5)
    Info("ours_build", "Build.", registry=own).info({"version": "1"})
    return own


def everything() -> dict[Series, SeriesState]:
    """
    A series of every family but the repositories', some of them held; odd labels as well.
    """
    states = {}
    for number, family in enumerate(FAMILIES[:-1]):
        labels = tuple(f"{label}\u2028 \\ {{\n{number}" for label in family.labels)
        total = one_more(family, 1000)
        is_held = number % 3 == 1 and family.kind is not Kind.GAUGE
        states[Series(family.name, labels)] = SeriesState(
            total, NOW_MS, None if is_held else NOW_MS, family.zero()
        )
    return states


def by_family(text: str) -> dict[str, list[str]]:
    """
    The lines of each family of a page, by the name that its help is of.
    """
    found = defaultdict[str, list[str]](list)
    name = ""
    for line in text.split("\n"):
        if line.startswith("# HELP"):
            name = line.split(" ")[2]
        found["" if line in {"", "# EOF"} else name].append(line)
    return found


BASES = [family.name.removesuffix("_total") for family in FAMILIES]
OWN_BASES = ["ours_seen", "ours_depth", "ours_seconds", "ours_build"]
ENDINGS = ["", "_total", "_bucket", "_count", "_sum", "_created", "_info"]
NAMES = [base + ending for base in [*BASES, *OWN_BASES, "nobodys"] for ending in ENDINGS]


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12),
    accept=st.sampled_from([TEXT, OPENMETRICS]),
)
def test_a_part_is_the_one_that_the_library_would_choose(names: list[str], accept: str) -> None:
    """
    Only the samples of these names, and of their families nothing where no sample is left.

    A hold begins for those series alone of which the part has anything.
    """
    series = everything()
    known = {TOOLS: Known(active_ms=1, repository_id="0a1b")}
    own = own_registry()
    answer = LivePage(own, View(series, known)).answer(accept, names, now_ms=NOW_MS)
    whole = CollectorRegistry(auto_describe=True)
    for collector in (PlainCollector(series, known), own):
        whole.register(collector)
    expected = GENERATE[accept](whole.restricted_registry(names)).decode()

    assert by_family(expected) == by_family(answer.body.decode())
    assert {
        one
        for one in held(series)
        if Lines(FAMILY[one.family]).names(Format.TEXT).intersection(names)
    } == set(answer.held)


def test_a_part_has_births_where_they_are_asked_for() -> None:
    """
    By their name, in OpenMetrics, and only where births are told at all.
    """
    view = View({push_series("tools"): SeriesState(Total(1), NOW_MS, NOW_MS, Total(0))}, {})
    parts = [
        LivePage(CollectorRegistry(), view, created=created)
        .answer(accept, ["codecommit_pushes_created"], now_ms=NOW_MS)
        .body.decode()
        for created, accept in ((True, OPENMETRICS), (True, TEXT), (False, OPENMETRICS))
    ]

    assert NOW_MS / 1000 == Page(parts[0], OPENMETRICS).value("codecommit_pushes_created")
    assert "codecommit_pushes_total" not in parts[0]
    assert ["", "# EOF\n"] == parts[1:]


def test_a_format_that_nobody_asks_for_is_not_kept(
    ledger: Kept, page: LivePage, written: list[str]
) -> None:
    """
    One look in another format costs nothing for good; the one that is asked for stays.
    """
    commit(ledger.book, pushes("tools"), NOW_MS)
    for minutes in range(0, 90, 30):
        page.answer(OPENMETRICS, now_ms=NOW_MS + minutes * MINUTE_MS)
        if not minutes:
            page.answer(TEXT, now_ms=NOW_MS)
    written.clear()
    page.answer(OPENMETRICS, now_ms=NOW_MS + 61 * MINUTE_MS)
    kept = len(written)
    page.answer(TEXT, now_ms=NOW_MS + 61 * MINUTE_MS)

    assert (0, 1) == (kept, len(written))


@pytest.mark.parametrize("released_ms", [NOW_MS, NOW_MS + RETIRE_MS - 1])
def test_what_left_by_a_clock_that_was_ahead_is_back(released_ms: int) -> None:
    """
    With the repository's id, whether or not any of its series had left.
    """
    series = {push_series("tools"): SeriesState(Total(2), NOW_MS, released_ms, Total(0))}
    view = View(series, {TOOLS: Known(active_ms=NOW_MS, repository_id="0a1b")})
    page = LivePage(CollectorRegistry(), view, retirement=Retirement(RETIRE_MS))
    before = page.answer(now_ms=NOW_MS).body
    ahead = page.answer(now_ms=NOW_MS + RETIRE_MS).body
    after = page.answer(now_ms=NOW_MS + 1).body
    again = page.answer(now_ms=NOW_MS + RETIRE_MS).body

    assert b"0a1b" not in ahead
    assert (before, ahead) == (after, again)
