// What is needed of Unicorn's C interface. vmem is not linked with Unicorn: the extra [unicorn] brings it at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmem::python::unicorn {

struct Engine;
struct TlbEntry {
  std::uint64_t paddr;
  int perms;
};

/// Held against the package's constants by tests/python/integrations.
enum : int {
  kMemRead = 16,
  kMemWrite = 17,
  kMemFetch = 18,
  kProtRead = 1,
  kProtWrite = 2,
  kProtExec = 4,
  kErrInvalidInstruction = 10,
  kErrException = 21,
  kHookInterrupt = 1,
  kHookInstruction = 2,
  kHookCode = 4,
  kHookMemRead = 1 << 10,
  kHookMemWrite = 1 << 11,
  kHookTlbFill = 1 << 17,
  kControlTbFlush = 10,
  kControlTlbFlush = 11,
  kControlWrite = 1,
  kX86Rdtsc = 608,
  kX86Rdtscp = 609,
  kX86Syscall = 699,
  kX86Rax = 35,
  kX86Rcx = 38,
  kX86Rdx = 40,
  kX86Rip = 41,
};

/// Its functions, by the addresses that the package loaded them at.
struct Functions {
  int (*emu_start)(Engine*, std::uint64_t begin, std::uint64_t until, std::uint64_t timeout, std::size_t count);
  int (*emu_stop)(Engine*);
  int (*reg_read)(Engine*, int, void*);
  int (*reg_write)(Engine*, int, const void*);
  int (*mem_map_ptr)(Engine*, std::uint64_t address, std::size_t size, std::uint32_t perms, void*);
  int (*mmio_map)(Engine*, std::uint64_t address, std::size_t size, void* read, void*, void* write, void*);
  int (*hook_add)(Engine*, std::size_t* hook, int type, void* callback, void*, std::uint64_t begin, std::uint64_t end,
                  ...);
  int (*ctl)(Engine*, int, ...);
};

constexpr int write_control(int what) { return what | (kControlWrite << 30); }

}  // namespace vmem::python::unicorn
