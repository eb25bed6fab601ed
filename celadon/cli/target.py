"""Which Celadon a command means: the one of the environment, or the local stack."""

import os
from pathlib import Path
from typing import Final

from celadon.cli.faults import CommandError
from celadon.cli.table_access import check_address
from celadon.domain.strictness import Record
from celadon.stack.addresses import StackAddresses
from celadon.stack.layout import DEFAULT_DATA_DIR, DataDirectory

DATA_DIR_VARIABLE: Final = "CELADON_DATA_DIR"
"""Where the local stack is, unless ``--data-dir`` says so."""

_DATABASE: Final = "DATABASE_URL"
_TEMPORAL: Final = "TEMPORAL_ADDRESS"


class Target(Record):
    """Where a command finds the table; Temporal is found through the environment, which ``choose_target`` sets."""

    database_url: str
    described: str
    """In words for people."""
    stack: StackAddresses | None
    """Set when this is a local stack."""


def local_data_dir(given: Path | None) -> Path:
    """Return the data directory that was given, that ``CELADON_DATA_DIR`` names, or the usual one."""
    return given or Path(os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR)


def choose_target(data_dir: Path | None) -> Target:
    """Find out which Celadon is meant, and let Temporal's clients in this process speak to it.

    ``--data-dir`` is the strongest, then ``DATABASE_URL`` with Temporal's own variables, then the local stack.

    Raises:
        CommandError: the environment names one half only, or there is neither it nor a stack.
        StackError: no stack runs in a data directory that was named.

    """
    database = os.environ.get(_DATABASE)
    if data_dir is None and database:
        check_address(database)
        return Target(database_url=database, described=f"{_DATABASE} and {_TEMPORAL} of the environment", stack=None)
    named = data_dir is not None or DATA_DIR_VARIABLE in os.environ
    if not named and os.environ.get(_TEMPORAL):
        raise CommandError(
            f"{_TEMPORAL} is set but {_DATABASE} is not, and both must mean the same Celadon; set {_DATABASE} too, or "
            "name a local stack with --data-dir",
        )
    directory = local_data_dir(data_dir)
    if not named and not DataDirectory(directory).is_in_use():
        raise CommandError(_nothing_found(directory))
    addresses = StackAddresses.of_running(directory)
    _speak_to(addresses)
    return Target(
        database_url=addresses.database_url,
        described=f"the local stack in {addresses.data_dir}",
        stack=addresses,
    )


def _speak_to(addresses: StackAddresses) -> None:
    """Let nothing that the environment says of another Temporal lead away from the stack's."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[name]
    os.environ.update(addresses.environment | {"TEMPORAL_CONFIG_FILE": os.devnull})


def _nothing_found(directory: Path) -> str:
    from celadon.stack.demo.demo import DEMO_DATA_DIR  # noqa: PLC0415 - heavy, and needed for this sentence alone

    if DataDirectory(DEMO_DATA_DIR).is_in_use():
        return (
            f"no stack runs in {directory}, but a demonstration does in {DEMO_DATA_DIR}; to speak to it, add "
            f"--data-dir {DEMO_DATA_DIR}"
        )
    return (
        f"no Celadon found: no local stack runs in {directory.absolute()} and {_DATABASE} is not set; start a stack "
        f"with 'celadon up', name one with --data-dir, or set {_DATABASE} and {_TEMPORAL}"
    )
