// What the C++ interface throws.
#pragma once

#include <vmem/status.h>

#include <stdexcept>

namespace vmem {

/// A refused call: what was wrong, and the status that the C interface gave.
class Error : public std::runtime_error {
 public:
  explicit Error(vmem_status status) : std::runtime_error(vmem_last_error()), status_(status) {}
  vmem_status status() const noexcept { return status_; }

 private:
  vmem_status status_;
};

/// Throws what is a refusal; results that are no errors pass.
inline vmem_status checked(vmem_status status) {
  if (status < 0) throw Error(status);
  return status;
}

/// A structure of the C interface with its size set and everything else as usual.
template <class T>
T structure() {
  T made{};
  made.size = sizeof made;
  return made;
}

}  // namespace vmem
