"""Deployment files: YAML or JSON, and nothing in them is taken for something else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from celadon.cli.deployment_file import read_deployment_file, request_of_content, with_settings
from celadon.cli.faults import CommandError
from celadon.domain.language.errors import RefusedError
from celadon.service.file_places import Content
from tests.cli.conftest import Command
from tests.revisions import serving


def _file(directory: Path, text: str) -> Path:
    file = directory / "chat.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "deployment: chat\nrevision: {command: [serve, '{port}'], health_check: {tcp: true}}\n",
        '{"deployment": "chat", "revision": {"command": ["serve", "{port}"], "health_check": {"tcp": true}}}',
        "{deployment: chat, revision: {command: [serve, '{port}'], health_check: {tcp: true}}}",
    ],
    ids=["yaml", "json", "yaml in braces"],
)
def test_a_file_is_read_in_each_form(text: str, tmp_path: Path) -> None:
    content = read_deployment_file(_file(tmp_path, text))

    assert content == {"deployment": "chat", "revision": serving("{port}")}


def test_a_moment_is_read_by_the_key_that_takes_it(tmp_path: Path) -> None:
    text = "deployment: chat\nrevision: 1\npolicy: {auto_promote: true, promote_at: 2026-03-01T09:00:00+01:00}\n"

    request = request_of_content(read_deployment_file(_file(tmp_path, text)))

    assert request.policy is not None
    assert request.policy.promote_at == datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_times_of_a_window_need_no_quotes(tmp_path: Path) -> None:
    window = "{days: [sat, sun], from: 09:00, to: 17:00, zone: Europe/Berlin}"
    text = f"deployment: chat\nrevision: 1\npolicy: {{windows: [{window}]}}\n"

    request = request_of_content(read_deployment_file(_file(tmp_path, text)))

    assert request.policy is not None
    [read] = request.policy.windows
    assert (read.from_, read.to) == ("09:00", "17:00")


def test_a_moment_without_a_zone_is_refused_with_its_line(tmp_path: Path) -> None:
    text = "deployment: chat\nrevision: 1\npolicy:\n  auto_promote: true\n  promote_at: 2026-03-01 09:00\n"

    with pytest.raises(RefusedError, match=r"chat.yaml:5: policy.promote_at: must be a moment with its zone"):
        request_of_content(read_deployment_file(_file(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("deployment: chat\ndeployment: other\n", "chat.yaml:2: 'deployment' is given twice"),
        ("a: {b: 1, b: 2}", "chat.yaml:1: 'b' is given twice"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("deployment: [", "neither YAML nor JSON"),
        ("# of chat\n- chat", "chat.yaml:2: this is a list, not an object"),
        ("chat", "chat.yaml:1: this is text, not an object"),
        ("true", "chat.yaml:1: this is true or false, not an object"),
        ("", "chat.yaml: this is empty, not an object"),
        ("a: 1\n---\nb: 2\n", "neither YAML nor JSON"),
        ("a: !!python/object/apply:os.getpid []", "neither YAML nor JSON"),
    ],
)
def test_a_file_that_is_no_object_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=told):
        read_deployment_file(_file(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(CommandError, match="cannot be read"):
        read_deployment_file(file)


def test_settings_reach_into_objects_and_leave_the_rest() -> None:
    content = Content({"deployment": "chat", "policy": {"bake": "5m"}}, {})

    changed = with_settings(content, ["replicas=5", "policy.auto_promote=true", "revision.env.MODEL=llama"])

    assert changed == {
        "deployment": "chat",
        "replicas": 5,
        "policy": {"bake": "5m", "auto_promote": True},
        "revision": {"env": {"MODEL": "llama"}},
    }
    assert content == {"deployment": "chat", "policy": {"bake": "5m"}}


@pytest.mark.parametrize("setting", ["replicas", "=5", "policy..bake=1s", "revision.env=1", "policy.bake=["])
def test_a_setting_that_cannot_be_written_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"setting|set in it|cannot be read"):
        with_settings(Content({"revision": 7}, {}), [setting])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{deployment: Chat, revision: 1}", "is no deployment name"),
        ("{deployment: chat}", "revision: must be given"),
        ("{deployment: chat, revision: {}}", "needs a command"),
        ("{deployment: chat, revision: 1, replicas: many}", "replicas: must be a whole number"),
        ("{deployment: chat, revision: 1, policy: {bake: -3s}}", "policy.bake"),
        (
            "{deployment: chat, revision: 1, policy: {shadow_percent: 5}}",
            "policy.shadow_percent: not carried out by this version",
        ),
        ("{deployment: chat, revision: 1, policy: {min_healthy: 120%}}", "policy.min_healthy"),
        ("{deployment: chat, revison: 1}", "unknown key 'revison', did you mean 'revision'?"),
        ("{deployment: chat, revision: {command: [a], env: {HUB_TOKEN: abc}}}", "look like secrets: HUB_TOKEN"),
    ],
)
async def test_deploy_refuses_a_request_before_anything_is_asked(text: str, told: str, command: Command) -> None:
    result = await command("deploy", "-f", "-", stdin=text)

    assert result.exit_code == 1
    assert told in result.stderr
    assert "abc" not in result.output


async def test_deploy_says_that_a_file_is_missing(command: Command, tmp_path: Path) -> None:
    result = await command("deploy", "-f", str(tmp_path / "chat.yaml"))

    assert result.exit_code == 1
    assert f"{tmp_path / 'chat.yaml'} cannot be read: No such file or directory" in result.stderr


WRONG = """deployment: chat
replicsa: 3
revision: {command: [serve], health_check: {tcp: true}}
policy:
  bakee: 5m
  drain_timeout: soon
  on_deadline: promot
