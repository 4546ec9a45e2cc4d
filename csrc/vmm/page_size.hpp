// Changing the size of the pages that back a guest, which it must not notice.
#pragma once

#include "core/address.hpp"

namespace vmem::vmm {

class Vm;

/// Cuts the large page that backs `gfn` into 4 KiB pages. False: it is not backed by a large page, or no frame is left
/// for a table.
bool split(Vm& vm, Gfn gfn);
/// Moves the 512 aligned guest frames around `gfn` into one 2 MiB page, as khugepaged does. False: not all of them are
/// resident in 4 KiB pages of their own, or the machine has no such block free.
bool collapse(Vm& vm, Gfn gfn);

}  // namespace vmem::vmm
