"""The part of Linux that a statically linked x86-64 program needs: its ELF file in memory, and system calls.

The memory is a process of vmem's guest kernel, whose `mmap`, `brk`, `munmap` and `mprotect` these calls are.
There is no file system and no second thread, and signals end the program.
"""

from vmem.integrations.linux.calls import SystemCalls
from vmem.integrations.linux.elf import Elf, Segment
from vmem.integrations.linux.image import Image, load

__all__ = ["Elf", "Image", "Segment", "SystemCalls", "load"]
