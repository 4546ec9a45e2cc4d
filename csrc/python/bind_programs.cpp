// Programs that run in simulated time, the scheduler that runs them, and the formulas of synthetic ones.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"
#include "python/poll.hpp"
#include "sim/programs/churn.hpp"
#include "sim/programs/demand.hpp"
#include "sim/programs/stream.hpp"
#include "sim/programs/trace.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using Protection = std::tuple<bool, bool, bool>;
using Call = std::tuple<std::string, std::uint64_t, std::uint64_t, Protection, std::string>;

/// Python's hold on one kind of synthetic references.
struct PyOffsets {
  sim::SharedOffsets offsets;
};

/// A share of stores in 2^-63; none: every second reference.
sim::Stores stores_of(std::optional<std::uint64_t> share) {
  if (share) return {sim::Stores::Pattern::share, *share};
  return {sim::Stores::Pattern::alternate, 0};
}

sim::ReferenceStream references_of(const PyOffsets& offsets, std::optional<std::uint64_t> stores, std::uint64_t seed) {
  return {offsets.offsets, stores_of(stores), seed};
}

py::tuple fill(const PyOffsets& offsets, std::optional<std::uint64_t> stores, std::uint64_t seed, std::uint64_t base,
               std::uint64_t first, std::size_t count) {
  py::array_t<std::uint64_t> addresses(static_cast<py::ssize_t>(count));
  py::array_t<std::uint8_t> kinds(static_cast<py::ssize_t>(count));
  const std::span<std::uint64_t> to(addresses.mutable_data(), count);
  const std::span<std::uint8_t> which(kinds.mutable_data(), count);
  {
    const py::gil_scoped_release unlocked;
    references_of(offsets, stores, seed).fill(base, first, to, which);
  }
  return py::make_tuple(addresses, kinds);
}

void bind_offsets(py::module_& m) {
  py::classh<PyOffsets>(m, "Offsets")
      .def_static("uniform", [](std::uint64_t size) { return PyOffsets{sim::uniform_offsets(size)}; })
      .def_static("zipf", [](std::uint64_t size, double skew) { return PyOffsets{sim::zipf_offsets(size, skew)}; })
      .def_static("strided",
                  [](std::uint64_t size, std::uint64_t step) { return PyOffsets{sim::strided_offsets(size, step)}; })
      .def_static("hot_cold",
                  [](std::uint64_t size, std::uint64_t hot, std::uint64_t share, std::uint64_t phase) {
                    return PyOffsets{sim::hot_cold_offsets(size, hot, share, phase)};
                  })
      .def_static("chase", [](std::uint64_t size) { return PyOffsets{sim::chase_offsets(size)}; })
      .def_static("updates", [](std::uint64_t size) { return PyOffsets{sim::update_offsets(size)}; })
      .def("burst", [](const PyOffsets& self,
                       std::uint64_t burst) { return PyOffsets{sim::burst_offsets(self.offsets, burst)}; })
      .def_property_readonly("size", [](const PyOffsets& self) { return self.offsets->size(); })
      .def("fill", &fill, py::kw_only(), py::arg("stores"), py::arg("seed"), py::arg("base"), py::arg("first"),
           py::arg("count"));
}

sim::ReplayedCall map_call(const Call& call) {
  const auto& [kind, start, length, prot, name] = call;
  using Kind = sim::ReplayedCall::Kind;
  const Kind which = kind == "munmap"     ? Kind::munmap
                     : kind == "mprotect" ? Kind::mprotect
                     : kind == "brk"      ? Kind::brk
                                          : Kind::mmap;
  return {which, start, length, {std::get<0>(prot), std::get<1>(prot), std::get<2>(prot)}, name};
}

template <class T>
std::vector<T> copied(const py::array_t<T, py::array::c_style>& array) {
  return {array.data(), array.data() + array.size()};
}

/// What an iterator of a trace gives: an array of runs, a pair of arrays, or a call.
sim::TraceItem trace_item(const py::handle& item) {
  if (py::isinstance<py::array>(item)) {
    const auto runs = py::reinterpret_borrow<py::array>(item);
    if (runs.ndim() != 1 || runs.itemsize() != sizeof(Run) || !(runs.flags() & py::array::c_style))
      throw ConfigError("runs: expected a contiguous one-dimensional array of RUN_DTYPE");
    const auto* const first = static_cast<const Run*>(runs.data());
    std::vector<Run> copy(first, first + runs.size());
    for (const Run& run : copy)
      if (!well_formed(run)) throw ConfigError("runs: one that no compactor makes");
    return copy;
  }
  const auto parts = py::reinterpret_borrow<py::tuple>(item);
  if (parts.size() != 2) return map_call(parts.cast<Call>());
  const AddressArray addresses = exact_array<std::uint64_t>(parts[0], "addresses");
  const KindArray kinds = exact_array<std::uint8_t>(parts[1], "kinds");
  check_batch(addresses, kinds);
  return sim::SingleReferences{copied(addresses), copied(kinds)};
}

