"""The two routes that describe all others: the OpenAPI document and the page that shows it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from vault_core.api.routing import AnonymousCall, Answer, Open, Route, Text

DOCUMENT_PATH = "/api/v1/openapi.json"
PAGE_PATH = "/api/v1/docs"


def described(*routes: Route) -> tuple[Route, ...]:
    """Return the routes and two more that describe them all, themselves included."""

    @cache
    def document() -> dict[str, Any]:
        # Imported when first asked for: most processes are never asked, and a cold start is a user's wait.
        from vault_core.api import openapi

        return openapi.document(everything)

    @cache
    def text() -> Text:
        return Text(json.dumps(document(), ensure_ascii=False), "application/json")

    @cache
    def page() -> Answer:
        from vault_core.api import docs_page

        headers = {"Content-Security-Policy": docs_page.CONTENT_SECURITY_POLICY}
        return Answer(200, Text(docs_page.page(document()), "text/html"), headers)

    async def read_openapi(vault: object, call: AnonymousCall) -> Answer:
        """Read this API's OpenAPI document."""
        return Answer(200, text())

    async def read_docs(vault: object, call: AnonymousCall) -> Answer:
        """Read this API's description as a page."""
        return page()

    everything = (
        *routes,
        Route("GET", DOCUMENT_PATH, read_openapi, Open.ANYONE, {200: "application/json"}),
        Route("GET", PAGE_PATH, read_docs, Open.ANYONE, {200: "text/html"}),
    )
    return everything
