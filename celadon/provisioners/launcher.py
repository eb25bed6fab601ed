"""Becomes a replica: claims the replica's file, then executes its command in its own place.

A claim is a file that appears complete or not at all and belongs to whoever made it first. So of two launchers of the
same replica one executes and the other leaves quietly, and a claim that a stop has made keeps a late launcher from
starting anything. A claim has three lines: process id, start time in clock ticks since boot, and id of that boot (the
last two are empty where the platform does not tell); a stop's claim is empty. The process id stays the same from the
claim on, so whoever reads it can signal the replica.

Before it executes anything the launcher gives up every right that the replica is not to have: it becomes the replica's
user where that is another one, keeps no capability that it was lent, and can never gain one again.

This module runs as a program for every replica, so it imports the least that it can.
"""

import ctypes
import os
import signal
import sys

CLAIM_SUFFIX = ".claim"
ERROR_SUFFIX = ".error"

EXIT_CANNOT_EXECUTE = 126
EXIT_CANNOT_BECOME = 125
_OWNER_ONLY = 0o600
_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
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
    with os.fdopen(open_file(path), "w", encoding="utf-8") as file:
        file.write(content)


def open_file(path: str) -> int:
    """Open a file that only its owner can read, for writing; an executed program does not get the descriptor."""
    return os.open(path, _TO_WRITE, _OWNER_ONLY)


def become(identity: str) -> None:
    """Become another user: ``identity`` is its id, its group's and those of all its groups; nobody when empty.

    Raises:
        OSError: the kernel refuses.

    """
    if identity:
        uid, gid, *groups = map(int, identity.split(","))
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # A kernel that knows no ambient capabilities has lent none.
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if os.geteuid() != 0 and libc.capset(header, none):
        raise OSError(ctypes.get_errno(), f"capabilities cannot be given up: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"privileges cannot be given up: {os.strerror(ctypes.get_errno())}")


def main(directory: str, route: str, identity: str, working_dir: str, *command: str) -> int:
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
    # Opened while this process is still who owns the directory.
    error_file = open_file(os.path.join(directory, route + ERROR_SUFFIX))  # noqa: PTH118
    # It imports a module at its first call, and another user may not be able to read Python's.
    os.get_exec_path()
    try:
        become(identity)
    except OSError as error:
        os.write(error_file, f"cannot become the user of replicas: {error.strerror}".encode())
        return EXIT_CANNOT_BECOME
    try:
        # As the replica's user, who may not be let into the directory.
        if working_dir:
            os.chdir(working_dir)
    except OSError as error:
        os.write(error_file, f"cannot work in {working_dir!r}: {error.strerror}".encode(errors="replace"))
        return EXIT_CANNOT_EXECUTE
    try:
        os.execvp(command[0], command)  # noqa: S606 - a revision's command is a list of arguments, no shell line
    except OSError as error:
        os.write(error_file, f"cannot execute {command[0]!r}: {error.strerror}".encode(errors="replace"))
        return EXIT_CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
