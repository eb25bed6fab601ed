"""Routers that are silent, refuse, or are gone: each is told, and no mend touches one."""

import pytest
from temporalio.client import Client

from tests.cli.conftest import Command
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.table.rows import Rows


@pytest.mark.parametrize(
    ("change", "verdict", "told"),
    [
        ("nack = 'unknown field'", "wrong", "refused its last configuration: unknown field"),
        ("stream_ended_at = now()", "wrong", "is cut off"),
        ("seen_at = now() - interval '11 seconds'", "wrong", "is cut off: it has not been seen for"),
        ("seen_at = now() - interval '1 minute'", "wrong", "is cut off: it has not been seen for"),
        ("stream_ended_at = now(), acknowledged_at = null", "odd", "is not connected now"),
        ("seen_at = now() - interval '1 hour'", "odd", "has not been seen for 1h"),
    ],
)
async def test_a_router_is_told(doctor: Doctor, well: Rows, change: str, verdict: str, told: str) -> None:
    await well.router("edge-2", 1000)
    await well.sql(f"update routers set {change} where node = 'edge-2'")  # noqa: S608 - a test's own words
    before = await well.rows("select * from routers order by node")

    code, findings = await doctor("--fix")

    assert not_fine(findings) == {"router edge-2": verdict}
    assert code == (1 if verdict == "wrong" else 0)
    assert told in findings["router edge-2"]["told"]
    assert await well.rows("select * from routers order by node") == before


async def test_a_router_that_is_behind_is_odd_and_wrong_once_it_is_cut_off(doctor: Doctor, well: Rows) -> None:
    await well.router("edge-2", 0)
    _, connected = await doctor()
    await well.sql("update routers set seen_at = now() - interval '1 minute' where node = 'edge-2'")
    code, cut_off = await doctor()

    assert not_fine(connected) == {"router edge-2": "odd"}
    assert (code, not_fine(cut_off)) == (1, {"router edge-2": "wrong"})
    assert "celadon router forget edge-2" in cut_off["router edge-2"]["next_step"]
    assert "blue is not stopped" in cut_off["router edge-2"]["why"]


async def test_a_router_that_waits_for_the_first_deployment_is_fine(
    doctor: Doctor,
    temporal: Client,
    rows: Rows,
) -> None:
    del temporal
    _, without = await doctor()
    await rows.connect("edge-1")
    code, connected = await doctor()

    assert not_fine(without) == {"routers": "odd"}
    assert (code, not_fine(connected)) == (0, {})


async def test_a_live_deployment_without_a_router_is_wrong(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("doctor")

    assert result.exit_code == 1
    assert "✘ routers: none is live" in result.stdout
    assert "celadon router enrol NAME" in result.stdout


@pytest.mark.parametrize(
    ("left", "verdict", "told"),
    [("29 days", "odd", "expires in 28d"), ("-1 hours", "wrong", "has expired")],
)
async def test_a_certificate_that_expires_is_told(
    doctor: Doctor, well: Rows, left: str, verdict: str, told: str
) -> None:
    await well.enrol("edge-1", "spiffe://celadon/router/edge-1", "a")
    await well.sql(f"update routers set expires_at = now() + interval '{left}'")  # noqa: S608 - a test's own words

    code, findings = await doctor()

    assert not_fine(findings) == {"certificate of router edge-1": verdict}
    assert code == (1 if verdict == "wrong" else 0)
    assert told in findings["certificate of router edge-1"]["told"]
    assert "celadon router enrol edge-1" in findings["certificate of router edge-1"]["next_step"]


async def test_a_router_whose_bootstrap_asks_for_no_limits_is_odd_while_it_is_connected(
    doctor: Doctor, well: Rows
) -> None:
    await well.router("edge-2", 1000)
    await well.sql("update routers set takes_limits = false where node = 'edge-2'")

    code, findings = await doctor()

    assert (code, not_fine(findings)) == (0, {"limits of router edge-2": "odd"})
    assert "10,000 requests of each deployment" in findings["limits of router edge-2"]["why"]
    assert "celadon router enrol edge-2" in findings["limits of router edge-2"]["next_step"]

    await well.sql("update routers set stream_ended_at = now() where node = 'edge-2'")
    _, findings = await doctor()
    assert "limits of router edge-2" not in findings


async def test_a_router_of_before_that_nobody_enrolled_is_wrong(doctor: Doctor, well: Rows) -> None:
    await well.router("edge-2", 1000)
    await well.sql("update routers set enrolled_at = null where node = 'edge-2'")

    code, findings = await doctor()

    assert (code, not_fine(findings)) == (1, {"router edge-2": "wrong"})
    assert "celadon router enrol edge-2" in findings["router edge-2"]["next_step"]
