"""What callers are told when the database fails: an outage is 503 and may pass, all else is 500 and says so."""

from collections.abc import Mapping

from structlog.testing import capture_logs

from celadon.domain.language.permissions import Role
from tests.api.conftest import Answer, ApiClient
from tests.table.rows import Rows

QUERY = "{ deployments { edges { node { name } } } }"


async def _list(api: ApiClient) -> Answer:
    return await api.call("GET", "/v1/deployments", Role.ADMIN)


async def test_a_missing_migration_is_named_and_is_no_outage(api: ApiClient, rows: Rows) -> None:
    await api.token(Role.ADMIN)
    with capture_logs() as logs:
        await rows.sql("alter table deployments rename column lifecycle to lifecycle_of_later")
        try:
            answer = await _list(api)
            [error] = (await api.graphql(QUERY))["errors"]
        finally:
            await rows.sql("alter table deployments rename column lifecycle_of_later to lifecycle")

    assert (answer.status, answer.code) == (500, "NOT_MIGRATED")
    assert "celadon db upgrade" in answer.json["next_step"]
    assert "lifecycle" not in answer.text
    assert error["extensions"]["code"] == "NOT_MIGRATED"
    told = [one for one in logs if one["event"] == "not_migrated"]
    assert all("run 'celadon db upgrade'" in one["why"] for one in told)
    assert len(told) == 2


async def test_backends_that_are_ended_are_an_outage(api: ApiClient, rows: Rows) -> None:
    await api.token(Role.ADMIN)
    await rows.sql(
        "create function end_this_backend() returns boolean language sql as "
        "'select pg_terminate_backend(pg_backend_pid())'",
    )
    await rows.sql("alter table deployments rename to deployments_of_others")
    await rows.sql("create view deployments as select * from deployments_of_others where end_this_backend()")
    await _add(rows, "deployments_of_others")
    try:
        answer = await _list(api)
        [error] = (await api.graphql(QUERY))["errors"]
    finally:
        await rows.sql("drop view deployments")
        await rows.sql("alter table deployments_of_others rename to deployments")
        await rows.sql("drop function end_this_backend()")

    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "DATABASE_UNAVAILABLE", "2")
    assert error["extensions"]["code"] == "DATABASE_UNAVAILABLE"
    assert (await _list(api)).status == 200


async def test_a_fault_is_500_with_its_trace_in_the_log(api: ApiClient, rows: Rows) -> None:
    await api.token(Role.ADMIN)
    await rows.sql("alter table deployments rename to deployments_of_others")
    await rows.sql("create view deployments as select * from deployments_of_others where 1 / (replicas - 1) > 0")
    await _add(rows, "deployments_of_others")
    try:
        with capture_logs() as logs:
            answer = await _list(api)
    finally:
        await rows.sql("drop view deployments")
        await rows.sql("alter table deployments_of_others rename to deployments")

    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert "division" not in answer.text
    [fault] = [one for one in logs if one["event"] == "api_fault"]
    assert "division by zero" in fault["trace"]
    counted = (await api.call("GET", "/metrics", Role.ADMIN)).text
    assert _count(counted, {"route": "/v1/deployments", "status": "500"}) == 1


async def _add(rows: Rows, where: str) -> None:
    await rows.sql(f"insert into {where} (name, replicas, lifecycle) values ('chat', 1, 'pending')")  # noqa: S608


def _count(metrics: str, labels: Mapping[str, str]) -> float:
    [line] = [
        one
        for one in metrics.splitlines()
        if one.startswith("celadon_api_requests_total")
        and all(f'{name}="{value}"' in one for name, value in labels.items())
    ]
    return float(line.rpartition(" ")[2])
