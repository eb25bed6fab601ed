"""A request that names an id is carried out once."""

import pytest

from celadon.domain.language.commands import AbortAnswer
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.permissions import Role, Verb
from celadon.domain.language.states import RolloutOutcome
from celadon.service.way_back import AbortRequest, AbortResult
from celadon.table.access.api_requests import RequestKey, answer_request, claim_request, fingerprint_of
from tests.api.conftest import ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FIRST = {"Idempotency-Key": "build-7"}
START = {"deployment": "chat", "revision": serving()}


async def test_a_repeated_start_finds_the_first_rollout(api: ApiClient, rows: Rows) -> None:
    answers = [await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START, headers=FIRST) for _ in range(2)]
    assert [one.status for one in answers] == [202, 202], answers[1].text
    assert answers[0].json == answers[1].json
    assert await rows.value("select count(*) from rollouts") == 1
    other = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START, headers={"Idempotency-Key": "build-8"})
    assert (other.json["state"], other.json["rollout"]) == ("ALREADY_THERE", answers[0].json["rollout"])


async def test_an_answer_that_was_lost_is_given_by_temporal(api: ApiClient, rows: Rows) -> None:
    first = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START, headers=FIRST)
    await rows.sql("update api_requests set answer = null")
    again = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START, headers=FIRST)
    assert again.json == first.json
    await rows.sql("delete from api_requests")
    assert (await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START, headers=FIRST)).json == first.json


async def test_a_repeated_abort_gets_the_first_answer(api: ApiClient, rows: Rows) -> None:
    del rows
    assert (await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=START)).status == 202
    path, body = "/v1/deployments/chat/abort", {"reason": "wrong weights"}
    first = await api.call("POST", path, Role.OPERATOR, body=body, headers=FIRST)
    assert first.status == 200, first.text
    assert first.json["answer"]["outcome"] == "aborted"
    assert (await api.call("POST", path, Role.OPERATOR, body=body, headers=FIRST)).json == first.json


async def test_a_repeat_gets_the_first_answer_when_no_rollout_is_under_way_any_more(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    path, order = "/v1/deployments/chat/abort", AbortRequest(reason="wrong weights")
    first = AbortResult(
        deployment="chat",
        rollout=RolloutId(1),
        revision=RevisionNumber(2),
        by="operator",
        answer=AbortAnswer(outcome=RolloutOutcome.ABORTED),
    )
    content = {"deployment": "chat", **order.model_dump(mode="json")}
    key = RequestKey(
        issuer="token",
        principal="operator",
        request_id=FIRST["Idempotency-Key"],
        fingerprint=fingerprint_of(Verb.ABORT.value, content),
    )
    async with api.table.transaction() as tx:
        await claim_request(tx, key, {})
        await answer_request(tx, key, first.model_dump(mode="json"))
    assert (await api.call("POST", path, Role.OPERATOR, body={})).code == "NO_SUCH_ROLLOUT"

    again = await api.call("POST", path, Role.OPERATOR, body={"reason": "wrong weights"}, headers=FIRST)

    assert again.json == first.model_dump(mode="json")


async def test_a_repeat_never_means_a_later_rollout(api: ApiClient, rows: Rows) -> None:
    await rows.open()
    path = "/v1/deployments/chat/abort"
    refused = await api.call("POST", path, Role.OPERATOR, body={}, headers=FIRST)
    assert refused.code == "NO_SUCH_ROLLOUT"
    assert await rows.value("select count(*) from api_requests") == 0
    await rows.sql(
        """insert into api_requests (issuer, principal, request_id, fingerprint, meant, answer)
        values ('token', 'operator', 'old', 'another', '{}', '{}')""",
    )
    reused = await api.call("POST", path, Role.OPERATOR, body={}, headers={"Idempotency-Key": "old"})
    assert reused.code == "REQUEST_ID_REUSED"


async def test_the_same_id_of_another_request_is_refused(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    path = "/v1/deployments/chat/scale"
    first = await api.call("POST", path, Role.OPERATOR, body={"replicas": 2}, headers=FIRST)
    assert first.json["before"] == 1
    assert (await api.call("POST", path, Role.OPERATOR, body={"replicas": 2}, headers=FIRST)).json == first.json
    other = await api.call("POST", path, Role.OPERATOR, body={"replicas": 3}, headers=FIRST)
    assert other.code == "REQUEST_ID_REUSED"
    assert (await api.call("POST", path, Role.ADMIN, body={"replicas": 3}, headers=FIRST)).status == 200


async def test_scaling_to_what_it_is_says_so(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    answer = await api.call("POST", "/v1/deployments/chat/scale", Role.OPERATOR, body={"replicas": 1})
    assert answer.json["changed"] is False
