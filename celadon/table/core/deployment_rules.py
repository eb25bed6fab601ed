"""What counts of deployments: which is destroyed."""

from typing import Final

from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.core.models import Deployment

is_destroyed: Final = Deployment.lifecycle == DeploymentLifecycle.DESTROYED
"""Whether nothing is left of a deployment but its history."""
