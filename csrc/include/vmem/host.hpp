// The whole machine, for C++: what vmem/host.h says, with errors as exceptions and objects for what has a number.
#pragma once

#include <vmem/host.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vmem/error.hpp>
#include <vmem/program.hpp>

namespace vmem {

/// An access that the guest's kernel answered with SIGSEGV.
struct SegmentationFault : std::runtime_error {
  explicit SegmentationFault(std::uint64_t at) : std::runtime_error("SIGSEGV at " + std::to_string(at)), address(at) {}
  std::uint64_t address;
};

/// A process of a guest; copies name the same one. Runs on `vcpu`. Ends by exit() or with its VM.
class Process {
 public:
  Process(vmem_host* host, std::uint32_t vm, std::uint32_t number, std::uint32_t vcpu = 0)
      : host_(host), vm_(vm), number_(number), vcpu_(vcpu) {}

  std::uint32_t number() const { return number_; }
  Process on(std::uint32_t vcpu) const { return {host_, vm_, number_, vcpu}; }
  Process fork() {
    std::uint32_t child = 0;
    checked(vmem_process_fork(host_, vm_, vcpu_, number_, &child));
    return {host_, vm_, child, vcpu_};
  }
  void exit() { checked(vmem_process_exit(host_, vm_, vcpu_, number_)); }

  /// Anonymous memory; returns where.
  std::uint64_t mmap(std::uint64_t length, std::uint32_t protection = VMEM_READ | VMEM_WRITE,
                     std::uint32_t page = VMEM_PAGE_4K) {
    auto request = structure<vmem_map_request>();
    request.length = length;
    request.protection = protection;
    request.page = page;
    return mmap(request);
  }
  std::uint64_t mmap(const vmem_map_request& request) {
    std::uint64_t start = 0;
    checked(vmem_process_mmap(host_, vm_, vcpu_, number_, &request, &start));
    return start;
  }
  void munmap(std::uint64_t start, std::uint64_t length) {
    checked(vmem_process_munmap(host_, vm_, vcpu_, number_, start, length));
  }
  void mprotect(std::uint64_t start, std::uint64_t length, std::uint32_t protection) {
    checked(vmem_process_mprotect(host_, vm_, vcpu_, number_, start, length, protection));
  }

  /// `advice` is VMEM_DONTNEED, VMEM_HUGEPAGE or VMEM_NOHUGEPAGE.
  void madvise(std::uint64_t start, std::uint64_t length, std::uint32_t advice) {
    checked(vmem_process_madvise(host_, vm_, vcpu_, number_, start, length, advice));
  }
  /// Where the end of the heap is then.
  std::uint64_t brk(std::uint64_t end = 0) {
    std::uint64_t got = 0;
    checked(vmem_process_brk(host_, vm_, vcpu_, number_, end, &got));
    return got;
  }

  /// What is mapped at `address`, or next above it; all zeros if nothing is.
  vmem_area area(std::uint64_t address) const {
    auto area = structure<vmem_area>();
    checked(vmem_process_area(host_, vm_, number_, address, &area));
    return area;
  }

  /// SegmentationFault; Error with VMEM_STOPPED if the process was killed.
  void read(std::uint64_t address, std::span<std::byte> out) {
    std::uint64_t at = 0;
    judge(vmem_process_read(host_, vm_, vcpu_, number_, address, out.data(), out.size(), &at), at);
  }
  void write(std::uint64_t address, std::span<const std::byte> bytes) {
    std::uint64_t at = 0;
    judge(vmem_process_write(host_, vm_, vcpu_, number_, address, bytes.data(), bytes.size(), &at), at);
  }
  /// Faults are served; what is SIGSEGV is counted. `stopped` of the summary: the process was killed.
  vmem_summary access(std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds) {
    if (addresses.size() != kinds.size())
      throw std::invalid_argument("a batch of " + std::to_string(addresses.size()) + " addresses and " +
                                  std::to_string(kinds.size()) + " kinds: accepted are arrays of one length");
    auto summary = structure<vmem_summary>();
    checked(vmem_process_access_batch(host_, vm_, vcpu_, number_, addresses.data(), kinds.data(), addresses.size(),
                                      &summary));
    return summary;
  }
  /// The same of runs.
  vmem_summary replay(std::span<const vmem_run> runs) {
    auto summary = structure<vmem_summary>();
    checked(vmem_process_replay(host_, vm_, vcpu_, number_, runs.data(), runs.size(), &summary));
    return summary;
  }

