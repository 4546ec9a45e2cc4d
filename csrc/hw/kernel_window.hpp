// Where the guest kernel's own mapping of guest-physical memory lands: a direct-mapped cache of page pointers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/address.hpp"

namespace vmem::hw {

/// Models pinned global mappings: no TLB statistics, but never stale. Whoever takes a frame away or withdraws a right
/// clears it with the TLBs.
class KernelWindow {
 public:
  std::byte* find(Gfn gfn, bool store) const {
    const Line& line = (store ? writable_ : readable_)[line_of(gfn)];
    return line.tag == gfn.value + 1 ? line.page : nullptr;
  }
  void fill(Gfn gfn, bool store, std::byte* page) {
    readable_[line_of(gfn)] = {gfn.value + 1, page};
    if (store) writable_[line_of(gfn)] = {gfn.value + 1, page};
  }
  void clear() {
    readable_ = {};
    writable_ = {};
  }
  void drop(Gfn gfn) {
    for (auto* lines : {&readable_, &writable_})
      if ((*lines)[line_of(gfn)].tag == gfn.value + 1) (*lines)[line_of(gfn)] = {};
  }

 private:
  static constexpr std::size_t kLines = 256;
  /// What a kernel uses most lies at the same offsets of aligned regions: its own data, the first tables of a zone.
  static std::size_t line_of(Gfn gfn) { return (gfn.value ^ gfn.value >> 8 ^ gfn.value >> 16) & (kLines - 1); }
  struct Line {
    std::uint64_t tag = 0;  ///< gPFN + 1; 0 is empty
    std::byte* page = nullptr;
  };
  std::array<Line, kLines> readable_{};
  std::array<Line, kLines> writable_{};
};

}  // namespace vmem::hw
