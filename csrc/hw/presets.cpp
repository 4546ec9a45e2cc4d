// Built-in processors. Sources: [S] a document that states the figure, [M] figures commonly reported, not confirmed by
// the vendor. Vendors publish next to nothing on paging-structure caches and nested TLBs: those sizes are [M]
// everywhere and marked as an assumption.
#include "hw/cpu_config.hpp"

namespace vmem::hw {
namespace {

constexpr std::uint8_t k4K = 0b001, k2M = 0b010, k1G = 0b100;

TlbConfig tlb(std::uint32_t entries, std::uint32_t ways, std::uint8_t page_sizes) {
  return {{entries, ways, Replacement::lru, 0}, page_sizes};
}
TlbConfig fully(std::uint32_t entries, std::uint8_t page_sizes) { return tlb(entries, entries, page_sizes); }

PscConfig psc(std::uint32_t pml5e, std::uint32_t pml4e, std::uint32_t pdpte, std::uint32_t pde) {
  PscConfig config;
  const auto level = [](std::uint32_t entries) {
    return CacheGeometry{entries, entries < 4 ? entries : 4, Replacement::lru, 0};
  };
  config.levels[5] = level(pml5e);
  config.levels[4] = level(pml4e);
  config.levels[3] = level(pdpte);
  config.levels[2] = level(pde);
  return config;
}

CpuConfig base(const char* name, const char* source) {
  CpuConfig cpu;
  cpu.name = name;
  cpu.source = source;
  cpu.psc = psc(1, 2, 4, 32);
  cpu.host_psc = psc(1, 2, 4, 32);
  cpu.nested_tlb = CacheGeometry{64, 4, Replacement::lru, 0};
  return cpu;
}

CpuConfig skylake_sp() {
  CpuConfig cpu = base("skylake-sp",
                       "Intel 64 and IA-32 Optimization Reference Manual, Skylake: ITLB [S], DTLB and STLB [M]; "
                       "paging-structure caches and nested TLB assumed");
  cpu.l1i = {tlb(128, 8, k4K), fully(8, k2M)};
  cpu.l1d = {tlb(64, 4, k4K), tlb(32, 4, k2M), fully(4, k1G)};
  cpu.l2 = {tlb(1536, 12, k4K | k2M), tlb(16, 4, k1G)};
  return cpu;
}

CpuConfig icelake_sp() {
  CpuConfig cpu = base("icelake-sp",
                       "Sunny Cove figures [M] (load DTLB; the 16-entry store DTLB is not modelled apart; STLB 2048, "
                       "its 1 GiB part taken as 16 entries); other caches assumed");
  cpu.l1i = {tlb(128, 8, k4K), fully(16, k2M)};
  cpu.l1d = {tlb(64, 4, k4K), tlb(32, 4, k2M), fully(8, k1G)};
  cpu.l2 = {tlb(2048, 16, k4K | k2M), tlb(16, 4, k1G)};
  return cpu;
}

CpuConfig sapphire_rapids() {
  CpuConfig cpu = base("sapphire-rapids",
                       "Golden Cove: ITLB 256 + 32 and 96 load entries [S], STLB 2048 [M]; other caches assumed");
  cpu.l1i = {tlb(256, 8, k4K), tlb(32, 8, k2M)};
  cpu.l1d = {tlb(96, 6, k4K), tlb(32, 4, k2M), fully(8, k1G)};
  cpu.l2 = {tlb(2048, 16, k4K | k2M), tlb(16, 4, k1G)};
  return cpu;
}

CpuConfig zen(const char* name, const char* source, std::uint32_t l1, std::uint32_t l2, std::uint32_t l2_ways) {
  CpuConfig cpu = base(name, source);
  cpu.l1i = {fully(64, k4K | k2M | k1G)};
  cpu.l1d = {fully(l1, k4K | k2M | k1G)};
  cpu.l2 = {tlb(l2, l2_ways, k4K | k2M)};  // 1 GiB pages are held as 2 MiB ones
  cpu.nested_format = SecondStageKind::npt;
  cpu.maxphyaddr = 48;
  return cpu;
}

CpuConfig neoverse_n1() {
  CpuConfig cpu = base("neoverse-n1",
                       "Arm Cortex-A76 Technical Reference Manual (the N1's sibling) [S]: 48 + 48 fully associative, "
                       "1280 entries 5 ways; x86-64 tables are walked all the same; other caches assumed");
  cpu.l1i = {fully(48, k4K | k2M | k1G)};
  cpu.l1d = {fully(48, k4K | k2M | k1G)};
  cpu.l2 = {tlb(1280, 5, k4K | k2M | k1G)};
  cpu.maxphyaddr = 48;
  return cpu;
}

const std::vector<CpuConfig>& presets() {
  static const std::vector<CpuConfig> all = {
      skylake_sp(),
      icelake_sp(),
      sapphire_rapids(),
      zen("zen2",
          "AMD Zen 2 [S]: 64 + 64 fully associative, L2 2048 entries; the separate 512-entry L2 ITLB is modelled as "
          "unified; other caches assumed",
          64, 2048, 16),
      zen("zen3", "AMD Zen 3 [M]: 64 + 64 fully associative, L2 2048 entries; other caches assumed", 64, 2048, 16),
      zen("zen4", "AMD Zen 4 [M]: 64 + 72 fully associative, L2 3072 entries; other caches assumed", 72, 3072, 24),
      neoverse_n1(),
  };
  return all;
}

void validate_levels(const std::vector<TlbConfig>& level, const char* name) {
  std::uint8_t seen = 0;
  for (const TlbConfig& array : level) {
    if (array.page_sizes == 0 || array.page_sizes > 0b111)
      throw ConfigError(std::string(name) + ": a TLB array must hold at least one of 4KiB, 2MiB, 1GiB");
    if (seen & array.page_sizes)
      throw ConfigError(std::string(name) + ": two arrays hold the same page size; each size may have one");
    seen = static_cast<std::uint8_t>(seen | array.page_sizes);
  }
}

}  // namespace

void CpuConfig::validate() const {
  if (l1i.empty() || l1d.empty()) throw ConfigError("a processor needs an L1 instruction and an L1 data TLB");
  validate_levels(l1i, "l1i");
  validate_levels(l1d, "l1d");
  validate_levels(l2, "l2");
  const auto levels_ok = [](int levels) { return levels == 4 || levels == 5; };
  if (!levels_ok(guest_levels))
    throw ConfigError("guest_levels is " + std::to_string(guest_levels) + ", accepted are 4 and 5");
  if (!levels_ok(host_levels))
    throw ConfigError("host_levels is " + std::to_string(host_levels) + ", accepted are 4 and 5");
  if (maxphyaddr < 32 || maxphyaddr > 52)
    throw ConfigError("maxphyaddr is " + std::to_string(maxphyaddr) + ", accepted is 32 to 52");
}

std::vector<std::string> cpu_preset_names() {
  std::vector<std::string> names;
  for (const CpuConfig& cpu : presets()) names.push_back(cpu.name);
  return names;
}

CpuConfig cpu_preset(const std::string& name) {
  std::string known;
  for (const CpuConfig& cpu : presets()) {
    if (cpu.name == name) return cpu;
    known += (known.empty() ? "" : ", ") + cpu.name;
  }
  throw ConfigError("unknown CPU '" + name + "', known are " + known);
}

}  // namespace vmem::hw
