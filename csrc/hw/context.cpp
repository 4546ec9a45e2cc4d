#include "hw/context.hpp"

namespace vmem::hw {

void ContextTable::clear() {
  contexts_.clear();
  numbers_.clear();
}

std::uint64_t ContextTable::key(const Context& context) {
  const auto [at, fresh] = numbers_.try_emplace(context, static_cast<std::uint16_t>(contexts_.size()));
  if (fresh) contexts_.push_back(context);
  return context_key(at->second);
}

}  // namespace vmem::hw
