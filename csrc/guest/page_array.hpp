// Typed access to the kernel's data in guest memory. Every read and write is a load or store of a vCPU.
#pragma once

#include <cstddef>

#include "guest/layout.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// A field of a structure in guest memory: `field<&Page::next>(vcpu, base)`.
namespace detail {
template <auto kMember>
struct FieldOf;
template <class T, class M, M T::* kMember>
struct FieldOf<kMember> {
  using Value = M;
  static std::uint64_t offset() {
    // The structures are standard layout; the address of a member of an object at rest is its offset.
    static const T object{};
    return reinterpret_cast<std::uintptr_t>(&(object.*kMember)) - reinterpret_cast<std::uintptr_t>(&object);
  }
};
}  // namespace detail

template <auto kMember>
auto get(hw::Vcpu& vcpu, Gpa base) {
  using Field = detail::FieldOf<kMember>;
  return vcpu.load<typename Field::Value>(base + Field::offset());
}
template <auto kMember>
void set(hw::Vcpu& vcpu, Gpa base, typename detail::FieldOf<kMember>::Value value) {
  vcpu.store<typename detail::FieldOf<kMember>::Value>(base + detail::FieldOf<kMember>::offset(), value);
}

inline Gpa page_entry(Gfn gfn) { return kPageArray + gfn.value * sizeof(Page); }
inline Gpa zone_entry(int zone) { return Zone::kAt + static_cast<std::uint64_t>(zone) * sizeof(Zone); }
inline Gpa area_entry(Gpa zone, int order) {
  return zone + offsetof(Zone, areas) + static_cast<std::uint64_t>(order) * sizeof(FreeArea);
}
inline Gpa tail_entry(Gpa zone, int order) {
  const std::uint64_t number = (zone.value - Zone::kAt.value) / sizeof(Zone);
  return FreeTails::kAt + number * sizeof(FreeTails) + static_cast<std::uint64_t>(order) * sizeof(std::uint32_t);
}
inline std::uint32_t short_number(Gfn gfn) { return static_cast<std::uint32_t>(gfn.value); }

}  // namespace vmem::guest
