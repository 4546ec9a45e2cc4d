#include "vmm/balloon/resize_meter.hpp"

#include <doctest/doctest.h>

namespace vmem::vmm::balloon {
namespace {

TEST_CASE("the way to a target ends where it is reached") {
  ResizeMeter meter;
  meter.on_target(100, 50, 0);
  meter.on_actual(130, 20);
  meter.on_actual(200, 50);
  meter.on_actual(300, 45);  // nothing is under way
  const Resizes& way = meter.shrinking();
  CHECK((way.reached == 1 && way.given_up == 0 && way.pages == 50 && way.time == 100 && way.longest == 100));
  CHECK(meter.growing().reached == 0);
}

TEST_CASE("a way that another target ends counts what was done, but not as reached") {
  ResizeMeter meter;
  meter.on_target(0, 100, 0);
  meter.on_actual(10, 40);
  meter.on_target(30, 10, 40);  // the other way
  meter.on_actual(60, 10);
  CHECK((meter.shrinking().given_up == 1 && meter.shrinking().pages == 40 && meter.shrinking().time == 30));
  CHECK(meter.shrinking().longest == 0);
  CHECK((meter.growing().reached == 1 && meter.growing().pages == 30 && meter.growing().time == 30));
}

TEST_CASE("asking for the same again changes nothing, and a target that is met takes no time") {
  ResizeMeter meter;
  meter.on_target(0, 100, 0);
  meter.on_target(50, 100, 20);
  meter.on_actual(80, 100);
  CHECK((meter.shrinking().reached == 1 && meter.shrinking().time == 80));
  meter.on_target(90, 100, 100);
  CHECK((meter.shrinking().reached == 1 && meter.growing().reached == 0));
}

TEST_CASE("what a guest takes back on its way is no progress") {
  ResizeMeter meter;
  meter.on_target(0, 100, 50);
  meter.on_actual(10, 30);
  meter.on_target(20, 0, 30);
  CHECK((meter.shrinking().pages == 0 && meter.shrinking().given_up == 1));
}

}  // namespace
}  // namespace vmem::vmm::balloon
