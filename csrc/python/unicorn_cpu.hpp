// Unicorn as the CPU of a process.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

#include "python/machine_entry.hpp"
#include "python/unicorn_abi.hpp"
#include "sim/emulator/cpu_port.hpp"

namespace vmem::python {

/// How a slice ended.
struct Slice {
  std::string reason;       ///< instructions, syscall, exception, segfault, killed
  std::uint64_t value = 0;  ///< exception: its vector; segfault: the address
  int kind = 0;             ///< segfault: load, store or fetch
};

/// Runs a process's instructions on a Unicorn engine whose every access goes through a CpuPort.
///
/// To Unicorn all data is one device, at the physical addresses that equal the virtual ones: it asks for each access
/// and keeps no pointer to memory. Its hooks, which come before the device's callbacks, say the whole access; the
/// device's callbacks, which are in parts of at most 4 bytes, only move what the hook has fetched. Code is RAM: the
/// port's copies. ADR 0013 says why.
class UnicornCpu {
 public:
  UnicornCpu(PyMachine& machine, std::uint16_t vm, std::size_t vcpu, int process, unicorn::Engine* engine,
             const unicorn::Functions& functions);
  UnicornCpu(const UnicornCpu&) = delete;
  UnicornCpu& operator=(const UnicornCpu&) = delete;

  /// From where RIP points. Time passes as it proceeds.
  Slice run(std::uint64_t instructions);
  const sim::CpuPort& port() const { return port_; }

 private:
  struct Callbacks;
  void attach();
  void hook(int type, void* callback, int instruction = 0);
  int emulate();
  Slice slice(int error, const sim::Guest& guest, const guest::Process& process);
  bool fill(std::uint64_t page, int access, unicorn::TlbEntry& entry);
  std::uint64_t virtual_address(std::uint64_t physical) const;
  void stop() { functions_.emu_stop(engine_); }
  std::uint64_t rip() const;
  void set_rip(std::uint64_t value) { functions_.reg_write(engine_, unicorn::kX86Rip, &value); }
  /// RDTSC: simulated time, of which this slice's instructions have taken a cycle each so far.
  void read_time_stamp();
  /// No exception crosses Unicorn's frames: it is thrown when they are gone.
  template <class Use>
  auto guarded(Use&& use) -> decltype(use());

  PyMachine& machine_;
  std::uint16_t vm_;
  std::size_t vcpu_;
  int process_;
  unicorn::Engine* engine_;
  unicorn::Functions functions_;
  sim::CpuPort port_;
  std::uint64_t high_ = 0;                    ///< the bits from 47 of the latest page that is not in the lower half
  std::uint64_t next_ = 0;                    ///< the instruction at which a slice ended
  std::uint64_t stamp_base_ = 0, stamp_ = 0;  ///< cycles when the slice began, less instructions; the latest answer
  std::exception_ptr failure_;
  bool syscall_ = false;
  bool full_ = false;  ///< no room for another copy of code
  std::optional<std::uint32_t> interrupt_;
};

}  // namespace vmem::python
