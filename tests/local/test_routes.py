"""Route templates: order, case, parameters, and how a path is decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.routes import Route, RouteInvalid, RouteTable, segments_of


def table(*templates: str) -> RouteTable[str]:
    return RouteTable(Route.parse(template, ["GET"], template) for template in templates)


def test_a_literal_comes_before_a_parameter_whatever_the_order_of_registration() -> None:
    for order in (("leases/{id}", "leases/mine"), ("leases/mine", "leases/{id}")):
        assert table(*order).find("GET", "/leases/mine") == ("leases/mine", {})
        assert table(*order).find("GET", "/leases/7") == ("leases/{id}", {"id": "7"})


def test_a_constrained_parameter_comes_before_a_free_one_and_a_catch_all_last() -> None:
    routes = table("{*rest}", "a/{id}", "a/{id:int}")
    assert routes.find("GET", "/a/12") == ("a/{id:int}", {"id": "12"})
    assert routes.find("GET", "/a/twelve") == ("a/{id}", {"id": "twelve"})
    assert routes.find("GET", "/a/b/c") == ("{*rest}", {"rest": "a/b/c"})
    assert routes.find("GET", "/") == ("{*rest}", {})


def test_literals_match_without_regard_to_case_and_parameters_keep_theirs() -> None:
    assert table("Api/{name}").find("GET", "/aPI/MixedCase") == ("Api/{name}", {"name": "MixedCase"})


def test_another_method_leads_on_to_the_next_route_that_fits() -> None:
    routes = RouteTable([Route.parse("a/search", ["POST"], "search"), Route.parse("a/{id}", ["GET", "DELETE"], "one")])
    assert routes.find("DELETE", "/a/search") == ("one", {"id": "search"})
    assert routes.find("PUT", "/a/search") is None


def test_a_route_without_methods_answers_all() -> None:
    assert RouteTable([Route.parse("a", [], "any")]).find("PATCH", "/a") == ("any", {})


def test_an_optional_parameter_may_be_left_out() -> None:
    assert table("a/{id?}").find("GET", "/a") == ("a/{id?}", {})
    assert table("a/{id?}").find("GET", "/a/1") == ("a/{id?}", {"id": "1"})


@pytest.mark.parametrize("path", ["/a", "/a/", "/a/1/2", "/b/1", "/", "//a/1", "/a//1"])
def test_a_path_of_another_shape_leads_nowhere(path: str) -> None:
    assert table("a/{id}").find("GET", path) is None


def test_a_slash_at_the_end_makes_no_difference() -> None:
    assert table("a/{id}").find("GET", "/a/1/") == ("a/{id}", {"id": "1"})


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", []),
        ("/a%20b/%C3%BC", ["a b", "ü"]),
        ("/a%2Fb/a%2fb", ["a%2Fb", "a%2fb"]),
        ("/a/../b/./c", ["b", "c"]),
        ("/../../a", ["a"]),
        ("/a/%2e%2e/b", ["b"]),
        ("/%252F", ["%2F"]),
        ("/a//b", ["a", "", "b"]),
    ],
)
def test_a_path_is_decoded_once_and_keeps_encoded_slashes(path: str, segments: list[str]) -> None:
    assert segments_of(path) == segments


@pytest.mark.parametrize(
    "template", ["a/{b", "a/{b}.json", "{*rest}/a", "{a?}/b", "a//b", "{a:unheard}", "a/b?", "{a b}"]
)
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(RouteInvalid):
        Route.parse(template, [], template)


@given(st.lists(st.from_regex(r"[a-z]{1,5}|\{[a-z]{1,5}\}", fullmatch=True), min_size=1, max_size=5))
def test_a_route_is_found_by_its_own_literals(parts: list[str]) -> None:
    template = "/".join(parts)
    path = "/" + "/".join(part.strip("{}") for part in parts)
    found = table(template).find("GET", path)
    assert found is not None
    assert found[1] == {part.strip("{}"): part.strip("{}") for part in parts if part.startswith("{")}
