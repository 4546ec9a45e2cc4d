#include "hw/kernel_window.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "support/random.hpp"

namespace vmem::hw {
namespace {

TEST_CASE("an empty window finds nothing, gPFN 0 included") {
  const KernelWindow window;
  for (const std::uint64_t gfn : {0ull, 1ull, 255ull, 256ull}) {
    CHECK(window.find(Gfn{gfn}, false) == nullptr);
    CHECK(window.find(Gfn{gfn}, true) == nullptr);
  }
}

TEST_CASE("what is filled for loads does not serve stores") {
  KernelWindow window;
  std::byte page{};
  window.fill(Gfn{7}, false, &page);
  CHECK(window.find(Gfn{7}, false) == &page);
  CHECK(window.find(Gfn{7}, true) == nullptr);
  window.fill(Gfn{7}, true, &page);
  CHECK(window.find(Gfn{7}, true) == &page);
}

/// It may forget at any time, but never give a page that was not the last one filled, or one that was dropped.
TEST_CASE("a window never shows what is not there any more") {
  KernelWindow window;
  std::vector<std::byte> pages(64);
  std::map<std::pair<std::uint64_t, bool>, std::byte*> truth;
  test::Random random(4);
  int found = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t gfn = random.below(3ull) * 256 + random.below(8ull);  // lines are shared
    const bool store = random.one_in(2);
    if (random.one_in(500)) {
      window.clear();
      truth.clear();
    } else if (random.one_in(10)) {
      window.drop(Gfn{gfn});
      truth.erase({gfn, false});
      truth.erase({gfn, true});
    } else if (random.one_in(3)) {
      std::byte* const page = &random.pick(pages);
      window.fill(Gfn{gfn}, store, page);
      truth[{gfn, false}] = page;
      if (store) truth[{gfn, true}] = page;
      REQUIRE(window.find(Gfn{gfn}, store) == page);
    } else if (std::byte* const page = window.find(Gfn{gfn}, store)) {
      const auto known = truth.find({gfn, store});
      REQUIRE(known != truth.end());
      // A fill for loads says nothing about the page's stores, which are still those of the fill before.
      REQUIRE(page == known->second);
      ++found;
    }
  }
  CHECK(found > 1000);
}

}  // namespace
}  // namespace vmem::hw
