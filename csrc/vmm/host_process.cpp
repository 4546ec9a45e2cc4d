#include "vmm/host_process.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "vmm/reclaim/reclaim.hpp"

namespace vmem::vmm {

void HostProcess::resize(std::uint64_t bytes) {
  const std::uint64_t before = frames_.size();
  const std::uint64_t frames = align_up(bytes, kPageSize) >> kPageShift;
  if (frames <= before) {
    shrink(frames);
    return;
  }
  if (frames - before > host_.memory.bytes().frames() || !reclaim_.free_up(frames - before))
    throw OutOfMemory("host process '" + name_ + "': " + std::to_string((frames - before) << kPageShift) +
                      " more bytes; the machine has " +
                      std::to_string(host_.memory.buddy().free_frames() << kPageShift) +
                      " free and its VMs can give no more");
  frames_.reserve(frames);
  while (frames_.size() < frames) {
    const auto hfn = host_.memory.allocate(0, memory::FrameUse::process, id_);
    frames_.push_back(static_cast<std::uint32_t>(hfn->value));
  }
}

void HostProcess::shrink(std::uint64_t frames) {
  while (frames_.size() > frames) {
    host_.memory.free(Hfn{frames_.back()});
    frames_.pop_back();
  }
}

template <class Part>
void HostProcess::in_pages(std::uint64_t at, std::uint64_t length, Part&& part) const {
  if (at > size() || length > size() - at)
    throw ConfigError("host process '" + name_ + "': " + hex(at) + " + " + std::to_string(length) +
                      " bytes lies outside its " + std::to_string(size()) + " bytes");
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t offset = (at + done) & kPageMask;
    const std::uint64_t count = std::min(length - done, kPageSize - offset);
    part((static_cast<std::uint64_t>(frames_[(at + done) >> kPageShift]) << kPageShift) + offset, done, count);
    done += count;
  }
}

void HostProcess::read(std::uint64_t at, std::span<std::byte> out) const {
  in_pages(at, out.size(), [&](std::uint64_t hpa, std::uint64_t done, std::uint64_t count) {
    host_.memory.bytes().read(hpa, out.subspan(done, count));
  });
}

void HostProcess::write(std::uint64_t at, std::span<const std::byte> bytes) {
  in_pages(at, bytes.size(), [&](std::uint64_t hpa, std::uint64_t done, std::uint64_t count) {
    host_.memory.bytes().write(hpa, bytes.subspan(done, count));
  });
}

}  // namespace vmem::vmm
