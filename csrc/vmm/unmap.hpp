// The one way in which a guest frame loses its machine frame.
#pragma once

#include <cstdint>
#include <vector>

#include "core/address.hpp"

namespace vmem::vmm {

class Vm;

/// Takes guest frames away from one VM. Invariant: a machine frame is given back only after every entry that maps it is
/// gone and every TLB that may hold it has been flushed, so a stale translation is never used afterwards. Flushes once
/// for all frames taken since the last commit.
class Unmap {
 public:
  explicit Unmap(Vm& vm) : vm_(vm) {}
  ~Unmap() { commit(); }
  Unmap(const Unmap&) = delete;
  Unmap& operator=(const Unmap&) = delete;

  /// Removes every entry that maps `gfn`; a larger page around it is split first. False: it was not backed, or no frame
  /// was left for the split.
  bool take(Gfn gfn);
  /// As `take` for the whole host page around `gfn`. Returns the number of guest frames taken, 0 if it was not backed.
  std::uint64_t take_page(Gfn gfn);
  /// Flushes, then frees the machine frames.
  void commit();

 private:
  Vm& vm_;
  std::vector<Hfn> taken_;
};

/// Frees everything that backs the VM, which no vCPU will run again.
void release_all(Vm& vm);

}  // namespace vmem::vmm
