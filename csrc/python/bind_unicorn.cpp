// Unicorn's engines as CPUs. python/vmem/integrations/unicorn.py gives them a face.
#include <pybind11/stl.h>

#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "core/error.hpp"
#include "python/bindings.hpp"
#include "python/unicorn_cpu.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using Addresses = std::map<std::string, std::uintptr_t>;

template <class Function>
void resolve(Function*& function, const Addresses& addresses, const char* name) {
  const auto at = addresses.find(name);
  if (at == addresses.end() || at->second == 0)
    throw ConfigError(std::string("functions of Unicorn: ") + name + " is missing");
  function = std::bit_cast<Function*>(at->second);
}

unicorn::Functions functions_at(const Addresses& addresses) {
  unicorn::Functions functions;
  resolve(functions.emu_start, addresses, "uc_emu_start");
  resolve(functions.emu_stop, addresses, "uc_emu_stop");
  resolve(functions.reg_read, addresses, "uc_reg_read");
  resolve(functions.reg_write, addresses, "uc_reg_write");
  resolve(functions.mem_map_ptr, addresses, "uc_mem_map_ptr");
  resolve(functions.mmio_map, addresses, "uc_mmio_map");
  resolve(functions.hook_add, addresses, "uc_hook_add");
  resolve(functions.ctl, addresses, "uc_ctl");
  return functions;
}

}  // namespace

void bind_unicorn(py::module_& m) {
  namespace abi = unicorn;
  py::classh<UnicornCpu>(m, "UnicornCpu")
      .def(py::init([](PyMachine& machine, std::uint16_t vm, std::size_t vcpu, int process, std::uintptr_t engine,
                       const Addresses& functions) {
             return std::make_unique<UnicornCpu>(machine, vm, vcpu, process, std::bit_cast<abi::Engine*>(engine),
                                                 functions_at(functions));
           }),
           py::keep_alive<1, 2>(), py::arg("machine"), py::arg("vm"), py::arg("vcpu"), py::arg("process"),
           py::arg("engine"), py::arg("functions"))
      .def(
          "run",
          [](UnicornCpu& self, std::uint64_t instructions) {
            const Slice slice = self.run(instructions);
            return std::make_tuple(slice.reason, slice.value, slice.kind);
          },
          py::arg("instructions"), py::pos_only())
      .def_property_readonly("instructions", [](const UnicornCpu& self) { return self.port().instructions(); })
      .def_property_readonly("accesses", [](const UnicornCpu& self) {
        const sim::CpuPort::Accesses& made = self.port().accesses();
        return std::make_tuple(made.loads, made.stores, made.fetches);
      });
  m.attr("UNICORN_ABI") = std::map<std::string, int>{
      {"UC_MEM_READ", abi::kMemRead},
      {"UC_MEM_WRITE", abi::kMemWrite},
      {"UC_MEM_FETCH", abi::kMemFetch},
      {"UC_PROT_READ", abi::kProtRead},
      {"UC_PROT_WRITE", abi::kProtWrite},
      {"UC_PROT_EXEC", abi::kProtExec},
      {"UC_ERR_INSN_INVALID", abi::kErrInvalidInstruction},
      {"UC_ERR_EXCEPTION", abi::kErrException},
      {"UC_HOOK_INTR", abi::kHookInterrupt},
      {"UC_HOOK_INSN", abi::kHookInstruction},
      {"UC_HOOK_CODE", abi::kHookCode},
      {"UC_HOOK_MEM_READ", abi::kHookMemRead},
      {"UC_HOOK_MEM_WRITE", abi::kHookMemWrite},
      {"UC_HOOK_TLB_FILL", abi::kHookTlbFill},
      {"UC_CTL_TB_FLUSH", abi::kControlTbFlush},
      {"UC_CTL_TLB_FLUSH", abi::kControlTlbFlush},
      {"UC_CTL_IO_WRITE", abi::kControlWrite},
      {"UC_X86_INS_RDTSC", abi::kX86Rdtsc},
      {"UC_X86_INS_RDTSCP", abi::kX86Rdtscp},
      {"UC_X86_INS_SYSCALL", abi::kX86Syscall},
      {"UC_X86_REG_RAX", abi::kX86Rax},
      {"UC_X86_REG_RCX", abi::kX86Rcx},
      {"UC_X86_REG_RDX", abi::kX86Rdx},
      {"UC_X86_REG_RIP", abi::kX86Rip},
  };
}

}  // namespace vmem::python
