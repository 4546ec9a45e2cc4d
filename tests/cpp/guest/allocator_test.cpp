// Zones and per-CPU lists before the buddies, and who may dig how deep.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "core/error.hpp"
#include "guest/page_allocator.hpp"
#include "support/guest_machine.hpp"
#include "support/random.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;

struct Fixture {
  test::BareGuest guest{test::vm_config(vmm::MmuMode::native, 64 * kMiB)};
  hw::Vcpu& vcpu = guest.vcpu;
  PageAllocator pages{vcpu, 1000, 16384, 1};

  std::vector<Gfn> take_all(Need need) {
    std::vector<Gfn> taken;
    while (const auto gfn = pages.allocate(vcpu, 0, PageUse::kernel, need)) taken.push_back(*gfn);
    return taken;
  }
};

/// Frees a frame whenever it is asked to, so many times.
struct Giver final : Pressure {
  PageAllocator& pages;
  std::vector<Gfn> hoard;
  int woken = 0, asked = 0;

  Giver(PageAllocator& of, std::vector<Gfn> frames) : pages(of), hoard(std::move(frames)) { pages.relieve_with(*this); }
  void on_low_memory(hw::Vcpu&) override { ++woken; }
  std::uint64_t reclaim(hw::Vcpu& vcpu, int) override {
    ++asked;
    std::uint64_t freed = 0;
    for (; freed < 32 && !hoard.empty(); ++freed, hoard.pop_back()) pages.free(vcpu, hoard.back(), 0);
    return freed;
  }
};

TEST_CASE("ordinary allocations stop at the min watermarks and the reserve of the lower zone, desperate ones do not") {
  Fixture f;
  const auto zones = f.pages.zoneinfo(f.vcpu);
  REQUIRE(zones.size() == 2);
  const std::uint64_t kept = zones[0].marks.min + zones[0].reserve[1] + zones[1].marks.min;
  const std::uint64_t all = f.pages.free_frames(f.vcpu);
  auto taken = f.take_all(Need::patient);
  CHECK(taken.size() == all - kept);
  CHECK_FALSE(f.pages.allocate(f.vcpu, 0, PageUse::kernel, Need::modest));
  CHECK_FALSE(f.pages.allocate(f.vcpu, 0, PageUse::kernel, Need::once));
  const auto last = f.take_all(Need::desperate);
  CHECK(last.size() == kept);
  CHECK(f.pages.free_frames(f.vcpu) == 0);
  f.pages.check(f.vcpu);
  for (const Gfn gfn : last) f.pages.free(f.vcpu, gfn, 0);
  for (const Gfn gfn : taken) f.pages.free(f.vcpu, gfn, 0);
  CHECK(f.pages.free_frames(f.vcpu) == all);
  f.pages.drain(f.vcpu);
  CHECK(f.pages.zone_free_frames(f.vcpu) == all);
  f.pages.check(f.vcpu);
}

TEST_CASE("the higher zone is used first, and on a fresh guest frames come in ascending order") {
  Fixture f;
  std::uint64_t previous = 4095;
  for (int i = 0; i < 5000; ++i) {
    const auto gfn = f.pages.allocate(f.vcpu, 0, PageUse::anonymous);
    REQUIRE(gfn);
    REQUIRE(gfn->value == previous + 1);
    previous = gfn->value;
  }
  CHECK(f.pages.zoneinfo(f.vcpu)[0].free == 3096);
}

TEST_CASE("below low kswapd is woken, at min reclaim is asked, as often as the allocation is patient") {
  Fixture f;
  auto taken = f.take_all(Need::patient);
  Giver giver(f.pages, std::vector<Gfn>(taken.end() - 200, taken.end()));
  CHECK(f.pages.allocate(f.vcpu, 0, PageUse::kernel, Need::patient));
  CHECK(giver.woken == 1);
  CHECK(giver.asked >= 1);
  giver.asked = 0;
  CHECK_FALSE(f.pages.allocate(f.vcpu, kMaxOrder, PageUse::kernel, Need::once));
  CHECK(giver.asked == 0);  // not worth it
  f.take_all(Need::patient);
  CHECK(giver.hoard.empty());
  giver.asked = 0;
  CHECK_FALSE(f.pages.allocate(f.vcpu, 0, PageUse::kernel, Need::once));
  CHECK(giver.asked == 1);
}

TEST_CASE("a vCPU's list goes back in growing pieces when it only frees, and stays short while reclaim runs") {
  Fixture f;
  const auto taken = f.take_all(Need::patient);
  const auto low = f.pages.zoneinfo(f.vcpu)[1].marks.low;
  std::uint64_t longest = 0;
  for (const Gfn gfn : taken) {
    f.pages.free(f.vcpu, gfn, 0);
    longest = std::max(longest, f.pages.zoneinfo(f.vcpu)[1].per_cpu);
  }
  CHECK(longest <= low);
  CHECK(longest + 10 >= low);
  f.pages.set_reclaiming(true);
  const auto again = f.take_all(Need::patient);
  for (const Gfn gfn : again) f.pages.free(f.vcpu, gfn, 0);
  CHECK(f.pages.zoneinfo(f.vcpu)[1].per_cpu <= 4 * 63);
  f.pages.check(f.vcpu);
}

TEST_CASE("a span in a row is taken from a block or from untouched memory") {
  Fixture f;
  const std::uint64_t before = f.pages.free_frames(f.vcpu);
  const auto small = f.pages.allocate_span(f.vcpu, 17, PageUse::kernel);
  const auto large = f.pages.allocate_span(f.vcpu, 3000, PageUse::kernel);
  REQUIRE((small && large));
  CHECK(f.pages.free_frames(f.vcpu) == before - 3017);
  f.pages.check(f.vcpu);
  CHECK_FALSE(f.pages.allocate_span(f.vcpu, 20'000, PageUse::kernel));
}

TEST_CASE("check() notices a broken per-CPU list") {
  Fixture f;
  REQUIRE(f.pages.allocate(f.vcpu, 0, PageUse::kernel));
  f.pages.check(f.vcpu);
  const Gpa list = PerCpuPages::kAt + sizeof(PerCpuPages);
  SUBCASE("a wrong count") { f.vcpu.store<std::uint32_t>(list + 8, 5); }
  SUBCASE("a wrong tail") { f.vcpu.store<std::uint32_t>(list + 4, 5); }
  SUBCASE("a page of another use") {
    f.vcpu.store<std::uint8_t>(page_entry(Gfn{f.vcpu.load<std::uint32_t>(list)}) + 8, 4);
  }
  CHECK_THROWS_AS(f.pages.check(f.vcpu), InvariantError);
}

}  // namespace
}  // namespace vmem::guest
