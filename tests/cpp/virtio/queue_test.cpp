// The split virtqueue: its bytes, and both of its sides against each other.
#include <doctest/doctest.h>

#include <deque>
#include <vector>

#include "support/flat_memory.hpp"
#include "support/random.hpp"
#include "virtio/device_queue.hpp"
#include "virtio/driver_queue.hpp"

namespace vmem {
namespace {

using test::FlatMemory;
using virtio::Buffer;
using virtio::Chain;
using virtio::Descriptor;
using virtio::QueueError;
using virtio::Rings;
using virtio::store;

constexpr std::uint64_t kMemory = 1 << 20;

struct Pair {
  FlatMemory memory{kMemory};
  Rings rings;
  virtio::DriverQueue driver;
  virtio::DeviceQueue device;

  explicit Pair(std::uint16_t size, virtio::QueueFeatures features = {})
      : rings(Rings::in_one_piece(Gpa{0x1000}, size)), driver(rings, features.event_index) {
    CHECK(start(features) == QueueError::none);
  }
  QueueError start(virtio::QueueFeatures features) {
    return device.start(rings, 1024, features, [&](Gpa at, std::uint64_t n) { return memory.contains(at, n); });
  }
  /// As a driver would write it, right or wrong.
  void descriptor(std::uint16_t index, const Descriptor& d) { store(memory, rings.descriptor(index), d); }
  void available(std::uint16_t index) { store(memory, rings.available_index(), index); }
  QueueError pop_error() {
    Chain chain;
    CHECK_FALSE(device.pop(memory, chain));
    return device.error();
  }
};

TEST_CASE("a request lies in memory as the standard says") {
  Pair pair(4);
  const std::vector<Buffer> out{{Gpa{0x8000}, 16}}, in{{Gpa{0x9000}, 512}, {Gpa{0xa000}, 1}};
  REQUIRE(pair.driver.add(pair.memory, out, in) == 0);
  // Descriptor table: address, length, flags, next.
  CHECK(pair.memory.number(0x1000, 8) == 0x8000);
  CHECK(pair.memory.number(0x1008, 4) == 16);
  CHECK(pair.memory.number(0x100c, 2) == 1);
  CHECK(pair.memory.number(0x100e, 2) == 1);
  CHECK(pair.memory.number(0x1010, 8) == 0x9000);
  CHECK(pair.memory.number(0x101c, 2) == 3);
  CHECK(pair.memory.number(0x101e, 2) == 2);
  CHECK(pair.memory.number(0x102c, 2) == 2);
  // Available ring: flags, index, entries, used_event. 4 entries of 16 bytes before it.
  CHECK(pair.memory.number(0x1040, 2) == 0);
  CHECK(pair.memory.number(0x1042, 2) == 1);
  CHECK(pair.memory.number(0x1044, 2) == 0);
  Chain chain;
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK(chain.readable.size() == 1);
  CHECK(chain.writable.size() == 2);
  CHECK(pair.device.push(pair.memory, chain.head, 513));
  // Used ring: 6 + 2·4 bytes after the available ring, aligned to 4.
  CHECK(pair.memory.number(0x1050, 2) == 0);
  CHECK(pair.memory.number(0x1052, 2) == 1);
  CHECK(pair.memory.number(0x1054, 4) == 0);
  CHECK(pair.memory.number(0x1058, 4) == 513);
  const auto used = pair.driver.take(pair.memory);
  REQUIRE(used);
  CHECK(used->length == 513);
  CHECK(pair.driver.free_descriptors() == 4);
}

TEST_CASE("sizes of a queue's parts are those of virtio 2.7") {
  const Rings rings = Rings::in_one_piece(Gpa{0}, 128);
  CHECK(rings.descriptor_bytes() == 2048);
  CHECK(rings.available_bytes() == 262);
  CHECK(rings.used_bytes() == 1030);
  CHECK(rings.used_event().value == 2048 + 4 + 256);
  CHECK(rings.available_event().value == rings.used.value + 4 + 1024);
}

TEST_CASE("an event is asked for by position, across the wrap of 2^16") {
  CHECK(virtio::passed(5, 6, 5));
  CHECK_FALSE(virtio::passed(6, 6, 5));
  CHECK_FALSE(virtio::passed(4, 6, 5));
  CHECK(virtio::passed(0xffff, 0, 0xffff));
  CHECK(virtio::passed(0xfffe, 3, 0xfff0));
  CHECK_FALSE(virtio::passed(10, 3, 0xfff0));
}

TEST_CASE("without event index, flags suppress notifications and interrupts") {
  Pair pair(4);
  const std::vector<Buffer> out{{Gpa{0x8000}, 16}};
  pair.driver.add(pair.memory, out, {});
  CHECK(pair.driver.must_notify(pair.memory));
  CHECK_FALSE(pair.driver.must_notify(pair.memory));
  store(pair.memory, pair.rings.used_flags(), virtio::kNoNotify);
  pair.driver.add(pair.memory, out, {});
  CHECK_FALSE(pair.driver.must_notify(pair.memory));
  pair.driver.want_interrupts(pair.memory, false);
  Chain chain;
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK_FALSE(pair.device.push(pair.memory, chain.head, 0));
  pair.driver.want_interrupts(pair.memory, true);
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK(pair.device.push(pair.memory, chain.head, 0));
}

TEST_CASE("with event index, each side says the position at which it wants to hear") {
  Pair pair(8, {false, true});
  const std::vector<Buffer> out{{Gpa{0x8000}, 16}};
  Chain chain;
  CHECK_FALSE(pair.device.pop(pair.memory, chain));  // the device is idle: it wants to be told of the next
  pair.driver.add(pair.memory, out, {});
  CHECK(pair.driver.must_notify(pair.memory));
  pair.driver.add(pair.memory, out, {});
  CHECK_FALSE(pair.driver.must_notify(pair.memory));  // it has not yet looked
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK(pair.device.push(pair.memory, chain.head, 0));
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK_FALSE(pair.device.push(pair.memory, chain.head, 0));  // the driver has not yet looked
  while (pair.driver.take(pair.memory)) {
  }
  CHECK_FALSE(pair.device.pop(pair.memory, chain));
  pair.driver.add(pair.memory, out, {});
  CHECK(pair.driver.must_notify(pair.memory));
  REQUIRE(pair.device.pop(pair.memory, chain));
  CHECK(pair.device.push(pair.memory, chain.head, 0));
}

TEST_CASE("random requests, direct and indirect, arrive as sent and are given back in any order") {
  for (const bool event_index : {false, true}) {
    Pair pair(16, {true, event_index});
    test::Random random(7);
    struct Sent {
      std::uint16_t head;
      std::vector<Buffer> out, in;
    };
    std::deque<Sent> sent;
    std::vector<Chain> held;
    std::uint64_t done = 0, arrived = 0;
    for (int step = 0; step < 200'000; ++step) {
      switch (random.below(3)) {
        case 0: {
          Sent request;
          for (auto count = random.below(4); count-- > 0;)
            request.out.push_back({Gpa{0x8000 + 16 * random.below(1000u)}, 1 + random.below(5000u)});
          for (auto count = random.below(4); count-- > 0;)
            request.in.push_back({Gpa{0x8000 + 16 * random.below(1000u)}, 1 + random.below(5000u)});
          if (request.out.empty() && request.in.empty()) break;
          // A table of its own for each descriptor that can be its head.
          const auto head =
              random.one_in(2)
                  ? pair.driver.add(pair.memory, request.out, request.in)
                  : pair.driver.add_indirect(pair.memory, Gpa{0x40000 + 128 * static_cast<std::uint64_t>(step % 1024)},
                                             request.out, request.in);
          if (!head) break;
          request.head = *head;
          sent.push_back(request);
          break;
        }
        case 1: {
          Chain chain;
          if (!pair.device.pop(pair.memory, chain)) break;
          REQUIRE(!sent.empty());
          const Sent& first = sent.front();
          REQUIRE(chain.head == first.head);
          REQUIRE(chain.readable.size() == first.out.size());
          REQUIRE(chain.writable.size() == first.in.size());
          for (std::size_t i = 0; i < first.out.size(); ++i) REQUIRE(chain.readable[i].at == first.out[i].at);
          for (std::size_t i = 0; i < first.in.size(); ++i) REQUIRE(chain.writable[i].length == first.in[i].length);
          sent.pop_front();
          held.push_back(chain);
          ++arrived;
          break;
        }
        default:
          if (!held.empty()) {
            const std::size_t at = random.below(held.size());
            pair.device.push(pair.memory, held[at].head, static_cast<std::uint32_t>(at));
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
          }
          while (pair.driver.take(pair.memory)) ++done;
          break;
      }
      REQUIRE(pair.device.error() == QueueError::none);
    }
    CHECK(arrived > 40'000);  // the positions wrapped: 2^16 is not far, and more than once with both runs
    CHECK(done + held.size() == arrived);
  }
}

TEST_CASE("what the standard forbids a driver breaks the queue, whatever comes after") {
  const auto broken = [](auto&& spoil, virtio::QueueFeatures features = {true, false}) {
    Pair pair(4, features);
    pair.descriptor(0, {0x8000, 16, 0, 0});
    pair.available(1);
    spoil(pair);
    const QueueError error = pair.pop_error();
    pair.descriptor(0, {0x8000, 16, 0, 0});
    CHECK(pair.pop_error() == error);
    return error;
  };
  CHECK(broken([](Pair& p) { p.available(5); }) == QueueError::index_jumped);
  CHECK(broken([](Pair& p) { p.available(0xffff); }) == QueueError::index_jumped);
  CHECK(broken([](Pair& p) { store(p.memory, p.rings.available_entry(0), std::uint16_t{4}); }) ==
        QueueError::no_such_descriptor);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 16, Descriptor::kNext, 4}); }) == QueueError::no_such_descriptor);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 16, Descriptor::kNext, 0}); }) == QueueError::endless);
  CHECK(broken([](Pair& p) {
          p.descriptor(0, {0x8000, 16, Descriptor::kNext, 1});
          p.descriptor(1, {0x8000, 16, Descriptor::kNext, 0});
        }) == QueueError::endless);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 0, 0, 0}); }) == QueueError::empty_buffer);
  CHECK(broken([](Pair& p) { p.descriptor(0, {kMemory - 15, 16, 0, 0}); }) == QueueError::buffer_outside);
  CHECK(broken([](Pair& p) { p.descriptor(0, {~0ull - 3, 16, 0, 0}); }) == QueueError::buffer_outside);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 0xffff'ffff, 0, 0}); }) == QueueError::buffer_outside);
  CHECK(broken([](Pair& p) {
          p.descriptor(0, {0x8000, 16, Descriptor::kNext | Descriptor::kWrite, 1});
          p.descriptor(1, {0x8000, 16, 0, 0});
        }) == QueueError::order);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 24, Descriptor::kIndirect, 0}); }) == QueueError::bad_indirect);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 0, Descriptor::kIndirect, 0}); }) == QueueError::bad_indirect);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 16, Descriptor::kIndirect | Descriptor::kNext, 1}); }) ==
        QueueError::bad_indirect);
  CHECK(broken([](Pair& p) { p.descriptor(0, {0x8000, 16, Descriptor::kIndirect, 0}); }, {false, false}) ==
        QueueError::bad_indirect);
  CHECK(broken([](Pair& p) { p.descriptor(0, {kMemory, 16, Descriptor::kIndirect, 0}); }) ==
        QueueError::buffer_outside);
  CHECK(broken([](Pair& p) {
          p.descriptor(0, {0x8000, 16, Descriptor::kIndirect, 0});
          store(p.memory, Gpa{0x8000}, Descriptor{0x8100, 16, Descriptor::kIndirect, 0});
        }) == QueueError::bad_indirect);
  CHECK(broken([](Pair& p) {
          p.descriptor(0, {0x8000, 16 * 16, Descriptor::kIndirect, 0});
          for (std::uint16_t i = 0; i < 16; ++i)
            store(p.memory, Gpa{0x8000 + 16ull * i},
                  Descriptor{0x9000, 1, Descriptor::kNext, static_cast<std::uint16_t>(i + 1)});
        }) == QueueError::endless);
}

