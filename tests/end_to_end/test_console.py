"""People at the console, in a real browser on the real stack."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, expect

from celadon.domain.language.permissions import Role
from celadon.stack.addresses import StackAddresses
from celadon.table.access.console_logins import create_login
from celadon.table.core.engine import Table
from tests.end_to_end.browser import DEADLINE_MS, running_browser
from tests.end_to_end.conftest import LiveDeployment, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1200, "height": 900}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Run one browser for all tests."""
    async with running_browser() as browser:
        yield browser


class People:
    """Opens the console for people with roles, each in a browser profile of its own."""

    def __init__(self, chromium: Browser, stack: StackAddresses) -> None:
        self._chromium = chromium
        self._stack = stack

    @asynccontextmanager
    async def person(
        self,
        *roles: Role,
        at: str = "/",
        size: dict[str, int] = DESK,
        colours: Literal["light", "dark"] = "light",
    ) -> AsyncIterator[Page]:
        """Log somebody in by a one-time link, as ``celadon console`` prints it, and go to a page."""
        async with Table(self._stack.database_url, "celadon-tests", pool_size=1) as table, table.transaction() as tx:
            code = await create_login(tx, roles[0].value, roles, {})
        context = await self._chromium.new_context(
            base_url=self._stack.api,
            viewport={"width": size["width"], "height": size["height"]},
            color_scheme=colours,
        )
        context.set_default_timeout(DEADLINE_MS)
        try:
            page = await context.new_page()
            await page.goto(f"/login?code={code}")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.get_by_role("heading", name="Deployments")).to_be_visible(timeout=DEADLINE_MS)
            await page.goto(at)
            yield page
        finally:
            await context.close()


@pytest.fixture
def people(chromium: Browser, stack: StackAddresses) -> People:
    return People(chromium, stack)


async def _shows(page: Page, text: str) -> None:
    await expect(page.locator("main")).to_contain_text(text, timeout=DEADLINE_MS)


