#include "sim/trace_pages.hpp"

#include <algorithm>
#include <utility>

namespace vmem::sim {

namespace {

constexpr std::uint8_t kStored = 1u << static_cast<unsigned>(AccessKind::store);
constexpr std::uint8_t kFetched = 1u << static_cast<unsigned>(AccessKind::fetch);

}  // namespace

void TouchedPages::insert(Slot& slot, std::uint64_t page, std::uint8_t rights) {
  slot = {page, rights};
  fresh_.push_back(page);
  if (++count_ * 2 <= slots_.size()) return;
  std::vector<Slot> old(slots_.size() * 2);
  std::swap(old, slots_);
  for (const Slot& moved : old)
    if (moved.rights != 0) find(moved.page) = moved;
}

std::vector<std::uint64_t> TouchedPages::take_new() { return std::exchange(fresh_, {}); }

std::vector<Region> TouchedPages::regions(std::uint64_t bridge) const {
  std::vector<Slot> pages;
  pages.reserve(count_);
  for (const Slot& slot : slots_)
    if (slot.rights != 0) pages.push_back(slot);
  std::sort(pages.begin(), pages.end(), [](const Slot& a, const Slot& b) { return a.page < b.page; });

  std::vector<Region> result;
  for (const Slot& slot : pages) {
    const bool write = (slot.rights & kStored) != 0;
    const bool execute = (slot.rights & kFetched) != 0;
    if (!result.empty()) {
      Region& last = result.back();
      if (last.execute == execute && slot.page - (last.start + last.length) <= bridge) {
        last.length = slot.page + kPageSize - last.start;
        last.write |= write;
        continue;
      }
    }
    result.push_back({slot.page, kPageSize, write, execute});
  }
  return result;
}

}  // namespace vmem::sim
