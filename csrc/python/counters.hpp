// Counters as the flat dictionary of the API.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "core/counters.hpp"

namespace vmem::python {

inline pybind11::dict counters_dict(const Counters& counters) {
  pybind11::dict dict;
  counters.for_each([&](std::string_view prefix, std::string_view name, std::uint64_t value) {
    dict[pybind11::str(std::string(prefix) + std::string(name))] = value;
  });
  return dict;
}

}  // namespace vmem::python
