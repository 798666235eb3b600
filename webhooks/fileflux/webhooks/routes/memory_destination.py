"""The port `Destination` in memory, for tests: it may be told to fail."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fileflux.webhooks.routes.destination import Outcome, RoutedMessage, Target

Judge = Callable[[RoutedMessage], str]
"""Why a message is refused, or nothing."""


class MemoryDestination:
    """`taken`: in the order in which it came. `judge` may be changed at any time."""

    def __init__(self) -> None:
        self.taken: list[RoutedMessage] = []
        self.judge: Judge = lambda message: ""

    async def send(self, messages: Sequence[RoutedMessage]) -> Outcome:
        left: list[RoutedMessage] = []
        problem = ""
        for message in messages:
            said = self.judge(message)
            if said or any(one.key == message.key for one in left):
                left.append(message)
                problem = problem or said
            else:
                self.taken.append(message)
        return Outcome(tuple(left), problem)


class MemoryDestinations:
    """An `OpenDestination`: each target is one, kept however often it is opened."""

    def __init__(self) -> None:
        self.by_target: dict[Target, MemoryDestination] = {}

    def at(self, target: Target) -> MemoryDestination:
        return self.by_target.setdefault(target, MemoryDestination())

    @asynccontextmanager
    async def __call__(self, target: Target) -> AsyncIterator[MemoryDestination]:
        yield self.at(target)
