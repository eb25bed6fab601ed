"""``celadon env``: what lets a shell's plain ``temporal`` and ``celadon`` commands speak to a running local stack.

No secret is among it. The database's address is left out all the same, although it holds no password: with it,
commands would go past the API, and nobody would verify who decides.
"""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from celadon.cli.output import OutputFormat, print_line, print_note, print_object
from celadon.cli.target import (
    DATA_DIR_VARIABLE,
    PROFILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    local_data_dir,
)
from celadon.domain.language.base_models import Record
from celadon.ending import ExitCode
from celadon.stack.addresses import NAMESPACE, StackAddresses
from celadon.stack.errors import MissingProgramError
from celadon.stack.programs import temporal_program

_OTHER_CELADONS: Final = frozenset({"DATABASE_URL", PROFILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE})
_OF_TEMPORAL: Final = "TEMPORAL_"
_PATH: Final = "PATH"


class ShellEnvironment(Record):
    """What a shell must change."""

    variables: Mapping[str, str]
    """What is to be set, with the whole value."""
    unset: tuple[str, ...]
    """What is set now and would lead to another Celadon or another Temporal."""


async def print_shell_environment(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Print, for ``eval`` in a shell or as one object, what leads to the stack in ``data_dir``.

    Raises:
        StackError: no stack runs there, it is stopped, or the directory is not this user's alone.

    """
    addresses = StackAddresses.of_running(local_data_dir(data_dir), named=data_dir is not None)
    programs = _directory_of_temporal()
    if output.is_for_programs:
        path = {} if programs is None else {_PATH: os.pathsep.join([programs, *_own_path()])}
        changes = shell_environment(addresses, os.environ)
        print_object(changes.model_copy(update={"variables": {**changes.variables, **path}}), output)
        return ExitCode.DONE
    for line in _lines(shell_environment(addresses, os.environ), programs):
        print_line(line)
    return ExitCode.DONE


def shell_environment(addresses: StackAddresses, present: Mapping[str, str]) -> ShellEnvironment:
    """Return what must change in a shell with the variables ``present``, except ``PATH``."""
    variables = {
        DATA_DIR_VARIABLE: str(addresses.data_dir),
        "TEMPORAL_ADDRESS": addresses.temporal_address,
        "TEMPORAL_NAMESPACE": NAMESPACE,
        # Its profile may hold an API key, which is for another server.
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }
    elsewhere = {name for name in present if name in _OTHER_CELADONS or name.startswith(_OF_TEMPORAL)}
    return ShellEnvironment(variables=variables, unset=tuple(sorted(elsewhere - variables.keys())))


def _directory_of_temporal() -> str | None:
    """Return the directory that must go first on the path, or ``None`` where ``temporal`` is found without it."""
    try:
        program = temporal_program()
    except MissingProgramError as error:
        print_note(str(error))
        return None
    on_path = shutil.which(program.name)
    return None if on_path is not None and Path(on_path).resolve() == program else str(program.parent)


def _own_path() -> tuple[str, ...]:
    path = os.environ.get(_PATH)
    return () if path is None else (path,)


def _lines(changes: ShellEnvironment, programs: str | None) -> tuple[str, ...]:
    """Return lines that every POSIX shell takes."""
    return (
        *(f"unset {name}" for name in changes.unset),
        *(f"export {name}={shlex.quote(value)}" for name, value in changes.variables.items()),
        *(() if programs is None else (f'export {_PATH}={shlex.quote(programs)}:"${_PATH}"',)),
    )
