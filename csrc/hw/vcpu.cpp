#include "hw/vcpu.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace vmem::hw {
namespace {

/// What a load from no memory at all sees, and what a hypervisor that lets the guest read an unbacked page of nothing gives it.
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

Vcpu::Served Vcpu::serve(Fault& fault, TlbEntry& entry) {
  for (int attempt = 0; attempt < kMaxServes; ++attempt) {
    switch (hypervisor_->on_fault(*this, fault)) {
      case Outcome::retry: break;
      case Outcome::inject:
        switch (kernel_->on_page_fault(*this, fault)) {
          case TrapResult::resolved: break;
          case TrapResult::signal: return Served::signal;
          case TrapResult::killed: return Served::stopped;
        }
        break;
      case Outcome::emulate: return Served::done;
      case Outcome::stall: break;  // the hypervisor has accounted the wait; the access is made again
      case Outcome::kill: return Served::stopped;
    }
    if (mmu_.retry(fault.gva, fault.access, entry, fault)) return Served::done;
  }
  throw InvariantError("the access to gVA " + hex(fault.gva.value) + " faulted " + std::to_string(kMaxServes) + " times in a row although each fault was said to be served");
}

bool Vcpu::access(Gva gva, AccessKind kind, Hpa& at) {
  TlbEntry entry;
  Fault fault;
  if (!mmu_.access(gva, kind, entry, fault) && serve(fault, entry) != Served::done) return false;
  at = machine_address(entry.physical(gva.value));
  return true;
}

BatchResult Vcpu::access_batch(const std::uint64_t* addresses, const std::uint8_t* kinds, std::size_t count) {
  BatchResult result;
  result.done = mmu_.access_batch(addresses, kinds, count, [&](std::size_t i, Fault& fault) {
    TlbEntry entry;
    const Served served = serve(fault, entry);
    if (served == Served::signal && result.signals++ == 0) result.first_signal = {addresses[i]};
    result.stopped = served == Served::stopped;
    return !result.stopped;
  });
  return result;
}

BatchResult Vcpu::access_run(Gva gva, AccessKind kind, std::uint64_t loads, std::uint64_t stores) {
  BatchResult result;
  std::uint64_t left = loads + stores;
  while (left > 0) {
    const bool first_is_store = kind == AccessKind::store && stores > 0;
    TlbEntry entry;
    Fault fault;
    Served served = Served::done;
    if (!mmu_.is_memoized(gva.value, kind)) {
      if (!mmu_.access(gva, kind, entry, fault)) served = serve(fault, entry);
      --(first_is_store ? stores : loads);
      --left;
      ++result.done;
    }
    if (served == Served::done) {
      // A load-first run may hold no stores: they could hit a clean entry, so they start a run of their own.
      const std::uint64_t counted_stores = kind == AccessKind::store ? stores : 0;
      mmu_.count_run(kind, loads, counted_stores);
      result.done += loads + counted_stores;
      left -= loads + counted_stores;
      loads = 0;
      stores -= counted_stores;
      kind = AccessKind::store;
      continue;
    }
    if (served == Served::stopped) {
      result.stopped = true;
      return result;
    }
    if (result.signals++ == 0) result.first_signal = gva;
    if (kind == AccessKind::load && loads == 0) kind = AccessKind::store;
    if (kind == AccessKind::store && stores == 0 && left > 0) kind = AccessKind::load;
  }
  return result;
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
  if (page == nullptr) return store ? nullptr : const_cast<std::byte*>(all_ones().data());  // a load never writes through it
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
    const Outcome outcome = hypervisor_->on_fault(*this, fault);
    if (outcome == Outcome::emulate) return nullptr;
    if (outcome == Outcome::kill) throw OutOfMemory("the guest kernel touched guest-physical " + hex(at.value) + " and the host has no memory left for it");
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
