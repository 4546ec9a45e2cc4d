// The whole machine: hypervisor, VMs, guests, processes, by id. python/vmem/hypervisor.py gives them faces.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>

#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "python/counters.hpp"
#include "sim/machine.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using sim::Machine;
using Protection = std::tuple<bool, bool, bool>;  // read, write, execute
using Progress = std::optional<std::function<void(std::uint64_t)>>;

guest::Protection protection(const Protection& bits) { return {std::get<0>(bits), std::get<1>(bits), std::get<2>(bits)}; }

vmm::MmuMode mode(const std::string& name) {
  if (name == "native") return vmm::MmuMode::native;
  if (name == "nested") return vmm::MmuMode::nested;
  throw ConfigError("unknown mmu '" + name + "', accepted are native and nested");
}

/// One thread at a time: a second one gets an error, not a data race.
class PyMachine {
 public:
  explicit PyMachine(std::uint64_t bytes) : machine_(bytes) {}

  class Entry {
   public:
    explicit Entry(PyMachine& owner) : owner_(owner), outermost_(owner.thread_.load() != std::this_thread::get_id()) {
      std::thread::id nobody{};
      if (outermost_ && !owner_.thread_.compare_exchange_strong(nobody, std::this_thread::get_id()))
        throw ConfigError("this Hypervisor is running in another thread; use one Hypervisor per thread");
    }
    ~Entry() {
      if (outermost_) owner_.thread_.store(std::thread::id{});
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    Machine* operator->() { return &owner_.machine_; }

   private:
    PyMachine& owner_;
    bool outermost_;
  };
  Entry enter() { return Entry(*this); }

 private:
  Machine machine_;
  std::atomic<std::thread::id> thread_{};
};

/// Looks at Python's signals, and reports progress, about twenty times a second.
sim::Poll make_poll(const Progress& progress) {
  using Clock = std::chrono::steady_clock;
  return [progress, next = Clock::now() + std::chrono::milliseconds(50)](std::uint64_t done) mutable {
    if (Clock::now() < next) return true;
    next = Clock::now() + std::chrono::milliseconds(50);
    const py::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (progress) (*progress)(done);
    return true;
  };
}

struct Where {
  std::uint16_t vm;
  std::size_t vcpu;
  int process;
};

template <class Use>
auto in_process(PyMachine& self, const Where& where, Use&& use) {
  auto machine = self.enter();
  sim::Guest& guest = machine->guest(where.vm);
  return use(*machine.operator->(), guest, Machine::vcpu(guest, where.vcpu), Machine::process(guest, where.process));
}

/// (references, segfaults, address of the first, process was stopped, counters, walk_cycles, cycles): what changed on that vCPU.
template <class Replay>
py::tuple replay(PyMachine& self, const Where& where, Replay&& run) {
  sim::ReplayResult result;
  Counters difference;
  std::uint64_t walk_cycles = 0, cycles = 0;
  in_process(self, where, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& vcpu, guest::Process& process) {
    const py::gil_scoped_release unlocked;
    const Counters before = vcpu.mmu().counters();
    result = run(machine, guest, vcpu, process);
    difference = vcpu.mmu().counters() - before;
    walk_cycles = machine.costs().walk_cycles(difference);
    cycles = machine.costs().cycles(difference);
  });
  py::dict counters = counters_dict(difference);
  counters["walk_cycles"] = walk_cycles;
  counters["cycles"] = cycles;
  return py::make_tuple(result.done, result.segfaults, result.first_segfault.value, result.stopped, counters);
}

py::tuple access(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, const py::object& address_array, const py::object& kind_array, const Progress& progress) {
  const AddressArray addresses = exact_array<std::uint64_t>(address_array, "addresses");
  const KindArray kinds = exact_array<std::uint8_t>(kind_array, "kinds");
  check_batch(addresses, kinds);
  const auto count = static_cast<std::size_t>(addresses.size());
  return replay(self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
    return machine.access(guest, cpu, proc, {addresses.data(), count}, {kinds.data(), count}, make_poll(progress));
  });
}

/// `runs`: one-dimensional contiguous array of 16-byte records (page, loads, stores).
py::tuple replay_runs(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, const py::array& runs, const Progress& progress) {
  if (runs.ndim() != 1 || runs.itemsize() != sizeof(sim::Run) || !(runs.flags() & py::array::c_style)) throw ConfigError("runs: expected a contiguous one-dimensional array of RUN_DTYPE");
  const auto* const first = static_cast<const sim::Run*>(runs.data());
  const std::span<const sim::Run> span(first, static_cast<std::size_t>(runs.size()));
  for (std::size_t i = 0; i < span.size(); ++i)
    if (!sim::well_formed(span[i])) throw ConfigError("runs[" + std::to_string(i) + "]: a run that began with a load or fetch holds no stores, and a run is never empty");
  return replay(self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { return machine.replay(guest, cpu, proc, span, make_poll(progress)); });
}