  /// What it does by itself from now on. `workload` and `trace` begin as structure<...>().
  Program start(const vmem_workload& workload) {
    std::uint64_t program = 0;
    checked(vmem_process_start(host_, vm_, vcpu_, number_, &workload, &program));
    return {host_, program};
  }
  Program start(const vmem_trace& trace) {
    std::uint64_t program = 0;
    checked(vmem_process_start_trace(host_, vm_, vcpu_, number_, &trace, &program));
    return {host_, program};
  }

 private:
  static void judge(vmem_status status, std::uint64_t at) {
    if (checked(status) == VMEM_SEGFAULT) throw SegmentationFault(at);
    if (status != VMEM_OK) throw Error(status);
  }

  vmem_host* host_;
  std::uint32_t vm_, number_, vcpu_;
};

/// A file on a guest's disk; copies name the same one. `number()` goes into vmem_map_request.
class File {
 public:
  File(vmem_host* host, std::uint32_t vm, std::uint32_t number) : host_(host), vm_(vm), number_(number) {}

  std::uint32_t number() const { return number_; }
  void read(std::uint64_t offset, std::span<std::byte> out) {
    checked(vmem_file_read(host_, vm_, 0, number_, offset, out.data(), out.size()));
  }
  void write(std::uint64_t offset, std::span<const std::byte> bytes) {
    checked(vmem_file_write(host_, vm_, 0, number_, offset, bytes.data(), bytes.size()));
  }
  void fsync() { checked(vmem_file_fsync(host_, vm_, 0, number_)); }
  void unlink() { checked(vmem_file_unlink(host_, vm_, 0, number_)); }

 private:
  vmem_host* host_;
  std::uint32_t vm_, number_;
};

/// A program of the host itself; copies name the same one. Ends by exit() or with its host.
class HostProcess {
 public:
  HostProcess(vmem_host* host, std::uint32_t number) : host_(host), number_(number) {}

  void resize(std::uint64_t bytes) { checked(vmem_host_process_resize(host_, number_, bytes)); }
  void exit() { checked(vmem_host_process_exit(host_, number_)); }

 private:
  vmem_host* host_;
  std::uint32_t number_;
};

/// A virtual machine of a host; copies name the same one. Ends by destroy() or with its host.
class Vm {
 public:
  Vm(vmem_host* host, std::uint32_t number) : host_(host), number_(number) {}

  std::uint32_t number() const { return number_; }
  void destroy() { checked(vmem_vm_destroy(host_, number_)); }
  Process spawn(const char* name = nullptr) {
    std::uint32_t process = 0;
    checked(vmem_process_spawn(host_, number_, name, &process));
    return {host_, number_, process};
  }
  File create_file(const char* name, std::uint64_t bytes) {
    std::uint32_t file = 0;
    checked(vmem_file_create(host_, number_, name, bytes, &file));
    return {host_, number_, file};
  }
  void drop_caches() { checked(vmem_guest_drop_caches(host_, number_)); }
  std::uint64_t counter(const char* name) const { return ask(vmem_vm_counter, name); }
  std::uint64_t meminfo(const char* name) const { return ask(vmem_guest_meminfo, name); }
  std::uint64_t vmstat(const char* name) const { return ask(vmem_guest_vmstat, name); }
  void set_balloon_target(std::uint64_t bytes) { checked(vmem_balloon_set_target(host_, number_, bytes)); }
  std::uint64_t balloon_target() const { return ask(vmem_balloon_target); }
  std::uint64_t balloon_actual() const { return ask(vmem_balloon_actual); }
  vmem_vm_time time() const {
    auto time = structure<vmem_vm_time>();
    checked(vmem_vm_get_time(host_, number_, &time));
    return time;
  }
  void set_paused(bool paused) { checked(vmem_vm_set_paused(host_, number_, paused ? 1 : 0)); }
  /// Of the page at a guest-physical address. False: it could not.
  bool swap_out(std::uint64_t gpa) { return could(vmem_vm_swap_out, gpa); }
  bool split(std::uint64_t gpa) { return could(vmem_vm_split, gpa); }
  bool collapse(std::uint64_t gpa) { return could(vmem_vm_collapse, gpa); }

