#include "guest/buddy.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "core/error.hpp"
#include "guest/page_array.hpp"
#include "support/guest_machine.hpp"
#include "support/random.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kFrames = 20000, kFirst = 180, kEnd = 19950;  // neither a multiple of a block

/// A flag for each frame, and the blocks given out.
struct Model {
  std::vector<bool> free = std::vector<bool>(kFrames, false);
  std::map<std::uint64_t, int> blocks;

  Model() { std::fill(free.begin() + kFirst, free.begin() + kEnd, true); }
  std::uint64_t free_frames() const { return static_cast<std::uint64_t>(std::count(free.begin(), free.end(), true)); }
  bool is_free(std::uint64_t first, std::uint64_t count) const {
    if (first + count > kFrames) return false;
    for (std::uint64_t at = first; at < first + count; ++at)
      if (!free[at]) return false;
    return true;
  }
  bool has_block(int order) const {
    for (std::uint64_t at = 0; at + (1ull << order) <= kFrames; at += 1ull << order)
      if (is_free(at, 1ull << order)) return true;
    return false;
  }
  std::uint64_t maximal_blocks(int order, std::uint64_t end) const {
    std::uint64_t found = 0;
    for (std::uint64_t at = 0; at + (1ull << order) <= end; at += 1ull << order)
      found +=
          is_free(at, 1ull << order) && (order == kMaxOrder || !is_free(at & ~((2ull << order) - 1), 2ull << order));
    return found;
  }
  void take(std::uint64_t head, int order) {
    REQUIRE(head % (1ull << order) == 0);
    REQUIRE(is_free(head, 1ull << order));
    std::fill_n(free.begin() + static_cast<std::ptrdiff_t>(head), 1ull << order, false);
    blocks[head] = order;
  }
  void release(std::uint64_t head) {
    std::fill_n(free.begin() + static_cast<std::ptrdiff_t>(head), 1ull << blocks.at(head), true);
    blocks.erase(head);
  }
};

struct Zonal {
  test::BareGuest guest;
  hw::Vcpu& vcpu = guest.vcpu;
  Model model{};
  Buddy buddy{zone_entry(0)};

  explicit Zonal(vmm::MmuMode mode) : guest(test::vm_config(mode, kFrames * kPageSize)) {
    buddy.initialise(vcpu, Gfn{kFirst}, Gfn{kEnd});
  }
  std::uint64_t frontier() { return vcpu.load<std::uint64_t>(Gpa{0x2010}); }
  std::uint32_t blocks_listed(int order) {
    return vcpu.load<std::uint32_t>(Gpa{0x2060 + 8 * static_cast<std::uint64_t>(order) + 4});
  }
  template <class T>
  T page_field(std::uint64_t gfn, std::uint64_t offset) {
    return vcpu.load<T>(Gpa{0x10000 + 32 * gfn + offset});
  }
  void expect_page(std::uint64_t gfn, PageUse use, int order, std::uint32_t references) {
    REQUIRE(page_field<std::uint8_t>(gfn, 8) == static_cast<std::uint8_t>(use));
    REQUIRE(page_field<std::uint8_t>(gfn, 9) == order);
    REQUIRE(page_field<std::uint32_t>(gfn, 12) == references);
  }
  void check() {
    buddy.check(vcpu);
    REQUIRE(buddy.free_frames(vcpu) == model.free_frames());
    for (int order = 0; order <= kMaxOrder; ++order)
      REQUIRE(blocks_listed(order) == model.maximal_blocks(order, frontier()));
  }
};

void random_step(Zonal& zone, test::Random& random) {
  Model& model = zone.model;
  const std::uint64_t choice = random.below(20ull);
  if (choice < 9) {
    const int order = random.one_in(3) ? random.below(kOrders) : random.below(3);
    const auto gfn = zone.buddy.allocate(zone.vcpu, order, PageUse::anonymous);
    REQUIRE(gfn.has_value() == model.has_block(order));
    if (!gfn) return;
    model.take(gfn->value, order);
    zone.expect_page(gfn->value, PageUse::anonymous, order, 1);
  } else if (choice == 9) {
    const int order = kMaxOrder + 1 + random.below(2);
    const std::uint64_t first = (zone.frontier() + (1ull << order) - 1) >> order << order;
    const auto gfn = zone.buddy.allocate_gigantic(zone.vcpu, order, PageUse::table);
    REQUIRE(gfn.has_value() == (first + (1ull << order) <= kEnd));
    if (!gfn) return;
    REQUIRE(gfn->value == first);
    model.take(first, order);
    zone.expect_page(first, PageUse::table, order, 1);
  } else if (!model.blocks.empty()) {
    const auto [head, order] = *std::next(model.blocks.begin(), random.below(static_cast<int>(model.blocks.size())));
    if (choice == 10 && order <= 4) {
      zone.vcpu.store<std::uint32_t>(Gpa{0x10000 + 32 * head + 12}, 3);
      const auto use = static_cast<PageUse>(zone.page_field<std::uint8_t>(head, 8));
      Buddy::split(zone.vcpu, Gfn{head}, order);
      for (std::uint64_t i = 0; i < 1ull << order; ++i) {
        model.blocks[head + i] = 0;
        zone.expect_page(head + i, use, 0, 3);
      }
    } else {
      zone.buddy.free(zone.vcpu, Gfn{head}, order);
      model.release(head);
    }
  }
}

