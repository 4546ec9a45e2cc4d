#include "sim/workloads/offsets.hpp"

#include <string>

#include "core/error.hpp"

namespace vmem::sim {

Offsets::Offsets(std::uint64_t size) : size_(size) {
  if (size == 0 || (size & kPageMask) != 0 || size > 1ull << 46)
    throw ConfigError("a workload of " + std::to_string(size) +
                      " bytes: accepted is a positive multiple of 4 KiB, at most 64 TiB");
}

}  // namespace vmem::sim
