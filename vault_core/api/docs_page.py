"""A page that shows the OpenAPI document: finished HTML without scripts, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
summary { cursor: pointer; padding: .3rem 0 }
summary b { display: inline-block; min-width: 4.5rem }
details details, section { margin-left: 1rem }
h2 { border-bottom: 1px solid; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0 }
pre { overflow-x: auto; padding: .5rem; border: 1px solid }
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_Json = Mapping[str, Any]


def page(document: _Json) -> str:
    """Return the HTML of an OpenAPI document that `openapi.document` made."""
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f"{''.join(_operations(document))}{''.join(_models(document))}</main></body></html>"
    )


def _operations(document: _Json) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _operation(method.upper(), path, operation, document)
            by_tag.setdefault(operation["tags"][0], []).append(shown)
    for tag, shown_operations in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(shown_operations)}"


def _operation(method: str, path: str, operation: _Json, document: _Json) -> str:
    signature = f"<b>{escape(method)}</b> {_code(path)}"
    return (
        f'<details id="{escape(operation["operationId"])}">'
        f"<summary>{signature} {escape(operation['summary'])}</summary>"
        f"<section><p>{escape(operation['description'])}</p>"
        f"{_parameters(operation['parameters'])}{_body(operation)}{_answers(operation, document)}"
        "</section></details>"
    )


def _parameters(parameters: list[_Json]) -> str:
    return _table(
        ("Parameter", "In", "Form"),
        [
            (_code(each["name"]) + _mark(each), escape(each["in"]), _code(json.dumps(each["schema"])))
            for each in parameters
        ],
    )


def _mark(parameter: _Json) -> str:
    return " (required)" if parameter["required"] else ""


def _body(operation: _Json) -> str:
    body = operation.get("requestBody")
    return f"<p>Body: {_content(body['content'])}</p>" if body else ""


def _answers(operation: _Json, document: _Json) -> str:
    rows = []
    for status, answer in operation["responses"].items():
        found = _resolved(answer, document)
        rows.append((escape(status), escape(found["description"]), _content(found.get("content", {}))))
    return _table(("Status", "Meaning", "Body"), rows)


def _resolved(answer: _Json, document: _Json) -> _Json:
    if "$ref" not in answer:
        return answer
    found: _Json = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return found


def _content(content: _Json) -> str:
    return ", ".join(
        f"{_code(media_type)} {_link(described.get('schema', {}))}" for media_type, described in content.items()
    )


def _link(schema: _Json) -> str:
    name = escape(schema.get("$ref", "").rpartition("/")[2])
    return f'<a href="#model-{name}">{name}</a>' if name else ""


def _models(document: _Json) -> Iterator[str]:
    yield "<h2>Models</h2>"
    for name, schema in document["components"]["schemas"].items():
        title, shown = escape(name), escape(json.dumps(schema, indent=2, ensure_ascii=False))
        yield f'<details id="model-{title}"><summary>{title}</summary><pre>{shown}</pre></details>'


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
