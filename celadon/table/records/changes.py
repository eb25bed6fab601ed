"""What came of changes that people ask the table for."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import Epoch, RouterNode
from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.records.routers import RouterState


class Forgotten(Record):
    """What forgetting a router came to."""

    router: RouterNode
    """The router's name."""
    was: RouterState
    """What it was until then."""
    deployments: tuple[str, ...]
    """Whose audit log tells of it: those that it had served; empty when it was gone already."""

    @property
    def changed(self) -> bool:
        """Whether anybody had waited for it until then."""
        return self.was is not RouterState.GONE or bool(self.deployments)


class Deleted(Record):
    """The answer to a delete."""

    deployment: str
    lifecycle: DeploymentLifecycle
    """``destroying`` while replicas drain, then ``destroyed``."""
    epoch: Epoch
    """Routers that serve this epoch answer 404 at its address."""
    changed: bool
    """False when it was being deleted already; then nothing was written."""
    schedules: tuple[str, ...] = ()
    """Names of its schedules, which are forgotten with it."""


class Frozen(Record):
    """The answer to a freeze."""

    deployment: str | None
    """Nothing for all deployments."""
    freeze: int
    """The number of the freeze that was made."""
    begins_at: datetime
    """When it begins."""
    ends_at: datetime | None
    """When it ends by itself; nothing when somebody has to end it."""


class Unfrozen(Record):
    """The answer to the end of freezes."""

    deployment: str | None
    """Nothing for all deployments."""
    ended: tuple[int, ...]
    """The numbers of the freezes that have ended, or will never begin."""
    left: tuple[int, ...]
    """Those of all deployments, which hold or are to come all the same."""


class Scaled(Record):
    """The answer to a scaling."""

    deployment: str
    before: int
    """Replicas that the deployment wanted until then."""
    replicas: int
    epoch: Epoch
    changed: bool
    """False when it wanted as many already; then nothing was written."""
