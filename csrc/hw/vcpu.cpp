#include "hw/vcpu.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace vmem::hw {
namespace {

/// What a load from no memory at all sees, and what a hypervisor that lets the guest read an unbacked page of nothing
/// gives it.
const std::array<std::byte, kPageSize>& all_ones() {
  static const auto page = [] {
    std::array<std::byte, kPageSize> bytes;
    bytes.fill(std::byte{0xff});
    return bytes;
  }();
  return page;
}

/// More retries of one access than any chain of true and hidden faults can need.
constexpr int kMaxServes = 1000;

}  // namespace

Outcome Vcpu::exit_with(Fault& fault) {
  if (story_ == nullptr) [[likely]]
    return hypervisor_->on_fault(*this, fault);
  story_->raises(fault);
  const Outcome outcome = hypervisor_->on_fault(*this, fault);
  story_->decides(fault, outcome);
  return outcome;
}

TrapResult Vcpu::trap(const Fault& fault) {
  const bool refills = fault.kind == FaultKind::tlb_refill || fault.kind == FaultKind::tlb_modified;
  const TrapResult result = refills ? kernel_->on_tlb_refill(*this, fault) : kernel_->on_page_fault(*this, fault);
  if (story_ != nullptr) [[unlikely]]
    story_->handles(fault, result);
  return result;
}

Vcpu::Served Vcpu::serve(Fault& fault, Hpa& at) {
  TlbEntry entry;
  for (int attempt = 0; attempt < kMaxServes; ++attempt) {
    switch (exit_with(fault)) {
      case Outcome::retry:
        break;
      case Outcome::inject:
        switch (trap(fault)) {
          case TrapResult::resolved:
            break;
          case TrapResult::signal:
            return Served::signal;
          case TrapResult::killed:
            return Served::stopped;
        }
        break;
      case Outcome::emulate:
        at = hypervisor_->emulated_address(fault.gpa);
        return Served::done;
      case Outcome::stall:
        break;  // the hypervisor has accounted the wait; the access is made again
      case Outcome::kill:
        return Served::stopped;
    }
    if (mmu_.retry(fault.gva, fault.access, entry, fault)) {
      at = machine_address(entry.physical(fault.gva.value));
      return Served::done;
    }
  }
  throw InvariantError("the access to gVA " + hex(fault.gva.value) + " faulted " + std::to_string(kMaxServes) +
                       " times in a row although each fault was said to be served");
}

bool Vcpu::access(Gva gva, AccessKind kind, Hpa& at) {
  TlbEntry entry;
  Fault fault;
  if (!mmu_.access(gva, kind, entry, fault)) return serve(fault, at) == Served::done;
  at = machine_address(entry.physical(gva.value));
  return true;
}

bool Vcpu::access_again(Gva gva, AccessKind kind, Hpa& at) {
  TlbEntry entry;
  Fault fault;
  if (!mmu_.retry(gva, kind, entry, fault)) return serve(fault, at) == Served::done;
  at = machine_address(entry.physical(gva.value));
  return true;
}

BatchResult Vcpu::access_batch(const std::uint64_t* addresses, const std::uint8_t* kinds, std::size_t count) {
  BatchResult result;
  result.done = mmu_.access_batch(addresses, kinds, count, [&](std::size_t i, Fault& fault) {
    Hpa at;
    const Served served = serve(fault, at);
    if (served == Served::signal) result.add_signal({addresses[i]});
    result.stopped = served == Served::stopped;
    result.waits = must_yield();
    return !result.stopped && !result.waits;
  });
  return result;
}

BatchResult Vcpu::access_run(Gva gva, AccessKind kind, std::uint64_t loads, std::uint64_t stores) {
  BatchResult result;
  while (loads + stores > 0) {
    if ((kind == AccessKind::store ? stores : loads) == 0)
      kind = kind == AccessKind::store ? AccessKind::load : AccessKind::store;
    if (mmu_.stretch().touch(gva.value, kind)) {
      // What may be stored to may be loaded from.
      const std::uint64_t hits = kind == AccessKind::store ? stores : 0;
      mmu_.count_hits(kind == AccessKind::fetch ? 0 : loads, hits, kind == AccessKind::fetch ? loads : 0);
      result.done += loads + hits;
      loads = 0;
      stores -= hits;
      continue;
    }
    --(kind == AccessKind::store ? stores : loads);
    ++result.done;
    TlbEntry entry;
    Fault fault;
    if (mmu_.access(gva, kind, entry, fault)) continue;
    Hpa at;
    const Served served = serve(fault, at);
    if (served == Served::signal) result.add_signal(gva);
    result.stopped = served == Served::stopped;
    result.waits = must_yield();
    if (result.stopped || result.waits) return result;
  }
  return result;
}

BatchResult Vcpu::access_runs(std::span<const Run> runs, std::size_t& runs_made) {
  BatchResult result;
  const RunsMade made = mmu_.access_runs(runs, [&](const Run& run, Fault* fault) {
    finish_run(run, fault, result);
    return !result.stopped;
  });
  result.done += made.references;
  runs_made = made.runs;
  return result;
}

