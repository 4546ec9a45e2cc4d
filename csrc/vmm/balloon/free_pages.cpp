// What a guest tells of its free pages: reports (virtio 1.2, 5.5.6.7) and hints (5.5.6.4).
#include "vmm/balloon/balloon_device.hpp"
#include "vmm/balloon/discard.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm::balloon {

std::uint64_t BalloonDevice::take_free(Discard& discard, const virtio::Buffer& block) {
  const std::uint64_t bytes = page_bytes(vm().config().backing.largest);
  const Gfn first = block.at.frame(), end = (block.at + (block.length + kPageSize - 1)).frame();
  for (Gfn page = first; page < end; page = page + 1)
    if (held_[page.value]) broke(Rule::free_inflated);
  // Not the guest's to lose: a block that is not made of whole host pages, or of free pages that it wants back with its
  // poison.
  if (inhibited_ || poison() != 0 || block.at.value % bytes != 0 || block.length % bytes != 0) return 0;
  return discard.range(first, block.length >> kPageShift);
}

void BalloonDevice::take_reports(GuestMemory& memory) {
  while (pop(memory, reporting_queue_, chain_)) {
    {
      Discard discard(vm());
      for (const virtio::Buffer& block : chain_.writable) {
        ++stat_.reports;
        ++memory.vcpu().mmu().event_counters().free_reports;
        stat_.reported += block.length >> kPageShift;
        stat_.reported_discarded += take_free(discard, block);
      }
      discard.add_to(memory.vcpu().mmu().event_counters());
    }
    push(memory, reporting_queue_, chain_.head, 0);
  }
}

void BalloonDevice::take_hints(GuestMemory& memory) {
  while (pop(memory, hinting_queue_, chain_)) {
    if (!chain_.readable.empty() && !take_command(memory)) return;
    take_hinted(memory, chain_.writable);
    push(memory, hinting_queue_, chain_.head, 0);
  }
}

void BalloonDevice::take_hinted(GuestMemory& memory, std::span<const virtio::Buffer> blocks) {
  Discard discard(vm());
  for (const virtio::Buffer& block : blocks) {
    if (!has_told_id_) broke(Rule::hint_without_id);
    if (!rounds_.takes_hints()) {
      ++stat_.stale_hints;
      continue;
    }
    ++stat_.hints;
    stat_.hinted += block.length >> kPageShift;
    stat_.hinted_discarded += take_free(discard, block);
  }
  discard.add_to(memory.vcpu().mmu().event_counters());
}

bool BalloonDevice::take_command(GuestMemory& memory) {
  virtio::Stream stream(chain_.readable);
  std::uint32_t id = 0;
  if (stream.left() != sizeof id || !stream.read(memory, std::as_writable_bytes(std::span(&id, 1)))) {
    need_reset(memory.vcpu(), "a command id that is not 4 bytes long");
    return false;
  }
  const bool had_started = rounds_.takes_hints();
  if (!rounds_.has_issued(id)) broke(Rule::unknown_hint_id);
  if (had_started && id == rounds_.id()) broke(Rule::hint_id_repeated);
  has_told_id_ = true;
  rounds_.on_id(id);
  if (!had_started && rounds_.takes_hints()) ++stat_.hint_rounds;
  return true;
}

void BalloonDevice::start_hinting() {
  rounds_.request();
  config_changed();
}

void BalloonDevice::stop_hinting() {
  rounds_.stop();
  config_changed();
}

void BalloonDevice::finish_hinting() {
  rounds_.finish();
  config_changed();
}

}  // namespace vmem::vmm::balloon
