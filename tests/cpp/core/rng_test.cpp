#include "core/rng.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>

namespace vmem {
namespace {

TEST_CASE("SplitMix64 gives the values published with it") {
  SUBCASE("seed 0: Vigna's splitmix64.c") {
    SplitMix64 next(0);
    for (const std::uint64_t expected :
         {0xe220a8397b1dcdafull, 0x6e789e6aa1b965f4ull, 0x06c45d188009454full, 0xf88bb8a8724c81ecull})
      CHECK(next() == expected);
  }
  SUBCASE("seed 1234567: Rosetta Code, Pseudo-random numbers/Splitmix64") {
    SplitMix64 next(1234567);
    for (const std::uint64_t expected : {6457827717110365317ull, 3203168211198807973ull, 9817491932198370423ull,
                                         4593380528125082431ull, 16408922859458223821ull})
      CHECK(next() == expected);
  }
}

TEST_CASE("generators of one seed agree, and a copy goes on where the original stood") {
  SplitMix64 a(42), b(42);
  for (int i = 0; i < 100; ++i) CHECK(a() == b());
  SplitMix64 copy = a;
  CHECK(copy() == a());
}

}  // namespace
}  // namespace vmem
