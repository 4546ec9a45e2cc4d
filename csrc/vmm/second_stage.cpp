#include "vmm/second_stage.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace vmem::vmm {

using paging::Rights;

SecondStage::SecondStage(memory::MachineMemory& memory, std::uint16_t owner, hw::SecondStageKind kind, int levels)
    : memory_(memory), owner_(owner), kind_(kind), levels_(levels) {
  const auto root = new_table();
  if (!root) throw OutOfMemory("the machine has no free frame for a VM's second-stage root table");
  root_ = *root;
}

SecondStage::~SecondStage() { free_tables(root_, levels_); }

void SecondStage::free_tables(Hpa table, int level) {
  for (std::uint64_t index = 0; level > 1 && index < paging::kEntries; ++index) {
    const auto entry = memory_.bytes().load<std::uint64_t>(table.value + 8 * index);
    if (format().is_present(entry) && !format().is_leaf(entry, level))
      free_tables(Hpa{entry & format().address}, level - 1);
  }
  memory_.free(table.frame());
}

std::optional<Hpa> SecondStage::new_table() {
  const auto frame = memory_.allocate(0, memory::FrameUse::table, owner_);
  if (!frame) return std::nullopt;
  memory_.bytes().mark_written(frame->value);
  ++table_frames_;
  return frame->address();
}

std::uint64_t SecondStage::root_pointer() const {
  if (kind_ == hw::SecondStageKind::npt) return root_.value;
  return root_.value | (static_cast<std::uint64_t>(levels_ - 1) << 3) | hw::kEptpAccessedDirty | 6;
}

SecondStage::Leaf SecondStage::find(Gfn gfn) const {
  Leaf leaf;
  Hpa table = root_;
  for (leaf.level = levels_;; --leaf.level) {
    leaf.at = table + 8ull * paging::table_index(gfn.address().value, leaf.level);
    leaf.entry = memory_.bytes().load<std::uint64_t>(leaf.at.value);
    leaf.present = format().is_present(leaf.entry);
    if (!leaf.present || format().is_leaf(leaf.entry, leaf.level)) return leaf;
    table = Hpa{leaf.entry & format().address};
  }
}

Hfn SecondStage::target(const Leaf& leaf, Gfn gfn) const {
  const std::uint64_t frames = page_frames(leaf.size());
  return {(format().target(leaf.entry, leaf.level) >> kPageShift) + (gfn.value & (frames - 1))};
}

std::uint64_t SecondStage::leaf_entry(Hfn hfn, PageSize size, Rights rights) const {
  std::uint64_t entry = hfn.address().value | (size == PageSize::k4K ? 0 : format().leaf);
  entry |= kind_ == hw::SecondStageKind::ept ? paging::kEptWriteBack : format().present;
  return entry | format().encode(static_cast<Rights>(rights | paging::kUser));
}

std::uint64_t SecondStage::table_entry(Hpa table) const {
  return table.value | format().encode(paging::kAllRights) | (kind_ == hw::SecondStageKind::npt ? format().present : 0);
}

std::uint64_t SecondStage::with_rights(std::uint64_t entry, Rights rights) const {
  const std::uint64_t bits = format().read | format().write | format().execute | format().no_execute;
  return (entry & ~bits) | (format().encode(static_cast<Rights>(rights | paging::kUser)) & bits);
}

bool SecondStage::map(Leaf leaf, Gfn gfn, Hfn hfn, PageSize size, Rights rights) {
  while (leaf.level > leaf_level(size)) {
    const auto table = new_table();
    if (!table) return false;
    set(leaf, table_entry(*table));
    --leaf.level;
    leaf.at = *table + 8ull * paging::table_index(gfn.address().value, leaf.level);
  }
  set(leaf, leaf_entry(hfn, size, rights));
  return true;
}

std::optional<Gfn> SecondStage::next_resident(Hpa table, int level, Gfn first, Gfn from) const {
  const int shift = 9 * (level - 1);
  for (std::uint64_t index = from > first ? (from.value - first.value) >> shift : 0; index < paging::kEntries;
       ++index) {
    const auto entry = memory_.bytes().load<std::uint64_t>(table.value + 8 * index);
    if (!format().is_present(entry)) continue;
    const Gfn gfn = first + (index << shift);
    if (format().is_leaf(entry, level)) return std::max(gfn, from);
    if (const auto found = next_resident(Hpa{entry & format().address}, level - 1, gfn, from)) return found;
  }
  return std::nullopt;
}

void SecondStage::replace_table(Gfn first, Hfn head) {
  Leaf above;
  Hpa table = root_;
  for (above.level = levels_; above.level >= leaf_level(PageSize::k2M); --above.level) {
    above.at = table + 8ull * paging::table_index(first.address().value, above.level);
    table = Hpa{memory_.bytes().load<std::uint64_t>(above.at.value) & format().address};
  }
  set(above, leaf_entry(head, PageSize::k2M, paging::kRead | paging::kWrite | paging::kExecute));
  memory_.free(table.frame());
  --table_frames_;
}

void SecondStage::set(const Leaf& leaf, std::uint64_t entry) {
  memory_.bytes().store<std::uint64_t>(leaf.at.value, entry);
}

bool SecondStage::split(const Leaf& leaf) {
  const auto table = new_table();
  if (!table) return false;
  const int level = leaf.level - 1;
  const std::uint64_t step = 1ull << paging::level_shift(level);
  const std::uint64_t base = format().target(leaf.entry, leaf.level);
  const std::uint64_t flags = leaf.entry & ~paging::kAddressBits & ~(level == 1 ? format().leaf : 0);
  for (std::uint64_t i = 0; i < paging::kEntries; ++i)
    memory_.bytes().store<std::uint64_t>(table->value + 8 * i, (base + i * step) | flags);
  set(leaf, table_entry(*table));
  return true;
}

}  // namespace vmem::vmm
