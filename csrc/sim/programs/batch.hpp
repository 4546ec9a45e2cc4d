// Room for the references of one turn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sim/programs/program.hpp"

namespace vmem::sim {

struct Batch {
  static constexpr std::size_t kMost = 1024;
  std::array<std::uint64_t, kMost> addresses;
  std::array<std::uint8_t, kMost> kinds;

  Turn turn(std::size_t count, Nanoseconds compute) const {
    Turn turn;
    turn.kind = Turn::Kind::references;
    turn.addresses = std::span(addresses).first(count);
    turn.kinds = std::span(kinds).first(count);
    turn.compute = compute;
    return turn;
  }
};

}  // namespace vmem::sim
