"""Workflows call activities by name: the names, inputs and outputs are those that the worker registers."""

import inspect
from typing import get_type_hints

from temporalio.testing import WorkflowEnvironment

from activities.ask import AskActivities
from activities.rollout import RolloutActivities
from celadon.domain.decisions.authority import Authority
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from workflows import calls


def test_each_call_has_an_activity_with_its_types(database_url: str, temporal_env: WorkflowEnvironment) -> None:
    table, listener = Table(database_url, "test"), Listener(database_url, "test")
    steps = RolloutActivities(table, listener, Authority()).all()
    registered = {
        activity.__name__: activity
        for activity in (*steps, *AskActivities(table, temporal_env.client, Authority()).all())
    }

    assert set(registered) == {call.name for call in calls.ALL_CALLS}
    for call in calls.ALL_CALLS:
        hints = get_type_hints(registered[call.name])
        (parameter,) = inspect.signature(registered[call.name]).parameters
        assert hints[parameter] is call.takes
        assert hints["return"] == call.returns