TEST_CASE("random allocation in guest memory agrees with a map of frames, and everything merges in the end") {
  for (const vmm::MmuMode mode : {vmm::MmuMode::native, vmm::MmuMode::nested}) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      Zonal zone(mode);
      zone.check();
      test::Random random(seed);
      for (int step = 0; step < 1500; ++step) {
        random_step(zone, random);
        if (step % 10 == 0) zone.check();
      }
      while (!zone.model.blocks.empty()) {
        const auto [head, order] = *zone.model.blocks.begin();
        zone.buddy.free(zone.vcpu, Gfn{head}, order);
        zone.model.release(head);
      }
      zone.check();
      CHECK(zone.buddy.free_frames(zone.vcpu) == kEnd - kFirst);
      zone.guest.hypervisor.check();
    }
  }
}

TEST_CASE("memory that was never allocated has never been touched") {
  Zonal zone(vmm::MmuMode::nested);
  for (int i = 0; i < 100; ++i) REQUIRE(zone.buddy.allocate(zone.vcpu, 0, PageUse::anonymous));
  CHECK(zone.frontier() == 1024);
  CHECK(zone.guest.vm.resident_frames() <= 1 + 32 * 1024 / kPageSize + 1);  // the zone, and the page array so far
}

TEST_CASE("check() notices what breaks the lists") {
  Zonal zone(vmm::MmuMode::native);
  const auto gfn = zone.buddy.allocate(zone.vcpu, 4, PageUse::anonymous);
  REQUIRE(gfn);
  CHECK_NOTHROW(zone.buddy.check(zone.vcpu));
  const std::uint64_t head = 0x10000 + 32ull * zone.vcpu.load<std::uint32_t>(Gpa{0x2060 + 8 * 5});
  SUBCASE("another use") { zone.vcpu.store<std::uint8_t>(Gpa{head + 8}, 4); }
  SUBCASE("another order") { zone.vcpu.store<std::uint8_t>(Gpa{head + 9}, 4); }
  SUBCASE("a broken back link") { zone.vcpu.store<std::uint32_t>(Gpa{head + 4}, 999); }
  SUBCASE("a wrong count of blocks") { zone.vcpu.store<std::uint32_t>(Gpa{0x2060 + 8 * 5 + 4}, 9); }
  SUBCASE("a wrong count of frames") { zone.vcpu.store<std::uint64_t>(Gpa{0x2008}, 9); }
  CHECK_THROWS_AS(zone.buddy.check(zone.vcpu), InvariantError);
}

TEST_CASE("a block that the host knows of is used last, and is forgotten when it leaves its list") {
  for (const auto mode : {vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    Zonal z(mode);
    std::vector<Gfn> blocks;
    for (int i = 0; i < 6; ++i) blocks.push_back(*z.buddy.allocate(z.vcpu, 9, PageUse::kernel));
    // Every second one is free, so that none merges.
    for (const int i : {0, 2, 4}) CHECK(z.buddy.free(z.vcpu, blocks[static_cast<std::size_t>(i)], 9) == 9);
    std::vector<Gfn> listed;
    for (Gfn at = z.buddy.first_free(z.vcpu, 9); at.value != 0; at = Buddy::next_free(z.vcpu, at)) listed.push_back(at);
    REQUIRE(listed.size() >= 3);
    const std::uint64_t free = z.buddy.free_frames(z.vcpu);
    z.buddy.isolate(z.vcpu, listed[0], 9);
    CHECK(z.buddy.free_frames(z.vcpu) == free - 512);
    z.buddy.check(z.vcpu);
    CHECK(z.buddy.put_back(z.vcpu, listed[0], 9) == 9);
    Buddy::set_reported(z.vcpu, listed[0]);
    z.buddy.check(z.vcpu);
    CHECK(z.buddy.free_frames(z.vcpu) == free);
    CHECK(z.buddy.first_free(z.vcpu, 9) == listed[1]);
    z.buddy.rotate_to_front(z.vcpu, listed[2], 9);
    z.buddy.check(z.vcpu);
    CHECK(z.buddy.first_free(z.vcpu, 9) == listed[2]);
    z.buddy.rotate_to_front(z.vcpu, listed[1], 9);
    z.buddy.check(z.vcpu);
    CHECK(Buddy::is_reported(z.vcpu, listed[0]));
    std::vector<Gfn> taken;
    for (std::size_t i = 0; i < listed.size(); ++i) taken.push_back(*z.buddy.allocate(z.vcpu, 9, PageUse::kernel));
    CHECK(std::find(taken.begin(), taken.end(), listed[0]) == taken.end() - 1);
    CHECK_FALSE(Buddy::is_reported(z.vcpu, listed[0]));
    const auto first = std::find_if(blocks.begin(), blocks.end(), [&](Gfn block) {
      return block.value % 1024 == 0 && std::find(blocks.begin(), blocks.end(), block + 512) != blocks.end();
    });
    REQUIRE(first != blocks.end());
    CHECK(z.buddy.free(z.vcpu, *first, 9) == 9);
    Buddy::set_reported(z.vcpu, *first);
    CHECK(z.buddy.free(z.vcpu, *first + 512, 9) == 10);
    CHECK_FALSE(Buddy::is_reported(z.vcpu, *first));
    z.buddy.check(z.vcpu);
  }
}

}  // namespace
}  // namespace vmem::guest
