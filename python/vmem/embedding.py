"""Where C and C++ programs find vmem: headers, library, CMake package, pkg-config."""

from __future__ import annotations

import sys
from pathlib import Path

from vmem.errors import ConfigError

_LIBRARY = "libvmem.dylib" if sys.platform == "darwin" else "libvmem.so"


def _installed(*parts: str) -> Path:
    from importlib import resources  # brings decompressors along

    # Not beside __file__: an editable installation has the Python files elsewhere than what was built.
    path = resources.files("vmem").joinpath(*parts)
    if not (path.is_file() or path.is_dir()):
        raise ConfigError(
            f"{'/'.join(parts)} of vmem is not there: this vmem was not installed, only put on the path"
        )
    return Path(str(path))


def get_include() -> Path:
    """The directory for `-I`: `#include <vmem/vmem.h>`, `<vmem/mmu.hpp>`, `<vmem/host.hpp>`."""
    return _installed("include", "vmem", "vmem.h").parents[1]


def get_library() -> Path:
    """The shared library libvmem."""
    return _installed("lib", _LIBRARY)


def get_cmake_dir() -> Path:
    """The directory for `-Dvmem_DIR=`: `find_package(vmem)` gives the target `vmem::vmem`."""
    return _installed("lib", "cmake", "vmem", "vmemConfig.cmake").parent


def get_pkgconfig_dir() -> Path:
    """The directory for PKG_CONFIG_PATH."""
    return _installed("lib", "pkgconfig", "vmem.pc").parent


def cflags() -> str:
    """What a compiler needs."""
    return f"-I{get_include()}"


def libs() -> str:
    """What a linker needs; the program finds the library where it is now."""
    directory = get_library().parent
    return f"-L{directory} -lvmem -Wl,-rpath,{directory}"


ANSWERS = {
    "--cflags": cflags,
    "--libs": libs,
    "--includedir": get_include,
    "--library": get_library,
    "--cmakedir": get_cmake_dir,
    "--pkgconfigdir": get_pkgconfig_dir,
}
"""What `python -m vmem` answers to build scripts, by its option."""
