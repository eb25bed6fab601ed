"""What the schema guarantees whatever a statement tries."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from celadon.domain.language.names import PREVIEW_SUFFIX
from celadon.table.core.models import Base
from tests.table.rows import HEALTHY, Rows


async def refused(rows: Rows, statement: str, why: str, **values: object) -> None:
    """Check that the database itself refuses a statement, and that nothing is left of it."""
    before = await rows.dump()
    with pytest.raises(DBAPIError, match=why):
        await rows.sql(statement, **values)
    assert await rows.dump() == before


async def test_the_migrations_create_what_the_models_say(database_url: str) -> None:
    def compare(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, Base.metadata)

    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        differences = await connection.run_sync(compare)
    await engine.dispose()

    assert differences == []


async def test_the_migrations_create_every_check_of_the_models(rows: Rows) -> None:
    """Alembic compares no check constraints."""
    found = await rows.rows("select conname from pg_constraint where contype = 'c' and conrelid <> 0")
    created = {row["conname"] for row in found}
    wanted = {
        str(constraint.name)
        for one in Base.metadata.tables.values()
        for constraint in one.constraints
        if type(constraint).__name__ == "CheckConstraint"
    }

    assert created == wanted


async def test_a_deployment_has_one_unfinished_rollout(rows: Rows) -> None:
    await rows.open()

    await refused(
        rows,
        """
        insert into rollouts (deployment, workflow_id, run_id, to_revision, replicas, policy, gated, requested_by,
            reason, phase, phase_since, started_at)
        select deployment, workflow_id, 'run-2', to_revision, replicas, policy, gated, requested_by,
            reason, phase, phase_since, started_at from rollouts
        """,
        "uq_rollouts_unfinished",
    )


async def test_a_rollout_that_ended_is_not_opened_again_beside_another(rows: Rows) -> None:
    first = await rows.live()
    await rows.open("run-2")

    await refused(
        rows,
        "update rollouts set outcome = null, completed_at = null where id = :id",
        "uq_rollouts_unfinished",
        id=first.begun.rollout,
    )


async def test_a_run_has_one_rollout(rows: Rows) -> None:
    await rows.live()

    await refused(
        rows,
        """
        insert into rollouts (deployment, workflow_id, run_id, to_revision, replicas, policy, gated, requested_by,
            reason, phase, phase_since, started_at)
        select deployment, workflow_id, run_id, to_revision, replicas, policy, gated, requested_by,
            reason, phase, phase_since, started_at from rollouts
        """,
        "uq_rollouts_workflow_id_run_id",
    )


async def test_the_live_set_is_one_of_the_deployments_own(rows: Rows) -> None:
    await rows.live()
    other = await rows.open("run-2", deployment="other")

    await refused(
        rows,
        "update deployments set live_set = :id where name = 'chat'",
        "fk_deployments_live_set",
        id=other.green,
    )


async def test_the_live_set_exists(rows: Rows) -> None:
    await rows.open()

    await refused(rows, "update deployments set live_set = 1000000", "fk_deployments_live_set")


@pytest.mark.parametrize("state", ["draining", "gone"])
async def test_a_live_set_is_never_closed(rows: Rows, state: str) -> None:
    await rows.live()

    await refused(
        rows,
        "update route_sets set state = :state, drain_deadline = now()",
        "fk_deployments_live_set",
        state=state,
    )


@pytest.mark.parametrize("state", ["draining", "gone"])
async def test_a_closed_set_never_becomes_live(rows: Rows, state: str) -> None:
    opened = await rows.open()
    await rows.sql("update route_sets set state = :state, drain_deadline = now()", state=state)

    await refused(rows, "update deployments set live_set = :id", "fk_deployments_live_set", id=opened.green)


async def test_the_state_of_the_live_set_cannot_be_claimed(rows: Rows) -> None:
    await rows.live()

    await refused(rows, "update deployments set live_state = 'draining'", "live_state")


async def test_a_live_set_is_not_deleted(rows: Rows) -> None:
    opened = await rows.live()

    await refused(rows, "delete from route_sets where id = :id", "violates foreign key", id=opened.green)


async def test_a_rollout_opens_one_set(rows: Rows) -> None:
    await rows.open()

    await refused(
        rows,
        """
        insert into route_sets (deployment, revision, rollout, wanted, state, condition)
        select deployment, revision, rollout, wanted, state, condition from route_sets
        """,
        "uq_route_sets_rollout",
    )


async def test_a_set_belongs_to_the_deployment_of_its_rollout(rows: Rows) -> None:
    opened = await rows.begin()
    await rows.begin("run-2", deployment="other")

    await refused(
        rows,
        """
        insert into route_sets (deployment, revision, rollout, wanted, state, condition)
        values ('other', 1, :rollout, 1, 'open', 'starting')
        """,
        "fk_route_sets_rollout",
        rollout=opened.rollout,
    )


@pytest.mark.parametrize("colour", ["blue_set", "green_set"])
async def test_a_rollouts_colours_are_sets_of_its_deployment(rows: Rows, colour: str) -> None:
    opened = await rows.open()
    other = await rows.open("run-2", deployment="other")

    await refused(
        rows,
        f"update rollouts set {colour} = {other.green} where id = {opened.begun.rollout}",  # noqa: S608
        f"fk_rollouts_{colour}",
    )


@pytest.mark.parametrize("colour", ["from_revision", "to_revision"])
async def test_a_rollouts_revisions_exist(rows: Rows, colour: str) -> None:
    await rows.begin()

    await refused(rows, f"update rollouts set {colour} = 9", f"fk_rollouts_deployment_{colour}")  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update rollouts set outcome = 'promoted'", "ck_rollouts_ended"),
        ("update rollouts set completed_at = now()", "ck_rollouts_ended"),
        ("update rollouts set switched_at = now()", "ck_rollouts_switched"),
        ("update rollouts set phase = 'dancing'", "ck_rollouts_rollout_phase"),
        ("update rollouts set outcome = 'won', completed_at = now()", "ck_rollouts_rollout_outcome"),
        ("update route_sets set wanted = -1", "ck_route_sets_wanted"),
        ("update route_sets set state = 'draining'", "ck_route_sets_drain"),
        ("update route_sets set state = 'ajar'", "ck_route_sets_route_set_state"),
        ("update route_sets set condition = 'Ready'", "ck_route_sets_set_condition"),
        ("update routes set port = 0", "ck_routes_port"),
        ("update routes set port = 65536", "ck_routes_port"),
        ("update routes set status = 'healthy'", "ck_routes_route_status"),
        ("update routes set health = 'running'", "ck_routes_route_health_status"),
        ("update routes set status = 'terminated'", "ck_routes_ended"),
        ("update routes set ended_at = now()", "ck_routes_ended"),
        ("update deployments set replicas = -1", "ck_deployments_replicas"),
        ("update deployments set lifecycle = 'asleep'", "ck_deployments_deployment_lifecycle"),
        ("update revisions set number = 0", "ck_revisions_number|violates foreign key"),
        (
            "insert into rollout_events (deployment, kind, door) values ('chat', 'x', 'window')",
            "ck_rollout_events_door",
        ),
    ],
)
async def test_a_value_that_means_nothing_is_refused(rows: Rows, statement: str, constraint: str) -> None:
    opened = await rows.open()
    await rows.add(opened)

    await refused(rows, statement, constraint)


_APPROVAL = """
    insert into approvals (rollout, decision, issuer, subject, request_id, door, reason, force)
    values ({rollout}, 0, '{issuer}', 'ann', '{request_id}', 'api', '', false)