/// A Python object that any thread may let go of, with or without the GIL.
std::shared_ptr<py::object> kept(py::object object) {
  return {new py::object(std::move(object)), [](py::object* held) {
            const py::gil_scoped_acquire locked;
            delete held;
          }};
}

std::function<sim::TraceItem()> pull_from(const std::shared_ptr<py::object>& open) {
  auto iterator = kept((*open)());
  return [iterator]() -> sim::TraceItem {
    const py::gil_scoped_acquire locked;
    const auto item = py::reinterpret_steal<py::object>(PyIter_Next(iterator->ptr()));
    if (item) return trace_item(item);
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return std::monostate{};
  };
}

struct Start {
  std::uint16_t vm;
  std::size_t vcpu;
  int process;
  std::uint64_t runs, limit;
};

/// Returns the number of the task.
std::uint64_t start(PyMachine& self, const Start& where, sim::ProgramFactory factory) {
  auto machine = self.enter();
  sim::Guest& guest = machine->guest(where.vm);
  sim::Machine::vcpu(guest, where.vcpu);
  const guest::Process& process = sim::Machine::process(guest, where.process);
  return machine->scheduler().start(
      std::make_unique<sim::Task>(guest, where.vcpu, process, std::move(factory), where.runs, where.limit));
}

std::uint64_t start_stream(PyMachine& self, const Start& where, const PyOffsets& offsets,
                           std::optional<std::uint64_t> stores, std::uint64_t seed, std::uint64_t references,
                           Nanoseconds compute, int page, const std::string& name, std::optional<std::uint32_t> file) {
  sim::StreamConfig config{references_of(offsets, stores, seed), references, compute,
                           static_cast<PageSize>(page),          name,       std::nullopt};
  if (file) config.file = guest::FileRange{*file, 0, true};
  return start(self, where, [config] { return std::make_unique<sim::StreamProgram>(config); });
}

std::uint64_t start_churn(PyMachine& self, const Start& where, const PyOffsets& offsets,
                          std::optional<std::uint64_t> stores, std::uint64_t seed, std::uint64_t children,
                          std::uint64_t each, Nanoseconds compute, int page) {
  const sim::ChurnConfig config{references_of(offsets, stores, seed), children, each, compute,
                                static_cast<PageSize>(page)};
  return start(self, where, [config] { return std::make_unique<sim::ChurnProgram>(config); });
}

std::uint64_t start_demand(PyMachine& self, const Start& where,
                           const std::vector<std::tuple<Nanoseconds, std::uint64_t, std::uint64_t>>& curve,
                           std::optional<std::uint64_t> stores, std::uint64_t seed, Nanoseconds compute, int page) {
  sim::DemandConfig config{{}, stores_of(stores), seed, compute, static_cast<PageSize>(page)};
  for (const auto& [at, allocated, active] : curve) config.curve.push_back({at, allocated, active});
  const sim::DemandProgram checked(config);
  return start(self, where, [config] { return std::make_unique<sim::DemandProgram>(config); });
}

/// `open()` gives an iterator over the trace's items, anew for every run.
std::uint64_t start_trace(PyMachine& self, const Start& where, const std::vector<Call>& areas, py::object open,
                          Nanoseconds compute, int page) {
  std::vector<sim::ReplayedCall> first;
  first.reserve(areas.size());
  for (const Call& area : areas) first.push_back(map_call(area));
  return start(self, where, [first, opener = kept(std::move(open)), compute, page] {
    const py::gil_scoped_acquire locked;
    sim::TraceConfig config{first, pull_from(opener), compute, static_cast<PageSize>(page)};
    return std::make_unique<sim::TraceProgram>(std::move(config));
  });
}

