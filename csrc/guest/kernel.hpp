// The guest kernel: system calls, page faults, context switches.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/event_log.hpp"
#include "guest/boot_parameters.hpp"
#include "guest/devices.hpp"
#include "guest/interrupt_table.hpp"
#include "guest/mappings.hpp"
#include "guest/meminfo.hpp"
#include "guest/page_cache.hpp"
#include "guest/psi.hpp"
#include "guest/reclaim.hpp"
#include "guest/swap.hpp"
#include "guest/timers.hpp"
#include "hw/handlers.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// MAP_SHARED or MAP_PRIVATE of a file.
struct FileRange {
  FileNumber file = 0;
  std::uint64_t offset = 0;  ///< bytes, a multiple of 4096
  bool shared = false;
};

struct MapRequest {
  std::uint64_t length = 0;
  Protection protection;
  std::optional<std::uint64_t> address;  ///< MAP_FIXED; must be page-aligned and free
  PageSize largest = PageSize::k4K;
  std::string name;
  std::optional<FileRange> file;  ///< nothing: anonymous memory
};

/// Runs on the vCPUs it is booted on and knows nothing outside them. System calls name the vCPU they run on; the
/// process need not run there.
class Kernel final : public hw::TrapHandler {
 public:
  /// Boots: lays out its data in guest memory of `bytes` bytes. ConfigError if that is too small.
  Kernel(std::vector<hw::Vcpu*> vcpus, std::uint64_t bytes, int levels, const BootParameters& parameters = {});

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
  /// MADV_DONTNEED: the pages are gone and read as zeros, or as their file, when they are touched again.
  void discard(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t length);
  /// MADV_HUGEPAGE and MADV_NOHUGEPAGE: the largest page that faults in the range give from now on.
  void advise_page_size(Process& process, std::uint64_t start, std::uint64_t length, PageSize largest);
  /// Moves the end of the heap; 0 asks for it. Returns the new end.
  std::uint64_t brk(hw::Vcpu& vcpu, Process& process, std::uint64_t end);
  /// A stack: it begins small at the highest gap and grows down to `limit` bytes as it is touched.
  Vma map_stack(Process& process, std::uint64_t limit);

  /// Files lie on the guest's disk. ConfigError or OutOfMemory as FileSystem says.
  File& create_file(const std::string& name, std::uint64_t bytes) { return files_.create(name, bytes); }
  const std::map<FileNumber, std::unique_ptr<File>>& files() const { return files_.all(); }
  /// ConfigError if a process maps it.
  void unlink(hw::Vcpu& vcpu, FileNumber file);
  /// ConfigError beyond the file's end.
  void check_file_range(const char* call, FileNumber file, std::uint64_t offset, std::uint64_t length);
  /// Through the page cache. False: the disk failed (EIO), or no page is to be had. ConfigError beyond the file's end.
  bool read_file(hw::Vcpu& vcpu, FileNumber file, std::uint64_t offset, std::span<std::byte> out);
  bool write_file(hw::Vcpu& vcpu, FileNumber file, std::uint64_t offset, std::span<const std::byte> bytes);
  /// False: the disk has not taken everything.
  bool fsync(hw::Vcpu& vcpu, FileNumber file) { return cache_.sync(vcpu, files_.at(file)); }
  void set_swap_detects_zeros(bool detects) { swap_.set_detects_zeros(detects); }
  bool swap_detects_zeros() const { return swap_.detects_zeros(); }
  void drop_caches(hw::Vcpu& vcpu) { cache_.drop_clean(vcpu); }

  /// Makes `process` the one that `vcpu` runs.
  void switch_to(hw::Vcpu& vcpu, Process& process) { cpus_.switch_to(vcpu, process); }

  hw::TrapResult on_page_fault(hw::Vcpu& vcpu, const hw::Fault& fault) override;
  hw::TrapResult on_tlb_refill(hw::Vcpu& vcpu, const hw::Fault& fault) override;
  void on_interrupt(hw::Vcpu& vcpu, hw::Vector vector) override;