 private:
  template <class Ask, class... Name>
  std::uint64_t ask(Ask&& ask, Name... name) const {
    std::uint64_t value = 0;
    checked(ask(host_, number_, name..., &value));
    return value;
  }
  template <class Change>
  bool could(Change&& change, std::uint64_t gpa) {
    std::uint32_t done = 0;
    checked(change(host_, number_, gpa, &done));
    return done != 0;
  }

  vmem_host* host_;
  std::uint32_t number_;
};

/// A host and everything on it. Moves; belongs to one thread at a time. Calls that fail throw Error.
class Host {
 public:
  explicit Host(const vmem_host_config& config) {
    vmem_host* made = nullptr;
    checked(vmem_host_create(&config, &made));
    handle_.reset(made);
  }
  explicit Host(std::uint64_t memory, std::uint64_t swap = 0) : Host(of_size(memory, swap)) {}

  vmem_host* handle() const { return handle_.get(); }
  /// `config` begins as structure<vmem_vm_config>().
  Vm create_vm(const vmem_vm_config& config) {
    std::uint32_t vm = 0;
    checked(vmem_vm_create(handle(), &config, &vm));
    return {handle(), vm};
  }
  Vm create_vm(std::uint64_t memory, std::uint32_t mode = VMEM_MODE_NESTED) {
    auto config = structure<vmem_vm_config>();
    config.memory = memory;
    config.mode = mode;
    return create_vm(config);
  }
  HostProcess create_process(const char* name, std::uint64_t bytes) {
    std::uint32_t process = 0;
    checked(vmem_host_process_create(handle(), name, bytes, &process));
    return {handle(), process};
  }
  /// How many guest frames gave up their machine frame for one with the same bytes.
  std::uint64_t share() {
    std::uint64_t frames = 0;
    checked(vmem_host_share(handle(), &frames));
    return frames;
  }
  std::uint64_t now() const {
    std::uint64_t nanoseconds = 0;
    checked(vmem_host_now(handle(), &nanoseconds));
    return nanoseconds;
  }
  void advance(std::uint64_t nanoseconds) { checked(vmem_host_advance(handle(), nanoseconds)); }
  /// With programs that run meanwhile. Why it was over: VMEM_END_...
  std::uint32_t run(std::uint64_t nanoseconds, std::uint64_t references = 0) {
    std::uint32_t ended = 0;
    checked(vmem_host_run(handle(), nanoseconds, references, &ended));
    return ended;
  }
  std::uint64_t counter(const char* name) const {
    std::uint64_t value = 0;
    checked(vmem_host_counter(handle(), name, &value));
    return value;
  }
  void check() { checked(vmem_host_check(handle())); }

  /// `on_event(event)` of every new event. What it throws makes the call in progress an Error, VMEM_E_CALLBACK.
  void on_event(std::function<void(const vmem_event&)> on_event) {
    auto kept = std::make_unique<std::function<void(const vmem_event&)>>(std::move(on_event));
    const auto call = [](void* user, vmem_host*, const vmem_event* event) -> std::int32_t {
      (*static_cast<std::function<void(const vmem_event&)>*>(user))(*event);
      return 0;
    };
    checked(vmem_host_on_event(handle(), *kept ? +call : nullptr, kept.get()));
    on_event_ = std::move(kept);
  }
  /// `policy(now)` every `interval` nanoseconds of simulated time. The same of what it throws.
  void set_policy(std::uint64_t interval, std::function<void(std::uint64_t)> policy) {
    auto kept = std::make_unique<std::function<void(std::uint64_t)>>(std::move(policy));
    const auto call = [](void* user, vmem_host*, std::uint64_t now) -> std::int32_t {
      (*static_cast<std::function<void(std::uint64_t)>*>(user))(now);
      return 0;
    };
    checked(vmem_host_set_policy(handle(), interval, *kept ? +call : nullptr, kept.get()));
    policy_ = std::move(kept);
  }

 private:
  static vmem_host_config of_size(std::uint64_t memory, std::uint64_t swap) {
    auto config = structure<vmem_host_config>();
    config.memory = memory;
    config.swap = swap;
    return config;
  }

  struct Destroy {
    void operator()(vmem_host* host) const { vmem_host_destroy(host); }
  };
  std::unique_ptr<std::function<void(const vmem_event&)>> on_event_;
  std::unique_ptr<std::function<void(std::uint64_t)>> policy_;
  std::unique_ptr<vmem_host, Destroy> handle_;
};

}  // namespace vmem
