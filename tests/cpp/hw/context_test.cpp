#include "hw/context.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <set>

#include "support/random.hpp"

namespace vmem::hw {
namespace {

TEST_CASE("a context keeps its number, and no two share one") {
  ContextTable table;
  std::map<Context, std::uint64_t> model;
  test::Random random(1);
  for (int step = 0; step < 5000; ++step) {
    const Context context{static_cast<std::uint16_t>(random.below(5)), static_cast<std::uint16_t>(random.below(40)),
                          random.below(4ull) << 12};
    const std::uint64_t key = table.key(context);
    const auto [known, fresh] = model.try_emplace(context, key);
    REQUIRE(known->second == key);
    REQUIRE(table.at(key) == context);
    REQUIRE((key & ~(kKeyValid | (0xffffull << kKeyContextShift))) == 0);  // leaves room for size and page
    REQUIRE((key & kKeyValid) != 0);
  }
  std::set<std::uint64_t> keys;
  for (const auto& [context, key] : model) keys.insert(key);
  CHECK(keys.size() == model.size());
  CHECK(context_key(key_context(*keys.begin())) == *keys.begin());
  const auto selected = table.select([](const Context& context) { return context.pcid == 7; });
  CHECK(selected.size() == model.size());
  for (const auto& [context, key] : model) CHECK((selected[key_context(key)] != 0) == (context.pcid == 7));
}

TEST_CASE("the table is full before three more numbers would not fit into 16 bits") {
  ContextTable table;
  std::uint64_t contexts = 0;
  while (!table.full()) table.key({0, 0, ++contexts << 12});
  CHECK(contexts + 3 > 0xffff);
  std::uint64_t last = 0;
  for (int more = 0; more < 3; ++more) {  // what one change of state may still need
    const Context context{1, static_cast<std::uint16_t>(more), 0};
    last = table.key(context);
    CHECK(table.at(last) == context);
  }
  CHECK(table.at(table.key({0, 0, 1ull << 12})).root == 1ull << 12);
  table.clear();
  CHECK_FALSE(table.full());
  CHECK(table.select([](const Context&) { return true; }).empty());
  CHECK(key_context(table.key({9, 9, 9})) == 0);
}

TEST_CASE("the page in a key gives the page's address back") {
  test::Random random(2);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t address = random.bits(), size = random.below(3ull);
    const int shift = 12 + 9 * static_cast<int>(size);
    const std::uint64_t key = kKeyValid | size << kKeySizeShift | key_page(address, shift);
    CHECK(key_address(key) == address % (1ull << 57) >> shift << shift);
    CHECK(key_context(key) == 0);
  }
}

}  // namespace
}  // namespace vmem::hw
