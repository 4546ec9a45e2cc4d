#include "guest/vma.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "support/random.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kPages = 120, kFirst = VmaSet::kLowest / kPageSize;
constexpr std::uint64_t address_of(std::uint64_t page) { return (kFirst + page) * kPageSize; }

/// What each page says of itself; nothing where nothing is mapped.
struct PageModel {
  std::string name;
  Protection protection;
};
using Model = std::array<std::optional<PageModel>, kPages>;

bool free_run(const Model& model, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t page = first; page < first + count; ++page)
    if (model[page]) return false;
  return true;
}
bool full_run(const Model& model, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t page = first; page < first + count; ++page)
    if (!model[page]) return false;
  return true;
}

std::optional<std::uint64_t> highest_gap(const Model& model, std::uint64_t count, std::uint64_t alignment) {
  for (std::uint64_t first = kPages - count + 1; first-- > 0;)
    if (address_of(first) % alignment == 0 && free_run(model, first, count)) return address_of(first);
  return std::nullopt;
}

void compare(const VmaSet& areas, const Model& model) {
  std::uint64_t mapped = 0, held = 0;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    for (const std::uint64_t offset : {0ull, 4095ull}) {
      const Vma* vma = areas.find(address_of(page) + offset);
      REQUIRE((vma != nullptr) == model[page].has_value());
      if (vma == nullptr) continue;
      REQUIRE(vma->name == model[page]->name);
      REQUIRE(vma->protection == model[page]->protection);
    }
    mapped += model[page] ? 1 : 0;
  }
  std::uint64_t last_end = 0;
  for (const auto& [start, vma] : areas.areas()) {
    REQUIRE(start == vma.start);
    REQUIRE(vma.start < vma.end);
    REQUIRE(vma.start >= last_end);
    last_end = vma.end;
    held += (vma.end - vma.start) / kPageSize;
  }
  REQUIRE(held == mapped);
  CHECK(areas.find(0) == nullptr);
  CHECK(areas.find(~0ull) == nullptr);
}

void ask(const VmaSet& areas, const Model& model, std::uint64_t first, std::uint64_t count, std::uint64_t alignment) {
  REQUIRE(areas.overlaps(address_of(first), address_of(first + count)) == !free_run(model, first, count));
  REQUIRE(areas.covers(address_of(first), address_of(first + count)) == full_run(model, first, count));
  REQUIRE(areas.find_gap(count * kPageSize, alignment) == highest_gap(model, count, alignment));
  const Vma* around = areas.find(address_of(first));
  if (around != nullptr && around->start < address_of(first)) return;  // asked of borders only
  std::uint64_t below = first, above = first;
  while (below > 0 && !model[below - 1]) --below;
  while (above < kPages && !model[above]) ++above;
  REQUIRE(areas.floor_of(address_of(first)) == (below == 0 ? 0 : address_of(below)));
  REQUIRE(areas.ceiling_of(address_of(first)) == address_of(above));
}

TEST_CASE("random areas agree with a page-by-page map") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    VmaSet areas(address_of(kPages));
    Model model;
    test::Random random(seed);
    for (int step = 0; step < 1500; ++step) {
      const std::uint64_t first = random.below(kPages), count = random.below(std::min(kPages - first, 12 + seed)) + 1;
      const Protection protection{random.one_in(2), random.one_in(2), random.one_in(2)};
      const std::uint64_t choice = random.below(4ull);
      if (choice < 2 && free_run(model, first, count)) {
        const std::string name = std::to_string(step);
        areas.insert({address_of(first), address_of(first + count), protection, PageSize::k4K, name});
        for (std::uint64_t page = first; page < first + count; ++page) model[page] = {name, protection};
      } else if (choice == 2) {
        areas.erase(address_of(first), address_of(first + count));
        for (std::uint64_t page = first; page < first + count; ++page) model[page].reset();
      } else if (choice == 3 && full_run(model, first, count)) {
        areas.change(address_of(first), address_of(first + count), [&](Vma& area) { area.protection = protection; });
        for (std::uint64_t page = first; page < first + count; ++page) model[page]->protection = protection;
      }
      ask(areas, model, first, count, kPageSize << random.below(4));
      if (step % 5 == 0) compare(areas, model);
    }
  }
}

TEST_CASE("an empty address space has its highest gap at the top and none that is too long") {
  const VmaSet areas(1ull << 47);
  CHECK(areas.find_gap(kPageSize, kPageSize) == (1ull << 47) - kPageSize);
  CHECK(areas.find_gap(kPageSize, 1 << 30) == (1ull << 47) - (1 << 30));
  CHECK(areas.find_gap((1ull << 47) - VmaSet::kLowest, kPageSize) == VmaSet::kLowest);
  CHECK_FALSE(areas.find_gap((1ull << 47) - VmaSet::kLowest + kPageSize, kPageSize));
  CHECK_FALSE(areas.find_gap(~0ull - 4095, kPageSize));
  CHECK(areas.floor_of(5 << 20) == 0);
  CHECK(areas.ceiling_of(5 << 20) == 1ull << 47);
}

TEST_CASE("a protection allows what it says") {
  for (unsigned bits = 0; bits < 8; ++bits) {
    const Protection protection{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
    if (protection.read || bits == 0) CHECK(protection.allows(AccessKind::load) == protection.read);
    CHECK(protection.allows(AccessKind::store) == protection.write);
    CHECK(protection.allows(AccessKind::fetch) == protection.execute);
  }
}

}  // namespace
}  // namespace vmem::guest
