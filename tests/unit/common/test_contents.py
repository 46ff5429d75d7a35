"""Which types uploaded files get: none that makes a browser run them."""

from __future__ import annotations

import pytest

from penstock_common.http.contents import content_type_of

ACTIVE = (
    "js mjs cjs jsx ts tsx css xml xhtml xht xsl xslt wasm webmanifest rss atom mathml mml rdf swf hta"
    " JS Mjs XHTML shtml mht class jar appcache htc vbs"
)
RUN_AS_CODE = ("script", "css", "xml", "wasm", "manifest", "html", "flash", "java")


@pytest.mark.parametrize("ending", ACTIVE.split())
def test_code_is_text_or_bytes(ending: str) -> None:
    content_type = content_type_of(f"a/b.{ending}")
    assert content_type in ("text/plain", "application/octet-stream")
    assert not any(word in content_type for word in RUN_AS_CODE)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"), ("a.wav", "audio/wav"), ("a.mp4", "video/mp4"),
        ("config.yaml", "text/plain"), ("a.json", "application/json"), ("t.csv", "text/csv"),
        ("w.bin", "application/octet-stream"), ("Makefile", "application/octet-stream"),
        ("a.js.", "application/octet-stream"), ("", "application/octet-stream"),
    ],
)  # fmt: skip
def test_what_the_page_shows_keeps_its_type(name: str, content_type: str) -> None:
    assert content_type_of(name) == content_type
