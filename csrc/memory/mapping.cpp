#include "memory/mapping.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.hpp"

namespace vmem::memory {

LazyMapping::LazyMapping(std::uint64_t bytes) : size_(bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw OutOfMemory("cannot reserve " + std::to_string(bytes) + " bytes of address space: " + std::strerror(errno));
  data_ = static_cast<std::byte*>(at);
#if defined(MADV_NOHUGEPAGE)
  // Huge pages would make one written byte cost 2 MiB of the real machine.
  ::madvise(at, bytes, MADV_NOHUGEPAGE);
#endif
}

LazyMapping::~LazyMapping() { ::munmap(data_, size_); }

void LazyMapping::release(std::uint64_t offset, std::uint64_t bytes) {
#if defined(__linux__)
  if (::madvise(data_ + offset, bytes, MADV_DONTNEED) != 0)
    throw OutOfMemory(std::string("madvise(MADV_DONTNEED) failed: ") + std::strerror(errno));
#else
  // MADV_DONTNEED is a hint there, after which the old bytes may still be read.
  std::memset(data_ + offset, 0, bytes);
#endif
}

}  // namespace vmem::memory
