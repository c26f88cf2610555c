"""The page that shows the document: all of it, safely, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from tests.api.sample import BY_NAME, ROUTES, Front
from vault_core.api.docs_page import CONTENT_SECURITY_POLICY, page
from vault_core.api.openapi import document

DOCUMENT = document(ROUTES)
PAGE = page(DOCUMENT)
VOID = {"meta"}


class Outline(HTMLParser):
    """Notes tags, ids and the targets of links, and that every tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def outline() -> Outline:
    reader = Outline()
    reader.feed(PAGE)
    reader.close()
    return reader


def test_every_operation_and_model_is_shown_once(outline: Outline) -> None:
    models = {f"model-{name}" for name in DOCUMENT["components"]["schemas"]}
    assert sorted(outline.ids) == sorted(set(BY_NAME) | models)


def test_the_page_is_well_formed(outline: Outline) -> None:
    assert outline.open == []


def test_it_runs_no_script_and_loads_nothing(outline: Outline) -> None:
    assert not outline.tags & {"script", "link", "img", "iframe", "form", "object", "base"}
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "style")]
    assert "@import" not in PAGE
    assert "url(" not in PAGE


def test_every_link_leads_to_a_model_on_the_page(outline: Outline) -> None:
    links = {value for name, value in outline.attributes if name == "href"}
    assert links
    assert links <= {f"#{identifier}" for identifier in outline.ids}


def test_what_the_document_says_is_escaped() -> None:
    assert "Tell whether the &lt;shelf&gt; &amp; all stand" in PAGE
    hostile = document(ROUTES)
    hostile["info"]["title"] = "<script>alert(1)</script>"
    assert "<script" not in page(hostile)


def test_its_policy_allows_its_own_style_alone() -> None:
    style = re.search("<style>(.*?)</style>", PAGE, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in CONTENT_SECURITY_POLICY


async def test_it_is_served_to_anyone_under_its_policy() -> None:
    response = await Front().send("read_docs", token=None)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.get_body().decode() == PAGE
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["Cache-Control"] == "no-store"
