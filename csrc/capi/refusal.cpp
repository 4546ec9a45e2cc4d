#include "capi/refusal.hpp"

#include <array>
#include <cstring>
#include <new>

namespace vmem::capi {
namespace {

thread_local std::array<char, 1024> last_error{};

}  // namespace

vmem_status remember(vmem_status status, const char* what) noexcept {
  std::strncpy(last_error.data(), what, last_error.size() - 1);
  return status;
}

vmem_status refuse() noexcept {
  try {
    throw;
  } catch (const Refusal& error) {
    return remember(error.status, error.what());
  } catch (const OutOfMemory& error) {
    return remember(VMEM_E_MEMORY, error.what());
  } catch (const InvariantError& error) {
    return remember(VMEM_E_INVARIANT, error.what());
  } catch (const VmemError& error) {
    return remember(VMEM_E_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return remember(VMEM_E_MEMORY, "this process has no memory left for it");
  } catch (const std::exception& error) {
    return remember(VMEM_E_INTERNAL, error.what());
  } catch (...) {
    return remember(VMEM_E_INTERNAL, "an exception of an unknown type");
  }
}

}  // namespace vmem::capi

const char* vmem_last_error(void) { return vmem::capi::last_error.data(); }
