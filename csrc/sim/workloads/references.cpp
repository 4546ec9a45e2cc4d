#include "sim/workloads/references.hpp"

#include <algorithm>

#include "core/access.hpp"

namespace vmem::sim {

void ReferenceStream::fill(std::uint64_t base, std::uint64_t first, std::span<std::uint64_t> addresses,
                           std::span<std::uint8_t> kinds) const {
  offsets->fill(seed, first, addresses);
  for (std::uint64_t& address : addresses) address += base;
  switch (stores.pattern) {
    case Stores::Pattern::alternate:
      for (std::uint8_t& kind : kinds) kind = static_cast<std::uint8_t>(first++ % 2);
      return;
    case Stores::Pattern::share:
      if (stores.share == 0) {
        std::fill(kinds.begin(), kinds.end(), static_cast<std::uint8_t>(AccessKind::load));
        return;
      }
      const Hash random(~seed);
      for (std::uint8_t& kind : kinds) kind = static_cast<std::uint8_t>(random(first++) >> 1 < stores.share);
  }
}

}  // namespace vmem::sim
