"""The order in which Prefect's server evaluates events, changed so that automations act at once after a restart.

The event of a state names the event of the state before, and Prefect delays it, for 15 minutes at most, until the
automations have seen that one. It remembers only in memory which events they have seen. So a run that crashed after a
restart of the server was resumed 15 minutes later, and never if the server ended again within that time. Here, all
events before the start of this process count as seen, because no server has them in its queue. The time of an event
is in its UUID (version 7).
"""

import time
from uuid import UUID

from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import Event

_STARTED_MS = int(1000 * time.time())


class CausalOrdering(memory.CausalOrdering):
    """Prefect's order of events in memory, for a server that was started again."""

    async def event_has_been_seen(self, event: UUID | Event) -> bool:
        """Return whether an event was evaluated, here or before this process began."""
        number = event.id if isinstance(event, Event) else event
        if number.version == 7 and number.int >> 80 < _STARTED_MS:
            return True
        return await super().event_has_been_seen(event)
