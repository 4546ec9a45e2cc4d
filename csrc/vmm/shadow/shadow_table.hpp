// The shadow pages of one VM: made, linked, taken apart. Knows neither guest tables nor synchronisation.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/address.hpp"
#include "memory/machine_memory.hpp"
#include "paging/format.hpp"
#include "vmm/shadow/reverse_map.hpp"
#include "vmm/shadow/shadow_page.hpp"
#include "vmm/shadow/trace_set.hpp"

namespace vmem::vmm {

/// Entries are x86-64 entries in machine memory that a processor walks. Every leaf is in the reverse map; every other
/// entry is a parent of its page.
///
/// A frame that held a shadow page is not given back before `free_condemned`: the caller flushes every TLB and
/// paging-structure cache first.
class ShadowTable {
 public:
  /// Marks an entry that stands for a large guest page but points to a table of smaller ones. Bits 11:9 are ignored by
  /// processors.
  static constexpr std::uint64_t kSplintered = 1ull << 9;

  /// Marks an entry that maps nothing, but of which it is not known that the guest's does not either: present, with a
  /// bit set that is reserved as no machine has so much memory. Its fault tells itself from one of an entry of zero.
  static constexpr std::uint64_t kReserved = 1ull << 51;
  static constexpr std::uint64_t kUnknown = kReserved | paging::x86_64.present;
  /// The entry maps or links something.
  static constexpr bool in_use(std::uint64_t entry) {
    return paging::x86_64.is_present(entry) && (entry & kReserved) == 0;
  }

  /// `empty` is what an entry becomes that maps nothing any more: 0 or kUnknown.
  ShadowTable(memory::MachineMemory& memory, ReverseMap& reverse, std::uint16_t owner, std::uint64_t empty)
      : memory_(memory), owner_(owner), reverse_(reverse), empty_(empty) {}
  ~ShadowTable();
  ShadowTable(const ShadowTable&) = delete;
  ShadowTable& operator=(const ShadowTable&) = delete;

  std::size_t size() const { return pages_.size(); }
  ShadowPage* find(const ShadowKey& key);
  /// An empty page; nullptr if the machine has no frame for it.
  ShadowPage* create(const ShadowKey& key);
  /// Empties and condemns the page, and with it every page that only it led to. No vCPU may have it in CR3.
  void zap(ShadowPage& page);
  /// Zaps the `count` pages made first, or fewer if the rest is pinned.
  void reclaim(std::size_t count);
  /// The shadow pages of a guest table, one for each level it is used at.
  const std::vector<ShadowPage*>& of_guest_table(Gfn gfn) const;

  std::uint64_t load(Hpa entry) const { return memory_.bytes().load<std::uint64_t>(entry.value); }
  /// The page that a present entry that is no leaf points to.
  ShadowPage& child(std::uint64_t entry);
  /// The entry is empty.
  void link(Hpa entry, ShadowPage& child, std::uint64_t rights);
  void set_leaf(Hpa entry, std::uint64_t value, int level);
  /// Says of an entry that is not in use what its fault means: `absent`, that the guest's entry is not present either.
  void set_unused(Hpa entry, bool absent) { write(entry, absent ? 0 : kUnknown); }
  /// The entry maps or links nothing afterwards. Returns whether it did.
  bool drop_entry(Hpa entry, int level);
  /// Takes write permission from every entry that maps the frame, and drops larger ones around it. Returns whether it
  /// changed any.
  bool withdraw_write(Hfn hfn);
  /// Some entry of this VM maps the frame, or a page that begins with it.
  bool maps(Hfn hfn) const { return !entries_of(hfn).empty(); }
  /// Drops every entry that maps any of `count` frames from `hfn`, or a larger page around them. Returns whether there
  /// were any.
  bool drop_mappings(Hfn hfn, std::uint64_t count);

  const TraceSet& traced() const { return traced_; }
  /// Returns whether its guest frame was not traced before.
  bool trace(ShadowPage& page);
  void untrace(ShadowPage& page);

  bool has_condemned() const { return !condemned_.empty(); }
  void free_condemned();
  template <class Use>
  void for_each(Use&& use) {
    for (auto& [key, page] : pages_) use(*page);
  }

 private:
  /// The entries of this VM that map the frame, or a page that begins with it.
  std::vector<Hpa> entries_of(Hfn hfn) const;
  int level_of(Hpa entry) { return page_at(entry).key.level; }
  ShadowPage& page_at(Hpa entry) { return *by_slot_[memory_.frame(entry.frame()).extra]; }
  void write(Hpa entry, std::uint64_t value) { memory_.bytes().store<std::uint64_t>(entry.value, value); }

  memory::MachineMemory& memory_;
  std::uint16_t owner_;
  ReverseMap& reverse_;
  std::unordered_map<ShadowKey, std::unique_ptr<ShadowPage>, ShadowKeyHash> pages_;
  std::unordered_map<std::uint64_t, std::vector<ShadowPage*>> by_gfn_;
  std::vector<ShadowPage*> by_slot_;  ///< Frame::extra of a shadow page's frame is its index here
  std::vector<std::uint32_t> free_slots_;
  TraceSet traced_;
  std::vector<Hfn> condemned_;
  std::uint64_t empty_;
  std::uint64_t births_ = 0;
};

}  // namespace vmem::vmm