TEST_CASE("a queue that cannot be is refused when it is made ready") {
  Pair pair(4);
  const auto with = [&](auto&& change) {
    pair.rings = Rings::in_one_piece(Gpa{0x1000}, 4);
    change(pair.rings);
    return pair.start({});
  };
  CHECK(with([](Rings& r) { r.size = 0; }) == QueueError::size);
  CHECK(with([](Rings& r) { r.size = 3; }) == QueueError::size);
  CHECK(with([](Rings& r) { r.size = 2048; }) == QueueError::size);
  CHECK(with([](Rings& r) { r.descriptors.value += 8; }) == QueueError::alignment);
  CHECK(with([](Rings& r) { r.used.value += 2; }) == QueueError::alignment);
  CHECK(with([](Rings& r) { r.available.value += 1; }) == QueueError::alignment);
  CHECK(with([](Rings& r) { r.descriptors.value = kMemory - 48; }) == QueueError::rings_outside);
  CHECK(with([](Rings& r) { r.used.value = ~0ull - 3; }) == QueueError::rings_outside);
  CHECK_FALSE(pair.device.is_ready());
}

TEST_CASE("random rings: every request ends inside guest memory, or the queue is called broken") {
  test::Random random(11);
  const auto descriptor = [&] {
    return Descriptor{random.one_in(20) ? random.bits() : random.below(kMemory),
                      static_cast<std::uint32_t>(random.one_in(20) ? random.bits() : 16 * random.below(20u)),
                      static_cast<std::uint16_t>(random.one_in(20) ? random.bits() : random.below(8u)),
                      static_cast<std::uint16_t>(random.below(9u))};
  };
  std::uint64_t popped = 0, broke = 0;
  for (int round = 0; round < 5'000; ++round) {
    Pair pair(8, {random.one_in(2), random.one_in(2)});
    for (std::uint16_t i = 0; i < 8; ++i) pair.descriptor(i, descriptor());
    for (std::uint64_t at = 0; at < 0x1000; at += 16) store(pair.memory, Gpa{at}, descriptor());
    for (std::uint16_t i = 0; i < 8; ++i)
      store(pair.memory, pair.rings.available_entry(i), static_cast<std::uint16_t>(random.below(9u)));
    pair.available(static_cast<std::uint16_t>(random.below(10)));
    Chain chain;
    for (int i = 0; i < 20 && pair.device.pop(pair.memory, chain); ++i) {
      ++popped;
      for (const auto* buffers : {&chain.readable, &chain.writable})
        for (const Buffer& buffer : *buffers) REQUIRE(pair.memory.contains(buffer.at, buffer.length));
      pair.device.push(pair.memory, chain.head, 0);
    }
    broke += pair.device.error() != QueueError::none;
  }
  CHECK(popped > 1000);
  CHECK(broke > 1000);
}

}  // namespace
}  // namespace vmem
