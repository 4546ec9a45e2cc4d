#include "capi/policy.hpp"

#include "capi/refusal.hpp"

namespace vmem::capi {

void Policy::run_due(Nanoseconds now) {
  schedule(now);
  is_running_ = true;
  if (!succeeds([&] { return policy_(user_, host_, now); })) failed_ = true;
  is_running_ = false;
}

}  // namespace vmem::capi
