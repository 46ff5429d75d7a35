"""Whatever may name something is found under that name by every route of the server, as it was sent."""

from __future__ import annotations

import re
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.routing import address, application, named_routes, names_found

from penstock.errors import Rejected
from penstock.wire import check_key, check_name
from penstock_storage.catalog.artifacts.artifact_collections import check_collection_name
from penstock_storage.catalog.runs.run_files import file_name
from penstock_web.models import split_names

ODD = [
    "{", "}", "{run}", "{run:.+}", "%", "%2F", "%2f", "%252F", "%25", "%zz", "%ff", "%7B", "+", ";", "#",
    "?", "&", "=", ":", "@", "'", '"', "`", "<", ">", "|", "^", "~", "*", "!", "$", "(", "[", ",", ".",
    "..", "...", "e\u0301", "\u00e9", "\ufb01", "\u2028", "\u2029", "\u200b", "\u202e\u05d0", "\ufeff",
    "\x85", "\x9f", "\U0001f600", "\U0010ffff", "\ufffe", "\ufdd0", "\u0378", "\ue000", "a b", "runs",
    "search", "keys", "file_stream", "alerts", "\uff0f", "\u2215", "\u2044",
]  # fmt: skip
FIXED = {
    "kind": "runs", "md5": "0" * 32, "sha256": "0" * 64, "number": "7", "size": "7", "region": "default",
}  # fmt: skip
PATHS = {
    "/wandb/files/{number}/{name}": "name",
    "{run}/files/{name}": "name",
    "files/{path}": "path",
}
APP = application("/below/a/proxy")
ROUTES = named_routes(APP)
_PLACE = re.compile(r"{(\w+)}")


def accepted(name: str) -> bool:
    try:
        check_name("run", name)
    except Rejected:
        return False
    return True


def found_at(method: str, path: str) -> tuple[str, dict[str, str]]:
    """The route at this address, and the names that it reads."""
    return names_found(APP, method, path)


pieces = st.one_of(st.sampled_from(ODD), st.text(max_size=5))
names = st.lists(pieces, min_size=1, max_size=4).map("".join).filter(accepted)


def path_name(canonical: str) -> str:
    """The name at the end of this path that may hold slashes; none if ''."""
    return next((name for end, name in PATHS.items() if canonical.endswith(end)), "")


@sized(1_000)
@given(st.lists(names, min_size=6, max_size=6))
def test_every_route_finds_every_name(given_names: list[str]) -> None:
    for method, canonical in ROUTES:
        places = _PLACE.findall(canonical)
        fresh = iter(given_names)
        filled = {place: FIXED.get(place) or next(fresh) for place in places}
        path = address(canonical, filled)
        assert found_at(method, path) == (canonical, filled), path
        last = path_name(canonical)
        if last:
            long = {**filled, last: "/".join(given_names)}
            safe = quote(long[last], safe="/")
            path = address(canonical.replace(f"{{{last}}}", ""), long) + safe
            assert found_at(method, path) == (canonical, long), path


@pytest.mark.parametrize("piece", ODD)
def test_every_route_finds_each_odd_name(piece: str) -> None:
    name = piece if accepted(piece) else f"a{piece}b"
    assert accepted(name)
    for method, canonical in ROUTES:
        filled = {place: FIXED.get(place, name) for place in _PLACE.findall(canonical)}
        assert found_at(method, address(canonical, filled)) == (canonical, filled)


@pytest.mark.heavy
@pytest.mark.smoke
def test_every_character_that_a_name_may_have_is_found() -> None:
    canonical = "/v1/runs/{entity}/{project}/{run}"
    allowed = [c for c in map(chr, range(sys.maxunicode + 1)) if accepted(f"a{c}b")]
    assert len(allowed) > 1_110_000
    for start in range(0, len(allowed), 90):
        three = ["".join(("a", *allowed[at : at + 30], "b")) for at in range(start, start + 90, 30)]
        filled = dict(zip(("entity", "project", "run"), three, strict=True))
        assert found_at("GET", address(canonical, filled)) == (canonical, filled)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "a\x7fb", " a", "a\u00a0", "a\udcffb", "\ud800"],
)
def test_what_no_path_carries_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_name("run", name)
    assert (refused.value.status, refused.value.code) == (400, "bad_name")
    assert refused.value.hint


def test_half_a_surrogate_pair_names_nothing() -> None:
    with pytest.raises(Rejected):
        check_key("rows", "a\udcff")
    with pytest.raises(Rejected):
        check_collection_name("a\udcff")
    with pytest.raises(Rejected):
        file_name("a\udcff")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 1_001])
def test_a_collection_is_named_by_one_part_of_a_path(name: str) -> None:
    with pytest.raises(Rejected):
        check_collection_name(name)


def test_forms_of_one_character_are_different_names() -> None:
    assert check_name("run", "e\u0301") != check_name("run", "\u00e9")


escaped = st.lists(st.text(min_size=1), max_size=5)


@sized(1_000)
@given(escaped)
def test_a_list_of_names_is_read_as_it_was_written(listed: list[str]) -> None:
    text = ",".join(re.sub(r"[\\,]", r"\\\g<0>", name) for name in listed)
    assert split_names(text) == listed


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("a,b", ["a", "b"]), (",a,,b,", ["a", "b"]), ("a\\,b,c", ["a,b", "c"]), ("C:\\x", ["C:\\x"]),
        ("a\\\\,b", ["a\\", "b"]), ("a\\", ["a\\"]), ("", []),
    ],
)  # fmt: skip
def test_lists_of_names(text: str, listed: list[str]) -> None:
    assert split_names(text) == listed
