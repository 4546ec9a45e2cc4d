// vmem.PhysicalMemory: bytes without a hypervisor.
#include <pybind11/numpy.h>

#include <memory>
#include <string>

#include "core/error.hpp"
#include "memory/physical_memory.hpp"
#include "python/bindings.hpp"

namespace py = pybind11;

namespace vmem::python {

void bind_memory(py::module_& m) {
  py::classh<memory::PhysicalMemory>(m, "PhysicalMemory")
      .def(py::init<std::uint64_t>(), py::arg("size"))
      .def_property_readonly("size", &memory::PhysicalMemory::size)
      .def(
          "read",
          [](const memory::PhysicalMemory& self, std::uint64_t pa, std::uint64_t length) {
            if (!self.contains(pa, length)) self.read(pa, {static_cast<std::byte*>(nullptr), static_cast<std::size_t>(length)});
            return py::bytes(reinterpret_cast<const char*>(self.data() + pa), length);
          },
          py::arg("pa"), py::arg("length"))
      .def(
          "write",
          [](memory::PhysicalMemory& self, std::uint64_t pa, const py::buffer& data) {
            const py::buffer_info info = data.request();
            if (!PyBuffer_IsContiguous(info.view(), 'C')) throw ConfigError("data: expected a contiguous buffer");
            self.write(pa, {static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize)});
          },
          py::arg("pa"), py::arg("data"))
      .def_property_readonly("array", [](const py::object& self) {
        auto& memory = self.cast<memory::PhysicalMemory&>();
        return py::array_t<std::uint8_t>({memory.size()}, {1}, reinterpret_cast<const std::uint8_t*>(memory.data()), self);
      });
}

}  // namespace vmem::python
