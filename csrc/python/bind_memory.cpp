// vmem.PhysicalMemory: bytes without a hypervisor.
#include <pybind11/numpy.h>

#include <memory>
#include <string>

#include "core/error.hpp"
#include "memory/physical_memory.hpp"
#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "python/words.hpp"

namespace py = pybind11;

namespace vmem::python {

void bind_memory(py::module_& m) {
  py::classh<memory::PhysicalMemory>(m, "PhysicalMemory")
      .def(py::init([](Word size) { return std::make_unique<memory::PhysicalMemory>(size.value); }), py::arg("size"))
      .def_property_readonly("size", &memory::PhysicalMemory::size)
      .def(
          "read",
          [](const memory::PhysicalMemory& self, Word pa, Word length) {
            if (!self.contains(pa.value, length.value))
              self.read(pa.value, {static_cast<std::byte*>(nullptr), static_cast<std::size_t>(length.value)});
            return py::bytes(reinterpret_cast<const char*>(self.data() + pa.value), length.value);
          },
          py::arg("pa"), py::arg("length"))
      .def(
          "write",
          [](memory::PhysicalMemory& self, Word pa, const py::object& data) {
            py::buffer_info info;
            self.write(pa.value, bytes_of(data, info));
          },
          py::arg("pa"), py::arg("data"))
      .def_property_readonly("array", [](const py::object& self) {
        auto& memory = self.cast<memory::PhysicalMemory&>();
        return py::array_t<std::uint8_t>({memory.size()}, {1}, reinterpret_cast<const std::uint8_t*>(memory.data()),
                                         self);
      });
}

}  // namespace vmem::python
