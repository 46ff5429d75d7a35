"""Rules that deploy/Dockerfile keeps, checked without building it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from support.dockerfile import Stage, parse_dockerfile
from support.marks import SMOKE

from penstock import __version__

ROOT = Path(__file__).parents[2]
HEAD, *STAGES = parse_dockerfile(ROOT / "deploy" / "Dockerfile")
IMAGES = [stage for stage in STAGES if stage.name in ("server", "agent")]
BY_NAME = pytest.mark.parametrize("image", IMAGES, ids=lambda stage: stage.name)
PLAIN = {"HOME", "PATH"}

pytestmark = SMOKE


def test_the_default_target_is_the_server() -> None:
    assert [stage.name for stage in IMAGES] == ["agent", "server"]
    assert STAGES[-1].name == "server"


def test_every_base_is_the_argument_or_a_stage() -> None:
    """One place to point at a mirror or to pin a digest; and never `latest`."""
    named = {stage.name for stage in STAGES}
    assert {stage.base for stage in STAGES} - named == {"${BASE}"}
    base = HEAD.pairs("ARG")["BASE"]
    assert re.fullmatch(r"[\w./-]+:3\.11-[\w.-]+", base), base


@BY_NAME
def test_the_user_is_a_number_and_not_root(image: Stage) -> None:
    """Kubernetes' `runAsNonRoot` cannot judge a name; group 0 is what OpenShift's users have."""
    user, group = image.last("USER").text.split(":")
    assert int(user) >= 1000
    assert group == "0"
    # After it nothing changes files.
    after = image.instructions[image.instructions.index(image.last("USER")) :]
    assert not {each.name for each in after} & {"RUN", "COPY", "ADD"}


@BY_NAME
def test_every_variable_is_a_setting(image: Stage) -> None:
    """Of the manual, which another test compares with the code."""
    manual = (ROOT / "docs" / "configuration.md").read_text()
    for name in image.pairs("ENV").keys() - PLAIN:
        assert f"`{name}`" in manual, name


@BY_NAME
def test_what_is_written_lies_on_a_volume(image: Stage) -> None:
    volumes = set(json.loads(image.last("VOLUME").text))
    texts = [text for name, text in image.pairs("ENV").items() if name != "PATH"]
    paths = [re.sub("/+", "/", text[text.index("/") :]) for text in texts if "/" in text]
    assert paths
    for path in (*paths, image.last("WORKDIR").text):
        assert any(f"{path}/".startswith(f"{volume}/") for volume in volumes), path


def test_no_secret_is_an_argument_or_a_variable() -> None:
    for stage in (HEAD, *STAGES):
        for name in {**stage.pairs("ARG"), **stage.pairs("ENV")}:
            assert not re.search(r"(?i)secret|token|passw|key|index|proxy|auth", name), name


def test_what_reaches_a_registry_is_mounted_for_the_step_only() -> None:
    """Each step that installs takes the mirror's configuration, and steps of an image reach nothing."""
    for stage in STAGES:
        for run in stage.all("RUN"):
            installs = re.search(
                r"pip install|pip --python \S+ install (?!--no-deps /)|npm|build_ui", run.text
            )
            if installs or "pip wheel" in run.text:
                assert stage not in IMAGES
                assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in run.text
                assert "--mount=type=secret,id=ca," in run.text
            if "build_ui" in run.text:
                assert "--mount=type=secret,id=npm,target=/root/.npmrc" in run.text
            assert "apt-get" not in run.text
            assert "curl" not in run.text
            assert "wget" not in run.text


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_is_copied_exists(stage: Stage) -> None:
    """From the checkout, and not hidden by .dockerignore; or from an earlier stage."""
    earlier = {each.name for each in STAGES[: STAGES.index(stage)]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "ADD" not in {each.name for each in stage.instructions}
    for copy in stage.all("COPY"):
        *sources, _ = (word for word in copy.words if not word.startswith("--"))
        if origin := re.search(r"--from=(\S+)", copy.text):
            assert origin[1] in earlier
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source == "." or f"!{source}" in ignored, source


def test_what_the_builder_gets() -> None:
    """Every package of the wheel, and nothing that git does not know."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--", *allowed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    packages = re.findall(
        r'^    "(\w+)/penstock\w*",$', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert len(packages) == 9
    assert {*packages, "deploy"} == {path.split("/")[0] for path in tracked if "/" in path}
    for name in allowed:
        assert any(f"{path}/".startswith(f"{name}/") for path in tracked), name


@BY_NAME
def test_labels(image: Stage) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value
              for name, value in image.pairs("LABEL").items()}  # fmt: skip
    assert {"title", "description", "licenses", "version", "revision", "base.name"} == labels.keys()
    assert labels["licenses"] == "Apache-2.0"
    assert image.pairs("ARG")["VERSION"] == __version__


@BY_NAME
def test_commands_are_lists_without_a_shell(image: Stage) -> None:
    """A shell as process 1 passes no signal on."""
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(image.last(name).text), list)
    assert json.loads(image.last("ENTRYPOINT").text) == ["penstock"]


def test_the_server_has_a_health_check() -> None:
    (server,) = (stage for stage in IMAGES if stage.name == "server")
    options, _, command = server.last("HEALTHCHECK").text.partition("CMD ")
    assert json.loads(command) == ["penstock", "health"]
    assert {"--interval", "--timeout", "--start-period", "--retries"} == {
        each.partition("=")[0] for each in options.split()
    }
    assert server.pairs("ENV")["PENSTOCK_PORT"] in server.last("EXPOSE").words
