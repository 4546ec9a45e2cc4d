#include "hw/mmu.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace vmem::hw {

Mmu::Mmu(const PhysicalView& memory, const CpuConfig& cpu)
    : cpu_((cpu.validate(), cpu)),
      silicon_(memory, cpu),
      l1_{TlbLevel(cpu.l1d, tlb_clock_, &shortcuts_, Side::data),
          TlbLevel(cpu.l1i, tlb_clock_, &shortcuts_, Side::instruction)},
      l2_(cpu.l2, tlb_clock_) {
  State initial;
  if (cpu.guest_levels == 5) initial.cr4 |= kCr4La57;
  set_state(initial);
}

void Mmu::set_state(const State& state) {
  const std::uint64_t long_mode = kEferLme | kEferLma;
  if ((state.cr0 & (kCr0Pe | kCr0Pg)) != (kCr0Pe | kCr0Pg) || !(state.cr4 & kCr4Pae) ||
      (state.efer & long_mode) != long_mode)
    throw ConfigError("only long mode is modelled: CR0.PE, CR0.PG, CR4.PAE, EFER.LME and EFER.LMA must be set (cr0 " +
                      hex(state.cr0) + ", cr4 " + hex(state.cr4) + ", efer " + hex(state.efer) + ")");
  if (state.cpl > 3) throw ConfigError("cpl is " + std::to_string(state.cpl) + ", accepted is 0 to 3");
  const int host_levels = state.stage2_levels(cpu_.host_levels);
  if (host_levels != 4 && host_levels != 5)
    throw ConfigError("EPTP " + hex(state.second_stage_root) + " asks for " + std::to_string(host_levels) +
                      " levels, accepted are 4 and 5 (bits 5:3 = levels - 1)");
  silicon_.state = state;
  silicon_.host_levels = host_levels;
  silicon_.host_marks = state.stage2_accessed_dirty();
  silicon_.address_bits = state.address_bits();
  silicon_.guest_reserved = paging::reserved_bits_x86_64(cpu_.maxphyaddr, state.nxe(), cpu_.one_gib_pages);
  silicon_.host_reserved = state.second_stage == SecondStageKind::ept
                               ? paging::reserved_bits_ept(cpu_.maxphyaddr, cpu_.one_gib_pages, cpu_.execute_only)
                               : paging::reserved_bits_npt(cpu_.maxphyaddr, cpu_.one_gib_pages);
  silicon_.permissions.update(state);
  renew_keys();
}

void Mmu::renew_keys() {
  if (contexts_.full()) {
    l1_[0].drop_all();
    l1_[1].drop_all();
    l2_.drop_all();
    silicon_.psc.drop_all();
    silicon_.host_psc.drop_all();
    silicon_.nested_tlb.drop_all();
    silicon_.kernel_table = {};
    contexts_.clear();
  }
  const State& state = silicon_.state;
  const std::uint64_t root = state.second_stage == SecondStageKind::none ? 0 : state.stage2_root();
  silicon_.keys.own = contexts_.key({state.vpid, state.pcid(), root});
  silicon_.keys.global = contexts_.key({state.vpid, Context::kGlobal, root});
  silicon_.keys.guest_physical = contexts_.key({0, Context::kGuestPhysical, root});
  silicon_.kernel_table = {};
  shortcuts_.clear();
}

bool Mmu::access(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault) {
  ++counter_of(kind);
  return look_up(gva.value, kind, entry, fault);
}

Fault Mmu::general_protection(std::uint64_t va, AccessKind kind) const {
  Fault fault;
  fault.gva = {va};
  fault.access = kind;
  fault.user = silicon_.state.user();
  fault.kind = FaultKind::general_protection;
  return fault;
}

bool Mmu::walk(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault) {
  if (silicon_.story == nullptr) [[likely]]
    return translate<Live>(silicon_, {va}, kind, entry, fault);
  silicon_.story->walks({va});
  return translate<Told>(silicon_, {va}, kind, entry, fault);
}

[[gnu::always_inline]] inline bool Mmu::walk_and_fill(std::uint64_t va, AccessKind kind, TlbEntry& entry,
                                                      Fault& fault) {
  if (refill_ == Refill::kernel) return raise(FaultKind::tlb_refill, va, kind, fault);
  ++silicon_.counters.walks;
  if (!walk(va, kind, entry, fault)) {
    // The walk followed a miss of this side's L1 and of the L2; only the other side can hold the page.
    l1_[1 - side(kind)].drop_page(va, silicon_.keys);
    drop_rest_after(fault);
    return false;
  }
  fill_l1(va, kind, entry);
  l2_.fill(va, silicon_.keys, entry);
  return true;
}

/// `walk_and_fill` for those who seldom do it.
[[gnu::noinline]] bool Mmu::walk_again(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault) {
  return walk_and_fill(va, kind, entry, fault);
}

[[gnu::noinline]] bool Mmu::look_up(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault) {
  if (!canonical(va, silicon_.address_bits)) [[unlikely]] {
    --counter_of(kind);  // it is counted by whoever calls
    fault = general_protection(va, kind);
    return false;
  }
  TlbLevel& l1 = l1_[side(kind)];
  if (const TlbPlace held = l1.lookup(va, silicon_.keys)) [[unlikely]]
    return use(va, kind, held, entry, fault);
  ++l1_misses_[side(kind)];
  const TlbPlace second = l2_.lookup(va, silicon_.keys);
  if (!second) {
    ++silicon_.counters.tlb_misses;
    return walk_and_fill(va, kind, entry, fault);
  }
  ++silicon_.counters.l2_hits;
  entry = *second;
  return permitted(va, kind, entry, l1.fill(va, silicon_.keys, entry)) || judge_hit(va, kind, entry, fault);
}