"""


@pytest.mark.parametrize("lacks", ["issuer", "request_id"])
async def test_an_approval_for_which_nobody_vouches_is_refused(rows: Rows, lacks: str) -> None:
    opened = await rows.open()
    given = {"rollout": opened.begun.rollout, "issuer": "idp", "request_id": "id-1", lacks: ""}

    await refused(rows, _APPROVAL.format(**given), "ck_approvals_verified")


async def test_a_person_approves_one_decision_once(rows: Rows) -> None:
    opened = await rows.open()
    await rows.sql(_APPROVAL.format(rollout=opened.begun.rollout, issuer="idp", request_id="id-1"))

    again = _APPROVAL.format(rollout=opened.begun.rollout, issuer="idp", request_id="id-2")
    await refused(rows, again, "pk_approvals")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from deployments",
        "update deployments set name = 'chat-2'",
        "delete from revisions",
        "delete from rollouts",
        "delete from route_sets",
        """
        insert into routes (id, set_id, host, port, status, health)
        values (gen_random_uuid(), 1000000, 'h', 1, 'running', 'healthy')
        """,
        "insert into router_acks (router, deployment, epoch, at) values ('nobody', 'chat', 1, now())",
        """
        insert into router_load (router, route_set, running, zero_reports, reported_at)
        values ('edge', 1000000, 1, 0, now())
        """,
    ],
)
async def test_nothing_refers_to_what_is_not_there(rows: Rows, statement: str) -> None:
    opened = await rows.open()
    await rows.add(opened)
    await rows.connect("edge")

    await refused(rows, statement, "violates foreign key|append-only")


@pytest.mark.parametrize(
    "statement",
    [
        "update rollout_events set reason = 'another story'",
        "delete from rollout_events",
        "truncate rollout_events",
        "truncate deployments cascade",
        """
        insert into rollout_events (id, deployment, kind) select id, deployment, 'x' from rollout_events
        on conflict (id) do update set kind = 'x'
        """,
    ],
)
async def test_the_audit_log_is_append_only(rows: Rows, statement: str) -> None:
    await rows.begin()

    await refused(rows, statement, "append-only")


@pytest.mark.parametrize(
    "name", ["", "Chat", "1chat", "-chat", "chat-", "chat.eu", "chät", "x" * 55, f"x{PREVIEW_SUFFIX}"]
)
async def test_a_deployments_name_is_a_dns_label(rows: Rows, name: str) -> None:
    await refused(
        rows,
        "insert into deployments (name, replicas, lifecycle) values (:name, 1, 'pending')",
        "ck_deployments_name",
        name=name,
    )


async def test_the_longest_name_is_accepted(rows: Rows) -> None:
    await rows.sql("insert into deployments (name, replicas, lifecycle) values (:name, 1, 'pending')", name="x" * 54)


async def test_the_same_content_of_a_deployment_has_one_number(rows: Rows) -> None:
    await rows.begin()

    await refused(
        rows,
        """
        insert into revisions (deployment, number, digest, content)
        select deployment, 2, digest, content from revisions
        """,
        "uq_revisions_deployment_digest",
    )


async def test_only_running_replicas_of_the_live_set_are_active(rows: Rows) -> None:
    await rows.live(replicas=2)
    second = await rows.open("run-2")
    await rows.add(second, HEALTHY)
    await rows.add(second)

    traffic = await rows.rows("select revision, status, traffic_status, traffic_ratio from route_traffic")

    assert sorted((row["revision"], row["status"], row["traffic_status"], row["traffic_ratio"]) for row in traffic) == [
        (1, "running", "active", 1),
        (1, "running", "active", 1),
        (2, "provisioning", "inactive", 0),
        (2, "running", "inactive", 0),
    ]


async def test_one_colour_is_active_at_a_time_through_a_whole_rollout(rows: Rows) -> None:
    async def active() -> list[int]:
        found = await rows.rows("select distinct revision from route_traffic where traffic_status = 'active'")
        return [row["revision"] for row in found]

    await rows.live()
    second = await rows.ready("run-2")
    assert await active() == [1]

    await rows.switch(second)
    assert await active() == [2]

    await rows.switch_back(second)
    assert await active() == [1]


async def test_a_replica_that_leaves_is_not_active(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.scale(1)
    await rows.mark_surplus(live)

    traffic = await rows.rows("select traffic_status from route_traffic order by traffic_status")
    assert [row["traffic_status"] for row in traffic] == ["active", "inactive"]


async def test_a_deployment_without_a_live_set_has_nothing_active(rows: Rows) -> None:
    await rows.ready()

    assert {row["traffic_status"] for row in await rows.rows("select traffic_status from route_traffic")} == {
        "inactive"
    }
