#include "guest/file.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "virtio/block.hpp"

namespace vmem::guest {
namespace {

std::uint64_t sectors_of(const File& file) { return file.pages() << (kPageShift - virtio::block::kSectorShift); }

}  // namespace

File& FileSystem::create(const std::string& name, std::uint64_t bytes) {
  const std::string what = "file '" + name + "': ";
  if (sectors_ == 0) throw ConfigError(what + "the guest has no disk for it");
  if (bytes == 0) throw ConfigError(what + "0 bytes; accepted is a positive size");
  for (const auto& [number, file] : files_)
    if (file->name == name) throw ConfigError(what + "the name is taken");
  auto file = std::make_unique<File>();
  file->number = next_;
  file->name = name;
  file->bytes = bytes;
  const auto first = bytes >> virtio::block::kSectorShift <= sectors_ ? find_run(sectors_of(*file)) : std::nullopt;
  if (!first)
    throw OutOfMemory(what + "the disk has no run of " + std::to_string(bytes) + " free bytes; it has " +
                      std::to_string(sectors_ << virtio::block::kSectorShift) + " in all");
  file->first_sector = *first;
  ++next_;
  return *files_.emplace(file->number, std::move(file)).first->second;
}

std::optional<std::uint64_t> FileSystem::find_run(std::uint64_t sectors) const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
  taken.reserve(files_.size());
  for (const auto& [number, file] : files_) taken.emplace_back(file->first_sector, sectors_of(*file));
  std::sort(taken.begin(), taken.end());
  std::uint64_t at = 0;
  for (const auto& [first, count] : taken) {
    if (first - at >= sectors) return at;
    at = first + count;
  }
  if (sectors_ - at >= sectors) return at;
  return std::nullopt;
}

void FileSystem::remove(const File& file) { files_.erase(file.number); }

File& FileSystem::at(FileNumber number) {
  const auto found = files_.find(number);
  if (found == files_.end()) throw ConfigError("file " + std::to_string(number) + ": the guest has no such file");
  return *found->second;
}

}  // namespace vmem::guest
