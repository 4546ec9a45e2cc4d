// What maps a page: references, the reverse map, and splitting large pages.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "guest/cpus.hpp"
#include "guest/process_table.hpp"

namespace vmem::guest {

class Mappings {
 public:
  /// Frames that nothing maps any more, to be freed once no TLB can hold them.
  struct Gone {
    Gfn gfn;
    int order;
  };
  /// A process, the address at which it maps the page or what holds it, and the entry.
  using Visit = std::function<void(Process&, Gva, const PageTable::Slot&)>;

  Mappings(Cpus& cpus, ProcessTable& processes, VmStat& vmstat) : cpus_(cpus), processes_(processes), vmstat_(vmstat) {}

  /// Nobody else maps any part of what the leaf maps.
  static bool is_exclusive(hw::Vcpu& vcpu, const PageTable::Slot& slot);
  /// The leaf maps a page that this kernel gave out: not so if something else wrote to the table.
  static bool is_own(hw::Vcpu& vcpu, const PageTable::Slot& slot, std::uint64_t frames);
  /// One more leaf maps what this one does.
  static void share(hw::Vcpu& vcpu, const PageTable::Slot& slot);
  /// A page that has a copy elsewhere is dirty if the leaf says so: call it before the leaf goes.
  static void keep_dirty(hw::Vcpu& vcpu, const PageTable::Slot& slot);
  /// The leaf maps it no longer.
  static void drop(hw::Vcpu& vcpu, Gfn gfn, int order, std::vector<Gone>& gone);

  /// Replaces a large page by those of the next smaller size, unless the slot is stale. False: no frame left for the
  /// table.
  bool split(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot, Need need = Need::patient);
  /// Makes pages begin and end at `address`, a multiple of 4 KiB. False: a table it takes has no frame.
  bool split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address);
  /// Every leaf that maps the page, or a large page around it.
  void for_each(hw::Vcpu& vcpu, Gfn gfn, const Visit& visit) const;
  /// Some process maps part of the file.
  bool is_mapped(std::uint32_t file) const;
  void shoot_down(const hw::Vcpu& vcpu, Process& process, Gva page) {
    cpus_.shoot_down(vcpu, process, page.value, page.value + kPageSize);
  }

 private:
  void for_each_anonymous(hw::Vcpu& vcpu, Gfn gfn, const Page& page, const Visit& visit) const;
  void for_each_of_file(hw::Vcpu& vcpu, Gfn gfn, const Page& page, const Visit& visit) const;

  Cpus& cpus_;
  ProcessTable& processes_;
  VmStat& vmstat_;
};

}  // namespace vmem::guest
