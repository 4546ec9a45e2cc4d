// vmem.Mmu: the silicon alone.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "hw/mmu.hpp"
#include "memory/physical_memory.hpp"
#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "python/counters.hpp"
#include "python/words.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

struct Result {
  std::optional<hw::Fault> fault;
  std::uint64_t pa = 0;
  std::uint64_t page_size = 0;
};

AccessKind access_kind(const std::string& name) {
  if (name == "load") return AccessKind::load;
  if (name == "store") return AccessKind::store;
  if (name == "fetch") return AccessKind::fetch;
  throw ConfigError("unknown access '" + name + "', accepted are load, store, fetch");
}

/// An Mmu and the memory it reads, kept alive with it.
class BareMmu {
 public:
  BareMmu(std::shared_ptr<memory::PhysicalMemory> memory, const hw::CpuConfig& cpu)
      : memory_(std::move(memory)), mmu_({memory_->data(), memory_->size()}, cpu) {}

  hw::Mmu& mmu() { return mmu_; }
  Result access(Word word, const std::string& kind) {
    const std::uint64_t va = word.value;
    return result(va, [&](auto& entry, auto& fault) { return mmu_.access({va}, access_kind(kind), entry, fault); });
  }
  Result probe(Word word, const std::string& kind) {
    const std::uint64_t va = word.value;
    return result(va, [&](auto& entry, auto& fault) { return mmu_.probe({va}, access_kind(kind), entry, fault); });
  }

 private:
  template <class Access>
  static Result result(std::uint64_t va, Access&& access) {
    hw::TlbEntry entry;
    hw::Fault fault;
    if (!access(entry, fault)) return {fault, 0, 0};
    return {std::nullopt, entry.physical(va), page_bytes(entry.size)};
  }

  std::shared_ptr<memory::PhysicalMemory> memory_;
  hw::Mmu mmu_;
};

template <class T>
void replace(T& field, const std::optional<Word>& value, const char* name,
             std::uint64_t most = std::numeric_limits<T>::max()) {
  if (value) field = narrow<T>(*value, name, most);
}

void set_state(BareMmu& self, std::optional<Word> cr0, std::optional<Word> cr3, std::optional<Word> cr4,
               std::optional<Word> efer, std::optional<Word> pkru, std::optional<Word> cpl, std::optional<bool> ac,
               std::optional<Word> vpid, std::optional<Word> eptp, std::optional<Word> ncr3) {
  hw::State state = self.mmu().state();
  replace(state.cr0, cr0, "cr0");
  replace(state.cr3, cr3, "cr3");
  replace(state.cr4, cr4, "cr4");
  replace(state.efer, efer, "efer");
  replace(state.pkru, pkru, "pkru");
  replace(state.cpl, cpl, "cpl", 3);
  replace(state.vpid, vpid, "vpid");
  state.ac = ac.value_or(state.ac);
  if (eptp && ncr3) throw ConfigError("eptp and ncr3: give one second stage, not two");
  if (eptp || ncr3) {
    state.second_stage_root = eptp ? eptp->value : ncr3->value;
    state.second_stage = state.second_stage_root == 0 ? hw::SecondStageKind::none
                         : eptp                       ? hw::SecondStageKind::ept
                                                      : hw::SecondStageKind::npt;
  }
  self.mmu().set_state(state);
}

std::uint64_t access_batch(BareMmu& self, const py::object& address_array, const py::object& kind_array) {
  const AddressArray addresses = exact_array<std::uint64_t>(address_array, "addresses");
  const KindArray kinds = exact_array<std::uint8_t>(kind_array, "kinds");
  check_batch(addresses, kinds);
  const py::gil_scoped_release unlocked;
  std::uint64_t faults = 0;
  self.mmu().access_batch(addresses.data(), kinds.data(), static_cast<std::size_t>(addresses.size()),
                          [&](std::size_t, const hw::Fault&) {
                            ++faults;
                            return true;
                          });
  return faults;
}

template <class Type>
Type checked_type(Word type, std::uint64_t most, const char* what) {
  return static_cast<Type>(narrow<std::uint8_t>(type, what, most));
}

