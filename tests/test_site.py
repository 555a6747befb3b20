"""The documentation site and a report, opened in a browser at two widths: no fault on any page, no broken link."""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

WIDTHS = (1280, 400)
"""Of the window in pixels: a desktop and a phone."""
HEIGHT = 900
ABORTED = "net::ERR_ABORTED"
"""What is still loading when the next page is opened."""
PATIENCE = 30
"""Seconds for one page, on a busy machine."""
CALL = "from jaxelyte.cli import app; app()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; `make docs` installs it"
    )
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        pytest.skip("no chromium or google-chrome on this machine")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


def faults(browser: Any, addresses: list[str]) -> dict[str, list[str]]:
    """By page: messages of the console, files that are missing, and content that is wider than the window."""
    page, found = browser.new_page(), {address: [] for address in addresses}
    now = [addresses[0]]
    page.on("console", lambda line: found[now[0]].append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: found[now[0]].append(str(error)))
    page.on("requestfailed", lambda request: found[now[0]].append(f"{request.url}: {request.failure}"))
    page.set_default_timeout(1000 * PATIENCE)
    for address in addresses:
        now[0] = address
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            if width == WIDTHS[0]:
                page.goto(address, wait_until="load")
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                found[address].append(f"{wide} pixels wide in a window of {width}")
        lost = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)")
        found[address] += [f"no picture: {one}" for one in lost]
    page.close()
    return {address: kept for address, seen in found.items() if (kept := [one for one in seen if ABORTED not in one])}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.mark.slow
def test_every_page_opens(site: Path, browser: Any) -> None:
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 20
    with served(site) as address:
        assert not faults(browser, [f"{address}/{page.relative_to(site)}" for page in pages])


@pytest.mark.slow
def test_every_link_leads_somewhere(site: Path) -> None:
    anchors = {page: set(re.findall(r'\bid="?([^"\s>]+)', page.read_text("utf-8"))) for page in site.rglob("*.html")}
    broken = []
    for page in anchors:
        for link in re.findall(r'\b(?:href|src)="?([^"\s>]+)', page.read_text("utf-8")):
            target, _, anchor = link.replace("&amp;", "&").partition("#")
            if ":" in target or page.name == "404.html":
                continue
            place = (page.parent / target).resolve() if target else page
            known = anchors.get(place)
            if not place.exists() or (anchor and known is not None and anchor not in known | {"__skip"}):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


@pytest.mark.slow
def test_the_report_of_a_run_opens(browser: Any, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    for arguments in (["simulate", "examples/argon.toml", "--steps", "400"], ["analyse", "examples/runs/argon"]):
        subprocess.run(
            [sys.executable, "-c", CALL, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
    reports = list((tmp_path / "examples" / "runs" / "argon").rglob("*.html"))
    assert reports
    assert not faults(browser, [report.as_uri() for report in reports])
