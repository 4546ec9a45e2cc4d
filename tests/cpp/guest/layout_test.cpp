#include "guest/layout.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "guest/kernel.hpp"
#include "guest/page_array.hpp"
#include "support/guest_machine.hpp"

namespace vmem::guest {
namespace {

// An observer outside the guest finds these by number: they may grow, but never move.
static_assert(BootInfo::kAt == Gpa{0x1000} && sizeof(BootInfo) == 32);
static_assert(offsetof(BootInfo, magic) == 0 && offsetof(BootInfo, frames) == 8);
static_assert(offsetof(BootInfo, zones) == 16 && offsetof(BootInfo, page_array) == 24);
static_assert(Zone::kAt == Gpa{0x2000} && sizeof(Zone) == 192 && kZones == 3 && kOrders == 11);
static_assert(offsetof(Zone, managed) == 0 && offsetof(Zone, free) == 8 && offsetof(Zone, frontier) == 16);
static_assert(offsetof(Zone, end) == 24 && offsetof(Zone, first) == 32 && offsetof(Zone, min) == 40);
static_assert(offsetof(Zone, reserve) == 64 && offsetof(Zone, areas) == 96);
static_assert(sizeof(FreeArea) == 8 && offsetof(FreeArea, head) == 0 && offsetof(FreeArea, count) == 4);
static_assert(FreeTails::kAt == Gpa{0x2400} && sizeof(FreeTails) == 48);
static_assert(LruList::kAt == Gpa{0x3000} && SwapArea::kAt == Gpa{0x3800} && PerCpuPages::kAt == Gpa{0x4000});
static_assert(sizeof(Page) == 32 && offsetof(Page, next) == 0 && offsetof(Page, previous) == 4);
static_assert(offsetof(Page, use) == 8 && offsetof(Page, order) == 9 && offsetof(Page, flags) == 10);
static_assert(offsetof(Page, references) == 12 && offsetof(Page, index) == 16 && offsetof(Page, owner) == 24);
static_assert(offsetof(Page, slot) == 28);
static_assert(static_cast<int>(PageUse::none) == 0 && static_cast<int>(PageUse::free) == 1);
static_assert(static_cast<int>(PageUse::kernel) == 2 && static_cast<int>(PageUse::table) == 3);
static_assert(static_cast<int>(PageUse::anonymous) == 4 && static_cast<int>(PageUse::per_cpu) == 6);

using Place = std::pair<std::size_t, std::size_t>;  ///< offset, bytes

#define PLACE(Struct, member)                                                 \
  {                                                                           \
    #Struct "." #member, { offsetof(Struct, member), sizeof(Struct::member) } \
  }
const std::map<std::string, Place> kPlaces = {
    PLACE(BootInfo, magic),   PLACE(BootInfo, frames),  PLACE(BootInfo, zones),    PLACE(BootInfo, page_array),
    PLACE(Zone, managed),     PLACE(Zone, free),        PLACE(Zone, frontier),     PLACE(Zone, end),
    PLACE(Zone, first),       PLACE(Zone, min),         PLACE(Zone, low),          PLACE(Zone, high),
    PLACE(Zone, reserve),     PLACE(Zone, areas),       PLACE(FreeArea, head),     PLACE(FreeArea, count),
    PLACE(FreeTails, tails),  PLACE(LruList, head),     PLACE(LruList, tail),      PLACE(LruList, frames),
    PLACE(PerCpuPages, head), PLACE(PerCpuPages, tail), PLACE(PerCpuPages, count), PLACE(PerCpuPages, spills),
    PLACE(SwapArea, slots),   PLACE(SwapArea, free),    PLACE(SwapArea, map),      PLACE(SwapArea, clusters),
    PLACE(SwapSlot, page),    PLACE(SwapSlot, entries), PLACE(SwapSlot, flags),    PLACE(SwapSlot, evicted),
    PLACE(Page, next),        PLACE(Page, previous),    PLACE(Page, use),          PLACE(Page, order),
    PLACE(Page, flags),       PLACE(Page, references),  PLACE(Page, index),        PLACE(Page, owner),
    PLACE(Page, slot)};
#undef PLACE

/// What stands between the first two backquotes.
std::string unquoted(const std::string& text) {
  const auto open = text.find('`'), close = text.find('`', open + 1);
  return close == std::string::npos ? std::string() : text.substr(open + 1, close - open - 1);
}

TEST_CASE("docs/reference/guest-memory.md gives every field its offset and size") {
  std::ifstream page(VMEM_SOURCE_DIR "/docs/reference/guest-memory.md");
  REQUIRE(page);
  std::map<std::string, Place> documented;
  std::string line, of;
  while (std::getline(page, line)) {
    std::istringstream words(line);
    std::string first, name, bar;
    Place place;
    words >> first >> name;
    if (first == "##") of = unquoted(name);
    if (first == "|" && words >> bar >> place.first >> bar >> place.second)
      documented[of + "." + unquoted(name)] = place;
  }
  CHECK(documented.size() == kPlaces.size());
  for (const auto& [name, place] : kPlaces) {
    CAPTURE(name);
    const auto at = documented.find(name);
    REQUIRE(at != documented.end());
    CHECK(at->second == place);
  }
}

TEST_CASE("a booted kernel's data stand where the layout says") {
  constexpr std::uint64_t kBytes = 16ull << 20, kFrames = kBytes / kPageSize;
  test::BareGuest guest(test::vm_config(vmm::MmuMode::nested, kBytes));
  Kernel kernel({&guest.vcpu}, kBytes, 4);
  const auto word = [&](std::uint64_t at) { return guest.vcpu.load<std::uint64_t>(Gpa{at}); };
  std::byte magic[8];
  guest.vcpu.read(Gpa{0x1000}, magic);
  CHECK(std::string(reinterpret_cast<const char*>(magic), 8) == "VMGUEST1");
  CHECK(word(0x1008) == kFrames);
  CHECK(word(0x1010) == 0x2000);
  CHECK(word(0x1018) == 0x10000);
  const std::uint64_t first = 0x10 + kFrames * 32 / kPageSize;  // behind the page array
  CHECK(word(0x2000) == kFrames - first);
  CHECK(word(0x2008) == kFrames - first);
  CHECK(word(0x2018) == kFrames);
  CHECK(word(0x2020) == first);
  CHECK(word(0x20c0) == 0);  // no DMA32
  CHECK(kernel.managed_frames() == kFrames - first);
  CHECK(page_entry(Gfn{100}) == Gpa{0x10000 + 3200});
  CHECK(area_entry(zone_entry(0), 3) == Gpa{0x2060 + 24});
}

TEST_CASE("a guest too small for its kernel is refused") {
  test::BareGuest guest(test::vm_config(vmm::MmuMode::native, kMinimumMemory - kPageSize));
  CHECK_THROWS_AS(Kernel({&guest.vcpu}, kMinimumMemory - kPageSize, 4), ConfigError);
  test::BareGuest enough(test::vm_config(vmm::MmuMode::native, kMinimumMemory));
  CHECK_NOTHROW(Kernel({&enough.vcpu}, kMinimumMemory, 4));
}

}  // namespace
}  // namespace vmem::guest
