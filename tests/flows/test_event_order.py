"""An event is evaluated at once if it follows one from before the start of the server (flows/event_order.py)."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from prefect.server.events.ordering import EventArrivedEarly
from prefect.server.events.schemas.events import ReceivedEvent, Resource

from flows.event_order import CausalOrdering


def uuid7(seconds: float) -> UUID:
    """Return a number of that time, as the states of Prefect's runs have."""
    return UUID(int=int(1000 * seconds) << 80 | uuid4().int % (1 << 80) & ~(15 << 76) | 7 << 76)


def evaluated(*events: ReceivedEvent) -> list[bool]:
    """Return of each event, in order of arrival, whether automations may act on it when it arrives."""
    order = CausalOrdering(scope=str(uuid4()))

    async def evaluate(event: ReceivedEvent, depth: int = 0) -> None:
        async with order.preceding_event_confirmed(evaluate, event, depth):
            pass

    async def each() -> list[bool]:
        acted = []
        for event in events:
            try:
                await evaluate(event)
                acted.append(True)
            except EventArrivedEarly:
                acted.append(False)
        return acted

    return asyncio.run(each())


@pytest.mark.parametrize(
    ("leader", "acted"),
    [(uuid7(time.time() - 60), True), (uuid7(time.time() + 60), False), (uuid4(), False)],
    ids=["before the start", "since the start", "of an unknown time"],
)
def test_an_event_waits_only_for_one_that_can_still_arrive(leader: UUID, acted: bool) -> None:
    def event(number: UUID, follows: UUID | None) -> ReceivedEvent:
        resource = Resource({"prefect.resource.id": "prefect.flow-run.a"})
        now = datetime.now(UTC)
        return ReceivedEvent(
            id=number, follows=follows, occurred=now, received=now, event="a", resource=resource
        )

    follower = event(uuid7(time.time() + 61), leader)
    assert evaluated(follower) == [acted]
    assert evaluated(event(leader, None), follower) == [True, True]
