#include "hw/tlb.hpp"

namespace vmem::hw {

TlbLevel::TlbLevel(const std::vector<TlbConfig>& config, std::uint64_t& clock, Shortcuts* shortcuts, Side side)
    : clock_(clock), shortcuts_(shortcuts), side_(side) {
  for (const TlbConfig& array : config) {
    for (std::size_t size = 0; size < kPageSizes; ++size)
      if ((array.page_sizes >> size) & 1) array_of_[size] = static_cast<int>(arrays_.size());
    arrays_.emplace_back(array.geometry);
  }
}

TlbPlace TlbLevel::fill(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry) {
  auto size = static_cast<int>(entry.size);
  while (size >= 0 && array_of_[static_cast<std::size_t>(size)] == kNoArray) --size;
  if (size < 0) return {};
  TlbEntry fitted = entry;
  fitted.size = static_cast<PageSize>(size);
  fitted.base = align_down(entry.physical(va), page_bytes(fitted.size));

  TlbArray& array = arrays_[static_cast<std::size_t>(array_of_[static_cast<std::size_t>(size)])];
  const std::uint64_t page = key_page(va, page_shift(fitted.size));
  const std::uint64_t key =
      (entry.global ? keys.global : keys.own) | (static_cast<std::uint64_t>(size) << kKeySizeShift) | page;
  const TlbArray::Slot slot = array.choose(page);
  if (array.key(slot) != 0) forget(array, slot);
  array.assign(slot, key, fitted, ++clock_);
  ++population_[static_cast<std::size_t>(size)];
  if (entry.global) ++globals_;
  if (fitted.is_part()) ++parts_[parts_line(va, fitted.guest_size)];
  return {&array, slot};
}

void TlbLevel::forget(const TlbArray& array, TlbArray::Slot slot) {
  const TlbEntry& entry = array[slot];
  const std::uint64_t va = key_address(array.key(slot));
  if (shortcuts_ != nullptr) shortcuts_->forget(va, side_, entry.size);
  --population_[static_cast<std::size_t>(entry.size)];
  if (entry.global) --globals_;
  if (entry.is_part()) --parts_[parts_line(va, entry.guest_size)];
}

void TlbLevel::drop_page(std::uint64_t va, const ContextKeys& keys) {
  visit(va, keys, [&](TlbArray& array, TlbArray::Slot slot) {
    erase(array, slot);
    return false;
  });
}

void TlbLevel::drop(const std::vector<std::uint8_t>& contexts) {
  for (TlbArray& array : arrays_)
    for (TlbArray::Slot slot = 0; slot < array.entries(); ++slot) {
      if (array.key(slot) == 0 || contexts[key_context(array.key(slot))] == 0) continue;
      erase(array, slot);
    }
}

void TlbLevel::drop_all() {
  for (TlbArray& array : arrays_) array.clear();
  population_ = {};
  globals_ = 0;
  parts_ = {};
  if (shortcuts_ != nullptr) shortcuts_->clear();
}

}  // namespace vmem::hw
