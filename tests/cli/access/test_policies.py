"""``celadon policy show`` and ``set``, the same both ways."""

import json
from pathlib import Path
from typing import Final

import pytest

from celadon.domain.language.permissions import Role
from tests.cli.access.conftest import Ways
from tests.cli.conftest import Command
from tests.table.rows import Rows

WAYS: Final = ("api", "direct")


async def _shown(command: Command, whose: str = "chat") -> dict[str, tuple[str, str]]:
    done = await command("policy", "show", whose, "-o", "json")
    assert done.exit_code == 0, done.output
    return {one["key"]: (one["value"], one["layer"]) for one in json.loads(done.stdout)["policy"]}


@pytest.mark.parametrize("way", WAYS)
async def test_show_names_the_layer_of_each_key(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(policy={"bake": "10m"})
    await ways.take(way)

    shown = await _shown(command)

    assert (shown["bake"], shown["drain_timeout"]) == (("10m", "deployment"), ("15m", "default"))


@pytest.mark.parametrize("way", WAYS)
async def test_defaults_are_set_and_shown_as_the_installations(
    way: str, command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live(policy={"drain_timeout": "1m"})
    await ways.take(way)

    done = await command(
        "policy", "set", "--default", "bake=10m", "drain_timeout=2m", "--reason", "load", "--by", "admin"
    )

    assert done.exit_code == 0, done.output
    assert "  bake: 5m (default) → 10m (installation)" in done.stdout
    shown = await _shown(command)
    assert (shown["bake"], shown["drain_timeout"]) == (("10m", "installation"), ("1m", "deployment"))
    defaults = await _shown(command, "--default")
    assert (defaults["bake"], defaults["drain_timeout"]) == (("10m", "installation"), ("2m", "installation"))
    told = await command("policy", "show", "--default")
    assert "load" in told.stdout
    assert "(installation)" in (await command("deployment", "show", "chat")).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "chat", "--default", "bake=1m"), "name a deployment, or say --default; never both"),
        (("show", "chat", "--default"), "name a deployment, or say --default; never both"),
        (("show",), "name a deployment, or say --default"),
        (("set",), "name a deployment, or say --default"),
        (("set", "chat", "bake"), "'bake' is no setting: write KEY=VALUE, for example bake=30s"),
    ],
)
async def test_what_is_typed_wrongly_is_told_with_what_to_type(
    words: tuple[str, ...], said: str, command: Command, ways: Ways
) -> None:
    ways.directly()

    done = await command("policy", *words)

    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("way", WAYS)
async def test_set_changes_the_keys_that_are_named(
    way: str, command: Command, ways: Ways, rows: Rows, tmp_path: Path
) -> None:
    await rows.live(policy={"bake": "10m", "max_regressions": 3})
    await ways.take(way)
    file = tmp_path / "careful.policy.yaml"
    file.write_text("drain_timeout: 1m\nrouter_ack_timeout: 10s\n")

    words = ("router_ack_timeout=20s", "--file", str(file), "--unset", "max_regressions", "--by", "admin")
    done = await command("policy", "set", "chat", *words)

    assert done.exit_code == 0, done.output
    assert "  drain_timeout: 15m (default) → 1m (deployment)" in done.stdout
    own = {"bake": "10m", "drain_timeout": "1m", "router_ack_timeout": "20s"}
    assert await rows.value("select policy from deployments") == own


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bakes=1m",), "Refused: bakes=1m: unknown key 'bakes' in 'policy', did you mean 'bake'?"),
        (("bake=fast",), "Refused: bake=fast: policy.bake: 'fast' is no duration"),
        (("--unset", "bakes"), "no key 'bakes'"),
        (("bake=1m", "--unset", "bake"), "set and unset at once"),
        ((), "nothing is set or unset"),
    ],
)
async def test_what_is_no_change_is_refused(
    way: str, words: tuple[str, ...], said: str, command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    await ways.take(way)

    done = await command("policy", "set", "chat", *words)

    assert done.exit_code == 1
    assert said in done.stderr
    assert await rows.value("select count(*) from rollout_events where kind = 'policy_changed'") == 0


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.APPROVER])
async def test_set_takes_an_admin(role: Role, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.through_api(role)

    done = await command("policy", "set", "chat", "bake=1m")

    assert done.exit_code == 1
    assert "takes the role admin" in done.stderr
    done = await command("policy", "set", "--default", "bake=1m")
    assert done.exit_code == 1
    assert "takes the role admin" in done.stderr
