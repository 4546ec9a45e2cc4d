// The hypervisor's map gPA → hPA of one VM, as EPT or NPT tables: bytes in machine memory.
#pragma once

#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "hw/state.hpp"
#include "memory/machine_memory.hpp"
#include "memory/swap_file.hpp"
#include "paging/format.hpp"

namespace vmem::vmm {

/// Owns its table frames. In shadow and software-TLB mode no hardware reads it: it is the hypervisor's own record of
/// what backs what. An entry that is not present is zero, or, in a table of 4 KiB pages, holds the swap slot of its
/// frame in the bits of the address, plus one. Changing an entry does not invalidate anything: vmm/unmap.hpp does both.
class SecondStage {
 public:
  struct Leaf {
    Hpa at;  ///< where the entry stands
    std::uint64_t entry = 0;
    int level = 1;
    bool present = false;  ///< false: `level` is where the first entry stands that maps nothing

    PageSize size() const { return leaf_page_size(level); }
  };

  /// Allocates the root; OutOfMemory if the machine has no frame for it.
  SecondStage(memory::MachineMemory& memory, std::uint16_t owner, hw::SecondStageKind kind, int levels);
  ~SecondStage();
  SecondStage(const SecondStage&) = delete;
  SecondStage& operator=(const SecondStage&) = delete;

  hw::SecondStageKind kind() const { return kind_; }
  Hpa root() const { return root_; }
  /// The EPTP (A/D enabled, write-back) or nCR3 that names this table.
  std::uint64_t root_pointer() const;

  Leaf find(Gfn gfn) const;
  Hfn target(const Leaf& leaf, Gfn gfn) const;
  paging::Rights rights(std::uint64_t entry) const { return format().rights(entry); }
  /// Maps the naturally aligned page of `size` around `gfn`, from the empty leaf that `find(gfn)` gave. False: no frame
  /// for a table.
  bool map(Leaf leaf, Gfn gfn, Hfn hfn, PageSize size, paging::Rights rights);
  /// The frame of this leaf is in the host's swap.
  static bool is_swapped(const Leaf& leaf) { return !leaf.present && leaf.entry != 0; }
  static memory::SwapSlot slot_of(const Leaf& leaf) {
    return {static_cast<std::uint32_t>((leaf.entry >> kPageShift) - 1)};
  }
  void set_swapped(const Leaf& leaf, memory::SwapSlot slot) {
    set(leaf, (static_cast<std::uint64_t>(slot.value) + 1) << kPageShift);
  }
  /// Maps the 2 MiB page at `first` where a table of empty entries stands, and frees that table: no processor may hold
  /// the way to it.
  void replace_table(Gfn first, Hfn head);
  /// Replaces a leaf's entry in place.
  void set(const Leaf& leaf, std::uint64_t entry);
  std::uint64_t with_rights(std::uint64_t entry, paging::Rights rights) const;
  /// The first guest frame from `from` on that is mapped.
  std::optional<Gfn> next_resident(Gfn from) const { return next_resident(root_, levels_, Gfn{0}, from); }
  std::uint64_t without_accessed(std::uint64_t entry) const { return entry & ~format().accessed; }
  bool accessed(std::uint64_t entry) const { return (entry & format().accessed) != 0; }
  /// Cuts a large leaf into 512 of the next smaller size, same rights, same A and D. False: no frame for the table.
  bool split(const Leaf& leaf);
  /// Calls `use(gfn, leaf)` for every present leaf, ascending.
  template <class Use>
  void for_each(Use&& use) const {
    visit(root_, levels_, Gfn{0}, [&](Gfn gfn, const Leaf& leaf) {
      if (leaf.present) use(gfn, leaf);
    });
  }
  /// Calls `use(gfn, slot)` for every frame in the swap, ascending.
  template <class Use>
  void for_each_swapped(Use&& use) const {
    visit(root_, levels_, Gfn{0}, [&](Gfn gfn, const Leaf& leaf) {
      if (is_swapped(leaf)) use(gfn, slot_of(leaf));
    });
  }
  std::uint64_t table_frames() const { return table_frames_; }

 private:
  const paging::Format& format() const { return kind_ == hw::SecondStageKind::ept ? paging::ept : paging::x86_64; }
  std::uint64_t leaf_entry(Hfn hfn, PageSize size, paging::Rights rights) const;
  std::uint64_t table_entry(Hpa table) const;
  std::optional<Hpa> new_table();
  std::optional<Gfn> next_resident(Hpa table, int level, Gfn first, Gfn from) const;
  void free_tables(Hpa table, int level);
  /// Calls `use(gfn, leaf)` for every entry that is not zero and points to no table.
  template <class Use>
  void visit(Hpa table, int level, Gfn first, const Use& use) const {
    for (std::uint64_t index = 0; index < paging::kEntries; ++index) {
      const Hpa at = table + 8 * index;
      const auto entry = memory_.bytes().load<std::uint64_t>(at.value);
      if (entry == 0) continue;
      const Gfn gfn = first + (index << (9 * (level - 1)));
      const bool present = format().is_present(entry);
      if (!present || format().is_leaf(entry, level)) {
        use(gfn, Leaf{at, entry, level, present});
      } else {
        visit(Hpa{entry & format().address}, level - 1, gfn, use);
      }
    }
  }

  memory::MachineMemory& memory_;
  std::uint16_t owner_;
  hw::SecondStageKind kind_;
  int levels_;
  Hpa root_;
  std::uint64_t table_frames_ = 0;
};

}  // namespace vmem::vmm
