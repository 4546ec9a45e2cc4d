// Which driver hears of which interrupt.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "hw/vcpu.hpp"

namespace vmem::guest {

/// Handlers stay for as long as the kernel lives.
class InterruptTable {
 public:
  using Handler = std::function<void(hw::Vcpu&)>;

  void install(hw::Vector vector, Handler handler) { handlers_[vector] = std::move(handler); }
  /// An interrupt that nobody handles is ignored.
  void deliver(hw::Vcpu& vcpu, hw::Vector vector) const {
    const auto at = handlers_.find(vector);
    if (at != handlers_.end()) at->second(vcpu);
  }

 private:
  std::map<hw::Vector, Handler> handlers_;
};

}  // namespace vmem::guest