/// The rest of a run whose first reference was made, or has raised `fault`.
[[gnu::noinline]] void Vcpu::finish_run(const Run& run, Fault* fault, BatchResult& result) {
  const AccessKind kind = first_kind(run);
  const Gva page{page_address(run)};
  if (fault != nullptr) {
    Hpa at;
    const Served served = serve(*fault, at);
    if (served == Served::signal) result.add_signal(page);
    result.stopped = served == Served::stopped;
    if (result.stopped) return;
  }
  const bool stores = kind == AccessKind::store;
  result.add(access_run(page, kind, run.loads - (stores ? 0u : 1u), run.stores - (stores ? 1u : 0u)));
}

bool Vcpu::deliver_interrupt() {
  const auto vector = interrupts_.take(now());
  if (!vector) return false;
  hypervisor_->on_interrupt(*this);
  if (kernel_ != nullptr) kernel_->on_interrupt(*this, *vector);
  return true;
}

bool Vcpu::halt() {
  const Nanoseconds next = interrupts_.next();
  if (next == Interrupts::kNever) return false;
  if (next > now()) wait(next - now());
  while (deliver_interrupt()) {
  }
  return true;
}

bool Vcpu::probe(Gva gva, AccessKind kind, Hpa& at) {
  TlbEntry entry;
  Fault fault;
  if (!mmu_.probe(gva, kind, entry, fault)) return false;
  at = machine_address(entry.physical(gva.value));
  return true;
}

std::byte* Vcpu::reach(Gpa at, bool store) {
  std::byte* page = resolve(at, store);
  if (page == nullptr)
    return store ? nullptr : const_cast<std::byte*>(all_ones().data());  // a load never writes through it
  if (store) memory_.mark_written(frame_of(page));
  window_cache_.fill(at.frame(), store, page);
  return page;
}

std::byte* Vcpu::resolve(Gpa at, bool store) {
  if (mmu_.state().second_stage != SecondStageKind::none) return resolve_through_second_stage(at, store);
  return hypervisor_->on_guest_physical(*this, at, store);
}

std::byte* Vcpu::resolve_through_second_stage(Gpa at, bool store) {
  HostMapping mapping;
  Fault fault;
  while (!mmu_.access_guest_physical(at, store ? HostAccess::store : HostAccess::load, mapping, fault)) {
    const Outcome outcome = exit_with(fault);
    if (outcome == Outcome::emulate) return nullptr;
    if (outcome == Outcome::kill)
      throw OutOfMemory("the guest kernel touched guest-physical " + hex(at.value) +
                        " and the host has no memory left for it");
  }
  return memory_.data() + align_down(mapping.physical(at.value), kPageSize);
}

void Vcpu::zero(Gpa at, std::uint64_t bytes) {
  static constexpr std::array<std::byte, kPageSize> kZeros{};
  while (bytes > 0) {
    const std::uint64_t part = std::min(bytes, kPageSize - at.offset());
    std::byte* page = window_cache_.find(at.frame(), true);
    if (page == nullptr) page = resolve(at, true);
    if (page == nullptr) {
      write(at, std::span(kZeros).first(part));
    } else if (memory_.is_written(frame_of(page))) {
      std::memset(page + at.offset(), 0, part);
    }
    at = at + part;
    bytes -= part;
  }
}

bool Vcpu::is_zero_page(Gpa at) {
  static constexpr std::array<std::byte, kPageSize> kZeros{};
  const std::byte* page = window_cache_.find(at.frame(), false);
  if (page == nullptr) page = reach(at, false);
  const bool is_memory = page >= memory_.data() && page < memory_.data() + memory_.size();
  return (is_memory && !memory_.is_written(frame_of(page))) || std::memcmp(page, kZeros.data(), kPageSize) == 0;
}

void Vcpu::read(Gpa at, std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t part = std::min<std::uint64_t>(out.size(), kPageSize - at.offset());
    const std::byte* page = window_cache_.find(at.frame(), false);
    if (page == nullptr) page = reach(at, false);
    std::memcpy(out.data(), page + at.offset(), part);
    out = out.subspan(part);
    at = at + part;
  }
}

void Vcpu::write(Gpa at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes.size(), kPageSize - at.offset());
    std::byte* page = window_cache_.find(at.frame(), true);
    if (page == nullptr) page = reach(at, true);
    if (page != nullptr) {
      std::memcpy(page + at.offset(), bytes.data(), part);
    } else {
      for (std::uint64_t done = 0; done < part; done += 8)
        hypervisor_->on_emulated_store(*this, at + done, bytes.data() + done, std::min<std::uint64_t>(8, part - done));
    }
    bytes = bytes.subspan(part);
    at = at + part;
  }
}

void Vcpu::write_cr3(std::uint64_t value) {
  if (intercepts_.cr3_write) {
    count(ExitReason::cr3_write);
    hypervisor_->on_cr3_write(*this, value);
  } else {
    mmu_.mov_cr3(value);
  }
}

void Vcpu::invlpg(Gva gva) {
  if (intercepts_.invlpg) {
    count(ExitReason::invlpg);
    hypervisor_->on_invlpg(*this, gva);
  } else {
    mmu_.invlpg(gva);
  }
}

void Vcpu::flush_tlb() { mmu_.flush(); }

}  // namespace vmem::hw
