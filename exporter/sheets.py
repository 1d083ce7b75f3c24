"""
The parts of the page, kept written: each is what one family has in one format.

A sheet holds the lines of each series as they were last written, and the family's whole text
until one of them changes. Exemplars and times of creation are on those of OpenMetrics alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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

Labels = tuple[str, ...]
_ONE = Total(THOUSANDTHS)


class Sheet:
    """
    The series of one family, each written once.

    Args:
        lines: How a series is written.
        written: In which format.
        created: Whether OpenMetrics tells when each was born.
    """

    def __init__(self, lines: Lines, written: Format, *, created: bool = False) -> None:
        self._lines = lines
        self._names = lines.names(written)
        self._head = lines.head(written)
        self._says_more = written is Format.OPENMETRICS
        self._created = created and self._says_more and lines.family.kind is not Kind.GAUGE
        self._written: dict[Labels, str] = {}
        self._text: bytes | None = None

    def show(
        self, labels: Labels, state: SeriesState, exemplars: Mapping[int, Counted] = NO_EXEMPLARS
    ) -> None:
        """
        Write a series as it is; a held one without what it does not show.
        """
        shown = NO_EXEMPLARS if state.released_ms is None else exemplars
        self.put(labels, labels, state.shown, shown, state.born_ms)

    def hide(self, labels: Labels) -> None:
        """
        Take a series off the page.
        """
        self.drop(labels)

    def put(
        self,
        key: Labels,
        values: Labels,
        total: Total,
        exemplars: Mapping[int, Counted] = NO_EXEMPLARS,
        born_ms: int = 0,
    ) -> None:
        """
        Write the line that ``key`` stands for, whatever stood there.
        """
        self._text = None
        self._written[key] = self._lines.write(
            values,
            total,
            exemplars if self._says_more else NO_EXEMPLARS,
            born_ms if self._created else None,
        )

    def drop(self, key: Labels) -> None:
        """
        Take away the line that ``key`` stands for, if there is one.
        """
        if self._written.pop(key, None) is not None:
            self._text = None

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


class MergedSheet(Sheet):
    """
    The series of one family with some labels left out: those that are alike then are one.

    What a series has contributed never leaves: a sum that shrank would look like a reset. So
    a line leaves the page when the last of its series does, and holds all of them until then.
    """

    def __init__(self, lines: Lines, written: Format, *, created: bool = False) -> None:
        super().__init__(lines, written, created=created)
        self._kept = [lines.family.labels.index(label) for label in lines.labels]
        self._groups: dict[Labels, _Group] = {}

    def show(
        self, labels: Labels, state: SeriesState, exemplars: Mapping[int, Counted] = NO_EXEMPLARS
    ) -> None:
        """
        Write the line that a series is part of.
        """
        key = self._key(labels)
        group = self._groups.setdefault(key, _Group(self._lines.family.zero(), state.born_ms))
        group.contribute(labels, state, exemplars)
        self.put(key, key, group.total, group.shown_exemplars, group.born_ms)

    def hide(self, labels: Labels) -> None:
        """
        Take the line off the page once all its series are to be hidden.
        """
        key = self._key(labels)
        group = self._groups[key]
        group.hidden.add(labels)
        if len(group.hidden) == len(group.contributions):
            self.drop(key)

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
        for bucket, counted in exemplars.items():
            # Two of one commit have one time: which of them is shown must not depend on order.
            newest = self._exemplars.get(bucket, counted)
            self._exemplars[bucket] = max(newest, counted, key=_age)


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
        self._formats: dict[Format, dict[str, Sheet]] = {}
        self._asked_ms: dict[Format, int] = {}

    def wanted(self, written: Format, now_ms: int) -> bool:
        """
        Take note of who asks for what, and tell whether that is there.

        What nobody has asked for in an hour is not kept: a person's one look would cost
        memory for good.
        """
        self._asked_ms[written] = now_ms
        for other, asked_ms in self._asked_ms.items():
            if now_ms - asked_ms > FORGET_MS:
                self._formats.pop(other, None)
        return written in self._formats

    def begin(self, written: Format) -> Sheets:
        """
        Make empty sheets of a format; they are among these, and alone in what is returned.
        """
        alone = Sheets(self._delivery_labels, created=self._created)
        alone._formats[written] = {family.name: self._sheet(family, written) for family in FAMILIES}
        self._formats |= alone._formats
        return alone

    def parts(self, written: Format, names: Collection[str]) -> dict[str, bytes]:
        """
        Each family's part of a page of these samples, by its name.
        """
        return {name: sheet.text(names) for name, sheet in self._formats[written].items()}

    def show(self, one: Series, state: SeriesState, exemplars: Mapping[int, Counted]) -> None:
        """
        Write a series as it is.
        """
        for sheets in self._formats.values():
            sheets[one.family].show(one.labels, state, exemplars)

    def hide(self, one: Series) -> None:
        """
        Take a series off the page.
        """
        for sheets in self._formats.values():
            sheets[one.family].hide(one.labels)

    def show_repository(self, repository: Repository, repository_id: str) -> None:
        """
        Write which id a repository has; nothing where it has none.
        """
        for sheets in self._formats.values():
            info = sheets[REPOSITORY_INFO.name]
            if repository_id:
                info.put(repository, (*repository, repository_id), _ONE)
            else:
                info.drop(repository)

    def _sheet(self, family: Family, written: Format) -> Sheet:
        if family is EVENT_DELIVERY and set(self._delivery_labels) != set(family.labels):
            lines = Lines(family, self._delivery_labels)
            return MergedSheet(lines, written, created=self._created)
        return Sheet(Lines(family), written, created=self._created)
