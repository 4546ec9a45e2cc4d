// What a host is switched on with.
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "vmm/host.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

vmm::VictimPolicy victims(const std::string& name) {
  if (name == "random") return vmm::VictimPolicy::random;
  if (name == "clock") return vmm::VictimPolicy::clock;
  throw ConfigError("unknown victims '" + name + "', accepted are random and clock");
}

vmm::AdmissionPolicy admission(const std::string& name) {
  if (name == "none") return vmm::AdmissionPolicy::none;
  if (name == "esx") return vmm::AdmissionPolicy::esx;
  throw ConfigError("unknown admission '" + name + "', accepted are none and esx");
}

}  // namespace

void bind_host_config(py::module_& m) {
  using Thousandths = std::array<std::uint32_t, vmm::kHostStates - 1>;
  py::classh<vmm::HostConfig>(m, "HostConfig")
      .def(py::init([](std::uint64_t swap, const std::string& swap_dir, Nanoseconds swap_read_time,
                       const Thousandths& enter, const Thousandths& leave, const std::string& victim_policy,
                       Nanoseconds period, std::uint64_t seed, const std::string& admission_policy,
                       std::uint64_t overhead, bool asks_balloons) {
             return vmm::HostConfig{{swap, swap_dir, swap_read_time},
                                    {{enter, leave}, victims(victim_policy), period, seed, asks_balloons},
                                    {admission(admission_policy), overhead}};
           }),
           py::kw_only(), py::arg("swap"), py::arg("swap_dir"), py::arg("swap_read_time"), py::arg("enter"),
           py::arg("leave"), py::arg("victims"), py::arg("period"), py::arg("seed"), py::arg("admission"),
           py::arg("overhead"), py::arg("asks_balloons"));
}

}  // namespace vmem::python
