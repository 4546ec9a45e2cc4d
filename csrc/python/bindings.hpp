// One registrar per area; module.cpp calls them in order.
#pragma once

#include <pybind11/pybind11.h>

namespace vmem::python {

class PyMachine;

void bind_errors(pybind11::module_& m);
void bind_memory(pybind11::module_& m);
void bind_cpu(pybind11::module_& m);
void bind_mmu(pybind11::module_& m);
void bind_machine(pybind11::module_& m);
void bind_trace(pybind11::module_& m);
void bind_unicorn(pybind11::module_& m);

// Parts of Machine.
void bind_host_config(pybind11::module_& m);
void bind_host_memory(pybind11::classh<PyMachine>& machine);
void bind_files(pybind11::classh<PyMachine>& machine);
void bind_guest(pybind11::classh<PyMachine>& machine);
void bind_balloon(pybind11::classh<PyMachine>& machine);
void bind_balloon_policy(pybind11::module_& m, pybind11::classh<PyMachine>& machine);
void bind_devices(pybind11::classh<PyMachine>& machine);
void bind_explain(pybind11::classh<PyMachine>& machine);
void bind_time(pybind11::classh<PyMachine>& machine);
void bind_programs(pybind11::module_& m, pybind11::classh<PyMachine>& machine);

}  // namespace vmem::python
