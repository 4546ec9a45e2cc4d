// The guest kernel's editing of its own page tables: 8-byte loads and stores to guest memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/access.hpp"
#include "core/address.hpp"
#include "guest/page_allocator.hpp"
#include "hw/vcpu.hpp"
#include "paging/format.hpp"

namespace vmem::guest {

inline constexpr std::uint64_t kPtePresent = paging::x86_64.present;
inline constexpr std::uint64_t kPteWrite = paging::x86_64.write;
inline constexpr std::uint64_t kPteUser = paging::x86_64.user;
inline constexpr std::uint64_t kPteAccessed = paging::x86_64.accessed;
inline constexpr std::uint64_t kPteDirty = paging::x86_64.dirty;
inline constexpr std::uint64_t kPteLarge = paging::x86_64.leaf;
inline constexpr std::uint64_t kPteNoExecute = paging::x86_64.no_execute;

/// One process's table. Owns its table frames; what the leaves map is the address space's.
class PageTable {
 public:
  struct Slot {
    Gpa at;  ///< where the entry stands
    std::uint64_t entry = 0;
    int level = 0;  ///< of a leaf, or of the first entry that is not present

    bool present() const { return (entry & kPtePresent) != 0; }
    /// Not present, but the kernel keeps something there: where the page went.
    bool swapped() const { return level == 1 && entry != 0 && !present(); }
    Gfn target() const { return {paging::x86_64.target(entry, level) >> kPageShift}; }
  };
  /// A leaf, or an entry that is not present and not empty: its address, and the slot.
  using Visit = std::function<void(Gva, const Slot&)>;

  /// OutOfMemory if the guest has no frame for the root.
  PageTable(hw::Vcpu& vcpu, PageAllocator& pages, int levels);

  Gfn root() const { return root_; }
  int levels() const { return levels_; }
  std::uint64_t table_frames() const { return frames_; }

  Slot find(hw::Vcpu& vcpu, Gva gva) const;
  /// Every entry on the way to `gva` lets a user make this access.
  bool allows(hw::Vcpu& vcpu, Gva gva, AccessKind access) const;
  /// Stores a leaf for the page of `size` at `gva`, making tables on the way. False: no frame left for a table, or
  /// smaller pages are mapped there.
  bool map(hw::Vcpu& vcpu, Gva gva, PageSize size, std::uint64_t entry) {
    return map_from(vcpu, find(vcpu, gva), gva, size, entry);
  }
  /// Makes the tables that a page of `size` at `gva` takes. False: no frame left for one, or smaller pages are mapped
  /// there.
  bool make_room(hw::Vcpu& vcpu, Gva gva, PageSize size);
  /// As `map`, from the slot that `find` gave for an address of that page.
  bool map_from(hw::Vcpu& vcpu, Slot slot, Gva gva, PageSize size, std::uint64_t entry);
  void store(hw::Vcpu& vcpu, const Slot& slot, std::uint64_t entry) { vcpu.store<std::uint64_t>(slot.at, entry); }
  enum class Split : std::uint8_t {
    done,
    stale,      ///< the entry is no longer what the slot says
    no_memory,  ///< no frame left for the table
  };
  /// Replaces a large leaf by a table of 512 smaller ones with the same flags.
  Split split(hw::Vcpu& vcpu, const Slot& slot, Need need);
  /// Visits the leaves, swapped ones among them, that overlap [start, end), ascending.
  void for_range(hw::Vcpu& vcpu, Gva start, Gva end, const Visit& visit) const;
  /// Clears the leaves that lie in [start, end), visiting each before, and frees the tables whose whole span lies in
  /// [floor, ceiling), where nothing is mapped and no table stands outside [start, end). Returns whether it freed any:
  /// no translation cache may hold them when their frames are used again.
  bool clear_range(hw::Vcpu& vcpu, Gva start, Gva end, Gva floor, Gva ceiling, const Visit& visit);
  /// Frees the root; the rest has been cleared.
  void destroy(hw::Vcpu& vcpu);

 private:
  struct Span {
    std::uint64_t start, end, floor, ceiling;
  };
  /// Makes tables down to the level of `size`. False: no frame left for one.
  bool descend(hw::Vcpu& vcpu, Slot& slot, Gva gva, PageSize size);
  std::optional<Gfn> new_table(hw::Vcpu& vcpu, Need need = Need::patient);
  void visit(hw::Vcpu& vcpu, Gfn table, int level, std::uint64_t base, const Span& span, const Visit& visit) const;
  void clear(hw::Vcpu& vcpu, Gfn table, int level, std::uint64_t base, const Span& span, const Visit& visit);

  PageAllocator* pages_;
  int levels_;
  Gfn root_;
  std::uint64_t frames_ = 0;
};

}  // namespace vmem::guest
