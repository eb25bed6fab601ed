"""The reference page of states: every enumeration that people see, with the meaning of each value."""

from enum import StrEnum

from celadon.domain.decisions.workflow_condition import WorkflowState
from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.states import (
    Channel,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    RouteTrafficStatus,
)
from tests.docs.tables import code, prose, table

_SECTIONS: tuple[tuple[str, type[StrEnum]], ...] = (
    ("Lifecycle of a deployment", DeploymentLifecycle),
    ("Phase of a rollout", RolloutPhase),
    ("Outcome of a rollout", RolloutOutcome),
    ("Condition of a rollout's workflow", WorkflowState),
    ("State of a route set", RouteSetState),
    ("Status of a replica", RouteStatus),
    ("Health of a replica", RouteHealthStatus),
    ("Traffic of a replica", RouteTrafficStatus),
    ("Channel, in the audit log", Channel),
)


def states_page() -> str:
    """Return the page."""
    sections = "".join(f"\n## {title}\n\n{_values(kind)}" for title, kind in _SECTIONS)
    return f"""# States

The values of Celadon's enumerations, as the table, every message and every door write them.
[glossary.md](../glossary.md) explains the words.
{sections}"""


def _values(kind: type[StrEnum]) -> str:
    meanings = attribute_docstrings(kind)
    return table(("value", "meaning"), [(code(one.value), prose(meanings.get(one.name, ""))) for one in kind])
