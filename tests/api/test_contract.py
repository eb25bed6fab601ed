"""The OpenAPI file is what the API does: Schemathesis asks every operation for what it may be asked for, and more."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from temporalio.testing import WorkflowEnvironment

from celadon.api.app import make_app
from celadon.api.settings import ApiSettings
from tests.api.contract_server import ContractServer, contract_server

pytestmark = pytest.mark.parts

EXAMPLES = 8
ANSWER_SECONDS = 60.0
"""Schemathesis would give up after ten, which a busy machine may need."""
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

described = make_app(ApiSettings(database_url="postgresql+asyncpg://nobody@localhost/nothing")).openapi()
# A stream never ends, and a start that is well formed would leave a workflow behind for each example.
schema: Any = (
    schemathesis.openapi.from_dict(described).exclude(path_regex="/stream$").exclude(path="/v1/rollouts", method="POST")
)


@pytest.fixture(scope="module")
def server(database_url: str, temporal_env: WorkflowEnvironment) -> Iterator[ContractServer]:
    address = temporal_env.client.service_client.config.target_host
    with contract_server(database_url, address) as running:
        yield running


@schema.parametrize()  # type: ignore[untyped-decorator]  # Schemathesis says too little of it
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_an_operation_keeps_its_contract(case: Any, server: ContractServer) -> None:
    case.call_and_validate(
        base_url=server.url,
        headers={"Authorization": f"Bearer {server.token}"},
        checks=CHECKS,
        timeout=ANSWER_SECONDS,
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/whoami",
        "/v1/deployments",
        "/v1/deployments/{name}",
        "/v1/deployments/{name}/rollouts",
        "/v1/deployments/{name}/events",
        "/v1/rollouts",
        "/v1/events",
        "/v1/freezes",
        "/v1/routers",
        "/healthz",
        "/readyz",
        "/metrics",
    ],
)
def test_what_is_there_is_answered_as_described(path: str, server: ContractServer) -> None:
    operation = schema[path]["GET"]
    case = operation.Case(path_parameters={"name": "chat"} if "{name}" in path else {})
    headers = {"Authorization": f"Bearer {server.token}"}
    response = case.call(base_url=server.url, headers=headers, timeout=ANSWER_SECONDS)
    deadline = time.monotonic() + ANSWER_SECONDS
    # A busy machine's API may not reach its parts within seconds, and is not ready at that moment.
    while path == "/readyz" and response.status_code == 503 and time.monotonic() < deadline:
        response = case.call(base_url=server.url, headers=headers, timeout=ANSWER_SECONDS)
    assert response.status_code == 200
    case.validate_response(response, checks=CHECKS)
