"""The janitor: every half minute it removes what is past its time, and from the start on bytes that nothing names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from chatserve.core.errors import StoreError
from chatserve.engine.sessions.sessions import Sessions

PURGE_EVERY_S: Final = 30.0

logger = logging.getLogger("chatserve.engine")


async def keep_clean(sessions: Sessions) -> None:
    """Clean up again and again, until cancelled. A store or folder that is away is tried again the next time."""
    while True:
        await _try(sessions.sweep_files())
        await asyncio.sleep(PURGE_EVERY_S)
        await _try(sessions.purge())


async def _try(cleaning: Coroutine[Any, Any, None]) -> None:
    try:
        await cleaning
    except (StoreError, OSError) as error:
        logger.warning("what is past its time could not be removed yet: %s", error)
