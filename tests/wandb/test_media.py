"""What scripts log and save as files with the official client is there, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb

PROJECT = "media"

LOGS_MEDIA = """
import hashlib, json
import numpy as np, wandb
rng = np.random.default_rng(0)
run = wandb.init(project="media", id="media", config={"lr": 0.1})
def pixels(size=16):
    return (rng.random((size, size, 3)) * 255).astype(np.uint8)
mask = {"mask_data": np.eye(16, dtype=np.uint8), "class_labels": {0: "road", 1: "car"}}
place = {"minX": 0.1, "maxX": 0.5, "minY": 0.2, "maxY": 0.6}
boxes = {"box_data": [{"position": place, "class_id": 1, "box_caption": "car"}],
         "class_labels": {1: "car"}}
for step in range(3):
    table = wandb.Table(columns=["id", "text", "score"])
    for row in range(4):
        table.add_data(row, f"row {row} of {step}", row / 3)
    run.log({
        "loss": 1 / (step + 1),
        "image": wandb.Image(pixels(), caption=f"at {step}"),
        "nested/list of images": [wandb.Image(pixels(), caption=str(n)) for n in range(3)],
        "segmented": wandb.Image(pixels(), masks={"pred": mask}, boxes={"pred": boxes}),
        "table": table,
        "histogram": wandb.Histogram(rng.normal(step, 1, 1000)),
        "page": wandb.Html(f"<b>step {step}</b>", inject=False),
        "sound": wandb.Audio(rng.random(2000), sample_rate=8000),
        "film": wandb.Video("film.mp4"),
        "cloud": wandb.Object3D(rng.random((10, 3))),
    })
run.log({
    "plots/curve": wandb.plot.line(
        wandb.Table(data=[[i, i * i] for i in range(5)], columns=["x", "y"]), "x", "y"),
    "plots/confusion": wandb.plot.confusion_matrix(
        y_true=[0, 1, 1], preds=[0, 1, 0], class_names=["a", "b"]),
})
run.finish()
"""
MEDIA_KINDS = {
    "image": ["image-file"],
    "nested/list of images": ["images/separated"],
    "segmented": ["image-file"],
    "table": ["table-file"],
    "histogram": ["histogram"],
    "page": ["html-file"],
    "sound": ["audio-file"],
    "film": ["video-file"],
    "cloud": ["object3D-file"],
    "plots/curve_table": ["table-file"],
    "plots/confusion_table": ["table-file"],
}


def bytes_of(up: Up, run: str, name: str) -> bytes:
    request = Request(f"{up.url}/v1/runs/local/{PROJECT}/{run}/files/{quote(name)}")
    request.add_header("Authorization", f"Bearer {up.api_key}")
    with urlopen(request, timeout=10) as reply:
        content: bytes = reply.read()
    return content


def listed(up: Up, run: str) -> dict[str, dict[str, Any]]:
    answer = up.get(f"/v1/runs/local/{PROJECT}/{run}/files?limit=10000")
    assert answer["total"] == len(answer["files"])
    return {file["name"]: file for file in answer["files"]}


def values_of(up: Up, run: str, key: str) -> list[dict[str, Any]]:
    path = f"/v1/runs/local/{PROJECT}/{run}/media?key={quote(key)}&most=100"
    (found,) = up.get(path)["runs"]
    values: list[dict[str, Any]] = found["values"]
    return values


@pytest.fixture(scope="module")
def logged(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a script that logged media of every kind."""
    film = tmp_path_factory.mktemp("film") / "film.mp4"
    film.write_bytes(bytes(range(256)) * 64)
    code = LOGS_MEDIA.replace('"film.mp4"', repr(str(film)))
    result = run_wandb(up, code).check()
    wait_until(lambda: "config.yaml" in listed(up, "media"), 20)
    return result.folder


@pytest.mark.smoke
def test_every_kind_of_media_is_known_by_its_key(up: Up, logged: Path) -> None:
    keys = up.get(f"/v1/projects/local/{PROJECT}/media?runs=media")["keys"]
    assert {each["key"]: each["kinds"] for each in keys} == MEDIA_KINDS
    assert {each["runs"] for each in keys} == {1}
    charts = {each["key"] for each in up.get(f"/v1/runs/local/{PROJECT}/media/keys")["keys"]}
    assert "loss" in charts
    assert not charts & MEDIA_KINDS.keys()


