#include "vmm/shadow/shadow_mmu.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "hw/walker.hpp"
#include "vmm/provide.hpp"
#include "vmm/shadow/synchroniser.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

using hw::Outcome;
using paging::x86_64;

/// What of a guest's entry above the leaf goes into the shadow's.
constexpr std::uint64_t kLinkRights = x86_64.write | x86_64.user | x86_64.no_execute;
/// What of a guest's leaf goes into the shadow's; write permission only if it is dirty.
constexpr std::uint64_t kProtectionKey = 15ull << 59;
constexpr std::uint64_t kLeafRights = x86_64.user | x86_64.no_execute | x86_64.global | kProtectionKey;

std::uint64_t leaf_rights(std::uint64_t guest_leaf) {
  const bool writable = (guest_leaf & x86_64.write) != 0 && (guest_leaf & x86_64.dirty) != 0;
  return (guest_leaf & kLeafRights) | (writable ? x86_64.write : 0) | x86_64.present | x86_64.accessed | x86_64.dirty;
}

const ShadowConfig& checked(const Vm& vm, const ShadowConfig& config) {
  const std::string who = "VM '" + vm.config().name + "': direct faults ";
  if (config.direct_faults && config.sync == ShadowSync::vtlb)
    throw ConfigError(who +
                      "need a hypervisor that sees the guest's tables change: accepted with trace and unsync only");
  if (config.direct_faults && vm.config().cpu.maxphyaddr > 51)
    throw ConfigError(who + "need a reserved address bit, and cpu '" + vm.config().cpu.name +
                      "' has none: accepted is a maxphyaddr up to 51");
  return config;
}

}  // namespace

ShadowMmu::ShadowMmu(Vm& vm, const ShadowConfig& config)
    : vm_(vm),
      direct_faults_(checked(vm, config).direct_faults),
      table_(vm.memory(), vm.host().reverse, vm.id(), direct_faults_ ? ShadowTable::kUnknown : 0),
      sync_(make_synchroniser(config.sync, *this)),
      reserved_(paging::reserved_bits_x86_64(vm.config().cpu.maxphyaddr, true, vm.config().cpu.one_gib_pages)),
      max_pages_(config.max_pages != 0 ? config.max_pages : std::max<std::uint64_t>(64, vm.frames() / 50)),
      roots_(static_cast<std::size_t>(vm.config().vcpus), nullptr),
      guest_cr3_(static_cast<std::size_t>(vm.config().vcpus), 0) {}

ShadowMmu::~ShadowMmu() = default;

std::size_t ShadowMmu::index_of(const hw::Vcpu& vcpu) { return static_cast<std::size_t>(vcpu.id()); }

hw::State ShadowMmu::guest_state(const hw::Vcpu& vcpu) const {
  hw::State state = vcpu.mmu().state();
  state.cr3 = guest_cr3_[index_of(vcpu)];
  return state;
}

Outcome ShadowMmu::on_page_fault(hw::Vcpu& vcpu, hw::Fault& fault) {
  vcpu.count(ExitReason::shadow_page_fault);
  make_room();
  if (root_of(vcpu) == nullptr) enter_root(vcpu, 0);  // the guest has not loaded CR3 yet
  GuestWalk walk = walk_guest(vm_, guest_state(vcpu), fault.gva, fault.access);
  bool stalls = false;
  if (!provide_tables(vcpu, walk, stalls)) return Outcome::kill;
  if (!walk.allowed) {
    fault = walk.fault;
    vcpu.count(FaultClass::guest_page_fault);
    settle();
    return Outcome::inject;
  }
  const Gfn gfn = walk.gpa.frame();
  if (!vm_.contains(gfn)) {
    fault.gpa = walk.gpa;
    settle();
    return Outcome::emulate;
  }
  const bool was_clean = mark_guest_tables(vm_, walk, fault.access);
  const Provided provided = provide(vm_, vcpu, gfn, fault.access == AccessKind::store);
  if (provided == Provided::no_memory || provided == Provided::lost) return Outcome::kill;
  stalls |= provided == Provided::swapped_in;
  if (fault.access == AccessKind::store && is_traced(gfn)) return emulate_user_store(vcpu, fault, walk.gpa);
  const SecondStage::Leaf backing = vm_.second_stage()->find(gfn);
  bool was_present = false;
  bool filled = fill(vcpu, walk, fault.gva, backing, was_present);
  if (!filled) {  // no frame for a table: the other shadow pages must give theirs
    table_.reclaim(table_.size());
    settle();
    filled = fill(vcpu, walk, fault.gva, backing, was_present);
  }
  settle();
  if (!filled) return Outcome::kill;
  const bool first_store = was_present && was_clean && fault.access == AccessKind::store;
  vcpu.count(first_store ? FaultClass::dirty_trap : FaultClass::shadow_fill);
  return stalls ? Outcome::stall : Outcome::retry;
}

