// What the host does with the memory behind its guests: swap, sharing, page sizes.
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"
#include "vmm/host_swap.hpp"
#include "vmm/page_size.hpp"
#include "vmm/sharing.hpp"
#include "vmm/unmap.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

bool swap_out(PyMachine& self, std::uint16_t id, std::uint64_t gpa) {
  auto entered = self.enter();
  vmm::Vm& vm = *entered->guest(id).vm;
  vmm::Unmap unmap(vm);
  return vmm::swap_out(vm, Gpa{gpa}.frame(), unmap) == vmm::SwapOut::done;
}

/// (gPFN, hPFN, pages of 4 KiB, may be stored to) of every page the second stage maps, ascending.
std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, bool>> second_stage(PyMachine& self,
                                                                                        std::uint16_t id) {
  auto entered = self.look();
  const vmm::Vm& vm = *entered->guest(id).vm;
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, bool>> pages;
  if (vm.is_native()) {
    pages.emplace_back(0, vm.window().frame().value, vm.frames(), true);
    return pages;
  }
  const vmm::SecondStage& stage = *vm.second_stage();
  stage.for_each([&](Gfn gfn, const vmm::SecondStage::Leaf& leaf) {
    pages.emplace_back(gfn.value, stage.target(leaf, gfn).value, page_frames(leaf.size()),
                       (stage.rights(leaf.entry) & paging::kWrite) != 0);
  });
  return pages;
}

py::dict vm_stat(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const vmm::VmStat& stat = entered->guest(vm).vm->stat();
  py::dict dict;
  dict["swapped_out"] = stat.swapped_out;
  dict["swapped_in"] = stat.swapped_in;
  dict["split"] = stat.split;
  return dict;
}

py::dict host_stat(PyMachine& self) {
  auto entered = self.look();
  const vmm::Host& host = entered->hypervisor().host();
  py::dict dict;
  vmm::each_counter(host.stat, [&](const char* name, std::uint64_t value) { dict[name] = value; });
  dict["swap_write_errors"] = host.swap.write_errors();
  return dict;
}

vmm::HostProcess& process(sim::Machine& machine, std::uint16_t id) {
  for (const auto& process : machine.hypervisor().processes())
    if (process->id() == id) return *process;
  throw ConfigError("this host process has ended");
}

}  // namespace

void bind_host_memory(py::classh<PyMachine>& machine) {
  machine.def("swap_out", &swap_out)
      .def("split", [](PyMachine& self, std::uint16_t vm,
                       std::uint64_t gpa) { return vmm::split(*self.enter()->guest(vm).vm, Gpa{gpa}.frame()); })
      .def("collapse", [](PyMachine& self, std::uint16_t vm,
                          std::uint64_t gpa) { return vmm::collapse(*self.enter()->guest(vm).vm, Gpa{gpa}.frame()); })
      .def("share",
           [](PyMachine& self) {
             auto entered = self.enter();
             const py::gil_scoped_release unlocked;
             return vmm::share(entered->hypervisor().vms());
           })
      .def("swapped",
           [](PyMachine& self, std::uint16_t vm) { return self.look()->guest(vm).vm->swapped_frames() << kPageShift; })
      .def("second_stage", &second_stage)
      .def("page_table_root",
           [](PyMachine& self, std::uint16_t vm, int process) {
             auto entered = self.look();
             return sim::Machine::process(entered->guest(vm), process).table.root().value;
           })
      .def("host_stat", &host_stat)
      .def("vm_stat", &vm_stat)
      .def("host_state",
           [](PyMachine& self) { return std::string(vmm::name_of(self.look()->hypervisor().reclaim().state())); })
      .def("sample_activity",
           [](PyMachine& self, std::uint16_t vm, std::uint64_t pages) {
             auto entered = self.enter();
             const auto [touched, of] = entered->hypervisor().activity().next(*entered->guest(vm).vm, pages);
             return std::pair(touched, of);
           })
      .def("sampled_activity",
           [](PyMachine& self, std::uint16_t vm) {
             auto entered = self.look();
             const auto [touched, of] = entered->hypervisor().activity().count(*entered->guest(vm).vm);
             return std::pair(touched, of);
           })
      .def("is_killed", [](PyMachine& self, std::uint16_t vm) { return self.look()->guest(vm).vm->is_killed(); })
      .def("create_process",
           [](PyMachine& self, const std::string& name, std::uint64_t memory) {
             return self.enter()->hypervisor().create_process(name, memory).id();
           })
      .def("destroy_process",
           [](PyMachine& self, std::uint16_t id) {
             auto entered = self.enter();
             entered->hypervisor().destroy_process(process(*entered, id));
           })
      .def("process_size",
           [](PyMachine& self, std::uint16_t id) {
             auto entered = self.look();
             return process(*entered, id).size();
           })
      .def("process_resize",
           [](PyMachine& self, std::uint16_t id, std::uint64_t memory) {
             auto entered = self.enter();
             process(*entered, id).resize(memory);
           })
      .def("process_read",
           [](PyMachine& self, std::uint16_t id, std::uint64_t at, std::uint64_t length) {
             auto entered = self.look();
             vmm::HostProcess& of = process(*entered, id);
             if (length > of.size())
               throw ConfigError("host process '" + of.name() + "' has " + std::to_string(of.size()) +
                                 " bytes, asked for " + std::to_string(length));
             std::string bytes(length, '\0');
             of.read(at, std::as_writable_bytes(std::span(bytes)));
             return py::bytes(bytes);
           })
      .def("process_write", [](PyMachine& self, std::uint16_t id, std::uint64_t at, const py::bytes& data) {
        auto entered = self.enter();
        const std::string bytes = data;
        process(*entered, id).write(at, std::as_bytes(std::span(bytes)));
      });
}

}  // namespace vmem::python
