"""Routers as people see them, and what they serve."""

from datetime import datetime
from enum import StrEnum

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RouterNode


class AcknowledgementRecord(Record):
    """What a live router serves of a deployment."""

    router: RouterNode
    """The router's name."""
    deployment: str
    """The deployment's name."""
    epoch: int | None
    """What it acknowledged last; nothing when it never did."""
    acknowledged: bool
    """Whether it serves the present epoch."""


class RouterState(StrEnum):
    """What a router is to those who wait for acknowledgements."""

    ENROLLED = "enrolled"
    """Gateways let it in, and it has not connected yet; nobody waits for it."""
    NEW = "new"
    """It has connected once and served nothing yet; nobody waits for it."""
    LIVE = "live"
    """It has acknowledged an epoch and its stream is up; switches wait for it."""
    CUT_OFF = "cut_off"
    """Its stream is down. It may still send requests, so it is waited for until ``router_lease`` is over."""
    GONE = "gone"
    """Forgotten, or unseen for ``router_lease``; nobody waits for it. A forgotten one is enrolled anew to come back."""


class BehindLine(Record):
    """A deployment of which a router does not serve the present epoch."""

    deployment: str
    """The deployment's name."""
    epoch: Epoch
    """The deployment's present epoch."""
    serves: Epoch | None
    """What it acknowledged last; nothing when it never did."""


class RouterLine(Record):
    """A router in a list."""

    router: RouterNode
    """The router's name: its node id in Envoy."""
    state: RouterState
    """Whether it is waited for."""
    gateway: str
    """Which gateway it asked last; empty when it never did."""
    stream_is_up: bool
    """Whether it is connected to a gateway."""
    stream_started_at: datetime | None
    """When it connected last; nothing when it never did."""
    seen_at: datetime | None
    """When a gateway last saw it connected; nothing when none did."""
    acknowledged_at: datetime | None
    """When it served something for the first time."""
    gone_at: datetime | None
    """When it was forgotten."""
    enrolled_at: datetime | None = None
    """Since when gateways let it in; nothing when they do not."""
    identity: str | None = None
    """What its certificate names; nothing for a router that reaches its gateway by a Unix socket."""
    certificate_expires_at: datetime | None = None
    """When its certificate expires: the newest one that Celadon issued, or the one that it showed last."""
    nack: str
    """Why it refused its last configuration; empty when it did not."""
    behind: tuple[BehindLine, ...]
    """The first deployments of which it does not serve the present epoch; none of a router that is gone or new."""
    behind_more: bool = False
    """Whether there are more of them than are told."""
