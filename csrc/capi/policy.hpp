// The caller's policy, called as time passes.
#pragma once

#include "vmem/host.h"
#include "vmm/hypervisor.hpp"

namespace vmem::capi {

/// A daemon of the hypervisor like its own.
class Policy final : public vmm::Daemon {
 public:
  explicit Policy(vmm::Hypervisor& hypervisor) : hypervisor_(hypervisor) { hypervisor_.add_daemon(*this); }
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  ~Policy() override { hypervisor_.remove_daemon(*this); }

  /// `policy` nullptr: nobody's.
  void set(vmem_host* host, Nanoseconds interval, vmem_policy_fn policy, void* user, Nanoseconds now) {
    host_ = host;
    interval_ = interval;
    policy_ = policy;
    user_ = user;
    schedule(now);
  }
  bool is_set() const { return policy_ != nullptr; }
  bool is_running() const { return is_running_; }
  /// A call failed since the last `forgive`.
  bool failed() const { return failed_; }
  void forgive() { failed_ = false; }

  Nanoseconds next_deadline() const override { return next_; }
  void run_due(Nanoseconds now) override;

 private:
  void schedule(Nanoseconds now) { next_ = policy_ == nullptr || interval_ >= kNever - now ? kNever : now + interval_; }

  vmm::Hypervisor& hypervisor_;
  vmem_host* host_ = nullptr;
  Nanoseconds interval_ = 0;
  vmem_policy_fn policy_ = nullptr;
  void* user_ = nullptr;
  Nanoseconds next_ = kNever;
  bool is_running_ = false;
  bool failed_ = false;
};

}  // namespace vmem::capi
