"""What people write into settings: put right where it is clear what was meant, else refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.conversion import converted
from penstock.errors import Rejected
from penstock.pasted import checked_name, repaired_key, repaired_name, repaired_proxy, repaired_url
from penstock.settings import Settings, launcher_rank
from penstock.wire import check_name

KEY = "penstock_abcdefgh_0123456789"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY}\n",
        f"  {KEY}\t\r\n",
        f'"{KEY}"',
        f"'{KEY}'\n",
        f"export PENSTOCK_API_KEY={KEY}",
        f'export PENSTOCK_API_KEY="{KEY}";',
        f"PENSTOCK_API_KEY={KEY}\n",
        f"Bearer {KEY}",
        f"Authorization: Bearer {KEY}",
        f"\ufeff{KEY}",
        f"# the tracker\n{KEY}\n",
    ],
)
def test_a_key_is_taken_as_it_was_meant(text: str) -> None:
    found = repaired_key(text)
    assert found.value == KEY
    assert KEY not in found.change
    assert bool(found.change) == (text != KEY)


@pytest.mark.parametrize("text", ["none", "None", "null", '""', "  "])
def test_no_key(text: str) -> None:
    assert repaired_key(text).value == ""


@pytest.mark.parametrize("text", ["two words", "schlüssel", "a\x00b", "one\ntwo", "\x1b[0m"])
def test_what_no_header_can_carry_is_no_key_and_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="spaces or invalid characters") as refused:
        repaired_key(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("localhost", "http://localhost"),
        ("//tracker:8080/", "http://tracker:8080"),
        ("tracker.example.org:443", "https://tracker.example.org:443"),
        ("HTTP://Tracker:8080", "http://tracker:8080"),
        ("https://Example.ORG/Penstock/", "https://example.org/Penstock"),
        ("http://h:8080/?project=local/p&run=r", "http://h:8080"),
        ("http://h:8080/#top", "http://h:8080"),
        ("http://h:8080/v1/batches", "http://h:8080"),
        ("http://h:8080/authorize", "http://h:8080"),
        ("http://h/penstock/v1", "http://h/penstock"),
        (" http://h:8080\n", "http://h:8080"),
        ('"http://h:8080"', "http://h:8080"),
        ("export PENSTOCK_BASE_URL=http://h:8080", "http://h:8080"),
        ("http://https://h", "https://h"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]"),
        ("[fe80::1]:80/", "http://[fe80::1]:80"),
        ("http://name:secret@h:8080", "http://h:8080"),
        ("name:secret@h", "http://h"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://my_tracker:8080", "http://my_tracker:8080"),
    ],
)
def test_an_address_is_taken_as_it_was_meant(text: str, url: str) -> None:
    found = repaired_url(text)
    assert found.value == url
    assert "secret" not in found.change
    assert repaired_url(url) == (url, "")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://h", "redis://h:6379", "http://", "https:///path", "http://h:port", "http://h:99999",
        "http://h:0", "http://h:-1", "http://two words", "http://[::1", "http://name:secret@:80",
        "", "file:///tmp", "http://h\x00",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="http://host:port") as refused:
        repaired_url(text)
    assert "secret" not in str(refused.value)


def test_names() -> None:
    assert repaired_name("project", "My Project") == ("My Project", "")
    assert repaired_name("project", "team/project\n").value == "team-project"
    assert repaired_name("project", "x" * 500).value == "x" * 128
    assert repaired_name("project", "a\udcff").value == "a?"
    with pytest.raises(ValueError, match="project"):
        repaired_name("project", "..")


def test_proxies() -> None:
    assert repaired_proxy(" 'proxy:3128' ") == "http://proxy:3128"
    for text in ("socks5://h:1080", "http://", "http://u:secret@h:port", "http://[::1"):
        with pytest.raises(ValueError, match="http://") as refused:
            repaired_proxy(text)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "ONLINE", "online"),
        ("mode", "dryrun", "offline"),
        ("resume", "Allow", "allow"),
        ("resume", "true", "auto"),
        ("resume", False, None),
        ("reinit", "default", None),
        ("reinit", "1", True),
        ("spool_limit_bytes", "2 GiB", 2 << 30),
        ("spool_limit_bytes", "512m", 512 << 20),
        ("finish_timeout_s", "inf", 1e9),
        ("finish_timeout_s", -3, 0.0),
        ("strict", "off", False),
        ("tags", " a, b,,", ("a", "b")),
        ("run_id", 12345, "12345"),
        ("project", "  p ", "p"),
        ("project", "", None),
        ("name", 7, "7"),
    ],
)
def test_values_are_taken_as_they_were_meant(name: str, value: object, expected: object) -> None:
    assert converted(name, value, is_mended=False).value == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "nonsense"), ("resume", "perhaps"), ("reinit", "twice"), ("on_full", "explode"),
        ("spool_limit_bytes", "much"), ("spool_limit_bytes", 0), ("finish_timeout_s", "soon"),
        ("finish_timeout_s", float("nan")), ("strict", "perhaps"), ("tags", 5), ("rank", -1),
        ("rank", "first"), ("dir", "a\x00b/\x00"), ("dir", "~no-such-user/x"), ("ca_file", "/no/such/file"),
        ("project", "a/b"), ("run_id", "."), ("entity", "x" * 129),
    ],
)  # fmt: skip
def test_an_impossible_value_names_its_setting(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        converted(name, value, is_mended=False)


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> pytest.MonkeyPatch:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return monkeypatch


def test_the_environment_never_raises(
    no_login: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "PENSTOCK_MODE": "nonsense",
        "PENSTOCK_RESUME": "perhaps",
        "PENSTOCK_ON_FULL": "explode",
        "PENSTOCK_SPOOL_LIMIT_BYTES": "much",
        "PENSTOCK_STRICT": "perhaps",
        "PENSTOCK_DIR": "~no-such-user/x",
        "PENSTOCK_PROJECT": "team/project",
        "PENSTOCK_RUN_ID": "none",
        "PENSTOCK_API_KEY": "two words",
        "PENSTOCK_CA_FILE": "/no/such/file",
        "HTTP_PROXY": "socks5://h:1080",
        "RANK": "²",
    }
    for variable, text in wrong.items():
        no_login.setenv(variable, text)
    settings = Settings.resolve(None, {})
    assert (settings.mode, settings.resume, settings.on_full) == ("online", None, "drop")
    assert (settings.project, settings.run_id, settings.rank) == ("team-project", None, 0)
    assert (settings.api_key, settings.ca_file, settings.dir) == ("", None, "")
    assert "http" not in settings.proxies
    said = capsys.readouterr().err
    for variable in wrong.keys() - {"PENSTOCK_RUN_ID", "RANK"}:
        assert variable in said
    assert "two words" not in said


def test_a_wrong_address_leads_to_no_other_server(no_login: pytest.MonkeyPatch) -> None:
    no_login.setenv("PENSTOCK_BASE_URL", "ftp://tracker")
    settings = Settings.resolve(None, {})
    assert settings.base_url == "ftp://tracker"
    assert "PENSTOCK_BASE_URL" in settings.problem
    with pytest.raises(ValueError, match="http://host:port"):
        Settings.resolve(None, {"base_url": "ftp://tracker"})


def test_ranks() -> None:
    assert launcher_rank({"RANK": "3"}) == 3
    assert launcher_rank({"RANK": "three", "SLURM_PROCID": "2"}) == 2
    assert launcher_rank({"RANK": "9" * 40}) == 0


def test_names_that_wandb_has(no_login: pytest.MonkeyPatch) -> None:
    del no_login
    named = Settings(run_name="x", run_group="g", run_tags=["t"], run_notes="n", run_id="i", id="j")
    assert (named.name, named.group, named.tags, named.notes) == ("x", "g", ("t",), "n")
    assert named.run_id == "j"
    assert Settings(finish_timeout=3).finish_timeout_s == 3.0


@sized(5_000)
@given(
    st.text(alphabet="aZ9_-. /\\é\n", max_size=6).map(lambda text: text * 22) | st.text(max_size=8)
)
def test_a_name_is_checked_as_the_server_does(text: str) -> None:
    try:
        expected = check_name("project", text)
    except Rejected:
        with pytest.raises(ValueError, match="project"):
            checked_name("project", text)
    else:
        assert checked_name("project", text) == expected


@pytest.mark.parametrize("name", ["a", "a b", "a.b-c_d", "_", "x" * 128])
def test_plain_names(name: str) -> None:
    assert checked_name("run", name) == check_name("run", name) == name


@pytest.mark.parametrize("name", [".", "..", " a", "a ", "x" * 129, "a\n", "a/b", ""])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="run"):
        checked_name("run", name)
