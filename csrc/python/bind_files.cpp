// Files of a guest: the system calls on them.
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

py::object read(PyMachine& self, std::uint16_t vm, std::size_t vcpu, guest::FileNumber file, std::uint64_t offset,
                std::uint64_t length) {
  std::string bytes;
  const bool ok = on_vcpu(self, vm, vcpu, [&](guest::Kernel& kernel, hw::Vcpu& cpu) {
    kernel.check_file_range("read", file, offset, length);
    bytes.resize(length);
    return kernel.read_file(cpu, file, offset, std::as_writable_bytes(std::span(bytes)));
  });
  if (!ok) return py::none();
  return py::bytes(bytes);
}

bool write(PyMachine& self, std::uint16_t vm, std::size_t vcpu, guest::FileNumber file, std::uint64_t offset,
           const py::bytes& data) {
  const std::string bytes = data;
  return on_vcpu(self, vm, vcpu, [&](guest::Kernel& kernel, hw::Vcpu& cpu) {
    return kernel.write_file(cpu, file, offset, std::as_bytes(std::span(bytes)));
  });
}

std::vector<std::tuple<guest::FileNumber, std::string, std::uint64_t, std::uint64_t>> files(PyMachine& self,
                                                                                            std::uint16_t vm) {
  auto entered = self.look();
  std::vector<std::tuple<guest::FileNumber, std::string, std::uint64_t, std::uint64_t>> all;
  for (const auto& [number, file] : entered->guest(vm).kernel->files())
    all.emplace_back(number, file->name, file->bytes, file->first_sector << virtio::block::kSectorShift);
  return all;
}

}  // namespace

void bind_files(py::classh<PyMachine>& machine) {
  machine.def("files", &files)
      .def("create_file",
           [](PyMachine& self, std::uint16_t vm, const std::string& name, std::uint64_t bytes) {
             return self.enter()->guest(vm).kernel->create_file(name, bytes).number;
           })
      .def("unlink",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, guest::FileNumber file) {
             on_vcpu(self, vm, vcpu, [&](guest::Kernel& kernel, hw::Vcpu& cpu) {
               kernel.unlink(cpu, file);
               return true;
             });
           })
      .def("file_read", &read)
      .def("file_write", &write)
      .def("fsync",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, guest::FileNumber file) {
             return on_vcpu(self, vm, vcpu,
                            [&](guest::Kernel& kernel, hw::Vcpu& cpu) { return kernel.fsync(cpu, file); });
           })
      .def("swap_detects_zeros",
           [](PyMachine& self, std::uint16_t vm) { return self.look()->guest(vm).kernel->swap_detects_zeros(); })
      .def("set_swap_detects_zeros",
           [](PyMachine& self, std::uint16_t vm, bool detects) {
             self.enter()->guest(vm).kernel->set_swap_detects_zeros(detects);
           })
      .def("drop_caches",
           [](PyMachine& self, std::uint16_t vm) {
             on_vcpu(self, vm, 0, [&](guest::Kernel& kernel, hw::Vcpu& cpu) {
               kernel.drop_caches(cpu);
               return true;
             });
           })
      .def("map_stack", [](PyMachine& self, std::uint16_t vm, int process, std::uint64_t limit) {
        auto entered = self.enter();
        sim::Guest& guest = entered->guest(vm);
        const guest::Vma stack = guest.kernel->map_stack(sim::Machine::process(guest, process), limit);
        return py::make_tuple(stack.start, stack.end);
      });
}

}  // namespace vmem::python
