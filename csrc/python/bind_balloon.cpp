// The balloon of a VM: its device, and the driver inside.
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"
#include "vmm/balloon/balloon_device.hpp"
#include "vmm/reclaim/free_list_scan.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

vmm::balloon::BalloonDevice& device_of(sim::Machine& machine, std::uint16_t vm) {
  vmm::Vm& owner = *machine.guest(vm).vm;
  if (owner.balloon() == nullptr) throw ConfigError("VM '" + owner.config().name + "' has no balloon");
  return *owner.balloon();
}

vmm::balloon::BalloonDevice& hinting_device(sim::Machine& machine, std::uint16_t vm) {
  vmm::balloon::BalloonDevice& device = device_of(machine, vm);
  if ((device.offered() & virtio::balloon::kFreePageHint) == 0)
    throw ConfigError("VM '" + machine.guest(vm).vm->config().name + "': its balloon does not offer free_page_hint");
  return device;
}

guest::BalloonDriver& driver_of(sim::Machine& machine, std::uint16_t vm) {
  guest::BalloonDriver* const driver = machine.guest(vm).kernel->devices().balloon();
  if (driver == nullptr) throw ConfigError("this VM's guest has no balloon driver");
  return *driver;
}

/// (by QEMU's names, nanoseconds of the clock when they came or None)
py::tuple statistics(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const vmm::balloon::Statistics& told = device_of(*entered, vm).statistics();
  py::dict dict;
  for (std::size_t tag = 0; tag < told.values.size(); ++tag) dict[virtio::balloon::kStatNames[tag]] = told.values[tag];
  return py::make_tuple(dict, told.ever ? py::object(py::int_(told.updated)) : py::object(py::none()));
}

py::dict counters(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const vmm::balloon::BalloonDevice& device = device_of(*entered, vm);
  const vmm::balloon::BalloonStat& stat = device.stat();
  py::dict dict;
  dict["held"] = device.held();
  dict["inflated"] = stat.inflated;
  dict["deflated"] = stat.deflated;
  dict["inflate_requests"] = stat.inflate_requests;
  dict["deflate_requests"] = stat.deflate_requests;
  dict["discarded"] = stat.discarded;
  dict["reports"] = stat.reports;
  dict["reported"] = stat.reported;
  dict["reported_discarded"] = stat.reported_discarded;
  dict["hint_rounds"] = stat.hint_rounds;
  dict["hints"] = stat.hints;
  dict["hinted"] = stat.hinted;
  dict["stale_hints"] = stat.stale_hints;
  dict["hinted_discarded"] = stat.hinted_discarded;
  return dict;
}

py::dict violations(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const auto& broken = device_of(*entered, vm).stat().broken;
  py::dict dict;
#define X(name, text) dict[#name] = broken[static_cast<std::size_t>(vmm::balloon::Rule::name)];
  VMEM_BALLOON_RULES(X)
#undef X
  return dict;
}

py::dict driver_stat(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const guest::BalloonDriver& driver = driver_of(*entered, vm);
  const guest::BalloonDriverStat& stat = driver.stat();
  const guest::PageReportingStat reporting =
      driver.reporting() != nullptr ? driver.reporting()->stat() : guest::PageReportingStat{};
  const guest::HintingStat hinting = driver.hinting() != nullptr ? driver.hinting()->stat() : guest::HintingStat{};
  py::dict dict;
  dict["balloon_inflate"] = stat.inflated;
  dict["balloon_deflate"] = stat.deflated;
  dict["out_of_puff"] = stat.out_of_puff;
  dict["oom_deflated"] = stat.oom_deflated;
  dict["report_cycles"] = reporting.cycles;
  dict["report_requests"] = reporting.requests;
  dict["reported_blocks"] = reporting.blocks;
  dict["reported_pages"] = reporting.pages;
  dict["hint_rounds"] = hinting.rounds;
  dict["hinted_blocks"] = hinting.blocks;
  dict["hinted_blocks_shrunk"] = hinting.shrunk;
  dict["hinted_blocks_held"] = driver.hinting() != nullptr ? driver.hinting()->blocks() : 0;
  return dict;
}

std::vector<std::uint64_t> driver_pages(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  std::vector<std::uint64_t> pages;
  for (const Gfn page : driver_of(*entered, vm).pages()) pages.push_back(page.value);
  return pages;
}

/// [(gPA of descriptors, available ring, used ring; entries)] by number of the queue
std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint16_t>> driver_queues(PyMachine& self,
                                                                                                  std::uint16_t vm) {
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint16_t>> queues;
  for (const virtio::Rings& rings : driver_of(*self.look(), vm).rings())
    queues.emplace_back(rings.descriptors.value, rings.available.value, rings.used.value, rings.size);
  return queues;
}

std::string_view hinting(PyMachine& self, std::uint16_t vm) {
  using State = vmm::balloon::HintRounds::State;
  switch (hinting_device(*self.look(), vm).hint_rounds().state()) {
    case State::stopped:
      return "stopped";
    case State::requested:
      return "requested";
    case State::started:
      return "started";
    case State::done:
      break;
  }
  return "done";
}

