// Simulated time of a machine: its clock, and what is logged by it.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/event_log.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"
#include "python/poll.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

void advance(PyMachine& self, Nanoseconds duration, const Progress& progress) {
  auto entered = self.enter();
  const Nanoseconds now = entered->time().now();
  if (duration > hw::Interrupts::kNever - 1 - now)
    throw ConfigError("a duration of " + std::to_string(duration) + " ns: the clock shows " + std::to_string(now) +
                      " ns and ends at 2**64 - 2");
  const py::gil_scoped_release unlocked;
  entered->time().advance_to(now + duration, make_poll(progress));
}

/// (at, kind, subject, numbers) by time; of equal times the host's first, then those of guests that are gone, then the
/// others' in the order of the VMs.
py::list events(PyMachine& self) {
  auto entered = self.look();
  std::vector<const Event*> found;
  const auto collect = [&](const std::vector<Event>& events) {
    for (const Event& event : events) found.push_back(&event);
  };
  collect(entered->hypervisor().host().events.events());
  collect(entered->past_events().kept());
  for (const auto& [id, guest] : entered->guests()) collect(guest.kernel->events().kept());
  std::stable_sort(found.begin(), found.end(), [](const Event* a, const Event* b) { return a->at < b->at; });
  py::list list;
  for (const Event* event : found) {
    py::dict numbers;
    for (const auto& [name, value] : event->numbers) numbers[py::str(name)] = value;
    list.append(py::make_tuple(event->at, event->kind, event->subject, numbers));
  }
  return list;
}

}  // namespace

void bind_time(py::classh<PyMachine>& machine) {
  machine.def("now", [](PyMachine& self) { return self.look()->time().now(); })
      .def("advance", &advance, py::arg("nanoseconds"), py::arg("progress") = py::none())
      .def("events", &events)
      .def("add_event",
           [](PyMachine& self, const std::string& kind, const std::string& subject,
              const std::vector<std::pair<std::string, std::uint64_t>>& numbers) {
             self.enter()->hypervisor().host().events.add(kind, subject, numbers);
           })
      .def("set_paused",
           [](PyMachine& self, std::uint16_t vm, bool paused) {
             auto entered = self.enter();
             entered->time().set_paused(*entered->guest(vm).vm, paused);
           })
      .def("is_paused",
           [](PyMachine& self, std::uint16_t vm) {
             auto entered = self.look();
             return entered->time().vcpus(*entered->guest(vm).vm).front().is_paused;
           })
      .def("frequency", [](PyMachine& self) { return self.look()->time().frequency().khz; })
      .def("set_frequency", [](PyMachine& self, std::uint64_t khz) { self.enter()->time().set_frequency({khz}); });
}

}  // namespace vmem::python
