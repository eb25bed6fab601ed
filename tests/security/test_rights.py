"""Rights follow what will happen: no policy that a request mixes with the deployment's own gives a right away.

The attacks come over HTTP as an operator, who may start rollouts and may not promote; and past the API, by starting the
workflow with a request that the API signed for that operator.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from celadon.client.rollouts import RolloutClient, Sender
from celadon.client.signatures import AuthoritySettings, Signer
from celadon.domain.decisions.authority import Unsigned
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Role, rights_of
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import BeginStep
from celadon.table.rollouts.begin import begin
from tests.api.conftest import ApiClient, api, keys, rows  # noqa: F401 - fixtures
from tests.revisions import serving
from tests.table.rows import Rows
from tests.workers import PATIENT_TASKS

pytestmark = pytest.mark.parts

OPERATOR, APPROVER = Role.OPERATOR, Role.APPROVER

WINDOW = {"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}
EASED = [
    ({"promotion_deadline": "4s", "on_deadline": "abort"}, {"on_deadline": "promote"}),
    ({"auto_promote": True, "promote_after": "24h"}, {"promote_after": "0s"}),
    ({"auto_promote": True, "promote_after": "24h", "promotion_deadline": "25h"}, {"promotion_deadline": None}),
    ({"auto_promote": True, "promote_after": "24h"}, {"promotion_deadline": "1s", "on_deadline": "promote"}),
    ({"auto_promote": True, "min_healthy": "100%"}, {"min_healthy": 1}),
    ({"auto_promote": True, "max_regressions": 0}, {"max_regressions": 100}),
    ({}, {"auto_promote": True}),
    ({"auto_promote": True, "windows": [WINDOW]}, {"windows": []}),
    ({"windows": [WINDOW | {"applies_to": "everyone"}]}, {"windows": []}),
]
"""The deployment's own policy, and a request that lets green go live sooner or more easily than it would."""


def start(**policy: Any) -> dict[str, Any]:
    return {"deployment": "chat", "revision": 1, "policy": policy, "restart": True}


@pytest.mark.parametrize(("own", "eased"), EASED)
async def test_an_operator_starts_nothing_that_promotes_itself_sooner(
    api: ApiClient,  # noqa: F811 - the fixture
    rows: Rows,  # noqa: F811
    own: dict[str, Any],
    eased: dict[str, Any],
) -> None:
    await rows.live(policy=own)

    refused = await api.call("POST", "/v1/rollouts", OPERATOR, body=start(**eased))

    assert refused.code == "FORBIDDEN", refused.text
    assert next(iter(eased)) in refused.json["detail"]
    assert await rows.value("select count(*) from rollouts where outcome is null") == 0


@pytest.mark.parametrize(("own", "eased"), EASED)
async def test_past_the_api_the_table_refuses_the_same(
    api: ApiClient,  # noqa: ARG001, F811 - its worker carries the rollout out
    rows: Rows,  # noqa: F811
    keys: Any,  # noqa: F811
    temporal_env: WorkflowEnvironment,
    own: dict[str, Any],
    eased: dict[str, Any],
) -> None:
    await rows.live(policy=own)
    client = RolloutClient(temporal_env.client, Signer.of_file(keys / "key.pem"), PATIENT_TASKS)
    operator = Sender(door=Channel.API, rights=rights_of([OPERATOR]))

    await client.start(parse_payload(RolloutRequest, start(**eased)), sender=operator)
    # Where nobody refuses it, it goes on and does not end.
    ended = await asyncio.wait_for(client.wait("chat"), 60)

    assert ended.refusal is not None, ended
    assert ended.refusal.code == "FORBIDDEN"
    assert await rows.value("select count(*) from rollouts where outcome is null") == 0


