"""Bytes come back as written, whatever the host does with the memory behind them; nobody reads another's."""

from __future__ import annotations

import pytest

from .world import MODES, World


@pytest.mark.parametrize("mode", MODES)
def test_thirty_five_thousand_operations_in_each_mode(mode: str) -> None:
    """Together more than 200,000."""
    world = World(MODES[mode], seed=1, victims="clock" if mode in ("trace", "nested, NPT") else "random")
    world.run(35_000, checks=5)
    stat = world.host.stat()
    for name in ("swapped_out", "swapped_in", "merged", "cow_broken"):
        assert stat[name] > 100, stat
    assert not any(event.kind == "host_out_of_memory" for event in world.host.events())


@pytest.mark.slow
@pytest.mark.parametrize("victims", ["random", "clock"])
@pytest.mark.parametrize("mode", MODES)
def test_nearly_a_million_operations_in_each_mode(mode: str, victims: str) -> None:
    """Together more than 10 million."""
    World(MODES[mode], seed=2, victims=victims).run(850_000, checks=50)
