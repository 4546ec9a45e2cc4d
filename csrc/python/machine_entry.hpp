// Who may use a machine, and when.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/error.hpp"
#include "sim/machine.hpp"

namespace vmem::python {

/// A machine that one thread uses at a time: a second one gets an error, not a data race. While a long call of that
/// thread runs Python code (progress, signal handlers), that code may look, but change nothing under the call's feet.
class PyMachine {
 public:
  PyMachine(std::uint64_t bytes, const vmm::HostConfig& config) : machine_(bytes, config) {}

  class Entry {
   public:
    Entry(PyMachine& owner, bool looks)
        : owner_(owner), outermost_(owner.thread_.load() != std::this_thread::get_id()) {
      if (!outermost_ && !looks)
        throw ConfigError(
            "this Hypervisor is in the middle of a call; until it returns, callbacks may ask for counters, memory and "
            "mappings, and change nothing");
      std::thread::id nobody{};
      if (outermost_ && !owner_.thread_.compare_exchange_strong(nobody, std::this_thread::get_id()))
        throw ConfigError("this Hypervisor is running in another thread; use one Hypervisor per thread");
    }
    ~Entry() {
      if (outermost_) owner_.thread_.store(std::thread::id{});
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    sim::Machine& operator*() { return owner_.machine_; }
    sim::Machine* operator->() { return &owner_.machine_; }

   private:
    PyMachine& owner_;
    bool outermost_;
  };

  Entry enter() { return {*this, false}; }
  /// For what changes nothing.
  Entry look() { return {*this, true}; }

 private:
  sim::Machine machine_;
  std::atomic<std::thread::id> thread_;
};

/// A system call of a guest on a vCPU, whose time is charged.
template <class Call>
auto on_vcpu(PyMachine& self, std::uint16_t vm, std::size_t vcpu, Call&& call) {
  auto entered = self.enter();
  sim::Guest& guest = entered->guest(vm);
  hw::Vcpu& cpu = sim::Machine::vcpu(guest, vcpu);
  const auto result = call(*guest.kernel, cpu);
  entered->time().charge(*guest.vm, cpu);
  return result;
}

}  // namespace vmem::python
