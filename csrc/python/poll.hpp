// What long calls do now and then: look whether Python wants to interrupt them, and report how far they are.
#pragma once

#include <pybind11/functional.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "sim/timekeeper.hpp"

namespace vmem::python {

using Progress = std::optional<std::function<void(std::uint64_t)>>;

/// Looks at Python's signals, and reports progress, about twenty times a second.
inline sim::Poll make_poll(const Progress& progress) {
  using Clock = std::chrono::steady_clock;
  return [progress, next = Clock::now() + std::chrono::milliseconds(50)](std::uint64_t done) mutable {
    if (Clock::now() < next) return true;
    next = Clock::now() + std::chrono::milliseconds(50);
    const pybind11::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    if (progress) (*progress)(done);
    return true;
  };
}

}  // namespace vmem::python
