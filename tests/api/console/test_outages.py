"""What a browser is shown while the table is away."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language.console_cookies import SESSION_COOKIE
from celadon.table.core.engine import Table
from tests.api.conftest import running_api

pytestmark = pytest.mark.parts

NOBODY = "postgresql+asyncpg://celadon@127.0.0.1:1/celadon"
SECRET = f"{'0' * 16}_{'x' * 43}"
BROWSER = {"accept": "text/html,application/xhtml+xml", "cookie": f"{SESSION_COOKIE}=celadon-session_{SECRET}"}


@pytest_asyncio.fixture(loop_scope="session")
async def away(temporal_env: WorkflowEnvironment) -> AsyncIterator[str]:
    """Run an API whose table is away; return its address."""
    async with Table(NOBODY, "celadon-tests", pool_size=1) as table, running_api(table, temporal_env) as client:
        yield client.url


async def ask(method: str, url: str, **headers: str) -> tuple[aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as answer:
        return answer, await answer.text()


@pytest.mark.parametrize("path", ["/", "/deployments/chat", "/deployments/chat/rollouts/7"])
async def test_a_page_says_so_and_asks_again_by_itself(away: str, path: str) -> None:
    answer, text = await ask("GET", away + path, **BROWSER)

    assert (answer.status, answer.content_type) == (503, "text/html")
    assert int(answer.headers["refresh"]) > 0
    assert "Postgres does not answer" in text
    assert "looks again by itself" in text


async def test_a_page_of_an_outage_allows_no_script(away: str) -> None:
    answer, _ = await ask("GET", f"{away}/", **BROWSER)

    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"


async def test_what_was_sent_is_not_sent_again_by_itself(away: str) -> None:
    form = {**BROWSER, "content-type": "application/x-www-form-urlencoded"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{away}/login", headers=form, data="code=celadon_login_x") as answer,
    ):
        text = await answer.text()

    assert (answer.status, answer.content_type) == (503, "text/html")
    assert "refresh" not in answer.headers
    assert "not known whether what you sent was done" in text


async def test_programs_are_told_a_problem_as_before(away: str) -> None:
    answer, _ = await ask("GET", f"{away}/v1/whoami", authorization=f"Bearer celadon_{SECRET}")

    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert "refresh" not in answer.headers
