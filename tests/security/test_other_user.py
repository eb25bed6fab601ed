"""The other user of the attacks is another one: without this, an attack that fails shows nothing."""

from pathlib import Path

from tests.security.other_user import OtherUser


def test_is_another_user_without_groups(other_user: OtherUser) -> None:
    asked = "import os; print(os.getresuid(), os.getresgid(), os.getgroups())"
    finished = other_user.run_python(asked)
    ids = f"({other_user.uid}, {other_user.uid}, {other_user.uid})"
    assert finished.stdout.strip() == f"{ids} {ids} []", finished.stderr
    assert other_user.run("id", "-u").stdout.strip() == str(other_user.uid)


def test_cannot_read_what_its_owner_alone_may_read(other_user: OtherUser, reachable_directory: Path) -> None:
    secret, told = reachable_directory / "secret", reachable_directory / "told"
    for file in (secret, told):
        file.touch(mode=0o600)
        file.write_text("content", encoding="utf-8")
    told.chmod(0o644)
    assert other_user.run("cat", told).stdout == "content"
    assert "Permission denied" in other_user.run("cat", secret).stderr
    read = "import sys; print(open(sys.argv[1]).read())"
    assert other_user.run_python(read, told).stdout.strip() == "content"
    assert "PermissionError" in other_user.run_python(read, secret).stderr


def test_imports_what_the_tests_can(other_user: OtherUser) -> None:
    finished = other_user.run_python("import asyncio, ssl, grpc, celadon.domain.language.names; print('imported')")
    assert finished.stdout.strip() == "imported", finished.stderr
