"""What errors of Postgres mean: each by its SQLSTATE, and the ones that can be provoked by provoking them."""

import asyncio
import socket
import ssl
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from celadon.stack.postgres import running_postgres
from celadon.table.core.engine import Table
from celadon.table.core.outages import (
    DatabaseTrouble,
    NotMigratedError,
    TableAwayError,
    address_refusal,
    blames_record,
    describe,
    trouble_of,
)

pytestmark = pytest.mark.parts

OUTAGE, NOT_MIGRATED, FAULT = DatabaseTrouble.OUTAGE, DatabaseTrouble.NOT_MIGRATED, DatabaseTrouble.FAULT


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ("08000", OUTAGE),  # connection_exception
        ("08003", OUTAGE),  # connection_does_not_exist
        ("08006", OUTAGE),  # connection_failure
        ("08P01", OUTAGE),  # protocol_violation: what poolers say while they cannot serve
        ("25006", OUTAGE),  # read_only_sql_transaction
        ("25P03", OUTAGE),  # idle_in_transaction_session_timeout
        ("25P04", OUTAGE),  # transaction_timeout
        ("40001", OUTAGE),  # serialization_failure
        ("40003", OUTAGE),  # statement_completion_unknown
        ("40P01", OUTAGE),  # deadlock_detected
        ("53100", OUTAGE),  # disk_full
        ("53200", OUTAGE),  # out_of_memory
        ("53300", OUTAGE),  # too_many_connections
        ("55P03", OUTAGE),  # lock_not_available
        ("57014", OUTAGE),  # query_canceled
        ("57P01", OUTAGE),  # admin_shutdown
        ("57P02", OUTAGE),  # crash_shutdown
        ("57P03", OUTAGE),  # cannot_connect_now
        ("57P05", OUTAGE),  # idle_session_timeout
        ("3F000", NOT_MIGRATED),  # invalid_schema_name
        ("42703", NOT_MIGRATED),  # undefined_column
        ("42704", NOT_MIGRATED),  # undefined_object
        ("42883", NOT_MIGRATED),  # undefined_function
        ("42P01", NOT_MIGRATED),  # undefined_table
        ("0A000", FAULT),  # feature_not_supported
        ("22001", FAULT),  # string_data_right_truncation
        ("22003", FAULT),  # numeric_value_out_of_range
        ("22021", FAULT),  # character_not_in_repertoire
        ("23502", FAULT),  # not_null_violation
        ("23503", FAULT),  # foreign_key_violation
        ("23505", FAULT),  # unique_violation
        ("23514", FAULT),  # check_violation
        ("25P02", FAULT),  # in_failed_sql_transaction
        ("28000", FAULT),  # invalid_authorization_specification
        ("28P01", FAULT),  # invalid_password
        ("3D000", FAULT),  # invalid_catalog_name
        ("40002", FAULT),  # transaction_integrity_constraint_violation
        ("42501", FAULT),  # insufficient_privilege
        ("42601", FAULT),  # syntax_error
        ("54000", FAULT),  # program_limit_exceeded
        ("57P04", FAULT),  # database_dropped
        ("58030", FAULT),  # io_error
        ("P0001", FAULT),  # raise_exception, as triggers do
        ("XX000", FAULT),  # internal_error
    ],
)
def test_what_an_error_of_the_server_means(state: str, trouble: DatabaseTrouble) -> None:
    assert trouble_of(asyncpg.PostgresError.new({"C": state, "M": "so it is"})) is trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ConnectionRefusedError(111, "Connection refused"), OUTAGE),
        (ConnectionResetError(104, "Connection reset by peer"), OUTAGE),
        (FileNotFoundError(2, "No such file or directory"), OUTAGE),
        (OSError(113, "No route to host"), OUTAGE),
        (OSError(24, "Too many open files"), OUTAGE),
        (socket.gaierror(-3, "Temporary failure in name resolution"), OUTAGE),
        (TimeoutError(), OUTAGE),
        (PoolTimeoutError("QueuePool limit of size 1 overflow 0 reached"), OUTAGE),
        (asyncpg.InterfaceError("connection is closed"), OUTAGE),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), FAULT),
        (asyncpg.DataError("invalid input for query argument $1"), FAULT),
        (asyncpg.ClientConfigurationError("`sslmode` parameter must be one of ..."), FAULT),
        (PermissionError(13, "Permission denied"), FAULT),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), FAULT),
        (OSError(28, "No space left on device"), FAULT),
        (KeyError("a bug"), FAULT),
        (TableAwayError("away"), OUTAGE),
        (NotMigratedError("behind"), NOT_MIGRATED),
    ],
)
def test_what_an_error_of_this_side_means(error: Exception, trouble: DatabaseTrouble) -> None:
    assert trouble_of(error) is trouble


