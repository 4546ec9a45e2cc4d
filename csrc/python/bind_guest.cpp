// What a guest kernel says of itself, and what its system calls beyond mapping do.
#include <pybind11/stl.h>

#include <cstdint>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

guest::Kernel& kernel_of(sim::Machine& machine, std::uint16_t vm) { return *machine.guest(vm).kernel; }

py::dict meminfo(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  py::dict dict;
  guest::each_field(kernel_of(*entered, vm).meminfo(),
                    [&](const char* name, std::uint64_t frames) { dict[name] = frames << kPageShift; });
  return dict;
}

py::dict vmstat(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  guest::Kernel& kernel = kernel_of(*entered, vm);
  py::dict dict;
  guest::each_counter(kernel.vmstat(), [&](const char* name, std::uint64_t value) { dict[name] = value; });
  guest::BalloonDriver* const balloon = kernel.devices().balloon();
  dict["balloon_inflate"] = balloon != nullptr ? balloon->stat().inflated : 0;
  dict["balloon_deflate"] = balloon != nullptr ? balloon->stat().deflated : 0;
  return dict;
}

py::dict zoneinfo(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  py::dict dict;
  for (const guest::ZoneInfo& zone : kernel_of(*entered, vm).zoneinfo()) {
    py::dict entry;
    entry["managed"] = zone.managed;
    entry["free"] = zone.free;
    entry["min"] = zone.marks.min;
    entry["low"] = zone.marks.low;
    entry["high"] = zone.marks.high;
    entry["protection"] = zone.reserve;
    entry["pcp"] = zone.per_cpu;
    entry["blocks"] = zone.blocks;
    dict[zone.name] = entry;
  }
  return dict;
}

py::dict psi_line(const guest::PsiLine& line) {
  py::dict dict;
  dict["avg10"] = line.average[0];
  dict["avg60"] = line.average[1];
  dict["avg300"] = line.average[2];
  dict["total"] = line.total / 1000;
  return dict;
}

py::dict pressure(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const guest::Psi::Pressure now = kernel_of(*entered, vm).pressure();
  py::dict dict;
  dict["some"] = psi_line(now.some);
  dict["full"] = psi_line(now.full);
  return dict;
}

py::dict process_memory(PyMachine& self, std::uint16_t vm, int process) {
  auto entered = self.look();
  const guest::Process& of = sim::Machine::process(entered->guest(vm), process);
  py::dict dict;
  dict["VmRSS"] = of.resident << kPageShift;
  dict["VmSwap"] = of.swapped << kPageShift;
  dict["VmPTE"] = of.table.table_frames() << kPageShift;
  dict["oom_score_adj"] = of.oom_score_adj;
  dict["killed"] = of.killed;
  return dict;
}

}  // namespace

void bind_guest(py::classh<PyMachine>& machine) {
  machine.def("guest_meminfo", &meminfo)
      .def("vmstat", &vmstat)
      .def("zoneinfo", &zoneinfo)
      .def("pressure", &pressure)
      .def("process_memory", &process_memory)
      .def("set_oom_score_adj",
           [](PyMachine& self, std::uint16_t vm, int process, int adjustment) {
             auto entered = self.enter();
             sim::Machine::process(entered->guest(vm), process).oom_score_adj = adjustment;
           })
      .def("discard",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start,
              std::uint64_t length) {
             auto entered = self.enter();
             sim::Guest& guest = entered->guest(vm);
             hw::Vcpu& cpu = sim::Machine::vcpu(guest, vcpu);
             guest.kernel->discard(cpu, sim::Machine::process(guest, process), start, length);
             entered->time().charge(*guest.vm, cpu);
           })
      .def("advise_page_size",
           [](PyMachine& self, std::uint16_t vm, int process, std::uint64_t start, std::uint64_t length, int largest) {
             auto entered = self.enter();
             sim::Guest& guest = entered->guest(vm);
             guest.kernel->advise_page_size(sim::Machine::process(guest, process), start, length,
                                            static_cast<PageSize>(largest));
           });
}

}  // namespace vmem::python
