"""The pages as HTML."""

import re
from typing import Any

import pytest

from celadon.api.console.rendering import STATIC, Person, render
from celadon.api.console.views import deployment_page
from celadon.domain.language.permissions import Verb
from celadon.domain.language.shown_text import find_control
from celadon.domain.language.states import RolloutPhase
from celadon.service.views.rollout import rollout_event_rows, rollout_summary
from tests.sample_views import NOW
from tests.service.views.records import awaiting, event, record, view

PERSON = Person(name="ann", roles=("approver",), csrf="known-to-this-page-only")


def deployment_html(**changes: str) -> str:
    known = view(record().model_copy(update=changes), awaiting())
    return render("deployment", PERSON, "/console/changes", page=deployment_page(known, (Verb.PROMOTE,), "", NOW))


def test_what_people_write_is_text_and_never_markup() -> None:
    html = deployment_html(reason="<script>alert(1)</script>", requested_by="<b>ann</b>")

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>ann</b>" not in html


def test_control_characters_are_shown_as_numbers() -> None:
    html = deployment_html(reason="one\n\ttwo\x1b[31m\u202e", requested_by="ann\x9b\u200b\U000e0041")

    assert "one\n\ttwo\\x1b[31m\\u202e" in html
    assert "ann\\x9b\\u200b\\U000e0041" in html
    assert not find_control(html, prose=True)


def test_no_page_needs_inline_script_or_style() -> None:
    html = deployment_html()

    assert re.findall(r"<script(?![^>]* src=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", html) == []


def test_every_form_carries_what_no_other_site_knows() -> None:
    html = deployment_html()

    forms = re.findall(r"<form.*?</form>", html, re.DOTALL)

    assert forms
    assert all('name="csrf" value="known-to-this-page-only"' in form for form in forms)


def test_every_field_has_a_label() -> None:
    html = deployment_html()

    fields = re.findall(r'<(?:input|textarea)(?![^>]*type="hidden")[^>]* id="([^"]+)"', html)

    assert fields
    assert all(f'<label for="{field}">' in html for field in fields)


@pytest.mark.parametrize("template", ["list", "rollouts", "rollout", "login", "error"])
def test_every_page_has_one_heading_and_a_title(template: str) -> None:
    ended = record(RolloutPhase.COMPLETED)
    shown: dict[str, dict[str, Any]] = {
        "list": {"lines": (), "is_first": True, "next_after": "chat"},
        "rollouts": {"name": "chat", "rollouts": (rollout_summary(ended, NOW),), "is_first": False, "next_before": 7},
        "rollout": {
            "rollout": rollout_summary(ended, NOW),
            "events": rollout_event_rows(ended, [event("started", NOW - NOW)]),
            "workflow": "",
        },
        "login": {"code": None, "next": "/"},
        "error": {"title": "Refused", "text": "you may not", "next_step": "ask ann", "back": "/"},
    }

    html = render(template, PERSON, **shown[template])

    assert html.count("<h1>") == 1
    assert re.search(r"<title>\w.* · Celadon</title>", html)
    assert '<html lang="en">' in html


def test_the_script_and_the_style_of_the_pages_are_there() -> None:
    named = re.findall(r'(?:src|href)="/static/([^"]+)"', deployment_html())

    assert named
    assert all((STATIC / name).is_file() for name in named)