  const ProcessTable::Processes& processes() const { return processes_.all(); }
  const VmStat& vmstat() const { return vmstat_; }
  /// /proc/meminfo, as the vCPU that the kernel was booted on reads it.
  MemInfo meminfo();
  std::vector<ZoneInfo> zoneinfo() { return pages_.zoneinfo(cpus_.boot()); }
  Psi::Pressure pressure() { return psi_.read(cpus_.boot().now()); }
  /// On the vCPU that the kernel was booted on.
  Timers& timers() { return timers_; }
  Devices& devices() { return *devices_; }
  PageAllocator& pages() { return pages_; }
  Reclaim& reclaim() { return reclaim_; }
  const BootParameters& parameters() const { return parameters_; }
  /// What the kernel has logged, at the time that its vCPUs show.
  Events& events() { return events_; }
  std::uint64_t frames() const { return frames_; }
  std::uint64_t managed_frames() { return pages_.managed_frames(cpus_.boot()); }
  std::uint64_t free_frames() { return pages_.free_frames(cpus_.boot()); }
  /// InvariantError names the first thing that is wrong with the kernel's data.
  void check();

 private:
  hw::TrapResult demand_page(hw::Vcpu& vcpu, Process& process, const Vma& vma, const hw::Fault& fault);
  hw::TrapResult fault_anonymous(hw::Vcpu& vcpu, Process& process, const Vma& vma, const hw::Fault& fault,
                                 PageTable::Slot slot);
  hw::TrapResult fault_file(hw::Vcpu& vcpu, Process& process, const hw::Fault& fault);
  /// A private copy of a page of a file, which the caller holds, for `page` of the process.
  hw::TrapResult copy_file_page(hw::Vcpu& vcpu, Process& process, Gva page, Gfn from);
  /// A store to a shared page of a file that is mapped for reading: dirty from now on.
  hw::TrapResult make_writable(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot);
  hw::TrapResult swap_in(hw::Vcpu& vcpu, Process& process, const hw::Fault& fault, const PageTable::Slot& slot);
  hw::TrapResult break_copy(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot);
  hw::TrapResult out_of_memory(hw::Vcpu& vcpu, Process& process);
  void kill(hw::Vcpu& vcpu, Process& process);
  /// Page-table entries name the slot of the page: they will map it, too.
  bool is_named_by_swap(hw::Vcpu& vcpu, Gfn gfn) const;
  std::optional<Gfn> allocate_page(hw::Vcpu& vcpu, PageSize size);
  /// A frame that nothing maps any more goes to the allocator, unless something else keeps it.
  void release(hw::Vcpu& vcpu, const Mappings::Gone& block);
  /// Takes everything out of [start, end) of the table; the areas stay.
  void clear_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end, std::uint64_t floor,
                   std::uint64_t ceiling);
  void unmap_range(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end);
  /// Makes pages begin and end at `address`. OutOfMemory if a table it takes has no frame.
  void split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address);
  void drop_swap_entry(hw::Vcpu& vcpu, Process& process, std::uint64_t entry);
  /// What the parent has at a place, to the child's table too. False: no frame left for a table.
  bool copy_leaf(hw::Vcpu& vcpu, Process& parent, Process& child, Gva at, const PageTable::Slot& found);
  void find_swap(hw::Vcpu& boot);
  void tell_of_frees(hw::Vcpu& boot);

  std::uint64_t frames_;
  int levels_;
  BootParameters parameters_;
  int next_id_ = 1;
  VmStat vmstat_;
  Cpus cpus_;
  PageAllocator pages_;
  ProcessTable processes_;
  Mappings mappings_;
  Timers timers_;
  Psi psi_;
  Swap swap_;
  Reclaim reclaim_;
  PageCache cache_;
  InterruptTable interrupts_;
  std::unique_ptr<Devices> devices_;
  FileSystem files_{0};
  Events events_;
  std::unique_ptr<FreeListener> free_listener_;
};

}  // namespace vmem::guest
