"""What goes to the browser: headers, names of models, and the same words in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import requests
import yaml
from iqa.errors import STATUS_OF_FAULT, STATUS_OF_REASON
from iqa.imaging.sniff import TAKEN
from iqa.tasks.score_scales import LABEL_FLOORS
from starlette.applications import Starlette

from console.paths import ROOT
from tests.browser.serving import serving
from tests.ports import free_port
from web.page import SAMPLES, STATIC, mount_page

SCRIPTS = sorted((STATIC / "script").rglob("*.js"))


def strings(language: str) -> dict[str, str]:
    """Return a language's words: JSON behind two lines of JavaScript."""
    text = (STATIC / "script" / "strings" / f"{language}.js").read_text()
    found: dict[str, str] = json.loads(text.partition("export default")[2].strip().rstrip(";"))
    return found


EN, VI = strings("en"), strings("vi")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served by itself."""
    app = Starlette()
    mount_page(app, ["iqa"])
    with serving(app, free_port()) as address:
        yield address


def get(url: str, **headers: str) -> requests.Response:
    """Ask for a path as it is written."""
    return requests.get(url, headers=headers, timeout=30)


def test_both_languages_say_the_same_things() -> None:
    """The same keys, no empty string, the same places for values, and no English left over."""
    assert EN.keys() == VI.keys()
    for key, words in EN.items():
        assert words.strip() and VI[key].strip(), key
        places = re.compile(r"\{\w+\}")
        assert sorted(places.findall(words)) == sorted(places.findall(VI[key])), key
        assert words != VI[key] or not re.search(r"[a-z]{2}", places.sub("", words)), key


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_each_reason_and_each_warning_has_its_words(language: dict[str, str]) -> None:
    """The closed list of reasons, and the warnings of docs/api.md and of the code."""
    for reason in (*STATUS_OF_REASON, *STATUS_OF_FAULT):
        assert {f"reason.{reason}", f"do.{reason}"} <= language.keys(), reason
    documented = re.findall(r"^\| `(\w+)` \| .* \|$", _warnings_of_the_docs(), re.MULTILINE)
    noted = {
        name
        for path in (ROOT / "handler").rglob("*.py")
        for name in re.findall(r"""notes\.append\("(\w+)"\)""", path.read_text())
    }
    assert len(documented) >= 7
    assert noted <= set(documented)
    for warning in documented:
        assert f"warning.{warning}" in language, warning
    for _, label in LABEL_FLOORS:
        assert {f"label.{label}", f"band.{label}"} <= language.keys()


def _warnings_of_the_docs() -> str:
    text = (ROOT / "docs" / "api.md").read_text()
    return text.partition("| warning | meaning |")[2].partition("\n\n")[0]


def test_every_string_is_used_and_every_used_one_is_there() -> None:
    """What HTML and scripts name is in the lists, and nothing else is."""
    page = (STATIC / "index.html").read_text()
    code = "\n".join(path.read_text() for path in SCRIPTS if "strings" not in path.parts)
    named = set(re.findall(r'data-(?:text|label)="(\w+)"', page))
    named |= set(re.findall(r'\bt\("([\w.]+)"', code))
    assert named <= EN.keys()
    families = ("reason.", "do.", "warning.", "label.", "band.", "cause.")
    for key in EN.keys() - named:
        assert key.startswith(families) or f'"{key}"' in code or key in STATES, key


STATES = {"waiting", "sending", "scoring"}
"""Named by an item's state."""


def test_limits_and_labels_are_the_servers() -> None:
    """What the page tells of formats, sizes and labels is what the server does."""
    formats = set(re.findall(r"[A-Za-z]+", TAKEN)) - {"or"}
    config = yaml.safe_load((ROOT / "torchserve" / "model-config.yaml").read_text())["handler"]
    for words in (EN["limits"], VI["limits"]):
        assert formats <= set(re.findall(r"[A-Za-z]+", words))
        assert f"{config['max_bytes'] // 2**20} MB" in words
        assert f"{config['max_pixels'] // 10**6} megapixel" in words
    text = (STATIC / "script" / "kinds" / "quality.js").read_text()
    found = re.search(r"FLOORS = \{(.*?)\}", text)
    assert found is not None
    floors = [(float(floor), name) for name, floor in re.findall(r"(\w+): (\d+)", found[1])]
    assert floors == list(LABEL_FLOORS)


@pytest.mark.parametrize(
    "path", ["/", "/predict-ui", "/static/script/app.js", "/static/style/base.css", "/page/models"]
)
def test_everything_goes_out_with_the_same_headers(address: str, path: str) -> None:
    """A policy without unsafe-inline, no sniffing, no frame, no referrer."""
    reply = get(address + path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-cache"


def test_what_the_browser_has_is_not_sent_again(address: str) -> None:
    """304 for the ETag; a HEAD has no body; nothing is written."""
    reply = get(f"{address}/static/script/app.js")
    again = get(f"{address}/static/script/app.js", **{"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert requests.head(f"{address}/", timeout=30).content == b""
    assert requests.post(f"{address}/", timeout=30).status_code == 405
    assert "javascript" in reply.headers["content-type"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/%2e%2e/page.py",
        "/static/..%2fpage.py",
        "/static/samples/README.md",
        "/static/samples/..%2f..%2fmodel.json",
        "/static/",
        "/static/script",
        "/static/nothing.js",
    ],
)
def test_no_other_file_is_reached(address: str, path: str) -> None:
    """Neither what lies beside the page's files, nor folders, nor the notes beside the samples."""
    assert get(address + path).status_code == 404


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_pictures(address: str, name: str) -> None:
    """The three that the start page offers."""
    reply = get(f"{address}/static/samples/{name}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")


def test_the_page_holds_nothing_inline_and_nothing_from_elsewhere() -> None:
    """No script, style or handler in the markup, no foreign address, and every script is there."""
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert not re.findall(r"<script(?![^>]*src=)", page)
    for path in [STATIC / "index.html", *SCRIPTS, *(STATIC / "style").glob("*.css")]:
        addresses = set(re.findall(r"https?://[\w./-]+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path
    named = set(re.findall(r'"/static/script/([\w/-]+\.js)"', page))
    made_by_worker = {"preview-worker.js", "webp.js"}
    there = {str(path.relative_to(STATIC / "script")) for path in SCRIPTS}
    assert named == there - made_by_worker


def test_no_name_becomes_markup() -> None:
    """File names and a server's messages are set as text: there is no other way in the scripts."""
    for path in SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b", path.read_text())


def test_the_models_are_offered_in_their_order() -> None:
    """As whoever mounts the page names them; the first one is chosen at first."""
    app = Starlette()
    mount_page(app, ["fashion", "iqa"])
    with serving(app, free_port()) as address:
        assert get(f"{address}/page/models").json() == {"models": ["fashion", "iqa"]}


def test_the_screenshots_of_the_documents_are_small() -> None:
    """150 kB each at most."""
    shots = sorted((ROOT / "docs" / "web").iterdir())
    assert len(shots) >= 5
    assert all(shot.stat().st_size < 150_000 for shot in shots)
