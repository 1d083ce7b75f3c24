"""
The parts of the page, kept: each is what one family has in one format.

A sheet holds what is shown of each series, written as the format has it, and a text's whole part
until one of them changes. Exemplars and times of creation are in OpenMetrics and among points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from exporter.codecommit import Repository
from exporter.families import (
    EVENT_DELIVERY,
    FAMILIES,
    REPOSITORY_INFO,
    THOUSANDTHS,
    Exemplar,
    Family,
    Kind,
    Series,
    SeriesState,
    Total,
)
from exporter.journal import NO_EXEMPLARS, Counted
from exporter.lines import Format, Lines

FORGET_MS = 3600 * 1000
"""For how long a format is kept that nobody asks for."""

POINTS: Literal["points"] = "points"
Form: TypeAlias = Format | Literal["points"]
"""A format of the page, or points that somebody else writes."""

Labels = tuple[str, ...]
Written = TypeVar("Written")
_ONE = Total(THOUSANDTHS)


class Point(NamedTuple):
    """
    What is shown of one series, or of several that are one without some labels.

    ``labels`` are the values of those that are left, and ``born_ms`` is when the first of them
    was born, in milliseconds since 1970; 0 for what has no birth. Nothing in it ever changes.
    """

    labels: Labels
    total: Total
    exemplars: Mapping[int, Counted] = NO_EXEMPLARS
    born_ms: int = 0


class Sheet(ABC, Generic[Written]):
    """
    What is shown of one family, series by series.

    Args:
        family: The family.
        labels: Those of its labels that are left, in the family's order.
    """

    def __init__(self, family: Family, labels: Sequence[str]) -> None:
        self._written: dict[Labels, Written] = {}
        self._merged = None if set(labels) == set(family.labels) else _Merged(family, labels)

    def show(
        self, labels: Labels, state: SeriesState, exemplars: Mapping[int, Counted] = NO_EXEMPLARS
    ) -> None:
        """
        Show a series as it is; a held one without what it does not show.
        """
        if self._merged:
            point = self._merged.contribute(labels, state, exemplars)
        else:
            shown = NO_EXEMPLARS if state.released_ms is None else exemplars
            point = Point(labels, state.shown, shown, state.born_ms)
        self.put(point.labels, point)

    def hide(self, labels: Labels) -> None:
        """
        Take a series off the page, or the last of those that are one.
        """
        key = self._merged.leave(labels) if self._merged else labels
        if key is not None:
            self.drop(key)

    def put(self, key: Labels, point: Point) -> None:
        """
        Show what ``key`` stands for, whatever was shown of it.
        """
        self._written[key] = self._write(point)

    def drop(self, key: Labels) -> None:
        """
        Show nothing any more of what ``key`` stands for.
        """
        self._written.pop(key, None)

    @abstractmethod
    def _write(self, point: Point) -> Written:
        """
        A point as the format has it.
        """


class PointSheet(Sheet[Point]):
    """
    One family for those who write it themselves.
    """

    @property
    def points(self) -> list[Point]:
        """
        What is shown at this moment.
        """
        return list(self._written.values())

    def _write(self, point: Point) -> Point:
        return point


class TextSheet(Sheet[str]):
    """
    One family as text.

    Args:
        lines: How a series is written.
        written: In which format.
        created: Whether OpenMetrics tells when each was born.
    """

    def __init__(self, lines: Lines, written: Format, *, created: bool = False) -> None:
        super().__init__(lines.family, lines.labels)
        self._lines = lines
        self._names = lines.names(written)
        self._head = lines.head(written)
        self._says_more = written is Format.OPENMETRICS
        self._created = created and self._says_more and lines.family.kind is not Kind.GAUGE
        self._text: bytes | None = None

    def put(self, key: Labels, point: Point) -> None:
        """
        Write the lines that ``key`` stands for, whatever stood there.
        """
        self._text = None
        super().put(key, point)

    def drop(self, key: Labels) -> None:
        """
        Take away the lines that ``key`` stands for, if there are any.
        """
        if key in self._written:
            self._text = None
            super().drop(key)

    def text(self, names: Collection[str] = ()) -> bytes:
        """
        The family's part of a page, or only the samples of these names.

        Without a sample of a wanted name there is nothing, as the library has it.
        """
        if names and not (self._written and self._names.issubset(names)):
            return self._restricted(self._names.intersection(names))
        if self._text is None:
            self._text = "".join((self._head, *self._written.values())).encode()
        return self._text

    def _write(self, point: Point) -> str:
        return self._lines.write(
            point.labels,
            point.total,
            point.exemplars if self._says_more else NO_EXEMPLARS,
            point.born_ms if self._created else None,
        )

    def _restricted(self, names: Collection[str]) -> bytes:
        if not names:
            return b""
        samples = [
            f"{sample}\n"
            for lines in self._written.values()
            for sample in lines.removesuffix("\n").split("\n")
            if sample.partition(" ")[0].partition("{")[0] in names
        ]
        return "".join((self._head, *samples)).encode() if samples else b""


class _Merged:
    """
    The series of one family with some labels left out: those that are alike then are one.

    What a series has contributed never leaves: a sum that shrank would look like a reset. So
    a line leaves the page when the last of its series does, and holds all of them until then.
    """

    def __init__(self, family: Family, labels: Sequence[str]) -> None:
        self._kept = [family.labels.index(label) for label in labels]
        self._zero = family.zero()
        self._groups: dict[Labels, _Group] = {}

    def contribute(
        self, labels: Labels, state: SeriesState, exemplars: Mapping[int, Counted]
    ) -> Point:
        """
        What is shown of the line that a series is part of.
        """
        key = self._key(labels)
        group = self._groups.setdefault(key, _Group(self._zero, state.born_ms))
        group.contribute(labels, state, exemplars)
        return Point(key, group.total, group.shown_exemplars, group.born_ms)

    def leave(self, labels: Labels) -> Labels | None:
        """
        The line to be taken away with a series, once all that are part of it have left.
        """
        key = self._key(labels)
        group = self._groups[key]
        group.hidden.add(labels)
        return key if len(group.hidden) == len(group.contributions) else None

    def _key(self, labels: Labels) -> Labels:
        return tuple(labels[index] for index in self._kept)


class _Group:
    """
    The series behind one line, and what they come to.
    """

    def __init__(self, zero: Total, born_ms: int) -> None:
        self.total = zero
        self.born_ms = born_ms
        self.contributions: dict[Labels, Total] = {}
        self.hidden: set[Labels] = set()
        self._held: set[Labels] = set()
        self._exemplars: dict[int, Counted] = {}
        self._zero = zero

    @property
    def shown_exemplars(self) -> Mapping[int, Counted]:
        """
        The newest exemplars, where anything but held series is behind the line.
        """
        return self._exemplars if len(self._held) < len(self.contributions) else NO_EXEMPLARS

    def contribute(
        self, labels: Labels, state: SeriesState, exemplars: Mapping[int, Counted]
    ) -> None:
        """
        Let a series count with what it shows now instead of what it showed before.
        """
        before, after = self.contributions.get(labels, self._zero), state.shown
        self.total = Total(
            self.total.amount + after.amount - before.amount,
            tuple(
                total + new - old
                for total, new, old in zip(
                    self.total.buckets, after.buckets, before.buckets, strict=True
                )
            ),
        )
        self.contributions[labels] = after
        self.hidden.discard(labels)
        self.born_ms = min(self.born_ms, state.born_ms)
        (self._held.add if state.released_ms is None else self._held.discard)(labels)
        # Two of one commit have one time: which of them is shown must not depend on order. And what
        # has been shown may be read by other threads.
        self._exemplars = self._exemplars | {
            bucket: max(self._exemplars.get(bucket, counted), counted, key=_age)
            for bucket, counted in exemplars.items()
        }


def _age(counted: Counted) -> tuple[int, Exemplar]:
    return counted.counted_ms, counted.exemplar


class Sheets:
    """
    The sheets of all families, in each format that has been asked for.

    Args:
        delivery_labels: The labels that ``codecommit_event_delivery_seconds`` is shown with.
        created: Whether OpenMetrics tells when each series was born.
    """

    def __init__(self, delivery_labels: Sequence[str], *, created: bool) -> None:
        self._delivery_labels = delivery_labels
        self._created = created
        self._texts: dict[Format, dict[str, TextSheet]] = {}
        self._points: dict[str, PointSheet] = {}
        self._asked_ms: dict[Form, int] = {}

    def wanted(self, written: Form, now_ms: int) -> bool:
        """
        Take note of who asks for what, and tell whether that is there.

        What nobody has asked for in an hour is not kept: a person's one look would cost
        memory for good.
        """
        self._asked_ms[written] = now_ms
        for other, asked_ms in self._asked_ms.items():
            if now_ms - asked_ms > FORGET_MS:
                self._forget(other)
        return bool(self._points) if written == POINTS else written in self._texts

    def begin(self, written: Form) -> Sheets:
        """
        Make empty sheets of a format; they are among these, and alone in what is returned.
        """
        alone = Sheets(self._delivery_labels, created=self._created)
        if written == POINTS:
            alone._points = {one.name: PointSheet(one, self.labels(one)) for one in FAMILIES}
        else:
            alone._texts[written] = {
                one.name: TextSheet(Lines(one, self.labels(one)), written, created=self._created)
                for one in FAMILIES
            }
        self._texts |= alone._texts
        self._points |= alone._points
        return alone

    def parts(self, written: Format, names: Collection[str]) -> dict[str, bytes]:
        """
        Each family's part of a page of these samples, by its name.
        """
        return {name: sheet.text(names) for name, sheet in self._texts[written].items()}

    def points(self) -> dict[str, list[Point]]:
        """
        What is shown of each family, by its name.
        """
        return {name: sheet.points for name, sheet in self._points.items()}

    def labels(self, family: Family) -> Sequence[str]:
        """
        The labels that a family is shown with, in the order of what is shown.
        """
        if family is EVENT_DELIVERY and set(self._delivery_labels) != set(family.labels):
            return self._delivery_labels
        return family.labels

    def show(self, one: Series, state: SeriesState, exemplars: Mapping[int, Counted]) -> None:
        """
        Show a series as it is.
        """
        for sheet in self._sheets(one.family):
            sheet.show(one.labels, state, exemplars)

    def hide(self, one: Series) -> None:
        """
        Take a series off the page.
        """
        for sheet in self._sheets(one.family):
            sheet.hide(one.labels)

    def show_repository(self, repository: Repository, repository_id: str) -> None:
        """
        Show which id a repository has; nothing where it has none.
        """
        for info in self._sheets(REPOSITORY_INFO.name):
            if repository_id:
                info.put(repository, Point((*repository, repository_id), _ONE))
            else:
                info.drop(repository)

    def _sheets(self, family: str) -> Iterator[TextSheet | PointSheet]:
        for sheets in self._texts.values():
            yield sheets[family]
        if self._points:
            yield self._points[family]

    def _forget(self, written: Form) -> None:
        if written == POINTS:
            self._points = {}
        else:
            self._texts.pop(written, None)
