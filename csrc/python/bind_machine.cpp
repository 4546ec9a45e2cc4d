// The whole machine: hypervisor, VMs, guests, processes, by id. python/vmem/hypervisor.py gives them faces.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>

#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "python/counters.hpp"
#include "python/machine_entry.hpp"
#include "python/poll.hpp"
#include "sim/machine.hpp"
#include "vmm/migrate.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using sim::Machine;
using Protection = std::tuple<bool, bool, bool>;  // read, write, execute

guest::Protection protection(const Protection& bits) {
  return {std::get<0>(bits), std::get<1>(bits), std::get<2>(bits)};
}

vmm::MmuMode mode(const std::string& name) {
  if (name == "native") return vmm::MmuMode::native;
  if (name == "nested") return vmm::MmuMode::nested;
  if (name == "shadow") return vmm::MmuMode::shadow;
  if (name == "software-tlb") return vmm::MmuMode::software_tlb;
  throw ConfigError("unknown mmu '" + name + "', accepted are native, nested, shadow and software-tlb");
}

vmm::ShadowSync shadow_sync(const std::string& name) {
  if (name == "trace") return vmm::ShadowSync::trace;
  if (name == "unsync") return vmm::ShadowSync::unsync;
  if (name == "vtlb") return vmm::ShadowSync::vtlb;
  throw ConfigError("unknown sync '" + name + "', accepted are trace, unsync and vtlb");
}

vmm::BalloonConfig balloon_config(const std::optional<std::map<std::string, bool>>& features) {
  if (!features) return {};
  return {.present = true,
          .must_tell_host = features->at("must_tell_host"),
          .deflate_on_oom = features->at("deflate_on_oom"),
          .page_poison = features->at("page_poison"),
          .free_page_reporting = features->at("free_page_reporting"),
          .free_page_hint = features->at("free_page_hint"),
          .statistics = features->at("statistics")};
}

guest::OnFree on_free(const std::string& name) {
  if (name == "keep") return guest::OnFree::keep;
  if (name == "zero") return guest::OnFree::zero;
  if (name == "poison") return guest::OnFree::poison;
  throw ConfigError("unknown on_free '" + name + "', accepted are keep, zero and poison");
}

struct Where {
  std::uint16_t vm;
  std::size_t vcpu;
  int process;
};

/// For what takes no time.
template <class Use>
auto look_at_process(PyMachine::Entry machine, const Where& where, Use&& use) {
  sim::Guest& guest = machine->guest(where.vm);
  return use(*machine, guest, Machine::vcpu(guest, where.vcpu), Machine::process(guest, where.process));
}

/// The clock moves on by what `use` cost the vCPU.
template <class Use>
auto in_process(PyMachine::Entry machine, const Where& where, Use&& use) {
  sim::Guest& guest = machine->guest(where.vm);
  hw::Vcpu& vcpu = Machine::vcpu(guest, where.vcpu);
  guest::Process& process = Machine::process(guest, where.process);
  if constexpr (std::is_void_v<decltype(use(*machine, guest, vcpu, process))>) {
    use(*machine, guest, vcpu, process);
    machine->time().charge(*guest.vm, vcpu);
  } else {
    auto result = use(*machine, guest, vcpu, process);
    machine->time().charge(*guest.vm, vcpu);
    return result;
  }
}

