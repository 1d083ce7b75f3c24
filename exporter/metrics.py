"""
The page that Prometheus scrapes.

Rules:

1. A series that is held shows 0, in all its parts, whatever it holds, or what it showed when
   it left the page. Prometheus sees a counter grow only from a sample it has; the first
   value it meets counts for nothing.
2. The hold begins with the first answer or export that showed the series, and its end is
   committed to the ledger before the value is shown. A series that has been released never
   shows 0 again; one that has not begins its hold anew after a restart.
3. A page has every family of the ledger, with or without series, or there is no page.
4. Samples carry no time of their own: Prometheus keeps late samples badly, and an event's
   own time is in the gauges and in the delivery histogram.
5. A series is written once for each change, not for each page.
6. A held series shows no exemplars. A line of several series shows the newest of all of them,
   once one of them is not held.
7. What goes elsewhere than on the page, as points, is the same at the same moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from exporter.codecommit import Repository
from exporter.families import EVENT_LABELS, FAMILIES, Family, Kind, Series, SeriesState
from exporter.journal import NO_EXEMPLARS, Counted, Journal
from exporter.knowledge import Known
from exporter.lines import Format
from exporter.retirement import NEVER, Retired, Retirement
from exporter.sheets import POINTS, Form, Point, Sheets

OPENMETRICS = "application/openmetrics-text"
"""What is accepted by those who want OpenMetrics."""

SeriesStates = Mapping[Series, SeriesState]
_VERSION = re.compile(r"(?<=version=)[^;]+")


class Shown(Protocol):
    """
    What a page shows: a ledger, or something that looks like one.
    """

    @property
    def series(self) -> SeriesStates:
        """
        Every series; another mapping than before where everything may have changed.
        """

    @property
    def known(self) -> Mapping[Repository, Known]:
        """
        Every repository.
        """

    @property
    def journal(self) -> Journal:
        """
        What has changed in them.
        """


@dataclass(frozen=True, slots=True)
class View:
    """
    Series and repositories to be shown as they are.
    """

    series: SeriesStates
    known: Mapping[Repository, Known]
    journal: Journal = field(default_factory=Journal)


class Answer(NamedTuple):
    """
    A page in parts, its content type, and the held series that it shows.
    """

    parts: Sequence[bytes]
    content_type: str
    held: Collection[Series]

    @property
    def body(self) -> bytes:
        """
        The whole page.
        """
        return b"".join(self.parts)


class Points(NamedTuple):
    """
    What is shown of one family: the labels it is shown with, and its points.
    """

    family: Family
    labels: Sequence[str]
    points: Sequence[Point]


class Snapshot(NamedTuple):
    """
    What a page shows at one moment, family by family, and the held series among that.
    """

    families: Sequence[Points]
    held: Collection[Series]


class Page:
    """
    The page of a ledger, kept written; only what the journal names is written again.

    Args:
        own: The exporter's own metrics.
        shown: The ledger. Nobody else may read its journal.
        retirement: Which series the page leaves out.
        delivery_labels: The labels that ``codecommit_event_delivery_seconds`` is shown with.
        created: Whether OpenMetrics tells when each series was born.
    """

    def __init__(
        self,
        own: CollectorRegistry,
        shown: Shown,
        *,
        retirement: Retirement = NEVER,
        delivery_labels: Sequence[str] = EVENT_LABELS,
        created: bool = False,
    ) -> None:
        self._own = own
        self._shown = shown
        self._retirement = retirement
        self._new_sheets = partial(Sheets, delivery_labels, created=created)
        self._exemplars: dict[Series, Mapping[int, Counted]] = {}
        self._followed: SeriesStates | None = None
        self._begin()

    @property
    def series(self) -> int:
        """
        How many series the ledger has, those that have left the page included.
        """
        return len(self._shown.series)

    def answer(self, accept: str = "", names: Collection[str] = (), *, now_ms: int) -> Answer:
        """
        The page in the format that ``accept`` asks for.

        Args:
            accept: The request's header of that name.
            names: The only samples that are wanted; all if empty.
            now_ms: The time by which series retire, in milliseconds since 1970.
        """
        encode, content_type, written = _format(accept)
        self._keep(written, now_ms)
        parts = self._sheets.parts(written, names)
        own = encode(self._own.restricted_registry(names) if names else self._own)
        held = [series for series in self._held if parts[series.family]]
        return Answer([*parts.values(), own], content_type, held)

    def snapshot(self, now_ms: int, time_ms: int) -> Snapshot:
        """
        What the page shows, without the exporter's own metrics, for other threads to read.

        Counters and histograms born by a clock that was ahead are left out until the time is there.

        Args:
            now_ms: The time by which series retire, in milliseconds since 1970.
            time_ms: The time the points will have, before which they must have been born.
        """
        self._keep(POINTS, now_ms)
        points = self._sheets.points()
        families = [
            Points(
                family,
                self._sheets.labels(family),
                [
                    point
                    for point in points[family.name]
                    if point.born_ms < time_ms or family.kind is Kind.GAUGE
                ],
            )
            for family in FAMILIES
        ]
        held = [one for one in self._held if self._shown.series[one].born_ms < time_ms]
        return Snapshot(families, held)

    def _keep(self, written: Form, now_ms: int) -> None:
        """
        Have everything written in a format as it is at this moment.
        """
        self._catch_up()
        if not self._sheets.wanted(written, now_ms):
            self._write_all(self._sheets.begin(written))
        self._retire(now_ms)

    def _begin(self) -> None:
        """
        Start with nothing written, in a format that nobody has asked for.
        """
        self._sheets = self._new_sheets()
        self._retired = Retired(self._retirement)
        self._held: dict[Series, None] = {}

    def _catch_up(self) -> None:
        """
        Write what has changed; begin anew where the ledger has read itself again.
        """
        entries = self._shown.journal.take()
        for one, exemplars in entries.series.items():
            if exemplars:  # in place of those before, which other threads may be reading
                self._exemplars[one] = {**self._exemplars.get(one, NO_EXEMPLARS), **exemplars}
        if self._shown.series is not self._followed:
            self._begin()
            self._followed = self._shown.series
            for one in self._shown.series:
                self._note(one)
            return
        for repository in entries.repositories:
            self._bring_back(repository)
        for one in entries.series:
            self._note(one)
            self._write(one, self._sheets)

    def _note(self, one: Series) -> None:
        """
        Take note of a series: whether it is held, and that it is on the page.
        """
        if self._shown.series[one].released_ms is None:
            self._held[one] = None
        else:
            self._held.pop(one, None)
        self._retired.show(one)

    def _write_all(self, sheets: Sheets) -> None:
        """
        Write everything there is.
        """
        for repository in self._shown.known:
            self._write_repository(repository, sheets)
        for one in self._shown.series:
            self._write(one, sheets)
            if one in self._retired:
                sheets.hide(one)

    def _write(self, one: Series, sheets: Sheets) -> None:
        exemplars = self._exemplars.get(one, NO_EXEMPLARS)
        sheets.show(one, self._shown.series[one], exemplars)

    def _write_repository(self, repository: Repository, sheets: Sheets) -> None:
        known = self._shown.known[repository]
        is_named = known.active_ms and not self._retired.has(repository)
        sheets.show_repository(repository, known.repository_id if is_named else "")

    def _retire(self, now_ms: int) -> None:
        """
        Take off the page what is to leave it.
        """
        for repository in self._retired.undone(now_ms):
            self._bring_back(repository)
        for repository, leaving in self._retired.leave(
            self._shown.known, self._shown.series, now_ms
        ):
            self._write_repository(repository, self._sheets)
            for one in leaving:
                self._sheets.hide(one)

    def _bring_back(self, repository: Repository) -> None:
        """
        Show a repository as it is, with what had left the page.
        """
        back = self._retired.bring_back(repository)
        self._write_repository(repository, self._sheets)
        for one in back:
            self._write(one, self._sheets)


def _format(accept: str) -> tuple[Callable[[Collector], bytes], str, Format]:
    """
    The library's choice: how it encodes, what that is called, and which format it is.

    It is plain text of 0.0.4 where nothing is asked for; who asks for 1.0.0 of it gets the same
    under that name. A version that is no version makes the library raise; plain text is what
    all can read. OpenMetrics is always that of 1.0.
    """
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):
        encode, content_type = choose_encoder("")
    if not content_type.startswith(OPENMETRICS):
        return encode, content_type, Format.TEXT
    return encode, _VERSION.sub("1.0.0", content_type), Format.OPENMETRICS
