// A program that runs on the host itself, beside the VMs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/address.hpp"
#include "vmm/host.hpp"

namespace vmem::vmm {

class Reclaim;

/// Owns machine frames (FrameUse::process) that are not reclaimed from it. Where they come from when the machine is
/// full is the reason for which VMs are reclaimed from.
class HostProcess {
 public:
  HostProcess(Host& host, Reclaim& reclaim, std::uint16_t id, std::string name)
      : host_(host), reclaim_(reclaim), id_(id), name_(std::move(name)) {}
  ~HostProcess() { shrink(0); }
  HostProcess(const HostProcess&) = delete;
  HostProcess& operator=(const HostProcess&) = delete;

  std::uint16_t id() const { return id_; }
  const std::string& name() const { return name_; }
  std::uint64_t size() const { return frames_.size() << kPageShift; }
  /// Rounded up to 4 KiB. New memory reads as zeros. OutOfMemory if the VMs cannot give so much; the size is then as
  /// before.
  void resize(std::uint64_t bytes);
  /// ConfigError outside its memory.
  void read(std::uint64_t at, std::span<std::byte> out) const;
  void write(std::uint64_t at, std::span<const std::byte> bytes);

 private:
  void shrink(std::uint64_t frames);
  template <class Part>
  void in_pages(std::uint64_t at, std::uint64_t length, Part&& part) const;

  Host& host_;
  Reclaim& reclaim_;
  std::uint16_t id_;
  std::string name_;
  std::vector<std::uint32_t> frames_;  ///< hPFNs in the order of its memory
};

}  // namespace vmem::vmm
