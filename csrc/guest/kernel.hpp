// The guest kernel: system calls, page faults, context switches.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/event_log.hpp"
#include "guest/devices.hpp"
#include "guest/interrupt_table.hpp"
#include "guest/process.hpp"
#include "guest/timers.hpp"
#include "hw/handlers.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// Linux's names and meanings; events since boot.
struct VmStat {
  std::uint64_t pgfault = 0;
  std::uint64_t pgfree = 0;
  std::uint64_t pgalloc = 0;
  std::uint64_t oom_kill = 0;
  std::uint64_t nr_tlb_local_flush_one = 0;
  std::uint64_t nr_tlb_local_flush_all = 0;
  std::uint64_t nr_tlb_remote_flush = 0;
};

struct MapRequest {
  std::uint64_t length = 0;
  Protection protection;
  std::optional<std::uint64_t> address;  ///< MAP_FIXED; must be page-aligned and free
  PageSize largest = PageSize::k4K;
  std::string name;
};

/// Runs on the vCPUs it is booted on and knows nothing outside them. System calls name the vCPU they run on; the
/// process need not run there.
class Kernel final : public hw::TrapHandler {
 public:
  /// Boots: lays out its data in guest memory of `bytes` bytes. ConfigError if that is too small.
  Kernel(std::vector<hw::Vcpu*> vcpus, std::uint64_t bytes, int levels);

  Process& spawn(hw::Vcpu& vcpu, const std::string& name);
  /// The child has a copy-on-write copy of everything. OutOfMemory if the guest has no room for its tables.
  Process& fork(hw::Vcpu& vcpu, Process& parent);
  /// Frees everything of the process, which then no longer exists. The memory goes to the guest's allocator, not to the
  /// host.
  void exit(hw::Vcpu& vcpu, Process& process);
  /// ConfigError for a bad request, OutOfMemory when the address space has no such gap.
  Vma mmap(hw::Vcpu& vcpu, Process& process, const MapRequest& request);
  void munmap(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length);
  void mprotect(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length,
                const Protection& protection);
  /// Moves the end of the heap; 0 asks for it. Returns the new end.
  std::uint64_t brk(hw::Vcpu& vcpu, Process& process, std::uint64_t end);
  /// Makes `process` the one that `vcpu` runs.
  void switch_to(hw::Vcpu& vcpu, Process& process);

  hw::TrapResult on_page_fault(hw::Vcpu& vcpu, const hw::Fault& fault) override;
  hw::TrapResult on_tlb_refill(hw::Vcpu& vcpu, const hw::Fault& fault) override;
  void on_interrupt(hw::Vcpu& vcpu, hw::Vector vector) override;

  const std::vector<std::unique_ptr<Process>>& processes() const { return processes_; }
  const VmStat& vmstat() const { return vmstat_; }
  /// On the vCPU that the kernel was booted on.
  Timers& timers() { return timers_; }
  Devices& devices() { return *devices_; }
  /// What the kernel has logged, at the time that its vCPUs show.
  Events& events() { return events_; }
  std::uint64_t frames() const { return frames_; }
  std::uint64_t managed_frames();
  std::uint64_t free_frames();
  /// InvariantError names the first thing that is wrong with the kernel's data.
  void check();

 private:
  struct Gone {  ///< frames to free once no TLB can hold them
    Gfn gfn;
    int order;
  };

  hw::TrapResult demand_page(hw::Vcpu& vcpu, Process& process, const Vma& vma, const hw::Fault& fault);
  hw::TrapResult break_copy(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot);
  hw::TrapResult out_of_memory(hw::Vcpu& vcpu, Process& process);
  std::optional<Gfn> allocate_page(hw::Vcpu& vcpu, PageSize size);
  void free_page(hw::Vcpu& vcpu, Gfn gfn, int order);
  void unmap_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end);
  /// Replaces a large page by those of the next smaller size. False: no frame left for the table.
  bool split_page(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot);
  /// Makes pages begin and end at `address`, a multiple of 4 KiB. OutOfMemory if a table it takes has no frame.
  void split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address);
  /// Nobody else maps any part of what the leaf maps.
  static bool is_exclusive(hw::Vcpu& vcpu, const PageTable::Slot& slot);
  void drop_reference(hw::Vcpu& vcpu, Gfn gfn, int order, std::vector<Gone>& gone);
  /// No vCPU uses a translation of [start, end) of the process any more.
  void shoot_down(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end);

  std::vector<hw::Vcpu*> vcpus_;
  std::uint64_t frames_;
  int levels_;
  std::vector<Process*> current_;  ///< by vCPU
  std::vector<std::unique_ptr<Process>> processes_;
  int next_id_ = 1;
  VmStat vmstat_;
  Timers timers_;
  InterruptTable interrupts_;
  std::unique_ptr<Devices> devices_;
  Events events_;
};

}  // namespace vmem::guest
