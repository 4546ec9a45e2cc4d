// How much of its memory a VM uses, by sampling (Waldspurger, OSDI 2002, section 5.3).
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/address.hpp"
#include "core/rng.hpp"

namespace vmem::vmm {

class Vm;

/// Pages of a VM drawn at random, of which the hypervisor forgets that they were accessed; later it sees which were
/// again. ESX removes their mappings and counts the faults. Here, hardware that walks the second stage sets accessed
/// bits, which costs the guest no exit; a shadow loses its entries of the page and has to fault them in, as in ESX. A
/// page without a machine frame is touched if it has one when the sample is counted. Of a large page, the sample is all
/// of it, so that large pages make a VM look more active.
class ActivitySampler {
 public:
  struct Count {
    std::uint64_t touched = 0;
    std::uint64_t pages = 0;  ///< of the sample; 0: there was none
  };

  explicit ActivitySampler(std::uint64_t seed) : random_(seed) {}

  /// Counts the VM's sample and begins another one, of so many different pages or all there are. ConfigError for a VM
  /// whose accesses leave no trace: a native machine's, and those of a software-managed TLB.
  Count next(Vm& vm, std::uint64_t pages);
  /// Of the sample so far.
  Count count(const Vm& vm) const;
  void forget(const Vm& vm);

 private:
  std::vector<Gfn> draw(const Vm& vm, std::uint64_t pages);

  SplitMix64 random_;
  std::map<std::uint16_t, std::vector<Gfn>> samples_;  ///< by VM id
};

}  // namespace vmem::vmm
