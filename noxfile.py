"""Sessions for those who change vmem; `nox -l` lists them.

`.ci/run` does the same on a machine that has nothing yet.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests-3.11", "cpp"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CODE = ["python", "tests", "bench", "examples", "docs", "noxfile.py"]
STRICT = {"SKBUILD_CMAKE_DEFINE": "VMEM_WERROR=ON"}


def dependencies(session: nox.Session, *groups: str) -> None:
    """Installs dependency groups of pyproject.toml."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups))


def launcher() -> list[str]:
    """ccache, where there is one."""
    return ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []


def cpp_sources(*directories: str) -> list[str]:
    return sorted(
        str(path)
        for directory in directories
        for path in Path(directory).rglob("*")
        if path.suffix in {".c", ".cpp", ".h", ".hpp"}
    )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The Python tests, installed as README says; arguments go to pytest."""
    session.install(".[test]", env=STRICT)
    session.run("pytest", *(session.posargs or ["-n", "2"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and spelling of everything; `nox -s lint -- --fix` repairs what it can."""
    dependencies(session, "lint")
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), *CODE)
    session.run("ruff", "format", *([] if fix else ["--check"]), *CODE)
    formatting = ["-i"] if fix else ["--dry-run", "-Werror"]
    session.run("clang-format", *formatting, *cpp_sources("csrc", "tests", "bench", "examples"))
    session.run("codespell")


@nox.session
def tidy(session: nox.Session) -> None:
    """clang-tidy over the core and the bindings; arguments are files."""
    dependencies(session, "lint", "cpp")
    session.install("pybind11>=3.1,<4")
    cmakedir = session.run("pybind11-config", "--cmakedir", silent=True).strip()
    session.run(
        "cmake", "-S.", "-Bbuild/tidy", "-GNinja", "-DVMEM_BUILD_PYTHON=ON", f"-Dpybind11_DIR={cmakedir}"
    )
    for file in session.posargs or [name for name in cpp_sources("csrc") if name.endswith(".cpp")]:
        session.run("clang-tidy", "-p", "build/tidy", "--quiet", file)


@nox.session
def typing(session: nox.Session) -> None:
    """mypy over the package, and the stub of the extension against the extension."""
    dependencies(session, "typing")
    session.install(".", env=STRICT)
    session.run("mypy")
    allowed = Path("tests/python/package/stubtest-allow.txt").resolve()
    with session.chdir(session.create_tmp()):
        session.run("python", "-m", "mypy.stubtest", "vmem._core", "--allowlist", str(allowed))


def run_cpp_tests(session: nox.Session, name: str, *options: str) -> None:
    dependencies(session, "cpp")
    build = f"build/{name}"
    session.run("cmake", "-S.", f"-B{build}", "-GNinja", "-DVMEM_BUILD_TESTS=ON", *launcher(), *options)
    session.run("cmake", "--build", build, "-j2")
    session.run("ctest", "--test-dir", build, "--output-on-failure", *session.posargs)


@nox.session
def cpp(session: nox.Session) -> None:
    """The C++ tests as they ship; needs doctest."""
    run_cpp_tests(session, "cpp")


@nox.session
def sanitize(session: nox.Session) -> None:
    """The C++ tests under the address and undefined-behaviour sanitizers; needs doctest."""
    options = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DVMEM_SANITIZE=address,undefined"]
    run_cpp_tests(session, "sanitize", *options)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, into build/site; a warning is an error."""
    dependencies(session, "docs")
    session.install(".", env=STRICT)
    session.run("sphinx-build", "-W", "--keep-going", "docs", "build/site")


@nox.session
def bench(session: nox.Session) -> None:
    """Speeds as ratios to the yardstick, then microbenchmarks where google-benchmark is installed."""
    dependencies(session, "cpp")
    session.install(".", env=STRICT)
    session.run("python", "bench/run.py", *session.posargs)
    if any(Path(root, "benchmark/benchmark.h").exists() for root in ("/usr/include", "/usr/local/include")):
        session.run("cmake", "-S.", "-Bbuild/bench", "-GNinja", "-DVMEM_BUILD_BENCH=ON", *launcher())
        session.run("cmake", "--build", "build/bench", "-j2")
        session.run("build/bench/bench/vmem_bench", external=True)
    else:
        session.log("no google-benchmark here: the microbenchmarks are left out")


@nox.session
def wheel(session: nox.Session) -> None:
    """Source distribution and wheel into dist/, repaired and checked."""
    dependencies(session, "wheel")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    built = [str(path) for path in Path("dist").glob("*.whl")]
    session.run("auditwheel", "repair", "--wheel-dir", "dist/repaired", *built)
