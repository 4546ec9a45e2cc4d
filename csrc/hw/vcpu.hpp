// A virtual processor: user accesses through the Mmu, kernel accesses to guest-physical memory, and its two doors out.
#pragma once

#include <cstring>
#include <span>
#include <utility>

#include "core/clock.hpp"
#include "core/counters.hpp"
#include "hw/handlers.hpp"
#include "hw/interrupts.hpp"
#include "hw/kernel_window.hpp"
#include "hw/mmu.hpp"
#include "memory/physical_memory.hpp"

namespace vmem::hw {

/// How a batch of accesses ended.
struct BatchResult {
  std::size_t done = 0;       ///< accesses made or given up
  std::uint64_t signals = 0;  ///< given up: SIGSEGV
  Gva first_signal;           ///< address of the first one
  bool stopped = false;       ///< the process or the VM cannot go on
  bool waits = false;         ///< ended early: the vCPU must wait (yield_on_wait)

  void add_signal(Gva at) {
    if (signals++ == 0) first_signal = at;
  }
  /// What came after.
  void add(const BatchResult& next) {
    done += next.done;
    if (signals == 0) first_signal = next.first_signal;
    signals += next.signals;
    stopped = next.stopped;
    waits = next.waits;
  }
};

/// Instructions of the guest that exit to the hypervisor.
struct Intercepts {
  bool cr3_write = false;
  bool invlpg = false;
};

/// One vCPU. The guest kernel reaches memory and hypervisor only through this class, and the hypervisor is reached only
/// by `ExitHandler`.
class Vcpu {
 public:
  /// The Mmu's physical addresses index the `bytes` bytes of machine memory from `window`: all of it, or a native
  /// machine's own part.
  Vcpu(int id, const Clock& clock, memory::PhysicalMemory& memory, Hpa window, std::uint64_t bytes,
       const CpuConfig& cpu)
      : id_(id),
        clock_(clock),
        memory_(memory),
        window_(window),
        bytes_(bytes),
        mmu_({memory.data() + window.value, bytes}, cpu) {}

  int id() const { return id_; }
  Mmu& mmu() { return mmu_; }
  const Mmu& mmu() const { return mmu_; }
  void connect(ExitHandler& hypervisor, const Intercepts& intercepts) {
    hypervisor_ = &hypervisor;
    intercepts_ = intercepts;
  }
  void install(TrapHandler& kernel) { kernel_ = &kernel; }
  void count(ExitReason reason) {
    mmu_.event_counters().count(reason);
    if (story_ != nullptr) [[unlikely]]
      story_->counts(reason);
  }
  void count(FaultClass kind) {
    mmu_.event_counters().count(kind);
    if (story_ != nullptr) [[unlikely]]
      story_->counts(kind);
  }
  /// Whoever is told what this vCPU meets from now on; nullptr: nobody.
  void tell(Story* story) {
    story_ = story;
    mmu_.tell(story);
  }

  // --- user mode ---

  /// One access; served faults included. True: `at` is where it went (machine address, or
  /// kNoMemory). False: SIGSEGV or the end of
  /// the process.
  bool access(Gva gva, AccessKind kind, Hpa& at);
  /// An access of an instruction that starts over, since its page went away before it was used: not counted again.
  bool access_again(Gva gva, AccessKind kind, Hpa& at);
  /// Stops early before a kind that does not exist, or when the process or the VM cannot go on.
  BatchResult access_batch(const std::uint64_t* addresses, const std::uint8_t* kinds, std::size_t count);
  /// References to the page of `gva`: the first of `kind`, then the rest of that kind, then the others. `loads` are
  /// fetches if `kind` is fetch.
  BatchResult access_run(Gva gva, AccessKind kind, std::uint64_t loads, std::uint64_t stores);
  /// Runs in order. Precondition: !yield_on_wait. Stops early before a run that is malformed, or when the process or
  /// the VM cannot go on. `runs_made` counts those that were begun.
  BatchResult access_runs(std::span<const Run> runs, std::size_t& runs_made);
  bool probe(Gva gva, AccessKind kind, Hpa& at);

  // --- guest kernel mode: guest-physical memory as the kernel's direct mapping shows it ---