py::object read(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start, std::uint64_t length) {
  if (length > 1ull << 32) throw ConfigError("read of " + std::to_string(length) + " bytes: accepted is up to 4 GiB at once");
  std::string bytes(length, '\0');
  Gva at;
  const bool done = in_process(self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
    return machine.read(guest, cpu, proc, {start}, std::as_writable_bytes(std::span(bytes)), at);
  });
  return done ? py::object(py::bytes(bytes)) : py::object(py::int_(at.value));
}

/// None, or the address of the SIGSEGV.
std::optional<std::uint64_t> write(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start, const py::buffer& data) {
  const py::buffer_info info = data.request();
  if (!PyBuffer_IsContiguous(info.view(), 'C')) throw ConfigError("data: expected a contiguous buffer");
  const std::span bytes(static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize));
  Gva at;
  const bool done = in_process(self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { return machine.write(guest, cpu, proc, {start}, bytes, at); });
  return done ? std::nullopt : std::optional(at.value);
}

py::array_t<std::uint64_t> translate(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, const py::object& address_array) {
  const AddressArray addresses = exact_array<std::uint64_t>(address_array, "addresses");
  py::array_t<std::uint64_t> result(addresses.size());
  in_process(self, {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
    guest.kernel->switch_to(cpu, proc);
    for (py::ssize_t i = 0; i < addresses.size(); ++i) {
      Hpa hpa{~0ull};
      if (!cpu.probe({addresses.data()[i]}, AccessKind::load, hpa)) hpa.value = ~0ull;
      result.mutable_data()[i] = hpa.value;
    }
  });
  return result;
}

py::dict vm_counters(Machine& machine, const Counters& counters) {
  py::dict dict = counters_dict(counters);
  dict["walk_cycles"] = machine.costs().walk_cycles(counters);
  dict["cycles"] = machine.costs().cycles(counters);
  return dict;
}

void bind_host(py::classh<PyMachine>& machine) {
  machine.def(py::init<std::uint64_t>(), py::arg("memory"))
      .def("create_vm",
           [](PyMachine& self, const std::string& name, std::uint64_t memory, int vcpus, const std::string& mmu, int backing, const hw::CpuConfig& cpu) {
             return self.enter()->create_vm({name, memory, vcpus, mode(mmu), {static_cast<PageSize>(backing)}, cpu});
           },
           py::kw_only(), py::arg("name"), py::arg("memory"), py::arg("vcpus"), py::arg("mmu"), py::arg("backing"), py::arg("cpu"))
      .def("destroy_vm", [](PyMachine& self, std::uint16_t vm) { self.enter()->destroy_vm(vm); })
      .def("meminfo",
           [](PyMachine& self) {
             const vmm::MemoryInfo info = self.enter()->hypervisor().meminfo();
             py::dict dict;
             dict["total"] = info.total;
             dict["free"] = info.free;
             dict["used"] = info.used;
             dict["tables"] = info.tables;
             dict["committed"] = info.committed;
             return dict;
           })
      .def("check", [](PyMachine& self) { self.enter()->check(); })
      .def("costs",
           [](PyMachine& self) {
             const sim::CostModel costs = self.enter()->costs();
             py::dict dict;
#define X(name, cycles, unit, source) dict[#name] = costs.name;
             VMEM_COSTS(X)
#undef X
             return dict;
           })
      .def("set_cost", [](PyMachine& self, const std::string& name, std::uint64_t value) {
        auto entered = self.enter();
#define X(field, cycles, unit, source) \
  if (name == #field) {                \
    entered->costs().field = value;    \
    return;                            \
  }
        VMEM_COSTS(X)
#undef X
        throw ConfigError("unknown cost '" + name + "'");
      });
}

