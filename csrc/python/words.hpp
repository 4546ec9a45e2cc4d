// 64-bit arguments of the bindings. pybind11 answers -1 and 2**64 with a list of C++ types; people get the value and
// what is accepted.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "core/error.hpp"

namespace vmem::python {

/// An address, a size or a register.
struct Word {
  std::uint64_t value = 0;
};

/// The word as a narrower number; ConfigError if it is more than `most`.
template <class T>
T narrow(Word word, const char* what, std::uint64_t most = static_cast<T>(~T{0})) {
  if (word.value > most)
    throw ConfigError(std::string(what) + " is " + std::to_string(word.value) + ", accepted is 0 to " +
                      std::to_string(most));
  return static_cast<T>(word.value);
}

}  // namespace vmem::python

namespace pybind11::detail {

template <>
struct type_caster<vmem::python::Word> {
  PYBIND11_TYPE_CASTER(vmem::python::Word, const_name("int"));

  bool load(handle source, bool) {
    if (!source || PyBool_Check(source.ptr()) || PyIndex_Check(source.ptr()) == 0) return false;
    const auto number = reinterpret_steal<int_>(PyNumber_Index(source.ptr()));
    if (!number) throw error_already_set();
    value.value = PyLong_AsUnsignedLongLong(number.ptr());
    if (PyErr_Occurred() == nullptr) return true;
    PyErr_Clear();
    throw vmem::ConfigError(str(number).cast<std::string>() + ": accepted is an int from 0 to 2**64 - 1");
  }
};

}  // namespace pybind11::detail
