"""The options by which a command says which Celadon it means."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from celadon.cli.completion import complete_profiles
from celadon.cli.target import TargetChoice

_PANEL: Final = "Which Celadon"

_OPTIONS: Final = (
    inspect.Parameter(
        "data_dir",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(
                "--data-dir",
                metavar="DIR",
                help="A local stack. Without this or --profile: CELADON_URL and CELADON_TOKEN, CELADON_PROFILE, "
                "DATABASE_URL and TEMPORAL_ADDRESS, a local stack, the current profile; the first that is there.",
                show_default=False,
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    inspect.Parameter(
        "profile",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option(
                "--profile",
                metavar="NAME",
                help="An API that you have logged in to ('celadon login').",
                show_default=False,
                autocompletion=complete_profiles,
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    inspect.Parameter(
        "direct",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool,
            typer.Option(
                "--direct",
                help="Use Postgres and Temporal without the API: for operators, and when the API is down.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
    inspect.Parameter(
        "insecure",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool,
            typer.Option(
                "--insecure",
                help="Send the token to an address that is not https and not on this machine.",
                rich_help_panel=_PANEL,
            ),
        ],
    ),
)
_ARGUMENT: Final = "target"


def speaks_to_celadon(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which Celadon is meant; it gets them as one argument ``target``."""

    @functools.wraps(command)
    def with_target(
        *args: object,
        data_dir: Path | None,
        profile: str | None,
        direct: bool,
        insecure: bool,
        **others: object,
    ) -> None:
        if profile is not None and (data_dir is not None or direct):
            other = "--data-dir" if data_dir is not None else "--direct"
            raise typer.BadParameter(f"it says another Celadon than {other}; give one of them", param_hint="--profile")
        target = TargetChoice(data_dir=data_dir, profile=profile, direct=direct, insecure=insecure)
        command(*args, **others, **{_ARGUMENT: target})

    signature = inspect.signature(command)
    own = [one for one in signature.parameters.values() if one.name != _ARGUMENT]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    with_target.__signature__ = signature.replace(parameters=[*own, *_OPTIONS])  # type: ignore[attr-defined]
    with_target.__annotations__ = {one.name: one.annotation for one in (*own, *_OPTIONS)}
    return with_target
