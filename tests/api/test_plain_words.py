"""A request that is wrong is told so in plain words, with the key or the parameter."""

import re
from typing import Any

import pytest

from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

PYDANTIC = re.compile(r"[Ii]nput should|[Ss]tring should|[Ff]ield required|Extra inputs|valid (integer|string|boolean)")


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/rollouts", {"deployment": "chat"}, "revision: must be given"),
        ("/v1/rollouts", {"deployment": "chat", "revision": 1, "replicas": "many"}, "replicas: must be a whole number"),
        ("/v1/rollouts", {"deployment": ["chat"], "revision": 1}, "deployment: must be text"),
        ("/v1/rollouts", {"deployment": "chat", "revision": 1, "polisy": {}}, "polisy: unknown key"),
        ("/v1/rollouts", {"deployment": "chat", "revision": {"command": "serve"}}, "revision.command: must be a list"),
        ("/v1/deployments/chat/scale", {"replicas": -1}, "replicas: must be at least 0"),
        ("/v1/deployments/chat/scale", {"replicas": None}, "replicas: must be a whole number"),
        ("/v1/deployments/chat/promote", {"force": "yes"}, "force: must be true or false"),
        ("/v1/deployments/chat/pause", {"until": "soon"}, "until: "),
        ("/v1/deployments/chat/schedules", {"schedule": "a", "command": 7}, "command: must be text"),
    ],
)
async def test_a_wrong_body_is_refused_with_the_key(
    api: ApiClient, rows: Rows, path: str, body: dict[str, Any], told: str
) -> None:
    await rows.live()

    answer = await api.call("POST", path, Role.ADMIN, body=body)

    assert answer.code == "INVALID_PAYLOAD"
    assert told in answer.json["detail"]
    assert not PYDANTIC.search(answer.text)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/rollouts?limit=many", "limit: must be a whole number"),
        ("/v1/rollouts?limit=0", "limit: must be at least 1"),
        ("/v1/rollouts?phase=dancing", "phase: must be 'provisioning', 'verifying'"),
        ("/v1/rollouts?unfinished=perhaps", "unfinished: must be true or false"),
        ("/v1/rollouts/first", "rollout: must be a whole number"),
        (f"/v1/deployments?after={'a' * 201}", "after: must have at most 200 characters"),
    ],
)
async def test_a_wrong_parameter_is_refused_with_its_name(api: ApiClient, path: str, told: str) -> None:
    answer = await api.call("GET", path, Role.VIEWER)

    assert answer.code == "INVALID_PAYLOAD"
    assert answer.json["detail"].startswith(told)
