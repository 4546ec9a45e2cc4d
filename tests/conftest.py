"""What all tests share: hypothesis profiles, and the option that runs the slow ones."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# A shell starts background jobs with Ctrl-C ignored, and their children inherit that; some tests interrupt a
# child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests never judge by time, and a failure must come back when the test is run again. To look for new ones:
# pytest --hypothesis-profile=explore
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow") or "slow" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="takes minutes; run with --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