bool ShadowMmu::provide_tables(hw::Vcpu& vcpu, const GuestWalk& walk, bool& stalls) {
  for (int level = walk.top; level >= walk.leaf_level; --level) {
    const Gfn table = walk.table(level);
    if (!vm_.contains(table)) continue;
    const Provided provided = provide(vm_, vcpu, table, true);
    if (provided == Provided::no_memory || provided == Provided::lost) return false;
    stalls |= provided == Provided::swapped_in;
  }
  return true;
}

Outcome ShadowMmu::emulate_user_store(hw::Vcpu& vcpu, hw::Fault& fault, Gpa gpa) {
  // The bytes are not known here: whatever the store may change is dropped, then whoever made the access writes them
  // where `gpa` lies.
  vcpu.count(ExitReason::page_table_write);
  const std::vector<ShadowPage*> shadows = table_.of_guest_table(gpa.frame());
  for (ShadowPage* page : shadows) {
    for (unsigned index = 0; index < paging::kEntries; ++index) table_.drop_entry(page->entry(index), page->key.level);
    doubt(*page);
  }
  must_flush();
  settle();
  fault.gpa = gpa;
  return Outcome::emulate;
}

void ShadowMmu::make_room() {
  constexpr std::size_t kOneFill = paging::kMaxLevels + 1;
  if (table_.size() + kOneFill <= max_pages_) return;
  const std::size_t excess = table_.size() + kOneFill - static_cast<std::size_t>(max_pages_);
  table_.reclaim(std::max(excess, static_cast<std::size_t>(max_pages_ / 16)));
  settle();
}

ShadowPage* ShadowMmu::get(const ShadowKey& key) {
  ShadowPage* page = table_.find(key);
  if (page == nullptr) page = table_.create(key);
  if (page != nullptr && page->shadows_guest_table()) sync_->on_use(*page);
  return page;
}

ShadowKey ShadowMmu::child_key(hw::Vcpu& vcpu, const GuestWalk& walk, Gva gva, int level) const {
  if (level >= walk.leaf_level) return sync_->key(guest_cr3_[index_of(vcpu)], walk.table(level), level, gva);
  ShadowKey key;
  key.kind = ShadowKey::Kind::linear;
  key.level = static_cast<std::uint8_t>(level);
  key.clean = (walk.leaf() & x86_64.dirty) == 0;
  key.subject = align_down(walk.gpa.frame().value, page_frames(leaf_page_size(level + 1)));
  key.place = walk.leaf() & (x86_64.global | kProtectionKey);
  return key;
}

int ShadowMmu::shadow_level(const GuestWalk& walk, const SecondStage::Leaf& backing) const {
  int level = std::min(walk.leaf_level, backing.level);
  while (level > 1 && table_.traced().touches(walk.gpa.frame(), level)) --level;
  return level;
}

std::uint64_t ShadowMmu::leaf_value(const GuestWalk& walk, const SecondStage::Leaf& backing, int level) const {
  const Gfn first{align_down(walk.gpa.frame().value, page_frames(leaf_page_size(level)))};
  std::uint64_t value = leaf_rights(walk.leaf()) | vm_.second_stage()->target(backing, first).address().value;
  if (level > 1) value |= x86_64.leaf;
  if (level < walk.leaf_level)
    value = (value | x86_64.user) & ~x86_64.no_execute;  // the link above has the guest's rights
  const bool host_allows = (vm_.second_stage()->rights(backing.entry) & paging::kWrite) != 0;
  return host_allows && !is_traced(first) ? value : value & ~x86_64.write;
}