/// [(nanoseconds of the clock, bytes that the guest keeps)]
std::vector<std::pair<std::uint64_t, std::uint64_t>> take_changes(PyMachine& self, std::uint16_t vm) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> changes;
  for (const auto& [at, bytes] : device_of(*self.enter(), vm).take_changes()) changes.emplace_back(at, bytes);
  return changes;
}

py::dict free_hint_stat(PyMachine& self, std::uint16_t vm) {
  const vmm::FreeHintStat stat = self.look()->guest(vm).vm->free_hints().stat();
  py::dict dict;
  dict["calls"] = stat.calls;
  dict["blocks"] = stat.blocks;
  dict["pages"] = stat.pages;
  dict["discarded"] = stat.discarded;
  dict["refused"] = stat.refused;
  return dict;
}

py::dict scan_stat(PyMachine& self, std::uint16_t vm) {
  const vmm::FreeListScan* scan = self.look()->guest(vm).vm->scan();
  const vmm::ScanStat stat = scan == nullptr ? vmm::ScanStat{} : scan->stat();
  py::dict dict;
  dict["scans"] = stat.scans;
  dict["unreadable"] = stat.unreadable;
  dict["entries"] = stat.entries;
  dict["found"] = stat.found;
  dict["discarded"] = stat.discarded;
  dict["raced"] = stat.raced;
  dict["host_ns"] = stat.host_time;
  dict["paused_ns"] = stat.paused;
  return dict;
}

/// (reached, given up, pages, nanoseconds, the longest's) of shrinking, and of growing.
py::tuple resizes(PyMachine& self, std::uint16_t vm) {
  const auto tuple = [](const vmm::balloon::Resizes& of) {
    return py::make_tuple(of.reached, of.given_up, of.pages, of.time, of.longest);
  };
  auto entered = self.look();
  const vmm::balloon::ResizeMeter& meter = device_of(*entered, vm).resizes();
  return py::make_tuple(tuple(meter.shrinking()), tuple(meter.growing()));
}

}  // namespace

void bind_balloon(py::classh<PyMachine>& machine) {
  machine.def("balloon_target", [](PyMachine& self, std::uint16_t vm) { return device_of(*self.look(), vm).target(); })
      .def("set_balloon_target", [](PyMachine& self, std::uint16_t vm,
                                    std::uint64_t bytes) { device_of(*self.enter(), vm).set_target(bytes); })
      .def("balloon_actual", [](PyMachine& self, std::uint16_t vm) { return device_of(*self.look(), vm).actual(); })
      .def("balloon_statistics", &statistics)
      .def("balloon_polling_interval",
           [](PyMachine& self, std::uint16_t vm) { return device_of(*self.look(), vm).polling_interval(); })
      .def("set_balloon_polling_interval",
           [](PyMachine& self, std::uint16_t vm, std::uint32_t seconds) {
             device_of(*self.enter(), vm).set_polling_interval(seconds);
           })
      .def("balloon_inhibited",
           [](PyMachine& self, std::uint16_t vm) { return device_of(*self.look(), vm).is_inhibited(); })
      .def("inhibit_balloon",
           [](PyMachine& self, std::uint16_t vm, bool inhibited) { device_of(*self.enter(), vm).inhibit(inhibited); })
      .def("watch_balloon", [](PyMachine& self, std::uint16_t vm) { device_of(*self.enter(), vm).watch(); })
      .def("take_balloon_changes", &take_changes)
      .def("balloon_hinting", &hinting)
      .def("start_balloon_hinting",
           [](PyMachine& self, std::uint16_t vm) { hinting_device(*self.enter(), vm).start_hinting(); })
      .def("stop_balloon_hinting",
           [](PyMachine& self, std::uint16_t vm) { hinting_device(*self.enter(), vm).stop_hinting(); })
      .def("finish_balloon_hinting",
           [](PyMachine& self, std::uint16_t vm) { hinting_device(*self.enter(), vm).finish_hinting(); })
      .def("balloon_needs_reset",
           [](PyMachine& self, std::uint16_t vm) { return device_of(*self.look(), vm).needs_reset(); })
      .def("balloon_driver_queues", &driver_queues)
      .def("kick_balloon",
           [](PyMachine& self, std::uint16_t vm, std::uint32_t queue) {
             auto entered = self.enter();
             driver_of(*entered, vm).kick(entered->guest(vm).vm->vcpu(0), queue);
           })
      .def("balloon_counters", &counters)
      .def("balloon_resizes", &resizes)
      .def("balloon_violations", &violations)
      .def("unload_balloon_driver",
           [](PyMachine& self, std::uint16_t vm) {
             return on_vcpu(self, vm, 0, [](guest::Kernel& kernel, hw::Vcpu& vcpu) {
               return kernel.devices().unload_balloon(vcpu);
             });
           })
      .def("load_balloon_driver",
           [](PyMachine& self, std::uint16_t vm) {
             return on_vcpu(self, vm, 0, [](guest::Kernel& kernel, hw::Vcpu& vcpu) {
               return kernel.devices().load_balloon(vcpu, kernel);
             });
           })
      .def("balloon_driver_stat", &driver_stat)
      .def("balloon_driver_pages", &driver_pages)
      .def("free_hint_stat", &free_hint_stat)
      .def("scan_stat", &scan_stat);
}

}  // namespace vmem::python
