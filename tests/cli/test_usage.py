"""A command line that is wrong ends with 2, and nobody is asked anything."""

import pytest

from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("promot", "chat"), "No such command 'promot'. Did you mean 'promote'"),
        (("promote",), "Missing argument 'DEPLOYMENT'"),
        (("promote", "Chat"), "is no deployment name"),
        (("promote", "chat-preview"), "are the addresses of previews"),
        (("promote", "chat", "--revision", "0"), "--revision"),
        (("promote", "chat", "--force"), "it needs --reason"),
        (("deploy",), "Missing option '--file'"),
        (("deploy", "-f", "-", "--timeout", "3s"), "no effect without --wait"),
        (("deploy", "-f", "-", "--wait", "--timeout", "soon"), "is no duration"),
        (("rollout", "start", "chat"), "Missing option '--revision'"),
        (("rollout", "history", "chat", "--limit", "0"), "--limit"),
        (("rollout", "list", "-o", "xml"), "xml"),
        (("demo", "--hold", "--promote-after", "3s"), "leave one of the two out"),
        (("demo", "--promote-after", "-3s"), "never negative"),
        (("demo", "--requests-per-second", "0"), "--requests-per-second"),
        (("demo", "--streams", "-1"), "--streams"),
        (("router", "enrol"), "Missing argument 'NODE'"),
        (("gateway", "certificate"), "Missing option '--to'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_wrong_command_line_is_refused(arguments: tuple[str, ...], told: str, command: Command) -> None:
    result = await command(*arguments)

    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
