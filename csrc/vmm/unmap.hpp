// The one way in which what backs a guest frame is taken away, narrowed or cut.
#pragma once

#include <cstdint>
#include <vector>

#include "core/address.hpp"

namespace vmem::vmm {

class Vm;

/// Changes what backs guest frames of one VM. Invariant: a machine frame is given back only after every entry that maps
/// it is gone and every TLB that may hold it has been flushed, so a stale translation is never used afterwards. Flushes
/// once for all that was changed since the last commit; no vCPU of the VM may run before that.
class Unmap {
 public:
  explicit Unmap(Vm& vm) : vm_(vm) {}
  ~Unmap() { commit(); }
  Unmap(const Unmap&) = delete;
  Unmap& operator=(const Unmap&) = delete;

  /// Removes every entry that maps `gfn`; a larger page around it is split first. Of a frame that others share, only
  /// this share goes. False: it was not backed, or no frame was left for the split.
  bool take(Gfn gfn);
  /// As `take` for the whole host page around `gfn`. Returns the number of guest frames taken, 0 if it was not backed.
  std::uint64_t take_page(Gfn gfn);
  /// Cuts the page that backs `gfn` until it is of `size` or smaller. False: not backed, or no frame left for a table.
  bool split(Gfn gfn, PageSize size);
  /// Withdraws the right to store to `gfn`, which a page of 4 KiB backs.
  void protect(Gfn gfn);
  /// Forgets that the page that backs `gfn`, or the part of it that begins there, was accessed. Returns whether it had
  /// been since the last time. Hardware that walks the second stage sets a bit there; a shadow has to map it again.
  bool age(Gfn gfn);
  /// Flushes, then frees the machine frames.
  void commit();

 private:
  Vm& vm_;
  std::vector<Hfn> taken_;
  bool stale_ = false;
};

/// Frees everything that backs the VM, which no vCPU will run again: frames, shares and swap slots.
void release_all(Vm& vm);

}  // namespace vmem::vmm
