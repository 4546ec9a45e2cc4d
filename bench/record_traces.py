"""Records the shipped traces again: python bench/record_traces.py [NAME ...] [--out DIRECTORY]

Builds bench/programs/*.c (cc -O2 -fno-tree-vectorize -static) and records each under qemu-user, with an empty
environment and fixed addresses, so that a trace changes only when its program, the compiler or a system
library does. gzip and sqlite3 are the system's.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from vmem.traces import record

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"
OUTPUT = ROOT / "python" / "vmem" / "data" / "traces"

SQL = (
    "create table t(a integer primary key, b text); "
    "with recursive c(x) as (select 1 union all select x + 1 from c where x < 700) "
    "insert into t select x, hex(x * 7919 % 1000) from c; "
    "create index i on t(b); select count(*), b from t group by b order by 1 desc limit 3;"
)


def build(name: str, directory: Path) -> list[str]:
    source = PROGRAMS / f"{name}.c"
    flags = ["-O2", "-fno-tree-vectorize", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", str(directory / name), str(source)], check=True)
    return [f"./{name}"]


def gzip(directory: Path) -> list[str]:
    (directory / "text").write_bytes((ROOT / "LICENSE").read_bytes() * 19)
    return ["gzip", "-nc", "text"]


def sqlite(_: Path) -> list[str]:
    return ["sqlite3", ":memory:", SQL]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "gzip": gzip,
    "sqlite": sqlite,
    **{
        source.stem: lambda directory, name=source.stem: build(name, directory)  # type: ignore[misc]
        for source in sorted(PROGRAMS.glob("*.c"))
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=sorted(COMMANDS), metavar="NAME", help=f"of {', '.join(sorted(COMMANDS))}"
    )
    parser.add_argument("--out", type=Path, default=OUTPUT, help="directory to write to")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        path = arguments.out.resolve() / f"{name}.vmt"
        with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
            result = record(
                COMMANDS[name](Path(directory)), path, backend="qemu", env={}, stdout=subprocess.DEVNULL
            )
            t = result.totals
            print(
                f"{name}: {t.references:,} references, {t.runs:,} runs, {t.pages:,} pages, "
                f"{path.stat().st_size:,} bytes"
            )


if __name__ == "__main__":
    main()