@pytest.mark.parametrize(
    ("state", "blamed"),
    [
        ("22003", True),
        ("23514", True),
        ("54000", True),
        ("P0001", True),
        ("40P01", False),
        ("42P01", False),
        ("42501", False),
        ("28P01", False),
        ("57P04", False),
        ("58030", False),
        ("XX000", False),
    ],
)
def test_which_errors_are_of_the_record_that_met_them(state: str, blamed: bool) -> None:  # noqa: FBT001
    assert blames_record(asyncpg.PostgresError.new({"C": state, "M": "so it is"})) is blamed


async def _execute(table: Table, statement: str) -> None:
    async with table.transaction() as tx:
        await tx.execute(text(statement))


async def test_a_backend_that_is_ended_is_an_outage(table: Table) -> None:
    with pytest.raises(TableAwayError):
        await _execute(table, "select pg_terminate_backend(pg_backend_pid())")

    await _execute(table, "select 1")


async def test_a_connection_that_was_ended_while_it_waited_is_made_anew(database_url: str) -> None:
    async with Table(database_url, "celadon-ended", asked_after_seconds=0.0) as table:
        await _execute(table, "select 1")
        async with Table(database_url, "celadon-killer") as killer, killer.transaction() as tx:
            await tx.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'celadon-ended'"),
            )

        await _execute(table, "select 1")


async def test_a_statement_that_takes_too_long_is_an_outage(table: Table) -> None:
    with pytest.raises(TableAwayError, match="statement timeout"):
        await _too_long(table)


async def _too_long(table: Table) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("set local statement_timeout = '20ms'"))
        await tx.execute(text("select pg_sleep(60)"))


async def test_a_lock_that_is_not_to_be_had_is_an_outage(table: Table) -> None:
    async with table.transaction() as holder:
        await holder.execute(text("lock table deployments"))
        with pytest.raises(TableAwayError, match="could not obtain lock"):
            await _execute(table, "lock table deployments nowait")


async def test_a_server_that_is_a_standby_now_is_an_outage(table: Table) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("set transaction read only"))
        with pytest.raises(DBAPIError) as met:
            await tx.execute(text("delete from deployments"))
        await tx.rollback()

    assert trouble_of(met.value) is OUTAGE


async def test_a_transaction_that_lost_a_race_is_an_outage(table: Table) -> None:
    await _execute(table, "insert into deployments (name, replicas, lifecycle) values ('chat', 1, 'pending')")

    async def lose() -> None:
        async with table.transaction() as tx:
            await tx.execute(text("set transaction isolation level repeatable read"))
            await tx.execute(text("select * from deployments"))
            await _execute(table, "update deployments set replicas = 2")
            await tx.execute(text("update deployments set replicas = 3"))

    with pytest.raises(TableAwayError, match="could not serialize"):
        await lose()


async def test_a_server_that_restarts_is_an_outage_and_then_answers(reachable_directory: Path) -> None:
    data_dir = reachable_directory / "restarted"
    data_dir.mkdir(mode=0o711)
    async with running_postgres(data_dir) as url:
        table = Table(url, "celadon-restarted")
        await _execute(table, "select 1")
    with pytest.raises(TableAwayError):
        await _execute(table, "select 1")
    async with running_postgres(data_dir):
        await _execute(table, "select 1")
    await table.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("insert into deployments (name, replicas, lifecycle) values ('chat', -1, 'pending')", "check constraint"),
        ("selekt 1", "syntax error"),
        ("select 1 / 0", "division by zero"),
        ("select repeat('x', 10)::name::int", "invalid input syntax"),
    ],
)
async def test_a_fault_is_raised_as_it_is(table: Table, statement: str, why: str) -> None:
    with pytest.raises(DBAPIError, match=why) as met:
        await _execute(table, statement)

    assert trouble_of(met.value) is FAULT


@pytest.mark.parametrize("statement", ["select * from not_there", "select not_there from deployments"])
async def test_what_a_migration_would_bring_is_named_as_missing(table: Table, statement: str) -> None:
    with pytest.raises(NotMigratedError, match=r"not_there.* does not exist; run 'celadon db upgrade'"):
        await _execute(table, statement)


async def test_a_database_that_is_not_there_is_no_outage(table: Table) -> None:
    nowhere = make_url(table.database_url).set(database="nowhere").render_as_string(hide_password=False)
    async with Table(nowhere, "celadon-nowhere") as away:
        with pytest.raises(Exception, match='database "nowhere" does not exist') as met:
            await _execute(away, "select 1")

    assert trouble_of(met.value) is FAULT
    assert address_refusal(met.value) == (
        'database "nowhere" does not exist; create the database, or correct DATABASE_URL'
    )


async def test_what_waits_for_its_turn_and_is_cancelled_is_no_error_of_the_database(table: Table) -> None:
    async def wait() -> None:
        async with table.transaction() as tx:
            await tx.execute(text("select pg_sleep(60)"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.1)


def test_an_error_is_described_without_its_statement() -> None:
    error = asyncpg.PostgresError.new({"C": "23514", "M": "it is so\nand more"})

    assert describe(error) == "it is so"
    assert describe(TimeoutError()) == "TimeoutError"
