// Processors in the terms of the C interface.
#pragma once

#include <cstdint>

#include "hw/cpu_config.hpp"
#include "vmem/cpu.h"

namespace vmem::capi {

inline constexpr std::uint32_t kMostEntries = 1u << 22;  ///< of one array: more than silicon has

/// The caller's own, or the built-in one of that name; "skylake-sp" if neither is given.
hw::CpuConfig processor(const vmem_cpu_config* own, const char* name);

}  // namespace vmem::capi
