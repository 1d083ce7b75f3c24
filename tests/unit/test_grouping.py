"""
Single requests that are carried out together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from exporter.grouping import Groups
from tests.fakes import idle, in_no_time


class Doubler:
    """
    Doubles numbers, a group at a time, while its gate is open; negative ones it refuses.

    So many groups fail as it has faults.
    """

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.faults = 0

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(numbers))
        await self.gate.wait()
        if self.faults:
            self.faults -= 1
            raise OSError("broken")
        return [2 * number if number >= 0 else ValueError(str(number)) for number in numbers]


@pytest.fixture
async def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def groups(doubler: Doubler) -> Groups[int, int]:
    return Groups(doubler, size_max=3, name="doubling")


async def test_one_alone_goes_at_once(groups: Groups[int, int], doubler: Doubler) -> None:
    """
    Nobody waits for others to come.
    """
    assert 14 == await groups.submit(7)
    assert [[7]] == doubler.groups


async def test_those_who_are_ready_go_together(groups: Groups[int, int], doubler: Doubler) -> None:
    """
    Requests of one turn of the loop are one group, and each gets its own answer.
    """
    answers = await asyncio.gather(*map(groups.submit, (1, 2, 3)))

    assert [2, 4, 6] == answers
    assert [[1, 2, 3]] == doubler.groups


async def test_whoever_comes_meanwhile_is_the_next_group(
    groups: Groups[int, int], doubler: Doubler
) -> None:
    """
    What is submitted while a group is under way goes out afterwards, in order, all together.
    """
    doubler.gate.clear()
    first = asyncio.create_task(groups.submit(1))
    await idle()
    rest = [asyncio.create_task(groups.submit(number)) for number in (2, 3)]
    await idle()
    under_way = list(doubler.groups)
    doubler.gate.set()
    answers = await asyncio.gather(first, *rest)

    assert [[1]] == under_way
    assert [2, 4, 6] == answers
    assert [[1], [2, 3]] == doubler.groups


async def test_no_group_is_larger_than_its_bound(
    groups: Groups[int, int], doubler: Doubler
) -> None:
    """
    More than fit go in several groups, first come, first served.
    """
    answers = await asyncio.gather(*map(groups.submit, range(7)))

    assert [0, 2, 4, 6, 8, 10, 12] == answers
    assert [[0, 1, 2], [3, 4, 5], [6]] == doubler.groups


async def test_a_refused_item_is_its_own_fault(groups: Groups[int, int]) -> None:
    """
    An exception in an answer's place is raised to whoever asked, and to nobody else.
    """
    answers = await asyncio.gather(*map(groups.submit, (1, -2, 3)), return_exceptions=True)

    assert (2, 6) == (answers[0], answers[2])
    assert isinstance(answers[1], ValueError)


async def test_a_failed_group_fails_all_who_asked(
    groups: Groups[int, int], doubler: Doubler
) -> None:
    """
    If the step itself fails everyone in the group is told, and the next group is tried.
    """
    doubler.gate.clear()
    failing = [asyncio.create_task(groups.submit(number)) for number in (1, 2)]
    await idle()
    later = asyncio.create_task(groups.submit(3))
    doubler.faults = 1
    doubler.gate.set()
    errors = await asyncio.gather(*failing, return_exceptions=True)

    assert [OSError, OSError] == [type(error) for error in errors]
    assert 6 == await later


async def test_whoever_gives_up_loses_only_the_answer(
    groups: Groups[int, int], doubler: Doubler
) -> None:
    """
    A cancelled caller's item is carried out all the same, also if it was still in line.
    """
    doubler.gate.clear()
    tasks = [asyncio.create_task(groups.submit(number)) for number in (1, 2, 3, 4, 5)]
    await idle()
    tasks[0].cancel()
    tasks[3].cancel()
    await idle()
    doubler.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [4, 6, 10] == [answers[1], answers[2], answers[4]]
    assert [[1, 2, 3], [4, 5]] == doubler.groups
    assert tasks[0].cancelled()
    assert tasks[3].cancelled()


async def test_settling_waits_for_the_last_group(
    groups: Groups[int, int], doubler: Doubler
) -> None:
    """
    Once settled nothing is in line or under way, whoever may have given up.
    """
    doubler.gate.clear()
    tasks = [asyncio.create_task(groups.submit(number)) for number in range(5)]
    await idle()
    for task in tasks:
        task.cancel()
    settling = asyncio.create_task(groups.settle())
    await idle()
    settled_early = settling.done()
    doubler.gate.set()
    await settling

    assert not settled_early
    assert [[0, 1, 2], [3, 4]] == doubler.groups


async def test_settling_an_idle_line_returns_at_once(groups: Groups[int, int]) -> None:
    """
    There is nothing to wait for, before the first request and after the last.
    """
    await groups.settle()
    await groups.submit(1)
    await groups.settle()

    assert 4 == await groups.submit(2)


@in_no_time
async def test_who_is_in_no_hurry_waits_for_others(doubler: Doubler) -> None:
    """
    A group of too few lingers; one of enough goes at once, and takes along who else is there.
    """
    loop = asyncio.get_running_loop()
    groups = Groups(doubler, size_max=3, name="doubling", linger_seconds=5, enough=2)
    begun = loop.time()
    alone = await groups.submit(1)
    lingered = loop.time() - begun
    together = await asyncio.gather(*map(groups.submit, (2, 3, 4)))

    assert (2, 5.0) == (alone, lingered)
    assert [4, 6, 8] == together
    assert 5.0 == loop.time() - begun
    assert [[1], [2, 3, 4]] == doubler.groups


@in_no_time
async def test_a_second_group_is_gathered_like_the_first(doubler: Doubler) -> None:
    """
    Those left over when enough have gone wait for more of their own.
    """
    loop = asyncio.get_running_loop()
    groups = Groups(doubler, size_max=2, name="doubling", linger_seconds=5)
    begun = loop.time()
    await asyncio.gather(*map(groups.submit, (1, 2, 3)))

    assert 5.0 == loop.time() - begun
    assert [[1, 2], [3]] == doubler.groups


@pytest.fixture
def lingering(doubler: Doubler) -> Groups[int, int]:
    """
    Waits five seconds for three.
    """
    return Groups(doubler, size_max=3, name="doubling", linger_seconds=5)


@in_no_time
async def test_who_is_urgent_lets_nobody_linger(
    lingering: Groups[int, int], doubler: Doubler
) -> None:
    """
    It goes at once, alone or with whoever waits already, and the next group lingers again.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await lingering.submit(1, urgent=True)
    alone = loop.time() - begun
    waiting = asyncio.create_task(lingering.submit(2))
    await asyncio.sleep(1)
    answers = [await lingering.submit(3, urgent=True), await waiting]
    together = loop.time() - begun
    await lingering.submit(4)

    assert [6, 4] == answers
    assert [0.0, 1.0, 6.0] == [alone, together, loop.time() - begun]
    assert [[1], [2, 3], [4]] == doubler.groups