  template <class T>
  T load(Gpa at) {
    T value;
    const std::byte* page = window_cache_.find(at.frame(), false);
    if (page == nullptr) [[unlikely]]
      page = reach(at, false);
    std::memcpy(&value, page + at.offset(), sizeof value);
    return value;
  }
  template <class T>
  void store(Gpa at, T value) {
    std::byte* page = window_cache_.find(at.frame(), true);
    if (page == nullptr) [[unlikely]]
      page = reach(at, true);
    if (page == nullptr) [[unlikely]]
      return hypervisor_->on_emulated_store(*this, at, &value, sizeof value);
    std::memcpy(page + at.offset(), &value, sizeof value);
  }
  /// `bytes` bytes from `at`, page by page. Zeroing a page that was never written reaches it but leaves it unwritten.
  void zero(Gpa at, std::uint64_t bytes);
  /// All bytes of the page at `at` are zero. Costs little if it was never written.
  bool is_zero_page(Gpa at);
  void read(Gpa at, std::span<std::byte> out);
  void write(Gpa at, std::span<const std::byte> bytes);

  // --- guest kernel mode: privileged instructions ---

  void write_cr3(std::uint64_t value);
  void invlpg(Gva gva);
  void flush_tlb();
  /// Traps: the hypervisor decides what the processor's TLB will hold (software-managed TLB only).
  void tlb_write(const TlbWrite& write) { hypervisor_->on_tlb_write(*this, write); }
  /// A page walk in software has read so many entries.
  void count_walk(std::uint64_t references) {
    ++mmu_.event_counters().walks;
    mmu_.event_counters().walk_refs_guest += references;
    if (story_ != nullptr) [[unlikely]]
      story_->walks_in_software(references);
  }
  /// Device registers; a write may be a doorbell.
  std::uint32_t io_read(std::uint32_t port) { return hypervisor_->on_io_read(*this, port); }
  void io_write(std::uint32_t port, std::uint32_t value) { hypervisor_->on_io_write(*this, port, value); }
  std::uint64_t hypercall(Hypercall number, std::uint64_t first = 0, std::uint64_t second = 0) {
    return hypervisor_->on_hypercall(*this, number, first, second);
  }
  /// Sleeps until the next interrupt is due and delivers it. False, at once: none will ever come.
  bool halt();

  // --- time ---

  /// What the vCPU's time-stamp counter shows: the host's clock, how far this vCPU has run ahead of it, and what it has
  /// waited since it was last scheduled.
  Nanoseconds now() const { return clock_.now() + lead_ + waited_; }
  /// It has run for so long since the time that the host's clock shows.
  void set_lead(Nanoseconds lead) { lead_ = lead; }
  /// The vCPU does not run for so long: it waits for a disk or for swap. Whoever makes it wait has done the work
  /// already.
  void wait(Nanoseconds duration) { waited_ += duration; }
  /// What it has waited since the last call.
  Nanoseconds take_waits() { return std::exchange(waited_, 0); }
  /// A batch of accesses ends after one that waited.
  void yield_on_wait(bool yields) { yields_on_wait_ = yields; }
  Interrupts& interrupts() { return interrupts_; }
  /// Delivers the first interrupt that is due; false: none is. Its handler's time has not passed when it returns.
  bool deliver_interrupt();

  // --- hypervisor: what it does to the silicon it runs the vCPU on ---

  void forget_guest_physical() { window_cache_.clear(); }
  void forget_guest_physical(Gfn gfn) { window_cache_.drop(gfn); }

 private:
  enum class Served : std::uint8_t { done, signal, stopped };
  Outcome exit_with(Fault& fault);
  TrapResult trap(const Fault& fault);
  /// `at` is where the access went, if done.
  Served serve(Fault& fault, Hpa& at);
  void finish_run(const Run& run, Fault* fault, BatchResult& result);
  bool must_yield() const { return yields_on_wait_ && waited_ != 0; }
  Hpa machine_address(std::uint64_t pa) const { return pa < bytes_ ? Hpa{window_.value + pa} : kNoMemory; }
  /// The page of `at`, after whatever exits it takes, kept in the kernel window. nullptr: a store that must be
  /// emulated.
  std::byte* reach(Gpa at, bool store);
  std::byte* resolve(Gpa at, bool store);
  std::byte* resolve_through_second_stage(Gpa at, bool store);
  std::uint64_t frame_of(const std::byte* page) const {
    return static_cast<std::uint64_t>(page - memory_.data()) >> kPageShift;
  }

  int id_;
  const Clock& clock_;
  memory::PhysicalMemory& memory_;
  Hpa window_;
  std::uint64_t bytes_;  ///< physical addresses end here
  Mmu mmu_;
  ExitHandler* hypervisor_ = nullptr;
  TrapHandler* kernel_ = nullptr;
  Intercepts intercepts_;
  KernelWindow window_cache_;
  Nanoseconds lead_ = 0;
  Nanoseconds waited_ = 0;
  bool yields_on_wait_ = false;
  Interrupts interrupts_;
  Story* story_ = nullptr;
};

}  // namespace vmem::hw
