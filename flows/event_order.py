"""The order in which Prefect's server evaluates events, so that automations act at once after it was started again.

The event of a state names the event of the state before, and Prefect holds it, for 15 minutes at most, until its
automations have seen that one. What they have seen it keeps in memory. So a run that crashed after a restart of the
server was resumed 15 minutes later, and never if the server ended again within that time. Here all events before the
start of this process count as seen, because no server has them in its queue. A UUID of version 7 tells its time.
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
