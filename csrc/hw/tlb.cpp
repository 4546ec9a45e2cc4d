#include "hw/tlb.hpp"

namespace vmem::hw {

TlbLevel::TlbLevel(const std::vector<TlbConfig>& config) {
  for (const TlbConfig& array : config) {
    for (std::size_t size = 0; size < kPageSizes; ++size)
      if ((array.page_sizes >> size) & 1) array_of_[size] = static_cast<int>(arrays_.size());
    arrays_.emplace_back(array.geometry);
  }
}

void TlbLevel::fill(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry) {
  auto size = static_cast<int>(entry.size);
  while (size >= 0 && array_of_[static_cast<std::size_t>(size)] == kNoArray) --size;
  if (size < 0) return;
  TlbEntry fitted = entry;
  fitted.size = static_cast<PageSize>(size);
  fitted.base = align_down(entry.physical(va), page_bytes(fitted.size));

  Array& array = arrays_[static_cast<std::size_t>(array_of_[static_cast<std::size_t>(size)])];
  const std::uint64_t page = key_page(va, page_shift(fitted.size));
  const std::uint64_t key = (entry.global ? keys.global : keys.own) | (static_cast<std::uint64_t>(size) << kKeySizeShift) | page;
  if (const Array::Slot old = array.find(key, page); old != Array::kMiss) {
    array[old] = fitted;
    array.touch(old);
    return;
  }
  const Array::Slot slot = array.choose(page);
  if (array.key(slot) != 0) forget(array.key(slot), array[slot].global);
  array.assign(slot, key, fitted);
  ++population_[static_cast<std::size_t>(size)];
  if (entry.global) ++globals_;
}

void TlbLevel::forget(std::uint64_t key, bool global) {
  --population_[(key >> kKeySizeShift) & 3];
  if (global) --globals_;
}

void TlbLevel::drop_page(std::uint64_t va, const ContextKeys& keys) {
  visit(va, keys, [&](Array& array, Array::Slot slot) {
    forget(array.key(slot), array[slot].global);
    array.erase(slot);
    return false;
  });
}

void TlbLevel::drop(const std::vector<std::uint8_t>& contexts) {
  for (Array& array : arrays_)
    for (Array::Slot slot = 0; slot < array.entries(); ++slot) {
      if (array.key(slot) == 0 || contexts[key_context(array.key(slot))] == 0) continue;
      forget(array.key(slot), array[slot].global);
      array.erase(slot);
    }
}

void TlbLevel::drop_all() {
  for (Array& array : arrays_) array.clear();
  population_ = {};
  globals_ = 0;
}

}  // namespace vmem::hw
