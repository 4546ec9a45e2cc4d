#include "paging/format.hpp"

#include <doctest/doctest.h>

#include <cstdint>

#include "support/random.hpp"

namespace vmem::paging {
namespace {

constexpr std::uint64_t bit(int n) { return 1ull << n; }

TEST_CASE("rights and their encoding are inverse, but for what a format always grants") {
  for (Rights rights = 0; rights <= kAllRights; ++rights) {
    CAPTURE(static_cast<int>(rights));
    CHECK(x86_64.rights(x86_64.encode(rights)) == (rights | kRead));
    CHECK(ept.rights(ept.encode(rights)) == (rights | kUser));
    CHECK((x86_64.encode(rights) & ~(bit(1) | bit(2) | bit(63))) == 0);
    CHECK((ept.encode(rights) & ~7ull) == 0);
  }
}

TEST_CASE("rights stand in the bits the manuals give, whatever else an entry holds") {
  test::Random random(5);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t entry = random.bits();
    const bool no_execute = (entry & bit(63)) != 0, writable = (entry & bit(1)) != 0, user = (entry & bit(2)) != 0;
    CHECK(((x86_64.rights(entry) & kRead) != 0) == true);
    CHECK(((x86_64.rights(entry) & kWrite) != 0) == writable);
    CHECK(((x86_64.rights(entry) & kUser) != 0) == user);
    CHECK(((x86_64.rights(entry) & kExecute) != 0) == !no_execute);
    CHECK(x86_64.is_present(entry) == ((entry & bit(0)) != 0));

    CHECK(((ept.rights(entry) & kRead) != 0) == ((entry & bit(0)) != 0));
    CHECK(((ept.rights(entry) & kWrite) != 0) == ((entry & bit(1)) != 0));
    CHECK(((ept.rights(entry) & kExecute) != 0) == ((entry & bit(2)) != 0));
    CHECK(ept.is_present(entry) == (entry % 8 != 0));
    CHECK(protection_key(entry) == entry / bit(59) % 16);
  }
}

TEST_CASE("single bits of the formats") {
  CHECK(x86_64.accessed == bit(5));
  CHECK(x86_64.dirty == bit(6));
  CHECK(x86_64.global == bit(8));
  CHECK(x86_64.leaf == bit(7));
  CHECK(ept.accessed == bit(8));
  CHECK(ept.dirty == bit(9));
  CHECK(ept.leaf == bit(7));
  CHECK(kEptWriteBack == 0x30);
}

TEST_CASE("leaves are PTEs, and PDEs and PDPTEs with bit 7") {
  for (const Format* format : {&x86_64, &ept}) {
    for (int level = 1; level <= kMaxLevels; ++level) {
      CHECK(format->is_leaf(0x07, level) == (level == 1));
      CHECK(format->is_leaf(0x87, level) == (level <= 3));
    }
  }
}

TEST_CASE("a leaf's target has no bit below its page size and none above 51") {
  for (const Format* format : {&x86_64, &ept}) {
    CHECK(format->target(~0ull, 1) == 0x000f'ffff'ffff'f000);
    CHECK(format->target(~0ull, 2) == 0x000f'ffff'ffe0'0000);
    CHECK(format->target(~0ull, 3) == 0x000f'ffff'c000'0000);
  }
}

TEST_CASE("an address is its indices and its offset") {
  test::Random random(6);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t address = random.bits();
    std::uint64_t rest = address % bit(57), sum = 0;
    for (int level = kMaxLevels; level >= 1; --level) {
      const std::uint64_t span = bit(12 + 9 * (level - 1));
      CHECK(table_index(address, level) == rest / span);
      rest %= span;
      sum += table_index(address, level) * span;
    }
    CHECK(sum + rest == address % bit(57));
    CHECK(rest < kPageSize);
  }
}

}  // namespace
}  // namespace vmem::paging
