// vmem_mmu: accesses by the array.
#include <algorithm>
#include <array>

#include "capi/mmu_object.hpp"
#include "capi/result.hpp"
#include "vmem/mmu.h"

namespace vmem::capi {
namespace {

constexpr std::size_t kBlock = 4096, kUncalledBlock = 1 << 16;
constexpr int kMostRetries = 64;

struct Batch {
  const std::uint64_t* addresses;
  const std::uint8_t* kinds;
  std::uint64_t count;
  std::uint64_t* pas;
  vmem_fault_fn on_fault;
  void* user;
};

class Runner {
 public:
  Runner(MmuObject& object, const Batch& batch) : work_(object), batch_(batch) {}

  vmem_status run(std::uint64_t& done) {
    // Callbacks could change the kinds after they have been checked: then copies are used.
    std::array<std::uint8_t, kBlock> copies;
    const bool is_called = batch_.on_fault != nullptr || work_.memory().calls();
    const std::uint64_t block = is_called ? kBlock : kUncalledBlock;
    for (done = 0; done < batch_.count && !stopped_;) {
      const auto count = static_cast<std::size_t>(std::min(block, batch_.count - done));
      const std::uint8_t* kinds = batch_.kinds + done;
      if (is_called) {
        std::copy_n(kinds, count, copies.begin());
        kinds = copies.data();
      }
      const std::size_t made =
          batch_.pas != nullptr ? one_by_one(done, kinds, count_valid(kinds, count)) : all(done, kinds, count);
      done += made;
      if (work_.memory().failed()) break;
      if (!stopped_ && made < count) access_kind(kinds[made]);  // refuses
    }
    if (bad_answer_) return remember(VMEM_E_CALLBACK, "on_fault must answer SKIP, RETRY (64 times at most) or HALT");
    return work_.end(VMEM_OK);
  }

 private:
  /// Out of line: the loop over hits needs the registers.
  [[gnu::noinline]] std::size_t all(std::uint64_t from, const std::uint8_t* kinds, std::size_t count) {
    return work_.mmu().access_batch(batch_.addresses + from, kinds, count, [&](std::size_t i, const hw::Fault& fault) {
      hw::TlbEntry entry;
      serve(from + i, batch_.addresses[from + i], static_cast<AccessKind>(kinds[i]), fault, entry);
      return !stopped_;
    });
  }

  std::size_t one_by_one(std::uint64_t from, const std::uint8_t* kinds, std::size_t count) {
    hw::TlbEntry entry;
    hw::Fault fault;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t va = batch_.addresses[from + i];
      const auto kind = static_cast<AccessKind>(kinds[i]);
      const bool done =
          work_.mmu().access({va}, kind, entry, fault) || serve(from + i, va, kind, hw::Fault(fault), entry);
      batch_.pas[from + i] = done ? entry.physical(va) : ~std::uint64_t{0};
      if (stopped_) return i + 1;
    }
    return count;
  }

  /// Whether the access went through in the end. Out of line, too.
  [[gnu::noinline]] bool serve(std::uint64_t index, std::uint64_t va, AccessKind kind, hw::Fault fault,
                               hw::TlbEntry& entry) {
    for (int retries = 0;; ++retries) {
      if (work_.memory().failed()) {
        stopped_ = true;
        return false;
      }
      const std::int32_t answer = batch_.on_fault == nullptr ? VMEM_SKIP : ask(index, fault);
      if (answer != VMEM_RETRY || retries == kMostRetries) {
        bad_answer_ = answer != VMEM_SKIP && answer != VMEM_HALT;
        stopped_ = answer != VMEM_SKIP;
        return false;
      }
      if (work_.mmu().retry({va}, kind, entry, fault)) return true;
    }
  }

  std::int32_t ask(std::uint64_t index, const hw::Fault& fault) {
    vmem_result told{};
    told.size = sizeof told;
    tell(fault, told);
    std::int32_t answer = -1;
    const MmuObject::Rest rest(work_);
    succeeds([&] { return answer = batch_.on_fault(batch_.user, index, &told); });
    return answer;
  }

  MmuObject::Work work_;
  const Batch& batch_;
  bool stopped_ = false;
  bool bad_answer_ = false;
};

}  // namespace
}  // namespace vmem::capi

vmem_status vmem_mmu_access_batch(vmem_mmu* mmu, const uint64_t* addresses, const uint8_t* kinds, uint64_t count,
                                  uint64_t* pas, vmem_fault_fn on_fault, void* user, uint64_t* done) {
  using namespace vmem::capi;
  if (done != nullptr) *done = 0;
  return guard([&] {
    MmuObject& object = object_of(mmu, "mmu");
    if (count != 0 && (addresses == nullptr || kinds == nullptr))
      throw Refusal(VMEM_E_ARGUMENT, "addresses or kinds are NULL");
    const Batch batch{addresses, kinds, count, pas, on_fault, user};
    std::uint64_t made = 0;
    std::uint64_t& counted = done != nullptr ? *done : made;
    return Runner(object, batch).run(counted);
  });
}
