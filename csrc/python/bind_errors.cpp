// C++ errors become the exceptions of vmem.errors, the one place where they are defined.
#include "core/error.hpp"
#include "python/bindings.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

/// Raises `vmem.errors.<name>(message)`; looked up on use, so that importing _core imports nothing.
void raise(const char* name, const char* message) {
  const py::object type = py::module_::import("vmem.errors").attr(name);
  PyErr_SetString(type.ptr(), message);
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ConfigError& error) {
      raise("ConfigError", error.what());
    } catch (const InvariantError& error) {
      raise("InvariantError", error.what());
    } catch (const OutOfMemory& error) {
      raise("OutOfMemory", error.what());
    } catch (const TraceError& error) {
      const py::object type = py::module_::import("vmem.errors").attr("TraceError");
      const py::object value = type(error.what(), py::arg("offset") = error.offset);
      PyErr_SetObject(type.ptr(), value.ptr());
    } catch (const VmemError& error) {
      raise("VmemError", error.what());
    }
  });
}

}  // namespace vmem::python
