#include "python/unicorn_cpu.hpp"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using namespace unicorn;

// Unicorn's physical addresses, of which it has 52 bits.
constexpr std::uint64_t kHalf = 1ull << 47;
constexpr std::uint64_t kCode = 1ull << 48;
constexpr std::uint64_t kHigh = 1ull << 50;  ///< virtual addresses that are not in the lower half, by their lowest bits

constexpr std::uint64_t kNever = ~0ull;  ///< no instruction is there
constexpr std::uint32_t kInvalidOpcode = 6;

void check(int error, const char* what) {
  if (error != 0) throw ConfigError(std::string("Unicorn: ") + what + " failed with error " + std::to_string(error));
}

void check_alive(const sim::Guest& guest) {
  if (guest.vm->is_killed())
    throw OutOfMemory("VM '" + guest.vm->config().name + "' was killed: the host had no memory left for it");
}

}  // namespace

/// What Unicorn calls; `self` is the UnicornCpu.
struct UnicornCpu::Callbacks {
  static UnicornCpu& of(void* self) { return *static_cast<UnicornCpu*>(self); }

  static bool tlb_fill(Engine*, std::uint64_t page, int access, TlbEntry* entry, void* self) {
    UnicornCpu& cpu = of(self);
    return cpu.guarded([&] { return cpu.fill(page, access, *entry); });
  }
  static void code(Engine*, std::uint64_t address, std::uint32_t size, void* self) {
    UnicornCpu& cpu = of(self);
    cpu.guarded([&] {
      if (cpu.failure_ || cpu.port_.fetch(Gva{address}, size)) return;
      if (cpu.port_.stop() == sim::PortStop::instructions) cpu.next_ = address;
      cpu.stop();
    });
  }
  static void memory(Engine*, int access, std::uint64_t physical, int size, std::int64_t value, void* self) {
    UnicornCpu& cpu = of(self);
    cpu.guarded([&] {
      if (cpu.failure_) return;
      const Gva at{cpu.virtual_address(physical)};
      const auto bytes = static_cast<std::uint64_t>(size);
      if (access == kMemRead) {
        cpu.port_.load(at, bytes);
      } else {
        cpu.port_.store(at, static_cast<std::uint64_t>(value), bytes);
      }
      if (cpu.port_.stop() != sim::PortStop::none) cpu.stop();
    });
  }
  static std::uint64_t device_read(Engine*, std::uint64_t offset, unsigned size, void* self) {
    return of(self).port_.loaded(Gva{offset}, size);
  }
  static std::uint64_t high_read(Engine*, std::uint64_t, unsigned, void*) { return 0; }
  static void device_write(Engine*, std::uint64_t, unsigned, std::uint64_t, void*) {}
  static void syscall(Engine*, void* self) {
    of(self).syscall_ = true;
    of(self).stop();
  }
  static int rdtsc(Engine*, void* self) {
    of(self).read_time_stamp();
    return 1;  // Unicorn need not, which would look at the clock on the wall
  }
  static int rdtscp(Engine* engine, void* self) {
    const std::uint64_t processor = 0;
    of(self).functions_.reg_write(engine, kX86Rcx, &processor);
    return rdtsc(engine, self);
  }
  static void interrupt(Engine*, std::uint32_t number, void* self) {
    of(self).interrupt_ = number;
    of(self).stop();
  }
};

template <class Use>
auto UnicornCpu::guarded(Use&& use) -> decltype(use()) {
  try {
    return use();
  } catch (...) {
    failure_ = std::current_exception();
    stop();
    return decltype(use())();
  }
}

UnicornCpu::UnicornCpu(PyMachine& machine, std::uint16_t vm, std::size_t vcpu, int process, Engine* engine,
                       const Functions& functions)
    : machine_(machine), vm_(vm), vcpu_(vcpu), process_(process), engine_(engine), functions_(functions) {
  auto entered = machine.enter();
  if (const int levels = entered->guest(vm).vm->config().cpu.guest_levels; levels != 4)
    throw ConfigError("machine code in a guest whose page tables have " + std::to_string(levels) +
                      " levels: accepted are 4, since its processes have addresses that Unicorn has not");
  attach();
}

