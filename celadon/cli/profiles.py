"""Profiles: which APIs a person speaks to, and with which tokens, in a file for that person alone."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import tomlkit
from pydantic import Field, SecretStr, StringConstraints, ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from celadon.cli.faults import CommandError
from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.error_words import problems_of
from celadon.owned_files import check_path, make_directory, read_text, write_file

_FOR_ITS_OWNER: Final = 0o600
_PROFILES: Final = "profiles"
_CURRENT: Final = "current"

ProfileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Profile(StrictModel):
    """One API, and what lets a person in."""

    url: str
    token: SecretStr
    ca_file: str = ""
    """The certificate of the authority that the API's own is of; empty for those that the system trusts."""
    allow_http: bool = False
    """Whether the token may travel in the clear."""


class Profiles(StrictModel):
    """The content of the file."""

    current: str = ""
    """The profile that is used where none is named; empty for none."""
    profiles: dict[ProfileName, Profile] = Field(default_factory=dict)


def config_file() -> Path:
    """Return where the profiles are: ``celadon/config.toml`` in the person's directory for configuration."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "celadon" / "config.toml"


def read_profiles() -> Profiles:
    """Return the profiles; none when there is no file.

    Raises:
        CommandError: others can read the file, or it is no file of profiles.

    """
    file = config_file()
    text = _read(file)
    if text is None:
        return Profiles()
    try:
        return Profiles.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{file} is not valid TOML: {error}; correct it, or remove it and log in again") from error
    except ValidationError as error:
        raise CommandError(
            f"{file} is no file of profiles: {problems_of(error)}; correct it, or remove it and log in again"
        ) from None


def find_profile(name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        CommandError: there is none, or the file cannot be read.

    """
    known = read_profiles().profiles
    if name not in known:
        there = f"there are: {', '.join(sorted(known))}" if known else "there is none"
        raise CommandError(
            f"there is no profile {name} in {config_file()} ({there}); make it with "
            f"'celadon login URL --profile {name}'",
        )
    return known[name]


def save_profile(name: str, profile: Profile) -> Path:
    """Write a profile, which becomes the current one; return the file. What else it says is left as it is.

    Raises:
        CommandError: the file cannot be read or written.

    """
    document = _document()
    entry = tomlkit.table()
    entry["url"] = profile.url
    entry["token"] = profile.token.get_secret_value()
    if profile.ca_file:
        entry["ca_file"] = profile.ca_file
    if profile.allow_http:
        entry["allow_http"] = True
    _profiles_of(document)[name] = entry
    document[_CURRENT] = name
    return _write(document)


def forget_profile(name: str) -> Path:
    """Remove a profile with its token; return the file. Errors as for saving, and when there is none."""
    find_profile(name)
    document = _document()
    _profiles_of(document).remove(name)
    if document.get(_CURRENT) == name:
        document.remove(_CURRENT)
    return _write(document)


def use_profile(name: str) -> Path:
    """Let a profile be the current one; return the file. Errors as for forgetting."""
    find_profile(name)
    document = _document()
    document[_CURRENT] = name
    return _write(document)


def _read(file: Path) -> str | None:
    """Return the file's text; nothing when there is no file.

    It says where tokens are sent, so it is believed only where nobody else can have written it.
    """
    try:
        return read_text(check_path(file.parent) / file.name, private=True)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error


def _document() -> tomlkit.TOMLDocument:
    read_profiles()  # What is no file of profiles is not written over.
    text = _read(config_file()) or ""
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise CommandError(f"{config_file()} is not valid TOML: {error}") from error


def _profiles_of(document: tomlkit.TOMLDocument) -> Table:
    if _PROFILES not in document:
        # A super table writes no header of its own, only those of the profiles in it.
        document[_PROFILES] = tomlkit.table(is_super_table=True)
    profiles = document[_PROFILES]
    if not isinstance(profiles, Table):
        raise CommandError(f"{config_file()}: write each profile as [profiles.NAME]")
    return profiles


def _write(document: Mapping[str, object]) -> Path:
    file = config_file()
    try:
        write_file(make_directory(file.parent) / file.name, tomlkit.dumps(document), mode=_FOR_ITS_OWNER)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error}") from error
    return file
