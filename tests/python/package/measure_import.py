"""Prints how long `import vmem` takes: best of five fresh interpreters, less the interpreter's own start,
beside numpy alone.

A measurement, not a test. The goal is 0.3 s.
"""

from __future__ import annotations

import subprocess
import sys
import time


def best(statement: str, repeat: int = 5) -> float:
    """Seconds of the fastest of `repeat` interpreters that ran `statement`."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return time.perf_counter() - start

    return min(once() for _ in range(repeat))


if __name__ == "__main__":
    empty, numpy, vmem = best("pass"), best("import numpy"), best("import vmem")
    print(f"import vmem: {vmem - empty:.3f} s, of which numpy {numpy - empty:.3f} s; goal 0.3 s")