@pytest.mark.parametrize(
    ("own", "policy"),
    [
        ({"auto_promote": True, "promote_after": "24h"}, {}),
        ({"auto_promote": True, "promote_after": "24h"}, {"promote_after": "48h", "bake": "1s"}),
        ({"auto_promote": True, "promote_after": "24h"}, {"auto_promote": False}),
        ({}, {"promotion_deadline": "1h", "min_healthy": 1}),
        ({"auto_promote": True}, {"windows": [WINDOW]}),
    ],
)
async def test_an_operator_starts_what_the_deployments_policy_would_do_anyway(
    api: ApiClient,  # noqa: F811
    rows: Rows,  # noqa: F811
    own: dict[str, Any],
    policy: dict[str, Any],
) -> None:
    await rows.live(policy=own)

    started = await api.call("POST", "/v1/rollouts", OPERATOR, body=start(**policy))

    assert started.status in {201, 202}, started.text


async def test_who_may_also_promote_starts_what_promotes_itself(api: ApiClient, rows: Rows) -> None:  # noqa: F811
    await rows.live()
    started = await api.call("POST", "/v1/rollouts", OPERATOR, APPROVER, body=start(auto_promote=True))
    assert started.status in {201, 202}, started.text


@pytest.mark.parametrize("policy", [{"auto_promote": True}, {"promotion_deadline": "1s", "on_deadline": "promote"}])
async def test_a_deployments_own_policy_is_not_eased_by_creating_it(
    api: ApiClient,  # noqa: F811
    rows: Rows,  # noqa: F811
    policy: dict[str, Any],
) -> None:
    first = {"deployment": "search", "revision": serving(), "policy": policy}
    created = await api.call("POST", "/v1/deployments", OPERATOR, body={"deployment": "search", "policy": policy})
    started = await api.call("POST", "/v1/rollouts", OPERATOR, body=first)

    assert (created.code, started.code) == ("FORBIDDEN", "FORBIDDEN")
    assert await rows.value("select count(*) from deployments") == 0


async def test_a_destroyed_deployments_policy_is_not_eased_by_starting_it_anew(
    api: ApiClient,  # noqa: F811
    rows: Rows,  # noqa: F811
) -> None:
    opened = await rows.live()
    await rows.delete()
    await rows.sql("update routes set status = 'terminated', ended_at = now()")
    await rows.sql("update route_sets set state = 'gone' where id = :id", id=opened.green)
    await rows.sql("update deployments set lifecycle = 'destroyed'")

    refused = await api.call("POST", "/v1/rollouts", OPERATOR, body=start(auto_promote=True))

    assert refused.code == "FORBIDDEN"


async def test_a_start_that_nobody_signed_is_refused_where_everything_must_be_signed(
    api: ApiClient,  # noqa: ARG001, F811
    rows: Rows,  # noqa: F811
    temporal_env: WorkflowEnvironment,
) -> None:
    await rows.live()
    handle = await temporal_env.client.start_workflow(
        "BlueGreenRollout",
        {"deployment": "chat", "revision": 1},
        id=workflow_id("chat"),
        task_queue="celadon",
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "UNSIGNED"
    assert "celadon deploy -f FILE" in failed.value.cause.message
    assert await rows.value("select count(*) from rollouts where outcome is null") == 0


async def test_an_unsigned_start_gives_no_other_size(rows: Rows, keys: Any) -> None:  # noqa: F811
    await rows.live(replicas=2)
    deciding = AuthoritySettings(verify_keys_file=keys / "key.pub", unsigned=Unsigned.DECISIONS).authority()
    request = {"deployment": "chat", "revision": 1}
    codes = []
    for number, replicas in enumerate((2, 0, 10_000)):
        step = BeginStep(
            request=parse_payload(RolloutRequest, {**request, "replicas": replicas}),
            workflow_id="rollout-chat",
            run_id=f"attack-{number}",
            at=datetime.now(UTC),
        )
        try:
            async with rows.table.transaction() as tx:
                await begin(tx, step, deciding)
            codes.append("begun")
        except RefusedError as error:
            codes.append(error.refusal.code.value)
    assert codes == ["begun", "UNSIGNED", "UNSIGNED"]
