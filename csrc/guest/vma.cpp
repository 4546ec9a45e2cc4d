#include "guest/vma.hpp"

#include <iterator>

namespace vmem::guest {

const Vma* VmaSet::find(std::uint64_t address) const {
  auto at = areas_.upper_bound(address);
  if (at == areas_.begin()) return nullptr;
  --at;
  return at->second.contains(address) ? &at->second : nullptr;
}

bool VmaSet::overlaps(std::uint64_t start, std::uint64_t end) const {
  const auto at = areas_.lower_bound(start);
  return (at != areas_.end() && at->first < end) || find(start) != nullptr;
}

std::optional<std::uint64_t> VmaSet::find_gap(std::uint64_t length, std::uint64_t alignment) const {
  std::uint64_t gap_end = top_;
  for (auto at = areas_.rbegin();; ++at) {
    const std::uint64_t gap_start = at == areas_.rend() ? kLowest : at->second.end;
    if (gap_end >= gap_start && gap_end - gap_start >= length) {
      const std::uint64_t start = align_down(gap_end - length, alignment);
      if (start >= gap_start) return start;
    }
    if (at == areas_.rend()) return std::nullopt;
    gap_end = at->first;
  }
}

void VmaSet::cut_at(std::uint64_t address) {
  const Vma* vma = find(address);
  if (vma == nullptr || vma->start == address) return;
  Vma upper = *vma;
  upper.start = address;
  if (upper.file != 0) upper.offset += address - vma->start;
  upper.grows_to = 0;
  areas_[vma->start].end = address;
  areas_[address] = upper;
}

void VmaSet::erase(std::uint64_t start, std::uint64_t end) {
  cut_at(start);
  cut_at(end);
  areas_.erase(areas_.lower_bound(start), areas_.lower_bound(end));
}

bool VmaSet::covers(std::uint64_t start, std::uint64_t end) const {
  for (std::uint64_t at = start; at < end;) {
    const Vma* vma = find(at);
    if (vma == nullptr) return false;
    at = vma->end;
  }
  return true;
}

const Vma* VmaSet::stack_above(std::uint64_t address) const {
  const auto above = areas_.upper_bound(address);
  if (above == areas_.end() || above->second.grows_to == 0 || address < above->second.grows_to) return nullptr;
  // stack_guard_gap: so much stays free below.
  constexpr std::uint64_t kGap = 256 * kPageSize;
  const std::uint64_t below = above == areas_.begin() ? 0 : std::prev(above)->second.end;
  return align_down(address, kPageSize) >= below + kGap ? &above->second : nullptr;
}

void VmaSet::grow(std::uint64_t start, std::uint64_t to) {
  auto node = areas_.extract(start);
  node.key() = node.mapped().start = to;
  areas_.insert(std::move(node));
}

std::uint64_t VmaSet::floor_of(std::uint64_t address) const {
  const auto at = areas_.lower_bound(address);
  return at == areas_.begin() ? 0 : std::prev(at)->second.end;
}

std::uint64_t VmaSet::ceiling_of(std::uint64_t address) const {
  const auto at = areas_.lower_bound(address);
  return at == areas_.end() ? top_ : at->first;
}

}  // namespace vmem::guest
