"""Which Celadon a command means, and how it is reached: through an API, or by its Postgres and its Temporal."""

# ruff: noqa: PLC0415 - most commands speak to an API that they are told of, and look for no local stack

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from celadon.cli.api_address import ALLOW_HTTP_VARIABLE, check_url
from celadon.cli.faults import CommandError
from celadon.domain.language.base_models import Record

if TYPE_CHECKING:
    from celadon.stack.addresses import StackAddresses

DATA_DIR_VARIABLE: Final = "CELADON_DATA_DIR"
"""Where the local stack is, unless ``--data-dir`` says so."""

URL_VARIABLE: Final = "CELADON_URL"
TOKEN_VARIABLE: Final = "CELADON_TOKEN"  # noqa: S105 - the name of a variable
PROFILE_VARIABLE: Final = "CELADON_PROFILE"
CA_VARIABLE: Final = "CELADON_CA_FILE"

_DATABASE: Final = "DATABASE_URL"
_TEMPORAL: Final = "TEMPORAL_ADDRESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Which Celadon, and which way to it; what is not said is found out."""

    data_dir: Path | None = None
    profile: str | None = None
    direct: bool = False
    """By its Postgres and its Temporal, past its API."""
    insecure: bool = False
    """A token may travel in the clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a command finds the table; Temporal is found through the environment, which ``choose_target`` sets."""

    database_url: str
    described: str
    """In words for people."""
    stack: "StackAddresses | None"
    """Set when this is a local stack."""


class ApiTarget(Record):
    """An API, and what lets the command in."""

    url: str
    token: SecretStr
    ca_file: str = ""
    described: str
    """Where address and token come from, in words for people."""
    when_away: str
    """What a person can do when it does not answer."""
    when_expired: str = "log in again: celadon login URL"
    """What a person can do when the token has expired."""


def local_data_dir(given: Path | None) -> Path:
    """Return the data directory that was given, that ``CELADON_DATA_DIR`` names, or the usual one."""
    from celadon.stack.layout import DEFAULT_DATA_DIR

    return given or Path(os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR)


def find_target(choice: TargetChoice) -> Target | ApiTarget:
    """Find out which Celadon is meant: by the command line, the environment, a local stack, the current profile.

    A local stack is reached through its API. When it is reached directly, Temporal's clients in this process speak to
    the Temporal that belongs to it.

    Raises:
        CommandError: the environment names one half only, or nothing is found.
        StackError: no stack runs in a data directory that was named, or somebody else could have written into it.

    """
    if choice.direct:
        return choose_target(choice.data_dir)
    if choice.profile is not None:
        return _of_profile(choice.profile, "--profile", choice)
    if choice.data_dir is None:
        of_environment = _of_environment(choice)
        if of_environment is not None:
            return of_environment
        if _DATABASE not in os.environ and _TEMPORAL not in os.environ and not _stack_is_there():
            of_profile = _of_current_profile(choice)
            if of_profile is not None:
                return of_profile
    target = choose_target(choice.data_dir)
    return target if target.stack is None else _api_of(target.stack) or target


def choose_target(data_dir: Path | None) -> Target:
    """Find out which Celadon is meant that can be reached directly, and let Temporal's clients speak to it.

    ``--data-dir`` is the strongest, then ``DATABASE_URL`` with Temporal's own variables, then the local stack.

    Raises:
        CommandError: the environment names one half only, or there is neither it nor a stack.
        StackError: no stack runs in a data directory that was named, or it is stopped.

    """
    database = os.environ.get(_DATABASE)
    if data_dir is None and database:
        from celadon.cli.table_access import check_address

        check_address(database)
        return Target(database_url=database, described=f"{_DATABASE} and {_TEMPORAL} of the environment", stack=None)
    named = data_dir is not None or DATA_DIR_VARIABLE in os.environ
    if not named and os.environ.get(_TEMPORAL):
        raise CommandError(
            f"{_TEMPORAL} is set but {_DATABASE} is not, and both must mean the same Celadon; set {_DATABASE} too, or "
            "name a local stack with --data-dir",
        )
    directory = local_data_dir(data_dir)
    if not named and not _runs_in(directory) and not _is_there(directory):
        raise CommandError(_nothing_found(directory))
    from celadon.stack.addresses import StackAddresses

    addresses = StackAddresses.of_running(directory, named=data_dir is not None)
    _speak_to(addresses)
    return Target(
        database_url=addresses.database_url,
        described=f"the local stack in {addresses.data_dir}",
        stack=addresses,
    )


