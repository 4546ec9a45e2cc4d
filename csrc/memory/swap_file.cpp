#include "memory/swap_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.hpp"

namespace vmem::memory {
namespace {

std::uint64_t checked_slots(std::uint64_t bytes) {
  if ((bytes & kPageMask) != 0 || bytes >> kPageShift > SwapFile::kMaxSlots - 1)
    throw ConfigError("host swap of " + std::to_string(bytes) +
                      " bytes: accepted is a multiple of 4096 below 2 TiB, or 0 for none");
  return bytes >> kPageShift;
}

std::string temporary_directory() {
  const char* named = std::getenv("TMPDIR");
  return named != nullptr && *named != '\0' ? named : "/tmp";
}

/// mkstemp gives mode 0600; without a name nobody else finds it and nothing is left behind.
int open_unnamed(const std::string& directory) {
  std::string path = directory + "/vmem-swap-XXXXXX";
  const int file = ::mkstemp(path.data());
  if (file < 0)
    throw ConfigError("host swap: cannot create a file in directory '" + directory + "': " + std::strerror(errno) +
                      "; accepted is an existing directory that can be written to");
  ::unlink(path.c_str());
  ::fcntl(file, F_SETFD, FD_CLOEXEC);
  return file;
}

bool write_all(int file, std::span<const std::byte> bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    at += static_cast<std::uint64_t>(done);
  }
  return true;
}

bool read_all(int file, std::span<std::byte> out, std::uint64_t at) {
  while (!out.empty()) {
    const ssize_t done = ::pread(file, out.data(), out.size(), static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(done));
    at += static_cast<std::uint64_t>(done);
  }
  return true;
}

std::uint64_t place(SwapSlot slot) { return static_cast<std::uint64_t>(slot.value) << kPageShift; }

}  // namespace

SwapFile::SwapFile(std::uint64_t bytes, const std::string& directory)
    : slots_(checked_slots(bytes)), words_(std::max(kPageSize, align_up(slots_ * sizeof(std::uint32_t), kPageSize))) {
  if (slots_ != 0) file_ = open_unnamed(directory.empty() ? temporary_directory() : directory);
}

SwapFile::~SwapFile() {
  if (file_ >= 0) ::close(file_);
}

std::optional<SwapSlot> SwapFile::take(bool place_written) {
  std::uint32_t& head = free_lists_[place_written ? 1 : 0];
  if (head == 0) return std::nullopt;
  const SwapSlot slot{head - 1};
  head = word(slot) & kNext;
  word(slot) = (word(slot) & kPlaceWritten) | kUsed;
  ++used_;
  return slot;
}

std::optional<SwapSlot> SwapFile::take_fresh() {
  if (fresh_ == slots_) return std::nullopt;
  const SwapSlot slot{fresh_++};
  word(slot) = kUsed;
  ++used_;
  return slot;
}

void SwapFile::push_free(SwapSlot slot) {
  std::uint32_t& head = free_lists_[(word(slot) & kPlaceWritten) != 0 ? 1 : 0];
  word(slot) = (word(slot) & kPlaceWritten) | head;
  head = slot.value + 1;
  --used_;
}

std::optional<SwapSlot> SwapFile::store_zeros() {
  auto slot = take(false);
  if (!slot) slot = take_fresh();
  return slot ? slot : take(true);
}

std::optional<SwapSlot> SwapFile::store(std::span<const std::byte, kPageSize> frame) {
  auto slot = take(true);
  if (!slot) slot = take(false);
  if (!slot) slot = take_fresh();
  if (!slot) return std::nullopt;
  if (!write_all(file_, frame, place(*slot))) {
    ++write_errors_;
    push_free(*slot);
    return std::nullopt;
  }
  written_places_ += (word(*slot) & kPlaceWritten) == 0 ? 1 : 0;
  word(*slot) |= kHasBytes | kPlaceWritten;
  ++used_with_bytes_;
  return slot;
}

bool SwapFile::load(SwapSlot slot, std::uint64_t offset, std::span<std::byte> out) const {
  if (has_bytes(slot)) return read_all(file_, out, place(slot) + offset);
  std::fill(out.begin(), out.end(), std::byte{0});
  return true;
}

void SwapFile::release(SwapSlot slot) {
  if (has_bytes(slot)) --used_with_bytes_;
  push_free(slot);
}

}  // namespace vmem::memory
