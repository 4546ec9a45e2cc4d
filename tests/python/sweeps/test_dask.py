"""A sweep on a Dask cluster: the same table as on processes of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from vmem.cli import main

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Dask's own


def test_a_cluster_gives_the_same_table(scenario: Path, tmp_path: Path) -> None:
    arguments = ["sweep", str(scenario), "--grid", "ratio=1,2.5,seed=1..2"]
    tables = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        for name, where in (("dask", ["--dask", cluster.scheduler_address]), ("here", ["--workers", "1"])):
            ran = CliRunner().invoke(main, [*arguments, *where, "--out", str(tmp_path / name)])
            assert ran.exit_code == 0, ran.output
            tables.append((tmp_path / name / "sweep.csv").read_bytes())
    assert tables[0] == tables[1] and tables[0].count(b"\n") == 5


def test_parquet_is_the_same_table(scenario: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arguments = ["sweep", str(scenario), "--grid", "seed=1,2", "--workers", "1", "--parquet"]
    ran = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    table = parquet.read_table(tmp_path / "out" / "sweep.parquet").to_pydict()
    assert table["seed"] == [1, 2] and table["vms"] == [2, 2] and table["error"] == [None, None]
