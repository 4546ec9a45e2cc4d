#include "core/address.hpp"

#include <doctest/doctest.h>

#include <concepts>
#include <initializer_list>
#include <type_traits>

namespace vmem {
namespace {

template <class A, class B>
concept Mixes = std::convertible_to<A, B> || std::assignable_from<A&, B> || requires(A a, B b) { a == b; };

TEST_CASE("addresses of different spaces do not mix") {
  static_assert(!Mixes<Gva, Gpa> && !Mixes<Gpa, Hpa> && !Mixes<Hpa, Gva>);
  static_assert(!Mixes<Gfn, Hfn> && !Mixes<Gpa, Gfn>);
  static_assert(!std::is_convertible_v<std::uint64_t, Gva> && !std::is_convertible_v<Gva, std::uint64_t>);
  CHECK(std::is_trivially_copyable_v<Gva>);
}

TEST_CASE("an address is its frame and its offset") {
  for (const std::uint64_t value : {0ull, 1ull, 4095ull, 4096ull, 0x7fff'ffff'ffffull, ~0ull}) {
    const Gpa address{value};
    CAPTURE(value);
    CHECK(address.frame().address() + address.offset() == address);
    CHECK(address.offset() < kPageSize);
  }
  CHECK(Hpa{0x12345678}.frame() == Hfn{0x12345});
  CHECK(Hpa{0x12345678}.offset() == 0x678);
  CHECK(Hfn{7} + 3 == Hfn{10});
}

TEST_CASE("a page size is the level of its leaf") {
  constexpr PageSize kSizes[] = {PageSize::k4K, PageSize::k2M, PageSize::k1G};
  constexpr std::uint64_t kBytes[] = {4096, 2u << 20, 1u << 30};
  for (int i = 0; i < kPageSizes; ++i) {
    const PageSize size = kSizes[i];
    CHECK(page_bytes(size) == kBytes[i]);
    CHECK(page_frames(size) * kPageSize == page_bytes(size));
    CHECK(page_bytes(size) == 1ull << page_shift(size));
    CHECK(leaf_level(size) == i + 1);
    CHECK(leaf_page_size(leaf_level(size)) == size);
  }
}

TEST_CASE("alignment goes to the nearest multiple on its side") {
  for (const std::uint64_t alignment : {1ull, 8ull, 4096ull, 1ull << 30}) {
    for (const std::uint64_t value : {0ull, 1ull, 4095ull, 4096ull, 4097ull, 0x1234'5678'9abcull}) {
      CAPTURE(alignment);
      CAPTURE(value);
      const std::uint64_t down = align_down(value, alignment), up = align_up(value, alignment);
      CHECK(down % alignment == 0);
      CHECK(up % alignment == 0);
      CHECK(down <= value);
      CHECK(value - down < alignment);
      CHECK(up >= value);
      CHECK(up - value < alignment);
    }
  }
}

}  // namespace
}  // namespace vmem
