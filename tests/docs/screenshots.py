"""``python -m tests.docs.screenshots``: take the screenshots of the pages anew, from a real stack in a real browser.

A deployment ``chat`` serves revision 1, and revision 2 awaits its promotion; the timer runs for half an hour.
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.async_api import Browser, Page, expect

from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.permissions import Role
from celadon.stack.addresses import NAMESPACE, StackAddresses
from celadon.table.access.console_logins import create_login
from celadon.table.core.engine import Table
from tests.docs.tables import REPOSITORY
from tests.end_to_end.browser import DEADLINE_MS, running_browser
from tests.end_to_end.conftest import run
from tests.stack.stack_process import stack_process

IMAGES: Final = REPOSITORY / "docs" / "images"
DEPLOYMENT: Final = "chat"
PERSON: Final = "ann"
WIDTH: Final = 1200
HEIGHT: Final = 1200
BESIDE_NAVIGATION: Final = {"x": 258.0, "y": 60.0, "width": WIDTH - 258.0, "height": HEIGHT - 60.0}
"""The part of Temporal's UI that is about the workflow."""

POLICY: Final = {"auto_promote": True, "promote_after": "30m", "bake": "10m"}


async def take_screenshots(images: Path) -> None:
    """Write every screenshot into ``images``."""
    with TemporaryDirectory(prefix="celadon-screenshots-") as base:
        data_dir = Path(base) / "stack"
        data_dir.mkdir(mode=0o711)
        async with stack_process(data_dir) as process, running_browser() as browser:
            addresses = await process.until_ready()
            await _deploy(addresses, Path(base), "r1", "first weights", "--wait")
            await _deploy(addresses, Path(base), "r2", "new weights")
            await _capture_console(browser, addresses, images)
            await _capture_details(browser, addresses, images)


async def _deploy(addresses: StackAddresses, directory: Path, label: str, reason: str, *options: str) -> None:
    server = [sys.executable, "-m", "celadon.stack.demo.model_server", "--port", "{port}", "--revision-label", label]
    file = directory / f"{label}.json"
    content = {
        "deployment": DEPLOYMENT,
        "replicas": 3,
        "revision": {"command": server, "health_check": {"path": "/health"}},
        "policy": POLICY,
        "reason": reason,
    }
    file.write_text(json.dumps(content))
    code, _, errors = await run(addresses, "celadon", "deploy", "-f", str(file), "--requested-by", PERSON, *options)
    if code:
        raise RuntimeError(errors)


async def _capture_console(browser: Browser, addresses: StackAddresses, images: Path) -> None:
    """Take the page of the deployment, whole and as far as its two colours."""
    async with Table(addresses.database_url, "celadon-screenshots", pool_size=1) as table, table.transaction() as tx:
        code = await create_login(tx, PERSON, (Role.OPERATOR, Role.APPROVER), {})
    page = await _page(browser, f"{addresses.api}/login?code={code}")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Deployments")).to_be_visible()
    await page.goto(f"{addresses.api}/deployments/{DEPLOYMENT}")
    await expect(page.locator("[aria-current=step]")).to_contain_text("awaiting promotion")
    await page.get_by_text("Promote r2").first.click()
    await page.screenshot(path=images / "console-deployment.png", full_page=True)
    routers = await page.get_by_role("heading", name="Routers").bounding_box()
    if routers is None:
        raise RuntimeError("the page shows no routers")
    above = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": routers["y"] - 20}
    await page.screenshot(path=images / "console-awaiting.png", full_page=True, clip=above)  # type: ignore[arg-type]


async def _capture_details(browser: Browser, addresses: StackAddresses, images: Path) -> None:
    """Take what Temporal's UI shows of the rollout itself."""
    page = await _page(browser, f"{addresses.temporal_ui}/namespaces/{NAMESPACE}/workflows/{workflow_id(DEPLOYMENT)}")
    await page.get_by_text("User Metadata").first.click()
    # The UI shows what a workflow says of itself in frames of their own, the current details in the last.
    details = page.frame_locator("iframe").last
    await expect(details.get_by_text("awaiting promotion").first).to_be_visible()
    await page.screenshot(path=images / "temporal-details.png", clip=BESIDE_NAVIGATION)  # type: ignore[arg-type]


async def _page(browser: Browser, address: str) -> Page:
    context = await browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC")
    context.set_default_timeout(DEADLINE_MS)
    page = await context.new_page()
    await page.goto(address)
    return page


if __name__ == "__main__":
    expect.set_options(timeout=DEADLINE_MS)
    asyncio.run(take_screenshots(IMAGES))
