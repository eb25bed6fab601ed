"""``celadon login``, ``logout``, ``whoami`` and ``profile``."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from celadon.cli.access.calls import calling, is_token
from celadon.cli.api_address import check_url
from celadon.cli.author_name import author_name
from celadon.cli.columns import table_of
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, ask_secretly, print_answer, print_text
from celadon.cli.profiles import (
    Profile,
    config_file,
    forget_profile,
    read_profiles,
    save_profile,
    use_profile,
)
from celadon.cli.target import TOKEN_VARIABLE, URL_VARIABLE, ApiTarget, TargetChoice, allows_http, find_target
from celadon.domain.language.base_models import Record
from celadon.domain.language.permissions import Role
from celadon.ending import ExitCode
from celadon.service.principal import Principal
from celadon.terminal import Table, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where a person logs in, and what the profile is called."""

    url: str
    profile: str
    token_stdin: bool
    ca_file: Path | None
    insecure: bool


class Who(Record):
    """What ``whoami -o json`` prints."""

    celadon: str
    """Which Celadon this is."""
    url: str | None
    """Its API; nothing when commands reach it directly."""
    name: str
    """As the audit log shows the person."""
    verified: bool
    """Whether Celadon knows that by a token; else it believes what it is told."""
    roles: tuple[Role, ...] | None
    """Nothing when commands reach Celadon directly, where nobody asks."""
    scope: dict[str, str]


class ProfileLine(Record):
    """A profile without its token."""

    name: str
    url: str
    current: bool


class ProfileList(Record):
    """What ``profile list -o json`` prints."""

    profiles: tuple[ProfileLine, ...]


async def login(given: Login, output: OutputFormat) -> ExitCode:
    """Check a token and keep it.

    Raises:
        CommandError: the API is not there, does not know the token, or the profile cannot be kept.

    """
    allow_http = given.insecure or allows_http()
    url = check_url(given.url, allow_http=allow_http)
    read_profiles()  # What cannot be kept is not asked for.
    token = _read_token(url) if not given.token_stdin else sys.stdin.read().strip()
    if not is_token(token):
        raise CommandError("no token was given, or one with spaces in it; an operator makes one: celadon token create")
    ca_file = "" if given.ca_file is None else str(given.ca_file.expanduser().absolute())
    target = ApiTarget(
        url=url,
        token=SecretStr(token),
        ca_file=ca_file,
        described="what you gave",
        when_away="see that 'celadon api' runs there, or correct the address",
    )
    async with calling(target) as calls:
        who = await calls.get("/v1/whoami", Principal)
    profile = Profile(url=url, token=SecretStr(token), ca_file=ca_file, allow_http=allow_http)
    file = save_profile(given.profile, profile)
    line = Text(f"Logged in to {url} as ").append(who.name, style="bold")
    line.append(f" ({_roles(who.roles)}); the current profile is now {given.profile}, in {file}.")
    print_answer(_who(target, who), output, lambda: [line])
    return ExitCode.DONE


async def logout(profile: str | None) -> ExitCode:
    """Forget a profile.

    Raises:
        CommandError: there is none, or the file cannot be written.

    """
    name = profile or read_profiles().current
    if not name:
        raise CommandError("there is no current profile; name one with --profile (see 'celadon profile list')")
    file = forget_profile(name)
    print_text(f"The profile {name} and its token are gone from {file}; to end the token itself: celadon token revoke")
    return ExitCode.DONE


async def show_who(choice: TargetChoice, output: OutputFormat) -> ExitCode:
    """Tell which Celadon commands speak to, and as whom.

    Raises:
        CommandError: there is none, or it does not know the token.

    """
    target = find_target(choice)
    if isinstance(target, ApiTarget):
        async with calling(target) as calls:
            who = _who(target, await calls.get("/v1/whoami", Principal))
    else:
        who = Who(celadon=target.described, url=None, name=author_name(None), verified=False, roles=None, scope={})
    print_answer(who, output, lambda: [_described(who)])
    return ExitCode.DONE


async def show_profiles(output: OutputFormat) -> ExitCode:
    """List profiles.

    Raises:
        CommandError: the file cannot be read.

    """
    known = read_profiles()
    lines = tuple(
        ProfileLine(name=name, url=profile.url, current=name == known.current)
        for name, profile in sorted(known.profiles.items())
    )
    none = f"There is no profile in {config_file()}; make one with: celadon login URL"
    print_answer(ProfileList(profiles=lines), output, lambda: [_table(lines) if lines else none])
    return ExitCode.DONE


async def use(name: str) -> ExitCode:
    """Make a profile the current one.

    Raises:
        CommandError: there is none of this name, or the file cannot be written.

    """
    use_profile(name)
    print_text(f"Commands use the profile {name}, unless they or the environment say otherwise or a stack runs here.")
    return ExitCode.DONE


def _read_token(url: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(
            "there is no terminal to ask for the token; give it with --token-stdin, or set "
            f"{URL_VARIABLE} and {TOKEN_VARIABLE} in place of logging in",
        )
    return ask_secretly(f"Token for {url}").strip()


def _who(target: ApiTarget, who: Principal) -> Who:
    return Who(
        celadon=target.described,
        url=target.url,
        name=who.name,
        verified=True,
        roles=who.roles,
        scope=who.scope,
    )


def _roles(roles: tuple[Role, ...] | None) -> str:
    return "everything: nobody asks" if roles is None else ", ".join(role.value for role in roles) or "nothing"


def _described(who: Who) -> Table:
    scope = ", ".join(f"{name}={value}" for name, value in sorted(who.scope.items()))
    table = Table.of_pairs()
    for name, value in (
        ("celadon", who.celadon),
        ("API", who.url or "none: by Postgres and Temporal"),
        ("you are", who.name + ("" if who.verified else " (as you say)")),
        ("you may", _roles(who.roles)),
        ("deployments", f"those with {scope}" if scope else "all"),
    ):
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _table(lines: tuple[ProfileLine, ...]) -> Table:
    table = table_of("PROFILE", "URL", "CURRENT")
    for line in lines:
        table.add_row(Text(line.name, style="bold"), line.url, "yes" if line.current else "")
    return table
