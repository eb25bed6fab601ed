"""Nobody gets words that command a terminal into the audit log, through whichever door."""

from typing import Final

import pytest

from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient, api, keys
from tests.api.conftest import rows as api_rows
from tests.cli.conftest import Command, _no_celadon_of_the_operator, command, on_table, rows
from tests.table.rows import Rows

__all__ = [
    "_no_celadon_of_the_operator",
    "api",
    "api_rows",
    "command",
    "keys",
    "on_table",
    "rows",
]

HOSTILE: Final = "\x1b]0;title\x07\u202e"
SENT: Final = "%1B]0;title%07%E2%80%AE"

ORDERS: Final[tuple[tuple[str, str, dict[str, object] | None], ...]] = (
    ("POST", "/v1/deployments", {"deployment": "other"}),
    ("POST", "/v1/rollouts", {"deployment": "other", "revision": {"command": ["serve"], "health_check": "tcp"}}),
    ("POST", "/v1/deployments/chat/promote", {}),
    ("POST", "/v1/deployments/chat/abort", {}),
    ("POST", "/v1/deployments/chat/rollback", {}),
    ("POST", "/v1/deployments/chat/scale", {"replicas": 3}),
    ("PUT", "/v1/deployments/chat/labels", {"labels": {}}),
    ("DELETE", f"/v1/deployments/chat?reason={SENT}", None),
    ("DELETE", f"/v1/routers/edge-1?reason={SENT}", None),
)
MUTATIONS: Final = (
    'createDeployment(input: {name: "other", reason: $reason})',
    'promoteDeployment(input: {deploymentId: "chat", revision: 1, reason: $reason})',
    'abortRollout(input: {deploymentId: "chat", reason: $reason})',
    'scaleDeployment(input: {deploymentId: "chat", replicas: 3, reason: $reason})',
    'deleteDeployment(input: {deploymentId: "chat", reason: $reason})',
    'forgetRouter(input: {routerId: "edge-1", reason: $reason})',
)
COMMANDS: Final = (
    ("promote", "chat", "--reason"),
    ("promote", "chat", "--by"),
    ("abort", "chat", "--reason"),
    ("deployment", "scale", "chat", "3", "--by"),
    ("deployment", "delete", "chat", "--yes", "--reason"),
    ("deployment", "create", "other", "--reason"),
    ("router", "forget", "edge-1", "--by"),
    ("token", "create", "--role", "viewer"),
    ("notify", "target", "add", "team", "--secret", "key", "--url"),
)


async def _arrange(rows: Rows) -> dict[str, object]:
    """Arrange what the orders are about; return all rows."""
    await rows.live()
    await rows.router("edge-1", 1)
    return await _content(rows)


async def _content(rows: Rows) -> dict[str, object]:
    """Return what somebody could have changed; a token says when it was used last."""
    tables = dict(await rows.dump())
    return {name: tables[name] for name in ("deployments", "rollouts", "rollout_events", "routers", "notify_targets")}


@pytest.mark.parametrize(("method", "path", "body"), ORDERS, ids=lambda value: value if isinstance(value, str) else "")
async def test_rest_refuses_them_in_a_reason(
    method: str, path: str, body: dict[str, object] | None, api: ApiClient, api_rows: Rows
) -> None:
    before = await _arrange(api_rows)

    answer = await api.call(method, path, Role.ADMIN, body=None if body is None else body | {"reason": HOSTILE})

    assert 400 <= answer.status < 500
    # What stands in an address is refused before anybody reads it as a reason.
    assert ("\\x1b" if body is not None else "control characters") in answer.json["detail"]
    assert answer.text.isprintable()
    assert await _content(api_rows) == before


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_graphql_refuses_them_in_a_reason(mutation: str, api: ApiClient, api_rows: Rows) -> None:
    before = await _arrange(api_rows)

    asked = f"mutation ($reason: String!) {{ done: {mutation} {{ ... on Refused {{ code message }} }} }}"
    answer = await api.data(asked, reason=HOSTILE)

    assert answer["done"]["code"] == "INVALID_PAYLOAD"
    assert "\\x1b" in answer["done"]["message"]
    assert await _content(api_rows) == before


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
async def test_the_command_line_refuses_them(line: tuple[str, ...], rows: Rows, command: Command) -> None:
    before = await _arrange(rows)

    result = await command(*line, f"ann{HOSTILE}")

    assert result.exit_code in {1, 2}
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.output.replace("\n", "").isprintable()
    assert await _content(rows) == before
    assert await rows.rows("select name from api_tokens where name like 'ann%'") == []
