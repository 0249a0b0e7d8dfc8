"""A browser for the tests of what a reviewer sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import browser

BUILD = Path(__file__).parents[2] / "build" / "reviewer"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """A tab of a real browser."""
    if browser.CHROMIUM is None:
        pytest.skip(browser.MISSING)
    with browser.browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="session")
def build() -> Path:
    """Where screenshots are left."""
    return BUILD
