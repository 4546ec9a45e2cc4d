// One shadow page: 512 entries of a shadow page table, and what they stand for.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "core/address.hpp"

namespace vmem::vmm {

/// What a shadow page stands for. Two places in two guest tables that need the same one share it.
struct ShadowKey {
  enum class Kind : std::uint8_t {
    guest_table,  ///< subject: gPFN of the guest table it shadows
    linear,       ///< subject: first gPFN of a part of a large guest page; no guest table stands behind it
    private_tree  ///< subject: guest root and PCID it belongs to (sync="vtlb"); place: the address range
  };
  Kind kind = Kind::guest_table;
  std::uint8_t level = 1;
  bool clean = false;  ///< linear: the guest's large page is not dirty, so nothing here may be writable
  std::uint64_t subject = 0;
  std::uint64_t place = 0;

  auto operator<=>(const ShadowKey&) const = default;
};

struct ShadowKeyHash {
  std::size_t operator()(const ShadowKey& key) const {
    std::uint64_t mixed = key.subject * 0x9e3779b97f4a7c15ull ^ key.place * 0xc2b2ae3d27d4eb4full;
    mixed ^=
        static_cast<std::uint64_t>(key.level) << 8 ^ static_cast<std::uint64_t>(key.kind) << 4 ^ (key.clean ? 1u : 0u);
    return static_cast<std::size_t>(mixed ^ (mixed >> 29));
  }
};

struct ShadowPage {
  ShadowKey key;
  Hpa table;                 ///< where its entries stand in machine memory
  std::vector<Hpa> parents;  ///< entries that point to it
  std::uint32_t pins = 0;    ///< vCPUs whose CR3 points to it, and others that must not lose it
  bool traced = false;       ///< guest_table: write-protected, so the entries here are in step with the guest's
  std::uint64_t born = 0;    ///< order of creation, for reclaim

  Gfn gfn() const { return {key.subject}; }
  bool shadows_guest_table() const { return key.kind == ShadowKey::Kind::guest_table; }
  Hpa entry(unsigned index) const { return table + 8ull * index; }
};

}  // namespace vmem::vmm