void bind_vm(py::classh<PyMachine>& machine) {
  machine.def("resident", [](PyMachine& self, std::uint16_t vm) { return self.enter()->guest(vm).vm->resident_frames() << kPageShift; })
      .def("counters",
           [](PyMachine& self, std::uint16_t vm) {
             auto entered = self.enter();
             return vm_counters(*entered.operator->(), entered->guest(vm).vm->counters());
           })
      .def("vcpu_counters",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu) {
             auto entered = self.enter();
             return vm_counters(*entered.operator->(), Machine::vcpu(entered->guest(vm), vcpu).mmu().counters());
           })
      .def("flush_tlb", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu) { Machine::vcpu(self.enter()->guest(vm), vcpu).flush_tlb(); })
      .def("guest_memory",
           [](PyMachine& self, std::uint16_t vm) {
             auto entered = self.enter();
             guest::Kernel& kernel = *entered->guest(vm).kernel;
             return py::make_tuple(kernel.frames() << kPageShift, kernel.managed_frames() << kPageShift, kernel.free_frames() << kPageShift);
           })
      .def("vmstat", [](PyMachine& self, std::uint16_t vm) {
        const guest::VmStat stat = self.enter()->guest(vm).kernel->vmstat();
        py::dict dict;
        dict["pgfault"] = stat.pgfault;
        dict["pgalloc"] = stat.pgalloc;
        dict["pgfree"] = stat.pgfree;
        dict["oom_kill"] = stat.oom_kill;
        dict["nr_tlb_local_flush_one"] = stat.nr_tlb_local_flush_one;
        dict["nr_tlb_local_flush_all"] = stat.nr_tlb_local_flush_all;
        dict["nr_tlb_remote_flush"] = stat.nr_tlb_remote_flush;
        return dict;
      });
}

void bind_process(py::classh<PyMachine>& machine) {
  machine.def("spawn", [](PyMachine& self, std::uint16_t vm, const std::string& name) {
        auto entered = self.enter();
        sim::Guest& guest = entered->guest(vm);
        return guest.kernel->spawn(guest.vm->vcpu(0), name).id;
      })
      .def("fork", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process) {
        return in_process(self, {vm, vcpu, process}, [](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { return guest.kernel->fork(cpu, proc).id; });
      })
      .def("exit", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process) {
        in_process(self, {vm, vcpu, process}, [](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { guest.kernel->exit(cpu, proc); });
      })
      .def("mmap",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t length, const Protection& prot, std::optional<std::uint64_t> at, int page, const std::string& name) {
             return in_process(self, {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
               const guest::Vma vma = guest.kernel->mmap(cpu, proc, {length, protection(prot), at, static_cast<PageSize>(page), name});
               return std::make_tuple(vma.start, vma.end);
             });
           })
      .def("munmap", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start, std::uint64_t length) {
        in_process(self, {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { guest.kernel->munmap(cpu, proc, start, length); });
      })
      .def("mprotect",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start, std::uint64_t length, const Protection& prot) {
             in_process(self, {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { guest.kernel->mprotect(cpu, proc, start, length, protection(prot)); });
           })
      .def("brk", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t end) {
        return in_process(self, {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) { return guest.kernel->brk(cpu, proc, end); });
      })
      .def("areas", [](PyMachine& self, std::uint16_t vm, int process) {
        return in_process(self, {vm, 0, process}, [](Machine&, sim::Guest&, hw::Vcpu&, guest::Process& proc) {
          py::list list;
          for (const auto& [start, vma] : proc.areas.areas())
            list.append(py::make_tuple(start, vma.end, py::make_tuple(vma.protection.read, vma.protection.write, vma.protection.execute), vma.name));
          return list;
        });
      })
      .def("process_resident", [](PyMachine& self, std::uint16_t vm, int process) {
        return in_process(self, {vm, 0, process}, [](Machine&, sim::Guest&, hw::Vcpu&, guest::Process& proc) { return proc.resident << kPageShift; });
      })
      .def("access", &access, py::arg("vm"), py::arg("vcpu"), py::arg("process"), py::arg("addresses"), py::arg("kinds"), py::arg("progress") = py::none())
      .def("replay", &replay_runs, py::arg("vm"), py::arg("vcpu"), py::arg("process"), py::arg("runs"), py::arg("progress") = py::none())
      .def("read", &read)
      .def("write", &write)
      .def("translate", &translate);
}

}  // namespace

void bind_machine(py::module_& m) {
  py::classh<PyMachine> machine(m, "Machine");
  bind_host(machine);
  bind_vm(machine);
  bind_process(machine);
  m.attr("COSTS") = py::dict();
#define X(name, cycles, unit, source) m.attr("COSTS")[#name] = py::make_tuple(cycles, unit, source);
  VMEM_COSTS(X)
#undef X
}

}  // namespace vmem::python