void bind_results(py::module_& m) {
  py::classh<hw::Fault>(m, "Fault")
      .def_property_readonly("kind", [](const hw::Fault& f) { return hw::name_of(f.kind); })
      .def_property_readonly(
          "vector", [](const hw::Fault& f) { return f.vector() == 0 ? std::nullopt : std::optional(f.vector()); })
      .def_readonly("error_code", &hw::Fault::error_code)
      .def_property_readonly("address", [](const hw::Fault& f) { return f.gva.value; })
      .def_readonly("ept_qualification", &hw::Fault::qualification)
      .def_property_readonly("gpa", [](const hw::Fault& f) { return f.gpa.value; })
      .def_readonly("level", &hw::Fault::level)
      .def_readonly("entry", &hw::Fault::entry);
  py::classh<Result>(m, "AccessResult")
      .def_property_readonly("ok", [](const Result& r) { return !r.fault; })
      .def_readonly("pa", &Result::pa)
      .def_readonly("page_size", &Result::page_size)
      .def_readonly("fault", &Result::fault);
}

}  // namespace

void bind_mmu(py::module_& m) {
  bind_results(m);
  py::classh<BareMmu>(m, "Mmu")
      .def(py::init<std::shared_ptr<memory::PhysicalMemory>, const hw::CpuConfig&>(), py::arg("memory"), py::arg("cpu"))
      .def("set_state", &set_state, py::kw_only(), py::arg("cr0") = py::none(), py::arg("cr3") = py::none(),
           py::arg("cr4") = py::none(), py::arg("efer") = py::none(), py::arg("pkru") = py::none(),
           py::arg("cpl") = py::none(), py::arg("ac") = py::none(), py::arg("vpid") = py::none(),
           py::arg("eptp") = py::none(), py::arg("ncr3") = py::none())
      .def("access", &BareMmu::access, py::arg("va"), py::arg("kind") = "load")
      .def("probe", &BareMmu::probe, py::arg("va"), py::arg("kind") = "load")
      .def("access_batch", &access_batch, py::arg("addresses"), py::arg("kinds"))
      .def(
          "invlpg", [](BareMmu& self, Word va) { self.mmu().invlpg({va.value}); }, py::arg("va"))
      .def(
          "invpcid",
          [](BareMmu& self, Word type, Word pcid, Word va) {
            self.mmu().invpcid(checked_type<hw::Mmu::InvpcidType>(type, 3, "INVPCID type"),
                               narrow<std::uint16_t>(pcid, "pcid", 4095), {va.value});
          },
          py::arg("type"), py::arg("pcid") = 0, py::arg("va") = 0)
      .def(
          "mov_cr3", [](BareMmu& self, Word value) { self.mmu().mov_cr3(value.value); }, py::arg("value"))
      .def(
          "mov_cr4", [](BareMmu& self, Word value) { self.mmu().mov_cr4(value.value); }, py::arg("value"))
      .def(
          "invvpid",
          [](BareMmu& self, Word type, Word vpid, Word va) {
            return self.mmu().invvpid(checked_type<hw::Mmu::InvvpidType>(type, 3, "INVVPID type"),
                                      narrow<std::uint16_t>(vpid, "vpid"), {va.value});
          },
          py::arg("type"), py::arg("vpid") = 0, py::arg("va") = 0)
      .def(
          "invept",
          [](BareMmu& self, Word type, Word eptp) {
            if (type.value != 1 && type.value != 2)
              throw ConfigError("INVEPT type " + std::to_string(type.value) +
                                ", accepted are 1 (single context) and 2 (all contexts)");
            if (type.value == 1)
              self.mmu().invept_single(eptp.value);
            else
              self.mmu().invept_all();
          },
          py::arg("type"), py::arg("eptp") = 0)
      .def("flush", [](BareMmu& self) { self.mmu().flush(); })
      .def("counters", [](BareMmu& self) { return counters_dict(self.mmu().counters()); })
      .def("reset_counters", [](BareMmu& self) { self.mmu().reset_counters(); });
}

}  // namespace vmem::python