/// (references, segfaults, address of the first, process was stopped, counters, walk_cycles, cycles): what changed on
/// that vCPU.
template <class Replay>
py::tuple replay(PyMachine& self, const Where& where, Replay&& run) {
  sim::ReplayResult result;
  Counters difference;
  std::uint64_t walk_cycles = 0, cycles = 0;
  in_process(self.enter(), where, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& vcpu, guest::Process& process) {
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

py::tuple access(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, const py::object& address_array,
                 const py::object& kind_array, const Progress& progress) {
  const AddressArray addresses = exact_array<std::uint64_t>(address_array, "addresses");
  const KindArray kinds = exact_array<std::uint8_t>(kind_array, "kinds");
  check_batch(addresses, kinds);
  const auto count = static_cast<std::size_t>(addresses.size());
  return replay(
      self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
        return machine.access(guest, cpu, proc, {addresses.data(), count}, {kinds.data(), count}, make_poll(progress));
      });
}

/// `runs`: one-dimensional contiguous array of 16-byte records (page, loads, stores).
py::tuple replay_runs(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, const py::array& runs,
                      const Progress& progress) {
  if (runs.ndim() != 1 || runs.itemsize() != sizeof(Run) || !(runs.flags() & py::array::c_style))
    throw ConfigError("runs: expected a contiguous one-dimensional array of RUN_DTYPE");
  const auto* const first = static_cast<const Run*>(runs.data());
  const std::span<const Run> span(first, static_cast<std::size_t>(runs.size()));
  return replay(
      self, {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
        const sim::ReplayResult result = machine.replay(guest, cpu, proc, span, make_poll(progress));
        if (result.runs < span.size() && !result.ended_early())
          throw ConfigError("runs[" + std::to_string(result.runs) +
                            "]: a run that began with a load or fetch holds no stores, and a run is never empty");
        return result;
      });
}

/// Calls `part(offset, length)` for stretches of `length` bytes until one returns false, without the GIL but with a
/// look at Python's signals in between. False if one did.
template <class Part>
bool in_parts(std::uint64_t length, Part&& part) {
  constexpr std::uint64_t kPart = 4ull << 20;  // a few milliseconds
  for (std::uint64_t offset = 0; offset < length; offset += kPart) {
    {
      const py::gil_scoped_release unlocked;
      if (!part(offset, std::min(kPart, length - offset))) return false;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
  return true;
}

/// The bytes, or the address of the SIGSEGV.
py::object read(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start,
                std::uint64_t length) {
  if (length > 1ull << 32)
    throw ConfigError("read of " + std::to_string(length) + " bytes: accepted is up to 4 GiB at once");
  auto bytes = py::reinterpret_steal<py::object>(PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(length)));
  if (!bytes) throw py::error_already_set();
  const std::span out(reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr())), length);
  Gva at;
  const bool done = in_process(
      self.enter(), {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
        return in_parts(length, [&](std::uint64_t offset, std::uint64_t count) {
          return machine.read(guest, cpu, proc, Gva{start} + offset, out.subspan(offset, count), at);
        });
      });
  return done ? bytes : py::object(py::int_(at.value));
}

/// None, or the address of the SIGSEGV.
std::optional<std::uint64_t> write(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process,
                                   std::uint64_t start, const py::object& data) {
  py::buffer_info info;
  const std::span<const std::byte> bytes = bytes_of(data, info);
  Gva at;
  const bool done = in_process(
      self.enter(), {vm, vcpu, process}, [&](Machine& machine, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
        return in_parts(bytes.size(), [&](std::uint64_t offset, std::uint64_t count) {
          return machine.write(guest, cpu, proc, Gva{start} + offset, bytes.subspan(offset, count), at);
        });
      });
  return done ? std::nullopt : std::optional(at.value);
}

py::array_t<std::uint64_t> translate(PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process,
                                     const py::object& address_array) {
  const AddressArray addresses = exact_array<std::uint64_t>(address_array, "addresses");
  py::array_t<std::uint64_t> result(addresses.size());
  in_process(self.enter(), {vm, vcpu, process}, [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
    guest.kernel->switch_to(cpu, proc);
    for (py::ssize_t i = 0; i < addresses.size(); ++i) {
      result.mutable_data()[i] = guest.vm->probe(cpu, {addresses.data()[i]}, AccessKind::load).value;
    }
  });
  return result;
}

guest::FreeCalls free_calls_of(const std::string& name) {
  if (name == "none") return guest::FreeCalls::none;
  if (name == "each") return guest::FreeCalls::each;
  if (name == "batched") return guest::FreeCalls::batched;
  throw ConfigError("free calls: '" + name + "'; accepted are none, each, batched");
}

py::dict vm_counters(Machine& machine, const Counters& counters) {
  py::dict dict = counters_dict(counters);
  dict["walk_cycles"] = machine.costs().walk_cycles(counters);
  dict["cycles"] = machine.costs().cycles(counters);
  return dict;
}

