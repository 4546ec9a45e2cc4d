#include "hw/tlb.hpp"

namespace vmem::hw {

TlbLevel::TlbLevel(const std::vector<TlbConfig>& config, std::uint64_t& clock, Shortcuts* shortcuts, Side side)
    : clock_(clock), shortcuts_(shortcuts), side_(side) {
  arrays_.reserve(config.size());  // array_of_ points into it
  for (const TlbConfig& array : config) {
    arrays_.emplace_back(array.geometry);
    for (std::size_t size = 0; size < kPageSizes; ++size)
      if ((array.page_sizes >> size) & 1) array_of_[size] = &arrays_.back();
  }
}

TlbPlace TlbLevel::lookup_others(std::uint64_t va, const ContextKeys& keys) {
  TlbPlace found;
  visit(va, keys, [&](TlbArray& array, TlbArray::Slot slot) {
    found = {&array, slot};
    return true;
  });
  if (found) found.array->touch(found.slot, ++clock_);
  return found;
}

TlbPlace TlbLevel::fill_other(std::uint64_t va, const ContextKeys& keys, const TlbEntry& entry) {
  auto size = static_cast<std::size_t>(entry.size);
  while (array_of_[size] == nullptr) {
    if (size == 0) return {};
    --size;
  }
  TlbEntry fitted = entry;
  fitted.size = static_cast<PageSize>(size);
  fitted.base = align_down(entry.physical(va), page_bytes(fitted.size));

  TlbArray& array = *array_of_[size];
  const std::uint64_t page = key_page(va, page_shift(fitted.size));
  const std::uint64_t key =
      (entry.global ? keys.global : keys.own) | (static_cast<std::uint64_t>(size) << kKeySizeShift) | page;
  const TlbArray::Slot slot = array.choose(page);
  replace(array, slot, va, fitted);
  array.assign(slot, page, key, fitted, ++clock_);
  return {&array, slot};
}

void TlbLevel::replace(const TlbArray& array, TlbArray::Slot slot, std::uint64_t va, const TlbEntry& entry) {
  if (const std::uint64_t key = array.key(slot); key != 0) {
    forget_shortcuts(key, array[slot].size);
    count_out(key_address(key), array[slot]);
  }
  count_in(va, entry);
}

void TlbLevel::count_in(std::uint64_t va, const TlbEntry& entry) {
  const auto size = static_cast<std::size_t>(entry.size);
  ++population_[size];
  populated_ |= 1u << size;
  if (entry.global) ++globals_;
  if (!entry.is_plain()) ++others_;
  if (entry.is_part()) ++parts_[parts_line(va, entry.guest_size)];
}

void TlbLevel::count_out(std::uint64_t va, const TlbEntry& entry) {
  const auto size = static_cast<std::size_t>(entry.size);
  if (--population_[size] == 0) populated_ &= ~(1u << size);
  if (entry.global) --globals_;
  if (!entry.is_plain()) --others_;
  if (entry.is_part()) --parts_[parts_line(va, entry.guest_size)];
}

void TlbLevel::erase(TlbArray& array, TlbArray::Slot slot) {
  const std::uint64_t key = array.key(slot);
  forget_shortcuts(key, array[slot].size);
  count_out(key_address(key), array[slot]);
  array.erase(slot);
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
  populated_ = 0;
  globals_ = others_ = 0;
  parts_ = {};
  if (shortcuts_ != nullptr) shortcuts_->clear();
}

}  // namespace vmem::hw
