"""Prompts that are read again while the server serves: a file with a mistake changes nothing."""

import asyncio
from collections.abc import Callable

import structlog

from turnkeep_server.errors import SettingsError
from turnkeep_server.prompts import Prompts


class Reloading:
    """Reads the prompts by `load`, in a thread: at the start, and whenever it is asked to."""

    def __init__(self, load: Callable[[], Prompts]) -> None:
        self._load = load
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have them read again soon: once for all who ask before the reading begins."""
        self._asked.set()

    async def first(self) -> Prompts:
        """The prompts to start with. Raises SettingsError."""
        return await asyncio.to_thread(self._load)

    async def follow(self, use: Callable[[Prompts], None]) -> None:
        """Hands the prompts to `use` each time they were read again and are good, until cancelled.

        The log says which they are, or what is wrong with the file.
        """
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                prompts = await asyncio.to_thread(self._load)
            except SettingsError as error:
                structlog.get_logger().warning("prompts_not_reloaded", problem=str(error))
            else:
                use(prompts)
                names = [each.name for each in prompts]
                structlog.get_logger().info("prompts_reloaded", prompts=names)