async def test_a_person_watches_promotes_and_sees_the_switch_without_reloading(
    people: People,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1", replicas=1)
    address = f"/deployments/{deployment.name}"
    async with people.person(Role.APPROVER, at=address) as ann, people.person(Role.VIEWER, at=address) as ben:
        await ben.evaluate("window.loadedOnce = true")

        await deployment.start("r2", replicas=1)
        await expect(ann.locator("[aria-current=step]")).to_contain_text("awaiting promotion", timeout=DEADLINE_MS)
        await ann.get_by_text("Promote r2").first.click()
        await ann.get_by_label("Reason, for the audit log").first.fill("answers look good")
        await ann.get_by_role("button", name="Promote r2").click()

        await _shows(ann, "r2 is live since epoch")
        for page in (ann, ben):
            await expect(page.locator("#live-revision")).to_have_text("r2", timeout=DEADLINE_MS)
            await expect(page.locator("[aria-current=step]")).to_contain_text("baking", timeout=DEADLINE_MS)
        await _shows(ben, "answers look good")
        assert await ben.evaluate("window.loadedOnce") is True


async def test_a_page_comes_back_by_itself_after_its_stream_was_refused(
    people: People,
    deployment: LiveDeployment,
) -> None:
    """A browser gives up a stream for good that is answered 503, as by a proxy while the API is restarted."""
    await deployment.serve("r1", replicas=1)
    refused: list[str] = []

    async def refuse(route: Route) -> None:
        refused.append(route.request.url)
        await route.fulfill(status=503, content_type="text/html", body="<html>502</html>")

    async with people.person(Role.VIEWER) as ben:
        await ben.route("**/changes*", refuse)
        await ben.goto(f"/deployments/{deployment.name}")
        await ben.evaluate("window.loadedOnce = true")
        await expect(ben.locator("#connection")).to_contain_text("Reconnecting", timeout=DEADLINE_MS)
        await until(lambda: _are_at_least(refused, 2), "the page asks for its stream again")
        await ben.unroute("**/changes*")

        await deployment.start("r2", replicas=1)

        await expect(ben.locator("[aria-current=step]")).to_contain_text("awaiting promotion", timeout=DEADLINE_MS)
        await expect(ben.locator("#connection")).to_have_text("", timeout=DEADLINE_MS)
        assert await ben.evaluate("window.loadedOnce") is True


async def test_a_page_that_met_an_outage_is_read_again_by_itself(people: People, deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=1)
    met: list[str] = []

    async def away_once(route: Route) -> None:
        met.append(route.request.url)
        if len(met) == 1:
            headers = {"content-type": "text/html", "refresh": "1"}
            await route.fulfill(status=503, headers=headers, body="<html>away</html>")
        else:
            await route.continue_()

    async with people.person(Role.VIEWER) as ben:
        await ben.route(f"**/deployments/{deployment.name}", away_once)
        await ben.goto(f"/deployments/{deployment.name}")

        await expect(ben.locator("#live-revision")).to_have_text("r1", timeout=DEADLINE_MS)


async def _are_at_least(found: list[str], number: int) -> bool:
    return len(found) >= number


async def test_a_person_rolls_back_and_reads_the_story(people: People, deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=1)
    await deployment.start("r2", replicas=1, auto_promote=True)
    async with people.person(Role.APPROVER, at=f"/deployments/{deployment.name}") as ann:
        await ann.get_by_text("Roll back to r1").first.click()
        await ann.get_by_label("Reason, for the audit log").first.fill("answers are wrong")
        await ann.get_by_role("button", name="Roll back to r1").click()

        await _shows(ann, "Traffic is back on blue")
        await deployment.ended()
        await ann.get_by_role("link", name="All rollouts").click()
        await ann.get_by_role("link", name="r1 → r2").click()
        await _shows(ann, "rolled back")
        await _shows(ann, "answers are wrong")


async def test_a_viewer_is_refused(people: People, waiting: LiveDeployment) -> None:
    async with people.person(Role.VIEWER, at=f"/deployments/{waiting.name}") as ben:
        await ben.get_by_text("Promote r2").first.click()

        await _shows(ben, "Your token may not promote")
        assert await ben.get_by_role("button", name="Promote r2").count() == 0


async def test_a_decision_is_taken_by_keyboard_alone(people: People, waiting: LiveDeployment) -> None:
    async with people.person(Role.VIEWER, at=f"/deployments/{waiting.name}") as ben:
        for _ in range(30):
            await ben.keyboard.press("Tab")
            if await ben.evaluate("document.activeElement.textContent.trim()") == "Promote r2":
                break
        await ben.keyboard.press("Enter")

        await _shows(ben, "Your token may not promote")


async def test_what_is_typed_survives_news(people: People, waiting: LiveDeployment) -> None:
    async with people.person(Role.APPROVER, at=f"/deployments/{waiting.name}") as ann:
        await ann.get_by_text("Promote r2").first.click()
        reason = ann.get_by_label("Reason, for the audit log").first
        await reason.fill("half a sen")

        await waiting.handle.signal("promote", {"revision": 9, "by": "somebody"})
        await _shows(ann, "promotion means revision 9")

        await expect(reason).to_have_value("half a sen")


async def test_a_timer_counts_down(people: People, deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=1)
    await deployment.wait_for_promotion("r2", replicas=1, auto_promote=True, promote_after="50m")
    async with people.person(Role.VIEWER, at=f"/deployments/{deployment.name}") as ben:
        timer = ben.locator("time[data-until]").first
        await expect(timer).to_contain_text("49m", timeout=DEADLINE_MS)
        before = await timer.text_content()

        await expect(timer).not_to_have_text(before or "", timeout=DEADLINE_MS)


@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_the_pages_pass_axe_and_fit_a_phone(
    people: People,
    waiting: LiveDeployment,
    colours: Literal["light", "dark"],
) -> None:
    rollout = (await waiting.rollouts.status(waiting.name)).rollout
    pages = (
        "/",
        f"/deployments/{waiting.name}",
        f"/deployments/{waiting.name}/rollouts",
        f"/deployments/{waiting.name}/rollouts/{rollout}",
        f"/deployments/{waiting.name}/plan?revision=1",
        f"/deployments/{waiting.name}/policy",
        f"/deployments/{waiting.name}/schedules",
        "/policy",
        "/freezes",
        "/login",
    )
    async with people.person(Role.ADMIN, size=PHONE, colours=colours) as ann:
        for path in pages:
            await ann.goto(path)
            for summary in await ann.locator("summary").all():
                await summary.click()

            found = await Axe().run(ann)

            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
            assert await ann.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
