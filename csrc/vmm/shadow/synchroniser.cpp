#include "vmm/shadow/synchroniser.hpp"

#include "vmm/shadow/sync_trace.hpp"
#include "vmm/shadow/sync_unsync.hpp"
#include "vmm/shadow/sync_vtlb.hpp"

namespace vmem::vmm {

std::unique_ptr<Synchroniser> make_synchroniser(ShadowSync sync, ShadowMmu& shadow) {
  switch (sync) {
    case ShadowSync::trace:
      return std::make_unique<TraceSynchroniser>(shadow);
    case ShadowSync::unsync:
      return std::make_unique<UnsyncSynchroniser>(shadow);
    case ShadowSync::vtlb:
      return std::make_unique<VtlbSynchroniser>(shadow);
  }
  return nullptr;
}

}  // namespace vmem::vmm
