"""Everything that the API can do has a command."""

import json
from pathlib import Path
from typing import Final

from celadon.service.command import rest_path, words_of
from celadon.service.registry import commands
from tests.cli.test_help import COMMANDS

OPENAPI: Final = Path(__file__).parents[3] / "docs" / "api" / "openapi.json"

COMMAND_OF: Final[dict[tuple[str, str], str]] = {
    ("get", "/v1/whoami"): "whoami",
    ("get", "/v1/deployments"): "deployment list",
    ("get", "/v1/deployments/{name}"): "rollout status",
    ("get", "/v1/deployments/{name}/revisions"): "revision list",
    ("get", "/v1/deployments/{name}/policy"): "policy show",
    ("get", "/v1/policy"): "policy show",
    ("get", "/v1/deployments/{name}/schedules"): "schedule list",
    ("get", "/v1/rollouts"): "rollout find",
    ("get", "/v1/rollouts/{rollout}"): "rollout watch",
    ("get", "/v1/deployments/{name}/rollouts"): "rollout find",
    ("get", "/v1/deployments/{name}/history"): "rollout history",
    ("get", "/v1/deployments/{name}/events"): "events",
    ("get", "/v1/events"): "events",
    ("get", "/v1/freezes"): "freezes",
    ("get", "/v1/routers"): "router list",
    ("get", "/v1/stream"): "events",
    ("get", "/v1/deployments/{name}/stream"): "rollout watch",
} | {
    (one.rest.method.lower(), "/v1" + rest_path(one)): " ".join(words_of(one)).removesuffix(" --default")
    for one in commands()
}
PROBES: Final = {"/healthz", "/readyz", "/metrics"}


def test_every_operation_of_the_api_has_a_command() -> None:
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    operations = {(method, path) for path, item in paths.items() if path not in PROBES for method in item}

    assert operations == set(COMMAND_OF)
    assert {" ".join(words) for words in COMMANDS} >= set(COMMAND_OF.values())
