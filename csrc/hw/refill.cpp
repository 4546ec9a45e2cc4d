// What a processor does whose kernel refills the TLB.
#include "core/error.hpp"
#include "hw/mmu.hpp"
#include "hw/walker.hpp"

namespace vmem::hw {
namespace {

bool holds_small_pages(const std::vector<TlbConfig>& level) {
  for (const TlbConfig& array : level)
    if (array.page_sizes & (1u << static_cast<unsigned>(PageSize::k4K))) return true;
  return false;
}

}  // namespace

void Mmu::set_refill(Refill refill) {
  const bool first_level = holds_small_pages(cpu_.l1d) && holds_small_pages(cpu_.l1i);
  if (refill == Refill::kernel && !first_level && !holds_small_pages(cpu_.l2))
    throw ConfigError("cpu '" + cpu_.name +
                      "' cannot have a software-managed TLB: neither both of its first-level TLBs nor its second level "
                      "can hold 4 KiB pages, so an access would miss forever");
  refill_ = refill;
}

bool Mmu::raise(FaultKind what, std::uint64_t va, AccessKind kind, Fault& fault) {
  fault = Fault{};
  fault.gva = {va};
  fault.access = raised_by_ = kind;
  fault.user = silicon_.state.user();
  fault.kind = what;
  return false;
}

bool Mmu::use_what_is_held(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault) {
  TlbLevel& l1 = l1_[side(kind)];
  TlbPlace held = l1.lookup(va, silicon_.keys);
  if (held) {
    entry = *held;
  } else if (const TlbPlace second = l2_.lookup(va, silicon_.keys)) {
    entry = *second;
    held = l1.fill(va, silicon_.keys, entry);
  } else {
    return raise(FaultKind::tlb_refill, va, kind, fault);
  }
  return permitted(va, kind, entry, held) || judge_hit(va, kind, entry, fault);
}

void Mmu::write_tlb(Gva gva, const TlbEntry& entry) {
  const std::uint64_t va = gva.value;
  if (!canonical(va, silicon_.address_bits)) return;
  bool updated = false, other = false;
  const auto update = [&](TlbEntry& held) {
    if (held.physical(va) != entry.physical(va) || held.guest_size != entry.guest_size || held.global != entry.global ||
        held.size > entry.size) {
      other = true;
      return;
    }
    held.flags = entry.flags;
    updated = true;
  };
  TlbLevel& first = l1_[side(raised_by_)];
  first.for_page(va, silicon_.keys, update);
  l2_.for_page(va, silicon_.keys, update);
  if (updated && !other) return;
  first.drop_page(va, silicon_.keys);
  l2_.drop_page(va, silicon_.keys);
  fill_l1(va, raised_by_, entry);
  l2_.fill(va, silicon_.keys, entry);
}

}  // namespace vmem::hw
