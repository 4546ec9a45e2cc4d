// Programs in the terms of the C interface.
#pragma once

#include <cstdint>
#include <string>

#include "capi/lookup.hpp"
#include "capi/protection.hpp"
#include "sim/programs/program.hpp"
#include "vmem/program.h"

namespace vmem::capi {

/// An array that is to be copied: no number that is beyond all memory may get as far as an allocator.
inline void require_elements(const void* array, std::uint64_t count, const char* name) {
  constexpr std::uint64_t kMost = 1ull << 40;
  if (count > kMost)
    throw Refusal(VMEM_E_ARGUMENT,
                  std::string(name) + ": " + std::to_string(count) + " elements; accepted is up to 2**40");
  require_array(array, count, name);
}

/// What workloads and traces have in common.
struct Manner {
  std::uint64_t times;
  std::uint64_t limit;  ///< references
  Nanoseconds compute;
  PageSize page;
};

template <class Given>
Manner manner(const Given& given) {
  constexpr std::uint32_t kMostTimes = 1'000'000;
  constexpr Nanoseconds kMostCompute = 3'600'000'000'000, kUsual = 1000;
  if (given.times > kMostTimes)
    throw Refusal(VMEM_E_ARGUMENT,
                  "times is " + std::to_string(given.times) + "; accepted is up to " + std::to_string(kMostTimes));
  if (given.compute_ns > kMostCompute)
    throw Refusal(VMEM_E_ARGUMENT, "compute_ns is " + std::to_string(given.compute_ns) +
                                       "; accepted is up to an hour, " + std::to_string(kMostCompute));
  if (given.no_compute != 0 && given.compute_ns != 0)
    throw Refusal(VMEM_E_ARGUMENT,
                  "compute_ns is " + std::to_string(given.compute_ns) + " with no_compute; accepted is one of them");
  const Nanoseconds compute = given.compute_ns != 0 ? given.compute_ns : kUsual;
  return {given.times == 0 ? 1 : given.times, given.limit == 0 ? ~std::uint64_t{0} : given.limit,
          given.no_compute != 0 ? 0 : compute, page_size(given.page)};
}

/// A program by its formula. Makes the file that it scans, if it has none, as the last thing that can fail.
sim::ProgramFactory workload(const vmem_workload& given, const Manner& how, const Where& where);
/// A recorded program; `host` is handed to the caller's function.
sim::ProgramFactory trace(const vmem_trace& given, const Manner& how, vmem_host* host);

}  // namespace vmem::capi
