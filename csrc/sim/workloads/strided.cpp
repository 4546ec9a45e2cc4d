#include <string>

#include "core/error.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

class Strided final : public Offsets {
 public:
  Strided(std::uint64_t size, std::uint64_t step) : Offsets(size), step_(step) {
    if (step == 0 || step >= size)
      throw ConfigError("a step of " + std::to_string(step) + " bytes: accepted is from 1 to less than the size, " +
                        std::to_string(size));
  }
  void fill(std::uint64_t, std::uint64_t first, std::span<std::uint64_t> out) const override {
    std::uint64_t at = first * step_ % size();
    for (std::uint64_t& offset : out) {
      offset = at;
      at += step_;
      if (at >= size()) at -= size();
    }
  }

 private:
  std::uint64_t step_;
};

}  // namespace

SharedOffsets strided_offsets(std::uint64_t size, std::uint64_t step) { return std::make_shared<Strided>(size, step); }

}  // namespace vmem::sim