ShadowPage* ShadowMmu::descend(hw::Vcpu& vcpu, ShadowPage& page, const GuestWalk& walk, Gva gva, int level) {
  const Hpa entry = page.entry(paging::table_index(gva.value, level));
  const ShadowKey key = child_key(vcpu, walk, gva, level - 1);
  const std::uint64_t old = table_.load(entry);
  const bool linked = ShadowTable::in_use(old) && !x86_64.is_leaf(old, level);
  std::uint64_t rights = level >= walk.leaf_level ? walk.at(level).entry & kLinkRights : x86_64.write | x86_64.user;
  if (level <= walk.leaf_level) rights |= ShadowTable::kSplintered;
  if (linked && table_.child(old).key == key && (old & (kLinkRights | ShadowTable::kSplintered)) == rights)
    return &table_.child(old);
  // The child is kept while its old link goes: it may be the one that is wanted again.
  ShadowPage* child = get(key);
  if (child == nullptr) return nullptr;
  ++child->pins;
  if (table_.drop_entry(entry, level)) must_flush();
  --child->pins;
  table_.link(entry, *child, rights);
  return child;
}

bool ShadowMmu::fill(hw::Vcpu& vcpu, const GuestWalk& walk, Gva gva, const SecondStage::Leaf& backing,
                     bool& was_present) {
  ShadowPage* page = root_of(vcpu);
  int level = walk.top;
  for (; level > shadow_level(walk, backing); --level) {  // tracing a table on the way may make the leaf smaller
    page = descend(vcpu, *page, walk, gva, level);
    if (page == nullptr) return false;
  }
  const Hpa entry = page->entry(paging::table_index(gva.value, level));
  const std::uint64_t old = table_.load(entry);
  was_present = ShadowTable::in_use(old) && x86_64.is_leaf(old, level);
  if (ShadowTable::in_use(old) && !was_present) must_flush();
  table_.set_leaf(entry, leaf_value(walk, backing, level), level);
  return true;
}

void ShadowMmu::enter_root(hw::Vcpu& vcpu, std::uint64_t value) {
  guest_cr3_[index_of(vcpu)] = value & ~hw::kCr3NoFlush;
  const hw::State guest = guest_state(vcpu);
  ShadowPage*& held = roots_[index_of(vcpu)];
  ShadowPage* const old = held;
  const ShadowKey key = sync_->key(guest.cr3, Gfn{guest.cr3_root() >> kPageShift}, guest.levels(), Gva{0});
  ShadowPage* root = get(key);
  if (root == nullptr) {  // no frame left: the other roots' pages must do
    table_.reclaim(table_.size());
    settle();
    root = get(key);
  }
  if (root == nullptr)
    throw OutOfMemory("VM '" + vm_.config().name + "': the host has no frame left for a shadow root");
  ++root->pins;
  if (old != nullptr) --old->pins;
  held = root;
  settle();
  vcpu.mmu().mov_cr3(root->table.value | (value & (kPageMask | hw::kCr3NoFlush)));
}

void ShadowMmu::on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value) {
  make_room();
  const bool keeps = (value & hw::kCr3NoFlush) != 0 && guest_state(vcpu).has(hw::kCr4Pcide);
  if (!keeps) sync_->on_flush(vcpu, value);
  enter_root(vcpu, value);
}

void ShadowMmu::on_invlpg(hw::Vcpu& vcpu, Gva gva) {
  sync_->on_invlpg(vcpu, gva);
  settle();
  vcpu.mmu().invlpg(gva);
}

void ShadowMmu::on_traced_store(Gpa gpa, const void* bytes, std::size_t size) {
  vm_.memory().bytes().write(vm_.machine_address(gpa).value, {static_cast<const std::byte*>(bytes), size});
  sync_->on_store(gpa.frame(), gpa.offset(), size);
  settle();
}

void ShadowMmu::forget_frames(Gfn gfn, Hfn hfn, std::uint64_t count) {
  if (table_.drop_mappings(hfn, count)) must_flush();
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!is_traced(gfn + i)) continue;
    const std::vector<ShadowPage*> shadows = table_.of_guest_table(gfn + i);
    for (const ShadowPage* page : shadows)
      for (unsigned index = 0; index < paging::kEntries; ++index)
        table_.drop_entry(page->entry(index), page->key.level);
  }
}

