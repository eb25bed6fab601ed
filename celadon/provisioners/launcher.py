"""Becomes a replica: claims the replica's file, then executes its command in its own place.

A claim is a file that appears complete or not at all and belongs to whoever made it first. So of two launchers of the
same replica one executes and the other leaves quietly, and a claim that a stop has made keeps a late launcher from
starting anything. A claim has three lines: process id, start time in clock ticks since boot, and id of that boot (the
last two are empty where the platform does not tell); a stop's claim is empty. The process id stays the same from the
claim on, so whoever reads it can signal the replica.

This module runs as a program for every replica, so it imports the least that it can.
"""

import os
import signal
import sys

CLAIM_SUFFIX = ".claim"
ERROR_SUFFIX = ".error"

EXIT_CANNOT_EXECUTE = 126
_OWNER_ONLY = 0o600
_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_FIRST_OTHER_DESCRIPTOR = 3
_LIKELY_DESCRIPTORS = 256


def read_stat(pid: int) -> "tuple[str, str] | None":
    """Return a process's state and start time in clock ticks since boot; nothing when the platform does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - importing pathlib doubles the start-up time
            # The name before the last bracket may hold anything; field 3 is the state, field 22 the start time.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state = fields[0].decode()
    if state == "Z" and int(fields[17]) > 1:
        # Only its first thread has ended, as it may for a moment when a signal ends all: nobody can wait for it yet.
        state = "S"
    return state, fields[19].decode()


def boot_id() -> str:
    """Return the id of the machine's present boot; empty when the platform does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def make_claim(directory: str, route: str, content: str) -> bool:
    """Claim a replica; false when it is claimed already."""
    draft = os.path.join(directory, f".{route}.{os.getpid()}")  # noqa: PTH118
    write_file(draft, content)
    try:
        os.link(draft, os.path.join(directory, route + CLAIM_SUFFIX))  # noqa: PTH118
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)  # noqa: PTH108
    return True


def close_inherited_descriptors() -> None:
    """Close what a library of the worker left open: a socket that a replica kept would stay bound while it lives."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    except OSError:
        descriptors = list(range(_LIKELY_DESCRIPTORS))
    for descriptor in descriptors:
        if descriptor >= _FIRST_OTHER_DESCRIPTOR:
            try:
                os.close(descriptor)
            except OSError:
                continue


def write_file(path: str, content: str) -> None:
    """Write a file that only its owner can read."""
    with os.fdopen(os.open(path, _TO_WRITE, _OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(content)


def main(directory: str, route: str, *command: str) -> int:
    """Claim the replica and execute its command; return only when that was not to be or not possible."""
    close_inherited_descriptors()
    if os.getpid() != os.getsid(0):
        os.setsid()
    pid = os.getpid()
    stat = read_stat(pid)
    if not make_claim(directory, route, f"{pid}\n{stat[1] if stat else ''}\n{boot_id()}"):
        return 0
    # Python ignores these for itself; a replica gets them as any program does.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a revision's command is a list of arguments, no shell line
    except OSError as error:
        reason = f"cannot execute {command[0]!r}: {error.strerror}"
        write_file(os.path.join(directory, route + ERROR_SUFFIX), reason)  # noqa: PTH118
        return EXIT_CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
