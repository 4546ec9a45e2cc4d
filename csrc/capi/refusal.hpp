// How a call of the C interface fails: inside as an exception, outside as a status and a sentence.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "vmem/status.h"

namespace vmem::capi {

/// A refusal with a status of its own; VmemErrors have theirs by their type.
struct Refusal : VmemError {
  Refusal(vmem_status what, const std::string& why) : VmemError(why), status(what) {}
  vmem_status status;
};

/// Keeps the sentence for vmem_last_error, cut if it is very long: remembering must not fail.
vmem_status remember(vmem_status status, const char* what) noexcept;
/// The status of the exception in flight, whose sentence is remembered.
vmem_status refuse() noexcept;

/// The body of every function of the interface; it returns a status.
template <class Body>
vmem_status guard(Body&& body) noexcept {
  try {
    return std::forward<Body>(body)();
  } catch (...) {
    return refuse();
  }
}

/// The caller's function: whatever it does instead of returning is a failure.
template <class Callback>
bool succeeds(Callback&& callback) noexcept {
  try {
    return std::forward<Callback>(callback)() == 0;
  } catch (...) {
    return false;
  }
}

template <class T>
T& required(T* pointer, const char* name) {
  if (pointer == nullptr) throw Refusal(VMEM_E_ARGUMENT, std::string(name) + " is NULL");
  return *pointer;
}

inline void require_array(const void* array, std::uint64_t count, const char* name) {
  if (array == nullptr && count != 0) throw Refusal(VMEM_E_ARGUMENT, std::string(name) + " is NULL");
}

}  // namespace vmem::capi
