"""``celadon token create``, ``list`` and ``revoke``: static tokens of the API."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer
from pydantic import TypeAdapter, ValidationError

from celadon.cli.author_name import author_name
from celadon.cli.columns import table_of
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.session import open_session
from celadon.domain.language.base_models import Record
from celadon.domain.language.error_words import what_is_wrong
from celadon.domain.language.labels import Labels
from celadon.domain.language.moments import moment
from celadon.domain.language.permissions import Role
from celadon.ending import ExitCode
from celadon.table.access.tokens import (
    NewToken,
    TokenNameTakenError,
    TokenRecord,
    create_token,
    list_tokens,
    revoke_token,
)
from celadon.terminal import Table as Grid
from celadon.terminal import Text


class CreatedToken(Record):
    """A new token; its text is shown this once."""

    token: str
    record: TokenRecord


class TokenList(Record):
    """Every token, without secrets."""

    tokens: tuple[TokenRecord, ...]


async def create(
    name: str,
    roles: tuple[Role, ...],
    labels: tuple[str, ...],
    expires_in: timedelta | None,
    data_dir: Path | None,
    output: OutputFormat,
) -> ExitCode:
    """Create a token and print it.

    Raises:
        CommandError: the name was given before, or Postgres is not there.
        BadParameter: a label is none.

    """
    wanted = NewToken(
        name=name,
        roles=tuple(dict.fromkeys(roles)),
        scope=_scope(labels),
        created_by=author_name(None),
        expires_at=None if expires_in is None else datetime.now(UTC) + expires_in,
    )
    async with open_session(data_dir) as session:
        try:
            record, text = await session.read(lambda tx: create_token(tx, wanted))
        except TokenNameTakenError as error:
            raise CommandError(
                f"there is or was a token {name}, and names are given once, for the audit log's sake; choose another",
            ) from error
    head = Text("Token ").append(name, style="bold").append(f" ({_roles(record)}); it is shown this once:")
    print_answer(CreatedToken(token=text, record=record), output, lambda: [head, text])
    return ExitCode.DONE


async def show(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """List every token; errors as for a creation."""
    async with open_session(data_dir) as session:
        records = await session.read(list_tokens)
    none = "There is no token yet; create one with: celadon token create NAME --role viewer"
    print_answer(TokenList(tokens=records), output, lambda: [_table(records) if records else none])
    return ExitCode.DONE


async def revoke(name: str, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Revoke a token for ever.

    Raises:
        CommandError: there is none of this name, or Postgres is not there.

    """
    async with open_session(data_dir) as session:
        record = await session.read(lambda tx: revoke_token(tx, name))
    if record is None:
        raise CommandError(f"there is no token {name}; list them with 'celadon token list'")
    text = f"Token {name} is revoked since {moment(record.revoked_at)} UTC; the API refuses it."
    print_answer(record, output, lambda: [text])
    return ExitCode.DONE


def _scope(labels: tuple[str, ...]) -> dict[str, str]:
    pairs = [label.partition("=") for label in labels]
    for name, separator, _ in pairs:
        if not separator:
            raise typer.BadParameter(f"{name!r} is no label: write NAME=VALUE", param_hint="--label")
    try:
        return TypeAdapter[dict[str, str]](Labels).validate_python({name: value for name, _, value in pairs})
    except ValidationError as error:
        problem = what_is_wrong(error.errors(include_url=False)[0])
        raise typer.BadParameter(problem, param_hint="--label") from error


def _roles(record: TokenRecord) -> str:
    return ", ".join(role.value for role in record.roles)


def _table(records: tuple[TokenRecord, ...]) -> Grid:
    table = table_of("TOKEN", "ROLES", "SCOPE", "CREATED BY", "LAST USED (UTC)", "EXPIRES (UTC)", "STATE")
    now = datetime.now(UTC)
    for one in records:
        expired = one.expires_at is not None and one.expires_at <= now
        state = "revoked" if one.revoked_at is not None else "expired" if expired else "good"
        table.add_row(
            Text(one.name, style="bold"),
            _roles(one),
            ", ".join(f"{name}={value}" for name, value in sorted(one.scope.items())) or "all",
            one.created_by,
            moment(one.last_used_at),
            moment(one.expires_at),
            Text(state, style="green" if state == "good" else "dim"),
        )
    return table
