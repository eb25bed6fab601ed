"""Callers with a JWT of an issuer whose keys are served on loopback."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import RSAAlgorithm
from pydantic import ValidationError
from temporalio.testing import WorkflowEnvironment

from celadon.api.jwt_tokens import IssuerKeys
from celadon.api.settings import ApiSettings
from celadon.table.core.engine import Table
from tests.api.conftest import GENEROUS, ApiClient, running_api

ISSUER = "https://issuer.example"
AUDIENCE = "celadon"


@dataclass
class Issuer:
    """An issuer of tokens."""

    url: str = ""
    keys: dict[str, RSAPrivateKey] = field(default_factory=dict)
    reads: int = 0
    silent: bool = False

    def add(self, identity: str) -> None:
        """Make a key."""
        self.keys[identity] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def serve(self, _: web.Request) -> web.Response:
        """Answer with the public keys."""
        self.reads += 1
        if self.silent:
            return web.Response(status=503)
        shown = [
            {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": identity, "use": "sig", "alg": "RS256"}
            for identity, key in self.keys.items()
        ]
        return web.json_response({"keys": shown})

    def token(self, identity: str = "one", *, drop: tuple[str, ...] = (), **changes: Any) -> str:
        """Return a token."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann@example.com",
            "exp": time.time() + 300,
            "realm_access": {"roles": ["celadon-approver", "celadon-nothing", "viewer"]},
            **changes,
        }
        kept = {name: value for name, value in claims.items() if name not in drop}
        return jwt.encode(kept, self.keys[identity], algorithm="RS256", headers={"kid": identity})


@pytest_asyncio.fixture(loop_scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    made.add("one")
    app = web.Application()
    app.router.add_get("/jwks.json", made.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment, issuer: Issuer) -> AsyncIterator[ApiClient]:
    async with running_api(
        table,
        temporal_env,
        oidc_issuer=ISSUER,
        oidc_audience=AUDIENCE,
        oidc_jwks_url=issuer.url,
        oidc_roles_claim="realm_access.roles",
        oidc_role_prefix="celadon-",
        oidc_leeway="0s",
        **GENEROUS,
    ) as client:
        yield client


async def whoami(api: ApiClient, token: str) -> Any:
    answer = await api.call("GET", "/v1/whoami", token=token)
    return answer.json if answer.status == 200 else answer.status


async def test_claims_say_who_calls_and_what_it_may(api: ApiClient, issuer: Issuer) -> None:
    seen = await whoami(api, issuer.token(celadon_scope={"team": "search"}))
    assert seen == {
        "name": "ann@example.com",
        "issuer": ISSUER,
        "roles": ["approver"],
        "scope": {"team": "search"},
        "scheme": "jwt",
        "door": "api",
    }


@pytest.mark.parametrize(
    ("drop", "changes"),
    [
        ((), {"exp": 1_000_000_000}),
        ((), {"aud": "another"}),
        ((), {"iss": "https://another.example"}),
        ((), {"nbf": 4_000_000_000}),
        ((), {"sub": " "}),
        ((), {"sub": "ann\x1b[31m"}),
        ((), {"sub": "ann\u202e"}),
        ((), {"celadon_scope": "team=search"}),
        ((), {"celadon_scope": {"team": 1}}),
        (("exp",), {}),
        (("aud",), {}),
        (("iss",), {}),
        (("sub",), {}),
    ],
)
async def test_a_token_that_does_not_fit_lets_nobody_in(
    api: ApiClient, issuer: Issuer, drop: tuple[str, ...], changes: dict[str, Any]
) -> None:
    assert await whoami(api, issuer.token(drop=drop, **changes)) == 401


async def test_a_token_without_roles_of_ours_may_nothing(api: ApiClient, issuer: Issuer) -> None:
    token = issuer.token(realm_access={"roles": ["admin"]})
    assert (await whoami(api, token))["roles"] == []
    assert (await api.call("GET", "/v1/deployments", token=token)).code == "FORBIDDEN"


async def test_algorithms_that_prove_nothing_are_refused(api: ApiClient, issuer: Issuer) -> None:
    good = issuer.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "one"})
    symmetric = jwt.encode(claims, "k" * 64, algorithm="HS256", headers={"kid": "one"})
    head, body, _ = good.split(".")
    for token in (unsigned, symmetric, f"{head}.{body}.", f"{head}.{body}.AAAA", "..", "a.b.c"):
        assert await whoami(api, token) == 401


async def test_a_key_of_somebody_else_under_a_known_name_is_refused(api: ApiClient, issuer: Issuer) -> None:
    assert isinstance(await whoami(api, issuer.token()), dict)
    real = issuer.keys["one"]
    issuer.add("one")
    forged = issuer.token()
    issuer.keys["one"] = real
    assert await whoami(api, forged) == 401


async def test_keys_rotate_and_unknown_ones_are_not_asked_for_again_and_again(issuer: Issuer) -> None:
    keys = IssuerKeys(issuer.url, pause_seconds=0)
    assert await keys.find("one") is not None
    assert await keys.find("one") is not None
    assert issuer.reads == 1
    issuer.add("two")
    assert await keys.find("two") is not None
    assert issuer.reads == 2
    patient = IssuerKeys(issuer.url, pause_seconds=3600)
    for _ in range(5):
        assert await patient.find("stranger") is None
    assert issuer.reads == 3
    assert await patient.find("one") is not None


async def test_keys_stay_in_use_while_the_issuer_is_silent(issuer: Issuer) -> None:
    keys = IssuerKeys(issuer.url, pause_seconds=0)
    assert await keys.find("one") is not None
    issuer.silent = True
    assert await keys.find("two") is None
    assert await keys.find("one") is not None


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks_url": "http://x/", "oidc_algorithms": ("HS256",)},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks_url": "http://x/", "oidc_algorithms": ("none",)},
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(database_url="postgresql+asyncpg://x/y", **settings)