@in_no_time
async def test_whoever_gives_up_while_a_group_lingers_loses_only_the_answer(
    lingering: Groups[int, int], doubler: Doubler
) -> None:
    """
    Its item stays in the group, which waits for no longer than it would have.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    leaving, staying = (asyncio.create_task(lingering.submit(number)) for number in (1, 2))
    await asyncio.sleep(1)
    leaving.cancel()

    assert 4 == await staying
    assert leaving.cancelled()
    assert 5.0 == loop.time() - begun
    assert [[1, 2]] == doubler.groups


@in_no_time
async def test_settling_waits_for_a_group_that_lingers(
    lingering: Groups[int, int], doubler: Doubler
) -> None:
    """
    Also where all who asked have given up.
    """
    asking = asyncio.create_task(lingering.submit(1))
    await asyncio.sleep(1)
    asking.cancel()
    await lingering.settle()

    assert [[1]] == doubler.groups


@in_no_time
async def test_a_group_that_lingered_fails_like_any_other(
    lingering: Groups[int, int], doubler: Doubler
) -> None:
    """
    Everyone in it is told, and the next group is gathered and carried out.
    """
    doubler.faults = 1
    errors = await asyncio.gather(*map(lingering.submit, (1, 2)), return_exceptions=True)

    assert [OSError, OSError] == [type(error) for error in errors]
    assert 6 == await lingering.submit(3)
    assert [[1, 2], [3]] == doubler.groups


@in_no_time
async def test_a_group_of_enough_leaves_no_timer(
    lingering: Groups[int, int], doubler: Doubler
) -> None:
    """
    The next one lingers for all of its own time.
    """
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(lingering.submit(1))
    await asyncio.sleep(4)
    await asyncio.gather(first, *map(lingering.submit, (2, 3)))
    begun = loop.time()
    await lingering.submit(4)

    assert 5.0 == loop.time() - begun
    assert [[1, 2, 3], [4]] == doubler.groups
