#include "sim/trace_compactor.hpp"

#include <algorithm>
#include <utility>

namespace vmem::sim {

void Compactor::open(Open& stream, Open& other, std::uint64_t page, AccessKind kind) {
  if (other.page != kNone && runs_.size() - other.index >= kWindow) other = Open{};
  const bool store = kind == AccessKind::store;
  stream = {page, runs_.size()};
  runs_.push_back({page | static_cast<std::uint64_t>(kind), store ? 0u : 1u, store ? 1u : 0u});
}

std::vector<Run> Compactor::take() {
  const std::size_t ready = std::min({fetch_.index, data_.index, runs_.size()});
  if (ready == 0) return {};
  std::vector<Run> rest(runs_.begin() + static_cast<std::ptrdiff_t>(ready), runs_.end());
  runs_.resize(ready);
  std::swap(runs_, rest);
  if (fetch_.page != kNone) fetch_.index -= ready;
  if (data_.page != kNone) data_.index -= ready;
  return rest;
}

}  // namespace vmem::sim
