"""How tests tell what a router has answered by itself."""

from typing import Final

from celadon.gateway.local_replies import LOCAL_REPLIES, REPLICA_DISCONNECTED

DISCONNECTED: Final = next(one.message for one in LOCAL_REPLIES if one.code == REPLICA_DISCONNECTED).partition(",")[0]
"""Begins the message when a replica has ended the connection before it answered: it may have begun."""