"""


@pytest.mark.parametrize(
    "told",
    [
        "chat.yaml:2: unknown key 'replicsa', did you mean 'replicas'?",
        "chat.yaml:5: unknown key 'bakee' in 'policy', did you mean 'bake'?",
        "chat.yaml:6: policy.drain_timeout: ",
        "chat.yaml:7: policy.on_deadline: must be 'abort', 'promote' or 'hold', did you mean 'promote'?",
    ],
)
async def test_what_is_wrong_in_a_file_is_told_with_its_line_and_key(
    told: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, WRONG)
    monkeypatch.chdir(tmp_path)

    result = await command("deploy", "-f", "chat.yaml")

    assert told in result.stderr


async def test_a_revision_that_does_not_say_how_its_health_is_known_is_refused_with_its_line_and_advice(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "deployment: chat\nrevision:\n  command: [serve]\n")
    monkeypatch.chdir(tmp_path)

    result = await command("deploy", "-f", "chat.yaml")

    assert result.exit_code == 1
    assert "chat.yaml:2: revision.health_check: a revision says how its health is known" in result.stderr
    assert "{preset: NAME} with one of openai, vllm" in result.stderr


async def test_problems_are_told_in_the_order_of_the_file(command: Command, tmp_path: Path) -> None:
    file = _file(tmp_path, "policy:\n  bake: soon\ndeployment: Chat\nrevison: 1\nreplicas: many\n")

    result = await command("deploy", "-f", str(file))

    places = [result.stderr.index(f"chat.yaml:{line}: ") for line in (2, 3, 4, 5)]
    assert places == sorted(places)


async def test_a_key_that_is_only_written_wrongly_is_not_missing_too(command: Command) -> None:
    result = await command("deploy", "-f", "-", stdin="deployment: chat\nrevison: 1\n")

    assert "unknown key 'revison', did you mean 'revision'?" in result.stderr
    assert "required" not in result.stderr


async def test_a_key_with_nothing_near_is_told_with_the_keys_of_its_level(command: Command) -> None:
    result = await command("deploy", "-f", "-", stdin="{deployment: chat, revision: {command: [a], zz: 1}}")

    assert (
        "standard input:1: unknown key 'zz' in 'revision'; the keys of 'revision' are: provisioner, " in result.stderr
    )


async def test_a_wrong_key_of_a_policy_file_is_told_with_its_own_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "{deployment: chat, revision: {command: [serve], health_check: {tcp: true}}}")
    (tmp_path / "careful.yaml").write_text("bake: 5m\nfreze: []\n")
    monkeypatch.chdir(tmp_path)

    result = await command("deploy", "-f", "chat.yaml", "--policy", "careful.yaml")

    assert "careful.yaml:2: " in result.stderr


async def test_a_wrong_setting_is_told_as_one(command: Command) -> None:
    text = "{deployment: chat, revision: {command: [serve], health_check: {tcp: true}}}"

    result = await command("deploy", "-f", "-", "--set", "replicsa=5", stdin=text)

    assert "--set replicsa: unknown key 'replicsa', did you mean 'replicas'?" in result.stderr


@pytest.mark.parametrize("typed", ["2", "r2"])
def test_a_file_may_call_a_revision_as_people_do(typed: str, tmp_path: Path) -> None:
    content = read_deployment_file(_file(tmp_path, f"deployment: chat\nrevision: {typed}\n"))

    assert request_of_content(content).revision == 2


@pytest.mark.parametrize("typed", ["0", "r0", "two", "-1"])
async def test_what_is_no_revision_is_a_wrong_command_line(typed: str, command: Command) -> None:
    result = await command("promote", "chat", f"--revision={typed}")

    assert result.exit_code == 2
    assert "is no revision: write its number, such as 2 or r2" in result.stderr
