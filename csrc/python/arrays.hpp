// Checked views of the arrays that batches take.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/access.hpp"
#include "core/error.hpp"

namespace vmem::python {

using AddressArray = pybind11::array_t<std::uint64_t, pybind11::array::c_style>;
using KindArray = pybind11::array_t<std::uint8_t, pybind11::array::c_style>;

/// A one-dimensional contiguous array of exactly the type T; ConfigError says what came instead.
template <class T>
pybind11::array_t<T, pybind11::array::c_style> exact_array(const pybind11::handle& object, const char* name) {
  namespace py = pybind11;
  if (!py::isinstance<py::array>(object))
    throw ConfigError(std::string(name) + ": expected a numpy array, got " +
                      py::str(py::type::of(object)).cast<std::string>());
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<T>>(array))
    throw ConfigError(std::string(name) + ": expected dtype " + py::str(py::dtype::of<T>()).cast<std::string>() +
                      ", got " + py::str(array.dtype()).cast<std::string>());
  if (array.ndim() != 1)
    throw ConfigError(std::string(name) + ": expected one dimension, got " + std::to_string(array.ndim()));
  return py::array_t<T, py::array::c_style>::ensure(array);
}

/// The bytes of any contiguous buffer; `info` keeps them.
inline std::span<const std::byte> bytes_of(const pybind11::object& data, pybind11::buffer_info& info) {
  if (!pybind11::isinstance<pybind11::buffer>(data))
    throw ConfigError("data: " + pybind11::str(pybind11::type::of(data).attr("__name__")).cast<std::string>() +
                      "; accepted is a bytes-like object");
  info = data.cast<pybind11::buffer>().request();
  if (PyBuffer_IsContiguous(info.view(), 'C') == 0) throw ConfigError("data: accepted is a contiguous buffer");
  return {static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize)};
}

/// Throws ConfigError unless both have the same length and every kind is 0, 1 or 2.
inline void check_batch(const AddressArray& addresses, const KindArray& kinds) {
  if (addresses.size() != kinds.size())
    throw ConfigError("addresses has " + std::to_string(addresses.size()) + " elements, kinds has " +
                      std::to_string(kinds.size()) + ": they must be equal");
  const std::uint8_t* const first = kinds.data();
  std::uint8_t worst = 0;
  const auto count = static_cast<std::size_t>(kinds.size());
  for (std::size_t i = 0; i < count; ++i) worst = worst < first[i] ? first[i] : worst;
  if (worst < kAccessKinds) return;
  for (std::size_t i = 0; i < count; ++i)
    if (first[i] >= kAccessKinds)
      throw ConfigError("kinds[" + std::to_string(i) + "] is " + std::to_string(first[i]) +
                        ", accepted are 0 (load), 1 (store), 2 (fetch)");
}

}  // namespace vmem::python
