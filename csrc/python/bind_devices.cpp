// Devices of a VM, from the host's side.
#include <cstdint>
#include <span>
#include <string>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"
#include "vmm/block_device.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

vmm::BlockDevice& disk_of(sim::Machine& machine, std::uint16_t vm) {
  vmm::Vm& owner = *machine.guest(vm).vm;
  if (owner.disk() == nullptr) throw ConfigError("VM '" + owner.config().name + "' has no disk");
  return *owner.disk();
}

py::bytes read(PyMachine& self, std::uint16_t vm, std::uint64_t offset, std::uint64_t length) {
  auto entered = self.look();
  const memory::PhysicalMemory& contents = disk_of(*entered, vm).contents();
  if (!contents.contains(offset, length))
    throw ConfigError("disk: " + std::to_string(length) + " bytes at " + std::to_string(offset) + ": it has " +
                      std::to_string(contents.size()));
  std::string bytes(length, '\0');
  contents.read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

void write(PyMachine& self, std::uint16_t vm, std::uint64_t offset, const py::bytes& data) {
  auto entered = self.enter();
  memory::PhysicalMemory& contents = disk_of(*entered, vm).contents();
  const std::string bytes = data;
  if (!contents.contains(offset, bytes.size()))
    throw ConfigError("disk: " + std::to_string(bytes.size()) + " bytes at " + std::to_string(offset) + ": it has " +
                      std::to_string(contents.size()));
  contents.write(offset, std::as_bytes(std::span(bytes)));
}

py::dict stat(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const vmm::DiskStat stat = disk_of(*entered, vm).stat();
  py::dict dict;
  dict["reads"] = stat.reads;
  dict["writes"] = stat.writes;
  dict["flushes"] = stat.flushes;
  dict["read_bytes"] = stat.read_bytes;
  dict["written_bytes"] = stat.written_bytes;
  dict["errors"] = stat.errors;
  return dict;
}

void fail(PyMachine& self, std::uint16_t vm, bool fails) { disk_of(*self.enter(), vm).fail(fails); }

}  // namespace

void bind_devices(py::classh<PyMachine>& machine) {
  machine.def("disk_read", &read).def("disk_write", &write).def("disk_stat", &stat).def("fail_disk", &fail);
}

}  // namespace vmem::python
