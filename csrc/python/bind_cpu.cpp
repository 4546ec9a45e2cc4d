// Processor configurations, passed as plain tuples; vmem.cpu has the classes people use.
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "hw/cpu_config.hpp"
#include "python/bindings.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

/// (entries, ways, policy, seed, page-size bits)
using TlbTuple = std::tuple<std::uint32_t, std::uint32_t, std::string, std::uint64_t, std::uint8_t>;

constexpr std::array<const char*, 4> kPolicies{"lru", "plru", "fifo", "random"};

hw::CacheGeometry geometry(const TlbTuple& tuple) {
  const std::string& policy = std::get<2>(tuple);
  for (std::size_t i = 0; i < kPolicies.size(); ++i)
    if (policy == kPolicies[i])
      return {std::get<0>(tuple), std::get<1>(tuple), static_cast<hw::Replacement>(i), std::get<3>(tuple)};
  throw ConfigError("unknown replacement policy '" + policy + "', accepted are lru, plru, fifo, random");
}

TlbTuple tuple(const hw::CacheGeometry& geometry, std::uint8_t page_sizes) {
  return {geometry.entries, geometry.ways, kPolicies[static_cast<std::size_t>(geometry.replacement)], geometry.seed,
          page_sizes};
}

std::vector<hw::TlbConfig> level(const std::vector<TlbTuple>& arrays) {
  std::vector<hw::TlbConfig> level;
  level.reserve(arrays.size());
  for (const TlbTuple& array : arrays) level.push_back({geometry(array), std::get<4>(array)});
  return level;
}

std::vector<TlbTuple> tuples(const std::vector<hw::TlbConfig>& level) {
  std::vector<TlbTuple> tuples;
  tuples.reserve(level.size());
  for (const hw::TlbConfig& array : level) tuples.push_back(tuple(array.geometry, array.page_sizes));
  return tuples;
}

/// Levels 2 to 5.
hw::PscConfig psc(const std::vector<std::optional<TlbTuple>>& levels) {
  hw::PscConfig config;
  for (std::size_t i = 0; i < levels.size() && i + 2 < config.levels.size(); ++i)
    if (levels[i]) config.levels[i + 2] = geometry(*levels[i]);
  return config;
}

std::vector<std::optional<TlbTuple>> psc_tuples(const hw::PscConfig& config) {
  std::vector<std::optional<TlbTuple>> levels;
  for (std::size_t level = 2; level < config.levels.size(); ++level)
    levels.push_back(config.levels[level] ? std::optional(tuple(*config.levels[level], 0b111)) : std::nullopt);
  return levels;
}

}  // namespace

void bind_cpu(py::module_& m) {
  py::classh<hw::CpuConfig>(m, "CpuConfig")
      .def(py::init([](std::string name, std::string source, const std::vector<TlbTuple>& l1i,
                       const std::vector<TlbTuple>& l1d, const std::vector<TlbTuple>& l2,
                       const std::vector<std::optional<TlbTuple>>& guest_psc,
                       const std::vector<std::optional<TlbTuple>>& host_psc, const std::optional<TlbTuple>& nested_tlb,
                       int guest_levels, int host_levels, const std::string& nested_format, int maxphyaddr,
                       bool one_gib_pages, bool execute_only) {
             hw::CpuConfig cpu{std::move(name), std::move(source), level(l1i),   level(l1d),   level(l2),
                               psc(guest_psc),  psc(host_psc),     std::nullopt, guest_levels, host_levels};
             if (nested_tlb) cpu.nested_tlb = geometry(*nested_tlb);
             if (nested_format != "ept" && nested_format != "npt")
               throw ConfigError("unknown nested_format '" + nested_format + "', accepted are ept and npt");
             cpu.nested_format = nested_format == "npt" ? hw::SecondStageKind::npt : hw::SecondStageKind::ept;
             cpu.maxphyaddr = maxphyaddr;
             cpu.one_gib_pages = one_gib_pages;
             cpu.execute_only = execute_only;
             cpu.validate();
             return cpu;
           }),
           py::kw_only(), py::arg("name"), py::arg("source"), py::arg("l1i"), py::arg("l1d"), py::arg("l2"),
           py::arg("psc"), py::arg("host_psc"), py::arg("nested_tlb"), py::arg("guest_levels"), py::arg("host_levels"),
           py::arg("nested_format"), py::arg("maxphyaddr"), py::arg("one_gib_pages"), py::arg("execute_only"))
      .def_readonly("name", &hw::CpuConfig::name)
      .def_readonly("source", &hw::CpuConfig::source)
      .def_property_readonly("l1i", [](const hw::CpuConfig& cpu) { return tuples(cpu.l1i); })
      .def_property_readonly("l1d", [](const hw::CpuConfig& cpu) { return tuples(cpu.l1d); })
      .def_property_readonly("l2", [](const hw::CpuConfig& cpu) { return tuples(cpu.l2); })
      .def_property_readonly("psc", [](const hw::CpuConfig& cpu) { return psc_tuples(cpu.psc); })
      .def_property_readonly("host_psc", [](const hw::CpuConfig& cpu) { return psc_tuples(cpu.host_psc); })
      .def_property_readonly("nested_tlb",
                             [](const hw::CpuConfig& cpu) {
                               return cpu.nested_tlb ? std::optional(tuple(*cpu.nested_tlb, 0b111)) : std::nullopt;
                             })
      .def_property_readonly(
          "nested_format",
          [](const hw::CpuConfig& cpu) { return cpu.nested_format == hw::SecondStageKind::npt ? "npt" : "ept"; })
      .def_readonly("guest_levels", &hw::CpuConfig::guest_levels)
      .def_readonly("host_levels", &hw::CpuConfig::host_levels)
      .def_readonly("maxphyaddr", &hw::CpuConfig::maxphyaddr)
      .def_readonly("one_gib_pages", &hw::CpuConfig::one_gib_pages)
      .def_readonly("execute_only", &hw::CpuConfig::execute_only);
  m.def("cpu_preset_names", &hw::cpu_preset_names);
  m.def("cpu_preset", &hw::cpu_preset, py::arg("name"));
}

}  // namespace vmem::python
