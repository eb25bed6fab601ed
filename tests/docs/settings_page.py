"""The reference page of settings: every variable of the environment that Celadon reads."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode

from celadon.api.settings import ApiSettings
from celadon.cli.api_address import ALLOW_HTTP_VARIABLE
from celadon.cli.target import (
    CA_VARIABLE,
    DATA_DIR_VARIABLE,
    PROFILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
)
from celadon.client.signatures import AuthoritySettings, SigningSettings
from celadon.domain.language.docstrings import attribute_docstrings
from celadon.gateway.authority import CertificateAuthoritySettings
from celadon.gateway.settings import GatewaySettings
from celadon.host_settings import HostSettings
from celadon.notifications.settings import NotificationSettings
from celadon.provisioners.settings import LocalSettings
from celadon.reach_settings import ReachSettings
from celadon.stack.os_user import POSTGRES_USER_VARIABLE
from tests.deploy.variables import variable_of
from tests.docs.tables import code, prose, table, value
from worker.settings import WorkerSettings

SECTIONS: Final[tuple[tuple[str, str, type[BaseSettings]], ...]] = (
    ("Worker", "each worker", WorkerSettings),
    ("Signatures and unsigned messages", "each worker", AuthoritySettings),
    ("Replicas of provisioner `local`", "each worker; `celadon doctor` reads `CELADON_STATE_DIR`", LocalSettings),
    ("Addresses that may be reached", "each worker and each gateway", ReachSettings),
    (
        "Host names of deployments' own",
        "each worker, each process of the API, and commands that bypass it",
        HostSettings,
    ),
    ("Notifications", "each worker", NotificationSettings),
    ("Gateway", "each gateway", GatewaySettings),
    ("API", "each process of the API", ApiSettings),
    ("Signing", "the API, and commands that bypass the API", SigningSettings),
    ("Certificates", "`celadon router enrol` and `celadon gateway certificate`", CertificateAuthoritySettings),
)

COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    (URL_VARIABLE, "The address of the API that commands call. It needs `CELADON_TOKEN`."),
    (TOKEN_VARIABLE, "The token that commands show to that API."),
    (PROFILE_VARIABLE, "The profile that commands use; `celadon login` makes profiles."),
    (CA_VARIABLE, "A file with the certificate authority of the API, where the system does not know the authority."),
    (ALLOW_HTTP_VARIABLE, "`1` allows plain `http` to another machine, which shows the token to the network."),
    (DATA_DIR_VARIABLE, "The data directory of the local stack that commands use; `.celadon` when not set."),
    (POSTGRES_USER_VARIABLE, "The user that the local stack's Postgres runs as, when root runs `celadon up`."),
)

NOT_IN_THE_CODE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DATABASE_URL": "The database, for example `postgresql+asyncpg://user@host/database`.",
        "CELADON_API_MAX_DEPTH": "Levels of nested fields that a GraphQL query may have.",
        "CELADON_OIDC_AUDIENCE": "The audience that a JWT must name.",
        "CELADON_OIDC_JWKS_URL": "Where the issuer publishes its keys.",
        "CELADON_OIDC_ALGORITHMS": "Accepted signature algorithms, as a JSON list; public-key algorithms only.",
        "CELADON_NOTIFY_FIRST_RETRY": "The pause before the second attempt; each further pause is twice as long.",
        "CELADON_NOTIFY_LONGEST_RETRY": "The longest pause between two attempts.",
    },
)
"""Meanings of the variables whose fields have no docstring; a test refuses one that has."""


def settings_page() -> str:
    """Return the page."""
    sections = "".join(
        f"\n## {title}\n\nRead by {who}.\n\n{table(('variable', 'default', 'meaning'), rows_of(settings))}"
        for title, who, settings in SECTIONS
    )
    commands = table(("variable", "meaning"), ((code(name), meaning) for name, meaning in COMMANDS))
    return f"""# Settings

Every variable of the environment that Celadon reads. [deploy/README.md](../../deploy/README.md) explains how a
production set-up uses them, and `deploy/systemd/celadon.env.example` is a commented example. Temporal is found by the
standard variables and profiles of Temporal's SDK: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`,
`TEMPORAL_TLS_*`, `TEMPORAL_PROFILE`. Commands that bypass the API read `DATABASE_URL` too. A list is separated by
commas unless its row says otherwise.

## Command line

{commands}{sections}"""


def rows_of(settings: type[BaseSettings]) -> Iterator[tuple[str, str, str]]:
    """Return a row for each variable of one class of settings: its name, its default, its meaning."""
    meanings = attribute_docstrings(settings)
    for name, field in settings.model_fields.items():
        variable = variable_of(settings, name)
        meaning = meanings.get(name) or NOT_IN_THE_CODE[variable]
        yield code(variable), _default(field), prose(meaning)


def _default(field: FieldInfo) -> str:
    """Return the default as it would stand in the environment, where lists are JSON unless a field reads its own."""
    if field.is_required():
        return "required"
    if isinstance(field.default, tuple) and field.default and NoDecode not in field.metadata:
        return code(json.dumps(field.default))
    return value(field.default)
