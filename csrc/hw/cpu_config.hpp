// What a processor has: its TLBs and paging-structure caches, as data.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/address.hpp"
#include "hw/assoc_cache.hpp"
#include "hw/state.hpp"

namespace vmem::hw {

/// One array of TLB entries; it holds the page sizes whose bit (1 << PageSize) is set.
struct TlbConfig {
  CacheGeometry geometry;
  std::uint8_t page_sizes = 0b111;
};

/// Paging-structure caches by the level of the entries they hold: 2 = PDE … 5 = PML5E. Absent levels are not cached.
struct PscConfig {
  std::array<std::optional<CacheGeometry>, 6> levels;
};

struct CpuConfig {
  std::string name = "custom";
  std::string source;  ///< where the figures come from, or that they are unknown
  std::vector<TlbConfig> l1i;
  std::vector<TlbConfig> l1d;
  std::vector<TlbConfig> l2;  ///< empty: none
  PscConfig psc;
  PscConfig host_psc;
  std::optional<CacheGeometry> nested_tlb;
  int guest_levels = 4;
  int host_levels = 4;
  SecondStageKind nested_format = SecondStageKind::ept;  ///< what its hypervisor mode uses
  int maxphyaddr = 46;
  bool one_gib_pages = true;
  bool execute_only = true;  ///< EPT entries that allow nothing but fetches

  /// Throws ConfigError naming the field that cannot be.
  void validate() const;
};

/// Names of the built-in processors, and one by name (ConfigError lists the names).
std::vector<std::string> cpu_preset_names();
CpuConfig cpu_preset(const std::string& name);

}  // namespace vmem::hw
