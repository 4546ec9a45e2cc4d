#include "memory/swap_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <map>
#include <vector>

#include "core/error.hpp"
#include "support/random.hpp"

namespace vmem::memory {
namespace {

using Page = std::array<std::byte, kPageSize>;

Page page_of(std::uint64_t seed) {
  Page page;
  for (std::size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::byte>((seed * 131 + i) >> (i % 8));
  return page;
}

/// No file of this process grows beyond `bytes` as long as it lives: a full disk.
class FullDisk {
 public:
  explicit FullDisk(std::uint64_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

TEST_CASE("a slot gives back what was stored, and zeros for a frame that nobody wrote") {
  SwapFile swap(16 * kPageSize, "");
  const auto bytes = swap.store(page_of(1));
  const auto zeros = swap.store_zeros();
  REQUIRE(bytes);
  REQUIRE(zeros);
  Page out;
  REQUIRE(swap.load(*bytes, 0, out));
  CHECK(out == page_of(1));
  REQUIRE(swap.load(*zeros, 0, out));
  CHECK(out == Page{});
  CHECK(swap.used() == 2);
  CHECK(swap.used_with_bytes() == 1);
  CHECK(swap.written_places() == 1);
  std::array<std::byte, 8> part;
  REQUIRE(swap.load(*bytes, 4000, part));
  CHECK(std::equal(part.begin(), part.end(), page_of(1).begin() + 4000));
}

TEST_CASE("random stores and releases: slots are given once, counted exactly, and places are used again") {
  test::Random random(7);
  constexpr std::uint64_t kSlots = 64;
  SwapFile swap(kSlots * kPageSize, "");
  std::map<std::uint32_t, std::uint64_t> model;  // slot → seed, 0: zeros
  std::uint64_t most_with_bytes = 0;
  for (int step = 0; step < 5000; ++step) {
    if (random.below(2) == 0 && !model.empty()) {
      auto victim = model.begin();
      std::advance(victim, random.below(model.size()));
      Page out;
      REQUIRE(swap.load({victim->first}, 0, out));
      REQUIRE(out == (victim->second == 0 ? Page{} : page_of(victim->second)));
      swap.release({victim->first});
      model.erase(victim);
    } else {
      const std::uint64_t seed = random.below(3) == 0 ? 0 : 1 + random.below(1000);
      const auto slot = seed == 0 ? swap.store_zeros() : swap.store(page_of(seed));
      REQUIRE(slot.has_value() == (model.size() < kSlots));
      if (slot) REQUIRE(model.emplace(slot->value, seed).second);
    }
    std::uint64_t with_bytes = 0;
    for (const auto& [slot, seed] : model) with_bytes += seed != 0 ? 1 : 0;
    most_with_bytes = std::max(most_with_bytes, with_bytes);
    REQUIRE(swap.used() == model.size());
    REQUIRE(swap.used_with_bytes() == with_bytes);
    REQUIRE(swap.written_places() <= kSlots);
  }
  CHECK(swap.written_places() >= most_with_bytes);
}

TEST_CASE("a full disk is a value, and no half-written slot is left in use") {
  SwapFile swap(16 * kPageSize, "");
  const auto first = swap.store(page_of(1));
  {
    const FullDisk full(kPageSize + 100);
    CHECK_FALSE(swap.store(page_of(2)));
  }
  CHECK(swap.write_errors() == 1);
  CHECK(swap.used() == 1);
  const auto zeros = swap.store_zeros();  // takes the place where part of the page may stand
  Page out;
  REQUIRE(swap.load(*zeros, 0, out));
  CHECK(out == Page{});
  REQUIRE(swap.load(*first, 0, out));
  CHECK(out == page_of(1));
}

TEST_CASE("no name is left in the directory, and a bad one is refused by name") {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("vmem-swap-test-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  {
    SwapFile swap(kPageSize, directory.string());
    REQUIRE(swap.store(page_of(1)));
    CHECK(std::filesystem::is_empty(directory));
  }
  std::filesystem::remove(directory);
  CHECK_THROWS_WITH_AS(SwapFile(kPageSize, directory.string()), doctest::Contains(directory.c_str()), ConfigError);
  CHECK_THROWS_AS(SwapFile(kPageSize + 1, ""), ConfigError);
  CHECK_THROWS_AS(SwapFile(3ull << 40, ""), ConfigError);
  CHECK_NOTHROW(SwapFile(0, directory.string()));
  CHECK_FALSE(SwapFile(0, "").store_zeros());
}

}  // namespace
}  // namespace vmem::memory