@pytest.mark.parametrize("key", ["image", "segmented", "table", "page", "sound", "film", "cloud"])
def test_files_come_back_byte_for_byte(up: Up, logged: Path, key: str) -> None:
    (folder,) = logged.glob("wandb/run-*")
    values = values_of(up, "media", key)
    assert [each["step"] for each in values] == [0, 1, 2]
    for each in values:
        value = each["value"]
        content = bytes_of(up, "media", value["path"])
        assert hashlib.sha256(content).hexdigest() == value["sha256"]
        assert content == (folder / "files" / value["path"]).read_bytes()
        assert len(content) == value["size"]


def test_layers_of_images_are_files_as_well(up: Up, logged: Path) -> None:
    value = values_of(up, "media", "segmented")[0]["value"]
    boxes = json.loads(bytes_of(up, "media", value["boxes"]["pred"]["path"]))
    assert boxes["box_data"][0]["box_caption"] == "car"
    assert bytes_of(up, "media", value["masks"]["pred"]["path"]).startswith(b"\x89PNG")


def test_lists_of_images_have_a_file_each(up: Up, logged: Path) -> None:
    for each in values_of(up, "media", "nested/list of images"):
        value = each["value"]
        assert (value["count"], value["captions"]) == (3, ["0", "1", "2"])
        contents = {bytes_of(up, "media", name) for name in value["filenames"]}
        assert len(contents) == 3
        assert all(content.startswith(b"\x89PNG") for content in contents)


def test_tables_hold_their_rows(up: Up, logged: Path) -> None:
    for each in values_of(up, "media", "table"):
        table = json.loads(bytes_of(up, "media", each["value"]["path"]))
        assert table["columns"] == ["id", "text", "score"]
        assert table["data"] == [[n, f"row {n} of {each['step']}", n / 3] for n in range(4)]
    (curve,) = values_of(up, "media", "plots/curve_table")
    table = json.loads(bytes_of(up, "media", curve["value"]["path"]))
    assert table["data"] == [[n, n * n] for n in range(5)]


def test_histograms_are_whole(up: Up, logged: Path) -> None:
    values = values_of(up, "media", "histogram")
    assert len(values) == 3
    for each in values:
        assert sum(each["value"]["values"]) == 1_000
        assert len(each["value"]["bins"]) == len(each["value"]["values"]) + 1


