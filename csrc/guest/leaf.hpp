// What faults have in common: leaf entries, copies, and whose a new page is.
#pragma once

#include <array>

#include "guest/page_array.hpp"
#include "guest/process.hpp"

namespace vmem::guest {

inline std::uint64_t leaf_entry(Gfn gfn, const Protection& protection, bool written) {
  std::uint64_t entry = gfn.address().value | kPtePresent | kPteUser | kPteAccessed;
  if (protection.write) entry |= kPteWrite | (written ? kPteDirty : 0);
  return protection.execute ? entry : entry | kPteNoExecute;
}

inline void copy_page(hw::Vcpu& vcpu, Gfn from, Gfn to) {
  std::array<std::byte, kPageSize> bytes;
  vcpu.read(from.address(), bytes);
  vcpu.write(to.address(), bytes);
}

/// The first mapper of an anonymous page: its family and the virtual page.
inline void set_owner(hw::Vcpu& vcpu, Gfn gfn, const Process& process, std::uint64_t virtual_page) {
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.owner = process.family;
  page.index = virtual_page;
  vcpu.store(page_entry(gfn), page);
}

}  // namespace vmem::guest
