// One VM and the kernel that was booted on it.
#pragma once

#include <memory>

#include "guest/kernel.hpp"
#include "vmm/vm.hpp"

namespace vmem::sim {

struct Guest {
  vmm::Vm* vm = nullptr;
  std::unique_ptr<guest::Kernel> kernel;
};

}  // namespace vmem::sim