def test_everything_that_was_uploaded_is_as_it_lies_there(up: Up, logged: Path) -> None:
    (folder,) = logged.glob("wandb/run-*")
    for name, file in listed(up, "media").items():
        content = (folder / "files" / name).read_bytes()
        assert (file["size_bytes"], file["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        ), name


SAVES = """
import pathlib, sys, wandb
run = wandb.init(project="media", id="saved")
for name, content in FILES.items():
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    run.save(name, base_path=".")
print("printed", flush=True)
print("told", file=sys.stderr, flush=True)
run.finish()
"""
SAVED = {
    "with spaces.txt": b"spaces",
    "ü ☃ 漢字.txt": "ü ☃".encode(),
    "100%.txt": b"percent",
    "a%20b%2Fc.txt": b"escaped already",
    "quest?ion=1&x#y.txt": b"marks",
    "folder/deeper/plus+.txt": b"plus",
    "empty.bin": b"",
    "large.bin": bytes(range(256)) * 40_000,
}


@pytest.fixture(scope="module")
def saved(up: Up) -> dict[str, bytes]:
    """Files of strange names that a script saved."""
    run_wandb(up, SAVES.replace("FILES.items()", f"{SAVED!r}.items()")).check()
    wait_until(lambda: listed(up, "saved").keys() >= SAVED.keys(), 20)
    return SAVED


def test_saved_files_keep_their_names(up: Up, saved: dict[str, bytes]) -> None:
    found = listed(up, "saved")
    for name, content in saved.items():
        assert found[name]["size_bytes"] == len(content)
        assert bytes_of(up, "saved", name) == content, name


def test_the_client_reads_files_and_lines_back(up: Up, saved: dict[str, bytes]) -> None:
    code = """
import json, hashlib, wandb
run = wandb.Api().run("media/saved")
files = {file.name: file for file in run.files(per_page=3)}
few = [file.name for file in run.files(["./100%.txt", "gone.txt"])]
chosen = sorted(file.name for file in run.files(pattern="%.BIN"))
hashes = {}
for name in NAMES:
    with files[name].download(root="back", replace=True) as file:
        pass
    hashes[name] = hashlib.md5(open(f"back/{name}", "rb").read()).hexdigest()
about = {name: [files[name].size, files[name].md5, files[name].mimetype] for name in NAMES}
lines = [[line.number, line.level, line.content] for line in run.console_logs()]
system = run.metadata["python"]
files["100%.txt"].delete()
after = sorted(file.name for file in run.files(["100%.txt", "with spaces.txt"]))
print("RESULT", json.dumps([few, chosen, hashes, about, lines, system, after]))
"""
    names = sorted(saved)
    result = run_wandb(up, code.replace("NAMES", repr(names))).check()
    (line,) = [each for each in result.stdout.splitlines() if each.startswith("RESULT ")]
    few, chosen, hashes, about, lines, system, after = json.loads(line.removeprefix("RESULT "))
    assert few == ["100%.txt"]
    assert chosen == ["empty.bin", "large.bin"]
    for name, content in saved.items():
        md5 = hashlib.md5(content, usedforsecurity=False)
        assert hashes[name] == md5.hexdigest()
        assert about[name][:2] == [len(content), base64.b64encode(md5.digest()).decode()]
    assert about["100%.txt"][2] == "text/plain"
    assert [each[1:] for each in lines if each[2] in ("printed", "told")] == [
        ["", "printed"],
        ["error", "told"],
    ]
    assert system.startswith("CPython")
    assert after == ["with spaces.txt"]


UPLOAD = """mutation CreateRunFiles($files: [String!]!) {
  createRunFiles(input: {entityName: "local", projectName: "media", runName: "put", files: $files})
  { runID uploadHeaders files { name uploadUrl } } }"""


def upload_urls(up: Up, *names: str) -> dict[str, str]:
    answer = up.post("/graphql", {"query": UPLOAD, "variables": {"files": list(names)}})
    return {each["name"]: each["uploadUrl"] for each in answer["data"]["createRunFiles"]["files"]}


def put(url: str, content: bytes) -> int:
    try:
        with urlopen(Request(url, content, method="PUT"), timeout=30) as reply:
            return int(reply.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_addresses_are_good_for_what_they_were_given_out_for(up: Up) -> None:
    up.post("/v1/runs", {"project": PROJECT, "run": "put"})
    urls = upload_urls(up, "a b.txt", "./folder//c.txt", "a b.txt")
    assert urls.keys() == {"a b.txt", "./folder//c.txt"}
    url = urls["a b.txt"]
    assert url.startswith(f"{up.url}/wandb/files/")
    assert put(url.replace("a%20b.txt", "other.txt"), b"x") == 403
    assert put(url.replace("expires=", "expires=9"), b"x") == 403
    with pytest.raises(HTTPError, match="403"):
        urlopen(url, timeout=10)
    assert listed(up, "put") == {}
    assert put(url, b"first") == 200
    assert put(url, b"second") == 200
    assert put(urls["./folder//c.txt"], b"third") == 200
    assert listed(up, "put").keys() == {"a b.txt", "folder/c.txt"}
    assert bytes_of(up, "put", "a b.txt") == b"second"
    with urlopen(Request(url, method="OPTIONS"), timeout=10) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_an_upload_that_breaks_off_leaves_nothing(up: Up) -> None:
    up.post("/v1/runs", {"project": PROJECT, "run": "put"})
    url = urlsplit(upload_urls(up, "broken.bin")["broken.bin"])
    with socket.create_connection((url.hostname or "", url.port or 0), 10) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(3_000_000))
        incoming = up.folder / "data" / "blobs" / "incoming"
        wait_until(lambda: list(incoming.iterdir()))
    wait_until(lambda: not list(incoming.iterdir()))
    assert "broken.bin" not in listed(up, "put")


def test_names_that_lead_out_of_a_run_are_refused(up: Up) -> None:
    up.post("/v1/runs", {"project": PROJECT, "run": "put"})
    answer = up.post("/graphql", {"query": UPLOAD, "variables": {"files": ["ok", "../../x"]}})
    assert answer["data"] is None
    assert "cannot be the name of a file" in answer["errors"][0]["message"]
