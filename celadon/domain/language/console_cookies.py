"""The names of the console's cookies, which belong to nobody else.

Browsers keep cookies by host name, whatever the port: a model's router on the host of the console is sent them too. So
routers take them out of what they forward, and out of what replicas answer.
"""

from typing import Final

SESSION_COOKIE: Final = "celadon_console"
NOTICE_COOKIE: Final = "celadon_notice"
HOST_PREFIX: Final = "__Host-"
"""Where the console is reached over TLS, browsers accept cookies of such a name from this very host only."""
