// One access told step by step.
#include <pybind11/stl.h>

#include <cstdint>
#include <string>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/counters.hpp"
#include "python/machine_entry.hpp"
#include "sim/explain/narrator.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using sim::Step;

const char* kind_name(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::tlb:
      return "tlb";
    case Step::Kind::walk:
      return "walk";
    case Step::Kind::cache:
      return "cache";
    case Step::Kind::read:
      return "read";
    case Step::Kind::software:
      return "software_walk";
    case Step::Kind::fault:
      return "fault";
    case Step::Kind::exit:
      return "exit";
    case Step::Kind::verdict:
      return "verdict";
    case Step::Kind::decision:
      return "decision";
    case Step::Kind::handler:
      return "handler";
    case Step::Kind::change:
      return "change";
    case Step::Kind::assist:
      return "assist";
    case Step::Kind::flush:
      return "flush";
    case Step::Kind::result:
      return "result";
  }
  return "";
}

const char* table_name(sim::Table table) {
  switch (table) {
    case sim::Table::guest:
      return "guest";
    case sim::Table::second_stage:
      return "second_stage";
    case sim::Table::shadow:
      return "shadow";
  }
  return "";
}

py::dict fault_dict(const hw::Fault& fault) {
  py::dict dict;
  dict["vector"] = fault.vector();
  dict["error_code"] = fault.error_code;
  dict["qualification"] = fault.qualification;
  dict["level"] = fault.level;
  dict["entry"] = fault.entry;
  dict["gpa"] = fault.gpa.value;
  dict["second_stage"] = fault.second_stage();
  dict["table_access"] = fault.table_access;
  return dict;
}

py::dict step_dict(const Step& step) {
  py::dict dict;
  dict["kind"] = kind_name(step.kind);
  dict["name"] = step.name;
  dict["hit"] = step.hit;
  dict["number"] = step.number;
  dict["table"] = table_name(step.table);
  dict["level"] = step.level;
  dict["address"] = step.address;
  dict["entry"] = step.entry;
  dict["before"] = step.before;
  dict["fault"] = step.fault.kind == hw::FaultKind::none ? py::object(py::none()) : fault_dict(step.fault);
  dict["waited_ns"] = step.waited;
  dict["cycles"] = step.cycles;
  return dict;
}

py::dict explain(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t address, int kind) {
  auto entered = self.enter();
  sim::Machine& machine = *entered;
  sim::Guest& guest = machine.guest(vm);
  hw::Vcpu& cpu = sim::Machine::vcpu(guest, vcpu);
  guest::Process& proc = sim::Machine::process(guest, process);
  sim::Narrator narrator(*guest.vm, cpu, machine.costs(), Gva{address}, static_cast<AccessKind>(kind));
  guest.kernel->switch_to(cpu, proc);
  const sim::Explanation explanation = narrator.make_access();
  machine.time().charge(*guest.vm, cpu);
  py::list steps;
  for (const Step& step : explanation.steps) steps.append(step_dict(step));
  py::dict dict;
  dict["steps"] = steps;
  dict["counters"] = counters_dict(explanation.counters);
  dict["cycles"] = explanation.cycles;
  return dict;
}

}  // namespace

void bind_explain(py::classh<PyMachine>& machine) { machine.def("explain", &explain); }

}  // namespace vmem::python
