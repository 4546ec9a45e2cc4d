#include "hw/walker.hpp"

#include <algorithm>
#include <array>

#include "hw/walk.hpp"

namespace vmem::hw {
namespace {

using paging::Format;
using paging::Rights;

/// What an access of the second stage asks of it.
struct Demand {
  Rights rights;
  bool reads, writes;
  bool table;  ///< of the guest's tables, not of what they translate
};
constexpr std::array<Demand, 6> kDemands{{
    {paging::kRead, true, false, false},                 // load
    {paging::kWrite, false, true, false},                // store
    {paging::kExecute, false, false, false},             // fetch
    {paging::kRead, true, false, true},                  // table_read
    {paging::kRead | paging::kWrite, true, true, true},  // table_update
    {paging::kWrite, false, true, true},                 // table_mark
}};
static_assert(static_cast<std::size_t>(HostAccess::table_mark) + 1 == kDemands.size());
const Demand& demand_of(HostAccess access) { return kDemands[static_cast<std::size_t>(access)]; }

HostAccess host_access(AccessKind access) {
  static_assert(static_cast<int>(HostAccess::load) == static_cast<int>(AccessKind::load) &&
                static_cast<int>(HostAccess::store) == static_cast<int>(AccessKind::store) &&
                static_cast<int>(HostAccess::fetch) == static_cast<int>(AccessKind::fetch));
  return static_cast<HostAccess>(access);
}

/// SDM vol. 3, table 28-7 (exit qualification for EPT violations).
std::uint64_t violation_qualification(HostAccess access, Rights rights) {
  std::uint64_t bits = 1ull << 7;
  if (demand_of(access).reads) bits |= 1u << 0;
  if (demand_of(access).writes) bits |= 1u << 1;
  if (access == HostAccess::fetch) bits |= 1u << 2;
  bits |= (rights & paging::kRead ? 1u << 3 : 0) | (rights & paging::kWrite ? 1u << 4 : 0) |
          (rights & paging::kExecute ? 1u << 5 : 0);
  return bits | (demand_of(access).table ? 0 : 1u << 8);
}

/// AMD APM vol. 2, 15.25.6 (EXITINFO1). Every nested access is a user access; guest-table accesses are writes.
std::uint64_t npf_error_code(HostAccess access, WalkEnd::Reason reason) {
  std::uint64_t code = kPfUser | (demand_of(access).table ? 1ull << 33 : 1ull << 32);
  if (reason != WalkEnd::Reason::not_present) code |= kPfPresent;
  if (reason == WalkEnd::Reason::reserved) code |= kPfReserved;
  if (demand_of(access).writes) code |= kPfWrite;
  if (access == HostAccess::fetch) code |= kPfFetch;
  return code;
}

/// Remembers the table that an entry of `level` leads to: for walks, and for those who read ahead of them.
void keep(PagingStructureCaches& caches, TableHints& hints, int level, std::uint64_t address, std::uint64_t context,
          const PscEntry& entry) {
  caches.fill(level, address, context, entry);
  if (level == 2) hints.note(address, entry.table);
}

/// The second dimension: its tables lie in machine memory and are named by machine addresses.
template <const Format& kFormat, class Effect>
struct HostDimension {
  Silicon& silicon;

