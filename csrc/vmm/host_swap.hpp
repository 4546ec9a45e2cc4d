// Guest frames on their way between machine memory and the host's swap.
#pragma once

#include <cstdint>

#include "core/address.hpp"
#include "vmm/second_stage.hpp"

namespace vmem::vmm {

class Unmap;
class Vm;

enum class SwapOut : std::uint8_t {
  done,
  not_backed,  ///< no machine frame to give
  no_slot,     ///< the swap is full
  disk_error,  ///< the disk took not all of the bytes; the frame stays where it is
  no_table,    ///< no frame for the table that cuts the large page around it
};

/// Writes the frame's bytes to a slot, if it has any, and lets the second stage hold the slot instead. The frame is
/// free after `unmap.commit()`. Of a shared frame, only this share goes.
SwapOut swap_out(Vm& vm, Gfn gfn, Unmap& unmap);
enum class SwapIn : std::uint8_t {
  done,
  no_frame,    ///< the machine has none left
  disk_error,  ///< the disk does not give the bytes back: an event
};

/// Gives a frame that is in the swap its machine frame and its bytes again. `leaf` holds its slot.
SwapIn swap_in(Vm& vm, const SecondStage::Leaf& leaf, Gfn gfn);

}  // namespace vmem::vmm