void bind_host(py::classh<PyMachine>& machine) {
  machine.def(py::init<std::uint64_t, const vmm::HostConfig&>(), py::arg("memory"), py::arg("config"))
      .def(
          "create_vm",
          [](PyMachine& self, const std::string& name, std::uint64_t memory, int vcpus, const std::string& mmu,
             int backing, const hw::CpuConfig& cpu, const std::string& sync, std::uint64_t shadow_pages,
             bool direct_faults, std::uint32_t software_tlb, std::uint64_t reservation, std::uint64_t limit,
             std::uint32_t shares, std::uint64_t disk, std::uint64_t swap,
             const std::optional<std::map<std::string, bool>>& balloon, const std::string& free_calls,
             Nanoseconds scan_period, bool scan_pauses, bool can_be_swapped, const std::string& freed) {
            vmm::VmConfig config;
            config.name = name;
            config.memory = memory;
            config.vcpus = vcpus;
            config.mode = mode(mmu);
            config.backing = {static_cast<PageSize>(backing)};
            config.shadow = {shadow_sync(sync), shadow_pages, direct_faults};
            config.reservation = reservation;
            config.limit = limit;
            config.shares = shares;
            config.cpu = cpu;
            config.software_tlb = software_tlb;
            config.disk = {disk};
            config.swap = swap;
            config.balloon = balloon_config(balloon);
            config.scan.period = scan_period;
            config.scan.pauses = scan_pauses;
            config.can_be_swapped = can_be_swapped;
            return self.enter()->create_vm(config, {on_free(freed), free_calls_of(free_calls)});
          },
          py::kw_only(), py::arg("name"), py::arg("memory"), py::arg("vcpus"), py::arg("mmu"), py::arg("backing"),
          py::arg("cpu"), py::arg("sync"), py::arg("shadow_pages"), py::arg("direct_faults"), py::arg("software_tlb"),
          py::arg("reservation"), py::arg("limit"), py::arg("shares"), py::arg("disk"), py::arg("swap"),
          py::arg("balloon"), py::arg("free_calls"), py::arg("scan_period"), py::arg("scan_pauses"),
          py::arg("can_be_swapped"), py::arg("on_free"))
      .def("destroy_vm", [](PyMachine& self, std::uint16_t vm) { self.enter()->destroy_vm(vm); })
      .def("meminfo",
           [](PyMachine& self) {
             py::dict dict;
             vmm::each_field(self.look()->hypervisor().meminfo(),
                             [&](const char* name, std::uint64_t bytes) { dict[name] = bytes; });
             return dict;
           })
      .def("check", [](PyMachine& self) { self.enter()->check(); })
      .def("costs",
           [](PyMachine& self) {
             const sim::CostModel costs = self.look()->costs();
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

void check_physical(const vmm::Vm& vm, Gpa gpa, std::uint64_t length) {
  const std::uint64_t size = vm.frames() << kPageShift;
  if (gpa.value > size || length > size - gpa.value)
    throw ConfigError("guest-physical " + hex(gpa.value) + " + " + std::to_string(length) + " bytes: VM '" +
                      vm.config().name + "' has " + std::to_string(size) + " bytes");
}

/// What the hypervisor sees of a guest's memory: zeros where it gave none; what is in the host's swap stays there.
std::string read_physical(vmm::Vm& vm, Gpa gpa, std::uint64_t length) {
  check_physical(vm, gpa, length);
  std::string bytes(length, '\0');
  for (std::uint64_t done = 0; done < length;) {
    const Gpa at = gpa + done;
    const std::uint64_t part = std::min(length - done, kPageSize - at.offset());
    vm.read_guest(at, std::as_writable_bytes(std::span(bytes)).subspan(done, part));
    done += part;
  }
  return bytes;
}

void bind_vm(py::classh<PyMachine>& machine) {
  machine
      .def("resident",
           [](PyMachine& self, std::uint16_t vm) { return self.look()->guest(vm).vm->resident_frames() << kPageShift; })
      .def("counters",
           [](PyMachine& self, std::uint16_t vm) {
             auto entered = self.look();
             return vm_counters(*entered, entered->guest(vm).vm->counters());
           })
      .def("vcpu_counters",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu) {
             auto entered = self.look();
             return vm_counters(*entered, Machine::vcpu(entered->guest(vm), vcpu).mmu().counters());
           })
      .def("vcpu_count", [](PyMachine& self, std::uint16_t vm) { return self.look()->guest(vm).vm->vcpu_count(); })
      .def("read_physical",
           [](PyMachine& self, std::uint16_t vm, std::uint64_t gpa, std::uint64_t length) {
             auto entered = self.look();
             return py::bytes(read_physical(*entered->guest(vm).vm, Gpa{gpa}, length));
           })
      .def("write_physical",
           [](PyMachine& self, std::uint16_t vm, std::uint64_t gpa, const py::bytes& data) {
             auto entered = self.enter();
             sim::Guest& guest = entered->guest(vm);
             const std::string bytes = data;
             check_physical(*guest.vm, Gpa{gpa}, bytes.size());
             // As a device would: by the guest's own road to its memory, write tracing included.
             guest.vm->vcpu(0).write(Gpa{gpa}, std::as_bytes(std::span(bytes)));
           })
      .def("migrate", [](PyMachine& self, std::uint16_t vm,
                         std::uint64_t gpa) { return vmm::migrate(*self.enter()->guest(vm).vm, Gpa{gpa}.frame()); })
      .def("flush_tlb", [](PyMachine& self, std::uint16_t vm, std::size_t vcpu) {
        Machine::vcpu(self.enter()->guest(vm), vcpu).flush_tlb();
      });
}

void bind_process(py::classh<PyMachine>& machine) {
  machine
      .def("spawn",
           [](PyMachine& self, std::uint16_t vm, const std::string& name) {
             auto entered = self.enter();
             sim::Guest& guest = entered->guest(vm);
             const int id = guest.kernel->spawn(guest.vm->vcpu(0), name).id;
             entered->time().charge(*guest.vm, guest.vm->vcpu(0));
             return id;
           })
      .def("fork",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process) {
             return in_process(self.enter(), {vm, vcpu, process},
                               [](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                                 return guest.kernel->fork(cpu, proc).id;
                               });
           })
      .def("exit",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process) {
             in_process(self.enter(), {vm, vcpu, process},
                        [](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                          guest.kernel->exit(cpu, proc);
                        });
           })
      .def("mmap",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t length,
              const Protection& prot, std::optional<std::uint64_t> at, int page, const std::string& name,
              const std::optional<std::tuple<guest::FileNumber, std::uint64_t, bool>>& file) {
             return in_process(self.enter(), {vm, vcpu, process},
                               [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                                 guest::MapRequest request{length, protection(prot), at, static_cast<PageSize>(page),
                                                           name,   std::nullopt};
                                 if (file) request.file = std::make_from_tuple<guest::FileRange>(*file);
                                 const guest::Vma vma = guest.kernel->mmap(cpu, proc, request);
                                 return std::make_tuple(vma.start, vma.end);
                               });
           })
      .def("munmap",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start,
              std::uint64_t length) {
             in_process(self.enter(), {vm, vcpu, process},
                        [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                          guest.kernel->munmap(cpu, proc, start, length);
                        });
           })
      .def("mprotect",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t start,
              std::uint64_t length, const Protection& prot) {
             in_process(self.enter(), {vm, vcpu, process},
                        [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                          guest.kernel->mprotect(cpu, proc, start, length, protection(prot));
                        });
           })
      .def("brk",
           [](PyMachine& self, std::uint16_t vm, std::size_t vcpu, int process, std::uint64_t end) {
             return in_process(self.enter(), {vm, vcpu, process},
                               [&](Machine&, sim::Guest& guest, hw::Vcpu& cpu, guest::Process& proc) {
                                 return guest.kernel->brk(cpu, proc, end);
                               });
           })
      .def("areas",
           [](PyMachine& self, std::uint16_t vm, int process) {
             return look_at_process(
                 self.look(), {vm, 0, process}, [](Machine&, sim::Guest&, hw::Vcpu&, guest::Process& proc) {
                   py::list list;
                   for (const auto& [start, vma] : proc.areas.areas())
                     list.append(py::make_tuple(
                         start, vma.end,
                         py::make_tuple(vma.protection.read, vma.protection.write, vma.protection.execute), vma.name));
                   return list;
                 });
           })
      .def("process_resident",
           [](PyMachine& self, std::uint16_t vm, int process) {
             return look_at_process(
                 self.look(), {vm, 0, process},
                 [](Machine&, sim::Guest&, hw::Vcpu&, guest::Process& proc) { return proc.resident << kPageShift; });
           })
      .def("access", &access, py::arg("vm"), py::arg("vcpu"), py::arg("process"), py::arg("addresses"),
           py::arg("kinds"), py::arg("progress") = py::none())
      .def("replay", &replay_runs, py::arg("vm"), py::arg("vcpu"), py::arg("process"), py::arg("runs"),
           py::arg("progress") = py::none())
      .def("read", &read)
      .def("write", &write)
      .def("translate", &translate);
}

}  // namespace

void bind_machine(py::module_& m) {
  bind_host_config(m);
  py::classh<PyMachine> machine(m, "Machine");
  bind_host(machine);
  bind_vm(machine);
  bind_process(machine);
  bind_files(machine);
  bind_guest(machine);
  bind_balloon(machine);
  bind_balloon_policy(m, machine);
  bind_devices(machine);
  bind_time(machine);
  bind_programs(m, machine);
  bind_host_memory(machine);
  bind_explain(machine);
  m.attr("COSTS") = py::dict();
#define X(name, cycles, unit, source) m.attr("COSTS")[#name] = py::make_tuple(cycles, unit, source);
  VMEM_COSTS(X)
#undef X
}

}  // namespace vmem::python
