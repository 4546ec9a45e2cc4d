#include "python/bindings.hpp"
#include "vmem/version.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The core of vmem; use the classes of the package vmem instead.";
  m.attr("__version__") = VMEM_VERSION;
  vmem::python::bind_errors(m);
  vmem::python::bind_memory(m);
  vmem::python::bind_cpu(m);
  vmem::python::bind_mmu(m);
  vmem::python::bind_machine(m);
  vmem::python::bind_trace(m);
  vmem::python::bind_unicorn(m);
}
