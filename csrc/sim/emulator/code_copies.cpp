#include "sim/emulator/code_copies.hpp"

#include <algorithm>
#include <cstring>

namespace vmem::sim {

void CodeCopies::add(std::uint64_t page, const std::optional<Bytes>& bytes) {
  const std::uint64_t slot = used_++;
  if (bytes) {
    std::memcpy(bytes_of(slot), bytes->data(), kPageSize);
  } else {
    std::fill_n(bytes_of(slot), kPageSize, kAbsent);
  }
  pages_[page] = {slot, false};
  lowest_ = std::min(lowest_, page);
  highest_ = std::max(highest_, page);
}

bool CodeCopies::compare(std::uint64_t page, Bytes bytes) {
  const auto at = pages_.find(page);
  const bool right = at != pages_.end() && std::memcmp(bytes_of(at->second.slot), bytes.data(), kPageSize) == 0;
  if (!right) add(page, bytes);
  pages_[page].current = true;
  return right;
}

void CodeCopies::outdate_all() {
  for (auto& [page, copy] : pages_) copy.current = false;
}

void CodeCopies::clear() {
  pages_.clear();
  used_ = 0;
  lowest_ = ~0ull;
  highest_ = 0;
}

std::byte CodeCopies::at(Gva address) const {
  const auto copy = pages_.find(address.frame().value);
  return copy == pages_.end() ? kAbsent : bytes_of(copy->second.slot)[address.offset()];
}

}  // namespace vmem::sim
