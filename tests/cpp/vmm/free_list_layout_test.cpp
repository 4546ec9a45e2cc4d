// The hypervisor's idea of the guest kernel's free lists is the kernel's.
#include "vmm/reclaim/free_list_layout.hpp"

#include <doctest/doctest.h>

#include <cstddef>

#include "guest/layout.hpp"

namespace vmem::vmm::free_list_layout {

TEST_CASE("what a scan reads lies where the kernel has it") {
  CHECK(kBootInfo == guest::BootInfo::kAt);
  CHECK(kMagic == guest::BootInfo::kMagic);
  CHECK(offsetof(BootInfo, zones) == offsetof(guest::BootInfo, zones));
  CHECK(offsetof(BootInfo, page_array) == offsetof(guest::BootInfo, page_array));
  CHECK(kZones == guest::kZones);
  CHECK(kZoneBytes == sizeof(guest::Zone));
  CHECK(kAreasAt == offsetof(guest::Zone, areas));
  CHECK(kOrders == guest::kOrders);
  CHECK(sizeof(FreeArea) == sizeof(guest::FreeArea));
  CHECK(offsetof(FreeArea, count) == offsetof(guest::FreeArea, count));
  CHECK(kPageBytes == sizeof(guest::Page));
  CHECK(offsetof(PageHead, next) == offsetof(guest::Page, next));
  CHECK(offsetof(PageHead, use) == offsetof(guest::Page, use));
  CHECK(offsetof(PageHead, order) == offsetof(guest::Page, order));
  CHECK(kFree == static_cast<std::uint8_t>(guest::PageUse::free));
}

}  // namespace vmem::vmm::free_list_layout