  std::uint64_t read(std::uint64_t at) {
    if constexpr (Effect::kCounts) ++silicon.counters.walk_refs_host;
    return silicon.memory.load(at);
  }
  void tell(const Cursor& cursor, std::uint64_t at, std::uint64_t entry)
    requires(Effect::kTells)
  {
    silicon.story->reads(Dimension::host, cursor.level, at, entry);
  }
  const paging::ReservedBits& reserved() const { return silicon.host_reserved; }
  bool mark_used(std::uint64_t at, std::uint64_t entry, const Cursor&) {
    if (Effect::kMarks && silicon.host_marks && !(entry & kFormat.accessed))
      silicon.memory.store(at, entry | kFormat.accessed);
    return true;
  }
  bool descend(std::uint64_t gpa, std::uint64_t next, Cursor& cursor) {
    if constexpr (Effect::kCaches)
      keep(silicon.host_psc, silicon.host_leaf_tables, cursor.level, gpa, silicon.keys.guest_physical,
           {next, next, cursor.rights});
    cursor.table = cursor.table_gpa = next;
    --cursor.level;
    return true;
  }
};

[[gnu::cold, gnu::noinline]] void report_second_stage_fault(const State& state, Gpa gpa, HostAccess access, WalkEnd end,
                                                            Fault& fault) {
  const bool is_npt = state.second_stage == SecondStageKind::npt;
  const bool misconfigured = end.reason == WalkEnd::Reason::reserved;
  fault = Fault{};
  fault.kind = is_npt          ? FaultKind::nested_page_fault
               : misconfigured ? FaultKind::ept_misconfiguration
                               : FaultKind::ept_violation;
  fault.gpa = gpa;
  fault.table_access = demand_of(access).table;
  fault.level = end.level;
  fault.entry = end.entry;
  fault.error_code = is_npt ? npf_error_code(access, end.reason) : 0;
  fault.qualification = is_npt || misconfigured ? 0 : violation_qualification(access, end.rights);
}

/// Where the second stage's walk begins: below the deepest cached entry, or at the root.
template <class Effect>
[[gnu::always_inline]] inline Cursor start_second_stage(Silicon& silicon, Gpa gpa) {
  if constexpr (Effect::kCaches) {
    const auto [cached, level] = silicon.host_psc.lookup(gpa.value, silicon.keys.guest_physical, silicon.host_levels);
    if constexpr (Effect::kTells) silicon.story->looks_up(WalkCache::host_psc, gpa.value, level);
    if (cached != nullptr) [[likely]] {
      ++silicon.counters.psc_hits;
      return {cached->table, cached->table_gpa, level - 1, cached->rights};
    }
  }
  return {silicon.state.stage2_root(), silicon.state.stage2_root(), silicon.host_levels};
}

template <const Format& kFormat, class Effect>
[[gnu::always_inline]] inline bool walk_second_stage(Silicon& silicon, Gpa gpa, HostAccess access, HostMapping& mapping,
                                                     Fault& fault) {
  if (silicon.host_levels == 4 && (gpa.value >> 48) != 0) [[unlikely]] {  // SDM vol. 3, 29.3.3.2
    report_second_stage_fault(silicon.state, gpa, access, {WalkEnd::Reason::not_present}, fault);
    return false;
  }
  Cursor cursor = start_second_stage<Effect>(silicon, gpa);
  if (Effect::kKernel && silicon.kernel_table.region == gpa.value >> 21) cursor = silicon.kernel_table.cursor;
  HostDimension<kFormat, Effect> dimension{silicon};
  const WalkEnd end = walk<kFormat>(dimension, gpa.value, cursor);
  if (Effect::kKernel && cursor.level == 1) silicon.kernel_table = {gpa.value >> 21, cursor};
  const auto needed = static_cast<Rights>(demand_of(access).rights | paging::kUser);
  if (end.reason != WalkEnd::Reason::leaf || (end.rights & needed) != needed) {
    report_second_stage_fault(silicon.state, gpa, access, end, fault);
    return false;
  }
  std::uint64_t entry = end.entry;
  if (Effect::kMarks && silicon.host_marks) {
    entry |= kFormat.accessed | (demand_of(access).writes ? kFormat.dirty : 0);
    if (entry != end.entry) silicon.memory.store(end.at, entry);
  }
  const auto leaf = [&](int level) {
    mapping = {kFormat.target(entry, level), end.rights, (entry & kFormat.dirty) != 0, leaf_page_size(level)};
  };
  end.level == 1 ? leaf(1) : leaf(end.level);  // most are: compiled for that level
  return true;
}

/// One dimension: a table's address is where it lies.
template <class Effect>
struct LinearDimension {
  Silicon& silicon;

  std::uint64_t read(std::uint64_t at) {
    if constexpr (Effect::kCounts)
      ++(silicon.linear_tables == LinearTables::guest ? silicon.counters.walk_refs_guest
                                                      : silicon.counters.walk_refs_host);
    return silicon.memory.load(at);
  }
  void tell(const Cursor& cursor, std::uint64_t at, std::uint64_t entry)
    requires(Effect::kTells)
  {
    const bool guests = silicon.linear_tables == LinearTables::guest;
    silicon.story->reads(guests ? Dimension::guest : Dimension::host, cursor.level, at, entry);
  }
  const paging::ReservedBits& reserved() const { return silicon.guest_reserved; }
  bool mark_used(std::uint64_t at, std::uint64_t entry, const Cursor&) {
    if (Effect::kMarks && !(entry & paging::x86_64.accessed)) silicon.memory.store(at, entry | paging::x86_64.accessed);
    return true;
  }
  bool descend(std::uint64_t va, std::uint64_t next, Cursor& cursor) {
    if constexpr (Effect::kCaches)
      keep(silicon.psc, silicon.leaf_tables, cursor.level, va, silicon.keys.own, {next, next, cursor.rights});
    cursor.table = cursor.table_gpa = next;
    --cursor.level;
    return true;
  }
};

/// Two dimensions: a table's address is guest-physical and goes through the second stage before the table is read.
template <class Effect>
struct GuestDimension {
  Silicon& silicon;
  Fault& fault;