def _of_environment(choice: TargetChoice) -> ApiTarget | None:
    url, token = os.environ.get(URL_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    if url and token:
        return ApiTarget(
            url=check_url(url, allow_http=(choice.insecure or allows_http())),
            token=SecretStr(token),
            ca_file=os.environ.get(CA_VARIABLE, ""),
            described=f"{URL_VARIABLE} and {TOKEN_VARIABLE} of the environment",
            when_away=f"see that 'celadon api' runs there, or correct {URL_VARIABLE}",
            when_expired=f"log in again where it came from, and set {TOKEN_VARIABLE} to the new one",
        )
    if url or token:
        there, missing = (URL_VARIABLE, TOKEN_VARIABLE) if url else (TOKEN_VARIABLE, URL_VARIABLE)
        raise CommandError(
            f"{there} is set but {missing} is not, and a token is for one address alone; set {missing} too, or unset "
            f"{there} and use a profile ('celadon login URL')",
        )
    profile = os.environ.get(PROFILE_VARIABLE)
    return _of_profile(profile, PROFILE_VARIABLE, choice) if profile else None


def _of_current_profile(choice: TargetChoice) -> ApiTarget | None:
    from celadon.cli.profiles import read_profiles

    current = read_profiles().current
    return _of_profile(current, "the current one", choice) if current else None


def _of_profile(name: str, named_by: str, choice: TargetChoice) -> ApiTarget:
    from celadon.cli.profiles import find_profile

    profile = find_profile(name)
    return ApiTarget(
        url=check_url(profile.url, allow_http=profile.allow_http or (choice.insecure or allows_http())),
        token=profile.token,
        ca_file=os.environ.get(CA_VARIABLE) or profile.ca_file,
        described=f"the profile {name} ({named_by})",
        when_away=f"see that 'celadon api' runs there, or log in anew with 'celadon login URL --profile {name}'",
        when_expired=f"log in again: celadon login {profile.url} --profile {name}",
    )


def _api_of(stack: "StackAddresses") -> ApiTarget | None:
    """Return the API of a local stack, with the token of its owner; nothing when it has none."""
    if not stack.api or stack.admin_token_file is None:
        return None
    from celadon.owned_files import read_text

    try:
        token = read_text(stack.admin_token_file, private=True).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"the token of the local stack cannot be read: {error}") from error
    return ApiTarget(
        url=stack.api,
        token=SecretStr(token),
        described=f"the local stack in {stack.data_dir}",
        when_away=f"see {stack.data_dir / 'logs' / 'api.log'}; --direct does without it",
    )


def allows_http() -> bool:
    """Whether the environment lets tokens travel in the clear."""
    return os.environ.get(ALLOW_HTTP_VARIABLE, "").lower() in {"1", "true", "yes"}


def _stack_is_there() -> bool:
    return DATA_DIR_VARIABLE in os.environ or _runs_in(local_data_dir(None))


def _runs_in(data_dir: Path) -> bool:
    """Whether a stack of ours runs in the directory; raises ``StackError`` when the directory is not ours alone."""
    from celadon.stack.layout import DataDirectory

    directory = DataDirectory.find(data_dir)
    return directory is not None and directory.is_in_use()


def _is_there(data_dir: Path) -> bool:
    """Whether a stack has run in the directory before."""
    from celadon.stack.layout import DataDirectory

    directory = DataDirectory.find(data_dir)
    return directory is not None and directory.is_of_a_stack()


def _speak_to(addresses: "StackAddresses") -> None:
    """Let nothing that the environment says of another Temporal lead away from the stack's."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[name]
    os.environ.update(addresses.environment | {"TEMPORAL_CONFIG_FILE": os.devnull})


def _nothing_found(directory: Path) -> str:
    from celadon.stack.layout import DEMO_DATA_DIR

    if _runs_in(DEMO_DATA_DIR):
        return (
            f"no stack runs in {directory}, but a demonstration does in {DEMO_DATA_DIR}; to speak to it, add "
            f"--data-dir {DEMO_DATA_DIR}"
        )
    return (
        f"no Celadon found: no local stack runs in {directory.absolute()}, nobody is logged in, and neither "
        f"{URL_VARIABLE} nor {_DATABASE} is set; start a stack with 'celadon up', name one with --data-dir, log in to "
        f"an API with 'celadon login URL', or set {_DATABASE} and {_TEMPORAL}"
    )