[[gnu::noinline]] bool Mmu::use(std::uint64_t va, AccessKind kind, TlbPlace held, TlbEntry& entry, Fault& fault) {
  entry = *held;
  return permitted(va, kind, entry, held) || judge_hit(va, kind, entry, fault);
}

[[gnu::noinline]] bool Mmu::judge_hit(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault) {
  if (kind == AccessKind::store && (silicon_.permissions[entry.flags] & PermissionTable::kStoreButClean))
    return refill_ == Refill::walker ? assist_dirty(va, entry, fault) : raise(FaultKind::tlb_modified, va, kind, fault);
  // The entry may be tighter than the tables by now: only the tables can say no.
  drop_guest_page(va);
  return walk_again(va, kind, entry, fault);
}

bool Mmu::assist_dirty(std::uint64_t va, TlbEntry& entry, Fault& fault) {
  ++silicon_.counters.dirty_assists;
  if (!walk(va, AccessKind::store, entry, fault)) {
    drop_page(va, silicon_.keys);
    drop_rest_after(fault);
    return false;
  }
  const auto set_dirty = [](TlbEntry& held) { held.flags |= kEntryDirty; };
  l1_[0].for_page(va, silicon_.keys, set_dirty);
  l2_.for_page(va, silicon_.keys, set_dirty);
  return true;
}

bool Mmu::retry(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault) {
  if (refill_ == Refill::kernel) return use_what_is_held(gva.value, kind, entry, fault);
  return walk_again(gva.value, kind, entry, fault);
}

bool Mmu::probe(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault) {
  if (canonical(gva.value, silicon_.address_bits)) return translate<Pure>(silicon_, gva, kind, entry, fault);
  fault = general_protection(gva.value, kind);
  return false;
}

bool Mmu::access_guest_physical(Gpa gpa, HostAccess kind, HostMapping& mapping, Fault& fault) {
  if (translate_second_stage<Quiet>(silicon_, gpa, kind, mapping, fault)) return true;
  fault.user = false;
  fault.access = kind == HostAccess::store ? AccessKind::store : AccessKind::load;
  return false;
}

bool Mmu::probe_guest_physical(Gpa gpa, HostMapping& mapping) {
  Fault ignored;
  return translate_second_stage<Pure>(silicon_, gpa, HostAccess::load, mapping, ignored);
}

/// What a fault invalidates besides the TLB entries that translate the address.
void Mmu::drop_rest_after(const Fault& fault) {
  if (fault.second_stage()) {
    silicon_.nested_tlb.drop_address(fault.gpa.value, silicon_.keys.guest_physical);
    silicon_.host_psc.drop_path(fault.gpa.value, silicon_.keys.guest_physical);
  } else {
    drop_visible_parts(fault.gva.value);
  }
  silicon_.psc.drop_path(fault.gva.value, silicon_.keys.own);
}

void Mmu::prefetch_leaf(std::uint64_t va) const { silicon_.memory.prefetch(silicon_.leaf_tables.leaf_entry(va)); }

void Mmu::prefetch_second_stage_leaf(std::uint64_t va) const {
  const std::uint64_t at = silicon_.leaf_tables.leaf_entry(va);
  if (one_dimensional() || !silicon_.memory.contains(at)) return;  // a bus is asked for nothing that no walk asks for
  const std::uint64_t entry = silicon_.memory.load(at);
  silicon_.memory.prefetch(silicon_.host_leaf_tables.leaf_entry(entry & paging::kAddressBits));
}

void Mmu::count_kinds(const std::uint8_t* kinds, std::size_t count) {
  constexpr std::size_t kStretch = 240;  // so that a byte can count it, and sixteen lanes go at once
  std::uint64_t stores = 0, fetches = 0;
  for (std::size_t at = 0; at < count; at += kStretch) {
    const std::size_t stop = std::min(count, at + kStretch);
    std::uint8_t some_stores = 0, some_fetches = 0;
    for (std::size_t i = at; i < stop; ++i) {
      some_stores = static_cast<std::uint8_t>(some_stores + (kinds[i] == static_cast<std::uint8_t>(AccessKind::store)));
      some_fetches =
          static_cast<std::uint8_t>(some_fetches + (kinds[i] == static_cast<std::uint8_t>(AccessKind::fetch)));
    }
    stores += some_stores;
    fetches += some_fetches;
  }
  count_hits(count - stores - fetches, stores, fetches);
}

std::uint64_t& Mmu::counter_of(AccessKind kind) {
  Counters& counters = silicon_.counters;
  return kind == AccessKind::load ? counters.loads : kind == AccessKind::store ? counters.stores : counters.fetches;
}

Counters Mmu::counters() const {
  Counters counters = silicon_.counters;
  counters.accesses = counters.loads + counters.stores + counters.fetches;
  counters.l1d_hits = counters.loads + counters.stores - l1_misses_[0];
  counters.l1i_hits = counters.fetches - l1_misses_[1];
  counters.walk_refs = counters.walk_refs_guest + counters.walk_refs_host;
  return counters;
}

void Mmu::reset_counters() {
  silicon_.counters = Counters{};
  l1_misses_ = {};
}

}  // namespace vmem::hw
