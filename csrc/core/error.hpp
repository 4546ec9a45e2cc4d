// Errors of use and of invariants. A fault of the simulated machine is never one of these: it is a value
// (hw/fault.hpp).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace vmem {

struct VmemError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A wrong value from the caller; says the value and what is accepted.
struct ConfigError : VmemError {
  using VmemError::VmemError;
};
/// A trace that cannot be read; the offset is in bytes of the uncompressed file.
struct TraceError : VmemError {
  TraceError(const std::string& what, std::uint64_t at) : VmemError(what), offset(at) {}
  std::uint64_t offset;
};
/// vmem's own state is inconsistent.
struct InvariantError : VmemError {
  using VmemError::VmemError;
};
/// The simulated machine (or the machine that simulates it) has no memory left for what was asked.
struct OutOfMemory : VmemError {
  using VmemError::VmemError;
};

/// "0x…" with no leading zeros, the form of every address in a message.
std::string hex(std::uint64_t value);

}  // namespace vmem
