"""The janitor: every half minute it removes what is past its time."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from chatserve.engine.sessions import Sessions
from chatserve.errors import StoreError

PURGE_EVERY_S: Final = 30.0

logger = logging.getLogger("chatserve.engine")


async def keep_clean(sessions: Sessions) -> None:
    """Purge again and again, until cancelled. A store that is away is tried again the next time."""
    while True:
        await asyncio.sleep(PURGE_EVERY_S)
        try:
            await sessions.purge()
        except StoreError as error:
            logger.warning("what is past its time could not be removed yet: %s", error)
