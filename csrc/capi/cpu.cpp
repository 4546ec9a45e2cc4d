#include "capi/cpu.hpp"

#include <span>
#include <string>

#include "capi/refusal.hpp"
#include "capi/structure.hpp"
#include "hw/assoc_cache.hpp"

namespace vmem::capi {
namespace {

constexpr std::uint8_t kAllPages = VMEM_HOLDS_4K | VMEM_HOLDS_2M | VMEM_HOLDS_1G;

[[noreturn]] void refuse_member(const std::string& name, std::uint64_t value, const std::string& accepted) {
  throw Refusal(VMEM_E_ARGUMENT, name + " is " + std::to_string(value) + "; accepted is " + accepted);
}

hw::CacheGeometry geometry(const vmem_cache& given, const std::string& name) {
  struct Nothing {};
  if (given.entries > kMostEntries)
    refuse_member(name + ".entries", given.entries, "up to " + std::to_string(kMostEntries));
  if (given.replacement > VMEM_RANDOM)
    refuse_member(name + ".replacement", given.replacement, "VMEM_LRU to VMEM_RANDOM");
  const hw::CacheGeometry made{given.entries, given.ways == 0 ? given.entries : given.ways,
                               static_cast<hw::Replacement>(given.replacement), given.seed};
  try {
    const hw::AssocCache<Nothing> tried(made);  // knows what can be
  } catch (const ConfigError& error) {
    throw Refusal(VMEM_E_ARGUMENT, name + ": " + error.what());
  }
  return made;
}

/// Nothing if there is none; then nothing else may be said of it.
std::optional<hw::CacheGeometry> cache(const vmem_cache& given, const std::string& name) {
  if (given.entries != 0) return geometry(given, name);
  if (given.ways != 0 || given.replacement != 0 || given.pages != 0 || given.seed != 0)
    refuse_member(name + ".entries", 0, "1 or more, or zeros in all of it");
  return std::nullopt;
}

std::vector<hw::TlbConfig> level(std::span<const vmem_cache> arrays, const char* name) {
  std::vector<hw::TlbConfig> made;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const std::string which = std::string(name) + "[" + std::to_string(i) + "]";
    const std::uint32_t pages = arrays[i].pages;
    if (pages > kAllPages) refuse_member(which + ".pages", pages, "bits of VMEM_HOLDS_4K, 2M and 1G");
    if (const auto found = cache(arrays[i], which))
      made.push_back({*found, pages == 0 ? kAllPages : static_cast<std::uint8_t>(pages)});
  }
  return made;
}

std::optional<hw::CacheGeometry> pageless(const vmem_cache& given, const std::string& name) {
  if (given.pages != 0) refuse_member(name + ".pages", given.pages, "0: it is no TLB");
  return cache(given, name);
}

hw::PscConfig psc(const vmem_psc& given, const std::string& name) {
  hw::PscConfig made;
  made.levels[2] = pageless(given.pde, name + ".pde");
  made.levels[3] = pageless(given.pdpte, name + ".pdpte");
  made.levels[4] = pageless(given.pml4e, name + ".pml4e");
  made.levels[5] = pageless(given.pml5e, name + ".pml5e");
  return made;
}

/// `most` bounds what validate() will look at more closely: it has to fit an int.
int or_else(std::uint32_t given, int usual, const char* name) {
  constexpr std::uint32_t kMost = 64;
  if (given > kMost) refuse_member(name, given, "at most " + std::to_string(kMost));
  return given == 0 ? usual : static_cast<int>(given);
}

hw::CpuConfig own_processor(const vmem_cpu_config& given) {
  if (given.reserved != 0) refuse_member("processor->reserved", given.reserved, "0");
  hw::CpuConfig cpu;
  cpu.l1i = level(given.l1i, "l1i");
  cpu.l1d = level(given.l1d, "l1d");
  cpu.l2 = level(given.l2, "l2");
  cpu.psc = psc(given.psc, "psc");
  cpu.host_psc = psc(given.host_psc, "host_psc");
  cpu.nested_tlb = pageless(given.nested_tlb, "nested_tlb");
  cpu.guest_levels = or_else(given.guest_levels, cpu.guest_levels, "guest_levels");
  cpu.host_levels = or_else(given.host_levels, cpu.host_levels, "host_levels");
  cpu.maxphyaddr = or_else(given.maxphyaddr, cpu.maxphyaddr, "maxphyaddr");
  cpu.nested_format = given.npt != 0 ? hw::SecondStageKind::npt : hw::SecondStageKind::ept;
  cpu.one_gib_pages = given.no_one_gib_pages == 0;
  cpu.execute_only = given.no_execute_only == 0;
  cpu.validate();
  return cpu;
}

vmem_cache told(const hw::CacheGeometry& geometry, std::uint32_t pages) {
  return {geometry.entries, geometry.ways, static_cast<std::uint32_t>(geometry.replacement), pages, geometry.seed};
}

vmem_cache told(const std::optional<hw::CacheGeometry>& geometry) {
  return geometry ? told(*geometry, 0) : vmem_cache{};
}

vmem_psc told(const hw::PscConfig& config) {
  return {told(config.levels[2]), told(config.levels[3]), told(config.levels[4]), told(config.levels[5])};
}

void tell(const std::vector<hw::TlbConfig>& level, std::span<vmem_cache> out) {
  if (level.size() > out.size()) throw InvariantError("a TLB level of more arrays than there are page sizes");
  for (std::size_t i = 0; i < level.size(); ++i) out[i] = told(level[i].geometry, level[i].page_sizes);
}

}  // namespace

hw::CpuConfig processor(const vmem_cpu_config* own, const char* name) {
  if (own == nullptr) return hw::cpu_preset(name == nullptr ? "skylake-sp" : name);
  if (name != nullptr)
    throw Refusal(VMEM_E_ARGUMENT,
                  "cpu is '" + std::string(name) + "' and there is a processor, too; give one of them");
  return own_processor(taken(own, "processor"));
}

}  // namespace vmem::capi

vmem_status vmem_cpu_preset(const char* name, vmem_cpu_config* config) {
  using namespace vmem::capi;
  return guard([&] {
    vmem_cpu_config& out = filled(config, "config");
    const vmem::hw::CpuConfig cpu = vmem::hw::cpu_preset(&required(name, "name"));
    vmem_cpu_config made{};
    made.size = out.size;
    made.maxphyaddr = static_cast<std::uint32_t>(cpu.maxphyaddr);
    tell(cpu.l1d, made.l1d);
    tell(cpu.l1i, made.l1i);
    tell(cpu.l2, made.l2);
    made.psc = told(cpu.psc);
    made.host_psc = told(cpu.host_psc);
    made.nested_tlb = told(cpu.nested_tlb);
    made.guest_levels = static_cast<std::uint32_t>(cpu.guest_levels);
    made.host_levels = static_cast<std::uint32_t>(cpu.host_levels);
    made.npt = cpu.nested_format == vmem::hw::SecondStageKind::npt ? 1 : 0;
    made.no_one_gib_pages = cpu.one_gib_pages ? 0 : 1;
    made.no_execute_only = cpu.execute_only ? 0 : 1;
    out = made;
    return VMEM_OK;
  });
}
