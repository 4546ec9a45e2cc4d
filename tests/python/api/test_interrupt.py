"""Ctrl-C stops long work before its end and leaves everything usable."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("interrupted.py")


@pytest.mark.parametrize("mode", ["native", "nested"])
@pytest.mark.parametrize("work", ["access", "run", "write"])
def test_interrupt(work: str, mode: str) -> None:
    command = [sys.executable, str(PROGRAM), work, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "working\n"
            child.send_signal(signal.SIGINT)
            # The work would take hours: that it ends at all is the proof that it was stopped.
            output, _ = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 0
    result = json.loads(output)
    assert result["interrupted"]
    assert result["read"] == "usable"
    assert 0 < result["accesses"] < 10**12
