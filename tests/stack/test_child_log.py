"""Logs of children."""

from pathlib import Path

from celadon.stack.child_log import ChildLog


def write(log: ChildLog, text: str) -> None:
    with log.open() as stream:
        stream.write(text.encode())


def test_the_last_lines_are_those_of_the_last_start(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "child.log")
    write(log, "an earlier start\n")
    write(log, "one\n\ntwo\nthree\n")
    assert log.last_lines(2) == ("two", "three")
    assert log.last_lines() == ("one", "two", "three")


def test_an_earlier_start_stays_in_the_file(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "child.log")
    write(log, "first\n")
    write(log, "second\n")
    assert log.file.read_text() == "first\nsecond\n"


def test_a_long_log_is_put_aside_before_the_next_start(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "child.log", rotate_above_bytes=10)
    write(log, "more than ten bytes\n")
    write(log, "new\n")
    assert log.file.read_text() == "new\n"
    assert (tmp_path / "child.log.1").read_text() == "more than ten bytes\n"


def test_only_the_owner_can_read_a_log(tmp_path: Path) -> None:
    write(ChildLog(tmp_path / "logs" / "child.log"), "")
    assert (tmp_path / "logs" / "child.log").stat().st_mode & 0o077 == 0


def test_a_log_that_was_never_opened_has_no_lines(tmp_path: Path) -> None:
    assert ChildLog(tmp_path / "child.log").last_lines() == ()