void UnicornCpu::attach() {
  const auto pointer = [](auto* function) { return reinterpret_cast<void*>(function); };
  check(functions_.mmio_map(engine_, 0, kHalf, pointer(&Callbacks::device_read), this,
                            pointer(&Callbacks::device_write), this),
        "mapping the memory");
  check(functions_.mmio_map(engine_, kHigh, kHalf, pointer(&Callbacks::high_read), this,
                            pointer(&Callbacks::device_write), this),
        "mapping the memory");
  check(functions_.mem_map_ptr(engine_, kCode, port_.code().size(), kProtRead | kProtExec, port_.code().data()),
        "mapping the code");
  hook(kHookTlbFill, pointer(&Callbacks::tlb_fill));
  hook(kHookCode, pointer(&Callbacks::code));
  hook(kHookMemRead | kHookMemWrite, pointer(&Callbacks::memory));
  hook(kHookInterrupt, pointer(&Callbacks::interrupt));
  hook(kHookInstruction, pointer(&Callbacks::syscall), kX86Syscall);
  hook(kHookInstruction, pointer(&Callbacks::rdtsc), kX86Rdtsc);
  hook(kHookInstruction, pointer(&Callbacks::rdtscp), kX86Rdtscp);
}

void UnicornCpu::hook(int type, void* callback, int instruction) {
  std::size_t handle = 0;
  const std::uint64_t begin = 1, end = 0;  // everywhere
  check(functions_.hook_add(engine_, &handle, type, callback, this, begin, end, instruction), "adding a hook");
}

std::uint64_t UnicornCpu::rip() const {
  std::uint64_t value = 0;
  functions_.reg_read(engine_, kX86Rip, &value);
  return value;
}

void UnicornCpu::read_time_stamp() {
  stamp_ = std::max(stamp_ + 1, stamp_base_ + port_.instructions());
  const std::uint64_t low = stamp_ & 0xffffffff, high = stamp_ >> 32;
  functions_.reg_write(engine_, kX86Rax, &low);
  functions_.reg_write(engine_, kX86Rdx, &high);
}

bool UnicornCpu::fill(std::uint64_t page, int access, TlbEntry& entry) {
  if (access == kMemFetch) {
    if (port_.code().is_full() && !port_.code().has(page >> kPageShift)) {
      full_ = true;
      return false;
    }
    entry.paddr = kCode + port_.code_offset(Gva{page});
    entry.perms = kProtExec;
    return true;
  }
  // The hook that follows decides whether the access may be made.
  entry.perms = kProtRead | kProtWrite;
  entry.paddr = page;
  if (page >= kHalf) {
    high_ = page & ~(kHalf - 1);
    entry.paddr = kHigh + (page & (kHalf - 1));
  }
  return true;
}

std::uint64_t UnicornCpu::virtual_address(std::uint64_t physical) const {
  return physical < kHigh ? physical : high_ | (physical & (kHalf - 1));
}

Slice UnicornCpu::run(std::uint64_t instructions) {
  auto entered = machine_.enter();
  sim::Guest& guest = entered->guest(vm_);
  hw::Vcpu& vcpu = sim::Machine::vcpu(guest, vcpu_);
  guest::Process& process = sim::Machine::process(guest, process_);
  check_alive(guest);
  if (process.killed) return {"killed"};
  const py::gil_scoped_release unlocked;
  guest.kernel->switch_to(vcpu, process);
  const sim::Timekeeper& time = entered->time();
  stamp_base_ =
      static_cast<std::uint64_t>(static_cast<double>(time.now()) * 1e-6 * static_cast<double>(time.frequency().khz)) -
      port_.instructions();
  port_.begin(entered->hypervisor().memory().bytes(), guest, vcpu, rip(), instructions);
  const int error = emulate();
  port_.end();
  entered->time().charge(*guest.vm, vcpu);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return slice(error, guest, process);
}

int UnicornCpu::emulate() {
  syscall_ = false;
  interrupt_.reset();
  for (;;) {
    functions_.ctl(engine_, write_control(kControlTlbFlush));
    if (port_.code().is_full()) {
      functions_.ctl(engine_, write_control(kControlTbFlush));
      port_.code().clear();
    }
    full_ = false;
    const int error = functions_.emu_start(engine_, rip(), kNever, 0, 0);
    if (failure_ || (port_.stop() != sim::PortStop::reload && !full_)) return error;
    if (!full_) set_rip(port_.pc());
    port_.restart();
  }
}

Slice UnicornCpu::slice(int error, const sim::Guest& guest, const guest::Process& process) {
  switch (port_.stop()) {
    case sim::PortStop::instructions:
      set_rip(next_);
      return {"instructions"};
    case sim::PortStop::refused:
      set_rip(port_.pc());
      check_alive(guest);
      if (process.killed) return {"killed"};
      return {"segfault", port_.refused_at().value, static_cast<int>(port_.refused_kind())};
    case sim::PortStop::none:
    case sim::PortStop::reload:
      break;
  }
  if (syscall_) return {"syscall"};
  if (interrupt_) return {"exception", *interrupt_};
  if (error == kErrInvalidInstruction) return {"exception", kInvalidOpcode};
  throw InvariantError("Unicorn stopped at " + hex(rip()) + " with error " + std::to_string(error) +
                       " for a reason that nobody gave");
}

}  // namespace vmem::python