  std::uint64_t read(std::uint64_t at) {
    if constexpr (Effect::kCounts) ++silicon.counters.walk_refs_guest;
    return silicon.memory.load(at);
  }
  void tell(const Cursor& cursor, std::uint64_t at, std::uint64_t entry)
    requires(Effect::kTells)
  {
    silicon.story->reads(Dimension::guest, cursor.level, cursor.table_gpa | (at & kPageMask), entry);
  }
  const paging::ReservedBits& reserved() const { return silicon.guest_reserved; }
  bool mark_used(std::uint64_t at, std::uint64_t entry, const Cursor& cursor) {
    return (entry & paging::x86_64.accessed) || set_bits(at, entry | paging::x86_64.accessed, cursor);
  }
  /// With second-stage A/D off the write permission of the table is needed only now.
  [[gnu::always_inline]] bool set_bits(std::uint64_t at, std::uint64_t entry, const Cursor& cursor) {
    if (!silicon.host_marks && !(cursor.table_rights & paging::kWrite)) {
      const Gpa entry_gpa{cursor.table_gpa | (at & kPageMask)};
      report_second_stage_fault(silicon.state, entry_gpa, HostAccess::table_mark, {.rights = cursor.table_rights},
                                fault);
      return false;
    }
    if constexpr (Effect::kMarks) silicon.memory.store(at, entry);
    return true;
  }
  /// Moves the cursor to the table of `level` at `table_gpa`. What is translated, and reported if that fails, is the
  /// address of the entry that will be read.
  [[gnu::noinline]] bool enter(std::uint64_t table_gpa, std::uint64_t va, int level, Cursor& cursor) {
    HostMapping mapping;
    const Gpa entry_gpa{table_gpa + 8ull * paging::table_index(va, level)};
    if (!translate_second_stage<Effect>(
            silicon, entry_gpa, silicon.host_marks ? HostAccess::table_update : HostAccess::table_read, mapping, fault))
      return false;
    cursor.table = mapping.physical(table_gpa);
    cursor.table_gpa = table_gpa;
    cursor.table_rights = mapping.rights;
    cursor.level = level;
    return true;
  }
  bool descend(std::uint64_t va, std::uint64_t next, Cursor& cursor) {
    const int level = cursor.level;
    if (!enter(next, va, level - 1, cursor)) return false;
    if constexpr (Effect::kCaches)
      keep(silicon.psc, silicon.leaf_tables, level, va, silicon.keys.own,
           {cursor.table, cursor.table_gpa, cursor.rights, cursor.table_rights});
    return true;
  }
};

[[gnu::cold, gnu::noinline]] void report_page_fault(const State& state, WalkEnd end, AccessKind access, bool protection,
                                                    bool key_violation, Fault& fault) {
  fault = Fault{};
  fault.kind = FaultKind::page_fault;
  fault.level = end.level;
  fault.entry = end.entry;
  fault.error_code = (state.user() ? kPfUser : 0) | (access == AccessKind::store ? kPfWrite : 0);
  if (access == AccessKind::fetch && (state.nxe() || state.has(kCr4Smep))) fault.error_code |= kPfFetch;
  if (protection || end.reason == WalkEnd::Reason::reserved) fault.error_code |= kPfPresent;
  if (end.reason == WalkEnd::Reason::reserved) fault.error_code |= kPfReserved;
  if (key_violation) fault.error_code |= kPfKey;
}

/// Starts at the deepest cached entry. False: nothing cached, the cursor stands at the root's name.
template <class Effect>
[[gnu::always_inline]] inline bool start_from_cache(Silicon& silicon, std::uint64_t va, Cursor& cursor) {
  const State& state = silicon.state;
  if constexpr (Effect::kCaches) {
    const auto [cached, level] = silicon.psc.lookup(va, silicon.keys.own, state.levels());
    if constexpr (Effect::kTells) silicon.story->looks_up(WalkCache::psc, va, level);
    if (cached != nullptr) [[likely]] {
      ++silicon.counters.psc_hits;
      cursor = {cached->table, cached->table_gpa, level - 1, cached->rights, cached->table_rights};
      return true;
    }
  }
  cursor = {state.cr3_root(), state.cr3_root(), state.levels()};
  return false;
}

/// The entry's new value once the access has happened.
std::uint64_t used_leaf(std::uint64_t entry, AccessKind access) {
  return entry | paging::x86_64.accessed | (access == AccessKind::store ? paging::x86_64.dirty : 0);
}

/// `judge_leaf` without its branches, where the answer is yes.
[[gnu::always_inline]] inline bool passes(const Silicon& silicon, const WalkEnd& end, AccessKind access, Fault& fault) {
  const EntryFlags flags = entry_flags(end.rights, true, paging::kAllRights, paging::protection_key(end.entry));
  if (end.reason == WalkEnd::Reason::leaf && (silicon.permissions[flags] & access_bit(access)) != 0) [[likely]]
    return true;
  const WalkEnd judged = end;  // so that the caller's can stay in registers
  return judge_leaf(silicon.state, judged, access, fault);
}

/// Of a leaf, as a TLB holds it.
bool is_global(const State& state, std::uint64_t leaf) {
  return (leaf & paging::x86_64.global) != 0 && state.has(kCr4Pge);
}

template <class Effect>
[[gnu::always_inline]] inline bool translate_linear(Silicon& silicon, Gva gva, AccessKind access, TlbEntry& entry,
                                                    Fault& fault) {
  Cursor cursor;
  start_from_cache<Effect>(silicon, gva.value, cursor);
  LinearDimension<Effect> dimension{silicon};
  const WalkEnd end = walk<paging::x86_64>(dimension, gva.value, cursor);
  if (!passes(silicon, end, access, fault)) return false;
  const std::uint64_t leaf = used_leaf(end.entry, access);
  if (Effect::kMarks && leaf != end.entry) silicon.memory.store(end.at, leaf);

  const auto fill = [&](int level) {
    entry.base = paging::x86_64.target(leaf, level);
    entry.size = entry.guest_size = leaf_page_size(level);
  };
  end.level == 1 ? fill(1) : fill(end.level);  // most are: compiled for that level
  entry.flags =
      entry_flags(end.rights, (leaf & paging::x86_64.dirty) != 0, paging::kAllRights, paging::protection_key(leaf));
  entry.global = is_global(silicon.state, leaf);
  return true;
}

template <class Effect>
[[gnu::always_inline]] inline NestedTlb::Lookup look_up_nested(Silicon& silicon, Gpa gpa, HostAccess access) {
  if constexpr (!Effect::kCaches) {
    return {};
  } else {
    const Rights needed = demand_of(access).rights;
    const bool needs_dirty = demand_of(access).writes && silicon.host_marks;
    const auto suits = [=](const HostMapping& candidate) {
      return (candidate.rights & needed) == needed && (candidate.dirty || !needs_dirty);
    };
    const NestedTlb::Lookup held = silicon.nested_tlb.lookup(gpa.value, silicon.keys.guest_physical, suits);
    if constexpr (Effect::kTells)
      silicon.story->looks_up(WalkCache::nested_tlb, gpa.value,
                              held.mapping != nullptr ? leaf_level(held.mapping->size) : 0);
    if (held.mapping != nullptr) ++silicon.counters.nested_tlb_hits;
    return held;
  }
}

/// `translate_second_stage`, for the one who cannot afford to call it.
template <class Effect>
[[gnu::always_inline]] inline bool second_stage(Silicon& silicon, Gpa gpa, HostAccess access, HostMapping& mapping,
                                                Fault& fault) {
  const NestedTlb::Lookup held = look_up_nested<Effect>(silicon, gpa, access);
  if (held.mapping != nullptr) {
    mapping = *held.mapping;
    return true;
  }
  const bool found = silicon.state.second_stage == SecondStageKind::ept
                         ? walk_second_stage<paging::ept, Effect>(silicon, gpa, access, mapping, fault)
                         : walk_second_stage<paging::x86_64, Effect>(silicon, gpa, access, mapping, fault);
  if (!Effect::kCaches || !found) return found;
  const std::uint64_t context = silicon.keys.guest_physical;
  if (held.unsuited) [[unlikely]]
    silicon.nested_tlb.replace(gpa.value, context, mapping);
  else
    silicon.nested_tlb.fill(gpa.value, context, mapping);
  return true;
}

/// The second dimension for the page that the guest's `leaf` of `level` names, and the entry of both.
template <class Effect>
[[gnu::always_inline]] inline bool finish_nested(Silicon& silicon, Gva gva, AccessKind access, std::uint64_t leaf,
                                                 Rights rights, int level, TlbEntry& entry, Fault& fault) {
  const PageSize guest_size = leaf_page_size(level);
  const Gpa gpa{paging::x86_64.target(leaf, level) | (gva.value & (page_bytes(guest_size) - 1))};
  HostMapping mapping;
  if (!second_stage<Effect>(silicon, gpa, host_access(access), mapping, fault)) return false;

  const bool is_dirty = (leaf & paging::x86_64.dirty) != 0 && (mapping.dirty || !silicon.host_marks);
  entry.size = std::min(guest_size, mapping.size);
  entry.base =
      mapping.size == PageSize::k4K ? mapping.base : align_down(mapping.physical(gpa.value), page_bytes(entry.size));
  entry.flags = entry_flags(rights, is_dirty, mapping.rights, paging::protection_key(leaf));
  entry.guest_size = guest_size;
  entry.global = is_global(silicon.state, leaf);
  return true;
}

template <class Effect>
[[gnu::noinline]] bool finish_large(Silicon& silicon, Gva gva, AccessKind access, std::uint64_t leaf, WalkEnd end,
                                    TlbEntry& entry, Fault& fault) {
  return finish_nested<Effect>(silicon, gva, access, leaf, end.rights, end.level, entry, fault);
}

template <class Effect>
[[gnu::always_inline]] inline bool translate_nested(Silicon& silicon, Gva gva, AccessKind access, TlbEntry& entry,
                                                    Fault& fault) {
  GuestDimension<Effect> dimension{silicon, fault};
  Cursor cursor;
  if (!start_from_cache<Effect>(silicon, gva.value, cursor)) [[unlikely]] {
    Cursor root = cursor;  // so that the other can stay in registers
    if (!dimension.enter(root.table_gpa, gva.value, root.level, root)) return false;
    cursor = root;
  }
  const WalkEnd end = walk<paging::x86_64>(dimension, gva.value, cursor);
  if (end.reason == WalkEnd::Reason::table_unreachable || end.reason == WalkEnd::Reason::table_read_only) [[unlikely]]
    return false;
  if (!passes(silicon, end, access, fault)) return false;
  const std::uint64_t leaf = used_leaf(end.entry, access);
  if (leaf != end.entry && !dimension.set_bits(end.at, leaf, cursor)) return false;

  // Most leaves stand in level 1: compiled for that level.
  return end.level == 1 ? finish_nested<Effect>(silicon, gva, access, leaf, end.rights, 1, entry, fault)
                        : finish_large<Effect>(silicon, gva, access, leaf, end, entry, fault);
}

}  // namespace

bool judge_leaf(const State& state, const WalkEnd& end, AccessKind access, Fault& fault) {
  if (end.reason != WalkEnd::Reason::leaf) {
    report_page_fault(state, end, access, false, false, fault);
    return false;
  }
  const GuestCheck check = check_guest(state, end.rights, paging::protection_key(end.entry), access);
  if (!check.allowed) report_page_fault(state, end, access, true, check.key_violation, fault);
  return check.allowed;
}

template <class Effect>
[[gnu::noinline]] bool translate_second_stage(Silicon& silicon, Gpa gpa, HostAccess access, HostMapping& mapping,
                                              Fault& fault) {
  return second_stage<Effect>(silicon, gpa, access, mapping, fault);
}

template <class Effect>
bool translate(Silicon& silicon, Gva gva, AccessKind access, TlbEntry& entry, Fault& fault) {
  const bool found = silicon.state.second_stage == SecondStageKind::none
                         ? translate_linear<Effect>(silicon, gva, access, entry, fault)
                         : translate_nested<Effect>(silicon, gva, access, entry, fault);
  if (found) return true;
  fault.gva = gva;
  fault.access = access;
  fault.user = silicon.state.user();
  return false;
}

template bool translate_second_stage<Quiet>(Silicon&, Gpa, HostAccess, HostMapping&, Fault&);
template bool translate_second_stage<Pure>(Silicon&, Gpa, HostAccess, HostMapping&, Fault&);
template bool translate<Live>(Silicon&, Gva, AccessKind, TlbEntry&, Fault&);
template bool translate<Told>(Silicon&, Gva, AccessKind, TlbEntry&, Fault&);
template bool translate<Pure>(Silicon&, Gva, AccessKind, TlbEntry&, Fault&);

}  // namespace vmem::hw