/// Why it ended: "time", "tasks" or "references".
const char* run(PyMachine& self, Nanoseconds duration, std::uint64_t references, const Progress& progress) {
  auto entered = self.enter();
  const Nanoseconds now = entered->time().now();
  if (duration > hw::Interrupts::kNever - 1 - now) throw ConfigError("a run that ends after the end of time");
  const py::gil_scoped_release unlocked;
  switch (entered->scheduler().run_until(now + duration, references, make_poll(progress))) {
    case sim::Scheduler::End::time:
      return "time";
    case sim::Scheduler::End::tasks:
      return "tasks";
    case sim::Scheduler::End::references:
      return "references";
    case sim::Scheduler::End::interrupted:
      break;
  }
  return "interrupted";
}

const sim::Task& task_of(sim::Machine& machine, std::uint64_t number) {
  const auto& tasks = machine.scheduler().tasks();
  const auto found = tasks.find(number);
  if (found == tasks.end()) throw ConfigError("the VM of this program has been destroyed");
  return *found->second;
}

/// (highest picoseconds, references) by bucket.
py::list task_costs(PyMachine& self, std::uint64_t number) {
  auto entered = self.look();
  py::list list;
  task_of(*entered, number).costs().for_each([&](std::uint64_t highest, std::uint64_t references) {
    list.append(py::make_tuple(highest, references));
  });
  return list;
}

/// (bursts, their bytes, nanoseconds, the longest's, cut short).
py::tuple task_bursts(PyMachine& self, std::uint64_t number) {
  auto entered = self.look();
  const sim::Bursts bursts = task_of(*entered, number).bursts();
  return py::make_tuple(bursts.count, bursts.bytes, bursts.time, bursts.longest, bursts.cut_short);
}

py::tuple task_state(PyMachine& self, std::uint64_t number) {
  auto entered = self.look();
  const sim::Task& task = task_of(*entered, number);
  return py::make_tuple(task.references(), task.segfaults(), task.first_segfault().value, task.runs(), task.ended(),
                        task.stopped(), task.progressed_at());
}

/// (references, running, waiting, runnable) of a VM since it was created.
py::tuple vm_progress(PyMachine& self, std::uint16_t vm) {
  auto entered = self.look();
  const vmm::Vm& of = *entered->guest(vm).vm;
  sim::VcpuTimes times;
  for (const sim::VcpuClock& clock : entered->time().vcpus(of)) times += clock.times;
  std::uint64_t references = 0;
  for (const auto& [number, task] : entered->scheduler().tasks())
    if (task->vm() == vm) references += task->references();
  return py::make_tuple(references, times.running, times.waiting, times.runnable);
}

}  // namespace

void bind_programs(py::module_& m, py::classh<PyMachine>& machine) {
  bind_offsets(m);
  py::classh<Start>(m, "Start")
      .def(py::init<std::uint16_t, std::size_t, int, std::uint64_t, std::uint64_t>(), py::kw_only(), py::arg("vm"),
           py::arg("vcpu"), py::arg("process"), py::arg("runs"), py::arg("limit"))
      .def_readonly("vm", &Start::vm)
      .def_readonly("process", &Start::process);
  machine
      .def("start_stream", &start_stream, py::arg("where"), py::kw_only(), py::arg("offsets"), py::arg("stores"),
           py::arg("seed"), py::arg("references"), py::arg("compute"), py::arg("page"), py::arg("name"),
           py::arg("file") = py::none())
      .def("start_churn", &start_churn, py::arg("where"), py::kw_only(), py::arg("offsets"), py::arg("stores"),
           py::arg("seed"), py::arg("children"), py::arg("each"), py::arg("compute"), py::arg("page"))
      .def("start_demand", &start_demand, py::arg("where"), py::kw_only(), py::arg("curve"), py::arg("stores"),
           py::arg("seed"), py::arg("compute"), py::arg("page"))
      .def("start_trace", &start_trace, py::arg("where"), py::kw_only(), py::arg("areas"), py::arg("open"),
           py::arg("compute"), py::arg("page"))
      .def("run", &run, py::arg("nanoseconds"), py::arg("references"), py::arg("progress") = py::none())
      .def("task_state", &task_state)
      .def("task_costs", &task_costs)
      .def("task_bursts", &task_bursts)
      .def("vm_progress", &vm_progress)
      .def("set_cpus", [](PyMachine& self, std::size_t cpus) { self.enter()->scheduler().set_cpus(cpus); })
      .def("set_quantum", [](PyMachine& self, Nanoseconds quantum) { self.enter()->scheduler().set_quantum(quantum); });
}

}  // namespace vmem::python
