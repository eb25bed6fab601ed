"""The console's pages of plans, policies, schedules and freezes of all."""

import asyncio
import html
import re
from typing import Any

import pytest

from celadon.api.console.forms import policy_typed
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.permissions import Role
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.service.commands.plan import COMMAND as PLAN
from celadon.service.door_words import Door, said_at
from tests.api.conftest import DEADLINE_SECONDS, Answer, ApiClient
from tests.api.console.test_pages import Browser
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

PAGES = ("/policy", "/freezes", "/deployments/chat/policy", "/deployments/chat/plan", "/deployments/chat/schedules")


@pytest.fixture
def browser(api: ApiClient) -> Browser:
    return Browser(api)


def words(answer: Answer) -> str:
    """Return what a page shows, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


async def sent(browser: Browser, path: str, back: str, **form: str) -> str:
    """Send a form, and return what the page says to which it leads back."""
    answer = await browser.post(path, {"csrf": browser.csrf, "reason": "because", **form})
    assert (answer.status, answer.headers["location"]) == (303, back), answer.text
    return words(await browser.get(back))


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_looks_without_logging_in(path: str, browser: Browser, rows: Rows) -> None:
    await rows.live()

    assert (await browser.get(path)).status == 303
    await browser.log_in(Role.VIEWER)
    assert (await browser.get(path)).status == 200


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/deployments/chat/plan"])
async def test_a_form_of_another_site_changes_nothing(path: str, browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.ADMIN)
    before = await rows.value("select count(*) from rollout_events")

    answer = await browser.post(path, {"csrf": "guessed", "settings": "bake=1m", "reason": "evil"})

    assert answer.status == 403
    assert await rows.value("select count(*) from rollout_events") == before


async def test_a_key_that_is_typed_wrongly_is_told_in_the_words_of_a_form(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.ADMIN)

    key = await sent(browser, "/policy", "/policy", settings="bakes=1m")
    value = await sent(browser, "/policy", "/policy", settings="bake=soon")
    command = await sent(browser, "/deployments/chat/scale", "/deployments/chat", replicas="many")

    assert "unknown key 'bakes' in 'policy', did you mean 'bake'?" in key
    assert "correct it in the form and send it again" in value
    for said in (key, value, command):
        assert "JSON" not in said


async def test_a_viewer_is_told_that_others_change_policies_and_is_refused(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.VIEWER)

    for path in ("/policy", "/deployments/chat/policy"):
        assert "Your token may not change it" in words(await browser.get(path))
        answer = await browser.post(path, {"csrf": browser.csrf, "settings": "bake=1m", "reason": "x"})
        assert answer.status == 403
    assert await rows.value("select count(*) from rollout_events where kind like '%policy%'") == 0


@pytest.mark.parametrize("path", ["/policy", "/deployments/chat/plan", "/deployments/chat/schedules"])
async def test_whoever_is_scoped_elsewhere_sees_no_deployment(path: str, browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.ADMIN, team="search")

    answer = await browser.get(path)

    assert answer.status == (404 if "chat" in path else 200)


async def test_a_policy_is_shown_with_the_layer_of_each_value_and_changed(browser: Browser, rows: Rows) -> None:
    await rows.live(policy={"bake": "10m"})
    await browser.log_in(Role.ADMIN)

    assert "nothing" not in await sent(browser, "/policy", "/policy", settings="drain_timeout=2m")
    shown = await sent(
        browser, "/deployments/chat/policy", "/deployments/chat/policy", settings="approvals.count=2\nmax_regressions=4"
    )

    for said in ("bake 10m deployment", "drain_timeout 2m installation", "max_regressions 4 deployment"):
        assert said in shown
    assert "on_deadline abort default" in shown
    own = await rows.value("select policy from deployments")
    assert own == {
        "bake": "10m",
        "max_regressions": 4,
        "approvals": {"count": 2, "exclude_requester": False},
    }
    unset = await sent(browser, "/deployments/chat/policy", "/deployments/chat/policy", unset="bake, approvals")
    assert "bake 5m default" in unset


async def test_the_defaults_are_shown_with_who_changed_them(browser: Browser) -> None:
    await browser.log_in(Role.ADMIN)

    shown = await sent(browser, "/policy", "/policy", settings="bake=10m", reason="long bakes")

    assert "bake 10m installation" in shown
    assert "long bakes bake: 5m (default) → 10m (installation)" in shown


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("bakes=1m", "bake"),
        ("nothing", "is not KEY=VALUE"),
        ("", "nothing is set or unset"),
        ("promote_after=5m", "promote_after has no effect without auto_promote"),
    ],
)
async def test_what_is_refused_is_said_on_the_page(settings: str, said: str, browser: Browser) -> None:
    await browser.log_in(Role.ADMIN)

    shown = await sent(browser, "/policy", "/policy", settings=settings)

    assert said in shown


async def test_a_plan_says_what_the_command_line_says_and_writes_nothing(
    browser: Browser, api: ApiClient, rows: Rows
) -> None:
    await rows.live()
    await rows.live("run-2", revision=serving("new"))
    await browser.log_in(Role.VIEWER, Role.OPERATOR)
    before = await rows.value("select count(*) from rollout_events")

    page = await browser.get("/deployments/chat/plan?revision=1&replicas=3&settings=bake%3D1m")

    asked: dict[str, Any] = {"deployment": "chat", "revision": 1, "replicas": 3, "policy": {"bake": "1m"}}
    said = {"x-celadon-door": "cli"}
    answer = await api.call("POST", "/v1/rollouts/plan", Role.OPERATOR, body=asked, headers=said)
    planned = PLAN.result.model_validate(answer.json, strict=False)
    shown = words(page)
    lines = [" ".join(f"{one.strong} {said_at(Door.CONSOLE, one.text)}".split()) for one in PLAN.summary(planned)]
    # The moments of the switch lie as far apart as the two plans.
    assert [one for one in lines if one not in shown and " UTC" not in one] == []
    assert "policy.bake: 1m (request)" in shown
    assert await rows.value("select count(*) from rollout_events") == before


async def test_a_plan_of_what_would_be_refused_says_why(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.OPERATOR)

    assert "has no revision 7" in words(await browser.get("/deployments/chat/plan?revision=7"))
    assert "bakes" in words(await browser.get("/deployments/chat/plan?revision=1&settings=bakes%3D1m"))


async def test_schedules_are_made_listed_and_deleted(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.APPROVER)
    page = "/deployments/chat/schedules"

    made = await sent(
        browser, page, page, schedule="nightly", command="promote", cron="0 3 * * *", zone="Europe/Berlin"
    )
    assert "nightly promote 0 3 * * * (Europe/Berlin)" in made
    assert await rows.value("select name from schedules") == "nightly"
    await sent(browser, f"{page}/delete", page, schedule="nightly")

    async def is_gone() -> bool:
        return "nightly promote" not in words(await browser.get(page))

    # Temporal's list, where other tests may have left some, forgets a schedule a moment later.
    async with asyncio.timeout(DEADLINE_SECONDS):
        await ApiClient.until(is_gone)
    assert await rows.value("select count(*) from schedules") == 0


async def test_a_schedule_that_never_fires_is_refused_on_the_page(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.APPROVER)
    page = "/deployments/chat/schedules"

    await sent(browser, page, page, schedule="nightly", command="promote")

    assert await rows.value("select count(*) from schedules") == 0


async def test_all_are_frozen_and_the_freezes_of_all_end(browser: Browser, rows: Rows) -> None:
    await rows.live()
    await browser.log_in(Role.ADMIN)

    frozen = await sent(browser, "/freezes", "/freezes", ends_at="2035-12-27T06:00:00+01:00", reason="holidays")
    assert "All deployments are frozen since" in frozen
    assert "(holidays): nothing is switched until 2035-12-27 05:00:00 UTC" in frozen
    ended = await sent(browser, "/freezes/end", "/freezes")

    assert "None holds or is to come." in ended


async def test_who_may_not_freeze_all_is_told_so(browser: Browser) -> None:
    await browser.log_in(Role.OPERATOR)

    assert "Your token may not freeze all deployments" in words(await browser.get("/freezes"))
    assert (await browser.post("/freezes", {"csrf": browser.csrf, "reason": "x"})).status == 403


def test_keys_are_typed_one_on_each_line() -> None:
    typed = policy_typed('bake=10m\n\n approvals.count = 2 \nauto_promote=true\nnotify=[{"target": "ops"}]\n')

    assert typed == {
        "bake": "10m",
        "approvals": {"count": 2},
        "auto_promote": True,
        "notify": [{"target": "ops"}],
    }
    assert set(typed) <= set(BlueGreenPolicy.model_fields)


@pytest.mark.parametrize("text", ["bake", "=1m", "approvals=2\napprovals.count=2"])
def test_a_line_that_names_no_key_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        policy_typed(text)
