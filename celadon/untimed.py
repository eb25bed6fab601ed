"""HTTP requests without aiohttp's own timers, for whoever may be cancelled: ``asyncio.timeout`` bounds them instead.

A cancellation that comes together with the end of aiohttp's ``total`` is lost: the request ends as timed out, and the
task goes on although it was cancelled (aiohttp 3.14; both withdraw a request to cancel, and there was one of each).
"""

from typing import Final

import aiohttp

UNTIMED: Final = aiohttp.ClientTimeout(total=None)
