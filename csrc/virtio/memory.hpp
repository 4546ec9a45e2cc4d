// What a queue needs of the memory that it lies in.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "core/address.hpp"
#include "hw/vcpu.hpp"

namespace vmem::virtio {

/// Guest-physical memory as one side of a queue reaches it. False: some of it is not memory; nothing was done then, or
/// a part.
template <class T>
concept Memory = requires(T memory, Gpa at, std::span<std::byte> out, std::span<const std::byte> bytes) {
  { memory.read(at, out) } -> std::same_as<bool>;
  { memory.write(at, bytes) } -> std::same_as<bool>;
};

/// A device's: it can also say what lies in guest memory.
template <class T>
concept DeviceMemory = Memory<T> && requires(const T memory, Gpa at, std::uint64_t bytes) {
  { memory.contains(at, bytes) } -> std::same_as<bool>;
};

template <class T>
  requires std::is_trivially_copyable_v<T>
bool load(Memory auto& memory, Gpa at, T& value) {
  return memory.read(at, std::as_writable_bytes(std::span(&value, 1)));
}
template <class T>
  requires std::is_trivially_copyable_v<T>
bool store(Memory auto& memory, Gpa at, const T& value) {
  return memory.write(at, std::as_bytes(std::span(&value, 1)));
}

/// A driver's: loads and stores of its vCPU. The kernel knows where its own memory is.
class VcpuMemory {
 public:
  explicit VcpuMemory(hw::Vcpu& vcpu) : vcpu_(vcpu) {}
  bool read(Gpa at, std::span<std::byte> out) {
    vcpu_.read(at, out);
    return true;
  }
  bool write(Gpa at, std::span<const std::byte> bytes) {
    vcpu_.write(at, bytes);
    return true;
  }

 private:
  hw::Vcpu& vcpu_;
};
static_assert(Memory<VcpuMemory>);

}  // namespace vmem::virtio