void ShadowMmu::forget_large(Hfn head) {
  if (table_.drop_mappings(head, 1)) must_flush();
}

void ShadowMmu::give_up_pages() {
  for (const ShadowPage* root : roots_)
    for (unsigned index = 0; root != nullptr && index < paging::kEntries; ++index)
      table_.drop_entry(root->entry(index), root->key.level);
  table_.reclaim(table_.size());
  must_flush();
  settle();
}

void ShadowMmu::withdraw_write(Hfn hfn) {
  if (table_.withdraw_write(hfn)) must_flush();
}

void ShadowMmu::settle() {
  if (!stale_ && !table_.has_condemned()) return;
  stale_ = false;
  for (std::size_t i = 0; i < vm_.vcpu_count(); ++i)
    vm_.vcpu(i).mmu().invvpid(hw::Mmu::InvvpidType::single, vm_.vpid(), Gva{0});
  table_.free_condemned();
}

void ShadowMmu::trace(ShadowPage& page) {
  if (page.traced) return;
  if (table_.trace(page)) protect(page.gfn());
  for (unsigned index = 0; direct_faults_ && index < paging::kEntries; ++index) classify(page, index);
}

void ShadowMmu::untrace(ShadowPage& page) {
  table_.untrace(page);
  doubt(page);
}

void ShadowMmu::classify(ShadowPage& page, unsigned index) {
  if (!direct_faults_ || !page.traced || ShadowTable::in_use(table_.load(page.entry(index)))) return;
  const std::uint64_t guest = vm_.read_guest_entry(page.gfn().address() + 8ull * index);
  table_.set_unused(page.entry(index), !x86_64.is_present(guest));
}

void ShadowMmu::doubt(ShadowPage& page) {
  for (unsigned index = 0; direct_faults_ && index < paging::kEntries; ++index)
    if (!ShadowTable::in_use(table_.load(page.entry(index)))) table_.set_unused(page.entry(index), false);
}

void ShadowMmu::protect(Gfn gfn) {
  for (std::size_t i = 0; i < vm_.vcpu_count(); ++i) vm_.vcpu(i).forget_guest_physical(gfn);
  if (!vm_.contains(gfn)) return;
  const SecondStage::Leaf leaf = vm_.second_stage()->find(gfn);
  if (leaf.present && table_.withdraw_write(vm_.second_stage()->target(leaf, gfn))) must_flush();
}

std::uint64_t ShadowMmu::prefetched_value(std::uint64_t guest_entry) const {
  const bool usable =
      x86_64.is_present(guest_entry) && (guest_entry & x86_64.accessed) && !reserved_.violated(guest_entry, 1, true);
  const Gfn gfn{x86_64.target(guest_entry, 1) >> kPageShift};
  if (!usable || !vm_.contains(gfn)) return 0;
  const SecondStage::Leaf backing = vm_.second_stage()->find(gfn);
  if (!backing.present) return 0;
  GuestWalk walk;
  walk.leaf_level = 1;
  walk.steps[1].entry = guest_entry;
  walk.gpa = gfn.address();
  return leaf_value(walk, backing, 1);
}

void ShadowMmu::prefetch(ShadowPage& page, unsigned index) {
  const std::uint64_t value = prefetched_value(vm_.read_guest_entry(page.gfn().address() + 8ull * index));
  if (value != 0) table_.set_leaf(page.entry(index), value, 1);
}

void ShadowMmu::resynchronise_entry(ShadowPage& page, unsigned index) {
  const Hpa entry = page.entry(index);
  const std::uint64_t held = table_.load(entry);
  if (!ShadowTable::in_use(held)) return;
  const std::uint64_t value = prefetched_value(vm_.read_guest_entry(page.gfn().address() + 8ull * index));
  if (value == held) return;
  table_.drop_entry(entry, 1);
  if (value != 0) table_.set_leaf(entry, value, 1);
  classify(page, index);
}

void ShadowMmu::resynchronise(ShadowPage& page) {
  trace(page);
  for (unsigned index = 0; index < paging::kEntries; ++index) resynchronise_entry(page, index);
}

}  // namespace vmem::vmm
